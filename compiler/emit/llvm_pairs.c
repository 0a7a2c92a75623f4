/* Contractions of bf16 with AVX512_BF16: two neighbours along the summed axis share a 32-bit element, and
 * one instruction adds both products to an f32 lane.
 *
 * The vector operand is kept in pairs [y / 2][lanes]. The scalar operand's pairs are broadcast: straight
 * from the user's rows when they run along y (keys against queries), else from a copy with two rows
 * interleaved (values). An odd last element is paired with zero. */
#include "llvm_gen.h"

static const Inst *only_reader(Gen *g, const Inst *inst)
{
    const Inst *reader = NULL;
    int count = 0;
    for (int k = 0; k < g->inst_count; k++) {
        const Inst *u = g->order[k];
        bool reads = u->guard == inst || u->target == inst;
        for (int a = 0; a < u->arg_count; a++)
            reads = reads || u->args[a] == inst;
        if (reads) {
            reader = u;
            count++;
        }
    }
    return count == 1 ? reader : NULL;
}

static bool pairs_well(Gen *g, const Inst *contract, const Inst *inst, int lane)
{
    bool makes = inst->op == TILE_LOAD || inst->op == TILE_MAP;
    return makes && inst->type.elem == ELEM_TYPE_BF16 && inst_has_axis(inst, contract->axis)
           && only_reader(g, inst) == contract && (lane < 0 || axis_extent(g, lane) >= 16);
}

static bool guard_along(const Inst *load, int axis)
{
    return load->guard && inst_has_axis(load->guard, axis);
}

/* Decides for one contraction, and marks its operands. */
static void pair_contract(Gen *g, const Inst *contract)
{
    int lane = node_of(g, contract->target ? contract->target : contract)->lane, y = contract->axis;
    const Inst *a = contract->args[0], *b = contract->args[1];
    if (contract->expr || lane < 0 || inst_has_axis(a, lane) == inst_has_axis(b, lane))
        return;
    const Inst *vector = inst_has_axis(a, lane) ? a : b, *scalar = vector == a ? b : a;
    Node *v = node_of(g, vector), *s = node_of(g, scalar);
    if (!pairs_well(g, contract, vector, lane) || !pairs_well(g, contract, scalar, -1) || v->lane != lane)
        return;
    int unit = vector->op == TILE_LOAD ? plan_unit_axis(g, vector) : -1;
    if (vector->op == TILE_LOAD && unit != y && unit != lane)
        return;
    if (unit == y && (guard_along(vector, y) || !plan_transposes(g, vector, &unit)))
        return;
    bool in_place = scalar->op == TILE_LOAD && plan_is_dense(g, scalar) && plan_unit_axis(g, scalar) == y
                    && s->lane == y && !guard_along(scalar, y);
    if (!in_place && s->lane == y)
        return;
    v->pair_axis = y;
    if (in_place)
        s->pair_rows = true;
    else
        s->pair_axis = y;
}

void plan_pairs(Gen *g)
{
    for (int k = 0; k < g->inst_count && g->target->bf16_dot; k++)
        if (g->order[k]->op == TILE_CONTRACT)
            pair_contract(g, g->order[k]);
}

/* Two vectors of 16-bit values as one of pairs; high NULL: zero. */
LLVMValueRef pair_join(Gen *g, LLVMValueRef low, LLVMValueRef high)
{
    LLVMTypeRef i32 = with_elem(g, low, g->i32);
    low = LLVMBuildZExt(g->b, low, i32, "");
    if (!high)
        return low;
    high = LLVMBuildShl(g->b, LLVMBuildZExt(g->b, high, i32, ""), like_int(g, low, 16), "");
    return LLVMBuildOr(g->b, low, high, "");
}

/* acc + both products, for vectors of any number of sixteens; a and b hold pairs. */
LLVMValueRef pair_dot(Gen *g, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b)
{
    int width = (int)LLVMGetVectorSize(LLVMTypeOf(acc)), index[256];
    LLVMTypeRef pairs = vector_of(g, g->bf16, 32);
    LLVMValueRef parts[16];
    int count = width / 16;
    for (int k = 0; k < count; k++) {
        for (int i = 0; i < 16; i++)
            index[i] = 16 * k + i;
        LLVMValueRef args[] = {shuffle(g, acc, acc, index, 16),
                               LLVMBuildBitCast(g->b, shuffle(g, a, a, index, 16), pairs, ""),
                               LLVMBuildBitCast(g->b, splat(g, b, 16), pairs, "")};
        parts[k] = call_intrinsic(g, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, 0, args, 3);
    }
    for (int i = 0; i < 256; i++)
        index[i] = i;
    for (int size = 16; count > 1; count /= 2, size *= 2)
        for (int k = 0; k < count / 2; k++)
            parts[k] = shuffle(g, parts[2 * k], parts[2 * k + 1], index, 2 * size);
    return parts[0];
}

/* The pair of the scalar operand that begins at the point's even y; `single`: only its first exists. */
LLVMValueRef pair_scalar(Gen *g, const Inst *scalar, Point *p, bool single)
{
    const Node *n = node_of(g, scalar);
    if (!n->pair_rows)
        return buffer_read(g, scalar, p);
    LLVMValueRef address = address_at(g, rows_pointer(g, scalar, p), g->i16, p->coord[n->lane]);
    if (single)
        return LLVMBuildZExt(g->b, masked_load(g, g->i16, address, NULL, 2), g->i32, "");
    return masked_load(g, g->i32, address, NULL, 2);
}
