/* Running out of memory at every allocation of ours, once and from there on: every call ends in its result or
 * in ATTUNE_ERROR_MEMORY, and nothing is left behind. What LLVM allocates for itself is not counted. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
void __real_free(void *data);
void __wrap_free(void *data);

static bool counting, persistent;
static long seen, fail_at; /* 0: never */
static long live;

static bool refused(void)
{
    if (!counting)
        return false;
    seen++;
    return fail_at > 0 && (persistent ? seen >= fail_at : seen == fail_at);
}

static void *counted(void *data)
{
    live += counting && data;
    return data;
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (refused())
        return NULL;
    void *data = __real_realloc(old, size);
    live += counting && data && !old;
    return data;
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return refused() ? NULL : counted(__real_aligned_alloc(align, size));
}

char *__wrap_strdup(const char *text)
{
    return refused() ? NULL : counted(__real_strdup(text));
}

void __wrap_free(void *data)
{
    live -= counting && data;
    __real_free(data);
}

/* The life of a program, as far as it gets. ------------------------------------------------------------- */

static const char text[] = "attention local { param w: int = 5  input slope[h]: f32  mask j <= i and i - j < "
                           "w  score s * scale - slope[h] * (i - j)  return lse }";
enum { H = 2, M = 9, D = 8 };

typedef struct Life {
    const char *target, *cache_dir;
    AttuneStatus status; /* of the first call that failed */
    bool finished;
} Life;

static bool failed(Life *life, AttuneError *error)
{
    life->status = attune_error_status(error);
    attune_error_free(error);
    return true;
}

static void live_kernel(Life *life, AttuneSpec *spec, AttuneKernel *kernel,
                        const AttuneKernelOptions *options)
{
    static float q[H * M * D], o[H * M * D], lse[H * M], slope[H] = {0.5f, 0.25f};
    const int64_t shape[] = {1, H, M, D}, lse_shape[] = {1, H, M}, slope_shape[] = {H};
    const int32_t cu[] = {0, 4, M};
    for (int i = 0; i < H * M * D; i++)
        q[i] = (float)(i % 7) / 7;
    AttuneTensor t = {.data = q, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape};
    AttuneNamedTensor input = {"slope",
                               {.data = slope, .dtype = ATTUNE_F32, .ndim = 1, .shape = slope_shape}};
    AttuneNamedTensor back = {"lse", {.data = lse, .dtype = ATTUNE_F32, .ndim = 3, .shape = lse_shape}};
    AttuneLaunch launch = {.q = t,
                           .k = t,
                           .v = t,
                           .o = t,
                           .inputs = &input,
                           .input_count = 1,
                           .returns = &back,
                           .return_count = 1};
    launch.o.data = o;
    launch.cu_seqlens_q = launch.cu_seqlens_k = cu;
    launch.sequences = 2;
    AttuneError *error = NULL;
    if (attune_kernel_launch(kernel, &launch, &error) != ATTUNE_OK && failed(life, error))
        return;
    AttunePlan *plan = attune_plan_create(kernel, &launch, &error);
    if (!plan && failed(life, error))
        return;
    const void *inputs[] = {slope};
    void *returns[] = {lse};
    bool launched = attune_plan_launch(plan, &(AttunePlanData){q, q, q, o, inputs, returns, NULL, NULL, NULL}, &error) ==
                    ATTUNE_OK;
    attune_plan_destroy(plan);
    if (!launched && failed(life, error))
        return;
    AttuneCheck check;
    if (attune_check(spec, options, &launch, 1, &check, &error) != ATTUNE_OK && failed(life, error))
        return;
    CU_ASSERT_TRUE(check.passed);
    life->finished = true;
}

static void live_context(Life *life, AttuneContext *context, AttuneSpec *spec)
{
    const AttuneSetting settings[] = {{"w", "3"}};
    const AttuneKernelOptions options = {
        .target = life->target, .d = D, .settings = settings, .setting_count = 1};
    AttuneError *error = NULL;
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    if (!kernel && failed(life, error))
        return;
    live_kernel(life, spec, kernel, &options);
    attune_kernel_destroy(kernel);
}

static void live_once(Life *life)
{
    AttuneError *error = NULL;
    life->status = ATTUNE_OK;
    life->finished = false;
    AttuneContext *context = attune_context_create(
        &(AttuneContextOptions){.threads = 1,
                                .cache_dir = life->cache_dir,
                                .cache_mode = life->cache_dir ? ATTUNE_CACHE_ON : ATTUNE_CACHE_OFF},
        &error);
    if (!context && failed(life, error))
        return;
    AttuneSpec *spec = attune_spec_from_text(text, sizeof text - 1, NULL, &error);
    if (spec)
        live_context(life, context, spec);
    else
        failed(life, error);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
}

/* The loader keeps at most one thing between lives: so much may come and go, but it must not add up. */
static void sweep(Life *life, bool from_there_on, long kept)
{
    live_once(life); /* whatever is made once a process is made here */
    CU_ASSERT_TRUE_FATAL(life->finished);
    long failures = 0, sum = 0;
    for (fail_at = 1;; fail_at++) {
        seen = 0;
        live = 0;
        persistent = from_there_on;
        counting = true;
        live_once(life);
        counting = false;
        CU_ASSERT_TRUE(life->finished || life->status == ATTUNE_ERROR_MEMORY);
        sum += live;
        CU_ASSERT_TRUE(labs(sum) <= kept);
        if (labs(sum) > kept || !(life->finished || life->status == ATTUNE_ERROR_MEMORY))
            printf("\nallocation %ld: status %s, %ld left\n", fail_at, attune_status_name(life->status),
                   live);
        failures += !life->finished;
        if (seen < fail_at)
            break;
    }
    printf(" (%ld allocations, %ld failures)", fail_at, failures);
    fail_at = 0;
    CU_ASSERT_TRUE(failures > 10);
}

static void test_interp_once(void)
{
    sweep(&(Life){.target = "interp"}, false, 0);
}

static void test_interp_persistent(void)
{
    sweep(&(Life){.target = "interp"}, true, 0);
}

#if ATTUNE_HAVE_LLVM
static void test_cpu_once(void)
{
    sweep(&(Life){.target = "cpu"}, false, 1);
}

static void test_cpu_persistent(void)
{
    sweep(&(Life){.target = "cpu"}, true, 1);
}

/* From a warm cache: reading entries, unpacking and loading. */
static void test_disk(void)
{
    char dir[] = "/tmp/attune-memory-XXXXXX", command[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    sweep(&(Life){.target = "cpu", .cache_dir = dir}, false, 1);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CU_ASSERT_EQUAL(system(command), 0);
}
#endif

/* Building ahead of time. */
static void test_build(void)
{
#if ATTUNE_HAVE_LLVM
    AttuneSpec *spec = attune_spec_from_text(text, sizeof text - 1, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
    const AttuneBuildOptions options = {.kernel = {.d = D}};
    attune_build_free(attune_build(spec, &options, NULL));
    for (fail_at = 1;; fail_at++) {
        AttuneError *error = NULL;
        seen = live = 0;
        persistent = false;
        counting = true;
        AttuneBuild *build = attune_build(spec, &options, &error);
        AttuneStatus status = attune_error_status(error);
        bool made = build != NULL;
        attune_build_free(build);
        attune_error_free(error);
        counting = false;
        CU_ASSERT_TRUE(made || status == ATTUNE_ERROR_MEMORY);
        CU_ASSERT_EQUAL(live, 0);
        if (seen < fail_at)
            break;
    }
    fail_at = 0;
    attune_spec_destroy(spec);
#endif
}

/* The fixed error needs no memory, whatever happens. */
static void test_error_without_memory(void)
{
    AttuneError *error = NULL;
    fail_at = 1;
    persistent = counting = true;
    seen = 0;
    AttuneContext *context = attune_context_create(NULL, &error);
    counting = false;
    fail_at = 0;
    CU_ASSERT_PTR_NULL(context);
    CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_MEMORY);
    CU_ASSERT_STRING_EQUAL(attune_error_message(error), "out of memory");
    attune_error_free(error);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"interp, one failure", test_interp_once},
        {"interp, from there on", test_interp_persistent},
#if ATTUNE_HAVE_LLVM
        {"cpu, one failure", test_cpu_once},
        {"cpu, from there on", test_cpu_persistent},
        {"disk cache", test_disk},
#endif
        {"building", test_build},
        {"the error itself", test_error_without_memory},
        CU_TEST_INFO_NULL
    };
    CU_SuiteInfo suites[] = {{"out of memory", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
