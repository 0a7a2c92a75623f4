/* Which steps of a phase need a barrier before them: those that touch what another thread has touched since
 * the last one, when either of the two writes. */
#include "cuda_plain.h"

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

static bool same_element(const Access *a, const Access *b)
{
    return a->own && b->own && plain_same_axes(&a->axes, &b->axes) && a->offset == b->offset &&
           a->pitch == b->pitch && a->size == b->size;
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
    const PlainPlan *plan;
    const Step *step;
    Pending list;
    bool vector;
} Accesses;

static void add_access(Accesses *a, const Access *access)
{
    if (a->list.count < MAX_ACCESSES)
        a->list.list[a->list.count++] = *access;
    else
        diag_error(a->plan->g->diag, a->step->members[0]->span, "cuda-plain",
                   "a step of phase %s touches more than %d tiles", a->plan->g->phase->name, MAX_ACCESSES);
}

static void touch(Accesses *a, const Inst *value, bool write)
{
    const PlainValue *v = &a->plan->values[value->id];
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

bool plain_order(const PlainPlan *plan, Pending *pending, const Step *step)
{
    Accesses *a = ARENA_NEW(plan->g->arena, Accesses);
    *a = (Accesses){.plan = plan, .step = step, .vector = plain_is_copy(plan, step)};
    for (int k = 0; k < step->member_count; k++) {
        const Inst *inst = step->members[k];
        plain_reads(plan, inst, touch_read, a);
        if (inst->has_value)
            touch(a, inst, true);
        if (inst->target)
            touch(a, inst->target, true);
        if ((inst->op == TILE_LOAD || inst->op == TILE_STORE) && plan->stored[inst->tensor])
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
    bool wait = pending->count + a->list.count > MAX_ACCESSES;
    for (int k = 0; k < a->list.count; k++)
        wait |= conflicts(pending, &a->list.list[k]);
    if (wait)
        pending->count = 0;
    memcpy(pending->list + pending->count, a->list.list, (size_t)a->list.count * sizeof *a->list.list);
    pending->count += a->list.count;
    return wait;
}

Pending *plain_pending(CudaGen *g, const Pending *like)
{
    Pending *pending = ARENA_NEW(g->arena, Pending);
    if (like)
        *pending = *like;
    return pending;
}

bool plain_any_pending(const Pending *pending)
{
    return pending->count > 0;
}

void plain_none_pending(Pending *pending)
{
    pending->count = 0;
}

bool plain_join(Pending *pending, const Pending *other)
{
    bool wait = pending->count + other->count > MAX_ACCESSES;
    if (wait) {
        pending->count = 0;
        return true;
    }
    memcpy(pending->list + pending->count, other->list, (size_t)other->count * sizeof *other->list);
    pending->count += other->count;
    return false;
}
