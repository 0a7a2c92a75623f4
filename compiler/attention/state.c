/* States: their vars, what goes into them and what is read off. */
#include "state.h"

static bool wants_sum(const Spec *spec)
{
    return spec->norm.kind == NORM_SUM || spec->norm.kind == NORM_MAGNITUDE || spec->returns[RETURN_SUM];
}

static bool keeps_count(const Spec *spec, const Factor *factor)
{
    return (spec->norm.kind != NORM_NONE || spec->output) && factor->key_seen;
}

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
    state.wants_sum = wants_sum(spec);
    state.wants_count = spec->norm.kind != NORM_NONE || spec->output;
    return state;
}

static void note_back(void *user, const Expr *e)
{
    bool *found = user;
    if (e->op == EXPR_ELEM && e->index == ELEM_X && e->arity > 1)
        *found |= e->args[1]->op != EXPR_INT || e->args[1]->value.i != 0;
}

void state_declare(Lower *lower, const Factor *factor)
{
    ExprPool *pool = lower->pool;
    const Spec *spec = lower->spec;
    const SpecFeature *features[] = {&spec->feature_q, &spec->feature_k, &spec->feature_v};
    bool back = false;
    for (int n = 0; n < 3; n++)
        if (features[n]->body)
            expr_walk(lower->arena, features[n]->body, note_back, &back);
    if (back || !factor->mask_ordered)
        return;
    /* A last column holds the sums of the features, a last row the count. */
    Tensor state = {.role = ROLE_STATE, .elem = ELEM_TYPE_F32, .dim_count = 4};
    state.extent[0] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    state.extent[1] = (Extent){.size = VAR_SIZE_H, .div_knob = -1, .div = 1, .mul = 1};
    state.extent[2] = (Extent){
        .size = -1, .div_knob = -1, .div = 1, .mul = factor->width->value.i + keeps_count(spec, factor)};
    state.extent[3] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = lower->Ev + wants_sum(spec)};
    for (int out = 0; out < 2; out++) {
        state.name = out ? "state_out" : "state_in";
        state.index = out;
        lower->tensor_state[out] = program_tensor(lower->program, state);
    }
    const Expr *in = expr_op2(pool, EXPR_MOD, expr_var(pool, VAR_STATE, TYPE_INT), expr_int(pool, 2));
    in = expr_op2(pool, EXPR_EQ, in, expr_int(pool, 1));
    lower->key_offset =
        expr_op3(pool, EXPR_SELECT, in, expr_var(pool, VAR_OFFSET, TYPE_INT), expr_int(pool, 0));
}

/* Where a part of the state lies: its features and its values, the column of the sums, the corner of the count. */
typedef enum Part { PART_S, PART_Z, PART_COUNT } Part;

static void part_indices(State *state, Scope *scope, Part part, Inst *indices[4])
{
    Lower *lower = state->lower;
    indices[0] = lower->batch;
    indices[1] = lower->head;
    indices[2] = value_of(lower, scope, part == PART_COUNT ? state->factor->width : state->dc);
    indices[3] = value_of(lower, scope,
                          part == PART_S ? state->ec : expr_int(state->pool, part == PART_Z ? lower->Ev : 0));
}

void state_vars(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    int axes[] = {state->d, state->e};
    scope->at.label = "state";
    Inst *zero = value_of(lower, scope, expr_float(pool, 0));
    state->s = build_var(&scope->at, ELEM_TYPE_F32, axes, 2, zero);
    if (state->wants_sum)
        state->z = build_var(&scope->at, ELEM_TYPE_F32, axes, 1, zero);
    if (keeps_count(lower->spec, state->factor))
        state->count = build_var(&scope->at, ELEM_TYPE_F32, NULL, 0, zero);
}

void state_begin(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    state_vars(state, scope);
    if (lower->tensor_state[STATE_IN] < 0)
        return;
    const Expr *in = expr_op2(pool, EXPR_MOD, expr_var(pool, VAR_STATE, TYPE_INT), expr_int(pool, 2));
    Inst *vars[] = {state->s, state->z, state->count}, *indices[4];
    Inst *given =
        build_if(&scope->at, value_of(lower, scope, expr_op2(pool, EXPR_EQ, in, expr_int(pool, 1))), false);
    scope->at.before = given;
    Scope *inner = scope_open(lower, scope, given->body, NULL);
    for (Part part = PART_S; part <= PART_COUNT; part++) {
        if (!vars[part])
            continue;
        part_indices(state, scope, part, indices);
        build_set(&inner->at, vars[part],
                  build_load(&inner->at, lower->tensor_state[STATE_IN], indices, 4, NULL));
    }
    scope->at.before = NULL;
}

void state_end(State *state, Scope *scope)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    if (lower->tensor_state[STATE_OUT] < 0)
        return;
    Inst *parts[] = {state->s, state->z, state->count}, *indices[4];
    scope->at.label = "state";
    const Expr *out = expr_op2(pool, EXPR_LE, expr_int(pool, 2), expr_var(pool, VAR_STATE, TYPE_INT));
    Inst *asked = build_if(&scope->at, value_of(lower, scope, out), false);
    scope->at.before = asked;
    Scope *inner = scope_open(lower, scope, asked->body, NULL);
    for (Part part = PART_S; part <= PART_COUNT; part++) {
        if (!parts[part])
            continue;
        part_indices(state, scope, part, indices);
        build_store(&inner->at, lower->tensor_state[STATE_OUT], indices, 4, parts[part], NULL);
    }
    scope->at.before = NULL;
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
    if (state->lower->key_offset) /* and those that the state holds */
        keys = expr_op2(pool, EXPR_ADD, keys, state->lower->key_offset);
    if (state->factor->mask_ordered) {
        const Expr *before = expr_op2(pool, EXPR_ADD, expr_var(pool, VAR_I0, TYPE_INT), expr_int(pool, 1));
        keys = expr_op2(pool, EXPR_MIN, expr_op2(pool, EXPR_MAX, before, expr_int(pool, 0)), keys);
    }
    keys = expr_op1(pool, EXPR_TOFLOAT, keys);
    if (state->factor->query_seen)
        keys = expr_op3(pool, EXPR_SELECT, feature_expand(state->lower, state->factor->query_seen), keys,
                        expr_float(pool, 0));
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
    Inst *o = normalize_linear(lower, scope, acc, weights, count), *returns[RETURN_KIND_COUNT] = {NULL},
         *empty = NULL;
    returns[RETURN_SUM] = weights;
    if (lower->spec->output) {
        const Expr *none =
            expr_op2(pool, EXPR_EQ, value_name(lower, scope, count, TYPE_FLOAT), expr_float(pool, 0));
        empty = value_of(lower, scope, none);
    }
    forward_store(lower, scope, o, returns, empty);
}
