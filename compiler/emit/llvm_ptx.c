/* The door of the PTX back end: a Program -> LLVM code -> PTX text -> a Kernel, which the driver compiles for
 * the device at hand. */
#include "llvm_ptx.h"

#include <stdlib.h>
#include <string.h>

static bool stores_as(const Program *program, ElemType elem)
{
    for (int t = 0; t < program->tensor_count; t++)
        if (program->tensors[t].role == ROLE_Q)
            return program->tensors[t].elem == elem;
    return false;
}

static LLVMValueRef shared_memory(Ptx *p)
{
    enum { SHARED = 3 };
    LLVMValueRef tiles = LLVMAddGlobalInAddressSpace(p->l.module, LLVMArrayType2(p->l.i8, 0), "attune_tiles",
                                                     SHARED);
    LLVMSetLinkage(tiles, LLVMExternalLinkage);
    LLVMSetAlignment(tiles, 128);
    return tiles;
}

typedef struct PtxCode {
    char *text; /* malloc'ed */
    size_t size;
    KernelPhase phases[PROGRAM_MAX_PHASES];
    int slices[PROGRAM_MAX_PHASES];
} PtxCode;

static bool emit_phases(Ptx *p, PtxCode *code)
{
    Program *program = p->g->program;
    p->low = stores_as(program, ELEM_TYPE_BF16) || stores_as(program, ELEM_TYPE_F16);
    p->coarse = stores_as(program, ELEM_TYPE_BF16);
    p->f16 = LLVMHalfTypeInContext(p->l.context);
    p->global = LLVMPointerTypeInContext(p->l.context, 1);
    p->tiles = shared_memory(p);
    for (int k = 0; k < program->phase_count; k++) {
        p->g->phase = &program->phases[k];
        snprintf(code->phases[k].entry, sizeof code->phases[k].entry, "%.47s_%.47s", program->name,
                 p->g->phase->name); /* as kernel_describe */
        if (!ptx_phase(p, &code->phases[k], &code->slices[k]))
            return false;
    }
    return true;
}

/* Less than O2 does: what it unrolls and keeps at hand costs registers, and so blocks that run at once. The
 * driver's compiler unrolls too. */
static const char pass_pipeline[] =
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop(loop-rotate),loop-mssa(licm),"
    "early-cse,instcombine<no-verify-fixpoint>,dce,loop-unroll)";

typedef enum PtxForm { FORM_PTX, FORM_IR, FORM_HOST } PtxForm;

/* False with diagnostics. host: whose machine the code is for instead, or NULL. */
static bool make_code(const Target *target, const Target *host, Arena *arena, Diag *diag, Program *program,
                      PtxForm form, PtxCode *code)
{
    LlvmModule *m = llvm_module_create(arena);
    Ptx *p = ARENA_NEW(arena, Ptx);
    p->g = ARENA_NEW(arena, CudaGen);
    *p->g = (CudaGen){.arena = arena, .diag = diag, .target = target, .program = program};
    p->l = (Gen){.arena = arena, .diag = diag, .program = program};
    p->l.target = host ? host : target;
    p->host = host != NULL;
    *code = (PtxCode){.text = NULL};
    cuda_ranges(p->g);
    bool done = llvm_module_open(&p->l, m, LLVMRelocPIC) && emit_phases(p, code) &&
                llvm_module_optimise(&p->l, m, pass_pipeline);
    if (done && form == FORM_IR) {
        char *text = LLVMPrintModuleToString(m->module);
        code->size = strlen(text);
        code->text = strdup(text);
        LLVMDisposeMessage(text);
    } else if (done) {
        LLVMCodeGenFileType type = form == FORM_HOST ? LLVMObjectFile : LLVMAssemblyFile;
        code->text = llvm_module_emit(&p->l, m, type, &code->size);
    }
    llvm_module_release(m);
    return code->text != NULL;
}

char *llvm_ptx_text(const Target *target, Arena *arena, Diag *diag, Program *program, bool ir)
{
    PtxCode *code = ARENA_NEW(arena, PtxCode);
    char *text = NULL;
    if (make_code(target, NULL, arena, diag, program, ir ? FORM_IR : FORM_PTX, code))
        text = arena_strdup(arena, code->text);
    free(code->text);
    return text;
}

Kernel *llvm_ptx_emit(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    PtxCode *code = ARENA_NEW(arena, PtxCode);
    if (!make_code(target, NULL, arena, diag, program, FORM_PTX, code))
        return NULL;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) {
        free(code->text);
        arena_fail(arena);
    }
    kernel->format = KERNEL_PTX;
    kernel->code = code->text;
    kernel->code_size = code->size + 1; /* the driver reads to the zero byte */
    memcpy(kernel->phases, code->phases, sizeof code->phases);
    for (int k = 0; k < program->phase_count; k++)
        plain_divide_grid(&program->phases[k], code->slices[k]);
    return kernel;
}

void *llvm_ptx_host_object(const Target *target, const Target *host, Arena *arena, Diag *diag,
                           Program *program, KernelPhase phases[PROGRAM_MAX_PHASES],
                           int slices[PROGRAM_MAX_PHASES], size_t *size)
{
    PtxCode *code = ARENA_NEW(arena, PtxCode);
    if (!make_code(target, host, arena, diag, program, FORM_HOST, code))
        return NULL;
    memcpy(phases, code->phases, sizeof code->phases);
    memcpy(slices, code->slices, sizeof code->slices);
    *size = code->size;
    return code->text;
}
