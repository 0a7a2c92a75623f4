/* libFuzzer: any bytes are parsed and their messages printed; what parses without errors is printed, and that
 * text must parse to the same tree and print the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/dsl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Imports find the text itself or a fixed one. */
static bool find(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                 const char **why)
{
    (void)arena, (void)importer, (void)why;
    if (strcmp(path, "self") == 0)
        *found = *(DslText *)user;
    else
        *found = (DslText){"other", "def other(x) = x + 1\n", 21};
    return path[0] != 'n';
}

static void check_print(Arena *arena, const Diag *diag, const Ast *ast)
{
    char *once = ast_print(arena, diag, &ast->files[ast->file_count - 1]);
    Diag *second = diag_create(arena);
    DslOptions alone = {.keep_imports_closed = true};
    Ast *again;
    if (!once || dsl_parse(second, "printed", once, strlen(once), &alone, &again) != DSL_OK)
        abort();
    if (!node_equal(ast_main(ast), ast_main(again)))
        abort();
    char *twice = ast_print(arena, second, &again->files[0]);
    if (strcmp(once, twice) != 0)
        abort();
    node_print(arena, ast_main(ast));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    Arena *arena = arena_create();
    jmp_buf door;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        DslText self = {"self", (const char *)bytes, length};
        DslOptions options = {.resolve = find, .user = &self};
        Ast *ast;
        DslStatus status = dsl_parse(diag, "fuzz", (const char *)bytes, length, &options, &ast);
        diag_to_text(diag);
        static FILE *out;
        if (!out)
            out = fopen("/dev/null", "w");
        diag_print(diag, out, DIAG_JSON, false);
        if (status == DSL_OK)
            check_print(arena, diag, ast);
    }
    arena_destroy(arena);
    return 0;
}
