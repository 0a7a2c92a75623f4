/* Loop nests of elementwise groups, and evaluation at a point of one.
 *
 * Loops from outside in: the axes that are neither lanes nor reduced, then the lanes, several vectors at a
 * time, then the reduced axis with its accumulators in registers. A reduction over the lane axis
 * accumulates vectors and folds them at the end. What depends on outer loops only is computed there. */
#include "llvm_gen.h"

/* Points ----------------------------------------------------------------------------------------------- */

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
        return inst->op == TILE_VAR ? LLVMBuildLoad2(g->b, LLVMGetAllocatedType(n->base), n->base, "")
                                    : n->base;
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

/* Reductions ------------------------------------------------------------------------------------------- */

LLVMValueRef reduce_identity(Gen *g, const Inst *reduce, int width)
{
    ExprType type = elem_class(reduce->type.elem);
    LLVMValueRef v = NULL;
    switch (reduce->reduce) {
    case REDUCE_SUM: v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, 0) : const_i64(g, 0); break;
    case REDUCE_MAX:
        v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, -(double)__builtin_inf()) : const_i64(g, INT64_MIN);
        break;
    case REDUCE_MIN:
        v = type == TYPE_FLOAT ? LLVMConstReal(g->f32, (double)__builtin_inf()) : const_i64(g, INT64_MAX);
        break;
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
        better =
            real ? LLVMBuildFCmp(g->b, LLVMRealOGT, v, acc, "") : LLVMBuildICmp(g->b, LLVMIntSGT, v, acc, "");
        return LLVMBuildSelect(g->b, better, v, acc, "");
    case REDUCE_MIN:
        better =
            real ? LLVMBuildFCmp(g->b, LLVMRealOLT, v, acc, "") : LLVMBuildICmp(g->b, LLVMIntSLT, v, acc, "");
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
        LLVMValueRef low = shuffle(g, v, v, index, width / 2),
                     high = shuffle(g, v, v, index + width / 2, width / 2);
        v = reduce_step(g, reduce, low, high);
    }
    return LLVMBuildExtractElement(g->b, v, const_i64(g, 0), "");
}

/* Nests ------------------------------------------------------------------------------------------------ */

typedef struct Nest {
    Group *group;
    Inst *reduces[GROUP_MAX];
    int reduce_count;
    int axes[TILE_MAX_AXES + 1], axis_count; /* outside in */
    Point p[2];                              /* two neighbours along the pair axis, where there is one */
    int halves;                              /* of them in use */
} Nest;

static void nest_finish_reduces(Gen *g, Nest *nest, LLVMValueRef *values)
{
    bool across = nest->group->reduce_axis == nest->group->lane;
    for (int k = 0; k < nest->reduce_count; k++) {
        Inst *reduce = nest->reduces[k];
        LLVMValueRef v = values[k];
        Point q = nest->p[0];
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

/* The bf16 bits of a member kept in pairs. */
static LLVMValueRef root_bits(Gen *g, Point *p, Inst *root)
{
    LLVMValueRef bits;
    if (root->op == TILE_LOAD) {
        bits = tensor_bits(g, root, p);
    } else {
        LLVMValueRef v = splat(g, point_compute(g, p, root), p->width);
        bits = float_to_bits16(g, v, ELEM_TYPE_BF16);
    }
    return splat(g, bits, p->width);
}

static void nest_pair(Gen *g, Nest *nest, Inst *root)
{
    LLVMValueRef low = root_bits(g, &nest->p[0], root), high = NULL;
    if (nest->halves == 2)
        high = root_bits(g, &nest->p[1], root);
    buffer_write(g, root, &nest->p[0], pair_join(g, low, high));
}

static void nest_body(Gen *g, Nest *nest, LLVMValueRef *carried)
{
    bool across = nest->group->reduce_axis == nest->group->lane;
    int at = 0;
    for (int k = 0; k < nest->group->count; k++) {
        Inst *root = nest->group->root[k];
        if (node_of(g, root)->pair_axis >= 0 && node_of(g, root)->home == HOME_BUFFER) {
            nest_pair(g, nest, root);
            continue;
        }
        for (int h = 0; h < nest->halves; h++) {
            Point *p = &nest->p[h];
            if (root->op != TILE_REDUCE) {
                point_root(g, p, root, NULL);
                continue;
            }
            LLVMValueRef mask = across ? tail_mask(g, p) : NULL, before = carried[at];
            point_root(g, p, root, &carried[at]);
            if (mask)
                carried[at] = LLVMBuildSelect(g->b, mask, carried[at], before, "");
        }
        at += root->op == TILE_REDUCE;
    }
}

static void nest_level(Gen *g, Nest *nest, int level, LLVMValueRef *carried);

/* One loop over part of an axis; `values` are carried round it. */
static void nest_loop(Gen *g, Nest *nest, int level, int64_t lo, int64_t hi, int64_t step,
                      LLVMValueRef *values, int count, LLVMValueRef *carried)
{
    int axis = nest->axes[level], memo[2] = {nest->p[0].memo_count, nest->p[1].memo_count};
    if (lo >= hi)
        return;
    Loop loop = loop_begin(g, const_i64(g, lo), const_i64(g, hi), step, false, values, count);
    nest->p[0].coord[axis] = nest->p[1].coord[axis] = loop.index;
    if (axis == nest->group->pair_axis)
        nest->p[1].coord[axis] = LLVMBuildNSWAdd(g->b, loop.index, const_i64(g, 1), "");
    for (int k = 0; k < count; k++)
        values[k] = loop.carried[k];
    nest_level(g, nest, level + 1, count ? values : carried);
    for (int h = 0; h < 2; h++)
        nest->p[h].memo_count = memo[h];
    loop_end(g, &loop, values);
    for (int k = 0; k < count; k++)
        values[k] = loop.carried[k];
    nest->p[0].coord[axis] = nest->p[1].coord[axis] = NULL;
}

static void nest_level(Gen *g, Nest *nest, int level, LLVMValueRef *carried)
{
    Group *group = nest->group;
    if (level == nest->axis_count) {
        nest_body(g, nest, carried);
        return;
    }
    int axis = nest->axes[level], memo[2] = {nest->p[0].memo_count, nest->p[1].memo_count}, count = 0;
    for (int h = 0; h < nest->halves; h++)
        for (int k = 0; k < group->count; k++)
            point_hoist(g, &nest->p[h], group->root[k]);
    LLVMValueRef values[GROUP_MAX];
    if (axis == group->reduce_axis)
        for (; count < nest->reduce_count; count++)
            values[count] = reduce_identity(g, nest->reduces[count], nest->p[0].width);
    int64_t extent = axis_extent(g, axis);
    if (axis == group->pair_axis) {
        nest->halves = 2;
        nest_loop(g, nest, level, 0, extent / 2 * 2, 2, values, count, carried);
        nest->halves = 1;
        nest_loop(g, nest, level, extent / 2 * 2, extent, 2, values, count, carried);
    } else {
        nest_loop(g, nest, level, 0, extent, axis == group->lane ? nest->p[0].width : 1, values, count,
                  carried);
    }
    if (count)
        nest_finish_reduces(g, nest, values);
    for (int h = 0; h < 2; h++)
        nest->p[h].memo_count = memo[h];
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
            vectors = g->target->vector_bits == 512 ? 2 : 1;
    }
    for (int a = 0; a < group->axes.axis_count; a++)
        if (group->axes.axis[a] != group->lane && group->axes.axis[a] != group->reduce_axis)
            nest->axes[nest->axis_count++] = group->axes.axis[a];
    nest->axes[nest->axis_count++] = group->lane;
    if (group->reduce_axis >= 0 && group->reduce_axis != group->lane)
        nest->axes[nest->axis_count++] = group->reduce_axis;
    nest->halves = group->pair_axis >= 0 ? 2 : 1;
    for (int h = 0; h < 2; h++)
        nest->p[h] = (Point){
            .lane = group->lane, .width = lane_width(g, group->lane, vectors)};
    nest_level(g, nest, 0, NULL);
}
