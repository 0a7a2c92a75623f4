/* Expressions: names, operators, indexing. Everything is inlined; nothing is looked up later. */
#include <string.h>

#include "check_internal.h"

/* Names of the language -------------------------------------------------------------------------------- */

#define AT(context) (1u << (context))
enum {
    PAIR = AT(IN_MASK) | AT(IN_SIMILARITY) | AT(IN_SCORE),
    LAUNCH = AT(IN_EXTENT) | PAIR | AT(IN_FEATURE) | AT(IN_DECAY) | AT(IN_NORMALIZE) | AT(IN_OUTPUT),
    EVERYWHERE = AT(IN_CONSTANT) | LAUNCH
};

typedef enum Builtin {
    B_VAR, B_QUERY, B_KEY, B_TOKEN, B_SIZE, B_SCALE, B_PI, B_INF, B_RANK, /* numbers */
    B_VEC_Q, B_VEC_K, B_VEC_X, B_VEC_O,                                   /* vectors */
    B_SIMILARITY
} Builtin;

/* `reserved`: declaring it would make specs unreadable. */
static const struct BuiltinRow {
    const char *name, *meaning;
    Builtin kind;
    VarId var;
    unsigned where;
    bool reserved;
} builtins[] = {
    {"b", "the batch index", B_VAR, VAR_B, LAUNCH & ~AT(IN_EXTENT), true},
    {"h", "the query head", B_VAR, VAR_H, LAUNCH & ~AT(IN_EXTENT), true},
    {"g", "the key head", B_VAR, VAR_G, LAUNCH & ~AT(IN_EXTENT), false},
    {"i", "the query's position", B_QUERY, VAR_I0, PAIR | AT(IN_FEATURE) | AT(IN_OUTPUT), true},
    {"j", "the key's position", B_KEY, VAR_J0, PAIR | AT(IN_FEATURE), true},
    {"t", "the token's position", B_TOKEN, VAR_T0, AT(IN_FEATURE) | AT(IN_DECAY), false},
    {"s", "the similarity", B_SIMILARITY, VAR_S, AT(IN_SCORE), true},
    {"q", "the query's vector", B_VEC_Q, VAR_C, AT(IN_SIMILARITY) | AT(IN_SCORE), true},
    {"k", "the key's vector", B_VEC_K, VAR_C, AT(IN_SIMILARITY) | AT(IN_SCORE), true},
    {"x", "the token's vector", B_VEC_X, VAR_C, AT(IN_FEATURE), true},
    {"o", "the output row", B_VEC_O, VAR_C, AT(IN_OUTPUT), true},
    {"B", "the batch size", B_VAR, VAR_SIZE_B, LAUNCH, true},
    {"H", "the number of query heads", B_VAR, VAR_SIZE_H, LAUNCH, true},
    {"G", "the number of key heads", B_VAR, VAR_SIZE_G, LAUNCH, true},
    {"M", "the number of queries", B_VAR, VAR_SIZE_M, LAUNCH, true},
    {"N", "the number of keys", B_VAR, VAR_SIZE_N, LAUNCH, true},
    {"D", "the width of q and k", B_VAR, VAR_SIZE_D, LAUNCH, true},
    {"E", "the width of v", B_VAR, VAR_SIZE_E, LAUNCH, true},
    {"size", "the extents of the key grid", B_SIZE, VAR_SIZE_N, LAUNCH, true},
    {"scale", "1/sqrt(D)", B_SCALE, VAR_SIZE_D, LAUNCH, true},
    {"pi", "3.14159...", B_PI, VAR_B, EVERYWHERE, true},
    {"inf", "infinity", B_INF, VAR_B, EVERYWHERE, true},
    {"rank", "the number of axes", B_RANK, VAR_B, EVERYWHERE, true},
};
enum { BUILTIN_COUNT = sizeof builtins / sizeof *builtins };

static const char *const context_names[] = {
    [IN_CONSTANT] = "a default value", [IN_EXTENT] = "an extent", [IN_MASK] = "a mask",
    [IN_SIMILARITY] = "a similarity", [IN_SCORE] = "a score", [IN_FEATURE] = "a feature map",
    [IN_DECAY] = "a decay", [IN_NORMALIZE] = "a normaliser", [IN_OUTPUT] = "an output",
};

static const struct BuiltinRow *find_builtin(const char *name)
{
    for (int n = 0; n < BUILTIN_COUNT; n++)
        if (!strcmp(builtins[n].name, name))
            return &builtins[n];
    return NULL;
}

const char *check_reserved_meaning(const char *name)
{
    const struct BuiltinRow *row = find_builtin(name);
    return row && row->reserved ? row->meaning : NULL;
}

/* The function may only see its arguments: these names are constants of the language. */
static bool pure(Builtin kind) { return kind == B_PI || kind == B_INF || kind == B_RANK; }

static const Expr *int_var(Checker *c, int var) { return expr_var(c->pool, (VarId)var, TYPE_INT); }

/* A position: coordinates and their flat composition, ((y * size.y') + ...). */
static Value position(Checker *c, int first_var, int first_extent)
{
    Value value = {.kind = VALUE_SCALAR, .parts = c->spec->rank};
    for (int a = 0; a < value.parts; a++)
        value.part[a] = int_var(c, first_var + a);
    value.e = value.part[0];
    for (int a = 1; a < value.parts; a++)
        value.e = expr_op2(c->pool, EXPR_ADD,
                           expr_op2(c->pool, EXPR_MUL, value.e, int_var(c, first_extent + a)), value.part[a]);
    return value;
}

static Value element(Checker *c, ElemOf of, const Expr *width)
{
    return value_vector(expr_elem(c->pool, of, int_var(c, VAR_C), NULL), width);
}

static const Expr *feature_width(Checker *c, const SpecFeature *feature, VarId otherwise)
{
    return feature->body ? feature->width : int_var(c, otherwise);
}

static Value builtin_value(Checker *c, const Node *node, const struct BuiltinRow *row)
{
    Spec *spec = c->spec;
    switch (row->kind) {
    case B_VAR: return value_scalar(int_var(c, row->var));
    case B_QUERY:
    case B_KEY:
        if (c->context == IN_FEATURE) {
            if (!c->tensor_alone || (c->tensor == 'q') != (row->kind == B_QUERY)) {
                diag_fix(c->diag,
                         check_error(c, node->span, "wrong-place",
                                     "'%s' is %s, and this map is applied to %s", row->name, row->meaning,
                                     c->tensor_alone ? c->tensor == 'q'   ? "q"
                                                       : c->tensor == 'k' ? "k"
                                                                          : "v"
                                                     : "several tensors"),
                         "write t, the position of the token");
                return value_error();
            }
            return position(c, VAR_T0, row->kind == B_QUERY ? VAR_SIZE_M0 : VAR_SIZE_N0);
        }
        return row->kind == B_QUERY ? position(c, VAR_I0, VAR_SIZE_M0) : position(c, VAR_J0, VAR_SIZE_N0);
    case B_TOKEN:
        return position(c, VAR_T0, c->context == IN_FEATURE && c->tensor == 'q' ? VAR_SIZE_M0 : VAR_SIZE_N0);
    case B_SIZE: {
        Value value = {.kind = VALUE_SCALAR, .e = int_var(c, VAR_SIZE_N), .parts = spec->rank};
        for (int a = 0; a < spec->rank; a++)
            value.part[a] = spec->rank == 1 ? value.e : int_var(c, VAR_SIZE_N0 + a);
        return value;
    }
    case B_SCALE:
        return value_scalar(
            expr_op1(c->pool, EXPR_RSQRT, expr_op1(c->pool, EXPR_TOFLOAT, int_var(c, VAR_SIZE_D))));
    case B_PI: return value_scalar(expr_float(c->pool, 3.14159265358979323846));
    case B_INF: return value_scalar(expr_float(c->pool, __builtin_inf()));
    case B_RANK: return value_scalar(expr_int(c->pool, spec->rank));
    case B_SIMILARITY: return value_scalar(expr_var(c->pool, VAR_S, TYPE_FLOAT));
    case B_VEC_Q: return element(c, ELEM_Q, feature_width(c, &spec->feature_q, VAR_SIZE_D));
    case B_VEC_K: return element(c, ELEM_K, feature_width(c, &spec->feature_k, VAR_SIZE_D));
    case B_VEC_X: return element(c, ELEM_X, int_var(c, c->tensor == 'v' ? VAR_SIZE_E : VAR_SIZE_D));
    case B_VEC_O: return element(c, ELEM_O, feature_width(c, &spec->feature_v, VAR_SIZE_E));
    }
    return value_error();
}

/* Names of the spec ------------------------------------------------------------------------------------ */

static Let *find_let(Checker *c, const char *name)
{
    for (int n = 0; n < c->let_count; n++)
        if (!strcmp(c->lets[n].node->name, name))
            return &c->lets[n];
    return NULL;
}

static Value let_value(Checker *c, const Node *use, Let *let)
{
    if (let->item >= c->item || let->busy) {
        diag_fix(c->diag,
                 check_error(c, use->span, "unknown-name", "'%s' is defined further down", use->name),
                 "a let is visible to the items that follow it");
        return value_error();
    }
    let->used = true;
    if (let->generation == c->generation)
        return let->value;
    Binding *locals = c->locals;
    int item = c->item;
    c->locals = NULL;
    c->item = let->item;
    let->busy = true;
    let->value = check_value(c, let->node->child[0]);
    let->busy = false;
    let->generation = c->generation;
    c->locals = locals;
    c->item = item;
    return let->value;
}

static Value param_value(Checker *c, Param *param)
{
    Spec *spec = c->spec;
    Value value = {.kind = param->parts > 1 ? VALUE_TUPLE : VALUE_SCALAR,
                   .parts = param->parts > 1 ? param->parts : 0};
    param->used = true;
    for (int p = 0; p < param->parts; p++) {
        const SpecParam *part = &spec->params[param->first + p];
        const Expr *e = expr_param(c->pool, param->first + p, part->type);
        if (c->context == IN_CONSTANT && part->constant)
            e = part->type == TYPE_FLOAT ? expr_float(c->pool, part->value.f)
                : part->type == TYPE_INT ? expr_int(c->pool, part->value.i)
                                         : expr_bool(c->pool, part->value.i != 0);
        value.part[p] = e;
        value.e = value.kind == VALUE_SCALAR ? e : NULL;
    }
    return value;
}

const char *check_nearest_name(Checker *c, const char *wrong)
{
    const char *names[SPEC_MAX_INPUTS + SPEC_MAX_PARAMS + BUILTIN_COUNT + 64];
    int count = 0;
    for (const Binding *b = c->locals; b && count < 32; b = b->next)
        names[count++] = b->name;
    if (!c->def) {
        for (int n = 0; n < c->param_count; n++)
            names[count++] = c->params[n].name;
        for (int n = 0; n < c->spec->input_count; n++)
            names[count++] = c->spec->inputs[n].name;
        for (int n = 0; n < c->let_count && n < 32; n++)
            if (c->lets[n].item < c->item)
                names[count++] = c->lets[n].node->name;
    }
    for (int n = 0; n < BUILTIN_COUNT; n++)
        if (strlen(builtins[n].name) > 1
            && (c->def ? pure(builtins[n].kind) : builtins[n].where & AT(c->context)))
            names[count++] = builtins[n].name;
    if (wrong[0] == wrong[1] && !wrong[2]) { /* jj: one letter too many */
        const char one[2] = {wrong[0], 0};
        const struct BuiltinRow *row = find_builtin(one);
        return row && !c->def && row->where & AT(c->context) ? row->name : NULL;
    }
    return wrong[0] && wrong[1] ? diag_nearest(wrong, names, count) : NULL;
}

static Value unknown_name(Checker *c, const Node *node)
{
    const struct BuiltinRow *row = find_builtin(node->name);
    if (row && c->def) {
        diag_fix(c->diag,
                 check_error(c, node->span, "unknown-name", "'%s' is not an argument of '%s'", node->name,
                             c->def->name),
                 "functions see only their arguments: pass it as one");
        return value_error();
    }
    if (row) {
        static const char *const hints[] = {
            [IN_FEATURE] = "x is the token's vector and t its position",
            [IN_DECAY] = "t is the token's position",
            [IN_MASK] = "a mask sees positions, inputs and params",
            [IN_OUTPUT] = "o is the output row and i its position",
            [IN_NORMALIZE] = "a normaliser's arguments may differ by head, not by position",
        };
        Message *m = check_error(c, node->span, "wrong-place", "'%s', %s, has no meaning in %s", row->name,
                                 row->meaning, context_names[c->context]);
        if ((size_t)c->context < sizeof hints / sizeof *hints && hints[c->context])
            diag_fix(c->diag, m, "%s", hints[c->context]);
        return value_error();
    }
    const char *near = check_nearest_name(c, node->name);
    Message *m = check_error(c, node->span, "unknown-name", "unknown name '%s'", node->name);
    if (near)
        diag_fix(c->diag, m, "did you mean '%s'?", near);
    return value_error();
}

Value check_name(Checker *c, const Node *node)
{
    for (const Binding *b = c->locals; b; b = b->next)
        if (!strcmp(b->name, node->name))
            return b->value;
    const struct BuiltinRow *row = find_builtin(node->name);
    if (!c->def) {
        Let *let = find_let(c, node->name);
        if (let)
            return let_value(c, node, let);
        Param *param = find_param(c, node->name);
        if (param)
            return param_value(c, param);
        int input = find_input(c, node->name);
        if (input >= 0)
            return check_input_read(c, node, input, NULL, 0);
        int free_dim = find_free(c, node->name);
        if (free_dim >= 0 && c->context != IN_CONSTANT)
            return value_scalar(expr_param(c->pool, free_dim, TYPE_INT));
        if (row && row->where & AT(c->context))
            return builtin_value(c, node, row);
    } else if (row && pure(row->kind)) {
        return builtin_value(c, node, row);
    }
    return unknown_name(c, node);
}

/* Operators -------------------------------------------------------------------------------------------- */

static const Expr *compare_booleans(Checker *c, NodeKind kind, const Expr *a, const Expr *b)
{
    const Expr *not_b = expr_op1(c->pool, EXPR_NOT, b);
    return expr_op3(c->pool, EXPR_BSELECT, a, kind == NODE_EQ ? b : not_b, kind == NODE_EQ ? not_b : b);
}

static const Expr *binary_scalars(Checker *c, Span span, const Expr *const *args, int count, const void *user)
{
    static const struct { NodeKind kind; ExprOp op; bool swapped; } ops[] = {
        {NODE_ADD, EXPR_ADD, false}, {NODE_SUB, EXPR_SUB, false}, {NODE_MUL, EXPR_MUL, false},
        {NODE_DIV, EXPR_DIV, false}, {NODE_MOD, EXPR_MOD, false}, {NODE_POW, EXPR_POW, false},
        {NODE_LT, EXPR_LT, false},   {NODE_LE, EXPR_LE, false},   {NODE_GT, EXPR_LT, true},
        {NODE_GE, EXPR_LE, true},    {NODE_EQ, EXPR_EQ, false},   {NODE_NE, EXPR_NE, false},
    };
    NodeKind kind = *(const NodeKind *)user;
    const Expr *a = args[0], *b = args[1];
    (void)count;
    const char *what = arena_printf(c->arena, "an operand of '%s'", node_word(kind));
    if (kind == NODE_AND || kind == NODE_OR) {
        for (int n = 0; n < 2; n++)
            if (!value_expect_bool(c, span, value_scalar(args[n]), what))
                return NULL;
        return expr_op2(c->pool, kind == NODE_AND ? EXPR_AND : EXPR_OR, a, b);
    }
    if ((kind == NODE_EQ || kind == NODE_NE) && a->type == TYPE_BOOL && b->type == TYPE_BOOL)
        return compare_booleans(c, kind, a, b);
    if (!expect_number(c, span, a, what) || !expect_number(c, span, b, what))
        return NULL;
    bool to_float = a->type != b->type;
    if (kind == NODE_POW && a->type == TYPE_INT && b->type == TYPE_INT)
        to_float = b->op != EXPR_INT || b->value.i < 0;
    if ((kind == NODE_DIV || kind == NODE_MOD) && a->type == TYPE_INT && b->op == EXPR_INT
        && b->value.i == 0) {
        check_error(c, span, "division-by-zero", "division of an int by zero");
        return NULL;
    }
    if (to_float) {
        a = expect_float(c, span, a, what);
        b = expect_float(c, span, b, what);
    }
    for (size_t n = 0; n < sizeof ops / sizeof *ops; n++)
        if (ops[n].kind == kind)
            return ops[n].swapped ? expr_op2(c->pool, ops[n].op, b, a) : expr_op2(c->pool, ops[n].op, a, b);
    return NULL;
}

Value check_binary(Checker *c, NodeKind kind, Span span, Value a, Value b)
{
    return value_map(c, span, (Value[]){a, b}, 2, binary_scalars, &kind);
}

static const Expr *unary_scalar(Checker *c, Span span, const Expr *const *args, int count, const void *user)
{
    (void)count;
    if (*(const NodeKind *)user == NODE_NOT)
        return value_expect_bool(c, span, value_scalar(args[0]), "the operand of 'not'")
                   ? expr_op1(c->pool, EXPR_NOT, args[0])
                   : NULL;
    return expect_number(c, span, args[0], "the operand of '-'") ? expr_op1(c->pool, EXPR_NEG, args[0])
                                                                 : NULL;
}

static const Expr *select_scalars(Checker *c, Span span, const Expr *const *args, int count, const void *user)
{
    const Expr *yes = args[1], *no = args[2];
    (void)count;
    (void)user;
    if (!value_expect_bool(c, span, value_scalar(args[0]), "the condition of 'if'"))
        return NULL;
    if (yes->type == TYPE_BOOL && no->type == TYPE_BOOL)
        return expr_op3(c->pool, EXPR_BSELECT, args[0], yes, no);
    if (yes->type == TYPE_BOOL || no->type == TYPE_BOOL) {
        check_error(c, span, "type-mismatch", "one branch is %s, the other %s",
                    type_describe((ExprType)yes->type), type_describe((ExprType)no->type));
        return NULL;
    }
    if (yes->type != no->type) {
        yes = expect_float(c, span, yes, "a branch");
        no = expect_float(c, span, no, "a branch");
    }
    return expr_op3(c->pool, EXPR_SELECT, args[0], yes, no);
}

/* Indexing --------------------------------------------------------------------------------------------- */

static Value index_value(Checker *c, const Node *node)
{
    const Node *base = node->child[0];
    if (base->kind == NODE_NAME && !c->def) {
        bool local = false;
        for (const Binding *b = c->locals; b; b = b->next)
            local |= !strcmp(b->name, base->name);
        int input = find_input(c, base->name);
        if (!local && input >= 0)
            return check_input_read(c, node, input, node->child + 1, node->count - 1);
    }
    Value value = check_value(c, base);
    if (value.kind == VALUE_ERROR)
        return value;
    if (node->count != 2) {
        check_error(c, node->span, "wrong-index", "%s takes one index, not %d", value_describe(&value),
                    node->count - 1);
        return value_error();
    }
    const Expr *index = value_expect_int(c, node->child[1]->span, check_value(c, node->child[1]), "an index");
    if (!index)
        return value_error();
    if (value.kind == VALUE_VECTOR)
        return value_scalar(vector_at(c, value.e, index));
    int parts = value.parts ? value.parts : 1;
    if (index->op != EXPR_INT || index->value.i < 0 || index->value.i >= parts) {
        diag_fix(c->diag,
                 check_error(c, node->child[1]->span, "wrong-index", "%s has parts 0 to %d, known beforehand",
                             value_describe(&value), parts - 1),
                 "the index must be such a constant");
        return value_error();
    }
    return value.parts ? value_scalar(value.part[index->value.i]) : value;
}

static Value member_value(Checker *c, const Node *node)
{
    Value value = check_value(c, node->child[0]);
    if (value.kind == VALUE_ERROR)
        return value;
    int parts = value.parts ? value.parts : 1;
    int part = value.kind == VALUE_VECTOR ? -1 : axis_part(c, node->name, parts);
    if (part >= 0)
        return value.parts ? value_scalar(value.part[part]) : value;
    Message *m = check_error(c, node->name_span, "unknown-name", "%s has no part '%s'",
                             value_describe(&value), node->name);
    if (c->spec->rank == 1 && value.kind == VALUE_SCALAR)
        diag_fix(c->diag, m, "positions have parts in 'attention %s over (y, x)'", c->spec->name);
    else if (value.kind != VALUE_VECTOR)
        diag_fix(c->diag, m, "its parts are %s",
                 parts == 1   ? ".x"
                 : parts == 2 ? ".y and .x"
                              : ".z, .y and .x");
    return value_error();
}

/* Everything ------------------------------------------------------------------------------------------- */

/* 1 / 2 as written: nearly always 0.5 was meant. */
static void warn_floor(Checker *c, const Node *node)
{
    const Node *a = node->child[0], *b = node->child[1];
    if (node->kind != NODE_DIV || a->kind != NODE_INTEGER || b->kind != NODE_INTEGER || b->integer == 0
        || a->integer % b->integer == 0)
        return;
    for (const Message *m = c->diag->first; m; m = m->next)
        if (m->span.file == node->span.file && m->span.begin == node->span.begin
            && !strcmp(m->id, "integer-division"))
            return;
    diag_fix(c->diag,
             diag_warn(c->diag, node->span, "integer-division",
                       "'/' on ints is floor division: %lld / %lld = %lld", (long long)a->integer,
                       (long long)b->integer, (long long)(a->integer / b->integer)),
             "write %lld.0 / %lld for the fraction", (long long)a->integer, (long long)b->integer);
}

static bool within_limits(Checker *c, const Node *node)
{
    if (c->stopped)
        return false;
    if (++c->steps > CHECK_MAX_STEPS || arena_used(c->arena) - c->memory > CHECK_MAX_MEMORY) {
        c->stopped = true;
        diag_fix(c->diag,
                 check_error(c, c->def ? c->call : node->span, "too-large",
                             "the functions used here expand to more than %d expression nodes",
                             CHECK_MAX_STEPS),
                 "call them on fewer things, or less deeply");
    } else if (c->depth > CHECK_MAX_DEPTH) {
        c->stopped = true;
        check_error(c, node->span, "nesting",
                    "expressions nested more than %d deep, counting the functions used", CHECK_MAX_DEPTH);
    }
    return !c->stopped;
}

static Value check_kind(Checker *c, const Node *node)
{
    switch (node->kind) {
    case NODE_NAME: return check_name(c, node);
    case NODE_INTEGER: return value_scalar(expr_int(c->pool, node->integer));
    case NODE_REAL: return value_scalar(expr_float(c->pool, node->number));
    case NODE_BOOLEAN: return value_scalar(expr_bool(c->pool, node->integer != 0));
    case NODE_CALL: return check_call(c, node);
    case NODE_REDUCE: return check_reduce(c, node);
    case NODE_INDEX: return index_value(c, node);
    case NODE_MEMBER: return member_value(c, node);
    case NODE_TUPLE: {
        Value value = {.kind = VALUE_TUPLE, .parts = node->count};
        if (node->count > SPEC_MAX_RANK) {
            check_error(c, node->span, "type-mismatch", "a tuple has at most %d parts", SPEC_MAX_RANK);
            return value_error();
        }
        for (int n = 0; n < node->count; n++) {
            value.part[n] = value_expect_scalar(c, node->child[n]->span, check_value(c, node->child[n]),
                                                "a part of a tuple");
            if (!value.part[n])
                value.kind = VALUE_ERROR;
        }
        return value;
    }
    case NODE_LET_IN: {
        Binding *outer = c->locals, binding = {outer, node->name, check_value(c, node->child[0])};
        c->locals = &binding;
        Value value = check_value(c, node->child[1]);
        c->locals = outer;
        return value;
    }
    case NODE_IF: {
        Value args[3];
        for (int n = 0; n < 3; n++)
            args[n] = check_value(c, node->child[n]);
        return value_map(c, node->span, args, 3, select_scalars, NULL);
    }
    case NODE_NOT:
    case NODE_NEG: {
        Value value = check_value(c, node->child[0]);
        return value_map(c, node->span, &value, 1, unary_scalar, &node->kind);
    }
    case NODE_OR: case NODE_AND: {
        /* each side by itself, so that a mistake on one does not hide one on the other */
        Value sides[2] = {check_value(c, node->child[0]), check_value(c, node->child[1])};
        const char *what = arena_printf(c->arena, "an operand of '%s'", node_word(node->kind));
        for (int n = 0; n < 2; n++)
            if (sides[n].kind == VALUE_SCALAR && !value_expect_bool(c, node->child[n]->span, sides[n], what))
                sides[n] = value_error();
        expr_set_span(c->pool, node->span);
        return check_binary(c, node->kind, node->span, sides[0], sides[1]);
    }
    case NODE_LT: case NODE_LE: case NODE_GT: case NODE_GE: case NODE_EQ: case NODE_NE:
    case NODE_ADD: case NODE_SUB: case NODE_MUL: case NODE_DIV: case NODE_MOD: case NODE_POW: {
        Value a = check_value(c, node->child[0]), b = check_value(c, node->child[1]);
        warn_floor(c, node);
        expr_set_span(c->pool, node->span);
        return check_binary(c, node->kind, node->span, a, b);
    }
    default:
        check_error(c, node->span, "type-mismatch", "an expression was expected here");
        return value_error();
    }
}

static bool too_deep(const Value *value)
{
    if (value->e && value->e->depth > CHECK_MAX_EXPR_DEPTH)
        return true;
    for (int p = 0; p < value->parts; p++)
        if (value->part[p] && value->part[p]->depth > CHECK_MAX_EXPR_DEPTH)
            return true;
    return false;
}

Value check_value(Checker *c, const Node *node)
{
    if (!within_limits(c, node))
        return value_error();
    c->depth++;
    expr_set_span(c->pool, node->span);
    Value value = check_kind(c, node);
    c->depth--;
    if (value.kind != VALUE_ERROR && too_deep(&value)) {
        c->stopped = true;
        check_error(c, node->span, "nesting",
                    "this expression is nested more than %d deep once functions are inlined",
                    CHECK_MAX_EXPR_DEPTH);
        return value_error();
    }
    return value;
}
