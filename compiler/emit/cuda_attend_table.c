/* What depends on a pair's distance alone is tabulated: a tile of 64 queries and n keys has 64 + n - 1 distances but 64 n
 * pairs, so a bias, a decay or a test of i - j that is worth more than a read from shared memory is computed once a
 * distance, while the tensor cores work.
 *
 * Entry t stands for the distance t - (n - 1) between the row in the warpgroup and the column in the tile, and is computed at
 * the first pair of that distance: row max(d, 0), column max(-d, 0). Rows and keys that exist come before those that do not, so
 * what guards a read there holds wherever any pair of the distance is looked at.
 *
 * What is read for a key (a document's number, say) is tabulated too: a thread would read a quarter of all. */
#include "cuda_attend.h"

#include <string.h>

enum { WORTH_A_READ = 8, MAX_DEPTH = 64 };

typedef struct Finder {
    CudaGen *g;
    AttendForm *form;
    bool masked;             /* inside the branch of the element test */
} Finder;

static bool is_over(const Inst *v, int axis)
{
    return v->type.axis_count == 1 && v->type.axis[0] == axis;
}

static bool is_position(const Inst *v, int axis, int depth);

/* index + scalars. */
static bool expr_is_position(const Inst *map, const Expr *e, int axis, int depth)
{
    if (e->op == EXPR_ARG)
        return is_position(map->args[e->index], axis, depth + 1);
    if (e->op != EXPR_ADD && e->op != EXPR_SUB)
        return false;
    for (int side = 0; side < (e->op == EXPR_ADD ? 2 : 1); side++) {
        const Expr *other = e->args[1 - side];
        bool scalar = other->op == EXPR_INT || other->op == EXPR_VAR || other->op == EXPR_PARAM ||
                      (other->op == EXPR_ARG && map->args[other->index]->type.axis_count == 0);
        if (scalar && expr_is_position(map, e->args[side], axis, depth))
            return true;
    }
    return false;
}

static bool is_position(const Inst *v, int axis, int depth)
{
    if (depth > MAX_DEPTH || v->type.elem != ELEM_TYPE_I64)
        return false;
    if (v->op == TILE_INDEX)
        return v->axis == axis;
    return v->op == TILE_MAP && is_over(v, axis) && expr_is_position(v, v->expr, axis, depth);
}

static bool is_by_distance(const Finder *f, const Inst *v, int depth);

static const Inst *arg_over(const Inst *inst, const Expr *e, int axis)
{
    return e->op == EXPR_ARG && is_over(inst->args[e->index], axis) ? inst->args[e->index] : NULL;
}

/* i - j, or a comparison of the two. */
static bool is_difference(const Finder *f, const Inst *inst, const Expr *e)
{
    if (e->op != EXPR_SUB && e->op != EXPR_LT && e->op != EXPR_LE && e->op != EXPR_EQ && e->op != EXPR_NE)
        return false;
    for (int side = 0; side < 2; side++) {
        const Inst *row = arg_over(inst, e->args[side], f->form->m), *key = arg_over(inst, e->args[1 - side], f->form->n);
        if (row && key && is_position(row, f->form->m, 0) && is_position(key, f->form->n, 0))
            return true;
    }
    return false;
}

static bool expr_by_distance(const Finder *f, const Inst *inst, const Expr *e, int depth)
{
    if (depth > MAX_DEPTH || e->tree > 1 << 12)
        return false;
    if (e->op == EXPR_ARG)
        return is_by_distance(f, inst->args[e->index], depth + 1);
    if (is_difference(f, inst, e))
        return true;
    if (e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN)
        return false;
    for (int k = 0; k < e->arity; k++)
        if (!expr_by_distance(f, inst, e->args[k], depth + 1))
            return false;
    return true;
}

/* Rows or keys that exist: true up to some row. */
static bool is_existence(const Finder *f, const Inst *v)
{
    if (v->op != TILE_MAP || v->type.elem != ELEM_TYPE_BOOL || v->type.axis_count != 1)
        return false;
    const Expr *e = v->expr, *bound = e->op == EXPR_LT ? e->args[1] : NULL;
    if (!bound || e->args[0]->op != EXPR_ARG)
        return false;
    bool scalar = bound->op == EXPR_VAR || bound->op == EXPR_INT ||
                  (bound->op == EXPR_ARG && v->args[bound->index]->type.axis_count == 0);
    return scalar && (is_position(v->args[e->args[0]->index], f->form->m, 0) || is_position(v->args[e->args[0]->index], f->form->n, 0));
}

/* Of a read: what depends on the distance, and existence. */
static bool guard_by_distance(const Finder *f, const Inst *guard, int depth)
{
    if (is_existence(f, guard) || is_by_distance(f, guard, depth))
        return true;
    if (guard->op != TILE_MAP || guard->expr->op != EXPR_AND || depth > MAX_DEPTH)
        return false;
    for (int k = 0; k < guard->arg_count; k++)
        if (!guard_by_distance(f, guard->args[k], depth + 1))
            return false;
    for (int side = 0; side < 2; side++)
        if (guard->expr->args[side]->op != EXPR_ARG)
            return false;
    return true;
}

static bool is_by_distance(const Finder *f, const Inst *v, int depth)
{
    if (v->type.axis_count == 0)
        return true;
    if (depth > MAX_DEPTH || v->type.axis_count != 2 || !inst_has_axis(v, f->form->m) || !inst_has_axis(v, f->form->n))
        return false;
    if (v->op == TILE_MAP)
        return expr_by_distance(f, v, v->expr, depth + 1);
    if (v->op != TILE_LOAD)
        return false;
    for (int k = 0; k < v->arg_count; k++)
        if (!is_by_distance(f, v->args[k], depth + 1))
            return false;
    return !v->guard || guard_by_distance(f, v->guard, depth + 1);
}

/* What an element costs, in instructions or so. */
static int cost_of(const Finder *f, const Inst *inst, const Expr *e, int depth)
{
    if (depth > MAX_DEPTH)
        return WORTH_A_READ;
    int cost = 0;
    switch ((ExprOp)e->op) {
    case EXPR_ARG: {
        const Inst *v = inst->args[e->index];
        if (v->type.axis_count < 2)
            return 0;
        return v->op == TILE_LOAD ? WORTH_A_READ : v->op == TILE_MAP ? cost_of(f, v, v->expr, depth + 1) : 0;
    }
    case EXPR_DIV: case EXPR_MOD: case EXPR_POW: case EXPR_SQRT: case EXPR_RSQRT: case EXPR_EXP: case EXPR_EXP2: case EXPR_LOG:
    case EXPR_LOG2: case EXPR_SIN: case EXPR_COS: case EXPR_TANH: case EXPR_SIGMOID: case EXPR_ERF: case EXPR_TOFLOAT:
    case EXPR_TOINT:
        cost = WORTH_A_READ;
        break;
    default:
        cost = e->arity > 0;
    }
    for (int k = 0; k < e->arity; k++)
        cost += cost_of(f, inst, e->args[k], depth + 1);
    return cost;
}

static void add_table(Finder *f, const Inst *inst, const Expr *e, bool by_key)
{
    AttendForm *form = f->form;
    for (int k = 0; k < form->table_count; k++)
        if (form->tables[k].inst == inst && form->tables[k].expr == e)
            return;
    if (form->table_count < ATTEND_MAX_TABLES)
        form->tables[form->table_count++] = (AttendTable){inst, e, by_key, f->masked};
}

/* The largest parts that depend on the distance. */
static void find_in_expr(Finder *f, const Inst *inst, const Expr *e, int depth)
{
    if (depth > MAX_DEPTH)
        return;
    if (e->type != TYPE_INT && e->arity > 0 && expr_by_distance(f, inst, e, 0) && cost_of(f, inst, e, 0) >= WORTH_A_READ) {
        bool pairs = false; /* a scalar is no table */
        for (int k = 0; k < inst->arg_count; k++)
            pairs |= inst->args[k]->type.axis_count > 0;
        if (pairs)
            add_table(f, inst, e, false);
        return;
    }
    for (int k = 0; k < e->arity; k++)
        find_in_expr(f, inst, e->args[k], depth + 1);
}

/* Whether full tiles need v; ints, bools and values of the key are computed where they are used. */
static bool in_full_tiles(const AttendForm *form, const Inst *v, int depth)
{
    if (depth > MAX_DEPTH)
        return true;
    const Block *tile = form->bodies[form->body_count - 1];
    for (const Inst *inst = tile->first; inst; inst = inst->next) {
        bool uses = inst->guard == v;
        for (int k = 0; k < inst->arg_count; k++)
            uses |= inst->args[k] == v;
        if (!uses)
            continue;
        bool late = inst->has_value && inst->op != TILE_VAR && inst->op != TILE_REDUCE &&
                    (inst->type.axis_count < 2 ? is_over(inst, form->n) : elem_class(inst->type.elem) != TYPE_FLOAT);
        if (!late || in_full_tiles(form, inst, depth + 1))
            return true;
    }
    return false;
}

static void find_by_key(Finder *f, const Inst *inst)
{
    const char *type = inst->op == TILE_LOAD && is_over(inst, f->form->n) ? cuda_type(f->g, inst) : "";
    if (strcmp(type, "int") && strcmp(type, "float"))
        return;
    bool masked = f->masked;
    f->masked = masked || !in_full_tiles(f->form, inst, 0);
    add_table(f, inst, NULL, true);
    f->masked = masked;
}

static void find_in_inst(Finder *f, const Inst *inst)
{
    const AttendForm *form = f->form;
    find_by_key(f, inst);
    if (form->rank != 1)
        return;
    bool plane = inst->has_value && inst_has_axis(inst, form->m) && inst_has_axis(inst, form->n);
    if (!plane)
        return;
    if (inst->op == TILE_LOAD && elem_class(inst->type.elem) == TYPE_FLOAT && is_by_distance(f, inst, 0))
        add_table(f, inst, NULL, false);
    /* Maps of floats and the tests that a mask selects by; other ints and bools are parts of these. */
    if (inst->op == TILE_MAP && inst->type.elem != ELEM_TYPE_I64)
        find_in_expr(f, inst, inst->expr, 0);
}

/* Tests that only guard reads which are tabulated are not worth a table. */
static bool guards_only(const AttendForm *form, const Block *tile, const Inst *v)
{
    for (const Inst *inst = tile->first; inst; inst = inst->next) {
        for (int k = 0; k < inst->arg_count; k++)
            if (inst->args[k] == v && !(inst->type.elem == ELEM_TYPE_BOOL && guards_only(form, tile, inst)) &&
                !(inst->type.elem == ELEM_TYPE_I64))
                return false;
        if (inst->guard == v) {
            bool tabulated = false;
            for (int k = 0; k < form->table_count; k++)
                tabulated |= form->tables[k].inst == inst;
            if (!tabulated)
                return false;
        }
        if (inst->op == TILE_IF)
            for (const Inst *in = inst->body->first; in; in = in->next)
                for (int k = 0; k < in->arg_count; k++)
                    if (in->args[k] == v)
                        return false;
    }
    return true;
}

void attend_find_tables(CudaGen *g, AttendForm *form)
{
    Finder finder = {g, form, false};
    form->table_count = 0;
    const Block *tile = form->bodies[form->body_count - 1];
    for (const Inst *inst = tile->first; inst; inst = inst->next) {
        find_in_inst(&finder, inst);
        if (inst == form->partial) {
            finder.masked = true;
            for (const Inst *in = inst->body->first; in; in = in->next)
                find_in_inst(&finder, in);
            finder.masked = false;
        }
    }
    int kept = 0;
    for (int k = 0; k < form->table_count; k++) {
        const Inst *inst = form->tables[k].inst;
        bool used = form->tables[k].masked || form->tables[k].by_key || inst->type.elem != ELEM_TYPE_BOOL || !guards_only(form, tile, inst);
        if (used)
            form->tables[kept++] = form->tables[k];
    }
    form->table_count = kept;
}

typedef struct Swap {
    ExprPool *pool;
    const AttendForm *form;
    Inst *copy;
    Inst *const *reads;
} Swap;

static const Expr *swap_expr(Swap *s, const Inst *inst, const Expr *e, int depth)
{
    for (int k = 0; k < s->form->table_count; k++)
        if (s->form->tables[k].inst == inst && s->form->tables[k].expr == e) {
            s->copy->args[s->copy->arg_count] = s->reads[k];
            return expr_arg(s->pool, s->copy->arg_count++, (ExprType)e->type);
        }
    if (e->arity == 0 || depth > MAX_DEPTH)
        return e;
    const Expr *args[8];
    if (e->arity > 8)
        return e;
    for (int k = 0; k < e->arity; k++)
        args[k] = swap_expr(s, inst, e->args[k], depth + 1);
    return expr_rebuild(s->pool, e, args);
}

const Inst *attend_with_tables(CudaGen *g, const AttendForm *form, const Inst *inst, Inst *const *reads)
{
    bool any = false;
    for (int k = 0; k < form->table_count; k++)
        any |= form->tables[k].inst == inst;
    if (!any)
        return inst;
    Inst *copy = ARENA_NEW(g->arena, Inst);
    *copy = *inst;
    copy->args = ARENA_ARRAY(g->arena, Inst *, (size_t)inst->arg_count + ATTEND_MAX_TABLES);
    for (int k = 0; k < inst->arg_count; k++)
        copy->args[k] = inst->args[k];
    Swap swap = {g->program->pool, form, copy, reads};
    copy->expr = swap_expr(&swap, inst, inst->expr, 0);
    return copy;
}
