/* What a case's tensors hold: random values that make sense for what the Spec does with them. */
#include <math.h>
#include <string.h>

#include "case_data.h"
#include "tests/support/problem.h"

/* Elements ------------------------------------------------------------------------------------------------ */

static int64_t offset_of(const CaseTensor *tensor, const int64_t *index)
{
    int64_t at = 0;
    for (int d = 0; d < tensor->dim_count; d++)
        at += index[d] * tensor->stride[d];
    return at;
}

void case_store(const CaseTensor *tensor, const int64_t *index, double value)
{
    store_element(tensor->memory.data, tensor->elem, offset_of(tensor, index), value);
}

double case_load(const CaseTensor *tensor, const int64_t *index)
{
    return load_element(tensor->memory.data, tensor->elem, offset_of(tensor, index));
}

bool case_tensor_empty(const CaseTensor *tensor)
{
    for (int d = 0; d < tensor->dim_count; d++)
        if (tensor->extent[d] == 0)
            return true;
    return false;
}

bool case_next(const CaseTensor *tensor, int64_t *index)
{
    for (int d = tensor->dim_count - 1; d >= 0; d--) {
        if (++index[d] < tensor->extent[d])
            return true;
        index[d] = 0;
    }
    return false;
}

/* Layouts ------------------------------------------------------------------------------------------------- */

/* order: dimensions, slowest first; pad: elements left free behind each run of a dimension, by place in the order. */
static bool make_tensor(CaseTensor *tensor, const int *order, const int64_t *pad, const bool *broadcast, bool flush_end)
{
    int64_t step = 1;
    for (int p = tensor->dim_count - 1; p >= 0; p--) {
        int d = order[p];
        tensor->stride[d] = broadcast[d] ? 0 : step;
        if (!broadcast[d])
            step = step * tensor->extent[d] + pad[p];
    }
    int64_t last = 0;
    for (int d = 0; d < tensor->dim_count; d++)
        last += (tensor->extent[d] - 1) * tensor->stride[d];
    size_t count = case_tensor_empty(tensor) ? 0 : (size_t)last + 1;
    bool ints = tensor->elem <= ELEM_TYPE_I64;
    return guarded_create(&tensor->memory, count * (size_t)elem_type_size(tensor->elem), ints ? GUARDED_INT : GUARDED_NAN, flush_end);
}

static int64_t up_to_multiple(int64_t value, int64_t of)
{
    return (value + of - 1) / of * of;
}

static bool make_rows(CaseData *data, CaseTensor *tensor, int64_t heads, int64_t rows, int64_t width, bool is_q, Random *random)
{
    static const int head_first[] = {0, 1, 2, 3}, row_first[] = {0, 2, 1, 3};
    const CaseShape *shape = &data->shape;
    bool output = tensor == &data->o;
    tensor->elem = data->elem;
    tensor->dim_count = 4;
    tensor->packed_batch = shape->ragged;
    int64_t extent[] = {shape->ragged ? 1 : shape->B, heads, rows, width};
    memcpy(tensor->extent, extent, sizeof extent);
    int64_t pad[SPEC_MAX_DIMS] = {0};
    bool broadcast[SPEC_MAX_DIMS] = {false};
    if (shape->layout == CASE_STRIDED) {
        pad[1] = 5 * width + 3;
        pad[2] = 2 * width + 7;
        pad[3] = 3;
    }
    if (shape->align > 1) /* runs of rows are; the gap behind a row makes it so */
        for (int p = 1; p < 4; p++)
            pad[p] = up_to_multiple(pad[p] + (p == 3 ? width : 0), shape->align) - (p == 3 ? width : 0);
    if (!output && shape->layout == (is_q ? CASE_BROADCAST_Q : CASE_BROADCAST_KV))
        broadcast[0] = broadcast[1] = true;
    return make_tensor(tensor, shape->layout == CASE_BMHD ? row_first : head_first, pad, broadcast, random_between(random, 0, 1));
}

/* Values -------------------------------------------------------------------------------------------------- */

typedef struct Launch { const CaseData *data; double input_value; } Launch;

static ExprValue launch_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const Launch *launch = user;
    const CaseData *data = launch->data;
    const RefProblem *p = &data->problem;
    ExprValue value = {0};
    (void)args;
    if (e->op == EXPR_PARAM)
        return p->params[e->index];
    if (e->op == EXPR_INPUT) {
        if (e->type == TYPE_FLOAT)
            value.f = launch->input_value;
        else
            value.i = 1;
        return value;
    }
    switch (e->index) {
    case VAR_SIZE_B: value.i = p->B; break;
    case VAR_SIZE_H: value.i = p->H; break;
    case VAR_SIZE_G: value.i = p->G; break;
    case VAR_SIZE_M: value.i = p->M; break;
    case VAR_SIZE_N: value.i = p->N; break;
    case VAR_SIZE_D: value.i = p->D; break;
    case VAR_SIZE_E: value.i = p->E; break;
    case VAR_SIZE_M0: case VAR_SIZE_M1: case VAR_SIZE_M2: value.i = data->shape.m_axis[e->index - VAR_SIZE_M0]; break;
    case VAR_SIZE_N0: case VAR_SIZE_N1: case VAR_SIZE_N2: value.i = data->shape.n_axis[e->index - VAR_SIZE_N0]; break;
    case VAR_OFFSET: value.i = p->offset; break;
    default: break;
    }
    return value;
}

static int64_t launch_int(const CaseData *data, const Expr *e)
{
    Launch launch = {data, 0};
    ExprEval eval = {&launch, launch_leaf, false};
    return expr_eval(&eval, e).i;
}

/* Does the decay's log step lie in [-2, 0] when its inputs have this value? */
static bool decay_accepts(const CaseData *data, double value)
{
    Launch launch = {data, value};
    ExprEval eval = {&launch, launch_leaf, false};
    double step = expr_eval(&eval, data->spec->decay.log_step).f;
    return step >= -2 && step <= 0;
}

typedef struct Uses { int input; bool found; } Uses;

static void note_use(void *user, const Expr *e)
{
    Uses *uses = user;
    uses->found |= e->op == EXPR_INPUT && e->index == uses->input;
}

static bool decay_reads(const CaseData *data, int input)
{
    if (!data->spec->decay.log_step)
        return false;
    Uses uses = {input, false};
    expr_walk(data->arena, data->spec->decay.log_step, note_use, &uses);
    return uses.found;
}

static bool by_token(DimKind kind)
{
    return kind == DIM_T || kind == DIM_I || kind == DIM_J;
}

/* As numbers of few bits: their products sum without rounding in f32, in any order, so that large scores are the same
 * on every machine. */
static void fill_coarse(const CaseTensor *tensor, Random *random, double size, double step)
{
    int64_t index[SPEC_MAX_DIMS] = {0};
    if (case_tensor_empty(tensor))
        return;
    do
        case_store(tensor, index, step * nearbyint(size * random_normal(random) / step));
    while (case_next(tensor, index));
}

static void fill_normal(const CaseTensor *tensor, Random *random, double size)
{
    int64_t index[SPEC_MAX_DIMS] = {0};
    if (case_tensor_empty(tensor))
        return;
    do
        case_store(tensor, index, size * random_normal(random));
    while (case_next(tensor, index));
}

/* Ints that vary by token are document numbers: runs of equal ones, usually increasing. Others are small. */
static void fill_ints(const CaseTensor *tensor, bool tokens, Random *random)
{
    int64_t index[SPEC_MAX_DIMS] = {0}, value = 0;
    bool sorted = tokens && random_between(random, 0, 3) > 0;
    if (case_tensor_empty(tensor))
        return;
    do {
        if (index[tensor->dim_count - 1] == 0)
            value = sorted ? 0 : random_between(random, 0, 3);
        else if (sorted)
            value += random_between(random, 0, 5) == 0;
        else if (random_between(random, 0, 2) == 0)
            value = random_between(random, tokens ? -1 : 1, tokens ? 4 : 12);
        case_store(tensor, index, (double)value);
    } while (case_next(tensor, index));
}

static void fill_uniform(const CaseTensor *tensor, Random *random, double lo, double hi)
{
    int64_t index[SPEC_MAX_DIMS] = {0};
    if (case_tensor_empty(tensor))
        return;
    do
        case_store(tensor, index, lo + (hi - lo) * random_unit(random));
    while (case_next(tensor, index));
}

static void fill_bools(const CaseTensor *tensor, Random *random)
{
    int64_t index[SPEC_MAX_DIMS] = {0};
    if (case_tensor_empty(tensor))
        return;
    do
        case_store(tensor, index, random_between(random, 0, 3) != 0);
    while (case_next(tensor, index));
}

static bool make_input(CaseData *data, int n, Random *random)
{
    const SpecInput *input = &data->spec->inputs[n];
    CaseTensor *tensor = &data->inputs[n];
    const CaseShape *shape = &data->shape;
    int order[SPEC_MAX_DIMS];
    int64_t pad[SPEC_MAX_DIMS] = {0};
    bool broadcast[SPEC_MAX_DIMS] = {false}, tokens = false;
    int others = 0; /* dimensions that are not of batches and heads */
    tensor->elem = input->type;
    tensor->dim_count = input->dim_count;
    for (int d = 0; d < input->dim_count; d++) {
        tokens |= by_token(input->dims[d].kind);
        others += input->dims[d].kind > DIM_G;
    }
    tensor->packed_batch = shape->ragged && tokens;
    for (int d = 0; d < input->dim_count; d++) {
        DimKind kind = input->dims[d].kind;
        int64_t extent = kind == DIM_B && tensor->packed_batch ? 1 : launch_int(data, input->dims[d].extent);
        if (shape->ragged && by_token(kind))
            extent = kind == DIM_I ? data->cu_q[shape->B] : data->cu_k[shape->B];
        else if (kind == DIM_T && shape->M + shape->offset > extent) /* positions of queries have elements too */
            extent = shape->M + shape->offset;
        if (extent < 0 || extent > 1 << 22)
            return false;
        tensor->extent[d] = extent;
        order[d] = d;
        if (shape->layout == CASE_STRIDED)
            pad[d] = 1 + d;
        broadcast[d] = shape->layout == CASE_BROADCAST_KV && d == 0 && input->dim_count > 1 && kind <= DIM_G;
    }
    if (shape->layout == CASE_BMHD && input->dim_count > 1) { /* the last dimension need not be the fastest */
        order[0] = input->dim_count - 1;
        for (int d = 1; d < input->dim_count; d++)
            order[d] = d - 1;
    }
    if (!make_tensor(tensor, order, pad, broadcast, random_between(random, 0, 1)))
        return false;
    if (input->type == ELEM_TYPE_BOOL)
        fill_bools(tensor, random);
    else if (input->type == ELEM_TYPE_I32 || input->type == ELEM_TYPE_I64)
        fill_ints(tensor, tokens, random);
    else if (!decay_reads(data, n) && others == 0) /* slopes, powers and such are positive */
        fill_uniform(tensor, random, 0.05, 1);
    else if (!decay_reads(data, n)) /* maps of many channels to many keep the size of what they map */
        fill_normal(tensor, random, others > 1 && !tokens ? 0.15 : 0.5);
    else if (decay_accepts(data, -0.2))
        fill_uniform(tensor, random, -0.4, -0.02);
    else
        fill_uniform(tensor, random, 0.6, 0.98);
    data->problem.inputs[n] = (RefTensor){tensor->memory.data, tensor->elem, {0}};
    memcpy(data->problem.inputs[n].stride, tensor->stride, sizeof tensor->stride);
    guarded_protect(&tensor->memory);
    return true;
}

static void set_params(CaseData *data)
{
    for (int n = 0; n < data->spec->param_count; n++) {
        const SpecParam *param = &data->spec->params[n];
        ExprValue *value = &data->problem.params[n];
        if (param->has_default || param->hidden)
            *value = param->value;
        else if (param->type == TYPE_FLOAT)
            value->f = 0.75;
        else
            value->i = param->type == TYPE_BOOL ? 1 : 3;
    }
}

static RefTensor reference_tensor(const CaseTensor *tensor)
{
    RefTensor result = {tensor->memory.data, tensor->elem, {0}};
    memcpy(result.stride, tensor->stride, sizeof result.stride);
    return result;
}

bool case_fill(CaseData *data)
{
    Random random = {data->shape.seed};
    CaseShape *shape = &data->shape;
    int64_t total_q = shape->M, total_k = shape->N;
    if (shape->ragged) {
        shape->M = shape->N = 0;
        for (int64_t b = 0; b < shape->B; b++) {
            data->cu_q[b + 1] = data->cu_q[b] + (int32_t)shape->q_length[b];
            data->cu_k[b + 1] = data->cu_k[b] + (int32_t)shape->k_length[b];
            shape->M = shape->q_length[b] > shape->M ? shape->q_length[b] : shape->M;
            shape->N = shape->k_length[b] > shape->N ? shape->k_length[b] : shape->N;
        }
        total_q = data->cu_q[shape->B];
        total_k = data->cu_k[shape->B];
    }
    data->rows = shape->ragged ? total_q : shape->B * shape->M;
    if (data->spec->rank == 1) {
        shape->m_axis[0] = shape->M;
        shape->n_axis[0] = shape->N;
    }
    for (int a = data->spec->rank; a < SPEC_MAX_RANK; a++)
        shape->m_axis[a] = shape->n_axis[a] = 1;
    RefProblem *p = &data->problem;
    *p = (RefProblem){.B = shape->B, .H = shape->H, .G = shape->G, .M = shape->M, .N = shape->N, .D = shape->D, .E = shape->E,
                      .offset = shape->offset, .cu_q = shape->ragged ? data->cu_q : NULL, .cu_k = shape->ragged ? data->cu_k : NULL};
    memcpy(p->m_axis, shape->m_axis, sizeof p->m_axis);
    memcpy(p->n_axis, shape->n_axis, sizeof p->n_axis);
    set_params(data);
    if (!make_rows(data, &data->q, shape->H, total_q, shape->D, true, &random) ||
        !make_rows(data, &data->k, shape->G, total_k, shape->D, false, &random) ||
        !make_rows(data, &data->v, shape->G, total_k, shape->E, false, &random) ||
        !make_rows(data, &data->o, shape->H, total_q, shape->E, false, &random))
        return false;
    if (shape->q_size > 1) {
        fill_coarse(&data->q, &random, shape->q_size, exp2(floor(log2(shape->q_size)) - 2));
        fill_coarse(&data->k, &random, 1, 0.25);
    } else {
        fill_normal(&data->q, &random, shape->q_size > 0 ? shape->q_size : 1);
        fill_normal(&data->k, &random, 1);
    }
    fill_normal(&data->v, &random, 1);
    guarded_protect(&data->q.memory);
    guarded_protect(&data->k.memory);
    guarded_protect(&data->v.memory);
    p->q = reference_tensor(&data->q);
    p->k = reference_tensor(&data->k);
    p->v = reference_tensor(&data->v);
    for (int n = 0; n < data->spec->input_count; n++)
        if (!make_input(data, n, &random))
            return false;
    for (int r = 0; r < RETURN_KIND_COUNT; r++) {
        CaseTensor *tensor = &data->returns[r];
        static const int order[] = {0, 1, 2};
        int64_t pad[] = {0, shape->layout == CASE_STRIDED ? 3 : 0, shape->layout == CASE_STRIDED ? 5 : 0};
        bool broadcast[SPEC_MAX_DIMS] = {false};
        *tensor = (CaseTensor){.elem = ELEM_TYPE_F32, .dim_count = 3, .packed_batch = shape->ragged,
                               .extent = {shape->ragged ? 1 : shape->B, shape->H, total_q}};
        if (data->spec->returns[r] && !make_tensor(tensor, order, pad, broadcast, random_between(&random, 0, 1)))
            return false;
    }
    return true;
}
