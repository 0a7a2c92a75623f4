/* Every shipped kernel on a GPU (or any target) against the double reference, over shapes that find bugs, in many
 * processes at once: each takes the next unit, a kernel at one type and widths, compiles it and runs all shapes on it.
 * A process that a kernel has broken or hung is replaced. See usage() for the options. */
#define _DEFAULT_SOURCE
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device_case.h"
#include "tests/pipeline/shipped.h"
#include "tests/support/random.h"

enum { SKIPPED = 77, MAX_JOBS = 64, MAX_UNITS = 8192, PLACE_BYTES = 48 << 20, MESSAGES = 200, UNIT_SECONDS = 60 };

static void usage(void)
{
    puts("test_spec_device [OPTION]...\n"
         "  --target T       cuda\n"
         "  --kernels DIR    kernels\n"
         "  --filter NAME    kernels whose path holds NAME (may be given several times)\n"
         "  --dtype T        only bf16, f16 or f32\n"
         "  --set KEY=VALUE  a setting of every kernel, as lowering=recurrent (may be given several times)\n"
         "  --width D        only this width of q and k\n"
         "  --shape S        only this shape: B=1,H=2,G=1,M=130,N=257,offset=127 or M=9x7\n"
         "  --quick          only the first widths and types\n"
         "  --random N       N more shapes a kernel, drawn from --seed (default 8)\n"
         "  --seed N         1\n"
         "  --repeat N       launch every case N times, which must give the same bits (1)\n"
         "  --jobs N         processes (16); 1 runs all in this one\n"
         "  --part K/N       only each N-th unit, from the K-th (1..N)\n"
         "  --limit S        begin no case after S seconds\n"
         "  --compile        only compile (into the disk cache); needs no GPU\n"
         "  --list           print the units\n"
         "  --all-must-fail  for a driver that computes nothing: exit status 0 when no case passed that compared anything");
}

typedef struct Options {
    const char *target, *kernels, *filters[16], *dtype;
    AttuneSetting set[8];
    int set_count, filter_count, random, repeat, jobs, part, parts;
    int64_t width;
    bool has_shape, quick, compile, list, all_must_fail;
    CaseShape shape;
    uint64_t seed;
    double limit;
} Options;
static Options options = {.target = "cuda", .kernels = "kernels", .random = 8, .repeat = 1, .jobs = 16, .part = 1, .parts = 1, .seed = 1,
                          .limit = 1e9};

/* Units ------------------------------------------------------------------------------------------------------ */

/* Types and widths, those that matter most first. small: windows narrower than the small shapes. */
static const struct Form {
    ElemType elem;
    int64_t D, E;
    bool small;
} forms[] = {
    {ELEM_TYPE_BF16, 64, 64, true},   {ELEM_TYPE_BF16, 128, 128, true}, {ELEM_TYPE_F16, 64, 64, false}, {ELEM_TYPE_BF16, 256, 256, true},
    {ELEM_TYPE_F16, 128, 128, true},  {ELEM_TYPE_F16, 128, 64, true},   {ELEM_TYPE_F32, 64, 64, true},  {ELEM_TYPE_BF16, 40, 24, true},
    {ELEM_TYPE_BF16, 96, 96, true},   {ELEM_TYPE_F16, 17, 3, true},     {ELEM_TYPE_BF16, 128, 128, false}, {ELEM_TYPE_F32, 16, 16, true},
    {ELEM_TYPE_BF16, 192, 128, true}, {ELEM_TYPE_F16, 256, 256, true},  {ELEM_TYPE_BF16, 80, 80, true}, {ELEM_TYPE_BF16, 16, 16, true},
    {ELEM_TYPE_BF16, 576, 512, true}, {ELEM_TYPE_F32, 128, 100, true},
};
enum { FORM_COUNT = sizeof forms / sizeof *forms, QUICK_FORMS = 3 };

typedef struct Unit {
    int kernel, form;
} Unit;
static char *kernel_paths[SHIPPED_MAX_KERNELS];
static int kernel_count, unit_count;
static Unit units[MAX_UNITS];

static bool wanted(const char *path)
{
    bool found = options.filter_count == 0;
    for (int n = 0; n < options.filter_count; n++)
        found |= strstr(path, options.filters[n]) != NULL;
    return found;
}

static void make_units(void)
{
    int at = 0;
    kernel_count = shipped_kernels(options.kernels, kernel_paths);
    for (int f = 0; f < FORM_COUNT && !(options.quick && f >= QUICK_FORMS); f++)
        for (int k = 0; k < kernel_count; k++)
            if (wanted(kernel_paths[k]) && (!options.dtype || !strcmp(options.dtype, elem_type_name(forms[f].elem))) &&
                (!options.width || options.width == forms[f].D) && at++ % options.parts == options.part - 1 && unit_count < MAX_UNITS)
                units[unit_count++] = (Unit){k, f};
}

/* Shapes ------------------------------------------------------------------------------------------------------ */

#define SHAPE(b, h, g, m, n, ...) {.B = b, .H = h, .G = g, .M = m, .N = n, __VA_ARGS__}

static const CaseShape line_shapes[] = {
    SHAPE(1, 2, 1, 513, 513, .offset = 0),
    SHAPE(1, 3, 1, 130, 331, .offset = 201),
    SHAPE(2, 2, 2, 128, 128, .layout = CASE_BMHD),
    SHAPE(1, 7, 1, 31, 129, .layout = CASE_STRIDED),
    SHAPE(2, 2, 1, 192, 257, .layout = CASE_STRIDED, .q_size = 1e4),
    SHAPE(1, 1, 1, 1, 1, .offset = 0),
    SHAPE(2, 8, 2, 1, 700, .offset = 699),
    SHAPE(2, 2, 2, 0, 5, .offset = 0),
    SHAPE(2, 2, 2, 5, 0, .offset = 0),
    SHAPE(1, 2, 1, 257, 64, .layout = CASE_BROADCAST_KV),
    SHAPE(2, 2, 2, 137, 250, .layout = CASE_BROADCAST_Q, .q_size = 1e4),
    SHAPE(4, 2, 1, 0, 0, .ragged = true, .q_length = {17, 0, 1, 140}, .k_length = {17, 0, 133, 140}),
    SHAPE(3, 3, 3, 0, 0, .ragged = true, .q_length = {133, 5, 0}, .k_length = {265, 5, 3}, .layout = CASE_STRIDED),
    SHAPE(3, 2, 2, 0, 0, .ragged = true, .q_length = {2, 131, 7}, .k_length = {20, 149, 25}, .offset = 18, .layout = CASE_BMHD),
    SHAPE(1, 5, 5, 127, 129, .layout = CASE_BMHD),
    SHAPE(3, 4, 1, 65, 383, .offset = 318),
};
static const CaseShape plane_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, .m_axis = {19, 17}, .n_axis = {19, 17}),
    SHAPE(2, 3, 1, 0, 0, .m_axis = {5, 17}, .n_axis = {11, 18}, .layout = CASE_STRIDED),
    SHAPE(1, 2, 2, 0, 0, .m_axis = {16, 16}, .n_axis = {16, 16}, .layout = CASE_BMHD),
    SHAPE(1, 1, 1, 0, 0, .m_axis = {1, 1}, .n_axis = {1, 1}),
    SHAPE(1, 1, 1, 0, 0, .m_axis = {0, 3}, .n_axis = {2, 3}),
    SHAPE(1, 1, 1, 0, 0, .m_axis = {2, 3}, .n_axis = {2, 0}),
    SHAPE(1, 2, 1, 0, 0, .m_axis = {1, 140}, .n_axis = {133, 1}, .layout = CASE_BROADCAST_KV),
    SHAPE(1, 1, 1, 0, 0, .m_axis = {33, 10}, .n_axis = {33, 10}, .q_size = 1e4),
};
static const CaseShape space_shapes[] = {
    SHAPE(1, 2, 1, 0, 0, .m_axis = {6, 7, 9}, .n_axis = {6, 7, 9}),
    SHAPE(1, 3, 3, 0, 0, .m_axis = {3, 2, 19}, .n_axis = {5, 7, 3}, .layout = CASE_STRIDED),
    SHAPE(1, 1, 1, 0, 0, .m_axis = {1, 1, 1}, .n_axis = {1, 1, 1}),
    SHAPE(2, 2, 1, 0, 0, .m_axis = {4, 6, 5}, .n_axis = {4, 6, 5}, .q_size = 1e4, .layout = CASE_BMHD),
};

static int fixed_shapes(int rank, const CaseShape **shapes)
{
    *shapes = rank == 1 ? line_shapes : rank == 2 ? plane_shapes : space_shapes;
    return rank == 1   ? (int)(sizeof line_shapes / sizeof *line_shapes)
           : rank == 2 ? (int)(sizeof plane_shapes / sizeof *plane_shapes)
                       : (int)(sizeof space_shapes / sizeof *space_shapes);
}

static int64_t random_length(Random *random)
{
    static const int64_t edges[] = {1, 2, 15, 16, 17, 63, 64, 65, 79, 80, 81, 127, 128, 129, 175, 176, 177, 191, 192, 193, 255, 256, 257, 384, 400};
    return random_between(random, 0, 2) ? edges[random_between(random, 0, sizeof edges / sizeof *edges - 1)] : random_between(random, 1, 450);
}

static CaseShape random_shape(int rank, Random *random)
{
    CaseShape s = {.B = random_between(random, 1, 3), .G = random_between(random, 1, 3),
                   .layout = (CaseLayout)random_between(random, 0, CASE_LAYOUT_COUNT - 1)};
    s.H = s.G * random_between(random, 1, 4);
    if (random_between(random, 0, 7) == 0)
        s.q_size = 1e4;
    for (int a = 0; a < rank && rank > 1; a++) {
        s.m_axis[a] = random_between(random, 1, rank == 2 ? 24 : 8);
        s.n_axis[a] = random_between(random, 0, 2) ? s.m_axis[a] : random_between(random, 1, rank == 2 ? 24 : 8);
    }
    if (rank > 1)
        return s;
    if (random_between(random, 0, 4) == 0) {
        s.ragged = true;
        s.B = random_between(random, 1, 5);
        for (int64_t b = 0; b < s.B; b++) {
            s.k_length[b] = random_between(random, 0, 3) ? random_length(random) : 0;
            s.q_length[b] = random_between(random, 0, 2) ? random_between(random, 0, s.k_length[b]) : random_length(random);
        }
        return s;
    }
    s.M = random_length(random);
    s.N = random_length(random);
    if (s.N > s.M && random_between(random, 0, 1))
        s.offset = s.N - s.M;
    if (s.B * s.H * s.M * s.N > 600000)
        s.B = 1, s.H = s.G = s.G > 1 ? 2 : 1;
    return s;
}

/* Work -------------------------------------------------------------------------------------------------------- */

typedef struct Tally {
    atomic_long passed, failed, refused, elements, skipped, later, no_kernel, cases_cut;
} Tally;

/* Shared by the processes. */
typedef struct Board {
    atomic_int next, message_count;
    atomic_long compiled, compile_ms;
    Tally tally[SHIPPED_MAX_KERNELS];
    struct {
        _Atomic double since;  /* when the unit at hand made its last step; 0: none */
        atomic_int unit;
        char what[200];
    } job[MAX_JOBS];
    char message[MESSAGES][512];
} Board;
static Board *board;
static double begin;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool in_time(void) { return now() - begin < options.limit; }

static void report(int unit, const char *shape, const char *text)
{
    int at = board->message_count++;
    const struct Form *form = &forms[units[unit].form];
    if (at < MESSAGES)
        snprintf(board->message[at], sizeof board->message[at], "%s %s D %lld E %lld%s; %s: %.250s", kernel_paths[units[unit].kernel],
                 elem_type_name(form->elem), (long long)form->D, (long long)form->E, form->small ? " small" : "", shape, text);
}

static bool on_device(void)
{
    return !strncmp(options.target, "cuda", 4) || !strncmp(options.target, "ptx", 3);
}

typedef struct Worker {
    AttuneContext *context;
    CasePlace place;
    int job;
    bool broken;
} Worker;

static bool worker_open(Worker *w, int job, AttuneError **error)
{
    Device *device = NULL;
    *w = (Worker){.job = job};
    w->context = attune_context_create(&(AttuneContextOptions){.threads = 1}, error);
    if (!w->context)
        return false;
    if (options.compile)
        return true;
    if (on_device() && device_get(w->context, 0, &device, error) != ATTUNE_OK)
        return false;
    return case_place_create(&w->place, device, PLACE_BYTES, error);
}

static void worker_close(Worker *w)
{
    case_place_destroy(&w->place);
    attune_context_destroy(w->context);
}

/* Settings that make the unit's kernel, as both interfaces take them. */
typedef struct UnitSpec {
    Arena *arena;
    Spec *spec;            /* for the reference */
    AttuneSpec *given;
    AttuneKernel *kernel;
} UnitSpec;

static bool unit_open(UnitSpec *u, Worker *w, int unit)
{
    const struct Form *form = &forms[units[unit].form];
    const char *path = kernel_paths[units[unit].kernel];
    Tally *tally = &board->tally[units[unit].kernel];
    SpecSetting settings[SHIPPED_MAX_SETTINGS];
    AttuneSetting given[SHIPPED_MAX_SETTINGS];
    int count = 0;
    *u = (UnitSpec){.arena = arena_create()};
    Diag *diag = diag_create(u->arena);
    u->spec = case_spec_file(u->arena, diag, path, NULL, 0);
    if (u->spec && form->small) {
        count = shipped_small_settings(u->spec, settings);
        u->spec = case_spec_file(u->arena, diag, path, settings, count);
    }
    if (!u->spec) {
        tally->no_kernel++;
        report(unit, "spec", diag_to_text(diag));
        return false;
    }
    for (int n = 0; n < count; n++)
        given[n] = (AttuneSetting){settings[n].name, settings[n].value};
    AttuneError *error = NULL;
    u->given = attune_spec_from_file(path, &(AttuneSpecOptions){.settings = given, .setting_count = count}, &error);
    CaseShape widths = {.D = form->D, .E = form->E};
    widths = shipped_shape(u->spec, path, &widths, 1);
    double start = now();
    if (u->given)
        u->kernel = attune_kernel_create(w->context, u->given,
                                         &(AttuneKernelOptions){.target = options.target, .dtype = attune_dtype_parse(elem_type_name(form->elem)),
                                                                .d = widths.D, .e = widths.E, .settings = options.set,
                                                                .setting_count = options.set_count}, &error);
    board->compile_ms += (long)((now() - start) * 1e3);
    board->compiled += u->kernel != NULL;
    const char *json = attune_error_json(error);
    if (json && strstr(json, "not-yet"))
        tally->later++;
    else if (error) {
        tally->no_kernel++;
        report(unit, "no kernel", attune_error_message(error));
    }
    attune_error_free(error);
    return u->kernel != NULL;
}

static void unit_close(UnitSpec *u)
{
    attune_kernel_destroy(u->kernel);
    attune_spec_destroy(u->given);
    arena_destroy(u->arena);
}

static void run_shape(Worker *w, UnitSpec *u, int unit, const CaseShape *given, uint64_t seed)
{
    const struct Form *form = &forms[units[unit].form];
    Tally *tally = &board->tally[units[unit].kernel];
    CaseShape shape = *given;
    shape.D = form->D;
    shape.E = form->E;
    int64_t in_16_bytes = 16 / elem_type_size(form->elem);
    shape = shipped_shape(u->spec, kernel_paths[units[unit].kernel], &shape, seed);
    if (shape.D % in_16_bytes == 0 && shape.E % in_16_bytes == 0)
        shape.align = in_16_bytes;
    if (!shipped_shape_fits(u->spec, &shape))
        return;
    if (!in_time()) {
        tally->cases_cut++;
        return;
    }
    CaseData *data = case_data_create(u->spec, form->elem, &shape);
    Arena *arena = arena_create();
    const char *text = case_shape_text(arena, &shape);
    snprintf(board->job[w->job].what, sizeof board->job[w->job].what, "%s", text);
    board->job[w->job].since = now();
    CaseVerdict verdict = {.message = "the case's data cannot be made"};
    CaseFate fate = data ? device_case_run(&w->place, u->kernel, data, options.repeat, &verdict) : CASE_FAILED;
    tally->passed += fate == CASE_PASSED;
    tally->refused += fate == CASE_REFUSED;
    tally->failed += fate == CASE_FAILED || fate == CASE_BROKEN;
    tally->elements += verdict.compared;
    tally->skipped += verdict.skipped;
    w->broken |= fate == CASE_BROKEN;
    if (fate != CASE_PASSED)
        report(unit, text, verdict.message);
    case_data_destroy(data);
    arena_destroy(arena);
}

static void run_unit(Worker *w, int unit)
{
    UnitSpec u;
    Random random = {options.seed * 1000003 + (uint64_t)(units[unit].kernel * FORM_COUNT + units[unit].form)};
    if (unit_open(&u, w, unit) && !options.compile) {
        const CaseShape *shapes = &options.shape;
        int count = options.has_shape ? 1 : fixed_shapes(u.spec->rank, &shapes);
        for (int n = 0; n < count && !w->broken; n++)
            run_shape(w, &u, unit, &shapes[n], options.seed + (uint64_t)n);
        for (int n = 0; n < options.random && !options.has_shape && !w->broken; n++) {
            CaseShape shape = random_shape(u.spec->rank, &random);
            run_shape(w, &u, unit, &shape, random_bits(&random));
        }
    }
    unit_close(&u);
}

/* True: nothing is left to do. */
static bool work(int job)
{
    Worker w;
    AttuneError *error = NULL;
    if (!worker_open(&w, job, &error)) {
        printf("cannot work: %s\n", attune_error_message(error));
        attune_error_free(error);
        return true;
    }
    int unit = 0;
    while (!w.broken && in_time() && (unit = board->next++) < unit_count) {
        board->job[job].unit = unit;
        strcpy(board->job[job].what, "compiling");
        board->job[job].since = now();
        run_unit(&w, unit);
        board->job[job].since = 0;
    }
    bool done = !w.broken;
    worker_close(&w);
    return done;
}

/* Processes --------------------------------------------------------------------------------------------------- */

static pid_t start(int job)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        bool done = work(job);
        fflush(NULL);
        _exit(done ? 0 : 1);
    }
    return pid;
}

static void note_end(int job, int status)
{
    int unit = board->job[job].unit;
    if (!WIFSIGNALED(status) || board->job[job].since == 0)
        return;
    char text[100];
    snprintf(text, sizeof text, WTERMSIG(status) == SIGKILL ? "hangs, or takes more than %d s" : "the process got signal %d",
             WTERMSIG(status) == SIGKILL ? UNIT_SECONDS : WTERMSIG(status));
    board->tally[units[unit].kernel].failed++;
    report(unit, board->job[job].what, text);
    board->job[job].since = 0;
}

static void run_processes(void)
{
    pid_t pids[MAX_JOBS];
    int alive = 0;
    for (int job = 0; job < options.jobs; job++)
        alive += (pids[job] = start(job)) > 0;
    while (alive > 0) {
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
        for (int job = 0; job < options.jobs; job++) {
            int status;
            double since = board->job[job].since;
            if (pids[job] <= 0)
                continue;
            if (since > 0 && now() - since > UNIT_SECONDS)
                kill(pids[job], SIGKILL);
            if (waitpid(pids[job], &status, WNOHANG) != pids[job])
                continue;
            note_end(job, status);
            bool done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
            alive--;
            pids[job] = done || !in_time() || board->next >= unit_count ? 0 : start(job);
            alive += pids[job] > 0;
        }
    }
}

/* The command --------------------------------------------------------------------------------------------------- */

static bool read_axes(const char *text, int64_t *first, int64_t *axes)
{
    int count = sscanf(text, "%ldx%ldx%ld", &axes[0], &axes[1], &axes[2]);
    if (count == 1) {
        *first = axes[0];
        axes[0] = 0;
    }
    return count > 0;
}

static bool read_shape(const char *text)
{
    CaseShape *s = &options.shape;
    *s = (CaseShape){.B = 1, .H = 1};
    bool fine = true, has_n = false;
    for (const char *at = text; at && *at && fine; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        fine = sscanf(at, "B=%ld", &s->B) == 1 || sscanf(at, "H=%ld", &s->H) == 1 || sscanf(at, "G=%ld", &s->G) == 1 ||
               sscanf(at, "offset=%ld", &s->offset) == 1 || (!strncmp(at, "M=", 2) && read_axes(at + 2, &s->M, s->m_axis)) ||
               (!strncmp(at, "N=", 2) && (has_n = read_axes(at + 2, &s->N, s->n_axis)));
    }
    if (!has_n) {
        s->N = s->M;
        memcpy(s->n_axis, s->m_axis, sizeof s->n_axis);
    }
    s->G = s->G ? s->G : s->H;
    return options.has_shape = fine;
}

/* KEY=VALUE, which is taken apart where it stands. */
static bool read_setting(char *text)
{
    char *value = strchr(text, '=');
    if (!value || options.set_count == 8)
        return false;
    *value = 0;
    options.set[options.set_count++] = (AttuneSetting){text, value + 1};
    return true;
}

static bool read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"target", 1, 0, 't'}, {"kernels", 1, 0, 'k'}, {"filter", 1, 0, 'f'}, {"dtype", 1, 0, 'd'}, {"width", 1, 0, 'w'}, {"shape", 1, 0, 's'},
        {"quick", 0, 0, 'q'}, {"random", 1, 0, 'r'}, {"seed", 1, 0, 'e'}, {"repeat", 1, 0, 'n'}, {"jobs", 1, 0, 'j'}, {"part", 1, 0, 'p'},
        {"limit", 1, 0, 'l'}, {"set", 1, 0, 'S'}, {"compile", 0, 0, 'c'}, {"list", 0, 0, 'L'}, {"all-must-fail", 0, 0, 'a'}, {0, 0, 0, 0}};
    bool fine = true;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (c) {
        case 't': options.target = optarg; break;
        case 'k': options.kernels = optarg; break;
        case 'f':
            if (options.filter_count < 16)
                options.filters[options.filter_count++] = optarg;
            break;
        case 'd': options.dtype = optarg; break;
        case 'w': options.width = atoll(optarg); break;
        case 's': fine &= read_shape(optarg); break;
        case 'q': options.quick = true; break;
        case 'r': options.random = atoi(optarg); break;
        case 'e': options.seed = (uint64_t)atoll(optarg); break;
        case 'n': options.repeat = atoi(optarg); break;
        case 'j': options.jobs = atoi(optarg); break;
        case 'p': fine &= sscanf(optarg, "%d/%d", &options.part, &options.parts) == 2; break;
        case 'S': fine &= read_setting(optarg); break;
        case 'l': options.limit = atof(optarg); break;
        case 'c': options.compile = true; break;
        case 'L': options.list = true; break;
        case 'a': options.all_must_fail = true; break;
        default: fine = false;
        }
    return fine && optind == argc && options.jobs >= 1 && options.jobs <= MAX_JOBS && options.part >= 1 && options.part <= options.parts &&
           options.repeat >= 1;
}

static void print_list(void)
{
    for (int n = 0; n < unit_count; n++)
        printf("%s %s D %lld E %lld%s\n", kernel_paths[units[n].kernel], elem_type_name(forms[units[n].form].elem),
               (long long)forms[units[n].form].D, (long long)forms[units[n].form].E, forms[units[n].form].small ? " small" : "");
}

/* Exit status. */
static int print_results(void)
{
    long passed = 0, failed = 0, refused = 0, later = 0, none = 0, elements = 0, skipped = 0, cut = 0, matched = 0;
    for (int k = 0; k < kernel_count; k++) {
        const Tally *t = &board->tally[k];
        if (t->failed || t->no_kernel || t->refused || t->passed || t->later)
            printf("%-7s %-44s %5ld passed %4ld failed %4ld refused %3ld without kernel %3ld for later %9ld elements\n",
                   t->failed || t->no_kernel ? "FAILED" : t->passed ? "ok" : options.compile ? "" : "later", kernel_paths[k], (long)t->passed,
                   (long)t->failed, (long)t->refused, (long)t->no_kernel, (long)t->later, (long)t->elements);
        passed += t->passed, failed += t->failed, refused += t->refused, later += t->later, none += t->no_kernel;
        elements += t->elements, skipped += t->skipped, cut += t->cases_cut;
        matched += t->elements > 0;
    }
    int messages = board->message_count;
    for (int n = 0; n < messages && n < MESSAGES; n++) {
        for (char *c = board->message[n]; *c; c++)
            if (*c == '\n')
                *c = ' ';
        printf("  %s\n", board->message[n]);
    }
    int left = unit_count - board->next > 0 ? unit_count - board->next : 0;
    printf("%s: %ld passed, %ld failed, %ld refused, %ld units without kernel, %ld for later; %ld elements, %ld skipped; %ld kernels in %.1f s"
           " of compiling; %d of %d units and %ld cases not begun; %.1f s\n", options.target, passed, failed, refused, none, later, elements,
           skipped, (long)board->compiled, (double)board->compile_ms * 1e-3, left, unit_count, cut, now() - begin);
    if (options.all_must_fail)
        return matched > 0 || failed == 0;
    return failed > 0 || none > 0 || (passed == 0 && !options.compile);
}

/* In a process of its own: after cuInit no process may fork. */
static bool target_present(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        AttuneError *error = NULL;
        Device *device;
        AttuneContext *context = attune_context_create(&(AttuneContextOptions){.threads = 1}, NULL);
        bool present = context && device_get(context, 0, &device, &error) == ATTUNE_OK;
        if (present)
            printf("%s, %d SMs\n", device->name, device->sm_count);
        else
            printf("skipped: %s\n", attune_error_message(error));
        fflush(NULL);
        _exit(!present);
    }
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        usage();
        return 2;
    }
    begin = now();
    make_units();
    if (options.list) {
        print_list();
        return 0;
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED || unit_count == 0) {
        printf("%s\n", unit_count ? "out of memory" : "no kernel is meant: see --kernels and --filter");
        return 2;
    }
    if (!strncmp(options.target, "cuda", 4) && !ATTUNE_HAVE_CUDA) {
        puts("skipped: this build emits no CUDA");
        return SKIPPED;
    }
    if (options.jobs > 1 && !options.compile && on_device() && !target_present())
        return SKIPPED;
    if (options.jobs == 1)
        work(0);
    else
        run_processes();
    return print_results();
}
