/* Reductions and contractions: by lanes, by threads, by matrix products. */
#include "llvm_ptx.h"

#include <math.h>

#define V LLVMValueRef

LLVMTypeRef ptx_reduce_type(Ptx *p, const Inst *reduce)
{
    return reduce->type.elem == ELEM_TYPE_BOOL ? p->l.i32 : ptx_type(p, reduce);
}

V ptx_reduce_start(Ptx *p, const Inst *reduce)
{
    LLVMTypeRef type = ptx_reduce_type(p, reduce);
    bool wide = type == p->l.i64;
    if (type == p->l.f32)
        return LLVMConstReal(type, reduce->reduce == REDUCE_MAX   ? -(double)INFINITY
                                   : reduce->reduce == REDUCE_MIN ? (double)INFINITY
                                                                  : 0);
    int64_t start = 0;
    switch (reduce->reduce) {
    case REDUCE_SUM:
    case REDUCE_OR: break;
    case REDUCE_MAX: start = wide ? INT64_MIN : INT32_MIN; break;
    case REDUCE_MIN: start = wide ? INT64_MAX : INT32_MAX; break;
    case REDUCE_AND: start = 1; break;
    }
    return LLVMConstInt(type, (unsigned long long)start, true);
}

V ptx_reduce_pair(Ptx *p, const Inst *reduce, V a, V b)
{
    LLVMBuilderRef build = p->l.b;
    bool is_float = ptx_reduce_type(p, reduce) == p->l.f32;
    V first = NULL;
    b = ptx_fit(p, b, ptx_reduce_type(p, reduce));
    switch (reduce->reduce) {
    case REDUCE_SUM: return is_float ? LLVMBuildFAdd(build, a, b, "") : LLVMBuildAdd(build, a, b, "");
    case REDUCE_MAX:
        first = is_float ? LLVMBuildFCmp(build, LLVMRealOGT, a, b, "")
                         : LLVMBuildICmp(build, LLVMIntSGT, a, b, "");
        return LLVMBuildSelect(build, first, a, b, "");
    case REDUCE_MIN:
        first = is_float ? LLVMBuildFCmp(build, LLVMRealOLT, a, b, "")
                         : LLVMBuildICmp(build, LLVMIntSLT, a, b, "");
        return LLVMBuildSelect(build, first, a, b, "");
    case REDUCE_OR: return LLVMBuildOr(build, a, b, "");
    case REDUCE_AND: break;
    }
    return LLVMBuildAnd(build, a, b, "");
}

void ptx_reduce_lanes(Ptx *p, const Inst *reduce, V slot, int lanes)
{
    LLVMTypeRef type = ptx_reduce_type(p, reduce);
    V total = ptx_get(p, type, slot);
    for (int lane = lanes / 2 < 16 ? lanes / 2 : 16; lane; lane /= 2)
        total = ptx_reduce_pair(p, reduce, total, ptx_shuffle(p, total, PTX_INT(p, lane)));
    ptx_set(p, slot, total);
}

/* The loop over the elements of a result. */
static PtxLoop open_elements(Ptx *p, const TileType *axes)
{
    int count = axes->axis_count, last = axes->axis[count - 1];
    PtxLoop loop = ptx_loop(p, p->thread, PTX_INT(p, plain_count(p->g, axes)), PLAIN_THREADS);
    int64_t columns = plain_extent(p->g, last);
    p->coord[last] = ptx_mod(p, loop.index, columns);
    ptx_name_row(p, axes, ptx_div(p, loop.index, columns));
    return loop;
}

/* Sums and the like over one axis, by one thread, or for a scalar by every warp: lanes share the axis. */
static PtxLoop along_axis(Ptx *p, int axis, bool scalar)
{
    V first = scalar ? ptx_mod(p, p->thread, 32) : PTX_INT(p, 0);
    PtxLoop loop = ptx_loop(p, first, PTX_INT(p, plain_extent(p->g, axis)), scalar ? 32 : 1);
    p->coord[axis] = loop.index;
    return loop;
}

void ptx_reduce(Ptx *p, const Inst *reduce)
{
    bool scalar = reduce->type.axis_count == 0;
    LLVMTypeRef type = ptx_reduce_type(p, reduce);
    int mark = p->named_count;
    PtxLoop elements;
    if (!scalar)
        elements = open_elements(p, &reduce->type);
    V total = ptx_variable(p, type, ptx_reduce_start(p, reduce));
    PtxLoop along = along_axis(p, reduce->axis, scalar);
    ptx_set(p, total, ptx_reduce_pair(p, reduce, ptx_get(p, type, total), ptx_element(p, reduce->args[0])));
    ptx_loop_end(p, &along);
    ptx_leave(p, mark);
    if (scalar) {
        ptx_reduce_lanes(p, reduce, total, 32);
        p->value[reduce->id] = ptx_fit(p, ptx_get(p, type, total), ptx_type(p, reduce));
    } else {
        ptx_write(p, reduce, ptx_get(p, type, total));
        ptx_loop_end(p, &elements);
    }
}

/* One slice of an operand that is computed in place, zero behind the end of the axis. */
static void fill_slice(Ptx *p, const Inst *contract, const PtxMatrix *m, V base)
{
    const Inst *value = m->value;
    const TileType *type = &value->type;
    int axis = contract->axis, kept = type->axis[type->axis[0] == axis], mark = p->named_count;
    LLVMTypeRef memory = ptx_memory_type(p, value);
    PtxLoop loop = ptx_loop(p, p->thread, PTX_INT(p, plain_extent(p->g, kept) * PLAIN_SLICE), PLAIN_THREADS);
    V column = ptx_mod(p, loop.index, PLAIN_SLICE);
    p->coord[kept] = ptx_div(p, loop.index, PLAIN_SLICE);
    p->coord[axis] = ptx_sum(p, base, column);
    V part = ptx_variable(p, p->l.f32, LLVMConstReal(p->l.f32, 0)), row = p->coord[kept];
    LLVMBasicBlockRef after = ptx_if(p, ptx_less(p, p->coord[axis], plain_extent(p->g, axis)));
    ptx_set(p, part, ptx_element(p, value));
    ptx_if_end(p, after);
    V v = ptx_get(p, p->l.f32, part);
    if (memory == p->l.i16)
        v = ptx_to_bits(p, value->type.elem, v);
    V at = ptx_sum(p, ptx_mul(p, row, m->place->pitch), column);
    LLVMBuildStore(p->l.b, v, ptx_at(p, ptx_buffer(p, m->place), memory, at));
    ptx_loop_end(p, &loop);
    ptx_leave(p, mark);
}

/* A product over a long axis. */
static void sliced_product(Ptx *p, const Inst *contract, const PtxMatrix operands[2], PtxProduct *product)
{
    const PlainValue *result = product->result;
    bool tensor_cores = plain_is_product(contract);
    if (!contract->target) {
        PtxLoop clear = ptx_loop(p, p->thread, PTX_INT(p, product->rows * result->pitch), PLAIN_THREADS);
        LLVMBuildStore(p->l.b, LLVMConstNull(p->l.f32),
                       ptx_at(p, ptx_buffer(p, result), p->l.f32, clear.index));
        ptx_loop_end(p, &clear);
    }
    PtxLoop loop = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, plain_extent(p->g, contract->axis)), PLAIN_SLICE);
    for (int k = 0; k < 2; k++)
        fill_slice(p, contract, &operands[k], loop.index);
    ptx_barrier(p);
    product->depth = PLAIN_SLICE;
    product->into = true;
    ptx_product(p, product, tensor_cores);
    ptx_barrier(p);
    ptx_loop_end(p, &loop);
}

/* A matrix product, in one go or in slices. */
static bool matrix_product(Ptx *p, const Step *step)
{
    const Inst *contract = step->members[0], *result = contract->target ? contract->target : contract;
    const TileType *axes = &step->axes;
    PtxMatrix operands[2];
    bool sliced[2];
    for (int k = 0; k < 2; k++) {
        const Inst *value = contract->args[k];
        sliced[k] = p->plan.values[value->id].kind == PLAIN_INLINE;
        operands[k] = (PtxMatrix){value, sliced[k] ? &step->slices[k] : &p->plan.values[value->id],
                                  !sliced[k] && value->type.axis[0] == contract->axis};
    }
    if (!plain_is_matrix(contract) || sliced[0] != sliced[1])
        return false;
    /* The operand that holds the result's first axis gives its rows. */
    int first = !inst_has_axis(operands[0].value, axes->axis[0]);
    PtxProduct product = {.a = operands[first],
                          .b = operands[!first],
                          .result = &p->plan.values[result->id],
                          .rows = (int)plain_extent(p->g, axes->axis[0]),
                          .columns = (int)plain_extent(p->g, axes->axis[1]),
                          .depth = (int)plain_extent(p->g, contract->axis),
                          .into = contract->target != NULL};
    if (sliced[0])
        sliced_product(p, contract, operands, &product);
    else
        ptx_product(p, &product, plain_is_product(contract));
    return true;
}

static V fused(Ptx *p, V a, V b, V c)
{
    return call_intrinsic(&p->l, "llvm.fma", &p->l.f32, 1, (V[]){a, b, c}, 3);
}

void ptx_contract(Ptx *p, const Step *step)
{
    Gen *l = &p->l;
    const Inst *contract = step->members[0], *into = contract->target, *result = into ? into : contract;
    const TileType *axes = &step->axes;
    if (matrix_product(p, step))
        return;
    bool scalar = axes->axis_count == 0;
    int mark = p->named_count;
    PtxLoop elements;
    if (!scalar)
        elements = open_elements(p, axes);
    V sum = ptx_variable(p, l->f32, LLVMConstReal(l->f32, 0));
    int inner = p->named_count;
    PtxLoop along = along_axis(p, contract->axis, scalar);
    V so_far = ptx_get(p, l->f32, sum);
    if (contract->expr) {
        V term = ptx_scalar(p, contract, contract->expr);
        ptx_set(p, sum, LLVMBuildFAdd(l->b, so_far, term, ""));
    } else {
        V a = ptx_element(p, contract->args[0]), b = ptx_element(p, contract->args[1]);
        ptx_set(p, sum, fused(p, a, b, so_far));
    }
    ptx_loop_end(p, &along);
    ptx_leave(p, inner);
    V total = ptx_get(p, l->f32, sum);
    if (!scalar) {
        ptx_write(p, result, into ? LLVMBuildFAdd(l->b, ptx_read(p, result), total, "") : total);
        ptx_loop_end(p, &elements);
        ptx_leave(p, mark);
        return;
    }
    for (int lane = 16; lane; lane /= 2)
        total = LLVMBuildFAdd(l->b, total, ptx_shuffle(p, total, PTX_INT(p, lane)), "");
    if (into)
        ptx_set(p, p->value[into->id], LLVMBuildFAdd(l->b, ptx_element(p, into), total, ""));
    else
        p->value[contract->id] = total;
}
