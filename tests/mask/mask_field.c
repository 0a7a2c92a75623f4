#include "mask_field.h"

#include <stdlib.h>
#include <string.h>

enum { ARG_I_LO = 0, ARG_I_HI = 3, ARG_J_LO = 6, ARG_J_HI = 9, ARG_ARRAYS = 12 };

typedef struct Point {
    MaskField *field;
    int64_t i[SPEC_MAX_RANK], j[SPEC_MAX_RANK];
} Point;

Spec *mask_field_spec(Arena *arena, const char *text)
{
    Diag *diag = diag_create(arena);
    Ast *ast = NULL;
    Spec *spec = NULL;
    if (dsl_parse(diag, "mask", text, strlen(text), NULL, &ast) == DSL_OK)
        spec = check_spec(arena, diag, ast, NULL, NULL, 0);
    if (!spec)
        diag_print(diag, stderr, DIAG_TEXT, false);
    return spec;
}

/* Test data of the inputs, by name: documents of uneven lengths, per-head numbers, scattered numbers. */
static int64_t input_value(const MaskField *f, int tensor, int64_t at)
{
    const char *name = f->spec->inputs[tensor].name;
    if (strcmp(name, "doc") == 0) {
        int64_t document = 0;
        for (int64_t end = 37; end <= at; end += 11 + 53 * (document * 7 % 5))
            document++;
        return document;
    }
    if (strcmp(name, "shard") == 0)
        return 32 << at;
    if (strcmp(name, "phase") == 0)
        return at;
    return at * 2654435761u % 1000;
}

static int64_t flat(const int64_t *at, const int64_t *extent, int rank)
{
    int64_t index = at[0];
    for (int a = 1; a < rank; a++)
        index = index * extent[a] + at[a];
    return index;
}

static int64_t variable(const MaskField *f, int var)
{
    switch (var) {
    case VAR_B: return 0;
    case VAR_H: return f->head;
    case VAR_G: return f->head;
    case VAR_SIZE_B: return 1;
    case VAR_SIZE_H:
    case VAR_SIZE_G: return f->heads;
    case VAR_SIZE_M: return f->M;
    case VAR_SIZE_N: return f->N;
    case VAR_SIZE_D:
    case VAR_SIZE_E: return 64;
    case VAR_SIZE_M0:
    case VAR_SIZE_M1:
    case VAR_SIZE_M2: return f->m[var - VAR_SIZE_M0];
    case VAR_SIZE_N0:
    case VAR_SIZE_N1:
    case VAR_SIZE_N2: return f->n[var - VAR_SIZE_N0];
    case VAR_OFFSET: return f->offset;
    default: abort(); /* a class or a range must not depend on it */
    }
}

static ExprValue number(const MaskField *f, const Expr *e, int64_t value)
{
    (void)f;
    return e->type == TYPE_FLOAT ? (ExprValue){.f = (double)value} : (ExprValue){.i = value};
}

static ExprValue point_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const Point *p = user;
    if (e->op == EXPR_PARAM)
        return p->field->spec->params[e->index].value;
    if (e->op == EXPR_INPUT)
        return number(p->field, e, input_value(p->field, e->index, args[e->arity - 1].i));
    if (e->index >= VAR_I0 && e->index <= VAR_I2)
        return (ExprValue){.i = p->i[e->index - VAR_I0]};
    if (e->index >= VAR_J0 && e->index <= VAR_J2)
        return (ExprValue){.i = p->j[e->index - VAR_J0]};
    return (ExprValue){.i = variable(p->field, e->index)};
}

static ExprRange array_range(void *user, const Expr *input)
{
    MaskField *f = user;
    int side = mask_array_side(f->spec, input) == MASK_SIDE_KEY,
        arg = ARG_ARRAYS + 4 * input->index + 2 * side;
    return (ExprRange){expr_arg(f->spec->pool, arg, (ExprType)input->type),
                       expr_arg(f->spec->pool, arg + 1, (ExprType)input->type)};
}

/* Least or greatest element of an array over one side of the box. */
static int64_t array_extreme(const MaskField *f, int tensor, bool keys, bool greatest)
{
    const int64_t *lo = keys ? f->j_lo : f->i_lo, *hi = keys ? f->j_hi : f->i_hi;
    int64_t at[SPEC_MAX_RANK] = {0}, best = greatest ? INT64_MIN : INT64_MAX;
    int rank = f->spec->rank;
    for (int a = 0; a < rank; a++)
        at[a] = lo[a];
    while (at[0] <= hi[0]) {
        int64_t value = input_value(f, tensor, flat(at, f->n, rank));
        best = (value > best) == greatest && value != best ? value : best;
        int a = rank - 1;
        while (++at[a] > hi[a] && a > 0) {
            at[a] = lo[a];
            a--;
        }
    }
    return best;
}

static ExprValue box_leaf(void *user, const Expr *e, const ExprValue *args)
{
    MaskField *f = user;
    if (e->op == EXPR_PARAM)
        return f->spec->params[e->index].value;
    if (e->op == EXPR_INPUT)
        return number(f, e, input_value(f, e->index, args[e->arity - 1].i));
    if (e->op == EXPR_VAR)
        return (ExprValue){.i = variable(f, e->index)};
    const int64_t *bounds[] = {f->i_lo, f->i_hi, f->j_lo, f->j_hi};
    if (e->index < ARG_ARRAYS)
        return (ExprValue){.i = bounds[e->index / 3][e->index % 3]};
    int k = e->index - ARG_ARRAYS;
    return number(f, e, array_extreme(f, k / 4, k / 2 % 2, k % 2));
}

int64_t mask_field_value(MaskField *field, const Expr *e)
{
    ExprEval eval = {field, box_leaf, false};
    return expr_eval(&eval, e).i;
}

bool mask_field_at(const MaskField *f, const int64_t *i, const int64_t *j)
{
    int64_t row[SPEC_MAX_RANK] = {0};
    for (int a = 0; a < f->spec->rank; a++)
        row[a] = i[a] - (f->spec->rank == 1 ? f->offset : 0);
    return f->visible[flat(row, f->m, f->spec->rank) * f->N + flat(j, f->n, f->spec->rank)];
}

static void unflatten(int64_t index, const int64_t *extent, int rank, int64_t *at)
{
    for (int a = rank - 1; a >= 0; a--) {
        at[a] = index % extent[a];
        index /= extent[a];
    }
}

void mask_field_create(MaskField *f, Arena *arena, Spec *spec, const int64_t *m, const int64_t *n,
                       int64_t offset, int64_t head, int64_t heads)
{
    *f = (MaskField){
        .arena = arena, .spec = spec, .offset = offset, .head = head, .heads = heads, .M = 1, .N = 1};
    for (int a = 0; a < spec->rank; a++) {
        f->m[a] = m[a];
        f->n[a] = n[a];
        f->M *= m[a];
        f->N *= n[a];
        f->box.i_lo[a] = expr_arg(spec->pool, ARG_I_LO + a, TYPE_INT);
        f->box.i_hi[a] = expr_arg(spec->pool, ARG_I_HI + a, TYPE_INT);
        f->box.j_lo[a] = expr_arg(spec->pool, ARG_J_LO + a, TYPE_INT);
        f->box.j_hi[a] = expr_arg(spec->pool, ARG_J_HI + a, TYPE_INT);
    }
    f->arrays = (MaskArrays){array_range, f};
    f->visible = arena_alloc(arena, (size_t)(f->M * f->N));
    Point p = {.field = f};
    ExprEval eval = {&p, point_leaf, false};
    for (int64_t row = 0; row < f->M; row++)
        for (int64_t key = 0; key < f->N; key++) {
            unflatten(row, f->m, spec->rank, p.i);
            unflatten(key, f->n, spec->rank, p.j);
            if (spec->rank == 1)
                p.i[0] += offset;
            f->visible[row * f->N + key] = expr_eval(&eval, spec->mask).i != 0;
        }
}
