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
#if ATTUNE_HAVE_PTX
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
#endif
}

static void initialise_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
}

static bool has_feature(const char *features, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = features; (at = strstr(at, name)); at += length)
        if (at > features && at[-1] == '+' && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

/* CPUs that code can be made for without being on one: LLVM's names, and what of their features matters
 * here. */
typedef struct KnownCpu { const char *name; int vector_bits; bool bf16_dot, f16_convert; } KnownCpu;
static const KnownCpu known_x86[] = {
    {"x86-64-v2", 128, false, false},     {"x86-64-v3", 256, false, true},
    {"x86-64-v4", 512, false, true},      {"nehalem", 128, false, false},
    {"westmere", 128, false, false},      {"sandybridge", 128, false, false},
    {"ivybridge", 128, false, true},      {"haswell", 256, false, true},
    {"broadwell", 256, false, true},      {"skylake", 256, false, true},
    {"alderlake", 256, false, true},      {"znver1", 256, false, true},
    {"znver2", 256, false, true},         {"znver3", 256, false, true},
    {"skylake-avx512", 512, false, true}, {"cascadelake", 512, false, true},
    {"icelake-server", 512, false, true}, {"cooperlake", 512, true, true},
    {"sapphirerapids", 512, true, true},  {"emeraldrapids", 512, true, true},
    {"graniterapids", 512, true, true},   {"znver4", 512, true, true},
    {"znver5", 512, true, true},
};
static const KnownCpu known_arm[] = {
    {"generic", 128, false, true},     {"cortex-a76", 128, false, true},  {"neoverse-n1", 128, false, true},
    {"neoverse-n2", 128, false, true}, {"neoverse-v1", 128, false, true}, {"neoverse-v2", 128, false, true},
    {"apple-m1", 128, false, true},
};

static bool fill_from_name(Diag *diag, Target *target, const KnownCpu *known, size_t count)
{
    Text names = {.arena = diag->arena};
    for (size_t k = 0; k < count; k++) {
        if (!strcmp(known[k].name, target->cpu)) {
            target->vector_bits = known[k].vector_bits;
            target->bf16_dot = known[k].bf16_dot;
            target->f16_convert = known[k].f16_convert;
            return true;
        }
        text_add(&names, "%s%s", k ? ", " : "", known[k].name);
    }
    Message *m = diag_error(diag, SPAN_NONE, "unknown-target", "unknown CPU '%s'", target->cpu);
    diag_fix(diag, m, "known ones: native, %s", names.data);
    return false;
}

static void fill_from_features(Target *target, const char *features)
{
    bool wide = has_feature(features, "avx512f") && has_feature(features, "avx512dq")
                && has_feature(features, "avx512bw") && has_feature(features, "avx512vl");
    target->vector_bits = wide                                                            ? 512
                          : has_feature(features, "avx2") && has_feature(features, "fma") ? 256
                                                                                          : 128;
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
    initialise_once();
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
    bool arm = !strncmp(target->triple, "aarch64", 7) || !strncmp(target->triple, "arm64", 5);
    if (!arm && strncmp(target->triple, "x86_64", 6)) {
        diag_error(diag, SPAN_NONE, "unknown-target", "no CPU code for the machine '%s'", target->triple);
        return false;
    }
    if (native && arm) {
        target->vector_bits = 128;
        target->f16_convert = true;
    } else if (native) {
        fill_from_features(target, target->features);
    } else if (arm ? !fill_from_name(diag, target, known_arm, sizeof known_arm / sizeof *known_arm)
                   : !fill_from_name(diag, target, known_x86, sizeof known_x86 / sizeof *known_x86)) {
        return false;
    }
    if (native && !arm && !has_feature(target->features, "sse4.1")) {
        diag_error(diag, SPAN_NONE, "unknown-target",
                   "this CPU lacks SSE4.1, which the generated code needs");
        return false;
    }
    target->vector_registers = arm || target->vector_bits == 512 ? 32 : 16;
    LLVMTargetRef found;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &message)) {
        diag_error(diag, SPAN_NONE, "unknown-target", "LLVM does not know the machine '%s': %s",
                   target->triple, message);
        LLVMDisposeMessage(message);
        return false;
    }
    return true;
}

void llvm_ptx_target(int language, Target *target)
{
    initialise_once();
    snprintf(target->cpu, sizeof target->cpu, "%s", target->arch);
    snprintf(target->triple, sizeof target->triple, "nvptx64-nvidia-cuda");
    snprintf(target->features, sizeof target->features, "+ptx%d", language);
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
