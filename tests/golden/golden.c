/* The golden runner: golden [--update] DIR
 *
 * NAME.attn   // count PASS: OP N, OP N ...     instructions of the Program after a pass
 *             // widths: D E [dtype]            head widths to compile for (64 64 f32)
 *             NAME.PASS beside it is the whole dump after that pass.
 * NAME.tile   ; run PASS                        simplify, propagate (then simplify) or size (size: ; blocks M N)
 *             ; count OP N, ...                 what is left
 *             NAME.after beside it is the whole Program afterwards.
 * --update rewrites the dumps; the difference is reviewed like code. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/compile.h"
#include "compiler/schedule/schedule.h"
#include "compiler/spec/check.h"

typedef struct Tally {
    int count[TILE_OP_COUNT];
} Tally;

static int failures, checks;
static bool update;

static void fail(const char *path, const char *what, const char *detail)
{
    failures++;
    printf("FAIL %s: %s%s%s\n", path, what, *detail ? ": " : "", detail);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *text = calloc(1, (size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, f) != (size_t)size) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

static void tally_inst(void *user, Inst *inst)
{
    ((Tally *)user)->count[inst->op]++;
}

/* "map 12, reduce 2" against the program. */
static void check_counts(const char *path, const char *line, Program *program)
{
    Tally tally = {{0}};
    program_walk(program, tally_inst, &tally);
    char name[32];
    int expected, used;
    while (sscanf(line, " %31[a-z_] %d%n", name, &expected, &used) == 2) {
        int op = 0;
        while (op < TILE_OP_COUNT && strcmp(tile_op_info[op].name, name) != 0)
            op++;
        checks++;
        char detail[96];
        snprintf(detail, sizeof detail, "%s: expected %d, found %d", name, expected, op < TILE_OP_COUNT ? tally.count[op] : -1);
        if (op == TILE_OP_COUNT || tally.count[op] != expected)
            fail(path, "count", detail);
        line += used;
        if (*line == ',')
            line++;
    }
}

/* Compares with the file beside the case when there is one. */
static void check_dump(const char *path, const char *stage, const char *text)
{
    char beside[512];
    snprintf(beside, sizeof beside, "%.*s.%s", (int)(strrchr(path, '.') - path), path, stage);
    char *expected = read_file(beside);
    if (!expected)
        return;
    checks++;
    if (strcmp(expected, text) != 0) {
        if (update) {
            FILE *f = fopen(beside, "wb");
            if (!f || fputs(text, f) < 0)
                fail(beside, "cannot be rewritten", "");
            if (f)
                fclose(f);
        } else {
            fail(beside, "the dump differs; golden --update rewrites it", "");
        }
    }
    free(expected);
}

static const char *directive(const char *text, const char *name, const char *after)
{
    for (const char *at = text; (at = strstr(at, name)) != NULL; at += strlen(name))
        if (at > text && at[-1] == ' ' && (!after || strncmp(at + strlen(name), after, strlen(after)) == 0))
            return at + strlen(name) + (after ? strlen(after) : 0);
    return NULL;
}

static void report(const char *path, Diag *diag)
{
    char *text = diag_to_text(diag);
    fail(path, "diagnostics", text ? text : "");
}

static void run_attn(const char *path, const char *text)
{
    static const struct { char letter; const char *name; } stages[] = {{'l', "lower"}, {'s', "simplify"}, {'z', "size"}, {'p', "propagate"}, {'t', "tidy"}};
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Ast *file = NULL;
    Spec *spec = dsl_parse(diag, path, text, strlen(text), NULL, &file) == DSL_OK ? check_spec(arena, diag, file, NULL, NULL, 0) : NULL;
    long long D = 64, E = 64;
    char dtype[8] = "f32";
    const char *widths = directive(text, "widths:", NULL);
    if (widths)
        sscanf(widths, " %lld %lld %7[a-z0-9]", &D, &E, dtype);
    Target target;
    ElemType elem;
    if (!spec || !target_parse(diag, "interp", &target) || !elem_type_parse(dtype, &elem)) {
        report(path, diag);
        arena_destroy(arena);
        return;
    }
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        char letters[2] = {stages[i].letter, 0};
        char *dump = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&dump, &size);
        CompileOptions options = {.target = &target, .elem = elem, .D = D, .E = E, .dump = letters, .dump_out = out};
        Program *program = compile_program(arena, diag, spec, &options);
        fclose(out);
        if (!program) {
            report(path, diag);
            free(dump);
            break;
        }
        check_dump(path, stages[i].name, dump);
        char after[24];
        snprintf(after, sizeof after, " %s:", stages[i].name);
        const char *counts = directive(text, "count", after);
        if (counts) { /* the Program of that pass, from its own text */
            const char *body = strchr(dump, '\n') + 1;
            int source = diag_add_source(diag, "dump", body, strlen(body));
            Program *at_pass = program_parse(arena, diag, source);
            if (at_pass)
                check_counts(path, counts, at_pass);
            else
                report(path, diag);
        }
        free(dump);
    }
    arena_destroy(arena);
}

static void run_tile(const char *path, const char *text)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Program *program = program_parse(arena, diag, diag_add_source(diag, path, text, strlen(text)));
    const char *run = directive(text, "run ", NULL);
    if (!program || !run || !program_verify(program, diag)) {
        report(path, diag);
        arena_destroy(arena);
        return;
    }
    if (strncmp(run, "size", 4) == 0) {
        long long m = 32, n = 128;
        const char *blocks = directive(text, "blocks", NULL);
        if (blocks)
            sscanf(blocks, " %lld %lld", &m, &n);
        schedule_size(program, diag, &(SizeChoice){{m, m, m}, {n, n, n}, 16, 0});
    } else if (strncmp(run, "propagate", 9) == 0) {
        schedule_propagate(program, diag);
        schedule_simplify(program, diag);
    } else {
        schedule_simplify(program, diag);
    }
    if (diag->errors || !program_verify(program, diag))
        report(path, diag);
    const char *counts = directive(text, "count", NULL);
    if (counts)
        check_counts(path, counts, program);
    check_dump(path, "after", program_print(program, arena));
    arena_destroy(arena);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int main(int argc, char **argv)
{
    update = argc > 2 && !strcmp(argv[1], "--update");
    const char *dir = argv[argc - 1];
    struct dirent **entries;
    int count = argc > 1 ? scandir(dir, &entries, NULL, by_name) : -1;
    if (count < 0) {
        fprintf(stderr, "usage: golden [--update] DIR\n");
        return 2;
    }
    int cases = 0;
    for (int i = 0; i < count; i++) {
        const char *dot = strrchr(entries[i]->d_name, '.');
        bool attn = dot && !strcmp(dot, ".attn"), tile = dot && !strcmp(dot, ".tile");
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        free(entries[i]);
        if (!attn && !tile)
            continue;
        char *text = read_file(path);
        if (!text) {
            fail(path, "cannot be read", "");
            continue;
        }
        cases++;
        (attn ? run_attn : run_tile)(path, text);
        free(text);
    }
    free(entries);
    printf("golden: %d cases, %d checks, %d failures\n", cases, checks, failures);
    return failures || !cases || !checks;
}
