/* A case's tensors: where they lie, what they hold. Shared by case_*.c. */
#ifndef ATTUNE_TESTS_CASE_DATA_H
#define ATTUNE_TESTS_CASE_DATA_H

#include "guarded.h"
#include "run_case.h"

typedef struct CaseTensor {
    Guarded memory;
    ElemType elem;
    int dim_count;
    int64_t extent[SPEC_MAX_DIMS], stride[SPEC_MAX_DIMS];
    bool packed_batch;   /* ragged: all sequences stand in the token dimension; kernels get batch stride 0 */
} CaseTensor;

struct CaseData {
    Arena *arena;
    const Spec *spec;
    ElemType elem;
    CaseShape shape;
    int32_t cu_q[CASE_MAX_SEQUENCES + 1], cu_k[CASE_MAX_SEQUENCES + 1];
    int64_t rows;                     /* of o: B * M, or all sequences together */
    CaseTensor q, k, v, o, inputs[SPEC_MAX_INPUTS], returns[RETURN_KIND_COUNT];
    RefProblem problem;
    RefResult exact, plain;           /* every statistic, whatever the spec returns */
    bool has_plain;
};

/* Draws params and extents, makes all tensors and fills them. False: out of memory or an extent without sense. */
bool case_fill(CaseData *data);
double case_load(const CaseTensor *tensor, const int64_t *index);
void case_store(const CaseTensor *tensor, const int64_t *index, double value);
/* Goes to the next index; false after the last one. Begins with all zeros, if there is an element at all. */
bool case_next(const CaseTensor *tensor, int64_t *index);
bool case_tensor_empty(const CaseTensor *tensor);

#endif
