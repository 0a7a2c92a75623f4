/* The tree's tables (from ast_nodes.def) and its builders. */
#include "dsl/ast.h"

#include <string.h>

#include "dsl/parser.h"

const char *node_word(NodeKind kind)
{
    static const char *const words[] = {
#define AST_NODE(kind_, word, fields) [NODE_##kind_] = word,
#include "dsl/ast_nodes.def"
    };
    return words[kind];
}

const char *node_fields(NodeKind kind)
{
    static const char *const texts[] = {
#define AST_NODE(kind_, word, fields) [NODE_##kind_] = fields,
#include "dsl/ast_nodes.def"
    };
    return texts[kind];
}

typedef struct Operator {
    unsigned char operands, precedence;
} Operator;

static const Operator operators[NODE_KIND_COUNT] = {
#define AST_NODE(kind, word, fields)
#define AST_UNARY(kind, spelling, precedence, fields) [NODE_##kind] = {1, precedence},
#define AST_BINARY(kind, spelling, precedence, fields) [NODE_##kind] = {2, precedence},
#include "dsl/ast_nodes.def"
};

bool node_is_binary(NodeKind kind)
{
    return operators[kind].operands == 2;
}

bool node_is_unary(NodeKind kind)
{
    return operators[kind].operands == 1;
}

int node_precedence(NodeKind kind)
{
    if (operators[kind].operands)
        return operators[kind].precedence;
    return kind == NODE_LET_IN || kind == NODE_IF ? 0 : 100;
}

bool node_equal(const Node *a, const Node *b)
{
    if (!a || !b)
        return a == b;
    if (a->kind != b->kind || a->flags != b->flags || a->count != b->count || a->integer != b->integer ||
        memcmp(&a->number, &b->number, sizeof a->number) != 0 || !a->name != !b->name)
        return false;
    if (a->name && a->kind != NODE_FILE && strcmp(a->name, b->name) != 0)
        return false;
    if (a->kind == NODE_IMPORT)
        return true;
    for (int i = 0; i < a->count; i++)
        if (!node_equal(a->child[i], b->child[i]))
            return false;
    return true;
}

Node *ast_main(const Ast *ast)
{
    return ast->files[ast->file_count - 1].node;
}

/* The tree's size is counted as a walk sees it, that is with the shared middle of a chain twice. */
static void count_child(Parser *parser, Node *node, const Node *child)
{
    if (!child)
        return;
    if (child->height >= node->height)
        node->height = child->height + 1;
    node->size += child->size;
    if (node->size > DSL_MAX_NODES)
        parser_stop(parser, node->span, "too-many-nodes", "the file has more than %d nodes; split it",
                    DSL_MAX_NODES);
    if (node->height > DSL_MAX_NESTING)
        parser_stop(parser, node->span, "nesting", "nested more than %d deep", DSL_MAX_NESTING);
}

Node *node_new(Parser *parser, NodeKind kind, Span span, int count, Node *const *children)
{
    Node *node = ARENA_NEW(parser->arena, Node);
    *node = (Node){.kind = kind, .span = span, .name_span = SPAN_NONE, .height = 1, .size = 1};
    if (count) {
        node->child = ARENA_ARRAY(parser->arena, Node *, (size_t)count);
        memcpy(node->child, children, (size_t)count * sizeof(Node *));
        node->count = count;
    }
    for (int i = 0; i < count; i++)
        count_child(parser, node, children[i]);
    return node;
}

Node *node_leaf(Parser *parser, NodeKind kind, Span span, const char *name)
{
    return node_named(node_new(parser, kind, span, 0, NULL), name, span);
}

Node *node_named(Node *node, const char *name, Span name_span)
{
    node->name = name;
    node->name_span = name_span;
    return node;
}

Node *node_append(Parser *parser, Node *list, Node *child)
{
    if (!list)
        list = node_new(parser, NODE_LIST, child->span, 0, NULL);
    /* Room doubles at every power of two. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t count = (size_t)list->count;
        list->child = arena_grow(parser->arena, list->child, count, count ? count * 2 : 1, sizeof(Node *));
    }
    list->span = list->count ? span_join(list->span, child->span) : child->span;
    list->child[list->count++] = child;
    count_child(parser, list, child);
    return list;
}

/* +1: ascending (< <=), -1: descending, 0: == goes with either, 2: != with neither. */
static int direction(NodeKind op)
{
    switch (op) {
    case NODE_LT:
    case NODE_LE:
        return 1;
    case NODE_GT:
    case NODE_GE:
        return -1;
    case NODE_EQ:
        return 0;
    default:
        return 2;
    }
}

Node *node_chain(Parser *parser, NodeKind op, Node *left, Node *right, Span span)
{
    int way = direction(op);
    for (const Node *walk = left; way != 2; walk = walk->child[0]) {
        bool more = walk->flags & NODE_CHAIN;
        int one = direction((more ? walk->child[1] : walk)->kind);
        if (one == 2 || one * way < 0)
            way = 2;
        else if (one)
            way = one;
        if (!more)
            break;
    }
    if (way == 2) {
        Message *message = diag_error(parser->diag, span, "mixed-chain",
                                      "the comparisons of a chain must all point the same way");
        diag_fix(parser->diag, message, "join two comparisons with 'and'");
    }
    const Node *last = left->flags & NODE_CHAIN ? left->child[1] : left;
    Node *middle = last->child[1];
    Node *next = NODE(parser, op, span_join(middle->span, right->span), middle, right);
    Node *both = NODE(parser, NODE_AND, span, left, next);
    both->flags = NODE_CHAIN;
    return both;
}

Node *node_call(Parser *parser, const char *name, Span name_span, Node *arguments, Span span)
{
    Node *call = node_named(node_new(parser, NODE_CALL, span, arguments ? arguments->count : 0,
                                     arguments ? arguments->child : NULL), name, name_span);
    for (int i = 1; i < call->count; i++)
        if (call->child[i]->kind != NODE_NAMED && call->child[i - 1]->kind == NODE_NAMED)
            diag_error(parser->diag, call->child[i]->span, "argument-order",
                       "a positional argument stands after a named one");
    return call;
}
