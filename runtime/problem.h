/* A launch after every argument has been checked. */
#ifndef ATTUNE_PROBLEM_H
#define ATTUNE_PROBLEM_H

#include "runtime/description.h"

/* A tensor in the order that kernels index it: q, k, v, o [B, H or G, rows, width], returns [B, H, M], inputs
 * as their dims say. Dims of extent 1, and the batch dim of packed rows, have stride 0. */
typedef struct View {
    void *data;
    int64_t stride[SPEC_MAX_DIMS];
    int64_t low, high; /* byte range relative to data: [low, high) */
} View;

typedef struct Problem {
    int64_t slots[SLOT_TENSORS];             /* sizes, cumulative lengths, params */
    int64_t width;                           /* of o */
    int device;                              /* index of the tensors' device */
    int64_t total_q, total_k;                /* rows of all sequences; M and N without ragged batches */
    View q, k, v, o;
    View inputs[SPEC_MAX_INPUTS];            /* by position in the signature */
    View returns[RETURN_KIND_COUNT];
    View state[2];                           /* STATE_IN, STATE_OUT */
    bool has_state[2];
    bool has_v, has_return[RETURN_KIND_COUNT];
    int input_order[SPEC_MAX_INPUTS];        /* launch->inputs[i] is input_order[i] of the signature */
    int return_order[RETURN_KIND_COUNT];
} Problem;

typedef struct ProblemRules {
    const Signature *signature;
    AttuneDtype dtype;
    int64_t D, E;
    AttuneDeviceKind device;
    bool without_data; /* NULL data and overlaps are not complained about: plans */
    int64_t state_rows, state_columns; /* 0: the kernel has no state */
} ProblemRules;

/* Every check of attune_kernel_launch. The message names the argument, its value, the limit and what to do.
 */
AttuneStatus problem_check(const ProblemRules *rules, const AttuneLaunch *launch, Problem *problem,
                           AttuneError **error);
/* What every launch checks: address given and aligned. `empty`: no element is touched. */
AttuneStatus problem_check_data(const char *name, const void *data, AttuneDtype dtype, const View *view,
                                AttuneError **error);

#endif
