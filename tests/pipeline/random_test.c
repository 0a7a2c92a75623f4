/* Random specs, small shapes: the interpreter against the reference, one in ten also as CPU code.
 *
 *     test_pipeline_random [--seed S] [--count N] [--seconds T] [--one SEED] [--cpu EVERY] [--jobs J]
 *
 * Workers take turns (worker w runs seeds S + w, S + w + J, ...), so that one which dies is replaced at its next seed.
 * A failure is printed with its seed and, made as small as it stays failing, its text and shape. */
#define _DEFAULT_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "random_spec.h"

enum { MAX_JOBS = 16, MAX_FAILURES = 10, CASE_SECONDS = 60 };

typedef enum Outcome { RAN_WELL, RAN_WRONG, REJECTED, CRASHED } Outcome;

/* Shared with the workers. */
typedef struct Board {
    volatile uint64_t seed;      /* at hand */
    volatile time_t begun;
    volatile long ran, on_cpu, elements, skipped, failed;
    volatile uint64_t failures[MAX_FAILURES];
} Board;

typedef struct Options {
    uint64_t seed, one;
    long count, seconds;
    int cpu_every, jobs;
    bool only_one;
} Options;

static unsigned backends_of(const Options *options, uint64_t seed)
{
    return CASE_INTERP | (ATTUNE_HAVE_LLVM && options->cpu_every && seed % (uint64_t)options->cpu_every == 0 ? CASE_CPU : 0);
}

/* `message` (of 600 bytes): what went wrong. */
static Outcome run_spec(const RandomSpec *random, unsigned backends, CaseVerdict *verdict, char *message)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Spec *spec = case_spec(arena, diag, "random.attn", random_spec_text(arena, random), NULL, 0);
    Outcome outcome = REJECTED;
    if (spec) {
        *verdict = case_run(spec, random->elem, &random->shape, backends);
        outcome = verdict->ok ? RAN_WELL : RAN_WRONG;
        snprintf(message, 600, "%s", verdict->message);
        if (!verdict->ok && strstr(message, "not compile"))
            outcome = REJECTED;
    } else {
        snprintf(message, 600, "%.590s", diag_to_text(diag));
    }
    arena_destroy(arena);
    return outcome;
}

/* Failures, one by one -------------------------------------------------------------------------------------- */

typedef struct Chase { unsigned backends; Outcome outcome; } Chase;

static Outcome run_apart(const RandomSpec *random, unsigned backends)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        CaseVerdict verdict;
        char message[600];
        alarm(CASE_SECONDS);
        if (!freopen("/dev/null", "w", stderr))
            _exit(CRASHED);
        _exit(run_spec(random, backends, &verdict, message));
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return RAN_WELL;
    return WIFEXITED(status) && WEXITSTATUS(status) <= REJECTED ? (Outcome)WEXITSTATUS(status) : CRASHED;
}

static bool fails_alike(void *user, const RandomSpec *random)
{
    const Chase *chase = user;
    return run_apart(random, chase->backends) == chase->outcome;
}

static void report(const Options *options, uint64_t seed)
{
    static const char *const names[] = {"runs well", "is wrong", "is rejected", "crashes"};
    Arena *arena = arena_create();
    RandomSpec *random = random_spec_create(arena, seed);
    Chase chase = {backends_of(options, seed), RAN_WELL};
    if ((chase.outcome = run_apart(random, CASE_INTERP)) != RAN_WELL)
        chase.backends = CASE_INTERP;
    else
        chase.outcome = run_apart(random, chase.backends);
    printf("seed %llu %s\n", (unsigned long long)seed, names[chase.outcome]);
    if (chase.outcome == RAN_WRONG || chase.outcome == CRASHED)
        random_spec_minimize(random, fails_alike, &chase);
    printf("%s// %s, %s\n", random_spec_text(arena, random), elem_type_name(random->elem), case_shape_text(arena, &random->shape));
    if (chase.outcome == RAN_WRONG || chase.outcome == REJECTED) {
        CaseVerdict verdict;
        char message[600];
        run_spec(random, chase.backends, &verdict, message);
        printf("// %s\n", message);
    }
    fflush(stdout);
    arena_destroy(arena);
}

/* Workers --------------------------------------------------------------------------------------------------- */

static void work(const Options *options, Board *board, uint64_t first, uint64_t end, time_t deadline)
{
    for (uint64_t seed = first; seed < end && time(NULL) < deadline; seed += (uint64_t)options->jobs) {
        board->seed = seed;
        board->begun = time(NULL);
        Arena *arena = arena_create();
        const RandomSpec *random = random_spec_create(arena, seed);
        CaseVerdict verdict = {0};
        char message[600];
        unsigned backends = backends_of(options, seed);
        Outcome outcome = run_spec(random, backends, &verdict, message);
        arena_destroy(arena);
        board->ran++;
        board->on_cpu += (backends & CASE_CPU) != 0;
        board->elements += verdict.compared;
        board->skipped += verdict.skipped;
        if (outcome != RAN_WELL) {
            if (board->failed < MAX_FAILURES)
                board->failures[board->failed] = seed;
            board->failed++;
        }
    }
}

typedef struct Pool {
    const Options *options;
    Board *boards;
    pid_t pids[MAX_JOBS];
    uint64_t end;
    time_t deadline;
} Pool;

static void start(Pool *pool, int job, uint64_t first)
{
    fflush(NULL);
    pool->boards[job].begun = time(NULL);
    pool->pids[job] = fork();
    if (pool->pids[job] == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        work(pool->options, &pool->boards[job], first, pool->end, pool->deadline);
        _exit(0);
    }
}

/* A worker that died or hangs failed at the seed at hand; the next one goes on behind it. */
static void note_death(Pool *pool, int job)
{
    Board *board = &pool->boards[job];
    if (board->failed < MAX_FAILURES)
        board->failures[board->failed] = board->seed;
    board->failed++;
    board->ran++;
    if (board->failed < MAX_FAILURES)
        start(pool, job, board->seed + (uint64_t)pool->options->jobs);
    else
        pool->pids[job] = 0;
}

static void watch(Pool *pool)
{
    for (int left = pool->options->jobs; left > 0;) {
        int status;
        pid_t done = waitpid(-1, &status, WNOHANG);
        if (done <= 0) {
            for (int job = 0; job < pool->options->jobs; job++)
                if (pool->pids[job] > 0 && time(NULL) - pool->boards[job].begun > CASE_SECONDS)
                    kill(pool->pids[job], SIGKILL);
            usleep(20000);
            continue;
        }
        for (int job = 0; job < pool->options->jobs; job++) {
            if (pool->pids[job] != done)
                continue;
            pool->pids[job] = 0;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                note_death(pool, job);
            left -= pool->pids[job] == 0;
        }
    }
}

static int run_all(const Options *options)
{
    size_t size = sizeof(Board) * MAX_JOBS;
    Board *boards = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (boards == MAP_FAILED)
        return 1;
    time_t begin = time(NULL);
    Pool pool = {options, boards, {0}, options->seed + (uint64_t)options->count, begin + options->seconds};
    for (int job = 0; job < options->jobs; job++)
        start(&pool, job, options->seed + (uint64_t)job);
    watch(&pool);
    long ran = 0, on_cpu = 0, elements = 0, skipped = 0, failed = 0;
    for (int job = 0; job < options->jobs; job++) {
        ran += boards[job].ran;
        on_cpu += boards[job].on_cpu;
        elements += boards[job].elements;
        skipped += boards[job].skipped;
        failed += boards[job].failed;
        for (long f = 0; f < boards[job].failed && f < MAX_FAILURES; f++)
            report(options, boards[job].failures[f]);
    }
    printf("%ld specs (of %ld), %ld also as CPU code, %ld elements compared, %ld skipped, %ld failures, %ld s\n", ran, options->count, on_cpu,
           elements, skipped, failed, (long)(time(NULL) - begin));
    munmap(boards, size);
    return failed > 0 || ran == 0 || skipped * 1000 > elements;
}

int main(int argc, char **argv)
{
    Options options = {.seed = 1, .count = RANDOM_SPECS, .seconds = 345, .cpu_every = 10, .jobs = 2};
    for (int n = 1; n + 1 < argc; n += 2) {
        long long value = atoll(argv[n + 1]);
        if (!strcmp(argv[n], "--seed"))
            options.seed = (uint64_t)value;
        else if (!strcmp(argv[n], "--count"))
            options.count = (long)value;
        else if (!strcmp(argv[n], "--seconds"))
            options.seconds = (long)value;
        else if (!strcmp(argv[n], "--cpu"))
            options.cpu_every = (int)value;
        else if (!strcmp(argv[n], "--jobs"))
            options.jobs = value < 1 ? 1 : value > MAX_JOBS ? MAX_JOBS : (int)value;
        else if (!strcmp(argv[n], "--one"))
            options.only_one = true, options.one = (uint64_t)value;
    }
    if (options.only_one) {
        report(&options, options.one);
        return 0;
    }
    return run_all(&options);
}
