/* Relocatable objects that hold bytes: how a device's code travels in a host program. */
#ifndef ATTUNE_AOT_OBJECT_H
#define ATTUNE_AOT_OBJECT_H

#include <stddef.h>

/* An ELF object for this machine with one read-only symbol, aligned to 64 bytes, that holds the bytes.
 * malloc'ed; NULL: out of memory, or this machine's objects are not known. */
void *aot_object(const char *symbol, const void *bytes, size_t size, size_t *object_size);

#endif
