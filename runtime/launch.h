/* Kernels as the runtime holds them, and running them. */
#ifndef ATTUNE_LAUNCH_H
#define ATTUNE_LAUNCH_H

#include <stdatomic.h>

#include "runtime/context.h"
#include "runtime/description.h"

/* A launch that is ready but for its addresses. */
typedef struct Ready {
    int64_t slots[SLOT_COUNT_MAX];
    int64_t items[PROGRAM_MAX_PHASES];
    size_t workspace[PROGRAM_MAX_TENSORS]; /* offsets; SIZE_MAX: not a workspace */
    size_t total;                          /* bytes of workspace */
    int64_t total_q, total_k;              /* rows of q and k as they lie: of all sequences */
    int device;                            /* of its tensors */
} Ready;

/* How launches reach a kind of device. */
typedef struct Backend {
    AttuneDeviceKind device;
    /* Runs all phases. `ready` has the addresses of everything but workspaces, lengths as host addresses.
     * `plan`: of plan_open, or NULL for a launch without one. */
    AttuneStatus (*run)(AttuneKernel *kernel, Ready *ready, void *plan, void *stream, AttuneError **error);
    /* What launches of one plan share; plan_close gets NULL too. Both NULL: nothing. */
    AttuneStatus (*plan_open)(AttuneKernel *kernel, const Ready *ready, void **plan, AttuneError **error);
    void (*plan_close)(void *plan);
} Backend;

struct AttuneKernel {
    atomic_int references;
    AttuneContext *context;        /* retained */
    Description *description;      /* owned */
    const Backend *backend;
    AttunePhase phases[PROGRAM_MAX_PHASES];
    AttuneStatus (*interpret)(void *code, const int64_t *slots,
                              AttuneError **error); /* all phases; NULL: `phases` are run */
    void *code;                    /* what keeps the phases callable, or the interpreter's program */
    void (*code_destroy)(void *code);
    size_t code_bytes;
    char key[65];
    AttuneOrigin origin;
    double create_ms;
};

/* A kernel for the host without code; takes `description` over, in any case. NULL: out of memory. */
AttuneKernel *kernel_create(AttuneContext *context, Description *description);
void kernel_retain(AttuneKernel *kernel);
/* Puts the addresses of a workspace block of ready->total bytes into the slots. */
void ready_place(const AttuneKernel *kernel, Ready *ready, uintptr_t block);

#endif
