/* Diagnostics: places, carets, JSON, nearest names, limits. */
#include <stdlib.h>
#include <string.h>

#include "parsing.h"

static void places(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    const char *text = "ab\n\xc3\xa9x y\n\nlast";
    int file = diag_add_source(diag, "f", text, strlen(text));
    struct { uint32_t at; int line, column; } cases[] = {
        {0, 1, 1}, {2, 1, 3}, {3, 2, 1}, {5, 2, 2}, {7, 2, 4}, {8, 2, 5}, {9, 3, 1}, {10, 4, 1}, {14, 4, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int line, column;
        diag_locate(diag, (Span){file, cases[i].at, cases[i].at}, &line, &column);
        CU_ASSERT_EQUAL(line, cases[i].line);
        CU_ASSERT_EQUAL(column, cases[i].column);
    }
    int line, column;
    diag_locate(diag, SPAN_NONE, &line, &column);
    CU_ASSERT_EQUAL(line, 0);
    arena_destroy(arena);
}

static void text_form(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    const char *text = "one\n\ttwo \xc3\xa9\xc3\xa9 three\x1b[31m\n";
    int file = diag_add_source(diag, "dir/f.attn", text, strlen(text));
    Message *message = diag_error(diag, (Span){file, 9, 13}, "some-id", "bad \x1b value %d", 7);
    diag_fix(diag, message, "write %s", "9");
    diag_note(diag, (Span){file, 0, 3}, "see here");
    diag_warn(diag, SPAN_NONE, "odd", "no place");
    CU_ASSERT_STRING_EQUAL(diag_to_text(diag),
        "dir/f.attn:2:6: error: bad ? value 7\n"
        "    2 |  two \xc3\xa9\xc3\xa9 three?[31m\n"
        "      |      ^~\n"
        "      = write 9\n"
        "dir/f.attn:1:1: note: see here\n"
        "    1 | one\n"
        "      | ^~~\n"
        "warning: no place [-Wodd]\n");
    CU_ASSERT_EQUAL(diag->errors, 1);
    CU_ASSERT_EQUAL(diag->warnings, 1);
    arena_destroy(arena);
}

static void long_line(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    char *text = arena_alloc(arena, 10001);
    memset(text, 'a', 10000);
    text[5000] = 'X';
    int file = diag_add_source(diag, "f", text, 10000);
    diag_error(diag, (Span){file, 5000, 10000}, "id", "here");
    char *shown = diag_to_text(diag);
    char *line = strchr(shown, '\n') + 1, *caret = strchr(line, '^');
    CU_ASSERT(strlen(shown) < 400);
    CU_ASSERT_PTR_NOT_NULL_FATAL(caret);
    char *caret_line = strchr(line, '\n') + 1;
    CU_ASSERT_EQUAL(line[caret - caret_line], 'X');
    arena_destroy(arena);
}

static void json_form(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    int file = diag_add_source(diag, "a\"b\xff", "x\ny z", 5);
    Message *message = diag_error(diag, (Span){file, 2, 5}, "some-id", "tab\there");
    diag_fix(diag, message, "say \\ so");
    diag_warn(diag, SPAN_NONE, "odd", "no place");
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    diag_print(diag, out, DIAG_JSON, true);
    fclose(out);
    CU_ASSERT_STRING_EQUAL(text, "[\n"
                                 "  {\"severity\": \"error\", \"id\": \"some-id\", \"message\": "
                                 "\"tab\\u0009here\", \"fix\": \"say \\u005c so\", "
                                 "\"file\": \"a\\u0022b\\ufffd\", \"line\": 2, \"column\": 1, \"end_line\": "
                                 "2, \"end_column\": 4, \"begin\": 2, "
                                 "\"end\": 5},\n"
                                 "  {\"severity\": \"warning\", \"id\": \"odd\", \"message\": \"no place\"}\n"
                                 "]\n");
    free(text);
    arena_destroy(arena);
}

static void nearest(void)
{
    static const char *const names[] = {"mask", "score", "normalize", "i", "feature"};
    CU_ASSERT_STRING_EQUAL(diag_nearest("maks", names, 5), "mask");
    CU_ASSERT_STRING_EQUAL(diag_nearest("normalise", names, 5), "normalize");
    CU_ASSERT_STRING_EQUAL(diag_nearest("fature", names, 5), "feature");
    CU_ASSERT_PTR_NULL(diag_nearest("j", names, 5));
    CU_ASSERT_PTR_NULL(diag_nearest("window", names, 5));
    CU_ASSERT_PTR_NULL(diag_nearest("", names, 5));
    CU_ASSERT_PTR_NULL(diag_nearest("x", names, 0));
    char longer[4096];
    memset(longer, 'm', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    CU_ASSERT_PTR_NULL(diag_nearest(longer, names, 5));
}

static void limit(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    for (int i = 0; i < 60; i++) {
        Message *message = diag_error(diag, SPAN_NONE, "id", "number %d", i);
        CU_ASSERT_EQUAL(message != NULL, i < 50);
        diag_fix(diag, message, "fix");
        diag_note(diag, SPAN_NONE, "note");
    }
    int count = 0;
    for (const Message *message = diag->first; message; message = message->next)
        count++;
    CU_ASSERT_EQUAL(count, 100);
    CU_ASSERT_EQUAL(diag->errors, 60);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag_to_text(diag), "10 more errors not shown"));
    diag_out_of_memory(diag);
    diag_out_of_memory(diag);
    CU_ASSERT_STRING_EQUAL(diag->last->text, "out of memory");
    CU_ASSERT_PTR_NULL(diag->last->next);
    arena_destroy(arena);
}

static void strict(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    diag->warnings_are_errors = true;
    diag_warn(diag, SPAN_NONE, "odd", "text");
    CU_ASSERT_EQUAL(diag->errors, 1);
    CU_ASSERT_EQUAL(diag->first->severity, DIAG_ERROR);
    arena_destroy(arena);
}

void diag_suite(void)
{
    CU_pSuite suite = CU_add_suite("diag", NULL, NULL);
    CU_add_test(suite, "places", places);
    CU_add_test(suite, "text form", text_form);
    CU_add_test(suite, "long line", long_line);
    CU_add_test(suite, "json form", json_form);
    CU_add_test(suite, "nearest", nearest);
    CU_add_test(suite, "limit", limit);
    CU_add_test(suite, "warnings as errors", strict);
}
