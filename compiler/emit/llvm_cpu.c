/* The CPU code generator: the walk over a Program, and the way from there to an object.
 *
 * Every phase is one function over a range of work items; a work item is one cell of the phase's grid. */
#include "llvm_gen.h"

#include <stdlib.h>
#include <string.h>

LLVMValueRef gen_slot(Gen *g, int slot)
{
    if (!g->slot_value[slot]) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
        LLVMPositionBuilderAtEnd(g->b, g->entry);
        LLVMValueRef at = address_at(g, g->slots, g->i64, const_i64(g, slot));
        g->slot_value[slot] = LLVMBuildLoad2(g->b, g->i64, at, "");
        LLVMPositionBuilderAtEnd(g->b, here);
    }
    return g->slot_value[slot];
}

LLVMValueRef gen_alloca(Gen *g, LLVMTypeRef type, int64_t count, unsigned align)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
    LLVMPositionBuilderAtEnd(g->b, g->entry);
    LLVMValueRef v = LLVMBuildAlloca(g->b, count == 1 ? type : LLVMArrayType2(type, (uint64_t)count), "");
    LLVMSetAlignment(v, align);
    LLVMPositionBuilderAtEnd(g->b, here);
    return v;
}

static void add_attribute(Gen *g, LLVMValueRef fn, LLVMAttributeIndex at, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, at, LLVMCreateEnumAttribute(g->context, kind, 0));
}

static void add_text_attribute(Gen *g, LLVMValueRef fn, const char *name, const char *value)
{
    LLVMAttributeRef a =
        LLVMCreateStringAttribute(g->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, a);
}

void gen_function_attributes(Gen *g, LLVMValueRef fn)
{
    const char *bits = arena_printf(g->arena, "%d", g->target->vector_bits);
    add_attribute(g, fn, LLVMAttributeFunctionIndex, "nounwind");
    add_text_attribute(g, fn, "target-cpu", g->target->cpu);
    add_text_attribute(g, fn, "target-features", g->target->features);
    add_text_attribute(g, fn, "prefer-vector-width", bits);
    add_text_attribute(g, fn, "min-legal-vector-width", bits);
    add_text_attribute(g, fn, "no-trapping-math", "true");
}

/* Statements ------------------------------------------------------------------------------------------- */

static LLVMValueRef scalar_of(Gen *g, const Inst *inst)
{
    Point p = {.lane = -1};
    return point_eval(g, &p, inst);
}

/* First row or number of rows of a sequence: from the cumulative lengths where there are any. */
static LLVMValueRef emit_seq(Gen *g, const Inst *inst)
{
    bool queries = inst->seq == SEQ_Q_BEGIN || inst->seq == SEQ_Q_LENGTH,
         length = inst->seq == SEQ_Q_LENGTH || inst->seq == SEQ_K_LENGTH;
    LLVMValueRef table = gen_slot(g, queries ? SLOT_CU_Q : SLOT_CU_K);
    LLVMValueRef ragged = LLVMBuildICmp(g->b, LLVMIntNE, table, const_i64(g, 0), "");
    LLVMValueRef at =
        address_at(g, LLVMBuildIntToPtr(g->b, table, g->ptr, ""), g->i32, scalar_of(g, inst->args[0]));
    at = LLVMBuildSelect(g->b, ragged, at, g->zero_row, "");
    LLVMValueRef first = LLVMBuildSExt(g->b, LLVMBuildLoad2(g->b, g->i32, at, ""), g->i64, "");
    if (!length)
        return first; /* the row of zeros says 0 */
    LLVMValueRef after = LLVMBuildLoad2(g->b, g->i32, address_at(g, at, g->i32, const_i64(g, 1)), "");
    LLVMValueRef rows = LLVMBuildSub(g->b, LLVMBuildSExt(g->b, after, g->i64, ""), first, "");
    return LLVMBuildSelect(g->b, ragged, rows, gen_slot(g, slot_of_size(queries ? VAR_SIZE_M : VAR_SIZE_N)),
                           "");
}

static LLVMTypeRef scalar_type(Gen *g, const Inst *inst)
{
    ExprType type = elem_class(inst->type.elem);
    return type == TYPE_FLOAT ? g->f32 : type == TYPE_INT ? g->i64 : g->i1;
}

static LLVMValueRef rounded(Gen *g, const Inst *var, LLVMValueRef v)
{
    return elem_class(var->type.elem) == TYPE_FLOAT ? round_float(g, v, var->type.elem) : v;
}

static void emit_scalar(Gen *g, Inst *inst)
{
    Node *n = node_of(g, inst);
    Point p = {.lane = -1};
    switch (inst->op) {
    case TILE_GRID: n->base = g->grid_value[inst->grid]; return;
    case TILE_SEQ: n->base = emit_seq(g, inst); return;
    case TILE_MAP:
    case TILE_LOAD: n->base = point_compute(g, &p, inst); return;
    case TILE_CONTRACT: contract_scalar(g, inst); return;
    case TILE_VAR:
        n->base = gen_alloca(g, scalar_type(g, inst), 1, 8);
        LLVMBuildStore(g->b, rounded(g, inst, scalar_of(g, inst->args[0])), n->base);
        return;
    default: gen_error(g, inst, "'%s' cannot give a scalar", tile_op_info[inst->op].name);
    }
}

static void emit_for(Gen *g, Inst *inst)
{
    LLVMValueRef lo = scalar_of(g, inst->args[0]), hi = scalar_of(g, inst->args[1]);
    Loop loop = loop_begin(g, lo, hi, 1, true, NULL, 0);
    LLVMValueRef index = loop.index;
    if (inst->reverse)
        index = LLVMBuildSub(g->b, LLVMBuildAdd(g->b, lo, LLVMBuildSub(g->b, hi, const_i64(g, 1), ""), ""),
                             index, "");
    node_of(g, inst)->base = index;
    node_of(g, inst)->home = HOME_SCALAR;
    emit_block(g, inst->body);
    loop_end(g, &loop, NULL);
}

static void emit_if(Gen *g, Inst *inst)
{
    LLVMValueRef cond = scalar_of(g, inst->args[0]);
    LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMBasicBlockRef otherwise =
        inst->orelse ? LLVMAppendBasicBlockInContext(g->context, g->function, "") : NULL;
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMBuildCondBr(g->b, cond, then, otherwise ? otherwise : after);
    LLVMPositionBuilderAtEnd(g->b, then);
    emit_block(g, inst->body);
    LLVMBuildBr(g->b, after);
    if (otherwise) {
        LLVMPositionBuilderAtEnd(g->b, otherwise);
        emit_block(g, inst->orelse);
        LLVMBuildBr(g->b, after);
    }
    LLVMPositionBuilderAtEnd(g->b, after);
}

static void emit_statement(Gen *g, Inst *inst)
{
    Node *n = node_of(g, inst);
    int unit;
    switch (inst->op) {
    case TILE_FOR: emit_for(g, inst); return;
    case TILE_IF: emit_if(g, inst); return;
    case TILE_SET:
        LLVMBuildStore(g->b, rounded(g, inst->target, scalar_of(g, inst->args[0])),
                       node_of(g, inst->target)->base);
        return;
    case TILE_STORE: {
        TileType space = plan_space(inst);
        if (space.axis_count && plan_transposes(g, inst, &unit)) {
            transpose_store(g, inst, unit);
        } else {
            Point *p = ARENA_NEW(g->arena, Point);
            p->lane = -1;
            tensor_write(g, inst, p);
        }
        return;
    }
    case TILE_CONTRACT:
        if (inst->target)
            contract_scalar(g, inst);
        else if (n->home == HOME_SCALAR)
            emit_scalar(g, inst);
        return;
    case TILE_LOAD:
        if (n->home == HOME_ROWS)
            rows_build(g, inst);
        else if (n->home == HOME_BUFFER && plan_transposes(g, inst, &unit))
            transpose_load(g, inst, unit);
        else if (n->home == HOME_SCALAR)
            emit_scalar(g, inst);
        return;
    default:
        if (n->home == HOME_SCALAR)
            emit_scalar(g, inst);
    }
}

void emit_block(Gen *g, const Block *block)
{
    for (Inst *inst = block->first; inst && !g->failed; inst = inst->next) {
        const Node *n = node_of(g, inst);
        if (n->group < 0) {
            emit_statement(g, inst);
            continue;
        }
        Group *group = &g->groups[n->group];
        if (n->position != group->last)
            continue;
        if (group->head)
            contract_emit(g, group);
        else
            nest_emit(g, group);
    }
}

/* Phases ----------------------------------------------------------------------------------------------- */

static Extent resolved_extent(const Program *program, Extent e)
{
    if (e.div_knob >= 0) {
        e.div = program->knobs[e.div_knob].value;
        e.div_knob = -1;
    }
    if (e.div < 1)
        e.div = 1;
    return e;
}

static LLVMValueRef emit_extent(Gen *g, Extent e)
{
    LLVMValueRef size = e.size < 0 ? const_i64(g, 1) : gen_slot(g, slot_of_size((VarId)e.size));
    if (e.div != 1) {
        size = LLVMBuildAdd(g->b, size, const_i64(g, e.div - 1), "");
        size = LLVMBuildUDiv(g->b, size, const_i64(g, e.div), "");
    }
    return LLVMBuildMul(g->b, size, const_i64(g, e.mul), "");
}

static char *entry_name(Gen *g, const Phase *phase)
{
    return arena_printf(g->arena, "%.47s_%.47s", g->program->name, phase->name); /* as kernel_describe */
}

static void emit_phase(Gen *g, const Phase *phase)
{
    LLVMTypeRef params[] = {g->ptr, g->i64, g->i64, g->ptr};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->context), params, 4, false);
    plan_phase(g, phase);
    g->function = LLVMAddFunction(g->module, entry_name(g, phase), type);
    gen_function_attributes(g, g->function);
    add_attribute(g, g->function, 1, "noalias");
    add_attribute(g, g->function, 4, "noalias");
    g->slots = LLVMGetParam(g->function, 0);
    g->scratch = LLVMGetParam(g->function, 3);
    memset(g->slot_value, 0, sizeof g->slot_value);
    g->entry = LLVMAppendBasicBlockInContext(g->context, g->function, "entry");
    LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMPositionBuilderAtEnd(g->b, start);

    LLVMValueRef extent[PROGRAM_MAX_GRID];
    for (int k = 0; k < phase->grid_count; k++)
        extent[k] = emit_extent(g, resolved_extent(g->program, phase->grid[k].extent));
    Loop items = loop_begin(g, LLVMGetParam(g->function, 1), LLVMGetParam(g->function, 2), 1, true, NULL, 0);
    LLVMValueRef left = items.index;
    for (int k = phase->grid_count - 1; k >= 0; k--) {
        g->grid_value[k] = k ? LLVMBuildURem(g->b, left, extent[k], "") : left;
        if (k)
            left = LLVMBuildUDiv(g->b, left, extent[k], "");
    }
    emit_block(g, phase->body);
    loop_end(g, &items, NULL);
    LLVMBuildRetVoid(g->b);
    LLVMPositionBuilderAtEnd(g->b, g->entry);
    LLVMBuildBr(g->b, start);
}

/* Modules ---------------------------------------------------------------------------------------------- */

/* Enough zeros for any row that a table may point to. */
static void make_zero_row(Gen *g)
{
    int64_t bytes = 64;
    for (int a = 0; a < g->program->axis_count; a++)
        if (bytes < padded_extent(g, a) * 8)
            bytes = padded_extent(g, a) * 8;
    LLVMTypeRef type = LLVMArrayType2(g->i8, (uint64_t)bytes);
    g->zero_row = LLVMAddGlobal(g->module, type, "zero_row");
    LLVMSetInitializer(g->zero_row, LLVMConstNull(type));
    LLVMSetGlobalConstant(g->zero_row, true);
    LLVMSetLinkage(g->zero_row, LLVMInternalLinkage);
    LLVMSetAlignment(g->zero_row, 64);
}

static bool check_program(Gen *g)
{
    if (g->program->stage != STAGE_SIZED) {
        gen_error(g, NULL, "CPU code needs a program at stage '%s', this one is at '%s'",
                  stage_name(STAGE_SIZED), stage_name(g->program->stage));
        return false;
    }
    return true;
}

static const char *const pass_pipeline =
    "function(sroa,early-cse,instsimplify,simplifycfg,loop-mssa(licm),early-cse,dce)";

/* The module with every phase's function, optimised. NULL with diagnostics. */
static Gen *build_module(const Target *target, Arena *arena, Diag *diag, const Program *program, LlvmModule *m)
{
    Gen *g = ARENA_NEW(arena, Gen);
    *g = (Gen){.arena = arena,
               .diag = diag,
               .target = target,
               .program = program,
               .lanes = target->vector_bits / 32};
    if (!check_program(g) || !llvm_module_open(g, m, LLVMRelocPIC))
        return NULL;
    make_zero_row(g);
    for (int k = 0; k < program->phase_count && !g->failed; k++)
        emit_phase(g, &program->phases[k]);
    if (g->failed || !llvm_module_optimise(g, m, pass_pipeline))
        return NULL;
    return g;
}

static void fill_kernel(Gen *g, Kernel *kernel)
{
    kernel->format = KERNEL_OBJECT;
    kernel->scratch_bytes = g->scratch_bytes;
    kernel->phase_count = g->program->phase_count;
    for (int k = 0; k < g->program->phase_count; k++)
        snprintf(kernel->phases[k].entry, sizeof kernel->phases[k].entry, "%s",
                 entry_name(g, &g->program->phases[k]));
}

Kernel *llvm_cpu_emit(const Target *target, Arena *arena, Diag *diag, const Program *program)
{
    LlvmModule *m = llvm_module_create(arena);
    Gen *g = build_module(target, arena, diag, program, m);
    size_t size;
    Kernel *kernel = NULL;
    void *code = g ? llvm_module_emit(g, m, LLVMObjectFile, &size) : NULL;
    if (code) {
        kernel = calloc(1, sizeof *kernel);
        if (!kernel) {
            free(code);
            arena_fail(arena);
        }
        fill_kernel(g, kernel);
        kernel->code_size = size;
        kernel->code = code;
    }
    llvm_module_release(m);
    return kernel;
}

char *llvm_cpu_text(const Target *target, Arena *arena, Diag *diag, const Program *program, bool assembly)
{
    LlvmModule *m = llvm_module_create(arena);
    char *text = NULL;
    Gen *g = build_module(target, arena, diag, program, m);
    if (g && !assembly) {
        char *ir = LLVMPrintModuleToString(m->module);
        text = arena_strdup(arena, ir);
        LLVMDisposeMessage(ir);
    } else if (g) {
        size_t size;
        char *code = llvm_module_emit(g, m, LLVMAssemblyFile, &size);
        text = code ? arena_strndup(arena, code, size) : NULL;
        free(code);
    }
    llvm_module_release(m);
    return text;
}
