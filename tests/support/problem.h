/* A Spec from a file or a text, sizes, and data for it, ready for reference_run; every value also as a
 * double, for oracles that know nothing of Specs. */
#ifndef ATTUNE_TESTS_PROBLEM_H
#define ATTUNE_TESTS_PROBLEM_H

#include "compiler/spec/check.h"
#include "compiler/spec/reference.h"
#include "random.h"

typedef struct Problem {
    Arena *arena;
    Diag *diag;
    Spec *spec;
    RefProblem ref;
    ElemType elem;                       /* of q, k, v */
    double *q, *k, *v;                   /* [B, H, M, D], [B, G, N, D], [B, G, N, E], as stored */
    double *inputs[SPEC_MAX_INPUTS];     /* contiguous in the order of their dimensions */
    int64_t extents[SPEC_MAX_INPUTS][SPEC_MAX_DIMS];
    double *o, *returns[RETURN_KIND_COUNT]; /* of problem_run */
} Problem;

/* Parses and checks a text. spec is NULL, and diag says why, when it has errors. */
Problem *problem_create(const char *name, const char *text, const SpecSetting *settings, int setting_count);
Problem *problem_open(const char *path, const SpecSetting *settings, int setting_count);
void problem_destroy(Problem *problem);

/* Sizes are set by then (ref.B ... ref.E, axes, offset, cu_q, cu_k). Ragged: q, k, v are [1, heads, total,
 * width]. q, k, v get normal numbers; floats inputs too, times 0.5; ints 0; params their values. */
void problem_fill(Problem *problem, ElemType elem, uint64_t seed);
/* Element of an input by its name, by flat index: stored, rounded to its type. */
int problem_input(const Problem *problem, const char *name);
int64_t problem_input_count(const Problem *problem, int input);
void problem_set(Problem *problem, int input, int64_t index, double value);
/* Into problem->o and ->returns (NaN before): [B, H, M, width of o]. */
bool problem_run(Problem *problem, bool exact, ElemType plain);
/* Width of o: E, or that of v's feature map. */
int64_t problem_out_width(const Problem *problem);

void store_element(void *data, ElemType type, int64_t index, double value);
double load_element(const void *data, ElemType type, int64_t index);

#endif
