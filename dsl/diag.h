/* Diagnostics: collected as values, printed by whoever owns the terminal. Nothing here exits.
 * A message says what, where (file:line:col and a caret), the value, the limit, and what to do. */
#ifndef ATTUNE_DIAG_H
#define ATTUNE_DIAG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "arena.h"

/* Byte offsets [begin, end) into source `file` (an index into the Diag's sources). file < 0: no place. */
typedef struct Span {
    int32_t file;
    uint32_t begin, end;
} Span;
#define SPAN_NONE ((Span){-1, 0, 0})
Span span_join(Span a, Span b);

typedef struct Source {
    const char *name; /* as shown to the user */
    const char *text; /* NUL-terminated copy in the arena */
    size_t length;
    const uint32_t *line_begin; /* offset of each line's first byte */
    uint32_t line_count;
} Source;

typedef enum { DIAG_NOTE, DIAG_WARNING, DIAG_ERROR } DiagSeverity;

typedef struct Message {
    struct Message *next;
    DiagSeverity severity;
    Span span;
    const char *id;   /* stable kebab-case name, as in -Wno-ID: "unknown-name", "type-mismatch" */
    const char *text; /* one sentence, no full stop */
    const char *fix;  /* what to write instead, or NULL */
} Message;

/* Notes follow the error or warning that they explain. */
typedef struct Diag {
    Arena *arena;
    Source *sources;
    int source_count;
    Message *first, *last;
    int errors, warnings;
    int error_limit; /* further errors are counted, not kept; default 50 */
    bool warnings_are_errors;
    Message reserve; /* for diag_out_of_memory */
} Diag;

Diag *diag_create(Arena *arena);
/* Registers a copy of a source text, returns its index. */
int diag_add_source(Diag *diag, const char *name, const char *text, size_t length);
Message *diag_error(Diag *diag, Span span, const char *id, const char *format, ...) __attribute__((format(printf, 4, 5)));
Message *diag_warn(Diag *diag, Span span, const char *id, const char *format, ...) __attribute__((format(printf, 4, 5)));
Message *diag_note(Diag *diag, Span span, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Adds "out of memory" without allocating; for doors. */
void diag_out_of_memory(Diag *diag);
/* The hint shown under a message ("did you mean 'window'?"). NULL message or text is ignored. */
void diag_fix(Diag *diag, Message *message, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* 1-based line and column (columns count code points). */
void diag_locate(const Diag *diag, Span span, int *line, int *column);

typedef enum { DIAG_TEXT, DIAG_JSON } DiagFormat;
/* All messages. Text form: file:line:col: error: ..., source line, caret range, fix. JSON: one array. */
void diag_print(const Diag *diag, FILE *out, DiagFormat format, bool color);
/* The same as a string in the arena (for the C API's error values). */
char *diag_to_text(const Diag *diag);
/* The nearest of `names` to `wrong` by edit distance, or NULL when none is near. */
const char *diag_nearest(const char *wrong, const char *const *names, int count);

#endif
