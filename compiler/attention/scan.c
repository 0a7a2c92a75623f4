/* Chunk scan: ordered attention whose weights factorise, in time linear in the sequence.
 *
 *     for each (b, h), for each chunk of positions in order:
 *         o_i = a_i exp(G_i) phi(q_i) . S  +  sum over j <= i of the chunk of t_ij exp(G_i - G_j) v_j
 *         S   = exp(G) S + sum over j of the chunk of b_j exp(G - G_j) psi(k_j) v_j^T
 *
 * and the same with 1 in the place of v for the sum of the weights. Inside a chunk the pairs are evaluated as in the
 * quadratic form. A decay by channel enters the similarity: sum over d of q_id k_jd exp(G_id - G_jd). Under the delta
 * rule v is replaced by what the rule writes (delta.c). */
#include "state.h"

static const Expr *arg(State *s, int k)
{
    return expr_arg(s->pool, k, TYPE_FLOAT);
}

static const Expr *named(State *s, Scope *scope, Inst *inst)
{
    return value_name_outer(s->lower, scope, inst, TYPE_FLOAT);
}

static const Expr *times(State *s, const Expr *a, const Expr *b)
{
    return !a ? b : !b ? a : expr_op2(s->pool, EXPR_MUL, a, b);
}

static const Expr *exp_of(State *s, const Expr *e)
{
    return expr_op1(s->pool, EXPR_EXP, e);
}

static const Expr *minus(State *s, const Expr *a, const Expr *b)
{
    return expr_op2(s->pool, EXPR_SUB, a, b);
}

/* e where the condition holds, else 0. */
static const Expr *where(State *s, const Expr *condition, const Expr *e)
{
    return expr_op3(s->pool, EXPR_SELECT, condition, e, expr_float(s->pool, 0));
}

Inst *scan_similarity(State *state, Scope *scope, Inst *a, Inst *b, Inst *sums_a, Inst *sums_b,
                      const Expr *before)
{
    if (!sums_a)
        return build_contract(&scope->at, state->d, a, b, NULL, NULL);
    const Expr *gap =
        where(state, before, minus(state, named(state, scope, sums_a), named(state, scope, sums_b)));
    const Expr *product = times(state, named(state, scope, a), named(state, scope, b));
    return build_reduce(&scope->at, REDUCE_SUM, state->d,
                        value_of(state->lower, scope, times(state, product, exp_of(state, gap))));
}

/* The value over both axes, also where it turned out the same along one: a mask that nothing passes, say. */
static Inst *over(Scope *scope, Inst *value, int a, int b)
{
    if (inst_has_axis(value, a) && (b < 0 || inst_has_axis(value, b)))
        return value;
    int axes[] = {a, b};
    return build_var(&scope->at, ELEM_TYPE_F32, axes, b < 0 ? 1 : 2, value);
}

/* The rows of the queries that stand in the chunk. */
static void chunk_rows(State *state, Chunk *chunk, Scope *scope, const Expr *query_local)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    const Factor *factor = state->factor;
    const Spec *spec = lower->spec;
    int j = lower->k.axis;
    bool by_channel = decay_by_channel(spec);
    Inst *query = state_query(state, scope);
    Inst *query_sums = chunk->decay ? decay_sums(chunk->decay, scope, query_local) : NULL;
    const Expr *before = expr_op2(pool, EXPR_LE, chunk->key_local, query_local);

    /* Inside the chunk: the scores, from the similarity as the spec has it. */
    scope->at.label = "similarity";
    const Expr *weight;
    if (factor->polynomial) { /* the polynomial itself: its expansion is for the state */
        Inst *similarity = value_of(lower, scope, feature_expand(lower, spec->similarity));
        scope_bind(lower, scope, expr_var(pool, VAR_S, TYPE_FLOAT), similarity);
        weight = feature_expand(lower, spec->score);
    } else {
        Inst *similarity = scan_similarity(state, scope, query, chunk->key, by_channel ? query_sums : NULL,
                                           chunk->key_sums, before);
        weight = times(
            state, named(state, scope, similarity),
            times(state, factor->query_scale ? feature_expand(lower, factor->query_scale) : NULL,
                  factor->key_scale && !spec->decay.beta ? feature_expand(lower, factor->key_scale) : NULL));
    }
    scope->at.label = "score";
    scope->at.span = spec->score->span;
    if (chunk->decay && !by_channel)
        weight = times(state, weight,
                       exp_of(state, where(state, before,
                                           minus(state, named(state, scope, query_sums),
                                                 named(state, scope, chunk->key_sums)))));
    const Expr *query_seen = state_query_seen(state, scope);
    const Expr *seen =
        expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_AND, before, query_seen), chunk->key_seen);
    Inst *weights = over(scope, value_of(lower, scope, where(state, seen, weight)), lower->q.axis, j);

    /* From the state before. */
    scope->at.label = "state";
    Inst *decayed = query;
    const Expr *scale = factor->query_scale ? feature_expand(lower, factor->query_scale) : NULL;
    if (by_channel)
        decayed = value_of(
            lower, scope,
            times(state, named(state, scope, query), exp_of(state, named(state, scope, query_sums))));
    else if (chunk->decay)
        scale = times(state, scale, exp_of(state, named(state, scope, query_sums)));
    if (factor->query_seen)
        scale = where(state, query_seen, scale ? scale : expr_float(pool, 1));
    Inst *scale_value = scale ? value_of(lower, scope, scale) : NULL;
    Inst *from_state = build_contract(&scope->at, state->d, decayed, state->s, NULL, NULL);
    int axes[] = {lower->q.axis, state->e};
    Inst *scaled[] = {from_state, scale_value};
    if (scale)
        from_state = build_map(&scope->at, times(state, arg(state, 0), arg(state, 1)), scaled, 2);
    Inst *acc = build_var(&scope->at, ELEM_TYPE_F32, axes, 2, from_state);
    Inst *rounded = spec->decay.beta
                        ? weights
                        : build_map_as(&scope->at, normalize_weight_elem(lower), arg(state, 0), &weights, 1);
    build_contract(&scope->at, j, rounded, chunk->value, NULL, acc);

    Inst *sum = NULL, *count = NULL;
    if (state->wants_sum) {
        Inst *before_chunk = build_contract(&scope->at, state->d, decayed, state->z, NULL, NULL);
        Inst *own = chunk->value_sum ? build_contract(&scope->at, j, weights, chunk->value_sum, NULL, NULL)
                                     : build_reduce(&scope->at, REDUCE_SUM, j, weights);
        Inst *parts[] = {before_chunk, own, scale_value};
        const Expr *total = expr_op2(
            pool, EXPR_ADD, times(state, arg(state, 0), scale ? arg(state, 2) : NULL), arg(state, 1));
        sum = build_map(&scope->at, total, parts, scale ? 3 : 2);
    }
    if (state->count) {
        Inst *visible = over(scope, value_of(lower, scope, where(state, seen, expr_float(pool, 1))), lower->q.axis, j);
        const Expr *own = named(state, scope, build_reduce(&scope->at, REDUCE_SUM, j, visible)),
                   *total = named(state, scope, state->count);
        if (factor->query_seen)
            total = where(state, query_seen, total);
        count = value_of(lower, scope, expr_op2(pool, EXPR_ADD, own, total));
    }
    state_finish(state, scope, acc, sum, count);
}

/* S = exp(G) S + sum of what the chunk's keys bring. */
static void chunk_update(State *state, Chunk *chunk)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    const Spec *spec = lower->spec;
    Scope *scope = chunk->scope;
    int j = lower->k.axis;
    scope->at.label = "state";
    const Expr *key = named(state, scope, chunk->key);
    if (!spec->decay.beta && state->factor->key_scale)
        key = times(state, key, feature_expand(lower, state->factor->key_scale));
    if (chunk->decay)
        key = times(state, key,
                    exp_of(state, where(state, chunk->key_seen,
                                        minus(state, named(state, scope, chunk->decay->total),
                                              named(state, scope, chunk->key_sums)))));
    /* Rows that do not exist are zero where a load or a feature says so; features of zero need not be. */
    bool exact = state->wants_sum || state->factor->key_seen;
    if (exact && !spec->decay.beta)
        key = where(state, chunk->key_seen, key);
    Inst *weighted = over(scope, value_of(lower, scope, key), j, state->d);
    if (chunk->decay) {
        Inst *total = value_of(lower, scope, exp_of(state, named(state, scope, chunk->decay->total)));
        Inst *s[] = {state->s, total}, *z[] = {state->z, total};
        build_set(&scope->at, state->s,
                  build_map(&scope->at, times(state, arg(state, 0), arg(state, 1)), s, 2));
        if (state->z)
            build_set(&scope->at, state->z,
                      build_map(&scope->at, times(state, arg(state, 0), arg(state, 1)), z, 2));
    }
    build_contract(&scope->at, j, weighted, chunk->value, NULL, state->s);
    if (state->z) {
        Inst *own = chunk->value_sum ? build_contract(&scope->at, j, weighted, chunk->value_sum, NULL, NULL)
                                     : build_reduce(&scope->at, REDUCE_SUM, j, weighted);
        Inst *parts[] = {state->z, own};
        build_set(&scope->at, state->z,
                  build_map(&scope->at, expr_op2(pool, EXPR_ADD, arg(state, 0), arg(state, 1)), parts, 2));
    }
    if (state->count) {
        Inst *visible = over(scope, value_of(lower, scope, where(state, chunk->key_seen, expr_float(pool, 1))), j, -1);
        Inst *parts[] = {state->count, build_reduce(&scope->at, REDUCE_SUM, j, visible)};
        build_set(&scope->at, state->count,
                  build_map(&scope->at, expr_op2(pool, EXPR_ADD, arg(state, 0), arg(state, 1)), parts, 2));
    }
}

static void scan_chunk(State *state, Scope *scope, const Expr *first, const Expr *last, bool queries)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    Chunk chunk = {.scope = scope, .first = first};
    chunk.decay = decay_open(state, scope, first, last);
    chunk.key_local = address_bind_chunk_keys(lower, scope, first, "j");
    chunk.key = state_key(state, scope);
    chunk.value = state_value(state, scope);
    chunk.key_seen = state_key_seen(state, scope);
    chunk.key_seen = value_name(lower, scope, value_of(lower, scope, chunk.key_seen), TYPE_BOOL);
    if (chunk.decay)
        chunk.key_sums = decay_sums(chunk.decay, scope, chunk.key_local);
    if (lower->spec->decay.beta)
        delta_solve(state, &chunk);
    if (queries) { /* chunks in which no query stands only pass */
        const Expr *knob = expr_var(pool, VAR_KNOB(lower->chunk), TYPE_INT),
                   *offset = expr_var(pool, VAR_OFFSET, TYPE_INT);
        const Expr *from = offset,
                   *to = expr_op2(pool, EXPR_ADD, offset, expr_var(pool, VAR_SIZE_M, TYPE_INT));
        if (lower->row_first) {
            from = expr_op2(pool, EXPR_ADD, offset, lower->row_first);
            to = expr_op2(pool, EXPR_MIN, to, expr_op2(pool, EXPR_ADD, offset, lower->row_end));
        }
        const Expr *some = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LT, first, to),
                                    expr_op2(pool, EXPR_LT, from, expr_op2(pool, EXPR_ADD, first, knob)));
        Inst *live = build_if(&scope->at, value_of(lower, scope, some), false);
        scope->at.before = live; /* what the rows need of the chunk alone */
        Scope *inner = scope_open(lower, scope, live->body, NULL);
        const Expr *query_local = address_bind_chunk_queries(lower, inner, first);
        chunk_rows(state, &chunk, inner, query_local);
        scope->at.before = NULL;
        lower->q = (TileSide){0};
        value_forget(lower);
    }
    chunk_update(state, &chunk);
    if (state->log && chunk.decay) {
        Inst *parts[] = {state->log, chunk.decay->total};
        build_set(&scope->at, state->log,
                  build_map(&scope->at, expr_op2(pool, EXPR_ADD, arg(state, 0), arg(state, 1)), parts, 2));
    }
}

void scan_chunks(State *state, Scope *root, const Expr *begin, const Expr *end, const Expr *last,
                 bool queries)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    const Expr *knob = expr_var(pool, VAR_KNOB(lower->chunk), TYPE_INT);
    const Expr *up = expr_op2(pool, EXPR_ADD, expr_op2(pool, EXPR_SUB, end, begin),
                              expr_op2(pool, EXPR_SUB, knob, expr_int(pool, 1)));
    Inst *chunks = value_of(lower, root, expr_op2(pool, EXPR_DIV, up, knob));
    Inst *loop = build_for(&root->at, value_of(lower, root, expr_int(pool, 0)), chunks, false);
    root->at.before = loop;
    Scope *scope = scope_open(lower, root, loop->body, NULL);
    value_forget(lower);
    const Expr *first = expr_op2(pool, EXPR_ADD, begin,
                                 expr_op2(pool, EXPR_MUL, value_name(lower, scope, loop, TYPE_INT), knob));
    first = value_name(lower, scope, value_of(lower, scope, first), TYPE_INT);
    scan_chunk(state, scope, first, last, queries);
    root->at.before = NULL;
    value_forget(lower);
}

void scan_lower(Lower *lower, const Factor *factor, bool recurrent)
{
    ExprPool *pool = lower->pool;
    address_open_chunks(lower, lower_phase(lower, recurrent ? "recur" : "scan"), recurrent ? "step" : "chunk",
                        recurrent);
    Scope *root = lower->root;
    State state = state_create(lower, factor);
    state_begin(&state, root);
    /* Positions from the first query or key to the last query or key. */
    const Expr *offset = expr_var(pool, VAR_OFFSET, TYPE_INT),
               *keys = lower->key_offset ? lower->key_offset : expr_int(pool, 0);
    const Expr *begin = expr_op2(pool, EXPR_MIN, offset, keys);
    const Expr *end =
        expr_op2(pool, EXPR_MAX, expr_op2(pool, EXPR_ADD, keys, expr_var(pool, VAR_SIZE_N, TYPE_INT)),
                 expr_op2(pool, EXPR_ADD, offset, expr_var(pool, VAR_SIZE_M, TYPE_INT)));
    begin = value_name(lower, root, value_of(lower, root, begin), TYPE_INT);
    end = value_name(lower, root, value_of(lower, root, end), TYPE_INT);
    scan_chunks(&state, root, begin, end, end, true);
    state_end(&state, root);
}
