/* Expressions as LLVM code for one element, with the meanings of cuda_expr.c: ints of 32 bits where ranges
 * prove that they fit, f32 floats whose operations round once each, a sum taking a product in one rounding,
 * and the hardware's approximations where values have 16 bits. Functions without an instruction of their own
 * come from llvm_math.c. */
#include "cuda_range.h"
#include "llvm_ptx.h"

#include <math.h>

#define V LLVMValueRef

typedef struct Known {
    const Expr *e;
    V value;
} Known;

typedef struct Evaluation {
    Ptx *p;
    const Inst *inst;
    ExprRanges ranges;
    Known *table; /* open addressing, sized for the whole expression */
    size_t mask;
    bool fast; /* approximations are welcome */
} Evaluation;

typedef struct Axes {
    const Inst *inst;
    uint32_t bits;
} Axes;

static V evaluate(Evaluation *w, const Expr *e);

/* Ints --------------------------------------------------------------------------------------------------- */

static bool narrow(Evaluation *w, const Expr *e)
{
    return cuda_range_fits(cuda_expr_range(&w->ranges, e));
}

static LLVMTypeRef type_of(Evaluation *w, const Expr *e)
{
    const Gen *l = &w->p->l;
    return e->type == TYPE_BOOL ? l->i1 : e->type == TYPE_FLOAT ? l->f32 : narrow(w, e) ? l->i32 : l->i64;
}

static V constant(V like, int64_t value)
{
    return LLVMConstInt(LLVMTypeOf(like), (unsigned long long)value, true);
}

static V compare(Ptx *p, LLVMIntPredicate predicate, V a, int64_t b)
{
    return LLVMBuildICmp(p->l.b, predicate, a, constant(a, b), "");
}

static int shift_of(IntRange b)
{
    return b.lo == b.hi && b.lo > 0 && (b.lo & (b.lo - 1)) == 0 ? __builtin_ctzll((unsigned long long)b.lo)
                                                                : -1;
}

/* Floor division and its remainder; by zero 0. By -1 the least int has no quotient: it wraps. */
static V divide(Evaluation *w, const Expr *e, V a, V b)
{
    Ptx *p = w->p;
    LLVMBuilderRef build = p->l.b;
    IntRange x = cuda_expr_range(&w->ranges, e->args[0]), y = cuda_expr_range(&w->ranges, e->args[1]);
    bool quotient = e->op == EXPR_DIV;
    int shift = shift_of(y);
    if (shift >= 0)
        return quotient ? LLVMBuildAShr(build, a, constant(a, shift), "")
                        : LLVMBuildAnd(build, a, constant(a, y.lo - 1), "");
    if (x.lo >= 0 && y.lo > 0)
        return quotient ? LLVMBuildUDiv(build, a, b, "") : LLVMBuildURem(build, a, b, "");
    V safe = b, zero = NULL, minus = NULL;
    if (y.lo <= 0) {
        zero = compare(p, LLVMIntEQ, b, 0);
        minus = compare(p, LLVMIntEQ, b, -1);
        safe = LLVMBuildSelect(build, LLVMBuildOr(build, zero, minus, ""), constant(b, 1), b, "");
    }
    V q = LLVMBuildSDiv(build, a, safe, ""), r = LLVMBuildSRem(build, a, safe, "");
    V differ = LLVMBuildAnd(build, compare(p, LLVMIntNE, r, 0),
                            compare(p, LLVMIntSLT, LLVMBuildXor(build, r, safe, ""), 0), "");
    V rest = LLVMBuildSelect(build, differ, safe, constant(r, 0), ""),
      one = LLVMBuildZExt(build, differ, LLVMTypeOf(q), "");
    V result = quotient ? LLVMBuildSub(build, q, one, "") : LLVMBuildAdd(build, r, rest, "");
    if (y.lo <= 0) {
        result = LLVMBuildSelect(build, minus, quotient ? LLVMBuildNeg(build, a, "") : constant(a, 0), result,
                                 "");
        result = LLVMBuildSelect(build, zero, constant(a, 0), result, "");
    }
    return result;
}

/* By squaring; to a negative power 0. */
static V int_power(Ptx *p, V base, V exponent)
{
    Gen *l = &p->l;
    V first = LLVMBuildZExt(l->b, compare(p, LLVMIntSGE, exponent, 0), l->i64, "");
    V result = ptx_variable(p, l->i64, first), square = ptx_variable(p, l->i64, base),
      left = ptx_variable(p, l->i64, exponent);
    LLVMBasicBlockRef head = LLVMAppendBasicBlockInContext(l->context, l->function, ""),
                      body = LLVMAppendBasicBlockInContext(l->context, l->function, ""),
                      after = LLVMAppendBasicBlockInContext(l->context, l->function, "");
    LLVMBuildBr(l->b, head);
    LLVMPositionBuilderAtEnd(l->b, head);
    V n = ptx_get(p, l->i64, left);
    LLVMBuildCondBr(l->b, compare(p, LLVMIntSGT, n, 0), body, after);
    LLVMPositionBuilderAtEnd(l->b, body);
    V s = ptx_get(p, l->i64, square), r = ptx_get(p, l->i64, result);
    V odd = compare(p, LLVMIntNE, LLVMBuildAnd(l->b, n, const_i64(l, 1), ""), 0);
    ptx_set(p, result, LLVMBuildSelect(l->b, odd, LLVMBuildMul(l->b, r, s, ""), r, ""));
    ptx_set(p, square, LLVMBuildMul(l->b, s, s, ""));
    ptx_set(p, left, LLVMBuildLShr(l->b, n, const_i64(l, 1), ""));
    LLVMBuildBr(l->b, head);
    LLVMPositionBuilderAtEnd(l->b, after);
    return ptx_get(p, l->i64, result);
}

/* Towards zero, saturating; NaN gives 0. */
static V truncated(Ptx *p, V a)
{
    Gen *l = &p->l;
    V limit = LLVMConstReal(l->f32, 0x1p63), minus = LLVMConstReal(l->f32, -0x1p63);
    V high = LLVMBuildFCmp(l->b, LLVMRealOGE, a, limit, ""),
      low = LLVMBuildFCmp(l->b, LLVMRealOLE, a, minus, "");
    V nan = LLVMBuildFCmp(l->b, LLVMRealUNO, a, a, "");
    V safe = LLVMBuildSelect(l->b, LLVMBuildOr(l->b, LLVMBuildOr(l->b, high, low, ""), nan, ""),
                             LLVMConstReal(l->f32, 0), a, "");
    V v = LLVMBuildFPToSI(l->b, safe, l->i64, "");
    v = LLVMBuildSelect(l->b, high, const_i64(l, INT64_MAX), v, "");
    return LLVMBuildSelect(l->b, low, const_i64(l, INT64_MIN), v, "");
}

static V evaluate_int(Evaluation *w, const Expr *e)
{
    Ptx *p = w->p;
    LLVMBuilderRef build = p->l.b;
    V a = evaluate(w, e->args[0]), b = e->arity > 1 ? evaluate(w, e->args[1]) : NULL;
    if (e->op == EXPR_BTOI)
        return LLVMBuildZExt(build, a, type_of(w, e), "");
    if (e->op == EXPR_TOINT)
        return ptx_fit(p, truncated(p, a), type_of(w, e));
    if (e->op == EXPR_POW)
        return ptx_fit(p, int_power(p, ptx_fit(p, a, p->l.i64), ptx_fit(p, b, p->l.i64)), type_of(w, e));
    bool small = narrow(w, e);
    for (int k = 0; k < e->arity; k++)
        small = small && narrow(w, e->args[k]);
    a = ptx_fit(p, a, small ? p->l.i32 : p->l.i64);
    b = b ? ptx_fit(p, b, small ? p->l.i32 : p->l.i64) : NULL;
    V v = a;
    switch (e->op) {
    case EXPR_ADD: v = LLVMBuildAdd(build, a, b, ""); break;
    case EXPR_SUB: v = LLVMBuildSub(build, a, b, ""); break;
    case EXPR_MUL: v = LLVMBuildMul(build, a, b, ""); break;
    case EXPR_DIV:
    case EXPR_MOD: v = divide(w, e, a, b); break;
    case EXPR_NEG: v = LLVMBuildNeg(build, a, ""); break;
    case EXPR_ABS:
        v = LLVMBuildSelect(build, compare(p, LLVMIntSLT, a, 0), LLVMBuildNeg(build, a, ""), a, "");
        break;
    case EXPR_SIGN:
        v = LLVMBuildSub(build, LLVMBuildZExt(build, compare(p, LLVMIntSGT, a, 0), LLVMTypeOf(a), ""),
                         LLVMBuildZExt(build, compare(p, LLVMIntSLT, a, 0), LLVMTypeOf(a), ""), "");
        break;
    case EXPR_MIN: v = LLVMBuildSelect(build, LLVMBuildICmp(build, LLVMIntSLT, a, b, ""), a, b, ""); break;
    case EXPR_MAX: v = LLVMBuildSelect(build, LLVMBuildICmp(build, LLVMIntSGT, a, b, ""), a, b, ""); break;
    default: gen_error(&p->l, w->inst, "no int operator '%s'", expr_op_info[e->op].name);
    }
    return ptx_fit(p, v, type_of(w, e));
}

/* Floats ------------------------------------------------------------------------------------------------- */

static V number(Ptx *p, double value)
{
    return LLVMConstReal(p->l.f32, (double)(float)value);
}

static V multiply(Ptx *p, V a, V b)
{
    return LLVMBuildFMul(p->l.b, a, b, "");
}

static V fused(Ptx *p, V a, V b, V c)
{
    return call_intrinsic(&p->l, "llvm.fma", &p->l.f32, 1, (V[]){a, b, c}, 3);
}

static V power_of_two(Ptx *p, V a)
{
    return ptx_approx(p, "ex2.approx.ftz.f32", a, NULL);
}

/* exp(x) = 2^h 2^l with h = x log2 e rounded and l what that lost, so small that 2^l is 1 + l ln 2. The
 * machine's power of two is good to 2 units in the last place, subnormals too. At the bounds the result
 * is infinite and zero. */
static V exponential(Ptx *p, V x)
{
    LLVMBuilderRef b = p->l.b;
    const double high = (double)(float)M_LOG2E;
    V most = number(p, 89.0), least = number(p, -104.5);
    x = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, most, ""), most, x, "");
    x = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, least, ""), least, x, "");
    V h = multiply(p, x, number(p, high));
    V l = fused(p, x, number(p, high), LLVMBuildFNeg(b, h, ""));
    l = fused(p, x, number(p, M_LOG2E - high), l);
    V power = ptx_approx(p, "ex2.approx.f32", h, NULL);
    return multiply(p, power, fused(p, l, number(p, M_LN2), number(p, 1)));
}

/* x^n for a small whole n: the multiplications of repeated squaring. */
static V whole_power(Ptx *p, V x, int n)
{
    V square = x, result = NULL;
    if (n == 0)
        return number(p, 1);
    for (int k = n < 0 ? -n : n; k > 0; k >>= 1) {
        if (k & 1)
            result = result ? multiply(p, result, square) : square;
        if (k > 1)
            square = multiply(p, square, square);
    }
    return n < 0 ? LLVMBuildFDiv(p->l.b, number(p, 1), result, "") : result;
}

static V evaluate_power(Evaluation *w, const Expr *e)
{
    enum { MOST = 4 };
    Ptx *p = w->p;
    V x = evaluate(w, e->args[0]);
    if (e->args[1]->op == EXPR_FLOAT) {
        double n = e->args[1]->value.f;
        if (n >= -MOST && n <= MOST && n == (double)(int)n)
            return whole_power(p, x, (int)n);
        if (n == 0.5)
            return math_emit(&p->l, EXPR_SQRT, x);
    }
    return math_pow(&p->l, x, evaluate(w, e->args[1]));
}

/* a + b, a - b; a product among them is taken in one rounding. */
static V evaluate_sum(Evaluation *w, const Expr *e)
{
    Ptx *p = w->p;
    bool minus = e->op == EXPR_SUB;
    int at = e->args[1]->op == EXPR_MUL ? 1 : 0;
    const Expr *product = e->args[at];
    if (product->op != EXPR_MUL) {
        V a = evaluate(w, e->args[0]), b = evaluate(w, e->args[1]);
        return minus ? LLVMBuildFSub(p->l.b, a, b, "") : LLVMBuildFAdd(p->l.b, a, b, "");
    }
    V a = evaluate(w, product->args[0]), b = evaluate(w, product->args[1]), c = evaluate(w, e->args[1 - at]);
    if (minus && at == 1)
        a = LLVMBuildFNeg(p->l.b, a, "");
    if (minus && at == 0)
        c = LLVMBuildFNeg(p->l.b, c, "");
    return fused(p, a, b, c);
}

static V sigmoid(Evaluation *w, V a)
{
    Ptx *p = w->p;
    if (!p->low)
        return math_emit(&p->l, EXPR_SIGMOID, a);
    if (w->fast && p->coarse) { /* one operation of the special function unit instead of two */
        V t = ptx_approx(p, "tanh.approx.f32", multiply(p, number(p, 0.5), a), NULL);
        return fused(p, t, number(p, 0.5), number(p, 0.5));
    }
    V e = power_of_two(p, multiply(p, LLVMBuildFNeg(p->l.b, a, ""), number(p, M_LOG2E)));
    return ptx_approx(p, "rcp.approx.ftz.f32", LLVMBuildFAdd(p->l.b, number(p, 1), e, ""), NULL);
}

static V float_mod(Ptx *p, V a, V b)
{
    LLVMBuilderRef build = p->l.b;
    LLVMTypeRef f64 = p->l.f64;
    V x = LLVMBuildFPExt(build, a, f64, ""), y = LLVMBuildFPExt(build, b, f64, "");
    V floored = LLVMBuildFDiv(build, x, y, "");
    floored = call_intrinsic(&p->l, "llvm.floor", &f64, 1, &floored, 1);
    V rest = LLVMBuildFSub(build, x, LLVMBuildFMul(build, y, floored, ""), "");
    return LLVMBuildFPTrunc(build, rest, p->l.f32, "");
}

/* NULL: no approximation of it is wanted. */
static V approximation(Evaluation *w, ExprOp op, V a)
{
    Ptx *p = w->p;
    switch (op) {
    case EXPR_EXP: return p->low ? power_of_two(p, multiply(p, a, number(p, M_LOG2E))) : exponential(p, a);
    case EXPR_EXP2: return p->low ? power_of_two(p, a) : ptx_approx(p, "ex2.approx.f32", a, NULL);
    case EXPR_TANH: return p->low ? ptx_approx(p, "tanh.approx.f32", a, NULL) : NULL;
    case EXPR_SIGMOID: return sigmoid(w, a);
    case EXPR_LOG:
        return w->fast ? multiply(p, ptx_approx(p, "lg2.approx.ftz.f32", a, NULL), number(p, M_LN2)) : NULL;
    case EXPR_LOG2: return w->fast ? ptx_approx(p, "lg2.approx.ftz.f32", a, NULL) : NULL;
    case EXPR_SQRT: return w->fast ? ptx_approx(p, "sqrt.approx.ftz.f32", a, NULL) : NULL;
    case EXPR_RSQRT: return w->fast ? ptx_approx(p, "rsqrt.approx.ftz.f32", a, NULL) : NULL;
    default: return NULL;
    }
}

static V evaluate_float(Evaluation *w, const Expr *e)
{
    Ptx *p = w->p;
    LLVMBuilderRef build = p->l.b;
    if (e->op == EXPR_ADD || e->op == EXPR_SUB)
        return evaluate_sum(w, e);
    if (e->op == EXPR_POW)
        return evaluate_power(w, e);
    V a = evaluate(w, e->args[0]), b = e->arity > 1 ? evaluate(w, e->args[1]) : NULL;
    switch (e->op) {
    case EXPR_MUL: return multiply(p, a, b);
    case EXPR_DIV: return w->fast ? ptx_approx(p, "div.approx.f32", a, b) : LLVMBuildFDiv(build, a, b, "");
    case EXPR_MOD: return float_mod(p, a, b);
    case EXPR_MIN: return LLVMBuildSelect(build, LLVMBuildFCmp(build, LLVMRealOLT, a, b, ""), a, b, "");
    case EXPR_MAX: return LLVMBuildSelect(build, LLVMBuildFCmp(build, LLVMRealOGT, a, b, ""), a, b, "");
    case EXPR_NEG: return LLVMBuildFNeg(build, a, "");
    case EXPR_TOFLOAT: return LLVMBuildSIToFP(build, a, p->l.f32, "");
    case EXPR_BTOF: return LLVMBuildUIToFP(build, a, p->l.f32, "");
    case EXPR_ABS: return call_intrinsic(&p->l, "llvm.fabs", &p->l.f32, 1, &a, 1);
    case EXPR_SIGN: {
        V zero = number(p, 0);
        V above = LLVMBuildUIToFP(build, LLVMBuildFCmp(build, LLVMRealOGT, a, zero, ""), p->l.f32, "");
        V below = LLVMBuildUIToFP(build, LLVMBuildFCmp(build, LLVMRealOLT, a, zero, ""), p->l.f32, "");
        return LLVMBuildFSub(build, above, below, "");
    }
    default: break;
    }
    V fast = approximation(w, (ExprOp)e->op, a);
    return fast ? fast : math_emit(&p->l, (ExprOp)e->op, a);
}

/* Everything --------------------------------------------------------------------------------------------- */

static V evaluate_leaf(Evaluation *w, const Expr *e)
{
    Ptx *p = w->p;
    switch (e->op) {
    case EXPR_INT: return LLVMConstInt(type_of(w, e), (unsigned long long)e->value.i, true);
    case EXPR_FLOAT: return number(p, e->value.f);
    case EXPR_BOOL: return LLVMConstInt(p->l.i1, e->value.i != 0, false);
    case EXPR_ARG: return ptx_element(p, w->inst->args[e->index]);
    case EXPR_PARAM: {
        V slot = ptx_slot(p, SLOT_PARAMS + e->index);
        if (e->type == TYPE_FLOAT)
            return LLVMBuildFPTrunc(p->l.b, LLVMBuildBitCast(p->l.b, slot, p->l.f64, ""), p->l.f32, "");
        return ptx_fit(p, slot, type_of(w, e));
    }
    case EXPR_VAR:
        if (e->index >= VAR_SIZE_B && e->index <= VAR_OFFSET)
            return ptx_size(p, (VarId)e->index);
        break;
    default: break;
    }
    gen_error(&p->l, w->inst, "a tile expression cannot contain '%s'", expr_op_info[e->op].name);
    return LLVMGetPoison(type_of(w, e));
}

static void note_axes(void *user, const Expr *e)
{
    Axes *axes = user;
    if (e->op == EXPR_ARG)
        for (int a = 0; a < axes->inst->args[e->index]->type.axis_count; a++)
            axes->bits |= 1u << axes->inst->args[e->index]->type.axis[a];
}

static uint32_t axes_of(Evaluation *w, const Expr *e)
{
    Axes axes = {w->inst, 0};
    expr_walk(w->p->g->arena, e, note_axes, &axes);
    return axes.bits;
}

/* An int of 64 bits that is the same for more elements than the other side, which lies strictly inside 32:
 * saturated, once for them all, it compares in 32 bits. */
static V saturated(Evaluation *w, const Expr *e, const Expr *other)
{
    Gen *l = &w->p->l;
    IntRange range = cuda_expr_range(&w->ranges, other);
    uint32_t axes = axes_of(w, e);
    if (narrow(w, e) || range.lo <= INT32_MIN || range.hi >= INT32_MAX || (axes | axes_of(w, other)) == axes)
        return evaluate(w, e);
    V v = evaluate(w, e), most = const_i64(l, INT32_MAX), least = const_i64(l, INT32_MIN);
    v = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSGT, v, most, ""), most, v, "");
    v = LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, v, least, ""), least, v, "");
    return LLVMBuildTrunc(l->b, v, l->i32, "");
}

static V evaluate_compare(Evaluation *w, const Expr *e)
{
    Ptx *p = w->p;
    bool ints = e->args[0]->type == TYPE_INT;
    V a = ints ? saturated(w, e->args[0], e->args[1]) : evaluate(w, e->args[0]),
      b = ints ? saturated(w, e->args[1], e->args[0]) : evaluate(w, e->args[1]);
    if (e->args[0]->type == TYPE_FLOAT) {
        LLVMRealPredicate predicate = e->op == EXPR_LT   ? LLVMRealOLT
                                      : e->op == EXPR_LE ? LLVMRealOLE
                                      : e->op == EXPR_EQ ? LLVMRealOEQ
                                                         : LLVMRealUNE;
        return LLVMBuildFCmp(p->l.b, predicate, a, b, "");
    }
    LLVMIntPredicate predicate = e->op == EXPR_LT   ? LLVMIntSLT
                                 : e->op == EXPR_LE ? LLVMIntSLE
                                 : e->op == EXPR_EQ ? LLVMIntEQ
                                                    : LLVMIntNE;
    if (LLVMTypeOf(a) != LLVMTypeOf(b)) {
        a = ptx_fit(p, a, p->l.i64);
        b = ptx_fit(p, b, p->l.i64);
    }
    return LLVMBuildICmp(p->l.b, predicate, a, b, "");
}

static V evaluate_node(Evaluation *w, const Expr *e)
{
    LLVMBuilderRef build = w->p->l.b;
    switch (e->op) {
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE: return evaluate_compare(w, e);
    case EXPR_AND:
    case EXPR_OR: {
        V a = evaluate(w, e->args[0]), b = evaluate(w, e->args[1]);
        return e->op == EXPR_AND ? LLVMBuildAnd(build, a, b, "") : LLVMBuildOr(build, a, b, "");
    }
    case EXPR_NOT: return LLVMBuildNot(build, evaluate(w, e->args[0]), "");
    case EXPR_SELECT:
    case EXPR_BSELECT: {
        V c = evaluate(w, e->args[0]), a = evaluate(w, e->args[1]), b = evaluate(w, e->args[2]);
        LLVMTypeRef type = type_of(w, e);
        return LLVMBuildSelect(build, c, ptx_fit(w->p, a, type), ptx_fit(w->p, b, type), "");
    }
    default: return e->type == TYPE_INT ? evaluate_int(w, e) : evaluate_float(w, e);
    }
}

static V evaluate(Evaluation *w, const Expr *e)
{
    size_t at = e->id * (size_t)2654435761u >> 5 & w->mask;
    while (w->table[at].e && w->table[at].e != e)
        at = (at + 1) & w->mask;
    Known *known = &w->table[at];
    if (known->e)
        return known->value;
    bool leaf = expr_op_info[e->op].leaf || e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN;
    V value = leaf ? evaluate_leaf(w, e) : evaluate_node(w, e);
    at = e->id * (size_t)2654435761u >> 5 & w->mask; /* operands have come in between */
    while (w->table[at].e)
        at = (at + 1) & w->mask;
    w->table[at] = (Known){e, value};
    return value;
}

V ptx_scalar(Ptx *p, const Inst *inst, const Expr *e)
{
    Arena *arena = p->g->arena;
    Evaluation w = {.p = p, .inst = inst, .ranges = cuda_expr_ranges(p->g, inst), .mask = 15};
    size_t count = expr_count(arena, e);
    while (w.mask < 2 * count)
        w.mask = w.mask * 2 + 1;
    w.table = ARENA_ARRAY(arena, Known, w.mask + 1);
    w.fast = p->low && __builtin_popcount(axes_of(&w, e)) >= 2;
    return evaluate(&w, e);
}

V ptx_map(Ptx *p, const Inst *map)
{
    return ptx_rounded(p, map->type.elem, ptx_scalar(p, map, map->expr));
}
