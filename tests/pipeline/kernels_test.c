/* Every shipped kernel, every storage type, on the interpreter and as CPU code, over shapes that find bugs. */
#define _DEFAULT_SOURCE
#include <CUnit/Basic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shipped.h"

static char *kernel_paths[SHIPPED_MAX_KERNELS];
static int kernel_count;

/* Shapes ---------------------------------------------------------------------------------------------------- */

#define SHAPE(b, h, g, m, n, d, e, ...) {.B = b, .H = h, .G = g, .M = m, .N = n, .D = d, .E = e, __VA_ARGS__}

static const CaseShape line_shapes[] = {
    SHAPE(2, 2, 2, 33, 65, 16, 16, .offset = 0),
    SHAPE(1, 3, 1, 32, 127, 40, 24, .offset = 95),                                     /* group of 3, bottom right */
    SHAPE(2, 2, 1, 128, 128, 32, 32, .layout = CASE_BMHD),
    SHAPE(1, 7, 1, 31, 129, 17, 3, .layout = CASE_STRIDED),                            /* group of 7 */
    SHAPE(1, 2, 2, 129, 33, 8, 65, .layout = CASE_STRIDED, .q_size = 1e4),
    SHAPE(1, 1, 1, 1, 1, 1, 1, .offset = 0),
    SHAPE(2, 2, 1, 1, 70, 64, 64, .offset = 69),                                       /* decode */
    SHAPE(2, 2, 2, 0, 5, 4, 4, .offset = 0),
    SHAPE(2, 2, 2, 5, 0, 4, 4, .offset = 0),
    SHAPE(1, 2, 1, 40, 40, 111, 160, .layout = CASE_BROADCAST_KV),
    SHAPE(2, 2, 2, 37, 50, 160, 40, .layout = CASE_BROADCAST_Q, .q_size = 1e4),
    SHAPE(4, 2, 1, 0, 0, 24, 16, .ragged = true, .q_length = {17, 0, 1, 40}, .k_length = {17, 0, 33, 40}),
    SHAPE(3, 3, 3, 0, 0, 12, 20, .ragged = true, .q_length = {33, 5, 0}, .k_length = {65, 5, 3}, .layout = CASE_STRIDED),
    SHAPE(3, 2, 2, 0, 0, 16, 16, .ragged = true, .q_length = {2, 31, 7}, .k_length = {20, 49, 25}, .offset = 18, .layout = CASE_BMHD),
    SHAPE(1, 2, 1, 50, 61, 20, 12, .block_m = {8}, .block_n = {16}),
};
static const CaseShape plane_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, 16, 16, .m_axis = {9, 7}, .n_axis = {9, 7}),
    SHAPE(2, 3, 1, 0, 0, 20, 5, .m_axis = {5, 17}, .n_axis = {11, 18}, .layout = CASE_STRIDED),
    SHAPE(1, 2, 2, 0, 0, 12, 33, .m_axis = {16, 16}, .n_axis = {16, 16}, .layout = CASE_BMHD),
    SHAPE(1, 1, 1, 0, 0, 4, 4, .m_axis = {1, 1}, .n_axis = {1, 1}),
    SHAPE(1, 1, 1, 0, 0, 4, 4, .m_axis = {0, 3}, .n_axis = {2, 3}),
    SHAPE(1, 1, 1, 0, 0, 4, 4, .m_axis = {2, 3}, .n_axis = {2, 0}),
    SHAPE(1, 2, 1, 0, 0, 8, 8, .m_axis = {1, 40}, .n_axis = {33, 1}, .layout = CASE_BROADCAST_KV),
    SHAPE(1, 1, 1, 0, 0, 16, 8, .m_axis = {13, 10}, .n_axis = {13, 10}, .block_m = {3, 5}, .block_n = {2, 7}, .q_size = 1e4),
};
static const CaseShape space_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, 16, 16, .m_axis = {4, 5, 6}, .n_axis = {4, 5, 6}),
    SHAPE(1, 3, 3, 0, 0, 9, 12, .m_axis = {3, 2, 9}, .n_axis = {5, 7, 3}, .layout = CASE_STRIDED),
    SHAPE(1, 1, 1, 0, 0, 4, 4, .m_axis = {1, 1, 1}, .n_axis = {1, 1, 1}),
    SHAPE(1, 1, 1, 0, 0, 8, 4, .m_axis = {4, 6, 5}, .n_axis = {4, 6, 5}, .block_m = {2, 2, 3}, .block_n = {1, 4, 2}, .q_size = 1e4),
};

static const CaseShape *shapes_of(const Spec *spec, int *count)
{
    *count = spec->rank == 1 ? (int)(sizeof line_shapes / sizeof *line_shapes)
             : spec->rank == 2 ? (int)(sizeof plane_shapes / sizeof *plane_shapes)
                               : (int)(sizeof space_shapes / sizeof *space_shapes);
    return spec->rank == 1 ? line_shapes : spec->rank == 2 ? plane_shapes : space_shapes;
}

/* Running ------------------------------------------------------------------------------------------------------- */

enum { JOBS = 2, CASE_SECONDS = 300 };

/* Shared by the processes: each takes the next kernel. */
typedef struct Board {
    atomic_int next;
    atomic_long cases, elements, skipped, failures, kernels;
    volatile int at[JOBS];         /* kernel at hand */
    atomic_long close;             /* cases that took more than 3/4 of a limit */
    char later[4000];              /* kernels that are not compiled yet */
} Board;
static Board *board;

static void run_shape(const Spec *spec, const char *path, const CaseShape *given, ElemType elem, uint64_t seed, unsigned backends)
{
    CaseShape shape = shipped_shape(spec, path, given, seed);
    if (!shipped_shape_fits(spec, &shape))
        return;
    CaseVerdict verdict = case_run(spec, elem, &shape, backends);
    board->cases++;
    board->elements += verdict.compared;
    board->skipped += verdict.skipped;
    board->close += verdict.share > 0.75;
    Arena *arena = arena_create();
    if (verdict.ok && verdict.share > 0.5 && getenv("ATTUNE_TEST_VERBOSE"))
        printf("  %.3f of the limit: %s %s, %s\n", verdict.share, path, elem_type_name(elem), case_shape_text(arena, &shape));
    if (verdict.ok) {
        arena_destroy(arena);
        return;
    }
    board->failures++;
    fprintf(stderr, "\n%s %s, %s:\n    %s\n", path, elem_type_name(elem), case_shape_text(arena, &shape), verdict.message);
    arena_destroy(arena);
}

/* Does the compiler say that this is still to come? Anything else that it says is a failure of the cases. */
static bool is_for_later(const Spec *spec)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target target;
    CaseShape shape = {.D = 16, .E = 16};
    bool later = target_parse(diag, "interp", &target) && !case_program(arena, diag, spec, ELEM_TYPE_F32, &shape, &target) &&
                 diag->first && !strcmp(diag->first->id, "not-yet");
    arena_destroy(arena);
    return later;
}

/* As shipped, one shape in three; else every shape and type, two types of three also as CPU code. */
static void run_kernel(const char *path, bool as_shipped, bool few)
{
    static const ElemType elems[] = {ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16};
    SpecSetting settings[SHIPPED_MAX_SETTINGS];
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Spec *spec = case_spec_file(arena, diag, path, NULL, 0);
    if (spec && !as_shipped) {
        int count = shipped_small_settings(spec, settings);
        spec = case_spec_file(arena, diag, path, settings, count);
    }
    if (!spec) {
        diag_print(diag, stderr, DIAG_TEXT, false);
        board->failures++;
    } else if (is_for_later(spec)) {
        size_t used = strlen(board->later);
        snprintf(board->later + used, sizeof board->later - used, " %s", as_shipped ? "" : spec->name);
    } else {
        int count;
        const CaseShape *shapes = shapes_of(spec, &count);
        for (int n = 0; n < count; n++)
            for (int e = 0; e < 3; e++)
                if (!(few || as_shipped) || n % 3 == e)
                    run_shape(spec, path, &shapes[n], elems[e], (uint64_t)(n * 3 + e + 1),
                              CASE_INTERP | ((n + e) % 3 ? CASE_CPU : 0));
    }
    arena_destroy(arena);
}

static void work(int job)
{
    bool few = getenv("ATTUNE_TEST_FEW") != NULL;
    for (int n; (n = board->next++) < kernel_count;) {
        board->at[job] = n;
        alarm(CASE_SECONDS); /* a kernel that hangs ends its process */
        run_kernel(kernel_paths[n], false, few);
        if (!few)
            run_kernel(kernel_paths[n], true, true);
        board->kernels++;
    }
}

static void test_kernels(void)
{
    pid_t pids[JOBS];
    fflush(NULL);
    for (int job = 0; job < JOBS; job++) {
        pids[job] = fork();
        CU_ASSERT_FATAL(pids[job] >= 0);
        if (pids[job] == 0) {
            work(job);
            fflush(NULL);
            _exit(0);
        }
    }
    for (int job = 0; job < JOBS; job++) {
        int status;
        waitpid(pids[job], &status, 0);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (!WIFEXITED(status))
            fprintf(stderr, "\n%s: signal %d\n", kernel_paths[board->at[job]], WTERMSIG(status));
    }
    CU_ASSERT(board->failures == 0);
    CU_ASSERT(board->kernels == kernel_count && board->cases > 0);
    CU_ASSERT(board->skipped * 1000 <= board->elements);
}

int main(int argc, char **argv)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    if (argc > 1)
        for (int n = 1; n < argc && kernel_count < SHIPPED_MAX_KERNELS; n++)
            kernel_paths[kernel_count++] = strdup(argv[n]);
    else
        kernel_count = shipped_kernels(KERNELS, kernel_paths);
    time_t begin = time(NULL);
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("kernels", NULL, NULL);
    CU_add_test(suite, "all kernels, types and shapes", test_kernels);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    printf("%ld kernels, %ld cases, %ld elements compared, %ld skipped, %ld failures, %ld past 3/4 of a limit, %ld s; "
           "not compiled yet:%s\n",
           (long)board->kernels, (long)board->cases, (long)board->elements, (long)board->skipped, (long)board->failures,
           (long)board->close, (long)(time(NULL) - begin), board->later);
    for (int n = 0; n < kernel_count; n++)
        free(kernel_paths[n]);
    return failures != 0;
}
