/* The whole pipeline: Spec -> Program -> passes -> Kernel. */
#ifndef ATTUNE_COMPILE_H
#define ATTUNE_COMPILE_H

#include "kernel.h"
#include "target.h"

typedef struct CompileOptions {
    const Target *target;
    ElemType elem;            /* storage of q, k, v, o */
    int64_t D, E;
    const char *dump;         /* letters of the passes after which the Program is printed; NULL: none */
    FILE *dump_out;
    bool time_passes;         /* print the time of every pass to dump_out */
    const char *symbol;       /* prefix of the entry symbols; NULL: the spec's name */
} CompileOptions;

/* NULL with diagnostics. The kernel does not depend on the arena. */
Kernel *compile_spec(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options);
/* The Program after lowering and all passes (for explain and tests). */
Program *compile_program(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options);
/* Everything besides the Spec's canonical text that shapes the code, as text (for cache keys). */
char *compile_fingerprint(Arena *arena, const CompileOptions *options);
/* `attune -d help`. */
void compile_print_passes(FILE *out);

#endif
