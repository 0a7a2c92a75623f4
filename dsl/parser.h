/* What the lexer, the grammar and the tree builders of one parse share. Private to dsl/. */
#ifndef ATTUNE_DSL_PARSER_H
#define ATTUNE_DSL_PARSER_H

#include "dsl/ast.h"
#include "dsl/dsl.h"
#include "dsl/name.h"

typedef struct Token {
    const char *name; /* NAME, STRING (without quotes), digits as written */
    int64_t integer;
    double number;
} Token;

typedef struct Bracket {
    char open;
    Span span;
} Bracket;

/* State of the parse of one file. */
typedef struct Parser {
    Arena *arena;
    Diag *diag;
    Names *names;
    int source;
    const char *text;
    size_t length;
    void *scanner;     /* flex's state */
    size_t offset;     /* of the byte after the current match */
    Node *root;
    Comment *comments;
    int comment_count, comment_room;
    Bracket open[DSL_MAX_NESTING + 1]; /* open brackets, outermost first */
    int depth;
    Bracket unclosed; /* the innermost '(' or '[' that the current token cannot stand in; open = 0: none */
    Span previous, current; /* the last two tokens */
    bool has_pending; /* a token was read already; it is handed out once missing braces are closed */
    int pending;
    Token pending_value;
    Span pending_span;
    Span misused; /* a reserved word that stood where a name should: what follows it is not an item */
    bool stopped; /* a limit was passed and reported: only the end of file follows */
} Parser;

/* Parses the file that `parser` describes; parser->root is its FILE. */
void parser_run(Parser *parser);
/* Reports `text` once as the reason to read no further. */
void parser_stop(Parser *parser, Span span, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Memory for the generated parser's stacks; from the arena of the parse that runs in this thread. */
void *parser_allocate(size_t size);

/* Reports that `found` stands at `span` where one of `expected` was wanted; all are the grammar's names of
 * tokens: "a name", "'('", "mask". */
void parser_syntax_error(Parser *parser, Span span, const char *found, const char *const *expected,
                         int count);

/* Builders for the grammar's actions. None returns NULL. */
Node *node_new(Parser *parser, NodeKind kind, Span span, int count, Node *const *children);
#define NODE(parser, kind, span, ...) \
    node_new((parser), (kind), (span), (int)(sizeof((Node *[]){__VA_ARGS__}) / sizeof(Node *)), \
             (Node *[]){__VA_ARGS__})
Node *node_leaf(Parser *parser, NodeKind kind, Span span, const char *name);
/* Sets name and name_span; returns node. */
Node *node_named(Node *node, const char *name, Span name_span);
/* Adds a child at the end and widens the span; NULL `list` starts a LIST. */
Node *node_append(Parser *parser, Node *list, Node *child);
/* Goes on with a chain: left is a comparison, or an AND of comparisons made here; a <= b < c. */
Node *node_chain(Parser *parser, NodeKind op, Node *left, Node *right, Span span);
Node *node_call(Parser *parser, const char *name, Span name_span, Node *arguments, Span span);

#endif
