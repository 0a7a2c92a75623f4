/* Disk caches to be maltreated. */
#define _GNU_SOURCE
#include "cache_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const CacheLabel place_label = {"causal", "cpu", ATTUNE_BF16, 64, 32};

static void note_warning(void *user, AttuneLogLevel level, const char *text)
{
    Place *place = user;
    if (level != ATTUNE_LOG_WARNING)
        return;
    place->warnings++;
    snprintf(place->warning, sizeof place->warning, "%s", text);
}

void place_open(Place *p, AttuneCacheMode mode, const char *const *read_dirs, int read_dir_count)
{
    AttuneContextOptions options = {.threads = 1,
                                    .cache_mode = mode,
                                    .cache_dir = p->dir,
                                    .cache_read_dirs = read_dirs,
                                    .cache_read_dir_count = read_dir_count,
                                    .log = note_warning,
                                    .log_user = p};
    p->warnings = 0;
    p->context = attune_context_create(&options, NULL);
    p->cache = cache_open(p->context);
}

void place_make(Place *p)
{
    strcpy(p->root, "/tmp/attune-cache-XXXXXX");
    if (!mkdtemp(p->root))
        abort();
    snprintf(p->dir, sizeof p->dir, "%s/a/b", p->root);
    place_open(p, ATTUNE_CACHE_ON, NULL, 0);
}

void place_close(Place *p)
{
    cache_close(p->cache);
    attune_context_destroy(p->context);
}

void place_remove(Place *p)
{
    char command[128];
    place_close(p);
    snprintf(command, sizeof command, "rm -rf %s", p->root);
    if (system(command) != 0)
        abort();
}

int place_count(const Place *p, const char *part)
{
    DIR *stream = opendir(p->dir);
    int count = 0;
    for (struct dirent *file; stream && (file = readdir(stream));)
        count += file->d_name[0] != '.' || file->d_name[1] == 'n' ? strstr(file->d_name, part) != NULL : 0;
    if (stream)
        closedir(stream);
    return count;
}

void place_key(int number, unsigned char *key)
{
    cache_digest(&number, sizeof number, key);
}

static void fill(unsigned char *bytes, int number)
{
    for (int i = 0; i < PAYLOAD; i++)
        bytes[i] = (unsigned char)(i * 31 + number * 7 + i / 251);
}

void place_store(Place *p, int number)
{
    unsigned char key[CACHE_KEY_BYTES], bytes[PAYLOAD];
    place_key(number, key);
    fill(bytes, number);
    cache_store(p->cache, key, &place_label, bytes, sizeof bytes);
}

int place_find(Place *p, int number)
{
    unsigned char key[CACHE_KEY_BYTES], bytes[PAYLOAD];
    void *payload = NULL;
    size_t size = 0;
    place_key(number, key);
    fill(bytes, number);
    if (!cache_find(p->cache, key, &payload, &size))
        return 0;
    int right = size == sizeof bytes && memcmp(payload, bytes, size) == 0;
    free(payload);
    return right ? 1 : -1;
}

void place_path(const Place *p, int number, char *path, size_t size)
{
    unsigned char key[CACHE_KEY_BYTES];
    char name[CACHE_NAME_BYTES];
    place_key(number, key);
    cache_file_name(key, name);
    snprintf(path, size, "%s/%s", p->dir, name);
}

void place_flip(const char *path, long at)
{
    int fd = open(path, O_RDWR);
    unsigned char byte = 0;
    CU_ASSERT_TRUE_FATAL(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x41;
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}
