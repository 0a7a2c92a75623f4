/* Layout: how tiles lie in memory.
 *
 * The lane axis is innermost and padded to whole vectors, so that a vector never ends inside a row of
 * lanes; the other axes follow outwards in order. Buffers whose lives do not overlap share memory, and a
 * tile computed point by point from one that dies there takes its place. */
#include "llvm_gen.h"

#include <string.h>

int64_t axis_extent(const Gen *g, int axis)
{
    return g->program->axes[axis].extent;
}

/* Lanes of one register for this axis: fewer where the axis is short. */
static int lanes_of(const Gen *g, int axis)
{
    int lanes = g->lanes;
    while (lanes > 1 && lanes / 2 >= axis_extent(g, axis))
        lanes /= 2;
    return lanes;
}

int64_t padded_extent(const Gen *g, int axis)
{
    int64_t lanes = lanes_of(g, axis), extent = axis_extent(g, axis);
    return (extent + lanes - 1) / lanes * lanes;
}

int lane_width(const Gen *g, int axis, int vectors)
{
    if (axis < 0)
        return 0;
    int lanes = lanes_of(g, axis), width = lanes;
    while (width * 2 <= lanes * vectors && padded_extent(g, axis) % (width * 2) == 0)
        width *= 2;
    return width;
}

/* Unit stride ------------------------------------------------------------------------------------------ */

enum { COEFFICIENT_UNKNOWN = INT32_MIN };

static int64_t inst_coefficient(const Inst *inst, int axis);

static int64_t expr_coefficient(const Expr *e, Inst *const *args, int axis)
{
    switch (e->op) {
    case EXPR_INT: case EXPR_PARAM: case EXPR_VAR:
        return 0;
    case EXPR_ARG:
        return inst_coefficient(args[e->index], axis);
    case EXPR_ADD: case EXPR_SUB: {
        int64_t a = expr_coefficient(e->args[0], args, axis), b = expr_coefficient(e->args[1], args, axis);
        if (a == COEFFICIENT_UNKNOWN || b == COEFFICIENT_UNKNOWN)
            return COEFFICIENT_UNKNOWN;
        return e->op == EXPR_ADD ? a + b : a - b;
    }
    default: {
        for (int k = 0; k < e->arity; k++)
            if (expr_coefficient(e->args[k], args, axis) != 0)
                return COEFFICIENT_UNKNOWN;
        return 0;
    }
    }
}

/* By how much an int changes from one index of the axis to the next. */
static int64_t inst_coefficient(const Inst *inst, int axis)
{
    if (!inst_has_axis(inst, axis))
        return 0;
    if (inst->op == TILE_INDEX)
        return 1;
    if (inst->op == TILE_MAP && inst->expr->arity <= 3)
        return expr_coefficient(inst->expr, inst->args, axis);
    return COEFFICIENT_UNKNOWN;
}

bool plan_is_dense(Gen *g, const Inst *inst)
{
    TensorRole role = g->program->tensors[inst->tensor].role;
    return role != ROLE_INPUT && role != ROLE_RETURN;
}

int plan_unit_axis(Gen *g, const Inst *inst)
{
    const Tensor *tensor = &g->program->tensors[inst->tensor];
    int dims = inst->arg_count - (inst->op == TILE_STORE);
    if (dims < 1)
        return -1;
    if (tensor->role == ROLE_RETURN)
        return -1;
    const Inst *last = inst->args[dims - 1];
    for (int a = 0; a < last->type.axis_count; a++) {
        int axis = last->type.axis[a];
        bool elsewhere = false;
        for (int k = 0; k + 1 < dims; k++)
            elsewhere = elsewhere || inst_has_axis(inst->args[k], axis);
        if (!elsewhere && inst_coefficient(last, axis) == 1)
            return axis;
    }
    return -1;
}

/* Buffers ---------------------------------------------------------------------------------------------- */

static int64_t store_bytes(ElemType store)
{
    return store == ELEM_TYPE_I64 ? 8 : store == ELEM_TYPE_BOOL ? 1 : 4;
}

static ElemType store_type(ElemType elem)
{
    if (elem == ELEM_TYPE_BOOL)
        return ELEM_TYPE_BOOL;
    return elem == ELEM_TYPE_I64 || elem == ELEM_TYPE_I32 ? ELEM_TYPE_I64 : ELEM_TYPE_F32;
}

static void lay_out(Gen *g, Node *n)
{
    const TileType *type = &n->inst->type;
    if (n->home == HOME_ROWS) { /* a table of pointers over the other axes */
        int64_t stride = 1;
        for (int a = type->axis_count - 1; a >= 0; a--)
            if (type->axis[a] != n->lane) {
                n->stride[type->axis[a]] = stride;
                stride *= padded_extent(g, type->axis[a]);
            }
        n->bytes = stride * 8;
        return;
    }
    int64_t stride = 1;
    if (n->lane >= 0) {
        n->stride[n->lane] = 1;
        stride = padded_extent(g, n->lane);
    }
    if (n->pair_axis >= 0) { /* in 32-bit elements, two neighbours each */
        n->store = ELEM_TYPE_BF16;
    } else {
        n->store = store_type(type->elem);
    }
    for (int a = type->axis_count - 1; a >= 0; a--) {
        int axis = type->axis[a];
        if (axis == n->lane)
            continue;
        int64_t extent = axis_extent(g, axis);
        n->stride[axis] = stride;
        stride *= axis == n->pair_axis ? (extent + 1) / 2 : extent;
    }
    n->bytes = stride * store_bytes(n->store);
}


static bool group_writes(const Group *group, const Inst *inst)
{
    for (int k = 0; k < group->count; k++)
        if (group->root[k] == inst || group->root[k]->target == inst)
            return true;
    return group->head && (group->head == inst || group->head->target == inst);
}

typedef struct DyingTest { Gen *g; const Group *group; Node *into; Node *found; } DyingTest;

static bool is_dying(const void *user, const Inst *read)
{
    DyingTest *t = (DyingTest *)user;
    Node *n = node_of(t->g, read), *into = t->into;
    if (n->home != HOME_BUFFER || n->alias || n->last_use > t->group->last || n->store != into->store
        || n->lane != into->lane || n->bytes != into->bytes || n->pair_axis != into->pair_axis
        || !same_axes(&read->type, &into->inst->type) || group_writes(t->group, read)
        || n->position >= t->group->first)
        return false;
    for (int k = 0; k < t->g->inst_count; k++) /* taken by another */
        if (node_of(t->g, t->g->order[k])->alias == n)
            return false;
    t->found = n;
    return true;
}

/* Lets maps take the place of an operand that dies with them. */
static void share_in_place(Gen *g)
{
    for (int k = 0; k < g->group_count; k++) {
        const Group *group = &g->groups[k];
        if (group->head)
            continue;
        for (int r = 0; r < group->count; r++) {
            const Inst *root = group->root[r];
            Node *n = node_of(g, root);
            if (root->op != TILE_MAP || n->home != HOME_BUFFER)
                continue;
            DyingTest test = {.g = g, .group = group, .into = n};
            if (plan_reads(g, root, is_dying, &test)) {
                n->alias = test.found;
                if (test.found->last_use < n->last_use)
                    test.found->last_use = n->last_use;
            }
        }
    }
}

/* Values of a group are alive during all of it. */
static void stretch_over_groups(Gen *g, int *begin)
{
    for (int k = 0; k < g->inst_count; k++)
        begin[k] = k;
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *inst = g->order[k];
        const Node *user = node_of(g, inst);
        if (user->group >= 0) {
            const Group *group = &g->groups[user->group];
            if (begin[k] > group->first)
                begin[k] = group->first;
        }
    }
    /* What is used inside a group's span is used until its end. */
    for (int k = 0; k < g->inst_count; k++) {
        Node *n = node_of(g, g->order[k]);
        for (int j = 0; j < g->group_count; j++)
            if (n->last_use >= g->groups[j].first && n->last_use < g->groups[j].last)
                n->last_use = g->groups[j].last;
    }
}

enum { STACK_LIMIT = 640 };

void plan_layout(Gen *g)
{
    for (int k = 0; k < g->inst_count; k++) {
        Node *n = node_of(g, g->order[k]);
        if (n->home == HOME_BUFFER || n->home == HOME_ROWS)
            lay_out(g, n);
    }
    int *begin = ARENA_ARRAY(g->arena, int, (size_t)g->inst_count + 1);
    stretch_over_groups(g, begin);
    share_in_place(g);
    Node **placed = ARENA_ARRAY(g->arena, Node *, (size_t)g->inst_count + 1);
    int count = 0;
    for (int k = 0; k < g->inst_count; k++) {
        Node *n = node_of(g, g->order[k]);
        if ((n->home != HOME_BUFFER && n->home != HOME_ROWS) || n->alias)
            continue;
        n->offset = -1;
        if (n->bytes <= STACK_LIMIT)
            continue;
        int64_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < count; j++) {
                const Node *o = placed[j];
                bool together = o->last_use >= begin[n->position] && n->last_use >= begin[o->position];
                if (together && at < o->offset + o->bytes && o->offset < at + n->bytes) {
                    at = (o->offset + o->bytes + 63) / 64 * 64;
                    moved = true;
                }
            }
        }
        n->offset = at;
        placed[count++] = n;
        if (g->scratch_bytes < at + n->bytes)
            g->scratch_bytes = at + n->bytes;
    }
}
