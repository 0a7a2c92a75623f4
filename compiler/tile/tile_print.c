/* The text form of a Program (tile_text.h shows it). Prints wrong programs too: what has no name prints as
 * "?". */
#include "tile_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const tile_size_names[] = {"B",  "H",  "G",  "M",  "N",  "D",  "E",
                                       "M0", "M1", "M2", "N0", "N1", "N2", "continues", "segments", "offset"};
const char *const tile_role_names[] = {"q", "k", "v", "o", "return", "input", "workspace", "state"};
const char *const tile_reduce_names[] = {"sum", "max", "min", "or", "and"};
const char *const tile_seq_names[] = {"q_begin", "q_length", "k_begin", "k_length"};
const char *const tile_type_names[] = {"bool", "int", "float"};

bool tile_word_reserved(const Program *program, const char *word)
{
    static const char *const words[] = {"true", "false", "inf", "nan", "let", "in", "into", "if", "by"};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++)
        if (!strcmp(word, words[k]))
            return true;
    for (int k = 0; k < TILE_SIZE_COUNT; k++)
        if (!strcmp(word, tile_size_names[k]))
            return true;
    for (int k = 0; k < EXPR_OP_COUNT; k++)
        if (!strcmp(word, expr_op_info[k].name))
            return true;
    for (int k = 0; k < program->knob_count; k++)
        if (!strcmp(word, program->knobs[k].name))
            return true;
    return false;
}

static bool is_identifier(const char *name)
{
    if (!name[0])
        return false;
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        bool later = (*c >= '0' && *c <= '9') || (*c == '.' && c[1] && c[1] != '.');
        if (!letter && !(later && c != name))
            return false;
    }
    return strcmp(name, "_") != 0;
}

static void print_quoted(Text *out, const char *name)
{
    text_add(out, "'");
    for (const char *c = name; *c; c++)
        if (*c == '\'' || *c == '\\' || (unsigned char)*c < ' ')
            text_add(out, "\\x%02x", (unsigned char)*c);
        else
            text_add_bytes(out, c, 1);
    text_add(out, "'");
}

static void print_name(Text *out, const char *name)
{
    if (!name)
        text_add(out, "?");
    else if (is_identifier(name))
        text_add(out, "%s", name);
    else
        print_quoted(out, name);
}

static void print_axis(Text *out, const Program *program, int axis)
{
    print_name(out, axis >= 0 && axis < program->axis_count ? program->axes[axis].name : NULL);
}

static void print_type(Text *out, const Program *program, const TileType *type)
{
    text_add(out, "%s", (unsigned)type->elem <= ELEM_TYPE_F16 ? elem_type_name(type->elem) : "?");
    for (int k = 0; k < type->axis_count && k < TILE_MAX_AXES; k++) {
        text_add(out, k ? ", " : "[");
        print_axis(out, program, type->axis[k]);
    }
    if (type->axis_count)
        text_add(out, "]");
}

/* Expressions -------------------------------------------------------------------------------------------- */

/* What an expression would print as, written out as a tree: one entry a distinct node. */
typedef struct Use {
    const Expr *e;
    uint32_t uses;
    uint64_t size; /* as a tree, saturating */
    int name;      /* #name, or -1 */
} Use;

typedef struct ExprPrinter {
    Text *out;
    const Program *program;
    const Expr **nodes; /* operands first */
    Use *uses;          /* open addressing, a power of two */
    size_t count, size;
} ExprPrinter;

int tile_infix_level(ExprOp op)
{
    switch (op) {
    case EXPR_OR: return LEVEL_OR;
    case EXPR_AND: return LEVEL_AND;
    case EXPR_LT: case EXPR_LE: case EXPR_EQ: case EXPR_NE: return LEVEL_COMPARE;
    case EXPR_ADD: case EXPR_SUB: return LEVEL_ADD;
    case EXPR_MUL: case EXPR_DIV: case EXPR_MOD: return LEVEL_MUL;
    case EXPR_POW: return LEVEL_POW;
    default: return 0;
    }
}

static void print_float(Text *out, double value)
{
    char digits[40];
    if (isnan(value)) {
        text_add(out, "nan");
    } else if (isinf(value)) {
        text_add(out, value < 0 ? "-inf" : "inf");
    } else {
        for (int precision = 6; precision <= 17; precision++) {
            snprintf(digits, sizeof digits, "%.*g", precision, value);
            if (strtod(digits, NULL) == value)
                break;
        }
        text_add(out, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
    }
}

static void print_var(ExprPrinter *p, const Expr *e)
{
    int knob = e->index - (int)VAR_KNOB(0);
    if (e->index >= VAR_SIZE_B && e->index <= VAR_OFFSET)
        text_add(p->out, "%s", tile_size_names[e->index - VAR_SIZE_B]);
    else if (knob >= 0 && knob < p->program->knob_count)
        print_name(p->out, p->program->knobs[knob].name);
    else
        text_add(p->out, "?var%d", e->index);
}

static void print_param(ExprPrinter *p, int index)
{
    const char *name = index >= 0 && index < p->program->param_count ? p->program->params[index].name : NULL;
    if (name && tile_word_reserved(p->program, name))
        print_quoted(p->out, name);
    else
        print_name(p->out, name);
}

static int expr_level(const Expr *e)
{
    switch ((ExprOp)e->op) {
    case EXPR_INT: return e->value.i < 0 ? LEVEL_NEG : LEVEL_ATOM;
    case EXPR_FLOAT: return signbit(e->value.f) && !isnan(e->value.f) ? LEVEL_NEG : LEVEL_ATOM;
    case EXPR_NEG: return LEVEL_NEG;
    case EXPR_NOT: return LEVEL_NOT;
    default: return tile_infix_level((ExprOp)e->op) ? tile_infix_level((ExprOp)e->op) : LEVEL_ATOM;
    }
}

static void print_expr(ExprPrinter *p, const Expr *e, int level);

static void print_operator(ExprPrinter *p, const Expr *e)
{
    ExprOp op = (ExprOp)e->op;
    int level = tile_infix_level(op);
    if (op == EXPR_NEG || op == EXPR_NOT) {
        text_add(p->out, op == EXPR_NEG ? "-" : "not ");
        /* a bare number behind the minus would read as a negative constant */
        bool number = e->args[0]->op == EXPR_INT || e->args[0]->op == EXPR_FLOAT;
        print_expr(p, e->args[0], number ? LEVEL_ATOM + 1 : expr_level(e));
    } else if (level) {
        /* ^ groups to the right, comparisons not at all, the rest to the left */
        int left = op == EXPR_POW || level == LEVEL_COMPARE ? level + 1 : level;
        int right = op == EXPR_POW ? LEVEL_NEG : level + 1;
        print_expr(p, e->args[0], left);
        text_add(p->out, " %s ", expr_op_info[op].name);
        print_expr(p, e->args[1], right);
    } else {
        text_add(p->out, "%s(", expr_op_info[op].name);
        for (int k = 0; k < e->arity; k++) {
            text_add(p->out, k ? ", " : "");
            print_expr(p, e->args[k], LEVEL_OR);
        }
        text_add(p->out, ")");
    }
}

static Use *find_use(const ExprPrinter *p, const Expr *e)
{
    size_t at = (e->id * (size_t)2654435761u) & (p->size - 1);
    while (p->uses[at].e && p->uses[at].e != e)
        at = (at + 1) & (p->size - 1);
    return &p->uses[at];
}

static void print_expr(ExprPrinter *p, const Expr *e, int level)
{
    int name = find_use(p, e)->name;
    if (name >= 0) {
        text_add(p->out, "#%d", name);
        return;
    }
    bool brackets = expr_level(e) < level;
    text_add(p->out, brackets ? "(" : "");
    switch ((ExprOp)e->op) {
    case EXPR_INT: text_add(p->out, "%" PRId64, e->value.i); break;
    case EXPR_FLOAT: print_float(p->out, e->value.f); break;
    case EXPR_BOOL: text_add(p->out, e->value.i ? "true" : "false"); break;
    case EXPR_ARG: text_add(p->out, "$%d", e->index); break;
    case EXPR_PARAM: print_param(p, e->index); break;
    case EXPR_VAR: print_var(p, e); break;
    default: print_operator(p, e);
    }
    text_add(p->out, brackets ? ")" : "");
}

static void list_node(void *user, const Expr *e)
{
    ExprPrinter *p = user;
    if (p->count == p->size) {
        p->nodes =
            arena_grow(p->out->arena, p->nodes, p->count, p->count ? p->count * 2 : 32, sizeof *p->nodes);
        p->size = p->count ? p->count * 2 : 32;
    }
    p->nodes[p->count++] = e;
}

static void print_whole_expr(Text *out, const Program *program, const Expr *e)
{
    ExprPrinter p = {.out = out, .program = program};
    int names = 0;
    expr_walk(out->arena, e, list_node, &p);
    for (p.size = 16; p.size < 2 * p.count; p.size *= 2)
        ;
    p.uses = ARENA_ARRAY(out->arena, Use, p.size);
    for (size_t k = 0; k < p.count; k++) {
        Use use = {p.nodes[k], 0, 1, -1};
        for (int a = 0; a < use.e->arity; a++) {
            Use *operand = find_use(&p, use.e->args[a]);
            operand->uses++;
            use.size += operand->size;
        }
        use.size = use.size < UINT32_MAX ? use.size : UINT32_MAX;
        *find_use(&p, use.e) = use;
    }
    bool name_shared = find_use(&p, e)->size > TILE_LET_SIZE;
    for (size_t k = 0; name_shared && k < p.count; k++) {
        Use *use = find_use(&p, p.nodes[k]);
        if (use->uses < 2 || !use->e->arity)
            continue;
        text_add(out, "%s#%d = ", names ? ", " : "let ", names);
        print_expr(&p, use->e, LEVEL_OR);
        use->name = names++;
    }
    text_add(out, names ? " in " : "");
    print_expr(&p, e, LEVEL_OR);
}

/* Instructions ------------------------------------------------------------------------------------------- */

static const Phase *phase_of(const Program *program, const Inst *inst)
{
    const Block *block = inst->parent;
    while (block && block->owner)
        block = block->owner->parent;
    for (int k = 0; k < program->phase_count; k++)
        if (program->phases[k].body == block)
            return &program->phases[k];
    return NULL;
}

static void print_operand(Text *out, const Inst *value)
{
    if (value)
        text_add(out, "%%%" PRIu32, value->id);
    else
        text_add(out, "?");
}

static void print_operands(Text *out, const Inst *inst, int count)
{
    for (int k = 0; k < count; k++) {
        text_add(out, k ? ", " : "");
        print_operand(out, inst->args[k]);
    }
}

static const Inst *operand(const Inst *inst, int k)
{
    return k >= 0 && k < inst->arg_count ? inst->args[k] : NULL;
}

static void print_access(Text *out, const Program *program, const Inst *inst)
{
    bool known = inst->tensor >= 0 && inst->tensor < program->tensor_count;
    bool store = inst->op == TILE_STORE;
    print_name(out, known ? program->tensors[inst->tensor].name : NULL);
    text_add(out, "(");
    print_operands(out, inst, inst->arg_count - store);
    text_add(out, ")");
    if (store) {
        text_add(out, " = ");
        print_operand(out, operand(inst, inst->arg_count - 1));
    }
    if (inst->guard) {
        text_add(out, " if ");
        print_operand(out, inst->guard);
    }
}

static void print_head(Text *out, const Program *program, const Inst *inst)
{
    const Phase *phase;
    if (inst->has_value) {
        print_operand(out, inst);
        if (inst->op != TILE_GRID && inst->op != TILE_SEQ && inst->op != TILE_FOR) {
            text_add(out, " : ");
            print_type(out, program, &inst->type);
        }
        text_add(out, " = ");
    }
    text_add(out, "%s ", (unsigned)inst->op < TILE_OP_COUNT ? tile_op_info[inst->op].name : "?");
    switch (inst->op) {
    case TILE_INDEX:
        print_axis(out, program, inst->axis);
        break;
    case TILE_GRID:
        phase = phase_of(program, inst);
        print_name(out, phase && inst->grid >= 0 && inst->grid < phase->grid_count
                            ? phase->grid[inst->grid].name
                            : NULL);
        break;
    case TILE_SEQ:
        text_add(out, "%s ", (unsigned)inst->seq <= SEQ_K_LENGTH ? tile_seq_names[inst->seq] : "?");
        print_operands(out, inst, inst->arg_count);
        break;
    case TILE_MAP:
        text_add(out, "(");
        print_operands(out, inst, inst->arg_count);
        text_add(out, ") ");
        if (inst->expr)
            print_whole_expr(out, program, inst->expr);
        else
            text_add(out, "?");
        break;
    case TILE_REDUCE:
        text_add(out, "%s ", (unsigned)inst->reduce <= REDUCE_AND ? tile_reduce_names[inst->reduce] : "?");
        print_axis(out, program, inst->axis);
        text_add(out, " ");
        print_operands(out, inst, inst->arg_count);
        break;
    case TILE_CONTRACT:
        print_axis(out, program, inst->axis);
        text_add(out, " ");
        print_operands(out, inst, inst->arg_count);
        if (inst->expr) {
            text_add(out, " by ");
            print_whole_expr(out, program, inst->expr);
        }
        if (inst->target) {
            text_add(out, " into ");
            print_operand(out, inst->target);
        }
        break;
    case TILE_LOAD:
    case TILE_STORE:
        print_access(out, program, inst);
        break;
    case TILE_VAR:
    case TILE_IF:
        print_operands(out, inst, inst->arg_count);
        break;
    case TILE_SET:
        print_operand(out, inst->target);
        text_add(out, " = ");
        print_operands(out, inst, inst->arg_count);
        break;
    case TILE_FOR:
        text_add(out, inst->reverse ? "reverse " : "");
        print_operand(out, operand(inst, 0));
        text_add(out, " .. ");
        print_operand(out, operand(inst, 1));
        break;
    case TILE_OP_COUNT:
        break;
    }
}

/* Control characters would end the comment. */
static void print_comment_part(Text *out, const char *part)
{
    for (; *part; part++)
        text_add_bytes(out, (unsigned char)*part < ' ' ? "?" : part, 1);
}

static void print_comment(Text *out, const Program *program, const Inst *inst)
{
    const char *label = inst->label && inst->label[0] ? inst->label : NULL;
    bool place = program->diag && inst->span.file >= 0 && inst->span.file < program->diag->source_count;
    if (!label && !place)
        return;
    text_add(out, " ;");
    if (label) {
        text_add(out, " ");
        print_comment_part(out, label);
    }
    if (place) {
        int line, column;
        diag_locate(program->diag, inst->span, &line, &column);
        text_add(out, " ");
        print_comment_part(out, program->diag->sources[inst->span.file].name);
        text_add(out, ":%d", line);
    }
}

static void print_block(Text *out, const Program *program, const Block *block, int depth)
{
    for (const Inst *inst = block ? block->first : NULL; inst; inst = inst->next) {
        text_add(out, "%*s", 2 * depth, "");
        print_head(out, program, inst);
        if (inst->body)
            text_add(out, " {");
        print_comment(out, program, inst);
        text_add(out, "\n");
        if (!inst->body)
            continue;
        print_block(out, program, inst->body, depth + 1);
        if (inst->orelse) {
            text_add(out, "%*s} else {\n", 2 * depth, "");
            print_block(out, program, inst->orelse, depth + 1);
        }
        text_add(out, "%*s}\n", 2 * depth, "");
    }
}

char *inst_text(const Program *program, const Inst *inst, Arena *arena)
{
    Text out = {.arena = arena};
    print_head(&out, program, inst);
    return out.data;
}

char *type_text(const Program *program, const TileType *type, Arena *arena)
{
    Text out = {.arena = arena};
    print_type(&out, program, type);
    return out.data;
}

/* Declarations ------------------------------------------------------------------------------------------- */

static void print_extent(Text *out, const Program *program, const Extent *extent)
{
    bool knob = extent->div_knob >= 0;
    if (extent->size > VAR_OFFSET || (extent->size >= 0 && extent->size < VAR_SIZE_B)) {
        text_add(out, "_");
        return;
    }
    if (extent->size < 0 && !knob && extent->div == 1) {
        text_add(out, "%" PRId64, extent->mul);
        return;
    }
    const char *size = extent->size < 0 ? "1" : tile_size_names[extent->size - VAR_SIZE_B];
    if (knob) {
        text_add(out, "ceil(%s / ", size);
        print_name(out,
                   extent->div_knob < program->knob_count ? program->knobs[extent->div_knob].name : NULL);
        text_add(out, ")");
    } else if (extent->div != 1) {
        text_add(out, "ceil(%s / %" PRId64 ")", size, extent->div);
    } else {
        text_add(out, "%s", size);
    }
    if (extent->mul != 1)
        text_add(out, " * %" PRId64, extent->mul);
}

static void print_tensor(Text *out, const Program *program, const Tensor *tensor)
{
    text_add(out, "  tensor ");
    print_name(out, tensor->name);
    text_add(out, " : %s ", (unsigned)tensor->role < TENSOR_ROLE_COUNT ? tile_role_names[tensor->role] : "?");
    if (tensor->role == ROLE_RETURN)
        text_add(out, "%s ",
                 (unsigned)tensor->index < RETURN_KIND_COUNT ? return_kind_name((ReturnKind)tensor->index)
                                                             : "?");
    else if (tensor->role >= ROLE_INPUT)
        text_add(out, "%d ", tensor->index);
    text_add(out, "%s [", (unsigned)tensor->elem <= ELEM_TYPE_F16 ? elem_type_name(tensor->elem) : "?");
    for (int k = 0; k < tensor->dim_count && k < SPEC_MAX_DIMS; k++) {
        text_add(out, k ? ", " : "");
        print_extent(out, program, &tensor->extent[k]);
    }
    text_add(out, "]\n");
}

static void print_phase(Text *out, const Program *program, const Phase *phase)
{
    text_add(out, "  phase ");
    print_name(out, phase->name);
    for (int k = 0; k < phase->grid_count && k < PROGRAM_MAX_GRID; k++) {
        text_add(out, k ? ", " : " grid (");
        print_name(out, phase->grid[k].name);
        text_add(out, ": ");
        print_extent(out, program, &phase->grid[k].extent);
    }
    text_add(out, phase->grid_count ? ") {\n" : " {\n");
    print_block(out, program, phase->body, 2);
    text_add(out, "  }\n");
}

char *program_print(const Program *program, Arena *arena)
{
    Text out = {.arena = arena};
    text_add(&out, "program ");
    print_name(&out, program->name);
    text_add(&out, " rank %d stage %s {\n", program->rank, stage_name(program->stage));
    for (int k = 0; k < program->knob_count; k++) {
        text_add(&out, "  knob ");
        print_name(&out, program->knobs[k].name);
        if (program->knobs[k].value)
            text_add(&out, " = %" PRId64, program->knobs[k].value);
        text_add(&out, "\n");
    }
    for (int k = 0; k < program->axis_count; k++) {
        const Axis *axis = &program->axes[k];
        text_add(&out, "  axis ");
        print_name(&out, axis->name);
        text_add(&out, " = ");
        if (program->stage >= STAGE_SIZED || !axis->extent_expr)
            text_add(&out, "%" PRId64, axis->extent);
        else
            print_whole_expr(&out, program, axis->extent_expr);
        text_add(&out, "\n");
    }
    for (int k = 0; k < program->param_count; k++) {
        text_add(&out, "  param ");
        print_name(&out, program->params[k].name);
        text_add(&out, " : %s\n", tile_type_names[program->params[k].type]);
    }
    for (int k = 0; k < program->tensor_count; k++)
        print_tensor(&out, program, &program->tensors[k]);
    for (int k = 0; k < program->phase_count; k++)
        print_phase(&out, program, &program->phases[k]);
    text_add(&out, "}\n");
    return out.data;
}
