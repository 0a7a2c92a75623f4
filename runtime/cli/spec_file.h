/* Spec files as the command reads them: text, syntax tree, checked Spec, messages on the terminal. */
#ifndef ATTUNE_CLI_SPEC_FILE_H
#define ATTUNE_CLI_SPEC_FILE_H

#include "compiler/spec/check.h"
#include "runtime/attune.h"
#include "runtime/cli/command.h"

typedef struct SpecFile {
    const char *path;   /* as given; "-" is standard input */
    const char *name;   /* as in messages */
    char *text;
    size_t length;
    Ast *ast;           /* NULL when it has errors */
} SpecFile;

/* What a command keeps of its spec files: one arena, one list of messages. */
typedef struct SpecReader {
    const Arguments *arguments;
    Arena *arena;
    Diag *diag;
    const char **directories;   /* -I */
    int directory_count;
    SpecSetting *settings;      /* --set */
    int setting_count;
    bool without_imports;       /* set by the caller: each file is read alone */
    bool reported;
} SpecReader;

/* EXIT_DONE, or another status after saying why. The caller arms reader->arena for what it allocates itself.
 */
int spec_reader_open(SpecReader *reader, const Arguments *arguments);
/* Prints the messages unless that was done; EXIT_WRONG when there are errors (or warnings, with -W). */
int spec_reader_report(SpecReader *reader);
void spec_reader_close(SpecReader *reader);

/* Reads and parses; false with messages in reader->diag. */
bool spec_file_read(SpecReader *reader, const char *path, SpecFile *file);
/* Checks the attention that -a names, else the only one. NULL with messages in reader->diag. */
Spec *spec_file_check(SpecReader *reader, const SpecFile *file);
/* The same attention through the public door; NULL after saying why. */
AttuneSpec *spec_file_public(SpecReader *reader, const SpecFile *file);

/* Whether stderr / stdout get colours, by --color, NO_COLOR and what they are. */
bool color_wanted(const Arguments *arguments, FILE *out);
/* Prints the error's text (or its JSON, with --diagnostics=json), frees it, returns EXIT_WRONG. */
int error_report(const Arguments *arguments, AttuneError *error);
/* A context as the options ask for: --threads, log to stderr by -v, -q and -d. NULL after saying why. */
AttuneContext *context_open(const Arguments *arguments);

#endif
