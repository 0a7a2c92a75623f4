/* States: their vars, what goes into them and what is read off. */
#include "state.h"

State state_create(Lower *lower, const Factor *factor)
{
    ExprPool *pool = lower->pool;
    const Spec *spec = lower->spec;
    State state = {.lower = lower, .pool = pool, .factor = factor};
    state.dc = expr_var(pool, factor->channel, TYPE_INT);
    if (factor->width->op != EXPR_INT || factor->width->value.i < 1 || factor->width->value.i > 65536) {
        diag_error(lower->diag, spec->similarity->span, "extent-unknown",
                   "the width of the features must be known when the kernel is compiled (1 .. 65536)");
        arena_fail(lower->arena);
    }
    state.d = value_bind_axis(lower, factor->channel, "d", factor->width->value.i);
    VarId e = expr_fresh_bound(pool);
    state.ec = expr_var(pool, e, TYPE_INT);
    state.e = value_bind_axis(lower, e, "e", lower->Ev);
    state.wants_sum = spec->norm.kind == NORM_SUM || spec->returns[RETURN_SUM];
    state.wants_count = spec->norm.kind != NORM_NONE || spec->output;
    return state;
}

void state_begin(State *state, Scope *scope)
{
    Inst *zero = value_of(state->lower, scope, expr_float(state->pool, 0));
    int axes[] = {state->d, state->e};
    scope->at.label = "state";
    state->s = build_var(&scope->at, ELEM_TYPE_F32, axes, 2, zero);
    if (state->wants_sum)
        state->z = build_var(&scope->at, ELEM_TYPE_F32, axes, 1, zero);
    if (state->wants_count && !state_count_closed(state))
        state->count = build_var(&scope->at, ELEM_TYPE_F32, NULL, 0, zero);
}

Inst *state_key(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    scope->at.label = "similarity";
    scope->at.span = lower->spec->similarity->span;
    return value_of(lower, scope, feature_expand(lower, state->factor->key));
}

Inst *state_query(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    scope->at.label = "similarity";
    scope->at.span = lower->spec->similarity->span;
    return value_of(lower, scope, feature_expand(lower, state->factor->query));
}

Inst *state_value(State *state, Scope *scope)
{
    return value_of(state->lower, scope, feature_value_element(state->lower, state->ec));
}

static const Expr *seen_of(State *state, Scope *scope, const TileSide *side, const Expr *condition)
{
    ExprPool *pool = state->pool;
    const Expr *seen = value_name(state->lower, scope, side->inside, TYPE_BOOL);
    if (condition)
        seen = expr_op2(pool, EXPR_AND, seen, feature_expand(state->lower, condition));
    return seen;
}

const Expr *state_key_seen(State *state, Scope *scope)
{
    return seen_of(state, scope, &state->lower->k, state->factor->key_seen);
}

const Expr *state_query_seen(State *state, Scope *scope)
{
    return seen_of(state, scope, &state->lower->q, state->factor->query_seen);
}

const Expr *state_count_closed(State *state)
{
    ExprPool *pool = state->pool;
    if (state->factor->key_seen)
        return NULL;
    const Expr *keys = expr_var(pool, VAR_SIZE_N, TYPE_INT);
    if (state->factor->mask_ordered) {
        const Expr *before = expr_op2(pool, EXPR_ADD, expr_var(pool, VAR_I0, TYPE_INT), expr_int(pool, 1));
        keys = expr_op2(pool, EXPR_MIN, expr_op2(pool, EXPR_MAX, before, expr_int(pool, 0)), keys);
    }
    keys = expr_op1(pool, EXPR_TOFLOAT, keys);
    if (state->factor->query_seen)
        keys = expr_op3(pool, EXPR_SELECT, feature_expand(state->lower, state->factor->query_seen), keys, expr_float(pool, 0));
    return keys;
}

void state_finish(State *state, Scope *scope, Inst *acc, Inst *weights, Inst *count)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    scope->at.label = "normalize";
    scope->at.span = lower->spec->norm.span;
    if (state->wants_count && !count)
        count = value_of(lower, scope, state_count_closed(state));
    Inst *o = normalize_linear(lower, scope, acc, weights, count), *returns[RETURN_KIND_COUNT] = {NULL}, *empty = NULL;
    returns[RETURN_SUM] = weights;
    if (lower->spec->output) {
        const Expr *none = expr_op2(pool, EXPR_EQ, value_name(lower, scope, count, TYPE_FLOAT), expr_float(pool, 0));
        empty = value_of(lower, scope, none);
    }
    forward_store(lower, scope, o, returns, empty);
}
