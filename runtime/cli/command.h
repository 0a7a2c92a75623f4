/* The command `attune`: its sub-commands, its one option table, and what all of them share. */
#ifndef ATTUNE_COMMAND_H
#define ATTUNE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses: the work was done; the input is wrong or a check failed; the command line is wrong. */
enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_USAGE = 2 };

typedef enum OptionId {
    OPTION_SHAPE,
    OPTION_DTYPE,
    OPTION_TARGET,
    OPTION_NAME,
    OPTION_SET,
    OPTION_INCLUDE,
    OPTION_OUTPUT,
    OPTION_Q,
    OPTION_K,
    OPTION_V,
    OPTION_INPUT,
    OPTION_RETURN,
    OPTION_LAYOUT,
    OPTION_ALIGN,
    OPTION_OFFSET,
    OPTION_SEED,
    OPTION_CHECK,
    OPTION_ROWS,
    OPTION_BENCH,
    OPTION_SECONDS,
    OPTION_THREADS,
    OPTION_DUMP,
    OPTION_MASK,
    OPTION_HEAD,
    OPTION_BATCH,
    OPTION_BLOCK,
    OPTION_SYMBOL,
    OPTION_KEEP,
    OPTION_IN_PLACE,
    OPTION_COLOR,
    OPTION_DIAGNOSTICS,
    OPTION_WERROR,
    OPTION_VERBOSE,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_COUNT
} OptionId;

/* A parsed command line: for every option its values in the order given ("" for flags), then the files. */
typedef struct Arguments {
    const char **values[OPTION_COUNT];
    int count[OPTION_COUNT];
    char **files;
    int file_count;
} Arguments;

typedef struct Command {
    const char *name;
    const char *operands;   /* "FILE..." */
    const char *summary;    /* one line */
    const char *details;    /* paragraphs of --help and the manual, examples last */
    unsigned bit;           /* in the option table */
    int min_files, max_files;
    int (*run)(const Arguments *arguments);
} Command;

enum {
    COMMAND_CHECK = 1,
    COMMAND_RUN = 2,
    COMMAND_BUILD = 4,
    COMMAND_SHOW = 8,
    COMMAND_EXPLAIN = 16,
    COMMAND_FMT = 32,
    COMMAND_CACHE = 64
};
extern const Command commands[]; /* ends with name NULL */

/* options.c */
/* EXIT_DONE: go on; EXIT_USAGE: said why on stderr. argv[0] is the sub-command's name. */
int arguments_parse(const Command *command, int argc, char **argv, Arguments *arguments);
void arguments_free(Arguments *arguments);
static inline bool option_given(const Arguments *arguments, OptionId id) { return arguments->count[id] > 0; }
/* The last value given, or `otherwise`. */
const char *option_value(const Arguments *arguments, OptionId id, const char *otherwise);
/* The last value as an int in [low, high]; false after saying what is wrong with it. */
bool option_int(const Arguments *arguments, OptionId id, int64_t low, int64_t high, int64_t *value);

/* help.c: everything that the tables can be turned into. */
void help_overview(FILE *out);
void help_command(FILE *out, const Command *command);
void help_manual(FILE *out);     /* attune.1, in man's language */
void help_completion(FILE *out); /* for bash */
/* Prints "attune: ..." and where help is, returns EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints "attune: ...", returns EXIT_WRONG. */
int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The option's row, for the files that print the table; NULL past the end. */
typedef struct OptionRow {
    OptionId id;
    const char *name;     /* without the dashes */
    char letter;          /* 0: none */
    const char *argument; /* NULL: a flag */
    unsigned commands;    /* bits */
    const char *help;
} OptionRow;
extern const OptionRow option_rows[OPTION_COUNT];

/* cmd_*.c */
int cmd_check(const Arguments *arguments);
int cmd_run(const Arguments *arguments);
int cmd_build(const Arguments *arguments);
int cmd_show(const Arguments *arguments);
int cmd_explain(const Arguments *arguments);
int cmd_fmt(const Arguments *arguments);
int cmd_cache(const Arguments *arguments);

#endif
