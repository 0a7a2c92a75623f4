/* Phases as kernels of PTX: a block of threads computes one work item, step by step, with barriers where
 * threads read what others wrote; what every step of cuda_plain.c is, as LLVM code. */
#include "llvm_ptx.h"

#include <string.h>

#define V LLVMValueRef

/* Arithmetic, blocks, loops ------------------------------------------------------------------------------ */

V ptx_add(Ptx *p, V a, int64_t b)
{
    return b ? LLVMBuildNSWAdd(p->l.b, a, PTX_INT(p, b), "") : a;
}

V ptx_mul(Ptx *p, V a, int64_t b)
{
    return b == 1 ? a : LLVMBuildNSWMul(p->l.b, a, PTX_INT(p, b), "");
}

V ptx_div(Ptx *p, V a, int64_t b)
{
    return b == 1 ? a : LLVMBuildUDiv(p->l.b, a, PTX_INT(p, b), "");
}

V ptx_mod(Ptx *p, V a, int64_t b)
{
    return LLVMBuildURem(p->l.b, a, PTX_INT(p, b), "");
}

V ptx_sum(Ptx *p, V a, V b)
{
    return LLVMBuildNSWAdd(p->l.b, a, b, "");
}

V ptx_less(Ptx *p, V a, int64_t b)
{
    return LLVMBuildICmp(p->l.b, LLVMIntSLT, a, PTX_INT(p, b), "");
}

V ptx_variable(Ptx *p, LLVMTypeRef type, V first)
{
    V slot = gen_alloca(&p->l, type, 1, 8);
    if (first)
        LLVMBuildStore(p->l.b, first, slot);
    return slot;
}

V ptx_get(Ptx *p, LLVMTypeRef type, V slot)
{
    return LLVMBuildLoad2(p->l.b, type, slot, "");
}

void ptx_set(Ptx *p, V slot, V v)
{
    LLVMBuildStore(p->l.b, v, slot);
}

LLVMBasicBlockRef ptx_block(Ptx *p)
{
    return LLVMAppendBasicBlockInContext(p->l.context, p->l.function, "");
}

PtxLoop ptx_loop(Ptx *p, V lo, V hi, int64_t step)
{
    LLVMBuilderRef b = p->l.b;
    LLVMTypeRef type = LLVMTypeOf(lo);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b), body = ptx_block(p);
    PtxLoop loop = {.head = ptx_block(p),
                    .after = ptx_block(p),
                    .step = LLVMConstInt(type, (unsigned long long)step, true)};
    LLVMBuildBr(b, loop.head);
    LLVMPositionBuilderAtEnd(b, loop.head);
    loop.index = LLVMBuildPhi(b, type, "");
    LLVMAddIncoming(loop.index, &lo, &from, 1);
    V more = LLVMBuildICmp(b, step > 0 ? LLVMIntSLT : LLVMIntSGE, loop.index, hi, "");
    LLVMBuildCondBr(b, more, body, loop.after);
    LLVMPositionBuilderAtEnd(b, body);
    return loop;
}

void ptx_loop_end(Ptx *p, PtxLoop *loop)
{
    V next = LLVMBuildNSWAdd(p->l.b, loop->index, loop->step, "");
    LLVMBasicBlockRef from = LLVMGetInsertBlock(p->l.b);
    LLVMBuildBr(p->l.b, loop->head);
    LLVMAddIncoming(loop->index, &next, &from, 1);
    LLVMPositionBuilderAtEnd(p->l.b, loop->after);
}

LLVMBasicBlockRef ptx_if(Ptx *p, V cond)
{
    LLVMBasicBlockRef body = ptx_block(p), after = ptx_block(p);
    if (cond)
        LLVMBuildCondBr(p->l.b, cond, body, after);
    else
        LLVMBuildBr(p->l.b, body);
    LLVMPositionBuilderAtEnd(p->l.b, body);
    return after;
}

void ptx_if_end(Ptx *p, LLVMBasicBlockRef after)
{
    LLVMBuildBr(p->l.b, after);
    LLVMPositionBuilderAtEnd(p->l.b, after);
}

void ptx_name_row(Ptx *p, const TileType *axes, V row)
{
    int count = axes->axis_count - 1;
    for (int k = count - 1; k >= 0; k--) {
        int64_t inner = 1;
        for (int i = k + 1; i < count; i++)
            inner *= plain_extent(p->g, axes->axis[i]);
        V quotient = ptx_div(p, row, inner);
        p->coord[axes->axis[k]] = k ? ptx_mod(p, quotient, plain_extent(p->g, axes->axis[k])) : quotient;
    }
}

/* Statements --------------------------------------------------------------------------------------------- */

static void barrier(Ptx *p)
{
    ptx_barrier(p);
    plain_none_pending(p->pending);
}

/* First row or number of rows of a sequence: from the cumulative lengths where there are any. */
static V sequence(Ptx *p, const Inst *seq)
{
    Gen *l = &p->l;
    bool keys = seq->seq == SEQ_K_BEGIN || seq->seq == SEQ_K_LENGTH,
         begin = seq->seq == SEQ_Q_BEGIN || seq->seq == SEQ_K_BEGIN;
    V table = ptx_slot(p, keys ? SLOT_CU_K : SLOT_CU_Q),
      batch = ptx_fit(p, ptx_element(p, seq->args[0]), l->i64),
      otherwise = begin ? PTX_INT(p, 0) : ptx_size(p, keys ? VAR_SIZE_N : VAR_SIZE_M);
    LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(l->b)};
    LLVMBasicBlockRef after = ptx_if(p, LLVMBuildICmp(l->b, LLVMIntNE, table, const_i64(l, 0), ""));
    V at = LLVMBuildGEP2(l->b, l->i32, LLVMBuildIntToPtr(l->b, table, p->global, ""), &batch, 1, "");
    V rows = LLVMBuildLoad2(l->b, l->i32, at, "");
    if (!begin) {
        V next = LLVMBuildGEP2(l->b, l->i32, at, (V[]){const_i64(l, 1)}, 1, "");
        rows = LLVMBuildSub(l->b, LLVMBuildLoad2(l->b, l->i32, next, ""), rows, "");
    }
    from[1] = LLVMGetInsertBlock(l->b);
    ptx_if_end(p, after);
    V phi = LLVMBuildPhi(l->b, l->i32, "");
    LLVMAddIncoming(phi, (V[]){otherwise, rows}, from, 2);
    return phi;
}

static void emit_scalar(Ptx *p, const Inst *inst)
{
    V v = NULL;
    switch (inst->op) {
    case TILE_SET: {
        const Inst *var = inst->target;
        v = ptx_rounded(p, var->type.elem, ptx_element(p, inst->args[0]));
        ptx_set(p, p->value[var->id], ptx_fit(p, v, ptx_type(p, var)));
        return;
    }
    case TILE_VAR:
        v = ptx_rounded(p, inst->type.elem, ptx_element(p, inst->args[0]));
        p->value[inst->id] = ptx_variable(p, ptx_type(p, inst), ptx_fit(p, v, ptx_type(p, inst)));
        return;
    case TILE_GRID: v = p->grid[inst->grid]; break;
    case TILE_SEQ: v = sequence(p, inst); break;
    case TILE_MAP: v = ptx_map(p, inst); break;
    case TILE_LOAD: v = ptx_load(p, inst); break;
    default: gen_error(&p->l, inst, "'%s' cannot give a scalar", tile_op_info[inst->op].name); return;
    }
    p->value[inst->id] = ptx_fit(p, v, ptx_type(p, inst));
}

static void emit_steps(Ptx *p, const Step *step);

static void emit_for(Ptx *p, const Step *step)
{
    const Inst *inst = step->members[0];
    LLVMTypeRef type = ptx_type(p, inst);
    V lo = ptx_fit(p, ptx_element(p, inst->args[0]), type),
      hi = ptx_fit(p, ptx_element(p, inst->args[1]), type);
    if (plain_any_pending(p->pending))
        barrier(p);
    PtxLoop loop;
    if (inst->reverse) {
        V one = LLVMConstInt(type, 1, false);
        loop = ptx_loop(p, LLVMBuildSub(p->l.b, hi, one, ""), lo, -1);
    } else {
        loop = ptx_loop(p, lo, hi, 1);
    }
    p->value[inst->id] = loop.index;
    emit_steps(p, step->body);
    if (plain_any_pending(p->pending))
        barrier(p);
    ptx_loop_end(p, &loop);
}

static void emit_if(Ptx *p, const Step *step)
{
    Gen *l = &p->l;
    LLVMBasicBlockRef body = ptx_block(p), after = ptx_block(p),
                      otherwise = step->orelse ? ptx_block(p) : after;
    LLVMBuildCondBr(l->b, ptx_element(p, step->members[0]->args[0]), body, otherwise);
    Pending *other = plain_pending(p->g, p->pending), *first = p->pending;
    bool copies = p->copies;
    LLVMPositionBuilderAtEnd(l->b, body);
    emit_steps(p, step->body);
    LLVMBuildBr(l->b, after);
    p->pending = other;
    bool first_copies = p->copies;
    p->copies = copies;
    if (step->orelse) {
        LLVMPositionBuilderAtEnd(l->b, otherwise);
        emit_steps(p, step->orelse);
        LLVMBuildBr(l->b, after);
    }
    p->copies |= first_copies;
    LLVMPositionBuilderAtEnd(l->b, after);
    if (plain_join(p->pending, first))
        barrier(p);
}

static void emit_step(Ptx *p, const Step *step)
{
    switch (step->kind) {
    case STEP_FOR: emit_for(p, step); return;
    case STEP_IF: emit_if(p, step); return;
    default: break;
    }
    if (plain_order(&p->plan, p->pending, step))
        ptx_barrier(p);
    switch (step->kind) {
    case STEP_SCALAR: emit_scalar(p, step->members[0]); break;
    case STEP_GROUP:
        plain_is_copy(&p->plan, step) ? ptx_copy(p, step) : ptx_group(p, step);
        ptx_zero_padding(p, step);
        break;
    case STEP_REDUCE: ptx_reduce(p, step->members[0]); break;
    default: ptx_contract(p, step); break;
    }
}

static void emit_steps(Ptx *p, const Step *step)
{
    for (; step && !p->l.failed; step = step->next)
        emit_step(p, step);
}

/* Phases ------------------------------------------------------------------------------------------------- */

/* Coordinates of the work item; the last dimension is the fastest. */
static void emit_grid(Ptx *p)
{
    const Phase *phase = p->g->phase;
    V item = p->block;
    if (p->plan.slices > 1) {
        p->slice = ptx_mul(p, ptx_mod(p, item, p->plan.slices), p->g->slice_extent);
        item = ptx_div(p, item, p->plan.slices);
    }
    for (int k = phase->grid_count - 1; k > 0; k--) {
        const Extent *x = &phase->grid[k].extent;
        V size = x->size < 0 ? PTX_INT(p, 1) : ptx_size(p, (VarId)x->size);
        V count = ptx_mul(p, ptx_div(p, ptx_add(p, size, x->div - 1), x->div), x->mul);
        p->grid[k] = LLVMBuildURem(p->l.b, item, count, "");
        item = LLVMBuildUDiv(p->l.b, item, count, "");
    }
    p->grid[0] = item;
}

static void open_function(Ptx *p, const KernelPhase *out)
{
    Gen *l = &p->l;
    LLVMTypeRef launch = LLVMArrayType2(l->i64, (uint64_t)slot_of_tensor(p->g->program->tensor_count));
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(l->context), &l->ptr, 1, false);
    l->function = LLVMAddFunction(l->module, out->entry, type);
    ptx_function_attributes(p, l->function);
    if (!p->host) {
        unsigned by_value = LLVMGetEnumAttributeKindForName("byval", 5),
                 align = LLVMGetEnumAttributeKindForName("align", 5);
        LLVMAddAttributeAtIndex(l->function, 1, LLVMCreateTypeAttribute(l->context, by_value, launch));
        LLVMAddAttributeAtIndex(l->function, 1, LLVMCreateEnumAttribute(l->context, align, 64));
    }
    l->slots = LLVMGetParam(l->function, 0);
    l->entry = LLVMAppendBasicBlockInContext(l->context, l->function, "entry");
    memset(l->slot_value, 0, sizeof l->slot_value);
}

bool ptx_phase(Ptx *p, KernelPhase *out, int *slices)
{
    Gen *l = &p->l;
    CudaGen *g = p->g;
    l->phase = g->phase;
    if (!plain_plan(g, &p->plan))
        return false;
    p->value = ARENA_ARRAY(g->arena, V, g->program->next_id);
    p->named = ARENA_ARRAY(g->arena, uint32_t, (size_t)g->program->next_id * 4 + 64);
    p->named_count = 0;
    p->pending = plain_pending(g, NULL);
    p->copies = false;
    plain_launch(&p->plan, out);
    *slices = p->plan.slices;
    open_function(p, out);
    LLVMBasicBlockRef start = ptx_block(p);
    LLVMPositionBuilderAtEnd(l->b, start);
    p->thread = ptx_register(p, "tid.x");
    p->block = ptx_register(p, "ctaid.x");
    p->tiles_at = LLVMBuildPtrToInt(l->b, p->tiles, l->i32, "");
    p->slice = PTX_INT(p, 0);
    if (p->plan.spill_tensor >= 0) {
        V base = LLVMBuildIntToPtr(l->b, ptx_slot(p, slot_of_tensor(p->plan.spill_tensor)), p->global, "");
        V offset = LLVMBuildMul(l->b, LLVMBuildZExt(l->b, p->block, l->i64, ""),
                                const_i64(l, p->plan.spill_bytes), "");
        p->spill = LLVMBuildGEP2(l->b, l->i8, base, &offset, 1, "");
    }
    emit_grid(p);
    emit_steps(p, p->plan.steps);
    LLVMBuildRetVoid(l->b);
    LLVMPositionBuilderAtEnd(l->b, l->entry);
    LLVMBuildBr(l->b, start);
    g->slice_extent = 0;
    return !l->failed;
}
