/* Derivatives against central differences, for every operator that has one. */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests.h"

static double at(const Expr *e, double s)
{
    ExprValue vars[TREE_VARS] = {{.i = 3}, {.i = -2}, {.i = 1}, {.f = s}};
    return tree_eval(e, vars).f;
}

static bool close_enough(double a, double b) { return fabs(a - b) <= 1e-6 * (1 + fabs(a) + fabs(b)); }

/* Compares at points away from kinks; returns how many were compared. */
static int compare(ExprPool *p, const Expr *e, const char *name)
{
    const Expr *d = expr_derive(p, e, expr_var(p, VAR_S, TYPE_FLOAT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    int compared = 0;
    for (double s = -2.13; s < 2.5; s += 0.317) {
        const double h = 1e-5;
        double left = (at(e, s) - at(e, s - h)) / h, right = (at(e, s + h) - at(e, s)) / h;
        if (!isfinite(left) || !isfinite(right) || fabs(left - right) > 1e-2 * (1 + fabs(left)))
            continue; /* undefined, or a step in between */
        double central = (at(e, s + h) - at(e, s - h)) / (2 * h), exact = at(d, s);
        if (!close_enough(central, exact))
            printf("\n  %s at %g: %.9g, by differences %.9g", name, s, exact, central);
        CU_ASSERT(close_enough(central, exact));
        compared++;
    }
    return compared;
}

static void test_each_op(void)
{
    for (int op = EXPR_ADD; op < EXPR_OP_COUNT; op++) {
        const ExprOpInfo *info = &expr_op_info[op];
        char result = info->signature[info->arity];
        bool floats = memchr(info->signature, 'n', info->arity) || memchr(info->signature, 'f', info->arity);
        if (!floats || !(result == 'n' || result == 'f') || strcmp(info->derivative, "none") == 0)
            continue;
        Arena *arena = arena_create();
        ExprPool *p = expr_pool_create(arena);
        const Expr *s = expr_var(p, VAR_S, TYPE_FLOAT);
        /* operands that are functions of s themselves, for the chain rule */
        const Expr *x[3] = {
            expr_op2(p, EXPR_ADD, expr_op2(p, EXPR_MUL, s, s), expr_float(p, 0.3)),
            expr_op2(p, EXPR_SUB, expr_float(p, 3.1), expr_op2(p, EXPR_MUL, s, expr_float(p, 0.7))),
            expr_op1(p, EXPR_SIN, s),
        };
        const Expr *e;
        if (info->arity == 1)
            e = expr_op1(p, (ExprOp)op, x[0]);
        else if (info->arity == 2)
            e = expr_op2(p, (ExprOp)op, x[0], x[1]);
        else
            e = expr_op3(p, (ExprOp)op, expr_op2(p, EXPR_LT, s, expr_float(p, 0.2)), x[1], x[2]);
        CU_ASSERT(compare(p, e, info->name) >= 8);
        arena_destroy(arena);
    }
}

static void test_composed(void)
{
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    const Expr *s = expr_var(p, VAR_S, TYPE_FLOAT);
    const Expr *cap = expr_float(p, 3),
               *soft = expr_op2(p, EXPR_MUL, cap, expr_op1(p, EXPR_TANH, expr_op2(p, EXPR_DIV, s, cap)));
    CU_ASSERT(compare(p, soft, "soft cap") >= 8);
    CU_ASSERT(compare(p, expr_op2(p, EXPR_MUL, soft, expr_op1(p, EXPR_SIGMOID, soft)), "gated") >= 8);
    VarId c = expr_fresh_bound(p);
    const Expr *channel = expr_op1(p, EXPR_TOFLOAT, expr_var(p, c, TYPE_INT));
    const Expr *body = expr_op1(p, EXPR_SIN, expr_op2(p, EXPR_MUL, s, channel));
    CU_ASSERT(compare(p, expr_reduce(p, EXPR_SUM, c, expr_int(p, 5), body), "sum") >= 8);
    /* what does not depend has derivative zero; a maximum over a reduction has none */
    CU_ASSERT_PTR_EQUAL(expr_derive(p, channel, s), expr_float(p, 0));
    CU_ASSERT_PTR_EQUAL(expr_derive(p, s, s), expr_float(p, 1));
    CU_ASSERT_PTR_NULL(expr_derive(p, expr_reduce(p, EXPR_REDMAX, c, expr_int(p, 5), body), s));
    CU_ASSERT_PTR_NOT_NULL(expr_derive(p, expr_reduce(p, EXPR_REDMAX, c, expr_int(p, 5), channel), s));
    /* the derivative of the derivative */
    const Expr *second = expr_derive(p, expr_derive(p, soft, s), s);
    const Expr *first = expr_derive(p, soft, s);
    CU_ASSERT(fabs((at(first, 0.7001) - at(first, 0.6999)) / 0.0002 - at(second, 0.7)) < 1e-5);
    arena_destroy(arena);
}

void add_derive_tests(void)
{
    CU_pSuite suite = CU_add_suite("expr derivatives", NULL, NULL);
    CU_add_test(suite, "each operator", test_each_op);
    CU_add_test(suite, "composed", test_composed);
}
