#define _GNU_SOURCE
#include "emulator.h"

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

const char *emulator_compile(Emulator *emulator, Arena *arena, const char *text, void **library)
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
    fprintf(out, "#define ATTUNE_EMULATE\n#include \"%s\"\n%s\n", EMULATOR_HEADER, text);
    if (fclose(out) != 0)
        return "the text cannot be written";
    if (system(arena_printf(arena, "%s %s -o %s %s 2> %s", EMULATOR_CXX, options, object, source, log)) != 0)
        return arena_printf(arena, "the C++ compiler refuses the text: %s", read_all(arena, log));
    *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!getenv("ATTUNE_TEST_KEEP")) {
        unlink(object);
        unlink(source);
        unlink(log);
    }
    return *library ? NULL : "the compiled text does not load";
}

/* The text with a function that starts any of its phases. */
static const char *startable(Arena *arena, const CudaText *text, const Program *program)
{
    Text out = {.arena = arena};
    text_add_bytes(&out, text->text, strlen(text->text));
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

const char *emulator_build(Emulator *emulator, Arena *arena, const Target *target, Program *program,
                           Emulated *out)
{
    memset(out, 0, sizeof *out);
    Diag *diag = diag_create(arena);
    if (!cuda_program(target, arena, diag, program, CUDA_PLAIN_ONLY, &out->text))
        return arena_printf(arena, "no text: %s", diag_to_text(diag));
    const char *problem =
        emulator_compile(emulator, arena, startable(arena, &out->text, program), &out->library);
    void *symbol = problem ? NULL : dlsym(out->library, "attune_emulate");
    memcpy(&out->run, &symbol, sizeof symbol);
    return problem || symbol ? problem : "the text has no start";
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
