/* Checks on source bytes. Private to dsl/; what others may call is in dsl.h. */
#ifndef ATTUNE_DSL_SOURCE_H
#define ATTUNE_DSL_SOURCE_H

#include "dsl/dsl.h"

/* The length of the UTF-8 sequence that begins at `at`, or 0 when none does. */
size_t source_sequence(const char *at, size_t left);
/* The offset of the first byte that is not UTF-8 text, or `length`. NUL is not text. */
size_t source_check(const char *text, size_t length, const char **why);

#endif
