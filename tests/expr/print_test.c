/* Text: what is printed parses back to the same Expr, and canonical text tells mathematics apart, not
 * spelling. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "compiler/spec/check.h"
#include "tests.h"

static Spec *spec_of(Arena *arena, const char *text)
{
    Diag *diag = diag_create(arena);
    Ast *ast = NULL;
    Spec *spec = NULL;
    if (dsl_parse(diag, "test", text, strlen(text), NULL, &ast) == DSL_OK)
        spec = check_spec(arena, diag, ast, NULL, NULL, 0);
    if (!spec)
        diag_print(diag, stdout, DIAG_TEXT, false);
    return spec;
}

static const struct {
    const char *a, *b;
    bool same;
} pairs[] = {
    {"attention a { mask j <= i }", "// said otherwise\nattention other { mask i >= j }", true},
    {"attention a { mask j <= i }", "attention a { mask not (i < j) }", true},
    {"attention a { mask j <= i }", "attention a { mask j < i }", false},
    {"attention a { param window: int = 4 mask j <= i and i - j < window }",
     "def near(d, w) = w > d\nattention b { param size_of_it: int = 9 mask near(i - j, size_of_it) and i >= "
     "j }",
     true},
    {"attention a { param const window: int = 4 mask i - j < window }",
     "attention a { param const window: int = 5 mask i - j < window }", false},
    {"attention a { input doc[b, t]: i32 mask doc[i] == doc[j] }",
     "attention a { input d[b, t]: i32 mask d[j] == d[i] }", true},
    {"attention a { input doc[b, t]: i32 mask doc[i] == doc[j] }",
     "attention a { input doc[b, t]: i64 mask doc[i] == doc[j] }", false},
    {"attention a { score s * scale + 2.0 }", "attention a { score 2.0 + scale * s }", true},
    {"attention a { score (s + 1.0) + 2.0 }", "attention a { score s + (1.0 + 2.0) }", false},
    {"attention a { score s normalize sum }", "attention a { score s normalize none }", false},
    {"attention a { mask j <= i return lse }", "attention a { mask j <= i }", false},
    {"attention a over (y, x) { mask i.y == j.y }",
     "attention a over (rows, columns) { mask j.rows == i.rows }", true},
    {"attention a over (y, x) { mask i.y == j.y }", "attention a over (y, x) { mask i.x == j.x }", false},
    {"attention a { mask max(i - 1, 0) <= j }", "attention a { mask j >= max(0, -1 + i) }", true},
    {"attention a { similarity sum(c in 0..D, q[c] * k[c]) }",
     "attention a { similarity sum(z in 0..D, k[z] * q[z]) }", true},
    {"attention a { mask j <= i schedule cpu { block_m = 64 } }", "attention a { mask j <= i }", true},
};

static void test_canonical(void)
{
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        Arena *arena = arena_create();
        Spec *a = spec_of(arena, pairs[k].a), *b = spec_of(arena, pairs[k].b);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b);
        char *x = spec_canonical(a), *y = spec_canonical(b);
        if ((strcmp(x, y) == 0) != pairs[k].same)
            printf("\n%s\n%s", x, y);
        CU_ASSERT_EQUAL(strcmp(x, y) == 0, pairs[k].same);
        CU_ASSERT_PTR_NOT_NULL(strstr(spec_print(a), a->name));
        arena_destroy(arena);
    }
}

/* The mask and score of a spec, printed, parsed and checked again, are the same mathematics. */
static void test_round_trip(void)
{
    static const struct {
        const char *declarations, *mask, *score;
    } specs[] = {
        {"", "j <= i and (i - j) % 3 == 0 or j < 4", "s * scale"},
        {"param w: int = 5 param f: float = 2", "abs(i - j) <= w * 2 - 1 and not (i == 3)",
         "f * tanh(s / f) - (s - (f - 1.5e-7))"},
        {"input bias[h]: f32 input doc[b, t]: i32", "doc[i] == doc[j]",
         "s * scale - bias[h] * float(i - j) ^ 2.0"},
        {"", "min(i, j) / 4 <= max(i - 7, 3) / 2", "if i - j < 3 then -s else s * s * s"},
        {"", "true", "-(s ^ 2.0) + (-s) ^ 3.0 + exp(min(s, 1.0)) * sum(c in 0..4, float(c) * s)"},
    };
    for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
        Arena *arena = arena_create();
        char *text = arena_printf(arena, "attention t { %s mask %s score %s }", specs[k].declarations,
                                  specs[k].mask, specs[k].score);
        Spec *first = spec_of(arena, text);
        CU_ASSERT_PTR_NOT_NULL_FATAL(first);
        const char *params[SPEC_MAX_PARAMS], *inputs[SPEC_MAX_INPUTS];
        for (int n = 0; n < first->param_count; n++)
            params[n] = first->params[n].name;
        for (int n = 0; n < first->input_count; n++)
            inputs[n] = first->inputs[n].name;
        ExprNames names = {.params = params, .inputs = inputs, .rank = 1};
        Text again = {.arena = arena};
        text_add(&again, "attention t { %s mask ", specs[k].declarations);
        expr_print(&again, first->mask, &names);
        text_add(&again, " score ");
        expr_print(&again, first->score, &names);
        text_add(&again, " }");
        Spec *second = spec_of(arena, again.data);
        CU_ASSERT_PTR_NOT_NULL(second);
        if (second)
            CU_ASSERT_STRING_EQUAL(spec_canonical(first), spec_canonical(second));
        arena_destroy(arena);
    }
}

static void test_numbers(void)
{
    static const struct {
        double value;
        const char *text;
    } numbers[] = {
        {1, "1.0"},     {0.1, "0.1"}, {-2.5, "-2.5"}, {1e20, "1e+20"}, {1.0 / 3, "0.3333333333333333"},
        {-0.0, "-0.0"},
    };
    Arena *arena = arena_create();
    ExprPool *p = expr_pool_create(arena);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        Text text = {.arena = arena};
        expr_print(&text, expr_float(p, numbers[k].value), NULL);
        CU_ASSERT_STRING_EQUAL(text.data, numbers[k].text);
    }
    arena_destroy(arena);
}

void add_print_tests(void)
{
    CU_pSuite suite = CU_add_suite("expr and spec text", NULL, NULL);
    CU_add_test(suite, "canonical text", test_canonical);
    CU_add_test(suite, "printed and parsed again", test_round_trip);
    CU_add_test(suite, "numbers", test_numbers);
}
