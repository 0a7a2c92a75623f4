/* Any phase as a __global__ function: a block of threads computes one work item, step by step
 * (cuda_plain_plan.c), with its tiles in shared memory and barriers where threads read what others wrote. */
#include "cuda_plain_emit.h"

#include <string.h>

/* Statements --------------------------------------------------------------------------------------------- */

static void barrier(Emitter *e)
{
    plain_barrier(e);
    plain_none_pending(e->pending);
}

static void comment(Emitter *e, const Step *step)
{
    const Inst *inst = step->members[0];
    if (inst && inst->label)
        cuda_line(e->g, "/* %%%u %s */\n", inst->id, inst->label);
}

static const char *sequence(Emitter *e, const Inst *seq)
{
    bool keys = seq->seq == SEQ_K_BEGIN || seq->seq == SEQ_K_LENGTH;
    int slot = keys ? SLOT_CU_K : SLOT_CU_Q;
    const char *rows = PRINT("((const int *)P.slots[%d])", slot), *batch = plain_element(e, seq->args[0]);
    if (seq->seq == SEQ_Q_BEGIN || seq->seq == SEQ_K_BEGIN)
        return PRINT("P.slots[%d] ? %s[%s] : 0", slot, rows, batch);
    return PRINT("P.slots[%d] ? %s[%s + 1] - %s[%s] : %s", slot, rows, batch, rows, batch,
                 cuda_size(e->g, keys ? VAR_SIZE_N : VAR_SIZE_M));
}

static void emit_scalar(Emitter *e, const Inst *inst)
{
    const char *type = inst->has_value ? cuda_type(e->g, inst) : "", *text = NULL;
    CudaOperands operands = plain_operands(e);
    switch (inst->op) {
    case TILE_SET: {
        const Inst *var = inst->target;
        cuda_line(e->g, "v%u = %s;\n", var->id,
                  plain_rounded(e, var->type.elem, plain_element(e, inst->args[0])));
        return;
    }
    case TILE_VAR:
        cuda_line(e->g, "%s v%u = %s;\n", type, inst->id,
                  plain_rounded(e, inst->type.elem, plain_element(e, inst->args[0])));
        return;
    case TILE_GRID: text = PRINT("g%d", inst->grid); break;
    case TILE_SEQ: text = sequence(e, inst); break;
    case TILE_MAP: text = cuda_map(e->g, inst, operands); break;
    case TILE_LOAD: text = cuda_load(e->g, inst, operands); break;
    default:
        diag_error(e->g->diag, inst->span, "cuda-plain", "the CUDA back end cannot emit %%%u (%s)", inst->id,
                   tile_op_info[inst->op].name);
        return;
    }
    cuda_line(e->g, "const %s v%u = %s;\n", type, inst->id, text);
}

static void emit_steps(Emitter *e, const Step *step);

static void emit_for(Emitter *e, const Step *step)
{
    const Inst *loop = step->members[0];
    const char *lo = plain_element(e, loop->args[0]), *hi = plain_element(e, loop->args[1]),
               *type = cuda_type(e->g, loop);
    if (plain_any_pending(e->pending))
        barrier(e);
    if (loop->reverse)
        cuda_line(e->g, "for (%s v%u = (%s)(%s - 1); v%u >= %s; --v%u) {\n", type, loop->id, type, hi,
                  loop->id, lo, loop->id);
    else
        cuda_line(e->g, "for (%s v%u = (%s)%s; v%u < %s; ++v%u) {\n", type, loop->id, type, lo, loop->id, hi,
                  loop->id);
    e->g->indent += 4;
    emit_steps(e, step->body);
    if (plain_any_pending(e->pending))
        barrier(e);
    plain_close(e);
}

static void emit_if(Emitter *e, const Step *step)
{
    cuda_line(e->g, "if (%s) {\n", plain_element(e, step->members[0]->args[0]));
    e->g->indent += 4;
    Pending *other = plain_pending(e->g, e->pending), *after = e->pending;
    bool copies = e->copies, after_copies;
    emit_steps(e, step->body);
    plain_close(e);
    e->pending = other;
    after_copies = e->copies;
    e->copies = copies;
    if (step->orelse) {
        cuda_line(e->g, "else {\n");
        e->g->indent += 4;
        emit_steps(e, step->orelse);
        plain_close(e);
    }
    e->copies |= after_copies;
    if (plain_join(e->pending, after))
        barrier(e);
}

static void emit_steps(Emitter *e, const Step *step)
{
    for (; step; step = step->next) {
        const Inst *inst = step->members[0];
        if (step->kind == STEP_FOR) {
            emit_for(e, step);
            continue;
        }
        if (step->kind == STEP_IF) {
            emit_if(e, step);
            continue;
        }
        if (plain_order(&e->plan, e->pending, step))
            plain_barrier(e);
        if (step->kind != STEP_SCALAR)
            comment(e, step);
        switch (step->kind) {
        case STEP_SCALAR: emit_scalar(e, inst); break;
        case STEP_GROUP:
            plain_is_copy(&e->plan, step) ? plain_copy(e, step) : plain_group(e, step);
            plain_zero_padding(e, step);
            break;
        case STEP_REDUCE: plain_reduce(e, inst); break;
        case STEP_CONTRACT: plain_contract(e, step); break;
        case STEP_FOR:
        case STEP_IF: break;
        }
    }
}

/* Coordinates of the work item; the last dimension is the fastest. */
static void emit_grid(Emitter *e)
{
    const Phase *phase = e->g->phase;
    cuda_line(e->g, "unsigned item = blockIdx.x;\n");
    if (e->plan.slices > 1)
        cuda_line(e->g, "const int slice = (int)(item %% %du) * %d; item /= %du;\n", e->plan.slices,
                  (int)e->g->slice_extent, e->plan.slices);
    for (int k = phase->grid_count - 1; k >= 0; k--) {
        const Extent *x = &phase->grid[k].extent;
        const char *size = x->size < 0 ? "1" : cuda_size(e->g, (VarId)x->size);
        const char *count = PRINT("(%s + %lld) / %lld * %lld", size, (long long)x->div - 1, (long long)x->div,
                                  (long long)x->mul);
        if (k)
            cuda_line(e->g, "const int g%d = (int)(item %% (unsigned)(%s)); item /= (unsigned)(%s);\n", k,
                      count, count);
        else
            cuda_line(e->g, "const int g0 = (int)item;\n");
    }
}

bool cuda_plain(CudaGen *g, KernelPhase *out, int *slices)
{
    Emitter *e = ARENA_NEW(g->arena, Emitter);
    int errors = g->diag->errors;
    *e = (Emitter){.g = g,
                   .name = ARENA_ARRAY(g->arena, const char *, g->program->next_id),
                   .named = ARENA_ARRAY(g->arena, uint32_t, (size_t)g->program->next_id * 4 + 64),
                   .pending = plain_pending(g, NULL)};
    if (!plain_plan(g, &e->plan))
        return false;
    g->exact_differences = true;
    plain_launch(&e->plan, out);
    *slices = e->plan.slices;
    const char *phase = g->phase->name;
    cuda_line(g, "struct Launch_%s { long long slots[%d]; };\n\n", phase,
              slot_of_tensor(g->program->tensor_count));
    cuda_line(g,
              "extern \"C\" __global__ void __launch_bounds__(%d) %s(const __grid_constant__ Launch_%s P)\n",
              PLAIN_THREADS, out->entry, phase);
    plain_open(e);
    cuda_line(g, "extern __shared__ __align__(128) unsigned char attune_tiles[];\n");
    if (e->plan.spill_tensor >= 0)
        cuda_line(g,
                  "unsigned char *const attune_spill = (unsigned char *)P.slots[%d] + blockIdx.x * %lldLL;\n",
                  slot_of_tensor(e->plan.spill_tensor), (long long)e->plan.spill_bytes);
    emit_grid(e);
    emit_steps(e, e->plan.steps);
    plain_close(e);
    cuda_line(g, "\n");
    g->exact_differences = false;
    g->slice_extent = 0;
    return g->diag->errors == errors;
}
