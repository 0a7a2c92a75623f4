/* A disk cache in a directory of its own, and what its tests do with it. Entries are known by number. */
#ifndef ATTUNE_TEST_CACHE_PLACE_H
#define ATTUNE_TEST_CACHE_PLACE_H

#include "fixture.h"
#include "runtime/cache_file.h"

enum { PAYLOAD = 5000 };
extern const CacheLabel place_label;

typedef struct Place {
    char root[64], dir[96];
    AttuneContext *context;
    Cache *cache;
    int warnings;
    char warning[512];
} Place;

void place_make(Place *p);  /* with a context and a cache that is on */
void place_open(Place *p, AttuneCacheMode mode, const char *const *read_dirs, int read_dir_count);
void place_close(Place *p);
void place_remove(Place *p);
/* Files in the directory whose name contains `part`: entries, files being written, locks. */
int place_count(const Place *p, const char *part);
void place_key(int number, unsigned char *key);
void place_path(const Place *p, int number, char *path, size_t size);
void place_store(Place *p, int number);
/* 1: found and right, 0: not found, -1: found and wrong. */
int place_find(Place *p, int number);
/* Changes one byte of a file. */
void place_flip(const char *path, long at);

#endif
