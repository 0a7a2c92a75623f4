/* Expr -> text in the language. What is small is written out; an expression that is large as a tree but
 * shares its parts gets its shared parts as `let e1 = .. in`, so the text is never much longer than the Expr.
 */
#include "expr_pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Precedences of the language's grammar. */
enum {
    PREC_IF = 0,
    PREC_OR = 10,
    PREC_AND = 20,
    PREC_NOT = 30,
    PREC_COMPARE = 40,
    PREC_ADD = 50,
    PREC_MUL = 60,
    PREC_NEG = 70,
    PREC_POW = 80,
    PREC_PRIMARY = 100
};

typedef struct Printer {
    Text *out;
    const ExprNames *names;
    bool share;
    uint32_t *refs; /* by id: how often the scope at hand uses the node; with `share` only */
    uint32_t *lets; /* by id: the number of its let, 0 for none */
    uint32_t let_count;
} Printer;

typedef struct Order {
    const Expr **item;
    size_t count, capacity;
} Order;

static void print(Printer *p, const Expr *e, int context);

static const char *axis_letter(const ExprNames *names, int axis)
{
    static const char *const letters[] = {"z", "y", "x"};
    int rank = names && names->rank ? names->rank : 1;
    return letters[(3 - rank + axis) % 3];
}

static void print_coordinate(Printer *p, const char *name, int axis)
{
    if (p->names && p->names->rank > 1)
        text_add(p->out, "%s.%s", name, axis_letter(p->names, axis));
    else if (axis == 0)
        text_add(p->out, "%s", name);
    else
        text_add(p->out, "%s.%d", name, axis);
}

static void print_var(Printer *p, int var)
{
    static const char *const plain[] = {
        [VAR_B] = "b",           [VAR_H] = "h",      [VAR_G] = "g",      [VAR_C] = "c",
        [VAR_S] = "s",           [VAR_SIZE_B] = "B", [VAR_SIZE_H] = "H", [VAR_SIZE_G] = "G",
        [VAR_SIZE_M] = "M",      [VAR_SIZE_N] = "N", [VAR_SIZE_D] = "D", [VAR_SIZE_E] = "E",
        [VAR_STATE] = "continues", [VAR_SEGMENTS] = "segments", [VAR_OFFSET] = "offset",
    };
    if (var >= EXPR_FIRST_FRESH)
        text_add(p->out, "t%d", var - EXPR_FIRST_FRESH);
    else if (var >= VAR_FIRST_BOUND)
        text_add(p->out, "u%d", var - VAR_FIRST_BOUND);
    else if (var <= VAR_OFFSET && plain[var])
        text_add(p->out, "%s", plain[var]);
    else if (var >= VAR_I0 && var <= VAR_I2)
        print_coordinate(p, "i", var - VAR_I0);
    else if (var >= VAR_J0 && var <= VAR_J2)
        print_coordinate(p, "j", var - VAR_J0);
    else if (var >= VAR_T0 && var <= VAR_T2)
        print_coordinate(p, "t", var - VAR_T0);
    else if (var >= VAR_SIZE_M0 && var <= VAR_SIZE_M2)
        print_coordinate(p, "M", var - VAR_SIZE_M0);
    else if (var >= VAR_SIZE_N0 && var <= VAR_SIZE_N2)
        print_coordinate(p, "size", var - VAR_SIZE_N0);
    else
        text_add(p->out, "var%d", var);
}

static void print_list(Printer *p, const Expr *e, int first, const char *open, const char *close)
{
    text_add(p->out, "%s", open);
    for (int k = first; k < e->arity; k++) {
        if (k > first)
            text_add(p->out, ", ");
        print(p, e->args[k], PREC_IF);
    }
    text_add(p->out, "%s", close);
}

static void print_float(Printer *p, double value)
{
    char digits[40];
    if (value != value || value == INFINITY) {
        text_add(p->out, value != value ? "nan" : "inf");
        return;
    }
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    text_add(p->out, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static void print_leaf(Printer *p, const Expr *e)
{
    static const char *const elems[] = {
        [ELEM_Q] = "q", [ELEM_K] = "k", [ELEM_V] = "v", [ELEM_X] = "x", [ELEM_O] = "o"};
    switch ((ExprOp)e->op) {
    case EXPR_INT: text_add(p->out, "%lld", (long long)e->value.i); break;
    case EXPR_BOOL: text_add(p->out, e->value.i ? "true" : "false"); break;
    case EXPR_FLOAT: print_float(p, e->value.f); break;
    case EXPR_VAR: print_var(p, e->index); break;
    case EXPR_PARAM:
        if (p->names && p->names->params)
            text_add(p->out, "%s", p->names->params[e->index]);
        else
            text_add(p->out, "param%d", e->index);
        break;
    case EXPR_ARG: text_add(p->out, "arg%d", e->index); break;
    case EXPR_INPUT:
        if (p->names && p->names->inputs)
            text_add(p->out, "%s", p->names->inputs[e->index]);
        else
            text_add(p->out, "input%d", e->index);
        if (e->arity)
            print_list(p, e, 0, "[", "]");
        break;
    default: /* ELEM */
        if (e->index == ELEM_X && !(e->args[1]->op == EXPR_INT && e->args[1]->value.i == 0)) {
            text_add(p->out, "shift(x, ");
            print(p, e->args[1], PREC_IF);
            text_add(p->out, ")[");
        } else {
            text_add(p->out, "%s[", elems[e->index]);
        }
        print(p, e->args[0], PREC_IF);
        text_add(p->out, "]");
        break;
    }
}

/* Scopes of lets ---------------------------------------------------------------------------------- */

static bool subset(const ExprVarSet *a, const ExprVarSet *b)
{
    for (int k = 0; a && k < a->count; k++)
        if (!expr_set_has(b, a->var[k]))
            return false;
    return true;
}

/* Counts the uses, below e, of nodes that have no let yet; order gets them operands first. */
static void count_refs(Printer *p, const Expr *e, Order *order)
{
    if (e->arity == 0 || p->lets[e->id])
        return;
    if (p->refs[e->id]++ > 0)
        return;
    for (int k = 0; k < e->arity; k++)
        count_refs(p, e->args[k], order);
    if (order->count == order->capacity) {
        size_t room = order->capacity ? order->capacity * 2 : 32;
        order->item = arena_grow(p->out->arena, order->item, order->count, room, sizeof *order->item);
        order->capacity = room;
    }
    order->item[order->count++] = e;
}

static void print_scope(Printer *p, const Expr *root, int context)
{
    if (!p->share || root->arity == 0) {
        print(p, root, context);
        return;
    }
    Order order = {0};
    count_refs(p, root, &order);
    bool any = false;
    size_t kept = 0;
    for (size_t k = 0; k < order.count; k++) {
        const Expr *e = order.item[k];
        bool named = p->refs[e->id] > 1 && e != root && subset(e->free_bound, root->free_bound);
        p->refs[e->id] = 0;
        if (named)
            order.item[kept++] = e;
    }
    for (size_t k = 0; k < kept; k++) {
        const Expr *e = order.item[k];
        if (!any)
            text_add(p->out, context > PREC_IF ? "(" : "");
        any = true;
        text_add(p->out, "let e%u = ", p->let_count + 1);
        print(p, e, PREC_OR);
        p->lets[e->id] = ++p->let_count;
        text_add(p->out, " in ");
    }
    print(p, root, any ? PREC_IF : context);
    if (any && context > PREC_IF)
        text_add(p->out, ")");
    for (size_t k = 0; k < kept; k++)
        p->lets[order.item[k]->id] = 0;
}

/* Operators --------------------------------------------------------------------------------------- */

static int precedence(const Expr *e)
{
    switch ((ExprOp)e->op) {
    case EXPR_OR: return PREC_OR;
    case EXPR_AND: return PREC_AND;
    case EXPR_NOT: return PREC_NOT;
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE: return PREC_COMPARE;
    case EXPR_ADD:
    case EXPR_SUB: return PREC_ADD;
    case EXPR_MUL:
    case EXPR_DIV:
    case EXPR_MOD: return PREC_MUL;
    case EXPR_NEG: return PREC_NEG;
    case EXPR_POW: return PREC_POW;
    case EXPR_SELECT:
    case EXPR_BSELECT: return PREC_IF;
    case EXPR_INT: return e->value.i < 0 ? PREC_NEG : PREC_PRIMARY;
    case EXPR_FLOAT: return signbit(e->value.f) ? PREC_NEG : PREC_PRIMARY;
    default: return PREC_PRIMARY;
    }
}

static void print_infix(Printer *p, const Expr *e, int own)
{
    /* Comparisons do not nest; ^ leans right, the others left. */
    int left = own == PREC_COMPARE || own == PREC_POW ? own + 1 : own,
        right = own == PREC_POW ? own : own + 1;
    print(p, e->args[0], left);
    text_add(p->out, " %s ", expr_op_info[e->op].name);
    print(p, e->args[1], right);
}

static void print(Printer *p, const Expr *e, int context)
{
    if (p->share && p->lets[e->id]) {
        text_add(p->out, "e%u", p->lets[e->id]);
        return;
    }
    int own = precedence(e);
    const char *name = expr_op_info[e->op].name;
    if (own < context)
        text_add(p->out, "(");
    switch ((ExprOp)e->op) {
    case EXPR_NEG:
        text_add(p->out, "-");
        print(p, e->args[0], PREC_NEG);
        break;
    case EXPR_NOT:
        text_add(p->out, "not ");
        print(p, e->args[0], PREC_NOT);
        break;
    case EXPR_SELECT:
    case EXPR_BSELECT:
        text_add(p->out, "if ");
        print(p, e->args[0], PREC_OR);
        text_add(p->out, " then ");
        print(p, e->args[1], PREC_OR);
        text_add(p->out, " else ");
        print(p, e->args[2], PREC_IF);
        break;
    case EXPR_SUM:
    case EXPR_REDMAX:
    case EXPR_REDMIN:
        text_add(p->out, "%s(", e->op == EXPR_SUM ? "sum" : e->op == EXPR_REDMAX ? "max" : "min");
        print_var(p, e->index);
        text_add(p->out, " in 0..");
        print(p, e->args[0], PREC_ADD);
        text_add(p->out, ", ");
        print_scope(p, e->args[1], PREC_IF);
        text_add(p->out, ")");
        break;
    default:
        if (expr_op_info[e->op].leaf) {
            print_leaf(p, e);
        } else if (expr_op_info[e->op].infix) {
            print_infix(p, e, own);
        } else {
            text_add(p->out, "%s", name);
            print_list(p, e, 0, "(", ")");
        }
        break;
    }
    if (own < context)
        text_add(p->out, ")");
}

void expr_print(Text *out, const Expr *e, const ExprNames *names)
{
    enum { PLAIN_LIMIT = 1000 };
    Printer p = {.out = out, .names = names, .share = e->tree > PLAIN_LIMIT};
    if (p.share) {
        p.refs = ARENA_ARRAY(out->arena, uint32_t, (size_t)e->id + 1);
        p.lets = ARENA_ARRAY(out->arena, uint32_t, (size_t)e->id + 1);
    }
    print_scope(&p, e, PREC_IF);
}
