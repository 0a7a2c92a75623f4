/* Lowering: Spec -> Program at stage LOGICAL. What the files of this folder share; forward.c is the one door. */
#ifndef ATTUNE_LOWER_H
#define ATTUNE_LOWER_H

#include "compiler/tile/tile.h"
#include "factor.h"
#include "mask.h"

/* A nesting level in which values are computed. A value belongs to the outermost scope where all that it needs is
 * known, so whatever does not depend on the key tile is computed before the key loop. */
typedef struct Scope Scope;
struct Scope {
    Scope *outer;
    int depth;
    Builder at;
    struct ScopeEntry { const Expr *e; Inst *inst; } *entries;
    int count, capacity; /* open-addressed by Expr id; capacity is a power of two */
};

/* One side (queries or keys) of the tile at hand. */
typedef struct TileSide {
    int axis;                        /* "m" or "n" */
    int knobs[SPEC_MAX_RANK];        /* the tile's box */
    Inst *origin[SPEC_MAX_RANK];     /* scalar: first coordinate of the box */
    const Expr *lo[SPEC_MAX_RANK], *hi[SPEC_MAX_RANK]; /* inclusive bounds of positions, as bound variables */
    Inst *inside;                    /* bool[axis]: the row exists */
    const Expr *inside_name;         /* the same as a variable, bound anew with the rows of every scope */
    const Expr *row;                 /* variable: row in the tensors, int[axis] */
    const Expr *sequence_row;        /* variable: row counted from the sequence's first */
} TileSide;

typedef struct Lower {
    Arena *arena;
    Diag *diag;
    const Spec *spec;                /* specialised: D, E and const params are numbers */
    Program *program;
    ExprPool *pool;
    ElemType elem;
    int64_t D, E, Dk, Ev;            /* widths as given; after the feature maps */
    /* the phase being built */
    Scope *root;
    TileSide q, k;
    Inst *query_tile[SPEC_MAX_RANK], *key_tile[SPEC_MAX_RANK]; /* scalar ordinals of the tile at hand */
    Inst *batch, *head;
    Inst *q_length, *k_length, *q_begin, *k_begin;
    struct ValueInfo *info;          /* by Expr id, of this phase */
    uint32_t info_count;
    struct ValueAlias *aliases;      /* bound variables that stand for another axis in some reductions */
    Inst *output_row;                /* the finished row, while `output` is lowered */
    int tensor_q, tensor_k, tensor_v, tensor_o;     /* Program tensors; k and v may be workspaces */
    int tensor_input[SPEC_MAX_INPUTS], tensor_return[RETURN_KIND_COUNT];
    int tensor_decay, tensor_decay_q; /* prefix sums of log decays at the keys and at the queries, or -1 */
    struct MaskTable *tables;        /* block minima and maxima */
    int table_count;
    int chunk, segment;              /* knobs of the linear lowerings; segment -1: the launch says how many */
    const Expr *when;                /* over sizes: whether a sequence takes the form at hand; NULL: it does */
    const Expr *row_first, *row_end; /* rows of the queries of a segment; NULL: all */
    const Expr *key_offset;          /* position of key row 0 and of tokens' index 0; NULL: 0 */
    int tensor_state[2];             /* STATE_IN, STATE_OUT; -1: states cannot be handed over */
} Lower;

/* value.c ---------------------------------------------------------------------------------------------------- */
Scope *scope_open(Lower *lower, Scope *outer, Block *block, Inst *before);
/* From here on leaf `e` has this value inside the scope. */
void scope_bind(Lower *lower, Scope *scope, const Expr *e, Inst *inst);
/* Starts a phase: a root scope with nothing bound. */
void value_begin_phase(Lower *lower, Block *block);
/* The value of an Expr over the tile; all its leaves must be bound or be inputs, params, sizes. */
Inst *value_of(Lower *lower, Scope *scope, const Expr *e);
/* Forgets where values belong: called when the nest of scopes changes. Values that were made stay known. */
void value_forget(Lower *lower);
Inst *value_rounded(Lower *lower, Scope *scope, const Expr *e, ElemType elem);
/* The axis over which a variable of a reduction runs; made on first use. Binds the variable. */
int value_bind_axis(Lower *lower, VarId bound, const char *name, int64_t extent);
/* A fresh variable bound to an instruction. */
const Expr *value_name(Lower *lower, Scope *scope, Inst *inst, ExprType type);
/* The same in the outermost scope that knows the instruction, so that what depends on it alone is computed there. */
const Expr *value_name_outer(Lower *lower, Scope *scope, Inst *inst, ExprType type);
/* Element (b, h, row, channel) of a Program tensor as a leaf. */
const Expr *value_element(Lower *lower, int tensor, const Expr *head, const Expr *row, const Expr *channel);

/* address.c: where a tile's rows are -------------------------------------------------------------------------- */
/* Opens a phase over (b, head, tiles of the queries or of the keys): binds B, lengths, the tile's rows and, by
 * `heads` (VAR_H, VAR_G or -1: no head dimension), H and G. */
void address_open(Lower *lower, Phase *phase, bool queries, int heads);
/* Opens a phase over (b, head) alone, for work that is serial along the sequence. */
void address_open_rows(Lower *lower, Phase *phase, int heads);
/* Opens a phase over (b, head, segments of the queries or of the keys); gives the segment's ordinal. */
Extent address_segments(const Lower *lower, bool queries); /* how many there are */
Inst *address_open_segments(Lower *lower, Phase *phase, bool queries);
/* Tile axes and boxes of both sides; part of address_open. */
void address_declare(Lower *lower);
/* Opens a phase over (b, head) that goes through the positions in chunks, whose size is a knob (0: not chosen yet). The queries and the keys that stand at the positions from `first` on: rows, VAR_I0 or VAR_J0, along axis "i" or the
 * named one. Give the rows' ordinal in the chunk. */
void address_open_chunks(Lower *lower, Phase *phase, const char *knob, int64_t chunk);
const Expr *address_bind_chunk_queries(Lower *lower, Scope *scope, const Expr *first);
const Expr *address_bind_chunk_keys(Lower *lower, Scope *scope, const Expr *first, const char *axis);
/* A key tile: `bounds` gets the scalars (origin, inclusive position bounds), `rows` the per-key values (J*, row,
 * inside), so that a tile that turns out to be empty costs only the scalars. */
void address_bind_key_bounds(Lower *lower, Scope *bounds, Inst *const *tile);
void address_bind_key_rows(Lower *lower, Scope *rows);

/* feature.c: per-token maps ------------------------------------------------------------------------------------ */
/* Adds the phases that materialise k' and v', and with `queries` q' of this width (each when it is not the identity),
 * and notes their tensors. */
void feature_materialize(Lower *lower, bool queries, int64_t q_width);
/* q', k', v' in terms of tensor elements: replaces ELEM_Q, ELEM_K, ELEM_V. */
const Expr *feature_expand(Lower *lower, const Expr *e);
/* The element of v' at (key row, axis e). */
const Expr *feature_value_element(Lower *lower, const Expr *channel);

/* score.c: similarity, score, decay ------------------------------------------------------------------------------ */
/* t_ij over the tile; float [m, n]. */
Inst *score_tile(Lower *lower, Scope *scope);
/* Adds the phase that sums log decays along the sequence, when there are any that vary by token. */
void score_prepare_decay(Lower *lower);

/* forward.c ------------------------------------------------------------------------------------------------------ */
/* One sweep over the visible key tiles: for each, body(user, scope, t, visible) with t the scores (masked ones are
 * `fill`) and, when wants_visible, visible = 1.0 or 0.0 [m, n]. */
typedef void SweepBody(Lower *lower, Scope *scope, Inst *t, Inst *visible, void *user);
void forward_sweep(Lower *lower, Scope *scope, double fill, bool wants_visible, SweepBody *body, void *user);
/* A phase and a workspace of the Program (its ordinal is set here); too many are an error. */
Phase *lower_phase(Lower *lower, const char *name);
int lower_workspace(Lower *lower, Tensor tensor);
/* Applies `output` to the rows of lower->q and stores them and what is returned. `empty`: rows without a key; only
 * read with an `output`. */
void forward_store(Lower *lower, Scope *scope, Inst *o, Inst *const *returns, Inst *empty);
/* What the target and the schedule say about the form. */
typedef struct LowerOptions {
    Lowering lowering;
    bool states;                     /* states are fast on the target */
    LinearCost cost;                 /* known: short sequences take the quadratic form at launch, unless asked otherwise */
    bool segments;                   /* ordered linear forms: sequences are cut into segments that run at once, */
    bool launch_segments;            /* as many as the launch says, not of a length that is a knob */
    bool stored_queries;             /* products read queries from memory: q' is materialised like k' */
} LowerOptions;
/* The Program for one storage type and pair of widths, or NULL with diagnostics. */
Program *forward_lower(Arena *arena, Diag *diag, const Spec *spec, ElemType elem, int64_t D, int64_t E, LowerOptions options);

/* normalize.c: the row monoid ------------------------------------------------------------------------------------- */
/* Runs the sweeps that the normaliser needs; gives the finished row o [m, e], the row statistics asked for and, when
 * the spec has an `output`, which rows saw no key (bool [m]). */
Inst *normalize_rows(Lower *lower, Scope *scope, Inst **returns, Inst **empty);

/* The type that weights are rounded to before they meet v: the storage type, as a plain run does. Weights that are not
 * divided yet have no bound and would overflow f16: they stay f32. */
ElemType normalize_weight_elem(const Lower *lower);
/* o [m, e] of none, sum and count from the weighted sum, the sum of the weights and the number of keys (the last two
 * NULL where the normaliser does not read them). */
Inst *normalize_linear(Lower *lower, Scope *scope, Inst *acc, Inst *weights, Inst *count);

/* mask tables: block minima and maxima of per-token arrays that the predicate reads ------------------------------ */
void mask_tables_prepare(Lower *lower);
typedef struct MaskTableUse { Lower *lower; Scope *scope; } MaskTableUse; /* scope: where tile scalars are known */
ExprRange mask_tables_range(void *user, const Expr *input); /* a MaskArrays.range; user is a MaskTableUse */

#endif
