/* Objects: for every architecture, what they may refer to, loading and unloading from several threads. */
#include <elf.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "emitting.h"

/* Softmax over keys with a guard, in the element type: every part of the generator at work. */
static void make_softmax(Making *m, ElemType elem, int64_t D)
{
    ExprPool *p = m->pool;
    Builder *b = &m->at;
    int am = making_axis(m, "m", 32), an = making_axis(m, "n", 48), ad = making_axis(m, "d", D);
    int q = making_tensor(m, "q", ROLE_Q, elem, 3), k = making_tensor(m, "k", ROLE_K, elem, 3),
        v = making_tensor(m, "v", ROLE_V, elem, 3), o = making_tensor(m, "o", ROLE_O, elem, 3);
    const Expr *x = making_arg(m, 0, TYPE_FLOAT), *y = making_arg(m, 1, TYPE_FLOAT),
               *i = making_arg(m, 0, TYPE_INT);
    Inst *item = build_grid_index(b, 0), *row = build_index(b, am), *key = build_index(b, an),
         *d = build_index(b, ad);
    Inst *inside = making_map(m, expr_op2(p, EXPR_LT, i, expr_var(p, VAR_SIZE_M, TYPE_INT)), row, NULL, NULL);
    Inst *known = making_map(m, expr_op2(p, EXPR_LT, i, expr_var(p, VAR_SIZE_N, TYPE_INT)), key, NULL, NULL);
    Inst *tq = build_load(b, q, (Inst *[]){item, row, d}, 3, inside),
         *tk = build_load(b, k, (Inst *[]){item, key, d}, 3, known);
    Inst *s = build_contract(b, ad, tq, tk, NULL, NULL);
    s = making_map(m, expr_op3(p, EXPR_SELECT, making_arg(m, 1, TYPE_BOOL), x, expr_float(p, -INFINITY)), s,
                   known, NULL);
    Inst *most = build_reduce(b, REDUCE_MAX, an, s);
    Inst *e = making_map(m, expr_op1(p, EXPR_EXP, expr_op2(p, EXPR_SUB, x, y)), s, most, NULL);
    Inst *sum = build_reduce(b, REDUCE_SUM, an, e);
    Inst *w = build_map_as(b, elem, x, &e, 1);
    Inst *acc = build_contract(b, an, w, build_load(b, v, (Inst *[]){item, key, d}, 3, known), NULL, NULL);
    build_store(b, o, (Inst *[]){item, row, d}, 3, making_map(m, expr_op2(p, EXPR_DIV, x, y), acc, sum, NULL),
                inside);
}

static void check_symbols(const unsigned char *code, size_t size, int machine)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)code;
    CU_ASSERT_FATAL(size > sizeof *header && !memcmp(code, ELFMAG, SELFMAG));
    CU_ASSERT_EQUAL(header->e_machine, machine);
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(code + header->e_shoff);
    int functions = 0;
    for (int s = 0; s < header->e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB)
            continue;
        const char *names = (const char *)code + sections[sections[s].sh_link].sh_offset;
        const Elf64_Sym *symbols = (const Elf64_Sym *)(code + sections[s].sh_offset);
        for (size_t k = 1; k < sections[s].sh_size / sizeof *symbols; k++) {
            const char *name = names + symbols[k].st_name;
            bool allowed = symbols[k].st_shndx != SHN_UNDEF || !strncmp(name, "mem", 3);
            if (!allowed)
                fprintf(stderr, "\nrefers to %s\n", name);
            CU_ASSERT(allowed);
            functions += !strcmp(name, "softmax_work");
        }
    }
    CU_ASSERT_EQUAL(functions, 1);
}

static void test_architectures(void)
{
    static const struct { const char *name; int machine;
    } targets[] = {{"cpu:x86-64-v2", EM_X86_64},      {"cpu:x86-64-v3", EM_X86_64},
                   {"cpu:x86-64-v4", EM_X86_64},      {"cpu:znver4", EM_X86_64},
                   {"cpu:sapphirerapids", EM_X86_64}, {"cpu:aarch64", EM_AARCH64}};
    static const ElemType elems[] = {ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16};
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
        for (int e = 0; e < 3; e++) {
            Making m;
            Target target;
            making_open(&m, "softmax");
            make_softmax(&m, elems[e], 65);
            CU_ASSERT_FATAL(making_finish(&m));
            CU_ASSERT_FATAL(target_parse(m.diag, targets[t].name, &target));
            Kernel *kernel = target_emit(&target, m.arena, m.diag, m.program);
            CU_ASSERT_PTR_NOT_NULL_FATAL(kernel);
            check_symbols(kernel->code, kernel->code_size, targets[t].machine);
            CU_ASSERT_STRING_EQUAL(kernel->phases[0].entry, "softmax_work");
            kernel_destroy(kernel);
            making_close(&m);
        }
}

static void test_text(void)
{
    Making m;
    Target target;
    making_open(&m, "softmax");
    make_softmax(&m, ELEM_TYPE_F32, 64);
    CU_ASSERT_FATAL(making_finish(&m));
    CU_ASSERT_FATAL(target_parse(m.diag, "cpu:x86-64-v4", &target));
    const char *ir = llvm_cpu_text(&target, m.arena, m.diag, m.program, false),
               *assembly = llvm_cpu_text(&target, m.arena, m.diag, m.program, true);
    CU_ASSERT(ir && strstr(ir, "define void @softmax_work"));
    CU_ASSERT(assembly && strstr(assembly, "vfmadd") && strstr(assembly, "%zmm"));
    making_close(&m);
}

static void test_unknown_targets(void)
{
    static const char *const names[] = {"cpu:", "cpu:quantum", "cpu:x86-64", "cpux", "gpu", ""};
    Making m;
    Target target;
    making_open(&m, "none");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        int errors = m.diag->errors;
        CU_ASSERT_FALSE(target_parse(m.diag, names[k], &target));
        if (m.diag->errors != errors + 1)
            fprintf(stderr, "\n'%s': %d errors\n", names[k], m.diag->errors - errors);
        CU_ASSERT_EQUAL(m.diag->errors, errors + 1);
    }
    making_close(&m);
}

static void test_wrong_stage(void)
{
    Making m;
    Target target;
    making_open(&m, "softmax");
    make_softmax(&m, ELEM_TYPE_F32, 8);
    CU_ASSERT_FATAL(target_parse(m.diag, "cpu", &target));
    CU_ASSERT_PTR_NULL(llvm_cpu_emit(&target, m.arena, m.diag, m.program)); /* still LOGICAL */
    CU_ASSERT_EQUAL(m.diag->errors, 1);
    making_close(&m);
}

static void test_bad_object(void)
{
    char error[128] = "";
    LlvmCode *code = llvm_load("nonsense", 8, error, sizeof error);
    CU_ASSERT(!code || !llvm_symbol(code, "softmax_work"));
    llvm_unload(code);
}

enum { THREADS = 4, ROUNDS = 8, D = 24 };
typedef struct Shared { const Kernel *kernel; int wrong; } Shared;

static void *load_run_unload(void *user)
{
    Shared *shared = user;
    enum { COUNT = 32 * D };
    float *data = malloc(sizeof *data * COUNT * 5), *first = data + 4 * COUNT;
    void *scratch = aligned_alloc(64, (size_t)(shared->kernel->scratch_bytes + 127) / 64 * 64);
    static const int64_t strides[] = {COUNT, D, 1};
    int64_t slots[SLOT_COUNT_MAX] = {0};
    slots[slot_of_size(VAR_SIZE_B)] = 1;
    slots[slot_of_size(VAR_SIZE_M)] = slots[slot_of_size(VAR_SIZE_N)] = 32;
    for (int k = 0; k < 3 * COUNT; k++)
        data[k] = (float)(k % 17) / 17;
    for (int t = 0; t < 4; t++)
        slots_tensor(slots, t, data + t * COUNT, 3, strides);
    for (int round = 0; round < ROUNDS; round++) {
        char error[128];
        LlvmCode *code = llvm_load(shared->kernel->code, shared->kernel->code_size, error, sizeof error);
        void (*entry)(const int64_t *, int64_t, int64_t, void *) =
            code ? (void (*)(const int64_t *, int64_t, int64_t, void *))llvm_symbol(code, "softmax_work")
                 : NULL;
        if (!entry || llvm_symbol(code, "absent")) {
            __atomic_add_fetch(&shared->wrong, 1, __ATOMIC_RELAXED);
        } else {
            entry(slots, 0, 1, scratch);
            if (round == 0)
                memcpy(first, data + 3 * COUNT, COUNT * sizeof *data);
            else if (memcmp(first, data + 3 * COUNT, COUNT * sizeof *data))
                __atomic_add_fetch(&shared->wrong, 1, __ATOMIC_RELAXED);
        }
        llvm_unload(code);
    }
    free(scratch);
    free(data);
    return NULL;
}

static void test_threads(void)
{
    Making m;
    Target target;
    pthread_t threads[THREADS];
    making_open(&m, "softmax");
    make_softmax(&m, ELEM_TYPE_F32, D);
    CU_ASSERT_FATAL(making_finish(&m) && target_parse(m.diag, "cpu", &target));
    Shared shared = {target_emit(&target, m.arena, m.diag, m.program), 0};
    CU_ASSERT_PTR_NOT_NULL_FATAL(shared.kernel);
    for (int k = 0; k < THREADS; k++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[k], NULL, load_run_unload, &shared), 0);
    for (int k = 0; k < THREADS; k++)
        pthread_join(threads[k], NULL);
    CU_ASSERT_EQUAL(shared.wrong, 0);
    kernel_destroy((Kernel *)shared.kernel);
    making_close(&m);
}

void object_tests(void)
{
    CU_pSuite suite = CU_add_suite("objects", NULL, NULL);
    CU_add_test(suite, "every architecture, no foreign symbols", test_architectures);
    CU_add_test(suite, "IR and assembly as text", test_text);
    CU_add_test(suite, "unknown targets are refused", test_unknown_targets);
    CU_add_test(suite, "programs at another stage are refused", test_wrong_stage);
    CU_add_test(suite, "a malformed object does no harm", test_bad_object);
    CU_add_test(suite, "loading and unloading from threads", test_threads);
}
