/* See problem.h. Conversions are written here once more, bit by bit, so that they can be compared with the
 * library's. */
#include "problem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static Problem *create(const char *name, const char *text, size_t length, Arena *arena, Diag *diag,
                       const SpecSetting *settings, int setting_count)
{
    Problem *problem = ARENA_NEW(arena, Problem);
    Ast *ast;
    problem->arena = arena;
    problem->diag = diag;
    if (dsl_parse(diag, name, text, length, NULL, &ast) == DSL_OK)
        problem->spec = check_spec(arena, diag, ast, NULL, settings, setting_count);
    return problem;
}

Problem *problem_create(const char *name, const char *text, const SpecSetting *settings, int setting_count)
{
    Arena *arena = arena_create();
    return create(name, text, strlen(text), arena, diag_create(arena), settings, setting_count);
}

Problem *problem_open(const char *path, const SpecSetting *settings, int setting_count)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    char *text;
    size_t length;
    const char *why;
    if (!dsl_read_file(arena, path, &text, &length, &why)) {
        fprintf(stderr, "%s: %s\n", path, why);
        arena_destroy(arena);
        return NULL;
    }
    return create(path, text, length, arena, diag, settings, setting_count);
}

void problem_destroy(Problem *problem)
{
    if (problem)
        arena_destroy(problem->arena);
}

static uint16_t to_bf16(double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t to_f16(double value)
{
    double size = fabs((float)value), quantum;
    int exponent;
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    frexp(size, &exponent);
    if (exponent < -13)
        exponent = -13;
    quantum = ldexp(1, exponent - 11);
    double steps = nearbyint(size / quantum); /* up to 2048 = the next power of two */
    if (size >= 65520)
        return sign | 0x7c00;
    return (uint16_t)(sign + (steps >= 1024 ? ((exponent + 13) << 10) + (int)steps : (int)steps));
}

void store_element(void *data, ElemType type, int64_t index, double value)
{
    switch (type) {
    case ELEM_TYPE_BOOL: ((uint8_t *)data)[index] = value != 0; break;
    case ELEM_TYPE_I32: ((int32_t *)data)[index] = (int32_t)value; break;
    case ELEM_TYPE_I64: ((int64_t *)data)[index] = (int64_t)value; break;
    case ELEM_TYPE_F32: ((float *)data)[index] = (float)value; break;
    case ELEM_TYPE_BF16: ((uint16_t *)data)[index] = to_bf16(value); break;
    case ELEM_TYPE_F16: ((uint16_t *)data)[index] = to_f16(value); break;
    }
}

double load_element(const void *data, ElemType type, int64_t index)
{
    uint32_t bits;
    float f;
    switch (type) {
    case ELEM_TYPE_BOOL: return ((const uint8_t *)data)[index];
    case ELEM_TYPE_I32: return ((const int32_t *)data)[index];
    case ELEM_TYPE_I64: return (double)((const int64_t *)data)[index];
    case ELEM_TYPE_F32: return ((const float *)data)[index];
    case ELEM_TYPE_BF16:
        bits = (uint32_t)((const uint16_t *)data)[index] << 16;
        memcpy(&f, &bits, sizeof f);
        return f;
    case ELEM_TYPE_F16: {
        int h = ((const uint16_t *)data)[index], exponent = h >> 10 & 31;
        double size = exponent ? ldexp(1024 + (h & 1023), exponent - 25) : ldexp(h & 1023, -24);
        return h & 0x8000 ? -size : size;
    }
    }
    return 0;
}

static ExprValue extent_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const RefProblem *p = user;
    const int64_t sizes[] = {p->B, p->H, p->G, p->M, p->N, p->D, p->E};
    ExprValue value = {0};
    (void)args;
    if (e->op == EXPR_PARAM)
        value = p->params[e->index];
    else if (e->index >= VAR_SIZE_B && e->index <= VAR_SIZE_E)
        value.i = sizes[e->index - VAR_SIZE_B];
    return value;
}

static int64_t evaluate(Problem *problem, const Expr *e)
{
    ExprEval eval = {&problem->ref, extent_leaf, false};
    return expr_eval(&eval, e).i;
}

static void make_tensor(Problem *problem, RefTensor *tensor, double **values, ElemType type, int dims,
                        const int64_t *extent)
{
    int64_t count = 1;
    tensor->type = type;
    for (int d = dims - 1; d >= 0; d--) {
        tensor->stride[d] = count;
        count *= extent[d];
    }
    tensor->data = arena_array(problem->arena, (size_t)count, (size_t)elem_type_size(type));
    *values = ARENA_ARRAY(problem->arena, double, (size_t)count);
}

static void fill_normal(RefTensor *tensor, double *values, int64_t count, double size, Random *random)
{
    for (int64_t n = 0; n < count; n++) {
        store_element((void *)tensor->data, tensor->type, n, size * random_normal(random));
        values[n] = load_element(tensor->data, tensor->type, n);
    }
}

int64_t problem_input_count(const Problem *problem, int input)
{
    int64_t count = 1;
    for (int d = 0; d < problem->spec->inputs[input].dim_count; d++)
        count *= problem->extents[input][d];
    return count;
}

void problem_fill(Problem *problem, ElemType elem, uint64_t seed)
{
    RefProblem *p = &problem->ref;
    const Spec *spec = problem->spec;
    Random random = {seed};
    bool ragged = p->cu_q != NULL;
    int64_t B = ragged ? 1 : p->B, M = ragged ? p->cu_q[p->B] : p->M, N = ragged ? p->cu_k[p->B] : p->N;
    problem->elem = elem;
    make_tensor(problem, &p->q, &problem->q, elem, 4, (int64_t[]){B, p->H, M, p->D});
    make_tensor(problem, &p->k, &problem->k, elem, 4, (int64_t[]){B, p->G, N, p->D});
    make_tensor(problem, &p->v, &problem->v, elem, 4, (int64_t[]){B, p->G, N, p->E});
    fill_normal(&p->q, problem->q, B * p->H * M * p->D, 1, &random);
    fill_normal(&p->k, problem->k, B * p->G * N * p->D, 1, &random);
    fill_normal(&p->v, problem->v, B * p->G * N * p->E, 1, &random);
    for (int n = 0; n < spec->param_count; n++)
        p->params[n] = spec->params[n].value;
    for (int n = 0; n < spec->input_count; n++) {
        const SpecInput *input = &spec->inputs[n];
        bool tokens = false;
        for (int d = 0; d < input->dim_count; d++)
            tokens |=
                input->dims[d].kind == DIM_T || input->dims[d].kind == DIM_J || input->dims[d].kind == DIM_I;
        for (int d = 0; d < input->dim_count; d++) {
            DimKind kind = input->dims[d].kind;
            problem->extents[n][d] = ragged && kind == DIM_I                      ? M
                                     : ragged && (kind == DIM_T || kind == DIM_J) ? N
                                     : ragged && tokens && kind == DIM_B
                                         ? 1
                                         : evaluate(problem, input->dims[d].extent);
        }
        make_tensor(problem, &p->inputs[n], &problem->inputs[n], input->type, input->dim_count,
                    problem->extents[n]);
        if (input->type >= ELEM_TYPE_F32)
            fill_normal(&p->inputs[n], problem->inputs[n], problem_input_count(problem, n), 0.5, &random);
    }
    int64_t rows = B * p->H * M;
    problem->o = ARENA_ARRAY(problem->arena, double, (size_t)(rows * problem_out_width(problem)));
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        problem->returns[r] = ARENA_ARRAY(problem->arena, double, (size_t)rows);
}

int problem_input(const Problem *problem, const char *name)
{
    for (int n = 0; n < problem->spec->input_count; n++)
        if (!strcmp(problem->spec->inputs[n].name, name))
            return n;
    return -1;
}

void problem_set(Problem *problem, int input, int64_t index, double value)
{
    RefTensor *tensor = &problem->ref.inputs[input];
    store_element((void *)tensor->data, tensor->type, index, value);
    problem->inputs[input][index] = load_element(tensor->data, tensor->type, index);
}

int64_t problem_out_width(const Problem *problem)
{
    const SpecFeature *v = &problem->spec->feature_v;
    return v->body ? evaluate((Problem *)problem, v->width) : problem->ref.E;
}

bool problem_run(Problem *problem, bool exact, ElemType plain)
{
    const RefProblem *p = &problem->ref;
    int64_t rows = p->cu_q ? p->H * p->cu_q[p->B] : p->B * p->H * p->M;
    RefResult result = {.o = problem->o};
    for (int64_t n = 0; n < rows * problem_out_width(problem); n++)
        problem->o[n] = NAN;
    for (int r = 0; r < RETURN_KIND_COUNT; r++) {
        result.returns[r] = problem->returns[r];
        for (int64_t n = 0; n < rows; n++)
            problem->returns[r][n] = NAN;
    }
    return reference_run(problem->spec, p, exact, plain, 1, &result);
}
