/* Tensor maps: what a TMA copy must know of a tensor, from a KernelMap and the launch. */
#ifndef ATTUNE_TENSOR_MAP_H
#define ATTUNE_TENSOR_MAP_H

#include "runtime/cuda.h"
#include "runtime/description.h"

enum { TENSOR_MAP_RANK = 5, TENSOR_MAP_PANEL_BYTES = 128 };

/* The arguments of cuTensorMapEncodeTiled. */
typedef struct TensorMapArguments {
    int type;                                /* CUDA_TYPE_* */
    uint64_t dims[TENSOR_MAP_RANK];
    uint64_t strides[TENSOR_MAP_RANK - 1];   /* bytes, of dims 1 and on */
    uint32_t box[TENSOR_MAP_RANK];
    bool empty;                              /* the tensor has no element: any address will do, all reads give 0 */
} TensorMapArguments;

typedef struct TensorMapSource {
    const char *name;          /* for messages */
    AttuneDtype dtype;
    const int64_t *stride;     /* elements: batch, head, row, channel; the last is 1 */
    int64_t batches, heads;
    int64_t axes[SPEC_MAX_RANK]; /* extents of the rows' axes; rank 1: their number */
} TensorMapSource;

/* False: TMA cannot describe the tensor; `why` says what about it and what to do. */
bool tensor_map_arguments(const KernelMap *map, const TensorMapSource *source, TensorMapArguments *arguments, char *why,
                          size_t why_size);

#endif
