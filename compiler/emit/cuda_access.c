/* Loads and stores of one element as CUDA C++. Offsets are 64 bits; elements are converted on the way. */
#include "cuda_gen.h"

static const char *stored_type(ElemType elem)
{
    switch (elem) {
    case ELEM_TYPE_BOOL: return "unsigned char";
    case ELEM_TYPE_I32: return "int";
    case ELEM_TYPE_I64: return "long long";
    case ELEM_TYPE_F32: return "float";
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: break;
    }
    return "unsigned short";
}

const char *cuda_address(CudaGen *g, const Inst *access, CudaOperands operands)
{
    int dims = access->arg_count - (access->op == TILE_STORE), slot = slot_of_tensor(access->tensor);
    Text at = {.arena = g->arena};
    text_add(&at, "((%s *)P.slots[%d]", stored_type(g->program->tensors[access->tensor].elem), slot);
    for (int d = 0; d < dims; d++)
        text_add(&at, " + %s * P.slots[%d]", operands.text(operands.user, access->args[d]), slot + 1 + d);
    text_add(&at, ")");
    return at.data;
}

const char *cuda_load(CudaGen *g, const Inst *load, CudaOperands operands)
{
    const char *at = cuda_address(g, load, operands), *value = NULL, *zero = "0";
    switch (g->program->tensors[load->tensor].elem) {
    case ELEM_TYPE_BOOL: value = arena_printf(g->arena, "*%s != 0", at), zero = "false"; break;
    case ELEM_TYPE_I32:
    case ELEM_TYPE_I64: value = arena_printf(g->arena, "*%s", at); break;
    case ELEM_TYPE_F32: value = arena_printf(g->arena, "*%s", at), zero = "0.0f"; break;
    case ELEM_TYPE_BF16: value = arena_printf(g->arena, "attune_of_bf16(*%s)", at), zero = "0.0f"; break;
    case ELEM_TYPE_F16: value = arena_printf(g->arena, "attune_of_f16(*%s)", at), zero = "0.0f"; break;
    }
    if (!load->guard)
        return arena_printf(g->arena, "(%s)", value);
    return arena_printf(g->arena, "(%s ? %s : %s)", operands.text(operands.user, load->guard), value, zero);
}

void cuda_store(CudaGen *g, const Inst *store, CudaOperands operands, const char *value)
{
    const char *at = cuda_address(g, store, operands);
    ElemType elem = g->program->tensors[store->tensor].elem;
    const char *stored = elem == ELEM_TYPE_BF16 ? arena_printf(g->arena, "attune_to_bf16(%s)", value)
                         : elem == ELEM_TYPE_F16
                             ? arena_printf(g->arena, "attune_to_f16(%s)", value)
                             : arena_printf(g->arena, "(%s)(%s)", stored_type(elem), value);
    if (store->guard)
        cuda_line(g, "if (%s) *%s = %s;\n", operands.text(operands.user, store->guard), at, stored);
    else
        cuda_line(g, "*%s = %s;\n", at, stored);
}
