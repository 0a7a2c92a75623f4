/* The mask: from one boolean predicate, everything that a kernel needs of it.
 *
 * For a tile (a box of query coordinates x a box of key coordinates) interval analysis of the predicate gives
 * two boolean expressions over the box's bounds: `may` (some pair may be visible) and `must` (all pairs are
 * visible). empty = !may, full = must, partial otherwise. Sound always; no N x N object anywhere. */
#ifndef ATTUNE_MASK_H
#define ATTUNE_MASK_H

#include "compiler/spec/spec.h"

/* Inclusive bounds of the box by axis (only the first `rank` entries), int Exprs: variables, tile scalars,
 * ... */
typedef struct MaskBox {
    const Expr *i_lo[SPEC_MAX_RANK], *i_hi[SPEC_MAX_RANK], *j_lo[SPEC_MAX_RANK], *j_hi[SPEC_MAX_RANK];
} MaskBox;

/* The range of a per-token array over the box: `input` is an EXPR_INPUT whose last index is the flat query or
 * key position (mask_array_side says which). NULLs: unknown. */
typedef struct MaskArrays { ExprRange (*range)(void *user, const Expr *input); void *user; } MaskArrays;
typedef enum MaskSide { MASK_SIDE_NONE, MASK_SIDE_QUERY, MASK_SIDE_KEY, MASK_SIDE_BOTH } MaskSide;
/* QUERY / KEY: the element at exactly this token (so that per-block minima and maxima bound it). BOTH:
 * anything else that varies inside a tile. NONE: the same for the whole tile. */
MaskSide mask_array_side(const Spec *spec, const Expr *input);

typedef struct MaskClass { const Expr *must, *may; } MaskClass;
MaskClass mask_classify(const Spec *spec, const MaskBox *box, const MaskArrays *arrays);

/* Bounds (inclusive lo, exclusive hi, by axis) outside which no key is visible to any query of the box (only
 * i_lo/i_hi are read), closed forms solved from the predicate; NULL: nothing better than the whole axis. */
typedef struct MaskHull { const Expr *lo[SPEC_MAX_RANK], *hi[SPEC_MAX_RANK]; } MaskHull;
MaskHull mask_key_range(const Spec *spec, const MaskBox *box, const MaskArrays *arrays);
/* The same for the queries that may see a key of the box (only j_lo/j_hi are read). */
MaskHull mask_query_range(const Spec *spec, const MaskBox *box, const MaskArrays *arrays);

#endif
