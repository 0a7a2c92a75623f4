/* One element of a tile: its place, its value; one element of a tensor. */
#include "llvm_ptx.h"

LLVMTypeRef ptx_type(Ptx *p, const Inst *value)
{
    switch (elem_class(value->type.elem)) {
    case TYPE_BOOL: return p->l.i1;
    case TYPE_FLOAT: return p->l.f32;
    case TYPE_INT: break;
    }
    return cuda_narrow(p->g, value) ? p->l.i32 : p->l.i64;
}

LLVMTypeRef ptx_memory_type(Ptx *p, const Inst *value)
{
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return p->l.i8;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: return p->l.i16;
    default: return ptx_type(p, value);
    }
}

LLVMValueRef ptx_fit(Ptx *p, LLVMValueRef v, LLVMTypeRef type)
{
    LLVMTypeRef from = LLVMTypeOf(v);
    if (from == type || type == p->l.f32 || from == p->l.f32)
        return v;
    if (type == p->l.i1)
        return LLVMBuildICmp(p->l.b, LLVMIntNE, v, LLVMConstNull(from), "");
    if (from == p->l.i1)
        return LLVMBuildZExt(p->l.b, v, type, "");
    return type == p->l.i64 ? LLVMBuildSExt(p->l.b, v, type, "") : LLVMBuildTrunc(p->l.b, v, type, "");
}

LLVMValueRef ptx_slot(Ptx *p, int slot)
{
    return gen_slot(&p->l, slot);
}

LLVMValueRef ptx_size(Ptx *p, VarId size)
{
    return LLVMBuildTrunc(p->l.b, ptx_slot(p, slot_of_size(size)), p->l.i32, "");
}

/* Names -------------------------------------------------------------------------------------------------- */

LLVMValueRef ptx_hold(Ptx *p, const Inst *value, LLVMValueRef v)
{
    p->value[value->id] = ptx_fit(p, v, ptx_type(p, value));
    p->named[p->named_count++] = value->id;
    return p->value[value->id];
}

void ptx_leave(Ptx *p, int mark)
{
    while (p->named_count > mark)
        p->value[p->named[--p->named_count]] = NULL;
}

LLVMValueRef ptx_element(Ptx *p, const Inst *value)
{
    const PlainValue *v = &p->plan.values[value->id];
    LLVMValueRef held = p->value[value->id];
    if (v->kind == PLAIN_SCALAR && value->op == TILE_VAR)
        return ptx_get(p, ptx_type(p, value), held);
    if (held)
        return held;
    if (value->op == TILE_INDEX && p->g->slice_extent && value->axis == p->g->slice_axis)
        return ptx_sum(p, p->coord[value->axis], p->slice);
    if (value->op == TILE_INDEX)
        return p->coord[value->axis];
    if (v->kind == PLAIN_INLINE && value->op == TILE_LOAD)
        return ptx_hold(p, value, ptx_load(p, value));
    if (v->kind == PLAIN_INLINE)
        return ptx_hold(p, value, ptx_map(p, value));
    return ptx_hold(p, value, ptx_read(p, value));
}

/* 16-bit floats ------------------------------------------------------------------------------------------ */

LLVMValueRef ptx_to_bits(Ptx *p, ElemType elem, LLVMValueRef v)
{
    LLVMTypeRef type = elem == ELEM_TYPE_BF16 ? p->l.bf16 : p->f16;
    if (p->host) /* may have no instruction for it */
        return float_to_bits16(&p->l, v, elem);
    return LLVMBuildBitCast(p->l.b, LLVMBuildFPTrunc(p->l.b, v, type, ""), p->l.i16, "");
}

LLVMValueRef ptx_of_bits(Ptx *p, ElemType elem, LLVMValueRef v)
{
    LLVMBuilderRef b = p->l.b;
    if (p->host)
        return bits16_to_float(&p->l, v, elem);
    if (elem == ELEM_TYPE_F16)
        return LLVMBuildFPExt(b, LLVMBuildBitCast(b, v, p->f16, ""), p->l.f32, "");
    v = LLVMBuildShl(b, LLVMBuildZExt(b, v, p->l.i32, ""), PTX_INT(p, 16), "");
    return LLVMBuildBitCast(b, v, p->l.f32, "");
}

LLVMValueRef ptx_rounded(Ptx *p, ElemType elem, LLVMValueRef v)
{
    if (elem != ELEM_TYPE_BF16 && elem != ELEM_TYPE_F16)
        return v;
    return ptx_of_bits(p, elem, ptx_to_bits(p, elem, v));
}

/* Tiles -------------------------------------------------------------------------------------------------- */

LLVMValueRef ptx_buffer(Ptx *p, const PlainValue *place)
{
    return LLVMBuildInBoundsGEP2(p->l.b, p->l.i8, place->spilled ? p->spill : p->tiles,
                                 (LLVMValueRef[]){PTX_INT(p, place->offset)}, 1, "");
}

LLVMValueRef ptx_at(Ptx *p, LLVMValueRef buffer, LLVMTypeRef elem, LLVMValueRef index)
{
    return LLVMBuildInBoundsGEP2(p->l.b, elem, buffer, &index, 1, "");
}

static LLVMValueRef place_of(Ptx *p, const Inst *value)
{
    const TileType *type = &value->type;
    const PlainValue *place = &p->plan.values[value->id];
    LLVMValueRef row = NULL, index = p->coord[type->axis[type->axis_count - 1]];
    for (int k = 0; k + 1 < type->axis_count; k++) {
        LLVMValueRef at = p->coord[type->axis[k]];
        row = row ? ptx_sum(p, ptx_mul(p, row, plain_extent(p->g, type->axis[k])), at) : at;
    }
    if (row)
        index = ptx_sum(p, ptx_mul(p, row, place->pitch), index);
    return ptx_at(p, ptx_buffer(p, place), ptx_memory_type(p, value), index);
}

LLVMValueRef ptx_read(Ptx *p, const Inst *value)
{
    LLVMValueRef v = LLVMBuildLoad2(p->l.b, ptx_memory_type(p, value), place_of(p, value), "");
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return ptx_fit(p, v, p->l.i1);
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: return ptx_of_bits(p, value->type.elem, v);
    default: return v;
    }
}

void ptx_write(Ptx *p, const Inst *value, LLVMValueRef v)
{
    if (value->type.elem == ELEM_TYPE_BF16 || value->type.elem == ELEM_TYPE_F16)
        v = ptx_to_bits(p, value->type.elem, v);
    LLVMBuildStore(p->l.b, ptx_fit(p, v, ptx_memory_type(p, value)), place_of(p, value));
}

/* Tensors ------------------------------------------------------------------------------------------------ */

LLVMValueRef ptx_address(Ptx *p, const Inst *access)
{
    int dims = access->arg_count - (access->op == TILE_STORE), slot = slot_of_tensor(access->tensor);
    LLVMTypeRef elem = elem_llvm(&p->l, p->g->program->tensors[access->tensor].elem);
    LLVMValueRef base = LLVMBuildIntToPtr(p->l.b, ptx_slot(p, slot), p->global, ""), offset = NULL;
    for (int d = 0; d < dims; d++) {
        LLVMValueRef index = ptx_fit(p, ptx_element(p, access->args[d]), p->l.i64);
        index = LLVMBuildMul(p->l.b, index, ptx_slot(p, slot + 1 + d), "");
        offset = offset ? LLVMBuildAdd(p->l.b, offset, index, "") : index;
    }
    return offset ? LLVMBuildGEP2(p->l.b, elem, base, &offset, 1, "") : base;
}

LLVMValueRef ptx_load(Ptx *p, const Inst *load)
{
    Gen *l = &p->l;
    ElemType elem = p->g->program->tensors[load->tensor].elem;
    LLVMTypeRef type = elem_llvm(l, elem);
    LLVMValueRef guard = load->guard ? ptx_element(p, load->guard) : NULL, at = ptx_address(p, load), v;
    if (guard) {
        LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(l->b)};
        LLVMBasicBlockRef after = ptx_if(p, guard);
        LLVMValueRef both[2] = {LLVMConstNull(type), LLVMBuildLoad2(l->b, type, at, "")};
        from[1] = LLVMGetInsertBlock(l->b);
        ptx_if_end(p, after);
        v = LLVMBuildPhi(l->b, type, "");
        LLVMAddIncoming(v, both, from, 2);
    } else {
        v = LLVMBuildLoad2(l->b, type, at, "");
    }
    if (elem == ELEM_TYPE_BF16 || elem == ELEM_TYPE_F16)
        return ptx_of_bits(p, elem, v);
    return elem == ELEM_TYPE_BOOL ? ptx_fit(p, v, l->i1) : v;
}

void ptx_store(Ptx *p, const Inst *store, LLVMValueRef v)
{
    ElemType elem = p->g->program->tensors[store->tensor].elem;
    LLVMValueRef guard = store->guard ? ptx_element(p, store->guard) : NULL, at = ptx_address(p, store);
    if (elem == ELEM_TYPE_BF16 || elem == ELEM_TYPE_F16)
        v = ptx_to_bits(p, elem, v);
    LLVMBasicBlockRef after = ptx_if(p, guard);
    LLVMBuildStore(p->l.b, ptx_fit(p, v, elem_llvm(&p->l, elem)), at);
    ptx_if_end(p, after);
}
