/* bench_emit FILE [D=64] [N=4096] [H=8] [elem=f32] [m=] [n=] [target=cpu] [set:NAME=VALUE]... [text=asm|ir]
 * [time=1]
 *
 * Compiles one attention and times its kernel on one thread, by the thread's CPU time so that neighbours on
 * the machine matter less, next to OpenBLAS's sgemm in the same run. text= prints the generated code
 * instead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler/compile.h"
#include "compiler/emit/llvm.h"
#include "compiler/spec/check.h"
#include "dsl/dsl.h"

#ifdef HAVE_OPENBLAS
void openblas_set_num_threads(int count);
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
#endif

typedef struct Bench {
    const char *file, *target, *text;
    int64_t D, N, H;
    ElemType elem;
    const char *m, *n;
    SpecSetting settings[8];
    int setting_count;
} Bench;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static void *random_tensor(int64_t count, ElemType elem)
{
    float *f = aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64);
    uint64_t state = 1;
    for (int64_t k = 0; k < count; k++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float value = (float)((double)(state >> 33) / 2147483648.0 - 0.5) * 2;
        if (elem == ELEM_TYPE_F32)
            f[k] = value;
        else if (elem == ELEM_TYPE_BF16)
            ((uint16_t *)f)[k] = to_bf16(value);
        else
            ((uint16_t *)f)[k] = (uint16_t)(0x3000 | (state >> 54 & 0x8fff));
    }
    return f;
}

static bool parse_arguments(int argc, char **argv, Bench *bench)
{
    *bench = (Bench){.target = "cpu", .D = 64, .N = 4096, .H = 8, .elem = ELEM_TYPE_F32};
    for (int k = 1; k < argc; k++) {
        char *a = argv[k], *value = strchr(a, '=');
        if (!value) {
            bench->file = a;
        } else if (!strncmp(a, "set:", 4)) {
            *value = 0;
            bench->settings[bench->setting_count++] = (SpecSetting){a + 4, value + 1};
        } else if (!strncmp(a, "elem=", 5)) {
            if (!elem_type_parse(value + 1, &bench->elem))
                return false;
        } else if (!strncmp(a, "target=", 7)) {
            bench->target = value + 1;
        } else if (!strncmp(a, "text=", 5)) {
            bench->text = value + 1;
        } else if (a[1] == '=') {
            int64_t number = atoll(value + 1);
            switch (a[0]) {
            case 'D': bench->D = number; break;
            case 'N': bench->N = number; break;
            case 'H': bench->H = number; break;
            case 'm': bench->settings[bench->setting_count++] = (SpecSetting){"block_m", value + 1}; break;
            case 'n': bench->settings[bench->setting_count++] = (SpecSetting){"block_n", value + 1}; break;
            default: return false;
            }
        } else {
            return false;
        }
    }
    return bench->file != NULL;
}

static double sgemm_rate(void)
{
#ifdef HAVE_OPENBLAS
    enum { SIZE = 1024 };
    float *a = random_tensor(SIZE * SIZE, ELEM_TYPE_F32), *b = random_tensor(SIZE * SIZE, ELEM_TYPE_F32),
          *c = random_tensor(SIZE * SIZE, ELEM_TYPE_F32);
    double best = 1e9;
    openblas_set_num_threads(1);
    for (int k = 0; k < 6; k++) {
        double start = now(CLOCK_THREAD_CPUTIME_ID);
        cblas_sgemm(101, 111, 111, SIZE, SIZE, SIZE, 1, a, SIZE, b, SIZE, 0, c, SIZE);
        double spent = now(CLOCK_THREAD_CPUTIME_ID) - start;
        best = spent < best ? spent : best;
    }
    free(a), free(b), free(c);
    return 2.0 * SIZE * SIZE * SIZE / best * 1e-9;
#else
    return NAN;
#endif
}

static void set_tensor(int64_t *slots, const Kernel *kernel, TensorRole role, void *data,
                       const int64_t *strides)
{
    for (int k = 0; k < kernel->tensor_count; k++)
        if (kernel->tensors[k].role == role) {
            slots[slot_of_tensor(k)] = (int64_t)(intptr_t)data;
            for (int d = 0; d < 4; d++)
                slots[slot_of_tensor(k) + 1 + d] = strides[d];
        }
}

static void set_sizes(int64_t *slots, const Bench *bench)
{
    static const VarId lengths[] = {VAR_SIZE_M, VAR_SIZE_N, VAR_SIZE_M0, VAR_SIZE_N0};
    slots[slot_of_size(VAR_SIZE_B)] = 1;
    slots[slot_of_size(VAR_SIZE_H)] = slots[slot_of_size(VAR_SIZE_G)] = bench->H;
    slots[slot_of_size(VAR_SIZE_D)] = slots[slot_of_size(VAR_SIZE_E)] = bench->D;
    for (int k = 0; k < 4; k++)
        slots[slot_of_size(lengths[k])] = bench->N;
}

static void set_workspaces(int64_t *slots, const Kernel *kernel)
{
    for (int k = 0; k < kernel->tensor_count; k++) {
        const KernelTensor *t = &kernel->tensors[k];
        if (t->role != ROLE_WORKSPACE && t->role != ROLE_RETURN)
            continue;
        int64_t count = 1;
        for (int d = t->dim_count - 1; d >= 0; d--) {
            slots[slot_of_tensor(k) + 1 + d] = count;
            count *= extent_value(&t->extent[d], slots);
        }
        slots[slot_of_tensor(k)] = (int64_t)(intptr_t)random_tensor(count, ELEM_TYPE_F32);
    }
}

static void set_params(int64_t *slots, const Spec *spec)
{
    for (int k = 0; k < spec->param_count; k++)
        slots[SLOT_PARAMS + k] = spec->params[k].value.i; /* a double's bits, or the int */
}

static void time_kernel(const Bench *bench, const Spec *spec, const Kernel *kernel)
{
    char error[256];
    double start = now(CLOCK_MONOTONIC);
    LlvmCode *code = llvm_load(kernel->code, kernel->code_size, error, sizeof error);
    if (!code || !llvm_symbol(code, kernel->phases[0].entry)) {
        fprintf(stderr, "%s\n", error);
        return;
    }
    double loaded = now(CLOCK_MONOTONIC) - start;
    double second = now(CLOCK_MONOTONIC);
    LlvmCode *again = llvm_load(kernel->code, kernel->code_size, error, sizeof error);
    if (again && llvm_symbol(again, kernel->phases[0].entry))
        printf("loaded in %.2f ms the first time, then %.2f ms; ", loaded * 1e3,
               (now(CLOCK_MONOTONIC) - second) * 1e3);
    llvm_unload(again);
    int64_t *slots = calloc(SLOT_COUNT_MAX, sizeof *slots),
            strides[] = {bench->H * bench->N * bench->D, bench->N * bench->D, bench->D, 1};
    int64_t count = bench->H * bench->N * bench->D;
    set_sizes(slots, bench);
    set_params(slots, spec);
    set_workspaces(slots, kernel);
    static const TensorRole roles[] = {ROLE_Q, ROLE_K, ROLE_V, ROLE_O};
    for (int k = 0; k < 4; k++)
        set_tensor(slots, kernel, roles[k], random_tensor(count, bench->elem), strides);
    void *scratch = aligned_alloc(64, (size_t)(kernel->scratch_bytes + 127) / 64 * 64);
    void (*entries[8])(const int64_t *, int64_t, int64_t, void *);
    int64_t items[8];
    for (int p = 0; p < kernel->phase_count; p++) {
        entries[p] =
            (void (*)(const int64_t *, int64_t, int64_t, void *))llvm_symbol(code, kernel->phases[p].entry);
        items[p] = 1;
        for (int d = 0; d < kernel->phases[p].grid_count; d++)
            items[p] *= extent_value(&kernel->phases[p].grid[d], slots);
    }
    printf("code %zu bytes, scratch %lld bytes, tile %lld x %lld\n", kernel->code_size,
           (long long)kernel->scratch_bytes, (long long)kernel->block_m[0], (long long)kernel->block_n[0]);
    double best = 1e9, gemm = 0,
           flops = 4.0 * (double)bench->H * (double)bench->N * (double)bench->N * (double)bench->D;
    for (int run = 0; run < 3; run++) {
        double rate = sgemm_rate();
        gemm = rate > gemm ? rate : gemm;
        double begin = now(CLOCK_THREAD_CPUTIME_ID);
        for (int p = 0; p < kernel->phase_count; p++)
            entries[p](slots, 0, items[p], scratch);
        double spent = now(CLOCK_THREAD_CPUTIME_ID) - begin;
        best = spent < best ? spent : best;
    }
    printf("%s %s D=%lld N=%lld: %.2f ms, %.1f GFLOP/s of the dense count, sgemm %.1f: %.1f %%\n", spec->name,
           elem_type_name(bench->elem), (long long)bench->D, (long long)bench->N, best * 1e3,
           flops / best * 1e-9, gemm, flops / best * 1e-7 / gemm);
    llvm_unload(code);
}

int main(int argc, char **argv)
{
    Bench bench;
    if (!parse_arguments(argc, argv, &bench)) {
        fprintf(stderr, "usage: bench_emit FILE [D=] [N=] [H=] [elem=] [m=] [n=] [target=] [set:NAME=VALUE] "
                        "[text=asm|ir]\n");
        return 2;
    }
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target target;
    char *text;
    size_t length;
    const char *why;
    Ast *ast;
    const Spec *spec = NULL;
    DslPaths paths = {NULL, 0};
    DslOptions options = {.resolve = dsl_resolve_file, .user = &paths};
    if (dsl_read_file(arena, bench.file, &text, &length, &why) && target_parse(diag, bench.target, &target)
        && dsl_parse(diag, bench.file, text, length, &options, &ast) == DSL_OK)
        spec = check_spec(arena, diag, ast, NULL, bench.settings, bench.setting_count);
    CompileOptions compile = {.target = &target, .elem = bench.elem, .D = bench.D, .E = bench.D};
    if (spec && bench.text) {
        Program *program = compile_program(arena, diag, spec, &compile);
        char *code =
            program ? llvm_cpu_text(&target, arena, diag, program, !strcmp(bench.text, "asm")) : NULL;
        printf("%s", code ? code : "");
    } else if (spec) {
        double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
        Kernel *kernel = compile_spec(arena, diag, spec, &compile);
        printf("compile %.1f ms, %.1f ms of CPU\n", (now(CLOCK_MONOTONIC) - start) * 1e3,
               (now(CLOCK_THREAD_CPUTIME_ID) - cpu) * 1e3);
        if (kernel)
            time_kernel(&bench, spec, kernel);
        kernel_destroy(kernel);
    }
    diag_print(diag, stderr, DIAG_TEXT, false);
    arena_destroy(arena);
    return 0;
}
