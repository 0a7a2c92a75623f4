/* What the steps of a phase are for cuda_plain, and how hard it must try. */
#include "cuda_plain.h"

#include <string.h>

int64_t plain_extent(const CudaGen *g, int axis)
{
    return g->slice_extent && axis == g->slice_axis ? g->slice_extent : g->program->axes[axis].extent;
}

int64_t plain_count(const CudaGen *g, const TileType *axes)
{
    int64_t count = 1;
    for (int k = 0; k < axes->axis_count; k++)
        count *= plain_extent(g, axes->axis[k]);
    return count;
}

bool plain_same_axes(const TileType *a, const TileType *b)
{
    return a->axis_count == b->axis_count && !memcmp(a->axis, b->axis, a->axis_count);
}

bool plain_is_matrix(const Inst *contract)
{
    const TileType *a = &contract->args[0]->type, *b = &contract->args[1]->type;
    TileType sum;
    return !contract->expr && elem_class(a->elem) == TYPE_FLOAT && elem_class(b->elem) == TYPE_FLOAT &&
           type_infer(contract, &sum) && a->axis_count == 2 && b->axis_count == 2 && sum.axis_count == 2 &&
           (!contract->target || contract->target->type.elem == ELEM_TYPE_F32);
}

bool plain_is_product(const Inst *contract)
{
    ElemType a = contract->args[0]->type.elem, b = contract->args[1]->type.elem;
    return plain_is_matrix(contract) && a == b && (a == ELEM_TYPE_BF16 || a == ELEM_TYPE_F16);
}

int plain_lanes(const CudaGen *g, const TileType *axes)
{
    if (axes->axis_count == 1)
        return PLAIN_THREADS;
    int lanes = 1;
    while (lanes < 32 && lanes < plain_extent(g, axes->axis[axes->axis_count - 1]))
        lanes *= 2;
    return lanes;
}

int plain_at_once(const CudaGen *g, const Step *group)
{
    enum { MOST_WORK = 32 };
    const TileType *axes = &group->axes;
    int count = PLAIN_AT_ONCE, lanes = plain_lanes(g, axes);
    int64_t columns = plain_extent(g, axes->axis[axes->axis_count - 1]);
    while (count > 1 && (columns % (lanes * count) != 0 || count * group->member_count > MOST_WORK))
        count /= 2;
    return count;
}

/* The last index runs along the tile's last axis, and nothing else depends on it. */
bool plain_is_copy(const PlainPlan *plan, const Step *step)
{
    const Inst *load = step->members[0];
    if (step->kind != STEP_GROUP || step->member_count != 1 || load->op != TILE_LOAD ||
        !plan->values[load->id].buffered || step->axes.axis_count < 2)
        return false;
    const Tensor *tensor = &plan->g->program->tensors[load->tensor];
    int size = elem_type_size(tensor->elem), last = step->axes.axis[step->axes.axis_count - 1];
    if (elem_class(tensor->elem) != TYPE_FLOAT || load->type.elem != tensor->elem ||
        plain_extent(plan->g, last) * size % 16 || plan->values[load->id].pitch * size % 16)
        return false;
    const Inst *column = load->args[load->arg_count - 1];
    if (column->op != TILE_INDEX || column->axis != last || (load->guard && inst_has_axis(load->guard, last)))
        return false;
    for (int k = 0; k + 1 < load->arg_count; k++)
        if (inst_has_axis(load->args[k], last))
            return false;
    return true;
}

/* What is computed where it is read ---------------------------------------------------------------------- */

/* Nothing that it depends on is ever written again. */
static bool is_stable(const PlainPlan *plan, const Inst *value)
{
    switch (value->op) {
    case TILE_VAR: return false;
    case TILE_LOAD: return !plan->stored[value->tensor];
    case TILE_INDEX:
    case TILE_GRID:
    case TILE_SEQ:
    case TILE_FOR: return true;
    default:
        return plan->values[value->id].kind == PLAIN_SCALAR || plan->values[value->id].kind == PLAIN_INLINE;
    }
}

static PlainKind kind_of(const PlainPlan *plan, const Inst *inst)
{
    if (inst->type.axis_count == 0)
        return PLAIN_SCALAR;
    if (inst->op == TILE_INDEX)
        return PLAIN_INLINE;
    if (inst->op != TILE_MAP || elem_class(inst->type.elem) == TYPE_FLOAT)
        return PLAIN_TILE;
    for (int k = 0; k < inst->arg_count; k++)
        if (!is_stable(plan, inst->args[k]))
            return PLAIN_TILE;
    return PLAIN_INLINE;
}

void plain_reads(const PlainPlan *plan, const Inst *inst, void (*see)(void *user, const Inst *value),
                 void *user)
{
    for (int k = -1; k < inst->arg_count; k++) {
        const Inst *value = k < 0 ? inst->guard : inst->args[k];
        if (!value)
            continue;
        if (plan->values[value->id].kind == PLAIN_INLINE)
            plain_reads(plan, value, see, user);
        else
            see(user, value);
    }
}

/* Steps -------------------------------------------------------------------------------------------------- */

typedef struct Planner {
    PlainPlan *plan;
    Step **link, *parent;
    Step *group, **before_group; /* the last step, while it may still grow; what points to it */
} Planner;

static Step *add_step(Planner *p, StepKind kind, Inst *inst)
{
    Step *step = ARENA_NEW(p->plan->g->arena, Step);
    *step = (Step){.kind = kind, .parent = p->parent, .members = {inst}, .member_count = inst ? 1 : 0};
    *p->link = step;
    p->before_group = p->link;
    p->link = &step->next;
    return step;
}

/* Before the loop at hand, which may go on growing: nothing in it gives a scalar. */
static void add_scalar(Planner *p, Inst *inst)
{
    if (!p->group) {
        add_step(p, STEP_SCALAR, inst);
        return;
    }
    Step *step = ARENA_NEW(p->plan->g->arena, Step);
    *step = (Step){
        .kind = STEP_SCALAR, .parent = p->parent, .members = {inst}, .member_count = 1, .next = p->group};
    *p->before_group = step;
    p->before_group = &step->next;
}

static bool in_group(const Step *group, const Inst *value)
{
    for (int k = 0; group && k < group->member_count; k++)
        if (group->members[k] == value)
            return true;
    return false;
}

typedef struct Question {
    const Step *group;
    bool found;
} Question;

static void look_for_member(void *user, const Inst *value)
{
    Question *q = user;
    q->found |= in_group(q->group, value);
}

/* What the elementwise loop of an instruction runs over. */
static TileType loop_axes(const Inst *inst)
{
    TileType axes = {.elem = ELEM_TYPE_F32};
    if (inst->op == TILE_SET)
        axes = inst->target->type;
    else if (inst->op == TILE_REDUCE)
        axes = inst->args[0]->type;
    else if (inst->op != TILE_STORE)
        axes = inst->type;
    for (int k = -1; inst->op == TILE_STORE && k < inst->arg_count; k++) {
        const Inst *value = k < 0 ? inst->guard : inst->args[k];
        for (int a = 0; value && a < value->type.axis_count; a++)
            type_add_axis(&axes, value->type.axis[a]);
    }
    axes.elem = ELEM_TYPE_F32;
    return axes;
}

/* A copy of a tile from memory: alone in its step, so that it can go by vectors. */
static bool is_copy(const PlainPlan *plan, const Inst *inst)
{
    const PlainValue *value = &plan->values[inst->id];
    return inst->op == TILE_LOAD && inst->type.axis_count >= 2 && (value->product || value->vector);
}

static bool fits_group(const Planner *p, const Inst *inst, const TileType *axes)
{
    const Step *group = p->group;
    if (!group || !plain_same_axes(&group->axes, axes) || group->member_count == PLAIN_MAX_MEMBERS ||
        is_copy(p->plan, inst) || is_copy(p->plan, group->members[0]))
        return false;
    for (int k = 0; k < group->member_count; k++) {
        const Inst *member = group->members[k];
        bool reduction = member->op == TILE_REDUCE;
        Question q = {.group = &(Step){.members = {(Inst *)member}, .member_count = 1}};
        if (reduction)
            plain_reads(p->plan, inst, look_for_member, &q);
        if (q.found ||
            (member->op == TILE_STORE && inst->op == TILE_LOAD && member->tensor == inst->tensor) ||
            (member->op == TILE_LOAD && inst->op == TILE_STORE && member->tensor == inst->tensor))
            return false;
    }
    return true;
}

static void plan_block(Planner *p, Block *block);

static void plan_body(Planner *p, Step *step, Block *block, Step **first)
{
    if (!block)
        return;
    Planner inner = {.plan = p->plan, .link = first, .parent = step};
    plan_block(&inner, block);
}

static void plan_elementwise(Planner *p, Inst *inst)
{
    TileType axes = loop_axes(inst);
    if (!fits_group(p, inst, &axes)) {
        p->group = add_step(p, STEP_GROUP, NULL);
        p->group->axes = axes;
    }
    p->group->members[p->group->member_count++] = inst;
}

static void plan_inst(Planner *p, Inst *inst)
{
    const PlainPlan *plan = p->plan;
    bool scalar = inst->has_value && plan->values[inst->id].kind == PLAIN_SCALAR;
    if (inst->has_value && plan->values[inst->id].kind == PLAIN_INLINE)
        return;
    switch (inst->op) {
    case TILE_FOR:
    case TILE_IF: {
        Step *step = add_step(p, inst->op == TILE_FOR ? STEP_FOR : STEP_IF, inst);
        p->group = NULL;
        plan_body(p, step, inst->body, &step->body);
        plan_body(p, step, inst->orelse, &step->orelse);
        return;
    }
    case TILE_CONTRACT:
        p->group = NULL;
        type_infer(inst, &add_step(p, STEP_CONTRACT, inst)->axes);
        return;
    case TILE_REDUCE: {
        const TileType *of = &inst->args[0]->type;
        if (!scalar && of->axis[of->axis_count - 1] == inst->axis) {
            plan_elementwise(p, inst);
            return;
        }
        p->group = NULL;
        add_step(p, STEP_REDUCE, inst)->axes = inst->type;
        return;
    }
    case TILE_STORE: {
        TileType axes = loop_axes(inst);
        if (axes.axis_count)
            break;
        p->group = NULL; /* one thread writes */
        add_step(p, STEP_GROUP, inst)->axes = axes;
        return;
    }
    case TILE_SET:
        if (inst->target->type.axis_count)
            break;
        p->group = NULL; /* the loop at hand may read the old value */
        add_step(p, STEP_SCALAR, inst);
        return;
    default: break;
    }
    if (!scalar) {
        plan_elementwise(p, inst);
        return;
    }
    if (inst->op == TILE_LOAD && plan->stored[inst->tensor])
        p->group = NULL;
    add_scalar(p, inst);
}

static void plan_block(Planner *p, Block *block)
{
    for (Inst *inst = block->first; inst; inst = inst->next)
        plan_inst(p, inst);
}

static void number_steps(Step *step, int *order)
{
    for (; step; step = step->next) {
        step->order = (*order)++;
        number_steps(step->body, order);
        number_steps(step->orelse, order);
        step->end = (*order)++;
    }
}

/* Kinds -------------------------------------------------------------------------------------------------- */

/* What contractions want of their operands. */
static void mark_operands(PlainPlan *plan, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        for (int k = 0; inst->op == TILE_CONTRACT && k < 2; k++) {
            PlainValue *value = &plan->values[inst->args[k]->id];
            const TileType *type = &inst->args[k]->type;
            value->vector |= type->elem == ELEM_TYPE_F32;
            if (!plain_is_product(inst))
                continue;
            bool partial = plain_extent(plan->g, inst->axis) % 16 != 0;
            value->product = plan->products = true;
            value->zero_rows |= partial && type->axis[0] == inst->axis;
            value->zero_columns |= partial && type->axis[1] == inst->axis;
        }
        mark_operands(plan, inst->body);
        mark_operands(plan, inst->orelse);
    }
}

/* Computed from memory that nobody writes, it is the same anywhere below. */
static bool is_recomputable(const PlainPlan *plan, const Inst *value)
{
    if (value->op == TILE_VAR || (value->op == TILE_LOAD && plan->stored[value->tensor]))
        return false;
    if (plan->values[value->id].kind != PLAIN_TILE)
        return true;
    if (value->op != TILE_LOAD && value->op != TILE_MAP)
        return false;
    for (int k = 0; k < value->arg_count; k++)
        if (!is_recomputable(plan, value->args[k]))
            return false;
    return !value->guard || is_recomputable(plan, value->guard);
}

static void compute_in_place(PlainPlan *plan, const Inst *value)
{
    if (plan->values[value->id].kind != PLAIN_TILE)
        return;
    plan->values[value->id].kind = PLAIN_INLINE;
    for (int k = 0; k < value->arg_count; k++)
        compute_in_place(plan, value->args[k]);
    if (value->guard)
        compute_in_place(plan, value->guard);
}

/* The one reader of a map is the sum `reader`, and nothing changes in between. */
static bool is_for_one_sum(const PlainPlan *plan, const Inst *map, const Inst *reader)
{
    if (map->op != TILE_MAP || plan->uses[map->id] != 1 || map->parent != reader->parent)
        return false;
    for (const Inst *inst = map->next; inst && inst != reader; inst = inst->next)
        if (inst->op == TILE_SET || inst->op == TILE_FOR || inst->op == TILE_IF || inst->op == TILE_STORE ||
            (inst->op == TILE_CONTRACT && inst->target))
            return false;
    return true;
}

static void mark_sum(PlainPlan *plan, const Inst *inst)
{
    bool reduce =
        inst->op == TILE_REDUCE && inst->args[0]->type.axis[inst->args[0]->type.axis_count - 1] != inst->axis;
    bool contract = inst->op == TILE_CONTRACT && !plain_is_matrix(inst);
    for (int k = 0; (reduce || contract) && k < inst->arg_count; k++)
        if (plan->values[inst->args[k]->id].kind == PLAIN_TILE && is_for_one_sum(plan, inst->args[k], inst))
            plan->values[inst->args[k]->id].kind = PLAIN_INLINE;
    if (inst->op == TILE_CONTRACT && plain_extent(plan->g, inst->axis) > plan->long_axis &&
        is_recomputable(plan, inst->args[0]) && is_recomputable(plan, inst->args[1])) {
        compute_in_place(plan, inst->args[0]);
        compute_in_place(plan, inst->args[1]);
    }
}

static void mark_values(PlainPlan *plan, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->has_value)
            plan->values[inst->id].kind = kind_of(plan, inst);
        if (inst->op == TILE_REDUCE || inst->op == TILE_CONTRACT)
            mark_sum(plan, inst);
        mark_values(plan, inst->body);
        mark_values(plan, inst->orelse);
    }
}

static void count_uses(PlainPlan *plan, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        for (int k = 0; k < inst->arg_count; k++)
            plan->uses[inst->args[k]->id]++;
        if (inst->guard)
            plan->uses[inst->guard->id]++;
        count_uses(plan, inst->body);
        count_uses(plan, inst->orelse);
    }
}

static void note_stores(PlainPlan *plan, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->op == TILE_STORE)
            plan->stored[inst->tensor] = true;
        note_stores(plan, inst->body);
        note_stores(plan, inst->orelse);
    }
}

/* Slices of a phase ---------------------------------------------------------------------------------------
 */

typedef struct Sums {
    const CudaGen *g;
    bool over[PROGRAM_MAX_AXES], state[PROGRAM_MAX_AXES], stored[PROGRAM_MAX_TENSORS];
    bool mixed;
} Sums;

static void note_axes(Sums *s, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->op == TILE_REDUCE || inst->op == TILE_CONTRACT)
            s->over[inst->axis] = true;
        for (int a = 0; inst->op == TILE_VAR && inst->type.axis_count > 1 && a < inst->type.axis_count; a++)
            s->state[inst->type.axis[a]] = true;
        s->mixed |= inst->op == TILE_LOAD && s->stored[inst->tensor];
        note_axes(s, inst->body);
        note_axes(s, inst->orelse);
    }
}

/* A phase with no more work items than there are heads leaves most of a device idle, and one that carries a
 * state may find no room for it. An axis of the state that nothing is summed over is divided among blocks;
 * they all compute, and store, what does not have it. */
static int choose_slices(CudaGen *g, const PlainPlan *plan, int64_t slice)
{
    Sums s = {.g = g};
    for (int k = 0; k < g->phase->grid_count; k++)
        if (g->phase->grid[k].extent.size > VAR_SIZE_G || g->phase->grid[k].extent.div > 1 ||
            g->phase->grid[k].extent.size < 0) /* emitted before: divided already */
            return 1;
    memcpy(s.stored, plan->stored, sizeof s.stored);
    note_axes(&s, g->phase->body);
    for (int axis = 0; axis < g->program->axis_count && !s.mixed && g->phase->grid_count < PROGRAM_MAX_GRID;
         axis++) {
        int64_t extent = g->program->axes[axis].extent;
        if (s.over[axis] || !s.state[axis] || extent % slice != 0 || extent == slice)
            continue;
        g->slice_axis = axis;
        g->slice_extent = slice;
        return (int)(extent / slice);
    }
    return 1;
}

/* How hard to try: products over longer axes than this and states go in slices, large tiles to global memory.
 */
typedef struct Effort {
    int64_t long_axis, slice;
    bool spill;
} Effort;

static bool plan_with(CudaGen *g, PlainPlan *plan, Effort effort)
{
    *plan = (PlainPlan){.g = g,
                        .values = ARENA_ARRAY(g->arena, PlainValue, g->program->next_id),
                        .stored = ARENA_ARRAY(g->arena, bool, PROGRAM_MAX_TENSORS),
                        .uses = ARENA_ARRAY(g->arena, uint32_t, g->program->next_id),
                        .long_axis = effort.long_axis};
    note_stores(plan, g->phase->body);
    g->slice_extent = 0;
    plan->slices = choose_slices(g, plan, effort.slice);
    count_uses(plan, g->phase->body);
    mark_operands(plan, g->phase->body);
    mark_values(plan, g->phase->body);
    Planner planner = {.plan = plan, .link = &plan->steps};
    plan_block(&planner, g->phase->body);
    int order = 0;
    number_steps(plan->steps, &order);
    return plain_place(plan, effort.spill);
}

/* The workspace for tiles that shared memory has no room for: so many bytes a block. -1: too many tensors. */
static int spill_tensor(CudaGen *g, const PlainPlan *plan)
{
    Program *program = g->program;
    Tensor tensor = {.name = arena_printf(g->arena, "%s_tiles", g->phase->name),
                     .role = ROLE_WORKSPACE,
                     .elem = ELEM_TYPE_F32};
    for (int t = 0; t < program->tensor_count; t++)
        tensor.index += program->tensors[t].role == ROLE_WORKSPACE;
    for (int k = 0; k < g->phase->grid_count && k < SPEC_MAX_DIMS - 1; k++)
        tensor.extent[tensor.dim_count++] = g->phase->grid[k].extent;
    if (g->phase->grid_count > SPEC_MAX_DIMS - 1)
        return -1;
    tensor.extent[tensor.dim_count++] =
        (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = plan->slices * (plan->spill_bytes / 4)};
    return program_tensor(program, tensor);
}

bool plain_plan(CudaGen *g, PlainPlan *plan)
{
    static const Effort efforts[] = {{1024, 32, false},
                                     {PLAIN_SLICE, 32, false},
                                     {PLAIN_SLICE, 16, false},
                                     {PLAIN_SLICE, 8, false},
                                     {PLAIN_SLICE, 32, true}};
    for (size_t k = 0; k < (g->easily ? 1 : sizeof efforts / sizeof *efforts); k++)
        if (plan_with(g, plan, efforts[k])) {
            plan->spill_tensor = plan->spill_bytes ? spill_tensor(g, plan) : -1;
            if (!plan->spill_bytes || plan->spill_tensor >= 0)
                return true;
            diag_error(g->diag, SPAN_NONE, PLAIN_TOO_LARGE, "phase %s has no room for its tiles",
                       g->phase->name);
            return false;
        }
    diag_fix(g->diag,
             diag_error(g->diag, SPAN_NONE, PLAIN_TOO_LARGE,
                        "the tiles of phase %s do not fit the shared memory of a block: %d of %d bytes",
                        g->phase->name, plan->bytes, g->target->shared_bytes),
             "choose smaller ones, as in `schedule cuda { block_m = 32; block_n = 32 }`");
    return false;
}

void plain_launch(const PlainPlan *plan, KernelPhase *out)
{
    out->threads = PLAIN_THREADS;
    out->shared_bytes = plan->bytes;
    out->persistent = false;
    out->map_count = 0;
}

void plain_divide_grid(Phase *phase, int slices)
{
    if (slices < 2)
        return;
    phase->grid[phase->grid_count].name = "slice";
    phase->grid[phase->grid_count++].extent = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = slices};
}
