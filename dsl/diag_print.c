/* How diagnostics look: text with the source line and a caret, or JSON for an editor. Allocates nothing when
 * it prints to a file, so that "out of memory" can be printed too. Bytes that are no text never reach the
 * terminal. */
#include "dsl/diag.h"

#include <string.h>

#include "dsl/source.h"

/* Where output goes: exactly one is set. */
typedef struct Sink {
    FILE *file;
    Text *text;
} Sink;

static void put_bytes(Sink sink, const char *bytes, size_t length)
{
    if (sink.file)
        fwrite(bytes, 1, length, sink.file);
    else
        text_add_bytes(sink.text, bytes, length);
}

static void put(Sink sink, const char *string)
{
    put_bytes(sink, string, strlen(string));
}

static void put_number(Sink sink, long number)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%ld", number);
    put_bytes(sink, digits, (size_t)length);
}

/* Text for a terminal: one column a code point; tabs as blanks, everything unprintable as '?'. */
static void put_clean(Sink sink, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t step = source_sequence(text + at, length - at);
        unsigned char first = (unsigned char)text[at];
        bool control = step == 1 && (first < 0x20 || first == 0x7f);
        /* U+0080 ... U+009F are control characters too. */
        control = control || (step == 2 && first == 0xc2 && (unsigned char)text[at + 1] < 0xa0);
        if (!step || control)
            put(sink, first == '\t' ? " " : "?");
        else
            put_bytes(sink, text + at, step);
        at += step ? step : 1;
    }
}

static void put_color(Sink sink, bool color, const char *code)
{
    if (color)
        put(sink, code);
}

#define BOLD "\033[1m"
#define PLAIN "\033[0m"

static const char *severity_word(DiagSeverity severity)
{
    static const char *const words[] = {"note", "warning", "error"};
    return words[severity];
}

static const char *severity_color(DiagSeverity severity)
{
    static const char *const codes[] = {"\033[36m", "\033[1;35m", "\033[1;31m"};
    return codes[severity];
}

/* The source line with the range underlined; of a long line only the part around the caret. */
static void put_line(Sink sink, const Diag *diag, Span span, int line, int column, DiagSeverity severity,
                     bool color)
{
    enum { WINDOW = 120, LEAD = 40 };
    const Source *source = &diag->sources[span.file];
    size_t begin = source->line_begin[line - 1], end = begin;
    while (end < source->length && source->text[end] != '\n' && source->text[end] != '\r')
        end++;
    int skipped = 0; /* columns left out in front */
    while (column - skipped > WINDOW - LEAD && begin < end) {
        do
            begin++;
        while (begin < end && ((unsigned char)source->text[begin] & 0xc0) == 0x80);
        skipped++;
    }
    size_t shown = begin;
    for (int i = 0; shown < end && i < WINDOW; i++)
        do
            shown++;
        while (shown < end && ((unsigned char)source->text[shown] & 0xc0) == 0x80);
    char gutter[32];
    int width = snprintf(gutter, sizeof gutter, "%5d | ", line);
    put(sink, gutter);
    put(sink, skipped ? "..." : "");
    put_clean(sink, source->text + begin, shown - begin);
    put(sink, shown < end ? "...\n" : "\n");
    snprintf(gutter, sizeof gutter, "%*s| ", width - 2, "");
    put(sink, gutter);
    for (int i = skipped ? -3 : 0; i < column - 1 - skipped; i++)
        put(sink, " ");
    put_color(sink, color, severity_color(severity));
    put(sink, "^");
    size_t last = span.end < shown ? span.end : shown;
    bool first = true;
    for (size_t at = span.begin; at < last; at++) {
        bool starts = ((unsigned char)source->text[at] & 0xc0) != 0x80;
        if (starts && !first)
            put(sink, "~");
        first = false;
    }
    put_color(sink, color, PLAIN);
    put(sink, "\n");
}

static void put_message(Sink sink, const Diag *diag, const Message *message, bool color)
{
    int line, column;
    diag_locate(diag, message->span, &line, &column);
    put_color(sink, color, BOLD);
    if (line) {
        const char *name = diag->sources[message->span.file].name;
        put_clean(sink, name, strlen(name));
        put(sink, ":");
        put_number(sink, line);
        put(sink, ":");
        put_number(sink, column);
        put(sink, ": ");
    }
    put_color(sink, color, severity_color(message->severity));
    put(sink, severity_word(message->severity));
    put(sink, ": ");
    put_color(sink, color, PLAIN);
    put_clean(sink, message->text, strlen(message->text));
    if (message->severity == DIAG_WARNING) {
        put(sink, " [-W");
        put(sink, message->id);
        put(sink, "]");
    }
    put(sink, "\n");
    if (line)
        put_line(sink, diag, message->span, line, column, message->severity, color);
    if (message->fix) {
        put(sink, line ? "      = " : "  = ");
        put_clean(sink, message->fix, strlen(message->fix));
        put(sink, "\n");
    }
}

static void put_string(Sink sink, const char *text)
{
    size_t length = strlen(text);
    put(sink, "\"");
    for (size_t at = 0; at < length;) {
        size_t step = source_sequence(text + at, length - at);
        unsigned char first = (unsigned char)text[at];
        if (!step) {
            put(sink, "\\ufffd");
        } else if (first < 0x20 || first == '"' || first == '\\') {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", first);
            put(sink, escape);
        } else {
            put_bytes(sink, text + at, step);
        }
        at += step ? step : 1;
    }
    put(sink, "\"");
}

static void put_member(Sink sink, const char *key, long value)
{
    put(sink, ", \"");
    put(sink, key);
    put(sink, "\": ");
    put_number(sink, value);
}

/* {"severity", "id", "message", "fix"?, and with a place: "file", "line", "column", "end_line", "end_column",
 * "begin", "end" (byte offsets)}. */
static void put_json(Sink sink, const Diag *diag, const Message *message)
{
    put(sink, "{\"severity\": ");
    put_string(sink, severity_word(message->severity));
    put(sink, ", \"id\": ");
    put_string(sink, message->id);
    put(sink, ", \"message\": ");
    put_string(sink, message->text);
    if (message->fix) {
        put(sink, ", \"fix\": ");
        put_string(sink, message->fix);
    }
    int line, column, end_line, end_column;
    diag_locate(diag, message->span, &line, &column);
    if (line) {
        Span end = {message->span.file, message->span.end, message->span.end};
        diag_locate(diag, end, &end_line, &end_column);
        put(sink, ", \"file\": ");
        put_string(sink, diag->sources[message->span.file].name);
        put_member(sink, "line", line);
        put_member(sink, "column", column);
        put_member(sink, "end_line", end_line);
        put_member(sink, "end_column", end_column);
        put_member(sink, "begin", (long)message->span.begin);
        put_member(sink, "end", (long)message->span.end);
    }
    put(sink, "}");
}

static void print_to(Sink sink, const Diag *diag, DiagFormat format, bool color)
{
    if (format == DIAG_JSON) {
        put(sink, "[");
        for (const Message *message = diag->first; message; message = message->next) {
            put(sink, message == diag->first ? "\n  " : ",\n  ");
            put_json(sink, diag, message);
        }
        put(sink, diag->first ? "\n]\n" : "]\n");
        return;
    }
    for (const Message *message = diag->first; message; message = message->next)
        put_message(sink, diag, message, color);
    if (diag->error_limit > 0 && diag->errors > diag->error_limit) {
        put_number(sink, diag->errors - diag->error_limit);
        put(sink, " more errors not shown\n");
    }
}

void diag_print(const Diag *diag, FILE *out, DiagFormat format, bool color)
{
    print_to((Sink){.file = out}, diag, format, color);
}

char *diag_to_text(const Diag *diag)
{
    Text text = {.arena = diag->arena};
    text_add(&text, "%s", "");
    print_to((Sink){.text = &text}, diag, DIAG_TEXT, false);
    return text.data;
}
