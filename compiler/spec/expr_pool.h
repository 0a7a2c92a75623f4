/* What the files of Expr share and nobody else needs: raw interning, the canonical order, laws, linear forms.
 */
#ifndef ATTUNE_EXPR_POOL_H
#define ATTUNE_EXPR_POOL_H

#include "expr.h"

enum {
    EXPR_FIRST_FRESH =
        VAR_FIRST_BOUND + 4096, /* from here on: expr_fresh_bound; below: canonical names in reductions */
    EXPR_MAX_ARGS = 8,
    LINEAR_MAX = 32 /* terms that a sum or chain is normalised with; longer ones stay as written */
};

struct ExprPool {
    Arena *arena;
    const Expr **table; /* open addressing, size a power of two */
    uint32_t table_size, count;
    int32_t next_fresh;
    Span span;
};

Arena *expr_pool_arena(const ExprPool *pool);

bool expr_set_has(const ExprVarSet *set, int32_t var);

/* The node itself, with no law applied. */
const Expr *expr_intern(ExprPool *pool, ExprOp op, ExprType type, int32_t index, uint64_t bits,
                        const Expr *const *args, int count);
/* Canonical order: of structure alone, so equal mathematics built in any order sorts alike. Constants come
 * last. */
int expr_compare(const Expr *a, const Expr *b);
ExprType expr_result_type(ExprOp op, const Expr *const *args);
bool expr_is_constant(const Expr *e);
/* The op's meaning on values, by the columns of expr_ops.def; not for leaves and reductions. */
ExprValue expr_apply(ExprOp op, ExprType operands, ExprType result, const ExprValue *x);
/* Type of the numbers that op works on: its first n operand, else its first operand. */
ExprType expr_operand_type(ExprOp op, const Expr *const *args);

/* An equal expression that is simpler, or NULL: folding and the algebraic laws (expr_rules.c). */
const Expr *expr_simplify(ExprPool *pool, ExprOp op, ExprType type, const Expr *const *args);

/* Expr -> pointer, as large as what was put in. Start with {.arena = arena}. */
typedef struct ExprMemo {
    Arena *arena;
    const Expr **keys;
    const void **values;
    uint32_t size, count;
} ExprMemo;
const void *expr_memo_get(const ExprMemo *memo, const Expr *key);
void expr_memo_set(ExprMemo *memo, const Expr *key, const void *value);

/* Known to be at least 0 (or 1) for every value of its leaves; sizes are at least 1. False: not known. */
bool expr_nonnegative(const Expr *e);
bool expr_positive(const Expr *e);

/* constant + sum of coef[k] * term[k]; terms in canonical order, none of them a sum or a constant multiple.
 */
typedef struct ExprLinear {
    int64_t constant;
    int count;
    const Expr *term[LINEAR_MAX];
    int64_t coef[LINEAR_MAX];
} ExprLinear;
/* out += factor * e; false when there are too many terms (out is then of no use). */
bool expr_linear_add(ExprLinear *out, const Expr *e, int64_t factor);
const Expr *expr_linear_build(ExprPool *pool, const ExprLinear *linear);

#endif
