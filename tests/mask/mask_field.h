/* A mask laid out point by point for small sizes: the oracle that the tile classes and ranges are compared
 * with. */
#ifndef ATTUNE_TEST_MASK_FIELD_H
#define ATTUNE_TEST_MASK_FIELD_H

#include "compiler/attention/mask.h"
#include "compiler/spec/check.h"

typedef struct MaskField {
    Arena *arena;
    Spec *spec;
    int64_t m[SPEC_MAX_RANK], n[SPEC_MAX_RANK], M, N, offset, head, heads;
    unsigned char *visible; /* [M][N] */
    /* the box at hand, for evaluating expressions over its bounds */
    int64_t i_lo[SPEC_MAX_RANK], i_hi[SPEC_MAX_RANK], j_lo[SPEC_MAX_RANK], j_hi[SPEC_MAX_RANK];
    MaskBox box;
    MaskArrays arrays;
} MaskField;

/* NULL (after printing the diagnostics) when the text is not a legal spec. */
Spec *mask_field_spec(Arena *arena, const char *text);
/* Extents of queries and keys by axis; fills `visible` with the evaluator. */
void mask_field_create(MaskField *field, Arena *arena, Spec *spec, const int64_t *m, const int64_t *n,
                       int64_t offset, int64_t head, int64_t heads);
bool mask_field_at(const MaskField *field, const int64_t *i, const int64_t *j); /* positions */
int64_t mask_field_value(MaskField *field, const Expr *e);                      /* over the box at hand */

#endif
