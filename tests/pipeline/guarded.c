/* Guarded memory: see guarded.h. */
#define _DEFAULT_SOURCE
#include "guarded.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page(void)
{
    static size_t size;
    if (!size)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

static char *open_begin(const Guarded *block) { return block->map + page(); }
static size_t open_size(const Guarded *block) { return block->map_size - 2 * page(); }

bool guarded_create(Guarded *block, size_t size, uint8_t fill, bool flush_end)
{
    size_t open = (size + page() - 1) / page() * page(), whole = open + 2 * page();
    char *map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return false;
    if (open && mprotect(map + page(), open, PROT_READ | PROT_WRITE) != 0) {
        munmap(map, whole);
        return false;
    }
    *block = (Guarded){map + page() + (flush_end ? open - size : 0), size, map, whole, fill};
    guarded_reset(block);
    return true;
}

void guarded_reset(Guarded *block)
{
    memset(open_begin(block), block->fill, open_size(block));
}

bool guarded_intact(const Guarded *block)
{
    const char *begin = open_begin(block), *end = begin + open_size(block);
    for (const char *at = begin; at < end; at++) {
        if (at == block->data)
            at += block->size;
        if (at < end && (uint8_t)*at != block->fill)
            return false;
    }
    return true;
}

void guarded_protect(Guarded *block)
{
    if (open_size(block))
        mprotect(open_begin(block), open_size(block), PROT_READ);
}

void guarded_destroy(Guarded *block)
{
    if (block->map)
        munmap(block->map, block->map_size);
    *block = (Guarded){0};
}
