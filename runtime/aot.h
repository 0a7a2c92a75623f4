/* Ahead-of-time kernels: the texts that go with an object file. Internal to aot*.c. */
#ifndef ATTUNE_AOT_H
#define ATTUNE_AOT_H

#include "runtime/build.h"

typedef struct Aot {
    const Build *build;
    const Kernel *kernel;
    const char *symbol;
    const unsigned char *description;
    size_t description_size;
} Aot;

/* The files for a kernel: host code as it is, a device's image as the data SYMBOL_image of an object for this
 * machine. Takes the kernel's code. NULL with an error. */
AttuneBuild *aot_make(const Build *build, Kernel *kernel, const char *symbol, AttuneError **error);

/* In out's arena, inside a guard of it. */
void aot_header(Text *out, const Aot *aot);
void aot_manifest(Text *out, const Aot *aot);

#endif
