/* The Expr pool: hash-consing, constructors, substitution and walks. What the operators mean is expr_ops.def;
 * which expressions are equal is expr_rules.c. */
#include "expr_pool.h"

#include <assert.h>
#include <string.h>

#define SAID(meaning) (#meaning[0] == 'N' && #meaning[1] == 'O' ? "" : #meaning) /* NONE: nothing */
const ExprOpInfo expr_op_info[EXPR_OP_COUNT] = {
#define EXPR_OP(id, op_name, op_arity, sig, flags, ints, floats, range_rule, derivative_rule)                \
    [EXPR_##id] = {                                                                                          \
        .name = op_name,                                                                                     \
        .arity = op_arity,                                                                                   \
        .signature = sig,                                                                                    \
        .infix = flags[0] == 'I',                                                                            \
        .leaf = flags[0] == 'L',                                                                             \
        .commutative = flags[0] == 'C' || flags[1] == 'C',                                                   \
        .int_meaning = SAID(ints),                                                                                \
        .float_meaning = SAID(floats),                                                                            \
        .meaning = #floats[0] == 'N' && #floats[1] == 'O' ? #ints : #floats,                                 \
        .range = #range_rule,                                                                                \
        .derivative = #derivative_rule,                                                                      \
    },
#include "expr_ops.def"
#undef EXPR_OP
};

ExprOp expr_op_named(const char *name, int arity)
{
    for (int op = 0; op < EXPR_OP_COUNT; op++)
        if (!expr_op_info[op].leaf && expr_op_info[op].arity == arity &&
            strcmp(expr_op_info[op].name, name) == 0)
            return (ExprOp)op;
    return EXPR_OP_COUNT;
}

/* Pool --------------------------------------------------------------------------------------------------- */

ExprPool *expr_pool_create(Arena *arena)
{
    ExprPool *pool = ARENA_NEW(arena, ExprPool);
    pool->arena = arena;
    pool->table_size = 256;
    pool->table = ARENA_ARRAY(arena, const Expr *, pool->table_size);
    pool->next_fresh = EXPR_FIRST_FRESH;
    pool->span = SPAN_NONE;
    return pool;
}

Arena *expr_pool_arena(const ExprPool *pool) { return pool->arena; }
void expr_set_span(ExprPool *pool, Span span) { pool->span = span; }
VarId expr_fresh_bound(ExprPool *pool) { return (VarId)pool->next_fresh++; }

static uint32_t hash_mix(uint32_t hash, uint64_t value)
{
    uint64_t x = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

static uint32_t hash_of(ExprOp op, ExprType type, int32_t index, uint64_t bits, const Expr *const *args,
                        int count)
{
    uint32_t hash = hash_mix((uint32_t)op * 4 + (uint32_t)type, (uint32_t)index);
    hash = hash_mix(hash_mix(hash, bits), (uint64_t)count);
    for (int k = 0; k < count; k++)
        hash = hash_mix(hash, args[k]->hash);
    return hash;
}

static void table_insert(const Expr **table, uint32_t size, const Expr *e)
{
    uint32_t at = e->hash & (size - 1);
    while (table[at])
        at = (at + 1) & (size - 1);
    table[at] = e;
}

#define FREE_BOUND_BIT ((uint64_t)1 << 63)

static bool is_reduction(const Expr *e)
{
    return e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN;
}

bool expr_set_has(const ExprVarSet *set, int32_t var)
{
    for (int k = 0; set && k < set->count; k++)
        if (set->var[k] == var)
            return true;
    return false;
}

/* a united with b without `except`; shares a or b where that is the result. */
static const ExprVarSet *set_union(Arena *arena, const ExprVarSet *a, const ExprVarSet *b, int32_t except)
{
    int extra = 0;
    for (int k = 0; b && k < b->count; k++)
        extra += b->var[k] != except && !expr_set_has(a, b->var[k]);
    if (extra == 0)
        return a;
    if (!a && extra == b->count)
        return b;
    int count = a ? a->count : 0;
    ExprVarSet *result = arena_alloc(arena, sizeof *result + (size_t)(count + extra) * sizeof result->var[0]);
    if (a)
        memcpy(result->var, a->var, (size_t)count * sizeof result->var[0]);
    for (int k = 0; k < b->count; k++)
        if (b->var[k] != except && !expr_set_has(a, b->var[k]))
            result->var[count++] = b->var[k];
    result->count = count;
    return result;
}

bool expr_uses(const Expr *e, VarId var)
{
    return (int)var < VAR_FIRST_BOUND ? e->vars >> var & 1 : expr_set_has(e->free_bound, (int32_t)var);
}

/* vars, tree, depth and bound_top from the operands. */
static void summarise(Arena *arena, Expr *e)
{
    uint64_t tree = 1;
    int depth = 0;
    for (int k = 0; k < e->arity; k++) {
        const Expr *arg = e->args[k];
        e->vars |= arg->vars;
        e->free_bound =
            set_union(arena, e->free_bound, arg->free_bound, is_reduction(e) && k == 1 ? e->index : -1);
        tree += arg->tree;
        depth = arg->depth > depth ? arg->depth : depth;
        e->bound_top = arg->bound_top > e->bound_top ? arg->bound_top : e->bound_top;
    }
    e->tree = tree > UINT32_MAX ? UINT32_MAX : (uint32_t)tree;
    e->depth = (uint16_t)(depth + 1);
    bool bound = e->op == EXPR_VAR && e->index >= VAR_FIRST_BOUND;
    if ((bound || is_reduction(e)) && e->index < EXPR_FIRST_FRESH &&
        e->index - VAR_FIRST_BOUND >= e->bound_top)
        e->bound_top = (uint16_t)(e->index - VAR_FIRST_BOUND + 1);
    if (bound) {
        ExprVarSet *self = arena_alloc(arena, sizeof *self + sizeof self->var[0]);
        self->count = 1;
        self->var[0] = e->index;
        e->free_bound = self;
    } else if (e->op == EXPR_VAR) {
        e->vars |= (uint64_t)1 << e->index;
    }
    e->vars = e->free_bound ? e->vars | FREE_BOUND_BIT : e->vars & ~FREE_BOUND_BIT;
}

const Expr *expr_intern(ExprPool *pool, ExprOp op, ExprType type, int32_t index, uint64_t bits,
                        const Expr *const *args, int count)
{
    uint32_t hash = hash_of(op, type, index, bits, args, count), mask = pool->table_size - 1;
    for (uint32_t at = hash & mask; pool->table[at]; at = (at + 1) & mask) {
        const Expr *e = pool->table[at];
        if (e->hash == hash && e->op == op && e->type == type && e->index == index && e->value.bits == bits &&
            e->arity == count && (count == 0 || memcmp(e->args, args, (size_t)count * sizeof *args) == 0))
            return e;
    }
    Expr *e = arena_alloc(pool->arena, sizeof *e + (size_t)count * sizeof *args);
    e->op = (uint16_t)op;
    e->type = (uint8_t)type;
    e->arity = (uint8_t)count;
    e->index = index;
    e->id = pool->count;
    e->span = pool->span;
    e->value.bits = bits;
    e->hash = hash;
    if (count > 0)
        memcpy(e->args, args, (size_t)count * sizeof *args);
    summarise(pool->arena, e);
    if (e->depth > EXPR_MAX_DEPTH)
        arena_fail(pool->arena);
    if ((pool->count + 1) * 2 > pool->table_size) {
        const Expr **grown = ARENA_ARRAY(pool->arena, const Expr *, (size_t)pool->table_size * 2);
        for (uint32_t at = 0; at < pool->table_size; at++)
            if (pool->table[at])
                table_insert(grown, pool->table_size * 2, pool->table[at]);
        pool->table = grown;
        pool->table_size *= 2;
    }
    pool->count++;
    table_insert(pool->table, pool->table_size, e);
    return e;
}

bool expr_is_constant(const Expr *e)
{
    return e->op == EXPR_INT || e->op == EXPR_FLOAT || e->op == EXPR_BOOL;
}

/* One path down only: operands that differ as pointers differ in structure, so the first pair decides. */
int expr_compare(const Expr *a, const Expr *b)
{
    while (a != b) {
        bool a_constant = expr_is_constant(a), b_constant = expr_is_constant(b);
        if (a_constant != b_constant)
            return a_constant ? 1 : -1;
        if (a->op != b->op)
            return a->op < b->op ? -1 : 1;
        if (a->type != b->type)
            return a->type < b->type ? -1 : 1;
        if (a->index != b->index)
            return a->index < b->index ? -1 : 1;
        if (a->value.bits != b->value.bits) {
            if (a->op == EXPR_FLOAT && a->value.f != b->value.f)
                return a->value.f < b->value.f ? -1 : 1;
            return a->value.i < b->value.i ? -1 : 1;
        }
        if (a->arity != b->arity)
            return a->arity < b->arity ? -1 : 1;
        int k = 0;
        while (k < a->arity && a->args[k] == b->args[k])
            k++;
        assert(k < a->arity);
        a = a->args[k];
        b = b->args[k];
    }
    return 0;
}

/* Constructors ------------------------------------------------------------------------------------------- */

const Expr *expr_int(ExprPool *pool, int64_t value)
{
    return expr_intern(pool, EXPR_INT, TYPE_INT, 0, (uint64_t)value, NULL, 0);
}

const Expr *expr_float(ExprPool *pool, double value)
{
    union {
        double f;
        uint64_t bits;
    } u = {.f = value == value ? value : (double)__builtin_nan("")};
    return expr_intern(pool, EXPR_FLOAT, TYPE_FLOAT, 0, u.bits, NULL, 0);
}

const Expr *expr_bool(ExprPool *pool, bool value)
{
    return expr_intern(pool, EXPR_BOOL, TYPE_BOOL, 0, value, NULL, 0);
}

const Expr *expr_var(ExprPool *pool, VarId var, ExprType type)
{
    return expr_intern(pool, EXPR_VAR, type, (int32_t)var, 0, NULL, 0);
}

const Expr *expr_param(ExprPool *pool, int index, ExprType type)
{
    return expr_intern(pool, EXPR_PARAM, type, index, 0, NULL, 0);
}

const Expr *expr_arg(ExprPool *pool, int index, ExprType type)
{
    return expr_intern(pool, EXPR_ARG, type, index, 0, NULL, 0);
}

const Expr *expr_input(ExprPool *pool, int tensor, ExprType type, const Expr *const *indices, int count)
{
    assert(count <= EXPR_MAX_ARGS);
    for (int k = 0; k < count; k++)
        assert(indices[k]->type == TYPE_INT);
    return expr_intern(pool, EXPR_INPUT, type, tensor, 0, indices, count);
}

const Expr *expr_elem(ExprPool *pool, ElemOf of, const Expr *channel, const Expr *back)
{
    const Expr *args[2] = {channel, of == ELEM_X && !back ? expr_int(pool, 0) : back};
    return expr_intern(pool, EXPR_ELEM, TYPE_FLOAT, (int32_t)of, 0, args, of == ELEM_X ? 2 : 1);
}

ExprType expr_operand_type(ExprOp op, const Expr *const *args)
{
    const char *n = strchr(expr_op_info[op].signature, 'n');
    return (ExprType)args[n ? n - expr_op_info[op].signature : 0]->type;
}

ExprType expr_result_type(ExprOp op, const Expr *const *args)
{
    switch (expr_op_info[op].signature[expr_op_info[op].arity]) {
    case 'b': return TYPE_BOOL;
    case 'i': return TYPE_INT;
    case 'f': return TYPE_FLOAT;
    default: return expr_operand_type(op, args);
    }
}

static bool types_right(ExprOp op, const Expr *const *args)
{
    const ExprOpInfo *info = &expr_op_info[op];
    for (int k = 0; k < info->arity; k++) {
        ExprType type = (ExprType)args[k]->type;
        switch (info->signature[k]) {
        case 'b':
            if (type != TYPE_BOOL)
                return false;
            break;
        case 'i':
            if (type != TYPE_INT)
                return false;
            break;
        case 'f':
            if (type != TYPE_FLOAT)
                return false;
            break;
        default:
            if (type != expr_operand_type(op, args) || type == TYPE_BOOL)
                return false;
            break;
        }
    }
    return true;
}

static const Expr *construct(ExprPool *pool, ExprOp op, const Expr **args)
{
    const ExprOpInfo *info = &expr_op_info[op];
    assert(types_right(op, args));
    (void)types_right;
    /* min and max of floats are left alone: which operand stands first decides between -0 and 0, and about
     * NaN. */
    bool ordered = (op == EXPR_MIN || op == EXPR_MAX) && args[0]->type == TYPE_FLOAT;
    if (info->commutative && !ordered && expr_compare(args[0], args[1]) > 0) {
        const Expr *swap = args[0];
        args[0] = args[1];
        args[1] = swap;
    }
    ExprType type = expr_result_type(op, args);
    const Expr *simpler = expr_simplify(pool, op, type, args);
    return simpler ? simpler : expr_intern(pool, op, type, 0, 0, args, info->arity);
}

const Expr *expr_op1(ExprPool *pool, ExprOp op, const Expr *a)
{
    assert(expr_op_info[op].arity == 1);
    return construct(pool, op, (const Expr *[2]){a});
}

const Expr *expr_op2(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b)
{
    assert(expr_op_info[op].arity == 2 && op != EXPR_SUM && op != EXPR_REDMAX && op != EXPR_REDMIN);
    return construct(pool, op, (const Expr *[]){a, b});
}

const Expr *expr_op3(ExprPool *pool, ExprOp op, const Expr *a, const Expr *b, const Expr *c)
{
    assert(expr_op_info[op].arity == 3);
    return construct(pool, op, (const Expr *[]){a, b, c});
}

const Expr *expr_rebuild(ExprPool *pool, const Expr *like, const Expr *const *args)
{
    switch ((ExprOp)like->op) {
    case EXPR_INT:
    case EXPR_FLOAT:
    case EXPR_BOOL:
    case EXPR_VAR:
    case EXPR_PARAM:
    case EXPR_ARG: return like;
    case EXPR_INPUT:
    case EXPR_ELEM:
        return expr_intern(pool, (ExprOp)like->op, (ExprType)like->type, like->index, 0, args, like->arity);
    case EXPR_SUM:
    case EXPR_REDMAX:
    case EXPR_REDMIN: return expr_reduce(pool, (ExprOp)like->op, (VarId)like->index, args[0], args[1]);
    default: {
        const Expr *copy[EXPR_MAX_ARGS];
        memcpy(copy, args, like->arity * sizeof *args);
        return construct(pool, (ExprOp)like->op, copy);
    }
    }
}

/* Memo --------------------------------------------------------------------------------------------------- */

static uint32_t memo_slot(const ExprMemo *memo, const Expr *key)
{
    uint32_t at = key->hash & (memo->size - 1);
    while (memo->keys[at] && memo->keys[at] != key)
        at = (at + 1) & (memo->size - 1);
    return at;
}

const void *expr_memo_get(const ExprMemo *memo, const Expr *key)
{
    return memo->size ? memo->values[memo_slot(memo, key)] : NULL;
}

void expr_memo_set(ExprMemo *memo, const Expr *key, const void *value)
{
    if (memo->count * 2 >= memo->size) {
        ExprMemo grown = {
            .arena = memo->arena, .size = memo->size ? memo->size * 2 : 32, .count = memo->count};
        grown.keys = ARENA_ARRAY(memo->arena, const Expr *, grown.size);
        grown.values = ARENA_ARRAY(memo->arena, const void *, grown.size);
        for (uint32_t at = 0; at < memo->size; at++)
            if (memo->keys[at]) {
                uint32_t to = memo_slot(&grown, memo->keys[at]);
                grown.keys[to] = memo->keys[at];
                grown.values[to] = memo->values[at];
            }
        *memo = grown;
    }
    uint32_t at = memo_slot(memo, key);
    memo->count += memo->keys[at] == NULL;
    memo->keys[at] = key;
    memo->values[at] = value;
}

/* Substitution ------------------------------------------------------------------------------------------- */

typedef struct Substitution {
    ExprPool *pool;
    const Expr *(*map)(void *user, const Expr *leaf);
    void *user;
    ExprMemo memo;
} Substitution;

typedef struct Rename {
    int32_t from;
    const Expr *to;
} Rename;

static const Expr *map_rename(void *user, const Expr *leaf)
{
    const Rename *rename = user;
    return leaf->op == EXPR_VAR && leaf->index == rename->from ? rename->to : NULL;
}

static const Expr *rename_var(ExprPool *pool, const Expr *e, int32_t from, int32_t to)
{
    Rename rename = {from, expr_var(pool, (VarId)to, TYPE_INT)};
    return expr_substitute(pool, e, map_rename, &rename);
}

/* The caller's map, without the variable of the reduction that was opened. */
typedef struct Opened {
    const Expr *(*map)(void *user, const Expr *leaf);
    void *user;
    int32_t fresh;
} Opened;

static const Expr *map_opened(void *user, const Expr *leaf)
{
    const Opened *opened = user;
    if (leaf->op == EXPR_VAR && leaf->index == opened->fresh)
        return NULL;
    return opened->map(opened->user, leaf);
}

static const Expr *substitute(Substitution *s, const Expr *e)
{
    if (expr_is_constant(e))
        return e;
    bool renaming = s->map == map_rename;
    if (renaming && !expr_set_has(e->free_bound, ((Rename *)s->user)->from))
        return e;
    const Expr *result = expr_memo_get(&s->memo, e);
    if (result)
        return result;
    const Expr *args[EXPR_MAX_ARGS];
    if (expr_op_info[e->op].leaf)
        result = s->map(s->user, e);
    if (!result && is_reduction(e) && renaming) {
        /* Names of inner reductions stay: they are below the one being renamed, so nothing is captured. */
        args[0] = substitute(s, e->args[0]);
        args[1] = substitute(s, e->args[1]);
        result = expr_intern(s->pool, (ExprOp)e->op, (ExprType)e->type, e->index, 0, args, 2);
    } else if (!result && is_reduction(e)) {
        /* The body is opened with a fresh variable, so that neither the map sees the bound one nor a
         * replacement is captured by it. */
        VarId fresh = expr_fresh_bound(s->pool);
        Opened opened = {s->map, s->user, (int32_t)fresh};
        Substitution inner = {
            .pool = s->pool, .map = map_opened, .user = &opened, .memo = {.arena = s->pool->arena}};
        const Expr *open = rename_var(s->pool, e->args[1], e->index, (int32_t)fresh);
        const Expr *extent = substitute(s, e->args[0]), *body = substitute(&inner, open);
        bool same = extent == e->args[0] && body == open;
        result = same ? e : expr_reduce(s->pool, (ExprOp)e->op, fresh, extent, body);
    } else if (!result) {
        bool changed = false;
        for (int k = 0; k < e->arity; k++) {
            args[k] = substitute(s, e->args[k]);
            changed |= args[k] != e->args[k];
        }
        result = changed ? expr_rebuild(s->pool, e, args) : e;
    }
    expr_memo_set(&s->memo, e, result);
    return result;
}

const Expr *expr_substitute(ExprPool *pool, const Expr *e, const Expr *(*map)(void *user, const Expr *leaf),
                            void *user)
{
    Substitution s = {.pool = pool, .map = map, .user = user, .memo = {.arena = pool->arena}};
    return substitute(&s, e);
}

const Expr *expr_reduce(ExprPool *pool, ExprOp op, VarId bound, const Expr *extent, const Expr *body)
{
    assert(extent->type == TYPE_INT && body->type != TYPE_BOOL && (int)bound >= VAR_FIRST_BOUND);
    if (extent->op == EXPR_INT && extent->value.i <= 0 && op == EXPR_SUM)
        return body->type == TYPE_INT ? expr_int(pool, 0) : expr_float(pool, 0);
    const Expr *open = body;
    VarId name = bound;
    if ((int)bound < EXPR_FIRST_FRESH) {
        name = expr_fresh_bound(pool);
        open = rename_var(pool, body, (int32_t)bound, (int32_t)name);
    }
    int32_t canonical = VAR_FIRST_BOUND + open->bound_top;
    if (canonical != (int32_t)bound)
        body = rename_var(pool, open, (int32_t)name, canonical);
    return expr_intern(pool, op, (ExprType)body->type, canonical, 0, (const Expr *[]){extent, body}, 2);
}

/* Walks -------------------------------------------------------------------------------------------------- */

static void walk(uint8_t *seen, const Expr *e, void (*visit)(void *user, const Expr *e), void *user)
{
    if (seen[e->id / 8] >> (e->id % 8) & 1)
        return;
    seen[e->id / 8] |= (uint8_t)(1 << (e->id % 8));
    for (int k = 0; k < e->arity; k++)
        walk(seen, e->args[k], visit, user);
    visit(user, e);
}

void expr_walk(Arena *arena, const Expr *e, void (*visit)(void *user, const Expr *e), void *user)
{
    walk(arena_alloc(arena, e->id / 8 + 1), e, visit, user); /* operands have smaller ids */
}

static void count_node(void *user, const Expr *e)
{
    (void)e;
    ++*(size_t *)user;
}

size_t expr_count(Arena *arena, const Expr *e)
{
    size_t count = 0;
    expr_walk(arena, e, count_node, &count);
    return count;
}
