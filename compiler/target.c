/* Targets: names, facts, and the way to each one's emitter. */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#if ATTUNE_HAVE_CUDA
#include "emit/cuda.h"
#endif
#if ATTUNE_HAVE_LLVM
#include "emit/llvm.h"
#endif

static const char known[] = "known targets: cpu, cpu:native, cpu:NAME (as x86-64-v3, x86-64-v4, znver4), "
                            "cpu:aarch64, interp, cuda (cuda:sm_90a, cuda:sm_90), ptx (ptx:sm_80, ptx:sm_90 ...)";

static bool parse_cpu(Diag *diag, const char *text, Target *target)
{
#if ATTUNE_HAVE_LLVM
    const char *cpu = text[3] == ':' ? text + 4 : "native";
    bool arm = !strcmp(cpu, "aarch64");
    if (!cpu[0]) {
        diag_fix(diag, diag_error(diag, SPAN_NONE, "unknown-target", "the target '%s' names no CPU", text),
                 "%s", known);
        return false;
    }
    return llvm_cpu_target(diag, arm ? "generic" : cpu, arm ? "aarch64-unknown-linux-gnu" : NULL, target);
#else
    (void)target;
    diag_fix(diag,
             diag_error(diag, SPAN_NONE, "unknown-target",
                        "this build has no LLVM, which the target '%s' needs", text),
             "use 'interp'");
    return false;
#endif
}

/* GPUs. Shared memory is what a block may have. language: the oldest version of PTX that knows the device, so that old
 * drivers take it; a driver compiles PTX for older devices than its own, too. cuda: there is CUDA C++ for it. */
typedef struct KnownGpu {
    const char *name;
    int language, shared_kbytes, sm_count;
    bool cuda;
} KnownGpu;
static const KnownGpu known_gpus[] = {
    {"sm_80", 70, 163, 108, false}, {"sm_86", 71, 99, 84, false},    {"sm_87", 74, 163, 16, false},
    {"sm_89", 78, 99, 128, false},  {"sm_90", 78, 227, 132, true},   {"sm_90a", 80, 227, 132, true},
    {"sm_100", 86, 227, 148, false}, {"sm_103", 88, 227, 148, false}, {"sm_120", 87, 99, 170, false},
};
static const KnownGpu any_gpu = {"sm_80", 70, 99, 108, false}; /* and whatever came after it */

/* NULL: no such GPU. */
static const KnownGpu *find_gpu(const char *arch)
{
    for (size_t k = 0; k < sizeof known_gpus / sizeof *known_gpus; k++)
        if (!strcmp(arch, known_gpus[k].name))
            return &known_gpus[k];
    return NULL;
}

static void fill_gpu(Target *target, TargetKind kind, const KnownGpu *gpu)
{
    target->kind = kind;
    snprintf(target->arch, sizeof target->arch, "%s", gpu->name);
    target->shared_bytes = gpu->shared_kbytes * 1024;
    target->sm_count = gpu->sm_count;
}

static bool parse_cuda(Diag *diag, const char *text, Target *target)
{
    const char *arch = !strcmp(text, "cuda") ? "sm_90a" : !strncmp(text, "cuda:", 5) ? text + 5 : text;
    const KnownGpu *gpu = find_gpu(arch);
    if (!gpu)
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unknown-target",
                            "the target '%s' is for no GPU that is known: sm_90a (Hopper) and sm_90 (the same without its "
                            "asynchronous products) are", text),
                 "use 'cuda' or 'cuda:sm_90a'");
    else if (!gpu->cuda)
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unsupported-target",
                            "the target '%s' is not supported: CUDA C++ is made for sm_90a and sm_90", text),
                 "use 'ptx:%s', for which LLVM makes the code", gpu->name);
    if (!gpu || !gpu->cuda)
        return false;
    fill_gpu(target, TARGET_CUDA, gpu);
    snprintf(target->name, sizeof target->name, "cuda:%s", gpu->name);
    return true;
}

static bool parse_ptx(Diag *diag, const char *text, Target *target)
{
    const KnownGpu *gpu = text[3] == ':' ? find_gpu(text + 4) : &any_gpu;
    if (!gpu || strchr(gpu->name + 3, 'a')) { /* sm_90a: nothing here is for that one alone */
        Text names = {.arena = diag->arena};
        for (size_t k = 0; k < sizeof known_gpus / sizeof *known_gpus; k++)
            if (!strchr(known_gpus[k].name + 3, 'a'))
                text_add(&names, ", ptx:%s", known_gpus[k].name);
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unknown-target", "the target '%s' is for no GPU that is known", text),
                 "known ones: ptx (any from sm_80 on)%s", names.data);
        return false;
    }
    fill_gpu(target, TARGET_PTX, gpu);
#if ATTUNE_HAVE_PTX
    llvm_ptx_target(gpu->language, target);
    return true;
#else
    diag_fix(diag,
             diag_error(diag, SPAN_NONE, "unknown-target",
                        "this build has no LLVM with NVPTX, which the target '%s' needs", text),
             "use 'cuda'");
    return false;
#endif
}

bool target_is_gpu(const Target *target)
{
    return target->kind == TARGET_CUDA || target->kind == TARGET_PTX;
}

bool target_parse(Diag *diag, const char *text, Target *target)
{
    *target = (Target){0};
    if (strlen(text) >= sizeof target->name) {
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unknown-target",
                            "the target name is longer than %zu characters", sizeof target->name - 1),
                 "%s", known);
        return false;
    }
    snprintf(target->name, sizeof target->name, "%s", strcmp(text, "cpu:native") ? text : "cpu");
    if (!strcmp(text, "interp")) {
        target->kind = TARGET_INTERP;
        return true;
    }
    if (!strcmp(text, "cpu") || !strncmp(text, "cpu:", 4))
        return parse_cpu(diag, text, target);
    if (!strcmp(text, "cuda") || !strncmp(text, "cuda:", 5) || !strncmp(text, "sm_", 3))
        return parse_cuda(diag, text, target);
    if (!strcmp(text, "ptx") || !strncmp(text, "ptx:", 4))
        return parse_ptx(diag, text, target);
    diag_fix(diag, diag_error(diag, SPAN_NONE, "unknown-target", "unknown target '%s'", text), "%s", known);
    return false;
}

/* A copy of the Program that depends on nothing: its text, read into an arena of its own. */
static Program *detach(Diag *diag, const Program *program, const char *text, Arena *own)
{
    jmp_buf door, *outer = arena_arm(own, &door);
    Program *copy = NULL;
    if (!setjmp(door)) {
        Diag *own_diag = diag_create(own);
        copy = program_parse(own, own_diag, diag_add_source(own_diag, program->name, text, strlen(text)));
        if (!copy)
            diag_error(diag, SPAN_NONE, "internal", "the program's text does not read back: %s",
                       diag_to_text(own_diag));
    }
    arena_arm(own, outer);
    return copy;
}

static Kernel *emit_interp(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    const char *text = program_print(program, arena);
    Kernel *kernel = calloc(1, sizeof *kernel);
    Arena *own = kernel ? arena_create() : NULL;
    if (!own) {
        free(kernel);
        arena_fail(arena);
    }
    Program *copy = detach(diag, program, text, own);
    if (!copy) {
        arena_destroy(own);
        free(kernel);
        return NULL;
    }
    kernel->format = KERNEL_PROGRAM;
    snprintf(kernel->target, sizeof kernel->target, "%s", target->name);
    kernel->program = copy;
    kernel->program_arena = own;
    return kernel;
}

static Kernel *emit(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    switch (target->kind) {
    case TARGET_INTERP:
        return emit_interp(target, arena, diag, program);
    case TARGET_CPU:
#if ATTUNE_HAVE_LLVM
        return llvm_cpu_emit(target, arena, diag, program);
#else
        break;
#endif
    case TARGET_CUDA:
#if ATTUNE_HAVE_CUDA
        return cuda_emit(target, arena, diag, program);
#else
        break;
#endif
    case TARGET_PTX:
#if ATTUNE_HAVE_PTX
        return llvm_ptx_emit(target, arena, diag, program);
#else
        break;
#endif
    }
    diag_error(diag, SPAN_NONE, "unsupported-target", "this build cannot emit for the target '%s'",
               target->name);
    return NULL;
}

Kernel *target_emit(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    Kernel *kernel = emit(target, arena, diag, program);
    if (kernel)
        kernel_describe(kernel, program);
    return kernel;
}
