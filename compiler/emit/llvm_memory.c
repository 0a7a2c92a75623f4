/* Tiles in buffers: reading and writing at a point, contiguous along the lanes where layouts agree, by
 * gather or scatter where they do not. */
#include "llvm_gen.h"

#include <string.h>

LLVMValueRef buffer_base(Gen *g, Node *node)
{
    Node *n = node_home(node);
    if (n->offset >= 0)
        return LLVMBuildGEP2(g->b, g->i8, g->scratch, (LLVMValueRef[]){const_i64(g, n->offset)}, 1, "");
    if (!n->base)
        n->base = gen_alloca(g, g->i8, n->bytes, 64);
    return n->base;
}

LLVMValueRef address_at(Gen *g, LLVMValueRef base, LLVMTypeRef elem, LLVMValueRef index)
{
    return LLVMBuildGEP2(g->b, elem, base, &index, 1, "");
}

LLVMValueRef tail_mask(Gen *g, const Point *p)
{
    if (p->lane < 0 || axis_extent(g, p->lane) % p->width == 0)
        return NULL;
    LLVMValueRef left = LLVMBuildSub(g->b, const_i64(g, axis_extent(g, p->lane)), p->coord[p->lane], "");
    left = splat(g, LLVMBuildTrunc(g->b, left, g->i32, ""), p->width);
    return LLVMBuildICmp(g->b, LLVMIntSLT, lane_numbers(g, p->width, g->i32), left, "");
}

/* Newer LLVM carries the alignment as an attribute of the pointer, older as an operand. */
static LLVMValueRef masked_call(Gen *g, const char *name, LLVMTypeRef *types, LLVMValueRef *args, int count,
                                int pointer, unsigned align)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef type = LLVMIntrinsicGetType(g->context, id, types, 2);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->module, id, types, 2), all[5];
    bool operand = LLVMCountParamTypes(type) > (unsigned)count;
    int n = 0;
    for (int k = 0; k < count; k++) {
        all[n++] = args[k];
        if (k == pointer && operand)
            all[n++] = const_i32(g, align);
    }
    LLVMValueRef call = LLVMBuildCall2(g->b, type, fn, all, (unsigned)n, "");
    if (!operand) {
        unsigned kind = LLVMGetEnumAttributeKindForName("align", 5);
        LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)(pointer + 1),
                                 LLVMCreateEnumAttribute(g->context, kind, align));
    }
    return call;
}

LLVMValueRef masked_load(Gen *g, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef mask, unsigned align)
{
    if (!mask) {
        LLVMValueRef v = LLVMBuildLoad2(g->b, type, address, "");
        LLVMSetAlignment(v, align);
        return v;
    }
    return masked_call(g, "llvm.masked.load", (LLVMTypeRef[]){type, g->ptr},
                       (LLVMValueRef[]){address, mask, LLVMConstNull(type)}, 3, 0, align);
}

void masked_store(Gen *g, LLVMValueRef value, LLVMValueRef address, LLVMValueRef mask, unsigned align)
{
    if (!mask) {
        LLVMSetAlignment(LLVMBuildStore(g->b, value, address), align);
        return;
    }
    masked_call(g, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(value), g->ptr},
                (LLVMValueRef[]){value, address, mask}, 3, 1, align);
}

static LLVMValueRef all_lanes(Gen *g, LLVMValueRef mask, int width)
{
    return mask ? splat(g, mask, width) : splat(g, LLVMConstInt(g->i1, 1, false), width);
}

LLVMValueRef masked_gather(Gen *g, LLVMTypeRef type, LLVMValueRef addresses, LLVMValueRef mask,
                           unsigned align)
{
    mask = all_lanes(g, mask, (int)LLVMGetVectorSize(type));
    return masked_call(g, "llvm.masked.gather", (LLVMTypeRef[]){type, LLVMTypeOf(addresses)},
                       (LLVMValueRef[]){addresses, mask, LLVMConstNull(type)}, 3, 0, align);
}

void masked_scatter(Gen *g, LLVMValueRef value, LLVMValueRef addresses, LLVMValueRef mask, unsigned align)
{
    LLVMTypeRef type = LLVMTypeOf(value);
    mask = all_lanes(g, mask, (int)LLVMGetVectorSize(type));
    masked_call(g, "llvm.masked.scatter", (LLVMTypeRef[]){type, LLVMTypeOf(addresses)},
                (LLVMValueRef[]){value, addresses, mask}, 3, 1, align);
}

static LLVMValueRef element_index(Gen *g, const Node *n, const Inst *inst, const Point *p)
{
    LLVMValueRef index = const_i64(g, 0);
    for (int a = 0; a < inst->type.axis_count; a++) {
        int axis = inst->type.axis[a];
        LLVMValueRef coord = p->coord[axis];
        if (axis == n->pair_axis)
            coord = LLVMBuildAShr(g->b, coord, const_i64(g, 1), "");
        if (n->stride[axis] != 1)
            coord = LLVMBuildNSWMul(g->b, coord, const_i64(g, n->stride[axis]), "");
        index = LLVMBuildNSWAdd(g->b, index, coord, "");
    }
    return index;
}

static bool has_lanes(const Inst *inst, const Point *p)
{
    return p->lane >= 0 && inst_has_axis(inst, p->lane);
}

/* Addresses of the lanes when they are not neighbours. */
static LLVMValueRef lane_addresses(Gen *g, LLVMValueRef first, LLVMTypeRef elem, const Node *n,
                                   const Point *p)
{
    LLVMValueRef offsets = lane_numbers(g, p->width, g->i64);
    offsets = LLVMBuildMul(g->b, offsets, splat(g, const_i64(g, n->stride[p->lane]), p->width), "");
    return LLVMBuildGEP2(g->b, elem, first, &offsets, 1, "");
}

static unsigned elem_align(ElemType store)
{
    return store == ELEM_TYPE_I64 ? 8 : store == ELEM_TYPE_BOOL ? 1 : 4;
}

static unsigned vector_align(ElemType store, int width)
{
    unsigned bytes = elem_align(store) * (unsigned)width;
    return bytes > 64 ? 64 : bytes;
}

LLVMValueRef buffer_read(Gen *g, const Inst *inst, Point *p)
{
    Node *n = node_of(g, inst);
    LLVMTypeRef elem = n->pair_axis >= 0 ? g->i32 : elem_llvm(g, n->store);
    LLVMValueRef address = address_at(g, buffer_base(g, n), elem, element_index(g, n, inst, p)), v;
    if (!has_lanes(inst, p)) {
        v = masked_load(g, elem, address, NULL, elem_align(n->store));
    } else if (n->lane == p->lane) {
        v = masked_load(g, vector_of(g, elem, p->width), address, NULL, vector_align(n->store, p->width));
    } else {
        v = masked_gather(g, vector_of(g, elem, p->width), lane_addresses(g, address, elem, n, p),
                          tail_mask(g, p), elem_align(n->store));
    }
    if (n->store == ELEM_TYPE_BOOL)
        return LLVMBuildICmp(g->b, LLVMIntNE, v, like_int(g, v, 0), "");
    if (n->store == ELEM_TYPE_I64 && is_vector(v) && bounds_fit_i32(plan_bounds(g, inst)))
        return vector_int(g, v, 32, p->width);
    return v;
}

void buffer_write(Gen *g, const Inst *inst, Point *p, LLVMValueRef value)
{
    Node *n = node_of(g, inst);
    LLVMTypeRef elem = n->pair_axis >= 0 ? g->i32 : elem_llvm(g, n->store);
    LLVMValueRef address = address_at(g, buffer_base(g, n), elem, element_index(g, n, inst, p));
    bool lanes = has_lanes(inst, p);
    if (n->store == ELEM_TYPE_I64)
        value = lanes ? vector_int(g, value, 64, p->width) : value;
    else if (n->store == ELEM_TYPE_BOOL)
        value = LLVMBuildZExt(g->b, value, with_elem(g, value, g->i8), "");
    if (!lanes) {
        masked_store(g, value, address, NULL, elem_align(n->store));
        return;
    }
    value = splat(g, value, p->width);
    if (n->lane == p->lane)
        masked_store(g, value, address, NULL, vector_align(n->store, p->width));
    else
        masked_scatter(g, value, lane_addresses(g, address, elem, n, p), tail_mask(g, p),
                       elem_align(n->store));
}
