/* Kernels as values: extents, freeing, and the byte string that the cache keeps.
 *
 * Bytes: magic, version, checksum of the rest, then the fields in the order of the struct, little-endian, 64
 * bits a number, strings and code with their length in front; only as many phases, tensors and dimensions as
 * there are. A Program is packed as its text. Reading checks everything that a launch would rely on: the
 * checksum finds accidents, the checks keep anything else harmless. */
#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACK_VERSION = 2, PACK_HEAD = 24 };
static const char pack_magic[8] = {'a', 't', 't', 'u', 'n', 'e', 'K', '\n'};

int64_t extent_value(const Extent *extent, const int64_t *slots)
{
    int64_t size = extent->size < 0 ? 1 : slots[slot_of_size((VarId)extent->size)], value;
    if (size <= 0)
        return 0;
    if (__builtin_mul_overflow((size - 1) / (extent->div > 0 ? extent->div : 1) + 1, extent->mul, &value))
        return INT64_MAX;
    return value > 0 ? value : 0;
}

void kernel_describe(Kernel *kernel, const Program *program)
{
    snprintf(kernel->name, sizeof kernel->name, "%s", program->name);
    kernel->rank = program->rank;
    kernel->phase_count = program->phase_count;
    for (int p = 0; p < program->phase_count; p++) {
        const Phase *phase = &program->phases[p];
        snprintf(kernel->phases[p].entry, sizeof kernel->phases[p].entry, "%.47s_%.47s", program->name,
                 phase->name);
        kernel->phases[p].grid_count = phase->grid_count;
        for (int g = 0; g < phase->grid_count; g++)
            kernel->phases[p].grid[g] = phase->grid[g].extent;
    }
    kernel->tensor_count = program->tensor_count;
    for (int t = 0; t < program->tensor_count; t++) {
        const Tensor *tensor = &program->tensors[t];
        KernelTensor *out = &kernel->tensors[t];
        snprintf(out->name, sizeof out->name, "%s", tensor->name);
        out->role = tensor->role;
        out->index = tensor->index;
        out->elem = tensor->elem;
        out->dim_count = tensor->dim_count;
        memcpy(out->extent, tensor->extent, sizeof out->extent);
    }
    static const char *const names[2][SPEC_MAX_RANK] = {{"block_m", "block_m1", "block_m2"},
                                                        {"block_n", "block_n1", "block_n2"}};
    for (int k = 0; k < program->knob_count; k++)
        for (int a = 0; a < SPEC_MAX_RANK; a++)
            for (int side = 0; side < 2; side++)
                if (!strcmp(program->knobs[k].name, names[side][a]))
                    (side ? kernel->block_n : kernel->block_m)[a] = program->knobs[k].value;
    for (int k = 0; k < program->knob_count; k++)
        if (!strcmp(program->knobs[k].name, "chunk") || !strcmp(program->knobs[k].name, "step"))
            kernel->block_m[0] = kernel->block_n[0] = program->knobs[k].value;
}

void kernel_destroy(Kernel *kernel)
{
    if (!kernel)
        return;
    arena_destroy(kernel->program_arena);
    free(kernel->code);
    free(kernel);
}

static uint64_t checksum(const unsigned char *bytes, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t k = 0; k < size; k++)
        sum = (sum ^ bytes[k]) * 0x100000001b3;
    return sum;
}

static void put_number(unsigned char *to, uint64_t value)
{
    for (int k = 0; k < 8; k++)
        to[k] = (unsigned char)(value >> 8 * k);
}

static uint64_t get_number(const unsigned char *from)
{
    uint64_t value = 0;
    for (int k = 0; k < 8; k++)
        value |= (uint64_t)from[k] << 8 * k;
    return value;
}

/* One walk over the fields serves both directions, so that they cannot disagree. */
typedef struct Pack {
    unsigned char *bytes;
    size_t at, size; /* size: when reading, the end; when writing, what is allocated */
    bool reading, failed;
} Pack;

static void pack_raw(Pack *pack, void *data, size_t size)
{
    if (!pack->failed && pack->size - pack->at < size) {
        size_t want = pack->size * 2 > pack->at + size ? pack->size * 2 : pack->at + size;
        unsigned char *grown = pack->reading ? NULL : realloc(pack->bytes, want);
        pack->failed = !grown;
        if (grown) {
            pack->bytes = grown;
            pack->size = want;
        }
    }
    if (pack->failed || !size)
        return;
    if (pack->reading)
        memcpy(data, pack->bytes + pack->at, size);
    else
        memcpy(pack->bytes + pack->at, data, size);
    pack->at += size;
}

static int64_t pack_number(Pack *pack, int64_t value, int64_t lowest, int64_t highest)
{
    unsigned char bytes[8];
    put_number(bytes, (uint64_t)value);
    pack_raw(pack, bytes, sizeof bytes);
    if (pack->failed)
        return lowest;
    value = (int64_t)get_number(bytes);
    if (value >= lowest && value <= highest)
        return value;
    pack->failed = true;
    return lowest;
}

static void pack_string(Pack *pack, char *text, size_t room)
{
    size_t length = pack->reading ? 0 : strnlen(text, room);
    length = (size_t)pack_number(pack, (int64_t)length, 0, (int64_t)room - 1);
    pack_raw(pack, text, length);
    if (!pack->reading)
        return;
    text[length] = '\0';
    if (strlen(text) != length)
        pack->failed = true;
}

/* `used`: a launch computes with it. */
static void pack_extent(Pack *pack, Extent *extent, bool used)
{
    extent->size = (int)pack_number(pack, extent->size < 0 ? -1 : extent->size, -1, INT32_MAX);
    extent->div_knob = (int)pack_number(pack, extent->div_knob, INT32_MIN, used ? -1 : INT32_MAX);
    extent->div = pack_number(pack, extent->div, used ? 1 : INT64_MIN, INT64_MAX);
    extent->mul = pack_number(pack, extent->mul, used ? 1 : INT64_MIN, INT64_MAX);
    if (used && (extent->size > VAR_OFFSET || (extent->size >= 0 && extent->size < VAR_SIZE_B)))
        pack->failed = true;
}

static void pack_tensor(Pack *pack, KernelTensor *tensor)
{
    pack_string(pack, tensor->name, sizeof tensor->name);
    tensor->role = (TensorRole)pack_number(pack, tensor->role, 0, TENSOR_ROLE_COUNT - 1);
    int64_t highest = tensor->role == ROLE_INPUT       ? SPEC_MAX_INPUTS - 1
                      : tensor->role == ROLE_RETURN    ? RETURN_KIND_COUNT - 1
                      : tensor->role == ROLE_WORKSPACE ? PROGRAM_MAX_TENSORS - 1
                      : tensor->role == ROLE_STATE     ? STATE_OUT
                                                       : INT32_MAX;
    tensor->index = (int)pack_number(pack, tensor->index, highest == INT32_MAX ? INT32_MIN : 0, highest);
    tensor->elem = (ElemType)pack_number(pack, tensor->elem, 0, ELEM_TYPE_F16);
    tensor->dim_count = (int)pack_number(pack, tensor->dim_count, 0, SPEC_MAX_DIMS);
    for (int d = 0; d < tensor->dim_count; d++)
        pack_extent(pack, &tensor->extent[d], tensor->role >= ROLE_WORKSPACE);
}

static void pack_map(Pack *pack, KernelMap *map)
{
    map->tensor = (int)pack_number(pack, map->tensor, 0, PROGRAM_MAX_TENSORS - 1);
    map->rank = (int)pack_number(pack, map->rank, 1, SPEC_MAX_RANK);
    for (int axis = 0; axis < map->rank; axis++)
        map->box[axis] = (int)pack_number(pack, map->box[axis], 1, INT32_MAX);
    map->width = (int)pack_number(pack, map->width, 1, INT32_MAX);
    map->queries = pack_number(pack, map->queries, 0, 1);
}

static void pack_phase(Pack *pack, KernelPhase *phase)
{
    pack_string(pack, phase->entry, sizeof phase->entry);
    phase->grid_count = (int)pack_number(pack, phase->grid_count, 0, PROGRAM_MAX_GRID);
    for (int g = 0; g < phase->grid_count; g++)
        pack_extent(pack, &phase->grid[g], true);
    phase->threads = (int)pack_number(pack, phase->threads, 0, INT32_MAX);
    phase->shared_bytes = (int)pack_number(pack, phase->shared_bytes, 0, INT32_MAX);
    phase->persistent = pack_number(pack, phase->persistent, 0, 1);
    phase->map_count = (int)pack_number(pack, phase->map_count, 0, KERNEL_MAX_MAPS);
    for (int k = 0; k < phase->map_count; k++)
        pack_map(pack, &phase->maps[k]);
}

static void pack_fields(Pack *pack, Kernel *kernel)
{
    kernel->format = (KernelFormat)pack_number(pack, kernel->format, 0, KERNEL_PTX);
    pack_string(pack, kernel->name, sizeof kernel->name);
    pack_string(pack, kernel->target, sizeof kernel->target);
    kernel->elem = (ElemType)pack_number(pack, kernel->elem, 0, ELEM_TYPE_F16);
    kernel->D = pack_number(pack, kernel->D, 0, INT32_MAX);
    kernel->E = pack_number(pack, kernel->E, 0, INT32_MAX);
    kernel->rank = (int)pack_number(pack, kernel->rank, 0, SPEC_MAX_RANK);
    kernel->phase_count = (int)pack_number(pack, kernel->phase_count, 0, PROGRAM_MAX_PHASES);
    for (int k = 0; k < kernel->phase_count; k++)
        pack_phase(pack, &kernel->phases[k]);
    kernel->tensor_count = (int)pack_number(pack, kernel->tensor_count, 0, PROGRAM_MAX_TENSORS);
    for (int k = 0; k < kernel->tensor_count; k++)
        pack_tensor(pack, &kernel->tensors[k]);
    for (int k = 0; k < kernel->phase_count; k++)
        for (int map = 0; map < kernel->phases[k].map_count; map++)
            pack->failed |= kernel->phases[k].maps[map].tensor >= kernel->tensor_count;
    for (int k = 0; k < SPEC_MAX_RANK; k++) {
        kernel->block_m[k] = pack_number(pack, kernel->block_m[k], 0, INT32_MAX);
        kernel->block_n[k] = pack_number(pack, kernel->block_n[k], 0, INT32_MAX);
    }
    kernel->scratch_bytes = pack_number(pack, kernel->scratch_bytes, 0, (int64_t)1 << 40);
}

/* The Program's text in an arena of its own; NULL: out of memory. */
static char *program_text(const Kernel *kernel, Arena **arena)
{
    Arena *own = *arena = arena_create();
    jmp_buf door;
    if (!own)
        return NULL;
    arena_arm(own, &door);
    return setjmp(door) == 0 ? program_print(kernel->program, own) : NULL;
}

void *kernel_pack(const Kernel *kernel, size_t *size)
{
    Pack pack = {.size = 1024, .at = PACK_HEAD, .bytes = malloc(1024)};
    Arena *arena = NULL;
    const void *code = kernel->code;
    size_t code_size = kernel->code_size;
    Kernel *fields = malloc(sizeof *fields); /* the walk may write what it has read */
    pack.failed = !pack.bytes || !fields;
    if (fields)
        *fields = *kernel;
    if (!pack.failed && kernel->format == KERNEL_PROGRAM) {
        char *text = program_text(kernel, &arena);
        pack.failed = !text;
        code = text;
        code_size = text ? strlen(text) : 0;
    }
    if (!pack.failed)
        pack_fields(&pack, fields);
    pack_number(&pack, (int64_t)code_size, 0, INT64_MAX);
    if (code_size)
        pack_raw(&pack, (void *)(uintptr_t)code, code_size);
    arena_destroy(arena);
    free(fields);
    if (pack.failed) {
        free(pack.bytes);
        return NULL;
    }
    memcpy(pack.bytes, pack_magic, sizeof pack_magic);
    put_number(pack.bytes + 8, PACK_VERSION);
    put_number(pack.bytes + 16, checksum(pack.bytes + PACK_HEAD, pack.at - PACK_HEAD));
    *size = pack.at;
    return pack.bytes;
}

/* A launch fills slots by the Kernel's tensors, the Program reads them by its own: they must be the same. */
static bool program_fits(const Kernel *kernel)
{
    const Program *program = kernel->program;
    bool fits = program->stage >= STAGE_SIZED && program->tensor_count == kernel->tensor_count &&
                program->phase_count == kernel->phase_count;
    for (int k = 0; fits && k < kernel->tensor_count; k++) {
        const Tensor *mine = &program->tensors[k];
        const KernelTensor *other = &kernel->tensors[k];
        fits = mine->role == other->role && mine->elem == other->elem && mine->dim_count == other->dim_count;
        if (mine->role >= ROLE_RETURN)
            fits = fits && mine->index == other->index;
        for (int d = 0; fits && mine->role >= ROLE_WORKSPACE && d < mine->dim_count; d++)
            fits = mine->extent[d].size == other->extent[d].size &&
                   mine->extent[d].div == other->extent[d].div && mine->extent[d].mul == other->extent[d].mul;
    }
    return fits;
}

static bool read_program(Kernel *kernel, const char *text, size_t length)
{
    jmp_buf door;
    Arena *arena = kernel->program_arena = arena_create();
    if (!arena)
        return false;
    arena_arm(arena, &door);
    if (setjmp(door) != 0)
        return false;
    Diag *diag = diag_create(arena);
    if (!diag)
        return false;
    kernel->program = program_parse(arena, diag, diag_add_source(diag, "kernel", text, length));
    bool sound = kernel->program && program_verify(kernel->program, diag) && program_fits(kernel);
    arena_arm(arena, NULL);
    return sound;
}

Kernel *kernel_unpack(const void *bytes, size_t size)
{
    Pack pack = {.bytes = (unsigned char *)(uintptr_t)bytes, .size = size, .at = PACK_HEAD, .reading = true};
    if (size < PACK_HEAD || memcmp(bytes, pack_magic, sizeof pack_magic) != 0 ||
        get_number(pack.bytes + 8) != PACK_VERSION ||
        get_number(pack.bytes + 16) != checksum(pack.bytes + PACK_HEAD, size - PACK_HEAD))
        return NULL;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return NULL;
    pack_fields(&pack, kernel);
    size_t code_size = (size_t)pack_number(&pack, 0, 0, INT64_MAX);
    bool sound = !pack.failed && code_size == size - pack.at;
    if (sound && kernel->format == KERNEL_PROGRAM) {
        sound = read_program(kernel, (const char *)pack.bytes + pack.at, code_size);
    } else if (sound) {
        kernel->code = malloc(code_size ? code_size : 1);
        sound = kernel->code != NULL;
        kernel->code_size = code_size;
        if (sound)
            memcpy(kernel->code, pack.bytes + pack.at, code_size);
    }
    if (!sound) {
        kernel_destroy(kernel);
        return NULL;
    }
    return kernel;
}
