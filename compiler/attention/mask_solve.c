/* A case is a conjunction of atoms over coordinates x and their differences. It is decided in this order:
 *
 *   1. atoms about one coordinate alone bound it:             c x + g >= 0  gives  x >= -(g / c) or x <= g /
 * -c
 *   2. differences get their bounds from the coordinates, then from the atoms about one difference alone
 *   3. congruences move a bound to the nearest number of the residue class
 *   4. what the differences say is passed back to the coordinates (i = j + delta)
 *   5. each remaining atom bounds each of its terms, given the bounds of its others, and is then tested by
 * intervals
 *
 * With q = x / d (d > 0), q >= l is x >= l d and q <= u is x <= u d + d - 1. Steps 1 to 3 are exact, so a
 * case whose atoms they use up (windows, causal, blocks, dilation) is decided exactly; 5 is sound. */
#include "compiler/spec/expr_pool.h"
#include "mask_solve.h"

typedef struct State {
    Solver *s;
    const Expr *lo[SOLVE_VARS], *hi[SOLVE_VARS];         /* bounds so far */
    const Expr *new_lo[SOLVE_VARS], *new_hi[SOLVE_VARS]; /* those that atoms gave since `base` */
    const Expr *base_lo[SOLVE_VARS], *base_hi[SOLVE_VARS];
    bool bounded_lo[SOLVE_VARS], bounded_hi[SOLVE_VARS]; /* by an inequality */
} State;

static const Expr *op2(const Solver *s, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(s->pool, op, a, b);
}
static const Expr *number(const Solver *s, int64_t value) { return expr_int(s->pool, value); }

static int var_of(const Solver *s, const Expr *e)
{
    for (int v = 0; v < SOLVE_VARS; v++)
        if (s->var[v] == e)
            return v;
    return -1;
}

/* Ranges
 * ------------------------------------------------------------------------------------------------------ */

static ExprRange leaf_range(void *user, const Expr *leaf)
{
    const State *state = user;
    const Solver *s = state->s;
    int v = var_of(s, leaf);
    if (v >= 0)
        return (ExprRange){state->lo[v], state->hi[v]};
    if (leaf->op != EXPR_INPUT)
        return (ExprRange){leaf, leaf};
    MaskSide side = mask_array_side(s->spec, leaf);
    if (side == MASK_SIDE_NONE)
        return (ExprRange){leaf, leaf};
    bool known = s->arrays &&
                 ((side == MASK_SIDE_QUERY && s->query_arrays) || (side == MASK_SIDE_KEY && s->key_arrays));
    return known ? s->arrays->range(s->arrays->user, leaf) : (ExprRange){NULL, NULL};
}

static ExprRange range(State *state, const Expr *e)
{
    return expr_range(state->s->pool, e, leaf_range, state);
}

static void set_differences(State *state)
{
    const Solver *s = state->s;
    for (int a = 0; a < s->spec->rank; a++) {
        int i = SOLVE_I + a, j = SOLVE_J + a, d = SOLVE_DELTA + a;
        state->lo[d] = op2(s, EXPR_SUB, state->lo[i], state->hi[j]);
        state->hi[d] = op2(s, EXPR_SUB, state->hi[i], state->lo[j]);
    }
}

static void begin(State *state, Solver *s)
{
    *state = (State){.s = s};
    for (int v = 0; v < SOLVE_DELTA; v++) {
        state->lo[v] = s->lo[v];
        state->hi[v] = s->hi[v];
    }
    set_differences(state);
}

ExprRange solve_box_range(Solver *s, const Expr *e)
{
    State state;
    begin(&state, s);
    return range(&state, e);
}

/* Narrowing
 * --------------------------------------------------------------------------------------------------- */

static void at_least(State *state, int v, const Expr *bound)
{
    state->new_lo[v] = state->new_lo[v] ? op2(state->s, EXPR_MAX, state->new_lo[v], bound) : bound;
    state->lo[v] = op2(state->s, EXPR_MAX, state->lo[v], bound);
    state->bounded_lo[v] = true;
}

static void at_most(State *state, int v, const Expr *bound)
{
    state->new_hi[v] = state->new_hi[v] ? op2(state->s, EXPR_MIN, state->new_hi[v], bound) : bound;
    state->hi[v] = op2(state->s, EXPR_MIN, state->hi[v], bound);
    state->bounded_hi[v] = true;
}

static void narrow(State *state, const Expr *form, int only);

/* The bound that c * t + rest >= 0 gives for t, where rest <= most: t >= -(most / c), or t <= most / -c. */
static const Expr *solved_bound(const Solver *s, int64_t c, const Expr *most)
{
    if (c > 0)
        return expr_op1(s->pool, EXPR_NEG, op2(s, EXPR_DIV, most, number(s, c)));
    return op2(s, EXPR_DIV, most, number(s, -c));
}

/* t = x / d is at least (lower) or at most `bound`. */
static void narrow_quotient(State *state, const Expr *t, bool lower, const Expr *bound, int only)
{
    const Solver *s = state->s;
    const Expr *x = t->args[0], *d = t->args[1];
    if (solve_varies(s, d))
        return;
    const Expr *limit = op2(s, EXPR_MUL, bound, d);
    if (!lower)
        limit = op2(s, EXPR_ADD, limit, op2(s, EXPR_SUB, d, number(s, 1)));
    if (!expr_positive(d)) { /* known at launch only: without a positive d nothing is said */
        ExprRange now = range(state, x);
        if (!now.lo || !now.hi)
            return;
        limit =
            expr_op3(s->pool, EXPR_SELECT, op2(s, EXPR_LE, number(s, 1), d), limit, lower ? now.lo : now.hi);
    }
    narrow(state, lower ? op2(s, EXPR_SUB, x, limit) : op2(s, EXPR_SUB, limit, x), only);
}

/* form >= 0 bounds its terms; `only`: this variable, or (negative) all of them. */
static void narrow(State *state, const Expr *form, int only)
{
    const Solver *s = state->s;
    ExprLinear linear = {0};
    if (!expr_linear_add(&linear, form, 1))
        return;
    for (int k = 0; k < linear.count; k++) {
        const Expr *t = linear.term[k];
        int v = var_of(s, t);
        bool quotient = t->op == EXPR_DIV && t->type == TYPE_INT && solve_reads(s, t);
        if ((v < 0 && !quotient) || (v >= 0 && only >= 0 && v != only) || linear.coef[k] == INT64_MIN)
            continue;
        ExprLinear rest = linear;
        if (!expr_linear_add(&rest, t, -linear.coef[k]))
            continue;
        ExprRange others = range(state, expr_linear_build(s->pool, &rest));
        if (!others.hi)
            continue;
        const Expr *bound = solved_bound(s, linear.coef[k], others.hi);
        if (quotient)
            narrow_quotient(state, t, linear.coef[k] > 0, bound, only);
        else if (linear.coef[k] > 0)
            at_least(state, v, bound);
        else
            at_most(state, v, bound);
    }
}

/* The single variable that the form depends on (through quotients by positive numbers), or -1: then narrowing
 * it says all that form >= 0 says. */
static int sole_variable(const Solver *s, const Expr *form)
{
    ExprLinear linear = {0};
    if (!expr_linear_add(&linear, form, 1))
        return -1;
    const Expr *sole = NULL;
    for (int k = 0; k < linear.count; k++)
        if (solve_varies(s, linear.term[k])) {
            if (sole)
                return -1;
            sole = linear.term[k];
        }
    if (!sole)
        return -1;
    if (sole->op == EXPR_DIV && sole->type == TYPE_INT && expr_positive(sole->args[1]) &&
        !solve_varies(s, sole->args[1]))
        return sole_variable(s, sole->args[0]);
    return var_of(s, sole);
}

static void narrow_atom(State *state, const Atom *atom, int only)
{
    if (atom->kind == ATOM_GE || atom->kind == ATOM_EQ)
        narrow(state, atom->form, only);
    if (atom->kind == ATOM_EQ)
        narrow(state, expr_op1(state->s->pool, EXPR_NEG, atom->form), only);
}

/* d divides c v + g with c = 1 or -1: moves the bounds of v to the residue class. */
static int sole_congruent(const Solver *s, const Atom *atom, int64_t *sign)
{
    ExprLinear linear = {0};
    if (atom->kind != ATOM_CONGRUENT || !expr_positive(atom->divisor) ||
        !expr_linear_add(&linear, atom->form, 1))
        return -1;
    int found = -1;
    for (int k = 0; k < linear.count; k++) {
        int v = var_of(s, linear.term[k]);
        if (v < 0 && !solve_varies(s, linear.term[k]))
            continue;
        if (v < 0 || found >= 0 || (linear.coef[k] != 1 && linear.coef[k] != -1))
            return -1;
        found = v;
        *sign = linear.coef[k];
    }
    return found;
}

static void narrow_congruent(State *state, const Atom *atom, int v, int64_t sign)
{
    const Solver *s = state->s;
    const Expr *d = atom->divisor, *var = s->var[v];
    /* form = sign (v - r): numbers of the class are r + d k */
    const Expr *r = op2(s, EXPR_SUB, var, op2(s, EXPR_MUL, atom->form, number(s, sign)));
    const Expr *last = op2(s, EXPR_SUB, d, number(s, 1));
    const Expr *up = op2(s, EXPR_DIV, op2(s, EXPR_ADD, op2(s, EXPR_SUB, state->lo[v], r), last), d);
    const Expr *down = op2(s, EXPR_DIV, op2(s, EXPR_SUB, state->hi[v], r), d);
    state->lo[v] = op2(s, EXPR_ADD, r, op2(s, EXPR_MUL, up, d));
    state->hi[v] = op2(s, EXPR_ADD, r, op2(s, EXPR_MUL, down, d));
    state->new_lo[v] = state->lo[v];
    state->new_hi[v] = state->hi[v];
}

/* Conditions
 * -------------------------------------------------------------------------------------------------- */

static const Expr *and_with(const Solver *s, const Expr *all, const Expr *one)
{
    return op2(s, EXPR_AND, all, one);
}

/* lo <= hi, where the box's own bounds are known to be in order. */
static const Expr *nonempty(const State *state, int v)
{
    const Solver *s = state->s;
    const Expr *lo = state->new_lo[v], *hi = state->new_hi[v];
    if (!lo && !hi)
        return expr_bool(s->pool, true);
    if (lo && hi)
        return op2(s, EXPR_LE, state->lo[v], state->hi[v]);
    return lo ? op2(s, EXPR_LE, lo, state->base_hi[v]) : op2(s, EXPR_LE, state->base_lo[v], hi);
}

static const Expr *atom_possible(State *state, const Atom *atom)
{
    const Solver *s = state->s;
    ExprPool *pool = s->pool;
    const Expr *yes = expr_bool(pool, true), *zero = number(s, 0), *one = number(s, 1);
    if (atom->kind == ATOM_OTHER)
        return range(state, atom->form).hi;
    ExprRange r = range(state, atom->form);
    const Expr *reaches = r.hi ? op2(s, EXPR_LE, zero, r.hi) : yes;
    switch (atom->kind) {
    case ATOM_GE: return reaches;
    case ATOM_EQ: return r.lo ? op2(s, EXPR_AND, reaches, op2(s, EXPR_LE, r.lo, zero)) : reaches;
    case ATOM_NE:
        return r.lo && r.hi ? op2(s, EXPR_OR, op2(s, EXPR_LT, r.lo, zero), op2(s, EXPR_LT, zero, r.hi)) : yes;
    default: break;
    }
    ExprRange d = range(state, atom->divisor);
    if (!r.lo || !r.hi || !d.lo || d.lo != d.hi)
        return yes;
    const Expr *exists =
        op2(s, EXPR_LT, op2(s, EXPR_DIV, op2(s, EXPR_SUB, r.lo, one), d.lo), op2(s, EXPR_DIV, r.hi, d.lo));
    return expr_positive(d.lo) ? exists : op2(s, EXPR_OR, exists, op2(s, EXPR_LE, d.lo, zero));
}

static void set_base(State *state, int first, int count)
{
    for (int v = first; v < first + count; v++) {
        state->base_lo[v] = state->lo[v];
        state->base_hi[v] = state->hi[v];
    }
}

/* Runs the steps; afterwards state has the narrowed bounds. `fully`: also step 5's narrowing. */
static const Expr *decide(State *state, Case *c, bool fully)
{
    Solver *s = state->s;
    case_join_quotients(s, c);
    const Expr *possible = expr_bool(s->pool, true);
    bool used[CASE_ATOMS] = {false};
    int left = 0;
    for (int step = 0; step < 2; step++) { /* coordinates, then differences */
        int first = step == 0 ? 0 : SOLVE_DELTA, count = step == 0 ? SOLVE_DELTA : SOLVE_VARS - SOLVE_DELTA;
        if (step == 1)
            set_differences(state);
        set_base(state, first, count);
        for (int pass = 0; pass < 2; pass++) /* inequalities, then congruences */
            for (int k = 0; k < c->count; k++) {
                int64_t sign = 1;
                int v = pass == 1                    ? sole_congruent(s, &c->atom[k], &sign)
                        : c->atom[k].kind <= ATOM_EQ ? sole_variable(s, c->atom[k].form)
                                                     : -1;
                if (v < first || v >= first + count || used[k])
                    continue;
                used[k] = true;
                if (pass == 0)
                    narrow_atom(state, &c->atom[k], v);
                else
                    narrow_congruent(state, &c->atom[k], v, sign);
            }
        for (int v = first; v < first + count; v++)
            if (s->var[v])
                possible = and_with(s, possible, nonempty(state, v));
    }
    for (int k = 0; k < c->count; k++)
        left += !used[k];
    if (left == 0 && !fully)
        return possible;
    for (int a = 0; a < s->spec->rank; a++) {
        int i = SOLVE_I + a, j = SOLVE_J + a, d = SOLVE_DELTA + a;
        State before = *state; /* what only a congruence moved does not count as bounded */
        if (state->new_lo[d]) {
            at_least(state, i, op2(s, EXPR_ADD, before.lo[j], before.lo[d]));
            at_most(state, j, op2(s, EXPR_SUB, before.hi[i], before.lo[d]));
            state->bounded_lo[i] = before.bounded_lo[i] || before.bounded_lo[d];
            state->bounded_hi[j] = before.bounded_hi[j] || before.bounded_lo[d];
        }
        if (state->new_hi[d]) {
            at_most(state, i, op2(s, EXPR_ADD, before.hi[j], before.hi[d]));
            at_least(state, j, op2(s, EXPR_SUB, before.lo[i], before.hi[d]));
            state->bounded_hi[i] = before.bounded_hi[i] || before.bounded_hi[d];
            state->bounded_lo[j] = before.bounded_lo[j] || before.bounded_hi[d];
        }
    }
    for (int k = 0; k < c->count && (fully || left > 1); k++)
        if (!used[k])
            narrow_atom(state, &c->atom[k], -1);
    for (int v = 0; v < SOLVE_DELTA && fully; v++)
        if (state->bounded_lo[v] || state->bounded_hi[v])
            possible = and_with(s, possible, op2(s, EXPR_LE, state->lo[v], state->hi[v]));
    for (int k = 0; k < c->count; k++)
        if (!used[k])
            possible = and_with(s, possible, atom_possible(state, &c->atom[k]));
    return possible;
}

/* A whole predicate
 * ------------------------------------------------------------------------------------------- */

static const Expr *case_may(Solver *s, Case *c)
{
    State state;
    begin(&state, s);
    return decide(&state, c, false);
}

static const Expr *cases_may(Solver *s, const Cases *cases)
{
    const Expr *may = expr_bool(s->pool, false);
    for (int k = 0; k < cases->count; k++) {
        const Expr *one = case_may(s, &cases->list[k]), *valid;
        Cases split;
        if (cases_split_wraps(s, &cases->list[k], &split, &valid)) {
            const Expr *any = expr_op1(s->pool, EXPR_NOT, valid);
            for (int n = 0; n < split.count; n++)
                any = op2(s, EXPR_OR, any, case_may(s, &split.list[n]));
            one = op2(s, EXPR_AND, one, any);
        }
        may = op2(s, EXPR_OR, may, one);
    }
    return may;
}

/* The conjunction's members, grouped by the coordinates that they share: groups are independent of one
 * another. */
enum { GROUPS = 32 };
typedef struct Group {
    unsigned reads;
    Cases cases;
    bool open;
} Group;
typedef struct Groups {
    int count;
    Group group[GROUPS];
} Groups;

static void collect(Solver *s, const Expr *e, bool positive, Groups *groups)
{
    if (e->op == EXPR_NOT) {
        collect(s, e->args[0], !positive, groups);
        return;
    }
    if (e->op == (positive ? EXPR_AND : EXPR_OR)) {
        collect(s, e->args[0], positive, groups);
        collect(s, e->args[1], positive, groups);
        return;
    }
    Group new = {solve_reads(s, e), cases_of(s, e, positive), true};
    for (int k = 0; k < groups->count; k++) {
        Group *old = &groups->group[k];
        Cases both;
        if (!old->open || !(old->reads & new.reads) || !cases_both(s, &old->cases, &new.cases, &both))
            continue;
        new = (Group){old->reads | new.reads, both, true};
        old->open = false;
    }
    for (int k = 0; k < groups->count; k++)
        if (!groups->group[k].open) {
            groups->group[k] = new;
            return;
        }
    if (groups->count < GROUPS)
        groups->group[groups->count++] = new;
    /* else left out: the rest of a conjunction is a weaker condition, so still sound */
}

static const Expr *may_by_cases(Solver *s, const Expr *e, bool positive)
{
    if (e->op == EXPR_NOT)
        return may_by_cases(s, e->args[0], !positive);
    if (e->op == (positive ? EXPR_OR : EXPR_AND))
        return op2(s, EXPR_OR, may_by_cases(s, e->args[0], positive), may_by_cases(s, e->args[1], positive));
    Groups *groups = ARENA_NEW(s->arena, Groups);
    collect(s, e, positive, groups);
    const Expr *may = expr_bool(s->pool, true);
    for (int k = 0; k < groups->count; k++)
        if (groups->group[k].open)
            may = op2(s, EXPR_AND, may, cases_may(s, &groups->group[k].cases));
    return may;
}

const Expr *solve_may(Solver *s, const Expr *e, bool positive)
{
    if (e->tree <= SOLVE_LARGEST) {
        const Expr *may = may_by_cases(s, e, positive);
        if (expr_count(s->arena, may) <= SOLVE_NODES)
            return may;
    }
    ExprRange plain = solve_box_range(s, e);
    return positive ? plain.hi : expr_op1(s->pool, EXPR_NOT, plain.lo);
}

typedef struct Hull {
    const Expr *lo, *hi;
    bool any;
} Hull;

/* The union of the hull with [lo, hi] where `possible` (NULL: always). */
static void hull_join(Solver *s, Hull *hull, int v, const Expr *lo, const Expr *hi, const Expr *possible)
{
    if (possible) { /* an impossible case adds nothing: an empty interval at the far ends of the box */
        lo = expr_op3(s->pool, EXPR_SELECT, possible, lo, s->hi[v]);
        hi = expr_op3(s->pool, EXPR_SELECT, possible, hi, s->lo[v]);
    }
    hull->lo = hull->any ? op2(s, EXPR_MIN, hull->lo, lo) : lo;
    hull->hi = hull->any ? op2(s, EXPR_MAX, hull->hi, hi) : hi;
    hull->any = true;
}

static Hull cases_hull(Solver *s, const Cases *cases, int v)
{
    Hull hull = {NULL, NULL, false};
    for (int k = 0; k < cases->count; k++) {
        State state;
        begin(&state, s);
        const Expr *case_possible = decide(&state, &cases->list[k], true);
        const Expr *lo = state.lo[v], *hi = state.hi[v], *valid;
        bool open = !state.bounded_lo[v] || !state.bounded_hi[v];
        Cases split;
        if (cases_split_wraps(s, &cases->list[k], &split, &valid)) {
            Hull inner = {NULL, NULL, false};
            for (int n = 0; n < split.count; n++) {
                begin(&state, s);
                const Expr *possible = decide(&state, &split.list[n], true);
                hull_join(s, &inner, v, state.lo[v], state.hi[v], possible);
            }
            lo = expr_op3(s->pool, EXPR_SELECT, valid, inner.lo, lo);
            hi = expr_op3(s->pool, EXPR_SELECT, valid, inner.hi, hi);
        }
        /* A case that leaves a side open would open the union: let it count only where it can hold. */
        hull_join(s, &hull, v, lo, hi, open && cases->count > 1 ? case_possible : NULL);
    }
    return hull;
}

static Hull hull_of(Solver *s, const Expr *e, bool positive, int v);

static void hull_alternatives(Solver *s, const Expr *e, bool positive, int v, Hull *hull)
{
    if (e->op == EXPR_NOT) {
        hull_alternatives(s, e->args[0], !positive, v, hull);
        return;
    }
    if (e->op == (positive ? EXPR_OR : EXPR_AND)) {
        hull_alternatives(s, e->args[0], positive, v, hull);
        hull_alternatives(s, e->args[1], positive, v, hull);
        return;
    }
    Hull one = hull_of(s, e, positive, v);
    const Expr *lo = one.any ? one.lo : s->lo[v], *hi = one.any ? one.hi : s->hi[v];
    bool open = lo == s->lo[v] || hi == s->hi[v];
    hull_join(s, hull, v, lo, hi, open ? solve_may(s, e, positive) : NULL);
}

static Hull hull_of(Solver *s, const Expr *e, bool positive, int v)
{
    Hull hull = {NULL, NULL, false};
    if (e->op == EXPR_NOT)
        return hull_of(s, e->args[0], !positive, v);
    if (e->op == (positive ? EXPR_OR : EXPR_AND)) {
        hull_alternatives(s, e, positive, v, &hull);
        return hull;
    }
    Groups *groups = ARENA_NEW(s->arena, Groups);
    collect(s, e, positive, groups);
    for (int k = 0; k < groups->count; k++)
        if (groups->group[k].open && groups->group[k].reads >> v & 1)
            return cases_hull(s, &groups->group[k].cases, v);
    return hull;
}

ExprRange solve_hull(Solver *s, const Expr *predicate, int v)
{
    ExprRange none = {NULL, NULL};
    Hull hull = predicate->tree > SOLVE_LARGEST ? (Hull){NULL, NULL, false} : hull_of(s, predicate, true, v);
    if (!hull.any)
        return none;
    bool lo = hull.lo != s->lo[v] && expr_count(s->arena, hull.lo) <= SOLVE_NODES;
    bool hi = hull.hi != s->hi[v] && expr_count(s->arena, hull.hi) <= SOLVE_NODES;
    return (ExprRange){lo ? hull.lo : NULL, hi ? hull.hi : NULL};
}

/* Preparation
 * ------------------------------------------------------------------------------------------------- */

static const Expr *map_coordinate(void *user, const Expr *leaf)
{
    Solver *s = user;
    if (leaf->op == EXPR_INPUT) /* its indices say which element; what it holds is asked of the arrays */
        return leaf;
    if (leaf->op != EXPR_VAR || leaf->index < VAR_I0 || leaf->index > VAR_J2)
        return NULL;
    return s->var[leaf->index - VAR_I0 + SOLVE_I];
}

const Expr *solve_prepare(Solver *s, const Expr *predicate)
{
    for (int v = 0; v < SOLVE_VARS; v++)
        s->var[v] = expr_var(s->pool, expr_fresh_bound(s->pool), TYPE_INT);
    return expr_substitute(s->pool, predicate, map_coordinate, s);
}
