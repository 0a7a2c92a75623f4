/* Expr: the one scalar expression of both IRs. Hash-consed, immutable, typed (bool, int = 64 bits, float).
 *
 * Two equal expressions of one pool are the same pointer. An operator is one row of expr_ops.def: name,
 * arity, types, meaning, interval rule, derivative. Vectors do not exist here: a per-token vector is an Expr
 * in the channel variable VAR_C, and a sum over channels is EXPR_SUM with a bound variable. */
#ifndef ATTUNE_EXPR_H
#define ATTUNE_EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "dsl/arena.h"
#include "dsl/diag.h"

typedef enum { TYPE_BOOL, TYPE_INT, TYPE_FLOAT } ExprType;

typedef enum ExprOp {
#define EXPR_OP(id, ...) EXPR_##id,
#include "expr_ops.def"
#undef EXPR_OP
    EXPR_OP_COUNT
} ExprOp;

/* What an EXPR_VAR stands for. Sizes are those of the launch; with ragged batches M and N are the lengths of
 * the sequence at hand. */
typedef enum VarId {
    VAR_B,          /* batch index */
    VAR_H,          /* query head */
    VAR_G,          /* key head, h / (H / G) */
    VAR_I0, VAR_I1, VAR_I2, /* query coordinates, outermost axis first; rank 1: VAR_I0 = absolute position */
    VAR_J0, VAR_J1, VAR_J2, /* key coordinates */
    VAR_T0, VAR_T1, VAR_T2, /* coordinates of the token that a feature map or decay is applied to */
    VAR_C,          /* channel: of a feature map's result, of an output row */
    VAR_S,          /* similarity value of the pair, inside `score` */
    VAR_SIZE_B, VAR_SIZE_H, VAR_SIZE_G, VAR_SIZE_M, VAR_SIZE_N, VAR_SIZE_D, VAR_SIZE_E,
    VAR_SIZE_M0, VAR_SIZE_M1, VAR_SIZE_M2, /* extents of the query grid by axis; rank 1: M0 = M */
    VAR_SIZE_N0, VAR_SIZE_N1, VAR_SIZE_N2, /* extents of the key grid by axis */
    VAR_STATE,      /* of linear lowerings: 1 the launch continues from a state, 2 it hands one on, 3 both; else 0 */
    VAR_SEGMENTS,   /* of linear lowerings: how many segments the launch cuts sequences into */
    VAR_OFFSET,     /* position of the first query row (rank 1): i = row + offset */
    VAR_FIRST_BOUND = 64 /* bound variables of EXPR_SUM and of tile ranges are >= this */
} VarId;

/* What an EXPR_ELEM reads; args[0] is the channel. */
typedef enum ElemOf {
    ELEM_Q, ELEM_K, ELEM_V,          /* after the feature map, of query i / key j */
    ELEM_X,                          /* inside a feature map: the token's raw channel (args[1]: tokens back) */
    ELEM_O                           /* inside `output`: the normalised output row */
} ElemOf;

/* Distinct variables, in no order; NULL is the empty set. */
typedef struct ExprVarSet { int32_t count, var[]; } ExprVarSet;

typedef struct Expr Expr;
struct Expr {
    uint16_t op;       /* ExprOp */
    uint8_t type;      /* ExprType */
    uint8_t arity;
    int32_t index;     /* VAR: VarId; PARAM, INPUT: position in the Spec's table; ELEM: ElemOf; SUM..: bound
                          VarId; ARG: operand */
    uint32_t id;       /* creation number in its pool: operands have smaller ids */
    Span span;         /* where it was first written; not part of identity */
    union {
        int64_t i;     /* INT, BOOL */
        double f;      /* FLOAT */
        uint64_t bits;
    } value;
    uint64_t vars;     /* free variables below VAR_FIRST_BOUND, bit = VarId (bit 63: free_bound is not empty) */
    const ExprVarSet *free_bound; /* its free variables from VAR_FIRST_BOUND on */
    uint32_t hash;     /* of the structure: the same in every pool and run */
    uint32_t tree;     /* nodes when written out as a tree (saturates): a walk without a memo takes this long */
    uint16_t depth;    /* at most EXPR_MAX_DEPTH */
    uint16_t bound_top; /* 1 + the highest canonical bound variable in it, counted from VAR_FIRST_BOUND */
    const Expr *args[];
};

/* Recursion over an Expr is safe. A constructor that would go deeper unwinds like a failed allocation, so
 * whoever builds from user text checks `depth` on the way. */
enum { EXPR_MAX_DEPTH = 4096 };

typedef struct ExprPool ExprPool;
ExprPool *expr_pool_create(Arena *arena);

/* Constructors fold constants and apply the laws of expr_rules (x + 0, x * 1, select(true, ..), ...), so the
 * result may be any equal Expr. Types must be right: the checker has made them so (asserted). */
const Expr *expr_int(ExprPool *pool, int64_t value);
const Expr *expr_float(ExprPool *pool, double value);
const Expr *expr_bool(ExprPool *pool, bool value);
const Expr *expr_var(ExprPool *pool, VarId var, ExprType type);
const Expr *expr_param(ExprPool *pool, int index, ExprType type);
const Expr *expr_arg(ExprPool *pool, int index, ExprType type);
const Expr *expr_input(ExprPool *pool, int tensor, ExprType type, const Expr *const *indices, int count);
/* back: ELEM_X only, else NULL */
const Expr *expr_elem(ExprPool *pool, ElemOf of, const Expr *channel, const Expr *back);
/* op is EXPR_SUM, EXPR_REDMAX or EXPR_REDMIN: over bound in [0, extent) of body. The node's args are extent and
 * body, its index the bound variable, which is renamed to a canonical one (so that equal reductions are the
 * same pointer): read it from the node. An empty EXPR_REDMAX is the least, EXPR_REDMIN the greatest value. */
const Expr *expr_reduce(ExprPool *pool, ExprOp op, VarId bound, const Expr *extent, const Expr *body);
VarId expr_fresh_bound(ExprPool *pool);
const Expr *expr_op1(ExprPool *pool, ExprOp op, const Expr *a);
const Expr *expr_op2(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b);
const Expr *expr_op3(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b, const Expr *c);
/* A node with the op of `like` and new args (same arity and types). */
const Expr *expr_rebuild(ExprPool *pool, const Expr *like, const Expr *const *args);
/* Sets the span that nodes created from here on carry. */
void expr_set_span(ExprPool *pool, Span span);

/* Replaces leaves: map(user, leaf) is asked for every VAR, PARAM, ARG, INPUT and ELEM (look at leaf->op) and
 * gives the replacement or NULL to keep; the operands of a kept INPUT or ELEM are then mapped. Variables bound
 * inside e are left alone, and no free variable of a replacement is captured. */
const Expr *expr_substitute(ExprPool *pool, const Expr *e, const Expr *(*map)(void *user, const Expr *leaf),
                            void *user);
bool expr_uses(const Expr *e, VarId var);
/* Calls visit once for every distinct node, operands first. */
void expr_walk(Arena *arena, const Expr *e, void (*visit)(void *user, const Expr *e), void *user);
size_t expr_count(Arena *arena, const Expr *e);

typedef struct ExprOpInfo {
    const char *name;      /* as in the language: "+", "min", "tanh" */
    uint8_t arity;         /* 255: variable */
    const char *signature; /* one letter an operand, then the result: "nnn" numbers alike; see expr_ops.def */
    bool infix, leaf, commutative;
    const char *int_meaning, *float_meaning; /* C expressions over a, b, c (p); "" when there is none */
    const char *meaning;   /* the one that stands for both in docs/ir.md: of floats, else of ints */
    const char *range, *derivative; /* names of the rules */
} ExprOpInfo;
extern const ExprOpInfo expr_op_info[EXPR_OP_COUNT];
/* The op with this language name and arity, or EXPR_OP_COUNT. */
ExprOp expr_op_named(const char *name, int arity);

/* Scalar values for the evaluators. Floats are computed in double or, for the tile interpreter, rounded to f32
 * after every operation. */
typedef union ExprValue { int64_t i; double f; } ExprValue;
typedef struct ExprEval {
    void *user;
    ExprValue (*leaf)(void *user, const Expr *e, const ExprValue *args); /* VAR, PARAM, INPUT, ELEM, ARG */
    bool round_f32;
} ExprEval;
/* Bound variables of reductions are bound by the evaluator itself; leaf sees only free ones. Integer / and %
 * floor; division by zero gives 0 (ints); shifts out of range give 0. */
ExprValue expr_eval(const ExprEval *eval, const Expr *e);

/* Canonical text of an expression (language syntax, names from the tables; parse-able by the language). */
typedef struct ExprNames {
    const char *const *params, *const *inputs;
    int rank; /* of the index space: how coordinates are spelt */
} ExprNames;
void expr_print(Text *out, const Expr *e, const ExprNames *names);

/* Intervals ---------------------------------------------------------------------------------------------- */

/* Symbolic interval [lo, hi] of a number, or may/must of a bool: for a bool, lo = "must be true",
 * hi = "may be true", neither is NULL. NULL lo or hi of a number: not known. */
typedef struct ExprRange { const Expr *lo, *hi; } ExprRange;
/* leaf(user, e) gives the range of a leaf (VAR, PARAM, INPUT, ..); one that does not vary returns {e, e}. */
ExprRange expr_range(ExprPool *pool, const Expr *e, ExprRange (*leaf)(void *user, const Expr *e), void *user);

/* d e / d leaf where leaf is any float leaf node (found by identity, also inside reductions); NULL when e takes
 * a maximum or minimum over a reduction of it. Steps have derivative zero. */
const Expr *expr_derive(ExprPool *pool, const Expr *e, const Expr *leaf);

#endif
