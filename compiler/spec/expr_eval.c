/* The evaluator: the meaning columns of expr_ops.def, plus reductions.
 *
 * Small trees are evaluated by plain recursion. An expression that is large as a tree but shares its parts is
 * evaluated with a memo, so the time is that of its distinct nodes (times the trips of its reductions). */
#include "expr_meaning.h"
#include "expr_pool.h"

#include <stdlib.h>

ExprValue expr_apply(ExprOp op, ExprType operands, ExprType result, const ExprValue *x)
{
    ExprValue out = {.i = 0};
#define NONE 0
#define LEAF 0
#define REDUCE 0
#define EXPR_OP(id, name, arity_, sig, flags, ints, floats, range, derivative)                               \
    case EXPR_##id:                                                                                          \
        if (operands == TYPE_FLOAT) {                                                                        \
            double a = arity_ > 0 ? x[0].f : 0, b = arity_ > 1 ? x[arity_ > 1].f : 0;                        \
            double c = arity_ > 2 ? x[arity_ > 2 ? 2 : 0].f : 0;                                             \
            int64_t p = arity_ > 0 ? x[0].i : 0;                                                             \
            (void)a, (void)b, (void)c, (void)p;                                                              \
            if (result == TYPE_FLOAT)                                                                        \
                out.f = (double)(floats);                                                                    \
            else                                                                                             \
                out.i = (int64_t)(floats);                                                                   \
        } else {                                                                                             \
            int64_t a = arity_ > 0 ? x[0].i : 0, b = arity_ > 1 ? x[arity_ > 1].i : 0;                       \
            int64_t c = arity_ > 2 ? x[arity_ > 2 ? 2 : 0].i : 0;                                            \
            (void)a, (void)b, (void)c;                                                                       \
            if (result == TYPE_FLOAT)                                                                        \
                out.f = (double)(ints);                                                                      \
            else                                                                                             \
                out.i = (int64_t)(ints);                                                                     \
        }                                                                                                    \
        break;
    switch (op) {
#include "expr_ops.def"
    case EXPR_OP_COUNT: break;
    }
#undef EXPR_OP
    return out;
}

typedef struct Binding {
    int32_t var;
    int64_t value;
    const struct Binding *next;
} Binding;

typedef struct Slot {
    const Expr *key;
    uint64_t stamp;
    ExprValue value;
} Slot;

typedef struct Run {
    const ExprEval *eval;
    Slot *memo; /* NULL: plain recursion */
    uint32_t memo_size;
    uint64_t stamp; /* counts trips of reductions: values over bound variables hold for one trip only */
} Run;

static ExprValue evaluate(Run *run, const Expr *e, const Binding *bound);

static ExprValue reduce(Run *run, const Expr *e, const Binding *bound)
{
    int64_t extent = evaluate(run, e->args[0], bound).i;
    bool is_float = e->type == TYPE_FLOAT;
    ExprOp step = e->op == EXPR_SUM ? EXPR_ADD : e->op == EXPR_REDMAX ? EXPR_MAX : EXPR_MIN;
    ExprValue total;
    if (is_float)
        total.f = e->op == EXPR_SUM ? 0 : e->op == EXPR_REDMAX ? -INFINITY : INFINITY;
    else
        total.i = e->op == EXPR_SUM ? 0 : e->op == EXPR_REDMAX ? INT64_MIN : INT64_MAX;
    for (int64_t k = 0; k < extent; k++) {
        Binding inner = {e->index, k, bound};
        run->stamp++;
        ExprValue pair[2] = {total, evaluate(run, e->args[1], &inner)};
        total = expr_apply(step, (ExprType)e->type, (ExprType)e->type, pair);
        if (is_float && run->eval->round_f32)
            total.f = (double)(float)total.f;
    }
    run->stamp++;
    return total;
}

static ExprValue compute(Run *run, const Expr *e, const Binding *bound)
{
    switch ((ExprOp)e->op) {
    case EXPR_INT:
    case EXPR_BOOL:
    case EXPR_FLOAT: return (ExprValue){.i = e->value.i};
    case EXPR_SUM:
    case EXPR_REDMAX:
    case EXPR_REDMIN: return reduce(run, e, bound);
    case EXPR_VAR:
        for (; bound; bound = bound->next)
            if (bound->var == e->index)
                return (ExprValue){.i = bound->value};
        return run->eval->leaf(run->eval->user, e, NULL);
    case EXPR_SELECT:
    case EXPR_BSELECT: /* only the arm that is taken */
        return evaluate(run, e->args[evaluate(run, e->args[0], bound).i ? 1 : 2], bound);
    default: break;
    }
    ExprValue x[EXPR_MAX_ARGS];
    for (int k = 0; k < e->arity; k++)
        x[k] = evaluate(run, e->args[k], bound);
    if (expr_op_info[e->op].leaf)
        return run->eval->leaf(run->eval->user, e, x);
    return expr_apply((ExprOp)e->op, expr_operand_type((ExprOp)e->op, e->args), (ExprType)e->type, x);
}

static ExprValue evaluate(Run *run, const Expr *e, const Binding *bound)
{
    if (!run->memo || e->arity == 0) {
        ExprValue value = compute(run, e, bound);
        if (e->type == TYPE_FLOAT && run->eval->round_f32)
            value.f = (double)(float)value.f;
        return value;
    }
    uint64_t stamp = e->free_bound ? run->stamp : UINT64_MAX;
    uint32_t at = e->hash & (run->memo_size - 1);
    while (run->memo[at].key && run->memo[at].key != e)
        at = (at + 1) & (run->memo_size - 1);
    Slot *slot = &run->memo[at];
    if (slot->key && slot->stamp == stamp)
        return slot->value;
    slot->key = e;
    slot->stamp = UINT64_MAX - 1; /* claimed, no value yet */
    ExprValue value = compute(run, e, bound);
    if (e->type == TYPE_FLOAT && run->eval->round_f32)
        value.f = (double)(float)value.f;
    slot->value = value;
    slot->stamp = e->free_bound ? run->stamp : UINT64_MAX;
    return value;
}

ExprValue expr_eval(const ExprEval *eval, const Expr *e)
{
    enum { PLAIN_LIMIT = 4096 };
    Run run = {.eval = eval};
    if (e->tree > PLAIN_LIMIT) {
        /* No more distinct nodes than the root's id + 1, nor than the tree has. */
        uint64_t nodes = e->id < e->tree ? (uint64_t)e->id + 1 : e->tree;
        run.memo_size = 64;
        while (run.memo_size < nodes * 2)
            run.memo_size *= 2;
        run.memo = calloc(run.memo_size, sizeof *run.memo); /* without it only time is lost */
    }
    ExprValue value = evaluate(&run, e, NULL);
    free(run.memo);
    return value;
}
