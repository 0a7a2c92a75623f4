/* Reading scalar expressions of the text form: precedence climbing; operators are found by name and operand
 * types in the table of scalar operators. */
#include "tile_parse.h"

#include <math.h>
#include <string.h>

static const Expr *parse_level(Parser *p, int level);

static const Expr *zero(Parser *p)
{
    return expr_int(p->program->pool, 0);
}

static bool enter(Parser *p)
{
    if (++p->depth <= TILE_MAX_BRACKETS)
        return true;
    parse_fail(p, p->token.span, "brackets and signs nest deeper than %d", (int)TILE_MAX_BRACKETS);
    return false;
}

/* Whether operands of these types fit a signature: b, i, f, n (int or float, all alike). */
static bool signature_fits(const char *signature, const Expr *const *args, int count)
{
    int number = -1;
    for (int k = 0; k < count; k++) {
        int type = args[k]->type;
        switch (signature[k]) {
        case 'b': if (type != TYPE_BOOL) return false; break;
        case 'i': if (type != TYPE_INT) return false; break;
        case 'f': if (type != TYPE_FLOAT) return false; break;
        default:
            if (type == TYPE_BOOL || (number >= 0 && type != number))
                return false;
            number = type;
        }
    }
    return true;
}

static bool is_operator(ExprOp op)
{
    return !expr_op_info[op].leaf && op != EXPR_SUM && op != EXPR_REDMAX && op != EXPR_REDMIN;
}

static const Expr *apply(Parser *p, Span span, const char *name, const Expr *const *args, int count)
{
    bool named = false, counted = false;
    if (p->failed)
        return zero(p);
    for (int op = 0; op < EXPR_OP_COUNT; op++) {
        const ExprOpInfo *info = &expr_op_info[op];
        if (!is_operator((ExprOp)op) || strcmp(info->name, name) != 0)
            continue;
        named = true;
        counted = counted || info->arity == count;
        if (info->arity != count || !signature_fits(info->signature, args, count))
            continue;
        if (++p->operators > TILE_MAX_OPERATORS) {
            parse_fail(p, span, "the expression has more than %d operators", (int)TILE_MAX_OPERATORS);
            return zero(p);
        }
        ExprPool *pool = p->program->pool;
        return count == 1   ? expr_op1(pool, (ExprOp)op, args[0])
               : count == 2 ? expr_op2(pool, (ExprOp)op, args[0], args[1])
                            : expr_op3(pool, (ExprOp)op, args[0], args[1], args[2]);
    }
    if (!named) {
        const char *names[EXPR_OP_COUNT];
        int name_count = 0;
        for (int op = 0; op < EXPR_OP_COUNT; op++)
            if (is_operator((ExprOp)op) && !expr_op_info[op].infix)
                names[name_count++] = expr_op_info[op].name;
        const char *near = diag_nearest(name, names, name_count);
        Message *message = parse_fail(p, span, "unknown function '%s'", name);
        if (near)
            diag_fix(p->diag, message, "did you mean '%s'?", near);
        return zero(p);
    }
    Text types = {.arena = p->arena};
    for (int k = 0; k < count; k++)
        text_add(&types, "%s%s", k ? ", " : "", tile_type_names[args[k]->type]);
    parse_fail(p, span, counted ? "'%s' does not take (%s)" : "'%s' does not take that many operands (%s)",
               name, types.data ? types.data : "");
    return zero(p);
}

static const Expr *parse_name(Parser *p)
{
    Program *program = p->program;
    Token token = p->token;
    const char *name = token.text;
    parse_next(p);
    if (!token.quoted && parse_accept(p, "(")) {
        const Expr *args[3] = {NULL};
        int count = 0;
        bool more = enter(p) && !parse_is(p, ")");
        while (more) {
            const Expr *arg = parse_level(p, LEVEL_OR);
            if (count == 3)
                parse_fail(p, token.span, "'%s' has too many operands", name);
            else
                args[count++] = arg;
            more = parse_accept(p, ",");
        }
        p->depth--;
        parse_expect(p, ")");
        return apply(p, token.span, name, args, count);
    }
    if (!token.quoted) {
        if (!strcmp(name, "true") || !strcmp(name, "false"))
            return expr_bool(program->pool, name[0] == 't');
        if (!strcmp(name, "inf"))
            return expr_float(program->pool, (double)INFINITY);
        if (!strcmp(name, "nan"))
            return expr_float(program->pool, (double)NAN);
        for (int k = 0; k < TILE_SIZE_COUNT; k++)
            if (!strcmp(name, tile_size_names[k]))
                return expr_var(program->pool, (VarId)(VAR_SIZE_B + k), TYPE_INT);
        for (int k = 0; k < program->knob_count; k++)
            if (!strcmp(name, program->knobs[k].name))
                return expr_var(program->pool, VAR_KNOB(k), TYPE_INT);
    }
    const char *names[SPEC_MAX_PARAMS];
    for (int k = 0; k < program->param_count; k++) {
        names[k] = program->params[k].name;
        if (!strcmp(name, names[k]))
            return expr_param(program->pool, k, program->params[k].type);
    }
    const char *near = diag_nearest(name, names, program->param_count);
    Message *message =
        parse_fail(p, token.span, "unknown name '%s': no size, knob or param is called so", name);
    if (near)
        diag_fix(p->diag, message, "did you mean '%s'?", near);
    return zero(p);
}

static const Expr *parse_atom(Parser *p)
{
    ExprPool *pool = p->program->pool;
    Token token = p->token;
    const Expr *e;
    switch (token.kind) {
    case TOKEN_INT:
        parse_next(p);
        if (token.number > INT64_MAX)
            parse_fail(p, token.span, "the number does not fit in 64 bits");
        return expr_int(pool, (int64_t)token.number);
    case TOKEN_FLOAT:
        parse_next(p);
        return expr_float(pool, token.real);
    case TOKEN_ARG:
        parse_next(p);
        if (token.number >= (uint64_t)p->operand_count) {
            parse_fail(p, token.span, "there is no operand $%llu: there are %d",
                       (unsigned long long)token.number, p->operand_count);
            return zero(p);
        }
        return expr_arg(pool, (int)token.number, elem_class(p->operands[token.number]->type.elem));
    case TOKEN_SHARED:
        parse_next(p);
        if (token.number < p->shared_count)
            return p->shared[token.number];
        parse_fail(p, token.span, "#%llu is not defined by a 'let' before", (unsigned long long)token.number);
        return zero(p);
    case TOKEN_WORD:
        return parse_name(p);
    case TOKEN_MARK:
        if (!parse_is(p, "(") || !enter(p))
            break;
        parse_next(p);
        e = parse_level(p, LEVEL_OR);
        p->depth--;
        parse_expect(p, ")");
        return e;
    case TOKEN_VALUE:
        parse_fail(p, token.span,
                   "a value cannot stand in an expression: name it as an operand and write $0, $1, ..");
        break;
    case TOKEN_END:
        break;
    }
    parse_fail(p, token.span, "expected an expression");
    return zero(p);
}

static const Expr *parse_power(Parser *p, const Expr *base)
{
    Span span = p->token.span;
    if (!parse_is(p, "^") || !enter(p))
        return base;
    parse_next(p);
    const Expr *exponent = parse_level(p, LEVEL_NEG);
    p->depth--;
    return apply(p, span, "^", (const Expr *[]){base, exponent}, 2);
}

/* A minus before a bare number makes a negative constant. */
static const Expr *parse_negative(Parser *p)
{
    ExprPool *pool = p->program->pool;
    Token minus = p->token, token;
    const Expr *e = zero(p);
    if (!enter(p))
        return e;
    parse_next(p);
    token = p->token;
    bool number = token.kind == TOKEN_INT || token.kind == TOKEN_FLOAT;
    if (number)
        parse_next(p);
    if (number && !parse_is(p, "^")) {
        if (token.kind == TOKEN_FLOAT)
            e = expr_float(pool, -token.real);
        else if (token.number > (uint64_t)INT64_MAX + 1)
            parse_fail(p, token.span, "the number does not fit in 64 bits");
        else
            e = expr_int(pool, (int64_t)(0 - token.number));
    } else if (number) {
        const Expr *base =
            token.kind == TOKEN_FLOAT ? expr_float(pool, token.real) : expr_int(pool, (int64_t)token.number);
        e = apply(p, minus.span, "neg", (const Expr *[]){parse_power(p, base)}, 1);
    } else {
        e = apply(p, minus.span, "neg", (const Expr *[]){parse_level(p, LEVEL_NEG)}, 1);
    }
    p->depth--;
    return e;
}

/* `a > b` is `b < a`. */
static const char *infix_name(const Parser *p, int level, bool *swap)
{
    *swap = level == LEVEL_COMPARE && (parse_is(p, ">") || parse_is(p, ">="));
    if (*swap)
        return parse_is(p, ">") ? "<" : "<=";
    for (int op = 0; op < EXPR_OP_COUNT; op++)
        if (tile_infix_level((ExprOp)op) == level && parse_is(p, expr_op_info[op].name))
            return expr_op_info[op].name;
    return NULL;
}

static const Expr *parse_level(Parser *p, int level)
{
    if (level == LEVEL_NEG)
        return parse_is(p, "-") ? parse_negative(p) : parse_power(p, parse_atom(p));
    if (level == LEVEL_NOT && parse_is(p, "not")) {
        Span span = p->token.span;
        if (!enter(p))
            return zero(p);
        parse_next(p);
        const Expr *e = parse_level(p, LEVEL_NOT);
        p->depth--;
        return apply(p, span, "not", &e, 1);
    }
    const Expr *left = parse_level(p, level + 1);
    const char *name;
    bool swap;
    while (level != LEVEL_NOT && (name = infix_name(p, level, &swap))) {
        Span span = p->token.span;
        parse_next(p);
        const Expr *right = parse_level(p, level + 1);
        left = apply(p, span, name, swap ? (const Expr *[]){right, left} : (const Expr *[]){left, right}, 2);
        if (level == LEVEL_COMPARE)
            break;
    }
    return left;
}

const Expr *parse_expr(Parser *p, Inst *const *operands, int count)
{
    p->operands = operands;
    p->operand_count = count;
    p->depth = p->operators = 0;
    p->shared_count = 0;
    if (parse_accept(p, "let")) {
        do {
            Token name = p->token;
            if (name.kind != TOKEN_SHARED || name.number != p->shared_count) {
                parse_fail(p, name.span, "expected #%zu", p->shared_count);
                break;
            }
            parse_next(p);
            parse_expect(p, "=");
            const Expr *e = parse_level(p, LEVEL_OR);
            if (p->shared_count == p->shared_capacity) {
                size_t capacity = p->shared_capacity ? p->shared_capacity * 2 : 16;
                p->shared = arena_grow(p->arena, p->shared, p->shared_count, capacity, sizeof *p->shared);
                p->shared_capacity = capacity;
            }
            p->shared[p->shared_count++] = e;
        } while (parse_accept(p, ","));
        parse_expect(p, "in");
    }
    return parse_level(p, LEVEL_OR);
}
