/* Cases through attune_kernel_launch: see device_case.h. */
#include "device_case.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/pipeline/case_data.h"

enum { BLOCK_ALIGN = 256, MARGIN = 4096, UNTOUCHED = 0xff, MAX_PARTS = 4 + SPEC_MAX_INPUTS + RETURN_KIND_COUNT };

bool case_place_create(CasePlace *place, const Device *device, size_t size, AttuneError **error)
{
    *place = (CasePlace){.device = device, .size = size, .image = aligned_alloc(BLOCK_ALIGN, size), .back = malloc(size)};
    if (place->image && place->back && (!device || device_alloc(device, size, &place->block, error) == ATTUNE_OK)) {
        if (!device)
            place->block = place->image;
        return true;
    }
    free(place->image);
    free(place->back);
    return false;
}

void case_place_destroy(CasePlace *place)
{
    if (place->device)
        device_free(place->device, place->block);
    free(place->image);
    free(place->back);
}

/* One tensor in the block. */
typedef struct Part {
    CaseTensor *tensor;
    size_t at;
    bool written;
} Part;

typedef struct Layout {
    Part parts[MAX_PARTS];
    int count;
    size_t size;
} Layout;

static void add_part(Layout *layout, CaseTensor *tensor, size_t step, bool written)
{
    size_t shift = step * (layout->count * 5 % 7 + 1); /* addresses of all kinds, as far as the kernel takes them */
    size_t at = (layout->size + MARGIN + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN + shift;
    layout->parts[layout->count++] = (Part){tensor, at, written};
    layout->size = at + tensor->memory.size;
}

static void lay_out(Layout *layout, CaseData *data)
{
    size_t step = data->shape.align > 1 ? 16 : (size_t)elem_type_size(data->elem);
    *layout = (Layout){0};
    add_part(layout, &data->q, step, false);
    add_part(layout, &data->k, step, false);
    add_part(layout, &data->v, step, false);
    for (int n = 0; n < data->spec->input_count; n++)
        add_part(layout, &data->inputs[n], (size_t)elem_type_size(data->inputs[n].elem), false);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (data->spec->returns[r])
            add_part(layout, &data->returns[r], sizeof(float), true);
    add_part(layout, &data->o, step, true);
    layout->size += MARGIN;
}

static void fill_image(const Layout *layout, char *image)
{
    memset(image, UNTOUCHED, layout->size);
    for (int n = 0; n < layout->count; n++) {
        const Part *part = &layout->parts[n];
        if (part->written)
            guarded_reset(&part->tensor->memory);
        if (part->tensor->memory.size)
            memcpy(image + part->at, part->tensor->memory.data, part->tensor->memory.size);
    }
}

/* Arguments -------------------------------------------------------------------------------------------------- */

typedef struct Arguments {
    AttuneLaunch launch;
    AttuneNamedTensor inputs[SPEC_MAX_INPUTS], returns[RETURN_KIND_COUNT];
    AttuneParam params[SPEC_MAX_PARAMS];
} Arguments;

static AttuneDtype dtype_of(ElemType elem)
{
    return attune_dtype_parse(elem_type_name(elem));
}

static AttuneTensor tensor_of(const CasePlace *place, const Layout *layout, const CaseTensor *tensor)
{
    int n = 0;
    while (layout->parts[n].tensor != tensor)
        n++;
    return (AttuneTensor){.data = (char *)place->block + layout->parts[n].at, .dtype = dtype_of(tensor->elem),
                          .ndim = tensor->dim_count, .shape = tensor->extent, .strides = case_tensor_empty(tensor) ? NULL : tensor->stride,
                          .device = {place->device ? ATTUNE_DEVICE_CUDA : ATTUNE_DEVICE_HOST, 0}};
}

static void add_params(Arguments *a, const CaseData *data)
{
    for (int n = 0; n < data->spec->param_count; n++) {
        const SpecParam *param = &data->spec->params[n];
        ExprValue value = data->problem.params[n];
        if (param->hidden || param->constant || param->has_default)
            continue;
        a->params[a->launch.param_count++] = param->type == TYPE_FLOAT  ? attune_param_float(param->name, value.f)
                                             : param->type == TYPE_BOOL ? attune_param_bool(param->name, value.i != 0)
                                                                        : attune_param_int(param->name, value.i);
    }
}

static void make_arguments(Arguments *a, const CasePlace *place, const Layout *layout, CaseData *data)
{
    const Spec *spec = data->spec;
    *a = (Arguments){.launch = {.q = tensor_of(place, layout, &data->q), .k = tensor_of(place, layout, &data->k),
                                .v = tensor_of(place, layout, &data->v), .o = tensor_of(place, layout, &data->o),
                                .offset = data->shape.offset, .inputs = a->inputs, .returns = a->returns, .params = a->params}};
    for (int n = 0; n < spec->input_count; n++)
        a->inputs[a->launch.input_count++] = (AttuneNamedTensor){spec->inputs[n].name, tensor_of(place, layout, &data->inputs[n])};
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (spec->returns[r])
            a->returns[a->launch.return_count++] =
                (AttuneNamedTensor){return_kind_name((ReturnKind)r), tensor_of(place, layout, &data->returns[r])};
    add_params(a, data);
    for (int x = 0; x < spec->rank && spec->rank > 1; x++) {
        a->launch.m_axis[x] = data->shape.m_axis[x];
        a->launch.n_axis[x] = data->shape.n_axis[x];
    }
    if (data->shape.ragged) {
        a->launch.cu_seqlens_q = data->cu_q;
        a->launch.cu_seqlens_k = data->cu_k;
        a->launch.sequences = (int32_t)data->shape.B;
    }
}

/* Running ------------------------------------------------------------------------------------------------------ */

static CaseFate fate(CaseFate fate, CaseVerdict *verdict, const char *format, ...) __attribute__((format(printf, 3, 4)));
static CaseFate fate(CaseFate fate, CaseVerdict *verdict, const char *format, ...)
{
    va_list args;
    *verdict = (CaseVerdict){.ok = false};
    va_start(args, format);
    vsnprintf(verdict->message, sizeof verdict->message, format, args);
    va_end(args);
    return fate;
}

/* One launch from fresh memory; the whole block comes back. */
static AttuneStatus launch_once(CasePlace *place, AttuneKernel *kernel, const Layout *layout, const AttuneLaunch *launch, bool *lost,
                                AttuneError **error)
{
    fill_image(layout, place->image);
    AttuneStatus status = ATTUNE_OK;
    *lost = place->device != NULL;
    if (place->device)
        status = device_upload(place->device, place->block, place->image, layout->size, error);
    if (status != ATTUNE_OK)
        return status;
    status = attune_kernel_launch(kernel, launch, error);
    if (status != ATTUNE_OK) {
        *lost = status != ATTUNE_ERROR_ARGUMENT && status != ATTUNE_ERROR_TARGET;
        return status;
    }
    if (place->device)
        return device_download(place->device, place->back, place->block, layout->size, error);
    memcpy(place->back, place->image, layout->size);
    fill_image(layout, place->image); /* what was sent, to compare with */
    return ATTUNE_OK;
}

/* Nothing but what is to be written was. */
static bool surroundings_intact(const CasePlace *place, const Layout *layout)
{
    size_t from = 0;
    for (int n = 0; n <= layout->count; n++) {
        const Part *part = n < layout->count ? &layout->parts[n] : NULL;
        if (part && !part->written)
            continue;
        size_t to = part ? part->at : layout->size;
        if (memcmp(place->image + from, place->back + from, to - from) != 0)
            return false;
        from = part ? part->at + part->tensor->memory.size : to;
    }
    return true;
}

static void take_results(const CasePlace *place, const Layout *layout)
{
    for (int n = 0; n < layout->count; n++)
        if (layout->parts[n].written && layout->parts[n].tensor->memory.size)
            memcpy(layout->parts[n].tensor->memory.data, place->back + layout->parts[n].at, layout->parts[n].tensor->memory.size);
}

static bool same_results(const char *first, const CasePlace *place, const Layout *layout)
{
    for (int n = 0; n < layout->count; n++)
        if (layout->parts[n].written &&
            memcmp(first + layout->parts[n].at, place->back + layout->parts[n].at, layout->parts[n].tensor->memory.size) != 0)
            return false;
    return true;
}

CaseFate device_case_run(CasePlace *place, AttuneKernel *kernel, CaseData *data, int repeats, CaseVerdict *verdict)
{
    Layout layout;
    Arguments arguments;
    lay_out(&layout, data);
    if (layout.size > place->size)
        return fate(CASE_FAILED, verdict, "the case needs %zu bytes, there are %zu", layout.size, place->size);
    make_arguments(&arguments, place, &layout, data);
    char *first = NULL;
    CaseFate result = CASE_PASSED;
    for (int n = 0; n < repeats && result == CASE_PASSED; n++) {
        AttuneError *error = NULL;
        bool lost;
        AttuneStatus status = launch_once(place, kernel, &layout, &arguments.launch, &lost, &error);
        if (status != ATTUNE_OK)
            result = fate(status == ATTUNE_ERROR_ARGUMENT ? CASE_REFUSED : lost ? CASE_BROKEN : CASE_FAILED, verdict, "%s",
                          attune_error_message(error));
        else if (!surroundings_intact(place, &layout))
            result = fate(CASE_FAILED, verdict, "memory that is not of the results was written");
        else if (n > 0 && !same_results(first, place, &layout))
            result = fate(CASE_FAILED, verdict, "launch %d gives other bits than the first", n + 1);
        attune_error_free(error);
        if (n == 0 && repeats > 1 && result == CASE_PASSED) {
            first = malloc(layout.size);
            if (!first)
                result = fate(CASE_FAILED, verdict, "out of memory");
            else
                memcpy(first, place->back, layout.size);
        }
    }
    free(first);
    if (result != CASE_PASSED)
        return result;
    take_results(place, &layout);
    *verdict = case_compare(data);
    return verdict->ok ? CASE_PASSED : CASE_FAILED;
}
