/* Error values: how every failing call of the public API says why. */
#ifndef ATTUNE_ERROR_H
#define ATTUNE_ERROR_H

#include "runtime/attune.h"

/* Both store a value in *error (when error is not NULL) and give `status` back. Without memory for the text
 * the value is a fixed "out of memory", which needs none. */
AttuneStatus error_set(AttuneError **error, AttuneStatus status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* `json` may be NULL. */
AttuneStatus error_set_text(AttuneError **error, AttuneStatus status, const char *text, const char *json);
AttuneStatus error_memory(AttuneError **error);

#endif
