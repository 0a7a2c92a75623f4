/* Random Programs: the code computes what the interpreter computes. */
#include <stdlib.h>

#include "random_program.h"

enum { LARGEST = 30000 };
#ifdef __SANITIZE_ADDRESS__
enum { PROGRAMS = 60 };
#else
enum { PROGRAMS = 400 };
#endif

static bool run_one(Growth *g, const char *target, char *why, size_t size)
{
    int64_t expected[SLOT_COUNT_MAX] = {0}, got[SLOT_COUNT_MAX] = {0};
    Code code;
    random_program_slots(g, expected, true);
    random_program_slots(g, got, false);
    if (!program_run(g->m.program, expected, g->m.diag)) {
        snprintf(why, size, "the interpreter failed: %s", diag_to_text(g->m.diag));
        return false;
    }
    if (!code_make(&code, &g->m, target)) {
        snprintf(why, size, "no code");
        return false;
    }
    code_run(&code, got, RANDOM_ITEMS);
    code_drop(&code);
    return random_program_agrees(g, why, size);
}

static void test_random(void)
{
    const char *const *targets;
    int target_count = runnable_targets(&targets), tensors = 0;
    const char *from = getenv("ATTUNE_TEST_SEED");
    uint64_t seed = from ? strtoull(from, NULL, 10) : 1;
    Growth *g = malloc(sizeof *g);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g);
    for (int k = 0; k < (from ? 1 : PROGRAMS); k++, seed++) {
        char why[200] = "";
        const char *target = targets[k % 3 ? 0 : k / 3 % target_count];
        bool good = random_program_plant(g, seed * 7919, LARGEST) && random_program_data(g);
        CU_ASSERT_FATAL(good);
        tensors += g->plane_count;
        good = run_one(g, target, why, sizeof why);
        if (!good)
            fprintf(stderr, "\n%s\nrandom program %llu on %s: %s\n",
                    from ? program_print(g->m.program, g->m.arena) : "", (unsigned long long)seed, target,
                    why);
        CU_ASSERT(good);
        random_program_drop(g);
        making_close(&g->m);
    }
    CU_ASSERT(tensors > PROGRAMS || from);
    free(g);
}

void random_tests(void)
{
    CU_pSuite suite = CU_add_suite("random programs", NULL, NULL);
    CU_add_test(suite, "code and interpreter agree", test_random);
}
