/* The disk cache: entries and locks. cache_tools.c lists, verifies and shrinks. */
#define _GNU_SOURCE
#include "runtime/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/cache_file.h"

void cache_digest(const void *bytes, size_t size, unsigned char digest[CACHE_KEY_BYTES])
{
    SHA256(bytes, size, digest);
}

void cache_key_text(const unsigned char *key, char text[CACHE_KEY_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < CACHE_KEY_BYTES; i++) {
        text[2 * i] = digits[key[i] >> 4];
        text[2 * i + 1] = digits[key[i] & 15];
    }
    text[2 * CACHE_KEY_BYTES] = '\0';
}

/* One warning a context: a full disk must not fill the log too. */
static void warn(Cache *cache, const char *what, const char *path, const char *why)
{
    pthread_mutex_lock(&cache->mutex);
    bool first = !cache->warned;
    cache->warned = true;
    pthread_mutex_unlock(&cache->mutex);
    if (first)
        context_log(cache->context, ATTUNE_LOG_WARNING,
                    "kernel cache: %s %s: %s; kernels are compiled instead", what, path, why);
}

/* Directories ------------------------------------------------------------------------------------------- */

/* Makes the directory and its parents, for the owner alone. */
static void make_directories(const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(copy, 0700); /* whether it worked shows when the directory is opened */
        *p = '/';
    }
    mkdir(copy, 0700);
    free(copy);
}

/* Why a file or directory of these attributes is not to be trusted: an entry becomes code that runs. NULL: it
 * is. */
static const char *distrust(const struct stat *st, bool may_be_roots)
{
    if (st->st_uid != geteuid() && !(may_be_roots && st->st_uid == 0))
        return "it belongs to another user";
    if (st->st_mode & S_IWOTH)
        return "everyone may write to it (chmod o-w)";
    if (st->st_mode & S_IWGRP)
        return "its group may write to it (chmod g-w)";
    return NULL;
}

static void open_directory(Cache *cache, CacheDir *dir, const char *path, bool writable)
{
    *dir = (CacheDir){.fd = -1, .path = path, .writable = writable};
    if (writable)
        make_directories(path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (writable || errno != ENOENT)
            warn(cache, "cannot use", path,
                 errno == ELOOP || errno == ENOTDIR ? "it is no directory (nor may it be a link)"
                                                    : strerror(errno));
        return;
    }
    struct stat st;
    const char *why = fstat(fd, &st) == 0 ? distrust(&st, !writable) : strerror(errno);
    if (why) {
        warn(cache, "cannot use", path, why);
        close(fd);
        return;
    }
    dir->fd = fd;
}

Cache *cache_open(AttuneContext *context)
{
    const CacheSettings *settings = &context->cache;
    Cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->dirs = calloc((size_t)settings->read_dir_count + 1, sizeof cache->dirs[0]);
    if (!cache->dirs) {
        free(cache);
        return NULL;
    }
    cache->context = context;
    cache->limit_bytes = settings->limit_bytes;
    cache->lock_ms = CACHE_LOCK_MS;
    pthread_mutex_init(&cache->mutex, NULL);
    cache->dirs[0].fd = -1;
    cache->dir_count = 1;
    if (settings->mode != ATTUNE_CACHE_OFF) {
        if (settings->dir)
            open_directory(cache, &cache->dirs[0], settings->dir, settings->mode == ATTUNE_CACHE_ON);
        else
            warn(cache, "there is no", "directory", settings->why);
        for (int i = 0; i < settings->read_dir_count; i++)
            open_directory(cache, &cache->dirs[cache->dir_count++], settings->read_dirs[i], false);
    }
    return cache;
}

void cache_close(Cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < cache->dir_count; i++)
        if (cache->dirs[i].fd >= 0)
            close(cache->dirs[i].fd);
    pthread_mutex_destroy(&cache->mutex);
    free(cache->dirs);
    free(cache);
}

/* Entries ----------------------------------------------------------------------------------------------- */

void cache_file_name(const unsigned char *key, char name[CACHE_NAME_BYTES])
{
    cache_key_text(key, name);
    strcat(name, CACHE_SUFFIX);
}

static void header_digest(const CacheHeader *header, const void *payload,
                          unsigned char digest[CACHE_KEY_BYTES])
{
    struct {
        CacheHeader header;
        unsigned char payload[CACHE_KEY_BYTES];
    } both;
    memset(&both, 0, sizeof both);
    memcpy(&both.header, header, sizeof *header);
    memset(both.header.digest, 0, sizeof both.header.digest);
    cache_digest(payload, header->length, both.payload);
    cache_digest(&both, sizeof both, digest);
}

static bool read_all(int fd, void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, (char *)bytes + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const void *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t put = write(fd, (const char *)bytes + at, size - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return false;
        }
        at += (size_t)put;
    }
    return true;
}

const char *cache_read_header(int fd, const unsigned char *key, CacheHeader *header, struct stat *st)
{
    const char *why;
    if (fstat(fd, st) != 0)
        return strerror(errno);
    if (!S_ISREG(st->st_mode))
        return "it is no file";
    if ((why = distrust(st, true)))
        return why;
    if (st->st_size < (off_t)sizeof *header || !read_all(fd, header, sizeof *header))
        return "it is too short";
    if (memcmp(header->magic, CACHE_MAGIC, sizeof header->magic) != 0)
        return "it is no cache entry";
    if (header->format != CACHE_FORMAT || header->header_bytes != sizeof *header)
        return "it has another format";
    if (memcmp(header->key, key, CACHE_KEY_BYTES) != 0)
        return "it holds another kernel";
    if (header->length > CACHE_MAX_PAYLOAD || (uint64_t)st->st_size != sizeof *header + header->length)
        return "its length is wrong";
    if (!memchr(header->label.name, 0, sizeof header->label.name) ||
        !memchr(header->label.target, 0, sizeof header->label.target))
        return "its label is damaged";
    return NULL;
}

const char *cache_read_entry(int fd, const unsigned char *key, CacheHeader *header, void **payload)
{
    struct stat st;
    const char *why = cache_read_header(fd, key, header, &st);
    if (why)
        return why;
    *payload = malloc(header->length ? header->length : 1);
    if (!*payload)
        return "out of memory";
    unsigned char digest[CACHE_KEY_BYTES];
    if (!read_all(fd, *payload, header->length))
        why = "it cannot be read to its end";
    else {
        header_digest(header, *payload, digest);
        if (memcmp(digest, header->digest, sizeof digest) != 0)
            why = "its contents are damaged";
    }
    if (why) {
        free(*payload);
        *payload = NULL;
    }
    return why;
}

bool cache_find(Cache *cache, const unsigned char *key, void **payload, size_t *size)
{
    char name[CACHE_NAME_BYTES];
    cache_file_name(key, name);
    for (int i = 0; i < cache->dir_count; i++) {
        CacheDir *dir = &cache->dirs[i];
        if (dir->fd < 0)
            continue;
        int fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0) {
            if (errno == ELOOP && dir->writable)
                unlinkat(dir->fd, name, 0); /* a link that somebody put there */
            else if (errno != ENOENT)
                warn(cache, "cannot read", dir->path, strerror(errno));
            continue;
        }
        CacheHeader header;
        const char *why = cache_read_entry(fd, key, &header, payload);
        if (!why && dir->writable) {
            const struct timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
            futimens(fd, now); /* when it was last used; only the order of eviction hangs on it */
        }
        close(fd);
        if (!why) {
            *size = header.length;
            return true;
        }
        warn(cache, "dropping an entry of", dir->path, why);
        if (dir->writable)
            unlinkat(dir->fd, name, 0);
    }
    return false;
}

/* Opens a fresh file that nobody else can have guessed or made. */
static int open_fresh(const CacheDir *dir, char name[CACHE_NAME_BYTES])
{
    static atomic_uint counter;
    for (int attempt = 0; attempt < 100; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(name, CACHE_NAME_BYTES, CACHE_FRESH "%lx-%lx-%x", (long)getpid(),
                 (long)now.tv_sec * 1000000 + now.tv_nsec / 1000, atomic_fetch_add(&counter, 1));
        int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || (errno != EEXIST && errno != EINTR))
            return fd;
    }
    return -1;
}

static int sync_file(int fd)
{
    int status;
    do
        status = fsync(fd);
    while (status != 0 && errno == EINTR);
    return status;
}

void cache_store(Cache *cache, const unsigned char *key, const CacheLabel *label, const void *payload,
                 size_t size)
{
    CacheDir *dir = &cache->dirs[0];
    if (dir->fd < 0 || !dir->writable || size > CACHE_MAX_PAYLOAD)
        return;
    CacheHeader header;
    memset(&header, 0, sizeof header); /* padding is hashed and written too */
    memcpy(header.magic, CACHE_MAGIC, sizeof header.magic);
    header.format = CACHE_FORMAT;
    header.header_bytes = sizeof header;
    memcpy(header.key, key, CACHE_KEY_BYTES);
    header.length = size;
    header.label = *label;
    header_digest(&header, payload, header.digest);

    char fresh[CACHE_NAME_BYTES], name[CACHE_NAME_BYTES];
    cache_file_name(key, name);
    int fd = open_fresh(dir, fresh);
    if (fd < 0) {
        warn(cache, "cannot write to", dir->path, strerror(errno));
        return;
    }
    bool written = write_all(fd, &header, sizeof header) && write_all(fd, payload, size) &&
                   sync_file(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && written && errno != EINTR) {
        why = errno;
        written = false;
    }
    if (written && renameat(dir->fd, fresh, dir->fd, name) != 0) {
        why = errno;
        written = false;
    }
    if (!written) {
        unlinkat(dir->fd, fresh, 0);
        warn(cache, "cannot write to", dir->path, strerror(why));
        return;
    }
    sync_file(dir->fd); /* a crash may lose the new name, not more */
    AttuneError *error = NULL;
    if (cache_shrink(cache, cache->limit_bytes, NULL, &error) != ATTUNE_OK)
        attune_error_free(error);
}

/* Locks ------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool cache_lock(Cache *cache, const unsigned char *key, CacheLock *lock)
{
    CacheDir *dir = &cache->dirs[0];
    lock->fd = -1;
    if (dir->fd < 0 || !dir->writable)
        return false;
    cache_key_text(key, lock->name);
    strcat(lock->name, CACHE_LOCK_SUFFIX);
    int64_t give_up = now_ms() + cache->lock_ms;
    for (long pause_ns = 1000000;; pause_ns = pause_ns < 50000000 ? pause_ns * 2 : pause_ns) {
        int fd = openat(dir->fd, lock->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EINTR)
            return false;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            /* The holder before may have removed the name on leaving: then this is a lock of nothing. */
            struct stat here, there;
            if (fstat(fd, &here) == 0 && fstatat(dir->fd, lock->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                here.st_ino == there.st_ino && here.st_dev == there.st_dev) {
                lock->fd = fd;
                return true;
            }
        } else if (fd >= 0 && errno != EWOULDBLOCK && errno != EINTR) {
            close(fd); /* a file system without locks */
            return false;
        }
        if (fd >= 0)
            close(fd);
        if (now_ms() >= give_up) {
            context_log(cache->context, ATTUNE_LOG_INFO,
                        "kernel cache: another process has been compiling this kernel for "
                        "%d ms; compiling it here too",
                        cache->lock_ms);
            return false;
        }
        nanosleep(&(struct timespec){0, pause_ns}, NULL);
    }
}

void cache_unlock(Cache *cache, CacheLock *lock)
{
    if (lock->fd < 0)
        return;
    unlinkat(cache->dirs[0].fd, lock->name, 0);
    close(lock->fd);
    lock->fd = -1;
}
