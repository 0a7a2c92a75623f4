/* Random Programs with data, for comparing code with the interpreter.
 *
 * A Program is grown from loads (dense, strided, guarded, gathered, of every element type) by maps, reductions,
 * contractions, variables, loops and branches over axes of awkward extents, and stores the last values of each kind. Every
 * tensor ends at a page that cannot be touched, inputs hold NaN where no element lies. */
#ifndef ATTUNE_TESTS_RANDOM_PROGRAM_H
#define ATTUNE_TESTS_RANDOM_PROGRAM_H

#include "emitting.h"
#include "tests/pipeline/guarded.h"

enum { RANDOM_AXES = 4, RANDOM_POOL = 64, RANDOM_ITEMS = 2, RANDOM_TENSORS = 40 };
typedef struct Plane { /* one tensor */
    ElemType elem;
    int dims;
    int64_t extent[SPEC_MAX_DIMS], stride[SPEC_MAX_DIMS];
    bool output;
    Guarded expected, got;
} Plane;

typedef struct Growth {
    Making m;
    Random random;
    int axes[RANDOM_AXES];
    int64_t extent[PROGRAM_MAX_AXES], largest; /* elements of a tile */
    Inst *floats[RANDOM_POOL], *ints[RANDOM_POOL], *bools[RANDOM_POOL];
    int float_count, int_count, bool_count;
    Plane planes[RANDOM_TENSORS];
    int plane_count;
    int returns; /* used up: there is one tensor of each kind */
    bool coarse; /* 16-bit roundings may fall either way */
    Inst *item;
} Growth;

/* A Program whose tiles have at most `largest` elements. False: a fault of the test. */
bool random_program_plant(Growth *g, uint64_t seed, int64_t largest);
bool random_program_data(Growth *g);
/* The launch: with the interpreter's tensors or with the code's. */
void random_program_slots(const Growth *g, int64_t *slots, bool expected);
/* Elements, and the bytes between them, which must be as before. */
bool random_program_agrees(const Growth *g, char *why, size_t size);
/* The data only: making_close drops the rest. */
void random_program_drop(Growth *g);

#endif
