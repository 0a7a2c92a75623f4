/* Symbolic interval analysis: from the bounds of an expression's leaves, expressions for its own bounds.
 *
 * A range [lo, hi] of a number holds every value that the expression takes; for a bool, lo is "must be true"
 * and hi "may be true". A leaf that does not vary has lo == hi (one pointer), and so has anything built of
 * such leaves. A NULL bound is unknown. The rules are named in the range column of expr_ops.def. Index
 * arithmetic is taken not to overflow 64 bits; float rules hold for round-to-nearest, which is monotone. */
#include "expr_pool.h"

#include <math.h>

typedef struct Ranger {
    ExprPool *pool;
    const Expr *root;
    ExprRange (*leaf)(void *user, const Expr *e);
    void *user;
    ExprMemo memo;
} Ranger;

static const ExprRange unknown = {NULL, NULL};

static bool is_point(ExprRange r) { return r.lo && r.lo == r.hi; }

static const Expr *op1(Ranger *r, ExprOp op, const Expr *a) { return a ? expr_op1(r->pool, op, a) : NULL; }

/* NULL when an operand is. */
static const Expr *op2(Ranger *r, ExprOp op, const Expr *a, const Expr *b)
{
    return a && b ? expr_op2(r->pool, op, a, b) : NULL;
}

/* min for an upper bound, max for a lower one: an unknown operand is the weaker bound. */
static const Expr *tighter(Ranger *r, ExprOp op, const Expr *a, const Expr *b)
{
    return !a ? b : !b ? a : expr_op2(r->pool, op, a, b);
}

static const Expr *zero_of(Ranger *r, const Expr *like)
{
    return like->type == TYPE_FLOAT ? expr_float(r->pool, 0) : expr_int(r->pool, 0);
}

/* Signs -------------------------------------------------------------------------------------------------- */

static bool is_size(const Expr *e)
{
    return e->op == EXPR_VAR && e->index >= VAR_SIZE_B && e->index <= VAR_SIZE_N2;
}

bool expr_positive(const Expr *e)
{
    switch ((ExprOp)e->op) {
    case EXPR_INT: return e->value.i > 0;
    case EXPR_FLOAT: return e->value.f > 0;
    case EXPR_VAR: return is_size(e);
    case EXPR_ADD:
        return (expr_positive(e->args[0]) && expr_nonnegative(e->args[1])) ||
               (expr_nonnegative(e->args[0]) && expr_positive(e->args[1]));
    case EXPR_MUL:
    case EXPR_MIN: return expr_positive(e->args[0]) && expr_positive(e->args[1]);
    case EXPR_MAX: return expr_positive(e->args[0]) || expr_positive(e->args[1]);
    case EXPR_SELECT: return expr_positive(e->args[1]) && expr_positive(e->args[2]);
    case EXPR_TOFLOAT: return expr_positive(e->args[0]);
    default: return false;
    }
}

bool expr_nonnegative(const Expr *e)
{
    switch ((ExprOp)e->op) {
    case EXPR_INT: return e->value.i >= 0;
    case EXPR_FLOAT: return e->value.f >= 0;
    case EXPR_VAR: /* not I: queries may start before position 0 */
        return is_size(e) || e->index == VAR_B || e->index == VAR_H || e->index == VAR_G ||
               (e->index >= VAR_J0 && e->index <= VAR_J2) || e->index == VAR_C;
    case EXPR_ADD:
    case EXPR_MUL:
    case EXPR_DIV:
    case EXPR_MIN: return expr_nonnegative(e->args[0]) && expr_nonnegative(e->args[1]);
    case EXPR_MAX: return expr_nonnegative(e->args[0]) || expr_nonnegative(e->args[1]);
    case EXPR_MOD: return e->type == TYPE_INT && expr_nonnegative(e->args[1]);
    case EXPR_SELECT: return expr_nonnegative(e->args[1]) && expr_nonnegative(e->args[2]);
    case EXPR_TOFLOAT:
    case EXPR_FLOOR:
    case EXPR_SQRT: return expr_nonnegative(e->args[0]);
    case EXPR_ABS:
    case EXPR_BTOI:
    case EXPR_BTOF:
    case EXPR_EXP:
    case EXPR_EXP2:
    case EXPR_SIGMOID: return true;
    default: return false;
    }
}

/* Rules -------------------------------------------------------------------------------------------------- */

typedef ExprRange Rule(Ranger *r, const Expr *e, const ExprRange *x);
static ExprRange range_of(Ranger *r, const Expr *e);

static ExprRange rule_constant(Ranger *r, const Expr *e, const ExprRange *x)
{
    (void)r, (void)x;
    return (ExprRange){e, e};
}

static ExprRange rule_leaf(Ranger *r, const Expr *e, const ExprRange *x)
{
    (void)x;
    /* Bound by a reduction on the way here: reductions are ranged trip by trip. */
    if (e->op == EXPR_VAR && e->index >= VAR_FIRST_BOUND && !expr_set_has(r->root->free_bound, e->index))
        return (ExprRange){e, e};
    return r->leaf(r->user, e);
}

static ExprRange rule_none(Ranger *r, const Expr *e, const ExprRange *x)
{
    if (e->op == EXPR_RSQRT && x[0].lo && expr_positive(x[0].lo))
        return (ExprRange){op1(r, EXPR_RSQRT, x[0].hi), op1(r, EXPR_RSQRT, x[0].lo)};
    return unknown;
}

/* Sums of ints: each variable counted once, because sums are kept in linear normal form. */
static ExprRange rule_linear(Ranger *r, const Expr *e, const ExprRange *x)
{
    if (e->type == TYPE_FLOAT) {
        if (e->op == EXPR_NEG)
            return (ExprRange){op1(r, EXPR_NEG, x[0].hi), op1(r, EXPR_NEG, x[0].lo)};
        bool add = e->op == EXPR_ADD;
        return (ExprRange){op2(r, (ExprOp)e->op, x[0].lo, add ? x[1].lo : x[1].hi),
                           op2(r, (ExprOp)e->op, x[0].hi, add ? x[1].hi : x[1].lo)};
    }
    ExprLinear sum = {0};
    if (!expr_linear_add(&sum, e, 1)) { /* too long: the two operands as they are */
        ExprRange b = e->op == EXPR_ADD   ? x[1]
                      : e->op == EXPR_SUB ? (ExprRange){op1(r, EXPR_NEG, x[1].hi), op1(r, EXPR_NEG, x[1].lo)}
                                          : unknown;
        return (ExprRange){op2(r, EXPR_ADD, x[0].lo, b.lo), op2(r, EXPR_ADD, x[0].hi, b.hi)};
    }
    ExprLinear lo = {.constant = sum.constant}, hi = lo;
    bool has_lo = true, has_hi = true;
    for (int k = 0; k < sum.count; k++) {
        ExprRange t = range_of(r, sum.term[k]);
        const Expr *low = sum.coef[k] > 0 ? t.lo : t.hi, *high = sum.coef[k] > 0 ? t.hi : t.lo;
        has_lo = has_lo && low && expr_linear_add(&lo, low, sum.coef[k]);
        has_hi = has_hi && high && expr_linear_add(&hi, high, sum.coef[k]);
    }
    return (ExprRange){has_lo ? expr_linear_build(r->pool, &lo) : NULL,
                       has_hi ? expr_linear_build(r->pool, &hi) : NULL};
}

static ExprRange rule_mul(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprRange a = x[0], b = x[1];
    if (e->type == TYPE_INT && e->args[1]->op == EXPR_INT)
        return rule_linear(r, e, x);
    if (!is_point(b) && is_point(a)) {
        ExprRange swap = a;
        a = b;
        b = swap;
    }
    if (e->args[0] == e->args[1]) { /* a square */
        const Expr *low = op2(r, EXPR_MUL, a.lo, a.lo), *high = op2(r, EXPR_MUL, a.hi, a.hi);
        const Expr *zero = zero_of(r, e);
        const Expr *straddles = a.lo && a.hi
                                    ? expr_op2(r->pool, EXPR_AND, expr_op2(r->pool, EXPR_LE, a.lo, zero),
                                               expr_op2(r->pool, EXPR_LE, zero, a.hi))
                                    : NULL;
        return (ExprRange){
            straddles ? expr_op3(r->pool, EXPR_SELECT, straddles, zero, op2(r, EXPR_MIN, low, high)) : zero,
            op2(r, EXPR_MAX, low, high)};
    }
    if (is_point(b) && expr_nonnegative(b.lo))
        return (ExprRange){op2(r, EXPR_MUL, a.lo, b.lo), op2(r, EXPR_MUL, a.hi, b.lo)};
    if (a.lo && b.lo && expr_nonnegative(a.lo) && expr_nonnegative(b.lo))
        return (ExprRange){op2(r, EXPR_MUL, a.lo, b.lo), op2(r, EXPR_MUL, a.hi, b.hi)};
    const Expr *p[4] = {op2(r, EXPR_MUL, a.lo, b.lo), op2(r, EXPR_MUL, a.hi, b.lo),
                        op2(r, EXPR_MUL, a.lo, b.hi), op2(r, EXPR_MUL, a.hi, b.hi)};
    return (ExprRange){op2(r, EXPR_MIN, op2(r, EXPR_MIN, p[0], p[1]), op2(r, EXPR_MIN, p[2], p[3])),
                       op2(r, EXPR_MAX, op2(r, EXPR_MAX, p[0], p[1]), op2(r, EXPR_MAX, p[2], p[3]))};
}

static ExprRange rule_div(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprRange a = x[0], b = x[1];
    if (e->type == TYPE_FLOAT) {
        const Expr *low = op2(r, EXPR_DIV, a.lo, b.lo), *high = op2(r, EXPR_DIV, a.hi, b.lo);
        if (!is_point(b) || !low || !high)
            return unknown;
        if (expr_positive(b.lo))
            return (ExprRange){low, high};
        const Expr *infinity = expr_float(r->pool, INFINITY), *none = expr_float(r->pool, -INFINITY);
        const Expr *by_zero = op2(r, EXPR_EQ, b.lo, expr_float(r->pool, 0));
        return (ExprRange){expr_op3(r->pool, EXPR_SELECT, by_zero, none, op2(r, EXPR_MIN, low, high)),
                           expr_op3(r->pool, EXPR_SELECT, by_zero, infinity, op2(r, EXPR_MAX, low, high))};
    }
    if (is_point(b)) { /* also right for b = 0, where everything is 0 */
        const Expr *low = op2(r, EXPR_DIV, a.lo, b.lo), *high = op2(r, EXPR_DIV, a.hi, b.lo);
        if (expr_nonnegative(b.lo))
            return (ExprRange){low, high};
        return (ExprRange){op2(r, EXPR_MIN, low, high), op2(r, EXPR_MAX, low, high)};
    }
    if (b.lo && expr_positive(b.lo) && b.hi)
        return (ExprRange){op2(r, EXPR_MIN, op2(r, EXPR_DIV, a.lo, b.lo), op2(r, EXPR_DIV, a.lo, b.hi)),
                           op2(r, EXPR_MAX, op2(r, EXPR_DIV, a.hi, b.lo), op2(r, EXPR_DIV, a.hi, b.hi))};
    const Expr *size = op2(r, EXPR_MAX, op1(r, EXPR_ABS, a.lo), op1(r, EXPR_ABS, a.hi));
    return (ExprRange){op1(r, EXPR_NEG, size), size};
}

/* While a stays in one period of b, a % b grows with a; otherwise it may be any remainder. */
static ExprRange rule_mod(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprRange a = x[0], b = x[1];
    if (e->type == TYPE_FLOAT || !b.lo || !b.hi)
        return unknown;
    const Expr *zero = expr_int(r->pool, 0), *one = expr_int(r->pool, 1);
    const Expr *low = expr_nonnegative(b.lo) ? zero : op2(r, EXPR_MIN, zero, op2(r, EXPR_ADD, b.lo, one));
    const Expr *high = op2(r, EXPR_SUB, b.hi, one);
    if (!expr_positive(b.hi))
        high = op2(r, EXPR_MAX, zero, high);
    if (!is_point(b) || !a.lo || !a.hi)
        return (ExprRange){low, high};
    const Expr *same = op2(r, EXPR_EQ, op2(r, EXPR_DIV, a.lo, b.lo), op2(r, EXPR_DIV, a.hi, b.lo));
    return (ExprRange){expr_op3(r->pool, EXPR_SELECT, same, op2(r, EXPR_MOD, a.lo, b.lo), low),
                       expr_op3(r->pool, EXPR_SELECT, same, op2(r, EXPR_MOD, a.hi, b.lo), high)};
}

static ExprRange rule_abs(Ranger *r, const Expr *e, const ExprRange *x)
{
    if (x[0].lo && expr_nonnegative(x[0].lo))
        return x[0];
    const Expr *from_below = op1(r, EXPR_NEG, x[0].hi);
    return (ExprRange){tighter(r, EXPR_MAX, tighter(r, EXPR_MAX, x[0].lo, from_below), zero_of(r, e)),
                       op2(r, EXPR_MAX, op1(r, EXPR_NEG, x[0].lo), x[0].hi)};
}

static ExprRange rule_minmax(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprOp op = (ExprOp)e->op;
    if (op == EXPR_MIN)
        return (ExprRange){op2(r, op, x[0].lo, x[1].lo), tighter(r, op, x[0].hi, x[1].hi)};
    return (ExprRange){tighter(r, op, x[0].lo, x[1].lo), op2(r, op, x[0].hi, x[1].hi)};
}

/* What a function that grows everywhere tends to at both ends, where that is finite. */
static const Expr *limit(Ranger *r, const Expr *e, bool high)
{
    switch ((ExprOp)e->op) {
    case EXPR_SIGN:
        if (e->type == TYPE_INT)
            return expr_int(r->pool, high ? 1 : -1);
        return expr_float(r->pool, high ? 1 : -1);
    case EXPR_EXP:
    case EXPR_EXP2: return high ? NULL : expr_float(r->pool, 0);
    case EXPR_SIGMOID: return expr_float(r->pool, high ? 1 : 0);
    case EXPR_TANH:
    case EXPR_ERF: return expr_float(r->pool, high ? 1 : -1);
    default: return NULL;
    }
}

static ExprRange rule_monotone(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprOp op = (ExprOp)e->op;
    if (e->arity == 2)
        return (ExprRange){op2(r, op, x[0].lo, x[1].lo), op2(r, op, x[0].hi, x[1].hi)};
    return (ExprRange){x[0].lo ? op1(r, op, x[0].lo) : limit(r, e, false),
                       x[0].hi ? op1(r, op, x[0].hi) : limit(r, e, true)};
}

static ExprRange rule_antitone(Ranger *r, const Expr *e, const ExprRange *x)
{
    return (ExprRange){op1(r, (ExprOp)e->op, x[0].hi), op1(r, (ExprOp)e->op, x[0].lo)};
}

/* log and sqrt grow where they are defined; where they may be NaN nothing is said. */
static ExprRange rule_positive(Ranger *r, const Expr *e, const ExprRange *x)
{
    if (!x[0].lo || !expr_nonnegative(x[0].lo))
        return unknown;
    return (ExprRange){op1(r, (ExprOp)e->op, x[0].lo), op1(r, (ExprOp)e->op, x[0].hi)};
}

static ExprRange rule_unit(Ranger *r, const Expr *e, const ExprRange *x)
{
    (void)e, (void)x;
    return (ExprRange){expr_float(r->pool, -1), expr_float(r->pool, 1)};
}

/* Constant exponents: odd ones grow, even ones grow with |x|. */
static ExprRange rule_pow(Ranger *r, const Expr *e, const ExprRange *x)
{
    const Expr *n = e->args[1];
    double exponent = n->op == EXPR_INT ? (double)n->value.i : n->op == EXPR_FLOAT ? n->value.f : -1;
    if (!(exponent > 0) || exponent > 64)
        return unknown;
    ExprRange a = x[0];
    bool whole = exponent == (double)(int)exponent, even = whole && (int)exponent % 2 == 0;
    if (even)
        a = rule_abs(r, e, x);
    else if (!whole && !(a.lo && expr_nonnegative(a.lo)))
        return unknown;
    return (ExprRange){op2(r, EXPR_POW, a.lo, n), op2(r, EXPR_POW, a.hi, n)};
}

/* x % d == c with c fixed: is there a number of that remainder between the bounds of x? */
static const Expr *may_be_congruent(Ranger *r, ExprRange x, const Expr *d, const Expr *c)
{
    ExprPool *pool = r->pool;
    if (!x.lo || !x.hi)
        return expr_bool(pool, true);
    const Expr *above = expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_SUB, x.hi, c), d);
    const Expr *below = expr_op2(
        pool, EXPR_DIV, expr_op2(pool, EXPR_SUB, expr_op2(pool, EXPR_SUB, x.lo, expr_int(pool, 1)), c), d);
    const Expr *exists = expr_op2(pool, EXPR_LT, below, above);
    if (!expr_positive(d))
        exists = expr_op2(pool, EXPR_OR, exists, expr_op2(pool, EXPR_LE, d, expr_int(pool, 0)));
    return expr_op2(pool, EXPR_AND, exists, expr_op2(pool, EXPR_EQ, expr_op2(pool, EXPR_MOD, c, d), c));
}

static ExprRange equality(Ranger *r, const Expr *e, ExprRange a, ExprRange b)
{
    ExprPool *pool = r->pool;
    const Expr *yes = expr_bool(pool, true), *no = expr_bool(pool, false);
    const Expr *may = expr_op2(pool, EXPR_AND, a.lo && b.hi ? expr_op2(pool, EXPR_LE, a.lo, b.hi) : yes,
                               b.lo && a.hi ? expr_op2(pool, EXPR_LE, b.lo, a.hi) : yes);
    const Expr *must = no;
    if (a.lo && a.hi && b.lo && b.hi)
        must = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, a.hi, b.lo),
                        expr_op2(pool, EXPR_LE, b.hi, a.lo));
    for (int k = 0; k < 2; k++) {
        const Expr *m = e->args[k];
        ExprRange other = k ? a : b;
        if (m->op == EXPR_MOD && m->type == TYPE_INT && is_point(other)) {
            ExprRange d = range_of(r, m->args[1]);
            if (is_point(d))
                may = expr_op2(pool, EXPR_AND, may,
                               may_be_congruent(r, range_of(r, m->args[0]), d.lo, other.lo));
        }
    }
    return (ExprRange){must, may};
}

static ExprRange rule_compare(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprPool *pool = r->pool;
    ExprOp op = (ExprOp)e->op;
    ExprRange a = x[0], b = x[1];
    if (e->args[0]->type == TYPE_INT && !is_point(a) && !is_point(b) && e->args[0]->op != EXPR_MOD &&
        e->args[1]->op != EXPR_MOD) {
        /* What both sides share is counted once: compare the difference with 0. */
        ExprLinear left = {0}, right = {0}, both = {0};
        if (expr_linear_add(&left, e->args[0], 1) && expr_linear_add(&right, e->args[1], 1) &&
            expr_linear_add(&both, e->args[0], 1) && expr_linear_add(&both, e->args[1], -1) &&
            both.count < left.count + right.count) {
            a = range_of(r, expr_linear_build(pool, &both));
            b.lo = b.hi = expr_int(pool, 0);
        }
    }
    if (op == EXPR_EQ || op == EXPR_NE) {
        ExprRange equal = equality(r, e, a, b);
        if (op == EXPR_EQ)
            return equal;
        return (ExprRange){expr_op1(pool, EXPR_NOT, equal.hi), expr_op1(pool, EXPR_NOT, equal.lo)};
    }
    return (ExprRange){op2(r, op, a.hi, b.lo), op2(r, op, a.lo, b.hi)};
}

static ExprRange rule_select(Ranger *r, const Expr *e, const ExprRange *x)
{
    ExprPool *pool = r->pool;
    const Expr *must = x[0].lo, *may = x[0].hi;
    ExprOp op = (ExprOp)e->op;
    if (must->op == EXPR_BOOL && must->value.i)
        return x[1];
    if (may->op == EXPR_BOOL && !may->value.i)
        return x[2];
    if (op == EXPR_BSELECT) {
        const Expr *cannot = expr_op1(pool, EXPR_NOT, may), *need_not = expr_op1(pool, EXPR_NOT, must);
        const Expr *lo = expr_op2(pool, EXPR_OR, expr_op2(pool, EXPR_AND, must, x[1].lo),
                                  expr_op2(pool, EXPR_AND, cannot, x[2].lo));
        return (ExprRange){expr_op2(pool, EXPR_OR, lo, expr_op2(pool, EXPR_AND, x[1].lo, x[2].lo)),
                           expr_op2(pool, EXPR_OR, expr_op2(pool, EXPR_AND, may, x[1].hi),
                                    expr_op2(pool, EXPR_AND, need_not, x[2].hi))};
    }
    ExprRange out = unknown;
    if (x[1].lo && x[2].lo) {
        const Expr *either =
            may == must ? x[2].lo
                        : expr_op3(pool, op, may, expr_op2(pool, EXPR_MIN, x[1].lo, x[2].lo), x[2].lo);
        out.lo = expr_op3(pool, op, must, x[1].lo, either);
    }
    if (x[1].hi && x[2].hi) {
        const Expr *either =
            may == must ? x[2].hi
                        : expr_op3(pool, op, may, expr_op2(pool, EXPR_MAX, x[1].hi, x[2].hi), x[2].hi);
        out.hi = expr_op3(pool, op, must, x[1].hi, either);
    }
    return out;
}

/* Sums, maxima and minima grow with every element: reduce the bounds instead. A maximum also grows, and a
 * minimum falls, with the number of elements. */
static ExprRange rule_reduce(Ranger *r, const Expr *e, const ExprRange *x, bool max)
{
    VarId bound = (VarId)e->index;
    ExprRange extent = x[0], body = x[1];
    const Expr *low = max ? extent.lo : extent.hi, *high = max ? extent.hi : extent.lo;
    return (ExprRange){low && body.lo ? expr_reduce(r->pool, (ExprOp)e->op, bound, low, body.lo) : NULL,
                       high && body.hi ? expr_reduce(r->pool, (ExprOp)e->op, bound, high, body.hi) : NULL};
}

static ExprRange rule_sum(Ranger *r, const Expr *e, const ExprRange *x)
{
    return is_point(x[0]) ? rule_reduce(r, e, x, true) : unknown;
}

static ExprRange rule_hull(Ranger *r, const Expr *e, const ExprRange *x)
{
    return rule_reduce(r, e, x, e->op == EXPR_REDMAX);
}

static Rule *const rules[EXPR_OP_COUNT] = {
#define EXPR_OP(id, name, arity, sig, flags, ints, floats, range, derivative) [EXPR_##id] = rule_##range,
#include "expr_ops.def"
#undef EXPR_OP
};

static ExprRange range_of(Ranger *r, const Expr *e)
{
    const ExprRange *known = expr_memo_get(&r->memo, e);
    if (known)
        return *known;
    ExprRange x[EXPR_MAX_ARGS] = {{NULL, NULL}}, result;
    const Expr *points[EXPR_MAX_ARGS];
    bool leaf = expr_op_info[e->op].leaf, all_points = true;
    for (int k = 0; k < e->arity && !leaf; k++) {
        x[k] = range_of(r, e->args[k]);
        all_points &= is_point(x[k]);
        points[k] = x[k].lo;
    }
    if (leaf || !all_points)
        result = rules[e->op](r, e, x);
    else
        result.lo = result.hi = expr_rebuild(r->pool, e, points);
    if (e->type == TYPE_BOOL) {
        result.lo = result.lo ? result.lo : expr_bool(r->pool, false);
        result.hi = result.hi ? result.hi : expr_bool(r->pool, true);
    }
    ExprRange *keep = ARENA_NEW(r->memo.arena, ExprRange);
    *keep = result;
    expr_memo_set(&r->memo, e, keep);
    return result;
}

ExprRange expr_range(ExprPool *pool, const Expr *e, ExprRange (*leaf)(void *user, const Expr *e), void *user)
{
    Ranger r = {
        .pool = pool, .root = e, .leaf = leaf, .user = user, .memo = {.arena = expr_pool_arena(pool)}};
    return range_of(&r, e);
}
