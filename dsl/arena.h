/* One arena a compilation: everything the front end and the compiler allocate lives here and is freed once.
 *
 * Allocation failure does not return: it unwinds to the door that the arena was armed at (dsl_parse, compile),
 * which reports "out of memory" as an ordinary diagnostic. Code between a door and an allocation therefore
 * holds no resource that the arena does not know of; foreign objects are registered with arena_defer. */
#ifndef ATTUNE_ARENA_H
#define ATTUNE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

typedef struct Arena Arena;

/* NULL when out of memory. */
Arena *arena_create(void);
/* Runs the deferred clean-ups, newest first, then frees everything. NULL is allowed. */
void arena_destroy(Arena *arena);

/* The pending unwinding point. Doors write:
 *     jmp_buf door, *outer = arena_arm(arena, &door);
 *     if (setjmp(door)) { arena_arm(arena, outer); return OUT_OF_MEMORY; }
 *     ...
 *     arena_arm(arena, outer);
 * Returns the previous one. An allocation that fails with none armed aborts. */
jmp_buf *arena_arm(Arena *arena, jmp_buf *door);
/* Unwinds to the armed door, as a failed allocation does (used for foreign allocation failures). */
_Noreturn void arena_fail(Arena *arena);

/* Zeroed memory, aligned to 16 bytes; size 0 gives a valid pointer. Never NULL. */
void *arena_alloc(Arena *arena, size_t size);
/* count * size with an overflow check. */
void *arena_array(Arena *arena, size_t count, size_t size);
/* A grown copy of `old` (old_count elements) with room for new_count. */
void *arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size);
char *arena_strdup(Arena *arena, const char *text);
char *arena_strndup(Arena *arena, const char *text, size_t length);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *arena, const char *format, va_list args);
/* fn(object) runs when the arena is destroyed. */
void arena_defer(Arena *arena, void (*fn)(void *), void *object);
/* Bytes handed out so far, for limits and statistics. */
size_t arena_used(const Arena *arena);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_array((arena), (count), sizeof(type)))

/* A growing text in an arena. */
typedef struct Text {
    Arena *arena;
    char *data; /* NUL-terminated once anything was added; NULL before */
    size_t length, capacity;
} Text;
void text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(Text *text, const char *bytes, size_t length);

#endif
