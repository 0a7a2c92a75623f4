/* The thread pool.
 *
 * A job lives on its caller's stack and is linked into the pool's list while it has work left. Items are
 * handed out by one atomic counter a job; the mutex is taken only to join and leave a job. A worker without
 * work spins briefly, for the next phase of the same launch, and then sleeps. */
#define _GNU_SOURCE
#include "runtime/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPINS = 400 };

typedef struct Job {
    struct Job *next;
    PoolWork work;
    void *user;
    int64_t count, chunk;
    _Atomic int64_t taken;
    int participants;   /* numbers given out so far; under the mutex */
    atomic_int active;  /* workers inside; written under the mutex */
} Job;

struct Pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake, finished;
    Job *jobs;
    int sleeping;
    bool stop;
    atomic_uint epoch;  /* counts jobs, so that a spinning worker notices a new one without the mutex */
    pid_t owner;
    int thread_count;   /* workers */
    pthread_t threads[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool job_has_work(Job *job)
{
    return atomic_load_explicit(&job->taken, memory_order_relaxed) < job->count;
}

static void job_run(Job *job, int participant)
{
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&job->taken, job->chunk, memory_order_relaxed);
        if (begin >= job->count)
            return;
        int64_t end = job->count - begin < job->chunk ? job->count : begin + job->chunk;
        job->work(job->user, begin, end, participant);
    }
}

static void *worker_main(void *argument)
{
    Pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stop) {
        Job *job = pool->jobs;
        while (job && !(job_has_work(job) && job->participants <= pool->thread_count))
            job = job->next;
        if (job) {
            int participant = job->participants++;
            atomic_fetch_add(&job->active, 1);
            pthread_mutex_unlock(&pool->mutex);
            job_run(job, participant);
            pthread_mutex_lock(&pool->mutex);
            if (atomic_fetch_sub(&job->active, 1) == 1)
                pthread_cond_broadcast(&pool->finished);
            continue;
        }
        unsigned seen = atomic_load(&pool->epoch);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < SPINS && atomic_load_explicit(&pool->epoch, memory_order_relaxed) == seen; i++)
            relax();
        pthread_mutex_lock(&pool->mutex);
        if (atomic_load(&pool->epoch) == seen && !pool->stop) {
            pool->sleeping++;
            pthread_cond_wait(&pool->wake, &pool->mutex);
            pool->sleeping--;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

int pool_default_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

Pool *pool_create(int threads)
{
    int workers = threads > 1 ? threads - 1 : 0;
    Pool *pool = calloc(1, sizeof *pool + (size_t)workers * sizeof pool->threads[0]);
    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->owner = getpid();
    pthread_mutex_lock(&pool->mutex); /* workers read thread_count */
    while (pool->thread_count < workers &&
           pthread_create(&pool->threads[pool->thread_count], NULL, worker_main, pool) == 0)
        pool->thread_count++;
    pthread_mutex_unlock(&pool->mutex);
    return pool;
}

void pool_destroy(Pool *pool)
{
    if (!pool)
        return;
    if (pool->owner == getpid()) { /* a forked child has no workers to join */
        pthread_mutex_lock(&pool->mutex);
        pool->stop = true;
        atomic_fetch_add(&pool->epoch, 1);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < pool->thread_count; i++)
            pthread_join(pool->threads[i], NULL);
        pthread_cond_destroy(&pool->finished);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->mutex);
    }
    free(pool);
}

int pool_threads(const Pool *pool)
{
    return pool->thread_count + 1;
}

void pool_run(Pool *pool, PoolWork work, void *user, int64_t count, int64_t chunk)
{
    if (count <= 0)
        return;
    if (chunk < 1)
        chunk = 1;
    int64_t chunks = (count - 1) / chunk + 1;
    if (chunks == 1 || pool->thread_count == 0 || pool->owner != getpid()) {
        work(user, 0, count, 0);
        return;
    }
    Job job = {.work = work, .user = user, .count = count, .chunk = chunk, .participants = 1};
    pthread_mutex_lock(&pool->mutex);
    job.next = pool->jobs;
    pool->jobs = &job;
    atomic_fetch_add(&pool->epoch, 1);
    int64_t wanted = chunks - 1 < pool->sleeping ? chunks - 1 : pool->sleeping;
    if (wanted == pool->sleeping && wanted > 0)
        pthread_cond_broadcast(&pool->wake);
    else
        for (int64_t i = 0; i < wanted; i++)
            pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);

    job_run(&job, 0);
    for (int i = 0; i < SPINS && atomic_load_explicit(&job.active, memory_order_relaxed) > 0; i++)
        relax();
    pthread_mutex_lock(&pool->mutex);
    Job **link = &pool->jobs;
    while (*link != &job)
        link = &(*link)->next;
    *link = job.next;
    while (atomic_load(&job.active) > 0)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
