/* propagate: constants and copies go where they are read.
 *
 * A map's operand that is a constant scalar becomes a constant of its Expr, where the laws of Exprs get at it; an
 * operand that is named twice is named once, a scalar that is not read not at all; what merely repeats a value is
 * replaced by it; an `if` whose condition has become constant is replaced by the branch that runs. What nobody reads
 * afterwards is left to simplify. */
#include "schedule.h"

typedef struct Propagate {
    Program *program;
    Inst **replacement;           /* by id: what the value repeats */
    Inst *operands[INST_MAX_ARGS]; /* of the map at hand */
    int operand_count;
    const Expr *meaning[INST_MAX_ARGS];
} Propagate;

static const Expr *constant_of(const Inst *inst)
{
    bool leaf = inst->op == TILE_MAP && (inst->expr->op == EXPR_INT || inst->expr->op == EXPR_FLOAT ||
                                         inst->expr->op == EXPR_BOOL);
    return leaf && inst->type.axis_count == 0 ? inst->expr : NULL;
}

/* An f32 value is its constant rounded. */
static const Expr *as_stored(ExprPool *pool, const Inst *inst, const Expr *constant)
{
    if (constant->op != EXPR_FLOAT)
        return constant;
    return inst->type.elem == ELEM_TYPE_F32 ? expr_float(pool, (double)(float)constant->value.f) : NULL;
}

static const Expr *operand_meaning(void *user, const Expr *leaf)
{
    const Propagate *p = user;
    return leaf->op == EXPR_ARG ? p->meaning[leaf->index] : NULL;
}

static void note_operand(Propagate *p, int k, Inst *operand, ExprType type)
{
    ExprPool *pool = p->program->pool;
    const Expr *constant = constant_of(operand);
    p->meaning[k] = constant ? as_stored(pool, operand, constant) : NULL;
    if (p->meaning[k])
        return;
    int at = 0;
    while (at < p->operand_count && p->operands[at] != operand)
        at++;
    if (at == p->operand_count)
        p->operands[p->operand_count++] = operand;
    p->meaning[k] = expr_arg(pool, at, type);
}

static void note_use(void *user, const Expr *e)
{
    if (e->op == EXPR_ARG)
        ((bool *)user)[e->index] = true;
}

/* Scalars that the Expr does not read; a tile may be there for its axes. */
static bool drop_unread(Propagate *p, Inst *inst)
{
    bool read[INST_MAX_ARGS] = {false};
    expr_walk(p->program->arena, inst->expr, note_use, read);
    p->operand_count = 0;
    for (int k = 0; k < inst->arg_count; k++)
        if (read[k] || inst->args[k]->type.axis_count > 0)
            note_operand(p, k, inst->args[k], elem_class(inst->args[k]->type.elem));
    return p->operand_count < inst->arg_count;
}

static void renumber(Propagate *p, Inst *inst)
{
    inst->expr = expr_substitute(p->program->pool, inst->expr, operand_meaning, p);
    for (int k = 0; k < p->operand_count; k++)
        inst->args[k] = p->operands[k];
    inst->arg_count = p->operand_count;
}

static void propagate_map(Propagate *p, Inst *inst)
{
    while (drop_unread(p, inst)) /* the laws may leave operands unread */
        renumber(p, inst);
}

static bool is_copy(const Inst *inst)
{
    const Inst *from = inst->arg_count == 1 ? inst->args[0] : NULL;
    return from && from->op != TILE_VAR && inst->expr->op == EXPR_ARG && inst->type.elem == from->type.elem &&
           inst->type.axis_count == from->type.axis_count;
}

/* The branch that runs takes the place of the `if`. */
static void take_branch(Inst *inst)
{
    Block *chosen = constant_of(inst->args[0])->value.i ? inst->body : inst->orelse, *into = inst->parent;
    for (Inst *at = chosen ? chosen->first : NULL; at; at = at->next)
        at->parent = into;
    if (chosen && chosen->first) {
        chosen->first->prev = inst->prev;
        chosen->last->next = inst;
        *(inst->prev ? &inst->prev->next : &into->first) = chosen->first;
        inst->prev = chosen->last;
    }
    inst_remove(inst);
}

static Inst *resolve(const Propagate *p, Inst *inst)
{
    while (inst && p->replacement[inst->id])
        inst = p->replacement[inst->id];
    return inst;
}

static void propagate_block(Propagate *p, Block *block)
{
    for (Inst *inst = block ? block->first : NULL, *next; inst; inst = next) {
        next = inst->next;
        for (int k = 0; k < inst->arg_count; k++)
            inst->args[k] = resolve(p, inst->args[k]);
        inst->guard = resolve(p, inst->guard);
        if (inst->op == TILE_MAP) {
            propagate_map(p, inst);
            if (is_copy(inst))
                p->replacement[inst->id] = inst->args[0];
        }
        propagate_block(p, inst->body);
        propagate_block(p, inst->orelse);
        if (inst->op == TILE_IF && constant_of(inst->args[0]))
            take_branch(inst);
    }
}

void schedule_propagate(Program *program, Diag *diag)
{
    (void)diag;
    Propagate p = {.program = program};
    p.replacement = ARENA_ARRAY(program->arena, Inst *, program->next_id);
    for (int k = 0; k < program->phase_count; k++)
        propagate_block(&p, program->phases[k].body);
}
