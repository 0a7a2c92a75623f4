/* What kernels compute, through the whole runtime, against the reference: element types, groups, alignment,
 * ragged batches, empty rows. And that the comparison can fail. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static const char *target = "cpu";
static const char causal[] = "attention causal { mask j <= i  return lse }";

static AttuneContext *open_context(void)
{
    return attune_context_create(&(AttuneContextOptions){.threads = 2, .cache_mode = ATTUNE_CACHE_OFF}, NULL);
}

static AttuneSpec *open_text(const char *text)
{
    return attune_spec_from_text(text, strlen(text), NULL, NULL);
}

static AttuneKernel *create(AttuneContext *context, const AttuneSpec *spec,
                            const AttuneKernelOptions *options)
{
    AttuneError *error = NULL;
    AttuneKernel *kernel = attune_kernel_create(context, spec, options, &error);
    if (!kernel)
        printf("%s\n", attune_error_message(error));
    attune_error_free(error);
    return kernel;
}

typedef struct Run {
    int64_t q[4], k[4], v[4], o[4], lse[3];
    void *data[4];
    float *stat;
    AttuneLaunch launch;
    AttuneNamedTensor returns[1];
} Run;

/* Numbers below 1 in size: f32 as they come, bf16 the upper half of such a number, f16 put together from its
 * bits. */
static void *random_values(int64_t count, AttuneDtype dtype, uint32_t seed)
{
    void *data = malloc((size_t)(count + 1) * 4);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t random = seed >> 8, bits;
        float value = (float)random / (1 << 23) - 1;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == ATTUNE_F32)
            ((float *)data)[i] = value;
        else if (dtype == ATTUNE_BF16)
            ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
        else /* exponents 2^-6 to 2^-1 */
            ((uint16_t *)data)[i] = (uint16_t)((random & 0x83ff) | (9 + (random >> 16) % 6) << 10);
    }
    return data;
}

static void run_make(Run *r, AttuneDtype dtype, int64_t B, int64_t H, int64_t G, int64_t M, int64_t N,
                     int64_t D, int64_t E)
{
    memset(r, 0, sizeof *r);
    int64_t *shapes[] = {r->q, r->k, r->v, r->o};
    const int64_t want[4][4] = {{B, H, M, D}, {B, G, N, D}, {B, G, N, E}, {B, H, M, E}};
    AttuneTensor *tensors[] = {&r->launch.q, &r->launch.k, &r->launch.v, &r->launch.o};
    for (int t = 0; t < 4; t++) {
        memcpy(shapes[t], want[t], sizeof want[t]);
        r->data[t] = random_values(want[t][0] * want[t][1] * want[t][2] * want[t][3], dtype,
                                   7u + (uint32_t)t);
        *tensors[t] = (AttuneTensor){.data = r->data[t], .dtype = dtype, .ndim = 4, .shape = shapes[t]};
    }
    memcpy(r->lse, (int64_t[3]){B, H, M}, sizeof r->lse);
    r->stat = malloc((size_t)(B * H * M + 1) * sizeof *r->stat);
    r->returns[0] = (AttuneNamedTensor){"lse",
                                        {.data = r->stat, .dtype = ATTUNE_F32, .ndim = 3, .shape = r->lse}};
    r->launch.returns = r->returns;
    r->launch.return_count = 1;
}

static void run_free(Run *r)
{
    for (int t = 0; t < 4; t++)
        free(r->data[t]);
    free(r->stat);
}

static void launch_and_check(AttuneContext *context, const AttuneSpec *spec, AttuneKernelOptions options,
                             Run *r)
{
    AttuneCheck check;
    AttuneError *error = NULL;
    AttuneKernel *kernel = create(context, spec, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    if (attune_kernel_launch(kernel, &r->launch, &error) != ATTUNE_OK ||
        attune_check(spec, &options, &r->launch, 1, &check, &error) != ATTUNE_OK) {
        printf("%s\n", attune_error_message(error));
        CU_FAIL("the launch or its check does not run");
    } else if (!check.passed) {
        printf("\nmax %g <= %g, rms %g <= %g, lse %g, wrong %lld\n", check.max_error, check.max_limit,
               check.rms_error, check.rms_limit, check.lse_error, (long long)check.wrong_empty_rows);
        CU_FAIL("the result is too far off");
    }
    CU_ASSERT_EQUAL(check.values, r->o[0] * r->o[1] * r->o[2] * r->o[3]);
    attune_error_free(error);
    attune_kernel_destroy(kernel);
}

static void test_results(void)
{
    static const struct {
        AttuneDtype dtype;
        const char *target;
        int64_t B, H, G, M, N, D, E;
        AttuneAlign align;
    } rows[] = {
        {ATTUNE_F32, "cpu", 1, 2, 1, 65, 65, 32, 32, ATTUNE_ALIGN_OFFSET},
        {ATTUNE_F32, "interp", 1, 2, 1, 9, 17, 8, 4, ATTUNE_ALIGN_OFFSET},
        {ATTUNE_BF16, "cpu", 2, 3, 3, 100, 130, 64, 64, ATTUNE_ALIGN_BOTTOM_RIGHT},
        {ATTUNE_F16, "cpu", 1, 6, 2, 33, 70, 40, 24, ATTUNE_ALIGN_OFFSET},
        {ATTUNE_F32, "cpu", 2, 4, 2, 1, 300, 64, 64, ATTUNE_ALIGN_BOTTOM_RIGHT},
        {ATTUNE_F32, "cpu", 1, 1, 1, 1, 1, 1, 1, ATTUNE_ALIGN_OFFSET},
        {ATTUNE_F32, "cpu", 1, 2, 2, 70, 20, 16, 16,
         ATTUNE_ALIGN_BOTTOM_RIGHT}, /* the first 50 rows see nothing */
    };
    AttuneContext *context = open_context();
    AttuneSpec *spec = open_text(causal);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Run r;
        run_make(&r, rows[i].dtype, rows[i].B, rows[i].H, rows[i].G, rows[i].M, rows[i].N, rows[i].D,
                 rows[i].E);
        r.launch.align = rows[i].align;
        launch_and_check(
            context, spec,
            (AttuneKernelOptions){
                .target = rows[i].target, .dtype = rows[i].dtype, .d = rows[i].D, .e = rows[i].E},
            &r);
        run_free(&r);
    }
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

/* The check must be able to fail: spoilt outputs, one at a time. */
static void test_check_can_fail(void)
{
    AttuneContext *context = open_context();
    AttuneSpec *spec = open_text(causal);
    const AttuneKernelOptions options = {.target = target, .d = 16};
    Run r;
    run_make(&r, ATTUNE_F32, 1, 2, 2, 30, 20, 16, 16);
    r.launch.align = ATTUNE_ALIGN_BOTTOM_RIGHT;
    launch_and_check(context, spec, options, &r);
    float *o = r.data[3],
          *spots[] = {&o[15 * 16], &o[0], &r.stat[15], &r.stat[0], &o[29 * 16 + 3], &r.stat[20]};
    const float values[] = {o[15 * 16] + 1e-4f, 1e-30f, r.stat[15] + 0.01f, -1e30f, NAN, NAN};
    for (int i = 0; i < 6; i++) {
        AttuneCheck check;
        float kept = *spots[i];
        *spots[i] = values[i];
        CU_ASSERT_EQUAL(attune_check(spec, &options, &r.launch, 1, &check, NULL), ATTUNE_OK);
        CU_ASSERT_FALSE(check.passed);
        *spots[i] = kept;
    }
    AttuneCheck check;
    CU_ASSERT_EQUAL(attune_check(spec, &options, &r.launch, 7, &check, NULL), ATTUNE_OK);
    CU_ASSERT_TRUE(check.passed);
    CU_ASSERT_EQUAL(check.values, 2 * 5 * 16); /* rows 0, 7, 14, 21, 28 of both heads */
    CU_ASSERT_EQUAL(attune_check(spec, &options, &r.launch, 1, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_check(NULL, &options, &r.launch, 1, &check, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_reference(spec, NULL, &r.launch, 1, NULL, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    double *exact = calloc(2 * 30 * 16, sizeof *exact), lse[60];
    CU_ASSERT_EQUAL(attune_reference(spec, &options, &r.launch, 1, exact, lse, NULL), ATTUNE_OK);
    CU_ASSERT_TRUE(fabs(exact[15 * 16] - o[15 * 16]) < 1e-5 && isinf(lse[0]) &&
                   fabs(lse[15] - r.stat[15]) < 1e-4);
    free(exact);
    run_free(&r);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

static void test_no_keys(void)
{
    AttuneContext *context = open_context();
    AttuneSpec *spec = open_text(causal);
    Run r;
    run_make(&r, ATTUNE_F32, 2, 2, 1, 37, 0, 16, 16);
    AttuneKernel *kernel = create(context, spec, &(AttuneKernelOptions){.target = target, .d = 16});
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &r.launch, NULL), ATTUNE_OK);
    int wrong = 0;
    for (int i = 0; i < 2 * 2 * 37; i++)
        wrong += !(isinf(r.stat[i]) && r.stat[i] < 0);
    for (int i = 0; i < 2 * 2 * 37 * 16; i++)
        wrong += ((float *)r.data[3])[i] != 0;
    CU_ASSERT_EQUAL(wrong, 0);
    attune_kernel_destroy(kernel);
    run_free(&r);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

/* Packed sequences against the same sequences launched one by one: bit for bit the same. */
static void test_ragged(void)
{
    enum { H = 4, G = 2, D = 16, SEQUENCES = 4 };
    const int32_t cu_q[SEQUENCES + 1] = {0, 5, 5, 70, 101}, cu_k[SEQUENCES + 1] = {0, 8, 20, 90, 90};
    AttuneContext *context = open_context();
    AttuneSpec *spec = open_text(causal);
    const AttuneKernelOptions options = {.target = target, .d = D};
    Run r;
    run_make(&r, ATTUNE_F32, 1, H, G, cu_q[SEQUENCES], cu_k[SEQUENCES], D, D);
    r.launch.cu_seqlens_q = cu_q;
    r.launch.cu_seqlens_k = cu_k;
    r.launch.sequences = SEQUENCES;
    launch_and_check(context, spec, options, &r);
    AttuneKernel *kernel = create(context, spec, &options);
    for (int b = 0; b < SEQUENCES; b++) {
        int64_t m = cu_q[b + 1] - cu_q[b], n = cu_k[b + 1] - cu_k[b];
        const int64_t q_shape[] = {1, H, m, D}, k_shape[] = {1, G, n, D};
        const int64_t q_stride[] = {0, (int64_t)cu_q[SEQUENCES] * D, D, 1},
                      k_stride[] = {0, (int64_t)cu_k[SEQUENCES] * D, D, 1};
        float *o = calloc((size_t)(H * m * D + 1), sizeof *o);
        AttuneLaunch one = {.q = {.data = (float *)r.data[0] + cu_q[b] * D,
                                  .dtype = ATTUNE_F32,
                                  .ndim = 4,
                                  .shape = q_shape,
                                  .strides = q_stride},
                            .k = {.data = (float *)r.data[1] + cu_k[b] * D,
                                  .dtype = ATTUNE_F32,
                                  .ndim = 4,
                                  .shape = k_shape,
                                  .strides = k_stride},
                            .v = {.data = (float *)r.data[2] + cu_k[b] * D,
                                  .dtype = ATTUNE_F32,
                                  .ndim = 4,
                                  .shape = k_shape,
                                  .strides = k_stride},
                            .o = {.data = o, .dtype = ATTUNE_F32, .ndim = 4, .shape = q_shape}};
        CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &one, NULL), ATTUNE_OK);
        int wrong = 0;
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < m * D; i++)
                wrong += o[h * m * D + i] != ((float *)r.data[3])[(h * cu_q[SEQUENCES] + cu_q[b]) * D + i];
        CU_ASSERT_EQUAL(wrong, 0);
        free(o);
    }
    attune_kernel_destroy(kernel);
    run_free(&r);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

int main(void)
{
    CU_TestInfo tests[] = {{"results", test_results},
                             {"the check can fail", test_check_can_fail},
                             {"no keys", test_no_keys},
                             {"ragged", test_ragged},
                             CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"results", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
