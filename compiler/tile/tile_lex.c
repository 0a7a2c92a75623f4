/* Tokens of the text form, and what every part of the parser does with them. */
#include "tile_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

Message *parse_fail(Parser *p, Span span, const char *format, ...)
{
    if (p->failed)
        return NULL;
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(p->arena, format, args);
    va_end(args);
    p->failed = true;
    p->token.kind = TOKEN_END;
    return diag_error(p->diag, span, "tile-syntax", "%s", text);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Over blanks and comments; keeps the comment that stands on the line of the token before. */
static void skip_blanks(Parser *p)
{
    const char *text = p->source->text;
    bool same_line = true;
    p->comment = NULL;
    for (;; p->at++) {
        char c = text[p->at];
        if (c == ';') {
            uint32_t begin = p->at + 1 + (text[p->at + 1] == ' ');
            while (p->at < p->source->length && text[p->at] != '\n')
                p->at++;
            if (same_line && begin < p->at)
                p->comment = arena_strndup(p->arena, text + begin, p->at - begin);
            c = text[p->at];
        }
        if (c == '\n')
            same_line = false;
        else if (c != ' ' && c != '\t' && c != '\r')
            return;
    }
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void lex_quoted(Parser *p, Token *token)
{
    const char *text = p->source->text;
    uint32_t at = p->at + 1;
    Text name = {.arena = p->arena};
    text_add_bytes(&name, "", 0); /* '' is a name too */
    for (; text[at] != '\''; at++) {
        char c = text[at];
        if (c == '\n' || c == '\0') {
            parse_fail(p, (Span){p->source_index, p->at, at}, "the quoted name does not end on its line");
            return;
        }
        if (c == '\\') {
            int high = text[at + 1] == 'x' ? hex_digit(text[at + 2]) : -1;
            int low = high >= 0 ? hex_digit(text[at + 3]) : -1;
            if (low < 0 || high + low == 0) {
                parse_fail(p, (Span){p->source_index, at, at + 1},
                           "expected \\x and two hexadecimal digits, not 00");
                return;
            }
            c = (char)(high * 16 + low);
            at += 3;
        }
        text_add_bytes(&name, &c, 1);
    }
    p->at = at + 1;
    token->kind = TOKEN_WORD;
    token->quoted = true;
    token->text = name.data;
}

static void lex_number(Parser *p, Token *token)
{
    const char *text = p->source->text;
    uint32_t begin = p->at, at = begin;
    bool real = false;
    while (is_digit(text[at]))
        at++;
    if (text[at] == '.' && text[at + 1] != '.') {
        real = true;
        for (at++; is_digit(text[at]); at++)
            ;
    }
    if (text[at] == 'e') {
        uint32_t exponent = at + 1 + (text[at + 1] == '+' || text[at + 1] == '-');
        if (is_digit(text[exponent])) {
            real = true;
            for (at = exponent; is_digit(text[at]); at++)
                ;
        }
    }
    p->at = at;
    token->kind = real ? TOKEN_FLOAT : TOKEN_INT;
    errno = 0;
    if (real)
        token->real = strtod(text + begin, NULL);
    else
        token->number = strtoull(text + begin, NULL, 10);
    if (!real && errno == ERANGE)
        parse_fail(p, (Span){p->source_index, begin, at}, "the number does not fit in 64 bits");
}

static void lex_word(Parser *p, Token *token)
{
    const char *text = p->source->text;
    uint32_t begin = p->at;
    while (is_letter(text[p->at]) || is_digit(text[p->at]) ||
           (text[p->at] == '.' && (is_letter(text[p->at + 1]) || is_digit(text[p->at + 1]))))
        p->at++;
    token->kind = TOKEN_WORD;
    token->text = arena_strndup(p->arena, text + begin, p->at - begin);
}

static void lex_mark(Parser *p, Token *token)
{
    static const char *const marks[] = {"<=", ">=", "==", "!=", "..", "{", "}", "(", ")", "[", "]", ",", ":",
                                        "=",  "+",  "-",  "*",  "/",  "%", "^", "<", ">"};
    const char *text = p->source->text + p->at;
    token->kind = TOKEN_MARK;
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
        if (!strncmp(text, marks[k], strlen(marks[k]))) {
            token->text = marks[k];
            p->at += (uint32_t)strlen(marks[k]);
            return;
        }
    if ((unsigned char)text[0] < ' ' || (unsigned char)text[0] > '~')
        parse_fail(p, (Span){p->source_index, p->at, p->at + 1}, "byte 0x%02x means nothing here",
                   (unsigned char)text[0]);
    else
        parse_fail(p, (Span){p->source_index, p->at, p->at + 1}, "'%c' means nothing here", text[0]);
}

void parse_next(Parser *p)
{
    if (p->failed)
        return;
    p->taken_end = p->token.span.end;
    skip_blanks(p);
    const char *text = p->source->text;
    char c = text[p->at];
    Token *token = &p->token;
    *token = (Token){.kind = TOKEN_END, .span = {p->source_index, p->at, p->at}};
    if (p->at >= p->source->length)
        return;
    if (is_letter(c)) {
        lex_word(p, token);
    } else if (c == '\'') {
        lex_quoted(p, token);
    } else if (is_digit(c)) {
        lex_number(p, token);
    } else if ((c == '%' || c == '$' || c == '#') && is_digit(text[p->at + 1])) {
        p->at++;
        char *end;
        token->kind = c == '%' ? TOKEN_VALUE : c == '$' ? TOKEN_ARG : TOKEN_SHARED;
        token->number = strtoull(text + p->at, &end, 10);
        p->at = (uint32_t)(end - text);
    } else {
        lex_mark(p, token);
    }
    token->span.end = p->at;
    if (p->failed)
        token->kind = TOKEN_END;
}

bool parse_is(const Parser *p, const char *text)
{
    return (p->token.kind == TOKEN_WORD || p->token.kind == TOKEN_MARK) && !p->token.quoted &&
           !strcmp(p->token.text, text);
}

bool parse_accept(Parser *p, const char *text)
{
    bool is = parse_is(p, text);
    if (is)
        parse_next(p);
    return is;
}

void parse_expect(Parser *p, const char *text)
{
    if (!parse_accept(p, text))
        parse_fail(p, p->token.span, "expected '%s'", text);
}

const char *parse_word(Parser *p, const char *what)
{
    const char *word = p->token.text;
    if (p->token.kind != TOKEN_WORD) {
        parse_fail(p, p->token.span, "expected %s", what);
        return "";
    }
    parse_next(p);
    return word;
}

int parse_choice(Parser *p, const char *what, const char *const *names, int count)
{
    Span span = p->token.span;
    const char *word = parse_word(p, what);
    for (int k = 0; k < count; k++)
        if (!strcmp(word, names[k]))
            return k;
    Text list = {.arena = p->arena};
    for (int k = 0; k < count; k++)
        text_add(&list, "%s%s", k ? ", " : "", names[k]);
    Message *message =
        parse_fail(p, span, "'%s' is not %s: expected one of %s", word, what, count ? list.data : "none");
    const char *near = message ? diag_nearest(word, names, count) : NULL;
    if (near)
        diag_fix(p->diag, message, "did you mean '%s'?", near);
    return 0;
}

int64_t parse_int(Parser *p, const char *what)
{
    bool negative = parse_accept(p, "-");
    Token token = p->token;
    if (token.kind != TOKEN_INT) {
        parse_fail(p, token.span, "expected %s, a whole number", what);
        return 0;
    }
    if (token.number > INT64_MAX)
        parse_fail(p, token.span, "the number does not fit in 64 bits");
    parse_next(p);
    return negative ? -(int64_t)token.number : (int64_t)token.number;
}
