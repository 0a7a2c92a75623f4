/* The shipped kernels as cases: which there are, and what sizes and params suit them. */
#ifndef ATTUNE_TESTS_SHIPPED_H
#define ATTUNE_TESTS_SHIPPED_H

#include "run_case.h"

enum { SHIPPED_MAX_KERNELS = 256, SHIPPED_MAX_SETTINGS = 32 };

/* The .attn files below `directory`, by name, each malloc'ed. */
int shipped_kernels(const char *directory, char **paths);
/* Settings that make windows and blocks narrower than the sequences of small cases. */
int shipped_small_settings(const Spec *spec, SpecSetting *settings);
/* `given` for this spec: widths that it can have, extents of grids, no large logits where they make no sense. */
CaseShape shipped_shape(const Spec *spec, const char *path, const CaseShape *given, uint64_t seed);
/* Ragged problems whose queries pass the last key are refused at launch when an array goes by position. */
bool shipped_shape_fits(const Spec *spec, const CaseShape *shape);
/* The message says that there can be no such kernel: for now, or because a feature of these widths is too wide. */
bool shipped_is_refused(const Diag *diag);

#endif
