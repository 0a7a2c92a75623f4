/* Expressions as short straight-line code over lanes: how the reference evaluates a Spec quickly enough to be
 * run over thousands of small cases. Internal to reference*.c.
 *
 * A RefCode evaluates one expression for a row (a query, or a token) and up to REF_LANES lanes of it (keys,
 * or channels). Each node is evaluated at the outermost stage that its leaves allow: once per head, once per
 * row, or per lane; a reduction's body holds only what depends on its bound variable. No mathematics is
 * special: the only shortcut is a tight loop for sum(c, q[c] * k[c]), which gives the same sum. */
#ifndef ATTUNE_REFERENCE_CODE_H
#define ATTUNE_REFERENCE_CODE_H

#include "reference.h"

enum { REF_LANES = 64 };

typedef enum RefLaneKind { REF_LANES_NONE, REF_LANES_KEYS, REF_LANES_CHANNELS } RefLaneKind;

/* What the leaves read. */
typedef struct RefEnv {
    const Spec *spec;
    const RefProblem *problem;
    bool plain;                      /* round every float to f32 */
    int64_t b, h, g, M, N;           /* of the sequence at hand */
    int64_t base_q, base_k;          /* ragged: where its rows begin */
    int64_t m_axis[SPEC_MAX_RANK], n_axis[SPEC_MAX_RANK];
    int64_t input_extent[SPEC_MAX_INPUTS][SPEC_MAX_DIMS];
    int64_t position[SPEC_MAX_RANK]; /* I* or T* of the row */
    const double *q, *k;             /* q' of the row; k' of all keys, k_width apart */
    int64_t q_width, k_width;
    const double *x;                 /* raw rows of all tokens, x_width apart */
    int64_t x_width, x_row;
    const double *o;                 /* the finished row */
    int64_t o_width;
    const double *s;                 /* similarity by key */
} RefEnv;

typedef struct RefCode RefCode;

RefCode *ref_code_build(Arena *arena, const Expr *e, RefLaneKind lanes);
/* After the head, the sequence or the problem changed. */
void ref_code_head(RefCode *code, const RefEnv *env);
/* After the row changed. */
void ref_code_row(RefCode *code, const RefEnv *env);
/* Values of `count` <= REF_LANES lanes from `first` on: element l is result[l * *stride]. */
const ExprValue *ref_code_lanes(RefCode *code, const RefEnv *env, int64_t first, int count, int *stride);
/* All three, for an expression without lanes. */
double ref_code_scalar(RefCode *code, const RefEnv *env);

/* Rounds to what the type can hold (nearest, ties to even). */
double ref_round(double value, ElemType type);
/* Element `index` of stored data. */
double ref_load(const void *data, ElemType type, int64_t index);

/* Extents of every input's dimensions for the sequence at hand. */
void ref_input_extents(RefEnv *env);

#endif
