/* Addresses: which rows of the tensors a tile holds.
 *
 * A tile is a box of coordinates: rank 1 a run of rows, rank 2 and 3 a box of the grid, so that neighbourhoods stay
 * compact. Element r of the tile has the local coordinates of r in the box (last axis fastest); its row is the flat
 * index of its coordinate; positions are coordinates plus the launch's offset (rank 1). Rows outside the sequence
 * or the grid are not `inside`: they load as zero and are never stored. */
#include "lower.h"

static const Expr *var(Lower *lower, int id)
{
    return expr_var(lower->pool, (VarId)id, TYPE_INT);
}

static const Expr *add(Lower *lower, const Expr *a, const Expr *b)
{
    return expr_op2(lower->pool, EXPR_ADD, a, b);
}

static const Expr *mul(Lower *lower, const Expr *a, const Expr *b)
{
    return expr_op2(lower->pool, EXPR_MUL, a, b);
}

/* The tile axis and its box sizes. */
static void side_declare(Lower *lower, TileSide *side, bool queries)
{
    static const char *const names[2][SPEC_MAX_RANK] = {{"block_n", "block_n1", "block_n2"}, {"block_m", "block_m1", "block_m2"}};
    const Expr *extent = expr_int(lower->pool, 1);
    for (int a = 0; a < lower->spec->rank; a++) {
        side->knobs[a] = program_knob(lower->program, names[queries][a]);
        extent = mul(lower, extent, var(lower, VAR_KNOB(side->knobs[a])));
    }
    side->axis = program_axis(lower->program, queries ? "m" : "n", extent);
    side->inside_name = expr_var(lower->pool, expr_fresh_bound(lower->pool), TYPE_BOOL);
}

static const Expr *axis_length(Lower *lower, bool queries, int a)
{
    return var(lower, (queries ? VAR_SIZE_M0 : VAR_SIZE_N0) + a);
}

static void side_bounds(Lower *lower, Scope *scope, TileSide *side, bool queries, Inst *const *tile)
{
    ExprPool *pool = lower->pool;
    for (int a = 0; a < lower->spec->rank; a++) {
        const Expr *knob = var(lower, VAR_KNOB(side->knobs[a]));
        const Expr *first = mul(lower, value_name(lower, scope, tile[a], TYPE_INT), knob);
        side->origin[a] = value_of(lower, scope, first);
        const Expr *last = expr_op2(pool, EXPR_SUB, expr_op2(pool, EXPR_MIN, add(lower, first, knob), axis_length(lower, queries, a)), expr_int(pool, 1));
        if (queries && lower->spec->rank == 1) {
            first = add(lower, first, var(lower, VAR_OFFSET));
            last = add(lower, last, var(lower, VAR_OFFSET));
        }
        side->lo[a] = value_name(lower, scope, value_of(lower, scope, first), TYPE_INT);
        side->hi[a] = value_name(lower, scope, value_of(lower, scope, last), TYPE_INT);
    }
}

static void side_rows(Lower *lower, Scope *scope, TileSide *side, bool queries)
{
    ExprPool *pool = lower->pool;
    int rank = lower->spec->rank;
    const Expr *local = value_name(lower, scope, build_index(&scope->at, side->axis), TYPE_INT);
    const Expr *row = expr_int(pool, 0), *inside = expr_bool(pool, true), *inner = expr_int(pool, 1);
    const Expr *coordinate[SPEC_MAX_RANK];
    for (int a = rank - 1; a >= 0; a--) {
        const Expr *knob = var(lower, VAR_KNOB(side->knobs[a]));
        const Expr *in_box = rank == 1 ? local : expr_op2(pool, EXPR_DIV, local, inner);
        if (a > 0)
            in_box = expr_op2(pool, EXPR_MOD, in_box, knob);
        inner = mul(lower, inner, knob);
        const Expr *at = add(lower, value_name(lower, scope, side->origin[a], TYPE_INT), in_box);
        coordinate[a] = value_name(lower, scope, value_of(lower, scope, at), TYPE_INT);
        inside = expr_op2(pool, EXPR_AND, inside, expr_op2(pool, EXPR_LT, coordinate[a], axis_length(lower, queries, a)));
    }
    for (int a = 0; a < rank; a++) {
        row = a == 0 ? coordinate[0] : add(lower, mul(lower, row, axis_length(lower, queries, a)), coordinate[a]);
        const Expr *position = coordinate[a];
        if (queries && rank == 1)
            position = add(lower, position, var(lower, VAR_OFFSET));
        else if (!queries && lower->key_offset)
            position = add(lower, position, lower->key_offset);
        scope_bind(lower, scope, var(lower, (queries ? VAR_I0 : VAR_J0) + a), value_of(lower, scope, position));
    }
    side->inside = value_of(lower, scope, inside);
    scope_bind(lower, scope, side->inside_name, side->inside);
    side->sequence_row = value_name(lower, scope, value_of(lower, scope, row), TYPE_INT);
    row = add(lower, row, value_name(lower, scope, queries ? lower->q_begin : lower->k_begin, TYPE_INT));
    side->row = value_name(lower, scope, value_of(lower, scope, row), TYPE_INT);
}

/* The grid's dimensions before the tiles; returns their number. */
static int open_heads(Phase *phase, int heads)
{
    phase->grid[0].name = "b";
    phase->grid[0].extent = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    if (heads < 0)
        return 1;
    phase->grid[1].name = heads == VAR_H ? "h" : "g";
    phase->grid[1].extent = (Extent){.size = heads == VAR_H ? VAR_SIZE_H : VAR_SIZE_G, .div_knob = -1, .div = 1, .mul = 1};
    return 2;
}

/* The work item's batch, head and sequence, at the start of the phase. */
static Builder open_sequence(Lower *lower, Phase *phase, int heads)
{
    Builder b = {.program = lower->program, .block = phase->body, .span = lower->spec->span, .label = "address"};
    lower->batch = build_grid_index(&b, 0);
    lower->head = heads >= 0 ? build_grid_index(&b, 1) : NULL;
    lower->q_begin = build_seq(&b, SEQ_Q_BEGIN, lower->batch);
    lower->q_length = build_seq(&b, SEQ_Q_LENGTH, lower->batch);
    lower->k_begin = build_seq(&b, SEQ_K_BEGIN, lower->batch);
    lower->k_length = build_seq(&b, SEQ_K_LENGTH, lower->batch);
    return b;
}

static void bind_root(Lower *lower, Block *body, int heads)
{
    ExprPool *pool = lower->pool;
    int rank = lower->spec->rank;
    value_begin_phase(lower, body);
    Scope *root = lower->root;
    root->at.span = lower->spec->span;
    root->at.label = "address";
    scope_bind(lower, root, var(lower, VAR_B), lower->batch);
    if (heads == VAR_H) {
        const Expr *h = var(lower, VAR_H);
        scope_bind(lower, root, h, lower->head);
        const Expr *group = expr_op2(pool, EXPR_DIV, var(lower, VAR_SIZE_H), var(lower, VAR_SIZE_G));
        scope_bind(lower, root, var(lower, VAR_G), value_of(lower, root, expr_op2(pool, EXPR_DIV, h, group)));
    } else if (heads == VAR_G) {
        scope_bind(lower, root, var(lower, VAR_G), lower->head);
    }
    scope_bind(lower, root, var(lower, VAR_SIZE_M), lower->q_length);
    scope_bind(lower, root, var(lower, VAR_SIZE_N), lower->k_length);
    if (rank == 1) {
        scope_bind(lower, root, var(lower, VAR_SIZE_M0), lower->q_length);
        scope_bind(lower, root, var(lower, VAR_SIZE_N0), lower->k_length);
    }
    if (lower->when) {
        Inst *taken = build_if(&root->at, value_of(lower, root, lower->when), false);
        root->at.before = taken;
        lower->root = scope_open(lower, root, taken->body, NULL);
        value_forget(lower);
    }
}

void address_open_rows(Lower *lower, Phase *phase, int heads)
{
    lower->q = lower->k = (TileSide){0};
    phase->grid_count = open_heads(phase, heads);
    open_sequence(lower, phase, heads);
    bind_root(lower, phase->body, heads);
}

void address_declare(Lower *lower)
{
    side_declare(lower, &lower->q, true);
    side_declare(lower, &lower->k, false);
}

void address_open(Lower *lower, Phase *phase, bool queries, int heads)
{
    ExprPool *pool = lower->pool;
    int rank = lower->spec->rank;
    TileSide *side = queries ? &lower->q : &lower->k;
    lower->q = lower->k = (TileSide){0};
    for (int a = 0; a < rank; a++)
        lower->query_tile[a] = lower->key_tile[a] = NULL;
    address_declare(lower);

    int count = open_heads(phase, heads);
    int first_tile = count;
    for (int a = 0; a < rank; a++) {
        static const char *const names[] = {"tile", "tile1", "tile2"};
        phase->grid[count].name = names[a];
        phase->grid[count++].extent = (Extent){.size = (queries ? VAR_SIZE_M0 : VAR_SIZE_N0) + a, .div_knob = side->knobs[a], .div = 1, .mul = 1};
    }
    phase->grid_count = count;

    Builder b = open_sequence(lower, phase, heads);
    Inst **tile = queries ? lower->query_tile : lower->key_tile;
    for (int a = 0; a < rank; a++)
        tile[a] = build_grid_index(&b, first_tile + a);
    Block *body = phase->body;
    if (rank == 1) { /* the grid covers the longest sequence; shorter ones have no such tile */
        const Expr *knob = var(lower, VAR_KNOB(side->knobs[0]));
        const Expr *live = expr_op2(pool, EXPR_LT, mul(lower, expr_arg(pool, 0, TYPE_INT), knob), expr_arg(pool, 1, TYPE_INT));
        Inst *args[] = {tile[0], queries ? lower->q_length : lower->k_length};
        body = build_if(&b, build_map(&b, live, args, 2), false)->body;
    }

    bind_root(lower, body, heads);
    Scope *root = lower->root;
    side_bounds(lower, root, side, queries, tile);
    side_rows(lower, root, side, queries);
}

void address_bind_key_bounds(Lower *lower, Scope *bounds, Inst *const *tile)
{
    for (int a = 0; a < lower->spec->rank; a++)
        lower->key_tile[a] = tile[a];
    side_bounds(lower, bounds, &lower->k, false, tile);
}

void address_bind_key_rows(Lower *lower, Scope *rows)
{
    side_rows(lower, rows, &lower->k, false);
}

/* Chunks ------------------------------------------------------------------------------------------------------- */

void address_open_chunks(Lower *lower, Phase *phase, const char *knob, int64_t chunk)
{
    address_open_rows(lower, phase, VAR_H);
    lower->chunk = program_knob(lower->program, knob);
    if (lower->program->knobs[lower->chunk].value == 0)
        lower->program->knobs[lower->chunk].value = chunk;
}

Extent address_segments(const Lower *lower, bool queries)
{
    Extent extent = {.size = queries ? VAR_SIZE_M : VAR_SIZE_N, .div = 1, .mul = 1};
    extent.div_knob = lower->segment;
    if (lower->segment < 0)
        extent.size = VAR_SEGMENTS;
    return extent;
}

Inst *address_open_segments(Lower *lower, Phase *phase, bool queries)
{
    lower->q = lower->k = (TileSide){0};
    phase->grid_count = open_heads(phase, VAR_H) + 1;
    phase->grid[phase->grid_count - 1].name = "segment";
    phase->grid[phase->grid_count - 1].extent = address_segments(lower, queries);
    Builder b = open_sequence(lower, phase, VAR_H);
    Inst *segment = build_grid_index(&b, phase->grid_count - 1);
    bind_root(lower, phase->body, VAR_H);
    lower->chunk = program_knob(lower->program, "chunk");
    return segment;
}

/* Ordinals are known in the root: what depends on them alone is the same for all chunks. */
static const Expr *chunk_local(Lower *lower, const char *axis)
{
    int at = program_axis(lower->program, axis, var(lower, VAR_KNOB(lower->chunk)));
    return value_name(lower, lower->root, build_index(&lower->root->at, at), TYPE_INT);
}

const Expr *address_bind_chunk_queries(Lower *lower, Scope *scope, const Expr *first)
{
    ExprPool *pool = lower->pool;
    const Expr *local = chunk_local(lower, "i"), *position = add(lower, first, local);
    TileSide *side = &lower->q;
    *side = (TileSide){.axis = program_axis(lower->program, "i", NULL), .inside_name = expr_var(pool, expr_fresh_bound(pool), TYPE_BOOL)};
    value_forget(lower);
    scope_bind(lower, scope, var(lower, VAR_I0), value_of(lower, scope, position));
    const Expr *row = expr_op2(pool, EXPR_SUB, position, var(lower, VAR_OFFSET));
    side->sequence_row = value_name(lower, scope, value_of(lower, scope, row), TYPE_INT);
    const Expr *inside = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, expr_int(pool, 0), side->sequence_row),
                                  expr_op2(pool, EXPR_LT, side->sequence_row, var(lower, VAR_SIZE_M)));
    if (lower->row_first) /* the rows of one segment */
        inside = expr_op2(pool, EXPR_AND, inside, expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, lower->row_first, side->sequence_row),
                                                           expr_op2(pool, EXPR_LT, side->sequence_row, lower->row_end)));
    side->inside = value_of(lower, scope, inside);
    scope_bind(lower, scope, side->inside_name, side->inside);
    row = add(lower, side->sequence_row, value_name(lower, lower->root, lower->q_begin, TYPE_INT));
    side->row = value_name(lower, scope, value_of(lower, scope, row), TYPE_INT);
    return local;
}

const Expr *address_bind_chunk_keys(Lower *lower, Scope *scope, const Expr *first, const char *axis)
{
    ExprPool *pool = lower->pool;
    const Expr *local = chunk_local(lower, axis), *position = add(lower, first, local);
    TileSide *side = &lower->k;
    *side = (TileSide){.axis = program_axis(lower->program, axis, NULL), .inside_name = expr_var(pool, expr_fresh_bound(pool), TYPE_BOOL)};
    value_forget(lower);
    Inst *at = value_of(lower, scope, position);
    scope_bind(lower, scope, var(lower, VAR_J0), at);
    side->sequence_row = value_name(lower, scope, at, TYPE_INT);
    if (lower->key_offset) {
        const Expr *from_first = expr_op2(pool, EXPR_SUB, side->sequence_row, lower->key_offset);
        side->sequence_row = value_name(lower, scope, value_of(lower, scope, from_first), TYPE_INT);
    }
    const Expr *inside = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, expr_int(pool, 0), side->sequence_row),
                                  expr_op2(pool, EXPR_LT, side->sequence_row, var(lower, VAR_SIZE_N)));
    side->inside = value_of(lower, scope, inside);
    scope_bind(lower, scope, side->inside_name, side->inside);
    const Expr *row = add(lower, side->sequence_row, value_name(lower, lower->root, lower->k_begin, TYPE_INT));
    side->row = value_name(lower, scope, value_of(lower, scope, row), TYPE_INT);
    return local;
}
