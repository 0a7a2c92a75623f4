/* Spec: the typed mathematics of one attention variant; no tile, no thread, no target.
 *
 *   q'_i = feature_q(q_i)  k'_j = feature_k(k_j)  v'_j = feature_v(v_j)
 *   s_ij = similarity(q'_i, k'_j)     t_ij = score(s_ij, ...)     A_i = { j : mask(...) }
 *   w_i = normalize({ t_ij : j in A_i })     o_i = output(sum_j w_ij v'_j)
 *
 * A row with an empty A_i gives o_i = 0 and lse = -inf. */
#ifndef ATTUNE_SPEC_H
#define ATTUNE_SPEC_H

#include "expr.h"

enum { SPEC_MAX_DIMS = 6, SPEC_MAX_RANK = 3, SPEC_MAX_INPUTS = 32, SPEC_MAX_PARAMS = 32 };

typedef enum ElemType { ELEM_TYPE_BOOL, ELEM_TYPE_I32, ELEM_TYPE_I64, ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16 } ElemType;
const char *elem_type_name(ElemType type); /* "f32" ... */
bool elem_type_parse(const char *name, ElemType *type); /* also fp32, float32, bfloat16, half, ... */
int elem_type_size(ElemType type);

/* What an input's dimension runs over. */
typedef enum DimKind {
    DIM_B, DIM_H, DIM_G,
    DIM_T,       /* tokens, by absolute position: extent N */
    DIM_I,       /* query rows: extent M */
    DIM_J,       /* keys: extent N */
    DIM_D, DIM_E, /* width of q/k, of v */
    DIM_EXTENT,  /* `extent`, an int Expr over params and sizes */
    DIM_FREE     /* a name used once or more (r, n): bound to the tensor's extent at launch */
} DimKind;
typedef struct SpecDim {
    DimKind kind;
    const char *name;   /* as written */
    const Expr *extent; /* in terms of VAR_SIZE_* and params; DIM_FREE: expr_param of a hidden int param that launch fills */
} SpecDim;

typedef struct SpecInput {
    const char *name;
    ElemType type;
    bool learned;
    int dim_count;
    SpecDim dims[SPEC_MAX_DIMS];
    Span span;
} SpecInput;

typedef struct SpecParam {
    const char *name;     /* vectors are split: "kernel.y", "kernel.x" (outermost axis first) */
    ExprType type;        /* INT, FLOAT or BOOL */
    bool constant;        /* `param const`: specialised, part of the kernel's key */
    bool hidden;          /* an extent that launch fills from a tensor's shape */
    bool has_default;
    ExprValue value;      /* default, or what --set / the API chose */
    Span span;
} SpecParam;

/* Per-token map of width `width`: channel VAR_C of the result, from ELEM_X, VAR_T*, VAR_B/H/G, inputs, params.
 * NULL body: the identity (width = D, or E for v). */
typedef struct SpecFeature { const Expr *body, *width; Span span; } SpecFeature;

typedef enum NormKind {
    NORM_SOFTMAX,  /* w = exp(t) / (sum exp(t) + [sink] exp(sink)) */
    NORM_NONE,     /* w = t */
    NORM_SUM,      /* w = t / max(sum t + eps, min) */
    NORM_MAGNITUDE, /* w = t / max(|sum t| + eps, min) */
    NORM_COUNT,    /* w = t / |A_i|^a */
    NORM_MOMENTS,  /* w = gain (t - mean t) / (std t + eps) + bias, over A_i */
    NORM_MAX,      /* o_i = max_j t_ij (v is not used; E = 1): MaxSim */
    NORM_ENTMAX    /* w = [(a - 1) t - tau]_+^(1 / (a - 1)), sum w = 1 */
} NormKind;
/* `normalize sigmoid` and other elementwise normalisers are NORM_NONE with the function applied to the score;
 * `elementwise` keeps the function's op for `explain`. */
typedef struct SpecNorm {
    NormKind kind;
    ExprOp elementwise;                          /* EXPR_OP_COUNT: none */
    const Expr *sink, *eps, *min, *power, *gain, *bias, *alpha; /* over B, H, G, params, sizes; NULL when absent */
    Span span;
} SpecNorm;

typedef enum DecayKind { DECAY_NONE, DECAY_SCALAR, DECAY_CHANNEL } DecayKind;
typedef struct SpecDecay {
    DecayKind kind;
    const Expr *log_step; /* log of the factor applied when passing token VAR_T0: over B, H, G, T0, params (and C for DECAY_CHANNEL) */
    const Expr *beta;     /* delta rule strength over B, H, G, T0, or NULL */
    Span span;
} SpecDecay;

typedef enum ReturnKind { RETURN_LSE, RETURN_MAX, RETURN_SUM, RETURN_KIND_COUNT } ReturnKind;
const char *return_kind_name(ReturnKind kind);

typedef struct Spec {
    Arena *arena;
    ExprPool *pool;
    const char *name;
    Span span;
    int rank;                          /* 1, 2, 3 */
    const char *axis_names[SPEC_MAX_RANK];
    SpecInput inputs[SPEC_MAX_INPUTS];
    int input_count;
    SpecParam params[SPEC_MAX_PARAMS];
    int param_count;
    SpecFeature feature_q, feature_k, feature_v;
    const Expr *similarity;            /* float, over ELEM_Q/ELEM_K (inside EXPR_SUM), I*, J*, ... */
    const Expr *score;                 /* float, over VAR_S and the rest */
    const Expr *mask;                  /* bool; true constant when absent */
    SpecNorm norm;
    SpecDecay decay;
    const Expr *output;                /* float, over ELEM_O(channel), VAR_C, I*; NULL: the row itself */
    bool returns[RETURN_KIND_COUNT];
    /* From `schedule TARGET { ... }` and, with target NULL and last, so that it wins, from --set. */
    struct { const char *key, *target; int64_t value; Span span; } schedule[16];
    int schedule_count;
} Spec;

/* Checked AST -> Spec is spec/check.h. */

/* A copy in which D, E and every `param const` are numbers. */
Spec *spec_specialize(Arena *arena, const Spec *spec, int64_t D, int64_t E);

/* Canonical text: equal mathematics gives equal text, whatever the names of defs, the spelling, the order of
 * commutative operands, comments. Its SHA-256 is the first part of a kernel's cache key. `const` params appear
 * with their values, other params by position. */
char *spec_canonical(const Spec *spec);
/* For people: the Spec after checking (dump letter s). */
char *spec_print(const Spec *spec);

#endif
