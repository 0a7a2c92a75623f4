/* What host code needs of the machine that runs it: bits of a set. */
#ifndef ATTUNE_MACHINE_H
#define ATTUNE_MACHINE_H

#include "runtime/attune.h"

typedef enum MachineNeed {
    NEED_X86_64 = 1,
    NEED_AARCH64 = 2,
    NEED_AVX2 = 4,         /* and FMA */
    NEED_F16C = 8,
    NEED_AVX512 = 16,      /* F, DQ, BW and VL */
    NEED_AVX512_BF16 = 32,
    NEED_ALL = 63
} MachineNeed;

/* ATTUNE_ERROR_TARGET when this machine does not meet the needs of code for `target`. */
AttuneStatus machine_check(const char *target, uint32_t needs, AttuneError **error);

#endif
