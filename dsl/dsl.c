/* The door: a file and all that it imports, each parsed once, in the order of their dependence. */
#include "dsl/dsl.h"

#include <string.h>

#include "dsl/parser.h"
#include "dsl/source.h"

typedef struct Loaded {
    const char *name;
    Node *node;
    bool done; /* false: being parsed, so an import of it is a cycle */
} Loaded;

typedef struct Loader {
    Diag *diag;
    Arena *arena;
    const DslOptions *options;
    Ast *ast;
    Loaded *loaded;
    int count;
} Loader;

static Node *load(Loader *loader, DslText text, Span imported_at);

/* Reports bytes that are no text. */
static bool check_bytes(Loader *loader, int source, DslText text)
{
    if (text.length > DSL_MAX_BYTES) {
        diag_error(loader->diag, (Span){source, 0, 0}, "file-too-large",
                   "the file has more than %d bytes; at most 1 MiB is allowed",
                   DSL_MAX_BYTES);
        return false;
    }
    const char *why;
    size_t at = source_check(text.text, text.length, &why);
    if (at == text.length)
        return true;
    Span span = {source, (uint32_t)at, (uint32_t)at + 1};
    diag_error(loader->diag, span, "not-text", "%s (byte 0x%02x at offset %zu); a source file is UTF-8 text",
               why, (unsigned char)text.text[at], at);
    return false;
}

/* The text that an import means; false when it was reported. */
static bool find_import(Loader *loader, const char *importer, const Node *import, DslText *found)
{
    const char *path = import->name, *why = NULL;
    size_t length = strlen(path);
    if (length > 5 && strcmp(path + length - 5, ".attn") == 0)
        length -= 5;
    const char *names[64];
    int count = 0;
    DslText entry;
    for (int i = 0; dsl_std(i, &entry); i++) {
        if (strlen(entry.name) == length && memcmp(entry.name, path, length) == 0) {
            *found = entry;
            return true;
        }
        if (count < 64)
            names[count++] = entry.name;
    }
    bool own = strncmp(path, "std/", 4) == 0;
    if (!own && loader->options && loader->options->resolve &&
        loader->options->resolve(loader->options->user, loader->arena, importer, path, found, &why))
        return true;
    Message *message =
        diag_error(loader->diag, import->name_span, "import-not-found", "cannot import \"%s\": %s", path,
                   why ? why : own ? "the language's library has no such file" : "no such file");
    const char *near = diag_nearest(path, names, count);
    if (near)
        diag_fix(loader->diag, message, "did you mean \"%s\"?", near);
    return false;
}

static void report_cycle(Loader *loader, int at, const Node *import)
{
    Text path = {.arena = loader->arena};
    for (int i = at; i < loader->count; i++)
        if (!loader->loaded[i].done)
            text_add(&path, "%s imports ", loader->loaded[i].name);
    diag_error(loader->diag, import->name_span, "import-cycle", "%s%s: imports must not form a cycle",
               path.data, loader->loaded[at].name);
}

static void load_import(Loader *loader, const char *importer, Node *import)
{
    DslText found = {0};
    if (!import->name || !find_import(loader, importer, import, &found))
        return;
    for (int i = 0; i < loader->count; i++) {
        if (strcmp(loader->loaded[i].name, found.name) != 0)
            continue;
        if (loader->loaded[i].done)
            import->child[0] = loader->loaded[i].node;
        else
            report_cycle(loader, i, import);
        return;
    }
    if (loader->count == DSL_MAX_FILES) {
        diag_error(loader->diag, import->name_span, "too-many-files", "more than %d files are imported",
                   DSL_MAX_FILES);
        return;
    }
    import->child[0] = load(loader, found, import->name_span);
}

static Node *load(Loader *loader, DslText text, Span imported_at)
{
    int slot = loader->count++;
    loader->loaded[slot] = (Loaded){.name = text.name};
    bool too_large = text.length > DSL_MAX_BYTES;
    int source = diag_add_source(loader->diag, text.name, text.text, too_large ? 0 : text.length);
    Parser *parser = ARENA_NEW(loader->arena, Parser);
    *parser = (Parser){.arena = loader->arena,
                       .diag = loader->diag,
                       .names = loader->ast->names,
                       .source = source,
                       .text = loader->diag->sources[source].text,
                       .length = text.length};
    int errors = loader->diag->errors;
    if (check_bytes(loader, source, text))
        parser_run(parser);
    else
        parser->root = node_new(parser, NODE_FILE, (Span){source, 0, 0}, 0, NULL);
    Node *file = parser->root;
    file->name = text.name;
    bool follow = !loader->options || !loader->options->keep_imports_closed;
    for (int i = 0; follow && i < file->count; i++)
        if (file->child[i]->kind == NODE_IMPORT)
            load_import(loader, text.name, file->child[i]);
    if (loader->diag->errors > errors && imported_at.file >= 0)
        diag_note(loader->diag, imported_at, "\"%s\" is imported here", text.name);
    loader->loaded[slot].node = file;
    loader->loaded[slot].done = true;
    loader->ast->files[loader->ast->file_count++] = (AstFile){
        .node = file, .source = source, .comments = parser->comments, .comment_count = parser->comment_count};
    return file;
}

DslStatus dsl_parse(Diag *diag, const char *name, const char *text, size_t length, const DslOptions *options,
                    Ast **ast)
{
    Arena *arena = diag->arena;
    *ast = NULL;
    jmp_buf door, *outer = arena_arm(arena, &door);
    if (setjmp(door)) {
        arena_arm(arena, outer);
        *ast = NULL;
        diag_out_of_memory(diag);
        return DSL_OUT_OF_MEMORY;
    }
    int errors = diag->errors;
    Loader *loader = ARENA_NEW(arena, Loader);
    Ast *result = ARENA_NEW(arena, Ast);
    result->names = names_create(arena);
    result->files = ARENA_ARRAY(arena, AstFile, DSL_MAX_FILES);
    *loader = (Loader){.diag = diag, .arena = arena, .options = options, .ast = result};
    loader->loaded = ARENA_ARRAY(arena, Loaded, DSL_MAX_FILES);
    load(loader, (DslText){name, text, length}, SPAN_NONE);
    arena_arm(arena, outer);
    *ast = result;
    return diag->errors > errors ? DSL_HAS_ERRORS : DSL_OK;
}
