/* Programs as CUDA C++ of the plain path, compiled by the host's C++ compiler and run by emulate.h; or, for a
 * PTX target, as LLVM's code for the host, linked with emulate_ptx.h. */
#ifndef ATTUNE_TESTS_EMULATOR_H
#define ATTUNE_TESTS_EMULATOR_H

#include "compiler/emit/cuda_gen.h"

typedef struct Emulator {
    char directory[256];
    int made; /* texts so far */
} Emulator;

typedef struct Emulated {
    void *library;
    int (*run)(int phase, const long long *slots, long long blocks, char *error, size_t size);
    CudaText text;
} Emulated;

/* False without a C++ compiler. */
bool emulator_open(Emulator *emulator);
void emulator_close(Emulator *emulator);
/* A library of C++ text that follows emulate.h. NULL, or what went wrong. */
const char *emulator_compile(Emulator *emulator, Arena *arena, const char *text, void **library);
/* NULL, or what went wrong. */
const char *emulator_build(Emulator *emulator, Arena *arena, const Target *target, Program *program,
                           Emulated *out);
/* All phases, one after another. NULL, or what went wrong. */
const char *emulator_run(const Emulated *emulated, Arena *arena, const Program *program,
                         const int64_t *slots);
void emulator_release(Emulated *emulated);

#endif
