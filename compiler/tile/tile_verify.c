/* The verifier: every rule that a Program can break, whoever made it. Later code (the interpreter, the
 * emitters) relies on these rules and checks nothing again.
 *
 * Complaints quote the instruction; there is at most one about each. */
#include "tile_text.h"

#include <inttypes.h>
#include <string.h>

typedef struct Verifier {
    const Program *program;
    Diag *diag;
    Arena *arena;
    const Phase *phase;
    const Inst **defined; /* by id: seen so far in the whole Program */
    bool *visible;        /* by id: in scope now */
    const Inst *inst;     /* at hand */
    const Inst *unsound;  /* complained about last */
    int operators;        /* of the expression at hand */
    bool sound;
} Verifier;

static void complain(Verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(Verifier *v, const char *format, ...)
{
    v->sound = false;
    if (v->inst && v->inst == v->unsound)
        return;
    v->unsound = v->inst;
    va_list args;
    va_start(args, format);
    const char *what = arena_vprintf(v->arena, format, args);
    va_end(args);
    if (v->inst)
        diag_error(v->diag, v->inst->span, "tile-unsound", "%s: in '%s'", what,
                   inst_text(v->program, v->inst, v->arena));
    else if (v->phase)
        diag_error(v->diag, SPAN_NONE, "tile-unsound", "%s: in phase '%s' of program '%s'", what,
                   v->phase->name, v->program->name);
    else
        diag_error(v->diag, SPAN_NONE, "tile-unsound", "%s: in program '%s'", what, v->program->name);
}

static const char *type_name(Verifier *v, const TileType *type)
{
    return type_text(v->program, type, v->arena);
}

/* Declarations ------------------------------------------------------------------------------------------- */

static void check_extent(Verifier *v, const char *what, const Extent *extent)
{
    const Program *program = v->program;
    if (extent->size >= 0 && (extent->size < VAR_SIZE_B || extent->size > VAR_OFFSET))
        complain(v, "%s has an extent that is no size", what);
    else if (extent->div_knob >= program->knob_count)
        complain(v, "%s is divided by a knob that there is not", what);
    else if (extent->div_knob >= 0 && program->stage >= STAGE_SIZED)
        complain(v, "%s is divided by the knob '%s' after stage logical", what,
                 program->knobs[extent->div_knob].name);
    else if ((extent->div_knob < 0 && extent->div < 1) || extent->mul < 1)
        complain(v, "%s has a divisor or factor below 1", what);
}

static void check_axis_extent(void *user, const Expr *e)
{
    Verifier *v = user;
    int knob = e->index - (int)VAR_KNOB(0);
    switch ((ExprOp)e->op) {
    case EXPR_VAR:
        if (knob < 0 || knob >= v->program->knob_count)
            complain(v, "an axis' extent names something else than a knob");
        break;
    case EXPR_PARAM: case EXPR_ARG: case EXPR_INPUT: case EXPR_ELEM:
    case EXPR_SUM: case EXPR_REDMAX: case EXPR_REDMIN:
        complain(v, "an axis' extent names something else than a knob");
        break;
    default:
        break;
    }
}

static void check_unique(Verifier *v, const char *what, const char *const *names, int count)
{
    for (int k = 0; k < count; k++)
        for (int other = 0; other < k; other++)
            if (!strcmp(names[k], names[other]))
                complain(v, "two %s are named '%s'", what, names[k]);
}

static bool check_counts(Verifier *v)
{
    const Program *p = v->program;
    bool fits = p->axis_count >= 0 && p->axis_count <= PROGRAM_MAX_AXES && p->knob_count >= 0 &&
                p->knob_count <= PROGRAM_MAX_KNOBS && p->tensor_count >= 0 &&
                p->tensor_count <= PROGRAM_MAX_TENSORS && p->param_count >= 0 &&
                p->param_count <= SPEC_MAX_PARAMS && p->phase_count >= 0 &&
                p->phase_count <= PROGRAM_MAX_PHASES;
    for (int k = 0; fits && k < p->phase_count; k++)
        fits = p->phases[k].grid_count >= 0 && p->phases[k].grid_count <= PROGRAM_MAX_GRID;
    for (int k = 0; fits && k < p->tensor_count; k++)
        fits = p->tensors[k].dim_count >= 0 && p->tensors[k].dim_count <= SPEC_MAX_DIMS;
    if (!fits)
        complain(v, "more declarations than a program can hold");
    return fits;
}

static void check_axes(Verifier *v)
{
    const Program *program = v->program;
    for (int k = 0; k < program->axis_count; k++) {
        const Axis *axis = &program->axes[k];
        if (program->stage < STAGE_SIZED) {
            if (!axis->extent_expr || axis->extent_expr->type != TYPE_INT)
                complain(v, "the axis '%s' has no whole number as its extent", axis->name);
            else
                expr_walk(v->arena, axis->extent_expr, check_axis_extent, v);
        } else if (axis->extent < 1 || axis->extent > TILE_MAX_EXTENT) {
            complain(v, "the axis '%s' has extent %" PRId64 ", from stage sized on it is 1 to %d", axis->name,
                     axis->extent, (int)TILE_MAX_EXTENT);
        }
    }
}

static void check_declarations(Verifier *v)
{
    const Program *program = v->program;
    const char *names[PROGRAM_MAX_TENSORS];
    if ((unsigned)program->stage > STAGE_SYNCED)
        complain(v, "unknown stage %d", (int)program->stage);
    check_axes(v);
    for (int k = 0; k < program->axis_count; k++)
        names[k] = program->axes[k].name;
    check_unique(v, "axes", names, program->axis_count);
    for (int k = 0; k < program->knob_count; k++) {
        names[k] = program->knobs[k].name;
        if (program->knobs[k].value < 0)
            complain(v, "the knob '%s' is negative", names[k]);
    }
    check_unique(v, "knobs", names, program->knob_count);
    for (int k = 0; k < program->param_count; k++)
        names[k] = program->params[k].name;
    check_unique(v, "params", names, program->param_count);
    for (int k = 0; k < program->tensor_count; k++) {
        const Tensor *tensor = &program->tensors[k];
        names[k] = tensor->name;
        if (tensor->dim_count < 1)
            complain(v, "the tensor '%s' has no dimension", tensor->name);
        if ((unsigned)tensor->elem > ELEM_TYPE_F16 || (unsigned)tensor->role >= TENSOR_ROLE_COUNT)
            complain(v, "the tensor '%s' has an unknown role or element type", tensor->name);
        for (int d = 0; tensor->role == ROLE_WORKSPACE && d < tensor->dim_count; d++)
            check_extent(v, arena_printf(v->arena, "dimension %d of the workspace '%s'", d, tensor->name),
                         &tensor->extent[d]);
        for (int other = 0; other < k; other++)
            if (program->tensors[other].role == tensor->role &&
                program->tensors[other].index == tensor->index)
                complain(v, "the tensors '%s' and '%s' play the same role", names[other], tensor->name);
    }
    check_unique(v, "tensors", names, program->tensor_count);
    for (int k = 0; k < program->phase_count; k++)
        names[k] = program->phases[k].name;
    check_unique(v, "phases", names, program->phase_count);
}

/* Expressions -------------------------------------------------------------------------------------------- */

static void check_expr_node(void *user, const Expr *e)
{
    Verifier *v = user;
    const Inst *inst = v->inst;
    int knob = e->index - (int)VAR_KNOB(0);
    v->operators++;
    switch ((ExprOp)e->op) {
    case EXPR_ARG:
        if (e->index < 0 || e->index >= inst->arg_count)
            complain(v, "$%d stands for no operand", e->index);
        else if (e->type != elem_class(inst->args[e->index]->type.elem))
            complain(v, "$%d is %s but the operand is %s", e->index, tile_type_names[e->type],
                     type_name(v, &inst->args[e->index]->type));
        break;
    case EXPR_PARAM:
        if (e->index < 0 || e->index >= v->program->param_count)
            complain(v, "the expression names param %d of %d", e->index, v->program->param_count);
        else if (e->type != v->program->params[e->index].type)
            complain(v, "the expression has the param '%s' with another type",
                     v->program->params[e->index].name);
        break;
    case EXPR_VAR:
        if (e->index >= VAR_FIRST_BOUND) {
            complain(v, "an expression cannot reduce: use reduce or contract");
        } else if (knob >= 0 && knob < v->program->knob_count) {
            if (v->program->stage >= STAGE_SIZED)
                complain(v, "the knob '%s' is still there after stage logical", v->program->knobs[knob].name);
        } else if (e->index < VAR_SIZE_B || e->index > VAR_OFFSET) {
            complain(v, "variable %d is neither a size nor a knob", e->index);
        } else if (e->type != TYPE_INT) {
            complain(v, "the size %s is an int", tile_size_names[e->index - VAR_SIZE_B]);
        }
        break;
    case EXPR_INPUT: case EXPR_ELEM:
        complain(v, "an expression cannot read tensors: load first");
        break;
    case EXPR_SUM: case EXPR_REDMAX: case EXPR_REDMIN:
        complain(v, "an expression cannot reduce: use reduce or contract");
        break;
    default:
        break;
    }
}

static void check_expr(Verifier *v, const Expr *e)
{
    v->operators = 0;
    expr_walk(v->arena, e, check_expr_node, v);
    if (v->operators > TILE_MAX_OPERATORS)
        complain(v, "an expression of %d nodes, the limit is %d", v->operators, (int)TILE_MAX_OPERATORS);
}

/* Instructions ------------------------------------------------------------------------------------------- */

static bool same_type(const TileType *a, const TileType *b)
{
    return a->elem == b->elem && a->axis_count == b->axis_count && !memcmp(a->axis, b->axis, a->axis_count);
}

static bool axes_within(const TileType *inner, const TileType *outer)
{
    for (int k = 0; k < inner->axis_count; k++)
        if (!type_has_axis(outer, inner->axis[k]))
            return false;
    return true;
}

static bool is_float(const Inst *value)
{
    return elem_class(value->type.elem) == TYPE_FLOAT;
}

static bool is_scalar_of(const Inst *value, ElemType elem)
{
    return value->type.elem == elem && value->type.axis_count == 0;
}

/* Whether `value` may be read here. */
static bool check_use(Verifier *v, const char *what, const Inst *value)
{
    if (!value)
        complain(v, "%s is missing", what);
    else if (value->id >= v->program->next_id || v->defined[value->id] != value)
        complain(v, "%s %%%" PRIu32 " is not defined before", what, value->id);
    else if (!value->has_value)
        complain(v, "%s is an instruction without a value", what);
    else if (!v->visible[value->id])
        complain(v, "%s %%%" PRIu32 " is out of scope", what, value->id);
    else
        return true;
    return false;
}

static bool check_operands(Verifier *v)
{
    const Inst *inst = v->inst;
    const TileOpInfo *info = &tile_op_info[inst->op];
    bool sound = true;
    if (inst->arg_count < info->min_args || inst->arg_count > info->max_args) {
        complain(v, "%d operands, %s takes %d to %d", inst->arg_count, info->name, info->min_args,
                 info->max_args);
        return false;
    }
    for (int k = 0; k < inst->arg_count; k++)
        sound = check_use(v, "the operand", inst->args[k]) && sound;
    if (inst->guard) {
        if (inst->op != TILE_LOAD && inst->op != TILE_STORE)
            complain(v, "only load and store have a guard");
        sound = check_use(v, "the guard", inst->guard) && sound;
    }
    bool may_target = inst->op == TILE_SET || inst->op == TILE_CONTRACT;
    if (inst->target && !may_target)
        complain(v, "only set and contract have a target");
    if (inst->target || inst->op == TILE_SET)
        sound = check_use(v, "the target", inst->target) && sound;
    if (sound && inst->target && inst->target->op != TILE_VAR) {
        complain(v, "the target %%%" PRIu32 " is no var", inst->target->id);
        sound = false;
    }
    return sound;
}

static bool check_axis(Verifier *v)
{
    if (v->inst->axis >= 0 && v->inst->axis < v->program->axis_count)
        return true;
    complain(v, "there is no axis %d", v->inst->axis);
    return false;
}

static void check_map(Verifier *v)
{
    const Inst *inst = v->inst;
    if (!inst->expr)
        complain(v, "the map has no expression");
    else if (inst->expr->type != elem_class(inst->type.elem) || inst->type.elem == ELEM_TYPE_I32)
        complain(v, "the expression is %s, the value %s", tile_type_names[inst->expr->type],
                 type_name(v, &inst->type));
    else
        check_expr(v, inst->expr);
}

static void check_reduce(Verifier *v)
{
    const Inst *inst = v->inst;
    bool logic = inst->reduce == REDUCE_OR || inst->reduce == REDUCE_AND;
    bool bools = inst->args[0]->type.elem == ELEM_TYPE_BOOL;
    if ((unsigned)inst->reduce > REDUCE_AND)
        complain(v, "unknown reduction %d", (int)inst->reduce);
    else if (logic != bools)
        complain(v, "%s does not reduce %s", tile_reduce_names[inst->reduce],
                 type_name(v, &inst->args[0]->type));
    if (check_axis(v) && !inst_has_axis(inst->args[0], inst->axis))
        complain(v, "the operand does not have the axis '%s'", v->program->axes[inst->axis].name);
}

static void check_contract(Verifier *v)
{
    const Inst *inst = v->inst;
    TileType sum;
    if (check_axis(v) && !inst_has_axis(inst->args[0], inst->axis) &&
        !inst_has_axis(inst->args[1], inst->axis))
        complain(v, "no operand has the axis '%s'", v->program->axes[inst->axis].name);
    if (inst->expr && inst->expr->type != TYPE_FLOAT)
        complain(v, "what is summed is not float");
    else if (inst->expr)
        check_expr(v, inst->expr);
    else if (!is_float(inst->args[0]) || !is_float(inst->args[1]))
        complain(v, "the product of operands that are not both float");
    if (inst->has_value == (inst->target != NULL))
        complain(v, "contract has a value or a target, not both");
    type_infer(inst, &sum);
    if (inst->target && !same_type(&sum, &inst->target->type))
        complain(v, "the sum is %s, the target %s", type_name(v, &sum), type_name(v, &inst->target->type));
}

static void check_access(Verifier *v)
{
    const Inst *inst = v->inst;
    bool store = inst->op == TILE_STORE;
    int indices = inst->arg_count - store;
    TileType access = {.elem = ELEM_TYPE_I64};
    if (inst->tensor < 0 || inst->tensor >= v->program->tensor_count) {
        complain(v, "there is no tensor %d", inst->tensor);
        return;
    }
    const Tensor *tensor = &v->program->tensors[inst->tensor];
    if (indices != tensor->dim_count)
        complain(v, "%d indices, '%s' has %d dimensions", indices, tensor->name, tensor->dim_count);
    for (int k = 0; k < indices; k++) {
        if (inst->args[k]->type.elem != ELEM_TYPE_I64)
            complain(v, "index %d is %s, not i64", k, type_name(v, &inst->args[k]->type));
        for (int a = 0; a < inst->args[k]->type.axis_count; a++)
            if (!type_add_axis(&access, inst->args[k]->type.axis[a]))
                complain(v, "the indices have more than %d axes", (int)TILE_MAX_AXES);
    }
    if (inst->guard && inst->guard->type.elem != ELEM_TYPE_BOOL)
        complain(v, "the guard is %s, not bool", type_name(v, &inst->guard->type));
    if (inst->guard && !axes_within(&inst->guard->type, &access))
        complain(v, "the guard has an axis that no index has");
    if (store) {
        const Inst *value = inst->args[indices];
        if (elem_class(value->type.elem) != elem_class(tensor->elem))
            complain(v, "the value is %s, '%s' holds %s", type_name(v, &value->type), tensor->name,
                     elem_type_name(tensor->elem));
        if (!axes_within(&value->type, &access))
            complain(v, "the value has an axis that no index has");
        if (tensor->role == ROLE_Q || tensor->role == ROLE_K || tensor->role == ROLE_V ||
            tensor->role == ROLE_INPUT || (tensor->role == ROLE_STATE && tensor->index == STATE_IN))
            complain(v, "'%s' is read only", tensor->name);
    } else {
        ElemType elem = tensor->elem == ELEM_TYPE_I32 ? ELEM_TYPE_I64 : tensor->elem;
        if (inst->type.elem != elem)
            complain(v, "the value is %s, '%s' holds %s", type_name(v, &inst->type), tensor->name,
                     elem_type_name(tensor->elem));
    }
}

/* A value put into a variable: the same kind of number, broadcast over axes that it lacks. */
static void check_assignment(Verifier *v, const TileType *variable, const Inst *value)
{
    if (elem_class(variable->elem) != elem_class(value->type.elem) || !axes_within(&value->type, variable))
        complain(v, "the variable is %s, the value %s", type_name(v, variable), type_name(v, &value->type));
}

static void check_blocks(Verifier *v)
{
    const Inst *inst = v->inst;
    bool nests = inst->op == TILE_FOR || inst->op == TILE_IF;
    if (nests != (inst->body != NULL) || (inst->orelse && inst->op != TILE_IF))
        complain(v, "%s", nests ? "a block is missing or too many" : "a block where there is none");
}

static void check_elements(Verifier *v, const TileType *type)
{
    int64_t elements = 1;
    for (int k = 0; k < type->axis_count; k++)
        if (type->axis[k] < v->program->axis_count && elements <= TILE_MAX_ELEMENTS)
            elements *= v->program->axes[type->axis[k]].extent;
    if (elements > TILE_MAX_ELEMENTS)
        complain(v, "a tile of more than %d elements", (int)TILE_MAX_ELEMENTS);
}

static void check_inst(Verifier *v)
{
    const Program *program = v->program;
    const Inst *inst = v->inst;
    TileType type;
    bool valued = tile_op_info[inst->op].has_value;
    if (inst->op != TILE_CONTRACT && inst->has_value != valued)
        complain(v, "%s %s a value", tile_op_info[inst->op].name, valued ? "has" : "does not have");
    check_blocks(v);
    if (!check_operands(v))
        return;
    switch (inst->op) {
    case TILE_INDEX:
        if (!check_axis(v))
            return;
        break;
    case TILE_GRID:
        if (inst->grid < 0 || inst->grid >= v->phase->grid_count)
            complain(v, "the phase's grid has no dimension %d", inst->grid);
        break;
    case TILE_SEQ:
        if ((unsigned)inst->seq > SEQ_K_LENGTH)
            complain(v, "unknown property %d of a sequence", (int)inst->seq);
        if (!is_scalar_of(inst->args[0], ELEM_TYPE_I64))
            complain(v, "the sequence is %s, not a scalar i64", type_name(v, &inst->args[0]->type));
        break;
    case TILE_MAP:
        check_map(v);
        break;
    case TILE_REDUCE:
        check_reduce(v);
        break;
    case TILE_CONTRACT:
        check_contract(v);
        break;
    case TILE_LOAD:
    case TILE_STORE:
        check_access(v);
        break;
    case TILE_VAR:
        if ((unsigned)inst->type.elem > ELEM_TYPE_F16 || inst->type.elem == ELEM_TYPE_I32)
            complain(v, "a variable cannot be %s", type_name(v, &inst->type));
        for (int k = 0; k < inst->type.axis_count; k++)
            if (inst->type.axis[k] >= program->axis_count ||
                (k && inst->type.axis[k] <= inst->type.axis[k - 1]))
                complain(v, "the variable's axes are not axes of the program in order");
        check_assignment(v, &inst->type, inst->args[0]);
        break;
    case TILE_SET:
        check_assignment(v, &inst->target->type, inst->args[0]);
        break;
    case TILE_FOR:
        for (int k = 0; k < 2; k++)
            if (!is_scalar_of(inst->args[k], ELEM_TYPE_I64))
                complain(v, "the bound is %s, not a scalar i64", type_name(v, &inst->args[k]->type));
        break;
    case TILE_IF:
        if (!is_scalar_of(inst->args[0], ELEM_TYPE_BOOL))
            complain(v, "the condition is %s, not a scalar bool", type_name(v, &inst->args[0]->type));
        break;
    case TILE_OP_COUNT:
        break;
    }
    if (!type_infer(inst, &type))
        complain(v, "the operands have more than %d axes together", (int)TILE_MAX_AXES);
    else if (inst->has_value && !same_type(&type, &inst->type))
        complain(v, "the value is %s, its operands make it %s", type_name(v, &inst->type),
                 type_name(v, &type));
    else if (program->stage >= STAGE_SIZED)
        check_elements(v, &type);
}

/* Values are defined one after the other; those of a block go out of scope at its end. */
static void check_block(Verifier *v, const Block *block, const Inst *owner, int depth)
{
    if (depth > TILE_MAX_NESTING) {
        complain(v, "blocks nest deeper than %d", (int)TILE_MAX_NESTING);
        return;
    }
    if (block->owner != owner)
        complain(v, "a block does not name the instruction that it belongs to");
    const Inst *previous = NULL;
    for (const Inst *inst = block->first; inst; previous = inst, inst = inst->next) {
        v->inst = inst;
        if ((unsigned)inst->op >= TILE_OP_COUNT) {
            complain(v, "unknown operator %d", (int)inst->op);
            continue;
        }
        if (inst->prev != previous || inst->parent != block) {
            complain(v, "the links to its block or neighbours are wrong");
            return; /* the list may have no end */
        }
        if (inst->id >= v->program->next_id || v->defined[inst->id]) {
            complain(v, "the number %" PRIu32 " is taken or beyond the program's", inst->id);
            continue;
        }
        if (v->program->stage < tile_op_info[inst->op].first_stage ||
            v->program->stage > tile_op_info[inst->op].last_stage)
            complain(v, "%s is not legal in stage %s", tile_op_info[inst->op].name,
                     stage_name(v->program->stage));
        check_inst(v);
        v->defined[inst->id] = inst;
        v->visible[inst->id] = true;
        if (inst->body)
            check_block(v, inst->body, inst, depth + 1);
        if (inst->orelse)
            check_block(v, inst->orelse, inst, depth + 1);
        if (inst->op == TILE_FOR)
            v->visible[inst->id] = false;
    }
    if (previous != block->last) {
        v->inst = owner;
        complain(v, "a block's last instruction is not the end of its list");
    }
    for (const Inst *inst = block->first; inst; inst = inst->next)
        if (inst->id < v->program->next_id)
            v->visible[inst->id] = false;
    v->inst = owner;
}

static void check_phase(Verifier *v)
{
    const Phase *phase = v->phase;
    const char *names[PROGRAM_MAX_GRID];
    for (int k = 0; k < phase->grid_count; k++) {
        names[k] = phase->grid[k].name;
        check_extent(v, arena_printf(v->arena, "the grid dimension '%s'", names[k]), &phase->grid[k].extent);
    }
    check_unique(v, "grid dimensions", names, phase->grid_count);
    if (!phase->body)
        complain(v, "the phase has no body");
    else
        check_block(v, phase->body, NULL, 0);
}

bool program_verify(const Program *program, Diag *diag)
{
    Verifier v = {.program = program, .diag = diag, .arena = diag->arena, .sound = true};
    if (program->next_id > TILE_MAX_IDS) {
        complain(&v, "more than %d instructions", (int)TILE_MAX_IDS);
        return false;
    }
    if (!check_counts(&v))
        return false;
    v.defined = ARENA_ARRAY(v.arena, const Inst *, program->next_id);
    v.visible = ARENA_ARRAY(v.arena, bool, program->next_id);
    check_declarations(&v);
    for (int k = 0; k < program->phase_count; k++) {
        v.phase = &program->phases[k];
        v.inst = NULL;
        check_phase(&v);
    }
    return v.sound;
}
