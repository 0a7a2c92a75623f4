/* Scores: t_ij = score(similarity(q'_i, k'_j)) times the decays between j and i (softmax: plus their logs).
 *
 * A decay per head is a factor exp(log_step (i - j)). One that varies by token needs prefix sums G_t of the log
 * steps (a phase of its own): the factor is exp(G_i - G_j), never a quotient of powers, which would overflow. */
#include <math.h>

#include "lower.h"

typedef struct TokenMap {
    ExprPool *pool;
    VarId first;
} TokenMap;

static const Expr *token_leaf(void *user, const Expr *leaf)
{
    TokenMap *map = user;
    if (leaf->op == EXPR_VAR && leaf->index >= VAR_T0 && leaf->index <= VAR_T2)
        return expr_var(map->pool, (VarId)(map->first + leaf->index - VAR_T0), TYPE_INT);
    return NULL;
}

static bool decay_varies(const Spec *spec)
{
    return spec->decay.kind == DECAY_SCALAR && expr_uses(spec->decay.log_step, VAR_T0);
}

void score_prepare_decay(Lower *lower)
{
    const Spec *spec = lower->spec;
    lower->tensor_decay = -1;
    if (!decay_varies(spec))
        return;
    ExprPool *pool = lower->pool;
    /* One work item a sequence and head: tiles of keys in order, the running sum in a scalar var. */
    Phase *phase = lower_phase(lower, "decay_sums");
    for (int queries = 0; queries < 2; queries++) {
        Tensor sums = {.name = queries ? "decay_sums_q" : "decay_sums_k", .elem = ELEM_TYPE_F32, .dim_count = 3};
        sums.extent[0] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
        sums.extent[1] = (Extent){.size = VAR_SIZE_H, .div_knob = -1, .div = 1, .mul = 1};
        sums.extent[2] = (Extent){.size = queries ? VAR_SIZE_M : VAR_SIZE_N, .div_knob = -1, .div = 1, .mul = 1};
        *(queries ? &lower->tensor_decay_q : &lower->tensor_decay) = lower_workspace(lower, sums);
    }
    address_open_rows(lower, phase, VAR_H);
    Scope *root = lower->root;
    root->at.label = "decay";
    root->at.span = spec->decay.span;
    Inst *total = build_var(&root->at, ELEM_TYPE_F32, NULL, 0, value_of(lower, root, expr_float(pool, 0)));
    Inst *zero = value_of(lower, root, expr_int(pool, 0));
    /* Positions of keys and of queries, which may lie past the last key. */
    const Expr *offset = expr_var(pool, VAR_OFFSET, TYPE_INT), *length_q = expr_var(pool, VAR_SIZE_M, TYPE_INT);
    const Expr *length_k = expr_var(pool, VAR_SIZE_N, TYPE_INT);
    Inst *end = value_of(lower, root, expr_op2(pool, EXPR_MAX, length_k, expr_op2(pool, EXPR_ADD, length_q, offset)));
    Inst *loop = build_for(&root->at, zero, end, false);
    root->at.before = loop;
    Scope *step = scope_open(lower, root, loop->body, NULL);
    const Expr *row = value_name(lower, step, loop, TYPE_INT);
    scope_bind(lower, step, expr_var(pool, VAR_J0, TYPE_INT), loop);
    lower->k.row = row;
    TokenMap map = {pool, VAR_J0};
    Inst *args[] = {total, value_of(lower, step, expr_substitute(pool, spec->decay.log_step, token_leaf, &map))};
    const Expr *sum = expr_op2(pool, EXPR_ADD, expr_arg(pool, 0, TYPE_FLOAT), expr_arg(pool, 1, TYPE_FLOAT));
    build_set(&step->at, total, build_map(&step->at, sum, args, 2));
    for (int queries = 0; queries < 2; queries++) {
        const Expr *at = queries ? expr_op2(pool, EXPR_SUB, row, offset) : row;
        const Expr *inside = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, expr_int(pool, 0), at),
                                      expr_op2(pool, EXPR_LT, at, queries ? length_q : length_k));
        Inst *indices[] = {lower->batch, lower->head, value_of(lower, step, at)};
        build_store(&step->at, queries ? lower->tensor_decay_q : lower->tensor_decay, indices, 3, total, value_of(lower, step, inside));
    }
    root->at.before = NULL;
}

/* The log of the decay between key j and query i. */
static const Expr *decay_log(Lower *lower)
{
    ExprPool *pool = lower->pool;
    const Expr *i = expr_var(pool, VAR_I0, TYPE_INT), *j = expr_var(pool, VAR_J0, TYPE_INT);
    if (!decay_varies(lower->spec))
        return expr_op2(pool, EXPR_MUL, lower->spec->decay.log_step, expr_op1(pool, EXPR_TOFLOAT, expr_op2(pool, EXPR_SUB, i, j)));
    const Expr *h = expr_var(pool, VAR_H, TYPE_INT);
    /* Rows of these workspaces are counted from the sequence's start. */
    return expr_op2(pool, EXPR_SUB, value_element(lower, lower->tensor_decay_q, h, lower->q.sequence_row, NULL),
                    value_element(lower, lower->tensor_decay, h, j, NULL));
}

Inst *score_tile(Lower *lower, Scope *scope)
{
    const Spec *spec = lower->spec;
    ExprPool *pool = lower->pool;
    scope->at.label = "similarity";
    scope->at.span = spec->similarity->span;
    Inst *similarity = value_of(lower, scope, feature_expand(lower, spec->similarity));
    scope_bind(lower, scope, expr_var(pool, VAR_S, TYPE_FLOAT), similarity);
    scope->at.label = "score";
    scope->at.span = spec->score->span;
    const Expr *score = feature_expand(lower, spec->score);
    if (spec->decay.kind == DECAY_SCALAR) {
        bool softmax = spec->norm.kind == NORM_SOFTMAX; /* its weights are exp(score): the decay's log is added */
        const Expr *log = decay_log(lower), *after = expr_op2(pool, EXPR_LT, expr_var(pool, VAR_I0, TYPE_INT), expr_var(pool, VAR_J0, TYPE_INT));
        score = softmax ? expr_op2(pool, EXPR_ADD, score, log) : expr_op2(pool, EXPR_MUL, score, expr_op1(pool, EXPR_EXP, log));
        /* Keys after the query have no path to it. */
        score = expr_op3(pool, EXPR_SELECT, after, expr_float(pool, softmax ? -(double)INFINITY : 0), score);
    }
    return value_of(lower, scope, score);
}
