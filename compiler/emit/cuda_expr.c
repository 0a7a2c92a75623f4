/* Expressions as CUDA C++: the value of one element.
 *
 * A node that is used once is written where it is used; one that is used several times, or whose text has
 * grown long, becomes a constant. Nothing has side effects, so both arms of a select may be computed. Floats
 * are f32 and every operation is an intrinsic of its own: a sum takes a product in one rounding because the
 * expression says so, never because of what surrounds it, so that a value is the same wherever it is computed
 * again.
 *
 * In programs whose q, k, v have 16 bits, values over two or more axes use the fast approximations of the
 * hardware. */
#include "cuda_range.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_LIMIT = 160 }; /* of one expression, before it gets a name */

typedef struct Node {
    const Expr *e;
    const char *text;    /* once it was asked for */
    uint32_t uses, axes; /* axes: bits */
} Node;

typedef struct Writer {
    CudaGen *g;
    const Inst *inst;
    CudaOperands operands;
    ExprRanges ranges;
    Node *table; /* open addressing, sized for the whole expression */
    size_t mask;
    bool fast;   /* approximations are welcome */
    bool low;    /* 16-bit storage: exp is the hardware's everywhere */
    bool coarse; /* bf16 */
} Writer;

/* Texts -------------------------------------------------------------------------------------------------- */

static const char *int_literal(CudaGen *g, int64_t value)
{
    if (value == INT64_MIN)
        return "(-9223372036854775807LL - 1)";
    if (value == INT32_MIN)
        return "(-2147483647 - 1)";
    const char *suffix = value < INT32_MIN || value > INT32_MAX ? "LL" : "";
    return arena_printf(g->arena, value < 0 ? "(%lld%s)" : "%lld%s", (long long)value, suffix);
}

const char *cuda_float_literal(CudaGen *g, double value)
{
    float f = (float)value;
    if (isnan(f))
        return "__int_as_float(0x7fffffff)";
    if (isinf(f))
        return f > 0 ? "__int_as_float(0x7f800000)" : "__int_as_float(0xff800000)";
    char digits[64];
    snprintf(digits, sizeof digits, "%.9g", (double)f);
    if (!strpbrk(digits, ".e"))
        strcat(digits, ".0");
    return arena_printf(g->arena, signbit(f) ? "(%sf)" : "%sf", digits);
}

const char *cuda_size(CudaGen *g, VarId size)
{
    return arena_printf(g->arena, "(int)P.slots[%d]", slot_of_size(size));
}

const char *cuda_param(CudaGen *g, int param)
{
    int slot = SLOT_PARAMS + param;
    switch (g->program->params[param].type) {
    case TYPE_FLOAT: return arena_printf(g->arena, "(float)__longlong_as_double(P.slots[%d])", slot);
    case TYPE_BOOL: return arena_printf(g->arena, "(P.slots[%d] != 0)", slot);
    case TYPE_INT: break;
    }
    return arena_printf(g->arena, "P.slots[%d]", slot);
}

const char *cuda_type(const CudaGen *g, const Inst *value)
{
    switch (elem_class(value->type.elem)) {
    case TYPE_BOOL: return "bool";
    case TYPE_FLOAT: return "float";
    case TYPE_INT: break;
    }
    return cuda_narrow(g, value) ? "int" : "long long";
}

static bool stores_as(const Program *program, ElemType elem)
{
    for (int t = 0; t < program->tensor_count; t++)
        if (program->tensors[t].role == ROLE_Q)
            return program->tensors[t].elem == elem;
    return false;
}

/* Nodes -------------------------------------------------------------------------------------------------- */

static Node *node_of(const Writer *w, const Expr *e)
{
    size_t at = e->id * (size_t)2654435761u >> 5 & w->mask;
    while (w->table[at].e && w->table[at].e != e)
        at = (at + 1) & w->mask;
    return &w->table[at];
}

/* Operands come first. */
static void enter(void *user, const Expr *e)
{
    const Writer *w = user;
    Node *node = node_of(w, e);
    node->e = e;
    if (e->op == EXPR_ARG)
        for (int a = 0; a < w->inst->args[e->index]->type.axis_count; a++)
            node->axes |= 1u << w->inst->args[e->index]->type.axis[a];
    for (int k = 0; k < e->arity; k++) {
        Node *operand = node_of(w, e->args[k]);
        operand->uses++;
        node->axes |= operand->axes;
    }
}

static bool narrow(Writer *w, const Expr *e)
{
    return cuda_range_fits(cuda_expr_range(&w->ranges, e));
}

static const char *type_of(Writer *w, const Expr *e)
{
    return e->type == TYPE_BOOL    ? "bool"
           : e->type == TYPE_FLOAT ? "float"
           : narrow(w, e)          ? "int"
                                   : "long long";
}

static const char *name_value(CudaGen *g, const char *type, const char *text)
{
    const char *name = arena_printf(g->arena, "t%u", g->next_name++);
    cuda_line(g, "const %s %s = %s;\n", type, name, text);
    return name;
}

static const char *write(Writer *w, const Expr *e);

#define PRINT(...) arena_printf(w->g->arena, __VA_ARGS__)

/* Ints --------------------------------------------------------------------------------------------------- */

static int shift_of(IntRange b)
{
    return b.lo == b.hi && b.lo > 0 && (b.lo & (b.lo - 1)) == 0 ? __builtin_ctzll((unsigned long long)b.lo)
                                                                : -1;
}

/* Floor division and its remainder; by zero 0. */
static const char *write_division(Writer *w, const Expr *e)
{
    IntRange x = cuda_expr_range(&w->ranges, e->args[0]), y = cuda_expr_range(&w->ranges, e->args[1]);
    bool small = narrow(w, e->args[0]) && narrow(w, e->args[1]) && narrow(w, e), divide = e->op == EXPR_DIV;
    const char *a = write(w, e->args[0]), *type = small ? "int" : "long long";
    int shift = shift_of(y);
    if (shift >= 0 && divide)
        return PRINT("%s(%s >> %d)", narrow(w, e) && !narrow(w, e->args[0]) ? "(int)" : "", a, shift);
    if (shift >= 0)
        return PRINT("%s(%s & %s)",
                     narrow(w, e->args[0]) ? ""
                     : narrow(w, e)        ? "(int)"
                                           : "(long long)",
                     a, int_literal(w->g, y.lo - 1));
    const char *b = write(w, e->args[1]);
    if (x.lo >= 0 && y.lo > 0)
        return PRINT("(%s)((unsigned %s)%s %c (unsigned %s)%s)", type_of(w, e), type, a, divide ? '/' : '%',
                     type, b);
    return PRINT("%sattune_%s%d%s(%s, %s)", !small && narrow(w, e) ? "(int)" : "", divide ? "div" : "mod",
                 small ? 32 : 64, y.lo > 0 ? "_positive" : "", a, b);
}

static const char *write_int(Writer *w, const Expr *e)
{
    if (e->op == EXPR_DIV || e->op == EXPR_MOD)
        return write_division(w, e);
    const char *a = write(w, e->args[0]), *b = e->arity > 1 ? write(w, e->args[1]) : NULL;
    bool small = narrow(w, e);
    for (int k = 0; k < e->arity && e->args[k]->type == TYPE_INT; k++)
        small = small && narrow(w, e->args[k]);
    const char *to = !small && narrow(w, e) ? "(int)" : "";
    switch (e->op) {
    case EXPR_ADD: return small ? PRINT("(%s + %s)", a, b) : PRINT("%sattune_add(%s, %s)", to, a, b);
    case EXPR_SUB: return small ? PRINT("(%s - %s)", a, b) : PRINT("%sattune_sub(%s, %s)", to, a, b);
    case EXPR_MUL: return small ? PRINT("(%s * %s)", a, b) : PRINT("%sattune_mul(%s, %s)", to, a, b);
    case EXPR_NEG: return small ? PRINT("(-%s)", a) : PRINT("%sattune_sub(0, %s)", to, a);
    case EXPR_ABS: return small ? PRINT("attune_abs32(%s)", a) : PRINT("%sattune_abs64(%s)", to, a);
    case EXPR_SIGN: return PRINT("((%s > 0) - (%s < 0))", a, a);
    case EXPR_MIN:
        return small ? PRINT("attune_min32(%s, %s)", a, b) : PRINT("%sattune_min64(%s, %s)", to, a, b);
    case EXPR_MAX:
        return small ? PRINT("attune_max32(%s, %s)", a, b) : PRINT("%sattune_max64(%s, %s)", to, a, b);
    case EXPR_POW: return PRINT("%sattune_pow(%s, %s)", to, a, b);
    case EXPR_TOINT: return PRINT("%sattune_truncate(%s)", to, a);
    case EXPR_BTOI: return PRINT("(int)%s", a);
    default: break;
    }
    diag_error(w->g->diag, e->span, "cuda-expr", "the CUDA back end has no int operator '%s'",
               expr_op_info[e->op].name);
    return "0";
}

/* Floats ------------------------------------------------------------------------------------------------- */

/* ARG or ARG * c for a constant c > 0: the operand and c. NULL: neither. */
static const Expr *scaled_operand(const Expr *e, double *factor)
{
    *factor = 1;
    if (e->op == EXPR_MUL)
        for (int k = 0; k < 2; k++)
            if (e->args[k]->op == EXPR_FLOAT && e->args[1 - k]->op == EXPR_ARG && e->args[k]->value.f > 0 &&
                isfinite((float)e->args[k]->value.f)) {
                *factor = e->args[k]->value.f;
                return e->args[1 - k];
            }
    return e->op == EXPR_ARG ? e : NULL;
}

/* exp(x - y) by powers of two, so that x <= y gives a result of at most 1 whatever is rounded: y's product is
 * rounded up, and x's is exact (in the sum) or rounded up too. Rows' exp(m_old - m_new) and elements' exp(s -
 * m_new) agree in what they subtract. Beyond scores of 2^22 the largest weight of a row is no longer near 1.
 */
static const char *write_exp_difference(Writer *w, const Expr *e)
{
    double x_factor, y_factor;
    const Expr *difference = e->args[0], *x = NULL, *y = NULL;
    if (difference->op == EXPR_SUB) {
        x = scaled_operand(difference->args[0], &x_factor);
        y = scaled_operand(difference->args[1], &y_factor);
    }
    if (!x || !y)
        return NULL;
    const Inst *const *args = (const Inst *const *)w->inst->args;
    const char *a = write(w, x), *b = write(w, y);
    const char *x_log = cuda_float_literal(w->g, x_factor * M_LOG2E),
               *y_log = cuda_float_literal(w->g, y_factor * M_LOG2E);
    if (args[x->index]->type.axis_count > args[y->index]->type.axis_count)
        return PRINT("attune_ex2(__fmaf_rn(%s, %s, -__fmul_ru(%s, %s)))", a, x_log, b, y_log);
    return PRINT("attune_ex2(__fsub_rn(__fmul_ru(%s, %s), __fmul_ru(%s, %s)))", a, x_log, b, y_log);
}

static const char *write_exp(Writer *w, const Expr *e)
{
    const char *text = w->low && !w->g->exact_differences ? write_exp_difference(w, e) : NULL;
    if (text)
        return text;
    const char *a = write(w, e->args[0]);
    if (e->op == EXPR_EXP2)
        return PRINT(w->low ? "attune_ex2(%s)" : "exp2f(%s)", a);
    return PRINT(w->low ? "attune_exp(%s)" : "expf(%s)", a);
}

/* x^n for a small whole n: the multiplications of repeated squaring. */
static const char *whole_power(Writer *w, const Expr *x, int n)
{
    if (n == 0)
        return "1.0f";
    const char *square = write(w, x), *result = NULL;
    for (int k = n < 0 ? -n : n; k > 0; k >>= 1) {
        if (k & 1)
            result = result ? PRINT("__fmul_rn(%s, %s)", result, square) : square;
        if (k > 1)
            square = name_value(w->g, "float", PRINT("__fmul_rn(%s, %s)", square, square));
    }
    return n < 0 ? PRINT("__fdiv_rn(1.0f, %s)", result) : result;
}

static const char *write_power(Writer *w, const Expr *e)
{
    enum { MOST = 4 };
    if (e->args[1]->op == EXPR_FLOAT) {
        double n = e->args[1]->value.f;
        if (n >= -MOST && n <= MOST && n == (double)(int)n)
            return whole_power(w, e->args[0], (int)n);
        if (n == 0.5)
            return PRINT("__fsqrt_rn(%s)", write(w, e->args[0]));
    }
    return PRINT("powf(%s, %s)", write(w, e->args[0]), write(w, e->args[1]));
}

/* a + b, a - b; a product among them is taken in one rounding. */
static const char *write_sum(Writer *w, const Expr *e)
{
    bool minus = e->op == EXPR_SUB;
    int at = e->args[1]->op == EXPR_MUL ? 1 : 0;
    const Expr *p = e->args[at];
    if (p->op != EXPR_MUL)
        return PRINT("__f%s_rn(%s, %s)", minus ? "sub" : "add", write(w, e->args[0]), write(w, e->args[1]));
    const char *a = write(w, p->args[0]), *b = write(w, p->args[1]), *c = write(w, e->args[1 - at]);
    return PRINT("__fmaf_rn(%s%s, %s, %s%s)", minus && at == 1 ? "-" : "", a, b, minus && at == 0 ? "-" : "",
                 c);
}

static const char *float_call(const Writer *w, ExprOp op)
{
    switch (op) {
    case EXPR_FLOOR: return "floorf";
    case EXPR_LOG: return w->fast ? "attune_log" : "logf";
    case EXPR_LOG2: return w->fast ? "attune_lg2" : "log2f";
    case EXPR_LOG1P: return "log1pf";
    case EXPR_SQRT: return w->fast ? "attune_sqrt" : "__fsqrt_rn";
    case EXPR_RSQRT: return w->fast ? "attune_rsqrt" : "__frsqrt_rn";
    case EXPR_SIN: return "sinf";
    case EXPR_COS: return "cosf";
    case EXPR_TANH: return w->low ? "attune_tanh" : "tanhf";
    case EXPR_SIGMOID:
        return !w->low                ? "attune_sigmoid_exact"
               : w->fast && w->coarse ? "attune_sigmoid_coarse"
                                      : "attune_sigmoid";
    case EXPR_ERF: return "erff";
    case EXPR_ABS: return "fabsf";
    case EXPR_SIGN: return "attune_sign";
    default: return NULL;
    }
}

static const char *write_float(Writer *w, const Expr *e)
{
    switch (e->op) {
    case EXPR_ADD:
    case EXPR_SUB: return write_sum(w, e);
    case EXPR_POW: return write_power(w, e);
    case EXPR_EXP:
    case EXPR_EXP2: return write_exp(w, e);
    default: break;
    }
    const char *a = write(w, e->args[0]), *b = e->arity > 1 ? write(w, e->args[1]) : NULL;
    switch (e->op) {
    case EXPR_MUL: return PRINT("__fmul_rn(%s, %s)", a, b);
    case EXPR_DIV: return PRINT(w->fast ? "attune_fdiv(%s, %s)" : "__fdiv_rn(%s, %s)", a, b);
    case EXPR_MOD: return PRINT("attune_fmod(%s, %s)", a, b);
    case EXPR_MIN: return PRINT("attune_fmin(%s, %s)", a, b);
    case EXPR_MAX: return PRINT("attune_fmax(%s, %s)", a, b);
    case EXPR_NEG: return PRINT("(-%s)", a);
    case EXPR_TOFLOAT:
    case EXPR_BTOF: return PRINT("(float)%s", a);
    default: break;
    }
    const char *call = float_call(w, (ExprOp)e->op);
    if (call)
        return PRINT("%s(%s)", call, a);
    diag_error(w->g->diag, e->span, "cuda-expr", "the CUDA back end has no float operator '%s'",
               expr_op_info[e->op].name);
    return "0.0f";
}

/* Comparisons -------------------------------------------------------------------------------------------- */

typedef struct Term {
    const Expr *e;
    bool minus;
} Term;
enum { MAX_TERMS = 8 };
/* A sum: narrow terms, wide ones and a constant. */
typedef struct Sum {
    Term narrow[MAX_TERMS], wide[MAX_TERMS];
    int narrow_count, wide_count;
    __int128 constant;
    bool full;
} Sum;

static void flatten(Writer *w, Sum *sum, const Expr *e, bool minus)
{
    if (e->op == EXPR_INT) {
        sum->constant += minus ? -(__int128)e->value.i : e->value.i;
    } else if (narrow(w, e)) {
        if (sum->narrow_count < MAX_TERMS)
            sum->narrow[sum->narrow_count++] = (Term){e, minus};
        else
            sum->full = true;
    } else if (e->op == EXPR_ADD || e->op == EXPR_SUB) {
        flatten(w, sum, e->args[0], minus);
        flatten(w, sum, e->args[1], minus != (e->op == EXPR_SUB));
    } else if (e->op == EXPR_NEG) {
        flatten(w, sum, e->args[0], !minus);
    } else if (sum->wide_count < MAX_TERMS) {
        sum->wide[sum->wide_count++] = (Term){e, minus};
    } else {
        sum->full = true;
    }
}

static const char *join(Writer *w, const Term *terms, int count, bool negate, bool wide)
{
    const char *text = NULL;
    for (int pass = 0; pass < 2; pass++) /* positive ones first */
        for (int k = 0; k < count; k++) {
            bool minus = terms[k].minus != negate;
            if (minus != (pass == 1))
                continue;
            const char *term = write(w, terms[k].e);
            if (wide)
                text = minus  ? PRINT("attune_sub(%s, %s)", text ? text : "0", term)
                       : text ? PRINT("attune_add(%s, %s)", text, term)
                              : term;
            else
                text = text    ? PRINT("(%s %c %s)", text, minus ? '-' : '+', term)
                       : minus ? PRINT("(-%s)", term)
                               : term;
        }
    return text;
}

/* Strictly inside 32 bits: then saturating the other side keeps every comparison. */
static bool strictly_fits(IntRange r)
{
    return r.lo > INT32_MIN && r.hi < INT32_MAX;
}

static const char *comparison(const Expr *e)
{
    return e->op == EXPR_LT ? "<" : e->op == EXPR_LE ? "<=" : e->op == EXPR_EQ ? "==" : "!=";
}

/* Ints of an element against something wide that is the same for the whole launch (params): the ints go to
 * one side, and are compared in 32 bits with what is left, saturated. NULL: not of this form. */
static const char *write_regrouped(Writer *w, const Expr *e)
{
    Sum sum = {.constant = 0};
    flatten(w, &sum, e->args[0], false);
    flatten(w, &sum, e->args[1], true);
    __int128 below = 0, above = 0; /* of all partial sums */
    uint32_t wide_axes = 0, narrow_axes = 0;
    for (int k = 0; k < sum.wide_count; k++)
        wide_axes |= node_of(w, sum.wide[k].e)->axes;
    for (int k = 0; k < sum.narrow_count; k++) {
        IntRange r = cuda_expr_range(&w->ranges, sum.narrow[k].e);
        r = sum.narrow[k].minus ? (IntRange){-r.hi, -r.lo} : r;
        below += r.lo < 0 ? r.lo : 0;
        above += r.hi > 0 ? r.hi : 0;
        narrow_axes |= node_of(w, sum.narrow[k].e)->axes;
    }
    if (sum.full || !sum.narrow_count || !sum.wide_count || below <= INT32_MIN || above >= INT32_MAX ||
        (wide_axes | narrow_axes) == wide_axes || sum.constant < -INT64_MAX || sum.constant > INT64_MAX)
        return NULL;
    const char *wide = join(w, sum.wide, sum.wide_count, true, true); /* narrow + wide + constant < 0 */
    if (sum.constant)
        wide = PRINT("attune_sub(%s, %s)", wide, int_literal(w->g, (int64_t)sum.constant));
    wide = name_value(w->g, "int", PRINT("attune_saturate(%s)", wide));
    return PRINT("(%s %s %s)", join(w, sum.narrow, sum.narrow_count, false, false), comparison(e), wide);
}

static const char *write_compare(Writer *w, const Expr *e)
{
    const Expr *x = e->args[0], *y = e->args[1];
    if (x->type == TYPE_INT && narrow(w, x) != narrow(w, y)) {
        const Expr *small = narrow(w, x) ? x : y, *wide = small == x ? y : x;
        uint32_t axes = node_of(w, small)->axes | node_of(w, wide)->axes;
        if (node_of(w, wide)->axes != axes && strictly_fits(cuda_expr_range(&w->ranges, small))) {
            const char *saturated = name_value(w->g, "int", PRINT("attune_saturate(%s)", write(w, wide)));
            const char *other = write(w, small);
            return small == x ? PRINT("(%s %s %s)", other, comparison(e), saturated)
                              : PRINT("(%s %s %s)", saturated, comparison(e), other);
        }
    }
    if (x->type == TYPE_INT && (!narrow(w, x) || !narrow(w, y))) {
        const char *text = write_regrouped(w, e);
        if (text)
            return text;
    }
    const char *a = write(w, x), *b = write(w, y);
    return PRINT("(%s %s %s)", a, comparison(e), b);
}

/* Everything --------------------------------------------------------------------------------------------- */

static const char *write_leaf(Writer *w, const Expr *e)
{
    switch (e->op) {
    case EXPR_INT: return int_literal(w->g, e->value.i);
    case EXPR_FLOAT: return cuda_float_literal(w->g, e->value.f);
    case EXPR_BOOL: return e->value.i ? "true" : "false";
    case EXPR_ARG: return w->operands.text(w->operands.user, w->inst->args[e->index]);
    case EXPR_PARAM: return cuda_param(w->g, e->index);
    case EXPR_VAR:
        if (e->index >= VAR_SIZE_B && e->index <= VAR_OFFSET)
            return cuda_size(w->g, (VarId)e->index);
        break;
    default: break;
    }
    diag_error(w->g->diag, w->inst->span, "cuda-expr", "a tile expression cannot contain '%s'",
               expr_op_info[e->op].name);
    return "0";
}

static const char *write_node(Writer *w, const Expr *e)
{
    switch (e->op) {
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE: return write_compare(w, e);
    case EXPR_AND:
    case EXPR_OR: {
        const char *a = write(w, e->args[0]), *b = write(w, e->args[1]);
        return PRINT("(%s %c %s)", a, e->op == EXPR_AND ? '&' : '|', b);
    }
    case EXPR_NOT: return PRINT("!%s", write(w, e->args[0]));
    case EXPR_SELECT:
    case EXPR_BSELECT: {
        const char *p = write(w, e->args[0]), *a = write(w, e->args[1]), *b = write(w, e->args[2]);
        return PRINT("(%s ? %s : %s)", p, a, b);
    }
    default: return e->type == TYPE_INT ? write_int(w, e) : write_float(w, e);
    }
}

static bool is_leaf(const Expr *e)
{
    return expr_op_info[e->op].leaf || e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN;
}

static const char *write(Writer *w, const Expr *e)
{
    Node *node = node_of(w, e);
    if (node->text)
        return node->text;
    const char *text = is_leaf(e) ? write_leaf(w, e) : write_node(w, e);
    if (!is_leaf(e) && (node->uses > 1 || strlen(text) > TEXT_LIMIT))
        text = name_value(w->g, type_of(w, e), text);
    return node->text = text;
}

const char *cuda_scalar(CudaGen *g, const Inst *inst, const Expr *e, CudaOperands operands)
{
    Writer w = {.g = g, .inst = inst, .operands = operands, .ranges = cuda_expr_ranges(g, inst), .mask = 15};
    size_t count = expr_count(g->arena, e);
    while (w.mask < 2 * count)
        w.mask = w.mask * 2 + 1;
    w.table = ARENA_ARRAY(g->arena, Node, w.mask + 1);
    w.coarse = stores_as(g->program, ELEM_TYPE_BF16);
    w.low = w.coarse || stores_as(g->program, ELEM_TYPE_F16);
    expr_walk(g->arena, e, enter, &w);
    int axes = __builtin_popcount(node_of(&w, e)->axes);
    w.fast = w.low && axes >= 2;
    return write(&w, e);
}

const char *cuda_map(CudaGen *g, const Inst *map, CudaOperands operands)
{
    const char *text = cuda_scalar(g, map, map->expr, operands);
    if (map->type.elem == ELEM_TYPE_BF16)
        return arena_printf(g->arena, "attune_round_bf16(%s)", text);
    if (map->type.elem == ELEM_TYPE_F16)
        return arena_printf(g->arena, "attune_round_f16(%s)", text);
    return text;
}
