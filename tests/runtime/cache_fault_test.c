/* The disk cache under failing calls, crashes and crowds. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache_place.h"
#include "faults.h"

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
        place_store(&p, 1);
        CU_ASSERT_TRUE(fault_disarm() >= row->fault.nth); /* the fault did happen */
        if (place_find(&p, 1) != (row->stored ? 1 : 0)) {
            printf("\nrow %zu, %s\n", i, fault_names[row->fault.call]);
            CU_FAIL("the entry is not as expected");
        }
        CU_ASSERT_EQUAL(p.warnings, row->stored ? 0 : 1);
        CU_ASSERT_EQUAL(place_count(&p, CACHE_FRESH), 0); /* nothing half written stays */
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), 1);
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
        place_store(&p, 1);
        fault_arm(row->fault);
        CU_ASSERT_EQUAL(place_find(&p, 1), row->stored ? 1 : 0);
        CU_ASSERT_TRUE(fault_disarm() >= row->fault.nth);
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), 1);
        place_remove(&p);
    }
    /* A damaged entry that cannot be deleted is only never believed. */
    Place p;
    char path[256];
    place_make(&p);
    place_store(&p, 1);
    place_path(&p, 1, path, sizeof path);
    place_flip(path, 0);
    fault_arm((Fault){FAULT_UNLINKAT, FAULT_ERROR, EACCES, 1, true});
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
    CU_ASSERT_EQUAL(place_find(&p, 1), 0);
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
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), 0);
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
        place_key(1, key);
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
            place_store(&p, i);
        CU_ASSERT_EQUAL(p.warnings, 1);
        CHECK_CONTAINS(p.warning, "No space left");
        CU_ASSERT_EQUAL(place_count(&p, CACHE_FRESH), 0);
        int kept = 0;
        for (int i = 0; i < 8; i++) {
            int found = place_find(&p, i);
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
            place_path(&p, 1, path, sizeof path);
            unlink(path);
        }
        pid_t child = fork();
        if (child == 0) {
            fault_arm((Fault){FAULT_OPEN, FAULT_DIE, 0, n, false});
            place_store(&p, 1);
            _exit(0);
        }
        int status = -1, found = place_find(&p, 1);
        CU_ASSERT_TRUE(found >= 0);
        waitpid(child, &status, 0);
        found = place_find(&p, 1);
        CU_ASSERT_TRUE(fresh ? found >= 0 : found == 1);
        if (!WIFSIGNALED(status))
            break;
        deaths++;
        place_store(&p, 1);
        CU_ASSERT_EQUAL(place_find(&p, 1), 1);
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
                place_key(i % 3, key);
                bool locked = cache_lock(p.cache, key, &lock);
                place_store(&p, i % 3);
                if (locked)
                    cache_unlock(p.cache, &lock);
            }
        nanosleep(&(struct timespec){0, 500000 + round * 137000 % 3000000}, NULL);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_TRUE(place_find(&p, i) >= 0);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (int i = 0; i < 3; i++)
            CU_ASSERT_TRUE(place_find(&p, i) >= 0);
    }
    CU_ASSERT_EQUAL(p.warnings, 0);
    /* A dead holder's lock is nobody's. */
    CacheLock lock;
    unsigned char key[CACHE_KEY_BYTES];
    place_key(0, key);
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
    int found = place_find(p, number);
    if (found == 0) {
        CacheLock lock;
        unsigned char key[CACHE_KEY_BYTES];
        place_key(number, key);
        bool locked = cache_lock(p->cache, key, &lock);
        found = place_find(p, number);
        if (found == 0) {
            if (locked && atomic_fetch_add(&s->inside, 1) != 0)
                atomic_fetch_add(&s->together, 1);
            nanosleep(&(struct timespec){0, 3000000}, NULL);
            atomic_fetch_add(&s->compiled, 1);
            place_store(p, number);
            found = place_find(p, number);
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
    CU_ASSERT_EQUAL(place_count(&p, CACHE_LOCK_SUFFIX), 0);
    CU_ASSERT_EQUAL(place_count(&p, ""), ROUNDS);
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
    place_key(1, key);
    place_key(2, second);
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

int main(void)
{
    CU_TestInfo calls[] = {{"stores", test_failing_stores}, {"finds", test_failing_finds},
                           {"opening", test_failing_opens}, {"locks", test_failing_locks},
                           {"full disk", test_full_disk},   CU_TEST_INFO_NULL};
    CU_TestInfo crashes[] = {{"death at every call", test_death_at_every_call},
                             {"kill loop", test_kill_loop},
                             CU_TEST_INFO_NULL};
    CU_TestInfo crowds[] = {{"16 processes", test_sixteen_processes},
                            {"threads", test_threads},
                            {"lock timeout", test_lock_timeout},
                            CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"failing calls", NULL, NULL, NULL, NULL, calls},
                             {"crashes", NULL, NULL, NULL, NULL, crashes},
                             {"crowds", NULL, NULL, NULL, NULL, crowds},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
