/* Tensors of the launch: elements at computed indices, strides from the slots, 64-bit offsets. Nothing is
 * read where the guard is false or past an axis: vectors are masked, scalars and rows are pointed at a row
 * of zeros.
 *
 * A load whose rows are contiguous is not copied when only contractions use it: a table of row pointers is
 * built, one a row, and the elements are read where they lie. */
#include "llvm_gen.h"

static LLVMValueRef tensor_base(Gen *g, int tensor)
{
    return LLVMBuildIntToPtr(g->b, gen_slot(g, slot_of_tensor(tensor)), g->ptr, "");
}

static int dim_count(const Inst *inst)
{
    return inst->arg_count - (inst->op == TILE_STORE);
}

/* Element offset: an i64, or a vector of them where an index has lanes. */
static LLVMValueRef element_offset(Gen *g, const Inst *inst, Point *p)
{
    LLVMValueRef sum = const_i64(g, 0);
    int unit = plan_unit_axis(g, inst);
    for (int k = 0; k < dim_count(inst); k++) {
        LLVMValueRef index = to_i64(g, point_eval(g, p, inst->args[k]));
        bool dense = unit >= 0 && k == dim_count(inst) - 1 && plan_is_dense(g, inst);
        LLVMValueRef stride = gen_slot(g, slot_of_tensor(inst->tensor) + 1 + k);
        LLVMValueRef term = index;
        if (!dense)
            term = LLVMBuildMul(g->b, index, is_vector(index) ? splat(g, stride, p->width) : stride, "");
        if (is_vector(term) || is_vector(sum)) {
            term = splat(g, term, p->width);
            sum = splat(g, sum, p->width);
        }
        sum = LLVMBuildAdd(g->b, sum, term, "");
    }
    return sum;
}

LLVMValueRef tensor_address(Gen *g, const Inst *inst, Point *p)
{
    LLVMTypeRef elem = elem_llvm(g, g->program->tensors[inst->tensor].elem);
    return address_at(g, tensor_base(g, inst->tensor), elem, element_offset(g, inst, p));
}

LLVMValueRef tensor_decode(Gen *g, LLVMValueRef v, ElemType elem)
{
    switch (elem) {
    case ELEM_TYPE_BOOL: return LLVMBuildICmp(g->b, LLVMIntNE, v, like_int(g, v, 0), "");
    case ELEM_TYPE_I32: return is_vector(v) ? v : LLVMBuildSExt(g->b, v, g->i64, "");
    case ELEM_TYPE_I64:
    case ELEM_TYPE_F32: return v;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: break;
    }
    return bits16_to_float(g, v, elem);
}

LLVMValueRef tensor_encode(Gen *g, LLVMValueRef v, ElemType elem)
{
    switch (elem) {
    case ELEM_TYPE_BOOL: return LLVMBuildZExt(g->b, v, with_elem(g, v, g->i8), "");
    case ELEM_TYPE_I32: return is_vector(v) ? vector_int(g, v, 32, 0) : LLVMBuildTrunc(g->b, v, g->i32, "");
    case ELEM_TYPE_I64: return to_i64(g, v);
    case ELEM_TYPE_F32: return v;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: break;
    }
    return float_to_bits16(g, v, elem);
}

static unsigned tensor_align(Gen *g, int tensor)
{
    return (unsigned)elem_type_size(g->program->tensors[tensor].elem);
}

static LLVMValueRef both(Gen *g, LLVMValueRef a, LLVMValueRef b, int width)
{
    if (!a || !b)
        return a ? a : b;
    if (is_vector(a) || is_vector(b)) {
        a = splat(g, a, width);
        b = splat(g, b, width);
    }
    return LLVMBuildAnd(g->b, a, b, "");
}

/* Lanes that may be touched; NULL: all of them. */
static LLVMValueRef access_mask(Gen *g, const Inst *inst, Point *p)
{
    LLVMValueRef guard = inst->guard ? point_eval(g, p, inst->guard) : NULL;
    TileType space = plan_space(inst);
    bool lanes = p->lane >= 0 && type_has_axis(&space, p->lane);
    LLVMValueRef mask = both(g, guard, lanes ? tail_mask(g, p) : NULL, p->width);
    return mask && lanes ? splat(g, mask, p->width) : mask;
}

/* Inputs may have any last stride: the launch's decides between a contiguous access and a gather. */
LLVMValueRef tensor_run(Gen *g, const Inst *load, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef mask)
{
    unsigned align = tensor_align(g, load->tensor);
    if (plan_is_dense(g, load))
        return masked_load(g, type, address, mask, align);
    int width = (int)LLVMGetVectorSize(type);
    LLVMBasicBlockRef near = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMBasicBlockRef apart = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(g->context, g->function, "");
    LLVMValueRef stride = gen_slot(g, slot_of_tensor(load->tensor) + dim_count(load)), values[2];
    LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, stride, const_i64(g, 1), ""), near, apart);
    LLVMPositionBuilderAtEnd(g->b, near);
    values[0] = masked_load(g, type, address, mask, align);
    LLVMBuildBr(g->b, after);
    LLVMPositionBuilderAtEnd(g->b, apart);
    LLVMValueRef offsets = LLVMBuildMul(g->b, lane_numbers(g, width, g->i64), splat(g, stride, width), "");
    values[1] =
        masked_gather(g, type, address_at(g, address, LLVMGetElementType(type), offsets), mask, align);
    LLVMBuildBr(g->b, after);
    LLVMPositionBuilderAtEnd(g->b, after);
    LLVMValueRef phi = LLVMBuildPhi(g->b, type, "");
    LLVMAddIncoming(phi, values, (LLVMBasicBlockRef[]){near, apart}, 2);
    return phi;
}

LLVMValueRef tensor_read(Gen *g, const Inst *load, Point *p)
{
    return tensor_decode(g, tensor_bits(g, load, p), g->program->tensors[load->tensor].elem);
}

LLVMValueRef tensor_bits(Gen *g, const Inst *load, Point *p)
{
    ElemType elem = g->program->tensors[load->tensor].elem;
    LLVMTypeRef type = elem_llvm(g, elem);
    unsigned align = tensor_align(g, load->tensor);
    LLVMValueRef mask = access_mask(g, load, p);
    if (p->lane < 0 || !inst_has_axis(load, p->lane)) {
        LLVMValueRef address = tensor_address(g, load, p);
        if (mask)
            address = LLVMBuildSelect(g->b, mask, address, g->zero_row, "");
        return masked_load(g, type, address, NULL, align);
    }
    LLVMTypeRef vector = vector_of(g, type, p->width);
    if (plan_unit_axis(g, load) == p->lane) {
        Point first = point_scalar(p);
        return tensor_run(g, load, vector, tensor_address(g, load, &first), mask);
    }
    LLVMValueRef offsets = splat(g, element_offset(g, load, p), p->width);
    LLVMValueRef addresses = address_at(g, tensor_base(g, load->tensor), type, offsets);
    return masked_gather(g, vector, addresses, mask, align);
}

void tensor_write(Gen *g, const Inst *store, Point *p)
{
    ElemType elem = g->program->tensors[store->tensor].elem;
    LLVMTypeRef type = elem_llvm(g, elem);
    unsigned align = tensor_align(g, store->tensor);
    TileType space = plan_space(store);
    LLVMValueRef mask = access_mask(g, store, p), value = point_eval(g, p, store->args[store->arg_count - 1]);
    value = tensor_encode(g, value, elem);
    if (p->lane >= 0 && type_has_axis(&space, p->lane)) {
        value = splat(g, value, p->width);
        if (plan_unit_axis(g, store) == p->lane) {
            Point first = point_scalar(p);
            masked_store(g, value, tensor_address(g, store, &first), mask, align);
            return;
        }
        LLVMValueRef offsets = splat(g, element_offset(g, store, p), p->width);
        masked_scatter(g, value, address_at(g, tensor_base(g, store->tensor), type, offsets), mask, align);
        return;
    }
    LLVMValueRef address = tensor_address(g, store, p);
    LLVMBasicBlockRef after = NULL;
    if (mask) {
        LLVMBasicBlockRef write = LLVMAppendBasicBlockInContext(g->context, g->function, "");
        after = LLVMAppendBasicBlockInContext(g->context, g->function, "");
        LLVMBuildCondBr(g->b, mask, write, after);
        LLVMPositionBuilderAtEnd(g->b, write);
    }
    masked_store(g, value, address, NULL, align);
    if (after) {
        LLVMBuildBr(g->b, after);
        LLVMPositionBuilderAtEnd(g->b, after);
    }
}

/* Row tables ------------------------------------------------------------------------------------------- */

static LLVMValueRef row_index(Gen *g, const Inst *inst, const Point *p)
{
    const Node *n = node_of(g, inst);
    LLVMValueRef index = const_i64(g, 0);
    for (int a = 0; a < inst->type.axis_count; a++) {
        int axis = inst->type.axis[a];
        if (axis != n->lane)
            index = LLVMBuildNSWAdd(
                g->b, index, LLVMBuildNSWMul(g->b, p->coord[axis], const_i64(g, n->stride[axis]), ""), "");
    }
    return index;
}

void rows_build(Gen *g, Inst *load)
{
    Node *n = node_of(g, load);
    TileType rows = {0};
    for (int a = 0; a < load->type.axis_count; a++)
        if (load->type.axis[a] != n->lane)
            rows.axis[rows.axis_count++] = load->type.axis[a];
    /* Lanes over the innermost row axis, eight pointers a register of 512 bits. */
    int lane = rows.axis_count ? rows.axis[rows.axis_count - 1] : -1;
    Point p = {.lane = lane, .width = lane_width(g, lane, 1)};
    Loop loops[TILE_MAX_AXES];
    for (int a = 0; a < rows.axis_count; a++) {
        int axis = rows.axis[a];
        loops[a] = loop_begin(g, const_i64(g, 0), const_i64(g, axis_extent(g, axis)),
                              axis == lane ? p.width : 1, false, NULL, 0);
        p.coord[axis] = loops[a].index;
    }
    p.coord[n->lane] = const_i64(g, 0);
    LLVMTypeRef elem = elem_llvm(g, g->program->tensors[load->tensor].elem);
    LLVMValueRef offset = element_offset(g, load, &p);
    if (lane >= 0)
        offset = splat(g, offset, p.width);
    LLVMValueRef address = address_at(g, tensor_base(g, load->tensor), elem, offset);
    LLVMValueRef mask = load->guard ? point_eval(g, &p, load->guard) : NULL,
                 tail = lane >= 0 ? tail_mask(g, &p) : NULL;
    mask = both(g, mask, tail, p.width);
    if (mask)
        address = LLVMBuildSelect(g->b, mask, address,
                                  lane >= 0 ? splat(g, g->zero_row, p.width) : g->zero_row, "");
    LLVMValueRef table = address_at(g, buffer_base(g, n), g->ptr, row_index(g, load, &p));
    masked_store(g, address, table, NULL, 8);
    for (int a = rows.axis_count - 1; a >= 0; a--)
        loop_end(g, &loops[a], NULL);
}

/* The row's pointer, or the pointers of the lanes' rows. */
LLVMValueRef rows_pointer(Gen *g, const Inst *inst, Point *p)
{
    Node *n = node_of(g, inst);
    LLVMValueRef known = point_recall(p, inst, true);
    if (known)
        return known;
    LLVMValueRef table = address_at(g, buffer_base(g, n), g->ptr, row_index(g, inst, p)), pointer;
    if (p->lane < 0 || p->lane == n->lane || !inst_has_axis(inst, p->lane)) {
        pointer = masked_load(g, g->ptr, table, NULL, 8);
    } else if (n->stride[p->lane] == 1) {
        pointer = masked_load(g, vector_of(g, g->ptr, p->width), table, NULL, 8);
    } else {
        LLVMValueRef offsets = LLVMBuildMul(g->b, lane_numbers(g, p->width, g->i64),
                                            splat(g, const_i64(g, n->stride[p->lane]), p->width), "");
        LLVMTypeRef type = vector_of(g, g->ptr, p->width);
        pointer =
            masked_gather(g, type, LLVMBuildGEP2(g->b, g->ptr, table, &offsets, 1, ""), tail_mask(g, p), 8);
        pointer = LLVMBuildSelect(
            g->b, tail_mask(g, p) ? tail_mask(g, p) : splat(g, LLVMConstInt(g->i1, 1, false), p->width),
            pointer, splat(g, g->zero_row, p->width), "");
    }
    point_remember(g, p, inst, true, pointer);
    return pointer;
}

LLVMValueRef rows_read(Gen *g, const Inst *inst, Point *p)
{
    const Node *n = node_of(g, inst);
    ElemType elem = g->program->tensors[inst->tensor].elem;
    LLVMTypeRef type = elem_llvm(g, elem);
    unsigned align = tensor_align(g, inst->tensor);
    LLVMValueRef address = address_at(g, rows_pointer(g, inst, p), type, p->coord[n->lane]), v;
    if (p->lane == n->lane)
        v = masked_load(g, vector_of(g, type, p->width), address, tail_mask(g, p), align);
    else if (is_vector(address))
        v = masked_gather(g, vector_of(g, type, p->width), address, NULL, align);
    else
        v = masked_load(g, type, address, NULL, align);
    return tensor_decode(g, v, elem);
}
