#include "lanes.h"

#include "compiler/spec/expr_meaning.h"

#include <string.h>

typedef struct Node { const Expr *e; int reg; } Node;

typedef struct LaneBuilder {
    Arena *arena;
    Lanes *lanes;
    Node *table; /* by node, open addressing */
    size_t table_size;
    ExprValue (*leaf)(void *user, const Expr *e);
    void *user;
} LaneBuilder;

static Node *find(const LaneBuilder *b, const Expr *e)
{
    size_t at = (e->id * (size_t)2654435761u) & (b->table_size - 1);
    while (b->table[at].e && b->table[at].e != e)
        at = (at + 1) & (b->table_size - 1);
    return &b->table[at];
}

static void fill(LaneData reg, bool is_float, ExprValue value, int width)
{
    for (int k = 0; k < width; k++)
        if (is_float)
            reg.f[k] = (float)value.f;
        else
            reg.i[k] = value.i;
}

/* Operands come first. */
static void add_node(void *user, const Expr *e)
{
    LaneBuilder *b = user;
    Lanes *lanes = b->lanes;
    int reg = lanes->reg_count++;
    bool is_float = e->type == TYPE_FLOAT;
    *find(b, e) = (Node){e, reg};
    lanes->reg[reg].p = lanes->own[reg].p =
        arena_array(b->arena, (size_t)lanes->width, is_float ? sizeof(float) : sizeof(int64_t));
    switch ((ExprOp)e->op) {
    case EXPR_INT:
    case EXPR_BOOL:
    case EXPR_FLOAT:
        fill(lanes->reg[reg], is_float,
             e->op == EXPR_FLOAT ? (ExprValue){.f = e->value.f} : (ExprValue){.i = e->value.i}, lanes->width);
        return;
    case EXPR_VAR:
    case EXPR_PARAM:
        fill(lanes->reg[reg], is_float, b->leaf(b->user, e), lanes->width);
        return;
    case EXPR_ARG:
        lanes->arg_reg[e->index] = reg;
        return;
    default:
        break;
    }
    LaneStep *step = &lanes->steps[lanes->step_count++];
    step->op = e->op;
    step->out = reg;
    step->float_result = is_float;
    step->float_operands = e->args[e->op == EXPR_SELECT ? 1 : 0]->type == TYPE_FLOAT;
    /* operands that are not there repeat the last, so that all of them can be read */
    for (int k = 0; k < 3; k++)
        step->x[k] = find(b, e->args[k < e->arity ? k : e->arity - 1])->reg;
}

Lanes *lanes_compile(Arena *arena, const Expr *e, int arg_count, int width,
                     ExprValue (*leaf)(void *user, const Expr *e), void *user)
{
    size_t count = expr_count(arena, e);
    Lanes *lanes = ARENA_NEW(arena, Lanes);
    LaneBuilder builder = {.arena = arena, .lanes = lanes, .table_size = 16, .leaf = leaf, .user = user};
    while (builder.table_size < 2 * count)
        builder.table_size *= 2;
    builder.table = ARENA_ARRAY(arena, Node, builder.table_size);
    lanes->width = width;
    lanes->arg_count = arg_count;
    lanes->steps = ARENA_ARRAY(arena, LaneStep, count);
    lanes->reg = ARENA_ARRAY(arena, LaneData, count);
    lanes->own = ARENA_ARRAY(arena, LaneData, count);
    lanes->arg_reg = ARENA_ARRAY(arena, int, (size_t)arg_count);
    memset(lanes->arg_reg, -1, (size_t)arg_count * sizeof(int));
    expr_walk(arena, e, add_node, &builder);
    lanes->result = find(&builder, e)->reg;
    lanes->float_result = e->type == TYPE_FLOAT;
    return lanes;
}

/* One operator over n lanes, in the four combinations of operands and result; its row's meaning stands where
 * a, b, c are in scope. A float select has its bool condition p besides. */
#define NONE 0
#define LEAF 0
#define REDUCE 0
#define FLOAT_LANES(id, result, type, meaning)                                                               \
    for (int k = 0; k < n; k++) {                                                                            \
        const double a = EXPR_##id == EXPR_SELECT ? 0 : (double)x.f[k], b = (double)y.f[k],                  \
                     c = (double)z.f[k];                                                                     \
        const int64_t p = EXPR_##id == EXPR_SELECT ? x.i[k] : 0;                                             \
        (void)a, (void)b, (void)c, (void)p;                                                                  \
        out.result[k] = (type)(meaning);                                                                     \
    }
#define INT_LANES(result, type, meaning)                           \
    for (int k = 0; k < n; k++) {                                  \
        const int64_t a = x.i[k], b = y.i[k], c = z.i[k];          \
        (void)a, (void)b, (void)c;                                 \
        out.result[k] = (type)(meaning);                           \
    }
#define EXPR_OP(id, name, arity, signature, flags, ints, floats, range, derivative) \
    case EXPR_##id:                                                                 \
        if (step->float_operands && step->float_result)                             \
            FLOAT_LANES(id, f, float, floats)                                       \
        else if (step->float_operands)                                              \
            FLOAT_LANES(id, i, int64_t, floats)                                     \
        else if (step->float_result)                                                \
            INT_LANES(f, float, ints)                                               \
        else                                                                        \
            INT_LANES(i, int64_t, ints)                                             \
        break;

void lanes_run(const Lanes *lanes, int n)
{
    for (const LaneStep *step = lanes->steps, *end = step + lanes->step_count; step < end; step++) {
        const LaneData x = lanes->reg[step->x[0]], y = lanes->reg[step->x[1]], z = lanes->reg[step->x[2]];
        const LaneData out = lanes->reg[step->out];
        switch ((ExprOp)step->op) {
#include "compiler/spec/expr_ops.def"
        case EXPR_OP_COUNT:
            break;
        }
    }
}
