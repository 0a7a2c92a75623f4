/* AttuneSpec: a checked spec, its text and all that it imported. Internal to spec.c, build.c, jit.c,
 * reference.c. */
#ifndef ATTUNE_RUNTIME_SPEC_H
#define ATTUNE_RUNTIME_SPEC_H

#include "compiler/spec/check.h"
#include "runtime/description.h"

/* What one `import` found, so that the text can be parsed again although the files may have changed. */
typedef struct ImportRecord {
    struct ImportRecord *next;
    const char *importer, *path, *why;
    DslText text;
    bool found;
} ImportRecord;

struct AttuneSpec {
    Arena *arena;                  /* of everything here */
    const char *source_name, *text, *name;
    size_t length;
    SpecSetting *settings;
    int setting_count;
    const char *const *import_dirs;
    int import_dir_count;
    ImportRecord *imports;
    const Spec *spec;              /* only read from here on: several threads look at it */
    Signature signature;
    const char *canonical, *warnings;
    char digest[65];
    unsigned char identity[32];    /* of canonical text, schedule and signature: names matter to a host */
    AttuneInputInfo *inputs;
    AttuneParamInfo *params;
    const char *returns[RETURN_KIND_COUNT];
    int param_count, return_count;
};

/* Runs body(user) with the arena armed. False: it ran out of memory. */
bool spec_guard(Arena *arena, void (*body)(void *user), void *user);

/* Parses and checks the spec's text again in another arena, with `settings` over the spec's own. NULL with
 * messages in *diag. Inside a guard of the arena. */
Spec *spec_reopen(const AttuneSpec *spec, const AttuneSetting *settings, int setting_count, Arena *arena,
                  Diag **diag);
/* The host's view. False with a message in the diag. Inside a guard; strings stay with the Spec. */
bool spec_signature(Arena *arena, Diag *diag, const Spec *spec, Signature *signature);
/* `status` with the diag's messages as text and JSON; ATTUNE_ERROR_MEMORY when that is what they say. */
AttuneStatus spec_diag_error(AttuneError **error, AttuneStatus status, const Diag *diag);

AttuneDtype spec_dtype(ElemType type);
bool spec_elem(AttuneDtype dtype, ElemType *type);

#endif
