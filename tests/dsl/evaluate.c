/* A slow evaluator of def calls, straight from the tree. */
#include "evaluate.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct Binding {
    const struct Binding *outer;
    const char *name;
    const Value *value;
} Binding;

static Value evaluate(const Ast *ast, const Node *node, const Binding *scope);

Value value_int(long number)
{
    return (Value){.is_int = true, .at = {(double)number}};
}

Value value_real(double number)
{
    return (Value){.at = {number}};
}

Value value_ints(int count, const int *numbers)
{
    Value value = {.count = count, .is_int = true};
    for (int i = 0; i < count; i++)
        value.at[i] = numbers[i];
    return value;
}

Value value_reals(int count, const double *numbers)
{
    Value value = {.count = count};
    memcpy(value.at, numbers, (size_t)count * sizeof(double));
    return value;
}

static Value meaningless(const char *what, const char *name)
{
    printf("\n  cannot evaluate %s %s\n", what, name ? name : "");
    CU_FAIL("cannot evaluate");
    return value_int(0);
}

static double apply(NodeKind kind, double a, double b, bool ints)
{
    switch (kind) {
    case NODE_OR: return a != 0 || b != 0;
    case NODE_AND: return a != 0 && b != 0;
    case NODE_LT: return a < b;
    case NODE_LE: return a <= b;
    case NODE_GT: return a > b;
    case NODE_GE: return a >= b;
    case NODE_EQ: return a == b;
    case NODE_NE: return a != b;
    case NODE_ADD: return a + b;
    case NODE_SUB: return a - b;
    case NODE_MUL: return a * b;
    case NODE_DIV: return ints ? floor(a / b) : a / b;
    case NODE_MOD: return a - b * floor(a / b);
    case NODE_POW: return pow(a, b);
    default: return meaningless("operator", node_word(kind)).at[0];
    }
}

/* Elementwise, a scalar goes with every element. */
static Value combine(NodeKind kind, const Value *a, const Value *b)
{
    Value result = {.count = a->count > b->count ? a->count : b->count, .is_int = a->is_int && b->is_int};
    CU_ASSERT_FATAL(!a->count || !b->count || a->count == b->count);
    for (int i = 0; i < (result.count ? result.count : 1); i++)
        result.at[i] = apply(kind, a->at[a->count ? i : 0], b->at[b->count ? i : 0], result.is_int);
    result.is_int |= kind >= NODE_OR && kind <= NODE_NE;
    return result;
}

static double identity(double x) { return x; }
static double relu(double x) { return fmax(x, 0); }
static double rsqrt(double x) { return 1 / sqrt(x); }

static Value builtin(const char *name, const Value *arguments, int count)
{
    static const struct { const char *name; double (*fn)(double);
    } maps[] = {
        {"exp", exp}, {"log", log}, {"sqrt", sqrt}, {"rsqrt", rsqrt},    {"sin", sin},
        {"cos", cos}, {"erf", erf}, {"relu", relu}, {"float", identity},
    };
    Value result = arguments[0];
    for (size_t m = 0; m < sizeof maps / sizeof maps[0]; m++)
        if (strcmp(maps[m].name, name) == 0) {
            result.is_int = false;
            for (int i = 0; i < (result.count ? result.count : 1); i++)
                result.at[i] = maps[m].fn(result.at[i]);
            return result;
        }
    bool most = strcmp(name, "max") == 0;
    if (count == 2 && (most || strcmp(name, "min") == 0)) {
        const Value *b = &arguments[1];
        CU_ASSERT_FATAL(b->count == 0);
        for (int i = 0; i < (result.count ? result.count : 1); i++)
            result.at[i] = most ? fmax(result.at[i], b->at[0]) : fmin(result.at[i], b->at[0]);
        return result;
    }
    if (strcmp(name, "clamp") == 0) {
        result.at[0] = fmin(fmax(result.at[0], arguments[1].at[0]), arguments[2].at[0]);
        return result;
    }
    if (strcmp(name, "norm2") == 0) {
        double sum = 0;
        for (int i = 0; i < arguments[0].count; i++)
            sum += arguments[0].at[i] * arguments[0].at[i];
        return value_real(sum);
    }
    if (strcmp(name, "mean") == 0) {
        double sum = 0;
        for (int i = 0; i < arguments[0].count; i++)
            sum += arguments[0].at[i];
        return value_real(sum / arguments[0].count);
    }
    if (strcmp(name, "softmax") == 0) {
        double top = -INFINITY, sum = 0;
        for (int i = 0; i < result.count; i++)
            top = fmax(top, result.at[i]);
        for (int i = 0; i < result.count; i++)
            sum += result.at[i] = exp(result.at[i] - top);
        for (int i = 0; i < result.count; i++)
            result.at[i] /= sum;
        return result;
    }
    if (strcmp(name, "width") == 0)
        return value_int(arguments[0].count);
    if (strcmp(name, "concat") == 0) {
        CU_ASSERT_FATAL(arguments[0].count + arguments[1].count <= VALUE_MOST);
        memcpy(result.at + result.count, arguments[1].at, sizeof(double) * (size_t)arguments[1].count);
        result.count += arguments[1].count;
        return result;
    }
    return meaningless("function", name);
}

Value evaluate_def(const Ast *ast, const char *name, const Value *arguments, int count)
{
    for (int f = 0; f < ast->file_count; f++)
        for (int i = 0; i < ast->files[f].node->count; i++) {
            const Node *def = ast->files[f].node->child[i];
            if (def->kind != NODE_DEF || strcmp(def->name, name) != 0)
                continue;
            const Node *parameters = def->child[0];
            CU_ASSERT_FATAL(parameters->count == count && count <= 8);
            Binding bindings[8];
            for (int p = 0; p < count; p++)
                bindings[p] =
                    (Binding){p ? &bindings[p - 1] : NULL, parameters->child[p]->name, &arguments[p]};
            return evaluate(ast, def->child[2], count ? &bindings[count - 1] : NULL);
        }
    return builtin(name, arguments, count);
}

static Value reduce(const Ast *ast, const Node *node, const Binding *scope)
{
    int first = (int)evaluate(ast, node->child[1], scope).at[0],
        end = (int)evaluate(ast, node->child[2], scope).at[0];
    bool vector = strcmp(node->name, "vector") == 0, sum = strcmp(node->name, "sum") == 0;
    CU_ASSERT_FATAL(vector || sum || strcmp(node->name, "max") == 0);
    CU_ASSERT_FATAL(end - first <= VALUE_MOST);
    Value result = {.count = vector ? end - first : 0};
    if (!vector && !sum)
        result.at[0] = -INFINITY;
    for (int i = first; i < end; i++) {
        Value variable = value_int(i);
        Binding inner = {scope, node->child[0]->name, &variable};
        double one = evaluate(ast, node->child[3], &inner).at[0];
        if (vector)
            result.at[i - first] = one;
        else
            result.at[0] = sum ? result.at[0] + one : fmax(result.at[0], one);
    }
    return result;
}

static Value evaluate(const Ast *ast, const Node *node, const Binding *scope)
{
    switch (node->kind) {
    case NODE_NAME:
        for (; scope; scope = scope->outer)
            if (strcmp(scope->name, node->name) == 0)
                return *scope->value;
        return meaningless("name", node->name);
    case NODE_INTEGER:
        return value_int((long)node->integer);
    case NODE_REAL:
        return value_real(node->number);
    case NODE_TUPLE: {
        Value tuple = {.count = node->count, .is_int = true};
        for (int i = 0; i < node->count; i++)
            tuple.at[i] = evaluate(ast, node->child[i], scope).at[0];
        return tuple;
    }
    case NODE_CALL: {
        Value arguments[8];
        CU_ASSERT_FATAL(node->count <= 8);
        for (int i = 0; i < node->count; i++)
            arguments[i] = evaluate(ast, node->child[i], scope);
        return evaluate_def(ast, node->name, arguments, node->count);
    }
    case NODE_INDEX: {
        Value base = evaluate(ast, node->child[0], scope);
        int at = (int)evaluate(ast, node->child[1], scope).at[0];
        CU_ASSERT_FATAL(at >= 0 &&
                        at < base.count); /* the library never reads outside, not even to discard */
        return (Value){.is_int = base.is_int, .at = {base.at[at]}};
    }
    case NODE_MEMBER: {
        Value base = evaluate(ast, node->child[0], scope);
        int at = base.count - 1 - (node->name[0] - 'x');
        CU_ASSERT_FATAL(at >= 0 && at < base.count);
        return (Value){.is_int = base.is_int, .at = {base.at[at]}};
    }
    case NODE_REDUCE:
        return reduce(ast, node, scope);
    case NODE_LET_IN: {
        Value value = evaluate(ast, node->child[0], scope);
        Binding inner = {scope, node->name, &value};
        return evaluate(ast, node->child[1], &inner);
    }
    case NODE_IF: {
        /* Both sides, as a kernel does. */
        Value chosen[2] = {evaluate(ast, node->child[2], scope), evaluate(ast, node->child[1], scope)};
        return chosen[evaluate(ast, node->child[0], scope).at[0] != 0];
    }
    case NODE_NEG: {
        Value zero = value_int(0), value = evaluate(ast, node->child[0], scope);
        return combine(NODE_SUB, &zero, &value);
    }
    default:
        if (node_is_binary(node->kind)) {
            Value a = evaluate(ast, node->child[0], scope), b = evaluate(ast, node->child[1], scope);
            return combine(node->kind, &a, &b);
        }
        return meaningless("node", node_word(node->kind));
    }
}
