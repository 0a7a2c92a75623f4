/* The thread pool that host kernels run on. */
#ifndef ATTUNE_CPU_H
#define ATTUNE_CPU_H

#include <stdint.h>

typedef struct Pool Pool;

/* `threads` >= 1 counts the caller of pool_run, so threads - 1 are started; fewer when the system refuses
 * more. NULL: out of memory. */
Pool *pool_create(int threads);
/* Joins the threads; no pool_run may be under way. NULL is allowed. */
void pool_destroy(Pool *pool);
int pool_threads(const Pool *pool);
/* The cores that this process may run on. */
int pool_default_threads(void);

/* Calls work(user, begin, end, participant) on disjoint ranges that cover [0, count), on the caller and on
 * whatever workers are free; returns when all is done. participant < pool_threads tells apart those that run
 * at the same time. Ranges are handed out in order, `chunk` items at a time. Allocates nothing. Several
 * threads may call at once. In a child after fork the caller does all. */
typedef void (*PoolWork)(void *user, int64_t begin, int64_t end, int participant);
void pool_run(Pool *pool, PoolWork work, void *user, int64_t count, int64_t chunk);

#endif
