/* Forward: the door of lowering, and the skeleton of every kernel of the quadratic form.
 *
 *     for each (b, h, query tile):
 *         for each key tile that the mask can reach: skip it when empty, else
 *             t = score(similarity(q', k'));  masked pairs get the normaliser's fill;  the normaliser's step
 *         o = output(finish)
 *
 * Nothing has the size M x N: the mask is asked per tile, from its predicate. */
#include <math.h>
#include <string.h>

#include "lower.h"
#include "state.h"

static Inst *scalar_int(Lower *lower, Scope *scope, int64_t value)
{
    return value_of(lower, scope, expr_int(lower->pool, value));
}

/* Tile ordinals [lo, hi) along one key axis that the hull leaves. */
static void key_tiles(Lower *lower, Scope *scope, const MaskHull *hull, int a, Inst **lo, Inst **hi)
{
    ExprPool *pool = lower->pool;
    const Expr *knob = expr_var(pool, VAR_KNOB(lower->k.knobs[a]), TYPE_INT);
    const Expr *length = expr_var(pool, VAR_SIZE_N0 + a, TYPE_INT);
    const Expr *zero = expr_int(pool, 0);
    *lo = scalar_int(lower, scope, 0);
    if (hull->lo[a])
        *lo = value_of(lower, scope, expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_MAX, hull->lo[a], zero), knob));
    const Expr *end = hull->hi[a] ? expr_op2(pool, EXPR_MIN, hull->hi[a], length) : length;
    const Expr *tiles = expr_op2(pool, EXPR_DIV, expr_op2(pool, EXPR_ADD, end, expr_op2(pool, EXPR_SUB, knob, expr_int(pool, 1))), knob);
    *hi = value_of(lower, scope, tiles);
}

static const Expr *select_expr(ExprPool *pool, const Expr *c, const Expr *a, const Expr *b)
{
    return expr_op3(pool, EXPR_SELECT, c, a, b);
}

/* The tile's body, where it is known not to be empty. */
static void sweep_tile(Lower *lower, Scope *tile, Inst *full, double fill, bool wants_visible, SweepBody *body, void *user)
{
    ExprPool *pool = lower->pool;
    int axes[] = {lower->q.axis, lower->k.axis};
    address_bind_key_rows(lower, tile);
    Inst *t = build_var(&tile->at, ELEM_TYPE_F32, axes, 2, score_tile(lower, tile));
    Inst *visible = NULL;
    tile->at.label = "mask";
    tile->at.span = lower->spec->mask->span;
    if (wants_visible)
        visible = build_var(&tile->at, ELEM_TYPE_F32, axes, 2, value_of(lower, tile, expr_float(pool, 1)));
    const Expr *is_full = expr_arg(pool, 0, TYPE_BOOL);
    Inst *partial = build_if(&tile->at, build_map(&tile->at, expr_op1(pool, EXPR_NOT, is_full), &full, 1), false);
    tile->at.before = partial;
    Scope *masked = scope_open(lower, tile, partial->body, NULL);
    /* The keys are bound anew so that what only the element test needs is computed inside this branch. */
    TileSide keys = lower->k;
    value_forget(lower);
    address_bind_key_rows(lower, masked);
    const Expr *inside = value_name(lower, masked, lower->k.inside, TYPE_BOOL);
    Inst *seen = value_of(lower, masked, expr_op2(pool, EXPR_AND, feature_expand(lower, lower->spec->mask), inside));
    Inst *args[] = {seen, t};
    build_set(&masked->at, t, build_map(&masked->at, select_expr(pool, is_full, expr_arg(pool, 1, TYPE_FLOAT), expr_float(pool, fill)), args, 2));
    if (visible)
        build_set(&masked->at, visible, build_map(&masked->at, select_expr(pool, is_full, expr_float(pool, 1), expr_float(pool, 0)), args, 1));
    lower->k = keys;
    value_forget(lower);
    tile->at.before = NULL;
    tile->at.label = "normalize";
    tile->at.span = lower->spec->norm.span;
    body(lower, tile, t, visible, user);
}

void forward_sweep(Lower *lower, Scope *outer, double fill, bool wants_visible, SweepBody *body, void *user)
{
    const Spec *spec = lower->spec;
    ExprPool *pool = lower->pool;
    MaskTableUse use = {lower, outer};
    MaskArrays arrays = {mask_tables_range, &use};
    MaskBox box = {{0}, {0}, {0}, {0}};
    for (int a = 0; a < spec->rank; a++) {
        box.i_lo[a] = lower->q.lo[a];
        box.i_hi[a] = lower->q.hi[a];
        lower->key_tile[a] = NULL;
    }
    Builder caller = outer->at;
    outer->at.label = "mask";
    outer->at.span = spec->mask->span;
    MaskHull hull = mask_key_range(spec, &box, &arrays);

    /* One loop an axis; `outer` goes on before the outermost. */
    Inst *lo[SPEC_MAX_RANK], *hi[SPEC_MAX_RANK], *loops[SPEC_MAX_RANK];
    for (int a = 0; a < spec->rank; a++)
        key_tiles(lower, outer, &hull, a, &lo[a], &hi[a]);
    Builder at = outer->at;
    for (int a = 0; a < spec->rank; a++) {
        loops[a] = build_for(&at, lo[a], hi[a], false);
        at = (Builder){.program = lower->program, .block = loops[a]->body, .span = at.span, .label = at.label};
    }
    outer->at.before = loops[0];

    Scope *bounds = scope_open(lower, outer, at.block, NULL);
    address_bind_key_bounds(lower, bounds, loops);
    for (int a = 0; a < spec->rank; a++) {
        box.j_lo[a] = lower->k.lo[a];
        box.j_hi[a] = lower->k.hi[a];
    }
    use.scope = bounds;
    MaskClass class = mask_classify(spec, &box, &arrays);
    /* Full also means that no key of the tile is missing. */
    const Expr *whole = class.must;
    for (int a = 0; a < spec->rank; a++) {
        const Expr *end = expr_op2(pool, EXPR_ADD, value_name(lower, bounds, lower->k.origin[a], TYPE_INT),
                                   expr_var(pool, VAR_KNOB(lower->k.knobs[a]), TYPE_INT));
        whole = expr_op2(pool, EXPR_AND, whole, expr_op2(pool, EXPR_LE, end, expr_var(pool, VAR_SIZE_N0 + a, TYPE_INT)));
    }
    Inst *full = value_of(lower, bounds, whole);
    Scope *tile = bounds;
    if (!(class.may->op == EXPR_BOOL && class.may->value.i)) {
        Inst *live = build_if(&bounds->at, value_of(lower, bounds, class.may), false);
        bounds->at.before = live;
        tile = scope_open(lower, bounds, live->body, NULL);
    } else {
        tile = scope_open(lower, bounds, at.block, NULL);
    }
    sweep_tile(lower, tile, full, fill, wants_visible, body, user);

    outer->at = caller;
    lower->k.inside = NULL;
    for (int a = 0; a < spec->rank; a++)
        lower->key_tile[a] = NULL;
    value_forget(lower); /* depths were those of this nest */
}

/* Output and stores ----------------------------------------------------------------------------------------------- */

static const Expr *output_leaf(void *user, const Expr *leaf)
{
    return leaf->op == EXPR_VAR && leaf->index == VAR_C ? user : NULL;
}

/* A row that reductions run over is read at their variable or at the output's own channel; both run along its axis. */
static void check_output_channel(void *user, const Expr *e)
{
    Lower *lower = user;
    if (e->op == EXPR_ELEM && e->index == ELEM_O && (e->args[0]->op != EXPR_VAR || e->args[0]->index < VAR_FIRST_BOUND)) {
        diag_error(lower->diag, e->span, "output-channel", "an output row can be read at its own channel or summed over, not permuted");
        arena_fail(lower->arena);
    }
}

void forward_store(Lower *lower, Scope *root, Inst *o, Inst *const *returns, Inst *empty)
{
    ExprPool *pool = lower->pool;
    Scope *outer = lower->root;
    lower->root = root; /* reductions over the row are bound where it is */
    VarId e = expr_fresh_bound(pool);
    value_bind_axis(lower, e, "e", lower->Ev);
    const Expr *channel = expr_var(pool, e, TYPE_INT);
    if (lower->spec->output) {
        root->at.label = "output";
        root->at.span = lower->spec->output->span;
        const Expr *row = expr_substitute(pool, feature_expand(lower, lower->spec->output), output_leaf, (void *)channel);
        expr_walk(lower->arena, row, check_output_channel, lower);
        lower->output_row = o;
        scope_bind(lower, root, expr_elem(pool, ELEM_O, channel, NULL), o);
        row = expr_op3(pool, EXPR_SELECT, value_name(lower, root, empty, TYPE_BOOL), expr_float(pool, 0), row);
        o = value_of(lower, root, row);
    }
    root->at.label = "store";
    o = build_map_as(&root->at, lower->elem, expr_arg(pool, 0, TYPE_FLOAT), &o, 1);
    Inst *indices[] = {lower->batch, lower->head, value_of(lower, root, lower->q.row), value_of(lower, root, channel)};
    build_store(&root->at, lower->tensor_o, indices, 4, o, lower->q.inside);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (lower->spec->returns[r] && returns[r])
            build_store(&root->at, lower->tensor_return[r], indices, 3, returns[r], lower->q.inside);
    lower->root = outer;
}

/* ------------------------------------------------------------------------------------------------------------------- */

Phase *lower_phase(Lower *lower, const char *name)
{
    Phase *phase = program_phase(lower->program, name);
    if (!phase) {
        diag_error(lower->diag, lower->spec->span, "too-many-phases", "this needs more than %d phases", PROGRAM_MAX_PHASES);
        arena_fail(lower->arena);
    }
    return phase;
}

int lower_workspace(Lower *lower, Tensor tensor)
{
    tensor.role = ROLE_WORKSPACE;
    for (int t = 0; t < lower->program->tensor_count; t++)
        tensor.index += lower->program->tensors[t].role == ROLE_WORKSPACE;
    int made = program_tensor(lower->program, tensor);
    if (made < 0) {
        diag_error(lower->diag, lower->spec->span, "too-many-tensors", "this needs more than %d tensors", PROGRAM_MAX_TENSORS);
        arena_fail(lower->arena);
    }
    return made;
}

static void declare_tensors(Lower *lower)
{
    const Spec *spec = lower->spec;
    Program *program = lower->program;
    lower->tensor_q = program_tensor(program, (Tensor){.name = "q", .role = ROLE_Q, .elem = lower->elem, .dim_count = 4});
    lower->tensor_k = program_tensor(program, (Tensor){.name = "k", .role = ROLE_K, .elem = lower->elem, .dim_count = 4});
    lower->tensor_v = program_tensor(program, (Tensor){.name = "v", .role = ROLE_V, .elem = lower->elem, .dim_count = 4});
    lower->tensor_o = program_tensor(program, (Tensor){.name = "o", .role = ROLE_O, .elem = lower->elem, .dim_count = 4});
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (spec->returns[r])
            lower->tensor_return[r] = program_tensor(program, (Tensor){.name = return_kind_name((ReturnKind)r), .role = ROLE_RETURN, .index = r,
                                                                       .elem = ELEM_TYPE_F32, .dim_count = 3});
    for (int i = 0; i < spec->input_count; i++)
        lower->tensor_input[i] = program_tensor(program, (Tensor){.name = spec->inputs[i].name, .role = ROLE_INPUT, .index = i,
                                                                  .elem = spec->inputs[i].type, .dim_count = spec->inputs[i].dim_count});
    program->param_count = spec->param_count;
    for (int i = 0; i < spec->param_count; i++) {
        program->params[i].name = spec->params[i].name;
        program->params[i].type = spec->params[i].type;
    }
}

static bool width_of(Lower *lower, const SpecFeature *feature, int64_t plain, const char *what, int64_t *width)
{
    *width = plain;
    if (!feature->body || !feature->width)
        return true;
    if (feature->width->op != EXPR_INT || feature->width->value.i < 1 || feature->width->value.i > 65536) {
        diag_error(lower->diag, feature->span, "feature-width",
                   "the width of feature %s must be a number between 1 and 65536 when the kernel is compiled", what);
        return false;
    }
    *width = feature->width->value.i;
    return true;
}

static bool supported(Lower *lower)
{
    const Spec *spec = lower->spec;
    for (int p = 0; p < spec->param_count; p++) {
        const SpecParam *param = &spec->params[p];
        if (param->hidden && param->value.i < 1) {
            Message *message = diag_error(lower->diag, param->span, "extent-unset", "the extent '%s' of an input is part of the kernel and is not given", param->name);
            diag_fix(lower->diag, message, "give it when the kernel is made: --set %s=64", param->name);
            return false;
        }
    }
    if (spec->decay.kind != DECAY_NONE && spec->rank > 1) {
        diag_error(lower->diag, spec->decay.span, "decay-rank", "a decay needs a sequence (rank 1), not a grid of rank %d", spec->rank);
        return false;
    }
    return true;
}

static void quadratic_lower(Lower *lower)
{
    mask_tables_prepare(lower);
    score_prepare_decay(lower);
    Phase *phase = lower_phase(lower, "attend");
    address_open(lower, phase, true, VAR_H);
    Inst *returns[RETURN_KIND_COUNT] = {NULL}, *empty;
    Inst *o = normalize_rows(lower, lower->root, returns, &empty);
    forward_store(lower, lower->root, o, returns, empty);
}

/* Few queries or few keys, and no state comes or goes. */
static const Expr *short_sequence(Lower *lower, int64_t crossover)
{
    ExprPool *pool = lower->pool;
    const Expr *least = expr_op2(pool, EXPR_MIN, expr_var(pool, VAR_SIZE_M, TYPE_INT), expr_var(pool, VAR_SIZE_N, TYPE_INT));
    const Expr *alone = expr_op2(pool, EXPR_EQ, expr_var(pool, VAR_STATE, TYPE_INT), expr_int(pool, 0));
    return expr_op2(pool, EXPR_AND, alone, expr_op2(pool, EXPR_LT, least, expr_int(pool, crossover)));
}

static void ordered_lower(Lower *lower, const LoweringChoice *choice, const LowerOptions *options)
{
    bool recurrent = choice->lowering == LOWERING_RECURRENT, delta = lower->spec->decay.beta != NULL;
    if (options->segments && delta) {
        diag_error(lower->diag, lower->spec->decay.span, "lowering",
                   "the delta rule cannot be cut into segments: what one does to the state is no factor");
        arena_fail(lower->arena);
    }
    if ((options->segments || (options->launch_segments && !delta)) && !recurrent)
        segment_lower(lower, &choice->factor, !options->segments);
    else
        scan_lower(lower, &choice->factor, recurrent);
}

Program *forward_lower(Arena *arena, Diag *diag, const Spec *spec, ElemType elem, int64_t D, int64_t E, LowerOptions options)
{
    Lower lower = {.arena = arena, .diag = diag, .pool = spec->pool, .elem = elem, .D = D, .E = E};
    lower.spec = spec_specialize(arena, spec, D, E);
    lower.program = program_create(arena, spec->pool, spec->name, spec->rank);
    lower.program->spec = lower.spec;
    lower.program->diag = diag; /* dumps name the user's lines */
    int64_t q_width;
    if (!supported(&lower) || !width_of(&lower, &lower.spec->feature_q, D, "q", &q_width) ||
        !width_of(&lower, &lower.spec->feature_k, D, "k", &lower.Dk) || !width_of(&lower, &lower.spec->feature_v, E, "v", &lower.Ev))
        return NULL;
    if (lower.Ev != E) {
        diag_error(diag, lower.spec->feature_v.span, "feature-width", "feature v gives width %lld, but v and o have width %lld",
                   (long long)lower.Ev, (long long)E);
        return NULL;
    }
    LoweringChoice choice = factor_choose(arena, lower.spec, options.lowering, options.states);
    if (choice.lowering == LOWERING_COUNT) {
        diag_error(diag, choice.span, "lowering", "%s", choice.why);
        return NULL;
    }
    declare_tensors(&lower);
    lower.tensor_state[STATE_IN] = lower.tensor_state[STATE_OUT] = -1;
    if (choice.lowering != LOWERING_QUADRATIC && choice.factor.ordered)
        state_declare(&lower, &choice.factor);
    feature_materialize(&lower, options.stored_queries, q_width);
    /* Short sequences do not repay a state: both forms are there, and every sequence takes one. */
    bool both = choice.lowering == LOWERING_CHUNKED && options.lowering == LOWERING_AUTO && choice.factor.ordered && options.cost.rate > 0 &&
                lower.spec->decay.kind != DECAY_CHANNEL && !lower.spec->decay.beta;
    const Expr *is_short = NULL;
    if (both)
        is_short = short_sequence(&lower, factor_crossover(choice.factor.width->value.i, E, options.cost));
    const Expr *key_offset = lower.key_offset;
    lower.key_offset = NULL; /* that form has no state to go on from */
    lower.when = is_short;
    if (choice.lowering == LOWERING_QUADRATIC || both)
        quadratic_lower(&lower);
    lower.key_offset = key_offset;
    lower.when = both ? expr_op1(lower.pool, EXPR_NOT, is_short) : NULL;
    if (choice.lowering == LOWERING_QUADRATIC)
        return lower.program;
    if (choice.factor.ordered)
        ordered_lower(&lower, &choice, &options);
    else
        whole_lower(&lower, &choice.factor);
    return lower.program;
}
