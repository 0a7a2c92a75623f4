/* Every allocation of a parse, its printing and its messages fails in turn: it is reported as "out of
 * memory", and everything allocated is freed. The allocator is wrapped by the linker. */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "dsl/dsl.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

static bool counting;
static long asked, fail_at, live;

/* Counts one allocation; false: it is to fail. */
static bool may_allocate(void)
{
    return !counting || asked++ != fail_at;
}

void *__wrap_malloc(size_t size)
{
    void *block = may_allocate() ? __real_malloc(size) : NULL;
    live += counting && block;
    return block;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *block = may_allocate() ? __real_calloc(count, size) : NULL;
    live += counting && block;
    return block;
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block = may_allocate() ? __real_realloc(old, size) : NULL;
    live += counting && block && !old;
    return block;
}

void __wrap_free(void *block)
{
    live -= counting && block;
    __real_free(block);
}

static bool find(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                 const char **why)
{
    (void)user, (void)importer, (void)why;
    *found = (DslText){path, arena_strdup(arena, "def other(x) = x + 1"), 20};
    return true;
}

typedef enum { NO_ARENA, OUT_OF_MEMORY, FINISHED } Outcome;

/* One whole run. */
static Outcome run(const char *text)
{
    Arena *arena = arena_create();
    if (!arena)
        return NO_ARENA;
    Outcome outcome = OUT_OF_MEMORY;
    jmp_buf door;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        Ast *ast;
        DslOptions options = {.resolve = find};
        DslStatus status = dsl_parse(diag, "memory.attn", text, strlen(text), &options, &ast);
        if (status == DSL_OUT_OF_MEMORY) {
            /* Printing to a file needs no memory of ours. */
            static char buffer[1 << 16];
            bool before = counting;
            counting = false;
            FILE *out = fmemopen(buffer, sizeof buffer, "w");
            diag_print(diag, out, DIAG_TEXT, false);
            fclose(out);
            counting = before;
            CU_ASSERT_PTR_NULL(ast);
            CU_ASSERT_PTR_NOT_NULL(strstr(buffer, "error: out of memory"));
        } else {
            diag_to_text(diag);
            ast_print(arena, diag, &ast->files[ast->file_count - 1]);
            outcome = FINISHED;
        }
    }
    arena_destroy(arena);
    return outcome;
}

static void every_allocation(const char *text, int least)
{
    static Outcome outcome;
    int failures = 0;
    for (fail_at = 0;; fail_at++) {
        asked = live = 0;
        counting = true;
        outcome = run(text);
        counting = false;
        CU_ASSERT_EQUAL(live, 0);
        if (asked <= fail_at)
            break; /* nothing failed any more */
        CU_ASSERT_NOT_EQUAL(outcome, FINISHED);
        failures++;
    }
    CU_ASSERT_EQUAL(outcome, FINISHED);
    CU_ASSERT(failures >= least);
}

/* The arena takes large chunks; texts long enough to need several. */
static char *repeat(const char *head, const char *unit, int count, const char *tail)
{
    char *text = malloc(strlen(head) + strlen(unit) * (size_t)count + strlen(tail) + 1),
         *at = stpcpy(text, head);
    for (int i = 0; i < count; i++)
        at = stpcpy(at, unit);
    stpcpy(at, tail);
    return text;
}

static void parses(void)
{
    char *text =
        repeat("import \"std/windows\" import \"other\" attention a {",
               "// comment\n mask j <= i < 4 and f(x, eps = 1e-6)[3].y or let u = sum(c in 0..D, c) in u\n",
               3000, "schedule t { a = 1 } }");
    every_allocation(text, 10);
    free(text);
}

static void deep(void)
{
    char *text = repeat("def f() = ", "(f(a, ", 100, "x");
    every_allocation(text, 2);
    free(text);
    text = repeat("def f() = ", "- ", 9000, "x");
    every_allocation(text, 2);
    free(text);
}

static void errors(void)
{
    char *text = repeat("import \"std/window\" attention a {", "mask j <= score scor 12abc ; $\n", 4000, "");
    every_allocation(text, 5);
    free(text);
}

int main(void)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite("allocation failure", NULL, NULL);
    CU_add_test(suite, "parses", parses);
    CU_add_test(suite, "deep", deep);
    CU_add_test(suite, "errors", errors);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
