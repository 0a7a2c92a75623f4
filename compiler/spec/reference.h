/* The slow, double-precision meaning of a Spec: row by row, no tiles. What every other path is compared
 * with. */
#ifndef ATTUNE_REFERENCE_H
#define ATTUNE_REFERENCE_H

#include "spec.h"

/* Tensor data as stored (bf16/f16 values are decoded exactly). Strides in elements. */
typedef struct RefTensor { const void *data; ElemType type; int64_t stride[SPEC_MAX_DIMS]; } RefTensor;

typedef struct RefProblem {
    int64_t B, H, G, M, N, D, E;
    int64_t m_axis[SPEC_MAX_RANK], n_axis[SPEC_MAX_RANK]; /* rank > 1: grid extents, product M / N */
    int64_t offset;                 /* position of query row 0 */
    const int32_t *cu_q, *cu_k;     /* both or neither; ragged: B + 1 cumulative lengths */
    RefTensor q, k, v;              /* [B, H, M, D], [B, G, N, D], [B, G, N, E] strides in that order */
    RefTensor inputs[SPEC_MAX_INPUTS];
    ExprValue params[SPEC_MAX_PARAMS];
} RefProblem;

/* Where data lies, and what is defined to happen at the edges:
 * - Ragged problems (cu_q and cu_k set): all sequences stand in dim 2 of q, k, v, batch stride unused. An input
 *   with a token dimension is indexed the same way (its DIM_B index counts as 0, cu_k[b] is added to DIM_T and
 *   DIM_J indices, cu_q[b] to DIM_I); an input without one keeps b.
 * - An input read outside its extents gives 0.
 * - A row with nothing visible: o = 0 whatever `output` says, lse = max = -inf, sum = 0, even with a sink. A
 *   softmax row whose visible scores are all -inf counts as such for lse, max and sum.
 * - lse = log(sum exp t_j + [sink] exp(sink)), natural. RETURN_MAX: max_j t_j (softmax: and the sink);
 *   RETURN_SUM: softmax: sum exp(t_j - max), with the sink's term, so lse = max + log(sum); else the sum of the
 *   t_j. Under a scalar decay t_j already includes it. */

/* Results in the layout [B, H, M, W] (ragged: [1, H, total, W]) and [B, H, M], contiguous, where W is E or the
 * width of v's feature map; NULL parts are skipped. exact: the double oracle. Otherwise a plain run of the same
 * mathematics: every operation rounded to f32, and q', k', v', w and o rounded to plain_type; tolerances are
 * relative to its error. `rows`: evaluate only every rows-th query (1: all; skipped rows are left untouched).
 * Returns false when out of memory. */
typedef struct RefResult { double *o, *returns[RETURN_KIND_COUNT]; } RefResult;
bool reference_run(const Spec *spec, const RefProblem *problem, bool exact, ElemType plain_type, int64_t rows,
                   RefResult *result);

#endif
