/* What the tests of the runtime share: a kernel whose phases are C functions here, and a launch of it that is
 * right, to be spoilt by a test. */
#ifndef ATTUNE_TEST_FIXTURE_H
#define ATTUNE_TEST_FIXTURE_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>

#include "runtime/description.h"
#include "runtime/launch.h"

enum {
    FIX_B = 2,
    FIX_H = 4,
    FIX_G = 2,
    FIX_M = 3,
    FIX_N = 5,
    FIX_D = 8,
    FIX_E = 4,
    FIX_WINDOW = 2,
    FIX_R = 6
};

/* Spec of the fake kernel:
 *     input slope[h]: f32      input doc[b, t]: i32      input bias[h, i, j]: f32
 *     input left[r]: f32       input right[r]: f32       input band[2 * window + 1]: f32      input gate[d,
 * e]: f16 param window: int = 2    param cap: float          param on: bool = true                param const
 * fixed: int = 7 return lse Its two phases: the first writes the sum of q's row to a workspace [B, H, M], the
 * second writes o = that sum + slope[h] in all channels and lse = i. */
void fixture_description(Description *description, ExtentStep *steps);
AttuneKernel *fixture_kernel(AttuneContext *context);
/* The same for another rank. */
AttuneKernel *fixture_kernel_of_rank(AttuneContext *context, int rank);

enum { FIX_SLOPE, FIX_DOC, FIX_BIAS, FIX_LEFT, FIX_RIGHT, FIX_BAND, FIX_GATE, FIX_INPUTS };
typedef struct Fixture {
    AttuneLaunch launch;
    int64_t q_shape[4], k_shape[4], v_shape[4], o_shape[4], lse_shape[3];
    int64_t strides[4];               /* for whichever tensor a test points here */
    int64_t input_shape[FIX_INPUTS][3];
    AttuneNamedTensor inputs[FIX_INPUTS + 1], returns[2];
    AttuneParam params[4];
    int32_t cu_q[3], cu_k[3];
    float q[512], k[512], v[512], o[512], lse[128], input[FIX_INPUTS][256];
} Fixture;
void fixture_init(Fixture *f);
/* The same launch with two packed sequences, [H, total, D]. */
void fixture_make_ragged(Fixture *f);

/* Runs the suites and gives main's exit status. */
int run_suites(CU_SuiteInfo *suites);

#define CHECK_CONTAINS(text, part) check_contains(text, part, __FILE__, __LINE__)
void check_contains(const char *text, const char *part, const char *file, int line);

#endif
