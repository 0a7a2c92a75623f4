/* Lifetimes and places in memory of the tiles of cuda_plain. */
#include "cuda_plain.h"

enum { ALIGNMENT = 128 };

static int element_bytes(const CudaGen *g, const Inst *inst)
{
    switch (inst->type.elem) {
    case ELEM_TYPE_BOOL: return 1;
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: return 2;
    case ELEM_TYPE_F32: return 4;
    default: return cuda_narrow(g, inst) ? 4 : 8;
    }
}

static int up(int64_t n, int to)
{
    return (int)((n + to - 1) / to * to);
}

/* Lifetimes ---------------------------------------------------------------------------------------------- */

typedef struct Lifetimes {
    PlainPlan *plan;
    Step *step;
    PlainValue **buffers; /* in the order of their making */
    int count;
} Lifetimes;

static bool holds(const Step *outer, const Step *step)
{
    for (; step; step = step->parent)
        if (step == outer)
            return true;
    return false;
}

/* Until the end of the loops that the value was made before. */
static void use_at(PlainValue *value, const Step *step)
{
    int last = step->order;
    for (const Step *outer = step->parent; outer; outer = outer->parent)
        if (outer->kind == STEP_FOR && !holds(outer, value->step))
            last = outer->end;
    if (last > value->last)
        value->last = last;
}

static void note_use(void *user, const Inst *inst)
{
    Lifetimes *l = user;
    PlainValue *value = &l->plan->values[inst->id];
    if (value->kind != PLAIN_TILE)
        return;
    value->buffered |= value->step != l->step;
    use_at(value, l->step);
}

static void note_made(Lifetimes *l, const Inst *inst)
{
    PlainValue *value = &l->plan->values[inst->id];
    if (!inst->has_value || value->kind != PLAIN_TILE)
        return;
    value->step = l->step;
    value->inst = inst;
    value->first = value->last = l->step->order;
    value->buffered |= l->step->kind != STEP_GROUP || inst->op == TILE_REDUCE;
    l->buffers[l->count++] = value;
}

/* Room for slices of operands that are computed in place: rows of the kept axis, as many columns as a slice
 * has. */
static void note_slices(Lifetimes *l, const Inst *contract)
{
    PlainPlan *plan = l->plan;
    bool product = plain_is_product(contract);
    for (int k = 0; k < 2; k++) {
        const Inst *operand = contract->args[k];
        if (plan->values[operand->id].kind != PLAIN_INLINE)
            continue;
        if (!l->step->slices)
            l->step->slices = ARENA_ARRAY(plan->g->arena, PlainValue, 2);
        PlainValue *slice = &l->step->slices[k];
        int64_t rows = plain_extent(plan->g, operand->type.axis[operand->type.axis[0] == contract->axis]);
        *slice = (PlainValue){.kind = PLAIN_TILE,
                              .step = l->step,
                              .buffered = true,
                              .columns = PLAIN_SLICE,
                              .rows = product ? up(rows, 16) : (int)rows,
                              .pitch = PLAIN_SLICE + (product ? 8 : 4),
                              .size = element_bytes(plan->g, operand),
                              .first = l->step->order,
                              .last = l->step->order};
        l->buffers[l->count++] = slice;
    }
}

static void live_steps(Lifetimes *l, Step *step)
{
    for (; step; step = step->next) {
        l->step = step;
        for (int k = 0; k < step->member_count; k++) {
            const Inst *inst = step->members[k];
            note_made(l, inst);
            plain_reads(l->plan, inst, note_use, l);
            if (inst->target)
                note_use(l, inst->target);
            if (inst->op == TILE_CONTRACT && plain_is_matrix(inst))
                note_slices(l, inst);
        }
        live_steps(l, step->body);
        live_steps(l, step->orelse);
    }
}

/* Places ------------------------------------------------------------------------------------------------- */

/* Pitches keep the rows of a matrix in different banks, for the fragments of tensor cores and for vectors of
 * four. */
static void shape_buffer(const PlainPlan *plan, const Inst *inst, PlainValue *value)
{
    const CudaGen *g = plan->g;
    const TileType *type = &inst->type;
    int64_t columns = type->axis_count ? plain_extent(g, type->axis[type->axis_count - 1]) : 1;
    int64_t rows = plain_count(g, type) / columns;
    value->size = element_bytes(g, inst);
    value->rows = value->product ? up(rows, 16) : (int)rows;
    value->columns = value->product ? up(columns, 16) : (int)columns;
    value->pitch = value->columns;
    if (value->product)
        value->pitch += 8;
    else if (type->axis_count > 1 && value->size == 4)
        value->pitch = up(columns, 8) + (plan->products ? 8 : 4);
    else if (type->axis_count > 1)
        value->pitch = up(columns, 8) + 8;
}

static void shape_all(const PlainPlan *plan, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->has_value && plan->values[inst->id].kind == PLAIN_TILE)
            shape_buffer(plan, inst, &plan->values[inst->id]);
        shape_all(plan, inst->body);
        shape_all(plan, inst->orelse);
    }
}

static int bytes_of(const PlainValue *value)
{
    return up((int64_t)value->rows * value->pitch * value->size, ALIGNMENT);
}

/* A tile that is read for the last time where this one is made, element by element, gives it its place. */
static bool place_over(const Lifetimes *l, int index)
{
    PlainValue *value = l->buffers[index];
    const Step *step = value->step;
    if (step->kind != STEP_GROUP || !value->inst || !plain_same_axes(&value->inst->type, &step->axes))
        return false;
    for (int k = 0; k < index; k++) {
        PlainValue *old = l->buffers[k];
        if (!old->buffered || old->spilled || old->last != value->first || old->step == step || old->taken ||
            !old->inst || old->rows != value->rows || old->pitch != value->pitch ||
            old->size != value->size || !plain_same_axes(&old->inst->type, &step->axes))
            continue;
        bool written = false;
        for (int m = 0; m < step->member_count; m++)
            written |= step->members[m]->target == old->inst;
        if (written)
            continue;
        old->taken = true;
        value->offset = old->offset;
        return true;
    }
    return false;
}

/* The lowest place that no living buffer has. */
static bool place(const Lifetimes *l, int index)
{
    PlainValue *value = l->buffers[index];
    int64_t bytes = (int64_t)value->rows * value->pitch * value->size;
    if (bytes > 1 << 24)
        return false;
    if (place_over(l, index))
        return true;
    value->offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int k = 0; k < index; k++) {
            const PlainValue *other = l->buffers[k];
            if (!other->buffered || other->spilled || other->last < value->first ||
                other->first > value->last || other->offset + bytes_of(other) <= value->offset ||
                value->offset + bytes_of(value) <= other->offset)
                continue;
            value->offset = other->offset + bytes_of(other);
            moved = true;
        }
    }
    return true;
}

static bool place_all(const Lifetimes *l)
{
    PlainPlan *plan = l->plan;
    plan->bytes = 0;
    for (int k = 0; k < l->count; k++)
        l->buffers[k]->taken = false;
    for (int k = 0; k < l->count; k++) {
        if (!l->buffers[k]->buffered || l->buffers[k]->spilled)
            continue;
        if (!place(l, k))
            return false;
        int end = l->buffers[k]->offset + bytes_of(l->buffers[k]);
        plan->bytes = end > plan->bytes ? end : plan->bytes;
    }
    return plan->bytes <= plan->g->target->shared_bytes;
}

/* The largest tile that tensor cores do not read moves to global memory. False: there is none. */
static bool spill_one(const Lifetimes *l)
{
    PlainValue *largest = NULL;
    for (int k = 0; k < l->count; k++) {
        PlainValue *value = l->buffers[k];
        if (value->buffered && !value->spilled && !value->product && value->inst &&
            (!largest || bytes_of(value) > bytes_of(largest)))
            largest = value;
    }
    if (!largest || (int64_t)largest->rows * largest->pitch * largest->size > 1 << 26)
        return false;
    largest->spilled = true;
    largest->offset = (int)l->plan->spill_bytes;
    l->plan->spill_bytes += bytes_of(largest);
    return l->plan->spill_bytes < 1 << 28;
}

bool plain_place(PlainPlan *plan, bool spill)
{
    CudaGen *g = plan->g;
    Lifetimes l = {.plan = plan,
                   .buffers = ARENA_ARRAY(g->arena, PlainValue *, 2 * (size_t)g->program->next_id)};
    live_steps(&l, plan->steps);
    shape_all(plan, g->phase->body);
    bool fits = place_all(&l);
    while (!fits && spill && spill_one(&l))
        fits = place_all(&l);
    return fits;
}
