/* simplify: dead code goes; equal pure instructions of one block are computed once.
 *
 * A value is pure when it reads no memory and no var; loads count as pure unless the phase also stores
 * to that tensor (workspaces are filled by earlier phases). */
#include <string.h>

#include "schedule.h"

typedef struct Simplify {
    Program *program;
    uint32_t *uses;      /* by id */
    Inst **replacement;  /* by id */
    bool *stored;        /* by tensor */
    bool changed;
} Simplify;

static Inst *resolve(Simplify *s, Inst *inst)
{
    while (inst && s->replacement[inst->id])
        inst = s->replacement[inst->id];
    return inst;
}

static void resolve_operands(void *user, Inst *inst)
{
    Simplify *s = user;
    for (int i = 0; i < inst->arg_count; i++)
        inst->args[i] = resolve(s, inst->args[i]);
    inst->guard = resolve(s, inst->guard);
}

static void count_uses(void *user, Inst *inst)
{
    Simplify *s = user;
    for (int i = 0; i < inst->arg_count; i++)
        s->uses[inst->args[i]->id]++;
    if (inst->guard)
        s->uses[inst->guard->id]++;
    /* Writing a var does not use it. */
}

static void note_stores(Simplify *s, const Block *block)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        if (inst->op == TILE_STORE)
            s->stored[inst->tensor] = true;
        note_stores(s, inst->body);
        note_stores(s, inst->orelse);
    }
}

static bool reads_var(const Inst *inst)
{
    for (int i = 0; i < inst->arg_count; i++)
        if (inst->args[i]->op == TILE_VAR)
            return true;
    return inst->guard && inst->guard->op == TILE_VAR;
}

static bool mergeable(const Simplify *s, const Inst *inst)
{
    switch (inst->op) {
    case TILE_INDEX:
    case TILE_GRID:
    case TILE_SEQ:
        return true;
    case TILE_MAP:
    case TILE_REDUCE:
        return !reads_var(inst);
    case TILE_CONTRACT:
        return !inst->target && !reads_var(inst);
    case TILE_LOAD:
        return !s->stored[inst->tensor] && !reads_var(inst);
    default:
        return false;
    }
}

static bool same(const Inst *a, const Inst *b)
{
    if (a->op != b->op || a->arg_count != b->arg_count || a->guard != b->guard || a->axis != b->axis || a->expr != b->expr ||
        a->reduce != b->reduce || a->tensor != b->tensor || a->seq != b->seq || a->grid != b->grid || a->type.elem != b->type.elem)
        return false;
    for (int i = 0; i < a->arg_count; i++)
        if (a->args[i] != b->args[i])
            return false;
    return true;
}

static uint32_t hash(const Inst *inst)
{
    uint32_t h = (uint32_t)inst->op * 31 + (uint32_t)inst->axis * 7 + (uint32_t)inst->tensor * 131 + (uint32_t)inst->type.elem;
    h = h * 16777619u ^ (inst->expr ? inst->expr->id : 0) ^ (uint32_t)inst->grid << 8 ^ (uint32_t)inst->seq << 4;
    for (int i = 0; i < inst->arg_count; i++)
        h = h * 16777619u ^ inst->args[i]->id;
    return h ^ (inst->guard ? inst->guard->id * 97 : 0);
}

static void merge_block(Simplify *s, Block *block)
{
    size_t count = 1;
    for (Inst *inst = block->first; inst; inst = inst->next)
        count++;
    size_t capacity = 16;
    while (capacity < count * 2)
        capacity *= 2;
    Inst **table = ARENA_ARRAY(s->program->arena, Inst *, capacity);
    for (Inst *inst = block->first, *next; inst; inst = next) {
        next = inst->next;
        resolve_operands(s, inst);
        if (inst->body)
            merge_block(s, inst->body);
        if (inst->orelse)
            merge_block(s, inst->orelse);
        if (!mergeable(s, inst))
            continue;
        for (size_t at = hash(inst);; at++) {
            Inst **slot = &table[at & (capacity - 1)];
            if (!*slot) {
                *slot = inst;
                break;
            }
            if (same(*slot, inst)) {
                s->replacement[inst->id] = *slot;
                inst_remove(inst);
                s->changed = true;
                break;
            }
        }
    }
}

static bool is_dead(const Simplify *s, const Inst *inst)
{
    switch (inst->op) {
    case TILE_STORE:
        return false;
    case TILE_SET:
        return s->uses[inst->target->id] == 0;
    case TILE_CONTRACT:
        return inst->target ? s->uses[inst->target->id] == 0 : s->uses[inst->id] == 0;
    case TILE_FOR:
        return !inst->body->first && s->uses[inst->id] == 0;
    case TILE_IF:
        return !inst->body->first && (!inst->orelse || !inst->orelse->first);
    default:
        return s->uses[inst->id] == 0;
    }
}

static void sweep_block(Simplify *s, Block *block)
{
    for (Inst *inst = block->last, *prev; inst; inst = prev) {
        prev = inst->prev;
        if (inst->body)
            sweep_block(s, inst->body);
        if (inst->orelse)
            sweep_block(s, inst->orelse);
        if (!is_dead(s, inst))
            continue;
        for (int i = 0; i < inst->arg_count; i++)
            s->uses[inst->args[i]->id]--;
        if (inst->guard)
            s->uses[inst->guard->id]--;
        inst_remove(inst);
        s->changed = true;
    }
}

void schedule_simplify(Program *program, Diag *diag)
{
    (void)diag;
    do {
        Simplify s = {.program = program};
        s.uses = ARENA_ARRAY(program->arena, uint32_t, program->next_id);
        s.replacement = ARENA_ARRAY(program->arena, Inst *, program->next_id);
        s.stored = ARENA_ARRAY(program->arena, bool, PROGRAM_MAX_TENSORS);
        for (int p = 0; p < program->phase_count; p++) {
            memset(s.stored, 0, PROGRAM_MAX_TENSORS * sizeof *s.stored);
            note_stores(&s, program->phases[p].body);
            merge_block(&s, program->phases[p].body);
        }
        program_walk(program, count_uses, &s);
        for (int p = 0; p < program->phase_count; p++)
            sweep_block(&s, program->phases[p].body);
        if (!s.changed)
            break;
    } while (true);
}
