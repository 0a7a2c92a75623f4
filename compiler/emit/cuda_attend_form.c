/* Recognises a phase that is one sweep over key tiles with two matrix products: the form that the Hopper schedule runs. */
#include <string.h>

#include "cuda_attend.h"

typedef struct Reader {
    CudaGen *g;
    AttendForm *form;
    const char *why;
} Reader;

static bool refuse(Reader *r, const char *why)
{
    if (!r->why)
        r->why = why;
    return false;
}

static bool is_storage16(ElemType elem)
{
    return elem == ELEM_TYPE_BF16 || elem == ELEM_TYPE_F16;
}

static bool has_axes(const Inst *inst, int a, int b)
{
    int wanted = (a >= 0) + (b >= 0);
    return inst->type.axis_count == wanted && (a < 0 || inst_has_axis(inst, a)) && (b < 0 || inst_has_axis(inst, b));
}

/* Only axes out of these. */
static bool within_axes(const Inst *inst, int a, int b)
{
    for (int k = 0; k < inst->type.axis_count; k++)
        if (inst->type.axis[k] != a && inst->type.axis[k] != b)
            return false;
    return true;
}

static const Inst *only_of(const Block *block, TileOp op)
{
    const Inst *found = NULL;
    for (const Inst *inst = block->first; inst; inst = inst->next)
        if (inst->op == op) {
            if (found)
                return NULL;
            found = inst;
        }
    return found;
}

static bool holds_contract(const Block *block)
{
    for (const Inst *inst = block->first; inst; inst = inst->next)
        if (inst->op == TILE_CONTRACT)
            return true;
    return false;
}

static bool reads(const Inst *inst, const Inst *value)
{
    if (inst->guard == value || inst->target == value)
        return true;
    for (int k = 0; k < inst->arg_count; k++)
        if (inst->args[k] == value)
            return true;
    return false;
}

/* The nest: root, loops, tile body. */
static bool read_nest(Reader *r)
{
    AttendForm *f = r->form;
    const Block *root = r->g->phase->body;
    const Inst *guard = only_of(root, TILE_IF);
    if (guard && !guard->orelse && !only_of(root, TILE_FOR)) {
        if (guard != root->last)
            return refuse(r, "work follows the test of the query tile");
        root = guard->body;
    }
    f->root = root;
    const Inst *loop = only_of(root, TILE_FOR);
    if (!loop)
        return refuse(r, "it is not one sweep over the keys");
    for (const Inst *inst = root->first; inst; inst = inst->next)
        if (inst->op == TILE_IF || inst->op == TILE_CONTRACT)
            return refuse(r, "the query tile's own work has products or branches");
    for (; loop; loop = only_of(f->bodies[f->body_count - 1], TILE_FOR)) {
        if (f->body_count == SPEC_MAX_RANK || loop->reverse)
            return refuse(r, "the loops over the keys");
        f->loops[f->body_count] = loop;
        f->bodies[f->body_count++] = loop->body;
        if (holds_contract(loop->body))
            break;
    }
    if (f->body_count != r->g->program->rank)
        return refuse(r, "the loops over the keys are not one an axis");
    const Block *inner = f->bodies[f->body_count - 1];
    if (!holds_contract(inner)) {
        const Inst *visit = only_of(inner, TILE_IF);
        if (!visit || visit->orelse || visit != inner->last || !holds_contract(visit->body))
            return refuse(r, "a key tile's work");
        f->visit = visit;
        f->bodies[f->body_count++] = visit->body;
    }
    return true;
}

static void note_places(Reader *r)
{
    AttendForm *f = r->form;
    for (const Inst *inst = f->root->first; inst && inst != f->loops[0]; inst = inst->next)
        f->at_root[inst->id] = true;
    /* What comes before the test of the query tile is at the root as well. */
    for (const Inst *inst = r->g->phase->body->first; f->root != r->g->phase->body && inst; inst = inst->next)
        f->at_root[inst->id] = true;
    for (int b = 0; b < f->body_count; b++)
        for (const Inst *inst = f->bodies[b]->first; inst; inst = inst->next) {
            f->in_tile[inst->id] = true;
            if (inst->op == TILE_IF && inst != f->visit)
                for (const Inst *in = inst->body->first; in; in = in->next)
                    f->in_tile[in->id] = true;
        }
    for (int b = 0; b < r->g->program->rank; b++)
        f->in_tile[f->loops[b]->id] = true;
}

/* q, k, v, the two products. */
static bool read_products(Reader *r)
{
    AttendForm *f = r->form;
    const Block *tile = f->bodies[f->body_count - 1];
    for (const Inst *inst = tile->first; inst; inst = inst->next)
        if (inst->op == TILE_CONTRACT) {
            if (!inst->target && !f->scores)
                f->scores = inst;
            else if (inst->target && !f->sum && f->scores)
                f->sum = inst;
            else
                return refuse(r, "more than two products a tile");
        }
    if (!f->scores || !f->sum || f->scores->expr || f->sum->expr)
        return refuse(r, "it has no two plain products");
    f->q = f->scores->args[0];
    f->k = f->scores->args[1];
    f->weights = f->sum->args[0];
    f->v = f->sum->args[1];
    f->acc = f->sum->target;
    f->d = f->scores->axis;
    f->n = f->sum->axis;
    if (inst_has_axis(f->q, f->n)) {
        const Inst *swap = f->q;
        f->q = f->k;
        f->k = swap;
    }
    if (inst_has_axis(f->v, f->d))
        return refuse(r, "values and keys share a channel axis");
    if (f->q->op != TILE_LOAD || f->k->op != TILE_LOAD || f->v->op != TILE_LOAD)
        return refuse(r, "q, k or v is not read from memory as it is");
    if (!f->at_root[f->q->id] || f->q->type.axis_count != 2 || f->acc->type.axis_count != 2)
        return refuse(r, "the operands' axes");
    f->m = f->q->type.axis[f->q->type.axis[0] == f->d];
    f->e = f->v->type.axis[f->v->type.axis[0] == f->n];
    if (!has_axes(f->q, f->m, f->d) || !has_axes(f->k, f->n, f->d) || !has_axes(f->v, f->n, f->e) ||
        !has_axes(f->acc, f->m, f->e) || !has_axes(f->weights, f->m, f->n))
        return refuse(r, "the operands' axes");
    if (f->acc->op != TILE_VAR || !f->at_root[f->acc->id] || f->acc->args[0]->op != TILE_MAP ||
        f->acc->args[0]->expr->op != EXPR_FLOAT || f->acc->args[0]->expr->value.f != 0)
        return refuse(r, "the accumulator does not begin at zero");
    ElemType elem = f->q->type.elem;
    if (!is_storage16(elem) || f->k->type.elem != elem || f->v->type.elem != elem || f->weights->type.elem != elem)
        return refuse(r, "q, k, v and the weights are not all bf16 or all f16");
    if (f->weights->op != TILE_MAP)
        return refuse(r, "the weights are not computed in the tile");
    return true;
}

static bool read_sizes(Reader *r)
{
    AttendForm *f = r->form;
    const Program *p = r->g->program;
    static const char *const names[2][SPEC_MAX_RANK] = {{"block_m", "block_m1", "block_m2"},
                                                        {"block_n", "block_n1", "block_n2"}};
    f->rank = p->rank;
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        f->block_m[a] = f->block_n[a] = 1;
    for (int k = 0; k < p->knob_count; k++)
        for (int a = 0; a < p->rank; a++) {
            if (!strcmp(p->knobs[k].name, names[0][a]))
                f->block_m[a] = (int)p->knobs[k].value;
            if (!strcmp(p->knobs[k].name, names[1][a]))
                f->block_n[a] = (int)p->knobs[k].value;
        }
    f->rows = (int)p->axes[f->m].extent;
    f->keys = (int)p->axes[f->n].extent;
    f->D = (int)p->axes[f->d].extent;
    f->E = (int)p->axes[f->e].extent;
    if (f->rows % 64 || f->rows > 192 || f->keys % 16 || f->keys > 256)
        return refuse(r, "the tile's box does not suit the tensor cores");
    if (f->D > 256 || f->E > 256 || f->D % 8 || f->E % 8)
        return refuse(r, "head widths must be multiples of 8 up to 256");
    for (int which = 0; which < 3; which++) {
        const Inst *load = which == 0 ? f->q : which == 1 ? f->k : f->v;
        const Tensor *t = &p->tensors[load->tensor];
        if (load->arg_count != 4 || t->dim_count != 4)
            return refuse(r, "q, k or v is not [batch, head, row, channel]");
        if (t->role == ROLE_WORKSPACE && t->extent[1].size != (which == 0 ? VAR_SIZE_H : VAR_SIZE_G))
            return refuse(r, "keys that differ between the query heads of a group");
        if (load->args[0]->type.axis_count || load->args[1]->type.axis_count || load->args[3]->op != TILE_INDEX)
            return refuse(r, "the rows' addresses");
    }
    return true;
}

static bool is_arg(const Expr *e, const Inst *map, const Inst *value)
{
    return e->op == EXPR_ARG && map->args[e->index] == value;
}

/* l' = l f + sum or l + sum, with a factor that is one number a row. */
static bool is_running_sum(const Reader *r, const Inst *map, const Inst *l, const Inst *sum)
{
    const Expr *e = map->op == TILE_MAP ? map->expr : NULL;
    if (!e || e->op != EXPR_ADD)
        return false;
    for (int side = 0; side < 2; side++) {
        const Expr *a = e->args[side], *b = e->args[1 - side];
        if (!is_arg(a, map, sum))
            continue;
        if (is_arg(b, map, l))
            return true;
        if (b->op == EXPR_MUL)
            for (int s = 0; s < 2; s++) {
                const Expr *f = b->args[1 - s];
                if (is_arg(b->args[s], map, l) && f->op == EXPR_ARG && map->args[f->index] != sum &&
                    map->args[f->index] != l && has_axes(map->args[f->index], r->form->m, -1))
                    return true;
            }
    }
    return false;
}

typedef struct Readers { const Inst *value; const Inst *first, *last; int count; const bool *in_tile; } Readers;

static void count_reader(void *user, Inst *inst)
{
    Readers *readers = user;
    if (readers->in_tile[inst->id] && reads(inst, readers->value)) {
        readers->first = readers->count ? readers->first : inst;
        readers->last = inst;
        readers->count++;
    }
}

static Readers readers_in_tile(Reader *r, const Inst *value)
{
    Readers readers = {.value = value, .in_tile = r->form->in_tile};
    program_walk((Program *)r->g->program, count_reader, &readers);
    return readers;
}

/* The parts of a row's sum in its four threads may stay apart when the sum only ever meets factors of the row. */
static void find_deferred(Reader *r)
{
    AttendForm *f = r->form;
    const Block *tile = f->bodies[f->body_count - 1];
    for (const Inst *sum = tile->first; sum; sum = sum->next) {
        if (sum->op != TILE_REDUCE || sum->reduce != REDUCE_SUM || !has_axes(sum, f->m, -1))
            continue;
        Readers of_sum = readers_in_tile(r, sum);
        if (of_sum.count != 1 || of_sum.first->op != TILE_MAP)
            continue;
        const Inst *map = of_sum.first;
        Readers of_map = readers_in_tile(r, map);
        if (of_map.count != 1 || of_map.first->op != TILE_SET)
            continue;
        const Inst *l = of_map.first->target;
        Readers of_l = readers_in_tile(r, l); /* the map and the set */
        const Inst *init = l->args[0];
        bool zero = init->op == TILE_MAP && init->expr->op == EXPR_FLOAT && init->expr->value.f == 0;
        if (of_l.count == 2 && zero && is_running_sum(r, map, l, sum))
            f->deferred[sum->id] = f->deferred[l->id] = true;
    }
}

/* An int or bool of the tile that is computed again wherever it is used must not see a variable change. */
static bool is_timeless(const Inst *inst, int depth)
{
    if (inst->op == TILE_VAR || inst->op == TILE_REDUCE || inst->op == TILE_CONTRACT)
        return inst->type.axis_count < 2 && inst->op != TILE_VAR;
    if (depth > 64)
        return false;
    for (int k = 0; k < inst->arg_count; k++)
        if (inst->op != TILE_FOR && !is_timeless(inst->args[k], depth + 1))
            return false;
    return !inst->guard || is_timeless(inst->guard, depth + 1);
}

static bool check_tile_inst(Reader *r, const Inst *inst)
{
    AttendForm *f = r->form;
    const TileType *type = &inst->type;
    bool is_operand = inst == f->k || inst == f->v;
    switch (inst->op) {
    case TILE_INDEX:
        return inst->axis == f->m || inst->axis == f->n || inst->axis == f->e || inst->axis == f->d || refuse(r, "another axis");
    case TILE_MAP:
    case TILE_LOAD:
        if (is_operand)
            return true;
        if (!within_axes(inst, f->m, f->n) && !within_axes(inst, f->m, f->e))
            return refuse(r, "a value over channels inside the key loop");
        if (inst_has_axis(inst, f->e))
            return true; /* of a `set` of acc: checked there */
        if (inst_has_axis(inst, f->n) && (type->elem == ELEM_TYPE_BOOL || type->elem == ELEM_TYPE_I64 || !inst_has_axis(inst, f->m)) &&
            !is_timeless(inst, 0))
            return refuse(r, "a mask that depends on running values");
        return true;
    case TILE_REDUCE:
        if (inst->axis != f->n || !has_axes(inst, f->m, -1) || type->elem != ELEM_TYPE_F32 ||
            (inst->reduce != REDUCE_SUM && inst->reduce != REDUCE_MAX && inst->reduce != REDUCE_MIN))
            return refuse(r, "a reduction that is not of scores over keys");
        return true;
    case TILE_VAR:
        return has_axes(inst, f->m, f->n) || refuse(r, "a variable inside the key loop");
    case TILE_SET:
        if (inst->target == f->acc) {
            const Inst *map = inst->args[0];
            if (map->op != TILE_MAP || !within_axes(map, f->m, f->e))
                return refuse(r, "the accumulator's rescaling");
            for (int k = 0; k < map->arg_count; k++) {
                const Inst *a = map->args[k];
                if (a == f->acc || (a->type.axis_count == 0 && a->op == TILE_MAP && a->expr->op == EXPR_FLOAT))
                    continue;
                if (!has_axes(a, f->m, -1) || !f->in_tile[a->id])
                    return refuse(r, "the accumulator's rescaling");
                f->carried[a->id] = true;
            }
            return true;
        }
        return has_axes(inst->target, f->m, -1) || has_axes(inst->target, f->m, f->n) || refuse(r, "a variable of other axes");
    case TILE_CONTRACT:
        return inst == f->scores || inst == f->sum;
    case TILE_FOR:
        return true;
    default:
        return refuse(r, "an operation inside the key loop");
    }
}

static bool check_tile(Reader *r)
{
    AttendForm *f = r->form;
    for (int b = 0; b < f->body_count; b++)
        for (const Inst *inst = f->bodies[b]->first; inst; inst = inst->next) {
            bool last = b == f->body_count - 1;
            if (inst == f->visit)
                continue;
            if (last && inst->op == TILE_IF) {
                if (f->partial || inst->orelse || inst->args[0]->type.axis_count)
                    return refuse(r, "branches inside the key loop");
                f->partial = inst;
                for (const Inst *in = inst->body->first; in; in = in->next)
                    if (in->op == TILE_CONTRACT || in->op == TILE_FOR || in->op == TILE_IF || !check_tile_inst(r, in))
                        return refuse(r, "the branch of the element test");
                const Inst *cond = inst->args[0];
                if (cond->op == TILE_MAP && cond->expr->op == EXPR_NOT && cond->expr->args[0]->op == EXPR_ARG)
                    f->full = cond->args[cond->expr->args[0]->index];
                continue;
            }
            if (!last && inst->op != TILE_FOR && inst->type.axis_count)
                return refuse(r, "tiles between the loops");
            if (!last && inst->op != TILE_FOR && inst->op != TILE_MAP && inst->op != TILE_LOAD && inst->op != TILE_INDEX)
                return refuse(r, "work between the loops");
            if (!check_tile_inst(r, inst))
                return refuse(r, "a key tile's work");
            if (inst != f->sum && inst->op != TILE_SET && inst->op != TILE_MAP && reads(inst, f->acc))
                return refuse(r, "scores that depend on the accumulator");
            if (inst->op == TILE_MAP && reads(inst, f->acc) && !inst_has_axis(inst, f->e))
                return refuse(r, "scores that depend on the accumulator");
        }
    return true;
}

static bool check_root(Reader *r)
{
    AttendForm *f = r->form;
    for (const Inst *inst = f->root->first; inst; inst = inst->next) {
        if (inst == f->loops[0] || inst == f->q || inst == f->acc)
            continue;
        bool before = f->at_root[inst->id];
        switch (inst->op) {
        case TILE_INDEX: case TILE_GRID: case TILE_SEQ:
            break;
        case TILE_MAP: case TILE_LOAD:
            if (!within_axes(inst, f->m, before ? f->m : f->e))
                return refuse(r, "a value of the query tile over channels");
            break;
        case TILE_VAR:
            if (!before || !has_axes(inst, f->m, -1) || inst->type.elem != ELEM_TYPE_F32)
                return refuse(r, "a variable of the query tile");
            break;
        case TILE_REDUCE:
            if (before || inst->axis != f->e || inst->type.elem != ELEM_TYPE_F32 || inst->reduce > REDUCE_MIN)
                return refuse(r, "a reduction outside the key loop");
            break;
        case TILE_STORE:
            if (before)
                return refuse(r, "a store before the key loop");
            for (int k = 0; k < inst->arg_count; k++)
                if (!within_axes(inst->args[k], f->m, f->e))
                    return refuse(r, "a store of other axes");
            break;
        default:
            return refuse(r, "an operation outside the key loop");
        }
    }
    for (int a = 0; a < r->g->program->rank; a++)
        for (int k = 0; k < 2; k++)
            if (!f->at_root[f->loops[a]->args[k]->id])
                return refuse(r, "key ranges that depend on other axes");
    return true;
}

bool attend_recognise(CudaGen *g, AttendForm *form, const char **why)
{
    *form = (AttendForm){.m = -1};
    uint32_t count = g->program->next_id;
    form->at_root = ARENA_ARRAY(g->arena, bool, count);
    form->in_tile = ARENA_ARRAY(g->arena, bool, count);
    form->carried = ARENA_ARRAY(g->arena, bool, count);
    form->deferred = ARENA_ARRAY(g->arena, bool, count);
    Reader reader = {g, form, NULL};
    bool fits = read_nest(&reader);
    if (fits) {
        note_places(&reader);
        fits = read_products(&reader) && read_sizes(&reader) && check_tile(&reader) && check_root(&reader);
    }
    if (fits) {
        find_deferred(&reader);
        attend_find_tables(g, form);
    }
    *why = fits ? NULL : reader.why ? reader.why : "it has another form";
    return fits;
}
