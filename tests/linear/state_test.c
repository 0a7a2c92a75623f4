/* States from launch to launch, through the public interface: a sequence cut anywhere and continued gives what one launch
 * gives, in chunks, token by token and mixed; ragged batches too. And 100,000 tokens without drift, against a recurrence
 * in double. */
#include <CUnit/Basic.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/attune.h"
#include "tests/support/random.h"

enum { B = 2, H = 4, G = 2, D = 12, E = 20, MAX_INPUTS = 3 };

/* Inputs: g[b, h, t], c[b, h, t, d], doc[b, t]. */
typedef struct Variant {
    const char *name, *items;
    bool g, c, doc;
} Variant;
static const Variant variants[] = {
    {"plain", "mask j <= i score s * scale normalize none", false, false, false},
    {"sum", "feature q, k = max(x, 0.0) + 0.1 mask j <= i score s normalize sum", false, false, false},
    {"count", "mask j <= i score s * scale normalize count(0.5) output o * 2", false, false, false},
    {"positions", "mask j <= i feature q, k = x * cos(float(t) / 50.0) score s normalize none", false, false,
     false},
    {"seen", "input doc[b, t]: i32 mask j <= i and doc[j] % 3 != 0 score s normalize count", false, false,
     true},
    {"seen, sum",
     "input doc[b, t]: i32 feature q, k = max(x, 0.0) + 0.1 mask j <= i and doc[j] % 3 != 0 score s "
     "normalize sum(eps = 0.1)",
     false, false, true},
    {"head decay", "mask j <= i score s decay exp(-0.1 * float(h + 1)) normalize none", false, false, false},
    {"gates",
     "input g[b, h, t]: f32 feature q, k = max(x, 0.0) + 0.1 mask j <= i score s * scale decay sigmoid(2 + "
     "g[t]) normalize sum",
     true, false, false},
    {"channel gates", "input c[b, h, t, d]: f32 mask j <= i score s decay sigmoid(3 + c[t]) normalize none",
     false, true, false},
    {"gated delta",
     "input g[b, h, t]: f32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i score s "
     "decay delta(sigmoid(3 + g[t]), beta = 0.8) normalize none",
     true, false, false},
};
enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

static AttuneContext *context;

static void expect_ok(AttuneStatus status, AttuneError *error)
{
    if (status != ATTUNE_OK)
        fprintf(stderr, "\n%s\n", attune_error_message(error));
    CU_ASSERT_FATAL(status == ATTUNE_OK);
}

static AttuneKernel *make_kernel(const Variant *variant, const char *lowering, const char *target, int64_t d,
                                 int64_t e)
{
    char text[1024];
    AttuneError *error = NULL;
    int length = snprintf(text, sizeof text, "attention a { %s }", variant->items);
    AttuneSpec *spec = attune_spec_from_text(text, (size_t)length, NULL, &error);
    expect_ok(spec ? ATTUNE_OK : attune_error_status(error), error);
    bool segments = !strcmp(lowering, "segments");
    AttuneSetting settings[] = {
        {"lowering", segments ? "chunked" : lowering}, {"chunk", "16"}, {"segment", "32"}};
    AttuneKernelOptions options = {.target = target,
                                   .dtype = ATTUNE_F32,
                                   .d = d,
                                   .e = e,
                                   .settings = settings,
                                   .setting_count = segments ? 3 : 2};
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    expect_ok(kernel ? ATTUNE_OK : attune_error_status(error), error);
    attune_spec_destroy(spec);
    return kernel;
}

typedef struct Data {
    int64_t T;
    float *q, *k, *v, *g, *c, *o, *want;
    int32_t *doc;
} Data;

static float *normal(Random *random, int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t n = 0; n < count; n++)
        values[n] = (float)random_normal(random);
    return values;
}

static Data make_data(int64_t T, uint64_t seed)
{
    Random random = {seed};
    Data data = {.T = T,
                 .q = normal(&random, B * H * T * D),
                 .k = normal(&random, B * G * T * D),
                 .v = normal(&random, B * G * T * E),
                 .g = normal(&random, B * H * T),
                 .c = normal(&random, B * H * T * D)};
    data.o = malloc(sizeof(float) * (size_t)(B * H * T * E));
    data.want = malloc(sizeof(float) * (size_t)(B * H * T * E));
    data.doc = malloc(sizeof(int32_t) * (size_t)(B * T));
    for (int64_t n = 0; n < B * T; n++)
        data.doc[n] = (int32_t)random_between(&random, 0, 9);
    return data;
}

static void free_data(Data *data)
{
    float *all[] = {data->q, data->k, data->v, data->g, data->c, data->o, data->want};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        free(all[n]);
    free(data->doc);
}

/* Tokens [from, to) of all sequences, as views of the whole arrays. */
static AttuneStatus launch_part(AttuneKernel *kernel, const Variant *variant, const Data *data, float *o,
                                int64_t from, int64_t to, float *in, float *out, AttuneError **error)
{
    int64_t T = data->T, n = to - from;
    int64_t q_shape[] = {B, H, n, D}, k_shape[] = {B, G, n, D}, v_shape[] = {B, G, n, E},
            o_shape[] = {B, H, n, E};
    int64_t q_stride[] = {H * T * D, T * D, D, 1}, k_stride[] = {G * T * D, T * D, D, 1},
            v_stride[] = {G * T * E, T * E, E, 1};
    int64_t o_stride[] = {H * T * E, T * E, E, 1}, g_shape[] = {B, H, n}, g_stride[] = {H * T, T, 1},
            doc_shape[] = {B, n}, doc_stride[] = {T, 1};
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    int64_t s_shape[] = {B, H, info.state_rows, info.state_columns};
    AttuneNamedTensor inputs[MAX_INPUTS];
    int count = 0;
    if (variant->g)
        inputs[count++] = (AttuneNamedTensor){"g", {data->g + from, ATTUNE_F32, 3, g_shape, g_stride, {0}}};
    if (variant->c)
        inputs[count++] =
            (AttuneNamedTensor){"c", {data->c + from * D, ATTUNE_F32, 4, q_shape, q_stride, {0}}};
    if (variant->doc)
        inputs[count++] =
            (AttuneNamedTensor){"doc", {data->doc + from, ATTUNE_I32, 2, doc_shape, doc_stride, {0}}};
    AttuneLaunch launch = {.q = {data->q + from * D, ATTUNE_F32, 4, q_shape, q_stride, {0}},
                           .k = {data->k + from * D, ATTUNE_F32, 4, k_shape, k_stride, {0}},
                           .v = {data->v + from * E, ATTUNE_F32, 4, v_shape, v_stride, {0}},
                           .o = {o + from * E, ATTUNE_F32, 4, o_shape, o_stride, {0}},
                           .inputs = inputs,
                           .input_count = count,
                           .offset = in ? from : 0};
    if (in)
        launch.state_in = (AttuneTensor){in, ATTUNE_F32, 4, s_shape, NULL, {0}};
    if (out)
        launch.state_out = (AttuneTensor){out, ATTUNE_F32, 4, s_shape, NULL, {0}};
    return attune_kernel_launch(kernel, &launch, error);
}

static void compare(const Variant *variant, const char *how, const Data *data)
{
    double worst = 0, largest = 0;
    for (int64_t n = 0; n < B * H * data->T * E; n++) {
        double gap = fabs((double)data->o[n] - (double)data->want[n]);
        worst = gap > worst || isnan(gap) ? gap : worst;
        largest = fmax(largest, fabs((double)data->want[n]));
    }
    if (!(worst <= 2e-5 * largest))
        fprintf(stderr, "\n%s, %s: %g apart where values reach %g\n", variant->name, how, worst, largest);
    CU_ASSERT(worst <= 2e-5 * largest);
}

/* In random pieces; every other one by `second`. The state of one form is that of the other. */
static void run_cut(const Variant *variant, AttuneKernel *first, AttuneKernel *second, Data *data,
                    Random *random, const char *how)
{
    AttuneKernelInfo info;
    attune_kernel_info(first, &info);
    if (info.state_rows < D)
        fprintf(stderr, "\n%s: %s has no state\n", variant->name, how);
    CU_ASSERT_FATAL(info.state_rows >= D && info.state_columns >= E);
    CU_ASSERT(info.block_m[0] >= 1 && info.block_n[0] >= 1);
    float *state = malloc(sizeof(float) * (size_t)(B * H * info.state_rows * info.state_columns));
    AttuneError *error = NULL;
    memset(data->o, 0xff, sizeof(float) * (size_t)(B * H * data->T * E));
    int64_t from = 0;
    for (int piece = 0; from < data->T; piece++) {
        int64_t to = from + random_between(random, 1, piece % 3 ? 40 : 3);
        to = to > data->T ? data->T : to;
        expect_ok(launch_part(piece % 2 ? second : first, variant, data, data->o, from, to,
                              from ? state : NULL, state, &error),
                  error);
        from = to;
    }
    compare(variant, how, data);
    free(state);
}

static void test_cuts(void)
{
    Random random = {5};
    const char *const targets[] = {"interp", "cpu"};
    for (int n = 0; n < VARIANT_COUNT; n++)
        for (int t = 0; t < 1 + ATTUNE_HAVE_LLVM; t++) {
            Data data = make_data(t ? 203 : 67, (uint64_t)n + 1);
            AttuneError *error = NULL;
            AttuneKernel *chunked = make_kernel(&variants[n], "chunked", targets[t], D, E);
            AttuneKernel *recurrent = make_kernel(&variants[n], "recurrent", targets[t], D, E);
            expect_ok(launch_part(chunked, &variants[n], &data, data.want, 0, data.T, NULL, NULL, &error),
                      error);
            expect_ok(launch_part(recurrent, &variants[n], &data, data.o, 0, data.T, NULL, NULL, &error),
                      error);
            compare(&variants[n], "token by token", &data);
            run_cut(&variants[n], chunked, chunked, &data, &random, "chunks, cut");
            run_cut(&variants[n], recurrent, recurrent, &data, &random, "token by token, cut");
            run_cut(&variants[n], chunked, recurrent, &data, &random, "mixed, cut");
            if (!strstr(variants[n].items, "delta(")) {
                AttuneKernel *segments = make_kernel(&variants[n], "segments", targets[t], D, E);
                expect_ok(launch_part(segments, &variants[n], &data, data.o, 0, data.T, NULL, NULL, &error),
                          error);
                compare(&variants[n], "segments", &data);
                run_cut(&variants[n], segments, chunked, &data, &random, "segments, cut");
                attune_kernel_destroy(segments);
            }
            attune_kernel_destroy(chunked);
            attune_kernel_destroy(recurrent);
            free_data(&data);
        }
}

/* Packed sequences of several lengths, each with a state of its own, cut at another place each. */
static void test_ragged(void)
{
    enum { SEQUENCES = 3, TOTAL = 90 };
    static const int32_t lengths[SEQUENCES] = {50, 7, 33}, cuts[SEQUENCES] = {21, 0, 32};
    Random random = {9};
    float *q = normal(&random, H * TOTAL * D), *k = normal(&random, G * TOTAL * D),
          *v = normal(&random, G * TOTAL * E), *g = normal(&random, H * TOTAL);
    float *o = calloc(H * TOTAL * E, sizeof *o), *want = calloc(H * TOTAL * E, sizeof *want);
    Variant variant = {"gates",
                       "input g[b, h, t]: f32 mask j <= i score s decay sigmoid(2 + g[t]) normalize none",
                       true, false, false};
    AttuneKernel *kernel = make_kernel(&variant, "chunked", ATTUNE_HAVE_LLVM ? "cpu" : "interp", D, E);
    AttuneKernelInfo info;
    attune_kernel_info(kernel, &info);
    int64_t s_shape[] = {SEQUENCES, H, info.state_rows, info.state_columns};
    float *state = calloc((size_t)(SEQUENCES * H * info.state_rows * info.state_columns), sizeof *state);
    /* 0: whole; 1: what is before the cuts; 2: what is after. Rows are gathered, as [heads, total, width]. */
    for (int part = 0; part < 3; part++) {
        int32_t cu[SEQUENCES + 1] = {0}, from[SEQUENCES], total = 0;
        for (int s = 0; s < SEQUENCES; s++) {
            from[s] = part == 2 ? cuts[s] : 0;
            total += (part == 1 ? cuts[s] : lengths[s]) - from[s];
            cu[s + 1] = total;
        }
        float *part_q = malloc(sizeof *q * (size_t)(H * total * D)),
              *part_k = malloc(sizeof *q * (size_t)(G * total * D));
        float *part_v = malloc(sizeof *q * (size_t)(G * total * E)),
              *part_g = malloc(sizeof *q * (size_t)(H * total));
        float *part_o = malloc(sizeof *q * (size_t)(H * total * E));
        int32_t start[SEQUENCES] = {0, lengths[0], lengths[0] + lengths[1]};
        for (int s = 0; s < SEQUENCES; s++)
            for (int32_t r = cu[s]; r < cu[s + 1]; r++) {
                int64_t at = start[s] + from[s] + r - cu[s];
                for (int64_t h = 0; h < H; h++) {
                    memcpy(part_q + (h * total + r) * D, q + (h * TOTAL + at) * D, D * sizeof *q);
                    part_g[h * total + r] = g[h * TOTAL + at];
                }
                for (int64_t h = 0; h < G; h++) {
                    memcpy(part_k + (h * total + r) * D, k + (h * TOTAL + at) * D, D * sizeof *q);
                    memcpy(part_v + (h * total + r) * E, v + (h * TOTAL + at) * E, E * sizeof *q);
                }
            }
        int64_t q_shape[] = {H, total, D}, k_shape[] = {G, total, D}, v_shape[] = {G, total, E},
                o_shape[] = {H, total, E}, g_shape[] = {1, H, total};
        AttuneNamedTensor input = {"g", {part_g, ATTUNE_F32, 3, g_shape, NULL, {0}}};
        AttuneLaunch launch = {.q = {part_q, ATTUNE_F32, 3, q_shape, NULL, {0}},
                               .k = {part_k, ATTUNE_F32, 3, k_shape, NULL, {0}},
                               .v = {part_v, ATTUNE_F32, 3, v_shape, NULL, {0}},
                               .o = {part_o, ATTUNE_F32, 3, o_shape, NULL, {0}},
                               .inputs = &input,
                               .input_count = 1,
                               .cu_seqlens_q = cu,
                               .cu_seqlens_k = cu,
                               .sequences = SEQUENCES};
        /* Positions do not matter to this spec, so that every sequence may continue at offset 0. */
        if (part == 2)
            launch.state_in = (AttuneTensor){state, ATTUNE_F32, 4, s_shape, NULL, {0}};
        if (part == 1)
            launch.state_out = (AttuneTensor){state, ATTUNE_F32, 4, s_shape, NULL, {0}};
        AttuneError *error = NULL;
        expect_ok(attune_kernel_launch(kernel, &launch, &error), error);
        for (int s = 0; s < SEQUENCES; s++)
            for (int32_t r = cu[s]; r < cu[s + 1]; r++)
                for (int64_t h = 0; h < H; h++)
                    memcpy((part ? o : want) + (h * TOTAL + start[s] + from[s] + r - cu[s]) * E,
                           part_o + (h * total + r) * E, E * sizeof *o);
        free(part_q), free(part_k), free(part_v), free(part_g), free(part_o);
    }
    for (int n = 0; n < H * TOTAL * E; n++)
        CU_ASSERT(fabsf(o[n] - want[n]) <= 1e-4f);
    attune_kernel_destroy(kernel);
    free(q), free(k), free(v), free(g), free(o), free(want), free(state);
}

/* What is refused, with what message. */
static void test_refusals(void)
{
    Data data = make_data(16, 3);
    AttuneError *error = NULL;
    Variant look_back = {"look back", "mask j <= i feature k = x + shift(x, 1) score s normalize none", false,
                         false, false};
    AttuneKernel *without = make_kernel(&look_back, "chunked", "interp", D, E);
    AttuneKernelInfo info;
    attune_kernel_info(without, &info);
    CU_ASSERT(info.state_rows == 0 && info.state_columns == 0);
    float *state = calloc(B * H * D * E, sizeof *state);
    CU_ASSERT(launch_part(without, &look_back, &data, data.o, 0, 16, NULL, state, &error) ==
              ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT(strstr(attune_error_message(error), "no state") != NULL);
    attune_error_free(error);
    attune_kernel_destroy(without);

    AttuneKernel *kernel = make_kernel(&variants[0], "chunked", "interp", D, E);
    attune_kernel_info(kernel, &info);
    CU_ASSERT(info.state_rows == D && info.state_columns == E);
    int64_t shape[] = {B, H, 16, D}, k_shape[] = {B, G, 16, D}, v_shape[] = {B, G, 16, E},
            o_shape[] = {B, H, 16, E}, wrong[] = {B, H, E, D};
    AttuneLaunch launch = {.q = {data.q, ATTUNE_F32, 4, shape, NULL, {0}},
                           .k = {data.k, ATTUNE_F32, 4, k_shape, NULL, {0}},
                           .v = {data.v, ATTUNE_F32, 4, v_shape, NULL, {0}},
                           .o = {data.o, ATTUNE_F32, 4, o_shape, NULL, {0}},
                           .state_in = {state, ATTUNE_F32, 4, wrong, NULL, {0}}};
    error = NULL;
    CU_ASSERT(attune_kernel_launch(kernel, &launch, &error) == ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT(strstr(attune_error_message(error), "must be [2, 4, 12, 20]") != NULL);
    attune_error_free(error);
    launch.state_in.shape = (int64_t[]){B, H, D, E};
    launch.align = ATTUNE_ALIGN_BOTTOM_RIGHT;
    error = NULL;
    CU_ASSERT(attune_kernel_launch(kernel, &launch, &error) == ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT(strstr(attune_error_message(error), "bottom-right") != NULL);
    attune_error_free(error);
    launch.align = ATTUNE_ALIGN_OFFSET;
    launch.state_out = launch.state_in;
    launch.state_out.data = state + 1; /* overlaps, but is not the same */
    error = NULL;
    CU_ASSERT(attune_kernel_launch(kernel, &launch, &error) == ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT(strstr(attune_error_message(error), "overlaps") != NULL);
    attune_error_free(error);
    attune_kernel_destroy(kernel);
    free(state);
    free_data(&data);
}

/* 100,000 tokens ---------------------------------------------------------------------------------------------- */

/* Relative root mean square against the recurrence in double, over the last tokens; the bound is that of a short run. */
static void test_length(void)
{
    enum { T = 100000, W = 16, LAST = 512 };
    static const Variant lengths[] = {
        {"gates near 1", "input g[b, h, t]: f32 mask j <= i score s * scale decay exp(g[t]) normalize none",
         true, false, false},
        {"delta",
         "input g[b, h, t]: f32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i score s decay "
         "delta(exp(g[t]), beta = 0.5) normalize none",
         true, false, false},
    };
    Random random = {77};
    float *q = normal(&random, T * W), *k = normal(&random, T * W), *v = normal(&random, T * W),
          *g = normal(&random, T);
    float *o = malloc(sizeof *o * T * W);
    for (int64_t t = 0; t < T; t++)
        g[t] = t % 5000 == 4999 ? -30.0f
                                : -1e-4f * fabsf(g[t]); /* from 0.9999 to a gate that forgets everything */
    for (int variant = 0; variant < 2; variant++) {
        AttuneKernel *kernel =
            make_kernel(&lengths[variant], "chunked", ATTUNE_HAVE_LLVM ? "cpu" : "interp", W, W);
        int64_t shape[] = {1, 1, T, W}, g_shape[] = {1, 1, T};
        AttuneNamedTensor input = {"g", {g, ATTUNE_F32, 3, g_shape, NULL, {0}}};
        AttuneLaunch launch = {.q = {q, ATTUNE_F32, 4, shape, NULL, {0}},
                               .k = {k, ATTUNE_F32, 4, shape, NULL, {0}},
                               .v = {v, ATTUNE_F32, 4, shape, NULL, {0}},
                               .o = {o, ATTUNE_F32, 4, shape, NULL, {0}},
                               .inputs = &input,
                               .input_count = 1};
        AttuneError *error = NULL;
        expect_ok(attune_kernel_launch(kernel, &launch, &error), error);
        double S[W][W] = {{0}}, early = 0, early_size = 0, late = 0, late_size = 0;
        for (int64_t t = 0; t < T; t++) {
            const float *kt = k + t * W, *qt = q + t * W, *vt = v + t * W;
            double norm_k = 1e-6, norm_q = 1e-6, u[W], out[W] = {0}, decay = exp((double)g[t]);
            for (int d = 0; d < W; d++) {
                norm_k += (double)kt[d] * (double)kt[d];
                norm_q += (double)qt[d] * (double)qt[d];
            }
            double scale_k = variant ? 1 / sqrt(norm_k) : 1, scale_q = variant ? 1 / sqrt(norm_q) : 0.25;
            for (int e = 0; e < W; e++) {
                double read = 0;
                for (int d = 0; d < W; d++)
                    read += S[d][e] * decay * (double)kt[d] * scale_k;
                u[e] = variant ? 0.5 * ((double)vt[e] - read) : (double)vt[e];
            }
            for (int d = 0; d < W; d++)
                for (int e = 0; e < W; e++) {
                    S[d][e] = S[d][e] * decay + (double)kt[d] * scale_k * u[e];
                    out[e] += S[d][e] * (double)qt[d] * scale_q;
                }
            for (int e = 0; e < W; e++) {
                double gap = (double)o[t * W + e] - out[e];
                if (t < 4096)
                    early += gap * gap, early_size += out[e] * out[e];
                if (t >= T - LAST)
                    late += gap * gap, late_size += out[e] * out[e];
            }
        }
        double first = sqrt(early / early_size), last = sqrt(late / late_size);
        if (!(last <= 2e-6 && first <= 2e-6))
            fprintf(stderr, "\n%s: relative rms %g at the start, %g at the end\n", lengths[variant].name,
                    first, last);
        CU_ASSERT(first <= 2e-6);
        CU_ASSERT(last <= 2e-6);
        attune_kernel_destroy(kernel);
    }
    free(q), free(k), free(v), free(g), free(o);
}

int main(void)
{
    AttuneError *error = NULL;
    AttuneContextOptions options = {.threads = 2, .cache_mode = ATTUNE_CACHE_OFF};
    context = attune_context_create(&options, &error);
    if (!context)
        return 2;
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("states", NULL, NULL);
    CU_add_test(suite, "cut anywhere", test_cuts);
    CU_add_test(suite, "ragged", test_ragged);
    CU_add_test(suite, "refusals", test_refusals);
    CU_add_test(suite, "100,000 tokens", test_length);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    attune_context_destroy(context);
    return failures != 0;
}
