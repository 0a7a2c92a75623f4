/* The plan of a phase: for every instruction where its value lives, along which axis its lanes run, how
 * long it is needed, and what bounds its ints have.
 *
 * Lanes. One axis of the phase is the main lane axis: the one that most contraction work has in its result
 * and in exactly one operand (queries "m" in a forward pass), so that the other operand is read as scalars
 * from where it lies. Tiles without it take the axis that is contiguous in memory, or the next best. */
#include "llvm_gen.h"

Node *node_of(const Gen *g, const Inst *inst)
{
    return &g->nodes[inst->id];
}

Node *node_home(Node *n)
{
    return n->alias ? n->alias : n;
}

bool same_axes(const TileType *a, const TileType *b)
{
    if (a->axis_count != b->axis_count)
        return false;
    for (int k = 0; k < a->axis_count; k++)
        if (a->axis[k] != b->axis[k])
            return false;
    return true;
}

static void join_axes(TileType *into, const TileType *more)
{
    for (int k = 0; k < more->axis_count; k++)
        type_add_axis(into, more->axis[k]);
}

TileType plan_space(const Inst *inst)
{
    TileType space = inst->type;
    switch (inst->op) {
    case TILE_SET:
        return inst->target->type;
    case TILE_CONTRACT:
        return inst->target ? inst->target->type : inst->type;
    case TILE_STORE:
        space.axis_count = 0;
        for (int k = 0; k < inst->arg_count; k++)
            join_axes(&space, &inst->args[k]->type);
        if (inst->guard)
            join_axes(&space, &inst->guard->type);
        return space;
    case TILE_REDUCE:
        space = inst->args[0]->type;
        type_add_axis(&space, inst->axis);
        return space;
    default:
        return space;
    }
}

/* Order and uses --------------------------------------------------------------------------------------- */

static void number_block(Gen *g, const Block *block, int depth)
{
    for (Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        Node *n = node_of(g, inst);
        *n = (Node){.inst = inst,
                    .position = g->inst_count,
                    .last_use = g->inst_count,
                    .depth = depth,
                    .lane = -1,
                    .pair_axis = -1,
                    .group = -1,
                    .offset = -1};
        g->order[g->inst_count++] = inst;
        number_block(g, inst->body, depth + (inst->op == TILE_FOR));
        number_block(g, inst->orelse, depth);
        if (inst->op == TILE_FOR)
            n->last_use = g->inst_count - 1; /* the loop's end, for now */
    }
}

/* Position up to which a value defined at `def` is needed when read at `use`: the end of the outermost loop
 * that is around the use and not around the definition. */
static int need_until(Gen *g, const Inst *def, const Inst *use)
{
    int until = node_of(g, use)->position;
    for (const Inst *owner = use->parent->owner; owner; owner = owner->parent->owner) {
        if (node_of(g, owner)->position < node_of(g, def)->position)
            break;
        if (owner->op == TILE_FOR && node_of(g, owner)->last_use > until)
            until = node_of(g, owner)->last_use;
    }
    return until;
}

static void note_use(Gen *g, const Inst *def, const Inst *use)
{
    Node *n = node_of(g, def);
    n->use_count++;
    if (def->op == TILE_FOR)
        return; /* scalars have no memory; keeps the loop's end */
    int until = need_until(g, def, use);
    if (n->last_use < until)
        n->last_use = until;
}

static void note_uses(Gen *g)
{
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *inst = g->order[k];
        for (int a = 0; a < inst->arg_count; a++)
            note_use(g, inst->args[a], inst);
        if (inst->guard)
            note_use(g, inst->guard, inst);
        if (inst->target)
            note_use(g, inst->target, inst);
    }
}

/* A value computed in place is needed, with all it reads, wherever it is used. */
static void stretch_inline(Gen *g)
{
    for (int k = g->inst_count - 1; k >= 0; k--) {
        const Inst *inst = g->order[k];
        const Node *n = node_of(g, inst);
        if (n->home != HOME_INLINE && n->home != HOME_REGISTER)
            continue;
        /* What exists only in its group reads only there. */
        int until = n->home == HOME_REGISTER ? g->groups[n->group].last : n->last_use;
        for (int a = 0; a <= inst->arg_count; a++) {
            const Inst *read = a < inst->arg_count ? inst->args[a] : inst->guard;
            if (read && node_of(g, read)->last_use < until)
                node_of(g, read)->last_use = until;
        }
    }
}

/* Bounds ----------------------------------------------------------------------------------------------- */

static Bounds compute_bounds(Gen *g, const Inst *inst)
{
    enum { LIMIT = 1 << 30 };
    switch (inst->op) {
    case TILE_INDEX:
        return (Bounds){0, axis_extent(g, inst->axis) > 0 ? axis_extent(g, inst->axis) - 1 : 0};
    case TILE_GRID:
    case TILE_SEQ:
        return (Bounds){0, LIMIT};
    case TILE_FOR: {
        Bounds lo = plan_bounds(g, inst->args[0]), hi = plan_bounds(g, inst->args[1]);
        return lo.lo == INT64_MIN || hi.hi == INT64_MAX ? BOUNDS_ALL : (Bounds){lo.lo, hi.hi};
    }
    case TILE_MAP: {
        Bounds args[INST_MAX_ARGS];
        for (int k = 0; k < inst->arg_count; k++)
            args[k] = plan_bounds(g, inst->args[k]);
        return map_bounds(g, inst->expr, args, inst->arg_count);
    }
    case TILE_LOAD:
        if (g->program->tensors[inst->tensor].elem == ELEM_TYPE_I32)
            return (Bounds){INT32_MIN, INT32_MAX};
        return BOUNDS_ALL;
    case TILE_REDUCE:
        if ((inst->reduce == REDUCE_MAX || inst->reduce == REDUCE_MIN) && axis_extent(g, inst->axis) > 0)
            return plan_bounds(g, inst->args[0]);
        return BOUNDS_ALL;
    default:
        return BOUNDS_ALL;
    }
}

Bounds plan_bounds(Gen *g, const Inst *inst)
{
    Node *n = node_of(g, inst);
    if (elem_class(inst->type.elem) != TYPE_INT)
        return BOUNDS_ALL;
    if (!n->has_bounds) {
        n->bounds = compute_bounds(g, inst);
        n->has_bounds = true;
    }
    return n->bounds;
}

/* Lanes ------------------------------------------------------------------------------------------------ */

static double lane_fill(const Gen *g, int axis)
{
    return (double)axis_extent(g, axis)
           / (double)((axis_extent(g, axis) + g->lanes - 1) / g->lanes * g->lanes);
}

static void score_lanes(Gen *g)
{
    for (int a = 0; a < PROGRAM_MAX_AXES; a++)
        g->lane_score[a] = 0;
    bool contracts = false;
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *inst = g->order[k];
        double weight = 1;
        for (int d = 0; d < node_of(g, inst)->depth; d++)
            weight *= 8;
        if (inst->op == TILE_CONTRACT) {
            contracts = true;
            TileType out = plan_space(inst);
            g->lane_score[inst->axis] -= weight;
            for (int a = 0; a < out.axis_count; a++) {
                int axis = out.axis[a];
                bool both = inst_has_axis(inst->args[0], axis) && inst_has_axis(inst->args[1], axis);
                g->lane_score[axis] += weight * lane_fill(g, axis) * (both ? 0.5 : 1);
            }
        } else if (inst->op == TILE_REDUCE) {
            g->lane_score[inst->axis] -= weight * 0.25;
        } else if (inst->op == TILE_LOAD) {
            int unit = plan_unit_axis(g, inst);
            for (int a = 0; a < inst->type.axis_count && inst->type.axis_count > 1; a++)
                if (inst->type.axis[a] != unit)
                    g->lane_score[inst->type.axis[a]] -= weight * 0.5;
        }
    }
    g->lane_axis = -1;
    for (int a = 0; a < g->program->axis_count && contracts; a++)
        if (g->lane_score[a] > 0 && (g->lane_axis < 0 || g->lane_score[a] > g->lane_score[g->lane_axis]))
            g->lane_axis = a;
}

int plan_lane_of_type(Gen *g, const TileType *type)
{
    int best = -1;
    if (g->lane_axis >= 0 && type_has_axis(type, g->lane_axis))
        return g->lane_axis;
    for (int k = 0; k < type->axis_count; k++) {
        int axis = type->axis[k];
        double fill = lane_fill(g, axis);
        if (best < 0 || g->lane_score[axis] + fill >= g->lane_score[best] + lane_fill(g, best))
            best = axis;
    }
    return best;
}

/* The lanes of a product that reads the tile as vectors, -1: none does. */
static int lane_of_product(Gen *g, const Inst *inst)
{
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *user = g->order[k];
        if (user->op != TILE_CONTRACT || (user->args[0] != inst && user->args[1] != inst))
            continue;
        TileType out = plan_space(user);
        int lane = plan_lane_of_type(g, &out);
        if (lane >= 0 && inst_has_axis(inst, lane))
            return lane;
    }
    return -1;
}

static int choose_lane(Gen *g, const Inst *inst)
{
    TileType space = plan_space(inst);
    if (inst->op == TILE_REDUCE || inst->op == TILE_STORE || inst->op == TILE_SET)
        space = inst->type;
    if (space.axis_count == 0)
        return -1;
    if (g->lane_axis >= 0 && type_has_axis(&space, g->lane_axis))
        return g->lane_axis;
    if (inst->op == TILE_LOAD) {
        int unit = plan_unit_axis(g, inst), lane = lane_of_product(g, inst);
        if (lane >= 0)
            return lane;
        if (unit >= 0)
            return unit;
    }
    for (int k = 0; k < inst->arg_count; k++)
        if (same_axes(&inst->args[k]->type, &space) && inst->args[k]->op != TILE_INDEX
            && node_of(g, inst->args[k])->lane >= 0)
            return node_of(g, inst->args[k])->lane;
    return plan_lane_of_type(g, &space);
}

bool plan_transposes(Gen *g, const Inst *inst, int *unit)
{
    TileType space = plan_space(inst);
    int u = plan_unit_axis(g, inst);
    ElemType elem = g->program->tensors[inst->tensor].elem;
    const Inst *value = inst->op == TILE_STORE ? inst->args[inst->arg_count - 1] : inst;
    int lane = plan_lane_of_type(g, &space);
    if (inst->op == TILE_LOAD)
        lane = node_of(g, inst)->lane;
    else if (node_of(g, value)->lane >= 0 && same_axes(&value->type, &space))
        lane = node_of(g, value)->lane;
    if (u < 0 || lane < 0 || u == lane || elem == ELEM_TYPE_I64 || elem == ELEM_TYPE_BOOL)
        return false;
    if ((inst->guard && inst_has_axis(inst->guard, u)) || axis_extent(g, lane) < g->lanes)
        return false;
    *unit = u;
    return true;
}

/* Homes ------------------------------------------------------------------------------------------------ */

static int expr_cost(const Expr *e)
{
    int cost = !expr_op_info[e->op].leaf;
    for (int k = 0; k < e->arity && cost < 64; k++)
        cost += expr_cost(e->args[k]);
    return cost;
}

static bool is_contract_operand(Gen *g, const Inst *inst)
{
    for (int k = 0; k < g->inst_count; k++)
        if (g->order[k]->op == TILE_CONTRACT
            && (g->order[k]->args[0] == inst || g->order[k]->args[1] == inst))
            return true;
    return false;
}

static const Inst *only_user(Gen *g, const Inst *inst)
{
    const Inst *user = NULL;
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *u = g->order[k];
        bool reads = u->guard == inst || u->target == inst;
        for (int a = 0; a < u->arg_count; a++)
            reads = reads || u->args[a] == inst;
        if (reads) {
            if (user)
                return NULL;
            user = u;
        }
    }
    return user;
}

static bool block_changes(const Block *block, const Inst *var, int tensor)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next)
        if ((var && inst->target == var) || (inst->op == TILE_STORE && inst->tensor == tensor)
            || block_changes(inst->body, var, tensor) || block_changes(inst->orelse, var, tensor))
            return true;
    return false;
}

/* Whether a var or tensor that `inst` reads changes between it and its use further down in the same block. */
static bool changes_before(Gen *g, const Inst *inst, const Inst *use)
{
    int tensor = inst->op == TILE_LOAD ? inst->tensor : -1;
    for (const Inst *at = inst->next; at && at != use; at = at->next) {
        if (at->op == TILE_STORE && at->tensor == tensor)
            return true;
        if (block_changes(at->body, NULL, tensor) || block_changes(at->orelse, NULL, tensor))
            return true;
        for (int k = 0; k <= inst->arg_count; k++) {
            const Inst *read = k < inst->arg_count ? inst->args[k] : inst->guard;
            if (read && read->op == TILE_VAR
                && (at->target == read || block_changes(at->body, read, -1)
                    || block_changes(at->orelse, read, -1)))
                return true;
        }
    }
    for (int k = 0; k <= inst->arg_count; k++) { /* what is computed in place here moves down with it */
        const Inst *read = k < inst->arg_count ? inst->args[k] : inst->guard;
        if (read && read->type.axis_count && node_of(g, read)->home == HOME_INLINE
            && read->parent == use->parent && changes_before(g, read, use))
            return true;
    }
    return false;
}

static bool reads_var(const Inst *inst)
{
    for (int k = 0; k < inst->arg_count; k++)
        if (inst->args[k]->op == TILE_VAR)
            return true;
    return false;
}

/* Maps of ints and bools that cost less than to read them from memory. */
static bool is_cheap(Gen *g, const Inst *inst)
{
    if (inst->op != TILE_MAP || elem_class(inst->type.elem) == TYPE_FLOAT || expr_cost(inst->expr) > 6
        || reads_var(inst))
        return false;
    for (int k = 0; k < inst->arg_count; k++) {
        const Node *n = node_of(g, inst->args[k]);
        if (elem_class(inst->args[k]->type.elem) == TYPE_FLOAT && inst->args[k]->type.axis_count)
            return false;
        if (n->home == HOME_INLINE && inst->args[k]->op == TILE_LOAD)
            return false;
    }
    return true;
}

static bool can_be_rows(Gen *g, const Inst *load)
{
    const Node *n = node_of(g, load);
    int unit = plan_unit_axis(g, load);
    if (n->pair_rows)
        return true;
    if (unit < 0 || !plan_is_dense(g, load) || unit != n->lane || load->type.axis_count < 1
        || g->program->tensors[load->tensor].elem != ELEM_TYPE_F32)
        return false;
    return !(load->guard && inst_has_axis(load->guard, unit));
}

static Home choose_home(Gen *g, Inst *inst)
{
    Node *n = node_of(g, inst);
    if (!inst->has_value || (n->use_count == 0 && inst->op != TILE_VAR))
        return HOME_NONE;
    if (inst->type.axis_count == 0)
        return HOME_SCALAR;
    switch (inst->op) {
    case TILE_INDEX:
        return HOME_INLINE;
    case TILE_VAR:
    case TILE_REDUCE:
    case TILE_CONTRACT:
        return HOME_BUFFER;
    default:
        break;
    }
    if (is_contract_operand(g, inst))
        return inst->op == TILE_LOAD && can_be_rows(g, inst) ? HOME_ROWS : HOME_BUFFER;
    if (is_cheap(g, inst))
        return HOME_INLINE;
    int unit;
    if (inst->op == TILE_LOAD && plan_transposes(g, inst, &unit))
        return HOME_BUFFER;
    const Inst *user = only_user(g, inst);
    if (user && user->parent == inst->parent && user->op != TILE_FOR && user->op != TILE_IF) {
        TileType space = plan_space(user);
        bool stands_alone =
            (user->op == TILE_LOAD || user->op == TILE_STORE) && plan_transposes(g, user, &unit);
        bool index_of_rows = user->op == TILE_LOAD && inst->op == TILE_LOAD;
        if (same_axes(&space, &inst->type) && !stands_alone && !index_of_rows
            && !changes_before(g, inst, user))
            return HOME_INLINE;
    }
    return HOME_BUFFER;
}

void plan_phase(Gen *g, const Phase *phase)
{
    size_t ids = g->program->next_id;
    g->phase = phase;
    g->nodes = ARENA_ARRAY(g->arena, Node, ids);
    g->order = ARENA_ARRAY(g->arena, Inst *, ids);
    g->inst_count = 0;
    g->groups = NULL;
    g->group_count = g->group_capacity = 0;
    number_block(g, phase->body, 0);
    note_uses(g);
    score_lanes(g);
    for (int k = 0; k < g->inst_count; k++)
        node_of(g, g->order[k])->lane = choose_lane(g, g->order[k]);
    plan_pairs(g);
    for (int k = 0; k < g->inst_count; k++)
        node_of(g, g->order[k])->home = choose_home(g, g->order[k]);
    plan_groups(g, phase->body);
    stretch_inline(g);
    plan_layout(g);
}
