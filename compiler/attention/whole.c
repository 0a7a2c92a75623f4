/* Without an order every query sees every key (but for conditions of one side), so one state serves all of them:
 *
 *     phase "state", each (b, h or g):          s = sum over j of b_j psi(k_j) v_j^T,   z, count likewise
 *     phase "attend", each (b, h, query tile):  o_i = a_i phi(q_i) . s / (..)
 */
#include "state.h"

typedef struct Whole {
    int heads;       /* VAR_H or VAR_G: what the state depends on */
    int s, z, count; /* workspaces, or -1 */
} Whole;

static const Expr *named(State *s, Scope *scope, Inst *inst)
{
    return value_name_outer(s->lower, scope, inst, TYPE_FLOAT);
}

static const Expr *arg(State *s, int k)
{
    return expr_arg(s->pool, k, TYPE_FLOAT);
}

static int workspace(Lower *lower, const char *name, int heads, int64_t d, int64_t e)
{
    Tensor made = {.name = name, .elem = ELEM_TYPE_F32, .dim_count = 2};
    made.extent[0] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[1] =
        (Extent){.size = heads == VAR_H ? VAR_SIZE_H : VAR_SIZE_G, .div_knob = -1, .div = 1, .mul = 1};
    if (d > 0)
        made.extent[made.dim_count++] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = d};
    if (e > 0)
        made.extent[made.dim_count++] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = e};
    return lower_workspace(lower, made);
}

static void add_keys(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    int n = lower->k.axis;
    const Expr *seen = state_key_seen(state, scope), *key = named(state, scope, state_key(state, scope));
    scope->at.label = "state";
    if (state->factor->key_scale)
        key = expr_op2(pool, EXPR_MUL, key, feature_expand(lower, state->factor->key_scale));
    Inst *weighted = value_of(lower, scope, expr_op3(pool, EXPR_SELECT, seen, key, expr_float(pool, 0)));
    build_contract(&scope->at, n, weighted, state_value(state, scope), NULL, state->s);
    const Expr *sum = expr_op2(pool, EXPR_ADD, arg(state, 0), arg(state, 1));
    if (state->z) {
        Inst *parts[] = {state->z, build_reduce(&scope->at, REDUCE_SUM, n, weighted)};
        build_set(&scope->at, state->z, build_map(&scope->at, sum, parts, 2));
    }
    if (state->count) {
        Inst *one = value_of(lower, scope,
                             expr_op3(pool, EXPR_SELECT, seen, expr_float(pool, 1), expr_float(pool, 0)));
        Inst *parts[] = {state->count, build_reduce(&scope->at, REDUCE_SUM, n, one)};
        build_set(&scope->at, state->count, build_map(&scope->at, sum, parts, 2));
    }
}

static void state_phase(Lower *lower, const Factor *factor, Whole *whole)
{
    ExprPool *pool = lower->pool;
    int rank = lower->spec->rank;
    address_open_rows(lower, lower_phase(lower, "state"), whole->heads);
    address_declare(lower);
    Scope *root = lower->root;
    State state = state_create(lower, factor);
    state_begin(&state, root);
    Inst *loops[SPEC_MAX_RANK], *counts[SPEC_MAX_RANK];
    Inst *zero = value_of(lower, root, expr_int(pool, 0));
    for (int a = 0; a < rank; a++) {
        const Expr *knob = expr_var(pool, VAR_KNOB(lower->k.knobs[a]), TYPE_INT);
        const Expr *up = expr_op2(pool, EXPR_ADD, expr_var(pool, (VarId)(VAR_SIZE_N0 + a), TYPE_INT),
                                  expr_op2(pool, EXPR_SUB, knob, expr_int(pool, 1)));
        counts[a] = value_of(lower, root, expr_op2(pool, EXPR_DIV, up, knob));
    }
    Builder at = root->at;
    for (int a = 0; a < rank; a++) {
        loops[a] = build_for(&at, zero, counts[a], false);
        at =
            (Builder){.program = lower->program, .block = loops[a]->body, .span = at.span, .label = at.label};
    }
    root->at.before = loops[0];
    Scope *tile = scope_open(lower, root, at.block, NULL);
    address_bind_key_bounds(lower, tile, loops);
    address_bind_key_rows(lower, tile);
    value_forget(lower);
    add_keys(&state, tile);
    root->at.before = NULL;
    lower->k.inside = NULL;
    value_forget(lower);

    whole->s = workspace(lower, "state", whole->heads, factor->width->value.i, lower->Ev);
    Inst *indices[] = {lower->batch, lower->head, value_of(lower, root, state.dc),
                       value_of(lower, root, state.ec)};
    build_store(&root->at, whole->s, indices, 4, state.s, NULL);
    if (state.z) {
        whole->z = workspace(lower, "state_sum", whole->heads, factor->width->value.i, 0);
        build_store(&root->at, whole->z, indices, 3, state.z, NULL);
    }
    if (state.count) {
        whole->count = workspace(lower, "state_count", whole->heads, 0, 0);
        build_store(&root->at, whole->count, indices, 2, state.count, NULL);
    }
}

static Inst *load_state(State *state, const Whole *whole, int tensor, int dims)
{
    Lower *lower = state->lower;
    Scope *root = lower->root;
    Inst *head = value_of(lower, root, expr_var(state->pool, (VarId)whole->heads, TYPE_INT));
    Inst *indices[] = {lower->batch, head, value_of(lower, root, state->dc),
                       value_of(lower, root, state->ec)};
    return build_load(&root->at, tensor, indices, dims, NULL);
}

static void attend_phase(Lower *lower, const Factor *factor, const Whole *whole)
{
    address_open(lower, lower_phase(lower, "attend"), true, VAR_H);
    ExprPool *pool = lower->pool;
    Scope *root = lower->root;
    State state = state_create(lower, factor);
    Inst *query = state_query(&state, root);
    root->at.label = "state";
    Inst *acc = build_contract(&root->at, state.d, query, load_state(&state, whole, whole->s, 4), NULL, NULL);
    Inst *sum = NULL, *count = NULL;
    if (state.wants_sum)
        sum = build_contract(&root->at, state.d, query, load_state(&state, whole, whole->z, 3), NULL, NULL);
    const Expr *scale = factor->query_scale ? feature_expand(lower, factor->query_scale) : NULL;
    const Expr *seen = state_query_seen(&state, root);
    if (factor->query_seen)
        scale = expr_op3(pool, EXPR_SELECT, seen, scale ? scale : expr_float(pool, 1), expr_float(pool, 0));
    if (scale) {
        acc = value_of(lower, root, expr_op2(pool, EXPR_MUL, scale, named(&state, root, acc)));
        if (sum)
            sum = value_of(lower, root, expr_op2(pool, EXPR_MUL, scale, named(&state, root, sum)));
    }
    if (state.wants_count && whole->count >= 0) {
        const Expr *keys = named(&state, root, load_state(&state, whole, whole->count, 2));
        count = value_of(lower, root, expr_op3(pool, EXPR_SELECT, seen, keys, expr_float(pool, 0)));
    }
    state_finish(&state, root, acc, sum, count);
}

void whole_lower(Lower *lower, const Factor *factor)
{
    Whole whole = {.s = -1, .z = -1, .count = -1};
    const Expr *parts[] = {factor->key, factor->key_scale, factor->key_seen, lower->spec->feature_k.body,
                           lower->spec->feature_v.body};
    whole.heads = VAR_G;
    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
        if (parts[n] && expr_uses(parts[n], VAR_H))
            whole.heads = VAR_H;
    state_phase(lower, factor, &whole);
    attend_phase(lower, factor, &whole);
}
