/* The disk cache under damage, failing calls, other users, crashes and crowds. Whatever happens, a lookup
 * gives the stored bytes or nothing, and the next compilation can be kept. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "fixture.h"
#include "runtime/cache_file.h"

enum { PAYLOAD = 5000 };
static const CacheLabel label = {"causal", "cpu", ATTUNE_BF16, 64, 32};

/* Surroundings ------------------------------------------------------------------------------------------ */

typedef struct Place {
    char root[64], dir[96];
    AttuneContext *context;
    Cache *cache;
    int warnings;
    char warning[512];
} Place;

static void note_warning(void *user, AttuneLogLevel level, const char *text)
{
    Place *place = user;
    if (level != ATTUNE_LOG_WARNING)
        return;
    place->warnings++;
    snprintf(place->warning, sizeof place->warning, "%s", text);
}

static void place_open(Place *p, AttuneCacheMode mode, const char *const *read_dirs, int read_dir_count)
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

static void place_make(Place *p)
{
    strcpy(p->root, "/tmp/attune-cache-XXXXXX");
    if (!mkdtemp(p->root))
        abort();
    snprintf(p->dir, sizeof p->dir, "%s/a/b", p->root);
    place_open(p, ATTUNE_CACHE_ON, NULL, 0);
}

static void place_close(Place *p)
{
    cache_close(p->cache);
    attune_context_destroy(p->context);
}

static void place_remove(Place *p)
{
    char command[128];
    place_close(p);
    snprintf(command, sizeof command, "rm -rf %s", p->root);
    if (system(command) != 0)
        abort();
}

/* What stands in the directory: entries, files being written, locks. */
static int count_files(const Place *p, const char *part)
{
    DIR *stream = opendir(p->dir);
    int count = 0;
    for (struct dirent *file; stream && (file = readdir(stream));)
        count += file->d_name[0] != '.' || file->d_name[1] == 'n' ? strstr(file->d_name, part) != NULL : 0;
    if (stream)
        closedir(stream);
    return count;
}

static void key_of(int number, unsigned char *key)
{
    cache_digest(&number, sizeof number, key);
}

static void fill(unsigned char *bytes, int number)
{
    for (int i = 0; i < PAYLOAD; i++)
        bytes[i] = (unsigned char)(i * 31 + number * 7 + i / 251);
}

static void store(Place *p, int number)
{
    unsigned char key[CACHE_KEY_BYTES], bytes[PAYLOAD];
    key_of(number, key);
    fill(bytes, number);
    cache_store(p->cache, key, &label, bytes, sizeof bytes);
}

/* 1: found and right, 0: not found, -1: found and wrong. */
static int find(Place *p, int number)
{
    unsigned char key[CACHE_KEY_BYTES], bytes[PAYLOAD];
    void *payload = NULL;
    size_t size = 0;
    key_of(number, key);
    fill(bytes, number);
    if (!cache_find(p->cache, key, &payload, &size))
        return 0;
    int right = size == sizeof bytes && memcmp(payload, bytes, size) == 0;
    free(payload);
    return right ? 1 : -1;
}

static void path_of(const Place *p, int number, char *path, size_t size)
{
    unsigned char key[CACHE_KEY_BYTES];
    char name[CACHE_NAME_BYTES];
    key_of(number, key);
    cache_file_name(key, name);
    snprintf(path, size, "%s/%s", p->dir, name);
}

static void test_round_trip(void)
{
    Place p;
    char path[256];
    struct stat st;
    place_make(&p);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    store(&p, 1);
    store(&p, 2);
    CU_ASSERT_EQUAL(find(&p, 1), 1);
    CU_ASSERT_EQUAL(find(&p, 2), 1);
    CU_ASSERT_EQUAL(find(&p, 3), 0);
    store(&p, 1); /* over an entry that is there */
    CU_ASSERT_EQUAL(find(&p, 1), 1);
    unsigned char key[CACHE_KEY_BYTES];
    void *payload;
    size_t size = 1;
    key_of(9, key);
    cache_store(p.cache, key, &label, "", 0);
    CU_ASSERT_TRUE(cache_find(p.cache, key, &payload, &size));
    CU_ASSERT_EQUAL(size, 0);
    free(payload);
    CU_ASSERT_EQUAL(p.warnings, 0);
    CU_ASSERT_EQUAL(stat(p.dir, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0700);
    path_of(&p, 1, path, sizeof path);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(count_files(&p, ""), 3);
    place_remove(&p);
}

/* Damage ------------------------------------------------------------------------------------------------ */

typedef struct Damage {
    const char *name;
    long at;            /* byte to change; -1: none */
    long cut;           /* new length relative to the end: -1 cuts a byte, 1 adds one; LONG: see `length` */
    long length;        /* new length, or -1 */
    const char *says;
} Damage;

#define AT(field) (long)offsetof(CacheHeader, field)
static const Damage damages[] = {
    {"magic", AT(magic), 0, -1, "no cache entry"},
    {"last byte of the magic", AT(magic) + 7, 0, -1, "no cache entry"},
    {"format", AT(format), 0, -1, "another format"},
    {"header length", AT(header_bytes), 0, -1, "another format"},
    {"key", AT(key), 0, -1, "another kernel"},
    {"last byte of the key", AT(key) + 31, 0, -1, "another kernel"},
    {"length, low byte", AT(length), 0, -1, "length is wrong"},
    {"length, high byte", AT(length) + 7, 0, -1, "length is wrong"},
    {"name", AT(label.name), 0, -1, "damaged"},
    {"padding of the name", AT(label.name) + 40, 0, -1, "damaged"},
    {"target", AT(label.target), 0, -1, "damaged"},
    {"dtype", AT(label.dtype), 0, -1, "damaged"},
    {"d", AT(label.d), 0, -1, "damaged"},
    {"e", AT(label.e) + 3, 0, -1, "damaged"},
    {"digest", AT(digest), 0, -1, "damaged"},
    {"last byte of the digest", AT(digest) + 31, 0, -1, "damaged"},
    {"first byte of the payload", (long)sizeof(CacheHeader), 0, -1, "damaged"},
    {"middle of the payload", (long)sizeof(CacheHeader) + PAYLOAD / 2, 0, -1, "damaged"},
    {"last byte of the payload", (long)sizeof(CacheHeader) + PAYLOAD - 1, 0, -1, "damaged"},
    {"empty file", -1, 0, 0, "too short"},
    {"one byte", -1, 0, 1, "too short"},
    {"half a header", -1, 0, (long)sizeof(CacheHeader) / 2, "too short"},
    {"a header less one byte", -1, 0, (long)sizeof(CacheHeader) - 1, "too short"},
    {"a header alone", -1, 0, (long)sizeof(CacheHeader), "length is wrong"},
    {"half a payload", -1, 0, (long)sizeof(CacheHeader) + PAYLOAD / 2, "length is wrong"},
    {"one byte missing", -1, -1, -1, "length is wrong"},
    {"one byte more", -1, 1, -1, "length is wrong"},
};

static void damage_file(const char *path, const Damage *d)
{
    int fd = open(path, O_RDWR);
    struct stat st;
    unsigned char byte;
    CU_ASSERT_TRUE_FATAL(fd >= 0 && fstat(fd, &st) == 0);
    if (d->at >= 0) {
        CU_ASSERT_EQUAL(pread(fd, &byte, 1, d->at), 1);
        byte ^= 0x41;
        CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, d->at), 1);
    }
    if (d->length >= 0 || d->cut)
        CU_ASSERT_EQUAL(ftruncate(fd, d->length >= 0 ? d->length : st.st_size + d->cut), 0);
    close(fd);
}

static void test_damage(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        Place p;
        char path[256];
        place_make(&p);
        store(&p, 1);
        store(&p, 2);
        path_of(&p, 1, path, sizeof path);
        damage_file(path, &damages[i]);
        CU_ASSERT_EQUAL(find(&p, 1), 0);
        CHECK_CONTAINS(p.warning, damages[i].says);
        CU_ASSERT_EQUAL(access(path, F_OK), -1); /* gone */
        CU_ASSERT_EQUAL(find(&p, 1), 0);
        path_of(&p, 2, path, sizeof path);
        damage_file(path, &damages[i]);
        CU_ASSERT_EQUAL(find(&p, 2), 0);
        CU_ASSERT_EQUAL(p.warnings, 1); /* once a context */
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), 1);
        place_remove(&p);
    }
}

/* Trust ------------------------------------------------------------------------------------------------- */

static void test_untrusted_entries(void)
{
    static const mode_t modes[] = {0602, 0620, 0666, 0777};
    Place p;
    char path[256], other[256];
    place_make(&p);
    path_of(&p, 1, path, sizeof path);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        store(&p, 1);
        CU_ASSERT_EQUAL(chmod(path, modes[i]), 0);
        CU_ASSERT_EQUAL(find(&p, 1), 0);
        CU_ASSERT_EQUAL(access(path, F_OK), -1);
    }
    /* A link to a good entry elsewhere is not followed. */
    store(&p, 1);
    snprintf(other, sizeof other, "%s/elsewhere", p.root);
    CU_ASSERT_EQUAL(rename(path, other), 0);
    CU_ASSERT_EQUAL(symlink(other, path), 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    CU_ASSERT_EQUAL(access(other, F_OK), 0);
    store(&p, 1);
    CU_ASSERT_EQUAL(find(&p, 1), 1);
    /* Neither a directory nor a pipe hangs or crashes. */
    unlink(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    rmdir(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    unlink(path);
    if (geteuid() == 0) { /* only root can give files away */
        store(&p, 1);
        CU_ASSERT_EQUAL(chown(path, 12345, 12345), 0);
        CU_ASSERT_EQUAL(find(&p, 1), 0);
        CU_ASSERT_EQUAL(access(path, F_OK), -1);
    }
    place_remove(&p);
}

static void make_plain(const char *dir) { CU_ASSERT_EQUAL(mkdir(dir, 0755), 0); }
static void make_open(const char *dir) { make_plain(dir); CU_ASSERT_EQUAL(chmod(dir, 0777), 0); }
static void make_sticky(const char *dir) { make_plain(dir); CU_ASSERT_EQUAL(chmod(dir, 01777), 0); }
static void make_group(const char *dir) { make_plain(dir); CU_ASSERT_EQUAL(chmod(dir, 0770), 0); }
static void make_file(const char *dir)
{
    int fd = open(dir, O_CREAT | O_WRONLY, 0600);
    CU_ASSERT_TRUE(fd >= 0);
    close(fd);
}
static void make_link(const char *dir) { CU_ASSERT_EQUAL(symlink("/tmp", dir), 0); }
static void make_dangling(const char *dir) { CU_ASSERT_EQUAL(symlink("/nowhere/at/all", dir), 0); }
static void make_foreign(const char *dir) { make_plain(dir); CU_ASSERT_EQUAL(chown(dir, 12345, 12345), 0); }

static void test_untrusted_directories(void)
{
    static const struct {
        void (*make)(const char *dir);
        const char *says; /* NULL: usable */
        bool root_only;
    } rows[] = {
        {make_plain, NULL, false},
        {make_open, "everyone may write", false},
        {make_sticky, "everyone may write", false},
        {make_group, "group may write", false},
        {make_file, "no directory", false},
        {make_link, "no directory", false},
        {make_dangling, "no directory", false},
        {make_foreign, "another user", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].root_only && geteuid() != 0)
            continue;
        Place p;
        strcpy(p.root, "/tmp/attune-cache-XXXXXX");
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p.root));
        snprintf(p.dir, sizeof p.dir, "%s/d", p.root);
        rows[i].make(p.dir);
        place_open(&p, ATTUNE_CACHE_ON, NULL, 0);
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), rows[i].says ? 0 : 1);
        CU_ASSERT_EQUAL(p.warnings, rows[i].says ? 1 : 0);
        if (rows[i].says)
            CHECK_CONTAINS(p.warning, rows[i].says);
        AttuneError *error = NULL;
        CU_ASSERT_EQUAL(cache_visit(p.cache, false, NULL, NULL, &error),
                        rows[i].says ? ATTUNE_ERROR_IO : ATTUNE_OK);
        attune_error_free(error);
        place_remove(&p);
    }
}

/* A pre-placed file or link where a new entry is written is never followed: names cannot be guessed and
 * O_EXCL holds. */
static void test_directory_vanishes(void)
{
    Place p;
    place_make(&p);
    store(&p, 1);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p.dir);
    CU_ASSERT_EQUAL(system(command), 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    store(&p, 1); /* cannot be kept, is only warned about */
    CU_ASSERT_EQUAL(p.warnings, 1);
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    key_of(1, key);
    CU_ASSERT_FALSE(cache_lock(p.cache, key, &lock));
    cache_unlock(p.cache, &lock);
    place_remove(&p);
}

/* Failing calls ----------------------------------------------------------------------------------------- */

typedef struct IoRow {
    Fault fault;
    bool stored; /* the entry is there although the call failed */
} IoRow;

static const IoRow store_rows[] = {
    {{FAULT_OPENAT, FAULT_ERROR, ENOSPC, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EACCES, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EROFS, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EMFILE, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EDQUOT, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EEXIST, 1, false}, true},
    {{FAULT_OPENAT, FAULT_ERROR, EINTR, 1, false}, true},
    {{FAULT_OPENAT, FAULT_ERROR, EEXIST, 1, true}, false},
    {{FAULT_WRITE, FAULT_ERROR, ENOSPC, 1, false}, false},
    {{FAULT_WRITE, FAULT_ERROR, ENOSPC, 2, false}, false},
    {{FAULT_WRITE, FAULT_ERROR, EIO, 1, true}, false},
    {{FAULT_WRITE, FAULT_ERROR, EINTR, 1, false}, true},
    {{FAULT_WRITE, FAULT_ERROR, EINTR, 2, false}, true},
    {{FAULT_WRITE, FAULT_SHORT, 0, 1, true}, true},
    {{FAULT_WRITE, FAULT_SHORT, 0, 2, false}, true},
    {{FAULT_WRITE, FAULT_ZERO, 0, 2, true}, false},
    {{FAULT_FSYNC, FAULT_ERROR, EIO, 1, false}, false},
    {{FAULT_FSYNC, FAULT_ERROR, ENOSPC, 1, false}, false},
    {{FAULT_FSYNC, FAULT_ERROR, EINTR, 1, false}, true},
    {{FAULT_FSYNC, FAULT_ERROR, EIO, 2, false}, true},
    {{FAULT_CLOSE, FAULT_ERROR, EIO, 1, false}, false},
    {{FAULT_CLOSE, FAULT_ERROR, EINTR, 1, false}, true},
    {{FAULT_CLOSE, FAULT_ERROR, EDQUOT, 1, false}, false},
    {{FAULT_RENAMEAT, FAULT_ERROR, EACCES, 1, false}, false},
    {{FAULT_RENAMEAT, FAULT_ERROR, ENOSPC, 1, false}, false},
    {{FAULT_RENAMEAT, FAULT_ERROR, EBUSY, 1, true}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EMFILE, 2, false}, true}, /* listing for the size limit */
};

static void test_failing_stores(void)
{
    for (size_t i = 0; i < sizeof store_rows / sizeof store_rows[0]; i++) {
        const IoRow *row = &store_rows[i];
        Place p;
        place_make(&p);
        fault_arm(row->fault);
        store(&p, 1);
        CU_ASSERT_TRUE(fault_disarm() >= row->fault.nth); /* the fault did happen */
        if (find(&p, 1) != (row->stored ? 1 : 0)) {
            printf("\nrow %zu, %s\n", i, fault_names[row->fault.call]);
            CU_FAIL("the entry is not as expected");
        }
        CU_ASSERT_EQUAL(p.warnings, row->stored ? 0 : 1);
        CU_ASSERT_EQUAL(count_files(&p, CACHE_FRESH), 0); /* nothing half written stays */
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), 1);
        place_remove(&p);
    }
}

static const IoRow find_rows[] = {
    {{FAULT_OPENAT, FAULT_ERROR, EACCES, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, EMFILE, 1, false}, false},
    {{FAULT_OPENAT, FAULT_ERROR, ESTALE, 1, false}, false},
    {{FAULT_FSTAT, FAULT_ERROR, EIO, 1, false}, false},
    {{FAULT_READ, FAULT_ERROR, EIO, 1, false}, false},
    {{FAULT_READ, FAULT_ERROR, EIO, 2, false}, false},
    {{FAULT_READ, FAULT_ERROR, EINTR, 1, false}, true},
    {{FAULT_READ, FAULT_ERROR, EINTR, 2, false}, true},
    {{FAULT_READ, FAULT_SHORT, 0, 1, true}, true},
    {{FAULT_READ, FAULT_ZERO, 0, 2, true}, false},
    {{FAULT_FUTIMENS, FAULT_ERROR, EPERM, 1, false}, true},
    {{FAULT_CLOSE, FAULT_ERROR, EIO, 1, false}, true},
};

static void test_failing_finds(void)
{
    for (size_t i = 0; i < sizeof find_rows / sizeof find_rows[0]; i++) {
        const IoRow *row = &find_rows[i];
        Place p;
        place_make(&p);
        store(&p, 1);
        fault_arm(row->fault);
        CU_ASSERT_EQUAL(find(&p, 1), row->stored ? 1 : 0);
        CU_ASSERT_TRUE(fault_disarm() >= row->fault.nth);
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), 1);
        place_remove(&p);
    }
    /* A damaged entry that cannot be deleted is only never believed. */
    Place p;
    char path[256];
    place_make(&p);
    store(&p, 1);
    path_of(&p, 1, path, sizeof path);
    damage_file(path, &damages[0]);
    fault_arm((Fault){FAULT_UNLINKAT, FAULT_ERROR, EACCES, 1, true});
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    CU_ASSERT_EQUAL(fault_disarm(), 2);
    place_remove(&p);
}

static void test_failing_opens(void)
{
    static const Fault rows[] = {
        {FAULT_OPEN, FAULT_ERROR, EACCES, 1, true},  {FAULT_OPEN, FAULT_ERROR, EMFILE, 1, true},
        {FAULT_MKDIR, FAULT_ERROR, EACCES, 1, true}, {FAULT_MKDIR, FAULT_ERROR, EROFS, 1, true},
        {FAULT_MKDIR, FAULT_ERROR, ENOSPC, 3, true}, {FAULT_FSTAT, FAULT_ERROR, EIO, 1, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Place p;
        strcpy(p.root, "/tmp/attune-cache-XXXXXX");
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p.root));
        snprintf(p.dir, sizeof p.dir, "%s/x/y/z", p.root);
        fault_arm(rows[i]);
        place_open(&p, ATTUNE_CACHE_ON, NULL, 0);
        CU_ASSERT_TRUE(fault_disarm() >= rows[i].nth);
        CU_ASSERT_EQUAL(p.warnings, 1);
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), 0);
        place_remove(&p);
    }
}

static void test_failing_locks(void)
{
    static const struct {
        Fault fault;
        bool locked;
    } rows[] = {
        {{FAULT_OPENAT, FAULT_ERROR, EACCES, 1, true}, false},
        {{FAULT_FLOCK, FAULT_ERROR, ENOLCK, 1, true}, false},
        {{FAULT_FLOCK, FAULT_ERROR, EOPNOTSUPP, 1, true}, false},
        {{FAULT_FLOCK, FAULT_ERROR, EINTR, 1, false}, true},
        {{FAULT_OPENAT, FAULT_ERROR, EINTR, 1, false}, true},
        {{FAULT_FSTAT, FAULT_ERROR, EIO, 1, false}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Place p;
        CacheLock lock;
        unsigned char key[CACHE_KEY_BYTES];
        place_make(&p);
        key_of(1, key);
        fault_arm(rows[i].fault);
        CU_ASSERT_EQUAL(cache_lock(p.cache, key, &lock), rows[i].locked);
        fault_disarm();
        cache_unlock(p.cache, &lock);
        cache_unlock(p.cache, &lock); /* twice is harmless */
        place_remove(&p);
    }
}

/* A file system that is really full: only root can mount one. */
static void test_full_disk(void)
{
    Place p;
    char command[200];
    place_make(&p);
    snprintf(command, sizeof command, "mount -t tmpfs -o size=16k,mode=700 tmpfs %s 2>/dev/null", p.dir);
    if (geteuid() == 0 && system(command) == 0) {
        place_close(&p);
        place_open(&p, ATTUNE_CACHE_ON, NULL, 0);
        for (int i = 0; i < 8; i++)
            store(&p, i);
        CU_ASSERT_EQUAL(p.warnings, 1);
        CHECK_CONTAINS(p.warning, "No space left");
        CU_ASSERT_EQUAL(count_files(&p, CACHE_FRESH), 0);
        int kept = 0;
        for (int i = 0; i < 8; i++) {
            int found = find(&p, i);
            CU_ASSERT_TRUE(found >= 0);
            kept += found;
        }
        CU_ASSERT_TRUE(kept >= 1 && kept < 8);
        snprintf(command, sizeof command, "umount -l %s", p.dir);
        CU_ASSERT_EQUAL(system(command), 0);
    }
    place_remove(&p);
}

/* Crashes ----------------------------------------------------------------------------------------------- */

/* Dies at the n-th call of storing, for every n: a reader sees the old entry, the new one or none. */
static void test_death_at_every_call(void)
{
    Place p;
    place_make(&p);
    int deaths = 0;
    for (int n = 1; n < 200; n++) {
        bool fresh = n % 2;
        if (fresh) {
            char path[256];
            path_of(&p, 1, path, sizeof path);
            unlink(path);
        }
        pid_t child = fork();
        if (child == 0) {
            fault_arm((Fault){FAULT_OPEN, FAULT_DIE, 0, n, false});
            store(&p, 1);
            _exit(0);
        }
        int status = -1, found = find(&p, 1);
        CU_ASSERT_TRUE(found >= 0);
        waitpid(child, &status, 0);
        found = find(&p, 1);
        CU_ASSERT_TRUE(fresh ? found >= 0 : found == 1);
        if (!WIFSIGNALED(status))
            break;
        deaths++;
        store(&p, 1);
        CU_ASSERT_EQUAL(find(&p, 1), 1);
    }
    CU_ASSERT_TRUE(deaths >= 8);
    CU_ASSERT_EQUAL(p.warnings, 0);
    place_remove(&p);
}

static void test_kill_loop(void)
{
    Place p;
    place_make(&p);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0)
            for (int i = 0;; i++) {
                CacheLock lock;
                unsigned char key[CACHE_KEY_BYTES];
                key_of(i % 3, key);
                bool locked = cache_lock(p.cache, key, &lock);
                store(&p, i % 3);
                if (locked)
                    cache_unlock(p.cache, &lock);
            }
        nanosleep(&(struct timespec){0, 500000 + round * 137000 % 3000000}, NULL);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_TRUE(find(&p, i) >= 0);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_TRUE(find(&p, i) >= 0);
    }
    CU_ASSERT_EQUAL(p.warnings, 0);
    /* A dead holder's lock is nobody's. */
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    key_of(0, key);
    CU_ASSERT_TRUE(cache_lock(p.cache, key, &lock));
    cache_unlock(p.cache, &lock);
    place_remove(&p);
}

/* Crowds ------------------------------------------------------------------------------------------------ */

typedef struct Shared {
    atomic_int compiled, wrong, inside, together;
} Shared;

static Shared *shared_new(void)
{
    Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset((void *)s, 0, sizeof *s);
    return s;
}

/* What jit.c does for one kernel. */
static void get_or_compile(Place *p, Shared *s, int number)
{
    int found = find(p, number);
    if (found == 0) {
        CacheLock lock;
        unsigned char key[CACHE_KEY_BYTES];
        key_of(number, key);
        bool locked = cache_lock(p->cache, key, &lock);
        found = find(p, number);
        if (found == 0) {
            if (locked && atomic_fetch_add(&s->inside, 1) != 0)
                atomic_fetch_add(&s->together, 1);
            nanosleep(&(struct timespec){0, 3000000}, NULL);
            atomic_fetch_add(&s->compiled, 1);
            store(p, number);
            found = find(p, number);
            if (locked)
                atomic_fetch_sub(&s->inside, 1);
        }
        cache_unlock(p->cache, &lock);
    }
    if (found != 1)
        atomic_fetch_add(&s->wrong, 1);
}

static void test_sixteen_processes(void)
{
    enum { CROWD = 16, ROUNDS = 12 };
    Shared *s = shared_new();
    Place p;
    place_make(&p);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[CROWD];
        for (int i = 0; i < CROWD; i++)
            if ((children[i] = fork()) == 0) {
                get_or_compile(&p, s, round);
                _exit(0);
            }
        for (int i = 0; i < CROWD; i++) {
            int status = -1;
            waitpid(children[i], &status, 0);
            CU_ASSERT_EQUAL(status, 0);
        }
    }
    CU_ASSERT_EQUAL(s->compiled, ROUNDS); /* one each */
    CU_ASSERT_EQUAL(s->wrong, 0);
    CU_ASSERT_EQUAL(s->together, 0);
    CU_ASSERT_EQUAL(count_files(&p, CACHE_LOCK_SUFFIX), 0);
    CU_ASSERT_EQUAL(count_files(&p, ""), ROUNDS);
    munmap(s, sizeof *s);
    place_remove(&p);
}

typedef struct Member {
    Place *place;
    Shared *shared;
} Member;

static void *member_main(void *argument)
{
    Member *member = argument;
    for (int i = 0; i < 20; i++)
        get_or_compile(member->place, member->shared, i);
    return NULL;
}

static void test_threads(void)
{
    enum { CROWD = 8 };
    Shared *s = shared_new();
    Place p;
    place_make(&p);
    Member member = {&p, s};
    pthread_t threads[CROWD];
    for (int i = 0; i < CROWD; i++)
        pthread_create(&threads[i], NULL, member_main, &member);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(s->compiled, 20);
    CU_ASSERT_EQUAL(s->wrong, 0);
    munmap(s, sizeof *s);
    place_remove(&p);
}

static void test_lock_timeout(void)
{
    Place p;
    CacheLock mine, other;
    unsigned char key[CACHE_KEY_BYTES], second[CACHE_KEY_BYTES];
    place_make(&p);
    key_of(1, key);
    key_of(2, second);
    CU_ASSERT_TRUE(cache_lock(p.cache, key, &mine));
    p.cache->lock_ms = 60;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CU_ASSERT_FALSE(cache_lock(p.cache, key, &other));
    clock_gettime(CLOCK_MONOTONIC, &after);
    double waited = (double)(after.tv_sec - before.tv_sec) * 1e3 +
                    (double)(after.tv_nsec - before.tv_nsec) * 1e-6;
    CU_ASSERT_TRUE(waited >= 50 && waited < 5000);
    CU_ASSERT_TRUE(cache_lock(p.cache, second, &other)); /* other kernels are not held back */
    cache_unlock(p.cache, &other);
    cache_unlock(p.cache, &mine);
    CU_ASSERT_TRUE(cache_lock(p.cache, key, &other));
    cache_unlock(p.cache, &other);
    place_remove(&p);
}

/* Read-only directories --------------------------------------------------------------------------------- */

static void test_read_only(void)
{
    Place p, q;
    char path[256];
    struct stat before, after;
    place_make(&p);
    store(&p, 1);
    store(&p, 2);
    path_of(&p, 2, path, sizeof path);
    damage_file(path, &damages[16]);
    path_of(&p, 1, path, sizeof path);
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    utimensat(AT_FDCWD, path, old, 0);
    place_close(&p);
    stat(path, &before);
    place_open(&p, ATTUNE_CACHE_READ_ONLY, NULL, 0);
    CU_ASSERT_EQUAL(find(&p, 1), 1);
    CU_ASSERT_EQUAL(find(&p, 2), 0);
    store(&p, 3);
    CU_ASSERT_EQUAL(find(&p, 3), 0);
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    key_of(3, key);
    CU_ASSERT_FALSE(cache_lock(p.cache, key, &lock));
    CU_ASSERT_EQUAL(count_files(&p, ""), 2); /* the damaged one is left for its owner */
    stat(path, &after);
    CU_ASSERT_EQUAL(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(cache_shrink(p.cache, 0, NULL, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "read-only here");
    attune_error_free(error);

    /* As a second directory of somebody else. */
    place_make(&q);
    place_close(&q);
    const char *dirs[] = {"/nowhere/at/all", p.dir};
    place_open(&q, ATTUNE_CACHE_ON, dirs, 2);
    CU_ASSERT_EQUAL(find(&q, 1), 1);
    CU_ASSERT_EQUAL(find(&q, 3), 0);
    store(&q, 3);
    CU_ASSERT_EQUAL(find(&q, 3), 1);
    CU_ASSERT_EQUAL(count_files(&q, ""), 1);
    CU_ASSERT_EQUAL(count_files(&p, ""), 2);
    CU_ASSERT_EQUAL(q.warnings, 0);
    place_remove(&q);

    /* A missing directory is no fault, and is not made. */
    place_close(&p);
    snprintf(p.dir, sizeof p.dir, "%s/missing", p.root);
    place_open(&p, ATTUNE_CACHE_READ_ONLY, NULL, 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    CU_ASSERT_EQUAL(p.warnings, 0);
    CU_ASSERT_EQUAL(access(p.dir, F_OK), -1);
    place_remove(&p);
}

static void test_off(void)
{
    Place p;
    place_make(&p);
    store(&p, 1);
    place_close(&p);
    place_open(&p, ATTUNE_CACHE_OFF, NULL, 0);
    CU_ASSERT_EQUAL(find(&p, 1), 0);
    store(&p, 2);
    CU_ASSERT_EQUAL(count_files(&p, ""), 1);
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(cache_visit(p.cache, false, NULL, NULL, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "is off");
    attune_error_free(error);
    place_remove(&p);
}

/* Tools ------------------------------------------------------------------------------------------------- */

static void age(const Place *p, int number, long seconds)
{
    char path[256];
    path_of(p, number, path, sizeof path);
    const struct timespec times[2] = {{0, UTIME_OMIT}, {seconds, 0}};
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_least_recently_used(void)
{
    Place p;
    const int64_t bytes = (int64_t)sizeof(CacheHeader) + PAYLOAD;
    place_make(&p);
    for (int i = 0; i < 6; i++) {
        store(&p, i);
        age(&p, i, 1000 + i);
    }
    CU_ASSERT_EQUAL(find(&p, 0), 1); /* used now: the newest of all */
    p.cache->limit_bytes = 4 * bytes + 10;
    store(&p, 6);
    CU_ASSERT_EQUAL(count_files(&p, ""), 4);
    static const int kept[] = {0, 4, 5, 6}, gone[] = {1, 2, 3};
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(find(&p, kept[i]), 1);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(find(&p, gone[i]), 0);
    int64_t removed = -1;
    CU_ASSERT_EQUAL(cache_shrink(p.cache, bytes, &removed, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(removed, 3);
    CU_ASSERT_EQUAL(cache_shrink(p.cache, 0, &removed, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(removed, 1);
    CU_ASSERT_EQUAL(count_files(&p, ""), 0);
    fault_arm((Fault){FAULT_UNLINKAT, FAULT_ERROR, EACCES, 1, true});
    store(&p, 1);
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(cache_shrink(p.cache, 0, &removed, &error), ATTUNE_ERROR_IO);
    fault_disarm();
    CHECK_CONTAINS(attune_error_message(error), "cannot delete");
    attune_error_free(error);
    place_remove(&p);
}

/* What killed processes leave behind goes after an hour; other people's files never. */
static void test_strays(void)
{
    Place p;
    place_make(&p);
    unsigned char key[CACHE_KEY_BYTES];
    char text[CACHE_KEY_TEXT], names[4][CACHE_NAME_BYTES + 100];
    key_of(77, key);
    cache_key_text(key, text);
    snprintf(names[0], sizeof names[0], "%s/" CACHE_FRESH "1-2-3", p.dir);
    snprintf(names[1], sizeof names[1], "%s/%s" CACHE_LOCK_SUFFIX, p.dir, text);
    snprintf(names[2], sizeof names[2], "%s/" CACHE_FRESH "young", p.dir);
    snprintf(names[3], sizeof names[3], "%s/README", p.dir);
    for (int i = 0; i < 4; i++) {
        make_file(names[i]);
        const struct timespec old[2] = {{1000, 0}, {1000, 0}};
        if (i != 2)
            CU_ASSERT_EQUAL(utimensat(AT_FDCWD, names[i], old, 0), 0);
    }
    store(&p, 1);
    CU_ASSERT_EQUAL(access(names[0], F_OK), -1);
    CU_ASSERT_EQUAL(access(names[1], F_OK), -1);
    CU_ASSERT_EQUAL(access(names[2], F_OK), 0);
    CU_ASSERT_EQUAL(access(names[3], F_OK), 0);
    place_remove(&p);
}

typedef struct Visits {
    int count, valid;
    AttuneCacheEntry last;
    char name[64], target[64];
} Visits;

static void visit(void *user, const AttuneCacheEntry *entry)
{
    Visits *v = user;
    v->count++;
    v->valid += entry->valid;
    if (entry->valid) {
        v->last = *entry;
        snprintf(v->name, sizeof v->name, "%s", entry->name);
        snprintf(v->target, sizeof v->target, "%s", entry->target);
    }
}

static void test_visits(void)
{
    Place p;
    char path[256];
    place_make(&p);
    store(&p, 1);
    store(&p, 2);
    store(&p, 3);
    age(&p, 3, 5000);
    path_of(&p, 1, path, sizeof path);
    damage_file(path, &damages[18]); /* in the payload: a list does not see it */
    path_of(&p, 2, path, sizeof path);
    damage_file(path, &damages[0]);
    Visits v = {0};
    CU_ASSERT_EQUAL(attune_cache_list(p.context, visit, &v, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(v.count, 3);
    CU_ASSERT_EQUAL(v.valid, 2);
    CU_ASSERT_EQUAL(count_files(&p, ""), 3);
    CU_ASSERT_STRING_EQUAL(v.name, "causal");
    CU_ASSERT_STRING_EQUAL(v.target, "cpu");
    CU_ASSERT_EQUAL(v.last.dtype, ATTUNE_BF16);
    CU_ASSERT_EQUAL(v.last.d, 64);
    CU_ASSERT_EQUAL(v.last.e, 32);
    CU_ASSERT_EQUAL(v.last.bytes, (int64_t)sizeof(CacheHeader) + PAYLOAD);
    CU_ASSERT_EQUAL(v.last.used, 5000);
    v = (Visits){0};
    CU_ASSERT_EQUAL(attune_cache_verify(p.context, visit, &v, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(v.count, 3);
    CU_ASSERT_EQUAL(v.valid, 1);
    CU_ASSERT_EQUAL(count_files(&p, ""), 1);
    int64_t removed = 0;
    CU_ASSERT_EQUAL(attune_cache_clear(p.context, 0, &removed, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(removed, 1);
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(attune_cache_clear(p.context, -1, NULL, &error), ATTUNE_ERROR_ARGUMENT);
    attune_error_free(error);
    CU_ASSERT_EQUAL(attune_cache_list(NULL, visit, &v, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_cache_verify(NULL, visit, &v, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_cache_clear(NULL, 0, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(attune_cache_dir(p.context), p.dir);
    place_remove(&p);
}

int main(void)
{
    CU_TestInfo damage[] = {{"round trip", test_round_trip},
                            {"damage", test_damage},
                            {"untrusted entries", test_untrusted_entries},
                            {"untrusted directories", test_untrusted_directories},
                            {"vanishing directory", test_directory_vanishes},
                            CU_TEST_INFO_NULL};
    CU_TestInfo calls[] = {{"stores", test_failing_stores}, {"finds", test_failing_finds},
                           {"opening", test_failing_opens}, {"locks", test_failing_locks},
                           {"full disk", test_full_disk},   {"death at every call", test_death_at_every_call},
                           {"kill loop", test_kill_loop},   CU_TEST_INFO_NULL};
    CU_TestInfo crowds[] = {{"16 processes", test_sixteen_processes},
                            {"threads", test_threads},
                            {"lock timeout", test_lock_timeout},
                            CU_TEST_INFO_NULL};
    CU_TestInfo rest[] = {{"read-only", test_read_only},
                          {"off", test_off},
                          {"least recently used", test_least_recently_used},
                          {"strays", test_strays},
                          {"visits", test_visits},
                          CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"damage and trust", NULL, NULL, NULL, NULL, damage},
                             {"failing calls", NULL, NULL, NULL, NULL, calls},
                             {"crowds", NULL, NULL, NULL, NULL, crowds},
                             {"modes and tools", NULL, NULL, NULL, NULL, rest},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
