/* Growing random Programs: see random_program.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/tile/tile_memory.h"
#include "random_program.h"

static int pick(Growth *g, int end) { return (int)random_below(&g->random, end); }
static Inst *some(Growth *g, Inst **pool, int count) { return pool[pick(g, count)]; }
static const Expr *F(Growth *g, int k) { return making_arg(&g->m, k, TYPE_FLOAT); }
static const Expr *I(Growth *g, int k) { return making_arg(&g->m, k, TYPE_INT); }
static const Expr *op1(Growth *g, ExprOp op, const Expr *a) { return expr_op1(g->m.pool, op, a); }
static const Expr *op2(Growth *g, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(g->m.pool, op, a, b);
}
static const Expr *number(Growth *g, double v) { return expr_float(g->m.pool, v); }
static const Expr *whole(Growth *g, int64_t v) { return expr_int(g->m.pool, v); }

static void keep(Growth *g, Inst *inst)
{
    ExprType type = elem_class(inst->type.elem);
    Inst **pool = type == TYPE_FLOAT ? g->floats : type == TYPE_INT ? g->ints : g->bools;
    int *count = type == TYPE_FLOAT ? &g->float_count : type == TYPE_INT ? &g->int_count : &g->bool_count;
    if (*count < RANDOM_POOL)
        pool[(*count)++] = inst;
}

static bool fits(const Growth *g, const TileType *a, const TileType *b)
{
    TileType all = *a;
    int64_t size = 1;
    for (int k = 0; b && k < b->axis_count; k++)
        if (!type_add_axis(&all, b->axis[k]))
            return false;
    for (int k = 0; k < all.axis_count; k++)
        size *= g->extent[all.axis[k]];
    return size <= g->largest;
}

static bool fits3(const Growth *g, const Inst *a, const Inst *b, const Inst *c)
{
    TileType all = a->type;
    for (int k = 0; k < b->type.axis_count; k++)
        if (!type_add_axis(&all, b->type.axis[k]))
            return false;
    return fits(g, &all, c ? &c->type : NULL);
}

/* Tensors ---------------------------------------------------------------------------------------------- */

static int new_plane(Growth *g, TensorRole role, ElemType elem, int dims, const int64_t *extent, bool output)
{
    Plane *p = &g->planes[g->plane_count];
    *p = (Plane){.elem = elem, .dims = dims, .output = output};
    int64_t step = role == ROLE_INPUT || role == ROLE_RETURN ? 1 + pick(g, 2) : 1;
    for (int d = dims - 1; d >= 0; d--) {
        p->extent[d] = extent[d];
        p->stride[d] = step;
        step = step * (extent[d] > 0 ? extent[d] : 1);
        step += pick(g, 3);
    }
    char name[16];
    snprintf(name, sizeof name, "t%d", g->plane_count++);
    int tensor = making_tensor(&g->m, name, role, elem, dims);
    g->m.program->tensors[tensor].index = role == ROLE_RETURN ? g->returns++ : tensor;
    return tensor;
}

static Inst *index_of(Growth *g, int axis)
{
    return build_index(&g->m.at, axis);
}

static Inst *load(Growth *g)
{
    static const ElemType elems[] = {ELEM_TYPE_F32, ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16,
                                     ELEM_TYPE_I32, ELEM_TYPE_I64, ELEM_TYPE_BOOL};
    ElemType elem = elems[pick(g, 7)];
    TensorRole role = pick(g, 3) ? ROLE_WORKSPACE : ROLE_INPUT;
    int a = g->axes[pick(g, RANDOM_AXES)], b = g->axes[pick(g, RANDOM_AXES)];
    Inst *guard = NULL, *rows = index_of(g, a), *columns = index_of(g, b);
    int64_t extent[] = {RANDOM_ITEMS, g->extent[a], g->extent[b]};
    if (g->extent[a] * g->extent[b] > g->largest)
        return NULL;
    if (pick(g, 2)) { /* some of the rows */
        extent[1] = pick(g, (int)g->extent[a] + 1);
        guard = making_map(&g->m, op2(g, EXPR_LT, I(g, 0), whole(g, extent[1])), rows, NULL, NULL);
    }
    switch (pick(g, 5)) {
    case 0: { /* one row or column for all: a vector */
        int t = new_plane(g, role, elem, 2, extent, false);
        return build_load(&g->m.at, t, (Inst *[]){g->item, rows}, 2, guard);
    }
    case 1: { /* a gather by the difference of two axes */
        int64_t spread[] = {RANDOM_ITEMS, g->extent[a] + g->extent[b] - 1};
        int t = new_plane(g, role, elem, 2, spread, false);
        Inst *at = making_map(
            &g->m, op2(g, EXPR_ADD, op2(g, EXPR_SUB, I(g, 0), I(g, 1)), whole(g, g->extent[b] - 1)), rows,
            columns, NULL);
        return a == b ? NULL : build_load(&g->m.at, t, (Inst *[]){g->item, at}, 2, NULL);
    }
    case 2: { /* rows from some way in */
        if (a == b)
            return NULL;
        extent[1] += 5;
        Inst *shifted = making_map(&g->m, op2(g, EXPR_ADD, I(g, 0), whole(g, 5)), rows, NULL, NULL);
        return build_load(&g->m.at, new_plane(g, role, elem, 3, extent, false),
                          (Inst *[]){g->item, shifted, columns}, 3, guard);
    }
    default:
        if (a == b)
            return NULL;
        return build_load(&g->m.at, new_plane(g, role, elem, 3, extent, false),
                          (Inst *[]){g->item, rows, columns}, 3, guard);
    }
}

static void store(Growth *g, Inst *value)
{
    static const ElemType elems[3][3] = {{ELEM_TYPE_BOOL, ELEM_TYPE_BOOL, ELEM_TYPE_BOOL},
                                         {ELEM_TYPE_I64, ELEM_TYPE_I64, ELEM_TYPE_I64},
                                         {ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16}};
    Inst *at[5] = {g->item};
    int64_t extent[5] = {RANDOM_ITEMS};
    int dims = 1, shift = pick(g, 3);
    for (int k = 0; k < value->type.axis_count; k++) {
        int axis = value->type.axis[(k + shift) % value->type.axis_count];
        at[dims] = index_of(g, axis);
        extent[dims++] = g->extent[axis];
    }
    Inst *guard = NULL;
    if (dims > 1 && pick(g, 3) == 0)
        guard = making_map(&g->m, op2(g, EXPR_LT, I(g, 0), whole(g, extent[1] - 1)), at[1], NULL, NULL);
    TensorRole role = g->returns < RETURN_KIND_COUNT && pick(g, 2) ? ROLE_RETURN : ROLE_WORKSPACE;
    int tensor = new_plane(g, role, elems[elem_class(value->type.elem)][pick(g, 3)], dims, extent, true);
    build_store(&g->m.at, tensor, at, dims, value, guard);
}

/* Growing ---------------------------------------------------------------------------------------------- */

static Inst *float_map(Growth *g)
{
    Inst *a = some(g, g->floats, g->float_count), *b = some(g, g->floats, g->float_count);
    const Expr *x = F(g, 0), *y = F(g, 1);
    if (!fits3(g, a, b, NULL))
        return NULL;
    switch (pick(g, 16)) {
    case 0: return making_map(&g->m, op2(g, EXPR_ADD, x, y), a, b, NULL);
    case 1: return making_map(&g->m, op2(g, EXPR_SUB, x, y), a, b, NULL);
    case 2: return making_map(&g->m, op2(g, EXPR_MUL, x, op1(g, EXPR_TANH, y)), a, b, NULL);
    case 3: return making_map(&g->m, op2(g, EXPR_MIN, x, y), a, b, NULL);
    case 4: return making_map(&g->m, op2(g, EXPR_MAX, x, y), a, b, NULL);
    case 5:
        return making_map(&g->m, op2(g, EXPR_DIV, x, op2(g, EXPR_ADD, op1(g, EXPR_ABS, y), number(g, 1))), a,
                          b, NULL);
    case 6: return making_map(&g->m, op1(g, EXPR_TANH, x), a, NULL, NULL);
    case 7: return making_map(&g->m, op1(g, EXPR_SIGMOID, x), a, NULL, NULL);
    case 8: return making_map(&g->m, op1(g, EXPR_EXP, op2(g, EXPR_MIN, x, number(g, 1))), a, NULL, NULL);
    case 9: return making_map(&g->m, op1(g, EXPR_SIN, x), a, NULL, NULL);
    case 10:
        return making_map(&g->m, op1(g, EXPR_SQRT, op2(g, EXPR_ADD, op1(g, EXPR_ABS, x), number(g, 0.1))), a,
                          NULL, NULL);
    case 11:
        g->coarse = true;
        return build_map_as(&g->m.at, pick(g, 2) ? ELEM_TYPE_BF16 : ELEM_TYPE_F16, x, &a, 1);
    case 12: {
        Inst *i = some(g, g->ints, g->int_count);
        const Expr *small = op2(g, EXPR_MOD, I(g, 0), whole(g, 17));
        return making_map(&g->m, op2(g, EXPR_MUL, op1(g, EXPR_TOFLOAT, small), number(g, 0.05)), i, NULL,
                          NULL);
    }
    case 13: { /* tamed, so that values stay of size 1 */
        return making_map(&g->m, op2(g, EXPR_MUL, op1(g, EXPR_TANH, op2(g, EXPR_ADD, x, y)), number(g, 0.9)),
                          a, b, NULL);
    }
    default: {
        Inst *c = some(g, g->bools, g->bool_count);
        if (!fits3(g, a, b, c))
            return NULL;
        return making_map(&g->m, expr_op3(g->m.pool, EXPR_SELECT, making_arg(&g->m, 2, TYPE_BOOL), x, y), a,
                          b, c);
    }
    }
}

static Inst *int_map(Growth *g)
{
    static const ExprOp ops[] = {EXPR_ADD, EXPR_SUB, EXPR_MUL, EXPR_DIV, EXPR_MOD, EXPR_MIN, EXPR_MAX};
    Inst *a = some(g, g->ints, g->int_count), *b = some(g, g->ints, g->int_count);
    if (!fits3(g, a, b, NULL))
        return NULL;
    switch (pick(g, 10)) {
    case 0: return making_map(&g->m, op1(g, pick(g, 2) ? EXPR_ABS : EXPR_NEG, I(g, 0)), a, NULL, NULL);
    case 1: return making_map(&g->m, op1(g, EXPR_SIGN, I(g, 0)), a, NULL, NULL);
    case 2: {
        static const int64_t divisors[] = {1, 2, 3, 7, 8, 64, -3};
        return making_map(&g->m,
                          op2(g, pick(g, 2) ? EXPR_DIV : EXPR_MOD, I(g, 0), whole(g, divisors[pick(g, 7)])),
                          a, NULL, NULL);
    }
    default: return making_map(&g->m, op2(g, ops[pick(g, 7)], I(g, 0), I(g, 1)), a, b, NULL);
    }
}

static Inst *bool_map(Growth *g)
{
    static const ExprOp ops[] = {EXPR_LT, EXPR_LE, EXPR_EQ, EXPR_NE};
    Inst *a = some(g, g->ints, g->int_count), *b = some(g, g->ints, g->int_count);
    if (pick(g, 3) == 0) {
        Inst *p = some(g, g->bools, g->bool_count), *q = some(g, g->bools, g->bool_count);
        const Expr *x = making_arg(&g->m, 0, TYPE_BOOL), *y = making_arg(&g->m, 1, TYPE_BOOL);
        return fits3(g, p, q, NULL) ? making_map(
                   &g->m, op2(g, pick(g, 2) ? EXPR_AND : EXPR_OR, x, op1(g, EXPR_NOT, y)), p, q, NULL)
                                    : NULL;
    }
    return fits3(g, a, b, NULL) ? making_map(&g->m, op2(g, ops[pick(g, 4)], I(g, 0), I(g, 1)), a, b, NULL)
                                : NULL;
}

static Inst *scaled(Growth *g, Inst *sum, int axis)
{
    return making_map(&g->m, op2(g, EXPR_MUL, F(g, 0), number(g, 1.0 / (double)g->extent[axis])), sum, NULL,
                      NULL);
}

static Inst *reduce(Growth *g)
{
    int which = pick(g, 4);
    Inst *a = which == 0   ? some(g, g->ints, g->int_count)
              : which == 1 ? some(g, g->bools, g->bool_count)
                           : some(g, g->floats, g->float_count);
    if (!a->type.axis_count)
        return NULL;
    int axis = a->type.axis[pick(g, a->type.axis_count)];
    if (which == 1)
        return build_reduce(&g->m.at, pick(g, 2) ? REDUCE_OR : REDUCE_AND, axis, a);
    ReduceKind kind = (ReduceKind)pick(g, 3);
    Inst *r = build_reduce(&g->m.at, kind, axis, a);
    return which != 0 && kind == REDUCE_SUM ? scaled(g, r, axis) : r;
}

static Inst *contract(Growth *g)
{
    Inst *a = some(g, g->floats, g->float_count), *b = some(g, g->floats, g->float_count);
    if (!a->type.axis_count || !fits3(g, a, b, NULL))
        return NULL;
    int axis = a->type.axis[pick(g, a->type.axis_count)];
    if (!inst_has_axis(b, axis))
        return NULL;
    const Expr *x = F(g, 0), *y = F(g, 1), *e = NULL, *d = op2(g, EXPR_SUB, x, y);
    switch (pick(g, 6)) {
    case 0: e = op2(g, EXPR_MUL, d, d); break;
    case 1: e = op1(g, EXPR_ABS, d); break;
    case 2: e = op2(g, EXPR_MUL, op2(g, EXPR_MAX, x, number(g, 0)), y); break;
    case 3: /* in bf16 */
        g->coarse = true;
        a = build_map_as(&g->m.at, ELEM_TYPE_BF16, x, &a, 1);
        b = build_map_as(&g->m.at, ELEM_TYPE_BF16, x, &b, 1);
        break;
    default: break;
    }
    Inst *s = build_contract(&g->m.at, axis, a, b, e, NULL);
    if (pick(g, 3) == 0) { /* twice, into a variable */
        int axes[TILE_MAX_AXES];
        for (int k = 0; k < s->type.axis_count; k++)
            axes[k] = s->type.axis[k];
        Inst *var = build_var(&g->m.at, ELEM_TYPE_F32, axes, s->type.axis_count, s);
        if (pick(g, 2))
            build_set(&g->m.at, var,
                      making_map(&g->m, op2(g, EXPR_MUL, F(g, 0), number(g, 0.5)), var, NULL, NULL));
        build_contract(&g->m.at, axis, a, b, e, var);
        s = making_map(&g->m, op2(g, EXPR_MUL, F(g, 0), number(g, 0.5)), var, NULL, NULL);
    }
    return scaled(g, s, axis);
}

static void grow(Growth *g, int steps, int depth);

/* A loop or a branch that changes a variable. */
static Inst *nested(Growth *g, int depth)
{
    Inst *init = some(g, g->floats, g->float_count), *cond = NULL;
    int axes[TILE_MAX_AXES], count = init->type.axis_count, floats = g->float_count, ints = g->int_count,
                             bools = g->bool_count;
    for (int k = 0; k < count; k++)
        axes[k] = init->type.axis[k];
    Inst *var = build_var(&g->m.at, pick(g, 6) ? ELEM_TYPE_F32 : ELEM_TYPE_BF16, axes, count, init), *inner;
    g->coarse = g->coarse || var->type.elem == ELEM_TYPE_BF16;
    Block *outer = g->m.at.block;
    if (pick(g, 2)) {
        Inst *lo = making_map(&g->m, whole(g, pick(g, 3)), NULL, NULL, NULL),
             *hi = making_map(&g->m, whole(g, pick(g, 4)), NULL, NULL, NULL);
        inner = build_for(&g->m.at, lo, hi, pick(g, 2));
        g->m.at.block = inner->body;
        keep(g, inner);
    } else {
        cond = making_map(&g->m, op2(g, EXPR_EQ, I(g, 0), whole(g, pick(g, 2))), g->item, NULL, NULL);
        inner = build_if(&g->m.at, cond, pick(g, 2));
        g->m.at.block = inner->body;
    }
    for (int part = 0; part < 2; part++) {
        grow(g, 2 + pick(g, 4), depth + 1);
        for (int k = g->float_count - 1; k >= 0; k--) {
            Inst *v = g->floats[k];
            bool inside = true;
            for (int a = 0; a < v->type.axis_count; a++)
                inside = inside && inst_has_axis(var, v->type.axis[a]);
            if (inside) {
                const Expr *e =
                    op1(g, EXPR_TANH, op2(g, EXPR_ADD, op2(g, EXPR_MUL, F(g, 0), number(g, 0.5)), F(g, 1)));
                build_set(&g->m.at, var, making_map(&g->m, e, var, v, NULL));
                break;
            }
        }
        g->float_count = floats;
        g->int_count = ints;
        g->bool_count = bools;
        if (part == 0 && inner->orelse)
            g->m.at.block = inner->orelse;
        else
            break;
    }
    g->m.at.block = outer;
    return making_map(&g->m, op2(g, EXPR_MUL, F(g, 0), number(g, 0.75)), var, NULL, NULL);
}

static void grow(Growth *g, int steps, int depth)
{
    for (int k = 0; k < steps; k++) {
        Inst *made = NULL;
        switch (pick(g, 12)) {
        case 0: case 1: made = g->plane_count < RANDOM_TENSORS - 12 ? load(g) : NULL; break;
        case 2: made = int_map(g); break;
        case 3: made = bool_map(g); break;
        case 4: case 5: made = reduce(g); break;
        case 6: case 7: made = contract(g); break;
        case 8: made = depth < 2 ? nested(g, depth) : NULL; break;
        default: made = float_map(g); break;
        }
        if (made)
            keep(g, made);
    }
}

bool random_program_plant(Growth *g, uint64_t seed, int64_t largest)
{
    static const int64_t extents[] = {1, 2, 3, 5, 8, 16, 17, 31, 32, 33, 48, 64, 80, 111};
    static const char *const names[RANDOM_AXES] = {"m", "n", "d", "e"};
    memset(g, 0, sizeof *g);
    g->random.state = seed;
    g->largest = largest;
    making_open(&g->m, "random");
    for (int a = 0; a < RANDOM_AXES; a++) {
        int64_t extent = extents[pick(g, 14)];
        g->axes[a] = making_axis(&g->m, names[a], extent);
        g->extent[g->axes[a]] = extent;
    }
    g->item = build_grid_index(&g->m.at, 0);
    for (int a = 0; a < RANDOM_AXES; a++)
        keep(g, index_of(g, g->axes[a]));
    keep(g, making_map(&g->m, op2(g, EXPR_LT, I(g, 0), I(g, 1)), g->ints[0], g->ints[1], NULL));
    keep(g, making_map(&g->m, number(g, 0.25), NULL, NULL, NULL));
    for (int tries = 0; tries < 12; tries++) {
        Inst *first = load(g);
        if (first)
            keep(g, first);
    }
    grow(g, 14, 0);
    for (int k = 0; k < 4; k++) {
        store(g, g->floats[g->float_count - 1 - pick(g, g->float_count < 6 ? g->float_count : 6)]);
        if (k < 2) {
            store(g, g->ints[g->int_count - 1 - k]);
            store(g, g->bools[g->bool_count - 1 - pick(g, g->bool_count < 3 ? g->bool_count : 3)]);
        }
    }
    return making_finish(&g->m);
}

/* Data ------------------------------------------------------------------------------------------------- */

static size_t plane_bytes(const Plane *p)
{
    int64_t last = 0;
    for (int d = 0; d < p->dims; d++) {
        if (p->extent[d] == 0)
            return 0;
        last += (p->extent[d] - 1) * p->stride[d];
    }
    return (size_t)(last + 1) * (size_t)elem_type_size(p->elem);
}

static int64_t element_at(const Plane *p, int64_t flat)
{
    int64_t at = 0;
    for (int d = p->dims - 1; d >= 0; d--) {
        at += flat % p->extent[d] * p->stride[d];
        flat /= p->extent[d];
    }
    return at;
}

static int64_t element_count(const Plane *p)
{
    int64_t count = 1;
    for (int d = 0; d < p->dims; d++)
        count *= p->extent[d];
    return count;
}

static void fill(Growth *g, Plane *p)
{
    char *data = p->expected.data;
    for (int64_t k = 0; k < element_count(p); k++) {
        int64_t at = element_at(p, k), i = random_between(&g->random, -40, 40);
        float f = (float)(random_unit(&g->random) * 2 - 1);
        switch (p->elem) {
        case ELEM_TYPE_BOOL: data[at] = (char)(i & 1); break;
        case ELEM_TYPE_I32: ((int32_t *)data)[at] = (int32_t)i; break;
        case ELEM_TYPE_I64: ((int64_t *)data)[at] = k % 7 ? i : i * ((int64_t)1 << 33); break;
        case ELEM_TYPE_F32: ((float *)data)[at] = f; break;
        case ELEM_TYPE_BF16: ((uint16_t *)data)[at] = bf16_of_float(f); break;
        case ELEM_TYPE_F16: ((uint16_t *)data)[at] = f16_of_float(f); break;
        }
    }
}

bool random_program_data(Growth *g)
{
    for (int t = 0; t < g->plane_count; t++) {
        Plane *p = &g->planes[t];
        uint8_t byte = elem_class(p->elem) == TYPE_FLOAT ? GUARDED_NAN : GUARDED_INT;
        if (!guarded_create(&p->expected, plane_bytes(p), byte, true)
            || !guarded_create(&p->got, plane_bytes(p), byte, true))
            return false;
        if (!p->output) {
            fill(g, p);
            memcpy(p->got.data, p->expected.data, plane_bytes(p));
            guarded_protect(&p->expected);
            guarded_protect(&p->got);
        }
    }
    return true;
}

static double element(const Plane *p, const char *data, int64_t at)
{
    switch (p->elem) {
    case ELEM_TYPE_BOOL: return data[at];
    case ELEM_TYPE_I32: return ((const int32_t *)data)[at];
    case ELEM_TYPE_I64: return (double)((const int64_t *)data)[at];
    case ELEM_TYPE_F32: return (double)((const float *)data)[at];
    case ELEM_TYPE_BF16: return (double)float_of_bf16(((const uint16_t *)data)[at]);
    case ELEM_TYPE_F16: return (double)float_of_f16(((const uint16_t *)data)[at]);
    }
    return 0;
}

static double tolerance(const Growth *g, const Plane *p)
{
    if (elem_class(p->elem) != TYPE_FLOAT)
        return 0;
    return g->coarse ? 0.05 : p->elem == ELEM_TYPE_BF16 ? 0.01 : p->elem == ELEM_TYPE_F16 ? 0.002 : 2e-4;
}

/* Elements, and the bytes between them, which must be as before. */
bool random_program_agrees(const Growth *g, char *why, size_t size)
{
    for (int t = 0; t < g->plane_count; t++) {
        const Plane *p = &g->planes[t];
        if (!p->output)
            continue;
        if (!guarded_intact(&p->got)) {
            snprintf(why, size, "t%d: written outside", t);
            return false;
        }
        for (int64_t at = 0; at < (int64_t)(p->got.size / (size_t)elem_type_size(p->elem)); at++) {
            double a = element(p, p->expected.data, at), b = element(p, p->got.data, at);
            if (!(fabs(a - b) <= tolerance(g, p) * (1 + fabs(a))) && !(isnan(a) && isnan(b))) {
                snprintf(why, size, "t%d at offset %lld: interpreter %.9g, code %.9g", t, (long long)at, a,
                         b);
                return false;
            }
        }
    }
    return true;
}

void random_program_drop(Growth *g)
{
    for (int t = 0; t < g->plane_count; t++) {
        guarded_destroy(&g->planes[t].expected);
        guarded_destroy(&g->planes[t].got);
    }
}

void random_program_slots(const Growth *g, int64_t *slots, bool expected)
{
    slots[slot_of_size(VAR_SIZE_B)] = RANDOM_ITEMS;
    for (int t = 0; t < g->plane_count; t++)
        slots_tensor(slots, t, expected ? g->planes[t].expected.data : g->planes[t].got.data,
                     g->planes[t].dims, g->planes[t].stride);
}
