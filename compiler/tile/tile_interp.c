/* The meaning of a Program, element by element: an oracle for every emitter, and a target of its own.
 *
 * A Program is compiled once a run: every value gets its memory, every expression becomes Lanes, every
 * broadcast a table of offsets (one a pair of axis lists). What is left to do an element is arithmetic.
 *
 * Values are float or int64_t (ints and bools), dense, axes in order, the last one fastest. A value of
 * element type bf16 or f16 holds rounded floats. Sums run along their axis in order, in f32. */
#include "lanes.h"
#include "tile_memory.h"
#include "tile_text.h"

#include "compiler/kernel.h"
#include "compiler/spec/expr_meaning.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LANES_WIDTH = 128 };

typedef struct Op Op;

/* An operand as read at every element of some larger tile. */
typedef struct Operand {
    LaneData data;
    bool is_float, same, scalar; /* same: axes as the tile's; scalar: none */
    const int32_t *table;        /* by element of the tile: offset into data */
} Operand;

struct Op {
    const Inst *inst;
    Op *next, *body, *orelse;
    LaneData out;       /* of values */
    bool is_float;
    int64_t count;      /* elements: of the value, of an access, of the target */
    Operand *args, guard;
    Lanes *lanes;       /* map, contract */
    int64_t extent;     /* reduce, contract: of the axis */
    int64_t inner;      /* reduce: elements behind the axis; contract: extent of the result's last axis */
    int64_t step[2], inner_step[2]; /* contract: the operands' strides along the axis, along that last axis */
};

typedef struct Table {
    struct Table *next;
    TileType outer, inner;
    int32_t *offsets;
} Table;

typedef struct Machine {
    Arena *arena;
    const Program *program;
    const int64_t *slots;
    Op **ops;       /* by inst id */
    Table *tables;
    int64_t grid[PROGRAM_MAX_GRID];
    Op *stopped;    /* where `error` happened */
    char error[256];
} Machine;

/* Compiling ---------------------------------------------------------------------------------------------- */

static int64_t axis_extent(const Machine *m, int axis)
{
    return m->program->axes[axis].extent;
}

static int64_t element_count(const Machine *m, const TileType *type)
{
    int64_t count = 1;
    for (int k = 0; k < type->axis_count; k++)
        count *= axis_extent(m, type->axis[k]);
    return count;
}

/* Distance of neighbours along an axis; 0 for an axis that the tile does not have. */
static int64_t axis_stride(const Machine *m, const TileType *type, int axis)
{
    int64_t stride = 1;
    for (int k = type->axis_count; k-- > 0; stride *= axis_extent(m, type->axis[k]))
        if (type->axis[k] == axis)
            return stride;
    return 0;
}

static bool same_axes(const TileType *a, const TileType *b)
{
    return a->axis_count == b->axis_count && !memcmp(a->axis, b->axis, a->axis_count);
}

/* For every element of `outer`: where the element of `inner` is that it reads. */
static const int32_t *offset_table(Machine *m, const TileType *outer, const TileType *inner)
{
    for (Table *table = m->tables; table; table = table->next)
        if (same_axes(&table->outer, outer) && same_axes(&table->inner, inner))
            return table->offsets;
    Table *table = ARENA_NEW(m->arena, Table);
    int64_t count = element_count(m, outer), at[TILE_MAX_AXES] = {0}, stride[TILE_MAX_AXES], offset = 0;
    *table = (Table){m->tables, *outer, *inner, ARENA_ARRAY(m->arena, int32_t, (size_t)count)};
    m->tables = table;
    for (int k = 0; k < outer->axis_count; k++)
        stride[k] = axis_stride(m, inner, outer->axis[k]);
    for (int64_t e = 0; e < count; e++) {
        table->offsets[e] = (int32_t)offset;
        for (int k = outer->axis_count; k-- > 0;) {
            offset += stride[k];
            if (++at[k] < axis_extent(m, outer->axis[k]))
                break;
            offset -= stride[k] * at[k];
            at[k] = 0;
        }
    }
    return table->offsets;
}

static Operand make_operand(Machine *m, const Inst *value, const TileType *outer)
{
    Op *op = m->ops[value->id];
    Operand operand = {.data = op->out, .is_float = op->is_float};
    operand.same = same_axes(&value->type, outer);
    operand.scalar = value->type.axis_count == 0;
    operand.table = offset_table(m, outer, &value->type);
    return operand;
}

static ExprValue leaf_value(void *user, const Expr *e)
{
    const Machine *m = user;
    int64_t slot = m->slots[e->op == EXPR_PARAM ? SLOT_PARAMS + e->index : slot_of_size((VarId)e->index)];
    ExprValue value = {.i = slot};
    if (e->type == TYPE_FLOAT)
        memcpy(&value.f, &slot, sizeof value.f);
    else if (e->type == TYPE_BOOL)
        value.i = slot != 0;
    return value;
}

static Lanes *make_lanes(Machine *m, const Inst *inst, int64_t count)
{
    int width = count < LANES_WIDTH ? (int)count : LANES_WIDTH;
    return lanes_compile(m->arena, inst->expr, inst->arg_count, width, leaf_value, m);
}

static void compile_contract(Machine *m, Op *op)
{
    const Inst *inst = op->inst;
    TileType sum;
    type_infer(inst, &sum);
    int last = sum.axis_count ? sum.axis[sum.axis_count - 1] : -1;
    op->extent = axis_extent(m, inst->axis);
    op->inner = last >= 0 ? axis_extent(m, last) : 1;
    op->args = ARENA_ARRAY(m->arena, Operand, 2);
    for (int k = 0; k < 2; k++) {
        const TileType *type = &inst->args[k]->type;
        op->args[k] = make_operand(m, inst->args[k], &sum);
        op->step[k] = axis_stride(m, type, inst->axis);
        op->inner_step[k] = last >= 0 ? axis_stride(m, type, last) : 0;
    }
    if (inst->expr)
        op->lanes = make_lanes(m, inst, op->extent);
    if (inst->target) { /* summed here first */
        op->count = element_count(m, &sum);
        op->is_float = true;
        op->out.f = ARENA_ARRAY(m->arena, float, (size_t)op->count);
    }
}

/* The tile that an operator works over, where its operands are broadcast to. */
static TileType work_type(const Inst *inst)
{
    TileType type = {.elem = ELEM_TYPE_I64};
    switch (inst->op) {
    case TILE_STORE:
        for (int k = 0; k + 1 < inst->arg_count; k++)
            for (int a = 0; a < inst->args[k]->type.axis_count; a++)
                type_add_axis(&type, inst->args[k]->type.axis[a]);
        return type;
    case TILE_SET:
        return inst->target->type;
    case TILE_REDUCE: /* reads its operand whole */
        return inst->args[0]->type;
    default:
        return inst->type;
    }
}

static Op *compile_block(Machine *m, const Block *block);

static Op *compile_inst(Machine *m, const Inst *inst)
{
    Op *op = ARENA_NEW(m->arena, Op);
    TileType work = work_type(inst);
    op->inst = inst;
    op->count = element_count(m, &work);
    m->ops[inst->id] = op;
    if (inst->has_value) {
        size_t count = (size_t)element_count(m, &inst->type);
        op->is_float = elem_class(inst->type.elem) == TYPE_FLOAT;
        op->out.p = arena_array(m->arena, count, op->is_float ? sizeof(float) : sizeof(int64_t));
    }
    if (inst->op == TILE_CONTRACT) {
        compile_contract(m, op);
        return op;
    }
    op->args = ARENA_ARRAY(m->arena, Operand, (size_t)inst->arg_count);
    for (int k = 0; k < inst->arg_count; k++)
        op->args[k] = make_operand(m, inst->args[k], &work);
    if (inst->guard)
        op->guard = make_operand(m, inst->guard, &work);
    if (inst->op == TILE_MAP)
        op->lanes = make_lanes(m, inst, op->count);
    if (inst->op == TILE_INDEX)
        for (int64_t k = 0; k < op->count; k++)
            op->out.i[k] = k;
    if (inst->op == TILE_REDUCE) {
        op->extent = axis_extent(m, inst->axis);
        op->inner = axis_stride(m, &work, inst->axis);
    }
    op->body = compile_block(m, inst->body);
    op->orelse = compile_block(m, inst->orelse);
    return op;
}

static Op *compile_block(Machine *m, const Block *block)
{
    Op *first = NULL, **link = &first;
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        *link = compile_inst(m, inst);
        link = &(*link)->next;
    }
    return first;
}

/* Running ------------------------------------------------------------------------------------------------ */

static bool stop(Machine *m, Op *op, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool stop(Machine *m, Op *op, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->error, sizeof m->error, format, args);
    va_end(args);
    m->stopped = op;
    return false;
}

static void round_floats(ElemType elem, float *values, int64_t count)
{
    if (elem == ELEM_TYPE_BF16)
        for (int64_t k = 0; k < count; k++)
            values[k] = float_of_bf16(bf16_of_float(values[k]));
    else if (elem == ELEM_TYPE_F16)
        for (int64_t k = 0; k < count; k++)
            values[k] = float_of_f16(f16_of_float(values[k]));
}

/* Elements begin .. begin + count of an operand into dense memory. */
static void gather(const Operand *operand, int64_t begin, int64_t count, LaneData out)
{
    const int32_t *table = operand->table + begin;
    if (operand->is_float)
        for (int64_t k = 0; k < count; k++)
            out.f[k] = operand->data.f[table[k]];
    else
        for (int64_t k = 0; k < count; k++)
            out.i[k] = operand->data.i[table[k]];
}

static void run_map(Op *op)
{
    Lanes *lanes = op->lanes;
    for (int k = 0; k < lanes->arg_count; k++)
        if (lanes->arg_reg[k] >= 0 && op->args[k].scalar)
            gather(&op->args[k], 0, lanes->width, lanes->own[lanes->arg_reg[k]]);
    for (int64_t begin = 0; begin < op->count; begin += lanes->width) {
        int count = op->count - begin < lanes->width ? (int)(op->count - begin) : lanes->width;
        for (int k = 0; k < lanes->arg_count; k++) {
            const Operand *arg = &op->args[k];
            int reg = lanes->arg_reg[k];
            if (reg < 0 || arg->scalar)
                continue;
            if (!arg->same)
                gather(arg, begin, count, lanes->own[reg]);
            else if (arg->is_float)
                lanes->reg[reg].f = arg->data.f + begin;
            else
                lanes->reg[reg].i = arg->data.i + begin;
        }
        lanes_run(lanes, count);
        LaneData result = lanes->reg[lanes->result];
        if (op->is_float)
            memcpy(op->out.f + begin, result.f, (size_t)count * sizeof(float));
        else
            memcpy(op->out.i + begin, result.i, (size_t)count * sizeof(int64_t));
    }
    if (op->is_float)
        round_floats(op->inst->type.elem, op->out.f, op->count);
}

static void reduce_floats(ReduceKind kind, float *out, const float *in, int64_t extent, int64_t inner)
{
    for (int64_t i = 0; i < inner; i++)
        out[i] = kind == REDUCE_SUM ? 0.0f : kind == REDUCE_MAX ? -INFINITY : INFINITY;
    for (int64_t k = 0; k < extent; k++, in += inner)
        for (int64_t i = 0; i < inner; i++)
            out[i] = kind == REDUCE_SUM   ? out[i] + in[i]
                     : kind == REDUCE_MAX ? (out[i] > in[i] ? out[i] : in[i])
                                          : (out[i] < in[i] ? out[i] : in[i]);
}

static int64_t reduce_pair(ReduceKind kind, int64_t a, int64_t b)
{
    switch (kind) {
    case REDUCE_SUM: return int_add(a, b);
    case REDUCE_MAX: return a > b ? a : b;
    case REDUCE_MIN: return a < b ? a : b;
    case REDUCE_OR: return a | b;
    case REDUCE_AND: break;
    }
    return a & b;
}

static void reduce_ints(ReduceKind kind, int64_t *out, const int64_t *in, int64_t extent, int64_t inner)
{
    for (int64_t i = 0; i < inner; i++)
        out[i] = kind == REDUCE_MAX ? INT64_MIN : kind == REDUCE_MIN ? INT64_MAX : kind == REDUCE_AND;
    for (int64_t k = 0; k < extent; k++, in += inner)
        for (int64_t i = 0; i < inner; i++)
            out[i] = reduce_pair(kind, out[i], in[i]);
}

static void run_reduce(Op *op)
{
    int64_t block = op->extent * op->inner, in = 0, out = 0;
    LaneData data = op->args[0].data;
    for (; in < op->count; in += block, out += op->inner)
        if (op->is_float)
            reduce_floats(op->inst->reduce, op->out.f + out, data.f + in, op->extent, op->inner);
        else
            reduce_ints(op->inst->reduce, op->out.i + out, data.i + in, op->extent, op->inner);
}

/* The product's sums, a row of the result's last axis at a time: every sum in the order of the axis. */
static void contract_product(Op *op)
{
    const Operand *x = &op->args[0], *y = &op->args[1];
    for (int64_t row = 0; row < op->count; row += op->inner) {
        const float *a = x->data.f + x->table[row], *b = y->data.f + y->table[row];
        float *sum = op->out.f + row;
        memset(sum, 0, (size_t)op->inner * sizeof *sum);
        for (int64_t k = 0; k < op->extent; k++, a += op->step[0], b += op->step[1])
            if (op->inner_step[0] == 0)
                for (int64_t i = 0; i < op->inner; i++)
                    sum[i] += *a * b[i * op->inner_step[1]];
            else
                for (int64_t i = 0; i < op->inner; i++)
                    sum[i] += a[i * op->inner_step[0]] * b[i * op->inner_step[1]];
    }
}

static void contract_expr(Op *op)
{
    Lanes *lanes = op->lanes;
    for (int64_t e = 0; e < op->count; e++) {
        float sum = 0;
        for (int64_t begin = 0; begin < op->extent; begin += lanes->width) {
            int count = op->extent - begin < lanes->width ? (int)(op->extent - begin) : lanes->width;
            for (int a = 0; a < 2; a++) {
                int64_t at = op->args[a].table[e] + begin * op->step[a];
                LaneData reg = lanes->arg_reg[a] < 0 ? (LaneData){0} : lanes->own[lanes->arg_reg[a]];
                for (int k = 0; reg.p && k < count; k++, at += op->step[a])
                    if (op->args[a].is_float)
                        reg.f[k] = op->args[a].data.f[at];
                    else
                        reg.i[k] = op->args[a].data.i[at];
            }
            lanes_run(lanes, count);
            for (int k = 0; k < count; k++)
                sum += lanes->reg[lanes->result].f[k];
        }
        op->out.f[e] = sum;
    }
}

static void run_contract(Machine *m, Op *op)
{
    if (op->lanes)
        contract_expr(op);
    else
        contract_product(op);
    if (op->inst->target) {
        float *var = m->ops[op->inst->target->id]->out.f;
        for (int64_t k = 0; k < op->count; k++)
            var[k] += op->out.f[k];
    }
}

/* Reads or writes every element whose guard holds. */
static bool run_access(Machine *m, Op *op)
{
    const Inst *inst = op->inst;
    bool store = inst->op == TILE_STORE;
    int dims = inst->arg_count - store;
    const Tensor *tensor = &m->program->tensors[inst->tensor];
    const int64_t *slot = m->slots + slot_of_tensor(inst->tensor), *stride = slot + 1;
    char *base = (char *)(intptr_t)slot[0];
    int64_t extent[SPEC_MAX_DIMS];
    for (int d = 0; d < dims; d++)
        extent[d] = tensor->role == ROLE_WORKSPACE ? extent_value(&tensor->extent[d], m->slots) : INT64_MAX;
    for (int64_t e = 0; e < op->count; e++) {
        LaneData value = store ? op->args[dims].data : op->out;
        int64_t at = 0, value_at = store ? op->args[dims].table[e] : e;
        if (inst->guard && !op->guard.data.i[op->guard.table[e]]) {
            if (!store && op->is_float)
                value.f[value_at] = 0;
            else if (!store)
                value.i[value_at] = 0;
            continue;
        }
        for (int d = 0; d < dims; d++) {
            int64_t index = op->args[d].data.i[op->args[d].table[e]];
            if (index < 0 || index >= extent[d])
                return stop(m, op, "index %" PRId64 " is outside dimension %d of '%s'", index, d,
                            tensor->name);
            at = int_add(at, int_mul(index, stride[d]));
        }
        if (!base)
            return stop(m, op, "the tensor '%s' has no memory", tensor->name);
        if (store)
            element_store(tensor->elem, base, at, value, value_at);
        else
            element_load(tensor->elem, base, at, value, value_at);
    }
    return true;
}

static void assign(Op *var, const Operand *value)
{
    gather(value, 0, var->count, var->out);
    if (var->is_float)
        round_floats(var->inst->type.elem, var->out.f, var->count);
}

static bool run_seq(Machine *m, Op *op)
{
    SeqField field = op->inst->seq;
    bool key = field == SEQ_K_BEGIN || field == SEQ_K_LENGTH;
    bool length = field == SEQ_Q_LENGTH || field == SEQ_K_LENGTH;
    const int32_t *rows = (const int32_t *)(intptr_t)m->slots[key ? SLOT_CU_K : SLOT_CU_Q];
    int64_t batch = *op->args[0].data.i;
    if (!rows) {
        *op->out.i = length ? m->slots[slot_of_size(key ? VAR_SIZE_N : VAR_SIZE_M)] : 0;
        return true;
    }
    if (batch < 0 || batch >= m->slots[slot_of_size(VAR_SIZE_B)])
        return stop(m, op, "there is no sequence %" PRId64, batch);
    *op->out.i = length ? (int64_t)rows[batch + 1] - rows[batch] : rows[batch];
    return true;
}

static bool run_block(Machine *m, Op *op);

static bool run_for(Machine *m, Op *op)
{
    int64_t lo = *op->args[0].data.i, hi = *op->args[1].data.i;
    for (int64_t at = lo; at < hi; at++) {
        *op->out.i = op->inst->reverse ? int_sub(int_sub(hi, 1), int_sub(at, lo)) : at;
        if (!run_block(m, op->body))
            return false;
    }
    return true;
}

static bool run_op(Machine *m, Op *op)
{
    switch (op->inst->op) {
    case TILE_INDEX: /* filled when it was compiled */
        return true;
    case TILE_GRID:
        *op->out.i = m->grid[op->inst->grid];
        return true;
    case TILE_SEQ:
        return run_seq(m, op);
    case TILE_MAP:
        run_map(op);
        return true;
    case TILE_REDUCE:
        run_reduce(op);
        return true;
    case TILE_CONTRACT:
        run_contract(m, op);
        return true;
    case TILE_LOAD:
    case TILE_STORE:
        return run_access(m, op);
    case TILE_VAR:
        assign(op, &op->args[0]);
        return true;
    case TILE_SET:
        assign(m->ops[op->inst->target->id], &op->args[0]);
        return true;
    case TILE_FOR:
        return run_for(m, op);
    case TILE_IF:
        return run_block(m, *op->args[0].data.i ? op->body : op->orelse);
    case TILE_OP_COUNT:
        break;
    }
    return true;
}

static bool run_block(Machine *m, Op *op)
{
    for (; op; op = op->next)
        if (!run_op(m, op))
            return false;
    return true;
}

static bool run_phase(Machine *m, const Phase *phase)
{
    int64_t extent[PROGRAM_MAX_GRID], at = phase->grid_count;
    Op *body = compile_block(m, phase->body);
    memset(m->grid, 0, sizeof m->grid);
    for (int k = 0; k < phase->grid_count; k++) {
        extent[k] = extent_value(&phase->grid[k].extent, m->slots);
        if (extent[k] == 0)
            return true;
    }
    while (at >= 0) {
        if (!run_block(m, body))
            return false;
        for (at = phase->grid_count - 1; at >= 0 && ++m->grid[at] == extent[at]; at--)
            m->grid[at] = 0;
    }
    return true;
}

/* Also when there is no memory left for the message itself. */
static void report(Diag *diag, Span span, const char *id, const char *text)
{
    jmp_buf door, *outer = arena_arm(diag->arena, &door);
    if (setjmp(door) == 0)
        diag_error(diag, span, id, "%s", text);
    arena_arm(diag->arena, outer);
}

bool program_run(const Program *program, const int64_t *slots, Diag *diag)
{
    Arena *volatile arena = arena_create();
    volatile bool done = false, out_of_memory = !arena;
    char error[256];
    Span span = SPAN_NONE;
    if (program->stage < STAGE_SIZED) {
        arena_destroy(arena);
        diag_error(diag, SPAN_NONE, "run", "the program '%s' has no sizes yet", program->name);
        return false;
    }
    if (arena) {
        jmp_buf door;
        arena_arm(arena, &door);
        if (setjmp(door) == 0) {
            Machine *m = ARENA_NEW(arena, Machine);
            *m = (Machine){.arena = arena, .program = program, .slots = slots};
            m->ops = ARENA_ARRAY(arena, Op *, program->next_id);
            done = true;
            for (int k = 0; k < program->phase_count && done; k++)
                done = run_phase(m, &program->phases[k]);
            if (!done) {
                snprintf(error, sizeof error, "%s", m->error);
                span = m->stopped->inst->span;
            }
        } else {
            out_of_memory = true;
            done = false;
        }
    }
    arena_destroy(arena);
    if (out_of_memory)
        report(diag, SPAN_NONE, "out-of-memory", "out of memory while running the program");
    else if (!done)
        report(diag, span, "run", error);
    return done;
}
