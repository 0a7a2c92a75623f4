/* The one option table, and the parse of a command line against it. Help, the manual page and the completion
 * are printed from the same rows (help.c). */
#include "runtime/cli/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_COMMANDS (COMMAND_CHECK | COMMAND_RUN | COMMAND_BUILD | COMMAND_SHOW | COMMAND_EXPLAIN)
#define SHAPED (COMMAND_RUN | COMMAND_SHOW | COMMAND_EXPLAIN)
#define EVERY (SPEC_COMMANDS | COMMAND_FMT | COMMAND_CACHE)

const OptionRow option_rows[OPTION_COUNT] = {
    {OPTION_SHAPE, "shape", 's', "SIZES", SHAPED | COMMAND_BUILD,
     "sizes, as B=1,H=8,G=2,M=4096,N=4096,D=64,E=64; left out: G as H, N as M, E as D. Grids: M=64x48"},
    {OPTION_DTYPE, "dtype", 0, "TYPE", COMMAND_RUN | COMMAND_BUILD | COMMAND_EXPLAIN,
     "element type of q, k, v, o: f32 (default), bf16, f16"},
    {OPTION_TARGET, "target", 't', "TARGET", COMMAND_RUN | COMMAND_BUILD | COMMAND_EXPLAIN,
     "cpu (default), cpu:x86-64-v3, cpu:x86-64-v4, cpu:aarch64, interp, cuda (cuda:sm_90a), "
     "ptx (ptx:sm_90)"},
    {OPTION_NAME, "attention", 'a', "NAME", SPEC_COMMANDS,
     "which attention of the file; needed when it has several"},
    {OPTION_SET, "set", 'S', "NAME=VALUE", SPEC_COMMANDS,
     "value of a param or a schedule key; may be repeated"},
    {OPTION_INCLUDE, "include", 'I', "DIR", SPEC_COMMANDS,
     "where imports are searched, after the importing file's own directory; may be repeated"},
    {OPTION_OUTPUT, "output", 'o', "PATH", COMMAND_RUN | COMMAND_BUILD | COMMAND_FMT,
     "run: the .npy file that o is written to; build: the directory; fmt: the file"},
    {OPTION_Q, "q", 0, "FILE", COMMAND_RUN, "queries as .npy, [B, H, M, D]; else seeded normal numbers"},
    {OPTION_K, "k", 0, "FILE", COMMAND_RUN, "keys as .npy, [B, G, N, D]"},
    {OPTION_V, "v", 0, "FILE", COMMAND_RUN, "values as .npy, [B, G, N, E]"},
    {OPTION_INPUT, "input", 'i', "NAME=FILE", COMMAND_RUN | COMMAND_SHOW | COMMAND_EXPLAIN,
     "an input of the spec as .npy; may be repeated"},
    {OPTION_RETURN, "return", 'r', "NAME=FILE", COMMAND_RUN,
     "writes a returned row statistic, as lse=lse.npy"},
    {OPTION_LAYOUT, "layout", 0, "LAYOUT", COMMAND_RUN, "of the files: BHMD (default) or BMHD"},
    {OPTION_ALIGN, "align", 0, "CORNER", SHAPED,
     "top-left (default): query 0 is at key 0; bottom-right: the last query is at the last key"},
    {OPTION_OFFSET, "offset", 0, "N", SHAPED, "position of query row 0"},
    {OPTION_SEED, "seed", 0, "N", COMMAND_RUN | COMMAND_SHOW | COMMAND_EXPLAIN,
     "of the random data (default 1)"},
    {OPTION_CHECK, "check", 'c', NULL, COMMAND_RUN,
     "compares with the double-precision reference; exit status 1 when past the limits"},
    {OPTION_ROWS, "rows", 0, "N", COMMAND_RUN,
     "--check looks at every N-th query row (default: as many as a second allows)"},
    {OPTION_BENCH, "bench", 'b', NULL, COMMAND_RUN, "times the launch: median, GFLOP/s, visited key tiles"},
    {OPTION_SECONDS, "seconds", 0, "N", COMMAND_RUN, "for how long --bench repeats the launch (default 2)"},
    {OPTION_THREADS, "threads", 'j', "N", COMMAND_RUN, "CPU threads (default: $ATTUNE_THREADS, else all)"},
    {OPTION_DUMP, "dump", 'd', "LETTERS", COMMAND_RUN | COMMAND_BUILD | COMMAND_EXPLAIN,
     "prints the Program after the passes of these letters; `-d help` lists them"},
    {OPTION_MASK, "mask", 'm', "FILE", COMMAND_SHOW,
     "writes the picture as .png or .svg; without it, text on the terminal"},
    {OPTION_HEAD, "head", 0, "N", COMMAND_SHOW, "the head that is shown (default 0)"},
    {OPTION_BATCH, "batch", 0, "N", COMMAND_SHOW, "the batch entry that is shown (default 0)"},
    {OPTION_BLOCK, "block", 0, "MxN", COMMAND_SHOW | COMMAND_EXPLAIN,
     "tile sizes of queries and keys, as 64x64 or, for grids, 8x8,8x8; default: the compiler's"},
    {OPTION_SYMBOL, "symbol", 0, "NAME", COMMAND_BUILD,
     "prefix of the symbols (default: the attention's name)"},
    {OPTION_KEEP, "keep", 0, "BYTES", COMMAND_CACHE,
     "clear: leave this much of what was used last, as 512M or 1G"},
    {OPTION_IN_PLACE, "in-place", 0, NULL, COMMAND_FMT, "writes the formatted text back to each file"},
    {OPTION_COLOR, "color", 0, "WHEN", EVERY, "auto (default), always, never; NO_COLOR is respected"},
    {OPTION_DIAGNOSTICS, "diagnostics", 0, "FORM", EVERY, "messages as text (default) or json"},
    {OPTION_WERROR, "warnings-are-errors", 'W', NULL, SPEC_COMMANDS, "exit status 1 on a warning too"},
    {OPTION_VERBOSE, "verbose", 'v', NULL, EVERY, "says what is done; twice: cache hits and misses too"},
    {OPTION_QUIET, "quiet", 'q', NULL, EVERY, "no warnings, no progress"},
    {OPTION_HELP, "help", 'h', NULL, EVERY, "prints this and exits"},
};

const char *option_value(const Arguments *arguments, OptionId id, const char *otherwise)
{
    int count = arguments->count[id];
    return count > 0 ? arguments->values[id][count - 1] : otherwise;
}

bool option_int(const Arguments *arguments, OptionId id, int64_t low, int64_t high, int64_t *value)
{
    const char *text = option_value(arguments, id, NULL);
    if (!text)
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE || number < low || number > high) {
        failure("--%s: '%s' is not a whole number from %lld to %lld", option_rows[id].name, text,
                (long long)low, (long long)high);
        return false;
    }
    *value = number;
    return true;
}

static bool keep_value(Arguments *arguments, OptionId id, const char *value)
{
    const char **grown = realloc(arguments->values[id], sizeof *grown * (size_t)(arguments->count[id] + 1));
    if (!grown)
        return false;
    grown[arguments->count[id]++] = value;
    arguments->values[id] = grown;
    return true;
}

/* getopt's tables for one command: only the options that it knows. */
static void make_tables(const Command *command, struct option *longs, char *letters)
{
    int count = 0, length = 0;
    letters[length++] = ':'; /* tell a missing value from an unknown option */
    for (int k = 0; k < OPTION_COUNT; k++) {
        const OptionRow *row = &option_rows[k];
        if (!(row->commands & command->bit))
            continue;
        longs[count++] =
            (struct option){row->name, row->argument ? required_argument : no_argument, NULL, 256 + k};
        if (!row->letter)
            continue;
        letters[length++] = row->letter;
        if (row->argument)
            letters[length++] = ':';
    }
    longs[count] = (struct option){NULL, 0, NULL, 0};
    letters[length] = '\0';
}

static OptionId option_of(int found)
{
    if (found >= 256)
        return (OptionId)(found - 256);
    int k = 0;
    while (option_rows[k].letter != found)
        k++;
    return (OptionId)k;
}

int arguments_parse(const Command *command, int argc, char **argv, Arguments *arguments)
{
    struct option longs[OPTION_COUNT + 1];
    char letters[2 * OPTION_COUNT + 2];
    make_tables(command, longs, letters);
    memset(arguments, 0, sizeof *arguments);
    opterr = 0;
    optind = 1;
    int found;
    while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (found == ':')
            return usage_error(command->name, "option '%s' needs a value", argv[optind - 1]);
        if (found == '?') {
            const char *word = argv[optind - 1];
            if (optopt && optopt < 256 && strncmp(word, "--", 2) != 0)
                return usage_error(command->name, "unknown option '-%c'", optopt);
            if (optopt >= 256)
                return usage_error(command->name, "option '%s' takes no value", word);
            return usage_error(command->name, "unknown or ambiguous option '%s'", word);
        }
        if (!keep_value(arguments, option_of(found), optarg ? optarg : ""))
            return failure("out of memory");
    }
    arguments->files = argv + optind;
    arguments->file_count = argc - optind;
    if (option_given(arguments, OPTION_HELP))
        return EXIT_DONE;
    const char *color = option_value(arguments, OPTION_COLOR, "auto");
    if (strcmp(color, "auto") != 0 && strcmp(color, "always") != 0 && strcmp(color, "never") != 0)
        return usage_error(command->name, "--color: '%s' is none of auto, always, never", color);
    const char *form = option_value(arguments, OPTION_DIAGNOSTICS, "text");
    if (strcmp(form, "text") != 0 && strcmp(form, "json") != 0)
        return usage_error(command->name, "--diagnostics: '%s' is neither text nor json", form);
    const char *dump = option_value(arguments, OPTION_DUMP, NULL);
    if (dump && strcmp(dump, "help") == 0)
        return EXIT_DONE;
    if (arguments->file_count < command->min_files)
        return usage_error(command->name, "a file is missing ('-' is standard input)");
    if (arguments->file_count > command->max_files)
        return usage_error(command->name, "unexpected '%s'", arguments->files[command->max_files]);
    return EXIT_DONE;
}

void arguments_free(Arguments *arguments)
{
    for (int k = 0; k < OPTION_COUNT; k++)
        free(arguments->values[k]);
}
