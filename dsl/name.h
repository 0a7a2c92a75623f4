/* Interned names: one copy of each, so that equal names have equal pointers. */
#ifndef ATTUNE_NAME_H
#define ATTUNE_NAME_H

#include "dsl/arena.h"

typedef struct Names Names;

Names *names_create(Arena *arena);
const char *name_intern(Names *names, const char *text, size_t length);

#endif
