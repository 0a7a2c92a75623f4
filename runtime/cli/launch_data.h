/* The tensors of one launch: read from .npy files, or made of seeded random numbers. */
#ifndef ATTUNE_CLI_LAUNCH_DATA_H
#define ATTUNE_CLI_LAUNCH_DATA_H

#include "compiler/spec/reference.h"
#include "runtime/cli/npy.h"
#include "runtime/cli/shape.h"
#include "runtime/cli/spec_file.h"

typedef struct LaunchTensor {
    AttuneDtype dtype;
    int ndim;
    int64_t shape[ATTUNE_MAX_DIMS];
    void *data; /* owned */
    bool random;
} LaunchTensor;

typedef struct LaunchData {
    const Arguments *arguments;
    const Spec *spec;
    AttuneSpec *public_spec;
    AttuneSpecInfo info;
    AttuneLayout layout;
    AttuneDtype dtype;
    Shape shape;
    LaunchTensor q, k, v, o, inputs[ATTUNE_MAX_INPUTS], returns[RETURN_KIND_COUNT];
    const char *return_names[RETURN_KIND_COUNT],
        *return_paths[RETURN_KIND_COUNT]; /* path NULL: not written */
    int return_count;
    AttuneNamedTensor named_inputs[ATTUNE_MAX_INPUTS], named_returns[RETURN_KIND_COUNT];
    AttuneLaunch launch;
} LaunchData;

/* With q, k, v and o, ready to launch, or (inputs_only) what a look at the mask needs. A status after saying
 * what is wrong; launch_data_free in any case. */
int launch_data_make(const Arguments *arguments, const Spec *spec, AttuneSpec *public_spec, bool inputs_only,
                     LaunchData *data);
void launch_data_free(LaunchData *data);
/* Writes o and the returns where the options say. */
int launch_data_write(const LaunchData *data);
/* The same sizes, params and inputs for surveys. */
void launch_data_problem(const LaunchData *data, RefProblem *problem);

#endif
