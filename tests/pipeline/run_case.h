/* One case: a Spec, sizes and data, run by the interpreter and by CPU code and compared with the reference.
 *
 * The rule: over all elements of o (and of each returned statistic), against the double reference,
 *     max error <= 2 * plain max error + a u S + 2^-20
 *     RMSE <= 1.1 * plain RMSE + max(b, a / sqrt(n)) u S + 2^-20
 * where "plain" is the same mathematics in the storage type, u that type's unit roundoff (2^-24, 2^-9, 2^-12; returned
 * statistics are f32, unless feature maps round q' and k'), S the largest value and n their number. a is 32 for f32 and
 * 4 for 16-bit types, b is 8 and 1/2: the error of few elements is luck, and a plain run may have none at all. 2^-20 is
 * for results that cancel to nothing: q, k and v have unit size.
 * Rows without a visible key give exactly 0 and lse = -inf. Elements that the plain run cannot represent (overflow) are
 * skipped and counted.
 *
 * Memory: all blocks are guarded (guarded.h); inputs are NaN wherever no element lies and read-only while kernels run;
 * o starts as NaN and must stay so between its elements; workspaces have exactly their size. */
#ifndef ATTUNE_TESTS_RUN_CASE_H
#define ATTUNE_TESTS_RUN_CASE_H

#include "compiler/compile.h"
#include "compiler/spec/check.h"
#include "compiler/spec/reference.h"

typedef enum CaseLayout {
    CASE_BHMD, CASE_BMHD,
    CASE_STRIDED,       /* gaps between rows, heads and batches; inputs with a stride in their last dimension */
    CASE_BROADCAST_KV,  /* one k and v for all key heads and batches */
    CASE_BROADCAST_Q,
    CASE_LAYOUT_COUNT
} CaseLayout;
extern const char *const case_layout_names[CASE_LAYOUT_COUNT];

enum { CASE_MAX_SEQUENCES = 8 };

typedef struct CaseShape {
    int64_t B, H, G, M, N, D, E;              /* ragged: M, N are set from the lengths; rank > 1: from the axes */
    int64_t m_axis[SPEC_MAX_RANK], n_axis[SPEC_MAX_RANK];
    int64_t offset;
    bool ragged;                              /* B sequences of these lengths */
    int64_t q_length[CASE_MAX_SEQUENCES], k_length[CASE_MAX_SEQUENCES];
    CaseLayout layout;
    int64_t align;                            /* strides of q, k, v, o are multiples of this; 0: 1 */
    double q_size;                            /* standard deviation of q; 0: 1 */
    uint64_t seed;
    int64_t block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK]; /* 0: the target's choice */
    int64_t chunk, lowering, segment;                /* 0: the compiler's choice */
} CaseShape;
char *case_shape_text(Arena *arena, const CaseShape *shape);

/* Parses and checks; NULL with diagnostics. `settings` as in check_spec. */
Spec *case_spec(Arena *arena, Diag *diag, const char *name, const char *text, const SpecSetting *settings, int count);
Spec *case_spec_file(Arena *arena, Diag *diag, const char *path, const SpecSetting *settings, int count);

/* The Program for the target, at the last stage. NULL with diagnostics. */
Program *case_program(Arena *arena, Diag *diag, const Spec *spec, ElemType elem, const CaseShape *shape, const Target *target);

/* Data, filled, with the results that are expected. */
typedef struct CaseData CaseData;
CaseData *case_data_create(const Spec *spec, ElemType elem, const CaseShape *shape);
void case_data_destroy(CaseData *data);
bool case_data_ragged(const CaseData *data);

typedef struct CaseVerdict {
    bool ok;
    int64_t compared, skipped;
    double share;       /* of its limit that an error takes, the largest of them */
    char message[512];  /* what went wrong first */
} CaseVerdict;

CaseVerdict case_run_interp(CaseData *data, const Program *program);
/* By `run`, which gets the launch's slots. NULL when it went well, else what happened. */
typedef const char *CaseRunner(void *user, const Program *program, const int64_t *slots);
CaseVerdict case_run_with(CaseData *data, const Program *program, CaseRunner *run, void *user);
#if ATTUNE_HAVE_LLVM
CaseVerdict case_run_kernel(CaseData *data, const Kernel *kernel);
#endif
/* Compares what o and the returned statistics hold. */
CaseVerdict case_compare(CaseData *data);
/* The bytes of o and of the returned statistics after a run, to compare runs with each other. */
size_t case_result_bytes(const CaseData *data, const void **bytes, int which); /* which: 0 is o, 1.. returns; NULL past the end */

/* Everything above for one case: compile, run on the backends, compare. CASE_CPU is the target that the environment
 * names in ATTUNE_TEST_CPU (one that this machine can run), or "cpu". */
enum { CASE_INTERP = 1, CASE_CPU = 2 };
CaseVerdict case_run(const Spec *spec, ElemType elem, const CaseShape *shape, unsigned backends);

#endif
