/* Mask tables: the predicate reads per-token arrays (documents, segments, types); a tile's class needs their least
 * and greatest value over the tile's tokens. Phases before the main one compute them, O(tokens) work and O(tiles)
 * memory; the sweep reads two numbers a tile. Booleans count as 0 and 1. */
#include <math.h>

#include "lower.h"

typedef struct MaskTable {
    const Expr *input;
    MaskSide side;
    int heads;          /* VAR_H, VAR_G or -1 */
    int tensor_min, tensor_max;
} MaskTable;

typedef struct Collect {
    Lower *lower;
    MaskTable found[SPEC_MAX_INPUTS];
    int count;
} Collect;

static void collect_input(void *user, const Expr *e)
{
    Collect *collect = user;
    if (e->op != EXPR_INPUT || collect->count == SPEC_MAX_INPUTS)
        return;
    MaskSide side = mask_array_side(collect->lower->spec, e);
    if (side != MASK_SIDE_QUERY && side != MASK_SIDE_KEY)
        return;
    int heads = expr_uses(e, VAR_H) ? VAR_H : expr_uses(e, VAR_G) ? VAR_G : -1;
    collect->found[collect->count++] = (MaskTable){.input = e, .side = side, .heads = heads, .tensor_min = -1, .tensor_max = -1};
}

static int table_tensor(Lower *lower, const MaskTable *table, const TileSide *side, ElemType elem, const char *what)
{
    Tensor tensor = {.name = arena_printf(lower->arena, "%s_%s_%d", what, lower->spec->inputs[table->input->index].name, lower->program->tensor_count),
                     .elem = elem};
    tensor.extent[tensor.dim_count++] = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    if (table->heads >= 0)
        tensor.extent[tensor.dim_count++] = (Extent){.size = table->heads == VAR_H ? VAR_SIZE_H : VAR_SIZE_G, .div_knob = -1, .div = 1, .mul = 1};
    for (int a = 0; a < lower->spec->rank; a++)
        tensor.extent[tensor.dim_count++] = (Extent){.size = (table->side == MASK_SIDE_QUERY ? VAR_SIZE_M0 : VAR_SIZE_N0) + a,
                                                     .div_knob = side->knobs[a], .div = 1, .mul = 1};
    return lower_workspace(lower, tensor);
}

static int table_indices(Lower *lower, const MaskTable *table, Inst *head, Inst *const *tile, Inst **indices)
{
    int count = 0;
    indices[count++] = lower->batch;
    if (table->heads >= 0)
        indices[count++] = head;
    for (int a = 0; a < lower->spec->rank; a++)
        indices[count++] = tile[a];
    return count;
}

/* In the phase that is open. */
static void build_table(Lower *lower, MaskTable *table)
{
    ExprPool *pool = lower->pool;
    bool queries = table->side == MASK_SIDE_QUERY;
    TileSide *side = queries ? &lower->q : &lower->k;
    Scope *root = lower->root;
    root->at.label = "mask";
    root->at.span = table->input->span;
    const Expr *value = table->input;
    if (value->type == TYPE_BOOL)
        value = expr_op1(pool, EXPR_BTOI, value);
    bool is_int = value->type == TYPE_INT;
    ElemType elem = is_int ? ELEM_TYPE_I64 : ELEM_TYPE_F32;
    const Expr *inside = value_name(lower, root, side->inside, TYPE_BOOL);
    for (int greatest = 0; greatest < 2; greatest++) {
        const Expr *neutral = is_int ? expr_int(pool, greatest ? INT64_MIN : INT64_MAX)
                                     : expr_float(pool, greatest ? -(double)INFINITY : (double)INFINITY);
        Inst *chosen = value_of(lower, root, expr_op3(pool, EXPR_SELECT, inside, value, neutral));
        Inst *reduced = build_reduce(&root->at, greatest ? REDUCE_MAX : REDUCE_MIN, side->axis, chosen);
        int tensor = table_tensor(lower, table, side, elem, greatest ? "max" : "min");
        *(greatest ? &table->tensor_max : &table->tensor_min) = tensor;
        Inst *indices[SPEC_MAX_DIMS];
        int count = table_indices(lower, table, lower->head, queries ? lower->query_tile : lower->key_tile, indices);
        build_store(&root->at, tensor, indices, count, reduced, NULL);
    }
}

/* One phase for all tables of the same tokens and heads. What finds no room stays without a table: its range is
 * unknown then, and tiles that it might have shown empty or full are partial. */
void mask_tables_prepare(Lower *lower)
{
    enum { LATER_PHASES = 3, LATER_TENSORS = 4 }; /* decays, attend, scan; states */
    Collect collect = {.lower = lower};
    expr_walk(lower->arena, lower->spec->mask, collect_input, &collect);
    lower->tables = ARENA_ARRAY(lower->arena, MaskTable, (size_t)collect.count);
    for (int first = 0; first < collect.count; first++) {
        const MaskTable *group = &collect.found[first];
        if (!group->input || lower->program->phase_count + LATER_PHASES >= PROGRAM_MAX_PHASES)
            continue;
        address_open(lower, lower_phase(lower, arena_printf(lower->arena, "mask_range%d", first)), group->side == MASK_SIDE_QUERY, group->heads);
        for (int i = first; i < collect.count; i++) {
            MaskTable *table = &collect.found[i];
            if (!table->input || table->side != group->side || table->heads != group->heads ||
                lower->program->tensor_count + LATER_TENSORS + 2 > PROGRAM_MAX_TENSORS)
                continue;
            build_table(lower, table);
            lower->tables[lower->table_count++] = *table;
            if (i > first)
                table->input = NULL; /* done; the group's own fields are still read */
        }
    }
}

ExprRange mask_tables_range(void *user, const Expr *input)
{
    MaskTableUse *use = user;
    Lower *lower = use->lower;
    ExprPool *pool = lower->pool;
    for (int i = 0; i < lower->table_count; i++) {
        MaskTable *table = &lower->tables[i];
        if (table->input != input)
            continue;
        bool queries = table->side == MASK_SIDE_QUERY;
        if (!queries && !lower->key_tile[0])
            break; /* no key tile is known yet: the hull is asked for */
        Scope *scope = queries ? lower->root : use->scope;
        Scope *root = lower->root;
        Inst *head = table->heads == VAR_G ? value_of(lower, root, expr_var(pool, VAR_G, TYPE_INT)) : lower->head;
        Inst *indices[SPEC_MAX_DIMS];
        int count = table_indices(lower, table, head, queries ? lower->query_tile : lower->key_tile, indices);
        ExprType type = input->type == TYPE_BOOL ? TYPE_INT : (ExprType)input->type;
        const Expr *lo = value_name(lower, scope, build_load(&scope->at, table->tensor_min, indices, count, NULL), type);
        const Expr *hi = value_name(lower, scope, build_load(&scope->at, table->tensor_max, indices, count, NULL), type);
        if (input->type == TYPE_BOOL) {
            lo = expr_op2(pool, EXPR_NE, lo, expr_int(pool, 0));
            hi = expr_op2(pool, EXPR_NE, hi, expr_int(pool, 0));
        }
        return (ExprRange){lo, hi};
    }
    return (ExprRange){NULL, NULL};
}
