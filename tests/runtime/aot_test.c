/* Kernels built ahead of time, through their generated headers, linked with libattune_rt alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aot_device.h"
#include "aot_grid.h"
#include "aot_local.h"
#include "fixture.h"

static float value(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return (float)(*seed >> 8) / (1 << 23) - 1;
}

static void test_local(void)
{
    enum { B = 2, H = 4, G = 2, M = 37, N = 41, D = 16, E = 8, W = 6 };
    static float q[B * H * M * D], k[B * G * N * D], v[B * G * N * E], o[B * H * M * E], lse[B * H * M],
        slope[H], table[2 * W + 1];
    static int32_t class[B * (N + 9)];
    uint32_t seed = 3;
    for (int i = 0; i < B * H * M * D; i++)
        q[i] = value(&seed);
    for (int i = 0; i < B * G * N * D; i++)
        k[i] = value(&seed);
    for (int i = 0; i < B * G * N * E; i++)
        v[i] = value(&seed);
    for (int i = 0; i < H; i++)
        slope[i] = value(&seed);
    for (int i = 0; i < 2 * W + 1; i++)
        table[i] = value(&seed);
    for (int i = 0; i < B * N; i++)
        class[i] = i % N / 15;
    aot_local_args args = aot_local_defaults();
    CU_ASSERT_EQUAL(args.window, 4);
    CU_ASSERT_EQUAL(args.default_, 2.5);
    CU_ASSERT_TRUE(args.on);
    args.B = B;
    args.H = H;
    args.G = G;
    args.M = M;
    args.N = N;
    args.q = q;
    args.k = k;
    args.v = v;
    args.o = o;
    args.lse = lse;
    args.slope = slope;
    args.table = table;
    args.class_ = class;
    args.window = W;
    args.align = ATTUNE_ALIGN_BOTTOM_RIGHT;
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = aot_local_kernel(context, &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    CU_ASSERT_EQUAL(aot_local_run(kernel, &args, &error), ATTUNE_OK);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    double worst = 0, worst_lse = 0;
    for (int b = 0; b < B; b++)
        for (int h = 0; h < H; h++)
            for (int m = 0; m < M; m++) {
                int i = m + N - M, g = h / (H / G);
                double sum = 0, row[E] = {0};
                for (int j = 0; j <= i && j < N; j++) {
                    if (i - j > W || class[b * N + i] != class[b * N + j])
                        continue;
                    double s = 0;
                    for (int c = 0; c < D; c++)
                        s += (double)q[((b * H + h) * M + m) * D + c] *
                             (double)k[((b * G + g) * N + j) * D + c];
                    double w = exp(s * 0.25 * 2.5 + (double)slope[h] + (double)table[i - j]);
                    sum += w;
                    for (int c = 0; c < E; c++)
                        row[c] += w * (double)v[((b * G + g) * N + j) * E + c];
                }
                for (int c = 0; c < E; c++)
                    worst = fmax(worst, fabs(row[c] / sum - (double)o[((b * H + h) * M + m) * E + c]));
                worst_lse = fmax(worst_lse, fabs(log(sum) - (double)lse[(b * H + h) * M + m]));
            }
    CU_ASSERT_TRUE(worst < 3e-6);
    CU_ASSERT_TRUE(worst_lse < 3e-6);
    args.lse = NULL; /* need not be wanted */
    CU_ASSERT_EQUAL(aot_local_run(kernel, &args, NULL), ATTUNE_OK);
    args.G = 3;
    CU_ASSERT_EQUAL(aot_local_run(kernel, &args, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "must divide");
    attune_error_free(error);
    error = NULL;
    args.G = G;
    args.window = -5;
    CU_ASSERT_EQUAL(aot_local_run(kernel, &args, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "comes to no size");
    attune_error_free(error);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    CU_ASSERT_EQUAL(info.origin, ATTUNE_FROM_BUILD);
    CU_ASSERT_STRING_EQUAL(info.name, "local");
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
}

/* With equal values every weighted mean is that value, and an image of one pixel sees itself. */
static void test_grid(void)
{
    enum { Y = 5, X = 7, D = 8 };
    static uint16_t q[Y * X * D], o[Y * X * D];
    for (int i = 0; i < Y * X * D; i++)
        q[i] = 0x3f80; /* 1 in bf16 */
    aot_grid_args args = aot_grid_defaults();
    args.B = args.H = args.G = 1;
    args.M = args.N = Y * X;
    args.q = args.k = args.v = q;
    args.o = o;
    args.m_axis[0] = Y;
    args.m_axis[1] = X;
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = aot_grid_kernel(context, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    CU_ASSERT_EQUAL(aot_grid_run(kernel, &args, NULL), ATTUNE_OK);
    int wrong = 0;
    for (int i = 0; i < Y * X * D; i++)
        wrong += o[i] != 0x3f80;
    CU_ASSERT_EQUAL(wrong, 0);
    args.m_axis[0] = 4;
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(aot_grid_run(kernel, &args, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "m_axis is [4, 7], 28 positions, but M is 35");
    attune_error_free(error);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
}

/* A device's image travels as data; without a driver the kernel says so when it is launched, and nothing else
 * breaks. */
static void test_device(void)
{
    int wrong = 0;
    for (int i = 0; i < 1001; i++)
        wrong += aot_device_image[i] != (unsigned char)(i * 7);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL((uintptr_t)aot_device_image % 64, 0);
    setenv("ATTUNE_LIBCUDA", "/nowhere/at/all.so", 1);
    AttuneContext *context = attune_context_create(NULL, NULL);
    AttuneKernel *kernel = aot_device_kernel(context, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    CU_ASSERT_EQUAL(info.device, ATTUNE_DEVICE_CUDA);
    CU_ASSERT_EQUAL(info.code_bytes, 1001);
    static uint16_t memory[2][64];
    static float slope[1], lse[1];
    aot_device_args args = aot_device_defaults();
    args.B = args.H = args.G = args.M = args.N = 1;
    args.q = args.k = args.v = memory[0];
    args.o = memory[1];
    args.slope = slope;
    args.lse = lse;
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(aot_device_run(kernel, &args, &error), ATTUNE_ERROR_TARGET);
    CHECK_CONTAINS(attune_error_message(error), "driver");
    attune_error_free(error);
    error = NULL;
    args.H = 2; /* checked before any device is asked */
    args.G = 3;
    CU_ASSERT_EQUAL(aot_device_run(kernel, &args, &error), ATTUNE_ERROR_ARGUMENT);
    attune_error_free(error);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"local", test_local}, {"grid", test_grid}, {"device", test_device}, CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"ahead of time", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
