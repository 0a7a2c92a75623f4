/* Interned names: a hash table with open addressing, never more than half full. */
#include "dsl/name.h"

#include <stdint.h>
#include <string.h>

typedef struct Slot {
    const char *text;
    size_t length;
    uint64_t hash;
} Slot;

struct Names {
    Arena *arena;
    Slot *slots;
    size_t capacity, used;
};

Names *names_create(Arena *arena)
{
    Names *names = ARENA_NEW(arena, Names);
    *names = (Names){.arena = arena, .capacity = 128};
    names->slots = ARENA_ARRAY(arena, Slot, names->capacity);
    return names;
}

/* FNV-1a. */
static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

static Slot *find(Slot *slots, size_t capacity, const char *text, size_t length, uint64_t hash)
{
    size_t at = hash & (capacity - 1);
    while (slots[at].text && !(slots[at].hash == hash && slots[at].length == length &&
                               memcmp(slots[at].text, text, length) == 0))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

const char *name_intern(Names *names, const char *text, size_t length)
{
    uint64_t hash = hash_bytes(text, length);
    Slot *slot = find(names->slots, names->capacity, text, length, hash);
    if (slot->text)
        return slot->text;
    if (names->used * 2 >= names->capacity) {
        size_t capacity = names->capacity * 2;
        Slot *fresh = ARENA_ARRAY(names->arena, Slot, capacity);
        for (size_t i = 0; i < names->capacity; i++) {
            const Slot *old = &names->slots[i];
            if (old->text)
                *find(fresh, capacity, old->text, old->length, old->hash) = *old;
        }
        names->slots = fresh;
        names->capacity = capacity;
        slot = find(fresh, capacity, text, length, hash);
    }
    *slot = (Slot){arena_strndup(names->arena, text, length), length, hash};
    names->used++;
    return slot->text;
}
