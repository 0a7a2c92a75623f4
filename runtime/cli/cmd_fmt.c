/* attune fmt: the canonical text of spec files. */
#include "runtime/cli/spec_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Through a temporary file beside it, so that an interrupted run loses nothing. */
static bool replace_file(Arena *arena, const char *path, const char *text)
{
    char *temporary = arena_printf(arena, "%s.%ld.tmp", path, (long)getpid());
    FILE *out = fopen(temporary, "wx");
    if (!out) {
        failure("%s: %s", temporary, strerror(errno));
        return false;
    }
    bool ok = fputs(text, out) >= 0;
    ok = fclose(out) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return true;
    failure("%s: %s", path, strerror(errno));
    unlink(temporary);
    return false;
}

static bool format_file(SpecReader *reader, const char *path)
{
    SpecFile file;
    if (!spec_file_read(reader, path, &file))
        return false;
    const AstFile *main_file = &file.ast->files[file.ast->file_count - 1];
    const char *text = ast_print(reader->arena, reader->diag, main_file);
    if (!text) {
        failure("%s: cannot be formatted", file.name);
        return false;
    }
    const char *output = option_value(reader->arguments, OPTION_OUTPUT, NULL);
    if (output)
        return replace_file(reader->arena, output, text);
    if (!option_given(reader->arguments, OPTION_IN_PLACE) || strcmp(path, "-") == 0)
        return fputs(text, stdout) >= 0;
    if (strlen(text) == file.length && memcmp(text, file.text, file.length) == 0)
        return true;
    return replace_file(reader->arena, path, text);
}

int cmd_fmt(const Arguments *arguments)
{
    if (option_given(arguments, OPTION_OUTPUT) && arguments->file_count > 1)
        return usage_error("fmt", "--output goes with one file");
    SpecReader reader;
    int status = spec_reader_open(&reader, arguments);
    if (status != EXIT_DONE)
        return status;
    reader.without_imports = true;
    jmp_buf door;
    arena_arm(reader.arena, &door);
    volatile bool ok = true;
    if (setjmp(door)) {
        diag_out_of_memory(reader.diag);
    } else {
        for (int k = 0; k < arguments->file_count; k++)
            if (!format_file(&reader, arguments->files[k]))
                ok = false;
    }
    status = spec_reader_report(&reader);
    spec_reader_close(&reader);
    return ok ? status : EXIT_WRONG;
}
