/* The delta rule in a chunk: S_t = S_{t-1} A_t (I - beta_t k_t k_t^T) + beta_t v_t k_t^T, A_t the decay. With u_t what
 * is written at t and S the state before the chunk,
 *
 *     u_t = beta_t (v_t - S exp(G_t) k_t) - sum over j < t of l_tj u_j,   l_tj = beta_t k_t . exp(G_t - G_j) k_j
 *
 * so u = (I + L)^-1 r with L strictly below the diagonal and r the first term. The inverse W = (I + L)^-1 is had row by
 * row: w_t = e_t - sum over j < t of l_tj w_j. It does not depend on the state. */
#include "state.h"

static const Expr *named(State *s, Scope *scope, Inst *inst)
{
    return value_name_outer(s->lower, scope, inst, TYPE_FLOAT);
}

static const Expr *op2(State *s, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(s->pool, op, a, b);
}

static const Expr *where(State *s, const Expr *condition, const Expr *e)
{
    return expr_op3(s->pool, EXPR_SELECT, condition, e, expr_float(s->pool, 0));
}

typedef struct TokenLeaves {
    ExprPool *pool;
} TokenLeaves;

static const Expr *token_leaf(void *user, const Expr *leaf)
{
    const TokenLeaves *leaves = user;
    if (leaf->op != EXPR_VAR || leaf->index < VAR_T0 || leaf->index > VAR_T2)
        return NULL;
    return expr_var(leaves->pool, (VarId)(VAR_J0 + leaf->index - VAR_T0), TYPE_INT);
}

/* beta of the keys that are bound; 0 for those that take no part: they neither erase nor write. */
static const Expr *strength(State *s, Scope *scope)
{
    TokenLeaves leaves = {s->pool};
    return where(s, state_key_seen(s, scope),
                 expr_substitute(s->pool, s->lower->spec->decay.beta, token_leaf, &leaves));
}

/* L [row, j]. */
static Inst *below_diagonal(State *s, Chunk *chunk, Scope *scope, const Expr *row)
{
    Lower *lower = s->lower;
    ChunkDecay *decay = chunk->decay;
    bool by_channel = decay_by_channel(lower->spec);
    Inst *key = state_key(s, scope), *sums = decay ? decay_sums(decay, scope, row) : NULL;
    const Expr *before = op2(s, EXPR_LT, chunk->key_local, row);
    scope->at.label = "delta";
    Inst *similarity =
        scan_similarity(s, scope, key, chunk->key, by_channel ? sums : NULL, chunk->key_sums, before);
    const Expr *l = op2(s, EXPR_MUL, named(s, scope, similarity), strength(s, scope));
    if (decay && !by_channel) {
        const Expr *gap = op2(s, EXPR_SUB, named(s, scope, sums), named(s, scope, chunk->key_sums));
        l = op2(s, EXPR_MUL, l, expr_op1(s->pool, EXPR_EXP, where(s, before, gap)));
    }
    return value_of(lower, scope, where(s, before, l));
}

/* W [j, column]: a loop over the rows, each from the ones before it. */
static Inst *inverse(State *s, Chunk *chunk, Scope *scope, Inst *l, int row_axis, const Expr *row,
                     int column_axis, const Expr *column)
{
    Lower *lower = s->lower;
    ExprPool *pool = s->pool;
    int j = lower->k.axis;
    const Expr *one = expr_float(pool, 1);
    int axes[] = {j, column_axis};
    Inst *unit = value_of(lower, scope, where(s, op2(s, EXPR_EQ, chunk->key_local, column), one));
    Inst *w = build_var(&scope->at, ELEM_TYPE_F32, axes, 2, unit);
    Inst *from = value_of(lower, scope, expr_int(pool, 1));
    Inst *to = value_of(lower, scope, expr_var(pool, VAR_KNOB(lower->chunk), TYPE_INT));
    Inst *loop = build_for(&scope->at, from, to, false);
    scope->at.before = loop;
    Scope *step = scope_open(lower, scope, loop->body, NULL);
    const Expr *t = value_name(lower, step, loop, TYPE_INT);
    Inst *chosen = value_of(lower, step, where(s, op2(s, EXPR_EQ, row, t), named(s, step, l)));
    Inst *l_row = build_reduce(&step->at, REDUCE_SUM, row_axis, chosen);
    Inst *taken = build_contract(&step->at, j, l_row, w, NULL, NULL);
    const Expr *here = op2(s, EXPR_EQ, chunk->key_local, t);
    const Expr *next = op2(s, EXPR_SUB, named(s, step, w), named(s, step, taken));
    Inst *moved = value_of(lower, step, expr_op3(pool, EXPR_SELECT, here, next, named(s, step, w)));
    build_set(&step->at, w, moved);
    scope->at.before = NULL;
    value_forget(lower);
    return w;
}

void delta_solve(State *state, Chunk *chunk)
{
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    TileSide keys = lower->k;
    Scope *scope = chunk->scope;
    scope->at.label = "delta";
    scope->at.span = lower->spec->decay.span;

    Scope *rows = scope_open(lower, scope, scope->at.block, NULL);
    const Expr *row = address_bind_chunk_keys(lower, rows, chunk->first, "j2");
    int row_axis = lower->k.axis;
    Inst *l = below_diagonal(state, chunk, rows, row);

    Scope *columns = scope_open(lower, scope, scope->at.block, NULL);
    const Expr *column = address_bind_chunk_keys(lower, columns, chunk->first, "j3");
    int column_axis = lower->k.axis;
    Inst *key = state_key(state, columns), *value = state_value(state, columns);
    columns->at.label = "delta";
    const Expr *beta = strength(state, columns), *scale = state->factor->key_scale;
    const Expr *read = named(state, columns, key), *written = named(state, columns, value);
    if (chunk->decay) {
        const Expr *factor =
            expr_op1(pool, EXPR_EXP, named(state, columns, decay_sums(chunk->decay, columns, column)));
        read = op2(state, EXPR_MUL, read, factor);
    }
    Inst *probe = value_of(lower, columns, read);
    Inst *erased = build_contract(&columns->at, state->d, probe, state->s, NULL, NULL);
    scale = scale ? feature_expand(lower, scale) : NULL;
    if (scale)
        written = op2(state, EXPR_MUL, written, scale);
    Inst *right =
        value_of(lower, columns,
                 op2(state, EXPR_MUL, beta, op2(state, EXPR_SUB, written, named(state, columns, erased))));
    Inst *right_sum = NULL;
    if (state->wants_sum) {
        Inst *erased_sum = build_contract(&columns->at, state->d, probe, state->z, NULL, NULL);
        const Expr *one = scale ? scale : expr_float(pool, 1);
        right_sum = value_of(
            lower, columns,
            op2(state, EXPR_MUL, beta, op2(state, EXPR_SUB, one, named(state, columns, erased_sum))));
    }

    lower->k = keys;
    value_forget(lower);
    Inst *w = inverse(state, chunk, scope, l, row_axis, row, column_axis, column);
    chunk->value = build_contract(&scope->at, column_axis, w, right, NULL, NULL);
    if (right_sum)
        chunk->value_sum = build_contract(&scope->at, column_axis, w, right_sum, NULL, NULL);
}
