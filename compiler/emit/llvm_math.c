/* Elementary functions of f32 scalars and vectors, as straight-line code.
 *
 * Bounds (units in the last place of the f32 result, subnormal results excepted; checked by tests/emit):
 *   exp, exp2 1.5; log, log2, log1p, tanh, sigmoid, erf 4; rsqrt 1.5; sin, cos 4 for |x| <= 2^24; pow 2.
 * Special values: exp(-inf) = 0, exp(+inf) = inf, log(0) = -inf, log(< 0) = NaN; NaN gives NaN everywhere.
 *
 * exp(x) = 2^n e^r with n = round(x / ln 2), r in [-ln2/2, ln2/2]. log(x) = n ln 2 + log m with m in [sqrt
 * 1/2, sqrt 2). tanh and sigmoid come from exp; erf is a polynomial below 1 and 1 - exp(-g(|x|)) above. sin
 * and cos reduce by multiples of pi/2 in double. pow goes through log2 and exp2 in double. Coefficients are
 * interpolations at Chebyshev nodes of the remainder after the leading terms. */
#include "llvm_gen.h"

#include <math.h>

#define V LLVMValueRef

static V add(Gen *g, V a, V b) { return LLVMBuildFAdd(g->b, a, b, ""); }
static V sub(Gen *g, V a, V b) { return LLVMBuildFSub(g->b, a, b, ""); }
static V mul(Gen *g, V a, V b) { return LLVMBuildFMul(g->b, a, b, ""); }
static V divide(Gen *g, V a, V b) { return LLVMBuildFDiv(g->b, a, b, ""); }
static V num(Gen *g, V like, double value) { return like_float(g, like, value); }
static V pick(Gen *g, V c, V a, V b) { return LLVMBuildSelect(g->b, c, a, b, ""); }
static V less(Gen *g, V a, V b) { return LLVMBuildFCmp(g->b, LLVMRealOLT, a, b, ""); }

static V unary(Gen *g, const char *name, V x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    return call_intrinsic(g, name, &type, 1, &x, 1);
}

static V polynomial(Gen *g, V x, const double *c, int count)
{
    V r = num(g, x, c[count - 1]);
    for (int k = count - 2; k >= 0; k--)
        r = gen_fma(g, r, x, num(g, x, c[k]));
    return r;
}

/* NaN passes through both: the comparison is false and x is kept. */
static V clamp(Gen *g, V x, double lo, double hi)
{
    x = pick(g, less(g, x, num(g, x, lo)), num(g, x, lo), x);
    return pick(g, less(g, num(g, x, hi), x), num(g, x, hi), x);
}

/* p * 2^n for a whole n (as a float) in [-150, 128], p about 1. */
static V scale_by_power(Gen *g, V p, V n)
{
    int width = is_vector(p) ? (int)LLVMGetVectorSize(LLVMTypeOf(p)) : 0;
    if (g->target->vector_bits == 512 && width >= 16 && width % 16 == 0) {
        V parts[16];
        int count = width / 16, index[256];
        for (int k = 0; k < count; k++) {
            for (int i = 0; i < 16; i++)
                index[i] = 16 * k + i;
            V a = count > 1 ? shuffle(g, p, p, index, 16) : p,
              e = count > 1 ? shuffle(g, n, n, index, 16) : n;
            V args[] = {a, e, a, LLVMConstInt(g->i16, 0xffff, false), const_i32(g, 4)};
            parts[k] = call_intrinsic(g, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0, args, 5);
        }
        for (int i = 0; i < 256; i++)
            index[i] = i;
        for (int size = 16; count > 1; count /= 2, size *= 2)
            for (int k = 0; k < count / 2; k++)
                parts[k] = shuffle(g, parts[2 * k], parts[2 * k + 1], index, 2 * size);
        return parts[0];
    }
    /* In two steps, so that results below the normal range round once and those above become infinite. */
    V i = LLVMBuildFPToSI(g->b, n, with_elem(g, n, g->i32), "");
    V half = LLVMBuildAShr(g->b, i, like_int(g, i, 1), ""), rest = LLVMBuildSub(g->b, i, half, "");
    V bias = like_int(g, i, 127), shift = like_int(g, i, 23);
    V one = LLVMBuildBitCast(g->b, LLVMBuildShl(g->b, LLVMBuildAdd(g->b, half, bias, ""), shift, ""),
                             LLVMTypeOf(p), "");
    V two = LLVMBuildBitCast(g->b, LLVMBuildShl(g->b, LLVMBuildAdd(g->b, rest, bias, ""), shift, ""),
                             LLVMTypeOf(p), "");
    return mul(g, mul(g, p, one), two);
}

static V nan_kept(Gen *g, V x, V result)
{
    return pick(g, LLVMBuildFCmp(g->b, LLVMRealUNO, x, x, ""), x, result);
}

static bool scales_natively(Gen *g, V x)
{
    return g->target->vector_bits == 512 && is_vector(x) && LLVMGetVectorSize(LLVMTypeOf(x)) % 16 == 0;
}

static V math_exp(Gen *g, V x)
{
    static const double c[] = {1, 1, 0.5, 0.16666577, 0.0416665546, 0.00836317763, 0.00139261818};
    V y = clamp(g, x, -104.5, 89.5);
    V n = unary(g, "llvm.rint", mul(g, y, num(g, x, 1.44269504088896341)));
    V r = gen_fma(g, n, num(g, x, -0.693359375), y);
    r = gen_fma(g, n, num(g, x, 2.12194440054690583e-4), r);
    V p = polynomial(g, r, c, 7);
    /* The float to int conversion of the portable path has no NaN. */
    if (scales_natively(g, x))
        return scale_by_power(g, p, n);
    V safe = pick(g, LLVMBuildFCmp(g->b, LLVMRealUNO, x, x, ""), num(g, x, 0), n);
    return nan_kept(g, x, scale_by_power(g, p, safe));
}

static V math_exp2(Gen *g, V x)
{
    static const double c[] = {
        1, 0.693147188, 0.240226508, 0.0555035711, 0.00961808256, 0.00133908634, 0.000154531629};
    V y = clamp(g, x, -150.5, 128.5);
    V n = unary(g, "llvm.rint", y);
    V p = polynomial(g, sub(g, y, n), c, 7);
    if (scales_natively(g, x))
        return scale_by_power(g, p, n);
    V safe = pick(g, LLVMBuildFCmp(g->b, LLVMRealUNO, x, x, ""), num(g, x, 0), n);
    return nan_kept(g, x, scale_by_power(g, p, safe));
}

/* x = m 2^n, m in [sqrt 1/2, sqrt 2): f = m - 1 and n; x positive, subnormals allowed. */
static V split_power(Gen *g, V x, V *n)
{
    V tiny = less(g, x, num(g, x, 0x1p-126));
    V scaled = pick(g, tiny, mul(g, x, num(g, x, 0x1p23)), x);
    V u = LLVMBuildBitCast(g->b, scaled, with_elem(g, x, g->i32), "");
    V root = like_int(g, u, 0x3f3504f3);
    V d = LLVMBuildSub(g->b, u, root, "");
    V e = LLVMBuildSIToFP(g->b, LLVMBuildAShr(g->b, d, like_int(g, u, 23), ""), LLVMTypeOf(x), "");
    *n = sub(g, e, pick(g, tiny, num(g, x, 23), num(g, x, 0)));
    V m = LLVMBuildAdd(g->b, LLVMBuildAnd(g->b, d, like_int(g, u, 0x7fffff), ""), root, "");
    return sub(g, LLVMBuildBitCast(g->b, m, LLVMTypeOf(x), ""), num(g, x, 1));
}

static V log_special(Gen *g, V x, V result)
{
    V zero = num(g, x, 0), infinity = num(g, x, (double)INFINITY);
    result = pick(g, LLVMBuildFCmp(g->b, LLVMRealOEQ, x, infinity, ""), infinity, result);
    result = pick(g, LLVMBuildFCmp(g->b, LLVMRealOEQ, x, zero, ""), num(g, x, -(double)INFINITY), result);
    return pick(g, LLVMBuildFCmp(g->b, LLVMRealULT, x, zero, ""), num(g, x, (double)NAN), result);
}

/* log(1 + f) - f */
static V log_rest(Gen *g, V f)
{
    static const double c[] = {-0.5,        0.333333312,  -0.24999997, 0.200007158,  -0.166678027,
                               0.142490543, -0.124256758, 0.116854431, -0.114798369, 0.0697168125};
    return mul(g, mul(g, f, f), polynomial(g, f, c, 10));
}

static V math_log(Gen *g, V x)
{
    V n, f = split_power(g, x, &n);
    V r = gen_fma(g, n, num(g, x, -2.12194440054690583e-4), log_rest(g, f));
    r = gen_fma(g, n, num(g, x, 0.693359375), add(g, f, r));
    return log_special(g, x, r);
}

/* With u = 1 + x as rounded: log u, put right by what the rounding lost, (x - (u - 1)) / u. */
static V math_log1p(Gen *g, V x)
{
    V one = num(g, x, 1), u = add(g, x, one);
    V n, f = split_power(g, u, &n);
    V lost = divide(g, sub(g, x, sub(g, u, one)), u);
    V r = gen_fma(g, n, num(g, x, -2.12194440054690583e-4), add(g, log_rest(g, f), lost));
    r = gen_fma(g, n, num(g, x, 0.693359375), add(g, f, r));
    return log_special(g, u, r);
}

static V math_log2(Gen *g, V x)
{
    V n, f = split_power(g, x, &n);
    V rest = log_rest(g, f);
    V r = gen_fma(g, f, num(g, x, 1.92596299e-8), mul(g, rest, num(g, x, 1.44269504088896341)));
    r = gen_fma(g, f, num(g, x, 1.44269502162933), r);
    return log_special(g, x, add(g, n, r));
}

static V with_sign_of(Gen *g, V magnitude, V x)
{
    LLVMTypeRef type = LLVMTypeOf(x);
    return call_intrinsic(g, "llvm.copysign", &type, 1, (V[]){magnitude, x}, 2);
}

static V math_tanh(Gen *g, V x)
{
    static const double c[] = {-0.333333289, 0.133327693, -0.0538508495, 0.020996894, -0.00609629952};
    V a = unary(g, "llvm.fabs", x), z = mul(g, x, x);
    V small = gen_fma(g, mul(g, x, z), polynomial(g, z, c, 5), x);
    V e = add(g, math_exp(g, add(g, a, a)), num(g, x, 1));
    V large = sub(g, num(g, x, 1), divide(g, num(g, x, 2), e));
    return pick(g, less(g, a, num(g, x, 0.625)), small, with_sign_of(g, large, x));
}

static V math_sigmoid(Gen *g, V x)
{
    V e = math_exp(g, LLVMBuildFNeg(g->b, unary(g, "llvm.fabs", x), ""));
    V numerator = pick(g, less(g, x, num(g, x, 0)), e, num(g, x, 1));
    V r = divide(g, numerator, add(g, e, num(g, x, 1)));
    return nan_kept(g, x, r);
}

static V math_erf(Gen *g, V x)
{
    static const double near[] = {0.128379166,   -0.376126267,    0.112835947,   -0.026854212,
                                  0.00518908742, -0.000801686429, 7.87587506e-05};
    static const double far[] = {-0.000416329218, 1.13067514,    0.63095303,      0.111055017,
                                 -0.0270995233,   0.00506494692, -0.000685836683, 6.22983533e-05,
                                 -3.32168459e-06, 7.58268197e-08};
    V a = unary(g, "llvm.fabs", x), z = mul(g, x, x);
    V small = gen_fma(g, x, polynomial(g, z, near, 7), x);
    V t = clamp(g, a, 1, 4);
    V large = sub(g, num(g, x, 1), math_exp(g, LLVMBuildFNeg(g->b, polynomial(g, t, far, 10), "")));
    return nan_kept(g, x, pick(g, less(g, a, num(g, x, 1)), small, with_sign_of(g, large, x)));
}

/* sin(x + quarter pi/2) */
static V math_circular(Gen *g, V x, int quarter)
{
    static const double s[] = {-0.166666667, 0.00833333187, -0.000198400865, 2.72499012e-06};
    static const double c[] = {0.0416666667, -0.00138888877, 2.48006002e-05, -2.73009386e-07};
    LLVMTypeRef f64 = with_elem(g, x, g->f64);
    V wide = LLVMBuildFPExt(g->b, x, f64, "");
    V q = unary(g, "llvm.rint", mul(g, wide, num(g, wide, 0.63661977236758134308)));
    /* pi/2 in three parts, the first two of 28 bits: products with q are exact up to |x| = 2^25. */
    V r = gen_fma(g, q, num(g, wide, -1.570796325802803), wide);
    r = gen_fma(g, q, num(g, wide, -9.920935739593517e-10), r);
    r = gen_fma(g, q, num(g, wide, -5.721188726109832e-18), r);
    /* Where the reduction has no digits left the result at least stays in [-1, 1]. */
    r = clamp(g, r, -0.8, 0.8);
    V turned = add(g, q, num(g, wide, quarter));
    V quadrant =
        sub(g, turned, mul(g, num(g, wide, 4), unary(g, "llvm.floor", mul(g, turned, num(g, wide, 0.25)))));
    V lower = less(g, num(g, wide, 1.5), quadrant); /* 2, 3 */
    V half = sub(g, quadrant, pick(g, lower, num(g, wide, 2), num(g, wide, 0)));
    V odd = less(g, num(g, wide, 0.5), half);

    V t = LLVMBuildFPTrunc(g->b, r, LLVMTypeOf(x), ""), z = mul(g, t, t);
    V sine = gen_fma(g, mul(g, t, z), polynomial(g, z, s, 4), t);
    V cosine = gen_fma(g, mul(g, z, z), polynomial(g, z, c, 4), gen_fma(g, z, num(g, x, -0.5), num(g, x, 1)));
    V value = pick(g, odd, cosine, sine);
    return pick(g, lower, LLVMBuildFNeg(g->b, value, ""), value);
}

V math_emit(Gen *g, ExprOp op, V x)
{
    switch (op) {
    case EXPR_EXP: return math_exp(g, x);
    case EXPR_EXP2: return math_exp2(g, x);
    case EXPR_LOG: return math_log(g, x);
    case EXPR_LOG2: return math_log2(g, x);
    case EXPR_LOG1P: return math_log1p(g, x);
    case EXPR_SQRT: return unary(g, "llvm.sqrt", x);
    case EXPR_RSQRT: return divide(g, num(g, x, 1), unary(g, "llvm.sqrt", x));
    case EXPR_SIN: return math_circular(g, x, 0);
    case EXPR_COS: return math_circular(g, x, 1);
    case EXPR_TANH: return math_tanh(g, x);
    case EXPR_SIGMOID: return math_sigmoid(g, x);
    case EXPR_ERF: return math_erf(g, x);
    case EXPR_FLOOR: return unary(g, "llvm.floor", x);
    default: break;
    }
    gen_error(g, NULL, "no CPU code for the function '%s'", expr_op_info[op].name);
    return x;
}

/* |x|^y by doubles: log2 m = 2/ln2 atanh((m - 1) / (m + 1)) as a series, 2^f as a series. */
V math_pow(Gen *g, V x, V y)
{
    static const double series[] = {2.88539008177792681, 0.96179669392597560, 0.57707801635558536,
                                    0.41219858311113240, 0.32059889797532520, 0.26230818925253880,
                                    0.22195308321368668, 0.19235933878519512, 0.16972882833987805};
    static const double power[] = {1, 0.69314718055994531, 0.24022650695910071, 0.05550410866482158,
                                   9.6181291076284772e-3, 1.3333558146428443e-3, 1.5403530393381609e-4,
                                   1.5252733804059840e-5, 1.3215486790144309e-6, 1.0178086009239699e-7,
                                   7.0549116208011233e-9};
    LLVMTypeRef f64 = with_elem(g, x, g->f64), i64 = with_elem(g, x, g->i64);
    V a = LLVMBuildFPExt(g->b, unary(g, "llvm.fabs", x), f64, ""), wide_y = LLVMBuildFPExt(g->b, y, f64, "");
    V zero = num(g, x, 0), one = num(g, x, 1), infinity = num(g, x, (double)INFINITY);
    V u = LLVMBuildBitCast(g->b, a, i64, "");
    V root = like_int(g, u, 0x3fe6a09e667f3bcd);
    V d = LLVMBuildSub(g->b, u, root, "");
    V n = LLVMBuildSIToFP(g->b, LLVMBuildAShr(g->b, d, like_int(g, u, 52), ""), f64, "");
    V m = LLVMBuildAdd(g->b, LLVMBuildAnd(g->b, d, like_int(g, u, 0xfffffffffffff), ""), root, "");
    m = LLVMBuildBitCast(g->b, m, f64, "");
    V s = divide(g, sub(g, m, num(g, m, 1)), add(g, m, num(g, m, 1)));
    V log2x = gen_fma(g, s, polynomial(g, mul(g, s, s), series, 9), n);
    V e = mul(g, wide_y, log2x);
    e = clamp(g, e, -200, 200);
    e = pick(g, LLVMBuildFCmp(g->b, LLVMRealUNO, e, e, ""), num(g, e, 0), e); /* 0 * inf: put right below */
    V k = unary(g, "llvm.rint", e);
    V p = polynomial(g, sub(g, e, k), power, 11);
    V exponent = LLVMBuildAdd(g->b, LLVMBuildFPToSI(g->b, k, i64, ""), like_int(g, u, 1023), "");
    p = mul(g, p, LLVMBuildBitCast(g->b, LLVMBuildShl(g->b, exponent, like_int(g, u, 52), ""), f64, ""));
    V r = LLVMBuildFPTrunc(g->b, p, LLVMTypeOf(x), "");

    V ax = unary(g, "llvm.fabs", x), up = less(g, zero, y),
      y_infinite = LLVMBuildFCmp(g->b, LLVMRealOEQ, unary(g, "llvm.fabs", y), infinity, "");
    V at_zero = pick(g, up, zero, infinity), at_infinity = pick(g, up, infinity, zero);
    r = pick(g, LLVMBuildFCmp(g->b, LLVMRealOEQ, ax, zero, ""), at_zero, r);
    r = pick(g, LLVMBuildFCmp(g->b, LLVMRealOEQ, ax, infinity, ""), at_infinity, r);
    V grows = LLVMBuildXor(g->b, less(g, ax, one), up, "");
    V limit = pick(g, LLVMBuildFCmp(g->b, LLVMRealOEQ, ax, one, ""), one, pick(g, grows, infinity, zero));
    r = pick(g, y_infinite, limit, r);
    /* Negative bases: whole exponents only, odd ones keep the sign. */
    V whole = LLVMBuildFCmp(g->b, LLVMRealOEQ, unary(g, "llvm.floor", y), y, "");
    V halved = mul(g, y, num(g, y, 0.5));
    V even = LLVMBuildFCmp(g->b, LLVMRealOEQ, unary(g, "llvm.floor", halved), halved, "");
    V odd = LLVMBuildAnd(g->b, whole, LLVMBuildNot(g->b, even, ""), "");
    V bits = LLVMBuildBitCast(g->b, x, with_elem(g, x, g->i32), "");
    V negative = LLVMBuildICmp(g->b, LLVMIntSLT, bits, like_int(g, bits, 0), "");
    V flip = LLVMBuildAnd(g->b, odd, negative, "");
    r = pick(g, flip, LLVMBuildFNeg(g->b, r, ""), r);
    V refused = LLVMBuildAnd(g->b, less(g, x, zero), LLVMBuildNot(g->b, whole, ""), "");
    V finite = LLVMBuildFCmp(g->b, LLVMRealONE, ax, infinity, "");
    refused = LLVMBuildAnd(g->b, refused, finite, "");
    r = pick(g, refused, num(g, x, (double)NAN), r);
    r = pick(g, LLVMBuildFCmp(g->b, LLVMRealUNO, x, y, ""), num(g, x, (double)NAN), r);
    V unit = LLVMBuildOr(g->b, LLVMBuildFCmp(g->b, LLVMRealOEQ, y, zero, ""),
                         LLVMBuildFCmp(g->b, LLVMRealOEQ, x, one, ""), "");
    return pick(g, unit, one, r);
}
