/* The disk cache: one file an entry, safe against crashes, full disks, races, other users and damage.
 *
 * File = header + payload. The header holds magic, format, key, length, a label for people and a SHA-256 over
 * all of it. Entries are written under a name of their own, synced and renamed, so that a name always shows a
 * whole entry or none. Whatever goes wrong here costs a compilation, never a failure: the caller is told "not
 * found". */
#ifndef ATTUNE_CACHE_H
#define ATTUNE_CACHE_H

#include <pthread.h>

#include "runtime/context.h"

enum { CACHE_KEY_BYTES = 32, CACHE_KEY_TEXT = 65, CACHE_LOCK_MS = 30000 };

typedef struct CacheDir {
    int fd;          /* -1: unusable */
    const char *path;
    bool writable;
} CacheDir;

typedef struct Cache {
    AttuneContext *context;
    CacheDir *dirs;  /* the own one first */
    int dir_count;
    int64_t limit_bytes;
    int lock_ms; /* how long another process may take to compile the same kernel before this one does too */
    pthread_mutex_t mutex;
    bool warned;
} Cache;

typedef struct CacheLabel {
    char name[64], target[64];
    int32_t dtype;
    int64_t d, e;
} CacheLabel;

/* By the context's settings; unusable directories are logged and left out. NULL: out of memory. */
Cache *cache_open(AttuneContext *context);
void cache_close(Cache *cache);
/* The payload, malloc'ed. False: not there, or damaged (then it has been deleted where that is allowed). */
bool cache_find(Cache *cache, const unsigned char *key, void **payload, size_t *size);
/* Keeps the payload if it can, then lets the oldest entries go until the limit holds. */
void cache_store(Cache *cache, const unsigned char *key, const CacheLabel *label, const void *payload,
                 size_t size);

/* Holds other processes that want the same entry back while this one compiles. False: it could not be had in
 * time or at all; the caller goes on without. */
typedef struct CacheLock {
    int fd;
    char name[CACHE_KEY_TEXT + 8];
} CacheLock;
bool cache_lock(Cache *cache, const unsigned char *key, CacheLock *lock);
void cache_unlock(Cache *cache, CacheLock *lock);

void cache_digest(const void *bytes, size_t size, unsigned char digest[CACHE_KEY_BYTES]);
void cache_key_text(const unsigned char *key, char text[CACHE_KEY_TEXT]);

/* For tools, on the own directory. */
AttuneStatus cache_visit(Cache *cache, bool verify, AttuneCacheVisit visit, void *user, AttuneError **error);
AttuneStatus cache_shrink(Cache *cache, int64_t keep_bytes, int64_t *removed, AttuneError **error);

#endif
