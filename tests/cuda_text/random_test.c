/* Random Programs by the plain CUDA path, or as PTX by LLVM (TARGET), emulated on the host: they compute what the interpreter computes.
 *
 * ATTUNE_TEST_SEED: one program, printed when it fails. ATTUNE_TEST_COUNT: how many. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulator.h"
#include "tests/emit/random_program.h"

enum { LARGEST = 12000, PROGRAMS = 24, SECONDS = 15 };

static Emulator emulator;
static long compared, too_large, spilled;

static const char *run_one(Growth *g, uint64_t seed)
{
    Making *m = &g->m;
    int64_t expected[SLOT_COUNT_MAX] = {0}, got[SLOT_COUNT_MAX] = {0};
    random_program_slots(g, expected, true);
    int tensors = m->program->tensor_count;
    if (!program_run(m->program, expected, m->diag))
        return diag_to_text(m->diag);
    Target target;
    Emulated emulated;
    const char *problem = "no target";
    if (target_parse(m->diag, TARGET, &target)) {
        if (seed % 3 == 0) /* little shared memory: large tiles go to global memory */
            target.shared_bytes = 24 * 1024;
        problem = emulator_build(&emulator, m->arena, &target, m->program, &emulated);
    }
    random_program_slots(g, got, false);
    spilled += m->program->tensor_count > tensors;
    int64_t count = 0;
    for (int t = tensors; t < m->program->tensor_count; t++)
        count += extent_value(&m->program->tensors[t].extent[0], got) *
                 extent_value(&m->program->tensors[t].extent[1], got);
    float *workspace = calloc((size_t)count + 1, sizeof *workspace);
    CU_ASSERT_FATAL(workspace != NULL);
    if (m->program->tensor_count > tensors)
        got[slot_of_tensor(tensors)] = (int64_t)(intptr_t)workspace;
    if (problem && strstr(problem, "do not fit the shared memory")) {
        too_large++;
        free(workspace);
        return NULL;
    }
    if (!problem)
        problem = emulator_run(&emulated, m->arena, m->program, got);
    emulator_release(&emulated);
    free(workspace);
    compared++;
    static char why[200];
    return problem ? problem : random_program_agrees(g, why, sizeof why) ? NULL : why;
}

static void test_random(void)
{
    const char *from = getenv("ATTUNE_TEST_SEED"), *count_text = getenv("ATTUNE_TEST_COUNT");
    uint64_t seed = from ? strtoull(from, NULL, 10) : 1;
    long count = from ? 1 : count_text ? atol(count_text) : PROGRAMS;
    time_t begin = time(NULL);
    Growth *g = malloc(sizeof *g);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g);
    for (long k = 0; k < count && (count_text || time(NULL) - begin < SECONDS); k++, seed++) {
        bool good = random_program_plant(g, seed * 6151, LARGEST) && random_program_data(g);
        CU_ASSERT_FATAL(good);
        const char *why = run_one(g, seed);
        if (why)
            fprintf(stderr, "\n%s\nrandom program %llu: %s\n",
                    from ? program_print(g->m.program, g->m.arena) : "", (unsigned long long)seed, why);
        CU_ASSERT(why == NULL);
        random_program_drop(g);
        making_close(&g->m);
    }
    CU_ASSERT(compared > too_large);
    free(g);
}

int main(void)
{
    if (!emulator_open(&emulator)) {
        printf("no C++ compiler: skipped\n");
        return 77;
    }
    CU_initialize_registry();
    CU_add_test(CU_add_suite("cuda random programs", NULL, NULL), "code and interpreter agree", test_random);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    emulator_close(&emulator);
    printf("%ld programs compared, %ld with tiles in global memory, %ld too large for a block\n", compared,
           spilled, too_large);
    return failed != 0;
}
