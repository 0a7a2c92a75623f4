/* A kernel written by hand in CUDA C++, for testing what is around kernels: o = q, brought by TMA through the tensor maps
 * that the runtime makes, and what it was passed. */
#ifndef ATTUNE_TEST_COPY_KERNEL_H
#define ATTUNE_TEST_COPY_KERNEL_H

#include "runtime/attune.h"

typedef struct CopyForm {
    AttuneDtype dtype;
    int rank;
    int width;
    int box[3];      /* outermost first */
    bool workspace;  /* through a workspace: phase 0 writes rows there, phase 1 reads them */
    bool persistent; /* items are claimed from the counters */
} CopyForm;

/* NULL after printing why. */
AttuneKernel *copy_kernel(AttuneContext *context, const CopyForm *form);

#endif
