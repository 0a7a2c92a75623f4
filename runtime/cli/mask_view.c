/* Opening one attention at one shape. Tile sizes are those that the compiler would take, unless --block says
 * others. */
#include "runtime/cli/mask_view.h"

#include <stdlib.h>
#include <string.h>

/* "8x8,16x16": by axis queries x keys. */
static int read_blocks(MaskView *view, const char *text)
{
    for (int a = 0; a < view->spec->rank; a++) {
        char *end;
        long m = strtol(text, &end, 10);
        long n = end != text && *end == 'x' ? strtol(end + 1, &end, 10) : 0;
        bool last = a + 1 == view->spec->rank;
        if (m < 1 || n < 1 || m > 1 << 16 || n > 1 << 16 || *end != (last ? '\0' : ','))
            return usage_error(NULL, "--block: '%s' is not %s, with sizes from 1 to 65536",
                               option_value(view->arguments, OPTION_BLOCK, ""),
                               view->spec->rank == 1 ? "ROWSxKEYS"
                                                     : "one ROWSxKEYS for every axis, as 8x8,8x8");
        view->block_m[a] = m;
        view->block_n[a] = n;
        text = end + !last;
    }
    return EXIT_DONE;
}

/* The Program, with the tile sizes in its knobs. */
static int compile(MaskView *view)
{
    const char *target = option_value(view->arguments, OPTION_TARGET, ATTUNE_HAVE_LLVM ? "cpu" : "interp");
    if (!target_parse(view->reader.diag, target, &view->target))
        return EXIT_WRONG;
    CompileOptions options = {.target = &view->target,
                              .elem = view->elem,
                              .D = view->data.shape.sizes.d,
                              .E = view->data.shape.sizes.e,
                              .dump = option_value(view->arguments, OPTION_DUMP, NULL),
                              .dump_out = stdout};
    view->program = compile_program(view->reader.arena, view->reader.diag, view->spec, &options);
    return view->program ? EXIT_DONE : EXIT_WRONG;
}

static int choose_blocks(MaskView *view)
{
    static const char *const names[2][SPEC_MAX_RANK] = {{"block_m", "block_m1", "block_m2"},
                                                        {"block_n", "block_n1", "block_n2"}};
    const Program *program = view->program;
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        view->block_m[a] = view->block_n[a] = 1;
    for (int k = 0; k < program->knob_count; k++)
        for (int a = 0; a < SPEC_MAX_RANK; a++) {
            if (strcmp(program->knobs[k].name, names[0][a]) == 0)
                view->block_m[a] = program->knobs[k].value;
            if (strcmp(program->knobs[k].name, names[1][a]) == 0)
                view->block_n[a] = program->knobs[k].value;
        }
    for (int k = 0; k < program->knob_count; k++)
        if (strcmp(program->knobs[k].name, "chunk") == 0 || strcmp(program->knobs[k].name, "step") == 0)
            view->block_m[0] = view->block_n[0] = program->knobs[k].value;
    const char *text = option_value(view->arguments, OPTION_BLOCK, NULL);
    return text ? read_blocks(view, text) : EXIT_DONE;
}

static int read_elem(MaskView *view)
{
    const char *name = option_value(view->arguments, OPTION_DTYPE, "f32");
    if (elem_type_parse(name, &view->elem) &&
        (view->elem == ELEM_TYPE_F32 || view->elem == ELEM_TYPE_BF16 || view->elem == ELEM_TYPE_F16))
        return EXIT_DONE;
    return usage_error(NULL, "--dtype: '%s' is none of f32, bf16, f16", name);
}

static int view_all(MaskView *view, int (*body)(MaskView *view))
{
    SpecFile file;
    if (!spec_file_read(&view->reader, view->arguments->files[0], &file))
        return EXIT_WRONG;
    view->spec = spec_file_check(&view->reader, &file);
    if (!view->spec || spec_reader_report(&view->reader) != EXIT_DONE)
        return EXIT_WRONG;
    view->public_spec = spec_file_public(&view->reader, &file);
    if (!view->public_spec)
        return EXIT_WRONG;
    int status = launch_data_make(view->arguments, view->spec, view->public_spec, true, &view->data);
    if (status == EXIT_DONE)
        status = read_elem(view);
    if (status == EXIT_DONE)
        status = compile(view);
    if (status == EXIT_DONE)
        status = choose_blocks(view);
    if (status != EXIT_DONE)
        return status;
    launch_data_problem(&view->data, &view->problem);
    view->survey =
        mask_survey_create(view->reader.arena, view->spec, &view->problem, view->block_m, view->block_n);
    return body(view);
}

int mask_view_run(const Arguments *arguments, int (*body)(MaskView *view))
{
    static MaskView view; /* static: what setjmp below must not lose */
    view = (MaskView){.arguments = arguments};
    int opened = spec_reader_open(&view.reader, arguments);
    if (opened != EXIT_DONE)
        return opened;
    jmp_buf door;
    arena_arm(view.reader.arena, &door);
    volatile int status = EXIT_WRONG;
    if (setjmp(door))
        diag_out_of_memory(view.reader.diag);
    else
        status = view_all(&view, body);
    view.reader.reported = view.reader.reported && view.reader.diag->errors == 0;
    int reported = spec_reader_report(&view.reader);
    launch_data_free(&view.data);
    attune_spec_destroy(view.public_spec);
    spec_reader_close(&view.reader);
    return status != EXIT_DONE ? status : reported;
}
