/* Types and meaning: AST -> Spec. Reports as many errors as it can find; NULL when there was one. */
#ifndef ATTUNE_CHECK_H
#define ATTUNE_CHECK_H

#include "dsl/dsl.h"
#include "spec.h"

/* A value given from outside (`--set window=512`, the API) for a param or a schedule key. */
typedef struct SpecSetting { const char *name, *value; } SpecSetting;

/* `name` NULL: the only attention of the file (an error when there are several). Settings that name nothing
 * are an error with did-you-mean. */
Spec *check_spec(Arena *arena, Diag *diag, const Ast *file, const char *name, const SpecSetting *settings,
                 int setting_count);

#endif
