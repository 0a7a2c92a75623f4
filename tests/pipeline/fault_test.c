/* The oracle is tested: Programs with one seeded fault each (fault.h) must be caught by what compares results with
 * the reference (run_case.h), nearly all of them. What is not caught is printed. */
#define _DEFAULT_SOURCE
#include <CUnit/Basic.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/emit/llvm.h"
#include "fault.h"
#include "run_case.h"
#include "shipped.h"

/* A fault, run as LLVM code, costs fifty times what it costs the interpreter. */
enum { MAX_SPECS = 24, MAX_SHAPES = 7, MAX_FAULTS = 4096, JOBS = 2, LLVM_EVERY = 30, SECONDS = 30 };

/* Without entmax, whose iteration mends itself, and with few sums of scores, to which padding adds nothing. */
static const struct { const char *path; SpecSetting settings[2]; bool large; } specs[] = {
    {"softmax/causal_lse", {{0}}, true},
    {"softmax/softcap_sink", {{0}}, false},
    {"softmax/gated", {{0}}, true},
    {"documents/sliding_documents", {{"window", "11"}}, true},
    {"sparse/strided_heads", {{"stride", "7"}}, true},
    {"position/kerple_log", {{0}}, true},
    {"position/rope", {{0}}, false},
    {"position/alibi_documents", {{0}}, true},
    {"windowed/neighborhood2_bias", {{"kernel", "(3, 5)"}, {"dilation", "(1, 2)"}}, true},
    {"other/sigmoid_causal", {{0}}, false},
    {"other/moments", {{0}}, false},
    {"other/late_interaction", {{0}}, false},
    {"linear/linear_elu", {{"lowering", "quadratic"}}, false},
    {"softmax/forgetting", {{0}}, false},
    {"softmax/prefix", {{0}}, true},
};
enum { SPEC_COUNT = sizeof specs / sizeof *specs };

#define SHAPE(b, h, g, m, n, ...) \
    {.B = b, .H = h, .G = g, .M = m, .N = n, .D = 8, .E = 5, .block_m = {8}, .block_n = {8}, __VA_ARGS__}
#define PLANE(m0, m1, n0, n1, ...) \
    {.B = 2, .H = 6, .G = 2, .M = m0 * m1, .N = n0 * n1, .m_axis = {m0, m1, 1}, .n_axis = {n0, n1, 1}, \
     .D = 8, .E = 5, .block_m = {3, 4}, .block_n = {2, 5}, __VA_ARGS__}

/* Some tile begins or ends exactly at every edge: lengths of 1 and 7 more than a tile, an offset of 6 more. */
static const CaseShape line_shapes[MAX_SHAPES] = {
    SHAPE(3, 6, 2, 0, 0, .ragged = true, .q_length = {17, 1, 9}, .k_length = {26, 9, 17}, .offset = 8, .seed = 1),
    SHAPE(2, 4, 2, 33, 33, .layout = CASE_STRIDED, .q_size = 1e4, .seed = 2),
    SHAPE(2, 6, 2, 21, 43, .offset = 22, .layout = CASE_BMHD, .seed = 3),
    SHAPE(1, 4, 2, 43, 23, .seed = 4),
    SHAPE(2, 2, 1, 20, 52, .offset = 32, .layout = CASE_STRIDED, .seed = 5),
    SHAPE(2, 4, 2, 43, 7, .seed = 6),
    SHAPE(2, 4, 2, 0, 0, .ragged = true, .q_length = {5, 9}, .k_length = {0, 6}, .seed = 7), /* rows without a key */
};
static const CaseShape plane_shapes[MAX_SHAPES] = {
    PLANE(9, 7, 9, 7, .seed = 1),
    PLANE(5, 17, 11, 18, .layout = CASE_STRIDED, .q_size = 1e4, .seed = 2),
    PLANE(8, 8, 8, 8, .layout = CASE_BMHD, .seed = 3),
    PLANE(6, 15, 6, 10, .seed = 4),
    PLANE(7, 11, 8, 15, .layout = CASE_STRIDED, .seed = 5),
    PLANE(12, 15, 5, 9, .seed = 6),
};

typedef struct Subject {
    Program *program, *cpu_program;
    Target cpu;
    CaseData *data[MAX_SHAPES];
    int shapes;
    int first, count;        /* its faults in the list of all */
} Subject;

typedef enum Outcome { NOT_RUN, CAUGHT, SURVIVED } Outcome;
typedef struct Board { atomic_int next; char outcome[MAX_FAULTS], what[MAX_FAULTS][400]; } Board;

static Arena *arena;
static Diag *diag;
static Subject subjects[SPEC_COUNT];
static int fault_count, step; /* every step-th is seeded */
static Board *board;

static bool prepare(Subject *subject, int n)
{
    char path[512];
    int settings = 0;
    while (settings < 2 && specs[n].settings[settings].name)
        settings++;
    snprintf(path, sizeof path, "%s/%s.attn", KERNELS, specs[n].path);
    const Spec *spec = case_spec_file(arena, diag, path, specs[n].settings, settings);
    if (!spec)
        return false;
    const CaseShape *shapes = spec->rank == 1 ? line_shapes : plane_shapes;
    Target interp;
    if (!target_parse(diag, "interp", &interp))
        return false;
    subject->program = case_program(arena, diag, spec, ELEM_TYPE_F32, &shapes[0], &interp);
    for (int k = 0; k < MAX_SHAPES && shapes[k].B > 0; k++) {
        CaseShape shape = shapes[k];
        if (!shipped_shape_fits(spec, &shape))
            continue;
        if (!specs[n].large)
            shape.q_size = 0;
        subject->data[subject->shapes] = case_data_create(spec, ELEM_TYPE_F32, &shape);
        if (!subject->data[subject->shapes++])
            return false;
    }
#if ATTUNE_HAVE_LLVM
    if (!target_parse(diag, "cpu", &subject->cpu))
        return false;
    subject->cpu_program = case_program(arena, diag, spec, ELEM_TYPE_F32, &shapes[0], &subject->cpu);
    if (!subject->cpu_program)
        return false;
#endif
    return subject->program != NULL;
}

/* Does a shape of the subject give a wrong result, or end the process? */
static bool is_caught(Subject *subject, Program *program, bool as_code)
{
    CaseVerdict verdict = {.ok = true};
#if ATTUNE_HAVE_LLVM
    Kernel *kernel = as_code ? target_emit(&subject->cpu, arena, diag, program) : NULL;
    if (as_code && !kernel)
        return true;
    for (int k = 0; as_code && k < subject->shapes && verdict.ok; k++)
        verdict = case_run_kernel(subject->data[k], kernel);
    kernel_destroy(kernel);
#endif
    for (int k = 0; !as_code && k < subject->shapes && verdict.ok; k++)
        verdict = case_run_interp(subject->data[k], program);
    if (!verdict.ok && getenv("ATTUNE_TEST_VERBOSE"))
        printf("  %s\n", verdict.message);
    return !verdict.ok;
}

static Subject *subject_of(int fault)
{
    for (int n = 0; n < SPEC_COUNT; n++)
        if (fault < subjects[n].first + subjects[n].count)
            return &subjects[n];
    return NULL;
}

static bool runs_as_code(int fault)
{
    return ATTUNE_HAVE_LLVM && fault % LLVM_EVERY == 0;
}

/* In the process of the fault, for it changes the Program. */
static Program *seeded(int fault)
{
    const char *kind;
    const Inst *where;
    Subject *subject = subject_of(fault);
    Program *program = runs_as_code(fault) ? subject->cpu_program : subject->program;
    fault_seed(program, fault - subject->first, &kind, &where);
    Text text = {.arena = arena};
    text_add(&text, "%s, %%%u %s%s: %s", specs[subject - subjects].path, where->id, tile_op_info[where->op].name,
             runs_as_code(fault) ? " (as code)" : "", kind);
    if (where->op == TILE_MAP) {
        text_add(&text, ": now ");
        expr_print(&text, where->expr, NULL);
    }
    snprintf(board->what[fault], sizeof board->what[fault], "%s", text.data);
    return program;
}

static _Noreturn void run_fault(int fault)
{
    static const int ends[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t n = 0; n < sizeof ends / sizeof *ends; n++)
        signal(ends[n], SIG_DFL);
    alarm(SECONDS);
    fclose(stderr);
    Program *program = seeded(fault);
    bool caught = !program_verify(program, diag) || is_caught(subject_of(fault), program, runs_as_code(fault));
    fflush(stdout);
    _exit(caught);
}

static _Noreturn void work(void)
{
    for (int fault; (fault = board->next++ * step) < fault_count;) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(1);
        if (pid == 0)
            run_fault(fault);
        int status;
        waitpid(pid, &status, 0);
        board->outcome[fault] = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? SURVIVED : CAUGHT;
    }
    _exit(0);
}

/* Without a fault nothing is caught. */
static void test_sound(void)
{
    for (int n = 0; n < SPEC_COUNT; n++) {
        bool ready = prepare(&subjects[n], n);
        CU_ASSERT(ready);
        if (!ready) {
            fprintf(stderr, "\n%s:\n%s\n", specs[n].path, diag_to_text(diag));
            continue;
        }
        for (int as_code = 0; as_code <= ATTUNE_HAVE_LLVM; as_code++) {
            bool caught = is_caught(&subjects[n], as_code ? subjects[n].cpu_program : subjects[n].program, as_code);
            CU_ASSERT(!caught);
            if (caught)
                fprintf(stderr, "\n%s: wrong without a fault\n", specs[n].path);
        }
    }
}

/* What comes out of the shape, after one another: o and the returned statistics. */
static char *results(const CaseData *data, size_t *size)
{
    char *all = NULL;
    const void *bytes;
    *size = 0;
    for (int which = 0; which <= RETURN_KIND_COUNT; which++) {
        size_t count = case_result_bytes(data, &bytes, which);
        all = count ? realloc(all, *size + count) : all;
        if (count)
            memcpy(all + *size, bytes, count);
        *size += count;
    }
    return all;
}

static CaseVerdict run(const Subject *subject, Program *program, bool as_code, int shape)
{
    CaseVerdict verdict = {.ok = false};
#if ATTUNE_HAVE_LLVM
    Kernel *kernel = as_code ? target_emit(&subject->cpu, arena, diag, program) : NULL;
    if (kernel)
        verdict = case_run_kernel(subject->data[shape], kernel);
    kernel_destroy(kernel);
#endif
    return as_code ? verdict : case_run_interp(subject->data[shape], program);
}

/* Tiles that are full give the same bits when they are tested element by element. */
static void test_classes(void)
{
    int forced = 0;
    for (int n = 0; n < 2 * SPEC_COUNT; n++) {
        bool as_code = n % 2;
        Subject *subject = &subjects[n / 2];
        Program *program = as_code ? subject->cpu_program : subject->program;
        char *sound[MAX_SHAPES] = {NULL};
        size_t size[MAX_SHAPES], now;
        for (int k = 0; program && k < subject->shapes; k++) {
            CU_ASSERT(run(subject, program, as_code, k).ok);
            sound[k] = results(subject->data[k], &size[k]);
        }
        int tests = program ? fault_force_partial(program) : 0;
        forced += tests;
        for (int k = 0; program && k < subject->shapes; k++) {
            CU_ASSERT(run(subject, program, as_code, k).ok);
            char *all = results(subject->data[k], &now);
            bool same = now == size[k] && (now == 0 || !memcmp(all, sound[k], now));
            CU_ASSERT(same);
            if (!same)
                fprintf(stderr, "\n%s, shape %d%s: full tiles give other bits\n", specs[n / 2].path, k,
                        as_code ? ", as code" : "");
            free(all);
            free(sound[k]);
        }
    }
    CU_ASSERT(forced > SPEC_COUNT);
}

static void test_faults(void)
{
    const char *kind;
    const Inst *where;
    for (int n = 0; n < SPEC_COUNT; n++) {
        if (!subjects[n].program)
            continue;
        subjects[n].first = fault_count;
        fault_count += subjects[n].count = fault_seed(subjects[n].program, -1, &kind, &where);
    }
    CU_ASSERT_FATAL(fault_count <= MAX_FAULTS);
    pid_t pids[JOBS];
    fflush(NULL);
    for (int job = 0; job < JOBS; job++) {
        pids[job] = fork();
        CU_ASSERT_FATAL(pids[job] >= 0);
        if (pids[job] == 0)
            work();
    }
    for (int job = 0; job < JOBS; job++)
        waitpid(pids[job], NULL, 0);
    int caught = 0, survived = 0, ran = (fault_count + step - 1) / step;
    for (int fault = 0; fault < fault_count; fault += step) {
        caught += board->outcome[fault] == CAUGHT;
        survived += board->outcome[fault] == SURVIVED;
        if (board->outcome[fault] == SURVIVED)
            printf("\n    survived: %s", board->what[fault]);
    }
    printf("\n    %d of %d seeded faults caught\n", caught, ran);
    CU_ASSERT(caught + survived == ran);
    CU_ASSERT(caught >= 40 && caught * 100 >= ran * 95);
}

int main(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    arena = arena_create();
    if (board == MAP_FAILED || !arena)
        return 1;
    diag = diag_create(arena);
    step = getenv("ATTUNE_TEST_FEW") ? 10 : 2;
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("faults", NULL, NULL);
    CU_add_test(suite, "sound Programs", test_sound);
    CU_add_test(suite, "seeded faults", test_faults);
    CU_add_test(suite, "classes change nothing", test_classes); /* last: it changes the Programs */
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    for (int n = 0; n < SPEC_COUNT; n++)
        for (int k = 0; k < MAX_SHAPES; k++)
            case_data_destroy(subjects[n].data[k]);
    arena_destroy(arena);
    return failures != 0;
}
