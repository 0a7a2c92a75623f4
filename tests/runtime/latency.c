/* How long the runtime's own steps take: latency [directory]. Not a test: prints medians. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/attune.h"

enum { ROUNDS = 2001, D = 64 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("%-44s median %9.2f us, 90%% %9.2f us\n", what, times[count / 2], times[count * 9 / 10]);
}

static void need(bool good, AttuneError *error)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", attune_error_message(error));
    exit(1);
}

int main(int argc, char **argv)
{
    static const char text[] = "attention causal { mask j <= i  return lse }";
    static double times[ROUNDS];
    AttuneError *error = NULL;
    const AttuneContextOptions options = {.cache_dir = argc > 1 ? argv[1] : NULL};
    const AttuneKernelOptions kernel_options = {.d = D};
    AttuneSpec *spec = attune_spec_from_text(text, sizeof text - 1, NULL, &error);
    need(spec != NULL, error);
    AttuneContext *context = attune_context_create(&options, &error);
    need(context != NULL, error);
    AttuneKernel *kernel = attune_kernel_create(context, spec, &kernel_options,
                                                &error); /* compiled, or on disk from before */
    need(kernel != NULL, error);

    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        attune_kernel_destroy(attune_kernel_create(context, spec, &kernel_options, &error));
        times[i] = now_us() - start;
    }
    report("kernel from memory", times, ROUNDS);
    for (int i = 0; i < 101; i++) {
        AttuneContext *fresh = attune_context_create(&options, &error);
        double start = now_us();
        AttuneKernel *loaded = attune_kernel_create(fresh, spec, &kernel_options, &error);
        times[i] = now_us() - start;
        attune_kernel_destroy(loaded);
        attune_context_destroy(fresh);
    }
    report("kernel from disk", times, 101);

    static float q[D], o[D], lse[1];
    const int64_t shape[] = {1, 1, 1, D}, lse_shape[] = {1, 1, 1};
    AttuneTensor t = {.data = q, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape};
    AttuneNamedTensor back = {"lse", {.data = lse, .dtype = ATTUNE_F32, .ndim = 3, .shape = lse_shape}};
    AttuneLaunch launch = {.q = t, .k = t, .v = t, .o = t, .returns = &back, .return_count = 1};
    launch.o.data = o;
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        need(attune_kernel_launch(kernel, &launch, &error) == ATTUNE_OK, error);
        times[i] = now_us() - start;
    }
    report("launch of one row (checks, run)", times, ROUNDS);
    AttunePlan *plan = attune_plan_create(kernel, &launch, &error);
    need(plan != NULL, error);
    void *returns[] = {lse};
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_us();
        need(attune_plan_launch(plan, &(AttunePlanData){q, q, q, o, NULL, returns, NULL, NULL, NULL}, &error) ==
                 ATTUNE_OK,
             error);
        times[i] = now_us() - start;
    }
    report("the same from a plan", times, ROUNDS);
    attune_plan_destroy(plan);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
    return 0;
}
