/* Builds two kernels into a directory, for aot_test.c to link: DIRECTORY. */
#include <stdio.h>
#include <string.h>

#include "runtime/attune.h"

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

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        AttuneSpec *spec = attune_spec_from_text(rows[i].text, strlen(rows[i].text), NULL, &error);
        const AttuneBuildOptions options = {
            .kernel = {.target = "cpu:x86-64-v3", .dtype = rows[i].dtype, .d = rows[i].d, .e = rows[i].e},
            .symbol = rows[i].symbol};
        AttuneBuild *build = spec ? attune_build(spec, &options, &error) : NULL;
        if (!build || !write_bytes(argv[1], rows[i].symbol, "o", build->object, build->object_size) ||
            !write_bytes(argv[1], rows[i].symbol, "h", build->header, strlen(build->header)) ||
            !write_bytes(argv[1], rows[i].symbol, "json", build->manifest, strlen(build->manifest))) {
            fprintf(stderr, "%s: %s\n", rows[i].symbol, build ? "cannot write" : attune_error_message(error));
            return 1;
        }
        attune_build_free(build);
        attune_spec_destroy(spec);
    }
    return argc != 2;
}
