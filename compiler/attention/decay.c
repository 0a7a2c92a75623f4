/* Decays inside a chunk, in log space: with G_t the sum of the log steps from the chunk's start up to and with t,
 *
 *     from the state before the chunk to i: exp(G_i)    from j to i: exp(G_i - G_j)    from j to the end: exp(G - G_j)
 *
 * Every exponent that is used is a sum of steps between two tokens in order; nothing is divided by a power of a decay.
 * Sums are of one chunk, so that they lose nothing over long sequences: a product with a triangle of ones. Steps below
 * -104 are -104: the factor is 0 in f32 all the same, and the sums stay finite. */
#include "state.h"

bool decay_by_channel(const Spec *spec)
{
    return spec->decay.kind == DECAY_CHANNEL;
}

typedef struct StepLeaves {
    ExprPool *pool;
    const Expr *channel;
} StepLeaves;

static const Expr *step_leaf(void *user, const Expr *leaf)
{
    const StepLeaves *leaves = user;
    if (leaf->op != EXPR_VAR)
        return NULL;
    if (leaf->index >= VAR_T0 && leaf->index <= VAR_T2)
        return expr_var(leaves->pool, (VarId)(VAR_J0 + leaf->index - VAR_T0), TYPE_INT);
    return leaf->index == VAR_C ? leaves->channel : NULL;
}

static const Expr *to_float(ExprPool *pool, const Expr *e)
{
    return expr_op1(pool, EXPR_TOFLOAT, e);
}

ChunkDecay *decay_open(State *state, Scope *chunk, const Expr *first, const Expr *end)
{
    enum { LEAST = -104 };
    Lower *lower = state->lower;
    ExprPool *pool = state->pool;
    const Spec *spec = lower->spec;
    if (spec->decay.kind == DECAY_NONE)
        return NULL;
    ChunkDecay *decay = ARENA_NEW(lower->arena, ChunkDecay);
    decay->state = state;
    chunk->at.label = "decay";
    chunk->at.span = spec->decay.span;
    StepLeaves leaves = {pool, state->dc};
    const Expr *step = expr_substitute(pool, spec->decay.log_step, step_leaf, &leaves);
    step = expr_op2(pool, EXPR_MAX, step, expr_float(pool, LEAST));
    const Expr *knob = expr_var(pool, VAR_KNOB(lower->chunk), TYPE_INT);
    const Expr *tokens = expr_op2(pool, EXPR_MIN, knob, expr_op2(pool, EXPR_SUB, end, first));
    decay->tokens = value_name(lower, chunk, value_of(lower, chunk, tokens), TYPE_INT);
    if (!decay_by_channel(spec) && !expr_uses(spec->decay.log_step, VAR_T0)) {
        decay->step = value_name_outer(lower, chunk, value_of(lower, chunk, step), TYPE_FLOAT);
        decay->total =
            value_of(lower, chunk, expr_op2(pool, EXPR_MUL, decay->step, to_float(pool, decay->tokens)));
        return decay;
    }
    TileSide keys = lower->k;
    Scope *tokens_scope = scope_open(lower, chunk, chunk->at.block, NULL);
    decay->local = address_bind_chunk_keys(lower, tokens_scope, first, "t");
    const Expr *live = expr_op2(pool, EXPR_LT, decay->local, decay->tokens);
    decay->steps =
        value_of(lower, tokens_scope, expr_op3(pool, EXPR_SELECT, live, step, expr_float(pool, 0)));
    int t = program_axis(lower->program, "t", NULL);
    if (!inst_has_axis(decay->steps, t) ||
        (decay_by_channel(spec) && !inst_has_axis(decay->steps, state->d))) {
        /* The same for all channels: spread, so that what follows has one form. */
        Inst *shape[] = {decay->steps, value_of(lower, tokens_scope, decay->local),
                         value_of(lower, tokens_scope, state->dc)};
        decay->steps = build_map(&tokens_scope->at, expr_arg(pool, 0, TYPE_FLOAT), shape,
                                 decay_by_channel(spec) ? 3 : 2);
    }
    decay->total = build_reduce(&tokens_scope->at, REDUCE_SUM, t, decay->steps);
    lower->k = keys;
    value_forget(lower);
    return decay;
}

Inst *decay_sums(ChunkDecay *decay, Scope *scope, const Expr *local)
{
    Lower *lower = decay->state->lower;
    ExprPool *pool = lower->pool;
    scope->at.label = "decay";
    scope->at.span = lower->spec->decay.span;
    if (decay->step) {
        const Expr *count = expr_op2(pool, EXPR_ADD, to_float(pool, local), expr_float(pool, 1));
        return value_of(lower, scope, expr_op2(pool, EXPR_MUL, decay->step, count));
    }
    const Expr *before = expr_op2(pool, EXPR_LE, decay->local, local);
    Inst *triangle =
        value_of(lower, scope, expr_op3(pool, EXPR_SELECT, before, expr_float(pool, 1), expr_float(pool, 0)));
    return build_contract(&scope->at, program_axis(lower->program, "t", NULL), triangle, decay->steps, NULL,
                          NULL);
}
