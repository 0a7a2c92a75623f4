/* Groups: runs of elementwise instructions that share one loop nest.
 *
 * Greedy, in the order of the block: an instruction joins the group before it when it runs over the same
 * axes with the same lanes and does not need the finished result of a reduction of that group. Scalars in
 * between do not interrupt, as long as they do not need the group. The group runs at the place of its last
 * member, so whatever might change what it reads ends it. */
#include "llvm_gen.h"

bool plan_reads(Gen *g, const Inst *inst, bool (*test)(const void *user, const Inst *read), const void *user)
{
    for (int k = 0; k <= inst->arg_count; k++) {
        const Inst *read = k < inst->arg_count ? inst->args[k] : inst->guard;
        if (!read)
            continue;
        if (test(user, read))
            return true;
        const Node *n = node_of(g, read);
        if (n->home == HOME_INLINE && plan_reads(g, read, test, user))
            return true;
    }
    return false;
}

typedef struct GroupTest { Gen *g; const Group *group; } GroupTest;

static bool in_group(const Group *group, const Inst *inst)
{
    for (int k = 0; k < group->count; k++)
        if (group->root[k] == inst || (group->root[k]->target && group->root[k]->target == inst))
            return true;
    return group->head == inst || (group->head && group->head->target && group->head->target == inst);
}

static bool test_made_here(const void *user, const Inst *read)
{
    const GroupTest *t = user;
    return in_group(t->group, read);
}

static bool test_needs_whole(const void *user, const Inst *read)
{
    const GroupTest *t = user;
    return in_group(t->group, read) && !same_axes(&read->type, &t->group->axes);
}

/* Loads from a tensor that the group stores to. */
static bool test_reads_store(const void *user, const Inst *read)
{
    const GroupTest *t = user;
    if (read->op != TILE_LOAD)
        return false;
    for (int k = 0; k < t->group->count; k++)
        if (t->group->root[k]->op == TILE_STORE && t->group->root[k]->tensor == read->tensor)
            return true;
    return false;
}

static bool is_root(Gen *g, const Inst *inst)
{
    int unit;
    switch (inst->op) {
    case TILE_MAP:
        return node_of(g, inst)->home == HOME_BUFFER;
    case TILE_LOAD:
        return node_of(g, inst)->home == HOME_BUFFER && !plan_transposes(g, inst, &unit);
    case TILE_VAR:
        return inst->type.axis_count > 0;
    case TILE_SET:
        return inst->target->type.axis_count > 0;
    case TILE_REDUCE:
        return node_of(g, inst)->home != HOME_NONE;
    case TILE_STORE:
        return plan_space(inst).axis_count > 0 && !plan_transposes(g, inst, &unit);
    default:
        return false;
    }
}

static int root_lane(Gen *g, const Inst *inst)
{
    TileType space = plan_space(inst);
    const Inst *lead = inst;
    if (inst->op == TILE_SET)
        lead = inst->target;
    else if (inst->op == TILE_REDUCE)
        lead = inst->args[0];
    else if (inst->op == TILE_STORE)
        lead = inst->args[inst->arg_count - 1];
    if (g->lane_axis >= 0 && type_has_axis(&space, g->lane_axis))
        return g->lane_axis;
    if (inst->op == TILE_STORE && plan_unit_axis(g, inst) >= 0)
        return plan_unit_axis(g, inst);
    int lane = node_of(g, lead)->lane;
    return lane >= 0 ? lane : plan_lane_of_type(g, &space);
}

/* Vector instructions, roughly. */
static int op_cost(const Expr *e)
{
    switch (e->op) {
    case EXPR_EXP: case EXPR_EXP2: return 12;
    case EXPR_LOG: case EXPR_LOG2: case EXPR_TANH: case EXPR_SIGMOID: case EXPR_LOG1P: return 24;
    case EXPR_ERF: case EXPR_SIN: case EXPR_COS: return 40;
    case EXPR_POW: return e->type == TYPE_FLOAT && e->args[1]->op == EXPR_FLOAT ? 4 : 80;
    case EXPR_DIV: case EXPR_MOD: return e->type == TYPE_INT ? 12 : 4;
    default: return !expr_op_info[e->op].leaf;
    }
}

enum { COST_LIMIT = 24 }; /* of what works on accumulators: it is unrolled for every row of the block */

static int expr_work(const Expr *e)
{
    int cost = op_cost(e);
    for (int k = 0; k < e->arity && cost <= COST_LIMIT; k++)
        cost += expr_work(e->args[k]);
    return cost;
}

static int inst_work(Gen *g, const Inst *inst)
{
    int cost = inst->op == TILE_MAP     ? expr_work(inst->expr)
               : inst->op == TILE_LOAD  ? 16
               : inst->op == TILE_STORE ? 8
                                        : 1;
    for (int k = 0; k <= inst->arg_count && cost <= COST_LIMIT; k++) {
        const Inst *read = k < inst->arg_count ? inst->args[k] : inst->guard;
        if (read && node_of(g, read)->home == HOME_INLINE)
            cost += inst_work(g, read);
    }
    return cost;
}

static int group_work(Gen *g, const Group *group)
{
    int cost = 0;
    for (int k = 0; k < group->count && cost <= COST_LIMIT; k++)
        cost += inst_work(g, group->root[k]);
    return cost;
}

static bool may_join(Gen *g, const Group *group, const Inst *inst)
{
    TileType space = plan_space(inst);
    GroupTest test = {g, group};
    if (group->count == GROUP_MAX || !same_axes(&space, &group->axes) || root_lane(g, inst) != group->lane)
        return false;
    if (group->head && group_work(g, group) + inst_work(g, inst) > COST_LIMIT)
        return false;
    if (plan_reads(g, inst, test_needs_whole, &test) || plan_reads(g, inst, test_reads_store, &test))
        return false;
    if (inst->op == TILE_LOAD && test_reads_store(&test, inst))
        return false;
    if (inst->op == TILE_STORE)
        for (int k = 0; k < group->count; k++) /* the group's loads come at their own points */
            if (group->root[k]->op != TILE_STORE
                && plan_reads(g, group->root[k], test_reads_store,
                              &(GroupTest){g, &(Group){.root = {(Inst *)inst}, .count = 1}}))
                return false;
    int pair = node_of(g, inst)->pair_axis;
    if (pair >= 0 && (group->head || (group->pair_axis >= 0 && group->pair_axis != pair)))
        return false;
    if (inst->op == TILE_REDUCE) {
        if (group->reduce_axis >= 0 && group->reduce_axis != inst->axis)
            return false;
        if (group->head && inst->axis == group->lane)
            return false;
    }
    return true;
}

static void add_root(Gen *g, Group *group, Inst *inst)
{
    group->root[group->count++] = inst;
    if (node_of(g, inst)->pair_axis >= 0)
        group->pair_axis = node_of(g, inst)->pair_axis;
    if (inst->op == TILE_REDUCE)
        group->reduce_axis = inst->axis;
    node_of(g, inst)->group = group->ordinal;
}

/* What an earlier group could not know, or might have known another value of. */
static bool test_unknown(const void *user, const Inst *read)
{
    const GroupTest *t = user;
    const Node *n = node_of(t->g, read);
    if (read->op == TILE_VAR || (read->op == TILE_LOAD && n->home == HOME_INLINE))
        return true;
    if (in_group(t->group, read))
        return false;
    return n->position > t->group->last || (n->group >= 0 && t->g->groups[n->group].last > t->group->last);
}

/* A map whose operands were all known to an earlier group of the block runs with it, and finds them in
 * registers. */
static bool join_earlier(Gen *g, const Block *block, int first, Inst *inst)
{
    for (int k = g->group_count - 1; k >= first && inst->op == TILE_MAP; k--) {
        Group *group = &g->groups[k];
        const Inst *member = group->head ? group->head : group->root[0];
        GroupTest test = {g, group};
        if (member->parent != block || !plan_reads(g, inst, test_made_here, &test)
            || !may_join(g, group, inst) || plan_reads(g, inst, test_unknown, &test))
            continue;
        add_root(g, group, inst);
        return true;
    }
    return false;
}

static Group *open_group(Gen *g, Inst *inst, TileType axes, int lane)
{
    if (g->group_count == g->group_capacity) {
        int room = g->group_capacity ? g->group_capacity * 2 : 16;
        g->groups = arena_grow(g->arena, g->groups, (size_t)g->group_count, (size_t)room, sizeof *g->groups);
        g->group_capacity = room;
    }
    Group *group = &g->groups[g->group_count];
    int position = node_of(g, inst)->position;
    *group = (Group){.axes = axes,
                     .reduce_axis = -1,
                     .pair_axis = -1,
                     .lane = lane,
                     .ordinal = g->group_count++,
                     .first = position,
                     .last = position};
    return group;
}

/* A group of nothing but `set acc = ...` runs on the way of the contraction into acc that follows. */
static bool is_preparation(Gen *g, const Group *group, const Inst *contract)
{
    GroupTest test = {g, group};
    return group && !group->head && group->count == 1 && group->root[0]->op == TILE_SET
           && group->root[0]->target == contract->target && contract->target
           && !plan_reads(g, contract, test_made_here, &test) && contract->args[0] != contract->target
           && contract->args[1] != contract->target;
}

/* An instruction that is no root: whether the open group may stay open across it. */
static bool may_pass(Gen *g, const Group *group, const Inst *inst)
{
    GroupTest test = {g, group};
    if (inst->op == TILE_FOR || inst->op == TILE_IF || inst->op == TILE_CONTRACT || inst->op == TILE_SET
        || inst->op == TILE_STORE)
        return false;
    if (inst->op == TILE_LOAD && test_reads_store(&test, inst))
        return false;
    return node_of(g, inst)->home == HOME_INLINE || node_of(g, inst)->home == HOME_NONE
           || !plan_reads(g, inst, test_made_here, &test);
}

/* Whether every reader of the value is in the group, directly or through values computed in place. */
static bool read_only_by(Gen *g, const Group *group, const Inst *inst)
{
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *user = g->order[k];
        bool reads = user->guard == inst;
        for (int a = 0; a < user->arg_count; a++)
            reads = reads || user->args[a] == inst;
        if (!reads)
            continue;
        const Node *n = node_of(g, user);
        bool member = n->group == group->ordinal && user != group->head;
        if (!member && !(n->home == HOME_INLINE && read_only_by(g, group, user)))
            return false;
    }
    return true;
}

static void keep_in_registers(Gen *g, Group *group)
{
    for (int k = -1; k < group->count; k++) {
        Inst *inst = k < 0 ? group->head : group->root[k];
        if (inst && inst->op != TILE_REDUCE && inst->op != TILE_VAR && node_of(g, inst)->home == HOME_BUFFER
            && read_only_by(g, group, inst))
            node_of(g, inst)->home = HOME_REGISTER;
    }
}

void plan_groups(Gen *g, const Block *block)
{
    int open = -1, first = g->group_count;
    for (Inst *inst = block->first; inst; inst = inst->next) {
        Group *group = open >= 0 ? &g->groups[open] : NULL;
        if (inst->op == TILE_CONTRACT && (node_of(g, inst)->home != HOME_NONE || inst->target)) {
            TileType out = plan_space(inst);
            if (out.axis_count == 0) {
                open = -1;
                continue;
            }
            if (is_preparation(g, group, inst)) {
                group->before = group->root[0];
                group->count = 0;
            } else {
                group = open_group(g, inst, out,
                                   inst->target ? node_of(g, inst->target)->lane : node_of(g, inst)->lane);
            }
            group->head = inst;
            group->last = node_of(g, inst)->position;
            node_of(g, inst)->group = open = group->ordinal;
        } else if (is_root(g, inst)) {
            if (!group || !may_join(g, group, inst)) {
                if (join_earlier(g, block, first, inst))
                    continue;
                group = open_group(g, inst, plan_space(inst), root_lane(g, inst));
            }
            add_root(g, group, inst);
            group->last = node_of(g, inst)->position;
            open = group->ordinal;
        } else if (group && !may_pass(g, group, inst)) {
            open = -1;
        }
        if (inst->body) {
            plan_groups(g, inst->body);
            if (inst->orelse)
                plan_groups(g, inst->orelse);
            open = -1;
        }
    }
    for (int k = first; k < g->group_count; k++)
        keep_in_registers(g, &g->groups[k]);
}
