/* attune_kernel_create and what comes of it, through the whole compiler: cache levels, keys, crowds, results.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "runtime/cache.h"

static char directory[64];
static const char *target = "cpu";
#if defined(__x86_64__)
#define foreign "cpu:aarch64"
#else
#define foreign "cpu:x86-64-v3"
#endif

typedef struct Log {
    int hits, misses, compiled, warnings, lines;
    char last[4096];
} Log;

static void note(void *user, AttuneLogLevel level, const char *text)
{
    Log *log = user;
    log->hits += strstr(text, "cache: hit") != NULL;
    log->misses += strstr(text, "cache: miss") != NULL;
    log->compiled += strncmp(text, "compiled ", 9) == 0;
    log->lines++;
    log->warnings += level == ATTUNE_LOG_WARNING;
    snprintf(log->last, sizeof log->last, "%s", text);
}

static AttuneContext *open_context(Log *log, bool no_jit)
{
    AttuneContextOptions options = {
        .threads = 2, .cache_dir = directory, .no_jit = no_jit, .log = note, .log_user = log};
    return attune_context_create(&options, NULL);
}

static AttuneSpec *open_text(const char *text)
{
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_text(text, strlen(text), NULL, &error);
    if (!spec)
        printf("%s\n", attune_error_message(error));
    attune_error_free(error);
    return spec;
}

static AttuneKernel *create(AttuneContext *context, const AttuneSpec *spec,
                            const AttuneKernelOptions *options)
{
    AttuneError *error = NULL;
    AttuneKernelOptions with = *options;
    if (!with.target)
        with.target = target;
    AttuneKernel *kernel = attune_kernel_create(context, spec, &with, &error);
    if (!kernel)
        printf("%s\n", attune_error_message(error));
    attune_error_free(error);
    return kernel;
}

static int setup(void)
{
    strcpy(directory, "/tmp/attune-jit-XXXXXX");
    return !mkdtemp(directory);
}

static int teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void empty_cache(void)
{
    AttuneContext *context = attune_context_create(
        &(AttuneContextOptions){.threads = 1, .cache_dir = directory}, NULL);
    CU_ASSERT_EQUAL(attune_cache_clear(context, 0, NULL, NULL), ATTUNE_OK);
    attune_context_destroy(context);
}

static const char causal[] = "attention causal { mask j <= i  return lse }";

/* Where kernels come from ------------------------------------------------------------------------------- */

static void test_levels(void)
{
    Log log = {0};
    AttuneKernelInfo info;
    const AttuneKernelOptions options = {.d = 16};
    AttuneSpec *spec = open_text(causal),
               *again = open_text("attention causal { mask j<=i return lse } // same");
    AttuneContext *context = open_context(&log, false);
    AttuneKernel *a = create(context, spec, &options), *b = create(context, spec, &options),
                 *c = create(context, again, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_PTR_EQUAL(a, b);
    CU_ASSERT_PTR_EQUAL(a, c);
    CU_ASSERT_TRUE(log.misses == 1 && log.compiled == 1 && log.hits == 0);
    attune_kernel_info(a, &info);
    CU_ASSERT_EQUAL(info.origin, ATTUNE_FROM_COMPILER);
    CU_ASSERT_STRING_EQUAL(info.name, "causal");
    CU_ASSERT_TRUE(info.d == 16 && info.e == 16 && info.dtype == ATTUNE_F32 && info.phase_count >= 1 &&
                   info.code_bytes > 0);
    CU_ASSERT_EQUAL(strlen(info.key), 64);
    attune_kernel_destroy(a);
    attune_kernel_destroy(b);
    attune_kernel_destroy(c);
    attune_context_destroy(context);

    log = (Log){0};
    context = open_context(&log, true); /* no compiling: the disk has it */
    a = create(context, spec, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    attune_kernel_info(a, &info);
    CU_ASSERT_EQUAL(info.origin, ATTUNE_FROM_DISK);
    CU_ASSERT_TRUE(log.hits == 1 && log.compiled == 0 && log.warnings == 0);
    AttuneError *error = NULL;
    CU_ASSERT_PTR_NULL(
        attune_kernel_create(context, spec, &(AttuneKernelOptions){.target = target, .d = 17}, &error));
    CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_NO_JIT);
    CHECK_CONTAINS(attune_error_message(error), "compiling is forbidden");
    attune_error_free(error);
    attune_context_destroy(context);
    attune_kernel_destroy(a); /* after its context */
    attune_spec_destroy(again);
    attune_spec_destroy(spec);
}

/* What has a kernel of its own. */
static void test_keys(void)
{
    static const AttuneSetting tile_a[] = {{"block_m", "16"}}, tile_b[] = {{"block_m", "32"}},
                               window[] = {{"w", "7"}};
    static const char text[] = "attention local { param const w: int = 5 mask j <= i and i - j < w }";
    static const AttuneKernelOptions rows[] = {
        {.d = 8},
        {.d = 16},
        {.d = 8, .e = 16},
        {.d = 8, .dtype = ATTUNE_BF16},
        {.d = 8, .dtype = ATTUNE_F16},
        {.d = 8, .target = "interp"},
        {.d = 8, .settings = tile_a, .setting_count = 1},
        {.d = 8, .settings = tile_b, .setting_count = 1},
        {.d = 8, .settings = window, .setting_count = 1},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    Log log = {0};
    char keys[ROWS][80];
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text(text);
    for (int i = 0; i < ROWS; i++) {
        AttuneKernel *kernel = create(context, spec, &rows[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
        AttuneKernelInfo info;
        attune_kernel_info(kernel, &info);
        strcpy(keys[i], info.key);
        for (int k = 0; k < i; k++)
            CU_ASSERT_STRING_NOT_EQUAL(keys[i], keys[k]);
        AttuneKernel *same = create(context, spec, &rows[i]);
        CU_ASSERT_PTR_EQUAL(kernel, same);
        attune_kernel_destroy(same);
        attune_kernel_destroy(kernel);
    }
    CU_ASSERT_EQUAL(log.compiled, ROWS);
    /* Names are a matter of the host: the code is shared on disk, the kernel's arguments are not mixed up. */
    AttuneSpec *p = open_text("attention a { param near: int = 3 mask i - j < near and j <= i }");
    AttuneSpec *q = open_text("attention b { param far: int = 4 mask i - j < far and j <= i }");
    AttuneKernel *kp = create(context, p, &rows[0]), *kq = create(context, q, &rows[0]);
    CU_ASSERT_TRUE_FATAL(kp && kq && kp != kq);
    AttuneKernelInfo ip, iq;
    attune_kernel_info(kp, &ip);
    attune_kernel_info(kq, &iq);
    CU_ASSERT_STRING_EQUAL(ip.key, iq.key);
    CU_ASSERT_EQUAL(iq.origin, ATTUNE_FROM_DISK);
    CU_ASSERT_STRING_EQUAL(kp->description->signature.params[0].name, "near");
    CU_ASSERT_STRING_EQUAL(kq->description->signature.params[0].name, "far");
    CU_ASSERT_EQUAL(kq->description->signature.params[0].value.i, 4);
    attune_kernel_destroy(kp);
    attune_kernel_destroy(kq);
    attune_spec_destroy(p);
    attune_spec_destroy(q);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

static void test_wrong_options(void)
{
    static const AttuneSetting no_value[] = {{"w", NULL}}, no_key[] = {{"block_x", "3"}},
                               no_number[] = {{"block_m", "many"}};
    static const struct {
        AttuneKernelOptions options;
        AttuneStatus status;
        const char *says;
    } rows[] = {
        {{.d = 0}, ATTUNE_ERROR_ARGUMENT, "d is 0; widths are 1 to 65536"},
        {{.d = 65537}, ATTUNE_ERROR_ARGUMENT, "d is 65537"},
        {{.d = 8, .e = -1}, ATTUNE_ERROR_ARGUMENT, "e is -1"},
        {{.d = 8, .dtype = ATTUNE_I32}, ATTUNE_ERROR_ARGUMENT, "dtype is i32"},
        {{.d = 8, .target = "abacus"}, ATTUNE_ERROR_TARGET, "abacus"},
        {{.d = 8, .target = foreign}, ATTUNE_ERROR_TARGET, "cannot run on this machine, which lacks"},
        {{.d = 8, .target = "cpu:abacus"}, ATTUNE_ERROR_TARGET, "abacus"},
        {{.d = 8, .setting_count = 1}, ATTUNE_ERROR_ARGUMENT, "settings is NULL"},
        {{.d = 8, .setting_count = -1}, ATTUNE_ERROR_ARGUMENT, "setting_count (-1)"},
        {{.d = 8, .settings = no_value, .setting_count = 1},
         ATTUNE_ERROR_ARGUMENT,
         "settings[0] has no value"},
        {{.d = 8, .settings = no_key, .setting_count = 1}, ATTUNE_ERROR_SPEC, "block_x"},
        {{.d = 8, .settings = no_number, .setting_count = 1}, ATTUNE_ERROR_SPEC, "many"},
    };
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text(causal);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        CU_ASSERT_PTR_NULL(attune_kernel_create(context, spec, &rows[i].options, &error));
        CU_ASSERT_EQUAL(attune_error_status(error), rows[i].status);
        CHECK_CONTAINS(attune_error_message(error), rows[i].says);
        attune_error_free(error);
    }
    AttuneError *error = NULL;
    CU_ASSERT_PTR_NULL(attune_kernel_create(NULL, spec, &rows[0].options, &error));
    CHECK_CONTAINS(attune_error_message(error), "context is NULL");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_kernel_create(context, NULL, &rows[0].options, &error));
    CHECK_CONTAINS(attune_error_message(error), "spec is NULL");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_kernel_create(context, spec, NULL, &error));
    CHECK_CONTAINS(attune_error_message(error), "options is NULL");
    attune_error_free(error);
    /* A failure is not remembered as a kernel: the same request fails again, and others work. */
    CU_ASSERT_PTR_NULL(attune_kernel_create(context, spec, &rows[4].options, NULL));
    AttuneKernel *kernel = create(context, spec, &(AttuneKernelOptions){.d = 8});
    CU_ASSERT_PTR_NOT_NULL(kernel);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

static void spoil_payload(const char *key)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s.kernel", directory, key);
    FILE *file = fopen(path, "r+");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fseek(file, 1000, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, 1000, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

/* A whole entry under this key whose payload is no kernel. */
static void replace_payload(const char *key)
{
    AttuneContextOptions options = {.threads = 1, .cache_dir = directory};
    AttuneContext *context = attune_context_create(&options, NULL);
    Cache *cache = cache_open(context);
    unsigned char bytes[CACHE_KEY_BYTES];
    for (int i = 0; i < CACHE_KEY_BYTES; i++) {
        unsigned byte;
        CU_ASSERT_EQUAL(sscanf(key + 2 * i, "%2x", &byte), 1);
        bytes[i] = (unsigned char)byte;
    }
    cache_store(cache, bytes, &(CacheLabel){"x", "x", ATTUNE_F32, 1, 1}, "no kernel", 9);
    cache_close(cache);
    attune_context_destroy(context);
}

/* Damaged entries, and whole ones with something else in them: warned about and compiled anew. */
static void test_bad_entries(void)
{
    static void (*const spoil[])(const char *key) = {spoil_payload, replace_payload};
    AttuneSpec *spec = open_text(causal);
    const AttuneKernelOptions options = {.d = 24};
    for (int i = 0; i < 2; i++) {
        Log log = {0};
        AttuneKernelInfo info;
        AttuneContext *context = open_context(&log, false);
        AttuneKernel *kernel = create(context, spec, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
        attune_kernel_info(kernel, &info);
        spoil[i](info.key);
        attune_kernel_destroy(kernel);
        attune_context_destroy(context);
        log = (Log){0};
        context = open_context(&log, false);
        kernel = create(context, spec, &options);
        CU_ASSERT_PTR_NOT_NULL(kernel);
        CU_ASSERT_TRUE(log.warnings >= 1 && log.compiled == 1);
        attune_kernel_destroy(kernel);
        attune_context_destroy(context);
    }
    attune_spec_destroy(spec);
}

/* Programs are printed by the passes that are asked for, although a kernel like this is in memory already. */
static void test_dump(void)
{
    int lines[3];
    static const char *const dumps[] = {NULL, "l", "lz"};
    AttuneSpec *spec = open_text(causal);
    for (int i = 0; i < 3; i++) {
        Log log = {0};
        AttuneContext *context = open_context(&log, false);
        AttuneKernelOptions options = {.d = 8, .target = "interp"};
        AttuneKernel *first = create(context, spec, &options);
        options.dump = dumps[i];
        log = (Log){0};
        AttuneKernel *kernel = create(context, spec, &options);
        CU_ASSERT_PTR_NOT_NULL(kernel);
        CU_ASSERT_EQUAL(log.compiled, i > 0);
        lines[i] = log.lines;
        attune_kernel_destroy(kernel);
        attune_kernel_destroy(first);
        attune_context_destroy(context);
    }
    CU_ASSERT_EQUAL(lines[0], 0);
    CU_ASSERT_TRUE(lines[1] > 10);
    CU_ASSERT_TRUE(lines[2] > lines[1] + 10);
    attune_spec_destroy(spec);
}

/* Crowds ------------------------------------------------------------------------------------------------ */

typedef struct Asker {
    AttuneContext *context;
    AttuneSpec *spec;
    AttuneKernel *kernel;
} Asker;

static void *asker_main(void *argument)
{
    Asker *asker = argument;
    asker->kernel = create(asker->context, asker->spec, &(AttuneKernelOptions){.d = 40});
    return NULL;
}

static void test_threads_ask_at_once(void)
{
    enum { CROWD = 8 };
    Log log = {0};
    pthread_t threads[CROWD];
    Asker askers[CROWD];
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text(causal);
    for (int i = 0; i < CROWD; i++) {
        askers[i] = (Asker){context, spec, NULL};
        pthread_create(&threads[i], NULL, asker_main, &askers[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_PTR_NOT_NULL(askers[i].kernel);
        CU_ASSERT_PTR_EQUAL(askers[i].kernel, askers[0].kernel);
        attune_kernel_destroy(askers[i].kernel);
    }
    CU_ASSERT_EQUAL(log.compiled, 1);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

static void test_processes_ask_at_once(void)
{
    enum { CROWD = 6 };
    pid_t children[CROWD];
    empty_cache();
    AttuneSpec *spec = open_text(causal);
    for (int i = 0; i < CROWD; i++)
        if ((children[i] = fork()) == 0) {
            Log log = {0};
            AttuneContext *context = open_context(&log, false);
            AttuneKernel *kernel = create(context, spec, &(AttuneKernelOptions){.d = 48});
            _exit(kernel ? log.compiled : 100);
        }
    int compiled = 0;
    for (int i = 0; i < CROWD; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        compiled += WEXITSTATUS(status);
    }
    CU_ASSERT_EQUAL(compiled, 1);
    attune_spec_destroy(spec);
}

/* Results ----------------------------------------------------------------------------------------------- */

typedef struct Run {
    int64_t q[4], k[4], v[4], o[4], lse[3];
    void *data[4];
    float *stat;
    AttuneLaunch launch;
    AttuneNamedTensor returns[1];
} Run;

static uint16_t to_half(float value, AttuneDtype dtype)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == ATTUNE_BF16)
        return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    _Float16 half = (_Float16)value;
    uint16_t out;
    memcpy(&out, &half, sizeof out);
    return out;
}

static void *random_values(int64_t count, AttuneDtype dtype, uint32_t seed)
{
    void *data = malloc((size_t)(count + 1) * 4);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        float value = (float)(seed >> 8) / (1 << 23) - 1;
        if (dtype == ATTUNE_F32)
            ((float *)data)[i] = value;
        else
            ((uint16_t *)data)[i] = to_half(value, dtype);
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
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
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
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
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
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text(causal);
    Run r;
    run_make(&r, ATTUNE_F32, 2, 2, 1, 37, 0, 16, 16);
    AttuneKernel *kernel = create(context, spec, &(AttuneKernelOptions){.d = 16});
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
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
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
    CU_TestInfo creating[] = {{"levels", test_levels},
                              {"keys", test_keys},
                              {"wrong options", test_wrong_options},
                              {"bad entries", test_bad_entries},
                              {"dump", test_dump},
                              {"threads at once", test_threads_ask_at_once},
                              {"processes at once", test_processes_ask_at_once},
                              CU_TEST_INFO_NULL};
    CU_TestInfo results[] = {{"results", test_results},
                             {"the check can fail", test_check_can_fail},
                             {"no keys", test_no_keys},
                             {"ragged", test_ragged},
                             CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"creating", setup, teardown, NULL, NULL, creating},
                             {"results", setup, teardown, NULL, NULL, results},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
