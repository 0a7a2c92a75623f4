/* Expressions: an Expr over the values of its operands, lane by lane.
 *
 * Ints are computed in 32 bits where the bounds of the operands and the result prove that to be exact.
 * Nodes that occur several times are emitted once. */
#include "llvm_gen.h"

#include <string.h>

/* Bounds ----------------------------------------------------------------------------------------------- */

bool bounds_fit_i32(Bounds b)
{
    return b.lo >= INT32_MIN && b.hi <= INT32_MAX;
}

static Bounds hull(Bounds a, Bounds b)
{
    return (Bounds){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
}

static bool is_open(Bounds b)
{
    return b.lo == INT64_MIN || b.hi == INT64_MAX;
}

/* By 128 bits; what leaves 64 bits is unbounded. */
static Bounds wide_bounds(__int128 lo, __int128 hi)
{
    if (lo <= INT64_MIN || hi >= INT64_MAX)
        return BOUNDS_ALL;
    return (Bounds){(int64_t)lo, (int64_t)hi};
}

static Bounds product_bounds(Bounds a, Bounds b)
{
    __int128 p[] = {(__int128)a.lo * b.lo, (__int128)a.lo * b.hi, (__int128)a.hi * b.lo,
                    (__int128)a.hi * b.hi};
    __int128 lo = p[0], hi = p[0];
    for (int k = 1; k < 4; k++) {
        lo = p[k] < lo ? p[k] : lo;
        hi = p[k] > hi ? p[k] : hi;
    }
    return wide_bounds(lo, hi);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

typedef struct Table { /* by Expr id, open addressing */
    const Expr **key;
    Bounds *bounds;
    LLVMValueRef *value;
    uint32_t mask;
} Table;

typedef struct MapState {
    Gen *g;
    const MapArgs *args;
    const Bounds *arg_bounds;
    int arg_count, width;
    Table known, made;
} MapState;

static Table table_create(Gen *g, uint32_t size)
{
    return (Table){.key = ARENA_ARRAY(g->arena, const Expr *, size),
                   .bounds = ARENA_ARRAY(g->arena, Bounds, size),
                   .value = ARENA_ARRAY(g->arena, LLVMValueRef, size),
                   .mask = size - 1};
}

static uint32_t table_find(const Table *t, const Expr *e)
{
    uint32_t at = e->id * 2654435761u >> 7 & t->mask;
    while (t->key[at] && t->key[at] != e)
        at = (at + 1) & t->mask;
    return at;
}

static void table_room(Gen *g, Table *t, uint32_t *count)
{
    if (++*count * 2 <= t->mask)
        return;
    Table old = *t;
    *t = table_create(g, (old.mask + 1) * 2);
    for (uint32_t k = 0; k <= old.mask; k++)
        if (old.key[k]) {
            uint32_t at = table_find(t, old.key[k]);
            t->key[at] = old.key[k];
            t->bounds[at] = old.bounds[k];
            t->value[at] = old.value[k];
        }
}

static Bounds size_bounds(int var)
{
    enum { LIMIT = 1 << 30 }; /* launches check lengths */
    return var == VAR_OFFSET ? (Bounds){-LIMIT, LIMIT} : (Bounds){0, LIMIT};
}

typedef struct Walk { MapState *m; uint32_t known_count, made_count; } Walk;

static Bounds bounds_of(Walk *w, const Expr *e);

static Bounds compute_bounds(Walk *w, const Expr *e)
{
    Bounds a = BOUNDS_ALL, b = BOUNDS_ALL;
    if (e->op == EXPR_INT)
        return (Bounds){e->value.i, e->value.i};
    if (e->op == EXPR_VAR)
        return size_bounds(e->index);
    if (e->op == EXPR_ARG)
        return e->index < w->m->arg_count ? w->m->arg_bounds[e->index] : BOUNDS_ALL;
    if (e->op == EXPR_BTOI)
        return (Bounds){0, 1};
    if (e->op == EXPR_SIGN)
        return (Bounds){-1, 1};
    if (e->op == EXPR_SELECT)
        return hull(bounds_of(w, e->args[1]), bounds_of(w, e->args[2]));
    if (e->arity >= 1 && e->args[0]->type == TYPE_INT)
        a = bounds_of(w, e->args[0]);
    if (e->arity >= 2 && e->args[1]->type == TYPE_INT)
        b = bounds_of(w, e->args[1]);
    switch (e->op) {
    case EXPR_MIN:
        return (Bounds){a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
    case EXPR_MAX:
        return (Bounds){a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
    case EXPR_MOD: /* of a positive divisor; 0 for a zero one */
        if (b.lo >= 0 && b.hi != INT64_MAX)
            return (Bounds){0, a.lo >= 0 && a.hi < b.hi ? a.hi : b.hi > 0 ? b.hi - 1 : 0};
        return BOUNDS_ALL;
    default:
        break;
    }
    if (is_open(a) || (e->arity == 2 && is_open(b)))
        return BOUNDS_ALL;
    switch (e->op) {
    case EXPR_ADD: return wide_bounds((__int128)a.lo + b.lo, (__int128)a.hi + b.hi);
    case EXPR_SUB: return wide_bounds((__int128)a.lo - b.hi, (__int128)a.hi - b.lo);
    case EXPR_MUL: return product_bounds(a, b);
    case EXPR_NEG: return (Bounds){-a.hi, -a.lo};
    case EXPR_ABS: {
        int64_t most = -a.lo > a.hi ? -a.lo : a.hi;
        return (Bounds){a.lo > 0 ? a.lo : a.hi < 0 ? -a.hi : 0, most};
    }
    case EXPR_DIV:
        if (b.lo >= 1)
            return hull(hull((Bounds){floor_div(a.lo, b.lo), floor_div(a.hi, b.lo)},
                             (Bounds){floor_div(a.lo, b.hi), floor_div(a.hi, b.hi)}),
                        (Bounds){0, 0});
        return hull(a, hull((Bounds){-a.hi, -a.lo}, (Bounds){-1, 0}));
    default:
        return BOUNDS_ALL;
    }
}

static Bounds bounds_of(Walk *w, const Expr *e)
{
    Table *t = &w->m->known;
    uint32_t at = table_find(t, e);
    if (t->key[at])
        return t->bounds[at];
    Bounds b = compute_bounds(w, e);
    table_room(w->m->g, t, &w->known_count);
    at = table_find(t, e);
    t->key[at] = e;
    t->bounds[at] = b;
    return b;
}

Bounds map_bounds(Gen *g, const Expr *e, const Bounds *args, int count)
{
    MapState m = {.g = g, .arg_bounds = args, .arg_count = count, .known = table_create(g, 32)};
    Walk w = {.m = &m};
    return e->type == TYPE_INT ? bounds_of(&w, e) : BOUNDS_ALL;
}

/* Values ----------------------------------------------------------------------------------------------- */

#define V LLVMValueRef

static V emit(Walk *w, const Expr *e);

/* Both operands alike: scalars stay scalars, otherwise vectors of the given int width (0: not ints). */
static void unify(Walk *w, V *a, V *b, int bits)
{
    MapState *m = w->m;
    if (!is_vector(*a) && !is_vector(*b))
        return;
    if (bits) {
        *a = vector_int(m->g, *a, bits, m->width);
        *b = vector_int(m->g, *b, bits, m->width);
    } else {
        *a = splat(m->g, *a, m->width);
        *b = splat(m->g, *b, m->width);
    }
}

/* Floor division and modulo of ints; by zero 0. */
static V int_divide(Walk *w, const Expr *e, V a, V b, int bits, bool modulo)
{
    Gen *g = w->m->g;
    Bounds divisor = bounds_of(w, e->args[1]), dividend = bounds_of(w, e->args[0]);
    V zero = like_int(g, a, 0);
    if (divisor.lo == divisor.hi && divisor.lo > 0 && (divisor.lo & (divisor.lo - 1)) == 0) {
        int shift = __builtin_ctzll((unsigned long long)divisor.lo);
        return modulo ? LLVMBuildAnd(g->b, a, like_int(g, a, divisor.lo - 1), "")
                      : LLVMBuildAShr(g->b, a, like_int(g, a, shift), "");
    }
    bool constant = divisor.lo == divisor.hi && divisor.lo > 0;
    V quotient, divisor_safe = b;
    V by_zero = NULL;
    if (divisor.lo <= 0) {
        by_zero = LLVMBuildICmp(g->b, LLVMIntEQ, b, zero, "");
        divisor_safe = LLVMBuildSelect(g->b, by_zero, like_int(g, b, 1), b, "");
    }
    if (is_vector(a) && bits == 32 && !constant) {
        /* Exact: the quotient of two 32-bit ints differs from a whole number by more than a double's
         * rounding. */
        LLVMTypeRef f64 = with_elem(g, a, g->f64);
        V q = LLVMBuildFDiv(g->b, LLVMBuildSIToFP(g->b, a, f64, ""),
                            LLVMBuildSIToFP(g->b, divisor_safe, f64, ""), "");
        q = call_intrinsic(g, "llvm.floor", &f64, 1, &q, 1);
        quotient =
            LLVMBuildTrunc(g->b, LLVMBuildFPToSI(g->b, q, with_elem(g, a, g->i64), ""), LLVMTypeOf(a), "");
        if (bounds_fit_i32(dividend) && dividend.lo > INT32_MIN)
            quotient = LLVMBuildFPToSI(g->b, q, LLVMTypeOf(a), "");
        V r = LLVMBuildSub(g->b, a, LLVMBuildMul(g->b, quotient, divisor_safe, ""), "");
        V result = modulo ? r : quotient;
        return by_zero ? LLVMBuildSelect(g->b, by_zero, zero, result, "") : result;
    }
    V minus = NULL; /* INT_MIN / -1 traps */
    if (divisor.lo <= -1) {
        minus = LLVMBuildICmp(g->b, LLVMIntEQ, b, like_int(g, b, -1), "");
        divisor_safe = LLVMBuildSelect(g->b, minus, like_int(g, b, 1), divisor_safe, "");
    }
    V q = LLVMBuildSDiv(g->b, a, divisor_safe, "");
    V r = LLVMBuildSub(g->b, a, LLVMBuildMul(g->b, q, divisor_safe, ""), "");
    if (dividend.lo < 0 || divisor.lo <= 0) { /* towards minus infinity */
        V rest = LLVMBuildICmp(g->b, LLVMIntNE, r, zero, "");
        V opposite = LLVMBuildICmp(g->b, LLVMIntSLT, LLVMBuildXor(g->b, r, divisor_safe, ""), zero, "");
        V adjust = LLVMBuildAnd(g->b, rest, opposite, "");
        q = LLVMBuildSub(g->b, q, LLVMBuildZExt(g->b, adjust, LLVMTypeOf(q), ""), "");
        r = LLVMBuildAdd(g->b, r, LLVMBuildSelect(g->b, adjust, divisor_safe, zero, ""), "");
    }
    if (minus) {
        q = LLVMBuildSelect(g->b, minus, LLVMBuildNeg(g->b, a, ""), q, "");
        r = LLVMBuildSelect(g->b, minus, zero, r, "");
    }
    V result = modulo ? r : q;
    return by_zero ? LLVMBuildSelect(g->b, by_zero, zero, result, "") : result;
}

static V int_power(Gen *g, V a, V b)
{
    /* Squaring through all 63 bits of the exponent; ones that do not matter multiply by one. */
    V zero = like_int(g, a, 0), one = like_int(g, a, 1);
    V start[] = {one, splat(g, a, is_vector(a) ? (int)LLVMGetVectorSize(LLVMTypeOf(a)) : 0), b};
    Loop loop = loop_begin(g, const_i64(g, 0), const_i64(g, 63), 1, false, start, 3);
    V bit = LLVMBuildICmp(g->b, LLVMIntNE, LLVMBuildAnd(g->b, loop.carried[2], one, ""), zero, "");
    V factor = LLVMBuildSelect(g->b, bit, loop.carried[1], one, "");
    V next[] = {LLVMBuildMul(g->b, loop.carried[0], factor, ""),
                LLVMBuildMul(g->b, loop.carried[1], loop.carried[1], ""),
                LLVMBuildLShr(g->b, loop.carried[2], one, "")};
    loop_end(g, &loop, next);
    return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, b, zero, ""), zero, loop.carried[0], "");
}

static V emit_int(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    V a = emit(w, e->args[0]), b = e->arity > 1 ? emit(w, e->args[1]) : a;
    if (e->op == EXPR_TOINT) {
        LLVMTypeRef types[] = {with_elem(g, a, g->i64), LLVMTypeOf(a)};
        return call_intrinsic(g, "llvm.fptosi.sat", types, 2, &a, 1);
    }
    if (e->op == EXPR_BTOI)
        return LLVMBuildZExt(g->b, a, is_vector(a) ? with_elem(g, a, g->i32) : g->i64, "");
    /* Sums and products are exact modulo 2^32 when the result fits; the rest needs fitting operands too. */
    bool narrow = bounds_fit_i32(bounds_of(w, e));
    bool wraps = e->op == EXPR_ADD || e->op == EXPR_SUB || e->op == EXPR_MUL || e->op == EXPR_NEG;
    for (int k = 0; k < e->arity && !wraps; k++)
        narrow = narrow && bounds_fit_i32(bounds_of(w, e->args[k]));
    int bits = narrow && e->op != EXPR_POW ? 32 : 64;
    unify(w, &a, &b, bits);
    V zero = like_int(g, a, 0);
    switch (e->op) {
    case EXPR_ADD: return LLVMBuildAdd(g->b, a, b, "");
    case EXPR_SUB: return LLVMBuildSub(g->b, a, b, "");
    case EXPR_MUL: return LLVMBuildMul(g->b, a, b, "");
    case EXPR_NEG: return LLVMBuildNeg(g->b, a, "");
    case EXPR_ABS:
        return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, zero, ""), LLVMBuildNeg(g->b, a, ""),
                               a, "");
    case EXPR_SIGN: {
        V above = LLVMBuildZExt(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, a, zero, ""), LLVMTypeOf(a), "");
        V below = LLVMBuildSExt(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, zero, ""), LLVMTypeOf(a), "");
        return LLVMBuildOr(g->b, above, below, "");
    }
    case EXPR_MIN: return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, b, ""), a, b, "");
    case EXPR_MAX: return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, a, b, ""), a, b, "");
    case EXPR_DIV: return int_divide(w, e, a, b, bits, false);
    case EXPR_MOD: return int_divide(w, e, a, b, bits, true);
    case EXPR_POW: return int_power(g, a, b);
    default: break;
    }
    gen_error(g, NULL, "no CPU code for the int operator '%s'", expr_op_info[e->op].name);
    return a;
}

/* a + b or a - b where one of them is a product: in one rounding where the machine can. Decided here, by the
 * expression alone, so that an expression has the same value wherever it is computed again: x - mean(x) of one
 * channel is 0. NULL: neither is a product. */
static V emit_fused(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    int product = e->args[1]->op == EXPR_MUL ? 1 : 0;
    const Expr *p = e->args[product];
    if (p->op != EXPR_MUL)
        return NULL;
    V x = emit(w, p->args[0]), y = emit(w, p->args[1]), z = emit(w, e->args[1 - product]);
    unify(w, &x, &y, 0);
    unify(w, &x, &z, 0);
    unify(w, &y, &z, 0);
    if (e->op == EXPR_SUB && product == 1)
        x = LLVMBuildFNeg(g->b, x, "");
    else if (e->op == EXPR_SUB)
        z = LLVMBuildFNeg(g->b, z, "");
    return gen_fma(g, x, y, z);
}

/* x^n for a small whole n: the multiplications of repeated squaring. */
static V whole_power(Gen *g, V x, int n)
{
    V r = NULL, square = x;
    for (int k = n < 0 ? -n : n; k > 0; k >>= 1) {
        if (k & 1)
            r = r ? LLVMBuildFMul(g->b, r, square, "") : square;
        if (k > 1)
            square = LLVMBuildFMul(g->b, square, square, "");
    }
    if (!r)
        return like_float(g, x, 1);
    return n < 0 ? LLVMBuildFDiv(g->b, like_float(g, x, 1), r, "") : r;
}

static V emit_float(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    V fused = e->op == EXPR_ADD || e->op == EXPR_SUB ? emit_fused(w, e) : NULL;
    if (fused)
        return fused;
    V a = emit(w, e->args[0]);
    if (e->op == EXPR_TOFLOAT)
        return LLVMBuildSIToFP(g->b, a, with_elem(g, a, g->f32), "");
    if (e->op == EXPR_BTOF)
        return LLVMBuildUIToFP(g->b, a, with_elem(g, a, g->f32), "");
    if (e->op == EXPR_POW && e->args[1]->op == EXPR_FLOAT) {
        double n = e->args[1]->value.f;
        if (n == (double)(int)(n > -5 && n < 5 ? n : 0) && n > -5 && n < 5)
            return whole_power(g, a, (int)n);
        if (n == 0.5)
            return math_emit(g, EXPR_SQRT, a);
    }
    V b = e->arity > 1 ? emit(w, e->args[1]) : a;
    unify(w, &a, &b, 0);
    V zero = like_float(g, a, 0);
    switch (e->op) {
    case EXPR_ADD: return LLVMBuildFAdd(g->b, a, b, "");
    case EXPR_SUB: return LLVMBuildFSub(g->b, a, b, "");
    case EXPR_MUL: return LLVMBuildFMul(g->b, a, b, "");
    case EXPR_DIV: return LLVMBuildFDiv(g->b, a, b, "");
    case EXPR_MOD: {
        V q = math_emit(g, EXPR_FLOOR, LLVMBuildFDiv(g->b, a, b, ""));
        return LLVMBuildFSub(g->b, a, LLVMBuildFMul(g->b, b, q, ""), "");
    }
    case EXPR_NEG: return LLVMBuildFNeg(g->b, a, "");
    case EXPR_ABS: {
        LLVMTypeRef type = LLVMTypeOf(a);
        return call_intrinsic(g, "llvm.fabs", &type, 1, &a, 1);
    }
    case EXPR_SIGN: {
        V above = LLVMBuildUIToFP(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, a, zero, ""), LLVMTypeOf(a), "");
        V below = LLVMBuildUIToFP(g->b, LLVMBuildFCmp(g->b, LLVMRealOLT, a, zero, ""), LLVMTypeOf(a), "");
        return LLVMBuildFSub(g->b, above, below, "");
    }
    case EXPR_MIN: return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOLT, a, b, ""), a, b, "");
    case EXPR_MAX: return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, a, b, ""), a, b, "");
    case EXPR_POW: return math_pow(g, a, b);
    default: return math_emit(g, (ExprOp)e->op, a);
    }
}

static V emit_compare(Walk *w, const Expr *e)
{
    static const LLVMIntPredicate ints[] = {LLVMIntSLT, LLVMIntSLE, LLVMIntEQ, LLVMIntNE};
    static const LLVMRealPredicate reals[] = {LLVMRealOLT, LLVMRealOLE, LLVMRealOEQ, LLVMRealUNE};
    Gen *g = w->m->g;
    V a = emit(w, e->args[0]), b = emit(w, e->args[1]);
    int which = e->op - EXPR_LT;
    if (e->args[0]->type == TYPE_FLOAT) {
        unify(w, &a, &b, 0);
        return LLVMBuildFCmp(g->b, reals[which], a, b, "");
    }
    bool narrow = bounds_fit_i32(bounds_of(w, e->args[0])) && bounds_fit_i32(bounds_of(w, e->args[1]));
    unify(w, &a, &b, e->args[0]->type == TYPE_INT ? (narrow ? 32 : 64) : 0);
    return LLVMBuildICmp(g->b, ints[which], a, b, "");
}

static V emit_select(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    V c = emit(w, e->args[0]), a = emit(w, e->args[1]), b = emit(w, e->args[2]);
    bool is_int = e->op == EXPR_SELECT && e->type == TYPE_INT;
    if (is_vector(c) && !is_vector(a) && !is_vector(b))
        a = is_int ? vector_int(g, a, bounds_fit_i32(bounds_of(w, e)) ? 32 : 64, w->m->width)
                   : splat(g, a, w->m->width);
    unify(w, &a, &b, is_int ? (bounds_fit_i32(bounds_of(w, e)) ? 32 : 64) : 0);
    return LLVMBuildSelect(g->b, c, a, b, "");
}

static V emit_leaf(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    switch (e->op) {
    case EXPR_INT: return const_i64(g, e->value.i);
    case EXPR_BOOL: return LLVMConstInt(g->i1, (unsigned long long)(e->value.i != 0), false);
    case EXPR_FLOAT: return LLVMConstReal(g->f32, e->value.f);
    case EXPR_ARG: return w->m->args->value[e->index];
    case EXPR_VAR:
        if (e->index >= VAR_SIZE_B && e->index <= VAR_OFFSET)
            return gen_slot(g, slot_of_size((VarId)e->index));
        break;
    case EXPR_PARAM: {
        V slot = gen_slot(g, SLOT_PARAMS + e->index);
        if (e->type == TYPE_INT)
            return slot;
        if (e->type == TYPE_BOOL)
            return LLVMBuildICmp(g->b, LLVMIntNE, slot, const_i64(g, 0), "");
        return LLVMBuildFPTrunc(g->b, LLVMBuildBitCast(g->b, slot, g->f64, ""), g->f32, "");
    }
    default: break;
    }
    gen_error(g, NULL, "a tile expression cannot contain '%s'", expr_op_info[e->op].name);
    return LLVMGetPoison(e->type == TYPE_FLOAT ? g->f32 : e->type == TYPE_INT ? g->i64 : g->i1);
}

static V emit_node(Walk *w, const Expr *e)
{
    Gen *g = w->m->g;
    if (expr_op_info[e->op].leaf || e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN)
        return emit_leaf(w, e);
    switch (e->op) {
    case EXPR_LT: case EXPR_LE: case EXPR_EQ: case EXPR_NE:
        return emit_compare(w, e);
    case EXPR_SELECT: case EXPR_BSELECT:
        return emit_select(w, e);
    case EXPR_AND: case EXPR_OR: {
        V a = emit(w, e->args[0]), b = emit(w, e->args[1]);
        unify(w, &a, &b, 0);
        return e->op == EXPR_AND ? LLVMBuildAnd(g->b, a, b, "") : LLVMBuildOr(g->b, a, b, "");
    }
    case EXPR_NOT:
        return LLVMBuildNot(g->b, emit(w, e->args[0]), "");
    default:
        return e->type == TYPE_INT ? emit_int(w, e) : emit_float(w, e);
    }
}

static V emit(Walk *w, const Expr *e)
{
    Table *t = &w->m->made;
    uint32_t at = table_find(t, e);
    if (t->key[at])
        return t->value[at];
    V v = emit_node(w, e);
    table_room(w->m->g, t, &w->made_count);
    at = table_find(t, e);
    t->key[at] = e;
    t->value[at] = v;
    return v;
}

V map_emit(Gen *g, const Expr *e, const MapArgs *args, int width)
{
    MapState m = {.g = g, .args = args, .arg_bounds = args->bounds, .arg_count = args->count, .width = width,
                  .known = table_create(g, 32), .made = table_create(g, 32)};
    Walk w = {.m = &m};
    return emit(&w, e);
}
