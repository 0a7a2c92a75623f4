/* CPUs as LLVM knows them: names, features, vector width, caches. */
#include "llvm.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void initialise(void)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
}

static bool has_feature(const char *features, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = features; (at = strstr(at, name)); at += length)
        if (at > features && at[-1] == '+' && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

/* Without a feature string, what the named level brings. */
static void fill_from_name(Target *target, const char *cpu)
{
    bool v4 = !strcmp(cpu, "x86-64-v4"), v3 = !strcmp(cpu, "x86-64-v3") || v4;
    target->vector_bits = v4 ? 512 : v3 ? 256 : 128;
    target->f16_convert = v3;
}

static void fill_from_features(Target *target, const char *features)
{
    bool wide = has_feature(features, "avx512f") && has_feature(features, "avx512dq") && has_feature(features, "avx512bw") && has_feature(features, "avx512vl");
    target->vector_bits = wide ? 512 : has_feature(features, "avx2") && has_feature(features, "fma") ? 256 : 128;
    target->bf16_dot = wide && has_feature(features, "avx512bf16");
    target->f16_convert = has_feature(features, "f16c");
}

static int64_t cache_bytes(int name, int64_t otherwise)
{
    long bytes = sysconf(name);
    return bytes > 0 ? bytes : otherwise;
}

bool llvm_cpu_target(Diag *diag, const char *cpu, const char *triple, Target *target)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    bool native = !strcmp(cpu, "native");
    target->kind = TARGET_CPU;
    target->l1_bytes = 32 * 1024;
    target->l2_bytes = 512 * 1024;
    target->bf16_dot = false;
    char *host = LLVMGetDefaultTargetTriple();
    snprintf(target->triple, sizeof target->triple, "%s", triple ? triple : host);
    LLVMDisposeMessage(host);
    target->features[0] = 0;
    if (native) {
        char *name = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
        snprintf(target->cpu, sizeof target->cpu, "%s", name);
        snprintf(target->features, sizeof target->features, "%s", features);
        LLVMDisposeMessage(name);
        LLVMDisposeMessage(features);
        target->l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, target->l1_bytes);
        target->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, target->l2_bytes);
    } else {
        snprintf(target->cpu, sizeof target->cpu, "%s", cpu);
    }
    if (!strncmp(target->triple, "aarch64", 7) || !strncmp(target->triple, "arm64", 5)) {
        target->vector_bits = 128;
        target->vector_registers = 32;
        target->f16_convert = true;
    } else if (!strncmp(target->triple, "x86_64", 6)) {
        if (native)
            fill_from_features(target, target->features);
        else
            fill_from_name(target, cpu);
        target->vector_registers = target->vector_bits == 512 ? 32 : 16;
    } else {
        diag_error(diag, SPAN_NONE, "unknown-target", "no CPU code for the machine '%s'", target->triple);
        return false;
    }
    LLVMTargetRef found;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &message)) {
        diag_error(diag, SPAN_NONE, "unknown-target", "LLVM does not know the machine '%s': %s", target->triple, message);
        LLVMDisposeMessage(message);
        return false;
    }
    return true;
}

static char version[32];

static void print_version(void)
{
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(version, sizeof version, "%u.%u.%u", major, minor, patch);
}

const char *llvm_version(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, print_version);
    return version;
}
