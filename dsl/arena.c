#include "arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Chunk {
    struct Chunk *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
} Chunk;

typedef struct Deferred {
    struct Deferred *next;
    void (*fn)(void *);
    void *object;
} Deferred;

struct Arena {
    Chunk *chunks;
    Deferred *deferred;
    jmp_buf *door;
    size_t used;
};

enum { FIRST_CHUNK = 32 * 1024, LARGEST_CHUNK = 1024 * 1024 };

Arena *arena_create(void)
{
    return calloc(1, sizeof(Arena));
}

void arena_destroy(Arena *arena)
{
    if (!arena)
        return;
    for (Deferred *d = arena->deferred; d; d = d->next)
        d->fn(d->object);
    for (Chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(arena);
}

jmp_buf *arena_arm(Arena *arena, jmp_buf *door)
{
    jmp_buf *outer = arena->door;
    arena->door = door;
    return outer;
}

_Noreturn void arena_fail(Arena *arena)
{
    if (!arena->door)
        abort();
    longjmp(*arena->door, 1);
}

static size_t round_up(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

void *arena_alloc(Arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        arena_fail(arena);
    size = round_up(size ? size : 1);
    Chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t want = chunk ? chunk->size * 2 : FIRST_CHUNK;
        if (want > LARGEST_CHUNK)
            want = LARGEST_CHUNK;
        if (want < size)
            want = size;
        Chunk *fresh = malloc(sizeof(Chunk) + want);
        if (!fresh)
            arena_fail(arena);
        *fresh = (Chunk){.next = chunk, .size = want};
        arena->chunks = chunk = fresh;
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += size;
    arena->used += size;
    return memset(result, 0, size);
}

void *arena_array(Arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / 2 / size)
        arena_fail(arena);
    return arena_alloc(arena, count * size);
}

void *arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size)
{
    void *fresh = arena_array(arena, new_count, size);
    if (old_count)
        memcpy(fresh, old, old_count * size);
    return fresh;
}

char *arena_strndup(Arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(Arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_vprintf(Arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        arena_fail(arena);
    char *result = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(result, (size_t)length + 1, format, args);
    return result;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *result = arena_vprintf(arena, format, args);
    va_end(args);
    return result;
}

void arena_defer(Arena *arena, void (*fn)(void *), void *object)
{
    Deferred *d = ARENA_NEW(arena, Deferred);
    *d = (Deferred){.next = arena->deferred, .fn = fn, .object = object};
    arena->deferred = d;
}

size_t arena_used(const Arena *arena)
{
    return arena->used;
}

void text_add_bytes(Text *text, const char *bytes, size_t length)
{
    if (text->capacity - text->length <= length) {
        size_t capacity = text->capacity ? text->capacity * 2 : 256;
        while (capacity - text->length <= length)
            capacity *= 2;
        text->data = arena_grow(text->arena, text->data, text->length, capacity, 1);
        text->capacity = capacity;
    }
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(Text *text, const char *format, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(small, sizeof small, format, args);
    if (length < 0) {
        va_end(args);
        va_end(again);
        arena_fail(text->arena);
    }
    if ((size_t)length < sizeof small)
        text_add_bytes(text, small, (size_t)length);
    else
        text_add_bytes(text, arena_vprintf(text->arena, format, again), (size_t)length);
    va_end(args);
    va_end(again);
}
