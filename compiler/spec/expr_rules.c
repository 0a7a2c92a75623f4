/* The laws of the scalar operators: constant folding, identities, linear normal form of int sums, canonical
 * comparisons and connectives.
 *
 * Ints form a ring modulo 2^64, so sums and products are reordered freely. Comparisons of ints assume that
 * the sums in them do not overflow (i < i + 1 is true). Floats are changed by exact identities only: x +
 * (-0), x - 0, x * 1, x / 1, but not x + 0 (which turns -0 into 0), x * 0, or any reassociation. */
#include "expr_meaning.h"
#include "expr_pool.h"

#include <string.h>

static bool is_int(const Expr *e, int64_t value) { return e->op == EXPR_INT && e->value.i == value; }
static bool is_float(const Expr *e, double value)
{
    return e->op == EXPR_FLOAT && e->value.f == value && !signbit(e->value.f) == !signbit(value);
}
static bool is_bool(const Expr *e, bool value) { return e->op == EXPR_BOOL && e->value.i == value; }

/* Linear forms ------------------------------------------------------------------------------------------- */

static bool add_term(ExprLinear *out, const Expr *term, int64_t coef)
{
    int at = 0, order = 1;
    while (at < out->count && (order = expr_compare(out->term[at], term)) < 0)
        at++;
    if (at < out->count && order == 0) {
        out->coef[at] = int_add(out->coef[at], coef);
        if (out->coef[at] == 0) {
            out->count--;
            memmove(&out->term[at], &out->term[at + 1], (size_t)(out->count - at) * sizeof out->term[0]);
            memmove(&out->coef[at], &out->coef[at + 1], (size_t)(out->count - at) * sizeof out->coef[0]);
        }
        return true;
    }
    if (out->count == LINEAR_MAX)
        return false;
    memmove(&out->term[at + 1], &out->term[at], (size_t)(out->count - at) * sizeof out->term[0]);
    memmove(&out->coef[at + 1], &out->coef[at], (size_t)(out->count - at) * sizeof out->coef[0]);
    out->term[at] = term;
    out->coef[at] = coef;
    out->count++;
    return true;
}

bool expr_linear_add(ExprLinear *out, const Expr *e, int64_t factor)
{
    if (factor == 0)
        return true;
    switch ((ExprOp)e->op) {
    case EXPR_INT: out->constant = int_add(out->constant, int_mul(factor, e->value.i)); return true;
    case EXPR_ADD:
        return expr_linear_add(out, e->args[0], factor) && expr_linear_add(out, e->args[1], factor);
    case EXPR_SUB:
        return expr_linear_add(out, e->args[0], factor) && expr_linear_add(out, e->args[1], int_neg(factor));
    case EXPR_NEG: return expr_linear_add(out, e->args[0], int_neg(factor));
    case EXPR_MUL: /* the canonical order puts a constant last */
        if (e->args[1]->op == EXPR_INT)
            return expr_linear_add(out, e->args[0], int_mul(factor, e->args[1]->value.i));
        return add_term(out, e, factor);
    default: return add_term(out, e, factor);
    }
}

static const Expr *raw2(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b)
{
    if (expr_op_info[op].commutative && expr_compare(a, b) > 0)
        return expr_intern(pool, op, expr_result_type(op, (const Expr *[]){b, a}), 0, 0,
                           (const Expr *[]){b, a}, 2);
    return expr_intern(pool, op, expr_result_type(op, (const Expr *[]){a, b}), 0, 0, (const Expr *[]){a, b},
                       2);
}

static const Expr *scaled(ExprPool *pool, const Expr *term, int64_t coef)
{
    return coef == 1 ? term : raw2(pool, EXPR_MUL, term, expr_int(pool, coef));
}

/* Positive terms, minus the negative ones, then the constant: i - j, 2 * i + 3, 4 - i. */
const Expr *expr_linear_build(ExprPool *pool, const ExprLinear *linear)
{
    const Expr *sum = NULL;
    int64_t constant = linear->constant;
    for (int k = 0; k < linear->count; k++)
        if (linear->coef[k] > 0) {
            const Expr *term = scaled(pool, linear->term[k], linear->coef[k]);
            sum = sum ? expr_intern(pool, EXPR_ADD, TYPE_INT, 0, 0, (const Expr *[]){sum, term}, 2) : term;
        }
    if (!sum && linear->count > 0 && constant != 0) {
        sum = expr_int(pool, constant);
        constant = 0;
    }
    for (int k = 0; k < linear->count; k++)
        if (linear->coef[k] < 0) {
            const Expr *term = scaled(pool, linear->term[k], int_neg(linear->coef[k]));
            sum = sum ? raw2(pool, EXPR_SUB, sum, term)
                      : expr_intern(pool, EXPR_NEG, TYPE_INT, 0, 0, (const Expr *[]){term}, 1);
        }
    if (!sum)
        return expr_int(pool, constant);
    if (constant < 0 && constant != INT64_MIN)
        return raw2(pool, EXPR_SUB, sum, expr_int(pool, -constant));
    return constant ? expr_intern(pool, EXPR_ADD, TYPE_INT, 0, 0,
                                  (const Expr *[]){sum, expr_int(pool, constant)}, 2)
                    : sum;
}

static const Expr *linear_sum(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    ExprLinear sum = {0};
    bool fits = op == EXPR_NEG ? expr_linear_add(&sum, args[0], -1)
                               : expr_linear_add(&sum, args[0], 1) &&
                                     expr_linear_add(&sum, args[1], op == EXPR_SUB ? -1 : 1);
    return fits ? expr_linear_build(pool, &sum) : NULL;
}

/* a - b when that is a constant. */
static bool constant_difference(const Expr *a, const Expr *b, int64_t *difference)
{
    ExprLinear sum = {0};
    if (!expr_linear_add(&sum, a, 1) || !expr_linear_add(&sum, b, -1) || sum.count)
        return false;
    *difference = sum.constant;
    return true;
}

/* Products ----------------------------------------------------------------------------------------------- */

typedef struct Factors {
    int64_t coef;
    int count;
    const Expr *factor[LINEAR_MAX];
} Factors;

static bool add_factor(Factors *out, const Expr *e)
{
    if (e->op == EXPR_INT) {
        out->coef = int_mul(out->coef, e->value.i);
        return true;
    }
    if (e->op == EXPR_NEG) {
        out->coef = int_neg(out->coef);
        return add_factor(out, e->args[0]);
    }
    if (e->op == EXPR_MUL)
        return add_factor(out, e->args[0]) && add_factor(out, e->args[1]);
    if (out->count == LINEAR_MAX)
        return false;
    int at = out->count++;
    for (; at > 0 && expr_compare(out->factor[at - 1], e) > 0; at--)
        out->factor[at] = out->factor[at - 1];
    out->factor[at] = e;
    return true;
}

static const Expr *int_product(ExprPool *pool, const Expr *const *args)
{
    Factors f = {.coef = 1};
    if (!add_factor(&f, args[0]) || !add_factor(&f, args[1]))
        return NULL;
    if (f.coef == 0 || f.count == 0)
        return expr_int(pool, f.coef);
    const Expr *product = f.factor[0];
    for (int k = 1; k < f.count; k++)
        product = expr_intern(pool, EXPR_MUL, TYPE_INT, 0, 0, (const Expr *[]){product, f.factor[k]}, 2);
    ExprLinear sum = {0}; /* the constant goes into a sum */
    return expr_linear_add(&sum, product, f.coef) ? expr_linear_build(pool, &sum) : NULL;
}

/* min, max, and, or: associative, commutative, idempotent ----------------------------------------- */

typedef struct Chain {
    int count;
    const Expr *item[LINEAR_MAX];
} Chain;

static bool chain_has(const Chain *chain, const Expr *e)
{
    for (int k = 0; k < chain->count; k++)
        if (chain->item[k] == e)
            return true;
    return false;
}

static bool chain_add(Chain *chain, ExprOp op, const Expr *e)
{
    if (e->op == op)
        return chain_add(chain, op, e->args[0]) && chain_add(chain, op, e->args[1]);
    if (chain_has(chain, e))
        return true;
    if (chain->count == LINEAR_MAX)
        return false;
    int at = chain->count++;
    for (; at > 0 && expr_compare(chain->item[at - 1], e) > 0; at--)
        chain->item[at] = chain->item[at - 1];
    chain->item[at] = e;
    return true;
}

static void chain_drop(Chain *chain, int at)
{
    chain->count--;
    memmove(&chain->item[at], &chain->item[at + 1], (size_t)(chain->count - at) * sizeof chain->item[0]);
}

static const Expr *chain_build(ExprPool *pool, ExprOp op, const Chain *chain)
{
    const Expr *result = chain->item[0];
    for (int k = 1; k < chain->count; k++)
        result =
            expr_intern(pool, op, (ExprType)result->type, 0, 0, (const Expr *[]){result, chain->item[k]}, 2);
    return result;
}

/* x is an operand of the chain-like node e (of operator op). */
static bool absorbs(ExprOp op, const Expr *e, const Expr *x)
{
    return e == x || (e->op == op && (absorbs(op, e->args[0], x) || absorbs(op, e->args[1], x)));
}

static const Expr *connective(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    Chain chain = {0};
    if (!chain_add(&chain, op, args[0]) || !chain_add(&chain, op, args[1]))
        return NULL;
    ExprOp dual = op == EXPR_AND ? EXPR_OR : EXPR_AND;
    bool neutral = op == EXPR_AND;
    for (int k = 0; k < chain.count; k++) {
        if (is_bool(chain.item[k], !neutral) || chain_has(&chain, expr_op1(pool, EXPR_NOT, chain.item[k])))
            return expr_bool(pool, !neutral);
        bool drop = is_bool(chain.item[k], neutral);
        for (int other = 0; other < chain.count && !drop; other++) /* a and (a or b) = a */
            drop = other != k && chain.item[k]->op == dual && absorbs(dual, chain.item[k], chain.item[other]);
        if (drop)
            chain_drop(&chain, k--);
    }
    return chain.count ? chain_build(pool, op, &chain) : expr_bool(pool, neutral);
}

/* min and max of ints: also operands that another one is known to be at most or at least by a constant. */
static const Expr *int_extremum(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    Chain chain = {0};
    if (!chain_add(&chain, op, args[0]) || !chain_add(&chain, op, args[1]))
        return NULL;
    ExprOp dual = op == EXPR_MIN ? EXPR_MAX : EXPR_MIN;
    for (int k = 0; k < chain.count; k++)
        for (int other = 0; other < chain.count; other++) {
            if (other == k)
                continue;
            int64_t difference;
            bool drop = chain.item[k]->op == dual && absorbs(dual, chain.item[k], chain.item[other]);
            if (!drop && constant_difference(chain.item[k], chain.item[other], &difference))
                drop = op == EXPR_MIN ? difference >= 0 : difference <= 0;
            if (drop) {
                chain_drop(&chain, k--);
                break;
            }
        }
    return chain_build(pool, op, &chain);
}

/* Comparisons of ints ----------------------------------------------------------------------------- */

/* Constants go to one side: x + 3 <= 5 is x <= 2, and x < 5 is x <= 4. */
static const Expr *int_comparison(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b)
{
    int64_t difference;
    if (constant_difference(a, b, &difference)) {
        bool holds = op == EXPR_LT   ? difference < 0
                     : op == EXPR_LE ? difference <= 0
                                     : (op == EXPR_EQ) == (difference == 0);
        return expr_bool(pool, holds);
    }
    ExprLinear left = {0}, right = {0};
    if (!expr_linear_add(&left, a, 1) || !expr_linear_add(&right, b, 1) || (left.count && right.count))
        return NULL;
    int64_t bound; /* left <= bound or bound <= right, with the constant moved over */
    ExprLinear *side = left.count ? &left : &right;
    if (__builtin_sub_overflow(left.count ? right.constant : left.constant, side->constant, &bound))
        return NULL;
    if (op == EXPR_LT) {
        if (__builtin_add_overflow(bound, left.count ? -1 : 1, &bound))
            return NULL;
        op = EXPR_LE;
    }
    side->constant = 0;
    const Expr *term = expr_linear_build(pool, side), *constant = expr_int(pool, bound);
    if (op == EXPR_LE && left.count == 0)
        return raw2(pool, op, constant, term);
    return raw2(pool, op, term, constant);
}

static const Expr *comparison(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    const Expr *a = args[0], *b = args[1];
    bool remainders = (op == EXPR_EQ || op == EXPR_NE) && a->op == EXPR_MOD && b->op == EXPR_MOD;
    if (remainders && a->type == TYPE_INT &&
        a->args[1] == b->args[1]) { /* i % d == j % d is (i - j) % d == 0 */
        const Expr *difference = expr_op2(pool, EXPR_SUB, a->args[0], b->args[0]);
        return expr_op2(pool, op, expr_op2(pool, EXPR_MOD, difference, a->args[1]), expr_int(pool, 0));
    }
    if (a->type == TYPE_INT)
        return int_comparison(pool, op, a, b);
    return op == EXPR_LT && a == b ? expr_bool(pool, false) : NULL; /* NaN < NaN is false too */
}

static const Expr *negation(ExprPool *pool, const Expr *a)
{
    switch ((ExprOp)a->op) {
    case EXPR_NOT: return a->args[0];
    case EXPR_EQ: return expr_op2(pool, EXPR_NE, a->args[0], a->args[1]);
    case EXPR_NE: return expr_op2(pool, EXPR_EQ, a->args[0], a->args[1]);
    case EXPR_LT:
    case EXPR_LE: /* not for floats: NaN */
        if (a->args[0]->type == TYPE_INT)
            return expr_op2(pool, a->op == EXPR_LT ? EXPR_LE : EXPR_LT, a->args[1], a->args[0]);
        return NULL;
    default: return NULL;
    }
}

/* The rest ---------------------------------------------------------------------------------------- */

static const Expr *int_division(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b)
{
    if (is_int(a, 0) || is_int(b, 0) || (op == EXPR_MOD && is_int(b, 1)) || (op == EXPR_MOD && a == b))
        return expr_int(pool, 0);
    if (op == EXPR_DIV && is_int(b, 1))
        return a;
    if (a->op == EXPR_MOD && a->args[1] == b)
        return op == EXPR_MOD ? a : expr_int(pool, 0);
    int64_t product; /* (x / 3) / 5 = x / 15 */
    if (op == EXPR_DIV && a->op == EXPR_DIV && b->op == EXPR_INT && a->args[1]->op == EXPR_INT &&
        b->value.i > 0 && a->args[1]->value.i > 0 &&
        !__builtin_mul_overflow(b->value.i, a->args[1]->value.i, &product))
        return expr_op2(pool, EXPR_DIV, a->args[0], expr_int(pool, product));
    return NULL;
}

static const Expr *selection(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    const Expr *p = args[0], *a = args[1], *b = args[2];
    if (p->op == EXPR_BOOL)
        return p->value.i ? a : b;
    if (a == b)
        return a;
    if (p->op == EXPR_NOT)
        return expr_op3(pool, op, p->args[0], b, a);
    if (op == EXPR_SELECT)
        return NULL;
    if (a->op == EXPR_BOOL)
        return a->value.i ? expr_op2(pool, EXPR_OR, p, b)
                          : expr_op2(pool, EXPR_AND, expr_op1(pool, EXPR_NOT, p), b);
    if (b->op == EXPR_BOOL)
        return b->value.i ? expr_op2(pool, EXPR_OR, expr_op1(pool, EXPR_NOT, p), a)
                          : expr_op2(pool, EXPR_AND, p, a);
    return NULL;
}

static const Expr *float_law(ExprOp op, const Expr *const *args)
{
    const Expr *a = args[0], *b = expr_op_info[op].arity > 1 ? args[1] : NULL;
    switch (op) {
    case EXPR_ADD: return is_float(b, -0.0) ? a : NULL; /* constants stand last */
    case EXPR_SUB: return is_float(b, 0.0) ? a : NULL;
    case EXPR_MUL:
    case EXPR_DIV:
    case EXPR_POW: return is_float(b, 1.0) ? a : NULL;
    case EXPR_NEG: return a->op == EXPR_NEG ? a->args[0] : NULL;
    case EXPR_ABS:
    case EXPR_FLOOR: return a->op == op ? a : NULL;
    case EXPR_MIN:
    case EXPR_MAX: return a == b ? a : NULL;
    default: return NULL;
    }
}

static const Expr *int_law(ExprPool *pool, ExprOp op, const Expr *const *args)
{
    const Expr *a = args[0], *b = expr_op_info[op].arity > 1 ? args[1] : NULL;
    switch (op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_NEG: return linear_sum(pool, op, args);
    case EXPR_MUL: return int_product(pool, args);
    case EXPR_DIV:
    case EXPR_MOD: return int_division(pool, op, a, b);
    case EXPR_MIN:
    case EXPR_MAX: return int_extremum(pool, op, args);
    case EXPR_ABS:
        return a->op == EXPR_ABS ? a : a->op == EXPR_NEG ? expr_op1(pool, EXPR_ABS, a->args[0]) : NULL;
    case EXPR_POW: return is_int(b, 0) ? expr_int(pool, 1) : is_int(b, 1) ? a : NULL;
    default: return NULL;
    }
}

const Expr *expr_simplify(ExprPool *pool, ExprOp op, ExprType type, const Expr *const *args)
{
    const ExprOpInfo *info = &expr_op_info[op];
    ExprType operands = expr_operand_type(op, args);
    bool constant = true;
    ExprValue x[3] = {{0}, {0}, {0}};
    for (int k = 0; k < info->arity; k++) {
        constant &= expr_is_constant(args[k]);
        x[k].i = args[k]->value.i;
    }
    if (constant) {
        ExprValue value = expr_apply(op, operands, type, x);
        return type == TYPE_INT     ? expr_int(pool, value.i)
               : type == TYPE_FLOAT ? expr_float(pool, value.f)
                                    : expr_bool(pool, value.i != 0);
    }
    const Expr *folded;
    switch (op) {
    case EXPR_AND:
    case EXPR_OR: folded = connective(pool, op, args); break;
    case EXPR_NOT: folded = negation(pool, args[0]); break;
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE: folded = comparison(pool, op, args); break;
    case EXPR_SELECT:
    case EXPR_BSELECT: folded = selection(pool, op, args); break;
    default: folded = operands == TYPE_FLOAT ? float_law(op, args) : int_law(pool, op, args); break;
    }
    return folded;
}
