/* Values: an Expr over the tile at hand becomes instructions.
 *
 * A sub-expression goes to the outermost scope where its leaves are known and is computed over its own axes only;
 * what has the same scope and axes is fused into one map. A sum over a bound variable becomes a contraction when
 * its body joins two operands over different axes, else a map and a reduce. */
#include <stdio.h>
#include <string.h>

#include "lower.h"

enum { TENSOR_BASE = 1000 }; /* EXPR_INPUT of a Program tensor rather than of a Spec input */

struct ValueInfo {
    bool known;
    int depth;
    uint32_t axes;
};

struct ValueAlias {
    struct ValueAlias *next;
    int32_t bound;
    int axis;
    VarId fresh;
};

/* Scopes ------------------------------------------------------------------------------------------------------ */

Scope *scope_open(Lower *lower, Scope *outer, Block *block, Inst *before)
{
    Scope *scope = ARENA_NEW(lower->arena, Scope);
    scope->outer = outer;
    scope->depth = outer ? outer->depth + 1 : 0;
    scope->at = (Builder){.program = lower->program, .block = block, .before = before,
                          .span = outer ? outer->at.span : SPAN_NONE, .label = outer ? outer->at.label : NULL};
    scope->capacity = 64;
    scope->entries = ARENA_ARRAY(lower->arena, struct ScopeEntry, (size_t)scope->capacity);
    return scope;
}

static struct ScopeEntry *scope_slot(Scope *scope, const Expr *e)
{
    uint32_t at = e->id * 2654435761u;
    for (;;) {
        struct ScopeEntry *entry = &scope->entries[at & (uint32_t)(scope->capacity - 1)];
        if (!entry->e || entry->e == e)
            return entry;
        at++;
    }
}

void scope_bind(Lower *lower, Scope *scope, const Expr *e, Inst *inst)
{
    if (scope->count * 2 >= scope->capacity) {
        struct ScopeEntry *old = scope->entries;
        int old_capacity = scope->capacity;
        scope->capacity *= 2;
        scope->entries = ARENA_ARRAY(lower->arena, struct ScopeEntry, (size_t)scope->capacity);
        for (int i = 0; i < old_capacity; i++)
            if (old[i].e)
                *scope_slot(scope, old[i].e) = old[i];
    }
    struct ScopeEntry *slot = scope_slot(scope, e);
    if (!slot->e)
        scope->count++;
    *slot = (struct ScopeEntry){e, inst};
}

static Inst *scope_find(Scope *scope, const Expr *e, Scope **where)
{
    for (; scope; scope = scope->outer) {
        struct ScopeEntry *slot = scope_slot(scope, e);
        if (slot->e) {
            *where = scope;
            return slot->inst;
        }
    }
    return NULL;
}

void value_forget(Lower *lower)
{
    lower->info = NULL;
    lower->info_count = 0;
}

void value_begin_phase(Lower *lower, Block *block)
{
    lower->root = scope_open(lower, NULL, block, NULL);
    value_forget(lower);
}

/* Depth and axes ---------------------------------------------------------------------------------------------- */

static uint32_t axes_of(const Inst *inst)
{
    uint32_t axes = 0;
    for (int i = 0; i < inst->type.axis_count; i++)
        axes |= 1u << inst->type.axis[i];
    return axes;
}

/* Axes of one name and another extent get a number. */
static int axis_of_extent(Lower *lower, const char *name, int64_t extent)
{
    char numbered[32];
    snprintf(numbered, sizeof numbered, "%.20s", name);
    for (int k = 2;; k++) {
        int a = 0;
        while (a < lower->program->axis_count && strcmp(lower->program->axes[a].name, numbered) != 0)
            a++;
        if (a == lower->program->axis_count || lower->program->axes[a].extent_expr == expr_int(lower->pool, extent))
            break;
        snprintf(numbered, sizeof numbered, "%.20s%d", name, k);
    }
    int axis = program_axis(lower->program, arena_strdup(lower->arena, numbered), expr_int(lower->pool, extent));
    if (axis < 0) {
        diag_error(lower->diag, SPAN_NONE, "too-many-axes", "more than %d different extents are summed over", PROGRAM_MAX_AXES - 2);
        arena_fail(lower->arena);
    }
    return axis;
}

int value_bind_axis(Lower *lower, VarId bound, const char *name, int64_t extent)
{
    const Expr *var = expr_var(lower->pool, bound, TYPE_INT);
    Scope *where;
    Inst *index = scope_find(lower->root, var, &where);
    if (!index) {
        int axis = axis_of_extent(lower, name, extent);
        Builder first = lower->root->at;
        first.before = first.block->first;
        index = build_index(&first, axis);
        scope_bind(lower, lower->root, var, index);
    }
    return index->axis;
}

static bool is_reduction(const Expr *e)
{
    return e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN;
}

typedef struct ReductionBody { Lower *lower; int32_t bound; const Expr *with; bool reads_output; } ReductionBody;

static const Expr *reduction_leaf(void *user, const Expr *leaf)
{
    const ReductionBody *body = user;
    return leaf->op == EXPR_VAR && leaf->index == body->bound ? body->with : NULL;
}

static void note_output(void *user, const Expr *e)
{
    ReductionBody *body = user;
    if (e->op == EXPR_ELEM && e->index == ELEM_O)
        body->reads_output |= e->args[0]->op == EXPR_VAR && e->args[0]->index == body->bound;
}

static void bind_output(void *user, const Expr *e)
{
    const ReductionBody *body = user;
    if (e->op == EXPR_ELEM && e->index == ELEM_O && e->args[0] == body->with)
        scope_bind(body->lower, body->lower->root, e, body->lower->output_row);
}

/* Does another variable in the reduction's body run along this axis? */
static bool axis_is_taken(Lower *lower, const Expr *e, int axis)
{
    const ExprVarSet *free = e->free_bound;
    for (int i = 0; free && i < free->count; i++) {
        Scope *where;
        Inst *index = scope_find(lower->root, expr_var(lower->pool, (VarId)free->var[i], TYPE_INT), &where);
        if (index && index->op == TILE_INDEX && index->axis == axis)
            return true;
    }
    return false;
}

/* A reduction inside another one has another axis than that, even when the extents agree. */
static const char *reduction_axis(Lower *lower, const Expr *e, int64_t extent)
{
    static const char *const nested[] = {"r", "u", "w", "x", "y", "z"};
    enum { NESTED = sizeof nested / sizeof *nested };
    int level = e->index - VAR_FIRST_BOUND;
    if (level == 0 && extent == lower->D && !axis_is_taken(lower, e, axis_of_extent(lower, "d", extent)))
        return "d";
    for (; level < NESTED; level++)
        if (!axis_is_taken(lower, e, axis_of_extent(lower, nested[level], extent)))
            return nested[level];
    diag_error(lower->diag, e->span, "too-many-axes", "reductions are nested too deeply here");
    arena_fail(lower->arena);
}

/* The body of a reduction and the variable in it, which is bound to the axis that it runs over. Equal reductions
 * share their variable, and so do reductions over different extents: all but the first axis of a variable get one of
 * their own. */
static const Expr *open_reduction(Lower *lower, const Expr *e, const Expr **variable)
{
    int64_t extent = e->args[0]->op == EXPR_INT ? e->args[0]->value.i : -1;
    if (extent < 1 || extent > 1 << 20) {
        diag_error(lower->diag, e->span, "extent-unknown",
                   "the extent of this reduction must be known when the kernel is compiled (1 .. 1048576)");
        arena_fail(lower->arena);
    }
    ReductionBody body = {.lower = lower, .bound = e->index};
    if (lower->output_row)
        expr_walk(lower->arena, e->args[1], note_output, &body);
    if (body.reads_output && extent != lower->Ev) {
        diag_error(lower->diag, e->span, "output-channel", "a reduction over the output row must run over all its %lld channels", (long long)lower->Ev);
        arena_fail(lower->arena);
    }
    const char *name = body.reads_output ? "e" : reduction_axis(lower, e, extent);
    int axis = axis_of_extent(lower, name, extent);
    if (body.reads_output && axis_is_taken(lower, e, axis)) {
        diag_error(lower->diag, e->span, "output-channel", "a sum over the output row cannot depend on the output's own channel");
        arena_fail(lower->arena);
    }
    *variable = expr_var(lower->pool, (VarId)e->index, TYPE_INT);
    Scope *where;
    Inst *index = scope_find(lower->root, *variable, &where);
    if (index && index->axis != axis) {
        struct ValueAlias *alias = lower->aliases;
        while (alias && (alias->bound != e->index || alias->axis != axis))
            alias = alias->next;
        if (!alias) {
            alias = ARENA_NEW(lower->arena, struct ValueAlias);
            *alias = (struct ValueAlias){lower->aliases, e->index, axis, expr_fresh_bound(lower->pool)};
            lower->aliases = alias;
        }
        *variable = expr_var(lower->pool, alias->fresh, TYPE_INT);
    }
    value_bind_axis(lower, (VarId)(*variable)->index, name, extent);
    body.with = *variable;
    const Expr *open = e->args[1];
    if ((*variable)->index != e->index)
        open = expr_substitute(lower->pool, open, reduction_leaf, &body);
    if (body.reads_output)
        expr_walk(lower->arena, open, bind_output, &body);
    return open;
}

static struct ValueInfo info_of(Lower *lower, Scope *scope, const Expr *e)
{
    if (e->id >= lower->info_count) {
        uint32_t want = e->id * 2 + 256;
        lower->info = arena_grow(lower->arena, lower->info, lower->info_count, want, sizeof *lower->info);
        lower->info_count = want;
    }
    if (lower->info[e->id].known)
        return lower->info[e->id];
    struct ValueInfo info = {.known = true};
    Scope *where;
    Inst *inst = scope_find(scope, e, &where);
    if (inst) {
        info.depth = where->depth;
        info.axes = axes_of(inst);
    } else {
        if (is_reduction(e)) {
            const Expr *variable, *body = open_reduction(lower, e, &variable);
            info = info_of(lower, scope, body);
            info.axes &= ~info_of(lower, scope, variable).axes;
        }
        for (int i = 0; i < e->arity && !is_reduction(e); i++) {
            struct ValueInfo arg = info_of(lower, scope, e->args[i]);
            if (arg.depth > info.depth)
                info.depth = arg.depth;
            info.axes |= arg.axes;
        }
    }
    lower->info[e->id] = info;
    return info;
}

static Scope *scope_at(Scope *scope, int depth)
{
    while (scope->depth > depth)
        scope = scope->outer;
    return scope;
}

/* Maps --------------------------------------------------------------------------------------------------------- */

typedef struct Fusion {
    Lower *lower;
    Scope *scope;
    struct ValueInfo whole;
    Inst *args[INST_MAX_ARGS];
    const Expr *sources[INST_MAX_ARGS];
    int count;
    const Expr **done;  /* by Expr id - memo of the rewritten form */
    uint32_t done_count;
} Fusion;

static bool is_plain(const Expr *e)
{
    return e->op == EXPR_INT || e->op == EXPR_FLOAT || e->op == EXPR_BOOL || e->op == EXPR_PARAM ||
           (e->op == EXPR_VAR && ((e->index >= (int)VAR_SIZE_B && e->index <= (int)VAR_OFFSET) ||
                                  (e->index >= (int)VAR_KNOB(0) && e->index < (int)VAR_KNOB(PROGRAM_MAX_KNOBS))));
}

static const Expr *fusion_arg(Fusion *f, const Expr *e)
{
    for (int i = 0; i < f->count; i++)
        if (f->sources[i] == e)
            return expr_arg(f->lower->pool, i, (ExprType)e->type);
    f->args[f->count] = value_of(f->lower, f->scope, e);
    f->sources[f->count] = e;
    return expr_arg(f->lower->pool, f->count++, (ExprType)e->type);
}

/* `pending` places are needed for operands that come after e; what would not leave them is computed on its own. */
static const Expr *fuse(Fusion *f, const Expr *e, int pending, bool top)
{
    Scope *where;
    if (!top && scope_find(f->scope, e, &where))
        return fusion_arg(f, e);
    if (is_plain(e))
        return e;
    if (e->op == EXPR_INPUT || e->op == EXPR_ELEM || is_reduction(e) || e->arity == 0)
        return fusion_arg(f, e);
    if (!top) {
        if (e->id < f->done_count && f->done[e->id])
            return f->done[e->id];
        struct ValueInfo info = info_of(f->lower, f->scope, e);
        bool elsewhere = info.depth != f->whole.depth || info.axes != f->whole.axes;
        if (elsewhere || f->count + pending + e->arity > INST_MAX_ARGS)
            return fusion_arg(f, e);
    }
    const Expr *args[3];
    for (int i = 0; i < e->arity; i++)
        args[i] = fuse(f, e->args[i], pending + e->arity - 1 - i, false);
    const Expr *result = expr_rebuild(f->lower->pool, e, args);
    if (e->id >= f->done_count) {
        uint32_t want = e->id + 64;
        f->done = arena_grow(f->lower->arena, f->done, f->done_count, want, sizeof *f->done);
        f->done_count = want;
    }
    f->done[e->id] = result;
    return result;
}

const Expr *value_name(Lower *lower, Scope *scope, Inst *inst, ExprType type)
{
    const Expr *var = expr_var(lower->pool, expr_fresh_bound(lower->pool), type);
    scope_bind(lower, scope, var, inst);
    return var;
}

const Expr *value_name_outer(Lower *lower, Scope *scope, Inst *inst, ExprType type)
{
    for (Scope *outer = scope->outer; outer; outer = outer->outer)
        if (outer->at.block == inst->parent)
            scope = outer;
    return value_name(lower, scope, inst, type);
}

/* Sums --------------------------------------------------------------------------------------------------------- */

static Inst *lower_reduction(Lower *lower, Scope *scope, const Expr *e)
{
    const Expr *var, *body = open_reduction(lower, e, &var);
    Scope *where;
    int axis = scope_find(scope, var, &where)->axis;
    struct ValueInfo info = info_of(lower, scope, body);
    Inst *value;
    if (!(info.axes & 1u << axis)) {
        /* The body does not depend on the variable: a sum is a multiple, a maximum the body itself. */
        if (e->op != EXPR_SUM)
            return value_of(lower, scope, body);
        const Expr *times = body->type == TYPE_INT ? e->args[0] : expr_op1(lower->pool, EXPR_TOFLOAT, e->args[0]);
        return value_of(lower, scope, expr_op2(lower->pool, EXPR_MUL, times, body));
    }
    if (e->op == EXPR_SUM && e->type == TYPE_FLOAT) {
        Fusion f = {.lower = lower, .scope = scope, .whole = info};
        const Expr *joined = fuse(&f, body, 0, true);
        if (f.count == 2 && inst_has_axis(f.args[0], axis) && inst_has_axis(f.args[1], axis) &&
            axes_of(f.args[0]) != axes_of(f.args[1]) && f.args[0]->type.elem >= ELEM_TYPE_F32 && f.args[1]->type.elem >= ELEM_TYPE_F32) {
            const Expr *product = expr_op2(lower->pool, EXPR_MUL, expr_arg(lower->pool, 0, TYPE_FLOAT), expr_arg(lower->pool, 1, TYPE_FLOAT));
            return build_contract(&scope->at, axis, f.args[0], f.args[1], joined == product ? NULL : joined, NULL);
        }
        value = f.count == 1 && joined->op == EXPR_ARG ? f.args[0] : build_map(&scope->at, joined, f.args, f.count);
    } else {
        value = value_of(lower, scope, body);
    }
    ReduceKind kind = e->op == EXPR_SUM ? REDUCE_SUM : e->op == EXPR_REDMAX ? REDUCE_MAX : REDUCE_MIN;
    return build_reduce(&scope->at, kind, axis, value);
}

/* Inputs -------------------------------------------------------------------------------------------------------- */

const Expr *value_element(Lower *lower, int tensor, const Expr *head, const Expr *row, const Expr *channel)
{
    const Expr *b = expr_var(lower->pool, VAR_B, TYPE_INT);
    const Expr *indices[] = {b, head, row, channel};
    return expr_input(lower->pool, TENSOR_BASE + tensor, TYPE_FLOAT, indices, channel ? 4 : 3);
}

static Inst *and_guards(Lower *lower, Scope *scope, Inst *a, Inst *b)
{
    if (!a || !b)
        return a ? a : b;
    Inst *both[] = {a, b};
    return build_map(&scope->at, expr_op2(lower->pool, EXPR_AND, expr_arg(lower->pool, 0, TYPE_BOOL), expr_arg(lower->pool, 1, TYPE_BOOL)), both, 2);
}

/* index in [0, extent) as a guard; NULL when the form of the index shows it. */
static Inst *range_guard(Lower *lower, Scope *scope, const Expr *index, const Expr *extent)
{
    ExprPool *pool = lower->pool;
    if (index->op == EXPR_INT && extent->op == EXPR_INT && index->value.i >= 0 && index->value.i < extent->value.i)
        return NULL;
    if (index->op == EXPR_VAR && extent->op == EXPR_INT) {
        Scope *where;
        Inst *inst = scope_find(scope, index, &where);
        if (inst && inst->op == TILE_INDEX && lower->program->axes[inst->axis].extent_expr->op == EXPR_INT &&
            lower->program->axes[inst->axis].extent_expr->value.i <= extent->value.i)
            return NULL;
    }
    const Expr *inside = expr_op2(pool, EXPR_AND, expr_op2(pool, EXPR_LE, expr_int(pool, 0), index), expr_op2(pool, EXPR_LT, index, extent));
    if (inside->op == EXPR_BOOL && inside->value.i)
        return NULL;
    return value_of(lower, scope, inside);
}

static Inst *load_input(Lower *lower, Scope *scope, const Expr *e)
{
    ExprPool *pool = lower->pool;
    Inst *indices[SPEC_MAX_DIMS], *guard = NULL;
    uint32_t axes = 0;
    int tensor;
    if (e->index >= TENSOR_BASE) {
        tensor = e->index - TENSOR_BASE;
        const Tensor *t = &lower->program->tensors[tensor];
        for (int i = 0; i < e->arity; i++) {
            indices[i] = value_of(lower, scope, e->args[i]);
            axes |= axes_of(indices[i]);
        }
        bool query_side = t->role == ROLE_Q;
        const TileSide *side = query_side ? &lower->q : &lower->k;
        const Expr *row = e->args[2];
        if (t->role != ROLE_WORKSPACE && row != side->row) { /* another token: some steps back */
            Inst *begin = query_side ? lower->q_begin : lower->k_begin;
            const Expr *first = value_name(lower, lower->root, begin, TYPE_INT);
            guard = value_of(lower, scope, expr_op2(pool, EXPR_LE, first, row));
        }
        if (t->role != ROLE_WORKSPACE && e->arity == 4)
            guard = and_guards(lower, scope, guard, range_guard(lower, scope, e->args[3], expr_int(pool, t->role == ROLE_V ? lower->E : lower->D)));
    } else {
        const SpecInput *input = &lower->spec->inputs[e->index];
        tensor = lower->tensor_input[e->index];
        for (int i = 0; i < e->arity; i++) {
            const SpecDim *dim = &input->dims[i];
            const Expr *index = e->args[i];
            bool direct = false, token = dim->kind == DIM_T || dim->kind == DIM_J || dim->kind == DIM_I;
            if (token) { /* the position of a row of this tile is inside when the row is; a query's may pass the last key */
                const Expr *own = expr_var(pool, dim->kind == DIM_I ? VAR_I0 : VAR_J0, TYPE_INT);
                if (dim->kind == DIM_I)
                    own = expr_op2(pool, EXPR_SUB, own, expr_var(pool, VAR_OFFSET, TYPE_INT));
                direct = lower->spec->rank == 1 && index == own && (dim->kind == DIM_I ? lower->q.inside : lower->k.inside);
            }
            if (dim->kind == DIM_B || dim->kind == DIM_H || dim->kind == DIM_G)
                direct = index->op == EXPR_VAR;
            const Expr *base = index; /* of DIM_I: a row, not a position */
            if (lower->key_offset && (dim->kind == DIM_T || dim->kind == DIM_J))
                base = expr_op2(pool, EXPR_SUB, base, lower->key_offset);
            if (!direct) {
                const Expr *extent = dim->extent;
                if (dim->kind == DIM_T || dim->kind == DIM_J)
                    extent = expr_var(pool, VAR_SIZE_N, TYPE_INT);
                else if (dim->kind == DIM_I)
                    extent = expr_var(pool, VAR_SIZE_M, TYPE_INT);
                else if (dim->kind == DIM_D)
                    extent = expr_int(pool, lower->D);
                else if (dim->kind == DIM_E)
                    extent = expr_int(pool, lower->E);
                guard = and_guards(lower, scope, guard, range_guard(lower, scope, base, extent));
            }
            if (token) { /* packed sequences start at a row of their own */
                Inst *begin = dim->kind == DIM_I ? lower->q_begin : lower->k_begin;
                base = expr_op2(pool, EXPR_ADD, base, value_name(lower, lower->root, begin, TYPE_INT));
            }
            indices[i] = value_of(lower, scope, base);
            axes |= axes_of(indices[i]);
        }
    }
    const TileSide *sides[] = {&lower->q, &lower->k};
    for (int i = 0; i < 2; i++) {
        Scope *where;
        Inst *inside = sides[i]->inside_name ? scope_find(scope, sides[i]->inside_name, &where) : NULL;
        if (inside && axes & 1u << sides[i]->axis)
            guard = and_guards(lower, scope, guard, inside);
    }
    return build_load(&scope->at, tensor, indices, e->arity, guard);
}

/* ---------------------------------------------------------------------------------------------------------------- */

Inst *value_of(Lower *lower, Scope *scope, const Expr *e)
{
    Scope *where;
    Inst *inst = scope_find(scope, e, &where);
    if (inst)
        return inst;
    struct ValueInfo info = info_of(lower, scope, e);
    Scope *home = scope_at(scope, info.depth);
    if (e->op == EXPR_INPUT) {
        inst = load_input(lower, home, e);
    } else if (is_reduction(e)) {
        inst = lower_reduction(lower, home, e);
    } else if (is_plain(e)) {
        inst = build_map(&home->at, e, NULL, 0);
    } else if (e->arity == 0) {
        diag_error(lower->diag, e->span, "not-available", "a value that is not known here is used (%s)", expr_op_info[e->op].name);
        arena_fail(lower->arena);
    } else {
        Fusion f = {.lower = lower, .scope = home, .whole = info};
        const Expr *fused = fuse(&f, e, 0, true);
        inst = build_map(&home->at, fused, f.args, f.count);
    }
    scope_bind(lower, home, e, inst);
    return inst;
}

Inst *value_rounded(Lower *lower, Scope *scope, const Expr *e, ElemType elem)
{
    Inst *inst = value_of(lower, scope, e);
    if (inst->type.elem == elem)
        return inst;
    return build_map_as(&scope->at, elem, expr_arg(lower->pool, 0, TYPE_FLOAT), &inst, 1);
}
