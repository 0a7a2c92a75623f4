/* What the parts of the parser of the text form share: tokens (tile_lex.c), complaints, expressions. */
#ifndef ATTUNE_TILE_PARSE_H
#define ATTUNE_TILE_PARSE_H

#include "tile_text.h"

typedef enum TokenKind {
    TOKEN_END,    /* of the text, and for ever after the first complaint: every loop ends at it */
    TOKEN_WORD,   /* name, 'quoted name' */
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_VALUE,  /* %3 */
    TOKEN_ARG,    /* $3 */
    TOKEN_SHARED, /* #3 */
    TOKEN_MARK    /* punctuation: its characters are `text` */
} TokenKind;

typedef struct Token {
    TokenKind kind;
    Span span;
    const char *text; /* WORD, MARK */
    bool quoted;
    uint64_t number;  /* INT, VALUE, ARG, SHARED */
    double real;
} Token;

typedef struct Parser {
    Arena *arena;
    Diag *diag;
    const Source *source;
    int source_index;
    uint32_t at;          /* next byte to look at */
    Token token;          /* not yet taken */
    uint32_t taken_end;   /* end of the token taken last */
    const char *comment;  /* between those two, on the line of the first; NULL: none */
    bool failed;
    Program *program;
    Phase *phase;
    Inst **values;        /* by %id */
    size_t value_capacity;
    int depth, operators; /* of the expression at hand */
    const Expr **shared;  /* #k of it */
    size_t shared_count, shared_capacity;
    Inst *const *operands; /* $k of it */
    int operand_count;
} Parser;

void parse_next(Parser *p); /* takes the token */
/* The first complaint is reported and ends the parse, later ones are dropped. */
Message *parse_fail(Parser *p, Span span, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool parse_is(const Parser *p, const char *text);    /* an unquoted word or a mark */
bool parse_accept(Parser *p, const char *text);
void parse_expect(Parser *p, const char *text);
const char *parse_word(Parser *p, const char *what); /* any name */
/* Position of the word in `names`; a complaint that lists them, and 0, when it is none of them. */
int parse_choice(Parser *p, const char *what, const char *const *names, int count);
int64_t parse_int(Parser *p, const char *what);

/* An expression over $0 .. of these operands. Never NULL. */
const Expr *parse_expr(Parser *p, Inst *const *operands, int count);

#endif
