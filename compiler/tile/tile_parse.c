/* Reading the text form (tile_text.h shows it): declarations and instructions, by recursive descent.
 *
 * The first complaint ends the parse. What the text can say wrongly about a well-formed Program (types,
 * scopes, stages) is the verifier's affair, so that it says so for Programs from text and from lowering
 * alike. */
#include "tile_parse.h"

#include <string.h>

/* Declarations ------------------------------------------------------------------------------------------- */

static int parse_small(Parser *p, const char *what, int limit)
{
    Span span = p->token.span;
    int64_t value = parse_int(p, what);
    if (value >= 0 && value <= limit)
        return (int)value;
    parse_fail(p, span, "%s must be between 0 and %d", what, limit);
    return 0;
}

static Extent parse_extent(Parser *p)
{
    Extent extent = {.size = -1, .div_knob = -1, .div = 1, .mul = 1};
    if (parse_accept(p, "_"))
        return (Extent){0};
    if (p->token.kind == TOKEN_INT || parse_is(p, "-")) {
        extent.mul = parse_int(p, "an extent");
        return extent;
    }
    bool ceil = parse_accept(p, "ceil");
    if (ceil) {
        parse_expect(p, "(");
        if (p->token.kind == TOKEN_INT && p->token.number == 1)
            parse_next(p);
        else
            extent.size = VAR_SIZE_B + parse_choice(p, "a size", tile_size_names, TILE_SIZE_COUNT);
        parse_expect(p, "/");
        if (p->token.kind == TOKEN_WORD) {
            const char *names[PROGRAM_MAX_KNOBS];
            for (int k = 0; k < p->program->knob_count; k++)
                names[k] = p->program->knobs[k].name;
            extent.div_knob = parse_choice(p, "a knob", names, p->program->knob_count);
        } else {
            extent.div = parse_int(p, "a divisor");
        }
        parse_expect(p, ")");
    } else {
        extent.size = VAR_SIZE_B + parse_choice(p, "a size", tile_size_names, TILE_SIZE_COUNT);
    }
    if (parse_accept(p, "*"))
        extent.mul = parse_int(p, "a factor");
    return extent;
}

static void no_room(Parser *p, Span span, const char *what, int limit)
{
    parse_fail(p, span, "more than %d %s", limit, what);
}

static void parse_knob(Parser *p)
{
    Span span = p->token.span;
    int count = p->program->knob_count;
    int knob = program_knob(p->program, parse_word(p, "a knob's name"));
    if (knob < 0)
        no_room(p, span, "knobs", PROGRAM_MAX_KNOBS);
    else if (knob < count)
        parse_fail(p, span, "the knob '%s' is there twice", p->program->knobs[knob].name);
    else if (parse_accept(p, "="))
        p->program->knobs[knob].value = parse_int(p, "a knob's value");
}

static void parse_axis(Parser *p)
{
    Span span = p->token.span;
    int count = p->program->axis_count;
    const char *name = parse_word(p, "an axis' name");
    parse_expect(p, "=");
    const Expr *extent = parse_expr(p, NULL, 0);
    int axis = program_axis(p->program, name, extent);
    if (axis < 0)
        no_room(p, span, "axes", PROGRAM_MAX_AXES);
    else if (axis < count)
        parse_fail(p, span, "the axis '%s' is there twice", name);
    else if (p->program->stage >= STAGE_SIZED && extent->op != EXPR_INT)
        parse_fail(p, span, "from stage sized on an axis' extent is a number");
    else if (p->program->stage >= STAGE_SIZED)
        p->program->axes[axis].extent = extent->value.i;
}

static void parse_param(Parser *p)
{
    Program *program = p->program;
    Span span = p->token.span;
    const char *name = parse_word(p, "a param's name");
    parse_expect(p, ":");
    ExprType type = (ExprType)parse_choice(p, "a type", tile_type_names, TYPE_FLOAT + 1);
    if (program->param_count == SPEC_MAX_PARAMS) {
        no_room(p, span, "params", SPEC_MAX_PARAMS);
        return;
    }
    program->params[program->param_count].name = name;
    program->params[program->param_count++].type = type;
}

static ElemType parse_elem(Parser *p)
{
    const char *names[ELEM_TYPE_F16 + 1];
    for (int k = 0; k <= ELEM_TYPE_F16; k++)
        names[k] = elem_type_name((ElemType)k);
    return (ElemType)parse_choice(p, "an element type", names, ELEM_TYPE_F16 + 1);
}

static int parse_return(Parser *p)
{
    const char *names[RETURN_KIND_COUNT];
    for (int k = 0; k < RETURN_KIND_COUNT; k++)
        names[k] = return_kind_name((ReturnKind)k);
    return parse_choice(p, "a returned quantity", names, RETURN_KIND_COUNT);
}

static void parse_tensor(Parser *p)
{
    Span span = p->token.span;
    Tensor tensor = {.name = parse_word(p, "a tensor's name")};
    parse_expect(p, ":");
    tensor.role = (TensorRole)parse_choice(p, "a tensor's role", tile_role_names, TENSOR_ROLE_COUNT);
    if (tensor.role == ROLE_RETURN)
        tensor.index = parse_return(p);
    else if (tensor.role == ROLE_INPUT)
        tensor.index = parse_small(p, "an input's position", SPEC_MAX_INPUTS - 1);
    else if (tensor.role == ROLE_WORKSPACE)
        tensor.index = parse_small(p, "a workspace's number", PROGRAM_MAX_TENSORS - 1);
    else if (tensor.role == ROLE_STATE)
        tensor.index = parse_small(p, "a state's number", 1);
    tensor.elem = parse_elem(p);
    parse_expect(p, "[");
    while (!parse_is(p, "]") && !p->failed) {
        if (tensor.dim_count == SPEC_MAX_DIMS) {
            no_room(p, p->token.span, "dimensions", SPEC_MAX_DIMS);
            break;
        }
        tensor.extent[tensor.dim_count++] = parse_extent(p);
        if (!parse_accept(p, ","))
            break;
    }
    parse_expect(p, "]");
    if (program_tensor(p->program, tensor) < 0)
        no_room(p, span, "tensors", PROGRAM_MAX_TENSORS);
}

/* Instructions ------------------------------------------------------------------------------------------- */

static int parse_axis_name(Parser *p)
{
    const char *names[PROGRAM_MAX_AXES];
    for (int k = 0; k < p->program->axis_count; k++)
        names[k] = p->program->axes[k].name;
    return parse_choice(p, "an axis", names, p->program->axis_count);
}

static Inst *parse_value(Parser *p)
{
    Token token = p->token;
    if (token.kind != TOKEN_VALUE) {
        parse_fail(p, token.span, "expected a value, %%number");
        return NULL;
    }
    parse_next(p);
    if (token.number < p->value_capacity && p->values[token.number])
        return p->values[token.number];
    parse_fail(p, token.span, "%%%llu is not defined before", (unsigned long long)token.number);
    return NULL;
}

static int parse_values(Parser *p, Inst **values, int limit)
{
    int count = 0;
    parse_expect(p, "(");
    while (!parse_is(p, ")") && !p->failed) {
        if (count == limit) {
            no_room(p, p->token.span, "operands", limit);
            break;
        }
        values[count++] = parse_value(p);
        if (!parse_accept(p, ","))
            break;
    }
    parse_expect(p, ")");
    return count;
}

static void define(Parser *p, Token name, Inst *inst)
{
    if (name.number >= TILE_MAX_IDS) {
        parse_fail(p, name.span, "value numbers are below %d", (int)TILE_MAX_IDS);
        return;
    }
    if (name.number >= p->value_capacity) {
        size_t capacity = p->value_capacity ? p->value_capacity * 2 : 64;
        while (capacity <= name.number)
            capacity *= 2;
        p->values = arena_grow(p->arena, p->values, p->value_capacity, capacity, sizeof *p->values);
        p->value_capacity = capacity;
    }
    if (p->values[name.number]) {
        parse_fail(p, name.span, "%%%llu is defined twice", (unsigned long long)name.number);
        return;
    }
    p->values[name.number] = inst;
    inst->id = (uint32_t)name.number;
}

static TileType parse_type(Parser *p)
{
    TileType type = {.elem = parse_elem(p)};
    if (parse_accept(p, "[")) {
        do {
            Span span = p->token.span;
            if (!type_add_axis(&type, parse_axis_name(p)))
                no_room(p, span, "axes", TILE_MAX_AXES);
        } while (parse_accept(p, ","));
        parse_expect(p, "]");
    }
    return type;
}

static int parse_tensor_name(Parser *p)
{
    const char *names[PROGRAM_MAX_TENSORS];
    for (int k = 0; k < p->program->tensor_count; k++)
        names[k] = p->program->tensors[k].name;
    return parse_choice(p, "a tensor", names, p->program->tensor_count);
}

static int parse_grid_name(Parser *p)
{
    const char *names[PROGRAM_MAX_GRID];
    for (int k = 0; k < p->phase->grid_count; k++)
        names[k] = p->phase->grid[k].name;
    return parse_choice(p, "a grid dimension", names, p->phase->grid_count);
}

static Inst *parse_contract(Parser *p, Builder *b)
{
    int axis = parse_axis_name(p);
    Inst *args[2] = {parse_value(p), NULL}, *into = NULL;
    const Expr *expr = NULL;
    parse_expect(p, ",");
    args[1] = parse_value(p);
    if (parse_accept(p, "by") && !p->failed)
        expr = parse_expr(p, args, 2);
    if (parse_accept(p, "into"))
        into = parse_value(p);
    return p->failed ? NULL : build_contract(b, axis, args[0], args[1], expr, into);
}

static Inst *parse_access(Parser *p, Builder *b, bool store)
{
    Inst *args[SPEC_MAX_DIMS], *value = NULL, *guard = NULL;
    int tensor = parse_tensor_name(p);
    int count = parse_values(p, args, SPEC_MAX_DIMS);
    if (store) {
        parse_expect(p, "=");
        value = parse_value(p);
    }
    if (parse_accept(p, "if"))
        guard = parse_value(p);
    if (p->failed)
        return NULL;
    if (!store)
        return build_load(b, tensor, args, count, guard);
    build_store(b, tensor, args, count, value, guard);
    return b->block->last;
}

/* What stands behind "%3 : type =", with the operator's word taken. NULL after a complaint. */
static Inst *parse_operation(Parser *p, Builder *b, TileOp op, const TileType *type)
{
    Inst *args[INST_MAX_ARGS], *target;
    int count, axis;
    bool reverse;
    SeqField field;
    ReduceKind kind;
    const Expr *expr;
    switch (op) {
    case TILE_INDEX:
        axis = parse_axis_name(p);
        return p->failed ? NULL : build_index(b, axis);
    case TILE_GRID:
        axis = parse_grid_name(p);
        return p->failed ? NULL : build_grid_index(b, axis);
    case TILE_SEQ:
        field = (SeqField)parse_choice(p, "a property of a sequence", tile_seq_names, SEQ_K_LENGTH + 1);
        args[0] = parse_value(p);
        return p->failed ? NULL : build_seq(b, field, args[0]);
    case TILE_MAP:
        count = parse_values(p, args, INST_MAX_ARGS);
        expr = p->failed ? NULL : parse_expr(p, args, count);
        return p->failed ? NULL
               : type    ? build_map_as(b, type->elem, expr, args, count)
                         : build_map(b, expr, args, count);
    case TILE_REDUCE:
        kind = (ReduceKind)parse_choice(p, "a reduction", tile_reduce_names, REDUCE_AND + 1);
        axis = parse_axis_name(p);
        args[0] = parse_value(p);
        return p->failed ? NULL : build_reduce(b, kind, axis, args[0]);
    case TILE_CONTRACT:
        return parse_contract(p, b);
    case TILE_LOAD:
    case TILE_STORE:
        return parse_access(p, b, op == TILE_STORE);
    case TILE_VAR:
        args[0] = parse_value(p);
        return p->failed ? NULL : build_var(b, args[0]->type.elem, NULL, 0, args[0]);
    case TILE_SET:
        target = parse_value(p);
        parse_expect(p, "=");
        args[0] = parse_value(p);
        if (p->failed)
            return NULL;
        build_set(b, target, args[0]);
        return b->block->last;
    case TILE_FOR:
        reverse = parse_accept(p, "reverse");
        args[0] = parse_value(p);
        parse_expect(p, "..");
        args[1] = parse_value(p);
        return p->failed ? NULL : build_for(b, args[0], args[1], reverse);
    case TILE_IF:
        args[0] = parse_value(p);
        return p->failed ? NULL : build_if(b, args[0], false);
    case TILE_OP_COUNT:
        break;
    }
    return NULL;
}

static void parse_block(Parser *p, Block *block, int depth);

static TileOp parse_op(Parser *p)
{
    const char *names[TILE_OP_COUNT];
    for (int k = 0; k < TILE_OP_COUNT; k++)
        names[k] = tile_op_info[k].name;
    return (TileOp)parse_choice(p, "an operator", names, TILE_OP_COUNT);
}

static void parse_inst(Parser *p, Block *block, int depth)
{
    Builder b = {.program = p->program, .block = block, .span = p->token.span};
    Token name = p->token;
    TileType type;
    bool named = name.kind == TOKEN_VALUE, typed = false;
    if (named) {
        parse_next(p);
        typed = parse_accept(p, ":");
        if (typed)
            type = parse_type(p);
        parse_expect(p, "=");
    }
    TileOp op = parse_op(p);
    Inst *inst = p->failed ? NULL : parse_operation(p, &b, op, typed ? &type : NULL);
    if (!inst)
        return;
    inst->span.end = p->taken_end;
    if (typed)
        inst->type = type;
    if (named && !inst->has_value)
        parse_fail(p, name.span, "this %s has no value to name", tile_op_info[inst->op].name);
    else if (!named && inst->has_value)
        parse_fail(p, inst->span, "the value of %s needs a name, %%number", tile_op_info[inst->op].name);
    else if (named)
        define(p, name, inst);
    if (inst->body)
        parse_expect(p, "{");
    inst->label = p->comment;
    if (!inst->body)
        return;
    parse_block(p, inst->body, depth + 1);
    if (inst->op == TILE_IF && parse_accept(p, "else")) {
        inst->orelse = block_create(p->program, inst);
        parse_expect(p, "{");
        parse_block(p, inst->orelse, depth + 1);
    }
}

/* Up to and with the closing brace; the opening one is taken. */
static void parse_block(Parser *p, Block *block, int depth)
{
    if (depth > TILE_MAX_NESTING)
        parse_fail(p, p->token.span, "blocks nest deeper than %d", (int)TILE_MAX_NESTING);
    while (!p->failed && !parse_is(p, "}"))
        parse_inst(p, block, depth);
    parse_expect(p, "}");
}

static void parse_phase(Parser *p)
{
    Span span = p->token.span;
    p->phase = program_phase(p->program, parse_word(p, "a phase's name"));
    if (!p->phase) {
        no_room(p, span, "phases", PROGRAM_MAX_PHASES);
        return;
    }
    if (parse_accept(p, "grid")) {
        parse_expect(p, "(");
        do {
            int k = p->phase->grid_count;
            if (k == PROGRAM_MAX_GRID) {
                no_room(p, p->token.span, "grid dimensions", PROGRAM_MAX_GRID);
                return;
            }
            p->phase->grid[k].name = parse_word(p, "a grid dimension's name");
            parse_expect(p, ":");
            p->phase->grid[k].extent = parse_extent(p);
            p->phase->grid_count++;
        } while (parse_accept(p, ","));
        parse_expect(p, ")");
    }
    parse_expect(p, "{");
    parse_block(p, p->phase->body, 0);
}

/* Instructions without a value take the numbers behind those of the text. */
static void number_rest(void *user, Inst *inst)
{
    Program *program = user;
    if (!inst->has_value)
        inst->id = program->next_id++;
}

static void parse_program(Parser *p)
{
    static const char *const stages[] = {"logical", "sized", "placed", "staged", "synced"};
    static const char *const sections[] = {"knob", "axis", "param", "tensor", "phase"};
    static void (*const parse_section[])(Parser *) = {parse_knob, parse_axis, parse_param, parse_tensor,
                                                      parse_phase};
    parse_expect(p, "program");
    p->program = program_create(p->arena, expr_pool_create(p->arena), parse_word(p, "the program's name"), 0);
    parse_expect(p, "rank");
    p->program->rank = parse_small(p, "the rank", SPEC_MAX_RANK);
    parse_expect(p, "stage");
    p->program->stage = (Stage)parse_choice(p, "a stage", stages, STAGE_SYNCED + 1);
    parse_expect(p, "{");
    while (!p->failed && !parse_is(p, "}")) {
        int section = parse_choice(p, "a declaration", sections, 5);
        if (!p->failed)
            parse_section[section](p);
    }
    parse_expect(p, "}");
    if (!p->failed && p->token.kind != TOKEN_END)
        parse_fail(p, p->token.span, "expected nothing behind the program");
    for (size_t id = 0; id < p->value_capacity; id++)
        if (p->values[id])
            p->program->next_id = (uint32_t)id + 1;
    program_walk(p->program, number_rest, p->program);
}

Program *program_parse(Arena *arena, Diag *diag, int source)
{
    Parser parser = {.arena = arena, .diag = diag, .source = &diag->sources[source], .source_index = source};
    Parser *p = &parser;
    parse_next(p);
    parse_program(p);
    return p->failed ? NULL : p->program;
}
