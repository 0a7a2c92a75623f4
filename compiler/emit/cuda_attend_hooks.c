/* What cuda_attend.cuh calls for one spec: the values of a query tile, the classes of key tiles, the scores and the
 * normaliser's step on the accumulator registers of a warpgroup, the finished rows.
 *
 * A thread holds two rows of its warpgroup's 64 (y = 0, 1: 8 rows apart) and of each the columns c of four neighbours'
 * quarter. Values [m] are arrays over y; floats [m, n] and [m, e] are arrays over the accumulator register x; ints, bools
 * and values of the key alone are computed again at every use: they are cheap, and registers are not. */
#include "cuda_attend.h"

typedef enum Place { IN_ROOT, IN_TILE, IN_TABLE, IN_RESCALE, IN_FINISH } Place;

typedef struct Hooks {
    CudaGen *g;
    const AttendForm *f;
    Place place;
    const char *column;      /* text of the column at hand */
    Inst *reads[ATTEND_MAX_TABLES]; /* stand for an entry of a table at the pair at hand */
} Hooks;

static const char *operand(void *user, const Inst *v);

static CudaOperands operands(Hooks *h)
{
    return (CudaOperands){operand, h};
}

static bool is_row(const Hooks *h, const Inst *v)
{
    return v->type.axis_count == 1 && v->type.axis[0] == h->f->m;
}

static bool is_plane(const Hooks *h, const Inst *v)
{
    return v->type.axis_count == 2 && inst_has_axis(v, h->f->m) && (inst_has_axis(v, h->f->n) || inst_has_axis(v, h->f->e));
}

static bool is_float(const Inst *v)
{
    return elem_class(v->type.elem) == TYPE_FLOAT;
}

static bool is_literal(const Inst *v)
{
    return v->op == TILE_MAP && v->arg_count == 0 && v->type.axis_count == 0 &&
           (v->expr->op == EXPR_FLOAT || v->expr->op == EXPR_INT || v->expr->op == EXPR_BOOL);
}

/* Held in a variable, and not computed at every use. */
static bool is_held(const Hooks *h, const Inst *v)
{
    if (is_literal(v) || v->op == TILE_INDEX)
        return false;
    if (v->type.axis_count == 0)
        return true;
    if (h->place == IN_TABLE) /* of any pair, not of this thread's rows */
        return false;
    if (is_row(h, v))
        return true;
    return is_plane(h, v) && is_float(v);
}

static const char *subscript(const Hooks *h, const Inst *v)
{
    return v->type.axis_count == 0 ? "" : is_row(h, v) ? "[y]" : "[x]";
}

/* Entry of table k at the pair at hand. */
static const char *table_entry(const Hooks *h, int k)
{
    const AttendTable *table = &h->f->tables[k];
    int first = k * (64 + h->f->keys);
    if (table->by_key) {
        bool whole = table->inst->type.elem != ELEM_TYPE_F32;
        return arena_printf(h->g->arena, "%s(table[%d + %s])", whole ? "__float_as_int" : "", first, h->column);
    }
    bool test = table->expr && table->expr->type == TYPE_BOOL;
    return arena_printf(h->g->arena, "%stable[%d + (row & 63) + 8 * y - c]%s", test ? "(" : "",
                        first + h->f->keys - 1, test ? " != 0.0f)" : "");
}

static const char *computed(Hooks *h, const Inst *v)
{
    if (h->place == IN_TILE)
        for (int k = 0; k < h->f->table_count; k++)
            if (h->f->tables[k].inst == v && !h->f->tables[k].expr)
                return table_entry(h, k);
    if (v->op == TILE_LOAD)
        return cuda_load(h->g, v, operands(h));
    return cuda_map(h->g, h->place == IN_TILE ? attend_with_tables(h->g, h->f, v, h->reads) : v, operands(h));
}

static const char *operand(void *user, const Inst *v)
{
    Hooks *h = user;
    const AttendForm *f = h->f;
    Arena *arena = h->g->arena;
    if (is_literal(v))
        return cuda_map(h->g, v, operands(h));
    for (int k = 0; k < f->table_count; k++)
        if (v == h->reads[k])
            return table_entry(h, k);
    if (v->op == TILE_INDEX)
        return v->axis != f->m ? h->column : h->place == IN_TABLE ? "r" : "(row + 8 * y)";
    if (h->place == IN_TABLE && v->type.axis_count)
        return computed(h, v);
    if (v == f->acc)
        return "O[x]";
    if (v == f->scores)
        return "S[x]";
    if (f->at_root[v->id] && v->op == TILE_VAR)
        return arena_printf(arena, "rows.v%u[y]", v->id);
    if (f->at_root[v->id])
        return arena_printf(arena, "root.v%u%s", v->id, subscript(h, v));
    for (int a = 0; a < f->rank; a++)
        if (v == f->loops[a])
            return arena_printf(arena, "tile[%d]", a);
    if (f->carried[v->id])
        return arena_printf(arena, "carry.v%u[y]", v->id);
    if (is_held(h, v))
        return arena_printf(arena, "v%u%s", v->id, subscript(h, v));
    return computed(h, v);
}

/* Loops over rows and registers ------------------------------------------------------------------------------ */

static void open_rows(Hooks *h)
{
    cuda_line(h->g, "#pragma unroll\n");
    cuda_line(h->g, "for (int y = 0; y < 2; y++) {\n");
    h->g->indent += 4;
}

static void open_registers(Hooks *h, int count)
{
    cuda_line(h->g, "#pragma unroll\n");
    cuda_line(h->g, "for (int x = 0; x < %d; x++) {\n", count);
    h->g->indent += 4;
    cuda_line(h->g, "const int y = x >> 1 & 1, c = column + (x >> 2) * 8 + (x & 1);\n");
    h->column = "c";
}

static void close_loop(Hooks *h)
{
    h->g->indent -= 4;
    cuda_line(h->g, "}\n");
    h->column = "0";
}

/* The concept and the user's line that made the next statements. */
static void say_where(Hooks *h, const Inst *inst, const char **last)
{
    if (!inst->label || (*last && inst->label == *last))
        return;
    *last = inst->label;
    cuda_line(h->g, "/* %s */\n", inst->label);
}

/* One held value: declared (unless it lives in a struct) and computed. */
static void hold(Hooks *h, const Inst *v, const char *prefix, bool declare)
{
    CudaGen *g = h->g;
    const char *type = cuda_type(g, v);
    if (v->type.axis_count == 0) {
        const char *text = computed(h, v);
        cuda_line(g, "%s%s%sv%u = %s;\n", declare ? "const " : "", declare ? type : "", declare ? " " : prefix, v->id, text);
        return;
    }
    bool row = is_row(h, v);
    int count = row ? 2 : (inst_has_axis(v, h->f->n) ? h->f->keys : h->f->E) / 2;
    if (declare)
        cuda_line(g, "%s v%u[%d];\n", type, v->id, count);
    if (row)
        open_rows(h);
    else
        open_registers(h, count);
    const char *text = computed(h, v);
    cuda_line(g, "%sv%u[%s] = %s;\n", prefix, v->id, row ? "y" : "x", text);
    close_loop(h);
}

/* Of a query tile --------------------------------------------------------------------------------------------- */

static bool of_root(const Hooks *h, const Inst *v)
{
    return v->has_value && h->f->at_root[v->id] && v != h->f->q && v->op != TILE_VAR && v->op != TILE_INDEX && is_held(h, v);
}

static const char *seq_text(Hooks *h, const Inst *v)
{
    Arena *arena = h->g->arena;
    bool queries = v->seq == SEQ_Q_BEGIN || v->seq == SEQ_Q_LENGTH;
    bool begin = v->seq == SEQ_Q_BEGIN || v->seq == SEQ_K_BEGIN;
    const char *batch = operand(h, v->args[0]);
    const char *lengths = arena_printf(arena, "((const int *)P.slots[%d])", queries ? SLOT_CU_Q : SLOT_CU_K);
    const char *whole = begin ? "0" : cuda_size(h->g, queries ? VAR_SIZE_M : VAR_SIZE_N);
    const char *first = arena_printf(arena, "%s[%s]", lengths, batch);
    const char *packed = begin ? first : arena_printf(arena, "%s[%s + 1] - %s", lengths, batch, first);
    return arena_printf(arena, "P.slots[%d] ? %s : %s", queries ? SLOT_CU_Q : SLOT_CU_K, packed, whole);
}

static const char *grid_text(const Hooks *h, const Inst *v)
{
    const char *name = h->g->phase->grid[v->grid].name;
    if (name[0] == 'b')
        return "w.b";
    if (name[0] == 'h')
        return "w.h";
    int axis = name[4] ? name[4] - '0' : 0; /* tile, tile1, tile2 */
    return arena_printf(h->g->arena, "w.tile[%d]", axis);
}

typedef void EachRoot(Hooks *h, const Inst *v);

static void each_root(Hooks *h, EachRoot *visit)
{
    const Block *body = h->g->phase->body;
    for (const Inst *inst = body->first; inst && h->f->root != body; inst = inst->next)
        if (of_root(h, inst))
            visit(h, inst);
    for (const Inst *inst = h->f->root->first; inst != h->f->loops[0]; inst = inst->next)
        if (of_root(h, inst))
            visit(h, inst);
}

static void declare_root(Hooks *h, const Inst *v)
{
    cuda_line(h->g, "    %s v%u%s;\n", cuda_type(h->g, v), v->id, v->type.axis_count ? "[2]" : "");
}

static void set_root(Hooks *h, const Inst *v)
{
    if (v->op == TILE_GRID)
        cuda_line(h->g, "root.v%u = %s;\n", v->id, grid_text(h, v));
    else if (v->op == TILE_SEQ)
        cuda_line(h->g, "root.v%u = %s;\n", v->id, seq_text(h, v));
    else
        hold(h, v, "root.", false);
}

static bool is_row_var(const Hooks *h, const Inst *v)
{
    return v->op == TILE_VAR && v != h->f->acc;
}

static void write_structs(Hooks *h)
{
    CudaGen *g = h->g;
    cuda_line(g, "struct Root { /* of a query tile */\n");
    each_root(h, declare_root);
    cuda_line(g, "};\n");
    cuda_line(g, "struct Rows { /* running values */\n");
    for (const Inst *inst = h->f->root->first; inst != h->f->loops[0]; inst = inst->next)
        if (is_row_var(h, inst))
            cuda_line(g, "    float v%u[2];\n", inst->id);
    cuda_line(g, "};\n");
    cuda_line(g, "struct Carry { /* what rescales the accumulators */\n");
    for (const Inst *inst = h->f->bodies[h->f->body_count - 1]->first; inst; inst = inst->next)
        if (h->f->carried[inst->id])
            cuda_line(g, "    float v%u[2];\n", inst->id);
    cuda_line(g, "};\n");
}

static void open_function(Hooks *h, const char *head)
{
    cuda_line(h->g, "static DEV_MEMBER %s\n", head);
    cuda_line(h->g, "{\n");
    h->g->indent += 4;
    h->column = "0";
}

static void write_root(Hooks *h)
{
    h->place = IN_ROOT;
    open_function(h, "void root(const Launch &P, const Work &w, int row, Root &root)");
    each_root(h, set_root);
    close_loop(h);
    open_function(h, "void start(const Root &root, Rows &rows)");
    for (const Inst *inst = h->f->root->first; inst != h->f->loops[0]; inst = inst->next)
        if (is_row_var(h, inst)) {
            open_rows(h);
            cuda_line(h->g, "rows.v%u[y] = %s;\n", inst->id, operand(h, inst->args[0]));
            close_loop(h);
        }
    close_loop(h);
}

/* The grid ------------------------------------------------------------------------------------------------------ */

static const char *extent_text(Hooks *h, const Extent *extent)
{
    const char *size = extent->size < 0 ? "1" : cuda_size(h->g, (VarId)extent->size);
    const char *quotient = extent->div == 1 ? size
                                            : arena_printf(h->g->arena, "((int)(%s) + %lld) / %lld", size,
                                                           (long long)extent->div - 1, (long long)extent->div);
    return arena_printf(h->g->arena, "(int)(%s) * %lld", quotient, (long long)extent->mul);
}

/* Whether a root scalar depends on the place of the query tile. */
static bool varies(const Hooks *h, const Inst *v, int depth)
{
    if (v->op == TILE_GRID)
        return h->g->phase->grid[v->grid].name[0] == 't';
    for (int k = 0; k < v->arg_count && depth < 100; k++)
        if (varies(h, v->args[k], depth + 1))
            return true;
    return false;
}

/* Order of query tiles. Where only one end of the key range moves with the tile (causal), the longest come first, the
 * heads of a section taking turns, and a section is what the L2 cache holds; else neighbours come together. */
static void write_decode(Hooks *h)
{
    CudaGen *g = h->g;
    const Phase *phase = g->phase;
    const char *counts[3] = {"1", "1", "1"}, *heads = "1", *batches = "1";
    for (int d = 0; d < phase->grid_count; d++) {
        const char *text = extent_text(h, &phase->grid[d].extent);
        if (phase->grid[d].name[0] == 'b')
            batches = text;
        else if (phase->grid[d].name[0] == 'h')
            heads = text;
        else
            counts[phase->grid[d].name[4] ? phase->grid[d].name[4] - '0' : 0] = text;
    }
    open_function(h, "int total(const Launch &P)");
    cuda_line(g, "return %s * (%s) * (%s) * (%s) * (%s);\n", batches, heads, counts[0], counts[1], counts[2]);
    close_loop(h);
    open_function(h, "unsigned int *counter(const Launch &P)");
    cuda_line(g, "return (unsigned int *)P.slots[%d];\n", SLOT_COUNTER);
    close_loop(h);
    bool first = varies(h, h->f->loops[0]->args[0], 0), last = varies(h, h->f->loops[0]->args[1], 0);
    open_function(h, "void decode(const Launch &P, int claim, Work &w)");
    cuda_line(g, "const int heads = %s, n1 = %s, n2 = %s, tiles = %s * n1 * n2;\n", heads, counts[1], counts[2], counts[0]);
    cuda_line(g, "int at, head;\n");
    if (first != last) {
        cuda_line(g, "const int all = %s * heads;\n", batches);
        cuda_line(g, "const long long kib = ((long long)%s * %d >> 10) * %s / heads;\n", cuda_size(g, VAR_SIZE_N),
                  2 * (h->f->D + h->f->E), cuda_size(g, VAR_SIZE_G));
        cuda_line(g, "const int fit = kib < 32 ? 1024 : (int)(32768 / kib), section = fit < 1 ? 1 : fit > all ? all : fit;\n");
        cuda_line(g, "const int s = claim / (section * tiles), in = claim - s * section * tiles;\n");
        cuda_line(g, "const int left = all - s * section, here = left < section ? left : section;\n");
        cuda_line(g, "at = in / here;\n");
        cuda_line(g, "head = s * section + in - at * here;\n");
        if (last)
            cuda_line(g, "at = tiles - 1 - at;\n");
    } else {
        cuda_line(g, "head = claim / tiles;\n");
        cuda_line(g, "at = claim - head * tiles;\n");
    }
    cuda_line(g, "w.b = head / heads;\n");
    cuda_line(g, "w.h = head - w.b * heads;\n");
    cuda_line(g, "w.tile[2] = at %% n2;\n");
    cuda_line(g, "w.tile[1] = at / n2 %% n1;\n");
    cuda_line(g, "w.tile[0] = at / n2 / n1;\n");
    close_loop(h);
}

/* Key tiles ------------------------------------------------------------------------------------------------------- */

static void write_tile_scalars(Hooks *h)
{
    const AttendForm *f = h->f;
    const char *last = NULL;
    for (int b = 0; b < f->body_count; b++)
        for (const Inst *inst = f->bodies[b]->first; inst; inst = inst->next) {
            if (inst->op == TILE_IF || inst->op == TILE_FOR || !inst->has_value || inst->type.axis_count || !is_held(h, inst))
                continue;
            say_where(h, inst, &last);
            hold(h, inst, "", true);
        }
}

static void write_range(Hooks *h)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    h->place = IN_ROOT;
    open_function(h, "void range(const Launch &P, const Root &root, KeyTiles &tiles)");
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        cuda_line(g, "tiles.lo[%d] = %s;\n", a, a < f->rank ? operand(h, f->loops[a]->args[0]) : "0");
        cuda_line(g, "tiles.hi[%d] = %s;\n", a, a < f->rank ? operand(h, f->loops[a]->args[1]) : "1");
    }
    close_loop(h);
    h->place = IN_TILE;
    open_function(h, "int classify(const Launch &P, const Root &root, const int (&tile)[3])");
    write_tile_scalars(h);
    if (f->visit)
        cuda_line(g, "if (!%s)\n        return CLASS_EMPTY;\n", operand(h, f->visit->args[0]));
    if (f->full)
        cuda_line(g, "return %s ? CLASS_FULL : CLASS_PARTIAL;\n", operand(h, f->full));
    else
        cuda_line(g, "return %s;\n", f->partial ? "CLASS_PARTIAL" : "CLASS_FULL");
    close_loop(h);
}

/* A sequence's field, as text; NULL where the phase does not read it. */
static const char *sequence_field(Hooks *h, SeqField field)
{
    const Block *bodies[] = {h->g->phase->body, h->f->root};
    for (int b = 0; b < 2; b++)
        for (const Inst *inst = bodies[b]->first; inst; inst = inst->next)
            if (inst->op == TILE_SEQ && inst->seq == field && h->f->rank == 1)
                return operand(h, inst);
    return NULL;
}

/* First row of the sequence: workspaces hold each sequence from row 0. */
static const char *first_row(Hooks *h, const Inst *load, SeqField field)
{
    const char *begin = sequence_field(h, field);
    return begin && h->g->program->tensors[load->tensor].role != ROLE_WORKSPACE ? begin : "0";
}

/* In a packed tensor other sequences' rows follow. */
static void write_valid_keys(Hooks *h)
{
    CudaGen *g = h->g;
    h->place = IN_ROOT;
    open_function(h, "int valid_keys(const Launch &P, const Root &root, const int (&tile)[3])");
    const char *length = sequence_field(h, SEQ_K_LENGTH);
    if (length)
        cuda_line(g, "if (P.slots[%d])\n        return (int)%s - tile[0] * %d;\n", SLOT_CU_K, length, h->f->block_n[0]);
    cuda_line(g, "return %d;\n", h->f->keys);
    close_loop(h);
}

static void write_load(Hooks *h, int which)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    static const char *const heads[] = {
        "void load_q(const Launch &P, const Work &w, const Root &root, u32 to, u32 bar, u64 policy)",
        "void load_k(const Launch &P, const Root &root, const int (&tile)[3], u32 to, u32 bar, u64 policy)",
        "void load_v(const Launch &P, const Root &root, const int (&tile)[3], u32 to, u32 bar, u64 policy)"};
    const Inst *load = which == 0 ? f->q : which == 1 ? f->k : f->v;
    const int *box = which == 0 ? f->block_m : f->block_n;
    int width = which == 2 ? f->E : f->D;
    h->place = IN_ROOT;
    open_function(h, heads[which]);
    const char *tile = which == 0 ? "w.tile" : "tile";
    cuda_line(g, "const int at[3] = {%s[0] * %d + (int)%s, %s[1] * %d, %s[2] * %d};\n", tile, box[0],
              first_row(h, load, which == 0 ? SEQ_Q_BEGIN : SEQ_K_BEGIN), tile, box[1], tile, box[2]);
    const char *batch = operand(h, load->args[0]);
    if (f->rank == 1 && g->program->tensors[load->tensor].role != ROLE_WORKSPACE) /* packed: one entry holds all */
        batch = arena_printf(g->arena, "(P.slots[%d] ? 0 : %s)", which == 0 ? SLOT_CU_Q : SLOT_CU_K, batch);
    cuda_line(g, "tma_load_rows<%d, %d, %d, %s>(to, &P.map[%d], bar, at, %s, %s, %s, policy);\n", (width + 63) / 64,
              (which == 0 ? f->rows : f->keys) * 128, f->rank, width % 64 == 0 ? "true" : "false", which,
              operand(h, load->args[1]), batch, cuda_size(g, which == 0 ? VAR_SIZE_H : VAR_SIZE_G));
    close_loop(h);
}

/* The tile ----------------------------------------------------------------------------------------------------------- */

static void write_reduce(Hooks *h, const Inst *inst, int count, const char *prefix)
{
    CudaGen *g = h->g;
    static const char *const combine[] = {"__fadd_rn", "fmaxf", "fminf"};
    static const char *const quad[] = {"quad_sum", "quad_max", "quad_min"};
    int kind = inst->reduce == REDUCE_SUM ? 0 : inst->reduce == REDUCE_MAX ? 1 : 2;
    if (!*prefix)
        cuda_line(g, "float v%u[2];\n", inst->id);
    cuda_line(g, "{\n");
    g->indent += 4;
    cuda_line(g, "float part[4];\n");
    open_registers(h, count);
    const char *value = operand(h, inst->args[0]);
    cuda_line(g, "part[x & 3] = x < 4 ? %s : %s(part[x & 3], %s);\n", value, combine[kind], value);
    close_loop(h);
    open_rows(h);
    const char *both = arena_printf(g->arena, "%s(part[2 * y], part[2 * y + 1])", combine[kind]);
    if (h->f->deferred[inst->id])
        cuda_line(g, "%sv%u[y] = %s; /* of this thread: the quad's are added at the end */\n", prefix, inst->id, both);
    else
        cuda_line(g, "%sv%u[y] = %s(%s);\n", prefix, inst->id, quad[kind], both);
    close_loop(h);
    close_loop(h);
    /* With three warpgroups another one's work fills the gap, and waiting costs more than it gains. */
    if (h->place == IN_TILE && !h->f->deferred[inst->id] && h->f->rows < 192)
        cuda_line(g, "known_by_now(%sv%u[0] + %sv%u[1], shared);\n", prefix, inst->id, prefix, inst->id);
}

static void write_set(Hooks *h, const Inst *set)
{
    CudaGen *g = h->g;
    if (is_row(h, set->target)) {
        open_rows(h);
        cuda_line(g, "rows.v%u[y] = %s;\n", set->target->id, operand(h, set->args[0]));
        close_loop(h);
        return;
    }
    open_registers(h, h->f->keys / 2);
    const char *value = operand(h, set->args[0]);
    cuda_line(g, "v%u[x] = %s;\n", set->target->id, value);
    close_loop(h);
}

static void write_tile_inst(Hooks *h, const Inst *inst, const char **last)
{
    const AttendForm *f = h->f;
    CudaGen *g = h->g;
    if (inst == f->scores || inst == f->sum || inst == f->k || inst == f->v || inst == f->weights || inst->op == TILE_FOR ||
        (inst->op == TILE_SET && inst->target == f->acc) || inst_has_axis(inst, f->e))
        return;
    if (inst->has_value && inst->op != TILE_VAR && inst->op != TILE_REDUCE && !is_held(h, inst))
        return;
    say_where(h, inst, last);
    const char *prefix = inst->has_value && f->carried[inst->id] ? "carry." : "";
    if (inst->op == TILE_REDUCE)
        write_reduce(h, inst, f->keys / 2, prefix);
    else if (inst->op == TILE_SET)
        write_set(h, inst);
    else if (inst->op == TILE_VAR) {
        cuda_line(g, "float v%u[%d];\n", inst->id, f->keys / 2);
        open_registers(h, f->keys / 2);
        const char *value = operand(h, inst->args[0]);
        cuda_line(g, "v%u[x] = %s;\n", inst->id, value);
        close_loop(h);
    } else
        hold(h, inst, prefix, !*prefix);
}

/* Entry t of a table. */
static void write_table(Hooks *h, int k)
{
    CudaGen *g = h->g;
    const AttendTable *table = &h->f->tables[k];
    h->column = table->by_key ? "t" : "c";
    const char *text = table->expr ? cuda_scalar(g, table->inst, table->expr, operands(h)) : cuda_load(g, table->inst, operands(h));
    bool bits = table->by_key && table->inst->type.elem != ELEM_TYPE_F32;
    cuda_line(g, "if (%s%s)\n", table->masked ? "MASKED" : "true", table->by_key ? arena_printf(g->arena, " && t < %d", h->f->keys) : "");
    cuda_line(g, "    table[%d + t] = %s(%s);\n", k * (64 + h->f->keys), bits ? "__int_as_float" : "", text);
}

/* Tables over the distances of a warpgroup's rows to the tile's keys and over these (cuda_attend_table.c). */
static void write_prepare(Hooks *h)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    bool always = false, pairs = false;
    for (int k = 0; k < f->table_count; k++) {
        always |= !f->tables[k].masked;
        pairs |= !f->tables[k].by_key;
    }
    cuda_line(g, "template <bool MASKED>\n");
    h->place = IN_TABLE;
    open_function(h, "bool prepare(const Launch &P, const Root &root, const int (&tile)[3], int row, float *table)");
    if (f->table_count) {
        cuda_line(g, "if (%s)\n        return false;\n", always ? "false" : "!MASKED");
        write_tile_scalars(h);
        cuda_line(g, "#pragma unroll\n");
        cuda_line(g, "for (int t = threadIdx.x & 127; t < %d; t += 128) {\n", pairs ? 64 + f->keys - 1 : f->keys);
        g->indent += 4;
        cuda_line(g, "const int distance = t - %d, r = row + max(distance, 0), c = max(-distance, 0);\n", f->keys - 1);
        h->column = "c";
        for (int k = 0; k < f->table_count; k++)
            write_table(h, k);
        close_loop(h);
    }
    cuda_line(g, "return %s;\n", always ? "true" : "MASKED");
    close_loop(h);
}

static void write_score(Hooks *h)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    h->place = IN_TILE;
    cuda_line(g, "template <bool MASKED>\n");
    open_function(h, arena_printf(g->arena,
                                  "void score(const Launch &P, const Root &root, const int (&tile)[3], int row, int column, const float *table, u32 shared, float (&S)[%d], "
                                  "Rows &rows, Carry &carry)",
                                  f->keys / 2));
    const char *last = NULL;
    for (int b = 0; b < f->body_count; b++)
        for (const Inst *inst = f->bodies[b]->first; inst; inst = inst->next) {
            if (inst == f->visit)
                continue;
            if (inst != f->partial) {
                write_tile_inst(h, inst, &last);
                continue;
            }
            cuda_line(g, "if (MASKED) {\n");
            g->indent += 4;
            for (const Inst *in = inst->body->first; in; in = in->next)
                write_tile_inst(h, in, &last);
            close_loop(h);
        }
    cuda_line(g, "/* weights */\n");
    open_registers(h, f->keys / 2);
    const char *weight = cuda_scalar(g, f->weights, f->weights->expr, operands(h));
    cuda_line(g, "S[x] = %s;\n", weight);
    close_loop(h);
    close_loop(h);
}

static void write_rescale(Hooks *h)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    h->place = IN_RESCALE;
    open_function(h, arena_printf(g->arena, "void rescale(float (&O)[%d], const Carry &carry)", f->E / 2));
    for (const Inst *inst = f->bodies[f->body_count - 1]->first; inst; inst = inst->next)
        if (inst->op == TILE_SET && inst->target == f->acc) {
            cuda_line(g, "#pragma unroll\n");
            cuda_line(g, "for (int x = 0; x < %d; x++) {\n", f->E / 2);
            g->indent += 4;
            cuda_line(g, "const int y = x >> 1 & 1;\n");
            const char *value = cuda_map(g, inst->args[0], operands(h));
            cuda_line(g, "O[x] = %s;\n", value);
            close_loop(h);
        }
    close_loop(h);
}

/* The finished rows ----------------------------------------------------------------------------------------------------- */

static bool is_whole_row(const Hooks *h, const Inst *store)
{
    const Inst *channel = store->args[store->arg_count - 2], *value = store->args[store->arg_count - 1];
    ElemType elem = h->g->program->tensors[store->tensor].elem;
    if (elem != h->f->q->type.elem || !is_plane(h, value) || value->op != TILE_MAP || channel->op != TILE_INDEX ||
        channel->axis != h->f->e)
        return false;
    for (int k = 0; k < store->arg_count - 2; k++)
        if (inst_has_axis(store->args[k], h->f->e))
            return false;
    return !store->guard || !inst_has_axis(store->guard, h->f->e);
}

static void write_store(Hooks *h, const Inst *store)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    const Inst *value = store->args[store->arg_count - 1];
    const char *pack = f->q->type.elem == ELEM_TYPE_BF16 ? "pack_bf16" : "pack_f16";
    if (is_whole_row(h, store)) {
        cuda_line(g, "float out%u[%d];\n", store->id, f->E / 2);
        open_registers(h, f->E / 2);
        const char *text = cuda_scalar(g, value, value->expr, operands(h));
        cuda_line(g, "out%u[x] = %s;\n", store->id, text);
        close_loop(h);
        open_rows(h);
        h->column = "0";
        const char *to = cuda_address(g, store, operands(h));
        const char *guard = store->guard ? operand(h, store->guard) : "true";
        cuda_line(g, "store_row<%d>(out%u, y, (u16 *)(%s), %s, [](float a, float b) { return %s(a, b); });\n", f->E, store->id, to,
                  guard, pack);
        close_loop(h);
    } else if (inst_has_axis(store->args[store->arg_count - 2], f->e) || is_plane(h, value)) {
        open_registers(h, f->E / 2);
        cuda_store(g, store, operands(h), operand(h, value));
        close_loop(h);
    } else {
        cuda_line(g, "if (column == 0) {\n");
        g->indent += 4;
        open_rows(h);
        cuda_store(g, store, operands(h), operand(h, value));
        close_loop(h);
        close_loop(h);
    }
}

static void write_finish(Hooks *h)
{
    CudaGen *g = h->g;
    const AttendForm *f = h->f;
    h->place = IN_FINISH;
    open_function(h, arena_printf(g->arena,
                                  "void finish(const Launch &P, const Work &w, const Root &root, Rows &rows, float (&O)[%d], int row)",
                                  f->E / 2));
    cuda_line(g, "const int column = 2 * (threadIdx.x & 3);\n");
    for (const Inst *inst = f->root->first; inst != f->loops[0]; inst = inst->next)
        if (is_row_var(h, inst) && f->deferred[inst->id]) {
            open_rows(h);
            cuda_line(g, "rows.v%u[y] = quad_sum(rows.v%u[y]);\n", inst->id, inst->id);
            close_loop(h);
        }
    const char *last = NULL;
    for (const Inst *inst = f->loops[0]->next; inst; inst = inst->next) {
        if (inst->op == TILE_STORE) {
            say_where(h, inst, &last);
            write_store(h, inst);
        } else if (inst->op == TILE_REDUCE) {
            write_reduce(h, inst, f->E / 2, "");
        } else if (is_held(h, inst) && (inst->op == TILE_MAP || inst->op == TILE_LOAD)) {
            bool stored_whole = inst->next && inst->next->op == TILE_STORE && is_whole_row(h, inst->next) &&
                                inst->next->args[inst->next->arg_count - 1] == inst;
            if (stored_whole)
                continue; /* rounded as it is packed */
            say_where(h, inst, &last);
            hold(h, inst, "", true);
        }
    }
    close_loop(h);
}

void attend_hooks(CudaGen *g, const AttendForm *form)
{
    Hooks hooks = {.g = g, .f = form, .column = "0"}, *h = &hooks;
    for (int k = 0; k < form->table_count; k++) {
        h->reads[k] = ARENA_NEW(g->arena, Inst);
        *h->reads[k] = *form->tables[k].inst;
        if (form->tables[k].expr)
            h->reads[k]->type.elem = elem_of_class((ExprType)form->tables[k].expr->type);
    }
    write_structs(h);
    write_decode(h);
    write_root(h);
    write_range(h);
    for (int which = 0; which < 3; which++)
        write_load(h, which);
    write_valid_keys(h);
    write_prepare(h);
    write_score(h);
    write_rescale(h);
    write_finish(h);
}
