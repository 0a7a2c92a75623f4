/* Lanes against the evaluator of Expr: every operator with every type that it takes, on awkward values. */
#include <math.h>
#include <string.h>

#include "compiler/tile/lanes.h"
#include "tiling.h"

static const int64_t ints[] = {0, 1, -1, 2, 3, -7, 64, INT32_MAX, INT64_MAX, INT64_MIN};
static const float reals[] = {0.0f,   -0.0f, 1.0f,   -1.5f,    0.3f,      100.0f,
                              -88.0f, 3e38f, 1e-40f, INFINITY, -INFINITY, NAN};
enum { INTS = sizeof ints / sizeof *ints, REALS = sizeof reals / sizeof *reals, WIDTH = 5 };

typedef struct Values { ExprValue value[3]; } Values;

static ExprValue arg_value(void *user, const Expr *e, const ExprValue *args)
{
    (void)args;
    const Values *values = user;
    return e->op == EXPR_ARG ? values->value[e->index] : (ExprValue){.i = 0};
}

static ExprValue no_leaf(void *user, const Expr *e)
{
    (void)user, (void)e;
    return (ExprValue){.i = 0};
}

static ExprValue sample(ExprType type, int at)
{
    return type == TYPE_FLOAT ? (ExprValue){.f = (double)reals[at % REALS]}
           : type == TYPE_INT ? (ExprValue){.i = ints[at % INTS]}
                              : (ExprValue){.i = at & 1};
}

/* All combinations of values, WIDTH at a time. */
static void compare(Arena *arena, const Expr *e, const ExprType *types, int count)
{
    Lanes *lanes = lanes_compile(arena, e, count, WIDTH, no_leaf, NULL);
    int per = REALS, total = 1, wrong = 0;
    for (int k = 0; k < count; k++)
        total *= per;
    for (int begin = 0; begin < total; begin += WIDTH) {
        int width = total - begin < WIDTH ? total - begin : WIDTH;
        Values values[WIDTH];
        for (int lane = 0; lane < width; lane++)
            for (int k = 0, at = begin + lane; k < count; k++, at /= per) {
                values[lane].value[k] = sample(types[k], at % per);
                int reg = lanes->arg_reg[k];
                if (reg >= 0 && types[k] == TYPE_FLOAT)
                    lanes->reg[reg].f[lane] = (float)values[lane].value[k].f;
                else if (reg >= 0)
                    lanes->reg[reg].i[lane] = values[lane].value[k].i;
            }
        lanes_run(lanes, width);
        for (int lane = 0; lane < width; lane++) {
            ExprEval eval = {.user = &values[lane], .leaf = arg_value, .round_f32 = true};
            ExprValue expected = expr_eval(&eval, e);
            if (lanes->float_result) {
                float want = (float)expected.f, got = lanes->reg[lanes->result].f[lane];
                wrong += want != want ? got == got : memcmp(&want, &got, sizeof want) != 0;
            } else {
                wrong += lanes->reg[lanes->result].i[lane] != expected.i;
            }
        }
    }
    if (wrong)
        fprintf(stderr, "\noperator %s: %d of %d wrong\n", expr_op_info[e->op].name, wrong, total);
    CU_ASSERT_EQUAL(wrong, 0);
}

static ExprType letter_type(char letter, ExprType number)
{
    return letter == 'b' ? TYPE_BOOL : letter == 'i' ? TYPE_INT : letter == 'f' ? TYPE_FLOAT : number;
}

static void every_operator(void)
{
    Arena *arena = arena_create();
    ExprPool *pool = expr_pool_create(arena);
    int tried = 0;
    for (int op = EXPR_ADD; op < EXPR_OP_COUNT; op++) {
        const ExprOpInfo *info = &expr_op_info[op];
        bool numbers = strchr(info->signature, 'n') != NULL;
        for (ExprType number = numbers ? TYPE_INT : TYPE_FLOAT; number <= TYPE_FLOAT; number++) {
            ExprType types[3] = {TYPE_BOOL};
            const Expr *args[3] = {NULL};
            for (int k = 0; k < info->arity; k++) {
                types[k] = letter_type(info->signature[k], number);
                args[k] = expr_arg(pool, k, types[k]);
            }
            const Expr *e = info->arity == 1   ? expr_op1(pool, (ExprOp)op, args[0])
                            : info->arity == 2 ? expr_op2(pool, (ExprOp)op, args[0], args[1])
                                               : expr_op3(pool, (ExprOp)op, args[0], args[1], args[2]);
            compare(arena, e, types, info->arity);
            tried++;
        }
    }
    CU_ASSERT(tried >= 45);
    arena_destroy(arena);
}

/* Random trees: registers, shared parts, constants. */
static const Expr *random_expr(ExprPool *pool, uint64_t *seed, ExprType type, int depth)
{
    if (depth == 0 || random_bits(seed) % 5 == 0) {
        if (random_bits(seed) % 4 == 0)
            return type == TYPE_BOOL  ? expr_bool(pool, random_bits(seed) & 1)
                   : type == TYPE_INT ? expr_int(pool, random_int(seed, -9, 9))
                                      : expr_float(pool, (double)random_float(seed));
        return expr_arg(pool, (int)type, type);
    }
    for (;;) {
        ExprOp op = (ExprOp)random_int(seed, EXPR_ADD, EXPR_OP_COUNT - 1);
        const ExprOpInfo *info = &expr_op_info[op];
        ExprType number = random_bits(seed) & 1 ? TYPE_INT : TYPE_FLOAT;
        if (letter_type(info->signature[info->arity], type == TYPE_BOOL ? number : type) != type ||
            (type == TYPE_BOOL && info->signature[info->arity] == 'n'))
            continue;
        if (type != TYPE_BOOL && info->signature[info->arity] == 'n')
            number = type;
        const Expr *args[3];
        for (int k = 0; k < info->arity; k++)
            args[k] = random_expr(pool, seed, letter_type(info->signature[k], number), depth - 1);
        return info->arity == 1   ? expr_op1(pool, op, args[0])
               : info->arity == 2 ? expr_op2(pool, op, args[0], args[1])
                                  : expr_op3(pool, op, args[0], args[1], args[2]);
    }
}

static void random_trees(void)
{
    static const ExprType types[3] = {TYPE_BOOL, TYPE_INT, TYPE_FLOAT};
    uint64_t seed = 42;
    for (int k = 0; k < 500; k++) {
        Arena *arena = arena_create();
        ExprPool *pool = expr_pool_create(arena);
        compare(arena, random_expr(pool, &seed, types[k % 3], 5), types, 3);
        arena_destroy(arena);
    }
}

/* Random expressions through printing and parsing: the text stays. */
static void random_texts(void)
{
    uint64_t seed = 43;
    for (int k = 0; k < 2000; k++) {
        Arena *arena = arena_create();
        Diag *diag = diag_create(arena);
        ExprPool *pool = expr_pool_create(arena);
        Program *program = program_create(arena, pool, "random", 1);
        program->stage = STAGE_SIZED;
        Builder b = {.program = program, .block = program_phase(program, "p")->body, .span = SPAN_NONE};
        Inst *args[3];
        args[0] = build_map(&b, expr_bool(pool, true), NULL, 0);
        args[1] = build_map(&b, expr_int(pool, 3), NULL, 0);
        args[2] = build_map(&b, expr_float(pool, 0.5), NULL, 0);
        build_map(&b, random_expr(pool, &seed, (ExprType)(k % 3), 6), args, 3);
        CU_ASSERT(program_verify(program, diag));
        char *text = program_print(program, arena);
        Program *again = program_parse(arena, diag, diag_add_source(diag, "printed", text, strlen(text)));
        if (!again)
            diag_print(diag, stderr, DIAG_TEXT, false);
        CU_ASSERT_PTR_NOT_NULL_FATAL(again);
        char *twice = program_print(again, arena);
        if (strcmp(twice, text) != 0)
            fprintf(stderr, "\n%s\n%s\n", text, twice);
        CU_ASSERT_STRING_EQUAL(twice, text);
        arena_destroy(arena);
    }
}

void lane_tests(void)
{
    CU_pSuite suite = CU_add_suite("lanes", NULL, NULL);
    CU_add_test(suite, "every operator", every_operator);
    CU_add_test(suite, "random trees", random_trees);
    CU_add_test(suite, "random texts", random_texts);
}
