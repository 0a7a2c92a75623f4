/* Elementwise steps and copies.
 *
 * The loop of a group gives every row (all axes but the last) to a few neighbouring lanes, which share its
 * columns: reductions along a row are shuffles, and an element belongs to the same thread in every group over
 * the same axes. */
#include "cuda_plain_emit.h"

typedef struct Rows {
    Emitter *e;
    int last;
} Rows;

/* Before the loop over columns: what has the same value in all of them. */
static void hoist(void *user, const Inst *value)
{
    Rows *rows = user;
    if (value->type.axis_count && !inst_has_axis(value, rows->last) &&
        rows->e->plan.values[value->id].buffered)
        plain_element(rows->e, value);
}

static void hoist_inst(Rows *rows, const Inst *inst)
{
    for (int k = -1; k < inst->arg_count; k++) {
        const Inst *value = k < 0 ? inst->guard : inst->args[k];
        if (!value || rows->e->plan.values[value->id].kind == PLAIN_SCALAR)
            continue;
        if (rows->e->plan.values[value->id].kind != PLAIN_INLINE)
            hoist(rows, value);
        else if (inst_has_axis(value, rows->last))
            hoist_inst(rows, value);
        else if (value->op != TILE_INDEX)
            plain_element(rows->e, value);
    }
}

/* Groups ------------------------------------------------------------------------------------------------- */

static void group_member(Emitter *e, const Inst *inst)
{
    const Inst *value;
    switch (inst->op) {
    case TILE_MAP: plain_hold(e, inst, cuda_map(e->g, inst, plain_operands(e))); break;
    case TILE_LOAD: plain_hold(e, inst, cuda_load(e->g, inst, plain_operands(e))); break;
    case TILE_VAR:
        plain_hold(e, inst, plain_rounded(e, inst->type.elem, plain_element(e, inst->args[0])));
        break;
    case TILE_SET:
        plain_hold(e, inst->target,
                   plain_rounded(e, inst->target->type.elem, plain_element(e, inst->args[0])));
        break;
    case TILE_STORE:
        value = inst->args[inst->arg_count - 1];
        cuda_store(e->g, inst, plain_operands(e), plain_element(e, value));
        break;
    case TILE_REDUCE: {
        const char *total = PRINT("r%u", inst->id);
        cuda_line(e->g, "%s = %s;\n", total,
                  plain_reduce_pair(e, inst, total, plain_element(e, inst->args[0])));
        break;
    }
    default: break;
    }
}

/* The tile that gets what member k computes; NULL: none, or a later member's value. */
static const Inst *result_of(const Emitter *e, const Step *step, int k)
{
    const Inst *inst = step->members[k], *value = inst->op == TILE_SET ? inst->target : inst;
    bool last = inst->op != TILE_REDUCE && inst->op != TILE_STORE && e->plan.values[value->id].buffered;
    for (int later = k + 1; later < step->member_count; later++)
        last = last && step->members[later]->target != value;
    return last ? value : NULL;
}

/* The loop over a row's columns. Results go to memory after all members have read it, at all columns of a
 * trip. */
static void group_columns(Emitter *e, const Step *step, int lanes)
{
    int axis = step->axes.axis[step->axes.axis_count - 1], columns = (int)plain_extent(e->g, axis),
        mark = e->named_count, count = plain_at_once(e->g, step);
    const char *number = count > 1 ? PRINT("n%u", e->g->next_name++) : NULL,
               *column = number ? "column" : PRINT("a%d", axis), *results[PLAIN_MAX_MEMBERS] = {NULL};
    cuda_line(e->g, "for (int %s = threadIdx.x %% %d; %s < %d; %s += %d) {\n", column, lanes, column, columns,
              column, lanes * count);
    e->g->indent += 4;
    for (int k = 0; number && k < step->member_count; k++) {
        const Inst *value = result_of(e, step, k);
        if (!value)
            continue;
        results[k] = PRINT("w%u", e->g->next_name++);
        cuda_line(e->g, "%s %s[%d];\n", cuda_type(e->g, value), results[k], count);
    }
    for (int pass = 0; pass < (number ? 2 : 1); pass++) {
        if (number) {
            cuda_line(e->g, "#pragma unroll\n");
            cuda_line(e->g, "for (int %s = 0; %s < %d; %s++) {\n", number, number, count, number);
            e->g->indent += 4;
            cuda_line(e->g, "const int a%d = column + %s * %d;\n", axis, number, lanes);
        }
        for (int k = 0; pass == 0 && k < step->member_count; k++)
            group_member(e, step->members[k]);
        for (int k = 0; k < step->member_count; k++) {
            const Inst *value = result_of(e, step, k);
            if (!value)
                continue;
            if (number && pass == 0)
                cuda_line(e->g, "%s[%s] = %s;\n", results[k], number, e->name[value->id]);
            else
                plain_write(e, value, number ? PRINT("%s[%s]", results[k], number) : e->name[value->id]);
        }
        plain_leave(e, mark);
        if (number)
            plain_close(e);
    }
    plain_close(e);
}

/* The padding of operands of tensor cores along the axis that is summed. */
void plain_zero_padding(Emitter *e, const Step *step)
{
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        const PlainValue *v = &e->plan.values[inst->id];
        if (!inst->has_value || !v->buffered || !(v->zero_rows || v->zero_columns))
            continue;
        int columns = (int)plain_extent(e->g, inst->type.axis[1]),
            rows = (int)plain_extent(e->g, inst->type.axis[0]);
        cuda_line(e->g, "for (int p = threadIdx.x; p < %d; p += %d)\n", v->rows * v->columns, PLAIN_THREADS);
        cuda_line(e->g, "    if (p / %d >= %d || p %% %d >= %d) %s[p / %d * %d + p %% %d] = 0;\n", v->columns,
                  rows, v->columns, columns, plain_buffer(e, inst), v->columns, v->pitch, v->columns);
    }
}

static void group_scalar(Emitter *e, const Step *step)
{
    int mark = e->named_count;
    cuda_line(e->g, "if (threadIdx.x == 0) {\n");
    e->g->indent += 4;
    group_member(e, step->members[0]);
    plain_close(e);
    plain_leave(e, mark);
}

void plain_group(Emitter *e, const Step *step)
{
    const TileType *axes = &step->axes;
    if (axes->axis_count == 0) {
        group_scalar(e, step);
        return;
    }
    int last = axes->axis[axes->axis_count - 1], columns = (int)plain_extent(e->g, last),
        mark = e->named_count;
    int rows = (int)(plain_count(e->g, axes) / columns), lanes = plain_lanes(e->g, axes),
        at_once = PLAIN_THREADS / lanes;
    bool reduces = false, whole = rows % at_once == 0;
    for (int k = 0; k < step->member_count; k++)
        reduces |= step->members[k]->op == TILE_REDUCE;
    if (axes->axis_count > 1) {
        cuda_line(e->g, "for (int first = 0; first < %d; first += %d) {\n", rows, at_once);
        e->g->indent += 4;
        cuda_line(e->g, "const int row = first + threadIdx.x / %d;\n", lanes);
    } else {
        plain_open(e);
    }
    for (int k = 0; k < step->member_count; k++)
        if (step->members[k]->op == TILE_REDUCE)
            cuda_line(e->g, "%s r%u = %s;\n", plain_reduce_type(e, step->members[k]), step->members[k]->id,
                      plain_reduce_start(e, step->members[k]));
    if (axes->axis_count > 1) {
        cuda_line(e->g, whole ? "{\n" : "if (row < %d) {\n", rows);
        e->g->indent += 4;
        plain_name_row(e, axes, "row");
    }
    Rows hoisting = {e, last};
    for (int k = 0; axes->axis_count > 1 && k < step->member_count; k++)
        hoist_inst(&hoisting, step->members[k]);
    group_columns(e, step, lanes);
    if (axes->axis_count > 1)
        plain_close(e);
    plain_leave(e, mark);
    for (int k = 0; reduces && k < step->member_count; k++)
        if (step->members[k]->op == TILE_REDUCE)
            plain_shuffle(e, step->members[k], PRINT("r%u", step->members[k]->id), lanes);
    if (reduces) {
        cuda_line(e->g,
                  whole ? "if (threadIdx.x %% %d == 0) {\n" : "if (threadIdx.x %% %d == 0 && row < %d) {\n",
                  lanes, rows);
        e->g->indent += 4;
        plain_name_row(e, axes, "row");
        for (int k = 0; k < step->member_count; k++)
            if (step->members[k]->op == TILE_REDUCE)
                plain_write(e, step->members[k], PRINT("r%u", step->members[k]->id));
        plain_close(e);
    }
    plain_close(e);
}

/* Copies ------------------------------------------------------------------------------------------------- */

void plain_copy(Emitter *e, const Step *step)
{
    const Inst *load = step->members[0];
    const PlainValue *v = &e->plan.values[load->id];
    const TileType *axes = &step->axes;
    int size = elem_type_size(load->type.elem), each = 16 / size, last = axes->axis[axes->axis_count - 1];
    int vectors = (int)plain_extent(e->g, last) / each, slot = slot_of_tensor(load->tensor),
        mark = e->named_count;
    int64_t count = plain_count(e->g, axes) / each;
    Text aligned = {.arena = e->g->arena};
    text_add(&aligned, "P.slots[%d]", slot);
    for (int d = 0; d + 1 < load->arg_count; d++)
        text_add(&aligned, " | P.slots[%d] * %d", slot + 1 + d, size);
    cuda_line(e->g, "if (P.slots[%d] == 1 && ((%s) & 15) == 0) {\n", slot + load->arg_count, aligned.data);
    e->g->indent += 4;
    cuda_line(e->g, "for (int u = threadIdx.x; u < %d; u += %d) {\n", (int)count, PLAIN_THREADS);
    e->g->indent += 4;
    cuda_line(e->g, "const int row = u / %d, a%d = u %% %d * %d;\n", vectors, last, vectors, each);
    plain_name_row(e, axes, "row");
    const char *guard = load->guard ? plain_element(e, load->guard) : "true";
    const char *from = cuda_address(e->g, load, plain_operands(e));
    const char *to = PRINT("(%s + row * %d + a%d)", plain_buffer(e, load), v->pitch, last);
    if (v->spilled)
        cuda_line(e->g, "*(uint4 *)%s = %s ? *(const uint4 *)%s : make_uint4(0, 0, 0, 0);\n", to, guard,
                  from);
    else
        cuda_line(e->g, "attune_copy16(%s, %s, %s);\n", to, from, guard);
    e->copies |= !v->spilled;
    plain_close(e);
    plain_leave(e, mark);
    plain_close(e);
    cuda_line(e->g, "else\n");
    plain_open(e);
    plain_group(e, step);
    plain_close(e);
}
