/* The shapes that a spec's inputs must have, for hosts that make the tensors. */
#include <string.h>

#include "runtime/error.h"
#include "runtime/launch.h"

static void fill_sizes(const Signature *signature, const AttuneSizes *sizes, int64_t *slots)
{
    const int64_t plain[] = {sizes->b, sizes->h, sizes->g, sizes->m, sizes->n, sizes->d, sizes->e};
    const VarId ids[] = {VAR_SIZE_B, VAR_SIZE_H, VAR_SIZE_G, VAR_SIZE_M, VAR_SIZE_N, VAR_SIZE_D, VAR_SIZE_E};
    for (int i = 0; i < 7; i++)
        slots[slot_of_size(ids[i])] = plain[i];
    bool grid = signature->rank > 1, n_given = sizes->n_axis[0] || sizes->n_axis[1] || sizes->n_axis[2];
    const int64_t *n_axis = n_given ? sizes->n_axis : sizes->m_axis;
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        slots[slot_of_size((VarId)(VAR_SIZE_M0 + a))] = a >= signature->rank ? 1
                                                        : grid               ? sizes->m_axis[a]
                                                                             : sizes->m;
        slots[slot_of_size((VarId)(VAR_SIZE_N0 + a))] = a >= signature->rank ? 1
                                                        : grid               ? n_axis[a]
                                                                             : sizes->n;
    }
    slots[slot_of_size(VAR_OFFSET)] = sizes->offset;
}

/* A param, or the extent of a free dim by its name. False: neither. */
static bool set_value(const Signature *s, const AttuneParam *param, int64_t *slots)
{
    bool found = false;
    for (int i = 0; i < s->param_count; i++)
        if (!s->params[i].hidden && strcmp(s->params[i].name, param->name) == 0) {
            ExtentValue value = {.i = param->i};
            if (s->params[i].type == ATTUNE_PARAM_FLOAT)
                value.f = param->type == ATTUNE_PARAM_FLOAT ? param->f : (double)param->i;
            slots[SLOT_PARAMS + i] = value.i;
            found = true;
        }
    for (int i = 0; i < s->input_count; i++)
        for (int d = 0; d < s->inputs[i].dim_count; d++) {
            const SignatureDim *dim = &s->inputs[i].dims[d];
            if (dim->kind == ATTUNE_DIM_FREE && strcmp(dim->name, param->name) == 0) {
                slots[SLOT_PARAMS + dim->param] = param->i;
                found = true;
            }
        }
    return found;
}

AttuneStatus signature_input_shape(const Signature *s, int32_t index, const AttuneSizes *sizes,
                                   const AttuneParam *params, int32_t param_count, int64_t *shape,
                                   AttuneError **error)
{
    if (!sizes || !shape || param_count < 0 || (param_count > 0 && !params))
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is NULL",
                         !sizes ? "sizes" : !shape ? "shape" : "params, or param_count is negative and it");
    if (index < 0 || index >= s->input_count)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "index is %d, but '%s' has %d inputs", (int)index,
                         s->name, s->input_count);
    int64_t slots[SLOT_TENSORS] = {0};
    fill_sizes(s, sizes, slots);
    for (int i = 0; i < s->param_count; i++)
        slots[SLOT_PARAMS + i] = s->params[i].hidden && s->params[i].value.i < 1 ? 1 : s->params[i].value.i;
    for (int i = 0; i < param_count; i++)
        if (!params[i].name || !set_value(s, &params[i], slots))
            return error_set(error, ATTUNE_ERROR_ARGUMENT,
                             "params[%d] is '%s', which '%s' has neither as a param nor as a free "
                             "extent",
                             i, params[i].name ? params[i].name : "(NULL)", s->name);
    const SignatureInput *input = &s->inputs[index];
    int64_t last = sizes->m > 0 ? sizes->offset + sizes->m : 0;
    for (int d = 0; d < input->dim_count; d++) {
        const SignatureDim *dim = &input->dims[d];
        switch (dim->kind) {
        case ATTUNE_DIM_B: shape[d] = sizes->b; break;
        case ATTUNE_DIM_H: shape[d] = sizes->h; break;
        case ATTUNE_DIM_G: shape[d] = sizes->g; break;
        case ATTUNE_DIM_T: shape[d] = last > sizes->n ? last : sizes->n; break;
        case ATTUNE_DIM_I: shape[d] = sizes->m; break;
        case ATTUNE_DIM_J: shape[d] = sizes->n; break;
        case ATTUNE_DIM_D: shape[d] = sizes->d; break;
        case ATTUNE_DIM_E: shape[d] = sizes->e; break;
        case ATTUNE_DIM_FREE: shape[d] = slots[SLOT_PARAMS + dim->param]; break;
        case ATTUNE_DIM_EXTENT:
            if (!signature_extent(s, dim, slots, &shape[d]) || shape[d] < 0)
                return error_set(error, ATTUNE_ERROR_ARGUMENT,
                                 "the extent '%s' of input '%s' comes to no size with these "
                                 "params and sizes",
                                 dim->name, input->name);
            break;
        }
    }
    return ATTUNE_OK;
}

AttuneStatus attune_kernel_input_shape(const AttuneKernel *kernel, int32_t index, const AttuneSizes *sizes,
                                       const AttuneParam *params, int32_t param_count,
                                       int64_t shape[ATTUNE_MAX_DIMS], AttuneError **error)
{
    return signature_input_shape(&kernel->description->signature, index, sizes, params, param_count, shape,
                                 error);
}
