/* Memory that notices misuse: every block lies between two pages that cannot be touched, flush with one of them, and
 * whatever else shares its pages is filled with a known byte. Reading far outside stops the process; writing
 * near outside is found by guarded_intact. */
#ifndef ATTUNE_TESTS_GUARDED_H
#define ATTUNE_TESTS_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Guarded {
    char *data;          /* the block */
    size_t size;
    char *map;           /* everything, with the two pages */
    size_t map_size;
    uint8_t fill;
} Guarded;

enum { GUARDED_NAN = 0xff, GUARDED_INT = 0x5b }; /* fills: NaN in every float format; a large int */

/* All bytes are `fill`. flush_end: the block ends where its pages end, else it begins where they begin. */
bool guarded_create(Guarded *block, size_t size, uint8_t fill, bool flush_end);
/* All bytes as after creation. */
void guarded_reset(Guarded *block);
/* Nothing was written around the block. */
bool guarded_intact(const Guarded *block);
/* From here on a write stops the process. */
void guarded_protect(Guarded *block);
void guarded_destroy(Guarded *block);

#endif
