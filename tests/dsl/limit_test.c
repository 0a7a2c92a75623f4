/* Limits and hostile bytes: each has its own message, and nothing takes long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parsing.h"

/* head + count * (open) + middle + count * (close) + tail; expects the one error `text`, or none when NULL.
 */
static void expect(const char *head, const char *open, int count, const char *middle, const char *close,
                   const char *tail, const char *error)
{
    size_t room =
        strlen(head) + strlen(middle) + strlen(tail) + (strlen(open) + strlen(close)) * (size_t)count + 1;
    char *text = malloc(room), *at = text;
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    at = stpcpy(at, head);
    for (int i = 0; i < count; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, middle);
    for (int i = 0; i < count; i++)
        at = stpcpy(at, close);
    stpcpy(at, tail);
    clock_t start = clock();
    Parsing parsing = parsing_text(text);
    if (error) {
        CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
        CU_ASSERT_EQUAL(parsing.diag->errors, 1);
        if (!strstr(parsing_error(&parsing), error))
            printf("\n  %d * '%s': %s\n", count, open, parsing_error(&parsing));
        CU_ASSERT_PTR_NOT_NULL(strstr(parsing_error(&parsing), error));
    } else {
        if (parsing.status != DSL_OK)
            printf("\n  %d * '%s': %s\n", count, open, parsing_error(&parsing));
        CU_ASSERT_EQUAL(parsing.status, DSL_OK);
        char *printed = ast_print(parsing.arena, parsing.diag, &parsing.ast->files[0]);
        CU_ASSERT_PTR_NOT_NULL(printed);
    }
    CU_ASSERT((double)(clock() - start) / CLOCKS_PER_SEC < 5);
    parsing_end(&parsing);
    free(text);
}

static void nesting(void)
{
    static const char deep[] = "nested more than 256 deep";
    expect("def f() = ", "(", 200, "x", ")", "", NULL);
    expect("def f() = ", "(", 257, "x", ")", "", deep);
    expect("def f() = ", "(", 100000, "x", ")", "", deep);
    expect("def f() = ", "x[", 100000, "x", "]", "", deep);
    expect("def f() = ", "f(a, b = ", 120, "x", ")", "", NULL);
    expect("def f() = ", "f(a, ", 100000, "x", ")", "", deep);
    expect("def f() = ", "-", 200, "x", "", "", NULL);
    expect("def f() = ", "-", 100000, "x", "", "", deep);
    expect("def f() = ", "not ", 100000, "x", "", "", deep);
    expect("def f() = ", "x ^ ", 100000, "x", "", "", deep);
    expect("def f() = ", "x + ", 100000, "x", "", "", deep);
    expect("def f() = ", "x < ", 100000, "x", "", "", deep);
    expect("def f() = ", "let a = 1 in ", 70000, "x", "", "", deep);
    expect("def f() = ", "if a then b else ", 50000, "x", "", "", deep);
    expect("def f() = ", "if ", 50000, "x", " then y else z", "", deep);
    expect("attention a {", "stream b {", 90000, "", "}", "}", deep);
    expect("def f() = ", "(", 300000, "", "", "", deep);
}

static void nodes(void)
{
    static const char many[] = "more than 65536 nodes";
    expect("def f() = f(x", ", x", 60000, "", "", ")", NULL);
    expect("def f() = f(x", ", x", 66000, "", "", ")", many);
    expect("", "def f() = x ", 25000, "", "", "", many);
    expect("attention a {", "mask x ", 40000, "", "", "}", many);
    /* The middle of a chain is walked twice, so nested chains grow as powers of two. */
    expect("def f() = ", "0 < f(", 10, "x", ") < 1", "", NULL);
    expect("def f() = ", "0 < f(", 100, "x", ") < 1", "", many);
}

static void sizes(void)
{
    char *text = malloc(DSL_MAX_BYTES + 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, ' ', DSL_MAX_BYTES + 1);
    Parsing parsing = parsing_begin(text, DSL_MAX_BYTES, NULL);
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    parsing_end(&parsing);
    parsing = parsing_begin(text, DSL_MAX_BYTES + 1, NULL);
    CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
    CU_ASSERT_PTR_NOT_NULL(strstr(parsing_error(&parsing), "1 MiB"));
    parsing_end(&parsing);
    /* One token, one comment, one string, all errors. */
    static const char *const heads[] = {"def ", "// ", "/* ", "import \"", "def f() = "};
    static const char fill[] = {'a', 'a', '*', 'a', '9', '@', '.', '/', '"', '\n', '\\'};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        for (size_t c = 0; c < sizeof fill; c++) {
            memset(text, fill[c], DSL_MAX_BYTES);
            memcpy(text, heads[i], strlen(heads[i]));
            clock_t start = clock();
            parsing = parsing_begin(text, DSL_MAX_BYTES, NULL);
            CU_ASSERT_NOT_EQUAL(parsing.status, DSL_OUT_OF_MEMORY);
            CU_ASSERT((double)(clock() - start) / CLOCKS_PER_SEC < 10);
            CU_ASSERT_PTR_NOT_NULL(diag_to_text(parsing.diag));
            parsing_end(&parsing);
        }
    free(text);
}

static void tokens(void)
{
    expect("def f() = ", "a", 256, "", "", "", NULL);
    expect("def f() = ", "a", 257, "", "", "", "the name has 257 bytes; at most 256 are allowed");
    expect("def f() = ", "9", 257, "", "", "", "the number has 257 bytes");
    expect("def f() = 1.", "9", 257, "", "", "", "the number has 259 bytes");
    expect("def f() = 9223372036854775808", "", 0, "", "", "", "larger than 9223372036854775807");
    expect("def f() = 0x8000000000000000", "", 0, "", "", "", "larger than 9223372036854775807");
    expect("def f() = 1e309", "", 0, "", "", "", "too large");
}

static void bytes(void)
{
    static const struct { const char *text; size_t length; const char *error; } cases[] = {
        {"def f() = 1\0", 12, "a NUL byte (byte 0x00 at offset 11)"},
        {"\xff", 1, "invalid UTF-8 (byte 0xff at offset 0)"},
        {"// \xc3", 4, "invalid UTF-8"},
        {"// \xc0\x80", 5, "invalid UTF-8"},
        {"// \xe0\x80\x80", 6, "invalid UTF-8"},
        {"// \xed\xa0\x80", 6, "invalid UTF-8"},
        {"// \xf4\x90\x80\x80", 7, "invalid UTF-8"},
        {"// \xf0\x8f\x80\x80", 7, "invalid UTF-8"},
        {"// \xe2\x82", 5, "invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Parsing parsing = parsing_begin(cases[i].text, cases[i].length, NULL);
        CU_ASSERT_EQUAL(parsing.diag->errors, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(parsing_error(&parsing), cases[i].error));
        CU_ASSERT_PTR_NOT_NULL(diag_to_text(parsing.diag));
        parsing_end(&parsing);
    }
    Parsing parsing = parsing_text("// \xe2\x82\xac \xf0\x9f\x98\x80 \xc3\xa9");
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    parsing_end(&parsing);
}

void limit_suite(void)
{
    CU_pSuite suite = CU_add_suite("limits", NULL, NULL);
    CU_add_test(suite, "nesting", nesting);
    CU_add_test(suite, "nodes", nodes);
    CU_add_test(suite, "sizes", sizes);
    CU_add_test(suite, "tokens", tokens);
    CU_add_test(suite, "bytes", bytes);
}
