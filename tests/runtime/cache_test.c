/* The disk cache: damage, other users' files, modes, eviction, tools. Whatever happens, a lookup gives the
 * stored bytes or nothing, and the next compilation can be kept. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache_place.h"
#include "faults.h"

static void test_round_trip(void)
{
    Place p;
    char path[256];
    struct stat st;
    place_make(&p);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    place_store(&p, 1);
    place_store(&p, 2);
    CU_ASSERT_EQUAL(place_find(&p, 1), 1);
    CU_ASSERT_EQUAL(place_find(&p, 2), 1);
    CU_ASSERT_EQUAL(place_find(&p, 3), 0);
    place_store(&p, 1); /* over an entry that is there */
    CU_ASSERT_EQUAL(place_find(&p, 1), 1);
    unsigned char key[CACHE_KEY_BYTES];
    void *payload;
    size_t size = 1;
    place_key(9, key);
    cache_store(p.cache, key, &place_label, "", 0);
    CU_ASSERT_TRUE(cache_find(p.cache, key, &payload, &size));
    CU_ASSERT_EQUAL(size, 0);
    free(payload);
    CU_ASSERT_EQUAL(p.warnings, 0);
    CU_ASSERT_EQUAL(stat(p.dir, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0700);
    place_path(&p, 1, path, sizeof path);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(place_count(&p, ""), 3);
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
    struct stat st;
    if (d->at >= 0)
        place_flip(path, d->at);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    if (d->length >= 0 || d->cut)
        CU_ASSERT_EQUAL(truncate(path, d->length >= 0 ? d->length : st.st_size + d->cut), 0);
}

static void test_damage(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        Place p;
        char path[256];
        place_make(&p);
        place_store(&p, 1);
        place_store(&p, 2);
        place_path(&p, 1, path, sizeof path);
        damage_file(path, &damages[i]);
        CU_ASSERT_EQUAL(place_find(&p, 1), 0);
        CHECK_CONTAINS(p.warning, damages[i].says);
        CU_ASSERT_EQUAL(access(path, F_OK), -1); /* gone */
        CU_ASSERT_EQUAL(place_find(&p, 1), 0);
        place_path(&p, 2, path, sizeof path);
        damage_file(path, &damages[i]);
        CU_ASSERT_EQUAL(place_find(&p, 2), 0);
        CU_ASSERT_EQUAL(p.warnings, 1); /* once a context */
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), 1);
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
    place_path(&p, 1, path, sizeof path);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        place_store(&p, 1);
        CU_ASSERT_EQUAL(chmod(path, modes[i]), 0);
        CU_ASSERT_EQUAL(place_find(&p, 1), 0);
        CU_ASSERT_EQUAL(access(path, F_OK), -1);
    }
    /* A link to a good entry elsewhere is not followed. */
    place_store(&p, 1);
    snprintf(other, sizeof other, "%s/elsewhere", p.root);
    CU_ASSERT_EQUAL(rename(path, other), 0);
    CU_ASSERT_EQUAL(symlink(other, path), 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    CU_ASSERT_EQUAL(access(other, F_OK), 0);
    place_store(&p, 1);
    CU_ASSERT_EQUAL(place_find(&p, 1), 1);
    /* Neither a directory nor a pipe hangs or crashes. */
    unlink(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    rmdir(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    unlink(path);
    if (geteuid() == 0) { /* only root can give files away */
        place_store(&p, 1);
        CU_ASSERT_EQUAL(chown(path, 12345, 12345), 0);
        CU_ASSERT_EQUAL(place_find(&p, 1), 0);
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
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), rows[i].says ? 0 : 1);
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
    place_store(&p, 1);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p.dir);
    CU_ASSERT_EQUAL(system(command), 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    place_store(&p, 1); /* cannot be kept, is only warned about */
    CU_ASSERT_EQUAL(p.warnings, 1);
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    place_key(1, key);
    CU_ASSERT_FALSE(cache_lock(p.cache, key, &lock));
    cache_unlock(p.cache, &lock);
    place_remove(&p);
}

/* Read-only directories --------------------------------------------------------------------------------- */

static void test_read_only(void)
{
    Place p, q;
    char path[256];
    struct stat before, after;
    place_make(&p);
    place_store(&p, 1);
    place_store(&p, 2);
    place_path(&p, 2, path, sizeof path);
    damage_file(path, &damages[16]);
    place_path(&p, 1, path, sizeof path);
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    utimensat(AT_FDCWD, path, old, 0);
    place_close(&p);
    stat(path, &before);
    place_open(&p, ATTUNE_CACHE_READ_ONLY, NULL, 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 1);
    CU_ASSERT_EQUAL(place_find(&p, 2), 0);
    place_store(&p, 3);
    CU_ASSERT_EQUAL(place_find(&p, 3), 0);
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    place_key(3, key);
    CU_ASSERT_FALSE(cache_lock(p.cache, key, &lock));
    CU_ASSERT_EQUAL(place_count(&p, ""), 2); /* the damaged one is left for its owner */
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
    CU_ASSERT_EQUAL(place_find(&q, 1), 1);
    CU_ASSERT_EQUAL(place_find(&q, 3), 0);
    place_store(&q, 3);
    CU_ASSERT_EQUAL(place_find(&q, 3), 1);
    CU_ASSERT_EQUAL(place_count(&q, ""), 1);
    CU_ASSERT_EQUAL(place_count(&p, ""), 2);
    CU_ASSERT_EQUAL(q.warnings, 0);
    place_remove(&q);

    /* A missing directory is no fault, and is not made. */
    place_close(&p);
    snprintf(p.dir, sizeof p.dir, "%s/missing", p.root);
    place_open(&p, ATTUNE_CACHE_READ_ONLY, NULL, 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    CU_ASSERT_EQUAL(p.warnings, 0);
    CU_ASSERT_EQUAL(access(p.dir, F_OK), -1);
    place_remove(&p);
}

static void test_off(void)
{
    Place p;
    place_make(&p);
    place_store(&p, 1);
    place_close(&p);
    place_open(&p, ATTUNE_CACHE_OFF, NULL, 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    place_store(&p, 2);
    CU_ASSERT_EQUAL(place_count(&p, ""), 1);
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
    place_path(p, number, path, sizeof path);
    const struct timespec times[2] = {{0, UTIME_OMIT}, {seconds, 0}};
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_least_recently_used(void)
{
    Place p;
    const int64_t bytes = (int64_t)sizeof(CacheHeader) + PAYLOAD;
    place_make(&p);
    for (int i = 0; i < 6; i++) {
        place_store(&p, i);
        age(&p, i, 1000 + i);
    }
    CU_ASSERT_EQUAL(place_find(&p, 0), 1); /* used now: the newest of all */
    p.cache->limit_bytes = 4 * bytes + 10;
    place_store(&p, 6);
    CU_ASSERT_EQUAL(place_count(&p, ""), 4);
    static const int kept[] = {0, 4, 5, 6}, gone[] = {1, 2, 3};
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(place_find(&p, kept[i]), 1);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(place_find(&p, gone[i]), 0);
    int64_t removed = -1;
    CU_ASSERT_EQUAL(cache_shrink(p.cache, bytes, &removed, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(removed, 3);
    CU_ASSERT_EQUAL(cache_shrink(p.cache, 0, &removed, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(removed, 1);
    CU_ASSERT_EQUAL(place_count(&p, ""), 0);
    fault_arm((Fault){FAULT_UNLINKAT, FAULT_ERROR, EACCES, 1, true});
    place_store(&p, 1);
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
    place_key(77, key);
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
    place_store(&p, 1);
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
    place_store(&p, 1);
    place_store(&p, 2);
    place_store(&p, 3);
    age(&p, 3, 5000);
    place_path(&p, 1, path, sizeof path);
    damage_file(path, &damages[18]); /* in the payload: a list does not see it */
    place_path(&p, 2, path, sizeof path);
    damage_file(path, &damages[0]);
    Visits v = {0};
    CU_ASSERT_EQUAL(attune_cache_list(p.context, visit, &v, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(v.count, 3);
    CU_ASSERT_EQUAL(v.valid, 2);
    CU_ASSERT_EQUAL(place_count(&p, ""), 3);
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
    CU_ASSERT_EQUAL(place_count(&p, ""), 1);
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
    CU_TestInfo rest[] = {{"read-only", test_read_only},
                          {"off", test_off},
                          {"least recently used", test_least_recently_used},
                          {"strays", test_strays},
                          {"visits", test_visits},
                          CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"damage and trust", NULL, NULL, NULL, NULL, damage},
                             {"modes and tools", NULL, NULL, NULL, NULL, rest},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}

