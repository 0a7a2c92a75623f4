/* Symbolic derivatives. The rules are named in the derivative column of expr_ops.def; each gives d e from the
 * operands' derivatives, with NULL standing for zero. Steps (floor, sign, comparisons) have derivative zero
 * and a kink takes the side that evaluation takes. Only a maximum or minimum over a reduction has no
 * derivative here. */
#include "expr_pool.h"

typedef struct Deriver {
    ExprPool *pool;
    const Expr *leaf;
    ExprMemo memo; /* Expr -> derivative, or `nothing` for zero */
    bool failed;
} Deriver;

typedef const Expr *Rule(Deriver *d, const Expr *e, const Expr *const *dx);

static const Expr *derive(Deriver *d, const Expr *e);

static const Expr *op1(Deriver *d, ExprOp op, const Expr *a) { return expr_op1(d->pool, op, a); }
static const Expr *op2(Deriver *d, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(d->pool, op, a, b);
}
static const Expr *number(Deriver *d, double value) { return expr_float(d->pool, value); }

/* Sums and products in which NULL is zero. */
static const Expr *times(Deriver *d, const Expr *a, const Expr *b)
{
    return a && b ? op2(d, EXPR_MUL, a, b) : NULL;
}
static const Expr *plus(Deriver *d, const Expr *a, const Expr *b)
{
    return !a ? b : !b ? a : op2(d, EXPR_ADD, a, b);
}
static const Expr *negated(Deriver *d, const Expr *a) { return a ? op1(d, EXPR_NEG, a) : NULL; }
static const Expr *or_zero(Deriver *d, const Expr *a) { return a ? a : number(d, 0); }

static const Expr *derive_zero(Deriver *d, const Expr *e, const Expr *const *dx)
{
    (void)d, (void)e, (void)dx;
    return NULL;
}

static const Expr *derive_none(Deriver *d, const Expr *e, const Expr *const *dx)
{
    bool depends = false;
    for (int k = 0; k < e->arity; k++)
        depends |= dx[k] != NULL;
    d->failed |= depends;
    return NULL;
}

static const Expr *derive_add(Deriver *d, const Expr *e, const Expr *const *dx)
{
    (void)e;
    return plus(d, dx[0], dx[1]);
}

static const Expr *derive_sub(Deriver *d, const Expr *e, const Expr *const *dx)
{
    (void)e;
    return dx[0] && dx[1] ? op2(d, EXPR_SUB, dx[0], dx[1]) : dx[0] ? dx[0] : negated(d, dx[1]);
}

static const Expr *derive_neg(Deriver *d, const Expr *e, const Expr *const *dx)
{
    (void)e;
    return negated(d, dx[0]);
}

static const Expr *derive_mul(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return plus(d, times(d, dx[0], e->args[1]), times(d, e->args[0], dx[1]));
}

/* (a / b)' = (a' - (a / b) b') / b */
static const Expr *derive_div(Deriver *d, const Expr *e, const Expr *const *dx)
{
    const Expr *top = derive_sub(d, e, (const Expr *[]){dx[0], times(d, e, dx[1])});
    return top ? op2(d, EXPR_DIV, top, e->args[1]) : NULL;
}

/* a % b = a - b floor(a / b) */
static const Expr *derive_mod(Deriver *d, const Expr *e, const Expr *const *dx)
{
    const Expr *whole = op1(d, EXPR_FLOOR, op2(d, EXPR_DIV, e->args[0], e->args[1]));
    return derive_sub(d, e, (const Expr *[]){dx[0], times(d, whole, dx[1])});
}

static const Expr *derive_abs(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, dx[0], op1(d, EXPR_SIGN, e->args[0])) : NULL;
}

static const Expr *choose(Deriver *d, const Expr *p, const Expr *a, const Expr *b)
{
    return a || b ? expr_op3(d->pool, EXPR_SELECT, p, or_zero(d, a), or_zero(d, b)) : NULL;
}

static const Expr *derive_min(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return choose(d, op2(d, EXPR_LT, e->args[0], e->args[1]), dx[0], dx[1]);
}

static const Expr *derive_max(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return choose(d, op2(d, EXPR_LT, e->args[1], e->args[0]), dx[0], dx[1]);
}

static const Expr *derive_select(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return choose(d, e->args[0], dx[1], dx[2]);
}

/* (a^b)' = b a^(b-1) a' + a^b log(a) b' */
static const Expr *derive_pow(Deriver *d, const Expr *e, const Expr *const *dx)
{
    const Expr *a = e->args[0], *b = e->args[1];
    const Expr *by_base = NULL, *by_exponent = NULL;
    if (dx[0])
        by_base = times(d, times(d, b, op2(d, EXPR_POW, a, op2(d, EXPR_SUB, b, number(d, 1)))), dx[0]);
    if (dx[1])
        by_exponent = times(d, times(d, e, op1(d, EXPR_LOG, a)), dx[1]);
    return plus(d, by_base, by_exponent);
}

static const double ln2 = 0.693147180559945309417232121458;

static const Expr *derive_exp(Deriver *d, const Expr *e, const Expr *const *dx) { return times(d, e, dx[0]); }

static const Expr *derive_exp2(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, times(d, e, number(d, ln2)), dx[0]) : NULL;
}

static const Expr *derive_log(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? op2(d, EXPR_DIV, dx[0], e->args[0]) : NULL;
}

static const Expr *derive_log2(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? op2(d, EXPR_DIV, dx[0], times(d, e->args[0], number(d, ln2))) : NULL;
}

static const Expr *derive_log1p(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? op2(d, EXPR_DIV, dx[0], op2(d, EXPR_ADD, e->args[0], number(d, 1))) : NULL;
}

static const Expr *derive_sqrt(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? op2(d, EXPR_DIV, dx[0], times(d, e, number(d, 2))) : NULL;
}

/* (a^(-1/2))' = -1/2 a^(-3/2) a' */
static const Expr *derive_rsqrt(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, times(d, times(d, times(d, e, e), e), number(d, -0.5)), dx[0]) : NULL;
}

static const Expr *derive_sin(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, op1(d, EXPR_COS, e->args[0]), dx[0]) : NULL;
}

static const Expr *derive_cos(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? negated(d, times(d, op1(d, EXPR_SIN, e->args[0]), dx[0])) : NULL;
}

static const Expr *derive_tanh(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, op2(d, EXPR_SUB, number(d, 1), times(d, e, e)), dx[0]) : NULL;
}

static const Expr *derive_sigmoid(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[0] ? times(d, times(d, e, op2(d, EXPR_SUB, number(d, 1), e)), dx[0]) : NULL;
}

/* erf' = 2 / sqrt(pi) exp(-a^2) */
static const Expr *derive_erf(Deriver *d, const Expr *e, const Expr *const *dx)
{
    const Expr *a = e->args[0];
    const Expr *bell = op1(d, EXPR_EXP, op1(d, EXPR_NEG, times(d, a, a)));
    return dx[0] ? times(d, times(d, bell, number(d, 1.12837916709551257389615890312)), dx[0]) : NULL;
}

static const Expr *derive_sum(Deriver *d, const Expr *e, const Expr *const *dx)
{
    return dx[1] ? expr_reduce(d->pool, EXPR_SUM, (VarId)e->index, e->args[0], dx[1]) : NULL;
}

static Rule *const rules[EXPR_OP_COUNT] = {
#define EXPR_OP(id, name, arity, sig, flags, ints, floats, range, derivative)                                \
    [EXPR_##id] = derive_##derivative,
#include "expr_ops.def"
#undef EXPR_OP
};

static const Expr *derive(Deriver *d, const Expr *e)
{
    static const char nothing;
    if (e == d->leaf)
        return number(d, 1);
    if (e->type != TYPE_FLOAT || expr_op_info[e->op].leaf)
        return NULL;
    const void *known = expr_memo_get(&d->memo, e);
    if (known)
        return known == &nothing ? NULL : known;
    const Expr *dx[EXPR_MAX_ARGS] = {NULL};
    for (int k = 0; k < e->arity; k++)
        dx[k] = derive(d, e->args[k]);
    const Expr *result = rules[e->op](d, e, dx);
    expr_memo_set(&d->memo, e, result ? (const void *)result : &nothing);
    return result;
}

const Expr *expr_derive(ExprPool *pool, const Expr *e, const Expr *leaf)
{
    Deriver d = {.pool = pool, .leaf = leaf, .memo = {.arena = expr_pool_arena(pool)}};
    const Expr *result = derive(&d, e);
    return d.failed ? NULL : or_zero(&d, result);
}
