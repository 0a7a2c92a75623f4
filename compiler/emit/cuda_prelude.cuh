/* Scalar helpers that every kernel may use: the meanings of expr_ops.def where CUDA has no intrinsic for
 * them. ATTUNE_EMULATE: compiled for the host by tests, which bring the intrinsics and their own versions of
 * what is inline PTX here. */
#define ATTUNE_FN static __device__ __forceinline__

/* Ints wrap, / floors, dividing by zero gives 0. */
ATTUNE_FN long long attune_add(long long a, long long b)
{
    return (long long)((unsigned long long)a + (unsigned long long)b);
}
ATTUNE_FN long long attune_sub(long long a, long long b)
{
    return (long long)((unsigned long long)a - (unsigned long long)b);
}
ATTUNE_FN long long attune_mul(long long a, long long b)
{
    return (long long)((unsigned long long)a * (unsigned long long)b);
}
ATTUNE_FN int attune_min32(int a, int b) { return a < b ? a : b; }
ATTUNE_FN int attune_max32(int a, int b) { return a > b ? a : b; }
ATTUNE_FN long long attune_min64(long long a, long long b) { return a < b ? a : b; }
ATTUNE_FN long long attune_max64(long long a, long long b) { return a > b ? a : b; }
ATTUNE_FN int attune_abs32(int a) { return a < 0 ? -a : a; }
ATTUNE_FN long long attune_abs64(long long a) { return a < 0 ? attune_sub(0, a) : a; }
ATTUNE_FN int attune_saturate(long long a)
{
    return a > 2147483647LL ? 2147483647 : a < -2147483647LL - 1 ? -2147483647 - 1 : (int)a;
}

/* Of a positive divisor: the sign of the rest decides. */
ATTUNE_FN int attune_div32_positive(int a, int b) { return a / b - (a % b < 0); }
ATTUNE_FN int attune_mod32_positive(int a, int b)
{
    int r = a % b;
    return r < 0 ? r + b : r;
}
ATTUNE_FN int attune_div32(int a, int b)
{
    if (b == 0)
        return 0;
    if (b == -1) /* the least int has no opposite */
        return (int)(0u - (unsigned)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
ATTUNE_FN int attune_mod32(int a, int b)
{
    if (b == 0 || b == -1)
        return 0;
    int r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
/* Division of 64 bits is a long program; most values are small. */
ATTUNE_FN long long attune_div64(long long a, long long b)
{
    if (b == 0)
        return 0;
    if (b == -1)
        return attune_sub(0, a);
    if (a == (int)a && b == (int)b)
        return attune_div32((int)a, (int)b);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
ATTUNE_FN long long attune_mod64(long long a, long long b)
{
    if (b == 0 || b == -1)
        return 0;
    if (a == (int)a && b == (int)b)
        return attune_mod32((int)a, (int)b);
    long long r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
ATTUNE_FN long long attune_div64_positive(long long a, long long b) { return attune_div64(a, b); }
ATTUNE_FN long long attune_mod64_positive(long long a, long long b) { return attune_mod64(a, b); }
ATTUNE_FN long long attune_pow(long long a, long long b)
{
    long long result = b < 0 ? 0 : 1;
    for (; b > 0; b >>= 1, a = attune_mul(a, a))
        if (b & 1)
            result = attune_mul(result, a);
    return result;
}
/* Towards zero, saturating; NaN gives 0. */
ATTUNE_FN long long attune_truncate(float a)
{
    return !(a == a)                      ? 0
           : a >= 9223372036854775808.0f  ? 9223372036854775807LL
           : a <= -9223372036854775808.0f ? -9223372036854775807LL - 1
                                          : (long long)a;
}

/* Floats. min and max take the second operand when one is NaN. */
ATTUNE_FN float attune_fmin(float a, float b) { return a < b ? a : b; }
ATTUNE_FN float attune_fmax(float a, float b) { return a > b ? a : b; }
ATTUNE_FN float attune_sign(float a) { return (float)((a > 0.0f) - (a < 0.0f)); }
ATTUNE_FN float attune_fmod(float a, float b)
{
    return (float)((double)a - (double)b * floor((double)a / (double)b));
}
ATTUNE_FN float attune_sigmoid_exact(float a) { return __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-a))); }

#ifndef ATTUNE_EMULATE
ATTUNE_FN float attune_ex2(float a)
{
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_lg2(float a)
{
    float r;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_tanh(float a)
{
    float r;
    asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_rcp(float a)
{
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_rsqrt(float a)
{
    float r;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_sqrt(float a)
{
    float r;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a));
    return r;
}
ATTUNE_FN float attune_of_f16(unsigned short a)
{
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(a));
    return r;
}
ATTUNE_FN unsigned short attune_to_bf16(float a)
{
    unsigned short r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(a));
    return r;
}
ATTUNE_FN unsigned short attune_to_f16(float a)
{
    unsigned short r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(a));
    return r;
}
#endif
ATTUNE_FN float attune_of_bf16(unsigned short a) { return __uint_as_float((unsigned)a << 16); }
ATTUNE_FN float attune_round_bf16(float a) { return attune_of_bf16(attune_to_bf16(a)); }
ATTUNE_FN float attune_round_f16(float a) { return attune_of_f16(attune_to_f16(a)); }
ATTUNE_FN float attune_exp(float a) { return attune_ex2(__fmul_rn(a, 1.44269504f)); }
ATTUNE_FN float attune_log(float a) { return __fmul_rn(attune_lg2(a), 0.693147181f); }
ATTUNE_FN float attune_fdiv(float a, float b) { return __fdividef(a, b); }
/* One operation of the special function unit instead of two; its error is below a rounding to bf16. */
ATTUNE_FN float attune_sigmoid_coarse(float a) { return __fmaf_rn(attune_tanh(0.5f * a), 0.5f, 0.5f); }
/* A power that overflows gives 1 / inf = 0. */
ATTUNE_FN float attune_sigmoid(float a) { return attune_rcp(__fadd_rn(1.0f, attune_exp(-a))); }
