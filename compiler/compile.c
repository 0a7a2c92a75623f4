/* The pipeline on one screen: lower, run the passes, emit. The table is the only list of passes, run_pass the only
 * code that runs one: it checks the stage, runs, verifies, dumps when the letter is on, adds the time. */
#include "compile.h"

#include <string.h>
#include <time.h>

#include "attention/lower.h"
#include "schedule/schedule.h"
#if ATTUNE_HAVE_CUDA
#include "emit/cuda.h"
#endif
#if ATTUNE_HAVE_PTX
#include "emit/llvm.h"
#endif

typedef struct Compilation {
    Arena *arena;
    Diag *diag;
    const Spec *spec;
    const CompileOptions *options;
    Program *program;
    int attempt;         /* at tile boxes */
    bool last_attempt, quiet;
} Compilation;

/* A `schedule TARGET { }` block speaks to targets whose name holds it; what came from outside speaks to all. */
static bool schedule_applies(const char *block, const char *target)
{
    return !block || strstr(target, block);
}

/* What the schedule says of a key. */
static int64_t setting(const Compilation *c, const char *key, int64_t otherwise)
{
    for (int i = 0; i < c->spec->schedule_count; i++)
        if (!strcmp(c->spec->schedule[i].key, key) && schedule_applies(c->spec->schedule[i].target, c->options->target->name))
            otherwise = c->spec->schedule[i].value;
    return otherwise;
}

static LinearCost linear_cost(const Compilation *c)
{
    LinearCost cost = target_linear_cost(c->options->target, c->options->elem, c->spec->feature_q.body != NULL);
    cost.chunk = setting(c, "chunk", target_chunk(c->options->target, &c->spec->decay));
    return cost;
}

static void pass_lower(Compilation *c)
{
    const Target *target = c->options->target;
    LowerOptions options = {.lowering = factor_asked(c->spec, target->name), .states = target_likes_states(target),
                            .cost = linear_cost(c), .segments = setting(c, "segment", 0) > 0,
                            .launch_segments = false,
                            .stored_queries = target_is_gpu(target) && c->options->elem != ELEM_TYPE_F32};
    c->program = forward_lower(c->arena, c->diag, c->spec, c->options->elem, c->options->D, c->options->E, options);
}

static void pass_propagate(Compilation *c)
{
    schedule_propagate(c->program, c->diag);
}

static void pass_simplify(Compilation *c)
{
    schedule_simplify(c->program, c->diag);
}

/* For the GPU in storage types of 16 bits: its power of two takes a factor for nothing, f32 keeps every rounding. */
static void pass_fold(Compilation *c)
{
    if (target_is_gpu(c->options->target) && c->options->elem != ELEM_TYPE_F32)
        schedule_fold(c->program, c->diag);
}

static void pass_size(Compilation *c)
{
    int64_t chunk = target_chunk(c->options->target, &c->spec->decay) >> target_halvings(c->attempt);
    SizeChoice choice = {.chunk = setting(c, "chunk", chunk > 4 ? chunk : 4), .segment = setting(c, "segment", 0)};
    c->last_attempt = !target_tiles(c->options->target, c->options->elem, c->options->D, c->options->E, c->spec->rank, c->attempt,
                                    choice.block_m, choice.block_n);
    static const char *const keys[2][SPEC_MAX_RANK] = {{"block_m", "block_m1", "block_m2"}, {"block_n", "block_n1", "block_n2"}};
    for (int i = 0; i < c->spec->schedule_count; i++)
        for (int a = 0; a < SPEC_MAX_RANK; a++)
            for (int side = 0; side < 2; side++)
                if (!strcmp(c->spec->schedule[i].key, keys[side][a]) && schedule_applies(c->spec->schedule[i].target, c->options->target->name))
                    (side ? choice.block_n : choice.block_m)[a] = c->spec->schedule[i].value;
    schedule_size(c->program, c->diag, &choice);
}

typedef struct Pass {
    char letter;
    const char *name;
    void (*run)(Compilation *c);
    Stage before, after;
    const char *settles;
} Pass;

static const Pass passes[] = {
    {'l', "lower", pass_lower, STAGE_LOGICAL, STAGE_LOGICAL, "what is computed: the mathematics as tiles, loops and loads; first, for there is no Program before"},
    {'s', "simplify", pass_simplify, STAGE_LOGICAL, STAGE_LOGICAL, "what is computed twice or for nobody: before sizes, so that later passes see each value once"},
    {'f', "fold", pass_fold, STAGE_LOGICAL, STAGE_LOGICAL, "where the scores' factor is applied: after simplify has named it once, before sizes"},
    {'z', "size", pass_size, STAGE_LOGICAL, STAGE_SIZED, "tile boxes: after lowering, because the tile's own axes decide; before emission, which needs numbers"},
    {'p', "propagate", pass_propagate, STAGE_SIZED, STAGE_SIZED, "what the numbers have made constant: after sizes, which decide conditions; before tidy, which sweeps"},
    {'t', "tidy", pass_simplify, STAGE_SIZED, STAGE_SIZED, "what the numbers have made equal or dead"},
};
enum { PASS_COUNT = sizeof passes / sizeof *passes };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool run_pass(Compilation *c, const Pass *pass)
{
    if (c->program && c->program->stage != pass->before) {
        diag_error(c->diag, SPAN_NONE, "internal", "pass %s needs stage %s, the program is at %s", pass->name, stage_name(pass->before), stage_name(c->program->stage));
        return false;
    }
    double start = now();
    pass->run(c);
    double spent = now() - start;
    if (c->diag->errors || !c->program)
        return false;
    FILE *out = c->quiet ? NULL : c->options->dump_out;
    if (out && c->options->dump && (strchr(c->options->dump, pass->letter) || strchr(c->options->dump, '*')))
        fprintf(out, "; after %s\n%s\n", pass->name, program_print(c->program, c->arena));
    if (out && c->options->time_passes)
        fprintf(out, "; %-10s %8.3f ms\n", pass->name, spent);
    if (c->program->stage != pass->after || !program_verify(c->program, c->diag)) {
        diag_error(c->diag, SPAN_NONE, "internal", "the program is not sound after pass %s: a fault of the compiler, please report it", pass->name);
        return false;
    }
    return true;
}

enum { LETTER_CODE = 'u' };

/* The text that NVRTC or the driver will get; compiling it comes after, so that a text which fails can be read. */
static bool dump_code(Compilation *c)
{
#if ATTUNE_HAVE_CUDA
    const CompileOptions *o = c->options;
    if (!target_is_gpu(o->target) || !o->dump_out || !o->dump || !strchr(o->dump, LETTER_CODE))
        return true;
#if ATTUNE_HAVE_PTX
    const char *text = o->target->kind == TARGET_PTX ? llvm_ptx_text(o->target, c->arena, c->diag, c->program, false)
                                                     : cuda_text(o->target, c->arena, c->diag, c->program);
#else
    const char *text = cuda_text(o->target, c->arena, c->diag, c->program);
#endif
    if (text)
        fputs(text, o->dump_out);
    return text != NULL;
#else
    (void)c;
    return true;
#endif
}

static bool run_all_passes(Compilation *c)
{
    c->program = NULL;
    for (int i = 0; i < PASS_COUNT; i++)
        if (!run_pass(c, &passes[i]))
            return false;
    return true;
}

#if ATTUNE_HAVE_CUDA
/* Inside a door of its own: what fails here fails again where it is heard. */
static bool try_passes(Compilation *c)
{
    jmp_buf door, *outer = arena_arm(c->arena, &door);
    if (setjmp(door)) {
        arena_arm(c->arena, outer);
        return false;
    }
    bool done = run_all_passes(c);
    arena_arm(c->arena, outer);
    return done;
}
#endif

/* Which tiles a CUDA kernel has follows from its code: attention on its fast path keeps them in registers, anything else in
 * shared memory. Tried without a word; what is wrong with a spec is said afterwards. */
static void choose_tiles(Compilation *c)
{
#if ATTUNE_HAVE_CUDA
    Diag *diag = c->diag;
    c->diag = diag_create(c->arena);
    c->quiet = true;
    while (try_passes(c) && !c->last_attempt &&
           !cuda_tiles_suit(c->options->target, c->arena, c->program, c->attempt == 0,
                            c->attempt > 0 && c->attempt <= TARGET_EASY_ATTEMPTS))
        c->attempt++;
    c->diag = diag;
    c->quiet = false;
#else
    (void)c;
#endif
}

/* Inside the door: allocations may unwind from here. */
static bool run_passes(Compilation *c)
{
    if (target_is_gpu(c->options->target))
        choose_tiles(c);
    if (!run_all_passes(c))
        return false;
    if (c->options->symbol)
        c->program->name = arena_strdup(c->arena, c->options->symbol);
    return dump_code(c);
}

static bool valid_options(Diag *diag, const CompileOptions *options)
{
    if (options->D < 1 || options->D > 65536 || options->E < 1 || options->E > 65536) {
        diag_error(diag, SPAN_NONE, "head-width", "head widths D = %lld, E = %lld must be between 1 and 65536", (long long)options->D, (long long)options->E);
        return false;
    }
    if (options->elem != ELEM_TYPE_F32 && options->elem != ELEM_TYPE_BF16 && options->elem != ELEM_TYPE_F16) {
        diag_error(diag, SPAN_NONE, "dtype", "q, k, v must be f32, bf16 or f16, not %s", elem_type_name(options->elem));
        return false;
    }
    return true;
}

static void *through_door(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options, bool emit)
{
    /* Set before setjmp and not changed after: their values survive the unwinding. */
    Compilation *c = NULL;
    jmp_buf door, *outer = arena_arm(arena, &door);
    if (setjmp(door)) {
        arena_arm(arena, outer);
        if (!diag->errors) {
            if (outer) /* no message can be made here either */
                arena_fail(arena);
            diag->errors++;
        }
        return NULL;
    }
    void *result = NULL;
    c = ARENA_NEW(arena, Compilation);
    *c = (Compilation){.arena = arena, .diag = diag, .spec = spec, .options = options};
    if (valid_options(diag, options) && run_passes(c))
        result = emit ? (void *)target_emit(options->target, arena, diag, c->program) : (void *)c->program;
    arena_arm(arena, outer);
    return result;
}

Program *compile_program(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options)
{
    return through_door(arena, diag, spec, options, false);
}

Kernel *compile_spec(Arena *arena, Diag *diag, const Spec *spec, const CompileOptions *options)
{
    Kernel *kernel = through_door(arena, diag, spec, options, true);
    if (!kernel)
        return NULL;
    kernel->elem = options->elem;
    kernel->D = options->D;
    kernel->E = options->E;
    snprintf(kernel->target, sizeof kernel->target, "%s", options->target->name);
    return kernel;
}

char *compile_fingerprint(Arena *arena, const CompileOptions *options)
{
    const Target *t = options->target;
    return arena_printf(arena, "target %s cpu %s features %s triple %s vector %d\ntype %s D %lld E %lld symbol %s\n", t->name, t->cpu, t->features,
                        t->triple, t->vector_bits, elem_type_name(options->elem), (long long)options->D, (long long)options->E,
                        options->symbol ? options->symbol : "");
}

void compile_print_passes(FILE *out)
{
    for (int i = 0; i < PASS_COUNT; i++)
        fprintf(out, "  %c  %-9s %s -> %s: %s\n", passes[i].letter, passes[i].name, stage_name(passes[i].before), stage_name(passes[i].after), passes[i].settles);
    fprintf(out, "  *  after every pass\n");
#if ATTUNE_HAVE_CUDA
    fprintf(out, "  %c  text      CUDA: the C++ text that is compiled; PTX: the text for the driver\n", LETTER_CODE);
#endif
}
