/* From a spec and options to code: the only caller of the compiler. */
#ifndef ATTUNE_BUILD_H
#define ATTUNE_BUILD_H

#include "compiler/compile.h"
#include "runtime/cache.h"
#include "runtime/launch.h"
#include "runtime/spec.h"

/* One kernel being made. */
typedef struct Build {
    const AttuneSpec *source;
    const AttuneSetting *settings;
    int setting_count;
    AttuneContext *context;         /* its log gets dumps; may be NULL */
    Target target;
    CompileOptions options;
    Arena *arena;
    Diag *diag;
    const Spec *spec;               /* with the settings applied; NULL: not opened yet */
    const Signature *signature;     /* of the spec with the settings applied */
    const char *canonical;
    unsigned char key[CACHE_KEY_BYTES];
} Build;

/* Checks an AttuneKernelOptions; widths that are left 0 are chosen. */
AttuneStatus build_check_options(const AttuneSpec *spec, const AttuneKernelOptions *options,
                                 AttuneKernelOptions *checked, AttuneError **error);
/* What a target's name stands for. ATTUNE_ERROR_TARGET. */
AttuneStatus build_target(const char *name, Target *target, AttuneError **error);
/* MachineNeed bits of code for the target; its vector width means features, see llvm_cpu_target. */
uint32_t build_needs(const Target *target);
/* Works out the cache key. `options` as checked. build_close afterwards, in any case. */
AttuneStatus build_open(Build *build, AttuneContext *context, const AttuneSpec *spec,
                        const AttuneKernelOptions *options, const Target *target, const char *symbol,
                        AttuneError **error);
/* The spec with the settings applied, in the build's arena. */
AttuneStatus build_spec(Build *build, AttuneError **error);
Kernel *build_compile(Build *build, AttuneError **error);
/* The description of a compiled kernel, from the bytes that an ahead-of-time header would hold. */
AttuneStatus build_describe(const Build *build, const Kernel *kernel, unsigned char **bytes, size_t *size,
                            AttuneError **error);
/* Makes compiled code callable. Takes `kernel` over, in any case. */
AttuneKernel *build_finish(Build *build, Kernel *kernel, AttuneError **error);
void build_close(Build *build);

#endif
