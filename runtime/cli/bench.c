/* Timing: launches are repeated through a plan, so that only the kernel and its threads are measured; the
 * median of all repetitions counts. */
#include "runtime/cli/bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RUNS = 4096, LEAST_RUNS = 3 };

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_operations(double pairs, int64_t d, int64_t e) { return 2 * pairs * (double)(d + e); }

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static AttuneStatus repeat(AttunePlan *plan, const AttunePlanData *data, double seconds, BenchTimes *times,
                           AttuneError **error)
{
    static _Thread_local double taken[MOST_RUNS];
    AttuneStatus status = attune_plan_launch(plan, data, error);
    double begin = bench_now();
    times->runs = 0;
    while (status == ATTUNE_OK && times->runs < MOST_RUNS &&
           (times->runs < LEAST_RUNS || bench_now() - begin < seconds)) {
        double start = bench_now();
        status = attune_plan_launch(plan, data, error);
        taken[times->runs++] = bench_now() - start;
    }
    if (status != ATTUNE_OK)
        return status;
    qsort(taken, (size_t)times->runs, sizeof *taken, compare_times);
    times->least = taken[0];
    times->most = taken[times->runs - 1];
    times->median = (taken[(times->runs - 1) / 2] + taken[times->runs / 2]) / 2;
    return ATTUNE_OK;
}

AttuneStatus bench_launch(AttuneKernel *kernel, const AttuneLaunch *launch, double seconds, BenchTimes *times,
                          AttuneError **error)
{
    const void *inputs[ATTUNE_MAX_INPUTS];
    void *returns[ATTUNE_MAX_INPUTS];
    for (int k = 0; k < launch->input_count; k++)
        inputs[k] = launch->inputs[k].tensor.data;
    for (int k = 0; k < launch->return_count; k++)
        returns[k] = launch->returns[k].tensor.data;
    AttunePlan *plan = attune_plan_create(kernel, launch, error);
    if (!plan)
        return attune_error_status(error ? *error : NULL);
    AttunePlanData data = {.q = launch->q.data, .k = launch->k.data, .v = launch->v.data, .o = launch->o.data,
                           .inputs = inputs, .returns = returns, .stream = launch->stream};
    AttuneStatus status = repeat(plan, &data, seconds, times, error);
    attune_plan_destroy(plan);
    return status;
}
