/* Collecting diagnostics. How they look is diag_print.c's business. */
#include "dsl/diag.h"

#include <string.h>

Span span_join(Span a, Span b)
{
    if (a.file < 0)
        return b;
    if (b.file < 0 || b.file != a.file)
        return a;
    return (Span){a.file, a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
}

Diag *diag_create(Arena *arena)
{
    Diag *diag = ARENA_NEW(arena, Diag);
    diag->arena = arena;
    diag->error_limit = 50;
    return diag;
}

int diag_add_source(Diag *diag, const char *name, const char *text, size_t length)
{
    uint32_t lines = 1;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    uint32_t *begin = ARENA_ARRAY(diag->arena, uint32_t, lines);
    Source source = {.name = arena_strdup(diag->arena, name),
                     .text = arena_strndup(diag->arena, text, length),
                     .length = length,
                     .line_begin = begin,
                     .line_count = lines};
    uint32_t line = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\n')
            begin[++line] = (uint32_t)i + 1;
    size_t count = (size_t)diag->source_count;
    if ((count & (count - 1)) == 0) /* room doubles at every power of two */
        diag->sources = arena_grow(diag->arena, diag->sources, count, count ? count * 2 : 1, sizeof(Source));
    diag->sources[count] = source;
    return diag->source_count++;
}

static Message *add(Diag *diag, DiagSeverity severity, Span span, const char *id, const char *format,
                    va_list args)
{
    Message *message = ARENA_NEW(diag->arena, Message);
    *message = (Message){.severity = severity, .span = span, .id = id};
    message->text = arena_vprintf(diag->arena, format, args);
    if (diag->last)
        diag->last->next = message;
    else
        diag->first = message;
    diag->last = message;
    return message;
}

/* Past the limit a message is counted only; the notes that explain it go with it. */
static bool past_limit(const Diag *diag)
{
    return diag->error_limit > 0 && diag->errors > diag->error_limit;
}

Message *diag_error(Diag *diag, Span span, const char *id, const char *format, ...)
{
    diag->errors++;
    if (past_limit(diag))
        return NULL;
    va_list args;
    va_start(args, format);
    Message *message = add(diag, DIAG_ERROR, span, id, format, args);
    va_end(args);
    return message;
}

Message *diag_warn(Diag *diag, Span span, const char *id, const char *format, ...)
{
    if (diag->warnings_are_errors)
        diag->errors++;
    else
        diag->warnings++;
    if (past_limit(diag))
        return NULL;
    va_list args;
    va_start(args, format);
    Message *message =
        add(diag, diag->warnings_are_errors ? DIAG_ERROR : DIAG_WARNING, span, id, format, args);
    va_end(args);
    return message;
}

Message *diag_note(Diag *diag, Span span, const char *format, ...)
{
    if (past_limit(diag))
        return NULL;
    va_list args;
    va_start(args, format);
    Message *message = add(diag, DIAG_NOTE, span, "note", format, args);
    va_end(args);
    return message;
}

void diag_out_of_memory(Diag *diag)
{
    diag->errors++;
    if (diag->reserve.text)
        return; /* said already */
    diag->reserve =
        (Message){.severity = DIAG_ERROR, .span = SPAN_NONE, .id = "out-of-memory", .text = "out of memory"};
    if (diag->last)
        diag->last->next = &diag->reserve;
    else
        diag->first = &diag->reserve;
    diag->last = &diag->reserve;
}

void diag_fix(Diag *diag, Message *message, const char *format, ...)
{
    if (!message || !format)
        return;
    va_list args;
    va_start(args, format);
    message->fix = arena_vprintf(diag->arena, format, args);
    va_end(args);
}

void diag_locate(const Diag *diag, Span span, int *line, int *column)
{
    *line = *column = 0;
    if (span.file < 0 || span.file >= diag->source_count)
        return;
    const Source *source = &diag->sources[span.file];
    uint32_t low = 0, high = source->line_count; /* the last line that begins at or before span.begin */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (source->line_begin[middle] <= span.begin)
            low = middle;
        else
            high = middle;
    }
    *line = (int)low + 1;
    *column = 1;
    for (size_t at = source->line_begin[low]; at < span.begin && at < source->length; at++)
        *column += ((unsigned char)source->text[at] & 0xc0) != 0x80;
}

/* Edit distance with transpositions, stopped at `limit`. Rows of at most 64. */
static int distance(const char *a, const char *b, int limit)
{
    enum { LONGEST = 64 };
    int m = (int)strnlen(a, LONGEST + 1), n = (int)strnlen(b, LONGEST + 1);
    if (m > LONGEST || n > LONGEST || m - n > limit || n - m > limit)
        return limit + 1;
    int before[LONGEST + 1] = {0}, last[LONGEST + 1] = {0}, now[LONGEST + 1];
    for (int j = 0; j <= n; j++)
        last[j] = j;
    for (int i = 1; i <= m; i++) {
        now[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        memcpy(before, last, sizeof(int) * (size_t)(n + 1));
        memcpy(last, now, sizeof(int) * (size_t)(n + 1));
    }
    return last[n];
}

const char *diag_nearest(const char *wrong, const char *const *names, int count)
{
    int length = (int)strnlen(wrong, 65);
    int limit = length <= 4 ? 1 : length <= 7 ? 2 : 3;
    const char *nearest = NULL;
    for (int i = 0; i < count; i++) {
        int far = distance(wrong, names[i], limit);
        /* Never a whole replacement of a short name. */
        if (far <= limit && far < length && far < (int)strlen(names[i])) {
            limit = far - 1;
            nearest = names[i];
        }
    }
    return nearest;
}
