/* The thread pool: everything once, whoever asks, however often; and after fork. Run it built with
 * -fsanitize=thread too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "runtime/cpu.h"

enum { MOST = 5000 };

typedef struct Count {
    _Atomic unsigned char done[MOST];
    atomic_int inside[64];
    atomic_int shared;        /* two at a time with one participant number */
    int threads;
} Count;

static void count_items(void *user, int64_t begin, int64_t end, int participant)
{
    Count *count = user;
    if (participant < 0 || participant >= count->threads ||
        atomic_fetch_add(&count->inside[participant], 1) != 0)
        atomic_fetch_add(&count->shared, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&count->done[i], 1);
    atomic_fetch_sub(&count->inside[participant], 1);
}

static int wrong_items(const Count *count, int64_t items)
{
    int wrong = 0;
    for (int64_t i = 0; i < MOST; i++)
        wrong += count->done[i] != (i < items);
    return wrong;
}

static void test_coverage(void)
{
    static const int64_t items[] = {0, 1, 2, 3, 7, 64, 1000, MOST}, chunks[] = {-1, 0, 1, 2, 3, 17, 100000};
    for (int threads = 1; threads <= 5; threads++) {
        Pool *pool = pool_create(threads);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
        CU_ASSERT_EQUAL(pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
            for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
                Count *count = calloc(1, sizeof *count);
                count->threads = threads;
                pool_run(pool, count_items, count, items[i], chunks[c]);
                CU_ASSERT_EQUAL(wrong_items(count, items[i]), 0);
                CU_ASSERT_EQUAL(count->shared, 0);
                free(count);
            }
        pool_destroy(pool);
    }
    pool_destroy(NULL);
}

static void test_default_threads(void)
{
    CU_ASSERT_TRUE(pool_default_threads() >= 1);
}

/* Short jobs one after another: the wake-up and the leaving are where races would be. */
static void test_many_jobs(void)
{
    Pool *pool = pool_create(4);
    int wrong = 0;
    for (int round = 0; round < 3000; round++) {
        Count *count = calloc(1, sizeof *count);
        count->threads = 4;
        pool_run(pool, count_items, count, 1 + round % 9, 1);
        wrong += wrong_items(count, 1 + round % 9) + count->shared;
        free(count);
        if (round % 500 == 0)
            usleep(2000); /* so that workers fall asleep */
    }
    CU_ASSERT_EQUAL(wrong, 0);
    pool_destroy(pool);
}

typedef struct Caller {
    Pool *pool;
    int wrong;
} Caller;

static void *caller_main(void *argument)
{
    Caller *caller = argument;
    for (int round = 0; round < 300; round++) {
        Count *count = calloc(1, sizeof *count);
        count->threads = pool_threads(caller->pool);
        int64_t items = 1 + round * 7 % 200;
        pool_run(caller->pool, count_items, count, items, 3);
        caller->wrong += wrong_items(count, items) + count->shared;
        free(count);
    }
    return NULL;
}

static void test_many_callers(void)
{
    enum { CALLERS = 6 };
    Pool *pool = pool_create(3);
    pthread_t threads[CALLERS];
    Caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (Caller){pool, 0};
        pthread_create(&threads[i], NULL, caller_main, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(callers[i].wrong, 0);
    }
    pool_destroy(pool);
}

static void test_fork(void)
{
    Pool *pool = pool_create(3);
    Count *count = calloc(1, sizeof *count);
    count->threads = 3;
    pool_run(pool, count_items, count, 100, 1);
    pid_t child = fork();
    if (child == 0) { /* the workers are not here: the caller does all, and destroying joins nobody */
        Count *mine = calloc(1, sizeof *mine);
        mine->threads = 3;
        pool_run(pool, count_items, mine, 100, 1);
        int wrong = wrong_items(mine, 100);
        free(mine);
        pool_destroy(pool);
        _exit(wrong != 0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
    free(count);
    pool_destroy(pool);
}

/* Whole launches from several threads at once share one context: workspaces and scratch must not mix. */
static void *launcher_main(void *argument)
{
    AttuneKernel *kernel = argument;
    Fixture *f = malloc(sizeof *f);
    intptr_t wrong = 0;
    for (int round = 0; round < 200; round++) {
        fixture_init(f);
        for (int i = 0; i < 512; i++)
            f->q[i] = (float)((i + round) % 11);
        wrong += attune_kernel_launch(kernel, &f->launch, NULL) != ATTUNE_OK;
        for (int row = 0; row < FIX_B * FIX_H * FIX_M; row++) {
            float sum = (float)(row / FIX_M % FIX_H * 100);
            for (int c = 0; c < FIX_D; c++)
                sum += f->q[row * FIX_D + c];
            wrong += f->o[row * FIX_E] != sum;
        }
    }
    free(f);
    return (void *)wrong;
}

static void test_launches_at_once(void)
{
    enum { LAUNCHERS = 24 }; /* more than the context keeps blocks for */
    AttuneContext *context = attune_context_create(
        &(AttuneContextOptions){.threads = 3, .cache_mode = ATTUNE_CACHE_OFF}, NULL);
    AttuneKernel *kernel = fixture_kernel(context);
    pthread_t threads[LAUNCHERS];
    for (int i = 0; i < LAUNCHERS; i++)
        pthread_create(&threads[i], NULL, launcher_main, kernel);
    for (int i = 0; i < LAUNCHERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        CU_ASSERT_PTR_NULL(wrong);
    }
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
}

static void test_blocks(void)
{
    AttuneContext *context = attune_context_create(NULL, NULL);
    void *first = context_block_take(context, 1000), *second = context_block_take(context, 10);
    CU_ASSERT_PTR_NOT_EQUAL(first, second);
    CU_ASSERT_EQUAL((uintptr_t)first % 64, 0);
    context_block_return(context, first);
    CU_ASSERT_PTR_EQUAL(context_block_take(context, 900), first); /* kept, not allocated anew */
    context_block_return(context, second);
    void *big = context_block_take(context, 100000);
    CU_ASSERT_PTR_NOT_NULL(big);
    context_block_return(context, big);
    CU_ASSERT_PTR_NULL(context_block_take(context, SIZE_MAX - 100));
    void *many[40];
    for (int i = 0; i < 40; i++) {
        many[i] = context_block_take(context, 64);
        CU_ASSERT_PTR_NOT_NULL_FATAL(many[i]);
        *(volatile char *)many[i] = 1;
    }
    for (int i = 0; i < 40; i++)
        context_block_return(context, many[i]);
    context_block_return(context, NULL);
    context_block_return(context, first);
    attune_context_destroy(context);
}

int main(void)
{
    CU_TestInfo pool[] = {{"coverage", test_coverage},   {"default threads", test_default_threads},
                          {"many jobs", test_many_jobs}, {"many callers", test_many_callers},
                          {"fork", test_fork},           CU_TEST_INFO_NULL};
    CU_TestInfo context[] = {
        {"blocks", test_blocks}, {"launches at once", test_launches_at_once}, CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"pool", NULL, NULL, NULL, NULL, pool},
                             {"context", NULL, NULL, NULL, NULL, context},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
