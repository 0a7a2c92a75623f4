/* Asking the CPU. */
#include "runtime/machine.h"

#include <stdio.h>

#include "runtime/error.h"

static uint32_t machine_has(void)
{
    uint32_t has = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    has |= NEED_X86_64;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        has |= NEED_AVX2;
    unsigned a = 1, c = 0; /* not every compiler has a name for F16C: leaf 1, ECX bit 29 */
    __asm__("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
    if (c >> 29 & 1)
        has |= NEED_F16C;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        has |= NEED_AVX512;
    if (__builtin_cpu_supports("avx512bf16"))
        has |= NEED_AVX512_BF16;
#elif defined(__aarch64__)
    has |= NEED_AARCH64;
#endif
    return has;
}

AttuneStatus machine_check(const char *target, uint32_t needs, AttuneError **error)
{
    static const char *const names[] = {"x86-64", "AArch64", "AVX2 with FMA",
                                        "F16C",   "AVX-512", "AVX-512 BF16"};
    char text[128] = "";
    size_t used = 0;
    uint32_t lacks = needs & ~machine_has();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (lacks >> i & 1)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", names[i]);
    if (!lacks)
        return ATTUNE_OK;
    return error_set(
        error, ATTUNE_ERROR_TARGET,
        "code for %s cannot run on this machine, which lacks %s: take the target 'cpu', or one that "
        "asks for less",
        target, text);
}
