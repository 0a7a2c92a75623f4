/* attune check: all attentions of all files, all messages, and with -v what each of them means. */
#include "runtime/cli/spec_file.h"

#include <string.h>

/* Checks every attention of the file, or the one that -a names; counts those that are right. */
static int check_file(SpecReader *reader, const SpecFile *file)
{
    int right = 0;
    const char *wanted = option_value(reader->arguments, OPTION_NAME, NULL);
    const Node *main_file = ast_main(file->ast);
    for (int k = 0; k < main_file->count; k++) {
        const Node *node = main_file->child[k];
        if (node->kind != NODE_ATTENTION || (wanted && strcmp(wanted, node->name) != 0))
            continue;
        const Spec *spec = check_spec(reader->arena, reader->diag, file->ast, node->name, reader->settings,
                                      reader->setting_count);
        right += spec != NULL;
        if (spec && option_given(reader->arguments, OPTION_VERBOSE))
            printf("%s\n", spec_print(spec));
        wanted = wanted ? node->name : NULL;
    }
    return right;
}

static bool has_attention(const SpecFile *file, const char *name)
{
    const Node *main_file = ast_main(file->ast);
    for (int k = 0; k < main_file->count; k++)
        if (main_file->child[k]->kind == NODE_ATTENTION && strcmp(main_file->child[k]->name, name) == 0)
            return true;
    return false;
}

int cmd_check(const Arguments *arguments)
{
    SpecReader reader;
    int status = spec_reader_open(&reader, arguments);
    if (status != EXIT_DONE)
        return status;
    jmp_buf door;
    arena_arm(reader.arena, &door);
    if (setjmp(door)) {
        diag_out_of_memory(reader.diag);
    } else {
        const char *wanted = option_value(arguments, OPTION_NAME, NULL);
        int right = 0;
        for (int k = 0; k < arguments->file_count; k++) {
            SpecFile file;
            if (!spec_file_read(&reader, arguments->files[k], &file))
                continue;
            if (wanted && !has_attention(&file, wanted))
                diag_error(reader.diag, SPAN_NONE, "unknown-name", "%s has no attention '%s'", file.name,
                           wanted);
            else
                right += check_file(&reader, &file);
        }
        if (option_given(arguments, OPTION_VERBOSE))
            fprintf(stderr, "%d attention%s checked\n", right, right == 1 ? "" : "s");
    }
    status = spec_reader_report(&reader);
    spec_reader_close(&reader);
    return status;
}
