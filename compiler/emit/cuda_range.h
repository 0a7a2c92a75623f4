/* Ranges of the ints inside one Expr: what cuda_range.c and cuda_expr.c share. */
#ifndef ATTUNE_CUDA_RANGE_H
#define ATTUNE_CUDA_RANGE_H

#include "cuda_gen.h"

#define INT_RANGE_ALL ((IntRange){INT64_MIN, INT64_MAX})

/* Remembers the range of every node that was asked for. */
typedef struct ExprRanges {
    const CudaGen *g;
    const Inst *inst;        /* whose operands the ARGs are */
    const Expr **key;        /* open addressing */
    IntRange *range;
    uint32_t count, mask;
} ExprRanges;

ExprRanges cuda_expr_ranges(const CudaGen *g, const Inst *inst);
/* Of an int node. */
IntRange cuda_expr_range(ExprRanges *ranges, const Expr *e);
bool cuda_range_fits(IntRange range); /* 32 bits */

#endif
