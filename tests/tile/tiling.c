#include "tiling.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void tiling_parse(Tiling *t, const char *name, const char *text, size_t length)
{
    *t = (Tiling){.arena = arena_create()};
    t->diag = diag_create(t->arena);
    t->program = program_parse(t->arena, t->diag, diag_add_source(t->diag, name, text, length));
}

char *tiling_read(const char *name, size_t *length)
{
    char path[512], *text = malloc(1 << 20);
    snprintf(path, sizeof path, "%s/%s.tile", TILE_PROGRAMS, name);
    FILE *file = fopen(path, "rb");
    if (!file || !text) {
        free(text);
        return NULL;
    }
    *length = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

void tiling_open(Tiling *t, const char *name)
{
    size_t length = 0;
    char *text = tiling_read(name, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    tiling_parse(t, name, text, length);
    free(text);
    if (!t->program || !program_verify(t->program, t->diag))
        diag_print(t->diag, stderr, DIAG_TEXT, false);
    CU_ASSERT_EQUAL_FATAL(t->diag->errors, 0);
}

void tiling_close(Tiling *t)
{
    arena_destroy(t->arena);
}

void launch_size(Launch *launch, VarId size, int64_t value)
{
    launch->slots[slot_of_size(size)] = value;
}

void launch_float(Launch *launch, int param, double value)
{
    memcpy(&launch->slots[SLOT_PARAMS + param], &value, sizeof value);
}

void launch_tensor(Launch *launch, const char *name, void *data, int dims, ...)
{
    int tensor = 0;
    while (tensor < launch->program->tensor_count && strcmp(launch->program->tensors[tensor].name, name) != 0)
        tensor++;
    CU_ASSERT_FATAL(tensor < launch->program->tensor_count);
    int64_t *slot = launch->slots + slot_of_tensor(tensor), stride = 1, extent[SPEC_MAX_DIMS] = {0};
    va_list args;
    va_start(args, dims);
    for (int d = 0; d < dims; d++)
        extent[d] = va_arg(args, int);
    va_end(args);
    slot[0] = (int64_t)(intptr_t)data;
    for (int d = dims; d-- > 0; stride *= extent[d])
        slot[1 + d] = stride;
}

uint64_t random_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

float random_float(uint64_t *state)
{
    return (float)((double)(random_bits(state) >> 40) * 0x1p-23 - 1);
}

int64_t random_int(uint64_t *state, int64_t lowest, int64_t highest)
{
    return lowest + (int64_t)(random_bits(state) % (uint64_t)(highest - lowest + 1));
}
