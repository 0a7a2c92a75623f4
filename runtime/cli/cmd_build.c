/* attune build: kernels ahead of time, as object, header and manifest. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compiler/compile.h"
#include "runtime/cli/shape.h"
#include "runtime/cli/spec_file.h"

static int write_file(Arena *arena, const char *directory, const char *name, const char *ending,
                      const void *bytes, size_t size)
{
    char *path = arena_printf(arena, "%s/%s%s", directory, name, ending);
    char *temporary = arena_printf(arena, "%s.%ld.tmp", path, (long)getpid());
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return failure("%s: %s", path, strerror(errno));
    bool ok = fwrite(bytes, 1, size, out) == size;
    ok = fclose(out) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return EXIT_DONE;
    int status = failure("%s: %s", path, strerror(errno));
    unlink(temporary);
    return status;
}

static int make_directory(const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return EXIT_DONE;
    return failure("%s: %s", path, strerror(errno));
}

static bool is_identifier(const char *name)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    return *name && !strchr("0123456789", *name) && name[strspn(name, letters)] == '\0';
}

/* The Program after the passes that were asked for, and CUDA text, on standard output: what comes from here is compiled
 * again by attune_build, which has no place for dumps. */
static int dump_passes(SpecReader *reader, const Spec *spec, const AttuneBuildOptions *build)
{
    Target target;
    ElemType elem;
    if (!build->kernel.dump || !elem_type_parse(option_value(reader->arguments, OPTION_DTYPE, "f32"), &elem))
        return EXIT_DONE;
    if (!target_parse(reader->diag, build->kernel.target ? build->kernel.target : "cpu", &target))
        return EXIT_WRONG;
    CompileOptions options = {.target = &target, .elem = elem, .D = build->kernel.d, .E = build->kernel.e ? build->kernel.e : build->kernel.d,
                              .dump = build->kernel.dump, .dump_out = stdout, .symbol = build->symbol};
    return compile_program(reader->arena, reader->diag, spec, &options) ? EXIT_DONE : EXIT_WRONG;
}

static int build_file(SpecReader *reader, const char *path, const Shape *shape)
{
    const Arguments *arguments = reader->arguments;
    SpecFile file;
    if (!spec_file_read(reader, path, &file))
        return EXIT_WRONG;
    const Spec *checked = spec_file_check(reader, &file);
    if (!checked)
        return EXIT_WRONG;
    AttuneSpec *spec = spec_file_public(reader, &file);
    if (!spec)
        return EXIT_WRONG;
    AttuneBuildOptions options = {
        .kernel = {.target = option_value(arguments, OPTION_TARGET, NULL),
                   .dtype = attune_dtype_parse(option_value(arguments, OPTION_DTYPE, "f32")),
                   .d = shape->sizes.d,
                   .e = shape->sizes.e,
                   .dump = option_value(arguments, OPTION_DUMP, NULL)},
        .symbol = option_value(arguments, OPTION_SYMBOL, NULL),
    };
    if (dump_passes(reader, checked, &options) != EXIT_DONE) {
        attune_spec_destroy(spec);
        return EXIT_WRONG;
    }
    AttuneError *error = NULL;
    AttuneBuild *build = attune_build(spec, &options, &error);
    attune_spec_destroy(spec);
    if (!build)
        return error_report(arguments, error);
    const char *directory = option_value(arguments, OPTION_OUTPUT, "."),
               *name = options.symbol ? options.symbol : checked->name;
    int status = make_directory(directory);
    if (status == EXIT_DONE)
        status = write_file(reader->arena, directory, name, ".o", build->object, build->object_size);
    if (status == EXIT_DONE)
        status = write_file(reader->arena, directory, name, ".h", build->header, strlen(build->header));
    if (status == EXIT_DONE)
        status =
            write_file(reader->arena, directory, name, ".json", build->manifest, strlen(build->manifest));
    if (status == EXIT_DONE && !option_given(arguments, OPTION_QUIET))
        printf("%s/%s.o: %zu bytes; %s.h, %s.json\n", directory, name, build->object_size, name, name);
    attune_build_free(build);
    return status;
}

static int check_options(const Arguments *arguments, Shape *shape)
{
    int status = shape_read(arguments, shape);
    if (status != EXIT_DONE)
        return status;
    const char *dtype = option_value(arguments, OPTION_DTYPE, "f32"),
               *symbol = option_value(arguments, OPTION_SYMBOL, NULL);
    if (attune_dtype_parse(dtype) == ATTUNE_DTYPE_NONE)
        return usage_error("build", "--dtype: '%s' is none of f32, bf16, f16", dtype);
    if (symbol && !is_identifier(symbol))
        return usage_error("build", "--symbol: '%s' is not a name in C", symbol);
    if (symbol && arguments->file_count > 1)
        return usage_error("build", "--symbol goes with one file");
    if (shape->sizes.d == 0)
        shape->sizes.d = 64; /* as everywhere; all other sizes are of the launch */
    return EXIT_DONE;
}

int cmd_build(const Arguments *arguments)
{
    if (strcmp(option_value(arguments, OPTION_DUMP, ""), "help") == 0) {
        compile_print_passes(stdout);
        return EXIT_DONE;
    }
    static Shape shape;
    int status = check_options(arguments, &shape);
    if (status != EXIT_DONE)
        return status;
    static SpecReader reader;
    status = spec_reader_open(&reader, arguments);
    if (status != EXIT_DONE)
        return status;
    jmp_buf door;
    arena_arm(reader.arena, &door);
    volatile int worst = EXIT_DONE;
    if (setjmp(door)) {
        diag_out_of_memory(reader.diag);
    } else {
        for (int k = 0; k < arguments->file_count; k++) {
            int one = build_file(&reader, arguments->files[k], &shape);
            worst = one > worst ? one : worst;
        }
    }
    status = spec_reader_report(&reader);
    spec_reader_close(&reader);
    return worst != EXIT_DONE ? worst : status;
}
