/* Shipped kernels as PTX, without a GPU: LLVM makes text for every one; products of 16-bit tiles are on tensor
 * cores (mma.sync, ldmatrix), copies are asynchronous (cp.async), nothing lies in local memory; and ptxas, where
 * it is found ($ATTUNE_PTXAS, the path, CUDA's own folder), takes the text.
 *
 * Every kernel once, types, widths and GPUs in turn; with ATTUNE_TEST_FULL=1 every combination. Arguments: kernels
 * whose path holds one of them. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compiler/emit/cuda_plain.h"
#include "tests/pipeline/shipped.h"

enum { SKIPPED = 77 };

static const char *const targets[] = {"ptx", "ptx:sm_90", "ptx:sm_80", "ptx:sm_100"};
static const ElemType elems[] = {ELEM_TYPE_BF16, ELEM_TYPE_F16, ELEM_TYPE_F32};
static const int64_t widths[] = {64, 128, 256};
enum { TARGETS = sizeof targets / sizeof *targets, ELEMS = 3, WIDTHS = 3 };

static const char *ptxas;
static char directory[] = "/tmp/attune-ptx-XXXXXX";
static int compiled, with_products, accepted, failures;

static void complain(const char *path, const char *target, ElemType elem, int64_t D, const char *what)
{
    printf("FAILED %s %s %s d%lld: %s\n", path, target, elem_type_name(elem), (long long)D, what);
    failures++;
}

static const char *find_ptxas(void)
{
    const char *const names[] = {getenv("ATTUNE_PTXAS"), "ptxas", "/usr/local/cuda/bin/ptxas"};
    static char command[600];
    for (int n = 0; n < 3; n++) {
        if (!names[n] || !names[n][0])
            continue;
        snprintf(command, sizeof command, "'%.300s' --version > /dev/null 2>&1", names[n]);
        if (system(command) == 0)
            return names[n];
    }
    return NULL;
}

/* NULL, or what ptxas says of the text. */
static const char *assemble(const char *text, const char *arch)
{
    static char says[1000];
    char file[300], command[1000];
    snprintf(file, sizeof file, "%s/kernel.ptx", directory);
    FILE *out = fopen(file, "w");
    if (!out || fputs(text, out) < 0 || fclose(out) != 0)
        return "the text cannot be written";
    snprintf(command, sizeof command, "'%.300s' -arch=%s %s -o /dev/null 2>&1", ptxas, arch, file);
    FILE *in = popen(command, "r");
    if (!in)
        return "ptxas cannot be run";
    says[fread(says, 1, sizeof says - 1, in)] = '\0';
    return pclose(in) == 0 ? NULL : says;
}

typedef struct Contents {
    int products;
} Contents;

static void look(void *user, Inst *inst)
{
    Contents *contents = user;
    contents->products += inst->op == TILE_CONTRACT && plain_is_product(inst);
}

static void check_text(const char *path, const Target *target, ElemType elem, int64_t D, const char *text, int products)
{
    bool has_mma = strstr(text, "mma.sync.aligned.m16n8k16") && strstr(text, "ldmatrix.sync");
    if (products > 0 && !has_mma)
        complain(path, target->name, elem, D, "its products are not on tensor cores");
    if (products == 0 && has_mma)
        complain(path, target->name, elem, D, "there are products on tensor cores that the program has not");
    if (strstr(text, "__local_depot"))
        complain(path, target->name, elem, D, "variables lie in local memory");
    const char *problem = ptxas ? assemble(text, target->arch) : NULL;
    if (problem)
        complain(path, target->name, elem, D, problem);
    with_products += products > 0;
    accepted += ptxas && !problem;
}

static void check(const char *path, const char *target_name, ElemType elem, int64_t D)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target target;
    CaseShape shape = {.D = D, .E = D};
    Spec *spec = case_spec_file(arena, diag, path, NULL, 0);
    Program *program = NULL;
    Kernel *kernel = NULL;
    if (spec && target_parse(diag, target_name, &target)) {
        shape = shipped_shape(spec, path, &shape, 1);
        CompileOptions options = {.target = &target, .elem = elem, .D = shape.D, .E = shape.E};
        program = compile_program(arena, diag, spec, &options);
        kernel = program ? compile_spec(arena, diag, spec, &options) : NULL;
    }
    if (kernel) {
        Contents contents = {0};
        program_walk(program, look, &contents);
        compiled++;
        if (kernel->format != KERNEL_PTX || ((const char *)kernel->code)[kernel->code_size - 1])
            complain(path, target_name, elem, D, "is no text");
        else
            check_text(path, &target, elem, D, kernel->code, contents.products);
    } else if (!shipped_is_refused(diag)) {
        complain(path, target_name, elem, D, diag_to_text(diag));
    }
    kernel_destroy(kernel);
    arena_destroy(arena);
}

static bool wanted(const char *path, int argc, char **argv)
{
    bool found = argc < 2;
    for (int n = 1; n < argc; n++)
        found |= strstr(path, argv[n]) != NULL;
    return found;
}

int main(int argc, char **argv)
{
    static char *paths[SHIPPED_MAX_KERNELS];
    bool full = getenv("ATTUNE_TEST_FULL") != NULL;
    time_t begin = time(NULL);
    if (!ATTUNE_HAVE_PTX) {
        puts("skipped: no LLVM with NVPTX");
        return SKIPPED;
    }
    ptxas = find_ptxas();
    if (!mkdtemp(directory))
        return 1;
    int count = shipped_kernels(KERNELS, paths);
    for (int n = 0; n < count; n++)
        for (int k = 0; wanted(paths[n], argc, argv) && k < (full ? TARGETS * ELEMS * WIDTHS : 1); k++) {
            int at = full ? k : n * 7;
            check(paths[n], targets[at % TARGETS], elems[at / TARGETS % ELEMS], widths[at / TARGETS / ELEMS % WIDTHS]);
        }
    char file[300];
    snprintf(file, sizeof file, "%s/kernel.ptx", directory);
    unlink(file);
    rmdir(directory);
    printf("%d kernels compiled, %d with products, %d assembled%s, %d failures; %ld s\n", compiled, with_products, accepted,
           ptxas ? "" : " (no ptxas here)", failures, (long)(time(NULL) - begin));
    return failures > 0 || compiled == 0;
}
