/* Every shipped kernel by the plain CUDA path, or as PTX by LLVM (TARGET), emulated on the host and compared
 * with the reference.
 *
 * By default a sample; with ATTUNE_TEST_FULL every kernel, type and shape. Arguments: paths of kernels. */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulator.h"
#include "tests/pipeline/shipped.h"

#define SHAPE(b, h, g, m, n, d, e, ...)                                     \
    {                                                                       \
        .B = b, .H = h, .G = g, .M = m, .N = n, .D = d, .E = e, __VA_ARGS__ \
    }

/* Shapes of a kernel, the rank's own: the first of a list always runs. */
static const CaseShape line_shapes[] = {
    SHAPE(1, 2, 1, 70, 90, 64, 64, .offset = 0),
    SHAPE(1, 3, 1, 33, 65, 40, 24, .offset = 32),
    SHAPE(1, 2, 1, 31, 129, 17, 3, .layout = CASE_STRIDED),
    SHAPE(2, 2, 1, 1, 70, 128, 64, .offset = 69),
    SHAPE(3, 2, 2, 0, 0, 16, 32, .ragged = true, .q_length = {33, 5, 0}, .k_length = {65, 5, 3},
          .layout = CASE_BMHD),
    SHAPE(1, 2, 1, 50, 61, 20, 12, .block_m = {8}, .block_n = {16}),
    SHAPE(1, 1, 1, 40, 40, 192, 128, .q_size = 1e4),
    SHAPE(1, 1, 1, 20, 33, 224, 224, .offset = 13),
};
static const CaseShape plane_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, 32, 32, .m_axis = {9, 7}, .n_axis = {9, 7}),
    SHAPE(1, 3, 1, 0, 0, 20, 5, .m_axis = {5, 17}, .n_axis = {11, 18}, .layout = CASE_STRIDED),
    SHAPE(1, 1, 1, 0, 0, 16, 8, .m_axis = {13, 10}, .n_axis = {13, 10}, .block_m = {3, 5}, .block_n = {2, 7},
          .q_size = 1e4),
};
static const CaseShape space_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, 16, 16, .m_axis = {4, 5, 6}, .n_axis = {4, 5, 6}),
    SHAPE(1, 1, 1, 0, 0, 8, 4, .m_axis = {4, 6, 5}, .n_axis = {4, 6, 5}, .block_m = {2, 2, 3},
          .block_n = {1, 4, 2}, .q_size = 1e4),
};

static Emulator emulator;
static char *paths[SHIPPED_MAX_KERNELS];
static int path_count;
static bool full, chosen;
static long cases, elements, failures, later, refused;

static const char *run_text(void *user, const Program *program, const int64_t *slots)
{
    static Arena *arena;
    if (arena)
        arena_destroy(arena);
    arena = arena_create();
    return emulator_run(user, arena, program, slots);
}

static void report(const char *path, ElemType elem, const CaseShape *shape, const char *what)
{
    Arena *arena = arena_create();
    fprintf(stderr, "\n%s %s, %s:\n    %s\n", path, elem_type_name(elem), case_shape_text(arena, shape),
            what);
    arena_destroy(arena);
    failures++;
}

static void run_case(const Spec *spec, const char *path, const CaseShape *given, ElemType elem, uint64_t seed)
{
    CaseShape shape = shipped_shape(spec, path, given, seed);
    if (!shipped_shape_fits(spec, &shape))
        return;
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target target;
    Emulated emulated = {.library = NULL};
    Program *program = target_parse(diag, TARGET, &target)
                           ? case_program(arena, diag, spec, elem, &shape, &target)
                           : NULL;
    CaseData *data = program ? case_data_create(spec, elem, &shape) : NULL;
    const char *problem = data ? emulator_build(&emulator, arena, &target, program, &emulated) : NULL;
    if (!program && diag->first && !strcmp(diag->first->id, "not-yet")) {
        later++;
    } else if (!data || problem) {
        report(path, elem, &shape, problem ? problem : diag_to_text(diag));
        refused++;
    } else {
        CaseVerdict verdict = case_run_with(data, program, run_text, &emulated);
        cases++;
        elements += verdict.compared;
        if (!verdict.ok)
            report(path, elem, &shape, verdict.message);
    }
    emulator_release(&emulated);
    case_data_destroy(data);
    arena_destroy(arena);
}

static void run_kernel(const char *path, int index)
{
    static const ElemType elems[] = {ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16};
    SpecSetting settings[SHIPPED_MAX_SETTINGS];
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Spec *spec = case_spec_file(arena, diag, path, NULL, 0);
    if (spec) {
        int count = shipped_small_settings(spec, settings);
        spec = case_spec_file(arena, diag, path, settings, count);
    }
    CU_ASSERT(spec != NULL);
    if (spec) {
        const CaseShape *shapes = spec->rank == 1   ? line_shapes
                                  : spec->rank == 2 ? plane_shapes
                                                    : space_shapes;
        int count = (int)(spec->rank == 1   ? sizeof line_shapes / sizeof *line_shapes
                          : spec->rank == 2 ? sizeof plane_shapes / sizeof *plane_shapes
                                            : sizeof space_shapes / sizeof *space_shapes);
        for (int n = 0; n < count; n++)
            for (int e = 0; e < 3; e++)
                if (full || (chosen ? (n + e) % 3 == 0 || n == 0 : n == index % count && e == index % 3))
                    run_case(spec, path, &shapes[n], elems[e], (uint64_t)(n * 3 + e + 1));
    }
    arena_destroy(arena);
}

/* A sample of the kernels, another one every day. */
static void test_kernels(void)
{
    enum { SECONDS = 25 };
    time_t begin = time(NULL);
    unsigned day = (unsigned)(begin / 86400);
    for (int n = 0; n < path_count; n++) {
        int at = full || chosen ? n : (int)((n * 37u + day * 11u) % (unsigned)path_count);
        if (!full && !chosen && time(NULL) - begin > SECONDS)
            break;
        run_kernel(paths[at], n + (int)day);
    }
    CU_ASSERT(failures == 0);
    CU_ASSERT(cases > 0);
}

int main(int argc, char **argv)
{
    full = getenv("ATTUNE_TEST_FULL") != NULL;
    chosen = argc > 1;
    if (!emulator_open(&emulator)) {
        printf("no C++ compiler: skipped\n");
        return 77;
    }
    for (int n = 1; n < argc && path_count < SHIPPED_MAX_KERNELS; n++)
        paths[path_count++] = strdup(argv[n]);
    if (!chosen)
        path_count = shipped_kernels(KERNELS, paths);
    time_t begin = time(NULL);
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite(TARGET, NULL, NULL);
    CU_add_test(suite, "shipped kernels, emulated", test_kernels);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    emulator_close(&emulator);
    printf("%ld cases, %ld elements compared, %ld failures, %ld refused, %ld not compiled yet, %ld s\n",
           cases, elements, failures, refused, later, (long)(time(NULL) - begin));
    for (int n = 0; n < path_count; n++)
        free(paths[n]);
    return failed != 0;
}
