/* The benchmark program: everything that docs/benchmarks shows, measured in one run, printed as Markdown.
 *
 *     attune_bench [--quick]
 *     attune_bench --memory N      a child of the above: one launch of this length, then its own peak memory
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "runtime/attune.h"
#include "runtime/cli/bench.h"
#include "runtime/cli/npy.h"
#include "runtime/cli/random.h"

#if HAVE_OPENBLAS
#include <cblas.h>
#endif

static const char full_text[] = "attention full { score s * scale }";
static const char causal_text[] = "attention causal { mask j <= i }";
static const char window_text[] =
    "attention window { param window: int = 512  mask j <= i and i - j < window }";

static double seconds = 2; /* for every measurement */

static void check(AttuneError *error)
{
    if (!error)
        return;
    fprintf(stderr, "attune_bench: %s\n", attune_error_message(error));
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "attune_bench: out of memory\n");
        exit(1);
    }
    return memory;
}

/* The yardstick ------------------------------------------------------------------------------------------ */

/* GFLOP/s of OpenBLAS in one n x n x n product, the median of runs for about `budget` seconds; 0 without it.
 */
static double gemm_rate(int n, int threads, double budget)
{
#if HAVE_OPENBLAS
    static float *a, *b, *c;
    static int room;
    if (n > room) {
        size_t size = sizeof(float) * (size_t)n * (size_t)n;
        free(a);
        free(b);
        free(c);
        a = allocate(size);
        b = allocate(size);
        c = allocate(size);
        room = n;
        Random random = random_start(1, "gemm");
        for (size_t k = 0; k < (size_t)n * (size_t)n; k++) {
            a[k] = (float)random_normal(&random);
            b[k] = (float)random_normal(&random);
        }
    }
    openblas_set_num_threads(threads);
    double times[64], begin = bench_now();
    int runs = 0;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
    while (runs < 64 && (runs < 3 || bench_now() - begin < budget)) {
        double start = bench_now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
        double taken = bench_now() - start;
        int at = runs++;
        for (; at > 0 && times[at - 1] > taken; at--)
            times[at] = times[at - 1];
        times[at] = taken;
    }
    return 2.0 * n * n * n / times[runs / 2] * 1e-9;
#else
    (void)n, (void)threads, (void)budget;
    return 0;
#endif
}

/* Cases -------------------------------------------------------------------------------------------------- */

typedef struct Operands {
    int64_t q_shape[4], k_shape[4];
    void *q, *k, *v, *o;
    AttuneDtype dtype;
} Operands;

static void *random_rows(const char *name, int64_t count, AttuneDtype dtype)
{
    Random random = random_start(1, name);
    void *rows = allocate((size_t)(count * attune_dtype_size(dtype)));
    for (int64_t at = 0; at < count; at++) {
        float value = (float)random_normal(&random);
        npy_convert(&value, ATTUNE_F32, (char *)rows + at * attune_dtype_size(dtype), dtype, 1);
    }
    return rows;
}

static Operands operands_make(int64_t h, int64_t n, int64_t d, AttuneDtype dtype)
{
    Operands made = {.q_shape = {1, h, n, d}, .k_shape = {1, h, n, d}, .dtype = dtype};
    made.q = random_rows("q", h * n * d, dtype);
    made.k = random_rows("k", h * n * d, dtype);
    made.v = random_rows("v", h * n * d, dtype);
    made.o = allocate((size_t)(h * n * d * attune_dtype_size(dtype)));
    return made;
}

static void operands_free(Operands *operands)
{
    free(operands->q);
    free(operands->k);
    free(operands->v);
    free(operands->o);
}

static AttuneTensor view(void *data, const int64_t *shape, AttuneDtype dtype)
{
    return (AttuneTensor){.data = data, .dtype = dtype, .ndim = 4, .shape = shape};
}

static AttuneLaunch launch_of(const Operands *x, const AttuneParam *params, int param_count)
{
    return (AttuneLaunch){.q = view(x->q, x->q_shape, x->dtype), .k = view(x->k, x->k_shape, x->dtype),
                          .v = view(x->v, x->k_shape, x->dtype), .o = view(x->o, x->q_shape, x->dtype),
                          .params = params, .param_count = param_count};
}

static AttuneKernel *kernel_of(AttuneContext *context, const char *text, AttuneDtype dtype, int64_t d)
{
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_text(text, strlen(text), NULL, &error);
    check(error);
    AttuneKernelOptions options = {.dtype = dtype, .d = d};
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    check(error);
    attune_spec_destroy(spec);
    return kernel;
}

static double median_of(AttuneKernel *kernel, const AttuneLaunch *launch, BenchTimes *times)
{
    AttuneError *error = NULL;
    bench_launch(kernel, launch, seconds, times, &error);
    check(error);
    return times->median;
}

static void dense(AttuneContext *context, int64_t h, int64_t n)
{
    static const struct { const char *name, *text; bool causal; } masks[] = {
        {"full", full_text, false}, {"causal", causal_text, true}};
    static const AttuneDtype types[] = {ATTUNE_F32, ATTUNE_BF16};
    printf("\n## Attention, B=1 H=%lld N=%lld\n\n"
           "| case | median ms | fastest ms | GFLOP/s | sgemm beside it | share of sgemm "
           "|\n|---|---|---|---|---|---|\n",
           (long long)h, (long long)n);
    int threads = attune_context_threads(context);
    for (int t = 0; t < 2; t++)
        for (int64_t d = 64; d <= 128; d *= 2) {
            Operands x = operands_make(h, n, d, types[t]);
            for (int m = 0; m < 2; m++) {
                AttuneKernel *kernel = kernel_of(context, masks[m].text, types[t], d);
                AttuneLaunch launch = launch_of(&x, NULL, 0);
                double yardstick = gemm_rate(2048, threads, seconds / 4);
                BenchTimes times;
                double median = median_of(kernel, &launch, &times);
                double pairs =
                    (double)h * (masks[m].causal ? (double)n * (double)(n + 1) / 2 : (double)n * (double)n);
                double rate = bench_operations(pairs, d, d) / median * 1e-9;
                printf("| %s D=%lld %s | %.1f | %.1f | %.1f | %.1f | %.2f |\n", attune_dtype_name(types[t]),
                       (long long)d, masks[m].name, median * 1e3, times.least * 1e3, rate, yardstick,
                       yardstick > 0 ? rate / yardstick : 0);
                fflush(stdout);
                attune_kernel_destroy(kernel);
            }
            operands_free(&x);
        }
}

static int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }

/* Tiles of a causal window that hold a visible pair. */
static double visited_tiles(int64_t n, int64_t window, int64_t block_m, int64_t block_n)
{
    double visited = 0;
    for (int64_t i = 0; i < n; i += block_m) {
        int64_t last = minimum(i + block_m, n) - 1, first_key = i - window + 1 > 0 ? i - window + 1 : 0;
        visited += (double)(last / block_n - first_key / block_n + 1);
    }
    return visited;
}

/* Time against tiles: it should follow a line, so the column of time a tile should stand still. */
static void windows(AttuneContext *context, int64_t n)
{
    enum { D = 64 };
    static const int64_t widths[] = {128, 256, 512, 1024, 2048, 4096, 0};
    Operands x = operands_make(1, n, D, ATTUNE_F32);
    AttuneKernel *kernel = kernel_of(context, window_text, ATTUNE_F32, D),
                 *whole = kernel_of(context, full_text, ATTUNE_F32, D);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    AttuneLaunch plain = launch_of(&x, NULL, 0);
    BenchTimes times;
    double all = median_of(whole, &plain, &times);
    double tiles = ceil((double)n / (double)info.block_m[0]) * ceil((double)n / (double)info.block_n[0]);
    printf("\n## Causal windows, f32 B=1 H=1 N=%lld D=%d, tiles %lld x %lld\n\n"
           "| window | median ms | of the dense time | visited tiles | of all tiles | us a tile "
           "|\n|---|---|---|---|---|---|\n"
           "| none (dense) | %.1f | 1 | %.0f | 1 | %.2f |\n",
           (long long)n, D, (long long)info.block_m[0], (long long)info.block_n[0], all * 1e3, tiles,
           all * 1e6 / tiles);
    for (int k = 0; widths[k] && widths[k] < n; k++) {
        AttuneParam window = attune_param_int("window", widths[k]);
        AttuneLaunch launch = launch_of(&x, &window, 1);
        double median = median_of(kernel, &launch, &times),
               visited = visited_tiles(n, widths[k], info.block_m[0], info.block_n[0]);
        printf("| %lld | %.1f | %.3f | %.0f | %.3f | %.2f |\n", (long long)widths[k], median * 1e3,
               median / all, visited, visited / tiles, median * 1e6 / visited);
        fflush(stdout);
    }
    attune_kernel_destroy(kernel);
    attune_kernel_destroy(whole);
    operands_free(&x);
}

/* Compiling ---------------------------------------------------------------------------------------------- */

static double create_ms(AttuneContext *context, const char *text, AttuneDtype dtype, int64_t d)
{
    double start = bench_now();
    attune_kernel_destroy(kernel_of(context, text, dtype, d));
    return (bench_now() - start) * 1e3;
}

/* One creation of a kernel that the context already holds, of a spec read before, in microseconds: the mean
 * over many. */
static double hit_us(AttuneContext *context, const char *text, AttuneDtype dtype, int64_t d)
{
    enum { CREATIONS = 20000 };
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_text(text, strlen(text), NULL, &error);
    check(error);
    AttuneKernelOptions options = {.dtype = dtype, .d = d};
    double start = bench_now();
    for (int k = 0; k < CREATIONS; k++) {
        attune_kernel_destroy(attune_kernel_create(context, spec, &options, &error));
        check(error);
    }
    double taken = bench_now() - start;
    attune_spec_destroy(spec);
    return taken * 1e6 / CREATIONS;
}

static AttuneContext *context_in(const char *folder)
{
    AttuneError *error = NULL;
    AttuneContextOptions options = {.cache_mode = ATTUNE_CACHE_ON, .cache_dir = folder};
    AttuneContext *context = attune_context_create(&options, &error);
    check(error);
    return context;
}

static void compiling(void)
{
    static const struct { const char *name, *text; AttuneDtype dtype; int64_t d;
    } cases[] = {
        {"full f32 D=64", full_text, ATTUNE_F32, 64},
        {"causal f32 D=64", causal_text, ATTUNE_F32, 64},
        {"causal f32 D=128", causal_text, ATTUNE_F32, 128},
        {"causal bf16 D=128", causal_text, ATTUNE_BF16, 128},
        {"window f32 D=64", window_text, ATTUNE_F32, 64},
    };
    char folder[] = "/tmp/attune_bench_XXXXXX";
    if (!mkdtemp(folder))
        return;
    printf(
        "\n## Time to a kernel\n\nFrom the spec's text, but for the last column, where the spec is read already.\n\n"
        "| kernel | compiled, ms | from disk, ms | from memory, us |\n|---|---|---|---|\n");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        AttuneContext *cold = context_in(folder);
        double compiled = create_ms(cold, cases[k].text, cases[k].dtype, cases[k].d);
        AttuneContext *warm = context_in(folder);
        double disk = create_ms(warm, cases[k].text, cases[k].dtype, cases[k].d);
        double memory = hit_us(warm, cases[k].text, cases[k].dtype, cases[k].d);
        printf("| %s | %.1f | %.2f | %.2f |\n", cases[k].name, compiled, disk, memory);
        attune_context_destroy(cold);
        attune_context_destroy(warm);
    }
    AttuneContext *context = context_in(folder);
    attune_cache_clear(context, 0, NULL, NULL);
    attune_context_destroy(context);
    char line[64];
    snprintf(line, sizeof line, "rm -r %s", folder);
    if (system(line) != 0)
        fprintf(stderr, "attune_bench: %s stays\n", folder);
}

/* Memory ------------------------------------------------------------------------------------------------- */

static double status_mib(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *in = fopen("/proc/self/status", "r");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtod(line + strlen(key), NULL);
    if (in)
        fclose(in);
    return kib / 1024;
}

/* What the child prints: peak before and after the launch. The kernel is compiled before the first reading.
 */
static void memory_child(int64_t n)
{
    enum { D = 64 };
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    check(error);
    AttuneKernel *kernel = kernel_of(context, window_text, ATTUNE_F32, D);
    Operands x = operands_make(1, n, D, ATTUNE_F32);
    memset(x.o, 0, (size_t)n * D * sizeof(float));
    double before = status_mib("VmHWM:");
    AttuneLaunch launch = launch_of(&x, NULL, 0);
    attune_kernel_launch(kernel, &launch, &error);
    check(error);
    double after = status_mib("VmHWM:"), tensors = 4.0 * (double)n * D * sizeof(float) / (1 << 20);
    printf("| %lld | %.1f | %.1f | %.2f | %.0f |\n", (long long)n, tensors, after, after - before,
           (double)n * (double)n * 4 / (1 << 20));
    operands_free(&x);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
}

static void memory(const char *program)
{
    static const int lengths[] = {16384, 32768, 65536};
    printf("\n## Peak memory, causal window of 512, f32 B=1 H=1 D=64, MiB\n\n"
           "| N | q, k, v, o | peak of the process | added by the launch | all scores at once would be "
           "|\n|---|---|---|---|---|\n");
    fflush(stdout);
    for (int k = 0; k < 3; k++) {
        char line[4400];
        snprintf(line, sizeof line, "'%s' --memory %d", program, lengths[k]);
        if (system(line) != 0)
            fprintf(stderr, "attune_bench: the memory of N=%d was not measured\n", lengths[k]);
    }
}

static void describe(AttuneContext *context)
{
    struct utsname name;
    uname(&name);
    AttuneKernel *kernel = kernel_of(context, causal_text, ATTUNE_F32, 64);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    char line[256], model[256] = "unknown processor\n";
    FILE *in = fopen("/proc/cpuinfo", "r");
    while (in && fgets(line, sizeof line, in))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(model, sizeof model, "%s", strchr(line, ':') + 2);
            break;
        }
    if (in)
        fclose(in);
    model[strcspn(model, "\n")] = '\0';
    printf("# CPU benchmarks\n\n%s, target %s, %d threads on %s (%s).\n", attune_build_info(), info.target,
           attune_context_threads(context), model, name.machine);
    attune_kernel_destroy(kernel);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--memory") == 0) {
        memory_child(strtoll(argv[2], NULL, 10));
        return 0;
    }
    bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
    if (argc > 1 && !quick) {
        fprintf(stderr, "usage: attune_bench [--quick]\n");
        return 2;
    }
    seconds = quick ? 0.2 : 3;
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    check(error);
    describe(context);
    int size = quick ? 1024 : 4096;
    double rate = gemm_rate(size, attune_context_threads(context), seconds);
    if (rate > 0)
        printf("OpenBLAS sgemm, %d^3: %.1f GFLOP/s.\n", size, rate);
    dense(context, 8, quick ? 1024 : 4096);
    windows(context, quick ? 4096 : 16384);
    compiling();
    memory(argv[0]);
    attune_context_destroy(context);
    return 0;
}
