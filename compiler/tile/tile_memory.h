/* Elements as tensors store them. bf16 and f16 are rounded to nearest, ties to even; NaNs stay NaNs. */
#ifndef ATTUNE_TILE_MEMORY_H
#define ATTUNE_TILE_MEMORY_H

#include "compiler/spec/spec.h"
#include "lanes.h"

uint16_t bf16_of_float(float value);
float float_of_bf16(uint16_t bits);
uint16_t f16_of_float(float value);
float float_of_f16(uint16_t bits);

/* values[k] from / to element `at` of the tensor at base. */
void element_load(ElemType elem, const char *base, int64_t at, LaneData values, int64_t k);
void element_store(ElemType elem, char *base, int64_t at, LaneData values, int64_t k);

#endif
