#include "tile_memory.h"

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t bf16_of_float(float value)
{
    uint32_t bits = bits_of(value);
    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float float_of_bf16(uint16_t bits)
{
    return of_bits((uint32_t)bits << 16);
}

uint16_t f16_of_float(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
    if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) /* subnormal: adding 0.5 puts the unit 2^-24 into the last place */
        return (uint16_t)(sign | (bits_of(of_bits(magnitude) + 0.5f) - 0x3f000000));
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude - 0x38000000) >> 13);
}

float float_of_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f)
        return of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

void element_load(ElemType elem, const char *base, int64_t at, LaneData values, int64_t k)
{
    int32_t small;
    uint16_t half;
    base += at * elem_type_size(elem);
    switch (elem) {
    case ELEM_TYPE_BOOL:
        values.i[k] = *base != 0;
        break;
    case ELEM_TYPE_I32:
        memcpy(&small, base, sizeof small);
        values.i[k] = small;
        break;
    case ELEM_TYPE_I64:
        memcpy(&values.i[k], base, sizeof values.i[k]);
        break;
    case ELEM_TYPE_F32:
        memcpy(&values.f[k], base, sizeof values.f[k]);
        break;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16:
        memcpy(&half, base, sizeof half);
        values.f[k] = elem == ELEM_TYPE_BF16 ? float_of_bf16(half) : float_of_f16(half);
        break;
    }
}

void element_store(ElemType elem, char *base, int64_t at, LaneData values, int64_t k)
{
    int32_t small;
    uint16_t half;
    base += at * elem_type_size(elem);
    switch (elem) {
    case ELEM_TYPE_BOOL:
        *base = values.i[k] != 0;
        break;
    case ELEM_TYPE_I32:
        small = (int32_t)(uint32_t)values.i[k];
        memcpy(base, &small, sizeof small);
        break;
    case ELEM_TYPE_I64:
        memcpy(base, &values.i[k], sizeof values.i[k]);
        break;
    case ELEM_TYPE_F32:
        memcpy(base, &values.f[k], sizeof values.f[k]);
        break;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16:
        half = elem == ELEM_TYPE_BF16 ? bf16_of_float(values.f[k]) : f16_of_float(values.f[k]);
        memcpy(base, &half, sizeof half);
        break;
    }
}
