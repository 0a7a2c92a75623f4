/* Oracles for the shipped specs: plain loops over the papers' formulas in double, knowing nothing of
 * Specs. */
#ifndef ATTUNE_TESTS_ORACLE_H
#define ATTUNE_TESTS_ORACLE_H

#include <CUnit/Basic.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/problem.h"

/* One pair. i and j are positions: i counts from the launch's offset. */
typedef struct Pair {
    const Problem *p;
    int64_t b, h, g, i, j;
    const double *q, *k;
} Pair;

typedef bool (*Visible)(const Pair *at);
typedef double (*Weight)(const Pair *at, double dot); /* a score, or a weight */
typedef double (*PerHead)(const Problem *p, int64_t h);
/* y = map(x) for a token at `position`, of width D */
typedef void (*Map)(const Problem *p, const double *x, int64_t position, double *y);

/* What a row of plain sums is divided by, from the sum of its weights and their number. */
typedef double (*Divisor)(const Problem *p, int64_t h, double sum, int64_t count);
typedef void (*Finish)(const Problem *p, int64_t b, int64_t h, int64_t i, double *o);

typedef struct Oracle {
    Visible visible; /* NULL: all */
    Weight weight;   /* NULL: dot / sqrt(D) */
    PerHead sink;
    Map map;         /* of q and k */
    bool plain_sum;  /* o = sum of weight * v */
    Divisor divisor; /* of a plain sum; NULL: 1 */
    Finish finish;   /* of the row */
} Oracle;

typedef struct Expected {
    double *o, *lse;
} Expected;

/* A kernel with sizes and settings, its data made and changed by `prepare`, its result compared with `oracle`
 * or with what `own` fills in; in f32 and in bf16. */
typedef struct KernelCase {
    const char *file; /* under kernels/, without .attn */
    int64_t B, H, G, M, N, D, E, offset;
    int64_t m_axis[SPEC_MAX_RANK], n_axis[SPEC_MAX_RANK];
    SpecSetting settings[8];
    void (*prepare)(Problem *p);
    Oracle oracle;
    void (*own)(const Problem *p, Expected *expected);
} KernelCase;
/* Values of o and lse that differ from the oracle's. */
int64_t count_wrong(const KernelCase *test, ElemType elem, bool report);
void run_kernel_cases(const KernelCase *tests, size_t count);

/* Values of an input by name; the test fails when there is none. */
const double *input_of(const Problem *p, const char *name);
void set_input(Problem *p, const char *name, double (*value)(const Problem *p, int64_t index));
/* Rows of data. */
const double *q_row(const Problem *p, int64_t b, int64_t h, int64_t row);
const double *k_row(const Problem *p, int64_t b, int64_t g, int64_t j);
const double *v_row(const Problem *p, int64_t b, int64_t g, int64_t j);
double *o_row(const Problem *p, double *o, int64_t b, int64_t h, int64_t row);
int64_t group_of(const Problem *p, int64_t h);

void softmax_suite(void);
void position_suite(void);
void window_suite(void);
void other_suite(void);
void linear_suite(void);
void shipped_suite(void);

#endif
