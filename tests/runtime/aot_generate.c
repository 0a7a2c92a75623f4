/* Builds kernels into a directory, for aot_test.c to link: DIRECTORY. Two from specs, and one with a made-up
 * image as if for a GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/aot.h"

typedef struct Row {
    const char *symbol, *text;
    AttuneDtype dtype;
    int64_t d, e;
} Row;

/* `class` and `default` are no names in C++ and C; the header has to cope. */
static const Row rows[] = {
    {"aot_local",
     "attention local { param window: int = 4  param default: float = 2.5  param on: bool = true\n"
     "    input slope[h]: f32  input class[b, t]: i32  input table[2 * window + 1]: f32\n"
     "    mask on and j <= i and i - j <= window and class[i] == class[j]\n"
     "    score s * scale * default + slope[h] + table[i - j]\n"
     "    return lse }",
     ATTUNE_F32, 16, 8},
    {"aot_grid",
     "attention grid over (y, x) { param const r: int = 1  mask abs(i.y - j.y) <= r and abs(i.x - j.x) <= r "
     "}",
     ATTUNE_BF16, 8, 8},
};

static bool write_bytes(const char *directory, const char *symbol, const char *ending, const void *bytes,
                        size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", directory, symbol, ending);
    FILE *out = fopen(path, "wb");
    bool good = out && fwrite(bytes, 1, size, out) == size;
    return (out ? fclose(out) == 0 : false) && good;
}

static bool write_build(const char *directory, const char *symbol, const AttuneBuild *build)
{
    return write_bytes(directory, symbol, "o", build->object, build->object_size) &&
           write_bytes(directory, symbol, "h", build->header, strlen(build->header)) &&
           write_bytes(directory, symbol, "json", build->manifest, strlen(build->manifest));
}

static bool generate_device(const char *directory)
{
    static const char text[] =
        "attention device { input slope[h]: f32  mask j <= i  score s + slope[h]  return lse }";
    const Target target = {.kind = TARGET_CUDA, .name = "cuda:sm_90a"};
    const AttuneKernelOptions options = {.target = target.name, .dtype = ATTUNE_F16, .d = 64, .e = 64};
    Build build;
    AttuneSpec *spec = attune_spec_from_text(text, sizeof text - 1, NULL, NULL);
    bool good = spec && build_open(&build, NULL, spec, &options, &target, "aot_device", NULL) == ATTUNE_OK;
    Kernel *kernel = calloc(1, sizeof *kernel);
    if (good && kernel) {
        *kernel = (Kernel){.format = KERNEL_CUBIN,
                           .elem = ELEM_TYPE_F16,
                           .D = 64,
                           .E = 64,
                           .rank = 1,
                           .phase_count = 1,
                           .code_size = 1001,
                           .code = malloc(1001)};
        strcpy(kernel->target, target.name);
        strcpy(kernel->phases[0].entry, "aot_device_attend");
        kernel->phases[0].threads = 128;
        for (size_t i = 0; i < kernel->code_size; i++)
            ((unsigned char *)kernel->code)[i] = (unsigned char)(i * 7);
        AttuneBuild *made = aot_make(&build, kernel, "aot_device", NULL);
        good = made && write_build(directory, "aot_device", made);
        attune_build_free(made);
        build_close(&build);
    }
    kernel_destroy(kernel);
    attune_spec_destroy(spec);
    return good;
}

int main(int argc, char **argv)
{
    if (argc != 2 || !generate_device(argv[1]))
        return 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        AttuneSpec *spec = attune_spec_from_text(rows[i].text, strlen(rows[i].text), NULL, &error);
        const AttuneBuildOptions options = {
            .kernel = {.target = "cpu:x86-64-v3", .dtype = rows[i].dtype, .d = rows[i].d, .e = rows[i].e},
            .symbol = rows[i].symbol};
        AttuneBuild *build = spec ? attune_build(spec, &options, &error) : NULL;
        if (!build || !write_build(argv[1], rows[i].symbol, build)) {
            fprintf(stderr, "%s: %s\n", rows[i].symbol, build ? "cannot write" : attune_error_message(error));
            return 1;
        }
        attune_build_free(build);
        attune_spec_destroy(spec);
    }
    return 0;
}
