/* What the tests of the tile IR share: Programs from text, launches over arrays of this process, random
 * numbers. */
#ifndef ATTUNE_TESTS_TILING_H
#define ATTUNE_TESTS_TILING_H

#include <CUnit/Basic.h>

#include "compiler/kernel.h"

typedef struct Tiling {
    Arena *arena;
    Diag *diag;
    Program *program; /* NULL: diag says why */
} Tiling;

void tiling_parse(Tiling *t, const char *name, const char *text, size_t length);
/* programs/NAME.tile, which must be sound. */
void tiling_open(Tiling *t, const char *name);
void tiling_close(Tiling *t);
char *tiling_read(const char *name, size_t *length); /* malloc'ed; NULL: there is none */

/* Slots of a launch. */
typedef struct Launch { const Program *program; int64_t slots[SLOT_COUNT_MAX]; } Launch;
void launch_size(Launch *launch, VarId size, int64_t value);
void launch_float(Launch *launch, int param, double value);
/* Dense, row-major; `dims` extents follow. */
void launch_tensor(Launch *launch, const char *name, void *data, int dims, ...);

/* The same numbers on every machine. */
uint64_t random_bits(uint64_t *state);
float random_float(uint64_t *state); /* -1 .. 1 */
int64_t random_int(uint64_t *state, int64_t lowest, int64_t highest);

void text_tests(void);
void verify_tests(void);
void run_tests(void);
void lane_tests(void);
void kernel_tests(void);

#endif
