/* Host-side validation: from an AttuneLaunch to a Problem. Nothing is trusted and nothing is run here. */
#include "runtime/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"

enum { MAX_POSITIONS = 1 << 30 };

typedef struct Check {
    const ProblemRules *rules;
    const AttuneLaunch *launch;
    Problem *p;
    AttuneError **error;
    bool ragged;
} Check;

static int64_t *size_of(Problem *p, VarId id)
{
    return &p->slots[slot_of_size(id)];
}

/* Into how many segments a linear form that runs them at once cuts sequences: as many as keep a large GPU busy, each long
 * enough to repay the state before it. */
static int64_t segments_of(int64_t batches, int64_t heads, int64_t keys)
{
    enum { BUSY = 132, LEAST = 256 };
    int64_t rows = batches * heads, most = keys / LEAST;
    int64_t count = rows > 0 && batches < BUSY && heads < BUSY ? BUSY / rows : 1;
    return count > most ? (most > 1 ? most : 1) : count > 1 ? count : 1;
}

static AttuneStatus fail(const Check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static AttuneStatus fail(const Check *c, const char *format, ...)
{
    char text[1536];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set_text(c->error, ATTUNE_ERROR_ARGUMENT, text, NULL);
}

#define TRY(call) \
    do { \
        AttuneStatus status_ = (call); \
        if (status_ != ATTUNE_OK) \
            return status_; \
    } while (0)

static const char *shape_text(const AttuneTensor *t, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < t->ndim && i < ATTUNE_MAX_DIMS && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (used == 0)
        text[0] = '\0';
    return text;
}

/* dtype, device, ndim, shape pointer and extents of any tensor. */
static AttuneStatus check_form(const Check *c, const char *name, const AttuneTensor *t, AttuneDtype dtype,
                               int low_ndim, int high_ndim, const char *dims)
{
    if (t->dtype != dtype)
        return fail(c, "%s has dtype %s, but must be %s: convert it%s", name, attune_dtype_name(t->dtype),
                    attune_dtype_name(dtype),
                    dtype == c->rules->dtype ? ", or create a kernel for that dtype" : "");
    if (t->device.kind != c->rules->device)
        return fail(c, "%s is in %s memory, but the kernel runs on the %s: copy it there", name,
                    t->device.kind == ATTUNE_DEVICE_HOST ? "host" : "device",
                    c->rules->device == ATTUNE_DEVICE_HOST ? "host" : "device");
    if (t->device.kind != ATTUNE_DEVICE_HOST && t->device.index != c->launch->q.device.index)
        return fail(c, "%s is on device %d, but q is on device %d: copy it there", name, (int)t->device.index,
                    (int)c->launch->q.device.index);
    if (t->ndim < low_ndim || t->ndim > high_ndim) {
        if (low_ndim == high_ndim)
            return fail(c, "%s has %d dimensions, but must have %d: [%s]", name, (int)t->ndim, high_ndim,
                        dims);
        return fail(c, "%s has %d dimensions, but must have %d or %d: [%s], the first may be left out", name,
                    (int)t->ndim, low_ndim, high_ndim, dims);
    }
    if (t->ndim > 0 && !t->shape)
        return fail(c, "%s.shape is NULL", name);
    for (int i = 0; i < t->ndim; i++)
        if (t->shape[i] < 0 || t->shape[i] >= MAX_POSITIONS)
            return fail(c, "%s.shape[%d] is %lld; extents are 0 to 2^30 - 1", name, i,
                        (long long)t->shape[i]);
    return ATTUNE_OK;
}

/* Adds text to text; what every launch does can do without snprintf. */
static size_t put(char *to, size_t size, size_t used, const char *text)
{
    size_t length = strlen(text);
    if (length >= size - used)
        length = size - used - 1;
    memcpy(to + used, text, length);
    to[used + length] = '\0';
    return used + length;
}

/* Strides of a tensor by its own dims: dense when none are given, 0 for extents of at most 1. */
static AttuneStatus own_strides(const Check *c, const char *name, const AttuneTensor *t, int64_t *stride)
{
    int64_t dense = 1;
    for (int i = t->ndim - 1; i >= 0; i--) {
        stride[i] = t->strides ? t->strides[i] : dense;
        if (t->shape[i] > 0 && __builtin_mul_overflow(dense, t->shape[i], &dense))
            return fail(c, "%s has more than 2^63 elements", name);
    }
    return ATTUNE_OK;
}

/* The byte range that the view touches. */
static AttuneStatus view_range(const Check *c, const char *name, AttuneDtype dtype, int ndim,
                               const int64_t *extent, View *view)
{
    int64_t low = 0, high = 0, bytes = attune_dtype_size(dtype);
    bool empty = false, overflow = false;
    for (int i = 0; i < ndim; i++) {
        empty |= extent[i] == 0;
        if (extent[i] <= 1)
            view->stride[i] = 0;
        int64_t reach;
        overflow |= __builtin_mul_overflow(view->stride[i], extent[i] - (extent[i] > 0), &reach);
        overflow |= __builtin_add_overflow(reach < 0 ? low : high, overflow ? 0 : reach,
                                           reach < 0 ? &low : &high);
    }
    overflow |= __builtin_add_overflow(high, 1, &high);
    overflow |= __builtin_mul_overflow(low, bytes, &low);
    overflow |= __builtin_mul_overflow(high, bytes, &high);
    if (overflow && !empty)
        return fail(c, "%s reaches beyond 2^63 bytes with its strides", name);
    view->low = empty ? 0 : low;
    view->high = empty ? 0 : high;
    return ATTUNE_OK;
}

AttuneStatus problem_check_data(const char *name, const void *data, AttuneDtype dtype, const View *view,
                                AttuneError **error)
{
    int64_t bytes = attune_dtype_size(dtype);
    if (!data && view->high > view->low)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s.data is NULL, but the tensor has elements", name);
    if ((uintptr_t)data % (uintptr_t)bytes != 0)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "%s.data is %p, which is not a multiple of the element size %lld: "
                         "align the buffer",
                         name, data, (long long)bytes);
    return ATTUNE_OK;
}

/* q, k, v or o: fills the view and the extents [B, heads, rows, width] (ragged: B = 1). */
static AttuneStatus check_rows(const Check *c, const char *name, const AttuneTensor *t,
                               const char *const *letters, View *view, int64_t *extent)
{
    static const int order[2][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}}; /* kernel dim -> tensor dim */
    const int *at = order[c->launch->layout];
    char dims[64];
    const char *rows = c->ragged ? "total" : letters[1];
    const char *parts[] = {c->ragged ? "1" : "B", at[1] == 1 ? letters[0] : rows, at[1] == 1 ? rows : letters[0],
                           letters[2]};
    for (size_t k = 0, used = 0; k < 4; k++)
        used = put(dims, sizeof dims, k ? put(dims, sizeof dims, used, ", ") : 0, parts[k]);
    TRY(check_form(c, name, t, c->rules->dtype, c->ragged ? 3 : 4, 4, dims));
    int64_t stride[4];
    TRY(own_strides(c, name, t, stride));
    int missing = 4 - t->ndim;
    for (int k = 0; k < 4; k++) {
        int d = at[k] - missing;
        extent[k] = d < 0 ? 1 : t->shape[d];
        view->stride[k] = d < 0 ? 0 : stride[d];
    }
    if (c->ragged && extent[0] != 1)
        return fail(
            c, "%s.shape[0] is %lld, but with cu_seqlens the rows of all sequences are in one batch: [%s]",
            name, (long long)extent[0], dims);
    if (extent[3] > 1 && view->stride[3] != 1)
        return fail(c,
                    "%s.strides[%d] is %lld, but the last dimension must be dense (stride 1): copy %s into a "
                    "dense tensor",
                    name, t->ndim - 1, (long long)view->stride[3], name);
    view->data = t->data;
    TRY(view_range(c, name, t->dtype, 4, extent, view));
    view->stride[3] = 1;
    if (!c->rules->without_data)
        TRY(problem_check_data(name, t->data, t->dtype, view, c->error));
    return ATTUNE_OK;
}

static AttuneStatus same(const Check *c, const char *name, const char *what, int64_t have, const char *other,
                         int64_t want)
{
    if (have == want)
        return ATTUNE_OK;
    return fail(c, "%s has %s %lld, but %s has %lld: they must be equal", name, what, (long long)have, other,
                (long long)want);
}

/* Lengths from 0 up to `total`; gives the longest. */
static AttuneStatus check_lengths(const Check *c, const char *name, const int32_t *cu, int64_t total,
                                  const char *tensor, int64_t *longest)
{
    int64_t most = 0;
    if (cu[0] != 0)
        return fail(c, "%s[0] is %d; the first cumulative length must be 0", name, (int)cu[0]);
    for (int32_t b = 0; b < c->launch->sequences; b++) {
        if (cu[b + 1] < cu[b])
            return fail(c, "%s[%d] is %d, less than %s[%d] = %d: cumulative lengths must not fall", name,
                        (int)b + 1, (int)cu[b + 1], name, (int)b, (int)cu[b]);
        if (cu[b + 1] - cu[b] > most)
            most = cu[b + 1] - cu[b];
    }
    if (cu[c->launch->sequences] != total)
        return fail(c, "%s[%d] is %d, but %s has %lld rows: the last cumulative length must be their number",
                    name, (int)c->launch->sequences, (int)cu[c->launch->sequences], tensor, (long long)total);
    *longest = most;
    return ATTUNE_OK;
}

static AttuneStatus check_ragged(const Check *c)
{
    const AttuneLaunch *l = c->launch;
    if (!l->cu_seqlens_q || !l->cu_seqlens_k)
        return fail(c, "cu_seqlens_%c is NULL: ragged batches need both cu_seqlens_q and cu_seqlens_k",
                    l->cu_seqlens_q ? 'k' : 'q');
    if (l->sequences < 0)
        return fail(c, "sequences is %d; it must not be negative", (int)l->sequences);
    if (c->rules->signature->rank > 1)
        return fail(
            c, "cu_seqlens are given, but '%s' runs over a grid of rank %d: ragged batches are for rank 1",
            c->rules->signature->name, c->rules->signature->rank);
    return ATTUNE_OK;
}

static AttuneStatus check_grid(const Check *c)
{
    Problem *p = c->p;
    const AttuneLaunch *l = c->launch;
    int rank = c->rules->signature->rank;
    const int64_t *axes[2] = {l->m_axis, l->n_axis};
    bool n_given = l->n_axis[0] || l->n_axis[1] || l->n_axis[2];
    for (int side = 0; side < 2; side++) {
        const char *name = side ? "n_axis" : "m_axis", *letter = side ? "N" : "M";
        const int64_t *axis = side && !n_given && rank > 1 ? l->m_axis : axes[side];
        int64_t *out = size_of(p, side ? VAR_SIZE_N0 : VAR_SIZE_M0),
                rows = *size_of(p, side ? VAR_SIZE_N : VAR_SIZE_M);
        int64_t product = 1;
        for (int a = 0; a < SPEC_MAX_RANK; a++) {
            if (axis[a] < 0 || axis[a] >= MAX_POSITIONS)
                return fail(c, "%s[%d] is %lld; extents are 0 to 2^30 - 1", name, a, (long long)axis[a]);
            if (a >= rank && axis[a] > 1)
                return fail(c, "%s[%d] is %lld, but '%s' has rank %d: leave it 0", name, a,
                            (long long)axis[a], c->rules->signature->name, rank);
            out[a] = a < rank ? axis[a] : 1;
            if (__builtin_mul_overflow(product, out[a], &product))
                product = INT64_MAX;
        }
        if (rank == 1) {
            if (axis[0] != 0 && axis[0] != rows)
                return fail(c, "%s[0] is %lld, but %s is %lld: leave it 0 for rank 1", name,
                            (long long)axis[0], letter, (long long)rows);
            out[0] = rows;
        } else if (product != rows) {
            return fail(
                c, "%s is [%lld, %lld%s%.0lld], %lld positions, but %s is %lld: the product must be %s", name,
                (long long)out[0], (long long)out[1], rank > 2 ? ", " : "", rank > 2 ? (long long)out[2] : 0,
                (long long)product, letter, (long long)rows, letter);
        }
    }
    return ATTUNE_OK;
}

static AttuneStatus check_offset(const Check *c)
{
    const AttuneLaunch *l = c->launch;
    int64_t m = *size_of(c->p, VAR_SIZE_M), n = *size_of(c->p, VAR_SIZE_N), offset = l->offset;
    if ((unsigned)l->align > ATTUNE_ALIGN_BOTTOM_RIGHT)
        return fail(c, "align is %d, which is no AttuneAlign", (int)l->align);
    if (c->rules->signature->rank > 1 && (offset != 0 || l->align != ATTUNE_ALIGN_OFFSET))
        return fail(c, "offset is %lld%s, but '%s' runs over a grid of rank %d: positions there start at 0",
                    (long long)offset, l->align ? " (bottom-right)" : "", c->rules->signature->name,
                    c->rules->signature->rank);
    if (l->align == ATTUNE_ALIGN_BOTTOM_RIGHT) {
        if (offset != 0)
            return fail(c, "offset is %lld and align is bottom-right: give one of them", (long long)offset);
        offset = n - m;
        for (int32_t b = 0; c->ragged && b < l->sequences; b++) {
            int64_t keys = l->cu_seqlens_k[b + 1] - l->cu_seqlens_k[b],
                    queries = l->cu_seqlens_q[b + 1] - l->cu_seqlens_q[b];
            if (b == 0)
                offset = keys - queries;
            if (keys - queries != offset)
                return fail(c,
                            "align is bottom-right, but sequence %d has %lld keys more than queries and "
                            "sequence 0 has %lld:"
                            " launch sequences of different offsets apart",
                            (int)b, (long long)(keys - queries), (long long)offset);
        }
    }
    if (offset <= -MAX_POSITIONS || offset >= MAX_POSITIONS || offset + m > MAX_POSITIONS)
        return fail(c, "offset is %lld with %lld query rows; positions are below 2^30", (long long)offset,
                    (long long)m);
    *size_of(c->p, VAR_OFFSET) = offset;
    return ATTUNE_OK;
}

static AttuneStatus check_params(const Check *c)
{
    const Signature *s = c->rules->signature;
    bool given[SPEC_MAX_PARAMS] = {false};
    int64_t *slot = &c->p->slots[SLOT_PARAMS];
    if (c->launch->param_count < 0 || (c->launch->param_count > 0 && !c->launch->params))
        return fail(c, "params is NULL or param_count (%d) is negative", (int)c->launch->param_count);
    for (int i = 0; i < s->param_count; i++)
        slot[i] = s->params[i].value.i; /* floats by their bits */
    for (int g = 0; g < c->launch->param_count; g++) {
        const AttuneParam *param = &c->launch->params[g];
        int i = 0;
        while (param->name && i < s->param_count &&
               (s->params[i].hidden || strcmp(s->params[i].name, param->name) != 0))
            i++;
        if (!param->name || i == s->param_count)
            return fail(c, "params[%d] is '%s', which '%s' does not have", g,
                        param->name ? param->name : "(NULL)", s->name);
        const SignatureParam *known = &s->params[i];
        if (given[i])
            return fail(c, "param '%s' is given twice", known->name);
        ExtentValue value = {.i = param->i};
        if (known->type == ATTUNE_PARAM_FLOAT && param->type == ATTUNE_PARAM_INT)
            value.f = (double)param->i;
        else if (param->type != known->type)
            return fail(c, "param '%s' is given as %s, but is %s", known->name,
                        param->type == ATTUNE_PARAM_FLOAT  ? "a float"
                        : param->type == ATTUNE_PARAM_BOOL ? "a bool"
                        : param->type == ATTUNE_PARAM_INT  ? "an int"
                                                           : "nothing known (see attune_param_int)",
                        known->type == ATTUNE_PARAM_FLOAT  ? "a float"
                        : known->type == ATTUNE_PARAM_BOOL ? "a bool"
                                                           : "an int");
        else if (param->type == ATTUNE_PARAM_FLOAT)
            value.f = param->f;
        else if (param->type == ATTUNE_PARAM_BOOL && value.i != 0 && value.i != 1)
            return fail(c, "param '%s' is %lld; a bool is 0 or 1", known->name, (long long)value.i);
        if (known->constant && value.i != known->value.i)
            return fail(
                c,
                "param '%s' is `const`: the kernel was built for another value; give it in the settings of "
                "attune_kernel_create",
                known->name);
        slot[i] = value.i;
        given[i] = true;
    }
    for (int i = 0; i < s->param_count; i++)
        if (!given[i] && !s->params[i].hidden && !s->params[i].has_default && !s->params[i].constant)
            return fail(c, "param '%s' has no default and is not given: add it to params", s->params[i].name);
    return ATTUNE_OK;
}

/* Tokens of this launch before query row 0. */
static int64_t tokens_before(const Check *c)
{
    return c->p->has_state[STATE_IN] ? 0 : *size_of(c->p, VAR_OFFSET);
}

/* What dim `d` of an input must be, or -1 for a free one that no earlier tensor has bound. */
static AttuneStatus wanted_extent(const Check *c, const char *name, const SignatureInput *input, int d,
                                  const bool *bound, int64_t *want, const char **why)
{
    static const char *const reasons[] = {
        [ATTUNE_DIM_B] = "the batch size",
        [ATTUNE_DIM_H] = "the number of query heads",
        [ATTUNE_DIM_G] = "the number of key heads",
        [ATTUNE_DIM_T] = "the positions, max(N, offset + M)",
        [ATTUNE_DIM_I] = "the query rows, M",
        [ATTUNE_DIM_J] = "the keys, N",
        [ATTUNE_DIM_D] = "the width of q and k",
        [ATTUNE_DIM_E] = "the width of v",
        [ATTUNE_DIM_EXTENT] = "what its extent comes to",
        [ATTUNE_DIM_FREE] = "what the first tensor with this dim has",
    };
    const SignatureDim *dim = &input->dims[d];
    Problem *p = c->p;
    int64_t m = *size_of(p, VAR_SIZE_M), n = *size_of(p, VAR_SIZE_N),
            last = m > 0 ? tokens_before(c) + m : 0;
    *why = reasons[dim->kind];
    switch (dim->kind) {
    case ATTUNE_DIM_B: *want = *size_of(p, VAR_SIZE_B); break;
    case ATTUNE_DIM_H: *want = *size_of(p, VAR_SIZE_H); break;
    case ATTUNE_DIM_G: *want = *size_of(p, VAR_SIZE_G); break;
    case ATTUNE_DIM_T: *want = c->ragged ? p->total_k : last > n ? last : n; break;
    case ATTUNE_DIM_I: *want = p->total_q; break;
    case ATTUNE_DIM_J: *want = p->total_k; break;
    case ATTUNE_DIM_D: *want = c->rules->D; break;
    case ATTUNE_DIM_E: *want = c->rules->E; break;
    case ATTUNE_DIM_EXTENT:
        if (!signature_extent(c->rules->signature, dim, p->slots, want) || *want < 0 ||
            *want >= MAX_POSITIONS)
            return fail(c,
                        "the extent '%s' of input '%s' comes to no size from 0 to 2^30 - 1 with these params",
                        dim->name, name);
        break;
    case ATTUNE_DIM_FREE: {
        int64_t fixed = c->rules->signature->params[dim->param].value.i;
        *want = bound[dim->param] ? p->slots[SLOT_PARAMS + dim->param] : fixed > 0 ? fixed : -1;
        if (fixed > 0)
            *why = "what the kernel was created for, see its settings";
        break;
    }
    }
    return ATTUNE_OK;
}

static AttuneStatus check_input(const Check *c, int index, const AttuneTensor *t, bool *bound)
{
    const SignatureInput *input = &c->rules->signature->inputs[index];
    View *view = &c->p->inputs[index];
    char name[300], dims[400] = "", shape[160];
    put(name, sizeof name, put(name, sizeof name, put(name, sizeof name, 0, "input '"), input->name), "'");
    bool tokens = false, by_position = false;
    size_t used = 0;
    for (int d = 0; d < input->dim_count; d++) {
        AttuneDimKind kind = input->dims[d].kind;
        by_position |= kind == ATTUNE_DIM_T;
        tokens |= kind == ATTUNE_DIM_T || kind == ATTUNE_DIM_I || kind == ATTUNE_DIM_J;
        used = put(dims, sizeof dims, d ? put(dims, sizeof dims, used, ", ") : 0, input->dims[d].name);
    }
    TRY(check_form(c, name, t, input->dtype, input->dim_count, input->dim_count, dims));
    TRY(own_strides(c, name, t, view->stride));
    if (by_position && tokens_before(c) < 0 && *size_of(c->p, VAR_SIZE_M) > 0)
        return fail(c, "offset is %lld, but %s is read by position and has none below 0",
                    (long long)tokens_before(c), name);
    for (int32_t b = 0; by_position && c->ragged && b < c->launch->sequences; b++) {
        int64_t keys = c->launch->cu_seqlens_k[b + 1] - c->launch->cu_seqlens_k[b];
        int64_t queries = c->launch->cu_seqlens_q[b + 1] - c->launch->cu_seqlens_q[b];
        if (queries > 0 && tokens_before(c) + queries > keys)
            return fail(
                c, "sequence %d has %lld keys, but its queries reach position %lld, where %s has nothing",
                (int)b, (long long)keys, (long long)(tokens_before(c) + queries - 1), name);
    }
    for (int d = 0; d < input->dim_count; d++) {
        const SignatureDim *dim = &input->dims[d];
        int64_t want;
        const char *why;
        TRY(wanted_extent(c, input->name, input, d, bound, &want, &why));
        bool packed = c->ragged && tokens && dim->kind == ATTUNE_DIM_B, at_least = dim->kind == ATTUNE_DIM_T;
        if (packed)
            want = 1;
        if (want < 0) {
            c->p->slots[SLOT_PARAMS + dim->param] = t->shape[d];
            bound[dim->param] = true;
        } else if (at_least ? t->shape[d] < want : t->shape[d] != want) {
            return fail(c, "%s has shape [%s] for [%s]: extent '%s' is %lld, but must be %s%lld (%s)", name,
                        shape_text(t, shape, sizeof shape), dims, dim->name, (long long)t->shape[d],
                        at_least ? "at least " : "", (long long)want,
                        packed ? "rows of all sequences are packed" : why);
        }
    }
    view->data = t->data;
    TRY(view_range(c, name, t->dtype, t->ndim, t->shape, view));
    if (!c->rules->without_data)
        TRY(problem_check_data(name, t->data, t->dtype, view, c->error));
    return ATTUNE_OK;
}

static AttuneStatus check_inputs(const Check *c)
{
    const Signature *s = c->rules->signature;
    const AttuneNamedTensor *by_index[SPEC_MAX_INPUTS] = {NULL};
    bool bound[SPEC_MAX_PARAMS] = {false};
    if (c->launch->input_count < 0 || (c->launch->input_count > 0 && !c->launch->inputs))
        return fail(c, "inputs is NULL or input_count (%d) is negative", (int)c->launch->input_count);
    for (int g = 0; g < c->launch->input_count; g++) {
        const char *name = c->launch->inputs[g].name;
        int i = 0;
        while (name && i < s->input_count && strcmp(s->inputs[i].name, name) != 0)
            i++;
        if (!name || i == s->input_count)
            return fail(c, "inputs[%d] is '%s', which '%s' does not have", g, name ? name : "(NULL)",
                        s->name);
        if (by_index[i])
            return fail(c, "input '%s' is given twice", name);
        by_index[i] = &c->launch->inputs[g];
        c->p->input_order[g] = i;
    }
    for (int i = 0; i < s->input_count; i++) {
        if (!by_index[i])
            return fail(c, "input '%s' is not given: add it to inputs", s->inputs[i].name);
        TRY(check_input(c, i, &by_index[i]->tensor, bound));
    }
    return ATTUNE_OK;
}

/* The width of o: that of v, or of v's feature map. */
static AttuneStatus check_width(const Check *c, int64_t width)
{
    const SignatureDim *dim = &c->rules->signature->width;
    int64_t want = c->rules->E;
    if (dim->kind == ATTUNE_DIM_EXTENT &&
        (!signature_extent(c->rules->signature, dim, c->p->slots, &want) || want < 1))
        return fail(c, "the width of v's feature map comes to no size with these params");
    c->p->width = want;
    if (width == want)
        return ATTUNE_OK;
    return fail(c, "o has width %lld, but %s %lld", (long long)width,
                dim->kind == ATTUNE_DIM_E ? "the kernel was created for e =" : "v's feature map has width",
                (long long)want);
}

static AttuneStatus check_returns(const Check *c)
{
    const Signature *s = c->rules->signature;
    Problem *p = c->p;
    if (c->launch->return_count < 0 || (c->launch->return_count > 0 && !c->launch->returns))
        return fail(c, "returns is NULL or return_count (%d) is negative", (int)c->launch->return_count);
    for (int g = 0; g < c->launch->return_count; g++) {
        const AttuneNamedTensor *given = &c->launch->returns[g];
        int kind = 0;
        while (given->name && kind < RETURN_KIND_COUNT && strcmp(s->returns[kind], given->name) != 0)
            kind++;
        if (!given->name || !given->name[0] || kind == RETURN_KIND_COUNT)
            return fail(c, "returns[%d] is '%s', which '%s' does not return: add it to the spec's `return`",
                        g, given->name ? given->name : "(NULL)", s->name);
        if (p->has_return[kind])
            return fail(c, "return '%s' is given twice", given->name);
        char name[64], shape[160];
        put(name, sizeof name, put(name, sizeof name, put(name, sizeof name, 0, "return '"), given->name), "'");
        const AttuneTensor *t = &given->tensor;
        TRY(check_form(c, name, t, ATTUNE_F32, c->ragged ? 2 : 3, 3, c->ragged ? "1, H, total" : "B, H, M"));
        int64_t want[3] = {c->ragged ? 1 : *size_of(p, VAR_SIZE_B), *size_of(p, VAR_SIZE_H), p->total_q},
                stride[3];
        TRY(own_strides(c, name, t, stride));
        View *view = &p->returns[kind];
        for (int k = 0; k < 3; k++) {
            int d = k - (3 - t->ndim);
            view->stride[k] = d < 0 ? 0 : stride[d];
            if (d >= 0 && t->shape[d] != want[k])
                return fail(c, "%s has shape [%s], but must be [%lld, %lld, %lld] (%s)", name,
                            shape_text(t, shape, sizeof shape), (long long)want[0], (long long)want[1],
                            (long long)want[2], c->ragged ? "1, H, total" : "B, H, M");
        }
        view->data = t->data;
        TRY(view_range(c, name, t->dtype, 3, want, view));
        if (!c->rules->without_data)
            TRY(problem_check_data(name, t->data, t->dtype, view, c->error));
        p->has_return[kind] = true;
        p->return_order[g] = kind;
    }
    return ATTUNE_OK;
}

static AttuneStatus check_state(const Check *c, int out, const AttuneTensor *t)
{
    static const char *const names[] = {"state_in", "state_out"};
    const char *name = names[out];
    Problem *p = c->p;
    if (t->dtype == ATTUNE_DTYPE_NONE && !t->data && !t->shape)
        return ATTUNE_OK;
    if (c->rules->state_rows == 0)
        return fail(c, "%s is given, but this kernel of '%s' has no state: `attune explain` says why", name,
                    c->rules->signature->name);
    int64_t want[4] = {*size_of(p, VAR_SIZE_B), *size_of(p, VAR_SIZE_H), c->rules->state_rows, c->rules->state_columns};
    TRY(check_form(c, name, t, ATTUNE_F32, 4, 4, "B, H, state_rows, state_columns"));
    for (int d = 0; d < 4; d++)
        if (t->shape[d] != want[d]) {
            char shape[160];
            return fail(c, "%s has shape [%s], but must be [%lld, %lld, %lld, %lld] (B, H, state_rows, state_columns)", name,
                        shape_text(t, shape, sizeof shape), (long long)want[0], (long long)want[1], (long long)want[2],
                        (long long)want[3]);
        }
    View *view = &p->state[out];
    TRY(own_strides(c, name, t, view->stride));
    if (want[3] > 1 && view->stride[3] != 1)
        return fail(c, "%s.strides[3] is %lld, but the last dimension must be dense (stride 1)", name, (long long)view->stride[3]);
    view->data = t->data;
    TRY(view_range(c, name, t->dtype, 4, want, view));
    view->stride[3] = 1;
    if (!c->rules->without_data)
        TRY(problem_check_data(name, t->data, t->dtype, view, c->error));
    p->has_state[out] = true;
    *size_of(p, VAR_STATE) += 1 + out;
    return ATTUNE_OK;
}

static AttuneStatus check_states(const Check *c)
{
    TRY(check_state(c, STATE_IN, &c->launch->state_in));
    TRY(check_state(c, STATE_OUT, &c->launch->state_out));
    if (c->p->has_state[STATE_IN] && c->launch->align != ATTUNE_ALIGN_OFFSET)
        return fail(c, "state_in is given and align is bottom-right: row 0 of q and k is at `offset`, give that");
    if (c->p->has_state[STATE_IN] && c->launch->offset < 0)
        return fail(c, "offset is %lld, but what comes before state_in's next token is not negative", (long long)c->launch->offset);
    return ATTUNE_OK;
}

/* A state stands after the last key: no query may come after that. */
static AttuneStatus check_state_rows(const Check *c)
{
    const AttuneLaunch *l = c->launch;
    if (!c->p->has_state[STATE_IN] && !c->p->has_state[STATE_OUT])
        return ATTUNE_OK;
    int64_t ahead = tokens_before(c), last = l->sequences;
    for (int64_t b = 0; b < (c->ragged ? last : 1); b++) {
        int64_t m = c->ragged ? l->cu_seqlens_q[b + 1] - l->cu_seqlens_q[b] : *size_of(c->p, VAR_SIZE_M);
        int64_t n = c->ragged ? l->cu_seqlens_k[b + 1] - l->cu_seqlens_k[b] : *size_of(c->p, VAR_SIZE_N);
        if (m > 0 && ahead + m > n)
            return fail(c, "a state is handed over, but the last query stands %lld positions after the last key", (long long)(ahead + m - n));
    }
    return ATTUNE_OK;
}

/* Elements of a written view must have addresses of their own: each stride must step over all smaller dims.
 */
static AttuneStatus check_distinct(const Check *c, const char *name, const View *view, const int64_t *extent,
                                   int ndim)
{
    int64_t reach = 0;
    bool used[SPEC_MAX_DIMS] = {false};
    for (int round = 0; round < ndim; round++) {
        int next = -1;
        for (int d = 0; d < ndim; d++)
            if (extent[d] > 1 && !used[d] && (next < 0 || llabs(view->stride[d]) < llabs(view->stride[next])))
                next = d;
        if (next < 0)
            break;
        used[next] = true;
        if (llabs(view->stride[next]) <= reach)
            return fail(
                c,
                "%s is written, but its strides give several elements one address (stride %lld): use a dense "
                "tensor",
                name, (long long)view->stride[next]);
        reach += (extent[next] - 1) * llabs(view->stride[next]);
    }
    return ATTUNE_OK;
}

static bool overlap(const View *a, const View *b)
{
    const char *x = a->data, *y = b->data;
    return x && y && a->high > a->low && b->high > b->low && x + a->low < y + b->high &&
           y + b->low < x + a->high;
}

static AttuneStatus check_written(const Check *c)
{
    const Signature *s = c->rules->signature;
    Problem *p = c->p;
    const View *written[2 + RETURN_KIND_COUNT] = {&p->o};
    const char *names[2 + RETURN_KIND_COUNT] = {"o"};
    int count = 1;
    int64_t b = c->ragged ? 1 : *size_of(p, VAR_SIZE_B), h = *size_of(p, VAR_SIZE_H);
    TRY(check_distinct(c, "o", &p->o, (int64_t[4]){b, h, p->total_q, p->width}, 4));
    for (int r = 0; r < RETURN_KIND_COUNT; r++) {
        if (!p->has_return[r])
            continue;
        TRY(check_distinct(c, s->returns[r], &p->returns[r], (int64_t[3]){b, h, p->total_q}, 3));
        names[count] = s->returns[r];
        written[count++] = &p->returns[r];
    }
    if (p->has_state[STATE_OUT]) {
        TRY(check_distinct(c, "state_out", &p->state[STATE_OUT],
                           (int64_t[4]){*size_of(p, VAR_SIZE_B), h, c->rules->state_rows, c->rules->state_columns}, 4));
        names[count] = "state_out";
        written[count++] = &p->state[STATE_OUT];
    }
    for (int w = 0; w < count; w++) {
        const View *read[3] = {&p->q, &p->k, p->has_v ? &p->v : &p->k};
        const char *read_names[3] = {"q", "k", "v"};
        const char *other = NULL;
        for (int r = 0; r < 3; r++)
            other = overlap(written[w], read[r]) ? read_names[r] : other;
        for (int i = 0; i < s->input_count; i++)
            other = overlap(written[w], &p->inputs[i]) ? s->inputs[i].name : other;
        const View *in = &p->state[STATE_IN], *out = &p->state[STATE_OUT]; /* in place: the same view */
        bool in_place = written[w] == out && in->data == out->data && !memcmp(in->stride, out->stride, sizeof in->stride);
        if (p->has_state[STATE_IN] && !in_place && overlap(written[w], in))
            other = "state_in";
        for (int x = 0; x < w; x++)
            other = overlap(written[w], written[x]) ? names[x] : other;
        if (other)
            return fail(c, "the memory of %s overlaps that of %s: give %s memory of its own", names[w], other,
                        names[w]);
    }
    return ATTUNE_OK;
}

AttuneStatus problem_check(const ProblemRules *rules, const AttuneLaunch *launch, Problem *problem,
                           AttuneError **error)
{
    Check check = {.rules = rules, .launch = launch, .p = problem, .error = error};
    Check *c = &check;
    memset(problem, 0, sizeof *problem);
    if (!launch)
        return fail(c, "launch is NULL");
    if ((unsigned)launch->layout > ATTUNE_BMHD)
        return fail(c, "layout is %d, which is no AttuneLayout", (int)launch->layout);
    c->ragged = launch->cu_seqlens_q || launch->cu_seqlens_k;
    if (c->ragged)
        TRY(check_ragged(c));

    Problem *p = problem;
    static const char *const letters_q[] = {"H", "M", "D"}, *const letters_k[] = {"G", "N", "D"};
    static const char *const letters_v[] = {"G", "N", "E"}, *const letters_o[] = {"H", "M", "E"};
    int64_t q[4], k[4], v[4], o[4];
    TRY(check_rows(c, "q", &launch->q, letters_q, &p->q, q));
    TRY(check_rows(c, "k", &launch->k, letters_k, &p->k, k));
    p->has_v = rules->signature->reads_v || launch->v.data || launch->v.shape;
    if (p->has_v)
        TRY(check_rows(c, "v", &launch->v, letters_v, &p->v, v));
    TRY(check_rows(c, "o", &launch->o, letters_o, &p->o, o));

    if (q[3] != rules->D)
        return fail(c, "q has width %lld, but the kernel was created for d = %lld", (long long)q[3],
                    (long long)rules->D);
    TRY(same(c, "k", "width", k[3], "q", q[3]));
    TRY(same(c, "k", "batch size", k[0], "q", q[0]));
    if (p->has_v) {
        if (v[3] != rules->E)
            return fail(c, "v has width %lld, but the kernel was created for e = %lld", (long long)v[3],
                        (long long)rules->E);
        TRY(same(c, "v", "batch size", v[0], "k", k[0]));
        TRY(same(c, "v", "head count", v[1], "k", k[1]));
        TRY(same(c, "v", "row count", v[2], "k", k[2]));
    }
    TRY(same(c, "o", "batch size", o[0], "q", q[0]));
    TRY(same(c, "o", "head count", o[1], "q", q[1]));
    TRY(same(c, "o", "row count", o[2], "q", q[2]));
    if (q[1] > 0 && (k[1] == 0 || q[1] % k[1] != 0))
        return fail(
            c,
            "q has %lld heads and k has %lld: the number of key heads must divide the number of query heads",
            (long long)q[1], (long long)k[1]);

    p->device = launch->q.device.index;
    p->total_q = q[2];
    p->total_k = k[2];
    *size_of(p, VAR_SIZE_B) = c->ragged ? launch->sequences : q[0];
    *size_of(p, VAR_SIZE_H) = q[1];
    *size_of(p, VAR_SIZE_G) = k[1];
    *size_of(p, VAR_SIZE_M) = q[2];
    *size_of(p, VAR_SIZE_N) = k[2];
    *size_of(p, VAR_SIZE_D) = rules->D;
    *size_of(p, VAR_SIZE_E) = rules->E;
    *size_of(p, VAR_SEGMENTS) = segments_of(*size_of(p, VAR_SIZE_B), q[1], k[2]);
    if (c->ragged) {
        TRY(check_lengths(c, "cu_seqlens_q", launch->cu_seqlens_q, q[2], "q", size_of(p, VAR_SIZE_M)));
        TRY(check_lengths(c, "cu_seqlens_k", launch->cu_seqlens_k, k[2], "k", size_of(p, VAR_SIZE_N)));
        p->slots[SLOT_CU_Q] = (int64_t)(intptr_t)launch->cu_seqlens_q;
        p->slots[SLOT_CU_K] = (int64_t)(intptr_t)launch->cu_seqlens_k;
        View *packed[] = {&p->q, &p->k, &p->v, &p->o};
        for (int i = 0; i < 4; i++)
            packed[i]->stride[0] = 0;
    }
    TRY(check_grid(c));
    TRY(check_states(c));
    TRY(check_offset(c));
    TRY(check_state_rows(c));
    TRY(check_params(c));
    TRY(check_inputs(c));
    TRY(check_width(c, o[3]));
    TRY(check_returns(c));
    if (!rules->without_data || launch->o.data)
        TRY(check_written(c));
    return ATTUNE_OK;
}
