/* Specialising: D, E, the params that are `const` and the free extents of inputs become numbers, so that widths and
 * windows fold. */
#include "spec.h"

typedef struct Known {
    const Spec *spec;
    int64_t D, E;
} Known;

static const Expr *known_leaf(void *user, const Expr *leaf)
{
    const Known *known = user;
    ExprPool *pool = known->spec->pool;
    if (leaf->op == EXPR_VAR && leaf->index == VAR_SIZE_D)
        return expr_int(pool, known->D);
    if (leaf->op == EXPR_VAR && leaf->index == VAR_SIZE_E)
        return expr_int(pool, known->E);
    if (leaf->op == EXPR_PARAM && (known->spec->params[leaf->index].constant || known->spec->params[leaf->index].hidden)) {
        const SpecParam *param = &known->spec->params[leaf->index];
        if (param->type == TYPE_FLOAT)
            return expr_float(pool, param->value.f);
        return param->type == TYPE_BOOL ? expr_bool(pool, param->value.i != 0) : expr_int(pool, param->value.i);
    }
    return NULL;
}

static void specialize(Known *known, const Expr **e)
{
    if (*e)
        *e = expr_substitute(known->spec->pool, *e, known_leaf, known);
}

Spec *spec_specialize(Arena *arena, const Spec *spec, int64_t D, int64_t E)
{
    Known known = {spec, D, E};
    Spec *result = ARENA_NEW(arena, Spec);
    *result = *spec;
    SpecNorm *norm = &result->norm;
    const Expr **all[] = {
        &result->feature_q.body, &result->feature_q.width, &result->feature_k.body, &result->feature_k.width,
        &result->feature_v.body, &result->feature_v.width, &result->similarity, &result->score, &result->mask,
        &norm->sink, &norm->eps, &norm->min, &norm->power, &norm->gain, &norm->bias, &norm->alpha,
        &result->decay.log_step, &result->decay.beta, &result->output,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        specialize(&known, all[i]);
    for (int i = 0; i < result->input_count; i++)
        for (int d = 0; d < result->inputs[i].dim_count; d++)
            specialize(&known, &result->inputs[i].dims[d].extent);
    return result;
}
