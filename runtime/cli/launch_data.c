/* Tensors of a launch. Sizes that files have come first, --shape may add to them but not contradict; what has
 * no file is random: normal numbers, and for inputs whatever their place in the spec asks for (sorted
 * document numbers, decays below one, gates between 0 and 1). */
#include "runtime/cli/launch_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cli/random.h"

/* Sizes from files --------------------------------------------------------------------------------------- */

static int take_size(const char *path, const char *name, int64_t found, int64_t unknown, int64_t *size)
{
    if (*size == unknown)
        *size = found;
    if (*size == found)
        return EXIT_DONE;
    return failure("%s: %s is %lld here, but %lld elsewhere", path, name, (long long)found, (long long)*size);
}

/* Rows of a file of queries or keys against M or N, which a grid gives by its axes. */
static int take_rows(const char *path, const char *name, int64_t found, int32_t *rank, int64_t *rows)
{
    if (*rank == 0) {
        *rank = 1;
        *rows = found;
    }
    return take_size(path, name, found, 0, rows);
}

/* Reads q, k or v; dims that are missing in front are 1. */
static int read_operand(LaunchData *data, OptionId option, LaunchTensor *tensor)
{
    const char *path = option_value(data->arguments, option, NULL);
    if (!path)
        return EXIT_DONE;
    char why[512];
    NpyArray array;
    if (!npy_read(path, &array, why, sizeof why))
        return failure("%s", why);
    tensor->data = array.data;
    tensor->dtype = array.dtype;
    tensor->ndim = 4;
    if (array.ndim > 4)
        return failure("%s: has %d dimensions; %s has four", path, array.ndim,
                       data->layout == ATTUNE_BHMD ? "BHMD" : "BMHD");
    if (array.ndim < 2 || (array.ndim < 3 && data->layout == ATTUNE_BMHD))
        return failure("%s: has %d dimensions, too few to tell rows from channels", path, array.ndim);
    for (int d = 0; d < 4; d++)
        tensor->shape[d] = d < 4 - array.ndim ? 1 : array.shape[d - (4 - array.ndim)];
    if (array.dtype != ATTUNE_F32 && array.dtype != ATTUNE_F16 && array.dtype != ATTUNE_BF16)
        return failure("%s: has elements of type %s; q, k, v are f32, bf16 or f16", path,
                       attune_dtype_name(array.dtype));
    bool query = option == OPTION_Q;
    int rows = data->layout == ATTUNE_BHMD ? 2 : 1, heads = 3 - rows;
    AttuneSizes *sizes = &data->shape.sizes;
    int status = take_size(path, "B", tensor->shape[0], -1, &sizes->b);
    if (status == EXIT_DONE)
        status = query ? take_size(path, "H", tensor->shape[heads], -1, &sizes->h)
                       : take_size(path, "G", tensor->shape[heads], 0, &sizes->g);
    if (status == EXIT_DONE)
        status = query ? take_rows(path, "M", tensor->shape[rows], &data->shape.m_rank, &sizes->m)
                       : take_rows(path, "N", tensor->shape[rows], &data->shape.n_rank, &sizes->n);
    if (status == EXIT_DONE)
        status = option == OPTION_V ? take_size(path, "E", tensor->shape[3], 0, &sizes->e)
                                    : take_size(path, "D", tensor->shape[3], 0, &sizes->d);
    return status;
}

/* Storage ------------------------------------------------------------------------------------------------ */

static int64_t tensor_count(const LaunchTensor *tensor)
{
    int64_t count = 1;
    for (int d = 0; d < tensor->ndim; d++)
        if (__builtin_mul_overflow(count, tensor->shape[d], &count))
            return INT64_MAX;
    return count;
}

static int allocate(const char *name, LaunchTensor *tensor)
{
    int64_t count = tensor_count(tensor), size = attune_dtype_size(tensor->dtype);
    if (count <= INT64_MAX / 16)
        tensor->data = calloc((size_t)(count > 0 ? count : 1), (size_t)size);
    return tensor->data ? EXIT_DONE : failure("out of memory for %s", name);
}

/* Changes the element type, when it is another. */
static int convert(const char *name, LaunchTensor *tensor, AttuneDtype dtype)
{
    if (tensor->dtype == dtype)
        return EXIT_DONE;
    LaunchTensor other = *tensor;
    other.dtype = dtype;
    other.data = NULL;
    int status = allocate(name, &other);
    if (status == EXIT_DONE &&
        !npy_convert(tensor->data, tensor->dtype, other.data, dtype, tensor_count(tensor)))
        status = failure("%s: elements of type %s cannot become %s", name, attune_dtype_name(tensor->dtype),
                         attune_dtype_name(dtype));
    free(tensor->data);
    *tensor = other;
    return status;
}

static void put_float(LaunchTensor *tensor, int64_t k, double value)
{
    float narrow = (float)value;
    npy_convert(&narrow, ATTUNE_F32, (char *)tensor->data + k * attune_dtype_size(tensor->dtype),
                tensor->dtype, 1);
}

static void put_int(LaunchTensor *tensor, int64_t k, int64_t value)
{
    npy_convert(&value, ATTUNE_I64, (char *)tensor->data + k * attune_dtype_size(tensor->dtype),
                tensor->dtype, 1);
}

static int64_t seed_of(const LaunchData *data)
{
    const char *text = option_value(data->arguments, OPTION_SEED, "1");
    return strtoll(text, NULL, 10); /* checked in launch_data_make */
}

static int make_operand(LaunchData *data, const char *name, LaunchTensor *tensor, int64_t heads, int64_t rows,
                        int64_t width)
{
    if (tensor->data)
        return convert(name, tensor, data->dtype);
    bool bhmd = data->layout == ATTUNE_BHMD;
    *tensor = (LaunchTensor){.dtype = data->dtype, .ndim = 4, .random = true};
    tensor->shape[0] = data->shape.sizes.b;
    tensor->shape[1] = bhmd ? heads : rows;
    tensor->shape[2] = bhmd ? rows : heads;
    tensor->shape[3] = width;
    int status = allocate(name, tensor);
    if (status != EXIT_DONE || strcmp(name, "o") == 0)
        return status;
    random_normals(random_start(seed_of(data), name), tensor->dtype, tensor->data, tensor_count(tensor));
    return EXIT_DONE;
}

/* Inputs ------------------------------------------------------------------------------------------------- */

typedef struct InputSearch {
    int index;
    bool found;
} InputSearch;

static void find_input(void *user, const Expr *e)
{
    InputSearch *search = user;
    search->found = search->found || (e->op == EXPR_INPUT && e->index == search->index);
}

static bool uses_input(const Spec *spec, const Expr *e, int index)
{
    InputSearch search = {index, false};
    if (e)
        expr_walk(spec->arena, e, find_input, &search);
    return search.found;
}

static bool over_tokens(const AttuneInputInfo *info)
{
    if (info->ndim == 0)
        return false;
    AttuneDimKind last = info->dims[info->ndim - 1].kind;
    return last == ATTUNE_DIM_T || last == ATTUNE_DIM_I || last == ATTUNE_DIM_J;
}

static void fill_ints(LaunchTensor *tensor, const AttuneInputInfo *info, int64_t tokens, Random *random)
{
    int64_t count = tensor_count(tensor), row = info->ndim > 0 ? tensor->shape[info->ndim - 1] : 1, id = 0;
    for (int64_t k = 0; k < count; k++) {
        if (over_tokens(info)) { /* documents: eight to a row, on average */
            id = k % row == 0 ? 0 : id + (random_uniform(random) * (double)row < 8);
            put_int(tensor, k, id);
        } else { /* a length or a width */
            put_int(tensor, k, 1 + (int64_t)(random_uniform(random) * (double)(tokens > 0 ? tokens : 1)));
        }
    }
}

static void fill_floats(const Spec *spec, LaunchTensor *tensor, int index, Random *random)
{
    int64_t count = tensor_count(tensor);
    bool decay = uses_input(spec, spec->decay.log_step, index),
         strength = uses_input(spec, spec->decay.beta, index);
    for (int64_t k = 0; k < count; k++)
        put_float(tensor, k, decay      ? -0.05 * fabs(random_normal(random))
                             : strength ? random_uniform(random)
                                        : random_normal(random));
}

static void fill_input(const LaunchData *data, int index)
{
    LaunchTensor *tensor = (LaunchTensor *)&data->inputs[index];
    const AttuneInputInfo *info = &data->info.inputs[index];
    Random random = random_start(seed_of(data), info->name);
    tensor->random = true;
    if (tensor->dtype == ATTUNE_BOOL)
        for (int64_t k = 0, count = tensor_count(tensor); k < count; k++)
            put_int(tensor, k, random_uniform(&random) < 0.9);
    else if (tensor->dtype == ATTUNE_I32 || tensor->dtype == ATTUNE_I64)
        fill_ints(tensor, info, data->shape.sizes.n, &random);
    else
        fill_floats(data->spec, tensor, index, &random);
}

/* The file that --input names for input `name`, or NULL. */
static const char *input_path(const Arguments *arguments, const char *name)
{
    size_t length = strlen(name);
    for (int k = arguments->count[OPTION_INPUT] - 1; k >= 0; k--) {
        const char *text = arguments->values[OPTION_INPUT][k];
        if (strncmp(text, name, length) == 0 && text[length] == '=')
            return text + length + 1;
    }
    return NULL;
}

static int read_input(LaunchData *data, const char *path, int index)
{
    const AttuneInputInfo *info = &data->info.inputs[index];
    LaunchTensor *tensor = &data->inputs[index];
    char why[512];
    NpyArray array;
    if (!npy_read(path, &array, why, sizeof why))
        return failure("%s", why);
    tensor->data = array.data;
    tensor->dtype = array.dtype;
    tensor->ndim = array.ndim;
    if (array.ndim != info->ndim)
        return failure("%s: has %d dimensions; input %s has %d", path, array.ndim, info->name, info->ndim);
    memcpy(tensor->shape, array.shape, sizeof tensor->shape);
    return convert(info->name, tensor, info->dtype);
}

static int check_names(const LaunchData *data)
{
    const Arguments *arguments = data->arguments;
    for (int k = 0; k < arguments->count[OPTION_INPUT]; k++) {
        const char *text = arguments->values[OPTION_INPUT][k], *equals = strchr(text, '=');
        if (!equals || equals == text || !equals[1])
            return usage_error(NULL, "--input: '%s' is not NAME=FILE", text);
        bool known = false;
        for (int i = 0; i < data->info.input_count; i++)
            known = known || (strncmp(data->info.inputs[i].name, text, (size_t)(equals - text)) == 0 &&
                              data->info.inputs[i].name[equals - text] == '\0');
        if (!known)
            return usage_error(NULL, "--input: %s has no input '%.*s'", data->info.name, (int)(equals - text),
                               text);
    }
    return EXIT_DONE;
}

static int make_inputs(LaunchData *data)
{
    const Arguments *arguments = data->arguments;
    for (int i = 0; i < data->info.input_count; i++) {
        const char *path = input_path(arguments, data->info.inputs[i].name);
        int status = path ? read_input(data, path, i) : EXIT_DONE;
        if (status != EXIT_DONE)
            return status;
    }
    for (int i = 0; i < data->info.input_count; i++) {
        const AttuneInputInfo *info = &data->info.inputs[i];
        LaunchTensor *tensor = &data->inputs[i];
        if (!tensor->data) {
            AttuneError *error = NULL;
            *tensor = (LaunchTensor){.dtype = info->dtype, .ndim = info->ndim};
            if (attune_spec_input_shape(data->public_spec, i, &data->shape.sizes, NULL, 0, tensor->shape,
                                        &error) != ATTUNE_OK)
                return error_report(arguments, error);
            int status = allocate(info->name, tensor);
            if (status != EXIT_DONE)
                return status;
            fill_input(data, i);
        }
        data->named_inputs[i] = (AttuneNamedTensor){
            info->name,
            {.data = tensor->data, .dtype = tensor->dtype, .ndim = tensor->ndim, .shape = tensor->shape}};
    }
    return EXIT_DONE;
}

/* Returns and the whole ---------------------------------------------------------------------------------- */

static bool spec_returns(const AttuneSpecInfo *info, const char *name)
{
    for (int k = 0; k < info->return_count; k++)
        if (strcmp(info->returns[k], name) == 0)
            return true;
    return false;
}

static int make_return(LaunchData *data, const char *name, const char *path)
{
    int k = data->return_count++;
    data->return_names[k] = name;
    data->return_paths[k] = path;
    LaunchTensor *tensor = &data->returns[k];
    *tensor = (LaunchTensor){.dtype = ATTUNE_F32, .ndim = 3};
    tensor->shape[0] = data->shape.sizes.b;
    tensor->shape[1] = data->shape.sizes.h;
    tensor->shape[2] = data->shape.sizes.m;
    int status = allocate(name, tensor);
    data->named_returns[k] = (AttuneNamedTensor){
        name, {.data = tensor->data, .dtype = ATTUNE_F32, .ndim = 3, .shape = tensor->shape}};
    return status;
}

/* Every return that the spec has: --check looks at lse, --return writes them. */
static int make_returns(LaunchData *data)
{
    const Arguments *arguments = data->arguments;
    const char *paths[RETURN_KIND_COUNT] = {NULL};
    for (int k = 0; k < arguments->count[OPTION_RETURN]; k++) {
        const char *text = arguments->values[OPTION_RETURN][k], *equals = strchr(text, '=');
        if (!equals || equals == text || !equals[1])
            return usage_error(NULL, "--return: '%s' is not NAME=FILE", text);
        bool known = false;
        for (int r = 0; r < data->info.return_count; r++)
            if (strncmp(data->info.returns[r], text, (size_t)(equals - text)) == 0 &&
                data->info.returns[r][equals - text] == '\0') {
                known = true;
                paths[r] = equals + 1;
            }
        if (!known)
            return usage_error(NULL, "--return: %s does not return '%.*s'%s", data->info.name,
                               (int)(equals - text), text,
                               spec_returns(&data->info, "lse") ? "" : " (write `return lse` into the spec)");
    }
    for (int r = 0; r < data->info.return_count; r++) {
        int status = make_return(data, data->info.returns[r], paths[r]);
        if (status != EXIT_DONE)
            return status;
    }
    return EXIT_DONE;
}

static AttuneTensor tensor_view(const LaunchTensor *tensor)
{
    return (AttuneTensor){
        .data = tensor->data, .dtype = tensor->dtype, .ndim = tensor->ndim, .shape = tensor->shape};
}

static int choose_dtype(LaunchData *data)
{
    const char *name = option_value(data->arguments, OPTION_DTYPE, NULL);
    data->dtype = name           ? attune_dtype_parse(name)
                  : data->q.data ? data->q.dtype
                  : data->k.data ? data->k.dtype
                  : data->v.data ? data->v.dtype : ATTUNE_F32;
    if (data->dtype == ATTUNE_F32 || data->dtype == ATTUNE_BF16 || data->dtype == ATTUNE_F16)
        return EXIT_DONE;
    return usage_error(NULL, "--dtype: '%s' is none of f32, bf16, f16", name);
}

static int make_operands(LaunchData *data)
{
    const AttuneSizes *sizes = &data->shape.sizes;
    int status = make_operand(data, "q", &data->q, sizes->h, sizes->m, sizes->d);
    if (status == EXIT_DONE)
        status = make_operand(data, "k", &data->k, sizes->g, sizes->n, sizes->d);
    if (status == EXIT_DONE)
        status = make_operand(data, "v", &data->v, sizes->g, sizes->n, sizes->e);
    if (status == EXIT_DONE)
        status = make_operand(data, "o", &data->o, sizes->h, sizes->m, sizes->e);
    return status == EXIT_DONE ? make_returns(data) : status;
}

int launch_data_make(const Arguments *arguments, const Spec *spec, AttuneSpec *public_spec, bool inputs_only,
                     LaunchData *data)
{
    memset(data, 0, sizeof *data);
    data->arguments = arguments;
    data->spec = spec;
    data->public_spec = public_spec;
    attune_spec_info(public_spec, &data->info);
    const char *layout = option_value(arguments, OPTION_LAYOUT, "BHMD");
    if (strcmp(layout, "BHMD") != 0 && strcmp(layout, "BMHD") != 0)
        return usage_error(NULL, "--layout: '%s' is neither BHMD nor BMHD", layout);
    data->layout = strcmp(layout, "BHMD") == 0 ? ATTUNE_BHMD : ATTUNE_BMHD;
    int64_t seed = 1;
    if (!option_int(arguments, OPTION_SEED, INT64_MIN, INT64_MAX, &seed))
        return EXIT_USAGE;
    int status = shape_read(arguments, &data->shape);
    if (status == EXIT_DONE)
        status = check_names(data);
    static const OptionId options[3] = {OPTION_Q, OPTION_K, OPTION_V};
    for (int t = 0; t < 3 && status == EXIT_DONE; t++)
        status = read_operand(data, options[t], t == 0 ? &data->q : t == 1 ? &data->k : &data->v);
    if (status == EXIT_DONE)
        status = choose_dtype(data);
    if (status == EXIT_DONE)
        status = shape_complete(&data->shape, spec);
    if (status == EXIT_DONE)
        status = make_inputs(data);
    if (status == EXIT_DONE && !inputs_only)
        status = make_operands(data);
    AttuneLaunch *launch = &data->launch;
    *launch = (AttuneLaunch){
        .layout = data->layout,
        .q = tensor_view(&data->q),
        .k = tensor_view(&data->k),
        .v = tensor_view(&data->v),
        .o = tensor_view(&data->o),
        .inputs = data->named_inputs,
        .input_count = data->info.input_count,
        .returns = data->named_returns,
        .return_count = data->return_count,
        .offset = data->shape.sizes.offset,
    };
    memcpy(launch->m_axis, data->shape.sizes.m_axis, sizeof launch->m_axis);
    memcpy(launch->n_axis, data->shape.sizes.n_axis, sizeof launch->n_axis);
    return status;
}

void launch_data_free(LaunchData *data)
{
    free(data->q.data);
    free(data->k.data);
    free(data->v.data);
    free(data->o.data);
    for (int k = 0; k < ATTUNE_MAX_INPUTS; k++)
        free(data->inputs[k].data);
    for (int k = 0; k < RETURN_KIND_COUNT; k++)
        free(data->returns[k].data);
}

static int write_tensor(const char *path, const LaunchTensor *tensor)
{
    char why[512];
    if (npy_write(path, tensor->dtype, tensor->ndim, tensor->shape, tensor->data, why, sizeof why))
        return EXIT_DONE;
    return failure("%s", why);
}

int launch_data_write(const LaunchData *data)
{
    const char *path = option_value(data->arguments, OPTION_OUTPUT, NULL);
    int status = path ? write_tensor(path, &data->o) : EXIT_DONE;
    for (int k = 0; k < data->return_count && status == EXIT_DONE; k++)
        if (data->return_paths[k])
            status = write_tensor(data->return_paths[k], &data->returns[k]);
    return status;
}

static ElemType elem_type(AttuneDtype dtype)
{
    switch (dtype) {
    case ATTUNE_BOOL: return ELEM_TYPE_BOOL;
    case ATTUNE_I32: return ELEM_TYPE_I32;
    case ATTUNE_I64: return ELEM_TYPE_I64;
    case ATTUNE_BF16: return ELEM_TYPE_BF16;
    case ATTUNE_F16: return ELEM_TYPE_F16;
    default: return ELEM_TYPE_F32;
    }
}

void launch_data_problem(const LaunchData *data, RefProblem *problem)
{
    const AttuneSizes *sizes = &data->shape.sizes;
    *problem = (RefProblem){.B = sizes->b,
                            .H = sizes->h,
                            .G = sizes->g,
                            .M = sizes->m,
                            .N = sizes->n,
                            .D = sizes->d,
                            .E = sizes->e,
                            .offset = sizes->offset};
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        problem->m_axis[a] = data->spec->rank == 1 ? (a == 0 ? sizes->m : 1) : sizes->m_axis[a];
        problem->n_axis[a] = data->spec->rank == 1 ? (a == 0 ? sizes->n : 1) : sizes->n_axis[a];
    }
    for (int i = 0; i < data->info.input_count; i++) {
        const LaunchTensor *tensor = &data->inputs[i];
        RefTensor *to = &problem->inputs[i];
        to->data = tensor->data;
        to->type = elem_type(tensor->dtype);
        int64_t stride = 1;
        for (int d = tensor->ndim - 1; d >= 0; d--) {
            to->stride[d] = tensor->shape[d] == 1 ? 0 : stride;
            stride *= tensor->shape[d];
        }
    }
    for (int k = 0; k < data->spec->param_count; k++)
        problem->params[k] = data->spec->params[k].value;
}
