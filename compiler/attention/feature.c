/* Feature maps: pure per-token functions q' = f_q(q), k' = f_k(k), v' = f_v(v).
 *
 * q' is computed with its tile, once a query tile, unless the target wants queries in memory. k' and v' would be
 * computed again for every query tile, so they are materialised once in a phase of their own (a workspace of as many rows
 * as there are keys); the identity costs nothing. Values are rounded to the storage type of q, k, v, as a plain evaluation would store them. */
#include <string.h>

#include "lower.h"

static bool feature_is_identity(const SpecFeature *feature)
{
    return feature->body == NULL;
}

/* Key heads are shared by a group of query heads, unless the map itself differs by query head. */
static int feature_heads(const SpecFeature *feature)
{
    return feature->body && expr_uses(feature->body, VAR_H) ? VAR_H : VAR_G;
}

typedef struct Replacement {
    Lower *lower;
    const Expr *channel;             /* of the result, instead of VAR_C */
    int tensor;                      /* raw tensor */
    const Expr *head, *row;
    VarId first_position;            /* VAR_I0 or VAR_J0 instead of VAR_T0 */
} Replacement;

static const Expr *replace_leaf(void *user, const Expr *leaf)
{
    Replacement *r = user;
    ExprPool *pool = r->lower->pool;
    if (leaf->op == EXPR_VAR && leaf->index == VAR_C)
        return r->channel;
    if (leaf->op == EXPR_VAR && leaf->index >= VAR_T0 && leaf->index <= VAR_T2)
        return expr_var(pool, (VarId)(r->first_position + leaf->index - VAR_T0), TYPE_INT);
    if (leaf->op == EXPR_ELEM && leaf->index == ELEM_X) {
        const Expr *channel = expr_substitute(pool, leaf->args[0], replace_leaf, user);
        const Expr *row = leaf->arity > 1 ? expr_op2(pool, EXPR_SUB, r->row, leaf->args[1]) : r->row;
        return value_element(r->lower, r->tensor, r->head, row, channel);
    }
    return NULL;
}

static const Expr *feature_at(Lower *lower, const SpecFeature *feature, bool queries, int tensor, const Expr *channel)
{
    Replacement r = {
        .lower = lower, .channel = channel, .tensor = tensor,
        .head = expr_var(lower->pool, queries ? VAR_H : VAR_G, TYPE_INT),
        .row = queries ? lower->q.row : lower->k.row,
        .first_position = queries ? VAR_I0 : VAR_J0,
    };
    if (feature_is_identity(feature))
        return value_element(lower, tensor, r.head, r.row, channel);
    return expr_substitute(lower->pool, feature->body, replace_leaf, &r);
}

static int feature_phase(Lower *lower, const SpecFeature *feature, const char *name, bool queries, int raw, int64_t width)
{
    ExprPool *pool = lower->pool;
    Phase *phase = lower_phase(lower, arena_printf(lower->arena, "feature_%s", name));
    int heads = queries ? VAR_H : feature_heads(feature);
    address_open(lower, phase, queries, heads);
    Tensor made = {.name = arena_printf(lower->arena, "%s_feature", name), .elem = lower->elem, .dim_count = 4};
    made.extent[0] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[1] = (Extent){.size = heads == VAR_H ? VAR_SIZE_H : VAR_SIZE_G, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[2] = (Extent){.size = queries ? VAR_SIZE_M : VAR_SIZE_N, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[3] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = width};
    int tensor = lower_workspace(lower, made);
    Scope *root = lower->root;
    root->at.label = "feature";
    root->at.span = feature->span;
    VarId c = expr_fresh_bound(pool);
    value_bind_axis(lower, c, "c", width);
    const Expr *channel = expr_var(pool, c, TYPE_INT);
    Inst *value = value_rounded(lower, root, feature_at(lower, feature, queries, raw, channel), lower->elem);
    /* The workspace holds each sequence from row 0. */
    const TileSide *side = queries ? &lower->q : &lower->k;
    Inst *indices[] = {lower->batch, lower->head, value_of(lower, root, side->sequence_row), value_of(lower, root, channel)};
    build_store(&root->at, tensor, indices, 4, value, side->inside);
    return tensor;
}

void feature_materialize(Lower *lower, bool queries, int64_t q_width)
{
    const Spec *spec = lower->spec;
    if (queries && !feature_is_identity(&spec->feature_q))
        lower->tensor_q = feature_phase(lower, &spec->feature_q, "q", true, lower->tensor_q, q_width);
    if (!feature_is_identity(&spec->feature_k))
        lower->tensor_k = feature_phase(lower, &spec->feature_k, "k", false, lower->tensor_k, lower->Dk);
    if (!feature_is_identity(&spec->feature_v))
        lower->tensor_v = feature_phase(lower, &spec->feature_v, "v", false, lower->tensor_v, lower->Ev);
}

/* A materialised tensor counts its rows from 0 in every sequence. */
static const Expr *key_row_of(Lower *lower, int tensor)
{
    return lower->program->tensors[tensor].role == ROLE_WORKSPACE ? lower->k.sequence_row : lower->k.row;
}

static const Expr *expand_leaf(void *user, const Expr *leaf)
{
    Lower *lower = user;
    if (leaf->op != EXPR_ELEM)
        return NULL;
    ExprPool *pool = lower->pool;
    const Expr *channel = expr_substitute(pool, leaf->args[0], expand_leaf, user);
    const Expr *heads_k = expr_var(pool, (VarId)feature_heads(&lower->spec->feature_k), TYPE_INT);
    const Expr *heads_v = expr_var(pool, (VarId)feature_heads(&lower->spec->feature_v), TYPE_INT);
    switch (leaf->index) {
    case ELEM_Q:
        if (lower->program->tensors[lower->tensor_q].role == ROLE_WORKSPACE)
            return value_element(lower, lower->tensor_q, expr_var(pool, VAR_H, TYPE_INT), lower->q.sequence_row, channel);
        return feature_at(lower, &lower->spec->feature_q, true, lower->tensor_q, channel);
    case ELEM_K:
        return value_element(lower, lower->tensor_k, heads_k, key_row_of(lower, lower->tensor_k), channel);
    case ELEM_V:
        return value_element(lower, lower->tensor_v, heads_v, key_row_of(lower, lower->tensor_v), channel);
    default:
        return NULL;
    }
}

const Expr *feature_expand(Lower *lower, const Expr *e)
{
    return expr_substitute(lower->pool, e, expand_leaf, lower);
}

const Expr *feature_value_element(Lower *lower, const Expr *channel)
{
    return feature_expand(lower, expr_elem(lower->pool, ELEM_V, channel, NULL));
}
