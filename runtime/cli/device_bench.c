/* Timing on a GPU: warm-up until the clock has settled, then launches between pairs of events, the L2 cache swept before
 * each, without waiting for any single one. The median counts. */
#include <stdlib.h>

#include "runtime/cli/bench.h"

enum { MOST_RUNS = 4096, ROUND = 32 };
static const double warm_up_seconds = 0.2; /* a capped GPU slows down for about so long */
static const double round_seconds = 0.05;
static const size_t sweep_bytes = (size_t)256 << 20;

typedef struct DeviceBench {
    const Device *device;
    AttunePlan *plan;
    AttunePlanData data;
    void *sweep;
    CudaHandle begin[ROUND], end[ROUND];
} DeviceBench;

static AttuneStatus launch_between(DeviceBench *b, int slot, AttuneError **error)
{
    const CudaApi *cuda = b->device->cuda;
    int code = cuda->MemsetD32Async((CudaAddress)(uintptr_t)b->sweep, 0, sweep_bytes / 4, b->data.stream);
    if (code == CUDA_DONE)
        code = cuda->EventRecord(b->begin[slot], b->data.stream);
    AttuneStatus status = device_check(b->device, code, "recording an event", error);
    if (status == ATTUNE_OK)
        status = attune_plan_launch(b->plan, &b->data, error);
    if (status == ATTUNE_OK)
        status = device_check(b->device, cuda->EventRecord(b->end[slot], b->data.stream), "recording an event", error);
    return status;
}

/* Launches `count` times, up to ROUND, then waits; the seconds of each. */
static AttuneStatus run_round(DeviceBench *b, int count, double *taken, AttuneError **error)
{
    const CudaApi *cuda = b->device->cuda;
    AttuneStatus status = ATTUNE_OK;
    for (int k = 0; k < count && status == ATTUNE_OK; k++)
        status = launch_between(b, k, error);
    if (status == ATTUNE_OK)
        status = device_check(b->device, cuda->EventSynchronize(b->end[count - 1]), "the kernel", error);
    for (int k = 0; k < count && status == ATTUNE_OK; k++) {
        float milliseconds = 0;
        status = device_check(b->device, cuda->EventElapsedTime(&milliseconds, b->begin[k], b->end[k]), "reading a time", error);
        taken[k] = milliseconds * 1e-3;
    }
    return status;
}

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static AttuneStatus measure(DeviceBench *b, double seconds, BenchTimes *times, AttuneError **error)
{
    static _Thread_local double taken[MOST_RUNS];
    AttuneStatus status = run_round(b, 1, taken, error); /* the first loads the code; the second says how long one takes */
    if (status == ATTUNE_OK)
        status = run_round(b, 1, taken, error);
    int count = taken[0] * ROUND < round_seconds ? ROUND : taken[0] > round_seconds ? 1 : (int)(round_seconds / taken[0]);
    double begin = bench_now();
    while (status == ATTUNE_OK && seconds > 0 && bench_now() - begin < warm_up_seconds)
        status = run_round(b, count, taken, error);
    begin = bench_now();
    for (times->runs = 0; status == ATTUNE_OK && times->runs + count <= MOST_RUNS; times->runs += count) {
        if (times->runs > 0 && bench_now() - begin >= seconds)
            break;
        status = run_round(b, count, taken + times->runs, error);
    }
    if (status != ATTUNE_OK)
        return status;
    qsort(taken, (size_t)times->runs, sizeof *taken, compare_times);
    times->least = taken[0];
    times->most = taken[times->runs - 1];
    times->median = (taken[(times->runs - 1) / 2] + taken[times->runs / 2]) / 2;
    return ATTUNE_OK;
}

static AttuneStatus make_events(DeviceBench *b, AttuneError **error)
{
    int code = CUDA_DONE;
    for (int k = 0; k < ROUND && code == CUDA_DONE; k++) {
        code = b->device->cuda->EventCreate(&b->begin[k], 0);
        if (code == CUDA_DONE)
            code = b->device->cuda->EventCreate(&b->end[k], 0);
    }
    return device_check(b->device, code, "making events", error);
}

AttuneStatus bench_launch_device(AttuneKernel *kernel, const AttuneLaunch *launch, const Device *device, double seconds,
                                 BenchTimes *times, AttuneError **error)
{
    const void *inputs[ATTUNE_MAX_INPUTS];
    void *returns[ATTUNE_MAX_INPUTS];
    for (int k = 0; k < launch->input_count; k++)
        inputs[k] = launch->inputs[k].tensor.data;
    for (int k = 0; k < launch->return_count; k++)
        returns[k] = launch->returns[k].tensor.data;
    DeviceBench b = {.device = device, .plan = attune_plan_create(kernel, launch, error)};
    if (!b.plan)
        return attune_error_status(error ? *error : NULL);
    b.data = (AttunePlanData){.q = launch->q.data, .k = launch->k.data, .v = launch->v.data, .o = launch->o.data,
                              .inputs = inputs, .returns = returns, .stream = launch->stream};
    DeviceEntry entry;
    AttuneStatus status = device_alloc(device, sweep_bytes, &b.sweep, error);
    if (status == ATTUNE_OK && (status = device_enter(device, &entry, error)) == ATTUNE_OK) {
        status = make_events(&b, error);
        if (status == ATTUNE_OK)
            status = measure(&b, seconds, times, error);
        for (int k = 0; k < ROUND; k++) {
            if (b.begin[k])
                device->cuda->EventDestroy(b.begin[k]);
            if (b.end[k])
                device->cuda->EventDestroy(b.end[k]);
        }
        device_leave(&entry);
    }
    device_free(device, b.sweep);
    attune_plan_destroy(b.plan);
    return status;
}
