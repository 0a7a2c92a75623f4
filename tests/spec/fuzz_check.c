/* libFuzzer: what parses is checked, every attention of it; a Spec is printed in both ways, and its messages
 * too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/spec/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const SpecSetting settings[] = {{"window", "7"}, {"kernel", "(3, 5)"}};
    Arena *arena = arena_create();
    jmp_buf door;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        Ast *ast;
        if (dsl_parse(diag, "fuzz", (const char *)bytes, length, NULL, &ast) == DSL_OK) {
            Spec *spec = check_spec(arena, diag, ast, NULL, NULL, 0);
            if ((spec == NULL) != (diag->errors > 0))
                abort();
            if (spec) {
                spec_print(spec);
                if (!spec_canonical(spec))
                    abort();
            }
            const Node *file = ast_main(ast);
            for (int n = 0; n < file->count && n < 4; n++)
                if (file->child[n]->kind == NODE_ATTENTION)
                    check_spec(arena, diag, ast, file->child[n]->name, settings, 2);
        }
        diag_to_text(diag);
    }
    arena_destroy(arena);
    return 0;
}
