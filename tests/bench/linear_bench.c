/* Attention from a state against the quadratic form on the CPU: time by length, and where the two cross beside the length
 * that `attune explain` gives. Prints Markdown.
 *
 *     linear_bench [--rounds N] [--kernels FOLDER]
 *
 * Every length has about as many tokens in all. The two forms take turns; the fastest of N rounds counts, on one thread,
 * so that other work on the machine disturbs little. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler/target.h"
#include "runtime/attune.h"

enum { TOKENS = 8192, LENGTHS = 8 };
static const int64_t lengths[LENGTHS] = {32, 64, 96, 128, 192, 256, 512, 2048};

static AttuneContext *context;

static void need(bool good, AttuneError *error)
{
    if (good)
        return;
    fprintf(stderr, "linear_bench: %s\n", attune_error_message(error));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static AttuneKernel *make(const char *path, const char *lowering, AttuneDtype dtype, int64_t width)
{
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_file(path, NULL, &error);
    need(spec != NULL, error);
    AttuneSetting setting = {"lowering", lowering};
    AttuneKernelOptions options = {.dtype = dtype, .d = width, .settings = &setting, .setting_count = 1};
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    need(kernel != NULL, error);
    attune_spec_destroy(spec);
    return kernel;
}

/* One plan a form, over the same data. */
static AttunePlan *plan_of(AttuneKernel *kernel, AttuneDtype dtype, const int64_t *shape, void **data,
                           const char *input)
{
    AttuneError *error = NULL;
    int64_t head_shape[] = {shape[1]}, token_shape[] = {shape[0], shape[1], shape[2]};
    bool by_head = input && strcmp(input, "log_decay") == 0;
    AttuneNamedTensor named = {
        input, {data[4], ATTUNE_F32, by_head ? 1 : 3, by_head ? head_shape : token_shape, NULL, {0}}};
    AttuneLaunch launch = {.q = {data[0], dtype, 4, shape, NULL, {0}},
                           .k = {data[1], dtype, 4, shape, NULL, {0}},
                           .v = {data[2], dtype, 4, shape, NULL, {0}},
                           .o = {data[3], dtype, 4, shape, NULL, {0}},
                           .inputs = &named,
                           .input_count = input != NULL};
    AttunePlan *plan = attune_plan_create(kernel, &launch, &error);
    need(plan != NULL, error);
    return plan;
}

static double run(AttunePlan *plan, void **data)
{
    AttuneError *error = NULL;
    const void *inputs[] = {data[4]};
    double start = now();
    need(attune_plan_launch(
             plan,
             &(AttunePlanData){.q = data[0], .k = data[1], .v = data[2], .o = data[3], .inputs = inputs},
             &error) == ATTUNE_OK,
         error);
    return now() - start;
}

static void fill(void *data, AttuneDtype dtype, int64_t count)
{
    uint32_t state = 7;
    for (int64_t n = 0; n < count; n++) {
        state = state * 1664525 + 1013904223;
        float value = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == ATTUNE_F32)
            ((float *)data)[n] = value;
        else
            ((uint16_t *)data)[n] = (uint16_t)(bits >> 16);
    }
}

typedef struct Case {
    const char *file, *input;
} Case;

/* As `attune explain`. */
static int64_t said(const Case *what, AttuneDtype dtype, int64_t width, int64_t chunk)
{
    Arena *arena = arena_create();
    Target target;
    LinearCost cost = {0, 0, 0};
    if (target_parse(diag_create(arena), "cpu", &target))
        cost = target_linear_cost(&target, dtype == ATTUNE_F32 ? ELEM_TYPE_F32 : ELEM_TYPE_BF16,
                                  what->input == NULL);
    cost.chunk = chunk;
    arena_destroy(arena);
    return factor_crossover(width, width, cost);
}

static void measure(const char *folder, const Case *what, AttuneDtype dtype, int64_t width, int rounds)
{
    char path[512];
    snprintf(path, sizeof path, "%s/linear/%s.attn", folder, what->file);
    AttuneKernel *kernels[2] = {make(path, "quadratic", dtype, width), make(path, "chunked", dtype, width)};
    AttuneKernelInfo info;
    attune_kernel_info(kernels[1], &info);
    void *data[5];
    for (int n = 0; n < 4; n++)
        data[n] = calloc(TOKENS * 2 * (size_t)width, sizeof(float));
    data[4] = calloc(TOKENS * 2, sizeof(float));
    for (int n = 0; n < 3; n++)
        fill(data[n], dtype, TOKENS * width);
    for (int n = 0; n < TOKENS; n++)
        ((float *)data[4])[n] = -0.01f;
    double best[2][LENGTHS];
    AttunePlan *plans[2][LENGTHS];
    for (int l = 0; l < LENGTHS; l++) {
        int64_t shape[4] = {1, TOKENS / lengths[l], lengths[l], width};
        for (int form = 0; form < 2; form++) {
            plans[form][l] = plan_of(kernels[form], dtype, shape, data, what->input);
            best[form][l] = INFINITY;
        }
    }
    for (int round = 0; round < rounds; round++)
        for (int l = 0; l < LENGTHS; l++)
            for (int form = 0; form < 2; form++)
                best[form][l] = fmin(best[form][l], run(plans[form][l], data));
    double crossing = 0;
    for (int l = LENGTHS - 1; l > 0 && crossing == 0; l--) {
        double before = log(best[1][l - 1] / best[0][l - 1]), after = log(best[1][l] / best[0][l]);
        if (before > 0 && after <= 0)
            crossing =
                exp(log((double)lengths[l - 1]) +
                    (log((double)lengths[l]) - log((double)lengths[l - 1])) * before / (before - after));
    }
    printf("| %s %s D=%lld ", what->file, attune_dtype_name(dtype), (long long)width);
    for (int l = 0; l < LENGTHS; l++)
        printf("| %.2f / %.2f ", best[0][l], best[1][l]);
    printf("| %.0f | %lld |\n", crossing, (long long)said(what, dtype, width, info.block_m[0]));
    fflush(stdout);
    for (int l = 0; l < LENGTHS; l++)
        for (int form = 0; form < 2; form++)
            attune_plan_destroy(plans[form][l]);
    for (int form = 0; form < 2; form++)
        attune_kernel_destroy(kernels[form]);
    for (int n = 0; n < 5; n++)
        free(data[n]);
}

int main(int argc, char **argv)
{
    static const Case cases[] = {{"linear_elu", NULL}, {"retention", "log_decay"}, {"ssd", "log_gate"}};
    const char *folder = "kernels";
    int rounds = 40;
    for (int n = 1; n + 1 < argc; n += 2) {
        if (strcmp(argv[n], "--rounds") == 0)
            rounds = atoi(argv[n + 1]);
        else if (strcmp(argv[n], "--kernels") == 0)
            folder = argv[n + 1];
    }
    AttuneError *error = NULL;
    context =
        attune_context_create(&(AttuneContextOptions){.threads = 1, .cache_mode = ATTUNE_CACHE_OFF}, &error);
    need(context != NULL, error);
    printf("%s, one thread, %d tokens and heads in all, fastest of %d rounds; ms, quadratic / chunked\n\n| "
           "case ",
           attune_build_info(), (int)TOKENS, rounds);
    for (int l = 0; l < LENGTHS; l++)
        printf("| T=%lld ", (long long)lengths[l]);
    printf("| they cross at | explain says |\n|---|");
    for (int l = 0; l < LENGTHS + 2; l++)
        printf("---|");
    printf("\n");
    for (int64_t width = 64; width <= 128; width *= 2)
        for (AttuneDtype dtype = ATTUNE_F32; dtype <= ATTUNE_BF16; dtype++)
            for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
                measure(folder, &cases[n], dtype, width, rounds);
    attune_context_destroy(context);
    return 0;
}
