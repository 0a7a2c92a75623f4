/* States: what the linear lowerings carry instead of the keys. Shared by scan.c, delta.c and whole.c.
 *
 *     s [d, e] = sum psi(k_j) v_j^T    z [d] = sum psi(k_j)    count = number of keys,   each decayed up to here */
#ifndef ATTUNE_STATE_H
#define ATTUNE_STATE_H

#include "factor.h"
#include "lower.h"

typedef struct State {
    Lower *lower;
    ExprPool *pool;
    const Factor *factor;
    int d, e;            /* axes */
    const Expr *dc, *ec; /* channels along them */
    bool wants_sum;      /* z is kept: the normaliser or a return needs the sum of the weights */
    bool wants_count;    /* how many keys a row sees is needed */
    Inst *s, *z, *count; /* vars; z and count may be NULL */
    Inst *log;           /* var: sum of the logs of the decays, [] or [d]; NULL unless asked for */
} State;

/* Axes and needs; opens no var. In the phase that is open. */
State state_create(Lower *lower, const Factor *factor);
/* The vars, from zero or the state that the launch continues from, at the end of the scope. */
void state_begin(State *state, Scope *scope);
/* The vars alone, from zero. */
void state_vars(State *state, Scope *scope);
/* Hands the state on when the launch asks for it. */
void state_end(State *state, Scope *scope);
/* Declares the tensors that states come from and go to, unless something looks back past the first token. Before any
 * phase: positions then count from the state's last token. */
void state_declare(Lower *lower, const Factor *factor);

/* psi(k_j), phi(q_i) and v'_j over the rows that are bound: [rows, d], [rows, d], [rows, e]. */
Inst *state_key(State *state, Scope *scope);
Inst *state_query(State *state, Scope *scope);
Inst *state_value(State *state, Scope *scope);
/* Conditions of one side as factors 0 or 1 [rows]: the row exists and the mask lets it take part. */
const Expr *state_key_seen(State *state, Scope *scope);
const Expr *state_query_seen(State *state, Scope *scope);
/* The number of keys that a query sees, from its position alone; NULL when the keys have conditions of their own. */
const Expr *state_count_closed(State *state);
/* Divides by what the normaliser asks for and stores the rows; `weights` [rows] and `count` [rows] may be NULL. */
void state_finish(State *state, Scope *scope, Inst *acc, Inst *weights, Inst *count);

/* decay.c: logs of the decays inside a chunk ---------------------------------------------------------------- */
typedef struct ChunkDecay {
    State *state;
    const Expr *step;   /* log of one step where it is the same for all tokens of a head; else NULL */
    const Expr *tokens; /* variable: number of steps that the chunk takes */
    Inst *steps;        /* [t] or [t, d]: log of each token's step, 0 past the last token */
    const Expr *local;  /* variable: ordinal in the chunk along t */
    Inst *total;        /* [] or [d]: the sum of them */
} ChunkDecay;
/* `first` and `end`: positions; the chunk takes the steps of [first, min(first + chunk, end)). NULL: no decay. */
ChunkDecay *decay_open(State *state, Scope *chunk, const Expr *first, const Expr *end);
/* Sums of the logs from the chunk's start up to and with the tokens along an axis, whose ordinal is `local`:
 * [axis] or [axis, d]. */
Inst *decay_sums(ChunkDecay *decay, Scope *scope, const Expr *local);
bool decay_by_channel(const Spec *spec);

/* scan.c: the keys of a chunk ----------------------------------------------------------------------------------- */
typedef struct Chunk {
    Scope *scope;
    const Expr *first;     /* variable: position */
    ChunkDecay *decay;     /* or NULL */
    const Expr *key_local; /* ordinals along j */
    Inst *key, *value;     /* [j, d], [j, e]; the delta rule: what it writes */
    Inst *value_sum;       /* [j]: what it writes in the place of 1; NULL: 1 */
    Inst *key_sums;        /* G_j: [j] or [j, d] */
    const Expr *key_seen;
} Chunk;

/* delta.c: replaces `value` and `value_sum` of the chunk by what the delta rule writes. */
void delta_solve(State *state, Chunk *chunk);
/* sum over d of a [x, d] b [y, d] exp(at_a - at_b), 0 unless `before`: the similarity of two rows of a chunk under a
 * decay by channel; a plain product without one. */
Inst *scan_similarity(State *state, Scope *scope, Inst *a, Inst *b, Inst *sums_a, Inst *sums_b,
                      const Expr *before);

/* The lowerings ------------------------------------------------------------------------------------------------ */
void scan_lower(Lower *lower, const Factor *factor,
                bool recurrent); /* scan.c: ordered; in chunks or token by token */
/* Chunks of [begin, end) in order, which goes on from the state's vars; `last`: positions from here on take no step of
 * the decay. With queries the rows that stand there are made and stored. */
void scan_chunks(State *state, Scope *root, const Expr *begin, const Expr *end, const Expr *last,
                 bool queries);
/* segment.c: ordered, segments at once, as many as the launch says or of a length that is a knob */
void segment_lower(Lower *lower, const Factor *factor, bool by_launch);
void whole_lower(Lower *lower, const Factor *factor);   /* whole.c: without an order */

#endif
