/* Error values and the names of statuses. */
#include "runtime/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct AttuneError {
    AttuneStatus status;
    const char *message, *json; /* behind the struct, in the same allocation */
};

static const AttuneError out_of_memory = {ATTUNE_ERROR_MEMORY, "out of memory", NULL};

AttuneStatus error_memory(AttuneError **error)
{
    if (error)
        *error = (AttuneError *)&out_of_memory; /* never written, never freed: see attune_error_free */
    return ATTUNE_ERROR_MEMORY;
}

AttuneStatus error_set_text(AttuneError **error, AttuneStatus status, const char *text, const char *json)
{
    if (!error)
        return status;
    size_t length = strlen(text), json_length = json ? strlen(json) : 0;
    while (length > 0 && text[length - 1] == '\n')
        length--;
    AttuneError *made = malloc(sizeof *made + length + 1 + json_length + 1);
    if (!made) {
        error_memory(error);
        return status;
    }
    char *message = (char *)(made + 1), *json_copy = message + length + 1;
    memcpy(message, text, length);
    message[length] = '\0';
    memcpy(json_copy, json ? json : "", json_length + 1);
    made->status = status;
    made->message = message;
    made->json = json ? json_copy : NULL;
    *error = made;
    return status;
}

AttuneStatus error_set(AttuneError **error, AttuneStatus status, const char *format, ...)
{
    char text[2048];
    if (!error)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set_text(error, status, text, NULL);
}

AttuneStatus attune_error_status(const AttuneError *error)
{
    return error ? error->status : ATTUNE_OK;
}

const char *attune_error_message(const AttuneError *error)
{
    return error ? error->message : "";
}

const char *attune_error_json(const AttuneError *error)
{
    return error ? error->json : NULL;
}

void attune_error_free(AttuneError *error)
{
    if (error != &out_of_memory)
        free(error);
}

const char *attune_status_name(AttuneStatus status)
{
    static const char *const names[ATTUNE_STATUS_COUNT] = {
        "ok", "argument", "spec", "compile", "target", "no-jit", "io", "memory", "internal",
    };
    return (unsigned)status < ATTUNE_STATUS_COUNT ? names[status] : "unknown";
}
