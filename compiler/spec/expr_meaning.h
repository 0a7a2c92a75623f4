/* The helpers that the meaning columns of expr_ops.def are written with. Ints are 64 bits and wrap; / floors
 * and % is its remainder (with the sign of the divisor); dividing by zero gives 0. */
#ifndef ATTUNE_EXPR_MEANING_H
#define ATTUNE_EXPR_MEANING_H

#include <math.h>
#include <stdint.h>

static inline int64_t int_add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t int_sub(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static inline int64_t int_mul(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }
static inline int64_t int_neg(int64_t a) { return (int64_t)(0 - (uint64_t)a); }

static inline int64_t int_mod(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) /* -1 apart: INT64_MIN % -1 traps */
        return 0;
    int64_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static inline int64_t int_div(int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    if (b == -1)
        return int_neg(a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* a^b by repeated squaring; a negative exponent gives 0. */
static inline int64_t int_pow(int64_t a, int64_t b)
{
    if (b < 0)
        return 0;
    int64_t result = 1;
    for (; b > 0; b >>= 1, a = int_mul(a, a))
        if (b & 1)
            result = int_mul(result, a);
    return result;
}

static inline double float_mod(double a, double b) { return a - b * floor(a / b); }

/* Towards zero; beyond the range of int64_t the nearest bound, NaN gives 0. */
static inline int64_t truncation(double a)
{
    if (!(a == a))
        return 0;
    return a >= 0x1p63 ? INT64_MAX : a <= -0x1p63 ? INT64_MIN : (int64_t)a;
}

#endif
