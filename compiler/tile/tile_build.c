/* Building Programs: declarations, and one function an operator, each of which infers its result's type.
 *
 * Nothing is checked here beyond what would break memory: a wrong program can be built, and tile_verify.c
 * says what is wrong with it. */
#include "tile.h"

#include <string.h>

const TileOpInfo tile_op_info[TILE_OP_COUNT] = {
#define TILE_OP(id, name, min_args, max_args, value, effect, first, last, meaning) \
    [TILE_##id] = {name, min_args, max_args, value, effect, STAGE_##first, STAGE_##last, meaning},
#include "tile_ops.def"
#undef TILE_OP
};

const char *stage_name(Stage stage)
{
    static const char *const names[] = {"logical", "sized", "placed", "staged", "synced"};
    return (unsigned)stage <= STAGE_SYNCED ? names[stage] : "?";
}

ExprType elem_class(ElemType elem)
{
    switch (elem) {
    case ELEM_TYPE_BOOL: return TYPE_BOOL;
    case ELEM_TYPE_I32:
    case ELEM_TYPE_I64: return TYPE_INT;
    case ELEM_TYPE_F32:
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: break;
    }
    return TYPE_FLOAT;
}

ElemType elem_of_class(ExprType type)
{
    return type == TYPE_BOOL ? ELEM_TYPE_BOOL : type == TYPE_INT ? ELEM_TYPE_I64 : ELEM_TYPE_F32;
}

/* Declarations ------------------------------------------------------------------------------------------- */

Program *program_create(Arena *arena, ExprPool *pool, const char *name, int rank)
{
    Program *program = ARENA_NEW(arena, Program);
    program->arena = arena;
    program->pool = pool;
    program->name = arena_strdup(arena, name);
    program->rank = rank;
    return program;
}

int program_axis(Program *program, const char *name, const Expr *extent)
{
    for (int k = 0; k < program->axis_count; k++)
        if (!strcmp(program->axes[k].name, name))
            return k;
    if (program->axis_count == PROGRAM_MAX_AXES)
        return -1;
    program->axes[program->axis_count] =
        (Axis){.name = arena_strdup(program->arena, name), .extent_expr = extent};
    return program->axis_count++;
}

int program_tensor(Program *program, Tensor tensor)
{
    if (program->tensor_count == PROGRAM_MAX_TENSORS)
        return -1;
    tensor.name = arena_strdup(program->arena, tensor.name);
    program->tensors[program->tensor_count] = tensor;
    return program->tensor_count++;
}

int program_knob(Program *program, const char *name)
{
    for (int k = 0; k < program->knob_count; k++)
        if (!strcmp(program->knobs[k].name, name))
            return k;
    if (program->knob_count == PROGRAM_MAX_KNOBS)
        return -1;
    program->knobs[program->knob_count] = (Knob){.name = arena_strdup(program->arena, name)};
    return program->knob_count++;
}

Phase *program_phase(Program *program, const char *name)
{
    if (program->phase_count == PROGRAM_MAX_PHASES)
        return NULL;
    Phase *phase = &program->phases[program->phase_count++];
    *phase = (Phase){.name = arena_strdup(program->arena, name), .body = block_create(program, NULL)};
    return phase;
}

/* Instructions ------------------------------------------------------------------------------------------- */

Block *block_create(Program *program, Inst *owner)
{
    Block *block = ARENA_NEW(program->arena, Block);
    block->owner = owner;
    return block;
}

static void block_insert(Block *block, Inst *before, Inst *inst)
{
    inst->parent = block;
    inst->next = before;
    inst->prev = before ? before->prev : block->last;
    if (inst->prev)
        inst->prev->next = inst;
    else
        block->first = inst;
    if (before)
        before->prev = inst;
    else
        block->last = inst;
}

Inst *build_inst(Builder *b, TileOp op, Inst *const *args, int count)
{
    Inst *inst = ARENA_NEW(b->program->arena, Inst);
    inst->op = op;
    inst->id = b->program->next_id++;
    inst->has_value = tile_op_info[op].has_value;
    inst->type.elem = ELEM_TYPE_I64;
    inst->arg_count = count;
    inst->args = ARENA_ARRAY(b->program->arena, Inst *, (size_t)count);
    if (count)
        memcpy(inst->args, args, (size_t)count * sizeof *args);
    inst->axis = inst->tensor = inst->grid = -1;
    inst->label = b->label;
    inst->span = b->span;
    block_insert(b->before ? b->before->parent : b->block, b->before, inst);
    return inst;
}

bool type_has_axis(const TileType *type, int axis)
{
    for (int k = 0; k < type->axis_count; k++)
        if (type->axis[k] == axis)
            return true;
    return false;
}

bool type_add_axis(TileType *type, int axis)
{
    if (type_has_axis(type, axis))
        return true;
    if (type->axis_count == TILE_MAX_AXES)
        return false;
    int at = type->axis_count++;
    for (; at > 0 && type->axis[at - 1] > axis; at--)
        type->axis[at] = type->axis[at - 1];
    type->axis[at] = (uint8_t)axis;
    return true;
}

bool type_infer(const Inst *inst, TileType *type)
{
    bool fits = true;
    *type = (TileType){.elem = inst->type.elem};
    switch (inst->op) {
    case TILE_GRID:
    case TILE_SEQ:
    case TILE_FOR:
        type->elem = ELEM_TYPE_I64;
        return true;
    case TILE_INDEX:
        type->elem = ELEM_TYPE_I64;
        return type_add_axis(type, inst->axis);
    case TILE_VAR: /* says its type itself */
        *type = inst->type;
        return true;
    case TILE_REDUCE:
    case TILE_CONTRACT:
    case TILE_MAP:
    case TILE_LOAD:
        break;
    case TILE_STORE:
    case TILE_SET:
    case TILE_IF:
    case TILE_OP_COUNT:
        return true;
    }
    bool sums = inst->op == TILE_REDUCE || inst->op == TILE_CONTRACT;
    for (int k = 0; k < inst->arg_count; k++)
        for (int a = 0; a < inst->args[k]->type.axis_count; a++)
            if (!sums || inst->args[k]->type.axis[a] != inst->axis)
                fits = type_add_axis(type, inst->args[k]->type.axis[a]) && fits;
    if (inst->op == TILE_REDUCE)
        type->elem = elem_of_class(elem_class(inst->args[0]->type.elem));
    else if (inst->op == TILE_CONTRACT)
        type->elem = ELEM_TYPE_F32;
    return fits;
}

static Inst *infer(Inst *inst)
{
    TileType type;
    type_infer(inst, &type); /* too many axes: the verifier's affair */
    inst->type = type;
    return inst;
}

Inst *build_index(Builder *b, int axis)
{
    Inst *inst = build_inst(b, TILE_INDEX, NULL, 0);
    inst->axis = axis;
    return infer(inst);
}

Inst *build_grid_index(Builder *b, int grid)
{
    Inst *inst = build_inst(b, TILE_GRID, NULL, 0);
    inst->grid = grid;
    return inst;
}

Inst *build_seq(Builder *b, SeqField field, Inst *batch)
{
    Inst *inst = build_inst(b, TILE_SEQ, &batch, 1);
    inst->seq = field;
    return inst;
}

Inst *build_map(Builder *b, const Expr *expr, Inst *const *args, int count)
{
    return build_map_as(b, elem_of_class((ExprType)expr->type), expr, args, count);
}

Inst *build_map_as(Builder *b, ElemType elem, const Expr *expr, Inst *const *args, int count)
{
    Inst *inst = build_inst(b, TILE_MAP, args, count);
    inst->expr = expr;
    inst->type.elem = elem;
    return infer(inst);
}

Inst *build_reduce(Builder *b, ReduceKind kind, int axis, Inst *value)
{
    Inst *inst = build_inst(b, TILE_REDUCE, &value, 1);
    inst->reduce = kind;
    inst->axis = axis;
    return infer(inst);
}

Inst *build_contract(Builder *b, int axis, Inst *a, Inst *c, const Expr *expr, Inst *into)
{
    Inst *inst = build_inst(b, TILE_CONTRACT, (Inst *[]){a, c}, 2);
    inst->axis = axis;
    inst->expr = expr;
    inst->target = into;
    inst->has_value = !into;
    return infer(inst);
}

Inst *build_load(Builder *b, int tensor, Inst *const *indices, int count, Inst *guard)
{
    Inst *inst = build_inst(b, TILE_LOAD, indices, count);
    inst->tensor = tensor;
    inst->guard = guard;
    if (tensor >= 0 && tensor < b->program->tensor_count) {
        ElemType elem = b->program->tensors[tensor].elem;
        inst->type.elem = elem == ELEM_TYPE_I32 ? ELEM_TYPE_I64 : elem;
    }
    return infer(inst);
}

void build_store(Builder *b, int tensor, Inst *const *indices, int count, Inst *value, Inst *guard)
{
    Inst *inst = build_inst(b, TILE_STORE, indices, count);
    inst->args =
        arena_grow(b->program->arena, inst->args, (size_t)count, (size_t)count + 1, sizeof *inst->args);
    inst->args[inst->arg_count++] = value;
    inst->tensor = tensor;
    inst->guard = guard;
}

Inst *build_var(Builder *b, ElemType elem, const int *axes, int axis_count, Inst *init)
{
    Inst *inst = build_inst(b, TILE_VAR, &init, 1);
    inst->type.elem = elem;
    for (int k = 0; k < axis_count; k++)
        type_add_axis(&inst->type, axes[k]);
    return inst;
}

void build_set(Builder *b, Inst *var, Inst *value)
{
    build_inst(b, TILE_SET, &value, 1)->target = var;
}

Inst *build_for(Builder *b, Inst *lo, Inst *hi, bool reverse)
{
    Inst *inst = build_inst(b, TILE_FOR, (Inst *[]){lo, hi}, 2);
    inst->reverse = reverse;
    inst->body = block_create(b->program, inst);
    return inst;
}

Inst *build_if(Builder *b, Inst *cond, bool with_else)
{
    Inst *inst = build_inst(b, TILE_IF, &cond, 1);
    inst->body = block_create(b->program, inst);
    if (with_else)
        inst->orelse = block_create(b->program, inst);
    return inst;
}

void inst_remove(Inst *inst)
{
    Block *block = inst->parent;
    if (inst->prev)
        inst->prev->next = inst->next;
    else
        block->first = inst->next;
    if (inst->next)
        inst->next->prev = inst->prev;
    else
        block->last = inst->prev;
    inst->prev = inst->next = NULL;
    inst->parent = NULL;
}

bool inst_has_axis(const Inst *inst, int axis)
{
    return type_has_axis(&inst->type, axis);
}

static void walk(Block *block, void (*visit)(void *user, Inst *inst), void *user)
{
    for (Inst *inst = block ? block->first : NULL, *next; inst; inst = next) {
        next = inst->next; /* the visitor may remove what it is shown */
        visit(user, inst);
        walk(inst->body, visit, user);
        walk(inst->orelse, visit, user);
    }
}

void program_walk(Program *program, void (*visit)(void *user, Inst *inst), void *user)
{
    for (int k = 0; k < program->phase_count; k++)
        walk(program->phases[k].body, visit, user);
}
