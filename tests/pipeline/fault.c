/* Making faults: see fault.h. The places are found by one walk that counts them; the fault asked for is made on
 * the way. A value that reaches memory or a var is `data` and may be wrong in any way; one that only decides which
 * tiles are visited may be wrong only in the direction that leaves something out. */
#include "fault.h"

#include <math.h>

typedef struct Seeder {
    Program *program;
    int wanted, count;
    const char *kind;
    const Inst *where;
    bool *data;                            /* by id */
    bool tensor_data[PROGRAM_MAX_TENSORS]; /* workspaces whose elements are data */
    bool *rescaled;                        /* vars: what they begin with is multiplied by zero */
    bool changed;
    uint32_t known;                        /* ids of the sound Program are below */
} Seeder;

static bool here(Seeder *s, const Inst *inst, const char *kind)
{
    if (s->count++ != s->wanted)
        return false;
    s->kind = kind;
    s->where = inst;
    return true;
}

/* What is data ------------------------------------------------------------------------------------------- */

static void mark(Seeder *s, const Inst *inst)
{
    if (!inst || s->data[inst->id])
        return;
    s->data[inst->id] = s->changed = true;
}

static bool is_data_tensor(const Seeder *s, int tensor)
{
    return s->program->tensors[tensor].role != ROLE_WORKSPACE || s->tensor_data[tensor];
}

static void mark_operands(void *user, Inst *inst)
{
    Seeder *s = user;
    bool into = inst->op == TILE_SET || (inst->op == TILE_CONTRACT && inst->target);
    bool data = into ? s->data[inst->target->id] : s->data[inst->id];
    if (inst->op == TILE_STORE)
        data = is_data_tensor(s, inst->tensor);
    if (!data || inst->op == TILE_FOR)
        return;
    for (int k = 0; k < inst->arg_count; k++)
        mark(s, inst->args[k]);
    mark(s, inst->guard);
    if (inst->op == TILE_LOAD && !s->tensor_data[inst->tensor])
        s->tensor_data[inst->tensor] = s->changed = true;
}

static void find_data(Seeder *s)
{
    do {
        s->changed = false;
        program_walk(s->program, mark_operands, s);
    } while (s->changed);
}

static bool multiplies(const Expr *e, int arg)
{
    for (int k = 0; k < e->arity; k++)
        if ((e->op == EXPR_MUL && e->args[k]->op == EXPR_ARG && e->args[k]->index == arg) ||
            multiplies(e->args[k], arg))
            return true;
    return false;
}

static void find_rescaled(void *user, Inst *inst)
{
    Seeder *s = user;
    const Inst *value = inst->op == TILE_SET ? inst->args[0] : NULL;
    for (int k = 0; value && value->op == TILE_MAP && k < value->arg_count; k++)
        if (value->args[k] == inst->target && multiplies(value->expr, k))
            s->rescaled[inst->target->id] = true;
}

/* Expressions -------------------------------------------------------------------------------------------- */

static const Expr *exchange(ExprPool *pool, const Expr *e, const Expr *old, const Expr *new)
{
    if (e == old)
        return new;
    const Expr *args[8];
    bool changed = false;
    if (e->arity > 8)
        return e;
    for (int k = 0; k < e->arity; k++) {
        args[k] = exchange(pool, e->args[k], old, new);
        changed |= args[k] != e->args[k];
    }
    return changed ? expr_rebuild(pool, e, args) : e;
}

/* One fault of the map's expression: the node is written as something else. */
static void rewrite(Seeder *s, Inst *inst, const Expr *node, const Expr *wrong, const char *kind)
{
    const Expr *e = exchange(s->program->pool, inst->expr, node, wrong);
    if (e != inst->expr && here(s, inst, kind))
        inst->expr = e;
}

/* Without ragged batches every sequence begins at row 0. */
static bool is_zero(const Seeder *s, const Inst *inst, const Expr *e)
{
    if (e->op != EXPR_ARG || s->program->rank == 1)
        return false;
    const Inst *arg = inst->args[e->index];
    return arg->op == TILE_SEQ && (arg->seq == SEQ_Q_BEGIN || arg->seq == SEQ_K_BEGIN);
}

static void fault_sum(Seeder *s, Inst *inst, const Expr *e)
{
    ExprPool *pool = s->program->pool;
    const Expr *a = e->args[0], *b = e->args[1];
    if (is_zero(s, inst, a) || is_zero(s, inst, b))
        return;
    rewrite(s, inst, e, a, "a term is missing");
    rewrite(s, inst, e, b, "a term is missing");
    if (e->op == EXPR_ADD)
        rewrite(s, inst, e, expr_op2(pool, EXPR_SUB, a, b), "- for +");
    else
        rewrite(s, inst, e, expr_op2(pool, EXPR_SUB, b, a), "operands of - swapped");
}

static void fault_quotient(Seeder *s, Inst *inst, const Expr *e)
{
    ExprPool *pool = s->program->pool;
    const Expr *groups = expr_var(pool, VAR_SIZE_G, TYPE_INT);
    if (e->type == TYPE_FLOAT)
        rewrite(s, inst, e, expr_op2(pool, EXPR_DIV, e->args[1], e->args[0]), "operands of / swapped");
    else if (e->args[1]->op == EXPR_DIV && e->args[1]->args[1] == groups)
        rewrite(s, inst, e, expr_op2(pool, EXPR_MOD, e->args[0], groups), "wrong head map");
    else
        rewrite(s, inst, e, expr_op2(pool, EXPR_MOD, e->args[0], e->args[1]), "% for /");
}

static void fault_node(Seeder *s, Inst *inst, const Expr *e)
{
    ExprPool *pool = s->program->pool;
    const Expr *a = e->arity > 0 ? e->args[0] : NULL, *b = e->arity > 1 ? e->args[1] : NULL;
    switch ((ExprOp)e->op) {
    case EXPR_AND:
    case EXPR_OR:
        rewrite(s, inst, e, a, "an operand of and, or is missing");
        rewrite(s, inst, e, b, "an operand of and, or is missing");
        break;
    case EXPR_LT:
    case EXPR_LE:
        if (a->type == TYPE_INT)
            rewrite(s, inst, e, expr_op2(pool, e->op == EXPR_LT ? EXPR_LE : EXPR_LT, a, b),
                    "< for <=, or <= for <");
        break;
    case EXPR_EQ:
        rewrite(s, inst, e, expr_op2(pool, EXPR_NE, a, b), "!= for ==");
        break;
    case EXPR_ADD:
    case EXPR_SUB:
        fault_sum(s, inst, e);
        break;
    case EXPR_MUL:
        rewrite(s, inst, e, a, "a factor is missing");
        rewrite(s, inst, e, b, "a factor is missing");
        break;
    case EXPR_DIV:
        fault_quotient(s, inst, e);
        break;
    case EXPR_MIN:
        rewrite(s, inst, e, expr_op2(pool, EXPR_MAX, a, b), "max for min");
        break;
    case EXPR_MAX:
        rewrite(s, inst, e, expr_op2(pool, EXPR_MIN, a, b), "min for max");
        break;
    case EXPR_SELECT:
        rewrite(s, inst, e, expr_op3(pool, EXPR_SELECT, a, e->args[2], b), "branches swapped");
        break;
    case EXPR_EXP:
        rewrite(s, inst, e, expr_op1(pool, EXPR_EXP2, a), "exp2 for exp");
        break;
    case EXPR_LOG:
        rewrite(s, inst, e, expr_op1(pool, EXPR_LOG2, a), "log2 for log");
        break;
    case EXPR_SIN:
        rewrite(s, inst, e, expr_op1(pool, EXPR_COS, a), "cos for sin");
        break;
    case EXPR_COS:
        rewrite(s, inst, e, expr_op1(pool, EXPR_SIN, a), "sin for cos");
        break;
    case EXPR_NEG:
        rewrite(s, inst, e, a, "wrong sign");
        break;
    case EXPR_INT:
        if (e->value.i > -(1 << 30) && e->value.i < 1 << 30)
            rewrite(s, inst, e, expr_int(pool, e->value.i + 1), "an int is off by one");
        break;
    case EXPR_FLOAT:
        if (isfinite(e->value.f) && fabs(e->value.f) > 0.01)
            rewrite(s, inst, e, expr_float(pool, e->value.f * 1.25), "wrong constant");
        break;
    default:
        break;
    }
}

typedef struct Nodes { Seeder *seeder; Inst *inst; } Nodes;

static void visit_node(void *user, const Expr *e)
{
    Nodes *nodes = user;
    fault_node(nodes->seeder, nodes->inst, e);
}

static int comparisons(const Expr *e)
{
    if (e->op != EXPR_NOT && e->op != EXPR_AND && e->op != EXPR_OR)
        return 1;
    return comparisons(e->args[0]) + (e->arity > 1 ? comparisons(e->args[1]) : 0);
}

/* Faults of a condition that go one way only: `weaker` makes it true more often, else it is true less often. In a
 * long list of reasons one covers for the other: such a condition is wrong as a whole or not at all. */
static void fault_condition(Seeder *s, Inst *inst, const Expr *e, bool weaker)
{
    ExprPool *pool = s->program->pool;
    const Expr *one = expr_int(pool, 1);
    const char *off = weaker ? "a tile test is too weak" : "a tile test is too strong";
    if (comparisons(inst->expr) > 6)
        return;
    if (e->op == EXPR_NOT) {
        fault_condition(s, inst, e->args[0], !weaker);
    } else if (e->op == EXPR_AND || e->op == EXPR_OR) {
        for (int k = 0; k < 2; k++) {
            if ((e->op == EXPR_AND) == weaker)
                rewrite(s, inst, e, e->args[k], "an operand of a tile test is missing");
            fault_condition(s, inst, e->args[k], weaker);
        }
    } else if ((e->op == EXPR_LT || e->op == EXPR_LE) && e->args[0]->type == TYPE_INT) {
        const Expr *a = e->args[0], *b = e->args[1];
        if (e->op == EXPR_LT && weaker)
            rewrite(s, inst, e, expr_op2(pool, EXPR_LE, a, b), off);
        else if (e->op == EXPR_LT)
            rewrite(s, inst, e, expr_op2(pool, EXPR_LT, expr_op2(pool, EXPR_ADD, a, one), b), off);
        else if (weaker)
            rewrite(s, inst, e, expr_op2(pool, EXPR_LE, a, expr_op2(pool, EXPR_ADD, b, one)), off);
        else
            rewrite(s, inst, e, expr_op2(pool, EXPR_LT, a, b), off);
    }
}

/* Instructions ------------------------------------------------------------------------------------------- */

static Builder before(Seeder *s, Inst *inst)
{
    return (Builder){.program = s->program, .block = inst->parent, .before = inst, .label = "fault"};
}

static Inst *shifted(Seeder *s, Inst *at, Inst *value, int64_t by)
{
    Builder b = before(s, at);
    ExprPool *pool = s->program->pool;
    return build_map(&b, expr_op2(pool, EXPR_ADD, expr_arg(pool, 0, TYPE_INT), expr_int(pool, by)), &value, 1);
}

static void fault_access(Seeder *s, Inst *inst)
{
    int indices = inst->op == TILE_STORE ? inst->arg_count - 1 : inst->arg_count;
    for (int k = 0; k < indices; k++)
        if (here(s, inst, "an index is off by one"))
            inst->args[k] = shifted(s, inst, inst->args[k], 1);
    if (inst->guard && here(s, inst, "no guard"))
        inst->guard = NULL;
    if (inst->op == TILE_STORE && here(s, inst, "no store"))
        inst_remove(inst);
}

static void fault_reduce(Seeder *s, Inst *inst)
{
    static const ReduceKind wrong[] = {[REDUCE_SUM] = REDUCE_MAX, [REDUCE_MAX] = REDUCE_MIN, [REDUCE_MIN] = REDUCE_MAX,
                                       [REDUCE_OR] = REDUCE_AND, [REDUCE_AND] = REDUCE_OR};
    if (here(s, inst, "wrong kind of reduction"))
        inst->reduce = wrong[inst->reduce];
}

static void fault_contract(Seeder *s, Inst *inst)
{
    ExprPool *pool = s->program->pool;
    if (!inst->expr && here(s, inst, "sum for product"))
        inst->expr = expr_op2(pool, EXPR_ADD, expr_arg(pool, 0, TYPE_FLOAT), expr_arg(pool, 1, TYPE_FLOAT));
    if (inst->target && here(s, inst, "no accumulation"))
        inst_remove(inst);
}

static void fault_seq(Seeder *s, Inst *inst)
{
    static const SeqField side[] = {SEQ_K_BEGIN, SEQ_K_LENGTH, SEQ_Q_BEGIN, SEQ_Q_LENGTH};
    static const SeqField part[] = {SEQ_Q_LENGTH, SEQ_Q_BEGIN, SEQ_K_LENGTH, SEQ_K_BEGIN};
    SeqField field = inst->seq;
    bool zero = is_zero(s, &(Inst){.args = &inst}, expr_arg(s->program->pool, 0, TYPE_INT));
    if (!zero && here(s, inst, "queries for keys, or keys for queries"))
        inst->seq = side[field];
    if (here(s, inst, "begin for length, or length for begin"))
        inst->seq = part[field];
}

static void fault_var(Seeder *s, Inst *inst)
{
    ExprPool *pool = s->program->pool;
    bool plain = inst->type.elem == ELEM_TYPE_F32 && !inst->args[0]->type.axis_count && !s->rescaled[inst->id];
    if (!plain || !here(s, inst, "wrong first value"))
        return;
    Builder b = before(s, inst);
    const Expr *first = expr_arg(pool, 0, TYPE_FLOAT);
    const Expr *lowest = expr_op2(pool, EXPR_EQ, first, expr_float(pool, -INFINITY));
    const Expr *wrong = expr_op3(pool, EXPR_SELECT, lowest, expr_float(pool, 3e4),
                                 expr_op2(pool, EXPR_ADD, first, expr_float(pool, 1)));
    inst->args[0] = build_map(&b, wrong, inst->args, 1);
}

static bool is_not(const Inst *cond)
{
    return cond->op == TILE_MAP && cond->expr->op == EXPR_NOT && cond->expr->args[0]->op == EXPR_ARG;
}

/* The test for a full tile inside the block, or NULL. */
static Inst *full_test(const Block *block)
{
    for (Inst *inst = block->first; inst; inst = inst->next)
        if (inst->op == TILE_IF && is_not(inst->args[0]))
            return inst->args[0]->args[inst->args[0]->expr->args[0]->index];
    return NULL;
}

static void fault_if(Seeder *s, Inst *inst)
{
    ExprPool *pool = s->program->pool;
    Inst *cond = inst->args[0];
    if (cond->id >= s->known || cond->op != TILE_MAP || cond->type.axis_count)
        return;
    if (is_not(cond)) { /* the element test is left out of full tiles */
        Inst *full = cond->args[cond->expr->args[0]->index];
        if (here(s, inst, "a partial tile is called full"))
            inst_remove(inst);
        else if (full->op == TILE_MAP)
            fault_condition(s, full, full->expr, true);
        return;
    }
    fault_condition(s, cond, cond->expr, false);
    Inst *full = full_test(inst->body);
    if (full && here(s, inst, "a full tile is called empty")) {
        Builder b = before(s, inst);
        Inst *args[] = {cond, full};
        const Expr *not_full = expr_op1(pool, EXPR_NOT, expr_arg(pool, 1, TYPE_BOOL));
        inst->args[0] = build_map(&b, expr_op2(pool, EXPR_AND, expr_arg(pool, 0, TYPE_BOOL), not_full), args, 2);
    }
}

static void fault_data(Seeder *s, Inst *inst)
{
    switch (inst->op) {
    case TILE_MAP: {
        Nodes nodes = {s, inst};
        expr_walk(s->program->arena, inst->expr, visit_node, &nodes);
        break;
    }
    case TILE_LOAD:
        fault_access(s, inst);
        break;
    case TILE_REDUCE:
        fault_reduce(s, inst);
        break;
    case TILE_CONTRACT:
        fault_contract(s, inst);
        break;
    case TILE_SEQ:
        fault_seq(s, inst);
        break;
    case TILE_VAR:
        fault_var(s, inst);
        break;
    default:
        break;
    }
}

static void visit(void *user, Inst *inst)
{
    Seeder *s = user;
    if (inst->id >= s->known)
        return;
    bool data = s->data[inst->id];
    switch (inst->op) {
    case TILE_SET:
        if (s->data[inst->target->id] && here(s, inst, "no assignment"))
            inst_remove(inst);
        break;
    case TILE_STORE:
        if (is_data_tensor(s, inst->tensor))
            fault_access(s, inst);
        break;
    case TILE_CONTRACT:
        if (data || (inst->target && s->data[inst->target->id]))
            fault_contract(s, inst);
        break;
    case TILE_FOR:
        if (here(s, inst, "the loop begins late"))
            inst->args[0] = shifted(s, inst, inst->args[0], 1);
        if (here(s, inst, "the loop ends early"))
            inst->args[1] = shifted(s, inst, inst->args[1], -1);
        break;
    case TILE_IF:
        fault_if(s, inst);
        break;
    case TILE_REDUCE: /* of a table: its range gets narrower */
        fault_reduce(s, inst);
        break;
    default:
        if (data)
            fault_data(s, inst);
        break;
    }
}

int fault_seed(Program *program, int number, const char **kind, const Inst **where)
{
    Seeder s = {.program = program, .wanted = number, .known = program->next_id};
    s.data = ARENA_ARRAY(program->arena, bool, program->next_id);
    s.rescaled = ARENA_ARRAY(program->arena, bool, program->next_id);
    find_data(&s);
    program_walk(program, find_rescaled, &s);
    program_walk(program, visit, &s);
    *kind = s.kind;
    *where = s.where;
    return s.count;
}

static void force_partial(void *user, Inst *inst)
{
    Seeder *s = user;
    if (inst->op != TILE_IF || !is_not(inst->args[0]))
        return;
    inst->args[0]->expr = expr_bool(s->program->pool, true);
    s->count++;
}

int fault_force_partial(Program *program)
{
    Seeder s = {.program = program};
    program_walk(program, force_partial, &s);
    return s.count;
}
