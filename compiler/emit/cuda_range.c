/* Which ints fit 32 bits: intervals of every int value of a Program.
 *
 * What is known: extents of axes, the bounds that launches check (CUDA_SIZE_MAX), 32-bit tensors. Params are
 * not. Bounds are computed in 128 bits; an interval that leaves 64 bits becomes "not known", for ints wrap
 * there. Vars are the one place where a value depends on a later one: their intervals grow until nothing
 * changes, and those that keep growing become "not known". */
#include "cuda_range.h"

enum { ROUNDS = 3 }; /* before a var that still grows is given up */

static IntRange hull(IntRange a, IntRange b)
{
    return (IntRange){a.lo < b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
}

bool cuda_range_fits(IntRange range)
{
    return range.lo >= INT32_MIN && range.hi <= INT32_MAX;
}

static IntRange wide(__int128 lo, __int128 hi)
{
    if (lo < INT64_MIN || hi > INT64_MAX)
        return INT_RANGE_ALL;
    return (IntRange){(int64_t)lo, (int64_t)hi};
}

static IntRange corners(const __int128 value[4])
{
    __int128 lo = value[0], hi = value[0];
    for (int k = 1; k < 4; k++) {
        lo = value[k] < lo ? value[k] : lo;
        hi = value[k] > hi ? value[k] : hi;
    }
    return wide(lo, hi);
}

static IntRange product(IntRange a, IntRange b)
{
    return corners((__int128[]){(__int128)a.lo * b.lo, (__int128)a.lo * b.hi, (__int128)a.hi * b.lo,
                                (__int128)a.hi * b.hi});
}

static __int128 floor_div(__int128 a, __int128 b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Division by zero gives 0. */
static IntRange quotient(IntRange a, IntRange b)
{
    if (b.lo < 0) /* no larger than the dividend, but of any sign; floor of a small negative one is -1 */
        return hull(hull(a, wide(-(__int128)a.hi, -(__int128)a.lo)), (IntRange){-1, 0});
    int64_t least = b.lo > 0 ? b.lo : 1, most = b.hi > 0 ? b.hi : 1;
    IntRange range = corners((__int128[]){floor_div(a.lo, least), floor_div(a.lo, most),
                                          floor_div(a.hi, least), floor_div(a.hi, most)});
    return b.lo == 0 ? hull(range, (IntRange){0, 0}) : range;
}

/* The sign of the divisor, or 0. */
static IntRange remainder_range(IntRange a, IntRange b)
{
    IntRange range = {b.lo < 0 ? b.lo + 1 : 0, b.hi > 0 ? b.hi - 1 : 0};
    if (a.lo >= 0 && a.hi < range.hi)
        range.hi = a.hi;
    if (a.hi <= 0 && a.lo > range.lo)
        range.lo = a.lo;
    return range;
}

static IntRange magnitude(IntRange a)
{
    if (a.lo >= 0)
        return a;
    IntRange minus = wide(-(__int128)a.hi, -(__int128)a.lo);
    return a.hi <= 0 ? minus
                     : (IntRange){minus.lo == INT64_MIN ? INT64_MIN : 0, minus.hi > a.hi ? minus.hi : a.hi};
}

static IntRange size_range(int var)
{
    return (IntRange){var == VAR_OFFSET ? -CUDA_SIZE_MAX : 0, CUDA_SIZE_MAX};
}

static IntRange compute(ExprRanges *r, const Expr *e)
{
    switch (e->op) {
    case EXPR_INT: return (IntRange){e->value.i, e->value.i};
    case EXPR_VAR: return size_range(e->index);
    case EXPR_ARG:
        return r->g->ranges && e->index < r->inst->arg_count ? r->g->ranges[r->inst->args[e->index]->id]
                                                             : INT_RANGE_ALL;
    case EXPR_BTOI: return (IntRange){0, 1};
    case EXPR_SIGN: return (IntRange){-1, 1};
    case EXPR_SELECT: return hull(cuda_expr_range(r, e->args[1]), cuda_expr_range(r, e->args[2]));
    default: break;
    }
    IntRange a = INT_RANGE_ALL, b = INT_RANGE_ALL;
    if (e->arity >= 1 && e->args[0]->type == TYPE_INT)
        a = cuda_expr_range(r, e->args[0]);
    if (e->arity >= 2 && e->args[1]->type == TYPE_INT)
        b = cuda_expr_range(r, e->args[1]);
    switch (e->op) {
    case EXPR_ADD: return wide((__int128)a.lo + b.lo, (__int128)a.hi + b.hi);
    case EXPR_SUB: return wide((__int128)a.lo - b.hi, (__int128)a.hi - b.lo);
    case EXPR_MUL: return product(a, b);
    case EXPR_NEG: return wide(-(__int128)a.hi, -(__int128)a.lo);
    case EXPR_ABS: return magnitude(a);
    case EXPR_MIN: return (IntRange){a.lo < b.lo ? a.lo : b.lo, a.hi < b.hi ? a.hi : b.hi};
    case EXPR_MAX: return (IntRange){a.lo > b.lo ? a.lo : b.lo, a.hi > b.hi ? a.hi : b.hi};
    case EXPR_DIV: return quotient(a, b);
    case EXPR_MOD: return remainder_range(a, b);
    default: return INT_RANGE_ALL;
    }
}

ExprRanges cuda_expr_ranges(const CudaGen *g, const Inst *inst)
{
    enum { START = 32 };
    return (ExprRanges){
        g, inst,     ARENA_ARRAY(g->arena, const Expr *, START), ARENA_ARRAY(g->arena, IntRange, START),
        0, START - 1};
}

static uint32_t find(const ExprRanges *r, const Expr *e)
{
    uint32_t at = e->id * 2654435761u >> 5 & r->mask;
    while (r->key[at] && r->key[at] != e)
        at = (at + 1) & r->mask;
    return at;
}

static void remember(ExprRanges *r, const Expr *e, IntRange range)
{
    if (++r->count * 2 > r->mask) {
        ExprRanges old = *r;
        r->mask = old.mask * 2 + 1;
        r->key = ARENA_ARRAY(r->g->arena, const Expr *, r->mask + 1);
        r->range = ARENA_ARRAY(r->g->arena, IntRange, r->mask + 1);
        for (uint32_t k = 0; k <= old.mask; k++)
            if (old.key[k]) {
                uint32_t at = find(r, old.key[k]);
                r->key[at] = old.key[k];
                r->range[at] = old.range[k];
            }
    }
    uint32_t at = find(r, e);
    r->key[at] = e;
    r->range[at] = range;
}

IntRange cuda_expr_range(ExprRanges *r, const Expr *e)
{
    uint32_t at = find(r, e);
    if (r->key[at])
        return r->range[at];
    IntRange range = compute(r, e);
    remember(r, e, range);
    return range;
}

/* Programs ----------------------------------------------------------------------------------------------- */

typedef struct Ranger {
    CudaGen *g;
    const Phase *phase;
    int round;
    bool changed;
} Ranger;

static IntRange grid_range(const Extent *extent)
{
    IntRange count = {0, 0};
    if (extent->size < 0) {
        count.hi = extent->mul;
    } else {
        int64_t div = extent->div > 0 ? extent->div : 1;
        count = product((IntRange){0, (CUDA_SIZE_MAX - 1) / div + 1}, (IntRange){extent->mul, extent->mul});
    }
    return (IntRange){0, count.hi > 0 ? count.hi - 1 : 0};
}

static IntRange reduced(const Inst *inst, IntRange of, int64_t extent)
{
    if (inst->reduce == REDUCE_SUM)
        return product(of, (IntRange){extent, extent});
    return of;
}

static IntRange loop_range(IntRange lo, IntRange hi)
{
    int64_t last = hi.hi > INT64_MIN ? hi.hi - 1 : hi.hi;
    return (IntRange){lo.lo, last > lo.lo ? last : lo.lo};
}

static IntRange value_range(Ranger *r, const Inst *inst)
{
    const IntRange *of = r->g->ranges;
    const Program *program = r->g->program;
    switch (inst->op) {
    case TILE_INDEX: return (IntRange){0, program->axes[inst->axis].extent - 1};
    case TILE_GRID: return grid_range(&r->phase->grid[inst->grid].extent);
    case TILE_SEQ: return (IntRange){0, CUDA_SIZE_MAX};
    case TILE_MAP: {
        ExprRanges ranges = cuda_expr_ranges(r->g, inst);
        return inst->expr->type == TYPE_INT ? cuda_expr_range(&ranges, inst->expr) : INT_RANGE_ALL;
    }
    case TILE_REDUCE: return reduced(inst, of[inst->args[0]->id], program->axes[inst->axis].extent);
    case TILE_LOAD:
        return program->tensors[inst->tensor].elem == ELEM_TYPE_I32 ? (IntRange){INT32_MIN, INT32_MAX}
                                                                    : INT_RANGE_ALL;
    case TILE_FOR: return loop_range(of[inst->args[0]->id], of[inst->args[1]->id]);
    default: return INT_RANGE_ALL;
    }
}

/* A var's range holds everything that was ever written to it. */
static void widen(Ranger *r, const Inst *var, const Inst *value)
{
    IntRange *range = &r->g->ranges[var->id], grown = hull(*range, r->g->ranges[value->id]);
    if (grown.lo == range->lo && grown.hi == range->hi)
        return;
    *range = r->round < ROUNDS ? grown : INT_RANGE_ALL;
    r->changed = true;
}

static bool is_int(const Inst *inst)
{
    return inst->has_value && elem_class(inst->type.elem) == TYPE_INT;
}

static void range_block(Ranger *r, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->op == TILE_VAR && is_int(inst) && r->round == 0)
            r->g->ranges[inst->id] = r->g->ranges[inst->args[0]->id];
        else if (inst->op == TILE_VAR && is_int(inst))
            widen(r, inst, inst->args[0]);
        else if (inst->op == TILE_SET && is_int(inst->target))
            widen(r, inst->target, inst->args[0]);
        else if (is_int(inst))
            r->g->ranges[inst->id] = value_range(r, inst);
        range_block(r, inst->body);
        range_block(r, inst->orelse);
    }
}

void cuda_ranges(CudaGen *g)
{
    g->ranges = ARENA_ARRAY(g->arena, IntRange, g->program->next_id);
    for (uint32_t id = 0; id < g->program->next_id; id++)
        g->ranges[id] = INT_RANGE_ALL;
    for (int p = 0; p < g->program->phase_count; p++) {
        Ranger r = {.g = g, .phase = &g->program->phases[p], .changed = true};
        for (; r.changed; r.round++) {
            r.changed = false;
            range_block(&r, r.phase->body);
        }
    }
}

bool cuda_narrow(const CudaGen *g, const Inst *value)
{
    return cuda_range_fits(g->ranges[value->id]);
}
