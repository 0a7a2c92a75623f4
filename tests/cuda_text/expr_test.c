/* Expressions as CUDA C++: the whole table of scalar operators, random trees of ints and bools, against the
 * interpreter.
 *
 * Every expression is a map of one Program over two axes; its operands are a 64-bit and a 32-bit int from
 * memory, an index, an int param, two floats and a bool. The text runs on the host (emulate.h). */
#include <CUnit/Basic.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "tests/expr/tests.h"

enum { ROWS = 4, COLUMNS = 64, COUNT = ROWS * COLUMNS, MOST = 160 };
enum { IN_WIDE, IN_NARROW, IN_X, IN_Y, IN_BOOL, OUT_INT, OUT_FLOAT, OUT_BOOL };
enum { ARG_WIDE, ARG_NARROW, ARG_INDEX, ARG_X, ARG_Y, ARG_BOOL, ARGS };

typedef struct Bench {
    Arena *arena;
    Diag *diag;
    Program *program;
    Builder at;
    Inst *args[ARGS], *row, *column;
    const Expr *expr[MOST];
    int count;
} Bench;

static Emulator emulator;

static int add_tensor(Program *program, const char *name, TensorRole role, ElemType elem, int dims)
{
    Tensor tensor = {
        .name = name, .role = role, .index = program->tensor_count, .elem = elem, .dim_count = dims};
    for (int d = 0; d < dims; d++)
        tensor.extent[d] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = MOST};
    return program_tensor(program, tensor);
}

/* low: a program of bf16 tensors, which uses fast approximations. */
static void bench_open(Bench *b, bool low)
{
    static const ElemType in[] = {ELEM_TYPE_I64, ELEM_TYPE_I32, ELEM_TYPE_F32, ELEM_TYPE_F32, ELEM_TYPE_BOOL};
    static const ElemType out[] = {ELEM_TYPE_I64, ELEM_TYPE_F32, ELEM_TYPE_BOOL};
    static const char *const names[] = {"wide", "narrow", "x", "y", "p", "ints", "floats", "bools"};
    memset(b, 0, sizeof *b);
    b->arena = arena_create();
    b->diag = diag_create(b->arena);
    b->program = program_create(b->arena, expr_pool_create(b->arena), "bench", 1);
    int m = program_axis(b->program, "m", expr_int(b->program->pool, ROWS)),
        n = program_axis(b->program, "n", expr_int(b->program->pool, COLUMNS));
    b->program->axes[m].extent = ROWS;
    b->program->axes[n].extent = COLUMNS;
    for (int t = 0; t < 8; t++)
        add_tensor(b->program, names[t], ROLE_WORKSPACE, t < 5 ? in[t] : out[t - 5], t < 5 ? 2 : 3);
    if (low)
        b->program->tensors[add_tensor(b->program, "q", ROLE_Q, ELEM_TYPE_BF16, 4)].index = 0;
    b->program->params[0].name = "limit";
    b->program->params[0].type = TYPE_INT;
    b->program->param_count = 1;
    Phase *phase = program_phase(b->program, "work");
    b->at = (Builder){.program = b->program, .block = phase->body, .span = SPAN_NONE, .label = "test"};
    b->row = build_index(&b->at, m);
    b->column = build_index(&b->at, n);
    for (int t = 0; t < 5; t++)
        b->args[t < 2 ? t : t + 1] = build_load(&b->at, t, (Inst *[]){b->row, b->column}, 2, NULL);
    b->args[ARG_INDEX] = b->column;
}

static const Expr *arg(Bench *b, int k)
{
    return expr_arg(b->program->pool, k, k < ARG_X ? TYPE_INT : k < ARG_BOOL ? TYPE_FLOAT : TYPE_BOOL);
}

static void bench_add(Bench *b, const Expr *e)
{
    CU_ASSERT_FATAL(b->count < MOST);
    Inst *value = build_map(&b->at, e, b->args, ARGS);
    Inst *place = build_map(&b->at, expr_int(b->program->pool, b->count), NULL, 0);
    int tensor = e->type == TYPE_INT ? OUT_INT : e->type == TYPE_FLOAT ? OUT_FLOAT : OUT_BOOL;
    /* the store's own axes must be all of them, whatever the value has */
    build_store(&b->at, tensor, (Inst *[]){place, b->row, b->column}, 3, value, NULL);
    b->expr[b->count++] = e;
}

typedef struct Planes {
    int64_t wide[COUNT];
    int32_t narrow[COUNT];
    float x[COUNT], y[COUNT];
    uint8_t p[COUNT];
    int64_t ints[MOST * COUNT];
    float floats[MOST * COUNT];
    uint8_t bools[MOST * COUNT];
} Planes;

static void fill(Planes *planes, Random *random)
{
    static const float floats[] = {0,      -0.0f,       1,      -1,    0.5f,     -0.5f,   2,        3.75f,
                                   -7.25f, 1e-3f,       -1e-3f, 10,    -10,      80,      -80,      1e6f,
                                   -1e6f,  1e20f,       -1e20f, 3e38f, -3e38f,   1e-30f,  INFINITY, -INFINITY,
                                   NAN,    0.99999994f, 2.5f,   -2.5f, 31.9999f, 9.3e18f, -9.3e18f};
    static const int64_t ints[] = {0,
                                   1,
                                   -1,
                                   2,
                                   -2,
                                   3,
                                   7,
                                   -7,
                                   64,
                                   1000,
                                   -1000,
                                   INT32_MAX,
                                   INT32_MIN,
                                   (int64_t)1 << 33,
                                   -((int64_t)1 << 33),
                                   INT64_MAX,
                                   INT64_MIN};
    enum { FLOATS = sizeof floats / sizeof *floats, INTS = sizeof ints / sizeof *ints };
    memset(planes, 0xff, sizeof *planes);
    for (int k = 0; k < COUNT; k++) {
        int64_t small = random_between(random, -40, 40);
        planes->wide[k] = k % 3 ? small : ints[random_between(random, 0, INTS - 1)];
        planes->narrow[k] =
            k % 4 ? (int32_t)random_between(random, -100, 100) : (int32_t)ints[random_between(random, 0, 12)];
        planes->x[k] = k % 2 ? floats[random_between(random, 0, FLOATS - 1)]
                             : (float)random_between(random, -4000, 4000) / 512;
        planes->y[k] = k % 3 ? floats[random_between(random, 0, FLOATS - 1)]
                             : (float)random_between(random, -4000, 4000) / 512;
        planes->p[k] = (uint8_t)random_between(random, 0, 1);
    }
}

static void set_slots(int64_t *slots, Planes *planes, int64_t limit)
{
    void *data[] = {planes->wide, planes->narrow, planes->x,      planes->y,
                    planes->p,    planes->ints,   planes->floats, planes->bools};
    memset(slots, 0, SLOT_COUNT_MAX * sizeof *slots);
    slots[SLOT_PARAMS] = limit;
    for (int t = 0; t < 8; t++) {
        int64_t *slot = slots + slot_of_tensor(t);
        slot[0] = (int64_t)(intptr_t)data[t];
        slot[1] = t < 5 ? COLUMNS : COUNT;
        slot[2] = t < 5 ? 1 : COLUMNS;
        slot[3] = 1;
    }
}

static bool close_to(float a, float b, double tolerance)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (a == b || (tolerance > 0 && fabs((double)a) < 1e-37 && fabs((double)b) < 1e-37)) /* flushed to zero */
        return true;
    return fabs((double)a - (double)b) <=
           tolerance * fmax(fabs((double)a), fabs((double)b)) + tolerance * 1e-3;
}

/* Where expression e differs at element k: prints it. */
static bool agree(const Bench *b, int e, const Planes *expected, const Planes *got, double tolerance,
                  int64_t limit)
{
    for (int k = 0; k < COUNT; k++) {
        int at = e * COUNT + k;
        ExprType type = (ExprType)b->expr[e]->type;
        bool same = type == TYPE_INT    ? expected->ints[at] == got->ints[at]
                    : type == TYPE_BOOL ? expected->bools[at] == got->bools[at]
                                        : close_to(expected->floats[at], got->floats[at], tolerance);
        if (same)
            continue;
        Text text = {.arena = b->arena};
        expr_print(&text, b->expr[e], NULL);
        fprintf(stderr,
                "\n%s at wide %lld narrow %d index %d x %.9g y %.9g p %d limit %lld: int %lld %lld, float "
                "%.9g %.9g, bool %d %d\n",
                text.data, (long long)got->wide[k], got->narrow[k], k % COLUMNS, (double)got->x[k],
                (double)got->y[k], got->p[k], (long long)limit, (long long)expected->ints[at],
                (long long)got->ints[at], (double)expected->floats[at], (double)got->floats[at],
                expected->bools[at], got->bools[at]);
        return false;
    }
    return true;
}

static int bench_run(Bench *b, Random *random, double tolerance)
{
    static const int64_t limits[] = {5, -3, 0, INT32_MAX, INT64_MAX / 4, -INT64_MAX / 4, (int64_t)1 << 40};
    Target target;
    Emulated emulated;
    int64_t slots[SLOT_COUNT_MAX];
    Planes *expected = malloc(sizeof *expected), *got = malloc(sizeof *got);
    CU_ASSERT_FATAL(expected && got);
    b->program->stage = STAGE_SIZED;
    bool sound = program_verify(b->program, b->diag) && target_parse(b->diag, "cuda:sm_90", &target);
    const char *problem =
        sound ? emulator_build(&emulator, b->arena, &target, b->program, &emulated) : diag_to_text(b->diag);
    if (problem)
        fprintf(stderr, "\n%s\n", problem);
    int wrong = problem != NULL;
    for (int l = 0; !problem && l < (int)(sizeof limits / sizeof *limits); l++) {
        fill(expected, random);
        memcpy(got, expected, sizeof *got);
        set_slots(slots, expected, limits[l]);
        bool ran = program_run(b->program, slots, b->diag);
        CU_ASSERT(ran);
        set_slots(slots, got, limits[l]);
        problem = emulator_run(&emulated, b->arena, b->program, slots);
        for (int e = 0; !problem && e < b->count; e++)
            wrong += !agree(b, e, expected, got, tolerance, limits[l]);
    }
    emulator_release(&emulated);
    arena_destroy(b->arena);
    free(expected);
    free(got);
    return wrong;
}

/* Every operator of the table alone, on every type that it has. */
static void add_table(Bench *b, bool ints)
{
    ExprPool *pool = b->program->pool;
    const Expr *wide = arg(b, ARG_WIDE), *narrow = arg(b, ARG_NARROW), *index = arg(b, ARG_INDEX);
    const Expr *pairs[][2] = {{wide, narrow},
                              {narrow, wide},
                              {narrow, index},
                              {index, expr_int(pool, 8)},
                              {narrow, expr_int(pool, 7)},
                              {narrow, expr_int(pool, 8)},
                              {wide, expr_int(pool, -3)},
                              {index, expr_param(pool, 0, TYPE_INT)}};
    for (ExprOp op = EXPR_ADD; op < EXPR_OP_COUNT; op++) {
        const ExprOpInfo *info = &expr_op_info[op];
        const char *s = info->signature;
        const Expr *f[] = {arg(b, ARG_X), arg(b, ARG_Y), arg(b, ARG_Y)}, *p = arg(b, ARG_BOOL);
        bool takes_float = s[0] == 'f' || strchr(s, 'n'), takes_int = s[0] == 'i' || strchr(s, 'n'),
             takes_bool = s[0] == 'b';
        if (op == EXPR_SELECT) {
            bench_add(b, ints ? expr_op3(pool, op, p, wide, index) : expr_op3(pool, op, p, f[0], f[1]));
            continue;
        }
        if (ints && takes_bool)
            bench_add(b, info->arity == 1   ? expr_op1(pool, op, p)
                         : info->arity == 2 ? expr_op2(pool, op, p, expr_op2(pool, EXPR_LT, narrow, index))
                                            : expr_op3(pool, op, p, expr_op1(pool, EXPR_NOT, p),
                                                       expr_op2(pool, EXPR_LT, narrow, index)));
        if (!ints && takes_float)
            bench_add(b, info->arity == 1 ? expr_op1(pool, op, f[0]) : expr_op2(pool, op, f[0], f[1]));
        for (int k = 0; ints && takes_int && !takes_bool && k < 8 && (info->arity == 2 || k < 3); k++)
            bench_add(b, info->arity == 1 ? expr_op1(pool, op, pairs[k][0])
                                          : expr_op2(pool, op, pairs[k][0], pairs[k][1]));
    }
}

static void test_int_table(void)
{
    Random random = {7};
    Bench b;
    bench_open(&b, false);
    add_table(&b, true);
    CU_ASSERT(b.count > 60);
    CU_ASSERT(bench_run(&b, &random, 0) == 0);
}

static void test_float_table(void)
{
    Random random = {8};
    Bench b;
    bench_open(&b, false);
    add_table(&b, false);
    CU_ASSERT(b.count > 25);
    CU_ASSERT(bench_run(&b, &random, 3e-6) == 0);
}

/* Approximations, and exp(x - y) in its form that keeps weights below 1. */
static void test_fast_floats(void)
{
    Random random = {9};
    Bench b;
    bench_open(&b, true);
    add_table(&b, false);
    CU_ASSERT(bench_run(&b, &random, 2e-4) == 0);
}

static const Expr *to_operand(void *user, const Expr *leaf)
{
    Bench *b = user;
    if (leaf->op != EXPR_VAR)
        return NULL;
    switch (leaf->index) {
    case VAR_I0: return b->count % 3 ? arg(b, ARG_INDEX) : arg(b, ARG_WIDE);
    case VAR_I1: return arg(b, ARG_NARROW);
    case VAR_J0: return b->count % 2 ? expr_param(b->program->pool, 0, TYPE_INT) : arg(b, ARG_INDEX);
    default: return NULL;
    }
}

static void note_float(void *user, const Expr *e)
{
    bool *found = user;
    *found |= e->type == TYPE_FLOAT;
}

/* A comparison of sums that hold a param is regrouped, which is the same as long as no sum wraps: here none
 * does, for params of at most 2^61. */
static void test_random_ints(void)
{
    enum { PROGRAMS = 3 };
    Random random = {10};
    long used[EXPR_OP_COUNT] = {0};
    for (int n = 0; n < PROGRAMS; n++) {
        Bench b;
        bench_open(&b, false);
        while (b.count < 120) {
            const Tree *tree =
                tree_draw(b.arena, &random, random_between(&random, 0, 1) ? TYPE_INT : TYPE_BOOL, 4, used);
            bool floats = false;
            const Expr *e =
                expr_substitute(b.program->pool, tree_build(b.program->pool, tree), to_operand, &b);
            expr_walk(b.arena, e, note_float, &floats);
            if (!floats && e->arity > 0)
                bench_add(&b, e);
        }
        CU_ASSERT(bench_run(&b, &random, 0) == 0);
    }
}

/* exp(x - y) by powers of two ---------------------------------------------------------------------------- */

static const char *name_of(void *user, const Inst *value)
{
    const Bench *b = user;
    return value == b->args[ARG_X] ? "x" : "y";
}

/* The text of exp(x cx - y cy) as a function of x and y. */
static void add_difference(Bench *b, CudaGen *g, int which, Inst *x, Inst *y, double factor)
{
    ExprPool *pool = b->program->pool;
    const Expr *c = expr_float(pool, factor), *s = expr_arg(pool, 0, TYPE_FLOAT),
               *m = expr_arg(pool, 1, TYPE_FLOAT);
    const Expr *e = expr_op2(pool, EXPR_SUB, expr_op2(pool, EXPR_MUL, s, c), expr_op2(pool, EXPR_MUL, m, c));
    Inst *map = build_map(&b->at, expr_op1(pool, EXPR_EXP, e), (Inst *[]){x, y}, 2);
    cuda_line(g, "extern \"C\" float weight%d(float x, float y)\n{\n", which);
    const char *text = cuda_map(g, map, (CudaOperands){name_of, b});
    cuda_line(g, "return %s;\n}\n", text);
}

/* Weights stay below 1 whatever is rounded, vanish for scores of -inf, and are right for scores of usual
 * size. */
static void test_differences(void)
{
    enum { FORMS = 4, DRAWS = 200000 };
    static const double factors[FORMS] = {1, 1, 0.08838834764831843, 0.08838834764831843};
    extern const char cuda_prelude_text[];
    Random random = {11};
    Bench b;
    bench_open(&b, true);
    Inst *row = build_reduce(&b.at, REDUCE_MAX, b.column->axis, b.args[ARG_X]);
    CudaGen g = {.arena = b.arena, .diag = b.diag, .program = b.program, .text = {.arena = b.arena}};
    cuda_ranges(&g);
    cuda_line(&g, "%s", cuda_prelude_text);
    for (int form = 0; form < FORMS; form++) /* another value of a row, and of an element */
        add_difference(&b, &g, form, b.args[ARG_X], form % 2 ? b.args[ARG_Y] : row, factors[form]);
    void *library;
    const char *problem = emulator_compile(&emulator, b.arena, g.text.data, &library);
    if (problem)
        fprintf(stderr, "\n%s\n", problem);
    CU_ASSERT_FATAL(problem == NULL);
    for (int form = 0; form < FORMS; form++) {
        float (*weight)(float x, float y);
        char name[16];
        snprintf(name, sizeof name, "weight%d", form);
        void *symbol = dlsym(library, name);
        memcpy(&weight, &symbol, sizeof symbol);
        CU_ASSERT_FATAL(symbol != NULL);
        int above = 0, off = 0;
        for (int k = 0; k < DRAWS; k++) {
            float y = ldexpf((float)random_between(&random, -8000000, 8000000) / 8000000,
                             (int)random_between(&random, -10, 30));
            float x = k % 4 ? y - ldexpf((float)random_between(&random, 0, 1000) / 1000,
                                         (int)random_between(&random, -20, 6))
                            : y;
            double exact = exp(((double)x - (double)y) * (double)(float)factors[form]),
                   got = (double)weight(x, y);
            above += !(got <= 1);
            off += fabs((double)y) < 4096 && !(fabs(got - exact) <= 1e-3 * exact + 1e-30);
        }
        CU_ASSERT(above == 0);
        CU_ASSERT(off == 0);
        CU_ASSERT(weight(-INFINITY, 0) == 0 && weight(-INFINITY, -1e30f) == 0 &&
                  weight(-INFINITY, 1e30f) == 0);
        CU_ASSERT(weight(0, 0) == 1 && fabs((double)weight(3.5f, 3.5f) - 1) < 1e-5);
    }
    dlclose(library);
    arena_destroy(b.arena);
}

int main(void)
{
    if (!emulator_open(&emulator)) {
        printf("no C++ compiler: skipped\n");
        return 77;
    }
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("cuda expressions", NULL, NULL);
    CU_add_test(suite, "ints: the table of operators", test_int_table);
    CU_add_test(suite, "floats: the table of operators", test_float_table);
    CU_add_test(suite, "floats: fast approximations", test_fast_floats);
    CU_add_test(suite, "random ints and bools", test_random_ints);
    CU_add_test(suite, "weights: exp(x - y)", test_differences);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    emulator_close(&emulator);
    return failed != 0;
}
