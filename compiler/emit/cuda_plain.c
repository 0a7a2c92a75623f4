/* Any phase as a __global__ function: a block of threads computes one work item, step by step
 * (cuda_plain_plan.c), with its tiles in shared memory and barriers where threads read what others wrote. */
#include "cuda_plain_emit.h"

#include <string.h>

typedef struct Access {
    int64_t lo, hi;  /* bytes of shared memory; tensors in global memory have places below 0 */
    bool write, own; /* own: every thread touches the elements that the loop over `axes` gives it */
    TileType axes;
    int64_t offset; /* own: where an element lies */
    int pitch, size;
} Access;

enum { MAX_ACCESSES = 1024 };
struct Pending {
    Access list[MAX_ACCESSES];
    int count;
};

/* Barriers ----------------------------------------------------------------------------------------------- */

static bool same_element(const Access *a, const Access *b)
{
    return a->own && b->own && plain_same_axes(&a->axes, &b->axes) && a->offset == b->offset &&
           a->pitch == b->pitch && a->size == b->size;
}

static void barrier(Emitter *e)
{
    cuda_line(e->g, "__syncthreads();\n");
    e->pending->count = 0;
}

static bool conflicts(const Pending *pending, const Access *a)
{
    for (int k = 0; k < pending->count; k++) {
        const Access *b = &pending->list[k];
        if ((a->write || b->write) && a->lo < b->hi && b->lo < a->hi && !same_element(a, b))
            return true;
    }
    return false;
}

typedef struct Accesses {
    Emitter *e;
    const Step *step;
    Pending list;
    bool vector;
} Accesses;

static void add_access(Accesses *a, const Access *access)
{
    if (a->list.count < MAX_ACCESSES)
        a->list.list[a->list.count++] = *access;
    else
        diag_error(a->e->g->diag, a->step->members[0]->span, "cuda-plain",
                   "a step of phase %s touches more than %d tiles", a->e->g->phase->name, MAX_ACCESSES);
}

static void touch(Accesses *a, const Inst *value, bool write)
{
    const PlainValue *v = &a->e->plan.values[value->id];
    if (v->kind != PLAIN_TILE || !v->buffered)
        return;
    bool own = a->step->kind == STEP_GROUP && !a->vector && plain_same_axes(&value->type, &a->step->axes);
    int64_t lo = v->offset + (v->spilled ? (int64_t)1 << 40 : 0);
    add_access(a, &(Access){lo, lo + (int64_t)v->rows * v->pitch * v->size, write, own, a->step->axes, lo,
                            v->pitch, v->size});
}

static void touch_read(void *user, const Inst *value)
{
    touch(user, value, false);
}

/* What the step touches; a barrier before it when that is needed. */
static void order_accesses(Emitter *e, const Step *step, bool vector)
{
    Accesses *a = ARENA_NEW(e->g->arena, Accesses);
    *a = (Accesses){.e = e, .step = step, .vector = vector};
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        plain_reads(&e->plan, inst, touch_read, a);
        if (inst->has_value)
            touch(a, inst, true);
        if (inst->target)
            touch(a, inst->target, true);
        if ((inst->op == TILE_LOAD || inst->op == TILE_STORE) && e->plan.stored[inst->tensor])
            add_access(a, &(Access){.lo = -1 - inst->tensor,
                                    .hi = -inst->tensor,
                                    .write = inst->op == TILE_STORE});
    }
    for (int k = 0; step->slices && k < 2; k++)
        add_access(a, &(Access){.lo = step->slices[k].offset,
                                .write = true,
                                .hi = step->slices[k].offset + (int64_t)step->slices[k].rows *
                                                                   step->slices[k].pitch *
                                                                   step->slices[k].size});
    bool wait = e->pending->count + a->list.count > MAX_ACCESSES;
    for (int k = 0; k < a->list.count; k++)
        wait |= conflicts(e->pending, &a->list.list[k]);
    if (wait)
        barrier(e);
    memcpy(e->pending->list + e->pending->count, a->list.list, (size_t)a->list.count * sizeof *a->list.list);
    e->pending->count += a->list.count;
}

static void comment(Emitter *e, const Step *step)
{
    const Inst *inst = step->members[0];
    if (inst && inst->label)
        cuda_line(e->g, "/* %%%u %s */\n", inst->id, inst->label);
}

/* Statements --------------------------------------------------------------------------------------------- */

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
    if (e->pending->count)
        barrier(e);
    if (loop->reverse)
        cuda_line(e->g, "for (%s v%u = (%s)(%s - 1); v%u >= %s; --v%u) {\n", type, loop->id, type, hi,
                  loop->id, lo, loop->id);
    else
        cuda_line(e->g, "for (%s v%u = (%s)%s; v%u < %s; ++v%u) {\n", type, loop->id, type, lo, loop->id, hi,
                  loop->id);
    e->g->indent += 4;
    emit_steps(e, step->body);
    if (e->pending->count)
        barrier(e);
    plain_close(e);
}

static void emit_if(Emitter *e, const Step *step)
{
    cuda_line(e->g, "if (%s) {\n", plain_element(e, step->members[0]->args[0]));
    e->g->indent += 4;
    Pending *before = ARENA_NEW(e->g->arena, Pending), *after = ARENA_NEW(e->g->arena, Pending);
    *before = *e->pending;
    emit_steps(e, step->body);
    plain_close(e);
    *after = *e->pending;
    *e->pending = *before;
    if (step->orelse) {
        cuda_line(e->g, "else {\n");
        e->g->indent += 4;
        emit_steps(e, step->orelse);
        plain_close(e);
    }
    if (e->pending->count + after->count > MAX_ACCESSES) {
        barrier(e);
        return;
    }
    memcpy(e->pending->list + e->pending->count, after->list, (size_t)after->count * sizeof *after->list);
    e->pending->count += after->count;
}

static void emit_steps(Emitter *e, const Step *step)
{
    for (; step; step = step->next) {
        const Inst *inst = step->members[0];
        bool vector = step->kind == STEP_GROUP && plain_is_copy(e, step);
        if (step->kind == STEP_FOR) {
            emit_for(e, step);
            continue;
        }
        if (step->kind == STEP_IF) {
            emit_if(e, step);
            continue;
        }
        order_accesses(e, step, vector);
        if (step->kind != STEP_SCALAR)
            comment(e, step);
        switch (step->kind) {
        case STEP_SCALAR: emit_scalar(e, inst); break;
        case STEP_GROUP:
            vector ? plain_copy(e, step) : plain_group(e, step);
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

/* The workspace for tiles that shared memory has no room for: so many bytes a block. -1: too many tensors. */
static int spill_tensor(CudaGen *g, const PlainPlan *plan)
{
    Program *program = g->program;
    Tensor tensor = {.name = arena_printf(g->arena, "%s_tiles", g->phase->name),
                     .role = ROLE_WORKSPACE,
                     .elem = ELEM_TYPE_F32};
    for (int t = 0; t < program->tensor_count; t++)
        tensor.index += program->tensors[t].role == ROLE_WORKSPACE;
    for (int k = 0; k < g->phase->grid_count && k < SPEC_MAX_DIMS - 1; k++)
        tensor.extent[tensor.dim_count++] = g->phase->grid[k].extent;
    if (g->phase->grid_count > SPEC_MAX_DIMS - 1)
        return -1;
    tensor.extent[tensor.dim_count++] =
        (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = plan->slices * (plan->spill_bytes / 4)};
    return program_tensor(program, tensor);
}

bool cuda_plain(CudaGen *g, KernelPhase *out, int *slices)
{
    Emitter *e = ARENA_NEW(g->arena, Emitter);
    int errors = g->diag->errors;
    *e = (Emitter){.g = g,
                   .name = ARENA_ARRAY(g->arena, const char *, g->program->next_id),
                   .named = ARENA_ARRAY(g->arena, uint32_t, (size_t)g->program->next_id * 4 + 64),
                   .pending = ARENA_NEW(g->arena, Pending)};
    if (!plain_plan(g, &e->plan))
        return false;
    int spill = e->plan.spill_bytes ? spill_tensor(g, &e->plan) : -1;
    if (e->plan.spill_bytes && spill < 0) {
        diag_error(g->diag, SPAN_NONE, PLAIN_TOO_LARGE, "phase %s has no room for its tiles", g->phase->name);
        return false;
    }
    g->exact_differences = true;
    out->threads = PLAIN_THREADS;
    out->shared_bytes = e->plan.bytes;
    out->persistent = false;
    *slices = e->plan.slices;
    out->map_count = 0;
    const char *phase = g->phase->name;
    cuda_line(g, "struct Launch_%s { long long slots[%d]; };\n\n", phase,
              slot_of_tensor(g->program->tensor_count));
    cuda_line(g,
              "extern \"C\" __global__ void __launch_bounds__(%d) %s(const __grid_constant__ Launch_%s P)\n",
              PLAIN_THREADS, out->entry, phase);
    plain_open(e);
    cuda_line(g, "extern __shared__ __align__(128) unsigned char attune_tiles[];\n");
    if (spill >= 0)
        cuda_line(g,
                  "unsigned char *const attune_spill = (unsigned char *)P.slots[%d] + blockIdx.x * %lldLL;\n",
                  slot_of_tensor(spill), (long long)e->plan.spill_bytes);
    emit_grid(e);
    emit_steps(e, e->plan.steps);
    plain_close(e);
    cuda_line(g, "\n");
    g->exact_differences = false;
    g->slice_extent = 0;
    return g->diag->errors == errors;
}
