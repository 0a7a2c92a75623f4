/* Every allocation of reading, checking, printing, running, packing and unpacking a Program fails in turn: it
 * ends as "out of memory" or NULL, and everything allocated is freed. The allocator is wrapped by the linker.
 */
#include <stdlib.h>
#include <string.h>

#include "tiling.h"

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

static char *text;
static size_t text_length;
static int64_t slots[SLOT_COUNT_MAX];

/* True when all of it was done. */
static bool read_and_print(void)
{
    volatile bool done = false;
    Arena *arena = arena_create();
    if (!arena)
        return false;
    jmp_buf door;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        Program *program = program_parse(arena, diag, diag_add_source(diag, "memory", text, text_length));
        CU_ASSERT_PTR_NOT_NULL(program);
        CU_ASSERT(program_verify(program, diag));
        program_print(program, arena);
        done = true;
    }
    arena_destroy(arena);
    return done;
}

/* The Program and the Diag stay: only what the run allocates fails. */
static bool run_once(void)
{
    Tiling t;
    bool before = counting;
    counting = false;
    tiling_parse(&t, "memory", text, text_length);
    counting = before;
    bool done = program_run(t.program, slots, t.diag);
    counting = false;
    if (!done)
        CU_ASSERT_PTR_NOT_NULL(strstr(diag_to_text(t.diag), "error: out of memory"));
    tiling_close(&t);
    counting = before;
    return done;
}

static bool pack_and_unpack(void)
{
    static Kernel kernel;
    size_t size;
    Tiling t;
    bool before = counting;
    counting = false;
    tiling_parse(&t, "memory", text, text_length);
    kernel = (Kernel){.format = KERNEL_PROGRAM, .program = t.program, .tensor_count = t.program->tensor_count,
                      .phase_count = t.program->phase_count};
    for (int k = 0; k < kernel.tensor_count; k++) {
        const Tensor *tensor = &t.program->tensors[k];
        kernel.tensors[k] =
            (KernelTensor){"", tensor->role, tensor->index, tensor->elem, tensor->dim_count, {{0}}};
        memcpy(kernel.tensors[k].extent, tensor->extent, sizeof tensor->extent);
    }
    counting = before;
    void *bytes = kernel_pack(&kernel, &size);
    Kernel *back = bytes ? kernel_unpack(bytes, size) : NULL;
    bool done = back != NULL;
    kernel_destroy(back);
    free(bytes);
    counting = false;
    tiling_close(&t);
    counting = before;
    return done;
}

static void every_allocation(bool (*work)(void), int least)
{
    static bool done;
    int failures = 0;
    for (fail_at = 0;; fail_at++) {
        asked = live = 0;
        counting = true;
        done = work();
        counting = false;
        CU_ASSERT_EQUAL(live, 0);
        if (asked <= fail_at)
            break; /* nothing failed any more */
        CU_ASSERT(!done);
        failures++;
    }
    CU_ASSERT(done);
    CU_ASSERT(failures >= least);
}

static void reads(void) { every_allocation(read_and_print, 3); }
static void runs(void) { every_allocation(run_once, 3); }
static void packs(void) { every_allocation(pack_and_unpack, 6); }

int main(void)
{
    static float tensors[5][2 * 2 * 16 * 16];
    if (CU_initialize_registry() != CUE_SUCCESS || !(text = tiling_read("softmax", &text_length)))
        return 2;
    static const int64_t sizes[] = {1, 2, 2, 16, 16, 12, 6};
    memcpy(slots, sizes, sizeof sizes);
    for (int k = 0; k < 5; k++) {
        int64_t *slot = slots + slot_of_tensor(k);
        *slot = (int64_t)(intptr_t)tensors[k];
        slot[1] = slot[2] = 12 * 16;
        slot[3] = 12;
        slot[4] = 1;
    }
    CU_pSuite suite = CU_add_suite("allocation failure", NULL, NULL);
    CU_add_test(suite, "reads", reads);
    CU_add_test(suite, "runs", runs);
    CU_add_test(suite, "packs", packs);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    free(text);
    return failed ? 1 : 0;
}
