/* The syntax tree: what was written, nothing more. One struct for every kind; ast_nodes.def says what the
 * fields of each kind mean. Trees are at most DSL_MAX_NESTING high and a walk of one visits at most
 * DSL_MAX_NODES nodes, so it may recurse. A node may have two parents in two places only: the middle of a
 * chained comparison, and a FILE that is imported (a walk does not follow imports). */
#ifndef ATTUNE_AST_H
#define ATTUNE_AST_H

#include "dsl/diag.h"

typedef enum NodeKind {
#define AST_NODE(kind, word, fields) NODE_##kind,
#include "dsl/ast_nodes.def"
    NODE_KIND_COUNT
} NodeKind;

typedef enum NodeFlag {
    NODE_CONST = 1,   /* PARAM: `param const` */
    NODE_LEARNED = 2, /* INPUT: `learned input` */
    NODE_CHAIN = 4,   /* AND: made from a chained comparison */
} NodeFlag;

typedef struct Node {
    NodeKind kind;
    unsigned flags; /* NodeFlag bits */
    Span span, name_span;
    const char *name;
    int64_t integer;
    double number;
    struct Node **child;
    int count;
    int height;    /* 1 + the highest child's */
    int size;      /* nodes that a walk of the tree visits */
    uint32_t open; /* of ATTENTION, STREAM, SCHEDULE: the offset of the `{` */
} Node;

/* A comment of one file, in order; the printer puts it back. */
typedef struct Comment {
    Span span;
    bool own_line;      /* nothing but blanks before it on its line */
    uint32_t after_end; /* where the token before it ends; 0: none */
} Comment;

typedef struct AstFile {
    Node *node; /* NODE_FILE */
    int source; /* its index in the Diag */
    const Comment *comments;
    int comment_count;
} AstFile;

typedef struct Names Names;

/* The whole parse: every file once, each after the files that it imports; the last is the one asked for. */
typedef struct Ast {
    Names *names;
    AstFile *files;
    int file_count;
} Ast;

/* The main file's NODE_FILE. */
Node *ast_main(const Ast *ast);

/* The word of a kind as in ast_nodes.def, e.g. "call", "+". */
const char *node_word(NodeKind kind);
/* What stands in the field column of ast_nodes.def. */
const char *node_fields(NodeKind kind);
bool node_is_binary(NodeKind kind);
bool node_is_unary(NodeKind kind);
/* Precedence of an operator kind; 100 for primaries; 0 for LET_IN and IF. */
int node_precedence(NodeKind kind);
/* Same kinds, names, numbers, flags and children; spans and comments do not count, nor what is imported. */
bool node_equal(const Node *a, const Node *b);

/* The canonical text of one file, comments kept (what `attune fmt` writes). In the arena; NULL for a file
 * with errors in it. Printing the parse of a printed text gives the same text. */
char *ast_print(Arena *arena, const Diag *diag, const AstFile *file);
/* One expression (or any other node) on one line, for messages and dumps. */
char *node_print(Arena *arena, const Node *node);

#endif
