/* Interval rules against brute force: every point of small boxes. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests.h"

/* Bounds of the tree's variables, read by the range as ARG 2v (low) and 2v + 1 (high); SIZE_N does not vary.
 */
typedef struct Box {
    ExprPool *pool;
    ExprValue lo[TREE_VARS], hi[TREE_VARS];
    bool free[TREE_VARS];
} Box;

static ExprRange box_range(void *user, const Expr *e)
{
    const Box *box = user;
    for (int v = 0; v < TREE_VARS; v++)
        if (e->op == EXPR_VAR && e->index == (int)tree_var[v]) {
            if (box->free[v])
                return (ExprRange){NULL, NULL};
            return (ExprRange){expr_arg(box->pool, 2 * v, (ExprType)e->type),
                               expr_arg(box->pool, 2 * v + 1, (ExprType)e->type)};
        }
    return (ExprRange){e, e};
}

static ExprValue bound_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const Box *box = user;
    (void)args;
    if (e->op != EXPR_ARG)
        abort(); /* a bound must not read what varies */
    return e->index % 2 ? box->hi[e->index / 2] : box->lo[e->index / 2];
}

static ExprValue bound(const Box *box, const Expr *e)
{
    ExprEval eval = {(void *)box, bound_leaf, false};
    return expr_eval(&eval, e);
}

typedef struct RangeTally {
    long points, wrong, boxes, exact, bounded;
} RangeTally;

/* NaN compares with nothing: of a number it breaks no bound, of a condition it is just false. */
static void check(const Expr *e, const Tree *tree, Box *box, RangeTally *tally)
{
    ExprRange range = expr_range(box->pool, e, box_range, box);
    bool is_float = e->type == TYPE_FLOAT;
    ExprValue lo = {0}, hi = {0}, least = {0}, most = {0}, at[TREE_VARS];
    if (range.lo)
        lo = bound(box, range.lo);
    if (range.hi)
        hi = bound(box, range.hi);
    bool any = false;
    for (at[0] = box->lo[0]; at[0].i <= box->hi[0].i; at[0].i++)
        for (at[1] = box->lo[1]; at[1].i <= box->hi[1].i; at[1].i++)
            for (at[2] = box->lo[2]; at[2].i <= box->hi[2].i; at[2].i++)
                for (at[3] = box->lo[3]; at[3].f <= box->hi[3].f; at[3].f += 0.25) {
                    bool odd = false;
                    if (tree)
                        tree_value(tree, at, &odd);
                    if (odd)
                        continue;
                    ExprValue value = tree_eval(e, at);
                    tally->points++;
                    if (is_float)
                        tally->wrong += (range.lo && value.f < lo.f) || (range.hi && value.f > hi.f);
                    else
                        tally->wrong += (range.lo && value.i < lo.i) || (range.hi && value.i > hi.i);
                    bool less = is_float ? value.f < least.f : value.i < least.i,
                         more = is_float ? value.f > most.f : value.i > most.i;
                    least = !any || less ? value : least;
                    most = !any || more ? value : most;
                    any = true;
                }
    tally->boxes++;
    tally->bounded += range.lo && range.hi;
    if (any && range.lo && range.hi)
        tally->exact += is_float ? lo.f == least.f && hi.f == most.f : lo.i == least.i && hi.i == most.i;
}

static void draw_box(Box *box, Random *random)
{
    for (int v = 0; v < TREE_VARS; v++) {
        box->free[v] = false;
        if (v == 3) {
            box->lo[v].f = (double)random_between(random, -8, 8) / 4;
            box->hi[v].f = box->lo[v].f + (double)random_between(random, 0, 4) / 4;
        } else {
            box->lo[v].i = random_between(random, v == 2 ? 0 : -9, 9);
            box->hi[v].i = box->lo[v].i + random_between(random, 0, 5);
        }
    }
}

static void test_random(void)
{
    RangeTally tally = {0};
    long used[EXPR_OP_COUNT] = {0};
    Random random = {3};
    for (int round = 0; round < 12000; round++) {
        Arena *arena = arena_create();
        Box box = {.pool = expr_pool_create(arena)};
        const Tree *tree = tree_draw(arena, &random, (ExprType)(round % 3), 1 + round % 4, used);
        const Expr *e = tree_build(box.pool, tree);
        draw_box(&box, &random);
        long before = tally.wrong;
        check(e, tree, &box, &tally);
        if (round % 8 == 0) { /* without bounds for one of the variables nothing wrong is said either */
            box.free[round / 8 % TREE_VARS] = true;
            check(e, tree, &box, &tally);
        }
        if (tally.wrong != before && before < 5) {
            Text text = {.arena = arena};
            expr_print(&text, e, NULL);
            printf("\n  outside its range: %s", text.data);
        }
        arena_destroy(arena);
    }
    printf(" %ld points, %ld of %ld boxes exact ", tally.points, tally.exact, tally.boxes);
    CU_ASSERT_EQUAL(tally.wrong, 0);
    CU_ASSERT(tally.points > 500000);
    CU_ASSERT(tally.exact * 10 > tally.boxes * 6);
    for (int op = EXPR_ADD; op < EXPR_OP_COUNT; op++)
        CU_ASSERT(used[op] > 0);
}

/* Each operator over plain variables and constants: sound, and exact where the rule says so. */
static void test_each_op(void)
{
    Random random = {11};
    for (int op = EXPR_ADD; op < EXPR_OP_COUNT; op++) {
        const ExprOpInfo *info = &expr_op_info[op];
        for (ExprType n = TYPE_INT; n <= TYPE_FLOAT; n++) {
            if (!memchr(info->signature, 'n', info->arity) && n == TYPE_FLOAT)
                continue;
            RangeTally tally = {0};
            for (int round = 0; round < 200; round++) {
                Arena *arena = arena_create();
                Box box = {.pool = expr_pool_create(arena)};
                const Expr *args[3] = {NULL};
                int next_int = 0;
                for (int k = 0; k < info->arity; k++) {
                    char letter =
                        info->signature[k] == 'n' ? (n == TYPE_INT ? 'i' : 'f') : info->signature[k];
                    const Expr *v = expr_var(box.pool, tree_var[next_int % 3], TYPE_INT);
                    if (letter == 'i')
                        args[k] = v, next_int++;
                    else if (letter == 'f')
                        args[k] = k == 0 ? expr_var(box.pool, VAR_S, TYPE_FLOAT)
                                         : expr_op1(box.pool, EXPR_TOFLOAT,
                                                    expr_var(box.pool, tree_var[next_int++ % 3], TYPE_INT));
                    else
                        args[k] = expr_op2(box.pool, EXPR_LE, v,
                                           expr_int(box.pool, random_between(&random, -3, 5))),
                        next_int++;
                }
                const Expr *e = info->arity == 1 ? expr_op1(box.pool, (ExprOp)op, args[0])
                                : info->arity == 2
                                    ? expr_op2(box.pool, (ExprOp)op, args[0], args[1])
                                    : expr_op3(box.pool, (ExprOp)op, args[0], args[1], args[2]);
                draw_box(&box, &random);
                check(e, NULL, &box, &tally);
                arena_destroy(arena);
            }
            CU_ASSERT_EQUAL(tally.wrong, 0);
            /* loose only where a corner is not decided by the bounds: remainders, quotients by what varies,
             * ... */
            bool floats = n == TYPE_FLOAT && (op == EXPR_EQ || op == EXPR_NE); /* two grids that interleave */
            bool loose = floats || op == EXPR_MOD || op == EXPR_DIV || op == EXPR_POW || op == EXPR_LOG ||
                         op == EXPR_LOG2 || op == EXPR_LOG1P || op == EXPR_SQRT || op == EXPR_RSQRT ||
                         op == EXPR_SIN || op == EXPR_COS;
            if (!loose && tally.exact != tally.boxes)
                printf("\n  %s: %ld of %ld exact", info->name, tally.exact, tally.boxes);
            CU_ASSERT(loose || tally.exact == tally.boxes);
        }
    }
}

static void test_linear(void)
{
    Arena *arena = arena_create();
    Box box = {.pool = expr_pool_create(arena)};
    ExprPool *p = box.pool;
    Random random = {5};
    const Expr *i = expr_var(p, VAR_I0, TYPE_INT), *j = expr_var(p, VAR_J0, TYPE_INT), *four = expr_int(p, 4);
    const Expr *k = expr_var(p, VAR_I1, TYPE_INT);
    const Expr *cases[] = {
        expr_op2(p, EXPR_SUB, expr_op2(p, EXPR_ADD, i, j), expr_op2(p, EXPR_SUB, i, k)), /* i cancels */
        expr_op2(p, EXPR_LE, expr_op2(p, EXPR_ADD, i, j), expr_op2(p, EXPR_SUB, i, k)),
        expr_op2(p, EXPR_EQ, expr_op2(p, EXPR_MOD, expr_op2(p, EXPR_SUB, i, j), four), expr_int(p, 1)),
        expr_op2(p, EXPR_EQ, expr_op2(p, EXPR_DIV, i, four), expr_op2(p, EXPR_DIV, j, four)),
        expr_op2(p, EXPR_MUL, i, i),
        expr_op2(p, EXPR_MIN, expr_op2(p, EXPR_MAX, expr_op2(p, EXPR_SUB, i, j), expr_int(p, -2)), four),
    };
    RangeTally tally = {0};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int round = 0; round < 200; round++) {
            draw_box(&box, &random);
            check(cases[c], NULL, &box, &tally);
        }
    CU_ASSERT_EQUAL(tally.wrong, 0);
    /* i i: a corner of the box may miss the least square; everything else is exact */
    CU_ASSERT(tally.exact >= tally.boxes - 200);
    arena_destroy(arena);
}

static void test_reductions(void)
{
    Arena *arena = arena_create();
    Box box = {.pool = expr_pool_create(arena)};
    ExprPool *p = box.pool;
    Random random = {9};
    const Expr *i = expr_var(p, VAR_I0, TYPE_INT), *j = expr_var(p, VAR_J0, TYPE_INT);
    RangeTally tally = {0};
    static const ExprOp ops[] = {EXPR_SUM, EXPR_REDMAX, EXPR_REDMIN};
    for (int round = 0; round < 300; round++) {
        VarId c = expr_fresh_bound(p);
        const Expr *var = expr_var(p, c, TYPE_INT);
        const Expr *body =
            expr_op2(p, EXPR_SUB, expr_op2(p, EXPR_MUL, i, var), expr_op2(p, EXPR_MAX, j, var));
        const Expr *extent = round % 2 ? expr_op2(p, EXPR_ADD, j, expr_int(p, 1)) : expr_int(p, 4);
        draw_box(&box, &random);
        check(expr_reduce(p, ops[round % 3], c, extent, body), NULL, &box, &tally);
    }
    CU_ASSERT_EQUAL(tally.wrong, 0);
    CU_ASSERT(tally.bounded >= 200);
    arena_destroy(arena);
}

void add_range_tests(void)
{
    CU_pSuite suite = CU_add_suite("expr ranges", NULL, NULL);
    CU_add_test(suite, "random expressions", test_random);
    CU_add_test(suite, "each operator", test_each_op);
    CU_add_test(suite, "exact cases", test_linear);
    CU_add_test(suite, "reductions", test_reductions);
}
