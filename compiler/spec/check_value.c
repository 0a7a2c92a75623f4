/* Values of the checker: what an expression of the language can be, and how functions on numbers reach tuples
 * and vectors. */
#include <stdarg.h>
#include <string.h>

#include "check_internal.h"

Message *check_error(Checker *c, Span span, const char *id, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(c->arena, format, args);
    va_end(args);
    /* A def or a let is checked anew wherever it is used: say it once. */
    for (const Message *m = c->diag->first; m; m = m->next)
        if (m->span.file == span.file && m->span.begin == span.begin && m->span.end == span.end
            && !strcmp(m->id, id))
            return NULL;
    Message *message = diag_error(c->diag, span, id, "%s", text);
    if (c->def)
        diag_note(c->diag, c->call, "in this use of '%s'", c->def->name);
    return message;
}

Value value_error(void) { return (Value){.kind = VALUE_ERROR}; }
Value value_scalar(const Expr *e) { return e ? (Value){.kind = VALUE_SCALAR, .e = e} : value_error(); }

Value value_vector(const Expr *e, const Expr *width)
{
    return e ? (Value){.kind = VALUE_VECTOR, .e = e, .width = width} : value_error();
}

const char *type_describe(ExprType type)
{
    return type == TYPE_BOOL ? "a boolean" : type == TYPE_INT ? "an int" : "a float";
}

const char *value_describe(const Value *value)
{
    switch (value->kind) {
    case VALUE_SCALAR: return type_describe((ExprType)value->e->type);
    case VALUE_TUPLE: return value->parts == 2 ? "a pair" : "a triple";
    case VALUE_VECTOR: return "a vector";
    case VALUE_ERROR: break;
    }
    return "an error";
}

const Expr *value_expect_scalar(Checker *c, Span span, Value value, const char *what)
{
    if (value.kind == VALUE_ERROR)
        return NULL;
    if (value.kind == VALUE_SCALAR)
        return value.e;
    Message *m =
        check_error(c, span, "type-mismatch", "%s must be one number, not %s", what, value_describe(&value));
    if (value.kind == VALUE_VECTOR)
        diag_fix(c->diag, m, "reduce it (dot, sum, norm2, mean, max) or take one channel v[c]");
    else
        diag_fix(c->diag, m, "take one part, as in .%s", c->spec->axis_names[0]);
    return NULL;
}

bool expect_number(Checker *c, Span span, const Expr *e, const char *what)
{
    if (e->type != TYPE_BOOL)
        return true;
    diag_fix(c->diag, check_error(c, span, "type-mismatch", "%s must be a number, not a boolean", what),
             "write 'if ... then 1 else 0' where a number is meant");
    return false;
}

const Expr *expect_float(Checker *c, Span span, const Expr *e, const char *what)
{
    if (e->type == TYPE_FLOAT)
        return e;
    if (!expect_number(c, span, e, what))
        return NULL;
    return expr_op1(c->pool, EXPR_TOFLOAT, e);
}

const Expr *value_expect_float(Checker *c, Span span, Value value, const char *what)
{
    const Expr *e = value_expect_scalar(c, span, value, what);
    return e ? expect_float(c, span, e, what) : NULL;
}

const Expr *value_expect_int(Checker *c, Span span, Value value, const char *what)
{
    const Expr *e = value_expect_scalar(c, span, value, what);
    if (!e || e->type == TYPE_INT)
        return e;
    Message *m = check_error(c, span, "type-mismatch", "%s must be an int, not %s", what,
                             type_describe((ExprType)e->type));
    diag_fix(c->diag, m,
             e->type == TYPE_FLOAT ? "int(...) cuts the fraction off" : "write 'if ... then 1 else 0'");
    return NULL;
}

const Expr *value_expect_bool(Checker *c, Span span, Value value, const char *what)
{
    if (value.kind == VALUE_ERROR || (value.kind == VALUE_SCALAR && value.e->type == TYPE_BOOL))
        return value.kind == VALUE_ERROR ? NULL : value.e;
    Message *m =
        check_error(c, span, "type-mismatch", "%s must be a boolean, not %s", what, value_describe(&value));
    if (value.kind == VALUE_TUPLE)
        diag_fix(c->diag, m, "all(...) or any(...) of it");
    else
        diag_fix(c->diag, m, "compare it, as in '!= 0'");
    return NULL;
}

/* Broadcasting ----------------------------------------------------------------------------------------- */

static Value map_tuples(Checker *c, Span span, const Value *args, int count, ScalarFn fn, const void *user)
{
    int parts = 0;
    for (int n = 0; n < count; n++) {
        if (args[n].kind != VALUE_TUPLE)
            continue;
        if (parts && args[n].parts != parts) {
            check_error(c, span, "type-mismatch", "tuples of %d and of %d parts do not go together", parts,
                        args[n].parts);
            return value_error();
        }
        parts = args[n].parts;
    }
    Value result = {.kind = VALUE_TUPLE, .parts = parts};
    for (int p = 0; p < parts; p++) {
        const Expr *scalars[SPEC_MAX_DIMS];
        for (int n = 0; n < count; n++) /* a position beside a tuple counts by its coordinates */
            scalars[n] = args[n].kind == VALUE_TUPLE || args[n].parts == parts ? args[n].part[p] : args[n].e;
        result.part[p] = fn(c, span, scalars, count, user);
        if (!result.part[p])
            return value_error();
    }
    return result;
}

Value value_map(Checker *c, Span span, const Value *args, int count, ScalarFn fn, const void *user)
{
    const Value *vector = NULL, *tuple = NULL;
    for (int n = 0; n < count; n++) {
        if (args[n].kind == VALUE_ERROR)
            return value_error();
        if (args[n].kind == VALUE_TUPLE)
            tuple = &args[n];
        if (args[n].kind == VALUE_VECTOR) {
            if (vector && vector->width != args[n].width) {
                const char *widths = "";
                if (vector->width->op == EXPR_INT && args[n].width->op == EXPR_INT)
                    widths = arena_printf(c->arena, ", %lld and %lld", (long long)vector->width->value.i,
                                          (long long)args[n].width->value.i);
                check_error(c, span, "width-mismatch", "these vectors have different widths%s", widths);
                return value_error();
            }
            vector = &args[n];
        }
    }
    if (vector && tuple) {
        check_error(c, span, "type-mismatch", "a vector and a tuple do not go together");
        return value_error();
    }
    if (tuple)
        return map_tuples(c, span, args, count, fn, user);
    const Expr *scalars[SPEC_MAX_DIMS] = {NULL};
    for (int n = 0; n < count; n++)
        scalars[n] = args[n].e;
    const Expr *e = fn(c, span, scalars, count, user);
    return vector ? value_vector(e, vector->width) : value_scalar(e);
}

/* Vectors ---------------------------------------------------------------------------------------------- */

typedef struct Replace { int32_t var; const Expr *with; } Replace;

static const Expr *map_replace(void *user, const Expr *leaf)
{
    const Replace *replace = user;
    return leaf->op == EXPR_VAR && leaf->index == replace->var ? replace->with : NULL;
}

const Expr *vector_at(Checker *c, const Expr *element, const Expr *channel)
{
    if (!expr_uses(element, VAR_C) || (channel->op == EXPR_VAR && channel->index == VAR_C))
        return element;
    return expr_substitute(c->pool, element, map_replace, &(Replace){VAR_C, channel});
}

const Expr *bound_to_channel(Checker *c, const Expr *e, VarId bound, const Expr *channel)
{
    return expr_substitute(c->pool, e, map_replace, &(Replace){(int32_t)bound, channel});
}

Value vector_reduce(Checker *c, Span span, ExprOp op, Value vector)
{
    if (vector.kind == VALUE_ERROR || !expect_number(c, span, vector.e, "each channel"))
        return value_error();
    VarId bound = expr_fresh_bound(c->pool);
    const Expr *body = vector_at(c, vector.e, expr_var(c->pool, bound, TYPE_INT));
    return value_scalar(expr_reduce(c->pool, op, bound, vector.width, body));
}

/* Axes ------------------------------------------------------------------------------------------------- */

int axis_part(const Checker *c, const char *name, int parts)
{
    static const char *const usual[] = {"z", "y", "x"};
    if (parts == c->spec->rank) {
        for (int p = 0; p < parts; p++)
            if (c->spec->axis_names[p] && !strcmp(c->spec->axis_names[p], name))
                return p;
        return -1;
    }
    for (int p = 0; p < parts; p++)
        if (!strcmp(usual[SPEC_MAX_RANK - parts + p], name))
            return p;
    return -1;
}
