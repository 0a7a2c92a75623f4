/* Numbers of one element type as another. bf16 is the upper half of an f32; f16 has 5 exponent and 10 fraction bits.
 * Rounding is to nearest, ties to even, NaN stays NaN. */
#include "runtime/cli/npy.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

float float_of_bf16(uint16_t bits) { return float_of((uint32_t)bits << 16); }

uint16_t bf16_of_float(float value)
{
    uint32_t bits = bits_of(value);
    if (isnan(value))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float float_of_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 0)
        return sign * ldexpf((float)fraction, -24);
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * ldexpf((float)(1024 + fraction), exponent - 25);
}

uint16_t f16_of_float(float value)
{
    uint16_t sign = (uint16_t)(bits_of(value) >> 16 & 0x8000);
    float size = fabsf(value);
    if (isnan(value))
        return (uint16_t)(sign | 0x7e00);
    if (size >= 65520.0f) /* half way to what would come after the largest, 65504 */
        return (uint16_t)(sign | 0x7c00);
    int exponent = 0;
    frexpf(size, &exponent); /* size = f * 2^exponent, f in [1/2, 1): the unit of the last place is 2^(exponent - 11) */
    int unit = exponent - 11 < -24 ? -24 : exponent - 11;
    uint16_t steps = (uint16_t)lrintf(ldexpf(size, -unit)); /* at most 2048, exact below the rounding */
    if (unit == -24)
        return (uint16_t)(sign | steps); /* subnormal, or the least normal by carry */
    return (uint16_t)(sign | ((unit + 24) * 1024 + steps));
}

static bool is_float(AttuneDtype dtype) { return dtype == ATTUNE_F32 || dtype == ATTUNE_BF16 || dtype == ATTUNE_F16; }

static float float_at(const void *data, AttuneDtype dtype, int64_t k)
{
    if (dtype == ATTUNE_F32)
        return ((const float *)data)[k];
    uint16_t bits = ((const uint16_t *)data)[k];
    return dtype == ATTUNE_BF16 ? float_of_bf16(bits) : float_of_f16(bits);
}

static void float_put(void *data, AttuneDtype dtype, int64_t k, float value)
{
    if (dtype == ATTUNE_F32)
        ((float *)data)[k] = value;
    else
        ((uint16_t *)data)[k] = dtype == ATTUNE_BF16 ? bf16_of_float(value) : f16_of_float(value);
}

static int64_t int_at(const void *data, AttuneDtype dtype, int64_t k)
{
    return dtype == ATTUNE_I32 ? ((const int32_t *)data)[k]
         : dtype == ATTUNE_I64 ? ((const int64_t *)data)[k] : ((const uint8_t *)data)[k];
}

/* False when the number does not fit. */
static bool int_put(void *data, AttuneDtype dtype, int64_t k, int64_t value)
{
    if (dtype == ATTUNE_I64) {
        ((int64_t *)data)[k] = value;
    } else if (dtype == ATTUNE_I32) {
        if (value != (int32_t)value)
            return false;
        ((int32_t *)data)[k] = (int32_t)value;
    } else {
        ((uint8_t *)data)[k] = value != 0;
    }
    return true;
}

bool npy_convert(const void *from, AttuneDtype from_dtype, void *to, AttuneDtype to_dtype, int64_t count)
{
    if (is_float(from_dtype) != is_float(to_dtype))
        return false;
    bool fits = true;
    for (int64_t k = 0; k < count; k++)
        if (is_float(to_dtype))
            float_put(to, to_dtype, k, float_at(from, from_dtype, k));
        else
            fits = int_put(to, to_dtype, k, int_at(from, from_dtype, k)) && fits;
    return fits;
}
