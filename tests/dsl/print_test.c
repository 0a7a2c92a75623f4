/* The canonical text: it parses to the same tree, is its own canonical text, and keeps the comments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parsing.h"

static const DslOptions alone = {.keep_imports_closed = true};

/* The canonical text of `text`, malloced; NULL when it does not parse. */
static char *format(const char *text, size_t length)
{
    Parsing parsing = parsing_begin(text, length, &alone);
    char *printed = NULL;
    if (parsing.status == DSL_OK)
        printed = strdup(ast_print(parsing.arena, parsing.diag, &parsing.ast->files[0]));
    else
        printf("\n%s", diag_to_text(parsing.diag));
    parsing_end(&parsing);
    return printed;
}

static int comment_count(const char *text, bool *same_tree, const char *other)
{
    Parsing a = parsing_begin(text, strlen(text), &alone), b = parsing_begin(other, strlen(other), &alone);
    *same_tree = a.status == DSL_OK && b.status == DSL_OK && node_equal(ast_main(a.ast), ast_main(b.ast));
    int count = a.status == DSL_OK ? a.ast->files[0].comment_count : -1;
    parsing_end(&a);
    parsing_end(&b);
    return count;
}

static void check_round_trip(const char *text, size_t length)
{
    char *once = format(text, length);
    CU_ASSERT_PTR_NOT_NULL(once);
    if (!once)
        return;
    char *twice = format(once, strlen(once));
    CU_ASSERT_PTR_NOT_NULL(twice);
    if (twice) {
        CU_ASSERT_STRING_EQUAL(once, twice);
        bool same;
        int before = comment_count(text, &same, once), after = comment_count(once, &same, text);
        CU_ASSERT(same);
        CU_ASSERT_EQUAL(before, after);
    }
    free(once);
    free(twice);
}

static void round_trip_file(const char *path)
{
    size_t length;
    char *text = read_whole(path, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    check_round_trip(text, length);
    free(text);
}

static void files(void)
{
    CU_ASSERT(each_file("valid", round_trip_file) >= 3);
}

/* The library is kept in its canonical form. */
static void library(void)
{
    DslText entry;
    int count = 0;
    for (; dsl_std(count, &entry); count++) {
        char *printed = format(entry.text, entry.length);
        CU_ASSERT_PTR_NOT_NULL_FATAL(printed);
        CU_ASSERT_STRING_EQUAL(printed, entry.text);
        free(printed);
    }
    CU_ASSERT(count >= 3);
}

static void expect_text(const char *text, const char *canonical)
{
    char *printed = format(text, strlen(text));
    CU_ASSERT_PTR_NOT_NULL_FATAL(printed);
    if (strcmp(printed, canonical) != 0)
        printf("\n--- got\n%s--- wanted\n%s", printed, canonical);
    CU_ASSERT_STRING_EQUAL(printed, canonical);
    free(printed);
    check_round_trip(text, strlen(text));
}

static void expressions(void)
{
    static const char *const canonical[] = {
        "a - (b - c)",
        "a - b - c",
        "(a + b) * c",
        "a * (b / c)",
        "-(a + b)",
        "(-a)^b",
        "-a^b",
        "a^b^c",
        "(a^b)^c",
        "a^-b",
        "not (a and b)",
        "not a and b",
        "(a or b) and c",
        "a or b and c",
        "a <= b < c",
        "(a < b) == c",
        "a == (b < c)",
        "(a < b < c) == d",
        "(if a then b else c) + 1",
        "a + (let u = 1 in u)",
        "(1).y",
        "a.y[1].x",
        "f(x, eps = 1e-6)",
        "sum(c in 0..D, q[c] * k[c])",
        "(13, (1, 2))",
        "max(c in 0.5..3, c)",
        "--a",
        "a - -b",
        "-(if a then b else c)",
        "(a, b)[0]",
        "true",
        "a % (b % c)",
        "(not a) == b",
        "(a + b)[c]",
        "-1^2",
        "a < b and b < c",
        "a and (b and c)",
    };
    for (size_t i = 0; i < sizeof canonical / sizeof canonical[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "def f() = %s\n", canonical[i]);
        expect_text(text, text);
    }
    expect_text("def f()=((a))+(b*c)", "def f() = a + b * c\n");
}

static void layout(void)
{
    expect_text("attention a{mask j<=i score s}attention b{}",
                "attention a {\n    mask j <= i\n    score s\n}\n\nattention b {\n}\n");
    expect_text("// head\n\n\n\n// about a\nattention a { // open\n\n  // lead\n  mask j <= i // tail\n\n\n  "
                "/* two\n lines */"
                " score s /* x */ // y\n // last\n} // end\n// final",
                "// head\n\n// about a\nattention a {  // open\n    // lead\n    mask j <= i  // tail\n\n"
                "    /* two\n lines */\n    score s  /* x */  // y\n    // last\n}  // end\n// final\n");
    expect_text("attention a { mask j <= i // first\n and doc[i] == doc[j] // second\n }",
                "attention a {\n    // first\n    mask j <= i and doc[i] == doc[j]  // second\n}\n");
    expect_text("def f(x)=let u=x in let v=u in u*v",
                "def f(x) =\n    let u = x in\n    let v = u in\n    u * v\n");
    expect_text("def f(x)=if x then 1 else if y then 2 else 3",
                "def f(x) =\n    if x then 1\n    else if y then 2\n    else 3\n");
    expect_text("def f() = 1\ndef g() = 2\n\ndef h() = 3", "def f() = 1\ndef g() = 2\n\ndef h() = 3\n");
    expect_text("attention a { schedule sm_90a { block_m = 128 block_n=64 } stream b { score s } }",
                "attention a {\n    schedule sm_90a {\n        block_m = 128\n        block_n = 64\n    }\n"
                "    stream b {\n        score s\n    }\n}\n");
    expect_text(
        "attention a { select blocks(b) top(k) by dot(q,mean(k)) always own,first(4) return lse,max }",
        "attention a {\n    select blocks(b) top(k) by dot(q, mean(k)) always own, first(4)\n"
        "    return lse, max\n}\n");
    expect_text("", "");
    expect_text("// alone", "// alone\n");
    expect_text("\xef\xbb\xbf" "def f() = 1 // crlf\r\n", "def f() = 1  // crlf\n");
}

static void long_lines(void)
{
    char text[4000] = "attention a { mask ";
    for (int i = 0; i < 20; i++)
        strcat(text, i ? " and some_long_name[i] <= other_name[j] + 1" : "j <= i");
    strcat(
        text,
        " score f(first_long_argument_of_it, (second_long_argument_of_it + 1) * 2, third = if condition_holds"
        " then one_result else another_result, fourth = -(aaaaaaaaaaaaaaaaaaaaaaaaa + bbbbbbbbbbbbbbbbbbb)) "
        "}");
    check_round_trip(text, strlen(text));
    char *printed = format(text, strlen(text));
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n"))
        CU_ASSERT(strlen(line) <= 100);
    free(printed);
}

static void errors_are_not_printed(void)
{
    Parsing parsing = parsing_text("attention a { mask } def f() = 1");
    CU_ASSERT_PTR_NULL(ast_print(parsing.arena, parsing.diag, &parsing.ast->files[0]));
    CU_ASSERT(strlen(node_print(parsing.arena, ast_main(parsing.ast))) > 0);
    parsing_end(&parsing);
}

static void one_line(void)
{
    Parsing parsing =
        parsing_text("import \"std/windows\" attention a over (y, x) { mask j <= i  param w: int = 3 "
                     "stream b { } }");
    CU_ASSERT_STRING_EQUAL(node_print(parsing.arena, ast_main(parsing.ast)),
                           "import \"std/windows\"  attention a over (y, x) { mask j <= i  param w: int = 3  "
                           "stream b { }  }");
    parsing_end(&parsing);
}

void print_suite(void)
{
    CU_pSuite suite = CU_add_suite("print", NULL, NULL);
    CU_add_test(suite, "files", files);
    CU_add_test(suite, "library", library);
    CU_add_test(suite, "expressions", expressions);
    CU_add_test(suite, "layout", layout);
    CU_add_test(suite, "long lines", long_lines);
    CU_add_test(suite, "errors", errors_are_not_printed);
    CU_add_test(suite, "one line", one_line);
}
