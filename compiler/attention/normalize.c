/* Normalisers: the row monoid {init, step over a tile of scores, finish}.
 *
 * softmax   running maximum m, sum l, accumulator acc; a new maximum rescales l and acc (online softmax, Milakov and
 *           Gimelshein 2018; FlashAttention, Dao et al. 2022). A sink joins the sum at the end.
 * none      acc alone.    sum: acc / max(l + eps, min).    magnitude: with |l|.    count: acc / |A|^a.
 * moments   two sweeps: the mean, then the centred sums (NAP, Richter and Wattenhofer 2020).
 * max       the maximum itself (late interaction, MaxSim).
 * entmax    threshold tau with sum [(a-1) t - tau]_+^(1/(a-1)) = 1: sweeps of a bracketed Newton iteration
 *           (Peters et al. 2019; AdaSplash 2025), then the weighted sum. */
#include <math.h>

#include "lower.h"

typedef struct Rows {
    Lower *lower;
    Scope *scope;          /* where the rows live: outside the sweeps */
    ExprPool *pool;
    Inst *m, *l, *acc, *count, *sum_v;
    Inst *top, *total;     /* max t and sum t, where the normaliser lacks what is returned; else NULL */
    /* entmax */
    Inst *lo, *hi, *tau, *f, *slope;
    double power, scale;
} Rows;

static const Expr *A(Rows *r, int k) { return expr_arg(r->pool, k, TYPE_FLOAT); }
static const Expr *F(Rows *r, double x) { return expr_float(r->pool, x); }
static const Expr *op1(Rows *r, ExprOp op, const Expr *a) { return expr_op1(r->pool, op, a); }
static const Expr *op2(Rows *r, ExprOp op, const Expr *a, const Expr *b) { return expr_op2(r->pool, op, a, b); }
static const Expr *pick(Rows *r, const Expr *c, const Expr *a, const Expr *b) { return expr_op3(r->pool, EXPR_SELECT, c, a, b); }

static Inst *map1(Scope *s, const Expr *e, Inst *a) { return build_map(&s->at, e, &a, 1); }
static Inst *map2(Scope *s, const Expr *e, Inst *a, Inst *b)
{
    Inst *args[] = {a, b};
    return build_map(&s->at, e, args, 2);
}
static Inst *map3(Scope *s, const Expr *e, Inst *a, Inst *b, Inst *c)
{
    Inst *args[] = {a, b, c};
    return build_map(&s->at, e, args, 3);
}

static Inst *row_var(Rows *r, double first)
{
    return build_var(&r->scope->at, ELEM_TYPE_F32, &r->lower->q.axis, 1, value_of(r->lower, r->scope, F(r, first)));
}

static Inst *row_accumulator(Rows *r)
{
    int e = program_axis(r->lower->program, "e", expr_int(r->pool, r->lower->Ev));
    int axes[] = {r->lower->q.axis, e};
    return build_var(&r->scope->at, ELEM_TYPE_F32, axes, 2, value_of(r->lower, r->scope, F(r, 0)));
}

static void set(Scope *s, Inst *var, Inst *value) { build_set(&s->at, var, value); }

/* var += reduce(value over the keys). */
static void add_row_sum(Rows *r, Scope *s, Inst *var, Inst *value)
{
    Inst *sum = build_reduce(&s->at, REDUCE_SUM, r->lower->k.axis, value);
    set(s, var, map2(s, op2(r, EXPR_ADD, A(r, 0), A(r, 1)), var, sum));
}

/* For the first sweep of a normaliser. */
static void note_returned(Rows *r, Scope *s, Inst *t, Inst *visible)
{
    const Expr *seen = op2(r, EXPR_NE, A(r, 1), F(r, 0));
    if (r->total)
        add_row_sum(r, s, r->total, map2(s, pick(r, seen, A(r, 0), F(r, 0)), t, visible));
    if (r->top) {
        Inst *scores = map2(s, pick(r, seen, A(r, 0), F(r, -INFINITY)), t, visible);
        Inst *top = build_reduce(&s->at, REDUCE_MAX, r->lower->k.axis, scores);
        set(s, r->top, map2(s, op2(r, EXPR_MAX, A(r, 0), A(r, 1)), r->top, top));
    }
}

ElemType normalize_weight_elem(const Lower *lower)
{
    NormKind kind = lower->spec->norm.kind;
    bool bounded = kind == NORM_SOFTMAX || kind == NORM_ENTMAX;
    return lower->elem == ELEM_TYPE_F16 && !bounded ? ELEM_TYPE_F32 : lower->elem;
}

/* acc += w v' */
static void add_weighted(Rows *r, Scope *s, Inst *acc, Inst *weights)
{
    Lower *lower = r->lower;
    VarId e = expr_fresh_bound(r->pool);
    value_bind_axis(lower, e, "e", lower->Ev);
    Inst *v = value_of(lower, s, feature_value_element(lower, expr_var(r->pool, e, TYPE_INT)));
    Inst *w = build_map_as(&s->at, normalize_weight_elem(lower), A(r, 0), &weights, 1);
    build_contract(&s->at, lower->k.axis, w, v, NULL, acc);
}

/* softmax ------------------------------------------------------------------------------------------------------------ */

static void softmax_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)visible;
    Rows *r = user;
    Inst *top = build_reduce(&s->at, REDUCE_MAX, lower->k.axis, t);
    Inst *m = map2(s, op2(r, EXPR_MAX, A(r, 0), A(r, 1)), r->m, top);
    /* While nothing was visible the maximum is -inf: shift by 0 instead, so that no -inf - -inf appears. */
    Inst *shift = map1(s, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), F(r, 0), A(r, 0)), m);
    Inst *scale = map2(s, op1(r, EXPR_EXP, op2(r, EXPR_SUB, A(r, 0), A(r, 1))), r->m, shift);
    Inst *p = map2(s, op1(r, EXPR_EXP, op2(r, EXPR_SUB, A(r, 0), A(r, 1))), t, shift);
    Inst *sum = build_reduce(&s->at, REDUCE_SUM, lower->k.axis, p);
    set(s, r->l, map3(s, op2(r, EXPR_ADD, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), A(r, 2)), r->l, scale, sum));
    set(s, r->acc, map2(s, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), r->acc, scale));
    set(s, r->m, m);
    add_weighted(r, s, r->acc, p);
}

static Inst *softmax_rows(Rows *r, Inst **returns)
{
    Scope *s = r->scope;
    const Expr *sink = r->lower->spec->norm.sink;
    r->m = row_var(r, -INFINITY);
    r->l = row_var(r, 0);
    r->acc = row_accumulator(r);
    forward_sweep(r->lower, s, -INFINITY, false, softmax_step, r);
    Inst *m = r->m, *l = r->l, *acc = r->acc;
    if (sink) { /* joins rows that saw a key; an empty row stays empty */
        Inst *logit = value_of(r->lower, s, sink);
        Inst *top = map2(s, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), A(r, 0), op2(r, EXPR_MAX, A(r, 0), A(r, 1))), m, logit);
        Inst *shift = map1(s, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), F(r, 0), A(r, 0)), top);
        Inst *scale = map2(s, op1(r, EXPR_EXP, op2(r, EXPR_SUB, A(r, 0), A(r, 1))), m, shift);
        const Expr *joined = op2(r, EXPR_ADD, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), op1(r, EXPR_EXP, op2(r, EXPR_SUB, A(r, 2), A(r, 3))));
        Inst *args[] = {l, scale, logit, shift};
        Inst *with_sink = build_map(&s->at, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, 0)), A(r, 0), joined), args, 4);
        acc = map2(s, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), acc, scale);
        m = top;
        l = with_sink;
    }
    /* l is 0 exactly for empty rows; m is -inf there, and so is lse. */
    returns[RETURN_LSE] = map2(s, pick(r, op2(r, EXPR_EQ, A(r, 1), F(r, 0)), F(r, -INFINITY), op2(r, EXPR_ADD, A(r, 0), op1(r, EXPR_LOG, A(r, 1)))), m, l);
    returns[RETURN_MAX] = m;
    returns[RETURN_SUM] = l;
    /* Parts of a row that are merged elsewhere need the weights relative to this maximum and sum. */
    Inst *inverse = map1(s, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, 0)), F(r, 0), op2(r, EXPR_DIV, F(r, 1), A(r, 0))), l);
    return map2(s, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), acc, inverse);
}

/* none, sum, count ---------------------------------------------------------------------------------------------------- */

static void linear_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)lower;
    Rows *r = user;
    if (r->l)
        add_row_sum(r, s, r->l, t);
    if (r->count)
        add_row_sum(r, s, r->count, visible);
    note_returned(r, s, t, visible);
    add_weighted(r, s, r->acc, t);
}

Inst *normalize_linear(Lower *lower, Scope *scope, Inst *acc, Inst *weights, Inst *count)
{
    const SpecNorm *norm = &lower->spec->norm;
    ExprPool *pool = lower->pool;
    if (norm->kind == NORM_NONE)
        return acc;
    const Expr *divisor;
    if (norm->kind == NORM_SUM || norm->kind == NORM_MAGNITUDE) {
        divisor = value_name(lower, scope, weights, TYPE_FLOAT);
        if (norm->kind == NORM_MAGNITUDE)
            divisor = expr_op1(pool, EXPR_ABS, divisor);
        if (norm->eps)
            divisor = expr_op2(pool, EXPR_ADD, divisor, norm->eps);
        if (norm->min)
            divisor = expr_op2(pool, EXPR_MAX, divisor, norm->min);
    } else {
        divisor = value_name(lower, scope, count, TYPE_FLOAT);
        if (norm->power)
            divisor = expr_op2(pool, EXPR_POW, divisor, norm->power);
    }
    const Expr *empty = expr_op2(pool, EXPR_EQ, value_name(lower, scope, count, TYPE_FLOAT), expr_float(pool, 0));
    const Expr *row = expr_op2(pool, EXPR_DIV, value_name(lower, scope, acc, TYPE_FLOAT), divisor);
    return value_of(lower, scope, expr_op3(pool, EXPR_SELECT, empty, expr_float(pool, 0), row));
}

static Inst *linear_rows(Rows *r, Inst **returns)
{
    const SpecNorm *norm = &r->lower->spec->norm;
    Scope *s = r->scope;
    if (norm->kind == NORM_SUM || norm->kind == NORM_MAGNITUDE || r->lower->spec->returns[RETURN_SUM])
        r->l = row_var(r, 0);
    if (norm->kind != NORM_NONE || r->lower->spec->output)
        r->count = row_var(r, 0);
    r->acc = row_accumulator(r);
    forward_sweep(r->lower, s, 0, r->count || r->top, linear_step, r);
    returns[RETURN_SUM] = r->l;
    returns[RETURN_MAX] = r->top;
    return normalize_linear(r->lower, s, r->acc, r->l, r->count);
}

/* moments ------------------------------------------------------------------------------------------------------------- */

static void mean_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)lower;
    Rows *r = user;
    add_row_sum(r, s, r->l, t);
    add_row_sum(r, s, r->count, visible);
    note_returned(r, s, t, visible);
}

static void centred_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)lower;
    Rows *r = user;
    Inst *centred = map3(s, op2(r, EXPR_MUL, op2(r, EXPR_SUB, A(r, 0), A(r, 1)), A(r, 2)), t, r->m, visible);
    add_row_sum(r, s, r->l, map1(s, op2(r, EXPR_MUL, A(r, 0), A(r, 0)), centred));
    add_weighted(r, s, r->acc, centred);
    add_weighted(r, s, r->sum_v, visible);
}

static Inst *moments_rows(Rows *r, Inst **returns)
{
    const SpecNorm *norm = &r->lower->spec->norm;
    Scope *s = r->scope;
    r->l = row_var(r, 0);
    r->count = row_var(r, 0);
    forward_sweep(r->lower, s, 0, true, mean_step, r);
    returns[RETURN_SUM] = r->l;
    returns[RETURN_MAX] = r->top;
    const Expr *safe = op2(r, EXPR_MAX, A(r, 1), F(r, 1));
    r->m = map2(s, op2(r, EXPR_DIV, A(r, 0), safe), r->l, r->count);
    r->l = row_var(r, 0);
    r->acc = row_accumulator(r);
    r->sum_v = row_accumulator(r);
    forward_sweep(r->lower, s, 0, true, centred_step, r);
    Inst *deviation = map2(s, op1(r, EXPR_SQRT, op2(r, EXPR_DIV, A(r, 0), safe)), r->l, r->count);
    const Expr *divisor = value_name(r->lower, s, deviation, TYPE_FLOAT);
    if (norm->eps)
        divisor = op2(r, EXPR_ADD, divisor, norm->eps);
    const Expr *o = op2(r, EXPR_DIV, value_name(r->lower, s, r->acc, TYPE_FLOAT), divisor);
    if (norm->gain)
        o = op2(r, EXPR_MUL, o, norm->gain);
    if (norm->bias)
        o = op2(r, EXPR_ADD, o, op2(r, EXPR_MUL, norm->bias, value_name(r->lower, s, r->sum_v, TYPE_FLOAT)));
    const Expr *empty = op2(r, EXPR_EQ, value_name(r->lower, s, r->count, TYPE_FLOAT), F(r, 0));
    return value_of(r->lower, s, pick(r, empty, F(r, 0), o));
}

/* max ------------------------------------------------------------------------------------------------------------------ */

static void max_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    Rows *r = user;
    Inst *top = build_reduce(&s->at, REDUCE_MAX, lower->k.axis, t);
    set(s, r->m, map2(s, op2(r, EXPR_MAX, A(r, 0), A(r, 1)), r->m, top));
    note_returned(r, s, t, visible);
}

static Inst *max_rows(Rows *r, Inst **returns)
{
    r->m = row_var(r, -INFINITY);
    forward_sweep(r->lower, r->scope, -INFINITY, r->total != NULL, max_step, r);
    returns[RETURN_MAX] = r->m;
    returns[RETURN_SUM] = r->total;
    Inst *o = row_accumulator(r);
    set(r->scope, o, map1(r->scope, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), F(r, 0), A(r, 0)), r->m));
    return o;
}

/* entmax --------------------------------------------------------------------------------------------------------------- */

static const Expr *entmax_excess(Rows *r)
{
    return op2(r, EXPR_MAX, op2(r, EXPR_SUB, op2(r, EXPR_MUL, A(r, 0), F(r, r->scale)), A(r, 1)), F(r, 0));
}

static const Expr *entmax_power(Rows *r, const Expr *x, double power)
{
    if (power == 0)
        return pick(r, op2(r, EXPR_LT, F(r, 0), x), F(r, 1), F(r, 0));
    if (power == 1)
        return x;
    if (power == 2)
        return op2(r, EXPR_MUL, x, x);
    return pick(r, op2(r, EXPR_LT, F(r, 0), x), op2(r, EXPR_POW, x, F(r, power)), F(r, 0));
}

static void entmax_newton_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)lower, (void)visible;
    Rows *r = user;
    Inst *excess = map2(s, entmax_excess(r), t, r->tau);
    add_row_sum(r, s, r->f, map1(s, entmax_power(r, A(r, 0), r->power), excess));
    add_row_sum(r, s, r->slope, map1(s, entmax_power(r, A(r, 0), r->power - 1), excess));
}

static void entmax_sum_step(Lower *lower, Scope *s, Inst *t, Inst *visible, void *user)
{
    (void)lower, (void)visible;
    Rows *r = user;
    Inst *excess = map2(s, entmax_excess(r), t, r->tau);
    Inst *p = map1(s, entmax_power(r, A(r, 0), r->power), excess);
    add_row_sum(r, s, r->l, p);
    add_weighted(r, s, r->acc, p);
}

static Inst *entmax_rows(Rows *r, Inst **returns)
{
    enum { SWEEPS = 30 }; /* bisection alone gains a bit a sweep; Newton needs 4 to 8, then the sweeps are skipped */
    Scope *root = r->scope;
    const Expr *given = r->lower->spec->norm.alpha;
    if (given->op != EXPR_FLOAT || !(given->value.f > 1)) {
        diag_error(r->lower->diag, r->lower->spec->norm.span, "entmax-alpha", "the alpha of entmax must be a number above 1 when the kernel is compiled: make it a `param const`");
        arena_fail(r->lower->arena);
    }
    double alpha = given->value.f;
    r->scale = alpha - 1;
    r->power = 1 / (alpha - 1);
    r->m = row_var(r, -INFINITY);
    forward_sweep(r->lower, root, -INFINITY, r->total != NULL, max_step, r);
    /* The threshold lies in [max - 1, max). Rows without a key get a finite one and sum to zero. */
    Inst *top = map1(root, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), F(r, 0), op2(r, EXPR_MUL, A(r, 0), F(r, r->scale))), r->m);
    int axis = r->lower->q.axis;
    r->lo = build_var(&root->at, ELEM_TYPE_F32, &axis, 1, map1(root, op2(r, EXPR_SUB, A(r, 0), F(r, 1)), top));
    r->hi = build_var(&root->at, ELEM_TYPE_F32, &axis, 1, top);
    r->tau = build_var(&root->at, ELEM_TYPE_F32, &axis, 1, map1(root, op2(r, EXPR_SUB, A(r, 0), F(r, 1)), top));
    r->f = row_var(r, 0);
    r->slope = row_var(r, 0);
    Inst *moving = build_var(&root->at, ELEM_TYPE_BOOL, &axis, 1, map1(root, op2(r, EXPR_NE, A(r, 0), F(r, -INFINITY)), r->m));
    Inst *loop = build_for(&root->at, value_of(r->lower, root, expr_int(r->pool, 0)), value_of(r->lower, root, expr_int(r->pool, SWEEPS)), false);
    root->at.before = loop;
    Scope *iteration = scope_open(r->lower, root, loop->body, NULL);
    Inst *any = build_if(&iteration->at, build_reduce(&iteration->at, REDUCE_OR, axis, moving), false);
    Scope *s = scope_open(r->lower, iteration, any->body, NULL);
    value_forget(r->lower);
    Inst *zero = value_of(r->lower, s, F(r, 0));
    set(s, r->f, zero);
    set(s, r->slope, zero);
    forward_sweep(r->lower, s, -INFINITY, false, entmax_newton_step, r);
    /* f is decreasing: f >= 1 means that the threshold is too low. A Newton step that leaves the bracket is replaced
     * by bisection. */
    Inst *low = map3(s, pick(r, op2(r, EXPR_LE, F(r, 1), A(r, 0)), A(r, 1), A(r, 2)), r->f, r->tau, r->lo);
    Inst *high = map3(s, pick(r, op2(r, EXPR_LE, F(r, 1), A(r, 0)), A(r, 2), A(r, 1)), r->f, r->tau, r->hi);
    set(s, r->lo, low);
    set(s, r->hi, high);
    const Expr *newton = op2(r, EXPR_ADD, A(r, 0), op2(r, EXPR_DIV, op2(r, EXPR_SUB, A(r, 1), F(r, 1)), op2(r, EXPR_MUL, A(r, 2), F(r, r->power))));
    Inst *next = map3(s, newton, r->tau, r->f, r->slope);
    const Expr *in = op2(r, EXPR_AND, op2(r, EXPR_LE, A(r, 1), A(r, 0)), op2(r, EXPR_LE, A(r, 0), A(r, 2)));
    const Expr *middle = op2(r, EXPR_MUL, op2(r, EXPR_ADD, A(r, 1), A(r, 2)), F(r, 0.5));
    next = map3(s, pick(r, in, A(r, 0), middle), next, r->lo, r->hi);
    Inst *args[] = {next, r->tau, moving};
    const Expr *moved = op2(r, EXPR_LT, op2(r, EXPR_MUL, F(r, 3e-7), op2(r, EXPR_MAX, F(r, 1), op1(r, EXPR_ABS, A(r, 1)))),
                            op1(r, EXPR_ABS, op2(r, EXPR_SUB, A(r, 0), A(r, 1))));
    Inst *still = build_map(&s->at, op2(r, EXPR_AND, expr_arg(r->pool, 2, TYPE_BOOL), moved), args, 3);
    set(s, r->tau, next);
    set(s, moving, still);
    root->at.before = NULL;
    value_forget(r->lower);

    r->l = row_var(r, 0);
    r->acc = row_accumulator(r);
    forward_sweep(r->lower, root, -INFINITY, false, entmax_sum_step, r);
    returns[RETURN_MAX] = r->m;
    returns[RETURN_SUM] = r->total;
    Inst *inverse = map1(root, pick(r, op2(r, EXPR_EQ, A(r, 0), F(r, 0)), F(r, 0), op2(r, EXPR_DIV, F(r, 1), A(r, 0))), r->l);
    return map2(root, op2(r, EXPR_MUL, A(r, 0), A(r, 1)), r->acc, inverse);
}

/* ------------------------------------------------------------------------------------------------------------------------ */

Inst *normalize_rows(Lower *lower, Scope *scope, Inst **returns, Inst **empty)
{
    Rows rows = {.lower = lower, .scope = scope, .pool = lower->pool};
    Rows *r = &rows;
    Inst *o = NULL;
    scope->at.label = "normalize";
    scope->at.span = lower->spec->norm.span;
    NormKind kind = lower->spec->norm.kind;
    const bool *wanted = lower->spec->returns;
    bool has_max = kind == NORM_SOFTMAX || kind == NORM_MAX || kind == NORM_ENTMAX;
    if (wanted[RETURN_MAX] && !has_max)
        r->top = row_var(r, -INFINITY);
    if (wanted[RETURN_SUM] && (kind == NORM_MAX || kind == NORM_ENTMAX))
        r->total = row_var(r, 0);
    switch (kind) {
    case NORM_SOFTMAX:
        o = softmax_rows(r, returns);
        break;
    case NORM_NONE:
    case NORM_SUM:
    case NORM_MAGNITUDE:
    case NORM_COUNT:
        o = linear_rows(r, returns);
        break;
    case NORM_MOMENTS:
        o = moments_rows(r, returns);
        break;
    case NORM_MAX:
        o = max_rows(r, returns);
        break;
    case NORM_ENTMAX:
        o = entmax_rows(r, returns);
        break;
    }
    *empty = NULL;
    if (lower->spec->output)
        *empty = rows.count ? map1(scope, op2(r, EXPR_EQ, A(r, 0), F(r, 0)), rows.count) : map1(scope, op2(r, EXPR_EQ, A(r, 0), F(r, -INFINITY)), rows.m);
    return o;
}
