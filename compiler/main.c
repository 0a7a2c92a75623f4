/* The command `attune`: which sub-command, its arguments, its exit status. Its work is in runtime/cli/. */
#include "runtime/attune.h"
#include "runtime/cli/command.h"

#include <string.h>

const Command commands[] = {
    {"check", "FILE...", "Checks spec files and says what they mean",
     "Every attention of every file is checked. Nothing is printed when all is well; -v prints each\n"
     "one's meaning after checking.\n\n"
     "  attune check causal.attn\n"
     "  attune check --diagnostics=json - < causal.attn\n",
     COMMAND_CHECK, 1, 1 << 20, cmd_check},
    {"run", "FILE", "Compiles one attention and runs it",
     "Tensors are .npy files; q, k, v and inputs that are not given are seeded random numbers (normal;\n"
     "sorted document numbers for integer arrays over tokens). Sizes come from the files, the rest\n"
     "from --shape.\n\n"
     "  attune run causal.attn --shape B=1,H=8,M=4096,D=64 --check --bench\n"
     "  attune run causal.attn --q q.npy --k k.npy --v v.npy -o o.npy\n"
     "  attune run -d help\n",
     COMMAND_RUN, 1, 1, cmd_run},
    {"build", "FILE...", "Builds kernels ahead of time: object, C header, JSON manifest",
     "For every file, NAME.o holds the code, NAME.h declares a typed entry NAME_run, NAME.json says\n"
     "what was built. A program that links NAME.o and libattune_rt needs no compiler. --shape gives\n"
     "the widths, D=64 unless said otherwise; all other sizes are those of the launch.\n\n"
     "  attune build causal.attn --target cpu:x86-64-v3 --dtype f32 --shape D=64 -o build/kernels\n",
     COMMAND_BUILD, 1, 1 << 20, cmd_build},
    {"show", "FILE", "Draws the mask with its tiles",
     "Queries go down, keys to the right. Full tiles (every pair is visible), partial ones and empty\n"
     "ones have their own colours; visible pairs of partial tiles are drawn one by one when they are\n"
     "large enough.\n\n"
     "  attune show causal.attn --shape M=512\n"
     "  attune show causal.attn --shape M=512 --mask causal.svg\n",
     COMMAND_SHOW, 1, 1, cmd_show},
    {"explain", "FILE", "Says what was recognised and what it will cost",
     "The normaliser, the form of the similarity, key ranges, tiles by class, memory, the speed-up\n"
     "over a dense mask to expect, and what in the spec makes it slow.\n\n"
     "  attune explain causal.attn --shape B=1,H=8,M=4096,D=64\n",
     COMMAND_EXPLAIN, 1, 1, cmd_explain},
    {"fmt", "FILE...", "Prints spec files in canonical form",
     "Comments are kept. To standard output, or back to the files with --in-place.\n\n"
     "  attune fmt --in-place *.attn\n",
     COMMAND_FMT, 1, 1 << 20, cmd_fmt},
    {"cache", "list|verify|clear", "Looks after the disk cache of compiled kernels",
     "list: one line an entry. verify: reads every entry and deletes damaged ones. clear: empties it,\n"
     "or with --keep down to a size.\n\n"
     "  attune cache list\n"
     "  attune cache clear --keep=256M\n",
     COMMAND_CACHE, 1, 1, cmd_cache},
    {NULL, NULL, NULL, NULL, 0, 0, 0, NULL},
};

static int run_command(const Command *command, int argc, char **argv)
{
    Arguments arguments;
    int status = arguments_parse(command, argc, argv, &arguments);
    if (status == EXIT_DONE && option_given(&arguments, OPTION_HELP))
        help_command(stdout, command);
    else if (status == EXIT_DONE)
        status = command->run(&arguments);
    arguments_free(&arguments);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        failure("standard output cannot be written");
        return status ? status : EXIT_WRONG;
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        help_overview(stdout);
    } else if (strcmp(word, "--version") == 0) {
        puts(attune_build_info());
    } else if (strcmp(word, "--manual") == 0) {
        help_manual(stdout);
    } else if (strcmp(word, "--completion") == 0) {
        help_completion(stdout);
    } else {
        for (const Command *command = commands; command->name; command++)
            if (strcmp(word, command->name) == 0)
                return run_command(command, argc - 1, argv + 1);
        if (strcmp(word, "-d") == 0) /* `attune -d help` */
            return run_command(&commands[1], argc, argv);
        return usage_error(NULL, "unknown %s '%s'", word[0] == '-' ? "option" : "command", word);
    }
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_WRONG;
}
