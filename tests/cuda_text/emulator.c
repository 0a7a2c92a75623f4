#define _GNU_SOURCE
#include "emulator.h"

#include "compiler/emit/llvm.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool emulator_open(Emulator *emulator)
{
    if (system(EMULATOR_CXX " --version > /dev/null 2>&1") != 0)
        return false;
    const char *root = getenv("TMPDIR");
    snprintf(emulator->directory, sizeof emulator->directory, "%.200s/attune-emulate-XXXXXX",
             root ? root : "/tmp");
    emulator->made = 0;
    return mkdtemp(emulator->directory) != NULL;
}

void emulator_close(Emulator *emulator)
{
    char command[400];
    if (getenv("ATTUNE_TEST_KEEP")) {
        fprintf(stderr, "texts are in %s\n", emulator->directory);
        return;
    }
    snprintf(command, sizeof command, "rm -rf '%s'", emulator->directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left\n", emulator->directory);
}

static char *read_all(Arena *arena, const char *path)
{
    char part[2000] = "";
    FILE *in = fopen(path, "r");
    if (in) {
        part[fread(part, 1, sizeof part - 1, in)] = '\0';
        fclose(in);
    }
    return arena_strdup(arena, part);
}

/* `header`: what the text follows. `with`: an object that belongs to it, or "". */
static const char *compile(Emulator *emulator, Arena *arena, const char *text, const char *header,
                           const char *with, void **library)
{
    static const char options[] =
        "-std=c++17 -O1 -march=native -ffp-contract=off -fno-strict-aliasing -w -shared -fPIC";
    char *stem = arena_printf(arena, "%s/%d-%d", emulator->directory, (int)getpid(), emulator->made++);
    char *source = arena_printf(arena, "%s.cc", stem), *object = arena_printf(arena, "%s.so", stem),
         *log = arena_printf(arena, "%s.log", stem);
    *library = NULL;
    FILE *out = fopen(source, "w");
    if (!out)
        return "the text cannot be written";
    fprintf(out, "#define ATTUNE_EMULATE\n#include \"%s/%s\"\n%s\n", EMULATOR_HEADERS, header, text);
    if (fclose(out) != 0)
        return "the text cannot be written";
    if (system(arena_printf(arena, "%s %s -o %s %s %s 2> %s", EMULATOR_CXX, options, object, source, with,
                            log)) != 0)
        return arena_printf(arena, "the C++ compiler refuses the text: %s", read_all(arena, log));
    *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!getenv("ATTUNE_TEST_KEEP")) {
        unlink(object);
        unlink(source);
        unlink(log);
    }
    return *library ? NULL : "the compiled text does not load";
}

const char *emulator_compile(Emulator *emulator, Arena *arena, const char *text, void **library)
{
    return compile(emulator, arena, text, "emulate.h", "", library);
}

/* The text with a function that starts any of its phases. */
static const char *startable(Arena *arena, const CudaText *text, const Program *program)
{
    Text out = {.arena = arena};
    text_add_bytes(&out, text->text, strlen(text->text));
    if (!text->text[0]) /* compiled already */
        for (int p = 0; p < program->phase_count; p++)
            text_add(&out,
                     "struct Launch_%s { long long slots[%d]; };\nextern \"C\" void %s(const Launch_%s &);\n",
                     program->phases[p].name, slot_of_tensor(program->tensor_count), text->phases[p].entry,
                     program->phases[p].name);
    text_add(
        &out,
        "extern \"C\" int attune_emulate(int phase, const long long *slots, long long blocks, char *error, "
        "size_t size)\n{\n");
    for (int p = 0; p < program->phase_count; p++) {
        text_add(&out, "    static Launch_%s launch%d;\n    if (phase == %d) {\n", program->phases[p].name, p,
                 p);
        text_add(&out, "        memcpy(launch%d.slots, slots, sizeof launch%d.slots);\n", p, p);
        text_add(&out,
                 "        return emulate_grid([] { %s(launch%d); }, blocks, %d, %d, error, size);\n    }\n",
                 text->phases[p].entry, p, text->phases[p].threads, text->phases[p].shared_bytes);
    }
    text_add(&out, "    return 0;\n}\n");
    return out.data;
}

static const char *start(const char *problem, Emulated *out)
{
    void *symbol = problem ? NULL : dlsym(out->library, "attune_emulate");
    memcpy(&out->run, &symbol, sizeof symbol);
    return problem || symbol ? problem : "the text has no start";
}

/* LLVM's code for the host, linked with what stands for the GPU's own instructions. */
static const char *build_ptx(Emulator *emulator, Arena *arena, const Target *target, Program *program,
                             Emulated *out)
{
#if ATTUNE_HAVE_PTX
    Diag *diag = diag_create(arena);
    Target host;
    size_t size = 0;
    void *object = target_parse(diag, "cpu", &host)
                       ? llvm_ptx_host_object(target, &host, arena, diag, program, out->text.phases,
                                              out->text.slices, &size)
                       : NULL;
    if (!object)
        return arena_printf(arena, "no code: %s", diag_to_text(diag));
    char *path = arena_printf(arena, "%s/%d-%d.o", emulator->directory, (int)getpid(), emulator->made);
    FILE *file = fopen(path, "wb");
    bool written = file && fwrite(object, 1, size, file) == size;
    free(object);
    if (!file || fclose(file) != 0 || !written)
        return "the code cannot be written";
    out->text.text = arena_strdup(arena, "");
    const char *text = startable(arena, &out->text, program);
    const char *problem = compile(emulator, arena, text, "emulate_ptx.h", path, &out->library);
    if (!getenv("ATTUNE_TEST_KEEP"))
        unlink(path);
    return start(problem, out);
#else
    (void)emulator;
    (void)target;
    (void)program;
    (void)out;
    return arena_strdup(arena, "this build has no LLVM");
#endif
}

const char *emulator_build(Emulator *emulator, Arena *arena, const Target *target, Program *program,
                           Emulated *out)
{
    memset(out, 0, sizeof *out);
    if (target->kind == TARGET_PTX)
        return build_ptx(emulator, arena, target, program, out);
    Diag *diag = diag_create(arena);
    if (!cuda_program(target, arena, diag, program, CUDA_PLAIN_ONLY, &out->text))
        return arena_printf(arena, "no text: %s", diag_to_text(diag));
    const char *text = startable(arena, &out->text, program);
    return start(emulator_compile(emulator, arena, text, &out->library), out);
}

const char *emulator_run(const Emulated *emulated, Arena *arena, const Program *program, const int64_t *slots)
{
    for (int p = 0; p < program->phase_count; p++) {
        char error[256] = "";
        int64_t blocks = emulated->text.slices[p];
        for (int k = 0; k < program->phases[p].grid_count; k++)
            blocks *= extent_value(&program->phases[p].grid[k].extent, slots);
        if (!emulated->run(p, (const long long *)slots, blocks, error, sizeof error))
            return arena_printf(arena, "phase %s: %s", program->phases[p].name, error);
    }
    return NULL;
}

void emulator_release(Emulated *emulated)
{
    if (emulated->library)
        dlclose(emulated->library);
    emulated->library = NULL;
}
