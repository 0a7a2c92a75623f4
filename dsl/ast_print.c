/* The canonical text of a tree: one item a line, four blanks a level, lines of at most LINE columns where an
 * expression can be broken, comments where they were. What it prints parses to the same tree, and printing
 * that gives the same text again. */
#include <string.h>

#include "dsl/ast.h"

enum { LINE = 100, INDENT = 4 };

/* Where flat text goes: into `text`, or, when that is NULL, it is only measured, to a little past `limit`. */
typedef struct Out {
    Text *text;
    int width, limit;
} Out;

static void put_bytes(Out *out, const char *bytes, size_t length)
{
    if (out->text)
        text_add_bytes(out->text, bytes, length);
    else
        out->width += (int)length;
}

static void put(Out *out, const char *string)
{
    put_bytes(out, string, strlen(string));
}

/* ---- on one line ---- */

static void flat(Out *out, const Node *node, int least);

static void flat_list(Out *out, Node *const *children, int count)
{
    for (int i = 0; i < count; i++) {
        put(out, i ? ", " : "");
        flat(out, children[i], 0);
    }
}

/* A chain of comparisons binds like one comparison. */
static int precedence(const Node *node)
{
    return node->flags & NODE_CHAIN ? node_precedence(NODE_LT) : node_precedence(node->kind);
}

static bool is_comparison(const Node *node)
{
    return precedence(node) == node_precedence(NODE_LT);
}

/* The least precedence that child `index` of an operator may have without parentheses. */
static int least_of(const Node *node, int index)
{
    int own = precedence(node);
    if (node->kind == NODE_POW)
        return index == 0 ? node_precedence(NODE_NAME) : node_precedence(NODE_NEG);
    return index == 0 && !(is_comparison(node) && !(node->flags & NODE_CHAIN)) ? own : own + 1;
}

/* What stands left of a member or an index: a number needs parentheses before a point. */
static void flat_base(Out *out, const Node *base)
{
    bool number = base->kind == NODE_INTEGER || base->kind == NODE_REAL;
    put(out, number ? "(" : "");
    flat(out, base, node_precedence(NODE_NAME));
    put(out, number ? ")" : "");
}

static void flat_expression(Out *out, const Node *node)
{
    if (node_is_unary(node->kind)) {
        put(out, node_word(node->kind));
        put(out, node->kind == NODE_NOT ? " " : "");
        flat(out, node->child[0], precedence(node));
        return;
    }
    if (node_is_binary(node->kind)) {
        const Node *last = node->flags & NODE_CHAIN ? node->child[1] : node;
        flat(out, node->child[0], least_of(node, 0));
        put(out, last->kind == NODE_POW ? "" : " ");
        put(out, node_word(last->kind));
        put(out, last->kind == NODE_POW ? "" : " ");
        flat(out, last->child[1], least_of(last, 1));
        return;
    }
    switch (node->kind) {
    case NODE_BOOLEAN:
        put(out, node->integer ? "true" : "false");
        break;
    case NODE_TUPLE:
        put(out, "(");
        flat_list(out, node->child, node->count);
        put(out, ")");
        break;
    case NODE_CALL:
        put(out, node->name);
        put(out, "(");
        flat_list(out, node->child, node->count);
        put(out, ")");
        break;
    case NODE_NAMED:
        put(out, node->name);
        put(out, " = ");
        flat(out, node->child[0], 0);
        break;
    case NODE_TYPE:
        put(out, node->name);
        if (node->count) {
            put(out, "(");
            flat_list(out, node->child, node->count);
            put(out, ")");
        }
        break;
    case NODE_INDEX:
        flat_base(out, node->child[0]);
        put(out, "[");
        flat_list(out, node->child + 1, node->count - 1);
        put(out, "]");
        break;
    case NODE_MEMBER:
        flat_base(out, node->child[0]);
        put(out, ".");
        put(out, node->name);
        break;
    case NODE_REDUCE:
        put(out, node->name);
        put(out, "(");
        put(out, node->child[0]->name);
        put(out, " in ");
        flat(out, node->child[1], 0);
        put(out, "..");
        flat(out, node->child[2], 0);
        put(out, ", ");
        flat(out, node->child[3], 0);
        put(out, ")");
        break;
    case NODE_LET_IN:
        put(out, "let ");
        put(out, node->name);
        put(out, " = ");
        flat(out, node->child[0], 0);
        put(out, " in ");
        flat(out, node->child[1], 0);
        break;
    case NODE_IF:
        put(out, "if ");
        flat(out, node->child[0], 0);
        put(out, " then ");
        flat(out, node->child[1], 0);
        put(out, " else ");
        flat(out, node->child[2], 0);
        break;
    case NODE_LIST:
        flat_list(out, node->child, node->count);
        break;
    default: /* NAME, INTEGER, REAL; an ERROR has no name */
        put(out, node->name ? node->name : "<error>");
        break;
    }
}

/* The text before an item's last expression, if it has one. */
static void flat_head(Out *out, const Node *node)
{
    switch (node->kind) {
    case NODE_IMPORT:
        put(out, "import \"");
        put(out, node->name);
        put(out, "\"");
        break;
    case NODE_DEF:
        put(out, "def ");
        put(out, node->name);
        put(out, "(");
        flat(out, node->child[0], 0);
        put(out, ")");
        if (node->child[1]) {
            put(out, ": ");
            flat(out, node->child[1], 0);
        }
        put(out, " = ");
        break;
    case NODE_DEF_PARAM:
        put(out, node->name);
        if (node->child[0]) {
            put(out, ": ");
            flat(out, node->child[0], 0);
        }
        break;
    case NODE_ATTENTION:
        put(out, "attention ");
        put(out, node->name);
        if (node->child[0]) {
            put(out, " over (");
            flat(out, node->child[0], 0);
            put(out, ")");
        }
        break;
    case NODE_PARAM:
        put(out, node->flags & NODE_CONST ? "param const " : "param ");
        put(out, node->name);
        put(out, ": ");
        flat(out, node->child[0], 0);
        put(out, node->child[1] ? " = " : "");
        break;
    case NODE_INPUT:
        put(out, node->flags & NODE_LEARNED ? "learned input " : "input ");
        put(out, node->name);
        if (node->child[0]) {
            put(out, "[");
            flat(out, node->child[0], 0);
            put(out, "]");
        }
        put(out, ": ");
        flat(out, node->child[1], 0);
        break;
    case NODE_LET:
        put(out, "let ");
        put(out, node->name);
        put(out, " = ");
        break;
    case NODE_FEATURE:
        put(out, "feature ");
        flat(out, node->child[0], 0);
        if (node->child[1]) {
            put(out, " [");
            flat(out, node->child[1], 0);
            put(out, "]");
        }
        put(out, " = ");
        break;
    case NODE_SELECT:
        put(out, "select ");
        flat(out, node->child[0], 0);
        for (int i = 1; i < 4; i++) {
            if (!node->child[i])
                continue;
            put(out, i == 2 ? " by " : i == 3 ? " always " : " ");
            flat(out, node->child[i], 0);
        }
        break;
    case NODE_SETTING:
        put(out, node->name);
        put(out, " = ");
        break;
    case NODE_STREAM:
    case NODE_SCHEDULE:
        put(out, node_word(node->kind));
        put(out, " ");
        put(out, node->name);
        break;
    default: /* mask, score, ..., return: the word, then the expression */
        put(out, node_word(node->kind));
        put(out, " ");
        break;
    }
}

/* What stands after the head, or NULL. */
static const Node *last_expression(const Node *node)
{
    switch (node->kind) {
    case NODE_DEF:
    case NODE_FEATURE:
        return node->child[2];
    case NODE_PARAM:
        return node->child[1];
    case NODE_LET:
    case NODE_SETTING:
    case NODE_MASK:
    case NODE_SIMILARITY:
    case NODE_SCORE:
    case NODE_NORMALIZE:
    case NODE_DECAY:
    case NODE_OUTPUT:
    case NODE_RETURN:
        return node->child[0];
    default:
        return NULL;
    }
}

/* The list between the braces, or NULL. */
static const Node *block_of(const Node *node)
{
    return node->kind == NODE_ATTENTION ? node->child[1] :
           node->kind == NODE_STREAM || node->kind == NODE_SCHEDULE ? node->child[0] : NULL;
}

static bool is_item(NodeKind kind)
{
    return kind < NODE_TYPE && kind != NODE_FILE;
}

static void flat(Out *out, const Node *node, int least)
{
    if (!node || (!out->text && out->width > out->limit))
        return;
    if (is_item(node->kind)) {
        const Node *block = block_of(node);
        flat_head(out, node);
        if (last_expression(node))
            flat(out, last_expression(node), 0);
        if (block) {
            put(out, " { ");
            for (int i = 0; i < block->count; i++) {
                flat(out, block->child[i], 0);
                put(out, "  ");
            }
            put(out, "}");
        }
        return;
    }
    bool parentheses = precedence(node) < least;
    put(out, parentheses ? "(" : "");
    flat_expression(out, node);
    put(out, parentheses ? ")" : "");
}

char *node_print(Arena *arena, const Node *node)
{
    Text text = {.arena = arena};
    text_add(&text, "%s", "");
    if (node->kind == NODE_FILE)
        for (int i = 0; i < node->count; i++) {
            text_add(&text, "%s", i ? "  " : "");
            flat(&(Out){.text = &text}, node->child[i], 0);
        }
    else
        flat(&(Out){.text = &text}, node, 0);
    return text.data;
}

/* ---- over several lines ---- */

typedef struct Printer {
    Text text;
    const char *source;
    const Comment *comments;
    int count, next;    /* comments; the first that is not printed yet */
    uint32_t last_end;  /* where in the source what was printed last ends */
    bool fresh;         /* nothing printed yet, or a brace just opened: no blank line here */
    bool force_blank;
} Printer;

static int column(const Printer *printer)
{
    size_t at = printer->text.length;
    while (at && printer->text.data[at - 1] != '\n')
        at--;
    return (int)(printer->text.length - at);
}

static void newline(Printer *printer, int indent)
{
    text_add(&printer->text, "\n%*s", indent, "");
}

/* Several definitions in a row, or several conditions, always get a line each. */
static bool wants_lines(const Node *node)
{
    if (!node)
        return false;
    if ((node->kind == NODE_LET_IN || node->kind == NODE_IF) &&
        node->child[node->count - 1]->kind == node->kind)
        return true;
    for (int i = 0; i < node->count; i++)
        if (wants_lines(node->child[i]))
            return true;
    return false;
}

static bool fits(const Printer *printer, const Node *node, int least)
{
    Out out = {.limit = LINE};
    flat(&out, node, least);
    return column(printer) + out.width <= LINE && !wants_lines(node);
}

static void wrap(Printer *printer, const Node *node, int least, int indent);

static void wrap_arguments(Printer *printer, Node *const *children, int count, const char *close, int indent)
{
    for (int i = 0; i < count; i++) {
        newline(printer, indent + INDENT);
        wrap(printer, children[i], 0, indent + INDENT);
        text_add(&printer->text, "%s", i + 1 < count ? "," : close);
    }
}

/* The left spine of operators that bind alike, an operator at the beginning of each line. */
static void wrap_operators(Printer *printer, const Node *node, int indent)
{
    const Node *left = node->child[0];
    bool spine = node_is_binary(left->kind) && precedence(left) == precedence(node) && !is_comparison(node) &&
                 node->kind != NODE_POW;
    if (spine)
        wrap_operators(printer, left, indent);
    else
        wrap(printer, left, least_of(node, 0), indent);
    newline(printer, indent);
    text_add(&printer->text, "%s ", node_word(node->kind));
    wrap(printer, node->child[1], least_of(node, 1), indent + INDENT);
}

static void wrap_inside(Printer *printer, const Node *node, int indent);

/* The last part of a `let` or `if` that has lines: another of its kind gets lines too. */
static void wrap_last(Printer *printer, const Node *node, int indent)
{
    const Node *last = node->child[node->count - 1];
    if (last->kind == node->kind)
        wrap_inside(printer, last, indent);
    else
        wrap(printer, last, 0, indent);
}

static void wrap_inside(Printer *printer, const Node *node, int indent)
{
    Text *text = &printer->text;
    switch (node->kind) {
    case NODE_LET_IN:
        text_add(text, "let %s = ", node->name);
        wrap(printer, node->child[0], 0, indent + INDENT);
        text_add(text, " in");
        newline(printer, indent);
        wrap_last(printer, node, indent);
        return;
    case NODE_IF:
        text_add(text, "if ");
        wrap(printer, node->child[0], 0, indent + INDENT);
        text_add(text, " then ");
        wrap(printer, node->child[1], 0, indent + INDENT);
        newline(printer, indent);
        text_add(text, "else ");
        wrap_last(printer, node, indent);
        return;
    case NODE_TUPLE:
        text_add(text, "(");
        wrap_arguments(printer, node->child, node->count, ")", indent);
        return;
    case NODE_CALL:
        text_add(text, "%s(", node->name);
        wrap_arguments(printer, node->child, node->count, ")", indent);
        return;
    case NODE_NAMED:
        text_add(text, "%s = ", node->name);
        wrap(printer, node->child[0], 0, indent);
        return;
    case NODE_REDUCE:
        text_add(text, "%s(%s in ", node->name, node->child[0]->name);
        wrap(printer, node->child[1], 0, indent + INDENT);
        text_add(text, "..");
        wrap(printer, node->child[2], 0, indent + INDENT);
        text_add(text, ",");
        wrap_arguments(printer, node->child + 3, 1, ")", indent);
        return;
    case NODE_LIST:
        for (int i = 0; i < node->count; i++) {
            if (i) {
                text_add(text, ",");
                newline(printer, indent);
            }
            wrap(printer, node->child[i], 0, indent);
        }
        return;
    default:
        break;
    }
    if (node_is_unary(node->kind)) {
        text_add(text, "%s%s", node_word(node->kind), node->kind == NODE_NOT ? " " : "");
        wrap(printer, node->child[0], precedence(node), indent);
    } else if (node_is_binary(node->kind) && !(node->flags & NODE_CHAIN)) {
        wrap_operators(printer, node, indent);
    } else {
        flat_expression(&(Out){.text = text}, node);
    }
}

/* `node` here, its further lines at `indent`. */
static void wrap(Printer *printer, const Node *node, int least, int indent)
{
    if (fits(printer, node, least)) {
        flat(&(Out){.text = &printer->text}, node, least);
        return;
    }
    bool parentheses = precedence(node) < least;
    text_add(&printer->text, "%s", parentheses ? "(" : "");
    wrap_inside(printer, node, indent + parentheses);
    text_add(&printer->text, "%s", parentheses ? ")" : "");
}

static void put_comment(Printer *printer, const Comment *comment)
{
    uint32_t end = comment->span.end;
    while (end > comment->span.begin && strchr(" \t\r\f\v", printer->source[end - 1]))
        end--;
    text_add_bytes(&printer->text, printer->source + comment->span.begin, end - comment->span.begin);
    printer->last_end = comment->span.end;
    printer->fresh = false;
    printer->next++;
}

/* A new line for what begins at source offset `begin`, after a blank one where the source has one or more. */
static void begin_line(Printer *printer, uint32_t begin, int indent)
{
    int lines = 0;
    for (uint32_t at = printer->last_end; at < begin; at++)
        lines += printer->source[at] == '\n';
    if (printer->text.length)
        text_add(&printer->text, "\n");
    if (!printer->fresh && (lines > 1 || printer->force_blank))
        text_add(&printer->text, "\n");
    printer->force_blank = false;
    text_add(&printer->text, "%*s", indent, "");
}

/* The comments that stand before source offset `end`, each on its own line. */
static void leading_comments(Printer *printer, uint32_t end, int indent)
{
    while (printer->next < printer->count && printer->comments[printer->next].span.begin < end) {
        const Comment *comment = &printer->comments[printer->next];
        begin_line(printer, comment->span.begin, indent);
        put_comment(printer, comment);
    }
}

/* The comments on the line of the token that ends at `end`. */
static void trailing_comments(Printer *printer, uint32_t end)
{
    while (printer->next < printer->count && !printer->comments[printer->next].own_line &&
           printer->comments[printer->next].after_end == end) {
        text_add(&printer->text, "  ");
        put_comment(printer, &printer->comments[printer->next]);
    }
}

static void print_item(Printer *printer, const Node *node, int indent)
{
    const Node *block = block_of(node), *expression = last_expression(node);
    leading_comments(printer, block ? node->open : node->span.end, indent);
    begin_line(printer, node->span.begin, indent);
    flat_head(&(Out){.text = &printer->text}, node);
    printer->fresh = false;
    if (expression) {
        bool own_lines = printer->text.data[printer->text.length - 2] == '=' ||
                         expression->kind == NODE_LET_IN || expression->kind == NODE_IF;
        if (own_lines && (expression->kind == NODE_LET_IN || !fits(printer, expression, 0))) {
            printer->text.length--; /* the blank after '=' or the word */
            newline(printer, indent + INDENT);
        }
        if (expression->kind == NODE_LET_IN)
            wrap_inside(printer, expression, indent + INDENT);
        else
            wrap(printer, expression, 0, indent + INDENT);
    }
    if (block) {
        text_add(&printer->text, " {");
        printer->last_end = node->open + 1;
        trailing_comments(printer, node->open + 1);
        printer->fresh = true;
        for (int i = 0; i < block->count; i++)
            print_item(printer, block->child[i], indent + INDENT);
        leading_comments(printer, node->span.end, indent + INDENT);
        newline(printer, indent);
        text_add(&printer->text, "}");
        printer->fresh = false;
    }
    printer->last_end = node->span.end;
    trailing_comments(printer, node->span.end);
}

char *ast_print(Arena *arena, const Diag *diag, const AstFile *file)
{
    for (const Message *message = diag->first; message; message = message->next)
        if (message->severity == DIAG_ERROR && (message->span.file == file->source || message->span.file < 0))
            return NULL;
    Printer printer = {.text = {.arena = arena}, .source = diag->sources[file->source].text,
                       .comments = file->comments, .count = file->comment_count, .fresh = true};
    const Node *root = file->node;
    for (int i = 0; i < root->count; i++) {
        bool attention = root->child[i]->kind == NODE_ATTENTION;
        printer.force_blank = i > 0 && (attention || root->child[i - 1]->kind == NODE_ATTENTION);
        print_item(&printer, root->child[i], 0);
    }
    leading_comments(&printer, root->span.end, 0);
    text_add(&printer.text, printer.text.length ? "\n" : "");
    return printer.text.data ? printer.text.data : arena_strdup(arena, "");
}
