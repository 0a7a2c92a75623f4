/* Helpers of the tests of dsl/. */
#include "parsing.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Parsing parsing_begin(const char *text, size_t length, const DslOptions *options)
{
    Parsing parsing = {.arena = arena_create()};
    parsing.diag = diag_create(parsing.arena);
    parsing.status = dsl_parse(parsing.diag, "test.attn", text, length, options, &parsing.ast);
    return parsing;
}

Parsing parsing_text(const char *text)
{
    return parsing_begin(text, strlen(text), NULL);
}

void parsing_end(Parsing *parsing)
{
    arena_destroy(parsing->arena);
}

const char *parsing_error(const Parsing *parsing)
{
    for (const Message *message = parsing->diag->first; message; message = message->next)
        if (message->severity == DIAG_ERROR)
            return message->text;
    return "";
}

static void shape(Text *text, const Node *node)
{
    if (!node) {
        text_add(text, "_");
        return;
    }
    bool named = node->name && node->kind != NODE_FILE;
    if (!node->count && node->kind != NODE_LIST && node->kind != NODE_CALL) {
        text_add(text, "%s", node->kind == NODE_BOOLEAN ? (node->integer ? "true" : "false") :
                 named ? node->name : node_word(node->kind));
        return;
    }
    text_add(text, "(%s%s%s%s%s", node_word(node->kind), node->flags & NODE_CHAIN ? "~" : "",
             node->flags & NODE_CONST     ? " const"
             : node->flags & NODE_LEARNED ? " learned"
                                          : "",
             named ? " " : "", named ? node->name : "");
    for (int i = 0; i < node->count; i++) {
        text_add(text, " ");
        shape(text, node->child[i]);
    }
    text_add(text, ")");
}

char *parsing_shape(const Parsing *parsing, const Node *node)
{
    Text text = {.arena = parsing->arena};
    shape(&text, node);
    return text.data;
}

char *read_whole(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = malloc(DSL_MAX_BYTES);
    *length = text ? fread(text, 1, DSL_MAX_BYTES - 1, file) : 0;
    if (text)
        text[*length] = '\0';
    fclose(file);
    return text;
}

int each_file(const char *folder, void (*fn)(const char *path))
{
    char path[1024];
    snprintf(path, sizeof path, DSL_TESTS "/%s", folder);
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name);
        if (length < 6 || strcmp(entry->d_name + length - 5, ".attn") != 0)
            continue;
        snprintf(path, sizeof path, DSL_TESTS "/%s/%s", folder, entry->d_name);
        fn(path);
        count++;
    }
    closedir(directory);
    return count;
}
