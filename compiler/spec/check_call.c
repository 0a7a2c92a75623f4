/* Functions: the language's own, `def`s (inlined), and reductions over a range. */
#include <string.h>

#include "check_internal.h"

static const Expr *num(Checker *c, double value) { return expr_float(c->pool, value); }
static const Expr *op1(Checker *c, ExprOp op, const Expr *a) { return expr_op1(c->pool, op, a); }
static const Expr *op2(Checker *c, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(c->pool, op, a, b);
}
static const Expr *mul(Checker *c, double a, const Expr *b) { return op2(c, EXPR_MUL, num(c, a), b); }
static const Expr *add(Checker *c, double a, const Expr *b) { return op2(c, EXPR_ADD, num(c, a), b); }

static const Expr *select_positive(Checker *c, const Expr *x, const Expr *yes, const Expr *no)
{
    return expr_op3(c->pool, EXPR_SELECT, op2(c, EXPR_LT, num(c, 0), x), yes, no);
}

/* Scalar functions that are not operators of Expr: each is a formula in float x (and y, z).
 * ------------------ */

static const Expr *fn_relu(Checker *c, const Expr *const *x) { return op2(c, EXPR_MAX, x[0], num(c, 0)); }
static const Expr *fn_square(Checker *c, const Expr *const *x) { return op2(c, EXPR_MUL, x[0], x[0]); }
static const Expr *fn_silu(Checker *c, const Expr *const *x)
{
    return op2(c, EXPR_MUL, x[0], op1(c, EXPR_SIGMOID, x[0]));
}
/* x for x > 0, else exp(x) - 1; exp only of what is not positive, so that it cannot overflow */
static const Expr *fn_elu(Checker *c, const Expr *const *x)
{
    return select_positive(c, x[0], x[0], add(c, -1, op1(c, EXPR_EXP, op2(c, EXPR_MIN, x[0], num(c, 0)))));
}
static const Expr *fn_gelu(Checker *c, const Expr *const *x)
{
    const Expr *normal = mul(c, 0.5, add(c, 1, op1(c, EXPR_ERF, mul(c, 0.70710678118654752440, x[0]))));
    return op2(c, EXPR_MUL, x[0], normal);
}
/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)) */
static const Expr *fn_softplus(Checker *c, const Expr *const *x)
{
    const Expr *small = op1(c, EXPR_EXP, op1(c, EXPR_NEG, op1(c, EXPR_ABS, x[0])));
    return op2(c, EXPR_ADD, op2(c, EXPR_MAX, x[0], num(c, 0)), op1(c, EXPR_LOG1P, small));
}
/* Mega's: (1 + erf((x - sqrt(1/2)) / (sigma sqrt 2))) / 2 with sigma = sqrt(1 / (4 pi)) */
static const Expr *fn_laplace(Checker *c, const Expr *const *x)
{
    const double mu = 0.70710678118654752440, per_sigma_root2 = 2.50662827463100050242;
    return mul(c, 0.5, add(c, 1, op1(c, EXPR_ERF, mul(c, per_sigma_root2, add(c, -mu, x[0])))));
}
static const Expr *fn_leaky_relu(Checker *c, const Expr *const *x)
{
    return select_positive(c, x[0], x[0], op2(c, EXPR_MUL, x[0], x[1]));
}
static const Expr *fn_ceil(Checker *c, const Expr *const *x)
{
    return op1(c, EXPR_NEG, op1(c, EXPR_FLOOR, op1(c, EXPR_NEG, x[0])));
}
static const Expr *fn_tan(Checker *c, const Expr *const *x)
{
    return op2(c, EXPR_DIV, op1(c, EXPR_SIN, x[0]), op1(c, EXPR_COS, x[0]));
}
static const Expr *fn_pow(Checker *c, const Expr *const *x) { return op2(c, EXPR_POW, x[0], x[1]); }

static const struct Formula {
    const char *name;
    int arity;
    const Expr *(*make)(Checker *c, const Expr *const *x);
} formulas[] = {
    {"relu", 1, fn_relu},
    {"elu", 1, fn_elu},
    {"silu", 1, fn_silu},
    {"swish", 1, fn_silu},
    {"gelu", 1, fn_gelu},
    {"softplus", 1, fn_softplus},
    {"laplace", 1, fn_laplace},
    {"square", 1, fn_square},
    {"ceil", 1, fn_ceil},
    {"tan", 1, fn_tan},
    {"leaky_relu", 2, fn_leaky_relu},
    {"pow", 2, fn_pow},
};
enum { FORMULA_COUNT = sizeof formulas / sizeof *formulas };

/* Operators of Expr that are called by name. */
static const ExprOp called_ops[] = {
    EXPR_ABS,  EXPR_SIGN, EXPR_MIN,   EXPR_MAX, EXPR_FLOOR, EXPR_EXP,  EXPR_EXP2,    EXPR_LOG,
    EXPR_LOG2, EXPR_SQRT, EXPR_RSQRT, EXPR_SIN, EXPR_COS,   EXPR_TANH, EXPR_SIGMOID, EXPR_ERF, EXPR_LOG1P,
};
enum { CALLED_COUNT = sizeof called_ops / sizeof *called_ops };

static const char *const other_functions[] = {
    "float", "int", "clamp", "dot",  "norm",  "norm1",  "norm2", "sum",     "mean",   "min",
    "max",   "all", "any",   "prod", "width", "concat", "shift", "softmax", "vector",
};
enum { OTHER_COUNT = sizeof other_functions / sizeof *other_functions };

static const Expr *formula_scalars(Checker *c, Span span, const Expr *const *args, int count,
                                   const void *user)
{
    const struct Formula *formula = user;
    const Expr *floats[3];
    for (int n = 0; n < count; n++) {
        floats[n] = expect_float(c, span, args[n], formula->name);
        if (!floats[n])
            return NULL;
    }
    return formula->make(c, floats);
}

static const Expr *operator_scalars(Checker *c, Span span, const Expr *const *args, int count,
                                    const void *user)
{
    ExprOp op = *(const ExprOp *)user;
    const char *what = arena_printf(c->arena, "the argument of '%s'", expr_op_info[op].name);
    const Expr *x[2] = {NULL};
    bool floats = expr_op_info[op].signature[0] == 'f' || (count == 2 && args[0]->type != args[1]->type);
    for (int n = 0; n < count; n++) {
        x[n] = floats ? expect_float(c, span, args[n], what) : args[n];
        if (!x[n] || !expect_number(c, span, x[n], what))
            return NULL;
    }
    return count == 1 ? op1(c, op, x[0]) : op2(c, op, x[0], x[1]);
}

static const Expr *convert_scalar(Checker *c, Span span, const Expr *const *args, int count, const void *user)
{
    const Expr *x = args[0];
    (void)count;
    (void)span;
    if (*(const ExprType *)user == TYPE_FLOAT)
        return x->type == TYPE_FLOAT ? x : op1(c, x->type == TYPE_INT ? EXPR_TOFLOAT : EXPR_BTOF, x);
    return x->type == TYPE_INT ? x : op1(c, x->type == TYPE_FLOAT ? EXPR_TOINT : EXPR_BTOI, x);
}

/* min(max(x, lo), hi) */
static Value clamp(Checker *c, Span span, const Value *args)
{
    const ExprOp lower = EXPR_MAX, upper = EXPR_MIN;
    Value low = value_map(c, span, (Value[]){args[0], args[1]}, 2, operator_scalars, &lower);
    return value_map(c, span, (Value[]){low, args[2]}, 2, operator_scalars, &upper);
}

/* Vectors and tuples ----------------------------------------------------------------------------------- */

static Value fold(Checker *c, Span span, const Value *items, int count, const char *name)
{
    static const struct { const char *name; NodeKind kind; ExprOp op; } folds[] = {
        {"sum", NODE_ADD, 0}, {"prod", NODE_MUL, 0}, {"all", NODE_AND, 0}, {"any", NODE_OR, 0},
        {"min", NODE_KIND_COUNT, EXPR_MIN}, {"max", NODE_KIND_COUNT, EXPR_MAX},
    };
    Value result = items[0];
    for (size_t f = 0; f < sizeof folds / sizeof *folds; f++) {
        if (strcmp(folds[f].name, name))
            continue;
        for (int n = 1; n < count; n++)
            result = folds[f].kind != NODE_KIND_COUNT ? check_binary(c, folds[f].kind, span, result, items[n])
                : value_map(c, span, (Value[]){result, items[n]}, 2, operator_scalars, &folds[f].op);
        if (count == 1 && result.kind == VALUE_SCALAR) {
            bool boolean = folds[f].kind == NODE_AND || folds[f].kind == NODE_OR;
            if (boolean ? !value_expect_bool(c, span, result, name) : !expect_number(c, span, result.e, name))
                return value_error();
        }
    }
    return result;
}

static Value times(Checker *c, Span span, Value a, Value b) { return check_binary(c, NODE_MUL, span, a, b); }

static Value float_vector(Checker *c, Span span, Value v, const char *name)
{
    if (v.kind == VALUE_ERROR)
        return v;
    if (v.kind != VALUE_VECTOR) {
        check_error(c, span, "type-mismatch", "'%s' needs a vector, not %s", name, value_describe(&v));
        return value_error();
    }
    return value_vector(expect_float(c, span, v.e, name), v.width);
}

/* exp(x - max x) / sum exp(x - max x) over the channels */
static Value softmax_channels(Checker *c, Span span, Value v)
{
    const ExprOp exponential = EXPR_EXP;
    Value shifted = check_binary(c, NODE_SUB, span, v, vector_reduce(c, span, EXPR_REDMAX, v));
    Value exps = value_map(c, span, &shifted, 1, operator_scalars, &exponential);
    return check_binary(c, NODE_DIV, span, exps, vector_reduce(c, span, EXPR_SUM, exps));
}

/* Reductions of one vector; false when `name` is none. */
static bool reduce_vector(Checker *c, Span span, const char *name, Value v, Value *result)
{
    const ExprOp absolute = EXPR_ABS, root = EXPR_SQRT;
    if (!strcmp(name, "sum") || !strcmp(name, "max") || !strcmp(name, "min")) {
        *result = vector_reduce(c, span,
                                name[0] == 's'   ? EXPR_SUM
                                : name[1] == 'a' ? EXPR_REDMAX
                                                 : EXPR_REDMIN,
                                v);
    } else if (!strcmp(name, "mean")) {
        v = float_vector(c, span, v, name);
        Value sum = vector_reduce(c, span, EXPR_SUM, v);
        *result = sum.kind == VALUE_ERROR
                      ? sum
                      : value_scalar(op2(c, EXPR_DIV, sum.e, op1(c, EXPR_TOFLOAT, v.width)));
    } else if (!strcmp(name, "norm2") || !strcmp(name, "norm")) {
        v = float_vector(c, span, v, name);
        *result = vector_reduce(c, span, EXPR_SUM, times(c, span, v, v));
        if (!name[4] && result->kind == VALUE_SCALAR)
            *result = value_map(c, span, result, 1, operator_scalars, &root);
    } else if (!strcmp(name, "norm1")) {
        v = float_vector(c, span, v, name);
        *result = vector_reduce(c, span, EXPR_SUM, value_map(c, span, &v, 1, operator_scalars, &absolute));
    } else if (!strcmp(name, "softmax")) {
        *result = softmax_channels(c, span, float_vector(c, span, v, name));
    } else {
        return false;
    }
    return true;
}

/* a then b then ...: channel C is a[C] below width(a), else b[C - width(a)], ... */
static Value concat(Checker *c, Span span, const Value *args, int count)
{
    const Expr *channel = expr_var(c->pool, VAR_C, TYPE_INT), *begin = expr_int(c->pool, 0), *body = NULL;
    const Expr *width[SPEC_MAX_DIMS], *element[SPEC_MAX_DIMS];
    for (int n = 0; n < count; n++) {
        Value v = float_vector(c, span, args[n], "concat");
        if (v.kind == VALUE_ERROR)
            return v;
        element[n] = vector_at(c, v.e, op2(c, EXPR_SUB, channel, begin));
        begin = op2(c, EXPR_ADD, begin, v.width);
        width[n] = begin;
    }
    for (int n = count - 1; n >= 0; n--)
        body = body ? expr_op3(c->pool, EXPR_SELECT, op2(c, EXPR_LT, channel, width[n]), element[n], body)
                    : element[n];
    return value_vector(body, begin);
}

static Value shift(Checker *c, const Node *node, const Value *args)
{
    const Expr *channel = expr_var(c->pool, VAR_C, TYPE_INT);
    const Expr *back = value_expect_int(c, node->child[1]->span, args[1], "the distance");
    if (args[0].kind == VALUE_ERROR || !back)
        return value_error();
    if (c->context != IN_FEATURE || args[0].e != expr_elem(c->pool, ELEM_X, channel, NULL)) {
        diag_fix(c->diag,
                 check_error(c, node->child[0]->span, "type-mismatch", "shift is of a feature map's x"),
                 "shift(x, 1) is the vector of the token before; apply functions to it afterwards");
        return value_error();
    }
    return value_vector(expr_elem(c->pool, ELEM_X, channel, back), args[0].width);
}

/* def -------------------------------------------------------------------------------------------------- */

static const Node *def_in(const Node *file, const char *name)
{
    for (int n = 0; n < file->count; n++)
        if (file->child[n]->kind == NODE_DEF && !strcmp(file->child[n]->name, name))
            return file->child[n];
    return NULL;
}

static const Node *find_def(const Checker *c, const char *name, const Node **home)
{
    const Node *def = def_in(c->file, name);
    *home = c->file;
    for (int n = 0; n < c->file->count && !def; n++) {
        const Node *import = c->file->child[n];
        if (import->kind != NODE_IMPORT || !import->child[0])
            continue;
        def = def_in(import->child[0], name);
        *home = import->child[0];
    }
    return def;
}

Value check_coerce(Checker *c, Span span, Value value, const Node *type, const char *what)
{
    static const struct { const char *name; ExprType type; int parts; } types[] = {
        {"int", TYPE_INT, 1}, {"float", TYPE_FLOAT, 1}, {"bool", TYPE_BOOL, 1}, {"int2", TYPE_INT, 2},
        {"int3", TYPE_INT, 3}, {"float2", TYPE_FLOAT, 2}, {"float3", TYPE_FLOAT, 3},
    };
    if (!type || value.kind == VALUE_ERROR)
        return value;
    if (!strcmp(type->name, "vector"))
        return float_vector(c, span, value, what);
    for (size_t n = 0; n < sizeof types / sizeof *types; n++) {
        if (strcmp(types[n].name, type->name))
            continue;
        int parts = types[n].parts;
        if (parts == 1) {
            const Expr *e = types[n].type == TYPE_INT ? value_expect_int(c, span, value, what)
                : types[n].type == TYPE_FLOAT ? value_expect_float(c, span, value, what)
                : value_expect_bool(c, span, value, what);
            return value_scalar(e);
        }
        Value result = {.kind = VALUE_TUPLE, .parts = parts};
        for (int p = 0; p < parts; p++) {
            Value part = value_scalar(value.parts == parts ? value.part[p] : value.e);
            if (value.kind == VALUE_VECTOR || (value.parts && value.parts != parts)) {
                check_error(c, span, "type-mismatch", "%s must be %s, not %s", what, type->name,
                            value_describe(&value));
                return value_error();
            }
            result.part[p] = types[n].type == TYPE_INT ? value_expect_int(c, span, part, what)
                : value_expect_float(c, span, part, what);
            if (!result.part[p])
                return value_error();
        }
        return result;
    }
    diag_fix(c->diag, check_error(c, type->span, "unknown-type", "unknown type '%s'", type->name),
             "int, float, bool, int2, int3, float2, float3 or vector");
    return value_error();
}

static Value call_def(Checker *c, const Node *node, const Node *def, const Node *home)
{
    const Node *parameters = def->child[0];
    Binding bindings[SPEC_MAX_PARAMS], *inner = NULL;
    bool given[SPEC_MAX_PARAMS] = {false}, bad = false;
    if (parameters->count > SPEC_MAX_PARAMS) {
        check_error(c, def->name_span, "too-large", "a function takes at most %d arguments", SPEC_MAX_PARAMS);
        return value_error();
    }
    for (int n = 0; n < node->count; n++) {
        const Node *argument = node->child[n], *value = argument;
        int at = n;
        if (argument->kind == NODE_NAMED) {
            value = argument->child[0];
            for (at = 0; at < parameters->count && strcmp(parameters->child[at]->name, argument->name);)
                at++;
        }
        if (at >= parameters->count || given[at]) {
            if (argument->kind == NODE_NAMED)
                check_error(c, argument->name_span, "wrong-arguments", "'%s' %s argument '%s'", def->name,
                            at >= parameters->count ? "has no" : "is given twice the", argument->name);
            else
                check_error(c, node->span, "wrong-arguments", "'%s' takes %d arguments, not %d", def->name,
                            parameters->count, node->count);
            return value_error();
        }
        const Node *parameter = parameters->child[at];
        const char *what = arena_printf(c->arena, "argument '%s' of '%s'", parameter->name, def->name);
        given[at] = true;
        bindings[at] =
            (Binding){NULL, parameter->name,
                      check_coerce(c, value->span, check_value(c, value), parameter->child[0], what)};
        bad |= bindings[at].value.kind == VALUE_ERROR;
    }
    for (int n = 0; n < parameters->count; n++) {
        if (!given[n]) {
            check_error(c, node->span, "wrong-arguments", "'%s' also needs '%s'", def->name,
                        parameters->child[n]->name);
            return value_error();
        }
        bindings[n].next = inner;
        inner = &bindings[n];
    }
    for (int n = 0; n < c->inlined; n++)
        if (c->stack[n] == def) {
            diag_fix(c->diag, check_error(c, node->span, "recursion", "'%s' calls itself", def->name),
                     "functions are inlined, so they cannot be recursive");
            return value_error();
        }
    if (c->inlined == CHECK_MAX_INLINED) {
        check_error(c, node->span, "nesting", "functions call one another more than %d deep",
                    CHECK_MAX_INLINED);
        return value_error();
    }
    if (bad)
        return value_error();

    Checker outer = *c;
    c->stack[c->inlined++] = def;
    c->locals = inner;
    c->file = home;
    if (!c->def)
        c->call = node->span;
    c->def = def;
    Value value = check_value(c, def->child[2]);
    value = check_coerce(c, def->child[2]->span, value, def->child[1],
                         arena_printf(c->arena, "the result of '%s'", def->name));
    c->locals = outer.locals;
    c->file = outer.file;
    c->def = outer.def;
    c->call = outer.call;
    c->inlined = outer.inlined;
    return value;
}

/* Calls ------------------------------------------------------------------------------------------------ */

static bool arity_is(Checker *c, const Node *node, int least, int most)
{
    if (node->count >= least && node->count <= most)
        return true;
    if (least == most)
        check_error(c, node->span, "wrong-arguments", "'%s' takes %d argument%s, not %d", node->name, least,
                    least == 1 ? "" : "s", node->count);
    else
        check_error(c, node->span, "wrong-arguments", "'%s' takes %d to %d arguments, not %d", node->name,
                    least, most, node->count);
    return false;
}

static Value call_unknown(Checker *c, const Node *node)
{
    const char *names[FORMULA_COUNT + CALLED_COUNT + OTHER_COUNT + 128];
    int count = 0;
    for (int n = 0; n < FORMULA_COUNT; n++)
        names[count++] = formulas[n].name;
    for (int n = 0; n < CALLED_COUNT; n++)
        names[count++] = expr_op_info[called_ops[n]].name;
    for (int n = 0; n < OTHER_COUNT; n++)
        names[count++] = other_functions[n];
    for (int n = 0; n < c->file->count && n < 64; n++) {
        const Node *child = c->file->child[n];
        if (child->kind == NODE_DEF)
            names[count++] = child->name;
        const Node *imported = child->kind == NODE_IMPORT ? child->child[0] : NULL;
        for (int d = 0; imported && d < imported->count && count < (int)(sizeof names / sizeof *names) - 64;
             d++)
            if (imported->child[d]->kind == NODE_DEF)
                names[count++] = imported->child[d]->name;
    }
    const char *near = diag_nearest(node->name, names, count);
    Message *m = check_error(c, node->name_span, "unknown-function", "unknown function '%s'", node->name);
    if (near)
        diag_fix(c->diag, m, "did you mean '%s'?", near);
    else if (!strcmp(node->name, "neighbor"))
        diag_fix(c->diag, m, "write 'import \"std/windows\"' at the top of the file");
    for (int n = 0; n < node->count; n++) /* errors in the arguments are worth knowing too */
        check_value(c, node->child[n]->kind == NODE_NAMED ? node->child[n]->child[0] : node->child[n]);
    return value_error();
}

static bool call_builtin(Checker *c, const Node *node, const Value *args, Value *result)
{
    const char *name = node->name;
    Span span = node->span;
    int count = node->count;
    for (int n = 0; n < FORMULA_COUNT; n++)
        if (!strcmp(formulas[n].name, name)) {
            if (arity_is(c, node, formulas[n].arity, formulas[n].arity))
                *result = value_map(c, span, args, count, formula_scalars, &formulas[n]);
            return true;
        }
    if (count == 1 && args[0].kind == VALUE_VECTOR && reduce_vector(c, span, name, args[0], result))
        return true;
    static const char *const folds[] = {"sum", "prod", "all", "any", "min", "max"};
    for (size_t n = 0; n < sizeof folds / sizeof *folds; n++) {
        if (strcmp(folds[n], name))
            continue;
        if (count == 1 && args[0].kind == VALUE_TUPLE) {
            Value parts[SPEC_MAX_RANK];
            for (int p = 0; p < args[0].parts; p++)
                parts[p] = value_scalar(args[0].part[p]);
            *result = fold(c, span, parts, args[0].parts, name);
        } else if (n >= 4 || count == 1) {
            if (arity_is(c, node, n >= 4 ? 2 : 1, SPEC_MAX_DIMS))
                *result = fold(c, span, args, count, name);
        } else {
            arity_is(c, node, 1, 1);
        }
        return true;
    }
    for (int n = 0; n < CALLED_COUNT; n++)
        if (!strcmp(expr_op_info[called_ops[n]].name, name)) {
            if (arity_is(c, node, expr_op_info[called_ops[n]].arity, expr_op_info[called_ops[n]].arity))
                *result = value_map(c, span, args, count, operator_scalars, &called_ops[n]);
            return true;
        }
    if (!strcmp(name, "float") || !strcmp(name, "int")) {
        const ExprType type = name[0] == 'f' ? TYPE_FLOAT : TYPE_INT;
        if (arity_is(c, node, 1, 1))
            *result = value_map(c, span, args, 1, convert_scalar, &type);
    } else if (!strcmp(name, "clamp")) {
        if (arity_is(c, node, 3, 3))
            *result = clamp(c, span, args);
    } else if (!strcmp(name, "dot")) {
        if (arity_is(c, node, 2, 2)) {
            Value a = float_vector(c, span, args[0], name), b = float_vector(c, span, args[1], name);
            *result = vector_reduce(c, span, EXPR_SUM, times(c, span, a, b));
        }
    } else if (!strcmp(name, "concat")) {
        if (arity_is(c, node, 1, SPEC_MAX_DIMS))
            *result = concat(c, span, args, count);
    } else if (!strcmp(name, "width")) {
        if (arity_is(c, node, 1, 1) && float_vector(c, span, args[0], name).kind != VALUE_ERROR)
            *result = value_scalar(args[0].width);
    } else if (!strcmp(name, "shift")) {
        if (arity_is(c, node, 2, 2))
            *result = shift(c, node, args);
    } else if (!strcmp(name, "norm") || !strcmp(name, "norm1") || !strcmp(name, "norm2")
               || !strcmp(name, "mean") || !strcmp(name, "softmax")) {
        if (arity_is(c, node, 1, 1))
            *result = float_vector(c, span, args[0], name);
    } else {
        return false;
    }
    return true;
}

static bool is_builtin(const char *name)
{
    for (int n = 0; n < FORMULA_COUNT; n++)
        if (!strcmp(formulas[n].name, name))
            return true;
    for (int n = 0; n < CALLED_COUNT; n++)
        if (!strcmp(expr_op_info[called_ops[n]].name, name))
            return true;
    for (int n = 0; n < OTHER_COUNT - 1; n++) /* `vector` only collects over a range */
        if (!strcmp(other_functions[n], name))
            return true;
    return false;
}

Value check_call(Checker *c, const Node *node)
{
    const Node *home, *def = find_def(c, node->name, &home);
    if (def)
        return call_def(c, node, def, home);
    if (!is_builtin(node->name))
        return call_unknown(c, node);
    Value args[SPEC_MAX_DIMS] = {0}, result = value_error();
    if (!arity_is(c, node, 1, SPEC_MAX_DIMS))
        return result;
    bool bad = false;
    for (int n = 0; n < node->count; n++) {
        if (node->child[n]->kind == NODE_NAMED) {
            check_error(c, node->child[n]->span, "wrong-arguments", "'%s' takes no named arguments",
                        node->name);
            return result;
        }
        args[n] = check_value(c, node->child[n]);
        bad |= args[n].kind == VALUE_ERROR;
    }
    expr_set_span(c->pool, node->span);
    if (!bad)
        call_builtin(c, node, args, &result);
    return result;
}

bool check_apply(Checker *c, const Node *node, const char *name, Value argument, Value *result)
{
    for (int n = 0; n < FORMULA_COUNT; n++)
        if (formulas[n].arity == 1 && !strcmp(formulas[n].name, name)) {
            *result = value_map(c, node->span, &argument, 1, formula_scalars, &formulas[n]);
            return true;
        }
    for (int n = 0; n < CALLED_COUNT; n++)
        if (expr_op_info[called_ops[n]].arity == 1 && !strcmp(expr_op_info[called_ops[n]].name, name)) {
            *result = value_map(c, node->span, &argument, 1, operator_scalars, &called_ops[n]);
            return true;
        }
    return false;
}

/* Reductions over a range ------------------------------------------------------------------------------ */

enum { UNROLL_FEW = 4, UNROLL_MOST = 256 };

static Value reduce_unrolled(Checker *c, const Node *node, int64_t first, int64_t end)
{
    Value result = value_error();
    for (int64_t n = first; n < end; n++) {
        Binding *outer = c->locals,
                binding = {outer, node->child[0]->name, value_scalar(expr_int(c->pool, n))};
        c->locals = &binding;
        Value item = check_value(c, node->child[3]);
        c->locals = outer;
        if (item.kind == VALUE_ERROR)
            return item;
        result = n == first ? fold(c, node->span, &item, 1, node->name)
            : fold(c, node->span, (Value[]){result, item}, 2, node->name);
        if (result.kind == VALUE_ERROR)
            return result;
    }
    return result;
}

Value check_reduce(Checker *c, const Node *node)
{
    const char *name = node->name;
    bool is_vector = !strcmp(name, "vector"), is_mean = !strcmp(name, "mean"), is_all = !strcmp(name, "all");
    bool boolean = is_all || !strcmp(name, "any"), product = !strcmp(name, "prod");
    bool sum = is_mean || !strcmp(name, "sum"), least = !strcmp(name, "min"), most = !strcmp(name, "max");
    if (!is_vector && !boolean && !product && !sum && !least && !most) {
        check_error(c, node->name_span, "unknown-function",
                    "'%s' does not reduce over a range; sum, max, min, mean, prod, any, "
                    "all and vector do",
                    name);
        return value_error();
    }
    const Expr *first =
        value_expect_int(c, node->child[1]->span, check_value(c, node->child[1]), "the range's first value");
    const Expr *end =
        value_expect_int(c, node->child[2]->span, check_value(c, node->child[2]), "the range's end");
    if (!first || !end)
        return value_error();
    const Expr *extent = op2(c, EXPR_SUB, end, first);
    bool constant = first->op == EXPR_INT && end->op == EXPR_INT;
    int64_t count = constant ? extent->value.i : 0;
    if (constant && count > 0 && !is_vector && !is_mean
        && count <= (boolean || product ? UNROLL_MOST : UNROLL_FEW))
        return reduce_unrolled(c, node, first->value.i, end->value.i);
    if (product) {
        check_error(c, node->span, "type-mismatch",
                    "prod needs a range of 1 to %d values that is known beforehand", UNROLL_MOST);
        return value_error();
    }

    VarId bound = expr_fresh_bound(c->pool);
    const Expr *variable = expr_var(c->pool, bound, TYPE_INT);
    Binding *outer = c->locals;
    Binding binding = {outer, node->child[0]->name, value_scalar(op2(c, EXPR_ADD, variable, first))};
    c->locals = &binding;
    Value body = check_value(c, node->child[3]);
    c->locals = outer;
    if (body.kind == VALUE_ERROR)
        return body;
    if (body.kind == VALUE_TUPLE || (is_vector && body.kind == VALUE_VECTOR)) {
        check_error(c, node->child[3]->span, "type-mismatch", "%s of %s is not supported", name,
                    value_describe(&body));
        return value_error();
    }
    const char *what = arena_printf(c->arena, "the body of '%s'", name);
    if (boolean) {
        if (!value_expect_bool(c, node->child[3]->span, body, what))
            return value_error();
        const Expr *reduced = expr_reduce(c->pool, is_all ? EXPR_REDMIN : EXPR_REDMAX, bound, extent,
                                          op1(c, EXPR_BTOI, body.e));
        return value_scalar(op2(c, EXPR_LT, expr_int(c->pool, 0), reduced));
    }
    if (!expect_number(c, node->child[3]->span, body.e, what))
        return value_error();
    if (is_vector) {
        const Expr *element = bound_to_channel(c, body.e, bound, expr_var(c->pool, VAR_C, TYPE_INT));
        return value_vector(element, extent);
    }
    if (is_mean)
        body.e = expect_float(c, node->child[3]->span, body.e, what);
    const Expr *e = expr_reduce(c->pool,
                                sum     ? EXPR_SUM
                                : least ? EXPR_REDMIN
                                        : EXPR_REDMAX,
                                bound, extent, body.e);
    if (is_mean)
        e = op2(c, EXPR_DIV, e, op1(c, EXPR_TOFLOAT, extent));
    return body.kind == VALUE_VECTOR ? value_vector(e, body.width) : value_scalar(e);
}
