/* Contractions: out[x][lanes] += sum over y of a[y][lanes] * b(x, y).
 *
 * The operand that has the lane axis is read as vectors, the other one element by element, each broadcast
 * to all lanes: straight from the user's memory where it lies there. A block of x by several vectors of
 * lanes stays in registers over the whole sum: with 32 registers 6 x 4 or 12 x 2, with 16 registers 6 x 2
 * or 12 x 1. The elementwise instructions of the group work on the finished accumulators before they are
 * stored. */
#include "llvm_gen.h"

enum { BLOCK_MAX = 24 };

typedef struct Contract {
    Group *group;
    const Inst *head, *vector, *scalar;
    TileType out;
    int x, y, lane;           /* x < 0: there is none */
    int block;
    bool pairs;               /* bf16, two of y at a time */
    Point *at;                /* one a row of the block */
} Contract;

static int count_axis(const Inst *inst, int axis)
{
    return inst_has_axis(inst, axis) ? 1 : 0;
}

static void contract_plan(Gen *g, Contract *c)
{
    const Inst *a = c->head->args[0], *b = c->head->args[1];
    c->vector = count_axis(a, c->lane) ? a : b;
    c->scalar = c->vector == a ? b : a;
    c->x = -1;
    c->pairs = node_of(g, c->vector)->pair_axis == c->y;
    int best = -1;
    for (int k = 0; k < c->out.axis_count; k++) {
        int axis = c->out.axis[k];
        if (axis == c->lane)
            continue;
        int rank = (count_axis(c->scalar, axis) ? 2 : 0) + (count_axis(c->vector, axis) ? 0 : 1);
        if (rank > best || (rank == best && axis_extent(g, axis) > axis_extent(g, c->x))) {
            best = rank;
            c->x = axis;
        }
    }
}

static int register_block(const Gen *g, const Contract *c, int width)
{
    int vectors = width / g->lanes, registers = g->target->vector_registers;
    if (vectors < 1)
        vectors = 1;
    int block = registers >= 32 ? 24 / vectors : 12 / vectors;
    if (block > 12)
        block = 12;
    if (c->head->expr)
        block = block / 2 > 0 ? block / 2 : 1;
    return block;
}

static LLVMValueRef as_float(Gen *g, LLVMValueRef v, const Inst *inst)
{
    ExprType type = elem_class(inst->type.elem);
    if (type == TYPE_FLOAT)
        return v;
    LLVMTypeRef f32 = with_elem(g, v, g->f32);
    return type == TYPE_INT ? LLVMBuildSIToFP(g->b, v, f32, "") : LLVMBuildUIToFP(g->b, v, f32, "");
}

/* acc + expr(a, b) */
static LLVMValueRef accumulate(Gen *g, const Inst *head, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b,
                               int width)
{
    if (!head->expr) {
        a = splat(g, as_float(g, a, head->args[0]), width);
        b = splat(g, as_float(g, b, head->args[1]), width);
        return gen_fma(g, a, b, acc);
    }
    MapArgs args = {.value = {a, b},
                    .bounds = {plan_bounds(g, head->args[0]), plan_bounds(g, head->args[1])},
                    .count = 2};
    if (head->expr->op == EXPR_MUL) {
        LLVMValueRef x = splat(g, map_emit(g, head->expr->args[0], &args, width), width);
        return gen_fma(g, x, splat(g, map_emit(g, head->expr->args[1], &args, width), width), acc);
    }
    return LLVMBuildFAdd(g->b, acc, splat(g, map_emit(g, head->expr, &args, width), width), "");
}

static void set_coord(Contract *c, int rows, int axis, LLVMValueRef value)
{
    for (int i = 0; i < rows; i++)
        c->at[i].coord[axis] = value;
}

static LLVMValueRef start_value(Gen *g, Contract *c, Point *p)
{
    if (!c->head->target)
        return splat(g, LLVMConstReal(g->f32, 0), p->width);
    if (!c->group->before)
        return buffer_read(g, c->head->target, p);
    Point q = *p;
    return splat(g, point_eval(g, &q, c->group->before->args[0]), p->width);
}

/* The instructions of the group over the finished accumulators; reductions live in their buffers. */
static void finish_block(Gen *g, Contract *c, int rows, LLVMValueRef *acc)
{
    Group *group = c->group;
    LLVMValueRef running[GROUP_MAX] = {0};
    if (c->x >= 0) { /* what the rows share; only now, so that the sum has all registers */
        LLVMValueRef x = c->at[0].coord[c->x];
        c->at[0].coord[c->x] = NULL;
        for (int k = 0; k < group->count; k++)
            point_hoist(g, &c->at[0], group->root[k]);
        c->at[0].coord[c->x] = x;
    }
    for (int i = 1; i < rows; i++) {
        LLVMValueRef x = c->at[i].coord[c->x];
        c->at[i] = c->at[0];
        c->at[i].coord[c->x] = x;
    }
    for (int i = 0; i < rows; i++) {
        Point *p = &c->at[i];
        const Inst *result = c->head->target ? c->head->target : c->head;
        point_remember(g, p, result, false, acc[i]);
        if (c->head->target || node_of(g, c->head)->home == HOME_BUFFER)
            buffer_write(g, result, p, acc[i]);
        for (int k = 0; k < group->count; k++) {
            Inst *root = group->root[k];
            if (root->op == TILE_REDUCE && !running[k])
                running[k] =
                    reduce_step(g, root, reduce_identity(g, root, p->width), buffer_read(g, root, p));
            point_root(g, p, root, &running[k]);
        }
    }
    for (int k = 0; k < group->count; k++)
        if (group->root[k]->op == TILE_REDUCE)
            buffer_write(g, group->root[k], &c->at[0], running[k]);
}

/* One step of the sum for the whole block: next[i] = acc[i] + a * b(x + i, y). */
static void emit_sum(Gen *g, Contract *c, int rows, const LLVMValueRef *acc, LLVMValueRef *next, bool single)
{
    bool shared = c->x < 0 || !inst_has_axis(c->vector, c->x), swapped = c->vector != c->head->args[0];
    /* A table of rows along y gives the same row to the whole block. */
    bool same_row = node_of(g, c->scalar)->home == HOME_ROWS && node_of(g, c->scalar)->lane == c->x;
    LLVMValueRef v = NULL, row = NULL;
    for (int i = 0; i < rows; i++) {
        Point *p = &c->at[i];
        if (!v || !shared)
            v = point_eval(g, p, c->vector);
        if (same_row && row)
            point_remember(g, p, c->scalar, true, row);
        LLVMValueRef s = c->pairs ? pair_scalar(g, c->scalar, p, single) : point_eval(g, p, c->scalar);
        if (same_row)
            row = rows_pointer(g, c->scalar, p);
        next[i] = c->pairs ? pair_dot(g, acc[i], v, s)
                           : accumulate(g, c->head, acc[i], swapped ? s : v, swapped ? v : s, p->width);
    }
}

static void emit_rows(Gen *g, Contract *c, LLVMValueRef x0, int rows)
{
    int outer = c->at[0].memo_count, inner[BLOCK_MAX];
    LLVMValueRef acc[BLOCK_MAX];
    for (int i = 0; i < rows; i++) {
        if (i > 0)
            c->at[i] = c->at[0];
        c->at[i].memo_count = outer;
    }
    for (int i = 0; i < rows; i++) {
        Point *p = &c->at[i];
        if (c->x >= 0)
            p->coord[c->x] = LLVMBuildNSWAdd(g->b, x0, const_i64(g, i), "");
        acc[i] = start_value(g, c, p);
        point_hoist(g, p, c->head);
        inner[i] = p->memo_count;
    }
    int64_t extent = axis_extent(g, c->y), tail = 0, step = 1;
    if (c->pairs) { /* the last one alone where its pair would be past the row's end */
        step = 2;
        tail = node_of(g, c->scalar)->pair_rows ? extent % 2 : 0;
    }
    if (extent - tail > 0) {
        Loop loop = loop_begin(g, const_i64(g, 0), const_i64(g, extent - tail), step, false, acc, rows);
        set_coord(c, rows, c->y, loop.index);
        emit_sum(g, c, rows, loop.carried, acc, false);
        loop_end(g, &loop, acc);
        for (int i = 0; i < rows; i++) {
            acc[i] = loop.carried[i];
            c->at[i].memo_count = inner[i];
        }
    }
    if (tail) {
        set_coord(c, rows, c->y, const_i64(g, extent - 1));
        emit_sum(g, c, rows, acc, acc, true);
    }
    set_coord(c, rows, c->y, NULL);
    for (int i = 0; i < rows; i++)
        c->at[i].memo_count = outer;
    finish_block(g, c, rows, acc);
    c->at[0].memo_count = outer;
    if (c->x >= 0)
        c->at[0].coord[c->x] = NULL;
}

/* Fills the buffers of the group's reductions with their identities. */
static void start_reduces(Gen *g, Group *group, int width)
{
    for (int k = 0; k < group->count; k++) {
        Inst *root = group->root[k];
        if (root->op != TILE_REDUCE)
            continue;
        Point p = {.lane = group->lane, .width = width};
        Loop loops[TILE_MAX_AXES];
        for (int a = 0; a < root->type.axis_count; a++) {
            int axis = root->type.axis[a];
            loops[a] = loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, axis)),
                                  axis == group->lane ? width : 1, false, NULL, 0);
            p.coord[axis] = loops[a].index;
        }
        buffer_write(g, root, &p, reduce_identity(g, root, width));
        for (int a = root->type.axis_count - 1; a >= 0; a--)
            loop_end(g, &loops[a], NULL);
    }
}

void contract_emit(Gen *g, Group *group)
{
    Contract c = {
        .group = group, .head = group->head, .out = group->axes, .lane = group->lane, .y = group->head->axis};
    if (group->head->target
        && (group->head->args[0] == group->head->target || group->head->args[1] == group->head->target)) {
        gen_error(g, group->head, "a contraction cannot read the variable it is added to");
        return;
    }
    contract_plan(g, &c);
    int width = lane_width(g, c.lane, g->target->vector_registers >= 32 ? 4 : 2);
    c.block = register_block(g, &c, width);
    start_reduces(g, group, width);
    c.at = ARENA_ARRAY(g->arena, Point, (size_t)c.block);
    c.at[0].lane = c.lane;
    c.at[0].width = width;

    Loop loops[TILE_MAX_AXES];
    int depth = 0;
    for (int k = 0; k < c.out.axis_count; k++) {
        int axis = c.out.axis[k];
        if (axis == c.x || axis == c.lane)
            continue;
        loops[depth] = loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, axis)), 1, false, NULL, 0);
        c.at[0].coord[axis] = loops[depth++].index;
    }
    loops[depth] =
        loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, c.lane)), width, false, NULL, 0);
    c.at[0].coord[c.lane] = loops[depth++].index;

    int64_t extent = c.x < 0 ? 1 : axis_extent(g, c.x), whole = extent / c.block * c.block;
    if (whole > 0) {
        Loop blocks = loop_begin(g, const_i64(g, 0), const_i64(g, whole), c.block, false, NULL, 0);
        emit_rows(g, &c, blocks.index, c.block);
        loop_end(g, &blocks, NULL);
    }
    if (extent > whole)
        emit_rows(g, &c, const_i64(g, whole), (int)(extent - whole));
    while (depth > 0)
        loop_end(g, &loops[--depth], NULL);
}

/* A contraction to one number: lanes along the sum. */
void contract_scalar(Gen *g, Inst *contract)
{
    const Inst *a = contract->args[0], *b = contract->args[1];
    Inst sum = {.op = TILE_REDUCE, .reduce = REDUCE_SUM, .type = {.elem = ELEM_TYPE_F32}};
    Point *p = ARENA_NEW(g->arena, Point);
    p->lane = contract->axis;
    p->width = lane_width(g, contract->axis, 2);
    LLVMValueRef acc = splat(g, LLVMConstReal(g->f32, 0), p->width);
    Loop loop = loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, contract->axis)), p->width, false,
                           &acc, 1);
    p->coord[contract->axis] = loop.index;
    LLVMValueRef va = point_eval(g, p, a), vb = point_eval(g, p, b);
    LLVMValueRef next = accumulate(g, contract, loop.carried[0], va, vb, p->width), mask = tail_mask(g, p);
    if (mask)
        next = LLVMBuildSelect(g->b, mask, next, loop.carried[0], "");
    loop_end(g, &loop, &next);
    LLVMValueRef value = reduce_across(g, &sum, loop.carried[0]);
    Node *n = node_of(g, contract->target ? contract->target : contract);
    if (contract->target) {
        LLVMValueRef old = LLVMBuildLoad2(g->b, g->f32, n->base, "");
        LLVMBuildStore(g->b, LLVMBuildFAdd(g->b, old, value, ""), n->base);
    } else {
        n->base = value;
    }
}
