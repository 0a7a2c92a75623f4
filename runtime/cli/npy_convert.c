/* Numbers of one element type as another; roundings are those of the tile IR. */
#include "compiler/tile/tile_memory.h"
#include "runtime/cli/npy.h"

static bool is_float(AttuneDtype dtype)
{
    return dtype == ATTUNE_F32 || dtype == ATTUNE_BF16 || dtype == ATTUNE_F16;
}

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
