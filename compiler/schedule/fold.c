/* fold: a positive factor of the scores moves to where they meet an exponential.
 *
 * For t = c s (c > 0 constant), masking with -inf and the running maximum commute with c, and exp(t - y) = exp(c s - y)
 * costs one multiply-add where the hardware has 2^x: so s itself goes through masks and maxima, and c is applied to a row's
 * maximum and inside the exponential. Runs for targets whose exponential takes a factor for nothing. */
#include <math.h>

#include "schedule.h"

enum { MAX_USES = 32 };

typedef struct Uses {
    const Inst *value;
    Inst *list[MAX_USES];
    int count;
} Uses;

static void note_use(void *user, Inst *inst)
{
    Uses *uses = user;
    bool reads = inst->guard == uses->value || inst->target == uses->value;
    for (int i = 0; i < inst->arg_count; i++)
        reads |= inst->args[i] == uses->value;
    if (reads && uses->count < MAX_USES)
        uses->list[uses->count++] = inst;
}

static Uses uses_of(Program *program, const Inst *value)
{
    Uses uses = {.value = value};
    program_walk(program, note_use, &uses);
    return uses;
}

/* The map is e * c with a positive constant c: gives e. */
static const Expr *without_factor(const Inst *map, double *factor)
{
    if (map->op != TILE_MAP || map->type.elem != ELEM_TYPE_F32 || map->expr->op != EXPR_MUL)
        return NULL;
    for (int side = 0; side < 2; side++) {
        const Expr *c = map->expr->args[side];
        if (c->op == EXPR_FLOAT && c->value.f > 0 && isfinite(c->value.f)) {
            *factor = c->value.f;
            return map->expr->args[1 - side];
        }
    }
    return NULL;
}

/* select(.., T, -inf) of the variable T. */
static bool is_masked(const Inst *map, const Inst *var)
{
    if (map->op != TILE_MAP || map->expr->op != EXPR_SELECT)
        return false;
    const Expr *kept = map->expr->args[1], *fill = map->expr->args[2], *test = map->expr->args[0];
    if (kept->op != EXPR_ARG || map->args[kept->index] != var || fill->op != EXPR_FLOAT || fill->value.f != -INFINITY)
        return false;
    return test->op == EXPR_ARG && map->args[test->index] != var;
}

typedef struct Scaling {
    ExprPool *pool;
    const Inst *map, *value;
    double factor;
} Scaling;

static const Expr *scale_leaf(void *user, const Expr *leaf)
{
    const Scaling *s = user;
    if (leaf->op != EXPR_ARG || s->map->args[leaf->index] != s->value)
        return NULL;
    return expr_op2(s->pool, EXPR_MUL, leaf, expr_float(s->pool, s->factor));
}

/* A map that reads the variable as exp(T - row) and nothing else. */
static bool is_exponential(const Inst *map, const Inst *var)
{
    if (map->op != TILE_MAP || map->expr->op != EXPR_EXP || map->expr->args[0]->op != EXPR_SUB)
        return false;
    const Expr *t = map->expr->args[0]->args[0], *row = map->expr->args[0]->args[1];
    return t->op == EXPR_ARG && row->op == EXPR_ARG && map->args[t->index] == var && map->args[row->index] != var;
}

static bool is_foldable(const Uses *uses, const Inst *var)
{
    bool exponential = false;
    for (int i = 0; i < uses->count; i++) {
        const Inst *use = uses->list[i];
        bool masking = use->op == TILE_SET && use->target == var && is_masked(use->args[0], var);
        bool maximum = use->op == TILE_REDUCE && use->reduce == REDUCE_MAX;
        exponential |= is_exponential(use, var);
        if (!masking && !maximum && !is_masked(use, var) && !is_exponential(use, var))
            return false;
    }
    return exponential && uses->count < MAX_USES;
}

static void scale_maximum(Program *program, Inst *reduce, double factor)
{
    Builder b = {.program = program, .block = reduce->parent, .before = reduce->next, .span = reduce->span, .label = reduce->label};
    Uses readers = uses_of(program, reduce);
    const Expr *scaled = expr_op2(program->pool, EXPR_MUL, expr_arg(program->pool, 0, TYPE_FLOAT), expr_float(program->pool, factor));
    Inst *top = build_map(&b, scaled, &reduce, 1);
    for (int r = 0; r < readers.count; r++)
        for (int a = 0; a < readers.list[r]->arg_count; a++)
            if (readers.list[r]->args[a] == reduce)
                readers.list[r]->args[a] = top;
}

static void fold_var(void *user, Inst *var)
{
    Program *program = user;
    if (var->op != TILE_VAR || var->type.axis_count != 2)
        return;
    Inst *first = var->args[0];
    double factor = 0;
    const Expr *inner = without_factor(first, &factor);
    if (!inner)
        return;
    Uses uses = uses_of(program, var);
    if (!is_foldable(&uses, var))
        return;
    if (inner->op == EXPR_ARG) {
        var->args[0] = first->args[inner->index];
    } else {
        Builder b = {.program = program, .block = var->parent, .before = var, .span = first->span, .label = first->label};
        var->args[0] = build_map(&b, inner, first->args, first->arg_count);
    }
    for (int i = 0; i < uses.count; i++) {
        Inst *use = uses.list[i];
        if (is_exponential(use, var)) {
            Scaling s = {program->pool, use, var, factor};
            use->expr = expr_substitute(program->pool, use->expr, scale_leaf, &s);
        } else if (use->op == TILE_REDUCE) {
            scale_maximum(program, use, factor);
        }
    }
}

void schedule_fold(Program *program, Diag *diag)
{
    (void)diag;
    program_walk(program, fold_var, program);
}
