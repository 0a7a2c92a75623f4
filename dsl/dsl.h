/* The one door of the front end: text in, syntax tree and diagnostics out. */
#ifndef ATTUNE_DSL_H
#define ATTUNE_DSL_H

#include "dsl/ast.h"

enum {
    DSL_MAX_BYTES = 1 << 20,   /* one file */
    DSL_MAX_NESTING = 256,     /* brackets, and the height of a tree */
    DSL_MAX_NODES = 1 << 16,   /* of one file */
    DSL_MAX_TOKEN = 256,       /* bytes of a name, number or string */
    DSL_MAX_FILES = 256,       /* imported, all together */
};

typedef enum { DSL_OK, DSL_HAS_ERRORS, DSL_OUT_OF_MEMORY } DslStatus;

/* A text that an import found. Everything in the arena, or living as long as it. */
typedef struct DslText {
    const char *name; /* as shown in messages; the same file must always get the same name */
    const char *text;
    size_t length;
} DslText;

/* Finds what `import "path"` in the file `importer` means. False: not found, or *why says what went wrong
 * (NULL: plainly not found). */
typedef bool (*DslResolve)(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                           const char **why);

/* The resolver for files: beside the importing file first, then in each directory. `.attn` is added when the
 * path has no such ending. */
typedef struct DslPaths {
    const char *const *directories;
    int count;
} DslPaths;
bool dsl_resolve_file(void *paths, Arena *arena, const char *importer, const char *path, DslText *found,
                      const char **why);

typedef struct DslOptions {
    DslResolve resolve; /* NULL: only the language's own library ("std/...") can be imported */
    void *user;
    bool keep_imports_closed; /* parse this file alone; its IMPORT nodes have no FILE (for formatting) */
} DslOptions;

/* Parses `text` and all that it imports. *ast is always set unless out of memory, and is usable for a checker
 * only when DSL_OK. `options` may be NULL. Out of memory is reported in the Diag too. */
DslStatus dsl_parse(Diag *diag, const char *name, const char *text, size_t length, const DslOptions *options,
                    Ast **ast);

/* Reads a whole file of at most DSL_MAX_BYTES + 1 bytes into the arena; else false and *why. */
bool dsl_read_file(Arena *arena, const char *path, char **text, size_t *length, const char **why);

/* The language's own library: entry `index`, e.g. "std/windows"; false past the end. */
bool dsl_std(int index, DslText *entry);

/* All reserved words, for did-you-mean and for editors; NULL-terminated. */
extern const char *const dsl_keywords[];

#endif
