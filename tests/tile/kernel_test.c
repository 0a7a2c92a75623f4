/* Kernels as bytes: what is packed comes back; damaged bytes are refused or harmless, whatever the checksum
 * says. */
#include <stdlib.h>
#include <string.h>

#include "tiling.h"

static Kernel *object_kernel(void)
{
    static const char code[] = "\x7f" "ELF, so to speak";
    Kernel *kernel = calloc(1, sizeof *kernel);
    *kernel = (Kernel){.format = KERNEL_OBJECT,
                       .name = "causal",
                       .target = "cpu:x86-64-v3",
                       .elem = ELEM_TYPE_BF16,
                       .D = 64,
                       .E = 128,
                       .rank = 2,
                       .phase_count = 1,
                       .tensor_count = 2,
                       .block_m = {4, 8},
                       .block_n = {16, 32},
                       .scratch_bytes = 4096,
                       .code_size = sizeof code};
    kernel->phases[0] = (KernelPhase){.entry = "causal_attend",
                                      .grid_count = 2,
                                      .grid = {{VAR_SIZE_B, -1, 1, 1}, {VAR_SIZE_M, -1, 32, 1}},
                                      .threads = 384,
                                      .shared_bytes = 200000,
                                      .persistent = true,
                                      .map_count = 2,
                                      .maps = {{1, 1, {64}, 128, true}, {0, 2, {8, 16}, 64, false}}};
    kernel->tensors[0] = (KernelTensor){"q", ROLE_Q, 0, ELEM_TYPE_BF16, 4, {{0, 0, 0, 0}}};
    kernel->tensors[1] =
        (KernelTensor){"part", ROLE_WORKSPACE, 0, ELEM_TYPE_F32, 1, {{VAR_SIZE_N, -1, 16, 2}}};
    kernel->code = memcpy(malloc(sizeof code), code, sizeof code);
    return kernel;
}

/* Of a Program in programs/; it stays in `t`'s arena, which the kernel takes over. */
static Kernel *program_kernel(const char *name)
{
    Tiling t;
    tiling_open(&t, name);
    const Program *p = t.program;
    Kernel *kernel = calloc(1, sizeof *kernel);
    *kernel = (Kernel){.format = KERNEL_PROGRAM,
                       .target = "interp",
                       .elem = ELEM_TYPE_F32,
                       .D = 4,
                       .E = 4,
                       .rank = p->rank,
                       .phase_count = p->phase_count,
                       .tensor_count = p->tensor_count,
                       .program = t.program,
                       .program_arena = t.arena};
    for (int k = 0; k < p->phase_count; k++) {
        kernel->phases[k].grid_count = p->phases[k].grid_count;
        for (int g = 0; g < p->phases[k].grid_count; g++)
            kernel->phases[k].grid[g] = p->phases[k].grid[g].extent;
    }
    for (int k = 0; k < p->tensor_count; k++) {
        KernelTensor *tensor = &kernel->tensors[k];
        snprintf(tensor->name, sizeof tensor->name, "%s", p->tensors[k].name);
        tensor->role = p->tensors[k].role;
        tensor->index = p->tensors[k].index;
        tensor->elem = p->tensors[k].elem;
        tensor->dim_count = p->tensors[k].dim_count;
        memcpy(tensor->extent, p->tensors[k].extent, sizeof tensor->extent);
    }
    return kernel;
}

static void there_and_back(void)
{
    size_t size, again_size;
    Kernel *kernel = object_kernel();
    void *bytes = kernel_pack(kernel, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    Kernel *back = kernel_unpack(bytes, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(back);
    CU_ASSERT_EQUAL(back->code_size, kernel->code_size);
    CU_ASSERT(memcmp(back->code, kernel->code, kernel->code_size) == 0);
    CU_ASSERT_STRING_EQUAL(back->target, kernel->target);
    CU_ASSERT_STRING_EQUAL(back->phases[0].entry, "causal_attend");
    CU_ASSERT_EQUAL(back->phases[0].grid[1].div, 32);
    CU_ASSERT_EQUAL(back->phases[0].threads, 384);
    CU_ASSERT_EQUAL(back->phases[0].shared_bytes, 200000);
    CU_ASSERT(back->phases[0].persistent && back->phases[0].maps[0].queries && !back->phases[0].maps[1].queries);
    CU_ASSERT_EQUAL(back->phases[0].map_count, 2);
    CU_ASSERT_EQUAL(back->phases[0].maps[1].box[1], 16);
    CU_ASSERT_EQUAL(back->phases[0].maps[1].width, 64);
    CU_ASSERT_EQUAL(back->tensors[1].extent[0].mul, 2);
    CU_ASSERT_EQUAL(back->block_n[1], 32);
    CU_ASSERT_EQUAL(back->scratch_bytes, 4096);
    void *again = kernel_pack(back, &again_size);
    CU_ASSERT(size == again_size && memcmp(bytes, again, size) == 0);
    free(bytes);
    free(again);
    kernel_destroy(kernel);
    kernel_destroy(back);
    kernel_destroy(NULL);
}

static void programs(void)
{
    static const char *const names[] = {"softmax", "linear", "minmax", "ragged"};
    for (int k = 0; k < 4; k++) {
        size_t size;
        Kernel *kernel = program_kernel(names[k]);
        void *bytes = kernel_pack(kernel, &size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        Kernel *back = kernel_unpack(bytes, size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(back);
        CU_ASSERT_STRING_EQUAL(program_print(back->program, back->program_arena),
                               program_print(kernel->program, kernel->program_arena));
        kernel_destroy(kernel);
        kernel_destroy(back);
        free(bytes);
    }
}

/* As the checksum is computed; damage is tried with it repaired too. */
static void repair(unsigned char *bytes, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t k = 24; k < size; k++)
        sum = (sum ^ bytes[k]) * 0x100000001b3;
    for (int k = 0; k < 8; k++)
        bytes[16 + k] = (unsigned char)(sum >> 8 * k);
}

/* Everything that a launch would read of it is within its bounds. */
static bool sane(const Kernel *kernel)
{
    bool good = (unsigned)kernel->format <= KERNEL_PTX && kernel->phase_count >= 0 &&
                kernel->phase_count <= 8 && kernel->tensor_count >= 0 &&
                kernel->tensor_count <= PROGRAM_MAX_TENSORS && kernel->scratch_bytes >= 0 &&
                (unsigned)kernel->elem <= ELEM_TYPE_F16 && kernel->rank >= 0 &&
                kernel->rank <= SPEC_MAX_RANK && memchr(kernel->name, 0, sizeof kernel->name) &&
                memchr(kernel->target, 0, sizeof kernel->target);
    int64_t slots[SLOT_COUNT_MAX] = {0};
    for (int k = 0; k < SLOT_SIZE_COUNT; k++)
        slots[k] = INT64_MAX;
    for (int k = 0; good && k < kernel->phase_count; k++) {
        const KernelPhase *phase = &kernel->phases[k];
        good = memchr(phase->entry, 0, sizeof phase->entry) && phase->grid_count >= 0 &&
               phase->grid_count <= PROGRAM_MAX_GRID;
        for (int g = 0; good && g < phase->grid_count; g++)
            good = phase->grid[g].div_knob < 0 && extent_value(&phase->grid[g], slots) > 0;
        good = good && phase->map_count >= 0 && phase->map_count <= KERNEL_MAX_MAPS;
        for (int n = 0; good && n < phase->map_count; n++)
            good = phase->maps[n].tensor >= 0 && phase->maps[n].tensor < kernel->tensor_count &&
                   phase->maps[n].rank >= 1 && phase->maps[n].rank <= SPEC_MAX_RANK;
    }
    for (int k = 0; good && k < kernel->tensor_count; k++) {
        const KernelTensor *tensor = &kernel->tensors[k];
        good = memchr(tensor->name, 0, sizeof tensor->name) && (unsigned)tensor->role < TENSOR_ROLE_COUNT &&
               (unsigned)tensor->elem <= ELEM_TYPE_F16 && tensor->dim_count >= 0 &&
               tensor->dim_count <= SPEC_MAX_DIMS &&
               !(tensor->role == ROLE_INPUT && (tensor->index < 0 || tensor->index >= SPEC_MAX_INPUTS));
        for (int d = 0; good && tensor->role >= ROLE_WORKSPACE && d < tensor->dim_count; d++)
            good = extent_value(&tensor->extent[d], slots) > 0;
    }
    if (kernel->format != KERNEL_PROGRAM)
        return good && kernel->code && !kernel->program;
    good = good && kernel->program && kernel->program->tensor_count == kernel->tensor_count;
    Arena *arena = arena_create();
    good = good && program_verify(kernel->program, diag_create(arena));
    arena_destroy(arena);
    return good;
}

static int damaged(const unsigned char *bytes, size_t size)
{
    unsigned char *copy =
        memcpy(malloc(size ? size : 1), bytes, size); /* of exactly this size: sanitizers see past it */
    Kernel *kernel = kernel_unpack(copy, size);
    if (kernel)
        CU_ASSERT(sane(kernel));
    int accepted = kernel != NULL;
    kernel_destroy(kernel);
    free(copy);
    return accepted;
}

static void damage(Kernel *kernel, bool every_bit)
{
    size_t size;
    unsigned char *bytes = kernel_pack(kernel, &size);
    int accepted = 0, repaired = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (size_t k = 0; k < size; k++)
        accepted += damaged(bytes, k); /* every truncation */
    for (size_t k = 0; k < size; k++) {
        unsigned char old = bytes[k];
        for (int bit = 0; bit < 8; bit += every_bit ? 1 : 7) {
            bytes[k] = (unsigned char)(old ^ 1 << bit);
            accepted += damaged(bytes, size);
        }
        bytes[k] = (unsigned char)~old;
        accepted += damaged(bytes, size);
        bytes[k] = old;
    }
    CU_ASSERT_EQUAL(accepted, 0); /* the checksum finds all of these */
    for (size_t k = 24; k < size; k++) {
        unsigned char old = bytes[k];
        for (int bit = 0; bit < 9; bit += every_bit ? 1 : 8) {
            bytes[k] = (unsigned char)(bit < 8 ? old ^ 1 << bit : ~old);
            repair(bytes, size);
            repaired += damaged(bytes, size);
        }
        bytes[k] = old;
    }
    CU_ASSERT(repaired > 0); /* a letter of a name, say */
    for (size_t k = 24; k < size; k++) {
        repair(bytes, k);
        CU_ASSERT_EQUAL(damaged(bytes, k), 0);
    }
    free(bytes);
    kernel_destroy(kernel);
}

static void damages(void)
{
    damage(object_kernel(), true);
    damage(program_kernel("minmax"), false);
}

/* A Program whose tensors are not the Kernel's. */
static void foreign_program(void)
{
    size_t size;
    Kernel *kernel = program_kernel("softmax");
    kernel->tensors[1].elem = ELEM_TYPE_F32;
    void *bytes = kernel_pack(kernel, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_PTR_NULL(kernel_unpack(bytes, size));
    free(bytes);
    kernel_destroy(kernel);
}

static void extents(void)
{
    int64_t slots[SLOT_COUNT_MAX] = {0};
    slots[slot_of_size(VAR_SIZE_M)] = 33;
    slots[slot_of_size(VAR_SIZE_N)] = INT64_MAX;
    slots[slot_of_size(VAR_OFFSET)] = -5;
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_SIZE_M, -1, 32, 1}, slots), 2);
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_SIZE_M, -1, 33, 4}, slots), 4);
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_SIZE_M, -1, 1, 1}, slots), 33);
    CU_ASSERT_EQUAL(extent_value(&(Extent){-1, -1, 1, 7}, slots), 7);
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_SIZE_B, -1, 16, 7}, slots), 0);
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_OFFSET, -1, 1, 1}, slots), 0);
    CU_ASSERT_EQUAL(extent_value(&(Extent){VAR_SIZE_N, -1, 1, 2}, slots), INT64_MAX);
}

void kernel_tests(void)
{
    CU_pSuite suite = CU_add_suite("kernel", NULL, NULL);
    CU_add_test(suite, "there and back", there_and_back);
    CU_add_test(suite, "programs", programs);
    CU_add_test(suite, "damages", damages);
    CU_add_test(suite, "foreign program", foreign_program);
    CU_add_test(suite, "extents", extents);
}
