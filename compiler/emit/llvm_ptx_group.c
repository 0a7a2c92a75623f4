/* Elementwise steps and copies; the distribution over threads is that of cuda_plain_group.c. */
#include "llvm_ptx.h"

#define V LLVMValueRef

typedef struct Rows {
    Ptx *p;
    int last;
} Rows;

/* Before the loop over columns: what has the same value in all of them. */
static void hoist(void *user, const Inst *value)
{
    Rows *rows = user;
    if (value->type.axis_count && !inst_has_axis(value, rows->last) &&
        rows->p->plan.values[value->id].buffered)
        ptx_element(rows->p, value);
}

static void hoist_inst(Rows *rows, const Inst *inst)
{
    for (int k = -1; k < inst->arg_count; k++) {
        const Inst *value = k < 0 ? inst->guard : inst->args[k];
        if (!value || rows->p->plan.values[value->id].kind == PLAIN_SCALAR)
            continue;
        if (rows->p->plan.values[value->id].kind != PLAIN_INLINE)
            hoist(rows, value);
        else if (inst_has_axis(value, rows->last))
            hoist_inst(rows, value);
        else if (value->op != TILE_INDEX)
            ptx_element(rows->p, value);
    }
}

static void group_member(Ptx *p, const Inst *inst, V total)
{
    switch (inst->op) {
    case TILE_MAP: ptx_hold(p, inst, ptx_map(p, inst)); break;
    case TILE_LOAD: ptx_hold(p, inst, ptx_load(p, inst)); break;
    case TILE_VAR: ptx_hold(p, inst, ptx_rounded(p, inst->type.elem, ptx_element(p, inst->args[0]))); break;
    case TILE_SET:
        ptx_hold(p, inst->target, ptx_rounded(p, inst->target->type.elem, ptx_element(p, inst->args[0])));
        break;
    case TILE_STORE: ptx_store(p, inst, ptx_element(p, inst->args[inst->arg_count - 1])); break;
    case TILE_REDUCE: {
        V so_far = ptx_get(p, ptx_reduce_type(p, inst), total);
        ptx_set(p, total, ptx_reduce_pair(p, inst, so_far, ptx_element(p, inst->args[0])));
        break;
    }
    default: break;
    }
}

/* The tile that gets what member k computes; NULL: none, or a later member's value. */
static const Inst *result_of(const Ptx *p, const Step *step, int k)
{
    const Inst *inst = step->members[k], *value = inst->op == TILE_SET ? inst->target : inst;
    bool last = inst->op != TILE_REDUCE && inst->op != TILE_STORE && p->plan.values[value->id].buffered;
    for (int later = k + 1; later < step->member_count; later++)
        last = last && step->members[later]->target != value;
    return last ? value : NULL;
}

/* Some elements of a row at once. Results go to memory after all members have read it. */
static void group_elements(Ptx *p, const Step *step, const V *total, int axis, const V *columns, int count)
{
    V results[PLAIN_AT_ONCE][PLAIN_MAX_MEMBERS];
    int mark = p->named_count;
    for (int n = 0; n < count; n++) {
        p->coord[axis] = columns[n];
        for (int k = 0; k < step->member_count; k++)
            group_member(p, step->members[k], total[k]);
        for (int k = 0; k < step->member_count; k++) {
            const Inst *value = result_of(p, step, k);
            results[n][k] = value ? p->value[value->id] : NULL;
        }
        ptx_leave(p, mark);
    }
    for (int n = 0; n < count; n++) {
        p->coord[axis] = columns[n];
        for (int k = 0; k < step->member_count; k++)
            if (results[n][k])
                ptx_write(p, result_of(p, step, k), results[n][k]);
    }
}

void ptx_zero_padding(Ptx *p, const Step *step)
{
    LLVMBuilderRef b = p->l.b;
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        const PlainValue *v = &p->plan.values[inst->id];
        if (!inst->has_value || !v->buffered || !(v->zero_rows || v->zero_columns))
            continue;
        int64_t rows = plain_extent(p->g, inst->type.axis[0]),
                columns = plain_extent(p->g, inst->type.axis[1]);
        PtxLoop loop = ptx_loop(p, p->thread, PTX_INT(p, v->rows * v->columns), PLAIN_THREADS);
        V row = ptx_div(p, loop.index, v->columns), column = ptx_mod(p, loop.index, v->columns);
        V inside = LLVMBuildAnd(b, ptx_less(p, row, rows), ptx_less(p, column, columns), "");
        LLVMBasicBlockRef after = ptx_if(p, LLVMBuildNot(b, inside, ""));
        LLVMTypeRef type = ptx_memory_type(p, inst);
        V at = ptx_at(p, ptx_buffer(p, v), type, ptx_sum(p, ptx_mul(p, row, v->pitch), column));
        LLVMBuildStore(b, LLVMConstNull(type), at);
        ptx_if_end(p, after);
        ptx_loop_end(p, &loop);
    }
}

static void group_scalar(Ptx *p, const Step *step)
{
    int mark = p->named_count;
    V first = LLVMBuildICmp(p->l.b, LLVMIntEQ, p->thread, PTX_INT(p, 0), "");
    LLVMBasicBlockRef after = ptx_if(p, first);
    group_member(p, step->members[0], NULL);
    ptx_if_end(p, after);
    ptx_leave(p, mark);
}

/* The loop of a group over the rows or, with one axis, the elements. */
typedef struct GroupLoop {
    const Step *step;
    int last, lanes;
    int64_t rows, columns, at_once;
    bool whole; /* every thread has a row in every trip */
    V total[PLAIN_MAX_MEMBERS], row;
} GroupLoop;

static void group_columns(Ptx *p, GroupLoop *l)
{
    const Step *step = l->step;
    int mark = p->named_count;
    LLVMBasicBlockRef after = NULL;
    if (step->axes.axis_count > 1) {
        after = ptx_if(p, l->whole ? NULL : ptx_less(p, l->row, l->rows));
        ptx_name_row(p, &step->axes, l->row);
        Rows hoisting = {p, l->last};
        for (int k = 0; k < step->member_count; k++)
            hoist_inst(&hoisting, step->members[k]);
    }
    V first = ptx_mod(p, p->thread, l->lanes), column[PLAIN_AT_ONCE];
    int count = plain_at_once(p->g, step);
    PtxLoop columns = ptx_loop(p, first, PTX_INT(p, l->columns), l->lanes * count);
    for (int n = 0; n < count; n++)
        column[n] = ptx_add(p, columns.index, n * l->lanes);
    group_elements(p, step, l->total, l->last, column, count);
    ptx_loop_end(p, &columns);
    if (after)
        ptx_if_end(p, after);
    ptx_leave(p, mark);
}

static void group_totals(Ptx *p, GroupLoop *l)
{
    const Step *step = l->step;
    bool reduces = false;
    for (int k = 0; k < step->member_count; k++)
        if (l->total[k]) {
            ptx_reduce_lanes(p, step->members[k], l->total[k], l->lanes);
            reduces = true;
        }
    if (!reduces)
        return;
    LLVMBuilderRef b = p->l.b;
    V first = LLVMBuildICmp(b, LLVMIntEQ, ptx_mod(p, p->thread, l->lanes), PTX_INT(p, 0), "");
    if (!l->whole)
        first = LLVMBuildAnd(b, first, ptx_less(p, l->row, l->rows), "");
    LLVMBasicBlockRef after = ptx_if(p, first);
    ptx_name_row(p, &step->axes, l->row);
    for (int k = 0; k < step->member_count; k++)
        if (l->total[k])
            ptx_write(p, step->members[k], ptx_get(p, ptx_reduce_type(p, step->members[k]), l->total[k]));
    ptx_if_end(p, after);
}

void ptx_group(Ptx *p, const Step *step)
{
    const TileType *axes = &step->axes;
    if (axes->axis_count == 0) {
        group_scalar(p, step);
        return;
    }
    GroupLoop l = {.step = step, .last = axes->axis[axes->axis_count - 1], .lanes = plain_lanes(p->g, axes)};
    l.columns = plain_extent(p->g, l.last);
    l.rows = plain_count(p->g, axes) / l.columns;
    l.at_once = PLAIN_THREADS / l.lanes;
    l.whole = l.rows % l.at_once == 0;
    PtxLoop rows;
    bool many = axes->axis_count > 1;
    if (many) {
        rows = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, l.rows), l.at_once);
        l.row = ptx_sum(p, rows.index, ptx_div(p, p->thread, l.lanes));
    }
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        if (inst->op == TILE_REDUCE)
            l.total[k] = ptx_variable(p, ptx_reduce_type(p, inst), ptx_reduce_start(p, inst));
    }
    group_columns(p, &l);
    group_totals(p, &l);
    if (many)
        ptx_loop_end(p, &rows);
}

/* Rows that lie together, 16 bytes a thread at a time, where the launch's strides allow it. */
void ptx_copy(Ptx *p, const Step *step)
{
    Gen *l = &p->l;
    const Inst *load = step->members[0];
    const PlainValue *v = &p->plan.values[load->id];
    const TileType *axes = &step->axes;
    LLVMTypeRef type = ptx_memory_type(p, load), four = LLVMVectorType(l->i32, 4);
    int size = elem_type_size(load->type.elem), each = 16 / size, last = axes->axis[axes->axis_count - 1];
    int slot = slot_of_tensor(load->tensor), mark = p->named_count;
    int64_t vectors = plain_extent(p->g, last) / each, count = plain_count(p->g, axes) / each;
    V bits = ptx_slot(p, slot);
    for (int d = 0; d + 1 < load->arg_count; d++) {
        V bytes = LLVMBuildMul(l->b, ptx_slot(p, slot + 1 + d), const_i64(l, size), "");
        bits = LLVMBuildOr(l->b, bits, bytes, "");
    }
    bits = LLVMBuildAnd(l->b, bits, const_i64(l, 15), "");
    V aligned = LLVMBuildICmp(l->b, LLVMIntEQ, bits, const_i64(l, 0), "");
    V dense = LLVMBuildICmp(l->b, LLVMIntEQ, ptx_slot(p, slot + load->arg_count), const_i64(l, 1), "");
    LLVMBasicBlockRef fast = ptx_block(p), slow = ptx_block(p), after = ptx_block(p);
    LLVMBuildCondBr(l->b, LLVMBuildAnd(l->b, aligned, dense, ""), fast, slow);
    LLVMPositionBuilderAtEnd(l->b, fast);
    PtxLoop loop = ptx_loop(p, p->thread, PTX_INT(p, count), PLAIN_THREADS);
    V row = ptx_div(p, loop.index, vectors), column = ptx_mul(p, ptx_mod(p, loop.index, vectors), each);
    p->coord[last] = column;
    ptx_name_row(p, axes, row);
    V take = load->guard ? ptx_element(p, load->guard) : NULL;
    V from = ptx_address(p, load);
    V to = ptx_at(p, ptx_buffer(p, v), type, ptx_sum(p, ptx_mul(p, row, v->pitch), column));
    if (v->spilled) {
        LLVMBasicBlockRef before[2] = {LLVMGetInsertBlock(l->b)};
        LLVMBasicBlockRef guarded = ptx_if(p, take);
        V both[2] = {LLVMConstNull(four), LLVMBuildLoad2(l->b, four, from, "")};
        before[1] = LLVMGetInsertBlock(l->b);
        ptx_if_end(p, guarded);
        V bytes = LLVMBuildPhi(l->b, four, "");
        LLVMAddIncoming(bytes, take ? both : both + 1, take ? before : before + 1, take ? 2 : 1);
        LLVMBuildStore(l->b, bytes, to);
    } else {
        ptx_copy16(p, to, from, take);
    }
    ptx_loop_end(p, &loop);
    ptx_leave(p, mark);
    LLVMBuildBr(l->b, after);
    LLVMPositionBuilderAtEnd(l->b, slow);
    ptx_group(p, step);
    LLVMBuildBr(l->b, after);
    LLVMPositionBuilderAtEnd(l->b, after);
}
