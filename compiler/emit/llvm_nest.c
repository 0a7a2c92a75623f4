/* Loop nests of elementwise groups, and evaluation at a point of one.
 *
 * Loops from outside in: the axes that are neither lanes nor reduced, then the lanes, several vectors at a time, then
 * the reduced axis with its accumulators in registers. A reduction over the lane axis accumulates vectors and folds
 * them at the end. What depends on outer loops only is computed there. */
#include "llvm_gen.h"

/* Points -------------------------------------------------------------------------------------------------------- */

LLVMValueRef point_recall(const Point *p, const Inst *inst, bool row)
{
    for (int k = p->memo_count - 1; k >= 0; k--)
        if (p->memo[k].inst == inst && p->memo[k].row == row)
            return p->memo[k].value;
    return NULL;
}

void point_remember(Gen *g, Point *p, const Inst *inst, bool row, LLVMValueRef value)
{
    for (int k = p->memo_count - 1; k >= 0; k--)
        if (p->memo[k].inst == inst && p->memo[k].row == row) {
            p->memo[k].value = value;
            return;
        }
    if (p->memo_count == POINT_MEMO) {
        gen_error(g, inst, "one loop nest needs more than %d values", POINT_MEMO);
        return;
    }
    p->memo[p->memo_count].inst = inst;
    p->memo[p->memo_count].row = row;
    p->memo[p->memo_count++].value = value;
}

Point point_scalar(const Point *p)
{
    Point q = *p;
    q.lane = -1;
    q.width = 0;
    q.memo_count = 0;
    return q;
}

static LLVMValueRef index_value(Gen *g, const Point *p, const Inst *inst)
{
    LLVMValueRef coord = p->coord[inst->axis];
    if (p->lane != inst->axis)
        return coord;
    LLVMValueRef first = splat(g, LLVMBuildTrunc(g->b, coord, g->i32, ""), p->width);
    return LLVMBuildAdd(g->b, first, lane_numbers(g, p->width, g->i32), "");
}

LLVMValueRef point_compute(Gen *g, Point *p, const Inst *inst)
{
    switch (inst->op) {
    case TILE_INDEX:
        return index_value(g, p, inst);
    case TILE_LOAD:
        return tensor_read(g, inst, p);
    case TILE_MAP: {
        MapArgs args = {.count = inst->arg_count};
        for (int k = 0; k < inst->arg_count; k++) {
            args.value[k] = point_eval(g, p, inst->args[k]);
            args.bounds[k] = plan_bounds(g, inst->args[k]);
        }
        LLVMValueRef v = map_emit(g, inst->expr, &args, p->width);
        return elem_class(inst->type.elem) == TYPE_FLOAT ? round_float(g, v, inst->type.elem) : v;
    }
    default:
        gen_error(g, inst, "'%s' cannot be computed in a loop nest", tile_op_info[inst->op].name);
        return LLVMGetPoison(g->f32);
    }
}

LLVMValueRef point_eval(Gen *g, Point *p, const Inst *inst)
{
    Node *n = node_of(g, inst);
    if (n->home == HOME_SCALAR)
        return inst->op == TILE_VAR ? LLVMBuildLoad2(g->b, LLVMGetAllocatedType(n->base), n->base, "") : n->base;
    LLVMValueRef v = point_recall(p, inst, false);
    if (v)
        return v;
    if (n->home == HOME_BUFFER)
        v = buffer_read(g, inst, p);
    else if (n->home == HOME_ROWS)
        v = rows_read(g, inst, p);
    else
        v = point_compute(g, p, inst);
    point_remember(g, p, inst, false, v);
    return v;
}

static LLVMValueRef rounded_for(Gen *g, const Inst *var, LLVMValueRef v)
{
    return elem_class(var->type.elem) == TYPE_FLOAT ? round_float(g, v, var->type.elem) : v;
}

void point_root(Gen *g, Point *p, Inst *root, LLVMValueRef *carried)
{
    LLVMValueRef v;
    switch (root->op) {
    case TILE_VAR:
    case TILE_SET: {
        const Inst *var = root->op == TILE_SET ? root->target : root;
        v = rounded_for(g, var, point_eval(g, p, root->args[0]));
        buffer_write(g, var, p, v);
        point_remember(g, p, var, false, v);
        return;
    }
    case TILE_REDUCE:
        v = point_eval(g, p, root->args[0]);
        *carried = reduce_step(g, root, *carried, v);
        return;
    case TILE_STORE:
        tensor_write(g, root, p);
        return;
    default:
        v = point_compute(g, p, root);
        point_remember(g, p, root, false, v);
        if (node_of(g, root)->home == HOME_BUFFER)
            buffer_write(g, root, p, v);
    }
}

static bool all_bound(const Point *p, const TileType *type)
{
    for (int a = 0; a < type->axis_count; a++)
        if (!p->coord[type->axis[a]])
            return false;
    return true;
}

static bool rows_bound(Gen *g, const Point *p, const Inst *inst)
{
    for (int a = 0; a < inst->type.axis_count; a++)
        if (inst->type.axis[a] != node_of(g, inst)->lane && !p->coord[inst->type.axis[a]])
            return false;
    return true;
}

void point_hoist(Gen *g, Point *p, const Inst *inst)
{
    for (int k = 0; k <= inst->arg_count; k++) {
        const Inst *read = k < inst->arg_count ? inst->args[k] : inst->guard;
        if (!read)
            continue;
        const Node *n = node_of(g, read);
        if (n->home == HOME_SCALAR)
            continue;
        if (n->home == HOME_INLINE)
            point_hoist(g, p, read);
        if (n->home == HOME_ROWS && rows_bound(g, p, read))
            rows_pointer(g, read, p);
        if (n->home != HOME_REGISTER && all_bound(p, &read->type))
            point_eval(g, p, read);
    }
}

/* Reductions ---------------------------------------------------------------------------------------------------- */

LLVMValueRef reduce_identity(Gen *g, const Inst *reduce, int width)
{
    ExprType type = elem_class(reduce->type.elem);
    LLVMValueRef v = NULL;
    switch (reduce->reduce) {
    case REDUCE_SUM: v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, 0) : const_i64(g, 0); break;
    case REDUCE_MAX: v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, -(double)__builtin_inf()) : const_i64(g, INT64_MIN); break;
    case REDUCE_MIN: v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, (double)__builtin_inf()) : const_i64(g, INT64_MAX); break;
    case REDUCE_OR: v = LLVMConstInt(g->i1, 0, false); break;
    case REDUCE_AND: v = LLVMConstInt(g->i1, 1, false); break;
    }
    return splat(g, v, width);
}

LLVMValueRef reduce_step(Gen *g, const Inst *reduce, LLVMValueRef acc, LLVMValueRef v)
{
    bool real = elem_class(reduce->type.elem) == TYPE_FLOAT;
    int width = is_vector(acc) ? (int)LLVMGetVectorSize(LLVMTypeOf(acc)) : 0;
    if (elem_class(reduce->type.elem) == TYPE_INT)
        v = width ? vector_int(g, v, 64, width) : v;
    else
        v = splat(g, v, width);
    LLVMValueRef better;
    switch (reduce->reduce) {
    case REDUCE_SUM:
        return real ? LLVMBuildFAdd(g->b, acc, v, "") : LLVMBuildAdd(g->b, acc, v, "");
    case REDUCE_MAX:
        better = real ? LLVMBuildFCmp(g->b, LLVMRealOGT, v, acc, "") : LLVMBuildICmp(g->b, LLVMIntSGT, v, acc, "");
        return LLVMBuildSelect(g->b, better, v, acc, "");
    case REDUCE_MIN:
        better = real ? LLVMBuildFCmp(g->b, LLVMRealOLT, v, acc, "") : LLVMBuildICmp(g->b, LLVMIntSLT, v, acc, "");
        return LLVMBuildSelect(g->b, better, v, acc, "");
    case REDUCE_OR:
        return LLVMBuildOr(g->b, acc, v, "");
    case REDUCE_AND:
        break;
    }
    return LLVMBuildAnd(g->b, acc, v, "");
}

LLVMValueRef reduce_across(Gen *g, const Inst *reduce, LLVMValueRef v)
{
    int width = is_vector(v) ? (int)LLVMGetVectorSize(LLVMTypeOf(v)) : 1, index[256];
    if (!is_vector(v))
        return v;
    for (; width > 1; width /= 2) {
        for (int k = 0; k < width; k++)
            index[k] = k;
        LLVMValueRef low = shuffle(g, v, v, index, width / 2), high = shuffle(g, v, v, index + width / 2, width / 2);
        v = reduce_step(g, reduce, low, high);
    }
    return LLVMBuildExtractElement(g->b, v, const_i64(g, 0), "");
}

/* Nests ---------------------------------------------------------------------------------------------------------- */

typedef struct Nest {
    Group *group;
    Inst *reduces[GROUP_MAX];
    int reduce_count;
    int axes[TILE_MAX_AXES + 1], axis_count; /* outside in */
    Point p;
} Nest;

static void nest_finish_reduces(Gen *g, Nest *nest, LLVMValueRef *values)
{
    Point *p = &nest->p;
    bool across = nest->group->reduce_axis == nest->group->lane;
    for (int k = 0; k < nest->reduce_count; k++) {
        Inst *reduce = nest->reduces[k];
        LLVMValueRef v = values[k];
        Point q = *p;
        q.coord[reduce->axis] = NULL;
        if (across) {
            v = reduce_across(g, reduce, v);
            q.lane = -1;
        }
        if (node_of(g, reduce)->home == HOME_SCALAR)
            node_of(g, reduce)->base = v;
        else
            buffer_write(g, reduce, &q, v);
    }
}

static void nest_body(Gen *g, Nest *nest, LLVMValueRef *carried)
{
    Point *p = &nest->p;
    int at = 0;
    bool across = nest->group->reduce_axis == nest->group->lane;
    for (int k = 0; k < nest->group->count; k++) {
        Inst *root = nest->group->root[k];
        if (root->op != TILE_REDUCE) {
            point_root(g, p, root, NULL);
            continue;
        }
        LLVMValueRef mask = across ? tail_mask(g, p) : NULL, before = carried[at];
        point_root(g, p, root, &carried[at]);
        if (mask)
            carried[at] = LLVMBuildSelect(g->b, mask, carried[at], before, "");
        at++;
    }
}

static void nest_level(Gen *g, Nest *nest, int level, LLVMValueRef *carried)
{
    Group *group = nest->group;
    Point *p = &nest->p;
    if (level == nest->axis_count) {
        nest_body(g, nest, carried);
        return;
    }
    int memo = p->memo_count, axis = nest->axes[level];
    for (int k = 0; k < group->count; k++)
        point_hoist(g, p, group->root[k]);
    LLVMValueRef values[GROUP_MAX];
    int count = 0;
    if (axis == group->reduce_axis)
        for (; count < nest->reduce_count; count++)
            values[count] = reduce_identity(g, nest->reduces[count], p->width);
    if (axis_extent(g, axis) > 0) {
        Loop loop = loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, axis)), axis == group->lane ? p->width : 1, false, values, count);
        p->coord[axis] = loop.index;
        int inner = p->memo_count;
        for (int k = 0; k < count; k++)
            values[k] = loop.carried[k];
        nest_level(g, nest, level + 1, count ? values : carried);
        p->memo_count = inner;
        loop_end(g, &loop, values);
        for (int k = 0; k < count; k++)
            values[k] = loop.carried[k];
    }
    p->coord[axis] = NULL;
    if (count)
        nest_finish_reduces(g, nest, values);
    p->memo_count = memo;
}

/* Lanes apart in memory cost a scalar access each: nothing is gained by taking many. */
static bool reads_apart(Gen *g, const Inst *inst, int lane)
{
    if ((inst->op == TILE_LOAD || inst->op == TILE_STORE) && plan_unit_axis(g, inst) != lane)
        return true;
    for (int k = 0; k < inst->arg_count; k++)
        if (node_of(g, inst->args[k])->home == HOME_INLINE && reads_apart(g, inst->args[k], lane))
            return true;
    return false;
}

void nest_emit(Gen *g, Group *group)
{
    Nest *nest = ARENA_NEW(g->arena, Nest);
    nest->group = group;
    int vectors = g->target->vector_registers >= 32 ? 4 : 2;
    for (int k = 0; k < group->count; k++) {
        if (group->root[k]->op == TILE_REDUCE)
            nest->reduces[nest->reduce_count++] = group->root[k];
        if (reads_apart(g, group->root[k], group->lane))
            vectors = 1;
    }
    for (int a = 0; a < group->axes.axis_count; a++)
        if (group->axes.axis[a] != group->lane && group->axes.axis[a] != group->reduce_axis)
            nest->axes[nest->axis_count++] = group->axes.axis[a];
    nest->axes[nest->axis_count++] = group->lane;
    if (group->reduce_axis >= 0 && group->reduce_axis != group->lane)
        nest->axes[nest->axis_count++] = group->reduce_axis;
    nest->p.lane = group->lane;
    nest->p.width = lane_width(g, group->lane, vectors);
    nest->p.group = group->ordinal;
    nest_level(g, nest, 0, NULL);
}
