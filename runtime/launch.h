/* Kernels as the runtime holds them, and running them. */
#ifndef ATTUNE_LAUNCH_H
#define ATTUNE_LAUNCH_H

#include <stdatomic.h>

#include "runtime/context.h"
#include "runtime/description.h"

struct AttuneKernel {
    atomic_int references;
    AttuneContext *context;        /* retained */
    Description *description;      /* owned */
    AttunePhase phases[PROGRAM_MAX_PHASES];
    AttuneStatus (*interpret)(void *code, const int64_t *slots, AttuneError **error); /* all phases; NULL: `phases` are run */
    void *code;                    /* what keeps the phases callable, or the interpreter's program */
    void (*code_destroy)(void *code);
    size_t code_bytes;
    char key[65];
    AttuneOrigin origin;
    double create_ms;
};

/* A kernel without code; takes `description` over, in any case. NULL: out of memory. */
AttuneKernel *kernel_create(AttuneContext *context, Description *description);
void kernel_retain(AttuneKernel *kernel);

#endif
