/* The slow, double-precision meaning of a Spec: row by row, no tiles. What every other path is compared with. */
#ifndef ATTUNE_REFERENCE_H
#define ATTUNE_REFERENCE_H

#include "spec.h"

/* Tensor data as stored (bf16/f16 values are decoded exactly). Strides in elements. */
typedef struct RefTensor { const void *data; ElemType type; int64_t stride[SPEC_MAX_DIMS]; } RefTensor;

typedef struct RefProblem {
    int64_t B, H, G, M, N, D, E;
    int64_t m_axis[SPEC_MAX_RANK], n_axis[SPEC_MAX_RANK]; /* rank > 1: grid extents, product M / N */
    int64_t offset;                 /* position of query row 0 */
    const int32_t *cu_q, *cu_k;     /* ragged: B + 1 cumulative lengths, rows of all sequences in dim 2 with b = 0; or NULL */
    RefTensor q, k, v;              /* [B, H, M, D], [B, G, N, D], [B, G, N, E] strides in that order */
    RefTensor inputs[SPEC_MAX_INPUTS];
    ExprValue params[SPEC_MAX_PARAMS];
} RefProblem;

/* Results in the layout [B, H, M, E] (ragged: [1, H, total, E]) and [B, H, M], contiguous; o NULL-able parts are
 * skipped. `round_weights`: the element type that a plain run of the same mathematics in a low precision rounds
 * q', k', w and o to and computes in float: ELEM_TYPE_F32 with exact = true gives the double oracle; otherwise the
 * "plain run in the same type" that tolerances are relative to. `rows`: evaluate only every rows-th query (1: all;
 * skipped rows are left untouched). Returns false when out of memory. */
typedef struct RefResult { double *o, *returns[RETURN_KIND_COUNT]; } RefResult;
bool reference_run(const Spec *spec, const RefProblem *problem, bool exact, ElemType plain_type, int64_t rows, RefResult *result);

#endif
