/* Launches: slots, workspace, plans; and phases over the pool. */
#include "runtime/launch.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/cuda_kernel.h"
#include "runtime/error.h"
#include "runtime/machine.h"
#include "runtime/problem.h"

enum { ALIGN = 64, MAX_ITEMS_A_CHUNK = 64, CHUNKS_A_THREAD = 16 };

static const Backend host_backend;

AttuneKernel *kernel_create(AttuneContext *context, Description *description)
{
    AttuneKernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) {
        description_destroy(description);
        return NULL;
    }
    atomic_init(&kernel->references, 1);
    context_retain(context);
    kernel->context = context;
    kernel->description = description;
    kernel->backend = &host_backend;
    return kernel;
}

void kernel_retain(AttuneKernel *kernel)
{
    atomic_fetch_add_explicit(&kernel->references, 1, memory_order_relaxed);
}

void attune_kernel_destroy(AttuneKernel *kernel)
{
    if (!kernel || atomic_fetch_sub_explicit(&kernel->references, 1, memory_order_acq_rel) != 1)
        return;
    if (kernel->code_destroy)
        kernel->code_destroy(kernel->code);
    description_destroy(kernel->description);
    context_release(kernel->context);
    free(kernel);
}

static void kernel_state_shape(const AttuneKernel *kernel, int64_t *rows, int64_t *columns)
{
    const Shape *shape = &kernel->description->shape;
    *rows = *columns = 0;
    for (int t = 0; t < shape->tensor_count; t++)
        if (shape->tensors[t].role == ROLE_STATE) {
            *rows = shape->tensors[t].extent[2].mul;
            *columns = shape->tensors[t].extent[3].mul;
        }
}

void attune_kernel_info(const AttuneKernel *kernel, AttuneKernelInfo *info)
{
    const Shape *shape = &kernel->description->shape;
    *info = (AttuneKernelInfo){
        .name = kernel->description->signature.name,
        .target = shape->target,
        .device = kernel->backend->device,
        .dtype = shape->dtype,
        .d = shape->D,
        .e = shape->E,
        .phase_count = shape->phase_count,
        .scratch_bytes = shape->scratch_bytes,
        .code_bytes = kernel->code_bytes,
        .key = kernel->key,
        .origin = kernel->origin,
        .create_ms = kernel->create_ms,
    };
    kernel_state_shape(kernel, &info->state_rows, &info->state_columns);
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        info->block_m[a] = shape->block_m[a];
        info->block_n[a] = shape->block_n[a];
    }
}

AttuneKernel *attune_kernel_from_built(AttuneContext *context, const AttuneBuilt *built, AttuneError **error)
{
    if (!context || !built || !built->description || (!built->phases && !built->image)) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is NULL", !context ? "context" : "built or a part of it");
        return NULL;
    }
    Description *description = description_unpack(built->description, built->description_size, error);
    if (!description)
        return NULL;
    int phase_count = description->shape.phase_count;
    if (phase_count != built->phase_count || phase_count < 1) {
        error_set(error, ATTUNE_ERROR_ARGUMENT,
                  "built has %d phases, but its description has %d: the header and the object "
                  "are not of one build",
                  (int)built->phase_count, phase_count);
        description_destroy(description);
        return NULL;
    }
    if (machine_check(description->shape.target, description->shape.needs, error) != ATTUNE_OK) {
        description_destroy(description);
        return NULL;
    }
    AttuneKernel *kernel = kernel_create(context, description);
    if (!kernel) {
        error_memory(error);
        return NULL;
    }
    kernel->origin = ATTUNE_FROM_BUILD;
    if (!built->image) {
        memcpy(kernel->phases, built->phases, (size_t)phase_count * sizeof built->phases[0]);
    } else if (cuda_kernel_load(kernel, built->image, built->image_size, false, error) != ATTUNE_OK) {
        attune_kernel_destroy(kernel);
        return NULL;
    }
    return kernel;
}

/* ceil(size / div) * mul. False: not representable. */
static bool extent_of(const Extent *extent, const int64_t *slots, int64_t *value)
{
    int64_t size = extent->size < 0 ? 1 : slots[slot_of_size((VarId)extent->size)];
    return !__builtin_mul_overflow(size / extent->div + (size % extent->div != 0), extent->mul, value);
}

static size_t align_up(size_t size)
{
    return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Adds a dense row-major tensor to the workspace; fills its strides. */
static bool add_workspace(Ready *r, int tensor, const int64_t *extent, int dim_count, AttuneDtype dtype)
{
    int64_t *slot = &r->slots[slot_of_tensor(tensor)], count = 1, bytes;
    for (int d = dim_count - 1; d >= 0; d--) {
        slot[1 + d] = count;
        if (extent[d] > 0 && __builtin_mul_overflow(count, extent[d], &count))
            return false;
    }
    if (__builtin_mul_overflow(count, attune_dtype_size(dtype), &bytes) || bytes > (int64_t)1 << 56)
        return false;
    r->workspace[tensor] = r->total;
    r->total += align_up((size_t)bytes);
    return r->total <= (size_t)1 << 56;
}

static void set_strides(Ready *r, int tensor, const View *view)
{
    memcpy(&r->slots[slot_of_tensor(tensor) + 1], view->stride, sizeof view->stride);
}

static bool ready_tensors(const AttuneKernel *kernel, const Problem *p, Ready *r)
{
    const Shape *shape = &kernel->description->shape;
    for (int t = 0; t < shape->tensor_count; t++) {
        int64_t extent[SPEC_MAX_DIMS];
        r->workspace[t] = SIZE_MAX;
        switch (shape->tensors[t].role) {
        case ROLE_Q: set_strides(r, t, &p->q); break;
        case ROLE_K: set_strides(r, t, &p->k); break;
        case ROLE_V: set_strides(r, t, &p->v); break;
        case ROLE_O: set_strides(r, t, &p->o); break;
        case ROLE_INPUT: set_strides(r, t, &p->inputs[shape->tensors[t].index]); break;
        case ROLE_RETURN:
            set_strides(r, t, &p->returns[shape->tensors[t].index]);
            if (!p->has_return[shape->tensors[t].index]) { /* computed, but not asked for */
                int64_t ragged = p->slots[SLOT_CU_Q] != 0;
                extent[0] = ragged ? 1 : p->slots[slot_of_size(VAR_SIZE_B)];
                extent[1] = p->slots[slot_of_size(VAR_SIZE_H)];
                extent[2] = p->total_q;
                if (!add_workspace(r, t, extent, 3, ATTUNE_F32))
                    return false;
                if (ragged)
                    r->slots[slot_of_tensor(t) + 1] = 0;
            }
            break;
        case ROLE_STATE: set_strides(r, t, &p->state[shape->tensors[t].index]); break;
        case ROLE_WORKSPACE:
            for (int d = 0; d < shape->tensors[t].dim_count; d++)
                if (!extent_of(&shape->tensors[t].extent[d], r->slots, &extent[d]))
                    return false;
            if (!add_workspace(r, t, extent, shape->tensors[t].dim_count, shape->tensors[t].dtype))
                return false;
            break;
        }
    }
    return true;
}

static AttuneStatus make_ready(const AttuneKernel *kernel, const Problem *p, Ready *r, AttuneError **error)
{
    const Shape *shape = &kernel->description->shape;
    memset(r->slots, 0, sizeof r->slots);
    memcpy(r->slots, p->slots, sizeof p->slots);
    r->total = 0;
    r->total_q = p->total_q;
    r->total_k = p->total_k;
    r->device = p->device;
    bool fits = ready_tensors(kernel, p, r);
    for (int i = 0; i < shape->phase_count && fits; i++) {
        r->items[i] = 1;
        for (int g = 0; g < shape->phases[i].grid_count && fits; g++) {
            int64_t extent;
            fits = extent_of(&shape->phases[i].grid[g], r->slots, &extent) &&
                   !__builtin_mul_overflow(r->items[i], extent, &r->items[i]);
        }
    }
    if (!fits)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "the launch needs more workspace or work items than can be counted: "
                         "split it along B or H");
    return ATTUNE_OK;
}

void ready_place(const AttuneKernel *kernel, Ready *r, uintptr_t block)
{
    for (int t = 0; t < kernel->description->shape.tensor_count; t++)
        if (r->workspace[t] != SIZE_MAX)
            r->slots[slot_of_tensor(t)] = (int64_t)(block + r->workspace[t]);
}

/* The host ---------------------------------------------------------------------------------------------- */

typedef struct Work {
    AttunePhase phase;
    const int64_t *slots;
    int64_t items;
    char *scratch;
    size_t scratch_each;
} Work;

/* From the last item to the first: query tiles are the fastest part of an item's number, and under causal
 * masks late tiles see the most keys, so what is left for the end, when threads run out of work, is small. */
static void work_items(void *user, int64_t begin, int64_t end, int participant)
{
    const Work *work = user;
    work->phase(work->slots, work->items - end, work->items - begin,
                work->scratch + (size_t)participant * work->scratch_each);
}

/* Few enough chunks to keep the counter cheap, enough to even out rows that see few keys. */
static int64_t chunk_of(int64_t items, int threads)
{
    int64_t chunk = items / ((int64_t)threads * CHUNKS_A_THREAD);
    return chunk < 1 ? 1 : chunk > MAX_ITEMS_A_CHUNK ? MAX_ITEMS_A_CHUNK : chunk;
}

static AttuneStatus host_run(AttuneKernel *kernel, Ready *r, void *plan, void *stream, AttuneError **error)
{
    (void)plan, (void)stream;
    AttuneContext *context = kernel->context;
    const Shape *shape = &kernel->description->shape;
    size_t scratch_each = align_up((size_t)shape->scratch_bytes);
    size_t total = r->total + scratch_each * (size_t)pool_threads(context->pool);
    char *block = NULL;
    if (total > 0) {
        block = context_block_take(context, total);
        if (!block)
            return error_set(error, ATTUNE_ERROR_MEMORY,
                             "out of memory: the launch needs %zu bytes of workspace", total);
    }
    ready_place(kernel, r, (uintptr_t)block);
    AttuneStatus status = ATTUNE_OK;
    if (kernel->interpret) {
        status = kernel->interpret(kernel->code, r->slots, error);
    } else {
        for (int i = 0; i < shape->phase_count; i++) {
            Work work = {kernel->phases[i], r->slots, r->items[i], block + r->total, scratch_each};
            pool_run(context->pool, work_items, &work, r->items[i],
                     chunk_of(r->items[i], pool_threads(context->pool)));
        }
    }
    context_block_return(context, block);
    return status;
}

static const Backend host_backend = {.device = ATTUNE_DEVICE_HOST, .run = host_run};

/* Launches ---------------------------------------------------------------------------------------------- */

static ProblemRules rules_of(const AttuneKernel *kernel, bool without_data)
{
    const Shape *shape = &kernel->description->shape;
    ProblemRules rules = {&kernel->description->signature, shape->dtype, shape->D, shape->E,
                          kernel->backend->device,         without_data, 0, 0};
    kernel_state_shape(kernel, &rules.state_rows, &rules.state_columns);
    return rules;
}

static void set_address(const AttuneKernel *kernel, Ready *r, TensorRole role, int index, const void *data)
{
    const Shape *shape = &kernel->description->shape;
    for (int t = 0; t < shape->tensor_count; t++)
        if (shape->tensors[t].role == role && (shape->tensors[t].index == index || role < ROLE_RETURN))
            r->slots[slot_of_tensor(t)] = (int64_t)(intptr_t)data;
}

static bool nothing_to_do(const Problem *p)
{
    return p->slots[slot_of_size(VAR_SIZE_B)] == 0 || p->slots[slot_of_size(VAR_SIZE_H)] == 0 ||
           (p->total_q == 0 && !p->has_state[STATE_OUT]);
}

AttuneStatus attune_kernel_launch(AttuneKernel *kernel, const AttuneLaunch *launch, AttuneError **error)
{
    if (!kernel)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "kernel is NULL");
    Problem p;
    ProblemRules rules = rules_of(kernel, false);
    AttuneStatus status = problem_check(&rules, launch, &p, error);
    if (status != ATTUNE_OK || nothing_to_do(&p))
        return status;
    Ready r;
    status = make_ready(kernel, &p, &r, error);
    if (status != ATTUNE_OK)
        return status;
    set_address(kernel, &r, ROLE_Q, 0, p.q.data);
    set_address(kernel, &r, ROLE_K, 0, p.k.data);
    set_address(kernel, &r, ROLE_V, 0, p.v.data);
    set_address(kernel, &r, ROLE_O, 0, p.o.data);
    for (int i = 0; i < rules.signature->input_count; i++)
        set_address(kernel, &r, ROLE_INPUT, i, p.inputs[i].data);
    for (int k = 0; k < RETURN_KIND_COUNT; k++)
        if (p.has_return[k])
            set_address(kernel, &r, ROLE_RETURN, k, p.returns[k].data);
    for (int out = 0; out < 2; out++)
        set_address(kernel, &r, ROLE_STATE, out, p.state[out].data);
    return kernel->backend->run(kernel, &r, NULL, launch->stream, error);
}

/* Plans ------------------------------------------------------------------------------------------------- */

struct AttunePlan {
    AttuneKernel *kernel; /* retained */
    Problem problem;
    Ready ready;
    int input_count, return_count;
    int32_t *lengths;     /* copies of cu_seqlens, or NULL */
    void *shared;         /* the backend's */
};

AttunePlan *attune_plan_create(AttuneKernel *kernel, const AttuneLaunch *launch, AttuneError **error)
{
    if (!kernel) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "kernel is NULL");
        return NULL;
    }
    AttunePlan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        error_memory(error);
        return NULL;
    }
    Problem *p = &plan->problem;
    ProblemRules rules = rules_of(kernel, true);
    if (problem_check(&rules, launch, p, error) != ATTUNE_OK) {
        free(plan);
        return NULL;
    }
    if (p->slots[SLOT_CU_Q]) {
        size_t count = (size_t)launch->sequences + 1;
        plan->lengths = malloc(2 * count * sizeof plan->lengths[0]);
        if (!plan->lengths) {
            free(plan);
            error_memory(error);
            return NULL;
        }
        memcpy(plan->lengths, launch->cu_seqlens_q, count * sizeof plan->lengths[0]);
        memcpy(plan->lengths + count, launch->cu_seqlens_k, count * sizeof plan->lengths[0]);
        p->slots[SLOT_CU_Q] = (int64_t)(intptr_t)plan->lengths;
        p->slots[SLOT_CU_K] = (int64_t)(intptr_t)(plan->lengths + count);
    }
    const Backend *backend = kernel->backend;
    if (make_ready(kernel, p, &plan->ready, error) != ATTUNE_OK ||
        (backend->plan_open && backend->plan_open(kernel, &plan->ready, &plan->shared, error) != ATTUNE_OK)) {
        free(plan->lengths);
        free(plan);
        return NULL;
    }
    plan->input_count = launch->input_count;
    plan->return_count = launch->return_count;
    plan->kernel = kernel;
    kernel_retain(kernel);
    return plan;
}

AttuneStatus attune_plan_launch(AttunePlan *plan, const AttunePlanData *data, AttuneError **error)
{
    if (!plan || !data)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is NULL", plan ? "data" : "plan");
    const Problem *p = &plan->problem;
    const Signature *signature = &plan->kernel->description->signature;
    AttuneDtype dtype = plan->kernel->description->shape.dtype;
    if (nothing_to_do(p))
        return ATTUNE_OK;
    Ready r = plan->ready; /* several threads may launch one plan */
    const struct {
        const char *name;
        const void *data;
        const View *view;
        TensorRole role;
    } rows[] = {{"q", data->q, &p->q, ROLE_Q}, {"k", data->k, &p->k, ROLE_K}, {"v", data->v, &p->v, ROLE_V},
                {"o", data->o, &p->o, ROLE_O}};
    AttuneStatus status = ATTUNE_OK;
    for (int i = 0; i < 4 && status == ATTUNE_OK; i++) {
        status = problem_check_data(rows[i].name, rows[i].data, dtype, rows[i].view, error);
        set_address(plan->kernel, &r, rows[i].role, 0, rows[i].data);
    }
    for (int i = 0; i < plan->input_count && status == ATTUNE_OK; i++) {
        int index = p->input_order[i];
        const void *given = data->inputs ? data->inputs[i] : NULL;
        status = problem_check_data(signature->inputs[index].name, given, signature->inputs[index].dtype,
                                    &p->inputs[index], error);
        set_address(plan->kernel, &r, ROLE_INPUT, index, given);
    }
    for (int i = 0; i < plan->return_count && status == ATTUNE_OK; i++) {
        int kind = p->return_order[i];
        const void *given = data->returns ? data->returns[i] : NULL;
        status = problem_check_data(signature->returns[kind], given, ATTUNE_F32, &p->returns[kind], error);
        set_address(plan->kernel, &r, ROLE_RETURN, kind, given);
    }
    const void *states[2] = {data->state_in, data->state_out};
    for (int out = 0; out < 2 && status == ATTUNE_OK; out++)
        if (p->has_state[out]) {
            status = problem_check_data(out ? "state_out" : "state_in", states[out], ATTUNE_F32, &p->state[out], error);
            set_address(plan->kernel, &r, ROLE_STATE, out, states[out]);
        }
    return status == ATTUNE_OK
               ? plan->kernel->backend->run(plan->kernel, &r, plan->shared, data->stream, error)
               : status;
}

void attune_plan_destroy(AttunePlan *plan)
{
    if (!plan)
        return;
    if (plan->kernel->backend->plan_close)
        plan->kernel->backend->plan_close(plan->shared);
    attune_kernel_destroy(plan->kernel);
    free(plan->lengths);
    free(plan);
}
