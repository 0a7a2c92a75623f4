/* What a launch costs its thread: CPU time of attune_kernel_launch and attune_plan_launch on a small problem whose kernel
 * is loaded already. Waiting for the device is not part of it.
 *
 *     test_launch_cost [--kernels DIR] [--rounds N]      exit status 77: no GPU, or no CUDA emitter */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/device.h"

enum { SKIPPED = 77, BATCH = 200, B = 2, H = 4, M = 128, D = 64, MAX_ROUNDS = 1000 };

static AttuneContext *context;
static Device *device;

static void die(AttuneError *error)
{
    printf("%s\n", attune_error_message(error));
    exit(attune_error_status(error) == ATTUNE_ERROR_TARGET ? SKIPPED : 1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct Subject {
    AttuneKernel *kernel;
    AttunePlan *plan;
    const AttuneLaunch *launch;
    const AttunePlanData *data;
} Subject;

static AttuneStatus launch_once(const Subject *s, AttuneError **error)
{
    return s->plan ? attune_plan_launch(s->plan, s->data, error) : attune_kernel_launch(s->kernel, s->launch, error);
}

/* Median microseconds of CPU time of one launch over rounds of BATCH, which fit the driver's queue. */
static void measure(const char *what, const Subject *s, int rounds)
{
    static double cpu[MAX_ROUNDS], wall[MAX_ROUNDS];
    AttuneError *error = NULL;
    for (int r = -3; r < rounds; r++) {
        double cpu_begin = seconds(CLOCK_THREAD_CPUTIME_ID), begin = seconds(CLOCK_MONOTONIC);
        for (int n = 0; n < BATCH; n++)
            if (launch_once(s, &error) != ATTUNE_OK)
                die(error);
        if (r >= 0) {
            cpu[r] = (seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_begin) / BATCH * 1e6;
            wall[r] = (seconds(CLOCK_MONOTONIC) - begin) / BATCH * 1e6;
        }
        DeviceEntry entry;
        if (device_enter(device, &entry, &error) != ATTUNE_OK || device->cuda->StreamSynchronize(NULL) != CUDA_DONE)
            die(error);
        device_leave(&entry);
    }
    qsort(cpu, (size_t)rounds, sizeof cpu[0], ascending);
    qsort(wall, (size_t)rounds, sizeof wall[0], ascending);
    printf("%-28s %6.2f us CPU, %6.2f us wall (median of %d x %d; least %.2f, most %.2f)\n", what, cpu[rounds / 2], wall[rounds / 2], rounds,
           BATCH, cpu[0], cpu[rounds - 1]);
}

static void *tensor_memory(size_t size)
{
    void *address;
    AttuneError *error = NULL;
    if (device_alloc(device, size, &address, &error) != ATTUNE_OK)
        die(error);
    return address;
}

static void measure_spec(const char *kernels, const char *name, int rounds)
{
    static const int64_t shape[] = {B, H, M, D}, lse_shape[] = {B, H, M}, slope_shape[] = {H};
    char path[1024], what[128];
    AttuneError *error = NULL;
    snprintf(path, sizeof path, "%s/%s.attn", kernels, name);
    AttuneSpec *spec = attune_spec_from_file(path, NULL, &error);
    AttuneKernel *kernel = spec ? attune_kernel_create(context, spec, &(AttuneKernelOptions){.target = "cuda", .dtype = ATTUNE_BF16, .d = D}, &error)
                                : NULL;
    if (!kernel)
        die(error);
    AttuneSpecInfo info;
    attune_spec_info(spec, &info);
    size_t bytes = (size_t)B * H * M * D * 2;
    AttuneTensor q = {.data = tensor_memory(bytes), .dtype = ATTUNE_BF16, .ndim = 4, .shape = shape, .device = {ATTUNE_DEVICE_CUDA, 0}}, k = q,
                 v = q, o = q;
    k.data = tensor_memory(bytes), v.data = tensor_memory(bytes), o.data = tensor_memory(bytes);
    AttuneNamedTensor lse = {"lse", {.data = tensor_memory(4 * B * H * M), .dtype = ATTUNE_F32, .ndim = 3, .shape = lse_shape, .device = q.device}};
    AttuneNamedTensor slope = {"slope", {.data = tensor_memory(4 * H), .dtype = ATTUNE_F32, .ndim = 1, .shape = slope_shape, .device = q.device}};
    AttuneLaunch launch = {.q = q, .k = k, .v = v, .o = o, .inputs = &slope, .input_count = info.input_count, .returns = &lse,
                           .return_count = info.return_count};
    const void *inputs[] = {slope.tensor.data};
    void *returns[] = {lse.tensor.data};
    AttunePlanData data = {.q = q.data, .k = k.data, .v = v.data, .o = o.data, .inputs = inputs, .returns = returns};
    Subject subject = {.kernel = kernel, .launch = &launch, .data = &data};
    snprintf(what, sizeof what, "%s, launch", name);
    measure(what, &subject, rounds);
    subject.plan = attune_plan_create(kernel, &launch, &error);
    if (!subject.plan)
        die(error);
    snprintf(what, sizeof what, "%s, plan", name);
    measure(what, &subject, rounds);
    attune_plan_destroy(subject.plan);
    void *memory[] = {q.data, k.data, v.data, o.data, lse.tensor.data, slope.tensor.data};
    for (size_t n = 0; n < sizeof memory / sizeof *memory; n++)
        device_free(device, memory[n]);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
}

int main(int argc, char **argv)
{
    const char *kernels = "kernels";
    int rounds = 100;
    for (int n = 1; n + 1 < argc; n += 2) {
        if (!strcmp(argv[n], "--kernels"))
            kernels = argv[n + 1];
        if (!strcmp(argv[n], "--rounds"))
            rounds = atoi(argv[n + 1]);
    }
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    AttuneError *error = NULL;
    context = attune_context_create(NULL, &error);
    if (!context || device_get(context, 0, &device, &error) != ATTUNE_OK)
        die(error);
    measure_spec(kernels, "softmax/causal", rounds);
    measure_spec(kernels, "softmax/causal_lse", rounds);
    measure_spec(kernels, "position/alibi", rounds);
    attune_context_destroy(context);
    return 0;
}
