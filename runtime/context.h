/* The context: options, log, thread pool, workspace memory and devices. Knows nothing of the compiler: what
 * compiles and caches hangs on `jit` and is made by build.c when it is first needed, so that programs with
 * ahead-of-time kernels link none of it. */
#ifndef ATTUNE_CONTEXT_H
#define ATTUNE_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/attune.h"
#include "runtime/cpu.h"

typedef struct CacheSettings {
    AttuneCacheMode mode;         /* never DEFAULT */
    char *dir;                    /* NULL: no place for one; explains itself in `why` */
    const char *why;
    char **read_dirs;
    int read_dir_count;
    int64_t limit_bytes;
} CacheSettings;

enum { BLOCK_COUNT = 16, CONTEXT_DEVICES = 64 };
struct Device; /* device.h */
typedef struct WorkBlock {
    void *data;
    size_t size;
    bool busy;
} WorkBlock;

struct AttuneContext {
    atomic_int references;        /* the caller, every kernel */
    Pool *pool;
    CacheSettings cache;
    bool no_jit;
    AttuneLog log;
    void *log_user;
    pthread_mutex_t log_mutex;
    pthread_mutex_t block_mutex;
    WorkBlock blocks[BLOCK_COUNT];
    pthread_mutex_t device_mutex;
    struct Device *devices[CONTEXT_DEVICES]; /* NULL: not opened yet */
    pthread_mutex_t jit_mutex;    /* guards the creation of jit */
    void *jit;
    void (*jit_destroy)(void *jit);
};

void context_retain(AttuneContext *context);
void context_release(AttuneContext *context);
void context_log(AttuneContext *context, AttuneLogLevel level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 64-byte aligned memory of at least `size` bytes, contents undefined, kept for the next launch after
 * context_block_return. NULL: out of memory. */
void *context_block_take(AttuneContext *context, size_t size);
void context_block_return(AttuneContext *context, void *data);

#endif
