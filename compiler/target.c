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

static bool parse_cuda(Diag *diag, const char *text, Target *target)
{
    const char *arch = !strcmp(text, "cuda") ? "sm_90a" : !strncmp(text, "cuda:", 5) ? text + 5 : text;
    if (strcmp(arch, "sm_90a") && strcmp(arch, "sm_90")) {
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unknown-target",
                            "the target '%s' is for no GPU that is known: sm_90a (Hopper) and sm_90 (the same without its "
                            "asynchronous products) are", text),
                 "use 'cuda' or 'cuda:sm_90a'");
        return false;
    }
    target->kind = TARGET_CUDA;
    snprintf(target->name, sizeof target->name, "cuda:%s", arch);
    snprintf(target->arch, sizeof target->arch, "%s", arch);
    target->shared_bytes = 227 * 1024;
    target->sm_count = 132;
    return true;
}

static bool parse_ptx(Diag *diag, const char *text, Target *target)
{
#if ATTUNE_HAVE_PTX
    return llvm_ptx_target(diag, text[3] == ':' ? text + 4 : "", target);
#else
    (void)target;
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
