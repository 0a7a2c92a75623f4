/* Around the generated parser: brackets, limits, and the wording of syntax errors. */
#include "dsl/parser.h"

#include <string.h>

#include "dsl/lexer.h"

static _Thread_local Parser *running;

void *parser_allocate(size_t size)
{
    return arena_alloc(running->arena, size);
}

void parser_run(Parser *parser)
{
    running = parser;
    parser->previous = parser->current = SPAN_NONE;
    parser->current.end = 0;
    lexer_begin(parser);
    dsl_yyparse(parser);
    if (!parser->root)
        parser->root = node_new(parser, NODE_FILE, (Span){parser->source, 0, 0}, 0, NULL);
    parser->root->span = (Span){parser->source, 0, (uint32_t)parser->length};
    running = NULL;
}

void parser_stop(Parser *parser, Span span, const char *id, const char *format, ...)
{
    if (parser->stopped)
        return;
    parser->stopped = true;
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(parser->arena, format, args);
    va_end(args);
    diag_error(parser->diag, span, id, "%s", text);
}

/* ---- the token stream: brackets are counted, missing braces put in before what cannot stand in them ---- */

static bool open_is(const Parser *parser, const char *any_of)
{
    return parser->depth && strchr(any_of, parser->open[parser->depth - 1].open);
}

static bool begins_item(int token)
{
    switch (token) {
    case PARAM:
    case INPUT:
    case LEARNED:
    case MASK:
    case SIMILARITY:
    case SCORE:
    case FEATURE:
    case NORMALIZE:
    case DECAY:
    case SELECT:
    case OUTPUT:
    case RETURN:
    case STREAM:
    case SCHEDULE:
        return true;
    default:
        return false;
    }
}

/* Keeps the stack of open brackets; gives '}' instead of `token` when a brace is missing before it, which is
 * reported unless `again`: once for a token that several braces are missing before. */
static int match_brackets(Parser *parser, int token, Span span, bool again)
{
    bool top_level = token == ATTENTION || token == DEF || token == IMPORT || token == 0;
    if (top_level || begins_item(token) || token == '}')
        for (; open_is(parser, "(["); parser->depth--)
            if (!parser->unclosed.open)
                parser->unclosed = parser->open[parser->depth - 1];
    if (top_level && parser->depth) {
        Span brace = parser->open[--parser->depth].span;
        if (again)
            return '}';
        diag_error(parser->diag, span, "missing-brace", "'}' is missing before %s%.*s%s", token ? "'" : "",
                   token ? (int)(span.end - span.begin) : 23,
                   token ? parser->text + span.begin : "the end of the file", token ? "'" : "");
        diag_note(parser->diag, brace, "to close this '{'");
        return '}';
    }
    if (token == '(' || token == '[' || token == '{') {
        if (parser->depth == DSL_MAX_NESTING) {
            parser_stop(parser, span, "nesting", "brackets are nested more than %d deep", DSL_MAX_NESTING);
            return 0;
        }
        parser->open[parser->depth++] = (Bracket){(char)token, span};
    } else if (((token == ')' || token == ']') && open_is(parser, "([")) || (token == '}' && parser->depth)) {
        parser->depth--;
    }
    return token;
}

int dsl_yylex(DSL_YYSTYPE *value, Span *span, Parser *parser)
{
    int token;
    bool again = parser->has_pending;
    if (again) {
        token = parser->pending;
        value->token = parser->pending_value;
        *span = parser->pending_span;
        parser->has_pending = false;
    } else {
        parser->unclosed = (Bracket){0};
        value->token = (Token){0};
        token = parser->stopped ? 0 : lexer_scan(value, span, parser->scanner);
    }
    if (token == 0) {
        uint32_t end = (uint32_t)parser->length;
        *span = (Span){parser->source, end, end};
    }
    int result = parser->stopped ? 0 : match_brackets(parser, token, *span, again);
    if (result != token && result) {
        parser->has_pending = true;
        parser->pending = token;
        parser->pending_value = value->token;
        parser->pending_span = *span;
        *span = (Span){parser->source, parser->current.end, parser->current.end};
    }
    parser->previous = parser->current;
    parser->current = *span;
    return result;
}

/* ---- syntax errors ---- */

static bool is_word(const char *token)
{
    for (int i = 0; dsl_keywords[i]; i++)
        if (strcmp(dsl_keywords[i], token) == 0)
            return true;
    return false;
}

static bool among(const char *word, const char *const *list, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

#define AMONG(word, list) among((word), (list), (int)(sizeof(list) / sizeof((list)[0])))

static const char *const expression_starts[] = {
    "a name", "a number", "a decimal number", "true", "false", "'('", "'-'", "not", "if", "let",
};
static const char *const operators[] = {
    "'+'", "'-'", "'*'", "'/'", "'%'", "'^'", "'<'", "'>'", "<=", ">=", "==", "!=", "and", "or", "'['", "'.'",
    "'('",
};
static const char *const items[] = {
    "param",     "input", "learned", "let",    "mask",   "similarity", "score",    "feature",
    "normalize", "decay", "select",  "output", "return", "stream",     "schedule",
};

/* The expected tokens in words, gathered into "an expression", "an operator", "an item". */
static char *expected_text(Parser *parser, const char *const *expected, int count)
{
    bool expression = among("a number", expected, count);
    bool after = among("'+'", expected, count);
    bool item = among("mask", expected, count);
    const char *parts[64];
    int part_count = 0;
    if (expression)
        parts[part_count++] = "an expression";
    for (int i = 0; i < count && part_count < 60; i++) {
        const char *one = expected[i];
        if (strcmp(one, "the end of the file") == 0 || (expression && AMONG(one, expression_starts)) ||
            (item && AMONG(one, items)) ||
            (after && (AMONG(one, operators) || (among("'='", expected, count) &&
                                                 (strcmp(one, "'='") == 0 || strcmp(one, "in") == 0)))))
            continue;
        bool bare = one[0] == '\'' || strncmp(one, "a ", 2) == 0;
        parts[part_count++] = bare ? one : arena_printf(parser->arena, "'%s'", one);
    }
    if (after)
        parts[part_count++] = "an operator";
    if (item)
        parts[part_count++] = "an item";
    if (among("the end of the file", expected, count))
        parts[part_count++] = "the end of the file";
    Text text = {.arena = parser->arena};
    for (int i = 0; i < part_count; i++)
        text_add(&text, "%s%s", i == 0 ? "" : i == part_count - 1 ? " or " : ", ", parts[i]);
    return part_count ? text.data : NULL;
}

static const char *token_text(Parser *parser, Span span)
{
    int length = (int)(span.end - span.begin);
    bool cut = length > 40;
    return arena_printf(parser->arena, "'%.*s%s'", cut ? 40 : length, parser->text + span.begin,
                        cut ? "..." : "");
}

/* What to write instead, where the mistake is a common one. */
static void suggest(Parser *parser, Message *message, Span span, const char *found,
                    const char *const *expected, int count)
{
    if (!message)
        return;
    bool expression = among("a number", expected, count);
    bool after = among("'+'", expected, count);
    const char *text = token_text(parser, span);
    if (strcmp(found, "a name") == 0) {
        const char *words[64];
        int word_count = 0;
        for (int i = 0; i < count && word_count < 64; i++)
            if (is_word(expected[i]))
                words[word_count++] = expected[i];
        char *name = arena_strndup(parser->arena, parser->text + span.begin, span.end - span.begin);
        const char *near = diag_nearest(name, words, word_count);
        if (near)
            diag_fix(parser->diag, message, "did you mean '%s'?", near);
        else if (among("mask", expected, count) && !after)
            diag_fix(parser->diag, message,
                     "an item begins with param, input, let, mask, score, similarity, feature, "
                     "normalize, decay, select, output, return, stream or schedule");
    } else if (is_word(found) && !expression && among("a name", expected, count)) {
        diag_fix(parser->diag, message, "%s is a reserved word; choose another name", text);
        parser->misused = span;
    } else if (strcmp(found, "'='") == 0 && among("==", expected, count)) {
        diag_fix(parser->diag, message, "equality is written '=='");
    } else if (strcmp(found, "'='") == 0 && count == 1 && strcmp(expected[0], "':'") == 0) {
        diag_fix(parser->diag, message, "a parameter needs a type, as in 'window: int = 1024'");
    }
}

/* True when what is missing belongs at the end of a line before `span`, not where the next token stands. */
static bool ends_earlier(const Parser *parser, Span span, const char *const *expected, int count)
{
    if (among("mask", expected, count) || among("attention", expected, count))
        return false;
    for (uint32_t at = parser->previous.end; at < span.begin; at++)
        if (parser->text[at] == '\n')
            return true;
    return false;
}

void parser_syntax_error(Parser *parser, Span span, const char *found, const char *const *expected, int count)
{
    /* parser->current is the token that was found, previous the one before it. */
    Span previous = parser->previous;
    if (parser->stopped || (parser->misused.end && previous.begin == parser->misused.begin))
        return;
    const char *wanted = expected_text(parser, expected, count);
    bool empty = span.begin == span.end;
    const char *seen = !empty                ? token_text(parser, span)
                       : parser->has_pending ? "'}'"
                                             : "the end of the file";
    bool first = previous.file < 0 || previous.begin == previous.end;
    Span place = !first && ends_earlier(parser, span, expected, count) ?
                 (Span){span.file, previous.end, previous.end} : span;
    Message *message;
    if (!wanted)
        message = diag_error(parser->diag, place, "syntax", "unexpected %s", seen);
    else if (first)
        message = diag_error(parser->diag, place, "syntax", "expected %s, found %s", wanted, seen);
    else
        message = diag_error(parser->diag, place, "syntax", "expected %s after %s, found %s", wanted,
                             token_text(parser, previous), seen);
    suggest(parser, message, span, found, expected, count);
    char open = parser->unclosed.open;
    if (message && open && among(open == '(' ? "')'" : "']'", expected, count))
        diag_note(parser->diag, parser->unclosed.span, "to close this '%c'", open);
}
