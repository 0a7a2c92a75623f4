#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests.h"

static const Expr *I(ExprPool *p) { return expr_var(p, VAR_I0, TYPE_INT); }
static const Expr *J(ExprPool *p) { return expr_var(p, VAR_J0, TYPE_INT); }
static const Expr *S(ExprPool *p) { return expr_var(p, VAR_S, TYPE_FLOAT); }
static const Expr *N(ExprPool *p, int64_t n) { return expr_int(p, n); }

static void test_identities(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    const Expr *i = I(p), *j = J(p), *s = S(p);
    const Expr *lt = expr_op2(p, EXPR_LT, i, j), *le = expr_op2(p, EXPR_LE, j, i);
#define SAME(a, b) CU_ASSERT_PTR_EQUAL(a, b)
    /* sums in normal form */
    SAME(expr_op2(p, EXPR_SUB, i, expr_op2(p, EXPR_SUB, i, N(p, 1))), N(p, 1));
    SAME(expr_op2(p, EXPR_ADD, i, expr_op2(p, EXPR_ADD, j, N(p, 2))),
         expr_op2(p, EXPR_ADD, expr_op2(p, EXPR_ADD, N(p, 2), j), i));
    SAME(expr_op2(p, EXPR_ADD, i, i), expr_op2(p, EXPR_MUL, N(p, 2), i));
    SAME(expr_op1(p, EXPR_NEG, expr_op2(p, EXPR_SUB, i, j)), expr_op2(p, EXPR_SUB, j, i));
    SAME(expr_op2(p, EXPR_MUL, expr_op2(p, EXPR_MUL, i, N(p, 3)), expr_op2(p, EXPR_MUL, j, N(p, 5))),
         expr_op2(p, EXPR_MUL, N(p, 15), expr_op2(p, EXPR_MUL, j, i)));
    SAME(expr_op2(p, EXPR_MUL, i, N(p, 0)), N(p, 0));
    SAME(expr_op2(p, EXPR_DIV, expr_op2(p, EXPR_DIV, i, N(p, 3)), N(p, 5)),
         expr_op2(p, EXPR_DIV, i, N(p, 15)));
    SAME(expr_op2(p, EXPR_MOD, expr_op2(p, EXPR_MOD, i, j), j), expr_op2(p, EXPR_MOD, i, j));
    /* comparisons and connectives */
    SAME(expr_op1(p, EXPR_NOT, lt), le);
    SAME(expr_op2(p, EXPR_AND, lt, le), expr_bool(p, false));
    SAME(expr_op2(p, EXPR_OR, lt, le), expr_bool(p, true));
    SAME(expr_op2(p, EXPR_AND, lt, expr_op2(p, EXPR_OR, lt, expr_op2(p, EXPR_EQ, i, N(p, 7)))), lt);
    SAME(expr_op2(p, EXPR_LT, i, N(p, 5)), expr_op2(p, EXPR_LE, i, N(p, 4)));
    SAME(expr_op2(p, EXPR_LE, expr_op2(p, EXPR_ADD, i, N(p, 3)), N(p, 5)), expr_op2(p, EXPR_LE, i, N(p, 2)));
    SAME(expr_op2(p, EXPR_EQ, expr_op2(p, EXPR_MOD, i, N(p, 4)), expr_op2(p, EXPR_MOD, j, N(p, 4))),
         expr_op2(p, EXPR_EQ, expr_op2(p, EXPR_MOD, expr_op2(p, EXPR_SUB, i, j), N(p, 4)), N(p, 0)));
    SAME(expr_op2(p, EXPR_MIN, i, expr_op2(p, EXPR_ADD, i, N(p, 2))), i);
    SAME(expr_op2(p, EXPR_MAX, i, expr_op2(p, EXPR_MIN, i, j)), i);
    SAME(expr_op3(p, EXPR_SELECT, lt, i, i), i);
    SAME(expr_op3(p, EXPR_BSELECT, lt, expr_bool(p, true), expr_bool(p, false)), lt);
    SAME(expr_op3(p, EXPR_SELECT,
                  expr_op1(p, EXPR_NOT, expr_op2(p, EXPR_AND, lt, expr_var(p, VAR_H, TYPE_BOOL))), i, j),
         expr_op3(p, EXPR_SELECT, expr_op2(p, EXPR_AND, lt, expr_var(p, VAR_H, TYPE_BOOL)), j, i));
    /* floats: exact identities only */
    SAME(expr_op2(p, EXPR_ADD, s, expr_float(p, -0.0)), s);
    SAME(expr_op2(p, EXPR_SUB, s, expr_float(p, 0.0)), s);
    SAME(expr_op2(p, EXPR_MUL, expr_float(p, 1), s), s);
    CU_ASSERT_PTR_NOT_EQUAL(expr_op2(p, EXPR_ADD, s, expr_float(p, 0.0)), s);
    CU_ASSERT_NOT_EQUAL(expr_op2(p, EXPR_MUL, s, expr_float(p, 0.0))->op, EXPR_FLOAT);
    CU_ASSERT_NOT_EQUAL(expr_op2(p, EXPR_SUB, s, s)->op, EXPR_FLOAT);
    CU_ASSERT_NOT_EQUAL(expr_op2(p, EXPR_EQ, s, s)->op, EXPR_BOOL); /* NaN */
    CU_ASSERT_NOT_EQUAL(expr_float(p, 0.0), expr_float(p, -0.0));
    /* ints at the edge */
    SAME(expr_op2(p, EXPR_ADD, N(p, INT64_MAX), N(p, 1)), N(p, INT64_MIN));
    SAME(expr_op2(p, EXPR_DIV, N(p, INT64_MIN), N(p, -1)), N(p, INT64_MIN));
    SAME(expr_op2(p, EXPR_MOD, N(p, INT64_MIN), N(p, -1)), N(p, 0));
    SAME(expr_op2(p, EXPR_DIV, N(p, -7), N(p, 2)), N(p, -4));
    SAME(expr_op2(p, EXPR_MOD, N(p, -7), N(p, 2)), N(p, 1));
    SAME(expr_op2(p, EXPR_MOD, N(p, 7), N(p, -2)), N(p, -1));
    SAME(expr_op2(p, EXPR_DIV, i, N(p, 0)), N(p, 0));
    arena_destroy(arena);
}

/* sum over c of body(c), the bound variable made by the pool */
static const Expr *sum_over(ExprPool *p, const Expr *extent,
                            const Expr *(*body)(ExprPool *, const Expr *, const Expr *), const Expr *x)
{
    VarId c = expr_fresh_bound(p);
    return expr_reduce(p, EXPR_SUM, c, extent, body(p, expr_var(p, c, TYPE_INT), x));
}

static const Expr *body_product(ExprPool *p, const Expr *c, const Expr *x)
{
    return expr_op2(p, EXPR_MUL, c, x);
}
static const Expr *body_nested(ExprPool *p, const Expr *c, const Expr *x)
{
    return expr_op2(p, EXPR_ADD, sum_over(p, expr_op2(p, EXPR_ADD, c, N(p, 1)), body_product, c), x);
}

static const Expr *i_to_j(void *user, const Expr *leaf)
{
    return leaf->op == EXPR_VAR && leaf->index == VAR_I0 ? user : NULL;
}

static void test_reductions(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    const Expr *five = N(p, 5), *i = I(p);
    /* equal up to the name of the bound variable: the same pointer, also when nested and rebuilt */
    const Expr *a = sum_over(p, five, body_nested, i), *b = sum_over(p, five, body_nested, i);
    CU_ASSERT_PTR_EQUAL(a, b);
    CU_ASSERT_PTR_EQUAL(expr_rebuild(p, a, a->args), a);
    CU_ASSERT_PTR_NULL(a->free_bound);
    CU_ASSERT(expr_uses(a, VAR_I0));
    CU_ASSERT(expr_uses(a->args[1], (VarId)a->index) && !expr_uses(a, (VarId)a->index));
    ExprValue vars[TREE_VARS] = {{.i = 3}, {.i = 0}, {.i = 2}, {.f = 0}};
    int64_t expected = 0;
    for (int64_t c = 0; c < 5; c++) {
        for (int64_t d = 0; d < c + 1; d++)
            expected += d * c;
        expected += 3;
    }
    CU_ASSERT_EQUAL(tree_eval(a, vars).i, expected);
    /* a replacement that reads a reduction's own variable name is not captured */
    const Expr *inner = sum_over(p, five, body_product, i);
    const Expr *name = expr_var(p, (VarId)inner->index, TYPE_INT);
    const Expr *opened = expr_substitute(p, inner, i_to_j, (void *)name);
    CU_ASSERT(expr_uses(opened, (VarId)inner->index));
    const Expr *closed = expr_reduce(p, EXPR_SUM, (VarId)inner->index, N(p, 3), opened); /* sum_n sum_c c n */
    CU_ASSERT_EQUAL(tree_eval(closed, vars).i, (0 + 1 + 2) * (0 + 1 + 2 + 3 + 4));
    /* empty reductions */
    const Expr *none = expr_op2(p, EXPR_MIN, i, N(p, 0));
    VarId c = expr_fresh_bound(p);
    CU_ASSERT_EQUAL(tree_eval(expr_reduce(p, EXPR_REDMAX, c, none, i), vars).i, INT64_MIN);
    CU_ASSERT_EQUAL(tree_eval(expr_reduce(p, EXPR_SUM, c, none, i), vars).i, 0);
    CU_ASSERT_EQUAL(tree_eval(expr_reduce(p, EXPR_REDMIN, c, none, S(p)), vars).f, INFINITY);
    arena_destroy(arena);
}

static void test_random(void)
{
    long used[EXPR_OP_COUNT] = {0}, compared = 0, differing = 0;
    Random random = {1};
    for (int round = 0; round < 20000; round++) {
        Arena *arena = arena_create();
        ExprPool *pool = expr_pool_create(arena);
        const Tree *tree = tree_draw(arena, &random, (ExprType)(round % 3), 1 + round % 6, used);
        const Expr *e = tree_build(pool, tree);
        for (int k = 0; k < 6; k++) {
            ExprValue vars[TREE_VARS];
            for (int v = 0; v < 3; v++)
                vars[v].i = random_between(&random, v == 2 ? 0 : -9, 9);
            vars[3].f = (double)random_between(&random, -8, 8) / 4;
            bool odd = false;
            ExprValue expected = tree_value(tree, vars, &odd);
            if (odd)
                continue;
            ExprValue got = tree_eval(e, vars);
            compared++;
            differing += memcmp(&expected, &got, sizeof got) != 0;
        }
        arena_destroy(arena);
    }
    printf(" %ld values ", compared);
    CU_ASSERT_EQUAL(differing, 0);
    CU_ASSERT(compared > 60000);
    for (int op = EXPR_ADD; op < EXPR_OP_COUNT; op++)
        CU_ASSERT(used[op] > 0);
}

/* The order in which things are made does not show: same text, same hash. */
static void test_order(void)
{
    Random random = {7};
    for (int round = 0; round < 300; round++) {
        Arena *arena = arena_create();
        ExprPool *first = expr_pool_create(arena), *second = expr_pool_create(arena);
        const Tree *a = tree_draw(arena, &random, TYPE_BOOL, 4, NULL),
                   *b = tree_draw(arena, &random, TYPE_BOOL, 4, NULL);
        const Expr *x = tree_build(first, a), *y = tree_build(first, b);
        const Expr *q = tree_build(second, b), *r = tree_build(second, a);
        Text one = {.arena = arena}, two = {.arena = arena};
        expr_print(&one, expr_op2(first, EXPR_AND, x, y), NULL);
        expr_print(&two, expr_op2(second, EXPR_AND, q, r), NULL);
        CU_ASSERT_STRING_EQUAL(one.data, two.data);
        CU_ASSERT_EQUAL(x->hash, r->hash);
        arena_destroy(arena);
    }
}

typedef struct Seen {
    Arena *arena;
    uint32_t last;
    size_t count;
    bool in_order;
} Seen;

static void visit(void *user, const Expr *e)
{
    Seen *seen = user;
    for (int k = 0; k < e->arity; k++)
        seen->in_order &= e->args[k]->id < e->id;
    seen->count++;
}

/* 2^200 nodes as a tree, 200 distinct ones. */
static void test_sharing(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    const Expr *x = S(p);
    for (int k = 0; k < 200; k++)
        x = expr_op2(p, EXPR_MUL, x, x);
    ExprValue vars[TREE_VARS] = {{0}, {0}, {0}, {.f = 1.0}};
    CU_ASSERT_EQUAL(tree_eval(x, vars).f, 1.0);
    CU_ASSERT_EQUAL(expr_count(arena, x), 201);
    Seen seen = {.arena = arena, .in_order = true};
    expr_walk(arena, x, visit, &seen);
    CU_ASSERT(seen.in_order && seen.count == 201);
    Text text = {.arena = arena};
    expr_print(&text, x, NULL);
    CU_ASSERT(text.length < 20000);
    CU_ASSERT_PTR_NOT_NULL(expr_derive(p, x, S(p)));
    /* the same inside a reduction, over its variable */
    VarId c = expr_fresh_bound(p);
    const Expr *y = expr_var(p, c, TYPE_INT);
    for (int k = 0; k < 100; k++)
        y = expr_op2(p, EXPR_MAX, expr_op2(p, EXPR_MOD, y, N(p, 1000 + k)),
                     expr_op2(p, EXPR_DIV, y, N(p, 2 + k)));
    const Expr *sum = expr_reduce(p, EXPR_SUM, c, N(p, 10), y);
    CU_ASSERT_EQUAL(tree_eval(sum, vars).i, 45);
    Text more = {.arena = arena};
    expr_print(&more, sum, NULL);
    CU_ASSERT(more.length < 20000);
    arena_destroy(arena);
}

/* Too deep to recurse over: the constructor unwinds. */
static void test_depth(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    jmp_buf door, *outer = arena_arm(arena, &door);
    volatile int depth = 0;
    if (!setjmp(door)) {
        const Expr *x = S(p);
        for (; depth < 3 * EXPR_MAX_DEPTH; depth++)
            x = expr_op1(p, EXPR_SIN, x);
    }
    arena_arm(arena, outer);
    CU_ASSERT_EQUAL(depth, EXPR_MAX_DEPTH - 1);
    arena_destroy(arena);
}

static void test_rounding(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    const Expr *e = expr_op2(p, EXPR_ADD, S(p), expr_float(p, 1));
    ExprValue vars[TREE_VARS] = {{0}, {0}, {0}, {.f = 0x1p-30}};
    CU_ASSERT_EQUAL(tree_eval(e, vars).f, 1 + 0x1p-30);
    ExprOp op = expr_op_named("tanh", 1);
    CU_ASSERT_EQUAL(op, EXPR_TANH);
    CU_ASSERT_EQUAL(expr_op_named("tanh", 2), EXPR_OP_COUNT);
    arena_destroy(arena);
}

void add_law_tests(void)
{
    CU_pSuite suite = CU_add_suite("expr laws", NULL, NULL);
    CU_add_test(suite, "identities", test_identities);
    CU_add_test(suite, "reductions", test_reductions);
    CU_add_test(suite, "simplified and unsimplified values agree", test_random);
    CU_add_test(suite, "order of creation does not show", test_order);
    CU_add_test(suite, "shared parts", test_sharing);
    CU_add_test(suite, "depth", test_depth);
    CU_add_test(suite, "evaluation", test_rounding);
}
