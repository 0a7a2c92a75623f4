/* Random Programs by the plain CUDA path, emulated on the host: they compute what the interpreter computes.
 *
 * ATTUNE_TEST_SEED: one program, printed when it fails. ATTUNE_TEST_COUNT: how many. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulator.h"
#include "tests/emit/random_program.h"

enum { LARGEST = 12000, PROGRAMS = 24, SECONDS = 15 };

static Emulator emulator;
static long compared, too_large;

static const char *run_one(Growth *g)
{
    Making *m = &g->m;
    int64_t expected[SLOT_COUNT_MAX] = {0}, got[SLOT_COUNT_MAX] = {0};
    random_program_slots(g, expected, true);
    random_program_slots(g, got, false);
    if (!program_run(m->program, expected, m->diag))
        return diag_to_text(m->diag);
    Target target;
    Emulated emulated;
    const char *problem = target_parse(m->diag, "cuda:sm_90", &target)
                              ? emulator_build(&emulator, m->arena, &target, m->program, &emulated)
                              : "no target";
    if (problem && strstr(problem, "do not fit the shared memory")) {
        too_large++;
        return NULL;
    }
    if (!problem)
        problem = emulator_run(&emulated, m->arena, m->program, got);
    emulator_release(&emulated);
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
        const char *why = run_one(g);
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
    printf("%ld programs compared, %ld too large for a block\n", compared, too_large);
    return failed != 0;
}
