/* Random specs: a grammar over the whole language, as trees that print as .attn text and can be made smaller.
 *
 * Ill-conditioned mathematics is left out by construction: what decides (masks, conditions, indices) is computed from
 * ints, and from floats only where both sides are exact; every float expression carries a bound of its size and is
 * kept below 8; denominators stay away from zero; nothing is discontinuous in a rounded value. */
#ifndef ATTUNE_TESTS_RANDOM_SPEC_H
#define ATTUNE_TESTS_RANDOM_SPEC_H

#include "run_case.h"
#include "tests/support/random.h"

typedef enum GenKind { GEN_BOOL, GEN_INT, GEN_FLOAT, GEN_VECTOR, GEN_ITEM, GEN_LIST } GenKind;

/* `format` is the text, with %0 .. %3 for the children. */
typedef struct Gen {
    GenKind kind;
    const char *format;
    int count;
    struct Gen *child[4];
    double bound;          /* GEN_FLOAT: of the absolute value */
} Gen;

enum { GEN_MAX_ITEMS = 64 };

typedef struct RandomSpec {
    Arena *arena;
    Gen *items[GEN_MAX_ITEMS];  /* of the attention, in order; NULL: left out */
    int item_count;
    Gen *defs[GEN_MAX_ITEMS];
    int def_count;
    int rank;
    ElemType elem;
    CaseShape shape;
} RandomSpec;

RandomSpec *random_spec_create(Arena *arena, uint64_t seed);
char *random_spec_text(Arena *arena, const RandomSpec *spec);
/* Makes the spec and its shape smaller step by step as long as fails(user, spec) stays true. */
void random_spec_minimize(RandomSpec *spec, bool (*fails)(void *user, const RandomSpec *spec), void *user);

#endif
