/* Hostile texts end in a message, in time. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "suites.h"
#include "tests/support/problem.h"

/* Checks the text; its errors must say `message`, within a second or so of processor time. */
static void refused(const Text *text, const char *message)
{
    clock_t begin = clock();
    Problem *p = problem_create("test", text->data, NULL, 0);
    CU_ASSERT_PTR_NULL(p->spec);
    if (!strstr(diag_to_text(p->diag), message))
        fputs(diag_to_text(p->diag), stderr);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag_to_text(p->diag), message));
    CU_ASSERT((double)(clock() - begin) / CLOCKS_PER_SEC < 10);
    problem_destroy(p);
}

/* Each function calls the one before twice. */
static void doubling(const char *first, const char *step, const char *use, const char *message)
{
    Arena *arena = arena_create();
    Text text = {.arena = arena};
    text_add(&text, "%s\n", first);
    for (int n = 1; n <= 40; n++) {
        text_add(&text, "def f%d(x) = ", n);
        text_add(&text, step, n - 1, n - 1);
        text_add(&text, "\n");
    }
    text_add(&text, "%s\n", use);
    refused(&text, message);
    arena_destroy(arena);
}

static void exponential(void)
{
    doubling("def f0(x) = x + 1", "f%d(x) + f%d(x)", "attention a { score f40(s) }",
             "more than 65536 expression nodes");
    doubling("def f0(x) = x * x", "f%d(f%d(x))", "attention a { score f40(s) }",
             "nested more than 3000 deep");
    doubling("def f0(x) = concat(x, x)", "concat(f%d(x), f%d(x))", "attention a { feature q, k = f40(x) }",
             "more than 65536");
    doubling("def f0(x) = x", "sum(c in 0..x, f%d(c)) + f%d(x)", "attention a { mask f40(i) > 3 }",
             "more than 65536");
}

static void deep_functions(void)
{
    Arena *arena = arena_create();
    Text text = {.arena = arena};
    text_add(&text, "def f0(x) = sin(x)\n");
    for (int n = 1; n <= 200; n++)
        text_add(&text, "def f%d(x) = sin(f%d(x))\n", n, n - 1);
    text_add(&text, "attention a { score f200(s) }");
    refused(&text, "call one another more than 64 deep");
    arena_destroy(arena);
}

static void deep_lets(void)
{
    Arena *arena = arena_create();
    Text text = {.arena = arena};
    text_add(&text, "attention a { let v0 = 1.5\n");
    for (int n = 1; n <= 4000; n++)
        text_add(&text, "let v%d = sin(v%d)\n", n, n - 1);
    text_add(&text, "score s + v4000 }");
    refused(&text, "nested more than 1000 deep");
    arena_destroy(arena);
    /* steps that stay shallow in text but not in the expression */
    arena = arena_create();
    text = (Text){.arena = arena};
    text_add(&text, "def f(x) = sin(sin(sin(sin(sin(sin(sin(sin(sin(sin(x))))))))))\ndef g(x) = "
                    "f(f(f(f(f(f(f(f(f(f(x))))))))))\n"
                    "def h(x) = g(g(g(g(g(g(g(g(g(g(x))))))))))\nattention a { score h(h(h(h(h(s))))) }");
    refused(&text, "deep once functions are inlined");
    arena_destroy(arena);
}

static void too_many(void)
{
    Arena *arena = arena_create();
    Text text = {.arena = arena};
    text_add(&text, "attention a {");
    for (int n = 0; n < 40; n++)
        text_add(&text, " param p%d: int = 1 input n%d[h]: f32", n, n);
    text_add(&text, " input dims[h, h, h, h, h, h, h]: f32 }");
    refused(&text, "more than 32 params");
    refused(&text, "more than 32 inputs");
    refused(&text, "at most 6 dimensions");
    arena_destroy(arena);
    arena = arena_create();
    text = (Text){.arena = arena};
    text_add(&text, "attention a over (a, b, c, d) { mask prod(n in 0..1000, n) > 3 and i[7] == 0 and (1, 2, "
                    "3, 4) == 3 }");
    refused(&text, "at most 3 axes");
    refused(&text, "1 to 256 values");
    refused(&text, "at most 3 parts");
    arena_destroy(arena);
}

void limit_suite(void)
{
    CU_pSuite suite = CU_add_suite("limits", NULL, NULL);
    CU_add_test(suite, "functions that double", exponential);
    CU_add_test(suite, "deep functions", deep_functions);
    CU_add_test(suite, "deep lets", deep_lets);
    CU_add_test(suite, "too many things", too_many);
}
