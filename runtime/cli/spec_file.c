/* Reading spec files for the command, and printing what is wrong with them. */
#include "runtime/cli/spec_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool color_wanted(const Arguments *arguments, FILE *out)
{
    const char *when = option_value(arguments, OPTION_COLOR, "auto");
    if (strcmp(when, "auto") != 0)
        return strcmp(when, "always") == 0;
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    if ((no_color && *no_color) || (terminal && strcmp(terminal, "dumb") == 0))
        return false;
    return isatty(fileno(out)) == 1;
}

static bool json_wanted(const Arguments *arguments)
{
    return strcmp(option_value(arguments, OPTION_DIAGNOSTICS, "text"), "json") == 0;
}

int error_report(const Arguments *arguments, AttuneError *error)
{
    const char *json = json_wanted(arguments) ? attune_error_json(error) : NULL;
    AttuneStatus status = attune_error_status(error);
    if (json)
        fprintf(stderr, "%s\n", json);
    else if (status == ATTUNE_ERROR_SPEC || status == ATTUNE_ERROR_COMPILE)
        fprintf(stderr, "%s\n", attune_error_message(error));
    else
        failure("%s", attune_error_message(error));
    attune_error_free(error);
    return EXIT_WRONG;
}

/* Splits every --set NAME=VALUE. */
static bool read_settings(SpecReader *reader)
{
    const Arguments *arguments = reader->arguments;
    int count = arguments->count[OPTION_SET];
    reader->settings = ARENA_ARRAY(reader->arena, SpecSetting, (size_t)count + 1);
    for (int k = 0; k < count; k++) {
        const char *text = arguments->values[OPTION_SET][k], *equals = strchr(text, '=');
        if (!equals || equals == text || !equals[1]) {
            usage_error(NULL, "--set: '%s' is not NAME=VALUE", text);
            return false;
        }
        reader->settings[k] =
            (SpecSetting){arena_strndup(reader->arena, text, (size_t)(equals - text)), equals + 1};
    }
    reader->setting_count = count;
    return true;
}

int spec_reader_open(SpecReader *reader, const Arguments *arguments)
{
    memset(reader, 0, sizeof *reader);
    reader->arguments = arguments;
    reader->arena = arena_create();
    if (!reader->arena)
        return failure("out of memory");
    jmp_buf door, *outer = arena_arm(reader->arena, &door);
    if (setjmp(door)) {
        spec_reader_close(reader);
        return failure("out of memory");
    }
    reader->diag = diag_create(reader->arena);
    reader->diag->warnings_are_errors = option_given(arguments, OPTION_WERROR);
    reader->directories = arguments->values[OPTION_INCLUDE];
    reader->directory_count = arguments->count[OPTION_INCLUDE];
    bool ok = read_settings(reader);
    arena_arm(reader->arena, outer);
    if (!ok) {
        spec_reader_close(reader);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* Without what -q hides. */
static void drop_warnings(Diag *diag)
{
    bool dropping = false;
    Message **at = &diag->first;
    diag->last = NULL;
    while (*at) {
        if ((*at)->severity != DIAG_NOTE)
            dropping = (*at)->severity == DIAG_WARNING;
        if (dropping) {
            *at = (*at)->next;
        } else {
            diag->last = *at;
            at = &(*at)->next;
        }
    }
}

int spec_reader_report(SpecReader *reader)
{
    Diag *diag = reader->diag;
    int status =
        diag->errors > 0 || (diag->warnings_are_errors && diag->warnings > 0) ? EXIT_WRONG : EXIT_DONE;
    if (reader->reported)
        return status;
    reader->reported = true;
    if (option_given(reader->arguments, OPTION_QUIET) && status == EXIT_DONE)
        drop_warnings(diag);
    if (json_wanted(reader->arguments))
        diag_print(diag, stderr, DIAG_JSON, false);
    else if (diag->first)
        diag_print(diag, stderr, DIAG_TEXT, color_wanted(reader->arguments, stderr));
    return status;
}

void spec_reader_close(SpecReader *reader)
{
    arena_destroy(reader->arena);
    reader->arena = NULL;
}

/* Standard input, at most one byte more than the parser accepts (so that it can say so). */
static bool read_standard_input(Arena *arena, char **text, size_t *length)
{
    *text = arena_alloc(arena, DSL_MAX_BYTES + 2);
    *length = fread(*text, 1, DSL_MAX_BYTES + 1, stdin);
    return !ferror(stdin);
}

bool spec_file_read(SpecReader *reader, const char *path, SpecFile *file)
{
    bool standard_input = strcmp(path, "-") == 0;
    *file = (SpecFile){.path = path, .name = standard_input ? "<stdin>" : path};
    const char *why = "it cannot be read";
    bool ok = standard_input ? read_standard_input(reader->arena, &file->text, &file->length)
                             : dsl_read_file(reader->arena, path, &file->text, &file->length, &why);
    if (!ok) {
        diag_error(reader->diag, SPAN_NONE, "file", "%s: %s", file->name, why);
        return false;
    }
    DslPaths paths = {reader->directories, reader->directory_count};
    DslOptions options = {
        .resolve = dsl_resolve_file, .user = &paths, .keep_imports_closed = reader->without_imports};
    Ast *ast = NULL;
    if (dsl_parse(reader->diag, file->name, file->text, file->length, &options, &ast) != DSL_OK)
        return false;
    file->ast = ast;
    return true;
}

Spec *spec_file_check(SpecReader *reader, const SpecFile *file)
{
    return check_spec(reader->arena, reader->diag, file->ast,
                      option_value(reader->arguments, OPTION_NAME, NULL), reader->settings,
                      reader->setting_count);
}

AttuneSpec *spec_file_public(SpecReader *reader, const SpecFile *file)
{
    AttuneSetting *settings = ARENA_ARRAY(reader->arena, AttuneSetting, (size_t)reader->setting_count + 1);
    for (int k = 0; k < reader->setting_count; k++)
        settings[k] = (AttuneSetting){reader->settings[k].name, reader->settings[k].value};
    AttuneSpecOptions options = {
        .name = option_value(reader->arguments, OPTION_NAME, NULL),
        .settings = settings,
        .setting_count = reader->setting_count,
        .import_dirs = reader->directories,
        .import_dir_count = reader->directory_count,
        .source_name = file->name,
    };
    AttuneError *error = NULL;
    AttuneSpec *spec = strcmp(file->path, "-") == 0
                           ? attune_spec_from_text(file->text, file->length, &options, &error)
                           : attune_spec_from_file(file->path, &options, &error);
    if (!spec)
        error_report(reader->arguments, error);
    return spec;
}

/* What of the log is wanted; the context calls this, one call at a time. */
static void log_line(void *user, AttuneLogLevel level, const char *text)
{
    const Arguments *arguments = user;
    bool verbose = option_given(arguments, OPTION_VERBOSE), dump = option_given(arguments, OPTION_DUMP);
    bool progress = isatty(STDERR_FILENO) == 1;
    if (option_given(arguments, OPTION_QUIET) && !dump)
        return;
    if (level == ATTUNE_LOG_DEBUG && arguments->count[OPTION_VERBOSE] < 2)
        return;
    if (level == ATTUNE_LOG_INFO && !verbose && !dump && !progress)
        return;
    fprintf(stderr, "%s%s\n", level == ATTUNE_LOG_WARNING ? "attune: warning: " : "", text);
}

AttuneContext *context_open(const Arguments *arguments)
{
    int64_t threads = 0;
    if (!option_int(arguments, OPTION_THREADS, 1, 4096, &threads))
        return NULL;
    AttuneContextOptions options = {
        .threads = (int32_t)threads, .log = log_line, .log_user = (void *)(uintptr_t)arguments};
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(&options, &error);
    if (!context)
        error_report(arguments, error);
    return context;
}
