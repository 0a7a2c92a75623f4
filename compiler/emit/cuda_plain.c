/* Any phase as a __global__ function: a block of threads computes one work item, step by step (cuda_plain_plan.c), with
 * its tiles in shared memory and barriers where threads read what others wrote.
 *
 * The loop of a group gives every row (all axes but the last) to a few neighbouring lanes, which share its columns:
 * reductions along a row are shuffles, and an element belongs to the same thread in every group over the same axes. */
#include "cuda_plain.h"

#include <string.h>

typedef struct Access {
    int64_t lo, hi;          /* bytes of shared memory; tensors in global memory have places below 0 */
    bool write, own;         /* own: every thread touches the elements that the loop over `axes` gives it */
    TileType axes;
    int offset, pitch, size; /* own: where an element lies */
} Access;

enum { MAX_ACCESSES = 1024 };
typedef struct Pending { Access list[MAX_ACCESSES]; int count; } Pending; /* since the last barrier */

typedef struct Emitter {
    CudaGen *g;
    PlainPlan plan;
    const char **name;       /* by instruction id: where its value at hand is, in the scope at hand */
    uint32_t *named;         /* stack of those that have a name, so that a scope can forget them */
    int named_count;
    Pending pending;
} Emitter;

#define PRINT(...) arena_printf(e->g->arena, __VA_ARGS__)

/* Elements ---------------------------------------------------------------------------------------------------------- */

static void name_value(Emitter *e, const Inst *value, const char *name)
{
    e->name[value->id] = name;
    e->named[e->named_count++] = value->id;
}

static void leave_scope(Emitter *e, int mark)
{
    while (e->named_count > mark)
        e->name[e->named[--e->named_count]] = NULL;
}

static const char *hold(Emitter *e, const Inst *value, const char *text)
{
    const char *name = PRINT("x%u", e->g->next_name++);
    cuda_line(e->g, "const %s %s = %s;\n", cuda_type(e->g, value), name, text);
    name_value(e, value, name);
    return name;
}

static const char *memory_type(const CudaGen *g, const Inst *value)
{
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return "unsigned char";
    case ELEM_TYPE_BF16: case ELEM_TYPE_F16: return "unsigned short";
    default: return cuda_type(g, value);
    }
}

static const char *buffer(Emitter *e, const Inst *value)
{
    return PRINT("((%s *)(attune_tiles + %d))", memory_type(e->g, value), e->plan.values[value->id].offset);
}

/* Where an element lies: loops name the coordinate along axis k `ak`. */
static const char *place_of(Emitter *e, const Inst *value)
{
    const TileType *type = &value->type;
    const char *row = NULL;
    for (int k = 0; k + 1 < type->axis_count; k++)
        row = row ? PRINT("(%s * %d + a%d)", row, (int)plain_extent(e->g, type->axis[k]), type->axis[k])
                  : PRINT("a%d", type->axis[k]);
    int last = type->axis[type->axis_count - 1];
    return row ? PRINT("%s[%s * %d + a%d]", buffer(e, value), row, e->plan.values[value->id].pitch, last)
               : PRINT("%s[a%d]", buffer(e, value), last);
}

static const char *read_element(Emitter *e, const Inst *value)
{
    const char *at = place_of(e, value);
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return PRINT("(%s != 0)", at);
    case ELEM_TYPE_BF16: return PRINT("attune_of_bf16(%s)", at);
    case ELEM_TYPE_F16: return PRINT("attune_of_f16(%s)", at);
    default: return at;
    }
}

static void write_element(Emitter *e, const Inst *value, const char *text)
{
    if (value->type.elem == ELEM_TYPE_BF16)
        text = PRINT("attune_to_bf16(%s)", text);
    else if (value->type.elem == ELEM_TYPE_F16)
        text = PRINT("attune_to_f16(%s)", text);
    cuda_line(e->g, "%s = %s;\n", place_of(e, value), text);
}

static const char *element(void *user, const Inst *value);

static CudaOperands operands_of(Emitter *e)
{
    return (CudaOperands){element, e};
}

/* The text of a value at the element at hand. */
static const char *element(void *user, const Inst *value)
{
    Emitter *e = user;
    const PlainValue *v = &e->plan.values[value->id];
    if (e->name[value->id])
        return e->name[value->id];
    if (v->kind == PLAIN_SCALAR)
        return PRINT("v%u", value->id);
    if (value->op == TILE_INDEX)
        return PRINT("a%d", value->axis);
    if (v->kind == PLAIN_INLINE && value->op == TILE_LOAD)
        return hold(e, value, cuda_load(e->g, value, operands_of(e)));
    if (v->kind == PLAIN_INLINE)
        return hold(e, value, cuda_map(e->g, value, operands_of(e)));
    return hold(e, value, read_element(e, value));
}

/* A var of a storage type holds rounded floats. */
static const char *rounded(Emitter *e, ElemType elem, const char *text)
{
    return elem == ELEM_TYPE_BF16 ? PRINT("attune_round_bf16(%s)", text) : elem == ELEM_TYPE_F16 ? PRINT("attune_round_f16(%s)", text) : text;
}

/* Barriers ------------------------------------------------------------------------------------------------------------ */

static bool same_element(const Access *a, const Access *b)
{
    return a->own && b->own && plain_same_axes(&a->axes, &b->axes) && a->offset == b->offset && a->pitch == b->pitch &&
           a->size == b->size;
}

static void barrier(Emitter *e)
{
    cuda_line(e->g, "__syncthreads();\n");
    e->pending.count = 0;
}

static bool conflicts(const Pending *pending, const Access *a)
{
    for (int k = 0; k < pending->count; k++) {
        const Access *b = &pending->list[k];
        if ((a->write || b->write) && a->lo < b->hi && b->lo < a->hi && !same_element(a, b))
            return true;
    }
    return false;
}

typedef struct Accesses { Emitter *e; const Step *step; Pending list; bool vector; } Accesses;

static void add_access(Accesses *a, const Access *access)
{
    if (a->list.count < MAX_ACCESSES)
        a->list.list[a->list.count++] = *access;
    else
        diag_error(a->e->g->diag, a->step->members[0]->span, "cuda-plain", "a step of phase %s touches more than %d tiles",
                   a->e->g->phase->name, MAX_ACCESSES);
}

static void touch(Accesses *a, const Inst *value, bool write)
{
    const PlainValue *v = &a->e->plan.values[value->id];
    if (v->kind != PLAIN_TILE || !v->buffered)
        return;
    bool own = a->step->kind == STEP_GROUP && !a->vector && plain_same_axes(&value->type, &a->step->axes);
    add_access(a, &(Access){v->offset, v->offset + (int64_t)v->rows * v->pitch * v->size, write, own, a->step->axes, v->offset,
                            v->pitch, v->size});
}

static void touch_read(void *user, const Inst *value)
{
    touch(user, value, false);
}

/* What the step touches; a barrier before it when that is needed. */
static void order_accesses(Emitter *e, const Step *step, bool vector)
{
    Accesses *a = ARENA_NEW(e->g->arena, Accesses);
    *a = (Accesses){.e = e, .step = step, .vector = vector};
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        plain_reads(&e->plan, inst, touch_read, a);
        if (inst->has_value)
            touch(a, inst, true);
        if (inst->target)
            touch(a, inst->target, true);
        if ((inst->op == TILE_LOAD || inst->op == TILE_STORE) && e->plan.stored[inst->tensor])
            add_access(a, &(Access){.lo = -1 - inst->tensor, .hi = -inst->tensor, .write = inst->op == TILE_STORE});
    }
    for (int k = 0; step->slices && k < 2; k++)
        add_access(a, &(Access){.lo = step->slices[k].offset, .write = true,
                                .hi = step->slices[k].offset + (int64_t)step->slices[k].rows * step->slices[k].pitch * step->slices[k].size});
    bool wait = e->pending.count + a->list.count > MAX_ACCESSES;
    for (int k = 0; k < a->list.count; k++)
        wait |= conflicts(&e->pending, &a->list.list[k]);
    if (wait)
        barrier(e);
    memcpy(e->pending.list + e->pending.count, a->list.list, (size_t)a->list.count * sizeof *a->list.list);
    e->pending.count += a->list.count;
}

/* Loops over elements ------------------------------------------------------------------------------------------------- */

static void open(Emitter *e)
{
    cuda_line(e->g, "{\n");
    e->g->indent += 4;
}

static void close(Emitter *e)
{
    e->g->indent -= 4;
    cuda_line(e->g, "}\n");
}

static int lanes_for(const Emitter *e, const TileType *axes)
{
    if (axes->axis_count == 1)
        return PLAIN_THREADS;
    int lanes = 1;
    while (lanes < 32 && lanes < plain_extent(e->g, axes->axis[axes->axis_count - 1]))
        lanes *= 2;
    return lanes;
}

/* The coordinates of row `r` along all axes but the last. */
static void name_row(Emitter *e, const TileType *axes, const char *r)
{
    int count = axes->axis_count - 1;
    for (int k = count - 1; k >= 0; k--) {
        int extent = (int)plain_extent(e->g, axes->axis[k]);
        int64_t inner = 1;
        for (int i = k + 1; i < count; i++)
            inner *= plain_extent(e->g, axes->axis[i]);
        const char *quotient = inner > 1 ? PRINT("%s / %d", r, (int)inner) : r;
        cuda_line(e->g, k ? "const int a%d = %s %% %d;\n" : "const int a%d = %s;\n", axes->axis[k], quotient, extent);
    }
}

static void comment(Emitter *e, const Step *step)
{
    const Inst *inst = step->members[0];
    if (inst && inst->label)
        cuda_line(e->g, "/* %%%u %s */\n", inst->id, inst->label);
}

typedef struct Rows { Emitter *e; int last; } Rows;

/* Before the loop over columns: what has the same value in all of them. */
static void hoist(void *user, const Inst *value)
{
    Rows *rows = user;
    if (value->type.axis_count && !inst_has_axis(value, rows->last) && rows->e->plan.values[value->id].buffered)
        element(rows->e, value);
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
            element(rows->e, value);
    }
}

static const char *reduce_start(const Emitter *e, const Inst *reduce)
{
    bool is_float = elem_class(reduce->type.elem) == TYPE_FLOAT, narrow = !is_float && cuda_narrow(e->g, reduce);
    switch (reduce->reduce) {
    case REDUCE_SUM: return is_float ? "0.0f" : "0";
    case REDUCE_MAX: return is_float ? "__int_as_float(0xff800000)" : narrow ? "(-2147483647 - 1)" : "(-9223372036854775807LL - 1)";
    case REDUCE_MIN: return is_float ? "__int_as_float(0x7f800000)" : narrow ? "2147483647" : "9223372036854775807LL";
    case REDUCE_OR: return "0";
    case REDUCE_AND: break;
    }
    return "1";
}

static const char *reduce_type(const Emitter *e, const Inst *reduce)
{
    return reduce->type.elem == ELEM_TYPE_BOOL ? "int" : cuda_type(e->g, reduce);
}

static const char *reduce_pair(Emitter *e, const Inst *reduce, const char *a, const char *b)
{
    bool is_float = elem_class(reduce->type.elem) == TYPE_FLOAT;
    const char *bits = is_float ? NULL : cuda_narrow(e->g, reduce) ? "32" : "64";
    switch (reduce->reduce) {
    case REDUCE_SUM: return is_float ? PRINT("__fadd_rn(%s, %s)", a, b) : PRINT("(%s)attune_add(%s, %s)", reduce_type(e, reduce), a, b);
    case REDUCE_MAX: return is_float ? PRINT("attune_fmax(%s, %s)", a, b) : PRINT("attune_max%s(%s, %s)", bits, a, b);
    case REDUCE_MIN: return is_float ? PRINT("attune_fmin(%s, %s)", a, b) : PRINT("attune_min%s(%s, %s)", bits, a, b);
    case REDUCE_OR: return PRINT("(%s | %s)", a, b);
    case REDUCE_AND: break;
    }
    return PRINT("(%s & %s)", a, b);
}

static void shuffle(Emitter *e, const Inst *reduce, const char *total, int lanes)
{
    if (lanes < 2)
        return;
    cuda_line(e->g, "for (int lane = %d; lane; lane /= 2) %s = %s;\n", lanes / 2, total,
              reduce_pair(e, reduce, total, PRINT("__shfl_xor_sync(0xffffffffu, %s, lane)", total)));
}

/* Groups ---------------------------------------------------------------------------------------------------------------- */

static void group_member(Emitter *e, const Inst *inst)
{
    const Inst *value;
    switch (inst->op) {
    case TILE_MAP: hold(e, inst, cuda_map(e->g, inst, operands_of(e))); break;
    case TILE_LOAD: hold(e, inst, cuda_load(e->g, inst, operands_of(e))); break;
    case TILE_VAR: hold(e, inst, rounded(e, inst->type.elem, element(e, inst->args[0]))); break;
    case TILE_SET: hold(e, inst->target, rounded(e, inst->target->type.elem, element(e, inst->args[0]))); break;
    case TILE_STORE:
        value = inst->args[inst->arg_count - 1];
        cuda_store(e->g, inst, operands_of(e), element(e, value));
        break;
    case TILE_REDUCE: {
        const char *total = PRINT("r%u", inst->id);
        cuda_line(e->g, "%s = %s;\n", total, reduce_pair(e, inst, total, element(e, inst->args[0])));
        break;
    }
    default: break;
    }
}

/* Results go to memory after all members have read it. */
static void group_results(Emitter *e, const Step *step)
{
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k], *value = inst->op == TILE_SET ? inst->target : inst;
        bool last = inst->op != TILE_REDUCE && inst->op != TILE_STORE && e->plan.values[value->id].buffered;
        for (int later = k + 1; later < step->member_count; later++)
            last = last && step->members[later]->target != value;
        if (last)
            write_element(e, value, e->name[value->id]);
    }
}

/* The padding of operands of tensor cores along the axis that is summed. */
static void zero_padding(Emitter *e, const Step *step)
{
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        const PlainValue *v = &e->plan.values[inst->id];
        if (!inst->has_value || !v->buffered || !(v->zero_rows || v->zero_columns))
            continue;
        int columns = (int)plain_extent(e->g, inst->type.axis[1]), rows = (int)plain_extent(e->g, inst->type.axis[0]);
        cuda_line(e->g, "for (int p = threadIdx.x; p < %d; p += %d)\n", v->rows * v->columns, PLAIN_THREADS);
        cuda_line(e->g, "    if (p / %d >= %d || p %% %d >= %d) %s[p / %d * %d + p %% %d] = 0;\n", v->columns, rows, v->columns, columns,
                  buffer(e, inst), v->columns, v->pitch, v->columns);
    }
}

static void group_scalar(Emitter *e, const Step *step)
{
    int mark = e->named_count;
    cuda_line(e->g, "if (threadIdx.x == 0) {\n");
    e->g->indent += 4;
    group_member(e, step->members[0]);
    close(e);
    leave_scope(e, mark);
}

static void emit_group(Emitter *e, const Step *step)
{
    const TileType *axes = &step->axes;
    if (axes->axis_count == 0) {
        group_scalar(e, step);
        return;
    }
    int last = axes->axis[axes->axis_count - 1], columns = (int)plain_extent(e->g, last), mark = e->named_count;
    int rows = (int)(plain_count(e->g, axes) / columns), lanes = lanes_for(e, axes), at_once = PLAIN_THREADS / lanes;
    bool reduces = false, whole = rows % at_once == 0;
    for (int k = 0; k < step->member_count; k++)
        reduces |= step->members[k]->op == TILE_REDUCE;
    if (axes->axis_count > 1) {
        cuda_line(e->g, "for (int first = 0; first < %d; first += %d) {\n", rows, at_once);
        e->g->indent += 4;
        cuda_line(e->g, "const int row = first + threadIdx.x / %d;\n", lanes);
    } else {
        open(e);
    }
    for (int k = 0; k < step->member_count; k++)
        if (step->members[k]->op == TILE_REDUCE)
            cuda_line(e->g, "%s r%u = %s;\n", reduce_type(e, step->members[k]), step->members[k]->id, reduce_start(e, step->members[k]));
    if (axes->axis_count > 1) {
        cuda_line(e->g, whole ? "{\n" : "if (row < %d) {\n", rows);
        e->g->indent += 4;
        name_row(e, axes, "row");
    }
    Rows hoisting = {e, last};
    for (int k = 0; axes->axis_count > 1 && k < step->member_count; k++)
        hoist_inst(&hoisting, step->members[k]);
    int row_mark = e->named_count;
    cuda_line(e->g, "for (int a%d = threadIdx.x %% %d; a%d < %d; a%d += %d) {\n", last, lanes, last, columns, last, lanes);
    e->g->indent += 4;
    for (int k = 0; k < step->member_count; k++)
        group_member(e, step->members[k]);
    group_results(e, step);
    close(e);
    leave_scope(e, row_mark);
    if (axes->axis_count > 1)
        close(e);
    leave_scope(e, mark);
    for (int k = 0; reduces && k < step->member_count; k++)
        if (step->members[k]->op == TILE_REDUCE)
            shuffle(e, step->members[k], PRINT("r%u", step->members[k]->id), lanes);
    if (reduces) {
        cuda_line(e->g, whole ? "if (threadIdx.x %% %d == 0) {\n" : "if (threadIdx.x %% %d == 0 && row < %d) {\n", lanes, rows);
        e->g->indent += 4;
        name_row(e, axes, "row");
        for (int k = 0; k < step->member_count; k++)
            if (step->members[k]->op == TILE_REDUCE)
                write_element(e, step->members[k], PRINT("r%u", step->members[k]->id));
        close(e);
    }
    close(e);
}

/* Copies ---------------------------------------------------------------------------------------------------------------- */

/* Rows of a tensor that lie together, 16 bytes at a time: the last index runs along the tile's last axis, and nothing else
 * depends on it. */
static bool is_vector_copy(Emitter *e, const Step *step)
{
    const Inst *load = step->members[0];
    const PlainValue *v = &e->plan.values[load->id];
    const Tensor *tensor = &e->g->program->tensors[load->tensor];
    int size = elem_type_size(tensor->elem), last = step->axes.axis[step->axes.axis_count - 1];
    if (step->member_count != 1 || load->op != TILE_LOAD || !v->buffered || step->axes.axis_count < 2 ||
        elem_class(tensor->elem) != TYPE_FLOAT || load->type.elem != tensor->elem || plain_extent(e->g, last) * size % 16 ||
        v->pitch * size % 16)
        return false;
    const Inst *column = load->args[load->arg_count - 1];
    if (column->op != TILE_INDEX || column->axis != last || (load->guard && inst_has_axis(load->guard, last)))
        return false;
    for (int k = 0; k + 1 < load->arg_count; k++)
        if (inst_has_axis(load->args[k], last))
            return false;
    return true;
}

static void vector_copy(Emitter *e, const Step *step)
{
    const Inst *load = step->members[0];
    const PlainValue *v = &e->plan.values[load->id];
    const TileType *axes = &step->axes;
    int size = elem_type_size(load->type.elem), each = 16 / size, last = axes->axis[axes->axis_count - 1];
    int vectors = (int)plain_extent(e->g, last) / each, slot = slot_of_tensor(load->tensor), mark = e->named_count;
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
    name_row(e, axes, "row");
    const char *guard = load->guard ? element(e, load->guard) : "true";
    const char *from = cuda_address(e->g, load, operands_of(e));
    cuda_line(e->g, "*(uint4 *)(%s + row * %d + a%d) = %s ? *(const uint4 *)%s : make_uint4(0, 0, 0, 0);\n", buffer(e, load), v->pitch,
              last, guard, from);
    close(e);
    leave_scope(e, mark);
    close(e);
    cuda_line(e->g, "else\n");
    open(e);
    emit_group(e, step);
    close(e);
}

/* Reductions along other axes, contractions ------------------------------------------------------------------------------ */

/* The loop over the elements of a result: opens it; close_elements ends it. */
static int open_elements(Emitter *e, const TileType *axes)
{
    int mark = e->named_count, count = axes->axis_count;
    if (count == 0) {
        open(e);
        return mark;
    }
    cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) {\n", (int)plain_count(e->g, axes), PLAIN_THREADS);
    e->g->indent += 4;
    int last = axes->axis[count - 1], columns = (int)plain_extent(e->g, last);
    cuda_line(e->g, "const int a%d = item %% %d;\n", last, columns);
    if (count > 1)
        cuda_line(e->g, "const int row = item / %d;\n", columns);
    name_row(e, axes, "row");
    return mark;
}

static void close_elements(Emitter *e, int mark)
{
    close(e);
    leave_scope(e, mark);
}

/* Sums and the like over one axis, by one thread, or for a scalar by every warp: lanes share the axis. */
static void along_axis(Emitter *e, int axis, bool scalar)
{
    cuda_line(e->g, scalar ? "for (int a%d = threadIdx.x %% 32; a%d < %d; a%d += 32) {\n" : "for (int a%d = 0; a%d < %d; a%d++) {\n",
              axis, axis, (int)plain_extent(e->g, axis), axis);
    e->g->indent += 4;
}

static void emit_reduce(Emitter *e, const Inst *reduce)
{
    bool scalar = reduce->type.axis_count == 0;
    const char *total = scalar ? PRINT("%s%u", reduce->type.elem == ELEM_TYPE_BOOL ? "b" : "v", reduce->id) : "total";
    if (scalar)
        cuda_line(e->g, "%s %s = %s;\n", reduce_type(e, reduce), total, reduce_start(e, reduce));
    int mark = open_elements(e, &reduce->type);
    if (!scalar)
        cuda_line(e->g, "%s %s = %s;\n", reduce_type(e, reduce), total, reduce_start(e, reduce));
    int inner = e->named_count;
    along_axis(e, reduce->axis, scalar);
    cuda_line(e->g, "%s = %s;\n", total, reduce_pair(e, reduce, total, element(e, reduce->args[0])));
    close(e);
    leave_scope(e, inner);
    if (scalar)
        shuffle(e, reduce, total, 32);
    else
        write_element(e, reduce, total);
    close_elements(e, mark);
    if (scalar && reduce->type.elem == ELEM_TYPE_BOOL)
        cuda_line(e->g, "const bool v%u = %s;\n", reduce->id, total);
}

static const char *float_kind(const Inst *value)
{
    return value->type.elem == ELEM_TYPE_BF16 ? "AttuneBf16" : value->type.elem == ELEM_TYPE_F16 ? "AttuneF16" : "AttuneF32";
}

/* A matrix in memory: a tile or a slice of one. */
typedef struct Matrix { const Inst *value; const PlainValue *place; bool transposed; } Matrix;

static const char *matrix_text(Emitter *e, const Matrix *m)
{
    return PRINT("((%s *)(attune_tiles + %d))", memory_type(e->g, m->value), m->place->offset);
}

static void product_call(Emitter *e, const Inst *contract, const TileType *axes, const Matrix operands[2], int depth, bool into)
{
    /* The operand that holds the result's first axis gives its rows. */
    int first = !inst_has_axis(operands[0].value, axes->axis[0]);
    const Matrix *a = &operands[first], *b = &operands[!first];
    const Inst *result = contract->target ? contract->target : contract;
    if (plain_is_product(contract))
        cuda_line(e->g, "attune_product<%s, ", a->value->type.elem == ELEM_TYPE_BF16 ? "true" : "false");
    else
        cuda_line(e->g, "attune_product_f32<%s, %s, ", float_kind(a->value), float_kind(b->value));
    cuda_line(e->g, "%s, %s, %s, %d, %d, %d, %d, %d, %d>(%s, %s, %s);\n", a->transposed ? "true" : "false",
              b->transposed ? "true" : "false", into ? "true" : "false", (int)plain_extent(e->g, axes->axis[0]),
              (int)plain_extent(e->g, axes->axis[1]), depth, a->place->pitch, b->place->pitch, e->plan.values[result->id].pitch,
              buffer(e, result), matrix_text(e, a), matrix_text(e, b));
}

/* One slice of an operand that is computed in place, zero behind the end of the axis. */
static void fill_slice(Emitter *e, const Inst *contract, const Matrix *m)
{
    const TileType *type = &m->value->type;
    int axis = contract->axis, kept = type->axis[type->axis[0] == axis], extent = (int)plain_extent(e->g, axis), mark = e->named_count;
    cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) {\n", (int)plain_extent(e->g, kept) * PLAIN_SLICE, PLAIN_THREADS);
    e->g->indent += 4;
    cuda_line(e->g, "const int a%d = item / %d, a%d = base + item %% %d;\n", kept, PLAIN_SLICE, axis, PLAIN_SLICE);
    const char *to = m->value->type.elem == ELEM_TYPE_BF16 ? "attune_to_bf16" : m->value->type.elem == ELEM_TYPE_F16 ? "attune_to_f16" : "";
    cuda_line(e->g, "float part = 0.0f;\n");
    cuda_line(e->g, "if (a%d < %d) {\n", axis, extent);
    e->g->indent += 4;
    cuda_line(e->g, "part = %s;\n", element(e, m->value));
    close(e);
    cuda_line(e->g, "%s[a%d * %d + item %% %d] = %s(part);\n", matrix_text(e, m), kept, m->place->pitch, PLAIN_SLICE, to);
    close(e);
    leave_scope(e, mark);
}

/* A product over a long axis. */
static void sliced_product(Emitter *e, const Step *step, const Matrix operands[2])
{
    const Inst *contract = step->members[0], *result = contract->target ? contract->target : contract;
    int rows = (int)plain_extent(e->g, step->axes.axis[0]), pitch = e->plan.values[result->id].pitch;
    if (!contract->target) {
        cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) %s[item] = 0.0f;\n", rows * pitch, PLAIN_THREADS,
                  buffer(e, result));
    }
    cuda_line(e->g, "for (int base = 0; base < %d; base += %d) {\n", (int)plain_extent(e->g, contract->axis), PLAIN_SLICE);
    e->g->indent += 4;
    for (int k = 0; k < 2; k++)
        fill_slice(e, contract, &operands[k]);
    cuda_line(e->g, "__syncthreads();\n");
    product_call(e, contract, &step->axes, operands, PLAIN_SLICE, true);
    cuda_line(e->g, "__syncthreads();\n");
    close(e);
}

/* A matrix product, in one go or in slices. */
static bool emit_product(Emitter *e, const Step *step)
{
    const Inst *contract = step->members[0];
    Matrix operands[2];
    bool sliced[2];
    for (int k = 0; k < 2; k++) {
        const Inst *value = contract->args[k];
        sliced[k] = e->plan.values[value->id].kind == PLAIN_INLINE;
        operands[k] = (Matrix){value, sliced[k] ? &step->slices[k] : &e->plan.values[value->id],
                               !sliced[k] && value->type.axis[0] == contract->axis};
    }
    if (!plain_is_matrix(contract) || sliced[0] != sliced[1])
        return false;
    if (sliced[0])
        sliced_product(e, step, operands);
    else
        product_call(e, contract, &step->axes, operands, (int)plain_extent(e->g, contract->axis), contract->target != NULL);
    return true;
}

static void emit_contract(Emitter *e, const Step *step)
{
    const Inst *contract = step->members[0], *into = contract->target, *result = into ? into : contract;
    const TileType *axes = &step->axes;
    if (emit_product(e, step))
        return;
    bool scalar = axes->axis_count == 0;
    const char *sum = scalar ? PRINT("s%u", contract->id) : "sum";
    if (scalar)
        cuda_line(e->g, "float %s = 0.0f;\n", sum);
    int mark = open_elements(e, axes);
    if (!scalar)
        cuda_line(e->g, "float %s = 0.0f;\n", sum);
    int inner = e->named_count;
    along_axis(e, contract->axis, scalar);
    if (contract->expr)
        cuda_line(e->g, "%s = __fadd_rn(%s, %s);\n", sum, sum, cuda_scalar(e->g, contract, contract->expr, operands_of(e)));
    else
        cuda_line(e->g, "%s = __fmaf_rn(%s, %s, %s);\n", sum, element(e, contract->args[0]), element(e, contract->args[1]), sum);
    close(e);
    leave_scope(e, inner);
    if (scalar)
        cuda_line(e->g, "for (int lane = 16; lane; lane /= 2) %s = __fadd_rn(%s, __shfl_xor_sync(0xffffffffu, %s, lane));\n", sum, sum,
                  sum);
    else
        write_element(e, result, into ? PRINT("__fadd_rn(%s, %s)", read_element(e, result), sum) : sum);
    close_elements(e, mark);
    if (scalar && into)
        cuda_line(e->g, "v%u = __fadd_rn(v%u, %s);\n", into->id, into->id, sum);
    else if (scalar)
        cuda_line(e->g, "const float v%u = %s;\n", contract->id, sum);
}

/* Statements --------------------------------------------------------------------------------------------------------------- */

static const char *sequence(Emitter *e, const Inst *seq)
{
    bool keys = seq->seq == SEQ_K_BEGIN || seq->seq == SEQ_K_LENGTH;
    int slot = keys ? SLOT_CU_K : SLOT_CU_Q;
    const char *rows = PRINT("((const int *)P.slots[%d])", slot), *batch = element(e, seq->args[0]);
    if (seq->seq == SEQ_Q_BEGIN || seq->seq == SEQ_K_BEGIN)
        return PRINT("P.slots[%d] ? %s[%s] : 0", slot, rows, batch);
    return PRINT("P.slots[%d] ? %s[%s + 1] - %s[%s] : %s", slot, rows, batch, rows, batch, cuda_size(e->g, keys ? VAR_SIZE_N : VAR_SIZE_M));
}

static void emit_scalar(Emitter *e, const Inst *inst)
{
    const char *type = inst->has_value ? cuda_type(e->g, inst) : "", *text = NULL;
    CudaOperands operands = operands_of(e);
    switch (inst->op) {
    case TILE_SET: {
        const Inst *var = inst->target;
        cuda_line(e->g, "v%u = %s;\n", var->id, rounded(e, var->type.elem, element(e, inst->args[0])));
        return;
    }
    case TILE_VAR:
        cuda_line(e->g, "%s v%u = %s;\n", type, inst->id, rounded(e, inst->type.elem, element(e, inst->args[0])));
        return;
    case TILE_GRID: text = PRINT("g%d", inst->grid); break;
    case TILE_SEQ: text = sequence(e, inst); break;
    case TILE_MAP: text = cuda_map(e->g, inst, operands); break;
    case TILE_LOAD: text = cuda_load(e->g, inst, operands); break;
    default:
        diag_error(e->g->diag, inst->span, "cuda-plain", "the CUDA back end cannot emit %%%u (%s)", inst->id, tile_op_info[inst->op].name);
        return;
    }
    cuda_line(e->g, "const %s v%u = %s;\n", type, inst->id, text);
}

static void emit_steps(Emitter *e, const Step *step);

static void emit_for(Emitter *e, const Step *step)
{
    const Inst *loop = step->members[0];
    const char *lo = element(e, loop->args[0]), *hi = element(e, loop->args[1]), *type = cuda_type(e->g, loop);
    if (e->pending.count)
        barrier(e);
    if (loop->reverse)
        cuda_line(e->g, "for (%s v%u = (%s)(%s - 1); v%u >= %s; --v%u) {\n", type, loop->id, type, hi, loop->id, lo, loop->id);
    else
        cuda_line(e->g, "for (%s v%u = (%s)%s; v%u < %s; ++v%u) {\n", type, loop->id, type, lo, loop->id, hi, loop->id);
    e->g->indent += 4;
    emit_steps(e, step->body);
    if (e->pending.count)
        barrier(e);
    close(e);
}

static void emit_if(Emitter *e, const Step *step)
{
    cuda_line(e->g, "if (%s) {\n", element(e, step->members[0]->args[0]));
    e->g->indent += 4;
    Pending *before = ARENA_NEW(e->g->arena, Pending), *after = ARENA_NEW(e->g->arena, Pending);
    *before = e->pending;
    emit_steps(e, step->body);
    close(e);
    *after = e->pending;
    e->pending = *before;
    if (step->orelse) {
        cuda_line(e->g, "else {\n");
        e->g->indent += 4;
        emit_steps(e, step->orelse);
        close(e);
    }
    if (e->pending.count + after->count > MAX_ACCESSES) {
        barrier(e);
        return;
    }
    memcpy(e->pending.list + e->pending.count, after->list, (size_t)after->count * sizeof *after->list);
    e->pending.count += after->count;
}

static void emit_steps(Emitter *e, const Step *step)
{
    for (; step; step = step->next) {
        const Inst *inst = step->members[0];
        bool vector = step->kind == STEP_GROUP && is_vector_copy(e, step);
        if (step->kind == STEP_FOR) {
            emit_for(e, step);
            continue;
        }
        if (step->kind == STEP_IF) {
            emit_if(e, step);
            continue;
        }
        order_accesses(e, step, vector);
        if (step->kind != STEP_SCALAR)
            comment(e, step);
        switch (step->kind) {
        case STEP_SCALAR: emit_scalar(e, inst); break;
        case STEP_GROUP:
            vector ? vector_copy(e, step) : emit_group(e, step);
            zero_padding(e, step);
            break;
        case STEP_REDUCE: emit_reduce(e, inst); break;
        case STEP_CONTRACT: emit_contract(e, step); break;
        case STEP_FOR: case STEP_IF: break;
        }
    }
}

/* Coordinates of the work item; the last dimension is the fastest. */
static void emit_grid(Emitter *e)
{
    const Phase *phase = e->g->phase;
    cuda_line(e->g, "unsigned item = blockIdx.x;\n");
    for (int k = phase->grid_count - 1; k >= 0; k--) {
        const Extent *x = &phase->grid[k].extent;
        const char *size = x->size < 0 ? "1" : cuda_size(e->g, (VarId)x->size);
        const char *count = PRINT("(%s + %lld) / %lld * %lld", size, (long long)x->div - 1, (long long)x->div, (long long)x->mul);
        if (k)
            cuda_line(e->g, "const int g%d = (int)(item %% (unsigned)(%s)); item /= (unsigned)(%s);\n", k, count, count);
        else
            cuda_line(e->g, "const int g0 = (int)item;\n");
    }
}

bool cuda_plain(CudaGen *g, KernelPhase *out)
{
    Emitter *e = ARENA_NEW(g->arena, Emitter);
    int errors = g->diag->errors;
    *e = (Emitter){.g = g, .name = ARENA_ARRAY(g->arena, const char *, g->program->next_id),
                   .named = ARENA_ARRAY(g->arena, uint32_t, (size_t)g->program->next_id * 4 + 64)};
    if (!plain_plan(g, &e->plan))
        return false;
    g->exact_differences = true;
    out->threads = PLAIN_THREADS;
    out->shared_bytes = e->plan.bytes;
    out->persistent = false;
    out->map_count = 0;
    const char *phase = g->phase->name;
    cuda_line(g, "struct Launch_%s { long long slots[%d]; };\n\n", phase, slot_of_tensor(g->program->tensor_count));
    cuda_line(g, "extern \"C\" __global__ void __launch_bounds__(%d) %s(const __grid_constant__ Launch_%s P)\n", PLAIN_THREADS,
              out->entry, phase);
    open(e);
    cuda_line(g, "extern __shared__ __align__(128) unsigned char attune_tiles[];\n");
    emit_grid(e);
    emit_steps(e, e->plan.steps);
    close(e);
    cuda_line(g, "\n");
    g->exact_differences = false;
    return g->diag->errors == errors;
}
