/* Turned tiles: loads and stores whose lanes run across the tensor's rows while memory is contiguous along
 * another axis. Squares of lanes x lanes go through a small array that one shared function transposes in
 * place. */
#include "llvm_gen.h"

/* void transpose(ptr): lanes x lanes elements of 32 bits. Stage by stage, blocks of size s are exchanged
 * across the diagonal of blocks of size 2 s. */
static LLVMValueRef transposer(Gen *g)
{
    if (g->transposer)
        return g->transposer;
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->context), &g->ptr, 1, false);
    LLVMValueRef fn = LLVMAddFunction(g->module, "transpose", type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    gen_function_attributes(g, fn);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->context, fn, ""));
    int lanes = g->lanes;
    LLVMTypeRef vector = vector_of(g, g->i32, lanes);
    LLVMValueRef row[16], base = LLVMGetParam(fn, 0);
    for (int k = 0; k < lanes; k++)
        row[k] = masked_load(g, vector, address_at(g, base, g->i32, const_i64(g, k * lanes)), NULL,
                             4 * (unsigned)lanes);
    for (int s = 1; s < lanes; s *= 2) {
        int low[16], high[16];
        for (int j = 0; j < lanes; j++) {
            low[j] = j & s ? lanes + j - s : j;
            high[j] = j & s ? lanes + j : j + s;
        }
        for (int k = 0; k < lanes; k++)
            if (!(k & s)) {
                LLVMValueRef a = row[k], b = row[k + s];
                row[k] = shuffle(g, a, b, low, lanes);
                row[k + s] = shuffle(g, a, b, high, lanes);
            }
    }
    for (int k = 0; k < lanes; k++)
        masked_store(g, row[k], address_at(g, base, g->i32, const_i64(g, k * lanes)), NULL,
                     4 * (unsigned)lanes);
    LLVMBuildRetVoid(g->b);
    LLVMPositionBuilderAtEnd(g->b, from);
    return g->transposer = fn;
}

static void turn(Gen *g, LLVMValueRef square)
{
    LLVMValueRef fn = transposer(g);
    LLVMBuildCall2(g->b, LLVMGlobalGetValueType(fn), fn, &square, 1, "");
}

/* With pairs a column is two neighbours of the contiguous axis, 16 bits each. */
/* Loops around one square: every other axis, then blocks of the lane axis, then of the contiguous one. */
typedef struct Squares {
    Loop loops[TILE_MAX_AXES];
    int count, lane, unit;
    int per_column;           /* elements: 2 for pairs */
    LLVMValueRef row, column; /* first elements of the square */
    LLVMValueRef store;       /* the small array */
    Point p;
} Squares;

static Squares squares_begin(Gen *g, const Inst *inst, int unit, int lane, int per_column)
{
    TileType space = plan_space(inst);
    Squares q = {.lane = lane, .unit = unit, .per_column = per_column, .p = {.lane = -1}};
    LLVMValueRef zero = const_i64(g, 0);
    for (int a = 0; a < space.axis_count; a++) {
        int axis = space.axis[a];
        if (axis == unit || axis == lane)
            continue;
        q.loops[q.count] = loop_begin(g, zero, const_i64(g, axis_extent(g, axis)), 1, false, NULL, 0);
        q.p.coord[axis] = q.loops[q.count++].index;
    }
    q.loops[q.count] = loop_begin(g, zero, const_i64(g, axis_extent(g, lane)), g->lanes, false, NULL, 0);
    q.row = q.loops[q.count++].index;
    q.loops[q.count] = loop_begin(g, zero, const_i64(g, axis_extent(g, unit)), (int64_t)g->lanes * per_column,
                                  false, NULL, 0);
    q.column = q.loops[q.count++].index;
    q.store = gen_alloca(g, g->i32, (int64_t)g->lanes * g->lanes, 64);
    return q;
}

static void squares_end(Gen *g, Squares *q)
{
    while (q->count > 0)
        loop_end(g, &q->loops[--q->count], NULL);
}

static LLVMValueRef square_row(Gen *g, const Squares *q, LLVMValueRef k)
{
    return address_at(g, q->store, g->i32, LLVMBuildMul(g->b, k, const_i64(g, g->lanes), ""));
}

/* Rows or columns of this square that exist, `each` elements apart. */
static LLVMValueRef square_count(Gen *g, LLVMValueRef first, int axis, int each)
{
    LLVMValueRef lanes = const_i64(g, g->lanes);
    if (axis_extent(g, axis) % (g->lanes * each) == 0)
        return lanes;
    LLVMValueRef left = LLVMBuildSub(g->b, const_i64(g, axis_extent(g, axis) + each - 1), first, "");
    if (each == 2)
        left = LLVMBuildAShr(g->b, left, const_i64(g, 1), "");
    return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, left, lanes, ""), left, lanes, "");
}

/* Stands at row `row` and the square's first column; mask: the columns that exist. */
static LLVMValueRef stand_at_row(Gen *g, Squares *q, LLVMValueRef row)
{
    q->p.memo_count = 0;
    q->p.coord[q->lane] = LLVMBuildAdd(g->b, q->row, row, "");
    q->p.coord[q->unit] = q->column;
    Point columns = {.lane = q->unit, .width = g->lanes * q->per_column};
    columns.coord[q->unit] = q->column;
    return tail_mask(g, &columns);
}

void transpose_load(Gen *g, Inst *load, int unit)
{
    Node *n = node_of(g, load);
    ElemType elem = g->program->tensors[load->tensor].elem;
    LLVMTypeRef lanes_i32 = vector_of(g, g->i32, g->lanes);
    int each = n->pair_axis == unit ? 2 : 1;
    Squares q = squares_begin(g, load, unit, n->lane, each);

    LLVMValueRef zero = const_i64(g, 0);
    Loop rows = loop_begin(g, zero, const_i64(g, g->lanes), 1, false, NULL, 0);
    LLVMValueRef mask = stand_at_row(g, &q, rows.index);
    LLVMValueRef exists =
        LLVMBuildICmp(g->b, LLVMIntSLT, q.p.coord[n->lane], const_i64(g, axis_extent(g, n->lane)), "");
    if (load->guard)
        exists = LLVMBuildAnd(g->b, exists, point_eval(g, &q.p, load->guard), "");
    LLVMValueRef address = tensor_address(g, load, &q.p);
    if (plan_is_dense(g, load)) { /* a row of zeros is as good as a mask; with strides it is not */
        address = LLVMBuildSelect(g->b, exists, address, g->zero_row, "");
    } else {
        exists = splat(g, exists, g->lanes * each);
        mask = mask ? LLVMBuildAnd(g->b, mask, exists, "") : exists;
    }
    LLVMValueRef v = tensor_run(g, load, vector_of(g, elem_llvm(g, elem), g->lanes * each), address, mask);
    v = LLVMBuildBitCast(g->b, each == 2 ? v : tensor_decode(g, v, elem), lanes_i32, "");
    masked_store(g, v, square_row(g, &q, rows.index), NULL, 4 * (unsigned)g->lanes);
    loop_end(g, &rows, NULL);

    turn(g, q.store);
    Loop columns = loop_begin(g, zero, square_count(g, q.column, unit, each), 1, false, NULL, 0);
    Point p = q.p;
    p.memo_count = 0;
    p.lane = n->lane;
    p.width = g->lanes;
    p.coord[n->lane] = q.row;
    p.coord[unit] =
        LLVMBuildAdd(g->b, q.column, LLVMBuildMul(g->b, columns.index, const_i64(g, each), ""), "");
    v = masked_load(g, lanes_i32, square_row(g, &q, columns.index), NULL, 4 * (unsigned)g->lanes);
    if (elem != ELEM_TYPE_I32 && each == 1)
        v = LLVMBuildBitCast(g->b, v, vector_of(g, g->f32, g->lanes), "");
    buffer_write(g, load, &p, v);
    loop_end(g, &columns, NULL);
    squares_end(g, &q);
}

void transpose_store(Gen *g, Inst *store, int unit)
{
    const Inst *value = store->args[store->arg_count - 1];
    TileType space = plan_space(store);
    ElemType elem = g->program->tensors[store->tensor].elem;
    LLVMTypeRef lanes_i32 = vector_of(g, g->i32, g->lanes);
    int lane = node_of(g, value)->lane >= 0 && same_axes(&value->type, &space) ? node_of(g, value)->lane
                                                                               : plan_lane_of_type(g, &space);
    Squares q = squares_begin(g, store, unit, lane, 1);

    LLVMValueRef zero = const_i64(g, 0);
    Loop columns = loop_begin(g, zero, square_count(g, q.column, unit, 1), 1, false, NULL, 0);
    Point p = q.p;
    p.lane = lane;
    p.width = g->lanes;
    p.coord[lane] = q.row;
    p.coord[unit] = LLVMBuildAdd(g->b, q.column, columns.index, "");
    LLVMValueRef v = point_eval(g, &p, value);
    if (elem == ELEM_TYPE_I32)
        v = vector_int(g, v, 32, g->lanes);
    v = LLVMBuildBitCast(g->b, splat(g, v, g->lanes), lanes_i32, "");
    masked_store(g, v, square_row(g, &q, columns.index), NULL, 4 * (unsigned)g->lanes);
    loop_end(g, &columns, NULL);

    turn(g, q.store);
    Loop rows = loop_begin(g, zero, square_count(g, q.row, lane, 1), 1, false, NULL, 0);
    LLVMValueRef mask = stand_at_row(g, &q, rows.index);
    LLVMBasicBlockRef after = NULL;
    if (store->guard) {
        LLVMBasicBlockRef write = LLVMAppendBasicBlockInContext(g->context, g->function, "");
        after = LLVMAppendBasicBlockInContext(g->context, g->function, "");
        LLVMBuildCondBr(g->b, point_eval(g, &q.p, store->guard), write, after);
        LLVMPositionBuilderAtEnd(g->b, write);
    }
    v = masked_load(g, lanes_i32, square_row(g, &q, rows.index), NULL, 4 * (unsigned)g->lanes);
    if (elem != ELEM_TYPE_I32)
        v = LLVMBuildBitCast(g->b, v, vector_of(g, g->f32, g->lanes), "");
    masked_store(g, tensor_encode(g, v, elem), tensor_address(g, store, &q.p), mask,
                 (unsigned)elem_type_size(elem));
    if (after) {
        LLVMBuildBr(g->b, after);
        LLVMPositionBuilderAtEnd(g->b, after);
    }
    loop_end(g, &rows, NULL);
    squares_end(g, &q);
}
