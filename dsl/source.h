/* Checks on source bytes. Private to dsl/; what others may call is in dsl.h. */
#ifndef ATTUNE_DSL_SOURCE_H
#define ATTUNE_DSL_SOURCE_H

#include "dsl/dsl.h"

/* The offset of the first byte that is not UTF-8 text, or `length`. NUL is not text. */
size_t source_check(const char *text, size_t length, size_t *bad_length, const char **why);

#endif
