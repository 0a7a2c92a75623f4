/* Contexts, specs, errors, element types, DLPack: everything of the public API but kernels. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

/* Errors and names -------------------------------------------------------------------------------------- */

static void test_names(void)
{
    for (int s = ATTUNE_OK; s < ATTUNE_STATUS_COUNT; s++) {
        CU_ASSERT_STRING_NOT_EQUAL(attune_status_name((AttuneStatus)s), "unknown");
        for (int t = 0; t < s; t++)
            CU_ASSERT_STRING_NOT_EQUAL(attune_status_name((AttuneStatus)s),
                                       attune_status_name((AttuneStatus)t));
    }
    CU_ASSERT_STRING_EQUAL(attune_status_name(ATTUNE_STATUS_COUNT), "unknown");
    CU_ASSERT_STRING_EQUAL(attune_status_name((AttuneStatus)-1), "unknown");
    CU_ASSERT_EQUAL(attune_version(),
                    ATTUNE_VERSION_MAJOR * 10000 + ATTUNE_VERSION_MINOR * 100 + ATTUNE_VERSION_PATCH);
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", ATTUNE_VERSION_MAJOR, ATTUNE_VERSION_MINOR, ATTUNE_VERSION_PATCH);
    CU_ASSERT_STRING_EQUAL(attune_version_string(), text);
    CHECK_CONTAINS(attune_build_info(), "attune");
    CU_ASSERT_EQUAL(attune_error_status(NULL), ATTUNE_OK);
    CU_ASSERT_STRING_EQUAL(attune_error_message(NULL), "");
    CU_ASSERT_PTR_NULL(attune_error_json(NULL));
    attune_error_free(NULL);
}

static void test_dtypes(void)
{
    static const struct {
        const char *name;
        AttuneDtype dtype;
        int64_t size;
    } rows[] = {
        {"f32", ATTUNE_F32, 4},     {"fp32", ATTUNE_F32, 4},       {"Float32", ATTUNE_F32, 4},
        {"bf16", ATTUNE_BF16, 2},   {"bfloat16", ATTUNE_BF16, 2},  {"f16", ATTUNE_F16, 2},
        {"half", ATTUNE_F16, 2},    {"float16", ATTUNE_F16, 2},    {"i32", ATTUNE_I32, 4},
        {"int32", ATTUNE_I32, 4},   {"i64", ATTUNE_I64, 8},        {"int64", ATTUNE_I64, 8},
        {"bool", ATTUNE_BOOL, 1},   {"f64", ATTUNE_DTYPE_NONE, 0}, {"none", ATTUNE_DTYPE_NONE, 0},
        {"", ATTUNE_DTYPE_NONE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CU_ASSERT_EQUAL(attune_dtype_parse(rows[i].name), rows[i].dtype);
        CU_ASSERT_EQUAL(attune_dtype_size(rows[i].dtype), rows[i].size);
        CU_ASSERT_EQUAL(attune_dtype_parse(attune_dtype_name(rows[i].dtype)), rows[i].dtype);
    }
    CU_ASSERT_EQUAL(attune_dtype_parse(NULL), ATTUNE_DTYPE_NONE);
    CU_ASSERT_STRING_EQUAL(attune_dtype_name((AttuneDtype)99), "none");
    CU_ASSERT_EQUAL(attune_dtype_size((AttuneDtype)99), 0);
}

/* DLPack: structs as another library would declare them ------------------------------------------------- */

typedef struct { int32_t type, id; } DlDevice;
typedef struct { uint8_t code, bits; uint16_t lanes; } DlType;
typedef struct {
    void *data;
    DlDevice device;
    int32_t ndim;
    DlType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DlTensor;
typedef struct DlManaged {
    uint32_t major, minor;
    void *context;
    void (*deleter)(struct DlManaged *);
    uint64_t flags;
    DlTensor tensor;
} DlManaged;

static void test_dlpack(void)
{
    float data[24];
    int64_t shape[] = {2, 3, 4}, strides[] = {12, 4, 1};
    DlManaged m = {1, 2, NULL, NULL, 0, {data, {1, 0}, 3, {2, 32, 1}, shape, strides, 8}};
    AttuneTensor t;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack_versioned(&m, &t, NULL), ATTUNE_OK);
    CU_ASSERT_PTR_EQUAL(t.data, data + 2);
    CU_ASSERT_EQUAL(t.dtype, ATTUNE_F32);
    CU_ASSERT_EQUAL(t.ndim, 3);
    CU_ASSERT_PTR_EQUAL(t.shape, shape);
    CU_ASSERT_PTR_EQUAL(t.strides, strides);
    CU_ASSERT_EQUAL(t.device.kind, ATTUNE_DEVICE_HOST);
    static const struct {
        DlType type;
        AttuneDtype dtype;
    } types[] = {{{2, 16, 1}, ATTUNE_F16},       {{4, 16, 1}, ATTUNE_BF16}, {{0, 32, 1}, ATTUNE_I32},
                 {{0, 64, 1}, ATTUNE_I64},       {{6, 8, 1}, ATTUNE_BOOL},  {{2, 64, 1}, ATTUNE_DTYPE_NONE},
                 {{1, 32, 1}, ATTUNE_DTYPE_NONE}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        AttuneError *error = NULL;
        m.tensor.dtype = types[i].type;
        bool known = types[i].dtype != ATTUNE_DTYPE_NONE;
        CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, &error),
                        known ? ATTUNE_OK : ATTUNE_ERROR_ARGUMENT);
        if (known) {
            CU_ASSERT_EQUAL(t.dtype, types[i].dtype);
        } else {
            CHECK_CONTAINS(attune_error_message(error), "is none of f32");
        }
        attune_error_free(error);
    }
    m.tensor.dtype = (DlType){2, 32, 4};
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "4 lanes");
    attune_error_free(error);
    m.tensor.dtype.lanes = 1;
    m.tensor.device = (DlDevice){2, 3};
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(t.device.kind, ATTUNE_DEVICE_CUDA);
    CU_ASSERT_EQUAL(t.device.index, 3);
    m.tensor.device.type = 10;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "device type 10");
    attune_error_free(error);
    m.tensor.device.type = 1;
    m.tensor.ndim = 7;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "7 dimensions");
    attune_error_free(error);
    m.tensor.ndim = 3;
    m.major = 2;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack_versioned(&m, &t, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "DLPack 2.2");
    attune_error_free(error);
    m.tensor.data = NULL;
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, &t, NULL), ATTUNE_OK);
    CU_ASSERT_PTR_NULL(t.data);
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(NULL, &t, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack(&m.tensor, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_tensor_from_dlpack_versioned(NULL, &t, NULL), ATTUNE_ERROR_ARGUMENT);
}

/* Contexts ---------------------------------------------------------------------------------------------- */

typedef struct Environment {
    const char *cache_dir, *xdg, *home, *mode, *threads;
} Environment;

static void set(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void apply(const Environment *e)
{
    set("ATTUNE_CACHE_DIR", e->cache_dir);
    set("XDG_CACHE_HOME", e->xdg);
    set("HOME", e->home);
    set("ATTUNE_CACHE", e->mode);
    set("ATTUNE_THREADS", e->threads);
}

static void test_cache_directories(void)
{
    static const struct {
        Environment environment;
        const char *explicit_dir, *dir;
    } rows[] = {
        {{"/c", "/x", "/h", NULL, NULL}, "/e", "/e"},
        {{"/c", "/x", "/h", NULL, NULL}, NULL, "/c"},
        {{NULL, "/x", "/h", NULL, NULL}, NULL, "/x/attune"},
        {{"", "/x", "/h", NULL, NULL}, NULL, "/x/attune"},
        {{NULL, "x", "/h", NULL, NULL}, NULL, "/h/.cache/attune"},
        {{NULL, NULL, "/h", NULL, NULL}, NULL, "/h/.cache/attune"},
        {{NULL, NULL, NULL, NULL, NULL}, NULL, NULL},
        {{NULL, NULL, "h", NULL, NULL}, NULL, NULL},
        {{"/c", NULL, "/h", "off", NULL}, NULL, NULL},
        {{"/c", NULL, "/h", "read-only", NULL}, NULL, "/c"},
        {{"/c", NULL, "/h", "on", NULL}, NULL, "/c"},
    };
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        apply(&rows[i].environment);
        AttuneContext *context = attune_context_create(
            &(AttuneContextOptions){.threads = 1, .cache_dir = rows[i].explicit_dir}, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(context);
        const char *dir = attune_cache_dir(context);
        CU_ASSERT_EQUAL(dir != NULL, rows[i].dir != NULL);
        if (dir && rows[i].dir)
            CU_ASSERT_STRING_EQUAL(dir, rows[i].dir);
        attune_context_destroy(context);
    }
    apply(&(Environment){.home = home});
    free(home);
    CU_ASSERT_PTR_NULL(attune_cache_dir(NULL));
}

static void test_context_options(void)
{
    static const struct {
        AttuneContextOptions options;
        const char *threads, *mode, *says;
    } rows[] = {
        {{.threads = -1}, NULL, NULL, "threads is -1; 1 to 4096"},
        {{.threads = 5000}, NULL, NULL, "threads is 5000"},
        {{.threads = 0}, "many", NULL, "ATTUNE_THREADS is 'many', not a number"},
        {{.threads = 0}, "-3", NULL, "ATTUNE_THREADS is -3"},
        {{.cache_mode = (AttuneCacheMode)9}, NULL, NULL, "cache_mode is 9"},
        {{.threads = 1}, NULL, "sometimes", "ATTUNE_CACHE is 'sometimes'"},
        {{.cache_limit_bytes = -1}, NULL, NULL, "cache_limit_bytes is negative"},
        {{.cache_read_dir_count = -1}, NULL, NULL, "cache_read_dir_count is negative"},
        {{.cache_read_dir_count = 1}, NULL, NULL, "cache_read_dirs[0] is NULL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        set("ATTUNE_THREADS", rows[i].threads);
        set("ATTUNE_CACHE", rows[i].mode);
        CU_ASSERT_PTR_NULL(attune_context_create(&rows[i].options, &error));
        CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_ARGUMENT);
        CHECK_CONTAINS(attune_error_message(error), rows[i].says);
        attune_error_free(error);
    }
    set("ATTUNE_CACHE", NULL);
    set("ATTUNE_THREADS", "3");
    AttuneContext *context = attune_context_create(NULL, NULL);
    CU_ASSERT_EQUAL(attune_context_threads(context), 3);
    attune_context_destroy(context);
    context = attune_context_create(&(AttuneContextOptions){.threads = 2},
                                    NULL); /* the option before the variable */
    CU_ASSERT_EQUAL(attune_context_threads(context), 2);
    attune_context_destroy(context);
    set("ATTUNE_THREADS", NULL);
    attune_context_destroy(NULL);
    const char *dirs[] = {"/a", "/b"};
    context = attune_context_create(
        &(AttuneContextOptions){.threads = 1, .cache_read_dirs = dirs, .cache_read_dir_count = 2}, NULL);
    CU_ASSERT_PTR_NOT_NULL(context);
    attune_context_destroy(context);
}

/* Specs ------------------------------------------------------------------------------------------------- */

static const char rich[] =
    "attention rich over (y, x) {\n"
    "    param window: int = 3\n"
    "    param cap: float = 30\n"
    "    param const kernel: int2 = (7, 5)\n"
    "    learned input slope[h]: f32\n"
    "    input doc[b, t]: i32\n"
    "    input table[2 * window + 1]: f32\n"
    "    mask abs(i.y - j.y) <= window and doc[i] == doc[j] and abs(i.x - j.x) < kernel.x + kernel.y\n"
    "    score cap * tanh(s * scale / cap) - slope[h] + table[abs(i.y - j.y)]\n"
    "    return lse\n"
    "}\n";

static AttuneSpec *open_text(const char *text, const AttuneSpecOptions *options, AttuneError **error)
{
    return attune_spec_from_text(text, strlen(text), options, error);
}

static const AttuneParamInfo *param_named(const AttuneSpecInfo *info, const char *name)
{
    for (int i = 0; i < info->param_count; i++)
        if (strcmp(info->params[i].value.name, name) == 0)
            return &info->params[i];
    return NULL;
}

static void test_spec_info(void)
{
    AttuneError *error = NULL;
    AttuneSpec *spec = open_text(rich, NULL, &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
    AttuneSpecInfo info;
    attune_spec_info(spec, &info);
    CU_ASSERT_STRING_EQUAL(info.name, "rich");
    CU_ASSERT_EQUAL(info.rank, 2);
    CU_ASSERT_STRING_EQUAL(info.axis_names[0], "y");
    CU_ASSERT_STRING_EQUAL(info.axis_names[1], "x");
    CU_ASSERT_EQUAL_FATAL(info.input_count, 3);
    CU_ASSERT_STRING_EQUAL(info.inputs[0].name, "slope");
    CU_ASSERT_TRUE(info.inputs[0].learned);
    CU_ASSERT_EQUAL(info.inputs[0].dims[0].kind, ATTUNE_DIM_H);
    CU_ASSERT_STRING_EQUAL(info.inputs[1].name, "doc");
    CU_ASSERT_EQUAL(info.inputs[1].dtype, ATTUNE_I32);
    CU_ASSERT_FALSE(info.inputs[1].learned);
    CU_ASSERT_EQUAL(info.inputs[1].ndim, 2);
    CU_ASSERT_EQUAL(info.inputs[1].dims[1].kind, ATTUNE_DIM_T);
    CU_ASSERT_EQUAL(info.inputs[2].dims[0].kind, ATTUNE_DIM_EXTENT);
    CU_ASSERT_EQUAL(info.param_count, 4);
    const AttuneParamInfo *window = param_named(&info, "window"), *cap = param_named(&info, "cap"),
                          *y = param_named(&info, "kernel.y");
    CU_ASSERT_TRUE_FATAL(window && cap && y);
    CU_ASSERT_TRUE(window->value.type == ATTUNE_PARAM_INT && window->value.i == 3 && window->has_default &&
                   !window->constant);
    CU_ASSERT_TRUE(cap->value.type == ATTUNE_PARAM_FLOAT && cap->value.f == 30);
    CU_ASSERT_TRUE(y->constant && y->value.i == 7);
    CU_ASSERT_EQUAL(info.return_count, 1);
    CU_ASSERT_STRING_EQUAL(info.returns[0], "lse");
    CU_ASSERT_EQUAL(strlen(info.digest), 64);
    int64_t shape[ATTUNE_MAX_DIMS];
    AttuneSizes sizes = {.b = 2, .h = 3, .g = 1, .m = 20, .n = 20, .d = 8, .e = 8, .m_axis = {4, 5}};
    CU_ASSERT_EQUAL(attune_spec_input_shape(spec, 2, &sizes, NULL, 0, shape, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(shape[0], 7);
    const AttuneParam wide[] = {attune_param_int("window", 10)};
    CU_ASSERT_EQUAL(attune_spec_input_shape(spec, 2, &sizes, wide, 1, shape, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(shape[0], 21);
    CU_ASSERT_EQUAL(attune_spec_input_shape(spec, 1, &sizes, NULL, 0, shape, NULL), ATTUNE_OK);
    CU_ASSERT_TRUE(shape[0] == 2 && shape[1] == 20);
    attune_spec_destroy(spec);
    attune_spec_destroy(NULL);
}

/* What extents come to: a = 7, low = -3, frac = 2.5, on = true, N = 12, D = 16. -1: an error. */
static void test_extents(void)
{
    static const struct {
        const char *extent;
        int64_t want;
    } rows[] = {
        {"a + low", 4},
        {"a - low", 10},
        {"a * a", 49},
        {"N / low + 9", 5},
        {"a / 2", 3},
        {"-a / 2 + 10", 6},
        {"-a % 4", 1},
        {"a % 4", 3},
        {"-low", 3},
        {"abs(low)", 3},
        {"min(a, N)", 7},
        {"max(a, N)", 12},
        {"a ^ 2", 49},
        {"low ^ 3 + 30", 3},
        {"sign(low) + 5", 4},
        {"if a < low then 1 else 2", 2},
        {"if a >= 7 and on then 5 else 2", 5},
        {"if a == 7 or low == 9 then 5 else 2", 5},
        {"if not on then 1 else 3", 3},
        {"if a != 7 then 1 else 4", 4},
        {"int(frac * 4)", 10},
        {"int(floor(frac))", 2},
        {"int(sqrt(float(D)))", 4},
        {"int(frac + 0.5)", 3},
        {"int(frac - 0.5)", 2},
        {"int(float(a) / frac)", 2},
        {"int(min(frac, 1.5))", 1},
        {"int(max(frac, 3.5))", 3},
        {"int(on) + 1", 2},
        {"H * G * B + M + E", 2 * 1 * 3 + 5 + 8},
        {"a - 8", -1},
        {"a ^ 60", -1},
        {"N - N", 0},
        {"a / (low + 3)", 0},
        {"a % (low + 3)", 0},
    };
    const AttuneSizes sizes = {.b = 3, .h = 2, .g = 1, .m = 5, .n = 12, .d = 16, .e = 8};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "attention t { param a: int = 7 param low: int = -3 param frac: float = 2.5 param on: bool "
                 "= true\n"
                 "input table[%s]: f32\nmask on and a > low\nscore s * frac + table[0] }",
                 rows[i].extent);
        AttuneError *error = NULL;
        AttuneSpec *spec = open_text(text, NULL, &error);
        int64_t shape[ATTUNE_MAX_DIMS] = {-2};
        if (!spec)
            printf("\n%s\n", attune_error_message(error));
        CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
        AttuneStatus status = attune_spec_input_shape(spec, 0, &sizes, NULL, 0, shape, &error);
        CU_ASSERT_EQUAL(status, rows[i].want < 0 ? ATTUNE_ERROR_ARGUMENT : ATTUNE_OK);
        if (status == ATTUNE_OK && shape[0] != rows[i].want)
            printf("\n%s is %lld\n", rows[i].extent, (long long)shape[0]);
        CU_ASSERT_TRUE(status != ATTUNE_OK || shape[0] == rows[i].want);
        attune_error_free(error);
        attune_spec_destroy(spec);
    }
    AttuneError *error = NULL;
    CU_ASSERT_PTR_NULL(open_text(
        "attention t { param a: int = 7 input t[int(exp(float(a)))]: f32 score s + t[0] }", NULL, &error));
    CHECK_CONTAINS(attune_error_message(error), "is more than a launch can compute");
    attune_error_free(error);
}

/* Free extents are part of a kernel, whatever names them. */
static void test_free_extents(void)
{
    static const char text[] = "attention t { input w[h, r]: f32  input z[r]: f32  score s + sum(w[h] * z) }";
    const AttuneSizes sizes = {.b = 1, .h = 3, .g = 3, .m = 4, .n = 4, .d = 8, .e = 8};
    const AttuneParam five[] = {attune_param_int("r", 5)};
    AttuneError *error = NULL;
    AttuneSpec *spec = open_text(text, NULL, &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
    AttuneSpecInfo info;
    attune_spec_info(spec, &info);
    CU_ASSERT_EQUAL(info.param_count, 0); /* not a param to give at launch */
    CU_ASSERT_EQUAL(info.inputs[0].dims[1].kind, ATTUNE_DIM_FREE);
    CU_ASSERT_STRING_EQUAL(info.inputs[0].dims[1].name, "r");
    int64_t shape[ATTUNE_MAX_DIMS];
    CU_ASSERT_EQUAL(attune_spec_input_shape(spec, 0, &sizes, five, 1, shape, NULL), ATTUNE_OK);
    CU_ASSERT_TRUE(shape[0] == 3 && shape[1] == 5);
    CU_ASSERT_EQUAL(attune_spec_input_shape(spec, 1, &sizes, NULL, 0, shape, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(shape[0], 1);
    AttuneContext *context = attune_context_create(
        &(AttuneContextOptions){.threads = 1, .cache_mode = ATTUNE_CACHE_OFF}, NULL);
    CU_ASSERT_PTR_NULL(
        attune_kernel_create(context, spec, &(AttuneKernelOptions){.target = "interp", .d = 8}, &error));
    CHECK_CONTAINS(attune_error_message(error), "'r'");
    attune_error_free(error);
    error = NULL;
    const AttuneSetting setting[] = {{"r", "5"}};
    AttuneKernel *kernel = attune_kernel_create(
        context, spec,
        &(AttuneKernelOptions){.target = "interp", .d = 8, .settings = setting, .setting_count = 1}, &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
    float q[3 * 4 * 8] = {0}, o[3 * 4 * 8], w[3 * 6] = {0}, z[6] = {0};
    int64_t q_shape[] = {1, 3, 4, 8}, w_shape[] = {3, 5}, z_shape[] = {5};
    AttuneTensor t = {.data = q, .dtype = ATTUNE_F32, .ndim = 4, .shape = q_shape};
    AttuneNamedTensor inputs[] = {{"z", {.data = z, .dtype = ATTUNE_F32, .ndim = 1, .shape = z_shape}},
                                  {"w", {.data = w, .dtype = ATTUNE_F32, .ndim = 2, .shape = w_shape}}};
    AttuneLaunch launch = {.q = t, .k = t, .v = t, .o = t, .inputs = inputs, .input_count = 2};
    launch.o.data = o;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &launch, &error), ATTUNE_OK);
    w_shape[1] = z_shape[0] = 6;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &launch, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error),
                   "extent 'r' is 6, but must be 5 (what the kernel was created for, see its settings)");
    attune_error_free(error);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    attune_spec_destroy(spec);
}

/* Equal mathematics, equal digest; settings are part of it where they shape the code. */
static void test_digests(void)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"attention a { mask j <= i }", "attention b { // the same\n mask j<=i }", true},
        {"attention a { mask j <= i }", "attention a { mask j < i }", false},
        {"attention a { param w: int = 3 mask i - j < w }", "attention a { param v: int = 3 mask i - j < v }",
         true},
        {"attention a { param const w: int = 3 mask i - j < w }",
         "attention a { param const w: int = 4 mask i - j < w }", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneSpec *a = open_text(rows[i].a, NULL, NULL), *b = open_text(rows[i].b, NULL, NULL);
        CU_ASSERT_TRUE_FATAL(a && b);
        AttuneSpecInfo x, y;
        attune_spec_info(a, &x);
        attune_spec_info(b, &y);
        CU_ASSERT_EQUAL(strcmp(x.digest, y.digest) == 0, rows[i].same);
        attune_spec_destroy(a);
        attune_spec_destroy(b);
    }
}

static void test_spec_errors(void)
{
    static const struct {
        const char *text, *says, *then;
    } rows[] = {
        {"attention a { mask jj <= i }", "bad.attn:1:20: error:", "^"},
        {"attention a {", "error:", ""},
        {"", "error:", ""},
        {"attention a { } attention b { }", "error:", ""},
        {"import \"gone\"\nattention a { }", "cannot import \"gone\"", "bad.attn:1:8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        CU_ASSERT_PTR_NULL(open_text(rows[i].text, &(AttuneSpecOptions){.source_name = "bad.attn"}, &error));
        CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_SPEC);
        CHECK_CONTAINS(attune_error_message(error), rows[i].says);
        CHECK_CONTAINS(attune_error_message(error), rows[i].then);
        CU_ASSERT_PTR_NOT_NULL_FATAL(attune_error_json(error));
        CU_ASSERT_EQUAL(attune_error_json(error)[0], '[');
        attune_error_free(error);
    }
    AttuneError *error = NULL;
    const AttuneSetting unknown[] = {{"windoww", "3"}}, empty[] = {{"window", NULL}};
    CU_ASSERT_PTR_NULL(
        open_text(rich, &(AttuneSpecOptions){.settings = unknown, .setting_count = 1}, &error));
    CHECK_CONTAINS(attune_error_message(error), "windoww");
    CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_SPEC);
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(open_text(rich, &(AttuneSpecOptions){.settings = empty, .setting_count = 1}, &error));
    CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_ARGUMENT);
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(open_text(rich, &(AttuneSpecOptions){.setting_count = 1}, NULL));
    CU_ASSERT_PTR_NULL(open_text(rich, &(AttuneSpecOptions){.import_dir_count = -1}, NULL));
    CU_ASSERT_PTR_NULL(open_text(rich, &(AttuneSpecOptions){.import_dir_count = 1}, NULL));
    CU_ASSERT_PTR_NULL(open_text(rich, &(AttuneSpecOptions){.name = "poor"}, &error));
    CHECK_CONTAINS(attune_error_message(error), "poor");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_spec_from_text(NULL, 3, NULL, &error));
    CHECK_CONTAINS(attune_error_message(error), "text is NULL");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_spec_from_text("x", (size_t)1 << 30, NULL, &error));
    CHECK_CONTAINS(attune_error_message(error), "at most 1048576 bytes");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_spec_from_file(NULL, NULL, NULL));
    CU_ASSERT_PTR_NULL(attune_spec_from_file("/nowhere/at/all.attn", NULL, &error));
    CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_IO);
    CHECK_CONTAINS(attune_error_message(error), "/nowhere/at/all.attn");
    attune_error_free(error);
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    fputs(text, out);
    fclose(out);
}

/* Imports are found beside the file and in import_dirs; settings and names choose. */
static void test_spec_files(void)
{
    char dir[] = "/tmp/attune-spec-XXXXXX", main_path[64], beside[64], lib[64], other[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(main_path, sizeof main_path, "%s/main.attn", dir);
    snprintf(beside, sizeof beside, "%s/near.attn", dir);
    snprintf(lib, sizeof lib, "%s/lib", dir);
    snprintf(other, sizeof other, "%s/lib/far.attn", dir);
    write_file(beside, "def before(i, j) = j <= i\n");
    char command[128];
    snprintf(command, sizeof command, "mkdir %s", lib);
    CU_ASSERT_EQUAL(system(command), 0);
    write_file(other, "def inside(i, j, w) = i - j < w\n");
    write_file(main_path, "import \"near\"\nimport \"far\"\n"
                          "attention one { param w: int = 5 mask before(i, j) and inside(i, j, w) "
                          "}\nattention two { mask before(j, i) }\n");
    const char *dirs[] = {lib};
    const AttuneSetting settings[] = {{"w", "9"}};
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_file(main_path,
                                             &(AttuneSpecOptions){.name = "one",
                                                                  .settings = settings,
                                                                  .setting_count = 1,
                                                                  .import_dirs = dirs,
                                                                  .import_dir_count = 1},
                                             &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
    AttuneSpecInfo info;
    attune_spec_info(spec, &info);
    CU_ASSERT_STRING_EQUAL(info.name, "one");
    CU_ASSERT_EQUAL(info.params[0].value.i, 9);
    attune_error_free(error);
    error = NULL;
    CU_ASSERT_PTR_NULL(attune_spec_from_file(main_path, &(AttuneSpecOptions){.name = "one"}, &error));
    CHECK_CONTAINS(attune_error_message(error), "cannot import \"far\"");
    attune_error_free(error);
    error = NULL;
    /* The texts are remembered: a kernel with other settings is made although the files are gone. */
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CU_ASSERT_EQUAL(system(command), 0);
    AttuneContext *context = attune_context_create(
        &(AttuneContextOptions){.threads = 1, .cache_mode = ATTUNE_CACHE_OFF}, NULL);
    const AttuneSetting more[] = {{"w", "2"}};
    AttuneKernel *kernel = attune_kernel_create(
        context, spec,
        &(AttuneKernelOptions){.target = "interp", .d = 4, .settings = more, .setting_count = 1}, &error);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
    CU_ASSERT_PTR_NOT_NULL(kernel);
    attune_error_free(error);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    attune_spec_destroy(spec);
}

int main(void)
{
    CU_TestInfo names[] = {
        {"names", test_names}, {"element types", test_dtypes}, {"DLPack", test_dlpack}, CU_TEST_INFO_NULL};
    CU_TestInfo contexts[] = {
        {"cache directories", test_cache_directories}, {"options", test_context_options}, CU_TEST_INFO_NULL};
    CU_TestInfo specs[] = {
        {"info", test_spec_info},  {"extents", test_extents},    {"free extents", test_free_extents},
        {"digests", test_digests}, {"errors", test_spec_errors}, {"files", test_spec_files},
        CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"names", NULL, NULL, NULL, NULL, names},
                             {"contexts", NULL, NULL, NULL, NULL, contexts},
                             {"specs", NULL, NULL, NULL, NULL, specs},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
