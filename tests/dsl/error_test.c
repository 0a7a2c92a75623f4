/* Golden errors: each `// error: text` in tests/dsl/errors/ wants an error on its line whose text, with its
 * fix, contains `text`; `// error(-1): text` wants it so many lines away. Several may share a line. Nothing
 * else may be reported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parsing.h"

enum { MOST = 200 };

typedef struct Wanted {
    int line;
    char text[200];
    bool met;
} Wanted;

static int read_wanted(const char *text, Wanted *wanted)
{
    int count = 0, line = 1;
    for (const char *at = text; *at; at++) {
        if (*at == '\n')
            line++;
        if (strncmp(at, "// error", 8) != 0 || count == MOST)
            continue;
        char *after = (char *)at + 8;
        int away = 0;
        if (*after == '(')
            away = (int)strtol(after + 1, &after, 10), after++;
        if (*after++ != ':')
            continue;
        after += strspn(after, " ");
        const char *next = strstr(after, " // error");
        size_t length = strcspn(after, "\r\n");
        if (next && (size_t)(next - after) < length)
            length = (size_t)(next - after);
        wanted[count].line = line + away;
        wanted[count].met = false;
        snprintf(wanted[count++].text, sizeof wanted->text, "%.*s", (int)length, after);
    }
    return count;
}

static void check_file(const char *path)
{
    size_t length;
    char *text = read_whole(path, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    static Wanted wanted[MOST];
    int count = read_wanted(text, wanted);
    CU_ASSERT(count > 0);
    Parsing parsing = parsing_begin(text, length, NULL);
    CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
    int errors = 0;
    for (const Message *message = parsing.diag->first; message; message = message->next) {
        if (message->severity != DIAG_ERROR)
            continue;
        errors++;
        int line, column, i;
        diag_locate(parsing.diag, message->span, &line, &column);
        for (i = 0; i < count; i++)
            if (!wanted[i].met && wanted[i].line == line &&
                (strstr(message->text, wanted[i].text) ||
                 (message->fix && strstr(message->fix, wanted[i].text))))
                break;
        if (i < count)
            wanted[i].met = true;
        else
            printf("\n%s:%d: not wanted: %s (%s)\n", path, line, message->text,
                   message->fix ? message->fix : "");
        CU_ASSERT(i < count);
    }
    for (int i = 0; i < count; i++) {
        if (!wanted[i].met)
            printf("\n%s:%d: missing: %s\n", path, wanted[i].line, wanted[i].text);
        CU_ASSERT(wanted[i].met);
    }
    CU_ASSERT_EQUAL(errors, count);
    parsing_end(&parsing);
    free(text);
}

static void golden(void)
{
    CU_ASSERT(each_file("errors", check_file) >= 5);
}

/* The tree of a text with errors still has what was right. */
static void recovery(void)
{
    Parsing parsing =
        parsing_text("attention a { mask j <= score s normalize sum }\nattention b { score t }");
    CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
    CU_ASSERT_EQUAL(parsing.diag->errors, 1);
    const Node *file = ast_main(parsing.ast);
    CU_ASSERT_EQUAL_FATAL(file->count, 2);
    CU_ASSERT_STRING_EQUAL(parsing_shape(&parsing, file->child[0]->child[1]),
                           "(list error (score s) (normalize sum))");
    CU_ASSERT_STRING_EQUAL(parsing_shape(&parsing, file->child[1]->child[1]), "(list (score t))");
    parsing_end(&parsing);
}

/* One whole message as a person sees it. */
static void whole_message(void)
{
    Parsing parsing = parsing_text("attention a {\n    mask j <=\n    scor s\n}\n");
    CU_ASSERT_STRING_EQUAL(diag_to_text(parsing.diag),
        "test.attn:3:10: error: expected '}', an operator or an item after 'scor', found 's'\n"
        "    3 |     scor s\n"
        "      |          ^\n");
    parsing_end(&parsing);
    parsing = parsing_text("attention a {\n    mask j <= i\n    scor s\n}\n");
    CU_ASSERT_STRING_EQUAL(diag_to_text(parsing.diag),
        "test.attn:3:5: error: expected '}', an operator or an item after 'i', found 'scor'\n"
        "    3 |     scor s\n"
        "      |     ^~~~\n"
        "      = did you mean 'score'?\n");
    parsing_end(&parsing);
}

void error_suite(void)
{
    CU_pSuite suite = CU_add_suite("errors", NULL, NULL);
    CU_add_test(suite, "golden", golden);
    CU_add_test(suite, "recovery", recovery);
    CU_add_test(suite, "whole message", whole_message);
}
