/* Golden messages: each `// error: text` or `// warning: text` in errors/ wants one on its line whose text,
 * with its fix, contains `text`; `// error(1): text` wants it a line further down. Nothing else may be
 * reported. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suites.h"
#include "tests/support/problem.h"

enum { MOST = 100 };

typedef struct Wanted {
    DiagSeverity severity;
    int line;
    char text[160];
    bool met;
} Wanted;

static int read_wanted(const char *text, Wanted *wanted)
{
    static const char *const words[] = {[DIAG_WARNING] = "// warning", [DIAG_ERROR] = "// error"};
    int count = 0, line = 1;
    for (const char *at = text; *at && count < MOST; at++) {
        line += *at == '\n';
        for (int severity = DIAG_WARNING; severity <= DIAG_ERROR; severity++) {
            size_t word = strlen(words[severity]);
            if (strncmp(at, words[severity], word))
                continue;
            char *after = (char *)at + word;
            long away = *after == '(' ? strtol(after + 1, &after, 10) : 0;
            after += *after == ')';
            if (*after++ != ':')
                continue;
            after += strspn(after, " ");
            size_t length = strcspn(after, "\n");
            for (size_t n = 0; n + 3 < length; n++)
                if (!strncmp(after + n, " // ", 4))
                    length = n;
            while (length && after[length - 1] == ' ')
                length--;
            wanted[count] = (Wanted){.severity = (DiagSeverity)severity, .line = line + (int)away};
            snprintf(wanted[count++].text, sizeof wanted->text, "%.*s", (int)length, after);
        }
    }
    return count;
}

static void check_file(const char *path)
{
    Problem *p = problem_open(path, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    char *text;
    size_t length;
    const char *why;
    CU_ASSERT_FATAL(dsl_read_file(p->arena, path, &text, &length, &why));
    Wanted *wanted = ARENA_ARRAY(p->arena, Wanted, MOST);
    int count = read_wanted(text, wanted);
    CU_ASSERT(count > 0);
    for (const Message *m = p->diag->first; m; m = m->next) {
        if (m->severity == DIAG_NOTE)
            continue;
        int line, column;
        bool expected = false;
        const char *all = arena_printf(p->arena, "%s = %s", m->text, m->fix ? m->fix : "");
        diag_locate(p->diag, m->span, &line, &column);
        for (int n = 0; n < count; n++)
            if (wanted[n].line == line && wanted[n].severity == m->severity && strstr(all, wanted[n].text))
                expected = wanted[n].met = true;
        if (!expected)
            fprintf(stderr, "%s:%d: not expected: %s\n", path, line, all);
        CU_ASSERT(expected);
    }
    for (int n = 0; n < count; n++) {
        if (!wanted[n].met)
            fprintf(stderr, "%s:%d: missing: %s\n", path, wanted[n].line, wanted[n].text);
        CU_ASSERT(wanted[n].met);
    }
    problem_destroy(p);
}

static void every_file(void)
{
    DIR *folder = opendir(SPEC_TESTS "/errors");
    struct dirent *file;
    int count = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    while ((file = readdir(folder))) {
        char path[600];
        snprintf(path, sizeof path, SPEC_TESTS "/errors/%s", file->d_name);
        if (file->d_name[0] == '.')
            continue;
        check_file(path);
        count++;
    }
    closedir(folder);
    CU_ASSERT(count >= 7);
}

/* valid/: every attention of every file checks without a message. */
static void valid_file(void)
{
    static const char *const names[] = {"line", "grid", "volume"};
    for (int n = 0; n < 3; n++) {
        Arena *arena = arena_create();
        Diag *diag = diag_create(arena);
        char *text;
        size_t length;
        const char *why;
        Ast *ast;
        CU_ASSERT_FATAL(dsl_read_file(arena, SPEC_TESTS "/valid/std.attn", &text, &length, &why));
        CU_ASSERT_EQUAL_FATAL(dsl_parse(diag, "std.attn", text, length, NULL, &ast), DSL_OK);
        CU_ASSERT_PTR_NOT_NULL(check_spec(arena, diag, ast, names[n], NULL, 0));
        if (diag->first)
            fputs(diag_to_text(diag), stderr);
        CU_ASSERT_PTR_NULL(diag->first);
        arena_destroy(arena);
    }
}

void golden_suite(void)
{
    CU_pSuite suite = CU_add_suite("messages", NULL, NULL);
    CU_add_test(suite, "golden errors and warnings", every_file);
    CU_add_test(suite, "the library has nothing to report", valid_file);
}
