/* Imports: the library, a resolver, files, cycles, missing files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parsing.h"

typedef struct Memory {
    const char *name, *text;
} Memory;

/* Files in memory; "broken" says why. */
static bool find(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                 const char **why)
{
    (void)arena, (void)importer;
    if (strcmp(path, "broken") == 0)
        *why = "disk on fire";
    for (const Memory *file = user; file->name; file++)
        if (strcmp(file->name, path) == 0) {
            *found = (DslText){file->name, file->text, strlen(file->text)};
            return true;
        }
    return false;
}

static Parsing parse_with(const Memory *files, const char *text)
{
    DslOptions options = {.resolve = find, .user = (void *)files};
    return parsing_begin(text, strlen(text), &options);
}

static void order(void)
{
    const Memory files[] = {
        {"a", "import \"c\" def a() = 1"}, {"b", "import \"c\" import \"a\""}, {"c", ""}, {0}};
    Parsing parsing =
        parse_with(files, "import \"b\" import \"a\" import \"std/windows\" import \"std/windows.attn\"");
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    CU_ASSERT_EQUAL_FATAL(parsing.ast->file_count, 5);
    static const char *const names[] = {"c", "a", "b", "std/windows", "test.attn"};
    for (int i = 0; i < 5; i++)
        CU_ASSERT_STRING_EQUAL(parsing.ast->files[i].node->name, names[i]);
    const Node *main_file = ast_main(parsing.ast);
    CU_ASSERT_PTR_EQUAL(main_file->child[1]->child[0], parsing.ast->files[1].node);
    CU_ASSERT_PTR_EQUAL(main_file->child[2]->child[0], main_file->child[3]->child[0]);
    parsing_end(&parsing);
}

static void cycles(void)
{
    const Memory files[] = {{"a", "import \"b\""}, {"b", "import \"c\""}, {"c", "import \"a\""},
                            {"self", "import \"self\""}, {0}};
    Parsing parsing = parse_with(files, "import \"a\"");
    CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
    CU_ASSERT_EQUAL(parsing.diag->errors, 1);
    CU_ASSERT_STRING_EQUAL(parsing_error(&parsing),
                           "a imports b imports c imports a: imports must not form a cycle");
    CU_ASSERT_STRING_EQUAL(parsing.diag->sources[parsing.diag->first->span.file].name, "c");
    /* ... and how one got there. */
    int notes = 0;
    for (const Message *message = parsing.diag->first; message; message = message->next)
        notes += message->severity == DIAG_NOTE;
    CU_ASSERT_EQUAL(notes, 3);
    parsing_end(&parsing);
    parsing = parse_with(files, "import \"self\"");
    CU_ASSERT_STRING_EQUAL(parsing_error(&parsing), "self imports self: imports must not form a cycle");
    parsing_end(&parsing);
}

static void missing(void)
{
    const Memory files[] = {{"a", "\n\ndef f( = 1"}, {0}};
    Parsing parsing =
        parse_with(files, "import \"nowhere\"\nimport \"std/windws\"\nimport \"broken\"\nimport \"a\"");
    CU_ASSERT_EQUAL(parsing.diag->errors, 4);
    char *text = diag_to_text(parsing.diag);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "test.attn:1:8: error: cannot import \"nowhere\": no such file"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "test.attn:2:8: error: cannot import \"std/windws\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "did you mean \"std/windows\"?"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "cannot import \"broken\": disk on fire"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "a:3:8: error: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "test.attn:4:8: note: \"a\" is imported here"));
    parsing_end(&parsing);
    parsing = parsing_text("import \"a\"");
    CU_ASSERT_EQUAL(parsing.status, DSL_HAS_ERRORS);
    parsing_end(&parsing);
    DslOptions alone = {.keep_imports_closed = true};
    parsing = parsing_begin("import \"a\"", 10, &alone);
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    parsing_end(&parsing);
}

static bool endless(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                    const char **why)
{
    (void)importer, (void)path, (void)why;
    int *count = user;
    ++*count;
    char *text = arena_printf(arena, "import \"%d\"", *count);
    *found = (DslText){arena_printf(arena, "file %d", *count), text, strlen(text)};
    return true;
}

static void too_many(void)
{
    int count = 0;
    DslOptions options = {.resolve = endless, .user = &count};
    Parsing parsing = parsing_begin("import \"x\"", 10, &options);
    CU_ASSERT_STRING_EQUAL(parsing_error(&parsing), "more than 256 files are imported");
    parsing_end(&parsing);
}

static void write_file(const char *root, const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void files_on_disk(void)
{
    char root[] = "/tmp/attune-import-XXXXXX", path[1024];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
    static const char *const folders[] = {"sub", "lib", "sub/folder.attn"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        mkdir(path, 0700);
    }
    write_file(root, "main.attn", "");
    write_file(root, "sub/a.attn", "import \"b\" import \"../sub/./b.attn\" import \"shared\"");
    write_file(root, "sub/b.attn", "import \"../top\"");
    write_file(root, "top.attn", "def top() = 1");
    write_file(root, "lib/shared.attn", "def shared() = 1");
    char directory[1024];
    snprintf(directory, sizeof directory, "%s/lib", root);
    const char *const directories[] = {"/nonexistent", directory};
    DslPaths paths = {directories, 2};
    DslOptions options = {.resolve = dsl_resolve_file, .user = &paths};
    snprintf(path, sizeof path, "%s/main.attn", root);
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Ast *ast;
    const char *text = "import \"sub/a\" import \"top.attn\"";
    CU_ASSERT_EQUAL(dsl_parse(diag, path, text, strlen(text), &options, &ast), DSL_OK);
    CU_ASSERT_EQUAL(ast->file_count, 5); /* top, b, shared, a, main: each once */
    text = "import \"sub/folder\" import \"sub/none\"";
    CU_ASSERT_EQUAL(dsl_parse(diag, path, text, strlen(text), &options, &ast), DSL_HAS_ERRORS);
    char *messages = diag_to_text(diag);
    CU_ASSERT_PTR_NOT_NULL(strstr(messages, "cannot import \"sub/folder\": is a directory"));
    CU_ASSERT_PTR_NOT_NULL(strstr(messages, "cannot import \"sub/none\": no such file"));
    arena_destroy(arena);
    static const char *const made[] = {"main.attn", "sub/a.attn", "sub/b.attn", "top.attn", "lib/shared.attn",
                                       "sub/folder.attn", "sub", "lib", ""};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", root, made[i]);
        remove(path);
    }
}

void import_suite(void)
{
    CU_pSuite suite = CU_add_suite("imports", NULL, NULL);
    CU_add_test(suite, "order", order);
    CU_add_test(suite, "cycles", cycles);
    CU_add_test(suite, "missing", missing);
    CU_add_test(suite, "too many", too_many);
    CU_add_test(suite, "files", files_on_disk);
}
