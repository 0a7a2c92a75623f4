#include "tests.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const VarId tree_var[TREE_VARS] = {VAR_I0, VAR_I1, VAR_J0, VAR_S};

uint64_t random_next(Random *random)
{
    random->state += 0x9E3779B97F4A7C15u;
    uint64_t x = random->state;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

int64_t random_between(Random *random, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(random_next(random) % (uint64_t)(hi - lo + 1));
}

static const Tree *leaf(Arena *arena, Random *random, ExprType type)
{
    Tree *t = ARENA_NEW(arena, Tree);
    t->type = type;
    bool variable = random_between(random, 0, 2) > 0;
    if (type == TYPE_BOOL) {
        t->op = EXPR_BOOL;
        t->value.i = random_between(random, 0, 1);
    } else if (variable) {
        t->op = EXPR_VAR;
        t->var = type == TYPE_FLOAT ? 3 : (int)random_between(random, 0, 2);
    } else if (type == TYPE_INT) {
        t->op = EXPR_INT;
        t->value.i = random_between(random, -4, 6);
    } else {
        static const double values[] = {0.0, -0.0, 1, -1, 0.5, 2, -3, 10};
        t->op = EXPR_FLOAT;
        t->value.f = values[random_between(random, 0, 7)];
    }
    return t;
}

/* A type that the operand letter allows, given the type chosen for `n`. */
static ExprType operand_type(char letter, ExprType n)
{
    return letter == 'b' ? TYPE_BOOL : letter == 'i' ? TYPE_INT : letter == 'f' ? TYPE_FLOAT : n;
}

const Tree *tree_draw(Arena *arena, Random *random, ExprType type, int depth, long *used)
{
    if (depth == 0 || random_between(random, 0, 7) == 0)
        return leaf(arena, random, type);
    for (;;) {
        ExprOp op = (ExprOp)random_between(random, EXPR_ADD, EXPR_OP_COUNT - 1);
        const ExprOpInfo *info = &expr_op_info[op];
        ExprType n = type == TYPE_BOOL ? (ExprType)random_between(random, TYPE_INT, TYPE_FLOAT) : type;
        if (operand_type(info->signature[info->arity], n) != type)
            continue;
        if (op == EXPR_POW && n == TYPE_FLOAT)
            continue;
        Tree *t = ARENA_NEW(arena, Tree);
        t->op = op;
        t->type = type;
        for (int k = 0; k < info->arity; k++)
            t->args[k] = tree_draw(arena, random, operand_type(info->signature[k], n), depth - 1, used);
        if (op == EXPR_POW) { /* small constant exponents */
            Tree *exponent = ARENA_NEW(arena, Tree);
            *exponent = (Tree){.op = EXPR_INT, .type = TYPE_INT, .value.i = random_between(random, -1, 3)};
            t->args[1] = exponent;
        }
        if (used)
            used[op]++;
        return t;
    }
}

const Expr *tree_build(ExprPool *pool, const Tree *t)
{
    switch (t->op) {
    case EXPR_INT: return expr_int(pool, t->value.i);
    case EXPR_BOOL: return expr_bool(pool, t->value.i != 0);
    case EXPR_FLOAT: return expr_float(pool, t->value.f);
    case EXPR_VAR: return expr_var(pool, tree_var[t->var], t->type);
    default: break;
    }
    const Expr *a = tree_build(pool, t->args[0]);
    if (expr_op_info[t->op].arity == 1)
        return expr_op1(pool, t->op, a);
    const Expr *b = tree_build(pool, t->args[1]);
    if (expr_op_info[t->op].arity == 2)
        return expr_op2(pool, t->op, a, b);
    return expr_op3(pool, t->op, a, b, tree_build(pool, t->args[2]));
}

/* 64-bit arithmetic through 128 bits, so that it shares nothing with the code under test. */
static int64_t wrapped(__int128 value) { return (int64_t)(uint64_t)(unsigned __int128)value; }

static int64_t int_meaning(ExprOp op, int64_t a, int64_t b)
{
    __int128 x = a, y = b;
    switch (op) {
    case EXPR_ADD: return wrapped(x + y);
    case EXPR_SUB: return wrapped(x - y);
    case EXPR_MUL: return wrapped((__int128)((unsigned __int128)x * (unsigned __int128)y));
    case EXPR_DIV: return y == 0 ? 0 : wrapped((x - ((x % y + y) % y)) / y);
    case EXPR_MOD: return y == 0 ? 0 : wrapped((x % y + y) % y);
    case EXPR_NEG: return wrapped(-x);
    case EXPR_ABS: return wrapped(x < 0 ? -x : x);
    case EXPR_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case EXPR_MIN: return x < y ? a : b;
    case EXPR_MAX: return x > y ? a : b;
    case EXPR_POW: {
        int64_t power = b < 0 ? 0 : 1;
        for (int64_t k = 0; k < b; k++)
            power = wrapped((__int128)((unsigned __int128)power * (unsigned __int128)x));
        return power;
    }
    case EXPR_LT: return x < y;
    case EXPR_LE: return x <= y;
    case EXPR_EQ: return x == y;
    case EXPR_NE: return x != y;
    case EXPR_AND: return a && b;
    case EXPR_OR: return a || b;
    case EXPR_NOT: return !a;
    case EXPR_BTOI: return a;
    default: abort();
    }
}

static double float_meaning(ExprOp op, double a, double b)
{
    switch (op) {
    case EXPR_ADD: return a + b;
    case EXPR_SUB: return a - b;
    case EXPR_MUL: return a * b;
    case EXPR_DIV: return a / b;
    case EXPR_MOD: return a - b * floor(a / b);
    case EXPR_NEG: return -a;
    case EXPR_ABS: return fabs(a);
    case EXPR_SIGN: return a > 0 ? 1 : a < 0 ? -1 : 0;
    case EXPR_MIN: return a < b ? a : b;
    case EXPR_MAX: return a > b ? a : b;
    case EXPR_FLOOR: return floor(a);
    case EXPR_EXP: return exp(a);
    case EXPR_EXP2: return exp2(a);
    case EXPR_LOG: return log(a);
    case EXPR_LOG2: return log2(a);
    case EXPR_LOG1P: return log1p(a);
    case EXPR_SQRT: return sqrt(a);
    case EXPR_RSQRT: return 1 / sqrt(a);
    case EXPR_SIN: return sin(a);
    case EXPR_COS: return cos(a);
    case EXPR_TANH: return tanh(a);
    case EXPR_SIGMOID: return 1 / (1 + exp(-a));
    case EXPR_ERF: return erf(a);
    default: abort();
    }
}

ExprValue tree_value(const Tree *t, const ExprValue *vars, bool *odd)
{
    if (t->op == EXPR_VAR)
        return vars[t->var];
    if (!t->args[0])
        return t->value;
    ExprValue x[3] = {{0}, {0}, {0}}, out = {.i = 0};
    for (int k = 0; k < expr_op_info[t->op].arity; k++)
        x[k] = tree_value(t->args[k], vars, odd);
    bool floats = t->args[0]->type == TYPE_FLOAT;
    switch (t->op) {
    case EXPR_SELECT:
    case EXPR_BSELECT: out = x[0].i ? x[1] : x[2]; break;
    case EXPR_TOFLOAT:
    case EXPR_BTOF: out.f = (double)x[0].i; break;
    case EXPR_TOINT:
        out.i = isnan(x[0].f)       ? 0
                : x[0].f >= 9.3e18  ? INT64_MAX
                : x[0].f <= -9.3e18 ? INT64_MIN
                                    : (int64_t)x[0].f;
        break;
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE:
        if (floats) {
            out.i = t->op == EXPR_LT   ? x[0].f < x[1].f
                    : t->op == EXPR_LE ? x[0].f <= x[1].f
                    : t->op == EXPR_EQ ? x[0].f == x[1].f
                                       : x[0].f != x[1].f;
            break;
        } /* fall through */
    default:
        if (floats)
            out.f = float_meaning(t->op, x[0].f, x[1].f);
        else
            out.i = int_meaning(t->op, x[0].i, x[1].i);
        break;
    }
    if (t->type == TYPE_FLOAT && isnan(out.f))
        *odd = true;
    if (t->type == TYPE_INT && (out.i > INT64_MAX / 4 || out.i < INT64_MIN / 4))
        *odd = true; /* comparisons of ints assume that their sums do not overflow */
    return out;
}

static ExprValue var_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const ExprValue *vars = user;
    (void)args;
    for (int k = 0; k < TREE_VARS; k++)
        if (e->op == EXPR_VAR && e->index == (int)tree_var[k])
            return vars[k];
    abort();
}

ExprValue tree_eval(const Expr *e, const ExprValue *vars)
{
    ExprEval eval = {(void *)vars, var_leaf, false};
    return expr_eval(&eval, e);
}
