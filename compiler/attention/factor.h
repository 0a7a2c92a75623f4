/* Factorisation: whether the weights of a Spec are phi(q_i) . phi(k_j) times a decay, so that the rows can be had from
 * a state (a sum over the keys) instead of from all pairs; and which lowering is taken. */
#ifndef ATTUNE_FACTOR_H
#define ATTUNE_FACTOR_H

#include "compiler/spec/spec.h"

typedef enum Lowering {
    LOWERING_AUTO,
    LOWERING_QUADRATIC, /* every pair, tile by tile */
    LOWERING_CHUNKED, /* a state between chunks, pairs inside them; without an order: one state of all keys */
    LOWERING_RECURRENT, /* the state, token by token */
    LOWERING_COUNT
} Lowering;
const char *lowering_name(Lowering lowering);

/* t_ij = query_scale(i) key_scale(j) sum over `channel` of query(i, channel) key(j, channel), for the pairs where
 * query_seen(i) and key_seen(j) and, when ordered, j <= i. */
typedef struct Factor {
    const char *reason; /* why the weights do not factorise; NULL: they do */
    Span span;          /* what the reason speaks of */
    bool ordered;       /* by the mask or by a decay */
    bool mask_ordered;
    bool polynomial; /* the channels are those of (1, x, x x) */
    VarId channel;
    const Expr *width;                   /* of the channel */
    const Expr *query, *key;             /* over ELEM_Q(channel), ELEM_K(channel) */
    const Expr *query_scale, *key_scale; /* NULL: 1 */
    const Expr *query_seen, *key_seen;   /* NULL: always */
} Factor;
Factor factor_recognise(Arena *arena, const Spec *spec);

typedef struct LoweringChoice {
    Lowering lowering; /* LOWERING_COUNT: what was asked for is not possible, `why` says why */
    const char *why;
    Span span;
    Factor factor;
} LoweringChoice;
/* `asked`: LOWERING_AUTO or what the schedule forces. `states`: the target is fast with states. */
LoweringChoice factor_choose(Arena *arena, const Spec *spec, Lowering asked, bool states);
/* What the schedule asks of a target of this name. */
Lowering factor_asked(const Spec *spec, const char *target);

/* What the two forms cost on a target, in products of one channel: a row of the quadratic form T / 2 (d + e) and
 * `row` (d + e) besides, one of the chunked form `rate` times chunk (d + e) + 2 d e. Zeros: not known. */
typedef struct LinearCost {
    double rate, row;
    int64_t chunk;
} LinearCost;
/* From this many queries and keys on the chunked form of an ordered Spec takes less time than the quadratic one, for
 * features of width d and values of width e. */
int64_t factor_crossover(int64_t d, int64_t e, LinearCost cost);

#endif
