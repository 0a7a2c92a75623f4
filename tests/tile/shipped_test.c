/* The Programs that lowering makes of every shipped kernel: their text reads back as the same Program, and
 * their Kernel comes back from bytes. */
#include <CUnit/Basic.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "tests/pipeline/run_case.h"

static int files;

static void check_text(const Program *program, Diag *diag, Arena *arena)
{
    char *text = program_print(program, arena);
    Program *again = program_parse(arena, diag, diag_add_source(diag, "printed", text, strlen(text)));
    CU_ASSERT_PTR_NOT_NULL(again);
    if (!again)
        return;
    char *twice = program_print(again, arena);
    if (strcmp(text, twice) != 0)
        fprintf(stderr, "\n%s\n%s\n", text, twice);
    CU_ASSERT_STRING_EQUAL(text, twice);
    CU_ASSERT(program_verify(again, diag));
}

static void check_bytes(Kernel *kernel)
{
    size_t size = 0, again_size = 0;
    void *bytes = kernel_pack(kernel, &size), *again = NULL;
    Kernel *back = bytes ? kernel_unpack(bytes, size) : NULL;
    CU_ASSERT_PTR_NOT_NULL(back);
    again = back ? kernel_pack(back, &again_size) : NULL;
    CU_ASSERT(again && size == again_size && memcmp(bytes, again, size) == 0);
    kernel_destroy(back);
    free(bytes);
    free(again);
}

static int check_file(const char *path, const struct stat *info, int kind)
{
    size_t length = strlen(path);
    (void)info;
    if (kind != FTW_F || length < 5 || strcmp(path + length - 5, ".attn") != 0)
        return 0;
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Spec *spec = case_spec_file(arena, diag, path, NULL, 0);
    Target target;
    CU_ASSERT_FATAL(target_parse(diag, "interp", &target));
    CompileOptions options = {.target = &target, .elem = ELEM_TYPE_BF16, .D = 16, .E = 16};
    Program *program = spec ? compile_program(arena, diag, spec, &options) : NULL;
    Kernel *kernel = program ? compile_spec(arena, diag, spec, &options) : NULL;
    if (kernel) {
        files++;
        check_text(program, diag, arena);
        check_bytes(kernel);
    }
    bool later = spec && diag->errors && !strcmp(diag->first->id, "not-yet"); /* says so itself */
    if (diag->errors && !later)
        diag_print(diag, stderr, DIAG_TEXT, false);
    CU_ASSERT(later || (diag->errors == 0 && kernel));
    kernel_destroy(kernel);
    arena_destroy(arena);
    return 0;
}

static void shipped(void)
{
    ftw(KERNELS, check_file, 16);
    CU_ASSERT(files > 50);
}

int main(void)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_add_test(CU_add_suite("shipped", NULL, NULL), "shipped", shipped);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
