/* Every allocation of a check and of a run of the reference fails in turn: nothing leaks, and the failure
 * arrives where it should. The allocator is wrapped by the linker; the arena takes large chunks, so the texts
 * are long. */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/spec/check.h"
#include "compiler/spec/reference.h"

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

static bool may_allocate(void) { return !counting || asked++ != fail_at; }

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

enum { TOKENS = 300, WIDTH = 64 };
static float data[TOKENS * WIDTH];
static double o[TOKENS * 2 * WIDTH];

static bool run_reference(const Spec *spec)
{
    RefTensor tensor = {data, ELEM_TYPE_F32, {0, 0, WIDTH, 1}};
    RefProblem problem = {.B = 1, .H = 1, .G = 1, .M = TOKENS, .N = TOKENS, .D = WIDTH, .E = WIDTH,
                          .q = tensor, .k = tensor, .v = tensor};
    RefResult result = {.o = o};
    return reference_run(spec, &problem, true, ELEM_TYPE_F32, 100, &result);
}

/* The whole way from text to numbers; false when an allocation failed, wherever that was. */
static bool run(const char *text, bool checks)
{
    Arena *arena = arena_create();
    bool finished = false;
    jmp_buf door;
    if (!arena)
        return false;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        Ast *ast;
        if (dsl_parse(diag, "memory.attn", text, strlen(text), NULL, &ast) == DSL_OK) {
            Spec *spec = check_spec(arena, diag, ast, NULL, NULL, 0);
            diag_to_text(diag);
            CU_ASSERT_EQUAL(spec != NULL, checks);
            finished = !spec || (spec_canonical(spec) && run_reference(spec));
        }
    }
    arena_destroy(arena);
    return finished;
}

static void every_allocation(const char *text, bool checks, int least)
{
    int failures = 0;
    bool finished;
    for (fail_at = 0;; fail_at++) {
        asked = live = 0;
        counting = true;
        finished = run(text, checks);
        counting = false;
        CU_ASSERT_EQUAL(live, 0);
        if (asked <= fail_at)
            break; /* nothing failed any more */
        CU_ASSERT_FALSE(finished);
        failures++;
    }
    CU_ASSERT(finished);
    CU_ASSERT(failures >= least);
}

static char *repeat(const char *head, const char *unit, int count, const char *tail)
{
    char *text = malloc(strlen(head) + strlen(unit) * (size_t)count + strlen(tail) + 1),
         *at = stpcpy(text, head);
    for (int n = 0; n < count; n++)
        at = stpcpy(at, unit);
    stpcpy(at, tail);
    return text;
}

static void checks(void)
{
    char *text =
        repeat("import \"std/features\" attention a { feature q, k = rope(x, t, 100) feature v = concat(x, x)"
               " mask j <= i score s",
               " + dot(q, k) * tanh(s + i)", 200, " }");
    every_allocation(text, true, 8);
    free(text);
}

static void errors(void)
{
    char *text = repeat("attention a { ", "mask nobody(j) and 1 + true > ii and s\n", 1000, " }");
    every_allocation(text, false, 4);
    free(text);
}

int main(void)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite("allocation failure", NULL, NULL);
    CU_add_test(suite, "checks and runs", checks);
    CU_add_test(suite, "errors", errors);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
