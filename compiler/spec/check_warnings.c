/* What is legal and hardly meant: nothing visible, a decay that looks ahead, names that nobody uses. */
#include "check_internal.h"

/* Positions are not negative, sizes are positive, `param const`s have their values; the rest is unknown. */
typedef struct Facts {
    Checker *c;
    const Expr *zero, *one;
} Facts;

static ExprRange leaf_range(void *user, const Expr *e)
{
    const Facts *facts = user;
    if (e->op == EXPR_VAR) {
        if (e->index >= VAR_SIZE_B && e->index <= VAR_SIZE_N2)
            return (ExprRange){facts->one, NULL};
        if (e->index < VAR_SIZE_B && e->index != VAR_S)
            return (ExprRange){facts->zero, NULL};
    }
    return (ExprRange){NULL, NULL};
}

/* VAR_C, which no mask has, stands for a distance >= 0 between the two positions. */
typedef struct Place {
    Checker *c;
    const Expr *i, *j; /* NULL: any */
} Place;

static const Expr *place_leaf(void *user, const Expr *leaf)
{
    const Place *place = user;
    const Spec *spec = place->c->spec;
    if (leaf->op == EXPR_VAR && leaf->index == VAR_I0)
        return place->i;
    if (leaf->op == EXPR_VAR && leaf->index == VAR_J0)
        return place->j;
    if (leaf->op == EXPR_PARAM && spec->params[leaf->index].constant) {
        ExprValue value = spec->params[leaf->index].value;
        ExprPool *pool = place->c->pool;
        return leaf->type == TYPE_FLOAT ? expr_float(pool, value.f)
               : leaf->type == TYPE_INT ? expr_int(pool, value.i)
                                        : expr_bool(pool, value.i != 0);
    }
    return NULL;
}

static bool never(Checker *c, const Expr *i, const Expr *j)
{
    Facts facts = {c, expr_int(c->pool, 0), expr_int(c->pool, 1)};
    Place place = {c, i, j};
    const Expr *mask = expr_substitute(c->pool, c->spec->mask, place_leaf, &place);
    ExprRange range = expr_range(c->pool, mask, leaf_range, &facts);
    return range.hi && range.hi->op == EXPR_BOOL && !range.hi->value.i;
}

static void warn_mask(Checker *c)
{
    ExprPool *pool = c->pool;
    const Expr *i = expr_var(pool, VAR_I0, TYPE_INT), *j = expr_var(pool, VAR_J0, TYPE_INT);
    const Expr *distance = expr_var(pool, VAR_C, TYPE_INT), *one = expr_int(pool, 1);
    const Expr *after = expr_op2(pool, EXPR_ADD, expr_op2(pool, EXPR_ADD, i, one), distance);
    bool no_later = never(c, NULL, after);
    bool no_earlier = never(c, expr_op2(pool, EXPR_ADD, j, distance), NULL);
    if (never(c, NULL, NULL) || (no_later && no_earlier))
        diag_warn(c->diag, c->spec->mask->span.file < 0 ? c->spec->span : c->spec->mask->span,
                  "mask-never-true", "this mask is never true: every row is empty");
    if (c->spec->decay.kind != DECAY_NONE && !no_later)
        diag_fix(c->diag,
                 diag_warn(c->diag, c->spec->decay.span, "decay-not-causal",
                           "a decay runs from earlier to later tokens: keys after the query get weight 0"),
                 "write 'mask j <= i', so that they are not computed");
}

void check_warnings(Checker *c)
{
    const Spec *spec = c->spec;
    warn_mask(c);
    for (int n = 0; n < c->param_count; n++)
        if (!c->params[n].used)
            diag_warn(c->diag, c->params[n].node->name_span, "unused-name", "param '%s' is not used",
                      c->params[n].name);
    for (int n = 0; n < spec->input_count; n++)
        if (!c->input_used[n])
            diag_warn(c->diag, spec->inputs[n].span, "unused-name", "input '%s' is not used",
                      spec->inputs[n].name);
    for (int n = 0; n < c->let_count; n++)
        if (!c->lets[n].used)
            diag_warn(c->diag, c->lets[n].node->name_span, "unused-name", "let '%s' is not used",
                      c->lets[n].node->name);
}
