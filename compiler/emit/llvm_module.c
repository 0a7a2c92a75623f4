/* An LLVM module on its way from a Gen to code: made, checked, optimised, emitted, released. */
#include "llvm_gen.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void gen_error(Gen *g, const Inst *inst, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(g->arena, format, args);
    va_end(args);
    if (!g->failed)
        diag_error(g->diag, inst ? inst->span : SPAN_NONE,
                   g->target->kind == TARGET_CPU ? "cpu-code" : "ptx-code",
                   "%s (program '%s', phase '%s')", text, g->program->name, g->phase ? g->phase->name : "");
    g->failed = true;
}

void llvm_module_release(void *object)
{
    LlvmModule *m = object;
    if (m->builder)
        LLVMDisposeBuilder(m->builder);
    if (m->module)
        LLVMDisposeModule(m->module);
    if (m->machine)
        LLVMDisposeTargetMachine(m->machine);
    if (m->context)
        LLVMContextDispose(m->context);
    *m = (LlvmModule){0};
}

LlvmModule *llvm_module_create(Arena *arena)
{
    LlvmModule *m = ARENA_NEW(arena, LlvmModule);
    arena_defer(arena, llvm_module_release, m);
    return m;
}

bool llvm_module_open(Gen *g, LlvmModule *m, LLVMRelocMode relocation)
{
    const Target *target = g->target;
    LLVMTargetRef llvm_target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &llvm_target, &message)) {
        gen_error(g, NULL, "%s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    m->machine = LLVMCreateTargetMachine(llvm_target, target->triple, target->cpu, target->features,
                                         LLVMCodeGenLevelDefault, relocation, LLVMCodeModelDefault);
    g->context = m->context = LLVMContextCreate();
    g->module = m->module = LLVMModuleCreateWithNameInContext(g->program->name, g->context);
    g->b = m->builder = LLVMCreateBuilderInContext(g->context);
    LLVMSetTarget(g->module, target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(m->machine);
    LLVMSetModuleDataLayout(g->module, layout);
    LLVMDisposeTargetData(layout);
    g->i1 = LLVMInt1TypeInContext(g->context);
    g->i8 = LLVMInt8TypeInContext(g->context);
    g->i16 = LLVMInt16TypeInContext(g->context);
    g->i32 = LLVMInt32TypeInContext(g->context);
    g->i64 = LLVMInt64TypeInContext(g->context);
    g->f32 = LLVMFloatTypeInContext(g->context);
    g->f64 = LLVMDoubleTypeInContext(g->context);
    g->bf16 = LLVMBFloatTypeInContext(g->context);
    g->ptr = LLVMPointerTypeInContext(g->context, 0);
    return true;
}

/* ATTUNE_VERIFY_LLVM in the environment: LLVM checks the code before it works on it (for tests, and to find
 * faults of this generator). */
bool llvm_module_optimise(Gen *g, LlvmModule *m, const char *pipeline)
{
    char *message = NULL;
    if (getenv("ATTUNE_VERIFY_LLVM") && LLVMVerifyModule(m->module, LLVMReturnStatusAction, &message)) {
        gen_error(g, NULL, "the generated code is malformed: %s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(m->module, pipeline, m->machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        char *text = LLVMGetErrorMessage(error);
        gen_error(g, NULL, "LLVM's passes failed: %s", text);
        LLVMDisposeErrorMessage(text);
        return false;
    }
    return true;
}

void *llvm_module_emit(Gen *g, LlvmModule *m, LLVMCodeGenFileType type, size_t *size)
{
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->module, type, &message, &buffer)) {
        gen_error(g, NULL, "LLVM's code generator failed: %s", message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    *size = LLVMGetBufferSize(buffer);
    char *code = malloc(*size + 1);
    if (code) {
        memcpy(code, LLVMGetBufferStart(buffer), *size);
        code[*size] = 0; /* texts end with it */
    }
    LLVMDisposeMemoryBuffer(buffer);
    if (!code)
        arena_fail(g->arena);
    return code;
}
