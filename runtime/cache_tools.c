/* The disk cache seen whole: listing, verifying, shrinking. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/cache_file.h"
#include "runtime/error.h"

typedef struct Entry {
    unsigned char key[CACHE_KEY_BYTES];
    int64_t bytes, used;
} Entry;

typedef struct Entries {
    Entry *list;
    size_t count, room;
} Entries;

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool key_of_name(const char *name, unsigned char *key)
{
    if (strlen(name) != 2 * CACHE_KEY_BYTES + strlen(CACHE_SUFFIX) ||
        strcmp(name + 2 * CACHE_KEY_BYTES, CACHE_SUFFIX) != 0)
        return false;
    for (int i = 0; i < CACHE_KEY_BYTES; i++) {
        int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

/* Files that a writer or a lock holder left behind when it was killed. */
static bool is_stray(const char *name, const struct stat *st)
{
    size_t length = strlen(name), suffix = strlen(CACHE_LOCK_SUFFIX);
    bool ours = strncmp(name, CACHE_FRESH, strlen(CACHE_FRESH)) == 0 ||
                (length == 2 * CACHE_KEY_BYTES + suffix &&
                 strcmp(name + length - suffix, CACHE_LOCK_SUFFIX) == 0);
    return ours && st->st_mtime < time(NULL) - CACHE_STRAY_SECONDS;
}

static AttuneStatus scan(const CacheDir *dir, Entries *entries, AttuneError **error)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* an offset of its own */
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        AttuneStatus status = error_set(error, ATTUNE_ERROR_IO, "cannot list %s: %s", dir->path,
                                        strerror(errno));
        if (fd >= 0)
            close(fd);
        return status;
    }
    AttuneStatus status = ATTUNE_OK;
    for (struct dirent *file; status == ATTUNE_OK && (file = readdir(stream));) {
        struct stat st;
        Entry entry;
        if (fstatat(dir->fd, file->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (!key_of_name(file->d_name, entry.key)) {
            if (dir->writable && is_stray(file->d_name, &st))
                unlinkat(dir->fd, file->d_name, 0);
            continue;
        }
        if (entries->count == entries->room) {
            size_t room = entries->room * 2 + 64;
            Entry *grown = realloc(entries->list, room * sizeof *grown);
            if (!grown) {
                status = error_memory(error);
                break;
            }
            entries->list = grown;
            entries->room = room;
        }
        entry.bytes = st.st_size;
        entry.used = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        entries->list[entries->count++] = entry;
    }
    closedir(stream);
    return status;
}

static AttuneStatus need_directory(const Cache *cache, AttuneError **error)
{
    if (cache->dirs[0].fd >= 0)
        return ATTUNE_OK;
    if (cache->context->cache.mode == ATTUNE_CACHE_OFF)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "the cache of this context is off");
    return error_set(error, ATTUNE_ERROR_IO, "the cache directory %s cannot be used",
                     cache->dirs[0].path ? cache->dirs[0].path : "(none)");
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = ((const Entry *)a)->used, y = ((const Entry *)b)->used;
    return (x < y) - (x > y);
}

AttuneStatus cache_visit(Cache *cache, bool verify, AttuneCacheVisit visit, void *user, AttuneError **error)
{
    Entries entries = {0};
    const CacheDir *dir = &cache->dirs[0];
    AttuneStatus status = need_directory(cache, error);
    if (status == ATTUNE_OK)
        status = scan(dir, &entries, error);
    if (status == ATTUNE_OK && entries.count > 1)
        qsort(entries.list, entries.count, sizeof entries.list[0], newest_first);
    for (size_t i = 0; status == ATTUNE_OK && i < entries.count; i++) {
        const Entry *entry = &entries.list[i];
        char name[CACHE_NAME_BYTES], key[CACHE_KEY_TEXT];
        cache_file_name(entry->key, name);
        cache_key_text(entry->key, key);
        CacheHeader header;
        struct stat st;
        void *payload = NULL;
        const char *why = "it cannot be opened";
        int fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0) {
            why = verify ? cache_read_entry(fd, entry->key, &header, &payload)
                         : cache_read_header(fd, entry->key, &header, &st);
            close(fd);
        } else if (errno == ENOENT) {
            continue; /* went since the scan */
        }
        free(payload);
        if (visit) {
            AttuneCacheEntry seen = {.key = key, .name = "", .target = "", .bytes = entry->bytes,
                                     .used = entry->used / 1000000000, .valid = !why};
            if (!why) {
                seen.name = header.label.name;
                seen.target = header.label.target;
                seen.dtype = (AttuneDtype)header.label.dtype;
                seen.d = header.label.d;
                seen.e = header.label.e;
            }
            visit(user, &seen);
        }
        if (why && verify && dir->writable)
            unlinkat(dir->fd, name, 0);
    }
    free(entries.list);
    return status;
}

AttuneStatus cache_shrink(Cache *cache, int64_t keep_bytes, int64_t *removed, AttuneError **error)
{
    Entries entries = {0};
    const CacheDir *dir = &cache->dirs[0];
    int64_t gone = 0, kept = 0;
    AttuneStatus status = need_directory(cache, error);
    if (status == ATTUNE_OK && !dir->writable)
        status = error_set(error, ATTUNE_ERROR_ARGUMENT, "the cache directory %s is read-only here",
                           dir->path);
    if (status == ATTUNE_OK)
        status = scan(dir, &entries, error);
    if (status == ATTUNE_OK && entries.count > 1)
        qsort(entries.list, entries.count, sizeof entries.list[0], newest_first);
    for (size_t i = 0; status == ATTUNE_OK && i < entries.count; i++) {
        char name[CACHE_NAME_BYTES];
        kept += entries.list[i].bytes;
        if (kept <= keep_bytes)
            continue;
        cache_file_name(entries.list[i].key, name);
        if (unlinkat(dir->fd, name, 0) == 0)
            gone++;
        else if (errno != ENOENT)
            status = error_set(error, ATTUNE_ERROR_IO, "cannot delete %s/%s: %s", dir->path, name,
                               strerror(errno));
    }
    free(entries.list);
    if (removed)
        *removed = gone;
    return status;
}
