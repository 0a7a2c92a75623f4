/* libFuzzer: any bytes are read as a Program; one that reads is checked and printed, and its text must read
 * back and print the same. The bytes are tried as a packed Kernel too, behind a head that fits.
 * `fuzz_tile -max_total_time=600 corpus/ programs/`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void read_text(const char *bytes, size_t length)
{
    Arena *arena = arena_create();
    jmp_buf door;
    if (!arena)
        return;
    arena_arm(arena, &door);
    if (!setjmp(door)) {
        Diag *diag = diag_create(arena);
        Program *program = program_parse(arena, diag, diag_add_source(diag, "fuzz", bytes, length));
        if ((program == NULL) != (diag->errors > 0))
            abort();
        if (program) {
            int before = diag->errors;
            if (program_verify(program, diag) != (diag->errors == before))
                abort();
            char *once = program_print(program, arena);
            Program *again = program_parse(arena, diag, diag_add_source(diag, "printed", once, strlen(once)));
            if (!again || strcmp(once, program_print(again, arena)) != 0)
                abort();
        }
        diag_to_text(diag);
    }
    arena_destroy(arena);
}

static void read_kernel(const uint8_t *bytes, size_t length)
{
    unsigned char *packed = malloc(length + 24);
    uint64_t sum = 0xcbf29ce484222325;
    if (!packed)
        return;
    memcpy(packed, "attuneK\n\2\0\0\0\0\0\0\0", 16);
    for (size_t k = 0; k < length; k++) {
        packed[24 + k] = bytes[k];
        sum = (sum ^ bytes[k]) * 0x100000001b3;
    }
    for (int k = 0; k < 8; k++)
        packed[16 + k] = (unsigned char)(sum >> 8 * k);
    kernel_destroy(kernel_unpack(packed, length + 24));
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    read_text((const char *)bytes, length);
    read_kernel(bytes, length);
    return 0;
}
