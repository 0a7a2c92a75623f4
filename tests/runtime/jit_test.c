/* attune_kernel_create and what comes of it, through the whole compiler: cache levels, keys, crowds, results.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "compiler/compile.h"
#include "runtime/cache.h"

static char directory[64];
static const char *target = "cpu";
#if defined(__x86_64__)
#define foreign "cpu:aarch64"
#else
#define foreign "cpu:x86-64-v3"
#endif

typedef struct Log {
    int hits, misses, compiled, warnings, lines, progress;
    char last[4096];
} Log;

static void note(void *user, AttuneLogLevel level, const char *text)
{
    Log *log = user;
    log->hits += strstr(text, "cache: hit") != NULL;
    log->misses += strstr(text, "cache: miss") != NULL;
    log->compiled += strncmp(text, "compiled ", 9) == 0;
    log->lines++;
    log->progress += strcmp(text, "still compiling causal (1 s)") == 0;
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

/* The compiler, made slow on demand: the linker sends its calls here. */
Kernel *__real_compile_spec(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options);
Kernel *__wrap_compile_spec(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options);
static long compile_delay_ms;

Kernel *__wrap_compile_spec(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options)
{
    nanosleep(&(struct timespec){compile_delay_ms / 1000, compile_delay_ms % 1000 * 1000000}, NULL);
    return __real_compile_spec(arena, diag, spec, options);
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

/* Whoever waits for more than a second is told what for. */
static void test_progress(void)
{
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text(causal);
    compile_delay_ms = 1200;
    AttuneKernel *kernel = create(context, spec, &(AttuneKernelOptions){.d = 12, .target = "interp"});
    compile_delay_ms = 0;
    CU_ASSERT_PTR_NOT_NULL(kernel);
    CU_ASSERT_EQUAL(log.progress, 1);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

/* Settings of any length are part of the key in memory too. */
static void test_long_settings(void)
{
    Log log = {0};
    AttuneContext *context = open_context(&log, false);
    AttuneSpec *spec = open_text("attention local { param w: int = 5 mask j <= i and i - j < w }");
    char digits[1500];
    memset(digits, '0', sizeof digits);
    digits[sizeof digits - 2] = '9';
    digits[sizeof digits - 1] = '\0';
    const AttuneSetting settings[] = {{"w", digits}};
    AttuneKernelOptions options = {.d = 8, .target = "interp", .settings = settings, .setting_count = 1};
    AttuneKernel *a = create(context, spec, &options), *b = create(context, spec, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_PTR_EQUAL(a, b);
    CU_ASSERT_EQUAL(a->description->signature.params[0].value.i, 9);
    digits[sizeof digits - 2] = '8';
    AttuneKernel *c = create(context, spec, &options);
    CU_ASSERT_PTR_NOT_EQUAL(a, c);
    attune_kernel_destroy(a);
    attune_kernel_destroy(b);
    attune_kernel_destroy(c);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

static void test_build_misuse(void)
{
    static const struct {
        AttuneBuildOptions options;
        AttuneStatus status;
        const char *says;
    } rows[] = {
        {{.kernel = {.d = 8}, .symbol = "2fast"},
         ATTUNE_ERROR_ARGUMENT,
         "symbol is '2fast', which is no C identifier"},
        {{.kernel = {.d = 8}, .symbol = "a-b"}, ATTUNE_ERROR_ARGUMENT, "no C identifier"},
        {{.kernel = {.d = 8}, .symbol = ""}, ATTUNE_ERROR_ARGUMENT, "no C identifier"},
        {{.kernel = {.d = 8}, .symbol = "a_symbol_that_is_longer_than_any_that_could_be_wanted"},
         ATTUNE_ERROR_ARGUMENT,
         "the limit is 48"},
        {{.kernel = {.d = 8, .target = "interp"}},
         ATTUNE_ERROR_TARGET,
         "target is interp, which makes no object"},
        {{.kernel = {.d = 8, .target = "abacus"}}, ATTUNE_ERROR_TARGET, "abacus"},
        {{.kernel = {.d = -8}}, ATTUNE_ERROR_ARGUMENT, "d is -8"},
    };
    AttuneSpec *spec = open_text(causal);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        CU_ASSERT_PTR_NULL(attune_build(spec, &rows[i].options, &error));
        CU_ASSERT_EQUAL(attune_error_status(error), rows[i].status);
        CHECK_CONTAINS(attune_error_message(error), rows[i].says);
        attune_error_free(error);
    }
    CU_ASSERT_PTR_NULL(attune_build(spec, NULL, NULL));
    CU_ASSERT_PTR_NULL(attune_build(NULL, &rows[0].options, NULL));
    attune_build_free(NULL);
    /* For another machine code can be made, though not run here. */
    AttuneBuild *build = attune_build(spec, &(AttuneBuildOptions){.kernel = {.d = 8, .target = foreign}},
                                      NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(build);
    CU_ASSERT_TRUE(build->object_size > 64 && memcmp(build->object, "\177ELF", 4) == 0);
    CHECK_CONTAINS(build->manifest, "\"symbol\": \"causal\"");
    CHECK_CONTAINS(build->header, "causal_run(AttuneKernel *kernel");
    attune_build_free(build);
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

int main(void)
{
    CU_TestInfo creating[] = {{"levels", test_levels},
                              {"keys", test_keys},
                              {"wrong options", test_wrong_options},
                              {"bad entries", test_bad_entries},
                              {"dump", test_dump},
                              {"progress", test_progress},
                              {"long settings", test_long_settings},
                              {"build misuse", test_build_misuse},
                              {"threads at once", test_threads_ask_at_once},
                              {"processes at once", test_processes_ask_at_once},
                              CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"creating", setup, teardown, NULL, NULL, creating},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
