/* Segments: when heads are few, a sequence's segments run at once (as in LASP and in prefix scans of any kind).
 *
 *     phase "segment_states", each (b, h, segment of the keys):   what the segment adds to a state of zero, and its decay
 *     phase "segment_prefix", each (b, h):                        the states before the segments, one after another
 *     phase "scan", each (b, h, segment of the queries):          the chunk scan, from the state before the segment
 *
 * The keys are gone through twice. The delta rule erases what is in the state, so that what a segment does to it is a
 * matrix and no factor: it is not cut. */
#include "state.h"

typedef struct Segments {
    const Factor *factor;
    int sums[3], before[3],
        log; /* workspaces of s, z and count: what segments add, what lies before; or -1 */
} Segments;

static Inst *part_of(const State *state, int part)
{
    return part == 0 ? state->s : part == 1 ? state->z : state->count;
}

static int workspace(Lower *lower, const char *name, int64_t d, int64_t e)
{
    Tensor made = {.name = name, .elem = ELEM_TYPE_F32, .dim_count = 3};
    made.extent[0] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[1] = (Extent){.size = VAR_SIZE_H, .div_knob = -1, .div = 1, .mul = 1};
    made.extent[2] = address_segments(lower, false);
    if (d > 0)
        made.extent[made.dim_count++] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = d};
    if (e > 0)
        made.extent[made.dim_count++] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = e};
    return lower_workspace(lower, made);
}

static int part_indices(State *state, Scope *scope, Inst *segment, int part, Inst *indices[5])
{
    Lower *lower = state->lower;
    indices[0] = lower->batch;
    indices[1] = lower->head;
    indices[2] = segment;
    indices[3] = value_of(lower, scope, state->dc);
    indices[4] = value_of(lower, scope, state->ec);
    return 5 - part;
}

static void store_parts(State *state, Scope *scope, Inst *segment, const int *tensors)
{
    Inst *indices[5];
    for (int part = 0; part < 3; part++)
        if (tensors[part] >= 0)
            build_store(&scope->at, tensors[part], indices,
                        part_indices(state, scope, segment, part, indices), part_of(state, part), NULL);
}

static const Expr *quotient_up(ExprPool *pool, const Expr *a, const Expr *b)
{
    const Expr *more = expr_op2(pool, EXPR_SUB, b, expr_int(pool, 1));
    return expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_ADD, a, more), b);
}

/* Tokens of a segment. Where the launch says how many there are: whole chunks, of the longest sequence. */
static const Expr *segment_length(Lower *lower)
{
    ExprPool *pool = lower->pool;
    if (lower->segment >= 0)
        return expr_var(pool, VAR_KNOB(lower->segment), TYPE_INT);
    const Expr *chunk = expr_var(pool, VAR_KNOB(lower->chunk), TYPE_INT), *one = expr_int(pool, 1);
    const Expr *tokens = expr_op2(pool, EXPR_MAX, expr_var(pool, VAR_SIZE_M, TYPE_INT),
                                  expr_var(pool, VAR_SIZE_N, TYPE_INT));
    const Expr *chunks = quotient_up(pool, tokens, chunk);
    chunks = quotient_up(pool, chunks, expr_var(pool, VAR_SEGMENTS, TYPE_INT));
    const Expr *length = expr_op2(pool, EXPR_MUL, expr_op2(pool, EXPR_MAX, chunks, one), chunk);
    /* Over the launch's sizes, not the sequence's. */
    return value_name(lower, lower->root, build_map(&lower->root->at, length, NULL, 0), TYPE_INT);
}

static const Expr *key_begin(const Lower *lower)
{
    return lower->key_offset ? lower->key_offset : expr_int(lower->pool, 0);
}

static void states_phase(Lower *lower, Segments *segments)
{
    ExprPool *pool = lower->pool;
    const Spec *spec = lower->spec;
    Inst *segment = address_open_segments(lower, lower_phase(lower, "segment_states"), false);
    Scope *root = lower->root;
    State state = state_create(lower, segments->factor);
    state_vars(&state, root);
    if (spec->decay.kind != DECAY_NONE)
        state.log = build_var(&root->at, ELEM_TYPE_F32, &state.d, decay_by_channel(spec),
                              value_of(lower, root, expr_float(pool, 0)));
    const Expr *length = segment_length(lower), *keys = key_begin(lower);
    const Expr *begin = expr_op2(
        pool, EXPR_ADD, keys, expr_op2(pool, EXPR_MUL, value_name(lower, root, segment, TYPE_INT), length));
    const Expr *last = expr_op2(pool, EXPR_ADD, keys, expr_var(pool, VAR_SIZE_N, TYPE_INT));
    begin = value_name(lower, root, value_of(lower, root, begin), TYPE_INT);
    last = value_name(lower, root, value_of(lower, root, last), TYPE_INT);
    /* What the last segment adds is only asked for with the state behind it. */
    const Expr *end = expr_op2(pool, EXPR_ADD, begin, length);
    const Expr *idle = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, last, end),
                                expr_op2(pool, EXPR_LT, expr_var(pool, VAR_STATE, TYPE_INT), expr_int(pool, 2)));
    end = expr_op3(pool, EXPR_SELECT, idle, begin, expr_op2(pool, EXPR_MIN, last, end));
    end = value_name(lower, root, value_of(lower, root, end), TYPE_INT);
    scan_chunks(&state, root, begin, end, last, false);
    int64_t width = segments->factor->width->value.i;
    static const char *const names[2][3] = {{"segment_s", "segment_z", "segment_n"},
                                            {"before_s", "before_z", "before_n"}};
    for (int part = 0; part < 3; part++)
        for (int before = 0; before < 2; before++)
            (before ? segments->before : segments->sums)[part] =
                part_of(&state, part)
                    ? workspace(lower, names[before][part], part < 2 ? width : 0, part < 1 ? lower->Ev : 0)
                    : -1;
    store_parts(&state, root, segment, segments->sums);
    segments->log = -1;
    if (state.log) {
        Inst *indices[5];
        segments->log = workspace(lower, "segment_decay", decay_by_channel(spec) ? width : 0, 0);
        part_indices(&state, root, segment, 0, indices);
        build_store(&root->at, segments->log, indices, decay_by_channel(spec) ? 4 : 3, state.log, NULL);
    }
}

static void prefix_phase(Lower *lower, const Segments *segments)
{
    ExprPool *pool = lower->pool;
    address_open_rows(lower, lower_phase(lower, "segment_prefix"), VAR_H);
    Scope *root = lower->root;
    State state = state_create(lower, segments->factor);
    state_begin(&state, root);
    const Expr *length = segment_length(lower),
               *n = expr_var(pool, VAR_SIZE_N, TYPE_INT);
    const Expr *count =
        expr_op2(pool, EXPR_DIV,
                 expr_op2(pool, EXPR_ADD, n, expr_op2(pool, EXPR_SUB, length, expr_int(pool, 1))), length);
    Inst *loop =
        build_for(&root->at, value_of(lower, root, expr_int(pool, 0)), value_of(lower, root, count), false);
    root->at.before = loop;
    Scope *scope = scope_open(lower, root, loop->body, NULL);
    value_forget(lower);
    store_parts(&state, scope, loop, segments->before);
    Inst *indices[5], *factor = NULL;
    part_indices(&state, scope, loop, 0, indices);
    if (segments->log >= 0) {
        Inst *log =
            build_load(&scope->at, segments->log, indices, decay_by_channel(lower->spec) ? 4 : 3, NULL);
        factor = build_map(&scope->at, expr_op1(pool, EXPR_EXP, expr_arg(pool, 0, TYPE_FLOAT)), &log, 1);
    }
    for (int part = 0; part < 3; part++) {
        if (segments->sums[part] < 0)
            continue;
        int dims = part_indices(&state, scope, loop, part, indices);
        Inst *parts[] = {part_of(&state, part),
                         build_load(&scope->at, segments->sums[part], indices, dims, NULL), factor};
        const Expr *kept = expr_arg(pool, 0, TYPE_FLOAT);
        bool fades = factor && part < 2; /* numbers of keys do not */
        if (fades)
            kept = expr_op2(pool, EXPR_MUL, kept, expr_arg(pool, 2, TYPE_FLOAT));
        kept = expr_op2(pool, EXPR_ADD, kept, expr_arg(pool, 1, TYPE_FLOAT));
        build_set(&scope->at, part_of(&state, part), build_map(&scope->at, kept, parts, fades ? 3 : 2));
    }
    root->at.before = NULL;
    value_forget(lower);
    state_end(&state, root);
}

static void rows_phase(Lower *lower, const Segments *segments)
{
    ExprPool *pool = lower->pool;
    Inst *ordinal = address_open_segments(lower, lower_phase(lower, "scan"), true);
    Scope *root = lower->root;
    State state = state_create(lower, segments->factor);
    state_begin(&state, root);
    const Expr *length = segment_length(lower), *one = expr_int(pool, 1),
               *zero = expr_int(pool, 0);
    const Expr *keys = key_begin(lower), *n = expr_var(pool, VAR_SIZE_N, TYPE_INT),
               *offset = expr_var(pool, VAR_OFFSET, TYPE_INT);
    lower->row_first = expr_op2(pool, EXPR_MUL, value_name(lower, root, ordinal, TYPE_INT), length);
    lower->row_first = value_name(lower, root, value_of(lower, root, lower->row_first), TYPE_INT);
    lower->row_end = expr_op2(pool, EXPR_MIN, expr_op2(pool, EXPR_ADD, lower->row_first, length),
                              expr_var(pool, VAR_SIZE_M, TYPE_INT));
    lower->row_end = value_name(lower, root, value_of(lower, root, lower->row_end), TYPE_INT);

    /* From the last segment of keys that begins at or before the first row; rows before all keys start by themselves. */
    const Expr *at = expr_op2(pool, EXPR_ADD, offset, lower->row_first);
    const Expr *segment = expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_SUB, at, keys), length);
    const Expr *final = expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_SUB, n, one), length);
    segment = expr_op2(pool, EXPR_MAX, zero, expr_op2(pool, EXPR_MIN, segment, final));
    Inst *chosen = value_of(lower, root, segment);
    Inst *some = build_if(&root->at, value_of(lower, root, expr_op2(pool, EXPR_LT, zero, n)), false);
    root->at.before = some;
    Scope *inner = scope_open(lower, root, some->body, NULL);
    for (int part = 0; part < 3; part++) {
        if (segments->before[part] < 0)
            continue;
        Inst *indices[5];
        int dims = part_indices(&state, inner, chosen, part, indices);
        build_set(&inner->at, part_of(&state, part),
                  build_load(&inner->at, segments->before[part], indices, dims, NULL));
    }
    root->at.before = NULL;
    value_forget(lower);
    const Expr *begin = expr_op2(pool, EXPR_ADD, keys,
                                 expr_op2(pool, EXPR_MUL, value_name(lower, root, chosen, TYPE_INT), length));
    begin = value_name(lower, root, value_of(lower, root, expr_op2(pool, EXPR_MIN, begin, at)), TYPE_INT);
    const Expr *end = expr_op2(pool, EXPR_ADD, offset, lower->row_end);
    end = value_name(lower, root, value_of(lower, root, end), TYPE_INT);
    scan_chunks(&state, root, begin, end, end, true);
    lower->row_first = lower->row_end = NULL;
}

void segment_lower(Lower *lower, const Factor *factor, bool by_launch)
{
    Segments segments = {.factor = factor};
    lower->segment = by_launch ? -1 : program_knob(lower->program, "segment");
    states_phase(lower, &segments);
    prefix_phase(lower, &segments);
    rows_phase(lower, &segments);
}
