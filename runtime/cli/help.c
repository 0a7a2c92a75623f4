/* Help, the manual page and the bash completion, all printed from the tables of commands and options. */
#include "runtime/cli/command.h"

#include <stdarg.h>
#include <string.h>

static const char *const environment[][2] = {
    {"ATTUNE_CACHE", "on (default), read-only or off: the disk cache of compiled kernels"},
    {"ATTUNE_CACHE_DIR", "where it is (default: $XDG_CACHE_HOME/attune, else ~/.cache/attune)"},
    {"ATTUNE_THREADS", "CPU threads (default: every core that the process may use)"},
    {"ATTUNE_NO_JIT", "1: never compile; fail when the cache does not hold the kernel"},
    {"NO_COLOR", "when set, messages are not coloured"},
};
enum { ENVIRONMENT_COUNT = sizeof environment / sizeof environment[0] };

static const char *const exit_statuses =
    "0: done. 1: the input is wrong, or a check failed. 2: the command line is wrong.";

static void complain(const char *format, va_list list)
{
    fputs("attune: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int failure(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    complain(format, list);
    va_end(list);
    return EXIT_WRONG;
}

int usage_error(const char *command, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    complain(format, list);
    va_end(list);
    fprintf(stderr, "attune: see `attune %s%s--help`\n", command ? command : "", command ? " " : "");
    return EXIT_USAGE;
}

/* Prints `text` from `column` on, lines broken before column 100. */
static void print_wrapped(FILE *out, const char *text, int column)
{
    int at = column;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (at > column && at + length >= 100) {
            fprintf(out, "\n%*s", column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, (size_t)length, out);
        at += length;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const OptionRow *row)
{
    char spelling[64];
    int length = 0;
    if (row->letter)
        length = snprintf(spelling, sizeof spelling, "-%c, ", row->letter);
    else
        length = snprintf(spelling, sizeof spelling, "    ");
    length += snprintf(spelling + length, sizeof spelling - (size_t)length, "--%s%s%s", row->name,
                       row->argument ? "=" : "", row->argument ? row->argument : "");
    fprintf(out, "  %-28s ", spelling);
    if (length > 28)
        fprintf(out, "\n%31s", "");
    print_wrapped(out, row->help, 31);
}

void help_overview(FILE *out)
{
    fputs(
        "Usage: attune COMMAND [OPTION]... [FILE]...\n\n"
        "Compiles attention variants, written as mathematics in .attn files, to fast kernels.\n\nCommands:\n",
        out);
    for (const Command *command = commands; command->name; command++)
        fprintf(out, "  %-9s %s\n", command->name, command->summary);
    fputs("\n`attune COMMAND --help` describes one. A FILE of '-' is standard input.\n"
          "`attune --version` says which version this is and what it was built with,\n"
          "`attune --manual` prints the manual page, `attune --completion` a completion for bash.\n\n"
          "Environment:\n",
          out);
    for (int k = 0; k < ENVIRONMENT_COUNT; k++)
        fprintf(out, "  %-17s %s\n", environment[k][0], environment[k][1]);
    fprintf(out, "\nExit status: %s\n", exit_statuses);
}

void help_command(FILE *out, const Command *command)
{
    fprintf(out, "Usage: attune %s [OPTION]... %s\n\n%s.\n\n%s\nOptions:\n", command->name, command->operands,
            command->summary, command->details);
    for (int k = 0; k < OPTION_COUNT; k++)
        if (option_rows[k].commands & command->bit)
            print_option(out, &option_rows[k]);
}

/* Text with the characters that man's language reads as commands made plain. */
static void print_roff(FILE *out, const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
        line_start = *text == '\n';
    }
}

void help_manual(FILE *out)
{
    fputs(".TH ATTUNE 1\n.SH NAME\nattune \\- compiler for attention variants\n.SH SYNOPSIS\n.B attune\n"
          ".I COMMAND\n[\\fIOPTION\\fR]... [\\fIFILE\\fR]...\n.SH DESCRIPTION\nCompiles attention variants, "
          "written as "
          "mathematics in .attn files, to fast kernels. A \\fIFILE\\fR of \\(oq\\-\\(cq is standard input.\n"
          ".SH COMMANDS\n",
          out);
    for (const Command *command = commands; command->name; command++) {
        fprintf(out, ".SS attune %s \\fR[\\fIOPTION\\fR]... %s\n", command->name, command->operands);
        print_roff(out, command->summary);
        fputs(".\n.PP\n.nf\n", out);
        print_roff(out, command->details);
        fputs(".fi\n", out);
    }
    fputs(".SH OPTIONS\n", out);
    for (int k = 0; k < OPTION_COUNT; k++) {
        const OptionRow *row = &option_rows[k];
        fputs(".TP\n\\fB", out);
        if (row->letter)
            fprintf(out, "\\-%c\\fR, \\fB", row->letter);
        fputs("\\-\\-", out);
        print_roff(out, row->name);
        fprintf(out, "\\fR%s\\fI%s\\fR\n(", row->argument ? "=" : "", row->argument ? row->argument : "");
        const char *comma = "";
        for (const Command *command = commands; command->name; command++)
            if (row->commands & command->bit) {
                fprintf(out, "%s%s", comma, command->name);
                comma = ", ";
            }
        fputs(") ", out);
        print_roff(out, row->help);
        fputs(".\n", out);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (int k = 0; k < ENVIRONMENT_COUNT; k++) {
        fprintf(out, ".TP\n.B %s\n", environment[k][0]);
        print_roff(out, environment[k][1]);
        fputs(".\n", out);
    }
    fputs(".SH EXIT STATUS\n", out);
    print_roff(out, exit_statuses);
    fputs("\n", out);
}

void help_completion(FILE *out)
{
    fputs("_attune()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} options=\n    if [ \"$COMP_CWORD\" -eq 1 "
          "]; then\n"
          "        options=\"--help --version --manual --completion",
          out);
    for (const Command *command = commands; command->name; command++)
        fprintf(out, " %s", command->name);
    fputs("\"\n        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n        return\n    fi\n"
          "    case ${COMP_WORDS[1]} in\n", out);
    for (const Command *command = commands; command->name; command++) {
        fprintf(out, "    %s) options=\"", command->name);
        if (command->bit == COMMAND_CACHE)
            fputs("list verify clear ", out);
        for (int k = 0; k < OPTION_COUNT; k++)
            if (option_rows[k].commands & command->bit)
                fprintf(out, "--%s%s ", option_rows[k].name, option_rows[k].argument ? "=" : "");
        fputs("\" ;;\n", out);
    }
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\") $(compgen -f -X '!*.@(attn|npy)' "
          "-- \"$word\")"
          " $(compgen -d -- \"$word\"))\n}\ncomplete -o nospace -F _attune attune\n",
          out);
}
