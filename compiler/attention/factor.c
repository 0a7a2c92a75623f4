/* Factorisation, read off the Spec. A row is
 *
 *     o_i = sum_j t_ij v_j / c_i,   t_ij = a_i b_j (phi(q_i) . psi(k_j)) decay(j .. i),   c_i from sums of t alone
 *
 * when the normaliser is linear in the weights, the similarity is a sum of products of a query's and a key's part,
 * the score a product with factors of one side each, and the mask an order with conditions of one side each. Then
 * o_i = a_i phi(q_i) . S_i / c_i with the state S_i = decay(i) S_{i-1} + b_i psi(k_i) v_i^T. */
#include "factor.h"

#include <string.h>

#include "dsl/arena.h"

const char *lowering_name(Lowering lowering)
{
    static const char *const names[] = {"auto", "quadratic", "chunked", "recurrent"};
    return lowering < LOWERING_COUNT ? names[lowering] : "none";
}

/* Sides -------------------------------------------------------------------------------------------------------- */

typedef struct Sides {
    bool query, key;
} Sides;

static void note_side(void *user, const Expr *e)
{
    Sides *sides = user;
    if (e->op == EXPR_VAR) {
        sides->query |= e->index >= VAR_I0 && e->index <= VAR_I2;
        sides->key |= e->index >= VAR_J0 && e->index <= VAR_J2;
    } else if (e->op == EXPR_ELEM) {
        sides->query |= e->index == ELEM_Q;
        sides->key |= e->index == ELEM_K || e->index == ELEM_V;
    }
}

typedef struct Split {
    Arena *arena;
    ExprPool *pool;
    Factor *factor;
    const Expr *query, *key; /* NULL: 1 */
    const Expr *centre; /* what is to be found once: the similarity inside the score, the sum inside it */
    ExprOp centre_op;
    int32_t centre_index; /* of a VAR; -1: any */
    int found;
} Split;

static bool refuse(Factor *factor, Span span, const char *reason)
{
    if (!factor->reason) {
        factor->reason = reason;
        factor->span = span;
    }
    return false;
}

static void multiply(ExprPool *pool, const Expr **into, const Expr *by)
{
    *into = *into ? expr_op2(pool, EXPR_MUL, *into, by) : by;
}

typedef struct Search {
    ExprOp op;
    int32_t index;
    bool found;
} Search;

static void search_node(void *user, const Expr *e)
{
    Search *search = user;
    search->found |= e->op == search->op && (search->index < 0 || e->index == search->index);
}

static bool contains(const Split *s, const Expr *e)
{
    Search search = {s->centre_op, s->centre_index, false};
    expr_walk(s->arena, e, search_node, &search);
    return search.found;
}

/* Puts the factors of a product on their sides. `inverse`: below a division. */
static bool split_product(Split *s, const Expr *e, bool inverse)
{
    if (s->centre_op != EXPR_OP_COUNT && contains(s, e)) {
        if (inverse)
            return refuse(s->factor, e->span, "the score divides by the similarity");
        if (e->op == s->centre_op && (s->centre_index < 0 || e->index == s->centre_index)) {
            s->centre = e;
            return ++s->found == 1 || refuse(s->factor, e->span, "the score is not linear in the similarity");
        }
        if (e->op == EXPR_MUL || e->op == EXPR_DIV)
            return split_product(s, e->args[0], false) && split_product(s, e->args[1], e->op == EXPR_DIV);
        if (e->op == EXPR_NEG) {
            multiply(s->pool, &s->query, expr_float(s->pool, -1));
            return split_product(s, e->args[0], false);
        }
        return refuse(s->factor, e->span, "the score is not linear in the similarity");
    }
    Sides sides = {false, false};
    expr_walk(s->arena, e, note_side, &sides);
    if (sides.query && sides.key) {
        if (e->op == EXPR_MUL || e->op == EXPR_DIV)
            return split_product(s, e->args[0], inverse) &&
                   split_product(s, e->args[1], inverse != (e->op == EXPR_DIV));
        return refuse(s->factor, e->span,
                      "a factor of the score joins query and key other than by a product");
    }
    if (inverse)
        e = expr_op2(s->pool, EXPR_DIV, expr_float(s->pool, 1), e);
    multiply(s->pool, sides.key ? &s->key : &s->query, e);
    return true;
}

/* The parts of a Spec ------------------------------------------------------------------------------------------ */

static bool linear_normaliser(Factor *factor, const Spec *spec)
{
    static const char *const reasons[] = {
        [NORM_SOFTMAX] = "softmax needs every score before its exponential",
        [NORM_MAX] = "a maximum over the scores is no sum",
        [NORM_ENTMAX] = "entmax needs every score for its threshold",
        [NORM_MOMENTS] =
            "the deviation of the scores is quadratic in them, which is not evaluated from a state",
    };
    NormKind kind = spec->norm.kind;
    if (kind != NORM_NONE && kind != NORM_SUM && kind != NORM_MAGNITUDE && kind != NORM_COUNT)
        return refuse(factor, spec->norm.span, reasons[kind]);
    if (spec->norm.elementwise != EXPR_OP_COUNT)
        return refuse(factor, spec->norm.span, "a function of each score keeps it from being a product");
    if (spec->returns[RETURN_MAX])
        return refuse(factor, spec->span, "the greatest score is asked for, which no state knows");
    return true;
}

typedef struct Leaf {
    int32_t var;
    const Expr *with;
} Leaf;

static const Expr *replace_var(void *user, const Expr *leaf)
{
    const Leaf *replaced = user;
    return leaf->op == EXPR_VAR && leaf->index == replaced->var ? replaced->with : NULL;
}

static const Expr *at_channel(ExprPool *pool, const Expr *e, VarId channel, const Expr *at)
{
    Leaf leaf = {(int32_t)channel, at};
    return expr_substitute(pool, e, replace_var, &leaf);
}

static bool is_polynomial(const Expr *e)
{
    if (!expr_uses(e, VAR_S) || e->op == EXPR_VAR)
        return true;
    switch (e->op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL: return is_polynomial(e->args[0]) && is_polynomial(e->args[1]);
    case EXPR_DIV:
    case EXPR_POW: /* s^2; a power that depends on more has no constant second derivative */
        return is_polynomial(e->args[0]) && !expr_uses(e->args[1], VAR_S) &&
               (e->op == EXPR_DIV || e->args[1]->op == EXPR_FLOAT);
    case EXPR_NEG: return is_polynomial(e->args[0]);
    default: return false;
    }
}

/* The coefficients of a score c0 + c1 s + c2 s^2 whose coefficients no key has a part in. */
static bool polynomial_score(const Spec *spec, Arena *arena, const Expr *coefficient[3])
{
    ExprPool *pool = spec->pool;
    const Expr *s = expr_var(pool, VAR_S, TYPE_FLOAT);
    if (!is_polynomial(spec->score))
        return false;
    const Expr *slope = expr_derive(pool, spec->score, s), *bend = slope ? expr_derive(pool, slope, s) : NULL;
    if (!bend || expr_uses(bend, VAR_S))
        return false;
    Leaf zero = {VAR_S, expr_float(pool, 0)};
    coefficient[0] = expr_substitute(pool, spec->score, replace_var, &zero);
    coefficient[1] = expr_substitute(pool, slope, replace_var, &zero);
    coefficient[2] = expr_op2(pool, EXPR_MUL, bend, expr_float(pool, 0.5));
    for (int n = 0; n < 3; n++) {
        Sides sides = {false, false};
        expr_walk(arena, coefficient[n], note_side, &sides);
        if (sides.key)
            return false;
    }
    return true;
}

/* The polynomial as a sum of products over the channels (1, x, x x): 1 + n + n^2 of them for n. */
static void expand_polynomial(Factor *factor, const Spec *spec, const Expr *const coefficient[3])
{
    ExprPool *pool = spec->pool;
    const Expr *n = factor->width, *one = expr_int(pool, 1), *q = factor->query, *k = factor->key;
    if (factor->query_scale)
        q = expr_op2(pool, EXPR_MUL, q, factor->query_scale);
    if (factor->key_scale)
        k = expr_op2(pool, EXPR_MUL, k, factor->key_scale);
    VarId old = factor->channel;
    factor->channel = expr_fresh_bound(pool);
    const Expr *c = expr_var(pool, factor->channel, TYPE_INT), *before = expr_op2(pool, EXPR_SUB, c, one),
               *pair = expr_op2(pool, EXPR_SUB, before, n);
    const Expr *single = expr_op2(pool, EXPR_MOD, before, n),
               *left = expr_op2(pool, EXPR_MOD, expr_op2(pool, EXPR_DIV, pair, n), n);
    const Expr *right = expr_op2(pool, EXPR_MOD, pair, n), *sides[2] = {q, k}, *made[2];
    for (int side = 0; side < 2; side++) {
        const Expr *x = at_channel(pool, sides[side], old, single);
        const Expr *xx = expr_op2(pool, EXPR_MUL, at_channel(pool, sides[side], old, left),
                                  at_channel(pool, sides[side], old, right));
        const Expr *constant = side == 0 ? coefficient[0] : expr_float(pool, 1);
        if (side == 0) {
            x = expr_op2(pool, EXPR_MUL, coefficient[1], x);
            xx = expr_op2(pool, EXPR_MUL, coefficient[2], xx);
        }
        made[side] = expr_op3(pool, EXPR_SELECT, expr_op2(pool, EXPR_EQ, c, expr_int(pool, 0)), constant,
                              expr_op3(pool, EXPR_SELECT, expr_op2(pool, EXPR_LE, c, n), x, xx));
    }
    factor->query = made[0];
    factor->key = made[1];
    factor->query_scale = factor->key_scale = NULL;
    factor->width =
        expr_op2(pool, EXPR_ADD, expr_op2(pool, EXPR_ADD, one, n), expr_op2(pool, EXPR_MUL, n, n));
    factor->polynomial = true;
}

static bool separable_score(Factor *factor, Arena *arena, const Spec *spec)
{
    Split score = {
        .arena = arena, .pool = spec->pool, .factor = factor, .centre_op = EXPR_VAR, .centre_index = VAR_S};
    const Expr *coefficient[3];
    bool polynomial = false;
    if (!split_product(&score, spec->score, false)) {
        polynomial = spec->decay.kind != DECAY_CHANNEL && !spec->decay.beta &&
                     polynomial_score(spec, arena, coefficient);
        if (!polynomial)
            return false;
        factor->reason = NULL;
        score.query = score.key = NULL;
        score.found = 1;
    }
    if (!score.found)
        return refuse(factor, spec->score->span, "the score does not depend on the similarity");
    Split outer = {.arena = arena,
                   .pool = spec->pool,
                   .factor = factor,
                   .centre_op = EXPR_SUM,
                   .centre_index = -1,
                   .query = score.query,
                   .key = score.key};
    if (!split_product(&outer, spec->similarity, false))
        return refuse(factor, spec->similarity->span, "the similarity is no sum of products");
    if (!outer.found)
        return refuse(factor, spec->similarity->span, "the similarity is no sum over channels");
    factor->query_scale = outer.query;
    factor->key_scale = outer.key;
    factor->channel = expr_fresh_bound(spec->pool);
    factor->width = outer.centre->args[0];
    Leaf channel = {outer.centre->index, expr_var(spec->pool, factor->channel, TYPE_INT)};
    const Expr *body = expr_substitute(spec->pool, outer.centre->args[1], replace_var, &channel);
    Split inner = {.arena = arena, .pool = spec->pool, .factor = factor, .centre_op = EXPR_OP_COUNT};
    if (!split_product(&inner, body, false) || !inner.query || !inner.key) {
        factor->reason = NULL;
        return refuse(factor, spec->similarity->span,
                      "the similarity is no sum of products of a query's and a key's part");
    }
    factor->query = inner.query;
    factor->key = inner.key;
    if (polynomial)
        expand_polynomial(factor, spec, coefficient);
    return true;
}

static bool split_mask(Factor *factor, Arena *arena, const Spec *spec, const Expr *e)
{
    ExprPool *pool = spec->pool;
    if (e->op == EXPR_AND)
        return split_mask(factor, arena, spec, e->args[0]) && split_mask(factor, arena, spec, e->args[1]);
    if (e->op == EXPR_BOOL && e->value.i)
        return true;
    const Expr *i = expr_var(pool, VAR_I0, TYPE_INT), *j = expr_var(pool, VAR_J0, TYPE_INT);
    if (spec->rank == 1 && e == expr_op2(pool, EXPR_LE, j, i)) {
        factor->mask_ordered = factor->ordered = true;
        return true;
    }
    Sides sides = {false, false};
    expr_walk(arena, e, note_side, &sides);
    if (sides.query && sides.key)
        return refuse(factor, spec->mask->span, "the mask hides pairs by more than their order (j <= i)");
    const Expr **seen = sides.key ? &factor->key_seen : &factor->query_seen;
    *seen = *seen ? expr_op2(pool, EXPR_AND, *seen, e) : e;
    return true;
}

Factor factor_recognise(Arena *arena, const Spec *spec)
{
    Factor factor = {.ordered = spec->decay.kind != DECAY_NONE};
    if (!linear_normaliser(&factor, spec) || !split_mask(&factor, arena, spec, spec->mask) ||
        !separable_score(&factor, arena, spec))
        return factor;
    if (factor.ordered && !factor.mask_ordered && factor.key_seen)
        refuse(&factor, spec->mask->span,
               "the mask hides keys but lets them be seen from before: write j <= i");
    else if (factor.width->op == EXPR_INT && (factor.width->value.i < 1 || factor.width->value.i > 65536))
        refuse(&factor, spec->similarity->span, "the features' width is not from 1 to 65536");
    return factor;
}

/* Choice --------------------------------------------------------------------------------------------------------- */

Lowering factor_asked(const Spec *spec, const char *target)
{
    Lowering asked = LOWERING_AUTO;
    for (int i = 0; i < spec->schedule_count; i++)
        if (!strcmp(spec->schedule[i].key, "lowering") &&
            (!spec->schedule[i].target || strstr(target, spec->schedule[i].target)))
            asked = (Lowering)spec->schedule[i].value;
    return asked;
}

/* A channel decay and the delta rule mean a recurrence: there are no pairs to evaluate. */
static bool is_recurrence(const Spec *spec)
{
    return spec->decay.kind == DECAY_CHANNEL || spec->decay.beta;
}

LoweringChoice factor_choose(Arena *arena, const Spec *spec, Lowering asked, bool states)
{
    LoweringChoice choice = {.factor = factor_recognise(arena, spec)};
    const char *reason = choice.factor.reason,
               *rule = spec->decay.beta ? "the delta rule" : "a decay by channel";
    choice.span = choice.factor.span;
    if (asked == LOWERING_QUADRATIC && is_recurrence(spec)) {
        choice.lowering = LOWERING_COUNT;
        choice.span = spec->decay.span;
        choice.why =
            arena_printf(arena, "%s has no quadratic form: it needs lowering=chunked or recurrent", rule);
    } else if (reason && (is_recurrence(spec) || asked == LOWERING_CHUNKED || asked == LOWERING_RECURRENT)) {
        choice.lowering = LOWERING_COUNT;
        choice.why = is_recurrence(spec)
                         ? arena_printf(arena, "%s needs weights that factorise: %s", rule, reason)
                         : arena_printf(arena, "lowering=%s needs weights that factorise: %s",
                                        lowering_name(asked), reason);
    } else if (asked == LOWERING_RECURRENT && !choice.factor.ordered) {
        choice.lowering = LOWERING_COUNT;
        choice.span = spec->mask->span;
        choice.why = "lowering=recurrent needs an order (j <= i), but every query sees every key";
    } else if (asked != LOWERING_AUTO) {
        choice.lowering = asked;
        choice.why = "asked for";
    } else if (reason) {
        choice.lowering = LOWERING_QUADRATIC;
        choice.why = reason;
    } else if (is_recurrence(spec)) {
        choice.lowering = LOWERING_CHUNKED;
        choice.why = arena_printf(arena, "%s has no quadratic form", rule);
    } else if (choice.factor.polynomial) {
        choice.lowering = LOWERING_QUADRATIC;
        choice.why = "as a state, the score's square would have the square of its channels: lowering=chunked "
                     "takes that";
    } else if (!states) {
        choice.lowering = LOWERING_QUADRATIC;
        choice.why = "the weights factorise, but this target's states are not faster yet";
    } else {
        choice.lowering = LOWERING_CHUNKED;
        choice.why = choice.factor.ordered ? "the weights factorise: a state carries what lies before a chunk"
                                           : "the weights factorise: one state holds all keys";
    }
    return choice;
}

int64_t factor_crossover(int64_t d, int64_t e, LinearCost cost)
{
    double width = (double)d + (double)e;
    double half = cost.rate * (2 * (double)d * (double)e / width + (double)cost.chunk) - cost.row;
    return half > 0.5 ? (int64_t)(2 * half) : 1;
}
