/* Hand-written cases with expectations in plain C: sequences from cumulative lengths, loops in both
 * directions, params of every type, int arithmetic at its edges. */
#include <math.h>
#include <string.h>

#include "emitting.h"

/* o[b, 0..3] = begin and length of the queries' and the keys' sequence b. */
static void test_sequences(void)
{
    Making m;
    Code code;
    making_open(&m, "sequences");
    int o = making_tensor(&m, "o", ROLE_O, ELEM_TYPE_I64, 2);
    Inst *b = build_grid_index(&m.at, 0);
    for (int k = 0; k < 4; k++) {
        Inst *column = making_map(&m, expr_int(m.pool, k), NULL, NULL, NULL);
        build_store(&m.at, o, (Inst *[]){b, column}, 2, build_seq(&m.at, (SeqField)k, b), NULL);
    }
    CU_ASSERT_FATAL(making_finish(&m) && code_make(&code, &m, "cpu"));
    int32_t q[] = {0, 5, 5, 12}, k[] = {3, 4, 10, 11};
    int64_t got[3][4], slots[SLOT_COUNT_MAX] = {0};
    slots[slot_of_size(VAR_SIZE_B)] = 3;
    slots[slot_of_size(VAR_SIZE_M)] = 77;
    slots[slot_of_size(VAR_SIZE_N)] = 88;
    slots_tensor(slots, o, got, 2, (int64_t[]){4, 1});
    code_run(&code, slots, 3);
    for (int s = 0; s < 3; s++) {
        static const int64_t whole[] = {0, 77, 0, 88};
        CU_ASSERT_EQUAL(memcmp(got[s], whole, sizeof whole), 0);
    }
    slots[SLOT_CU_Q] = (int64_t)(intptr_t)q;
    slots[SLOT_CU_K] = (int64_t)(intptr_t)k;
    code_run(&code, slots, 3);
    for (int s = 0; s < 3; s++) {
        int64_t ragged[] = {q[s], q[s + 1] - q[s], k[s], k[s + 1] - k[s]};
        CU_ASSERT_EQUAL(memcmp(got[s], ragged, sizeof ragged), 0);
    }
    code_drop(&code);
    making_close(&m);
}

/* o[b] = the indices of a loop as digits, upwards or downwards. */
static void loop_case(bool reverse, int64_t lo, int64_t hi, int64_t expected)
{
    Making m;
    Code code;
    making_open(&m, "digits");
    int o = making_tensor(&m, "o", ROLE_O, ELEM_TYPE_I64, 1);
    Inst *b = build_grid_index(&m.at, 0), *zero = making_map(&m, expr_int(m.pool, 0), NULL, NULL, NULL);
    Inst *low = making_map(&m, expr_var(m.pool, VAR_SIZE_M, TYPE_INT), NULL, NULL, NULL),
         *high = making_map(&m, expr_var(m.pool, VAR_SIZE_N, TYPE_INT), NULL, NULL, NULL);
    Inst *var = build_var(&m.at, ELEM_TYPE_I64, NULL, 0, zero), *loop = build_for(&m.at, low, high, reverse);
    Block *outer = m.at.block;
    m.at.block = loop->body;
    const Expr *next = expr_op2(m.pool, EXPR_ADD,
                                expr_op2(m.pool, EXPR_MUL, making_arg(&m, 0, TYPE_INT), expr_int(m.pool, 10)),
                                making_arg(&m, 1, TYPE_INT));
    build_set(&m.at, var, making_map(&m, next, var, loop, NULL));
    m.at.block = outer;
    build_store(&m.at, o, &b, 1, var, NULL);
    CU_ASSERT_FATAL(making_finish(&m) && code_make(&code, &m, "cpu"));
    int64_t got = -1, slots[SLOT_COUNT_MAX] = {0};
    slots[slot_of_size(VAR_SIZE_B)] = 1;
    slots[slot_of_size(VAR_SIZE_M)] = lo;
    slots[slot_of_size(VAR_SIZE_N)] = hi;
    slots_tensor(slots, o, &got, 1, (int64_t[]){1});
    code_run(&code, slots, 1);
    CU_ASSERT_EQUAL(got, expected);
    code_drop(&code);
    making_close(&m);
}

static void test_loops(void)
{
    loop_case(false, 2, 6, 2345);
    loop_case(true, 2, 6, 5432);
    loop_case(true, 7, 8, 7);
    loop_case(false, 3, 3, 0);
    loop_case(true, 5, 2, 0);
}

/* Every pair of edge values through the int operators, as scalars and as lanes. */
static void test_int_edges(void)
{
    static const int64_t edges[16] = {0,
                                      1,
                                      -1,
                                      2,
                                      -2,
                                      7,
                                      -7,
                                      100,
                                      INT32_MAX,
                                      INT32_MIN,
                                      (int64_t)INT32_MAX + 1,
                                      INT64_MAX,
                                      INT64_MIN,
                                      INT64_MIN + 1,
                                      1LL << 40,
                                      63};
    static const ExprOp ops[] = {EXPR_ADD, EXPR_SUB, EXPR_MUL, EXPR_DIV,
                                 EXPR_MOD, EXPR_MIN, EXPR_MAX, EXPR_POW};
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        Making m;
        Code code;
        making_open(&m, "edges");
        int am = making_axis(&m, "m", 16), an = making_axis(&m, "n", 16),
            x = making_tensor(&m, "x", ROLE_Q, ELEM_TYPE_I64, 1);
        int o = making_tensor(&m, "o", ROLE_O, ELEM_TYPE_I64, 3);
        Inst *b = build_grid_index(&m.at, 0), *i = build_index(&m.at, am), *j = build_index(&m.at, an);
        Inst *vx = build_load(&m.at, x, &i, 1, NULL), *vy = build_load(&m.at, x, &j, 1, NULL);
        const Expr *e = expr_op2(m.pool, ops[k], making_arg(&m, 0, TYPE_INT), making_arg(&m, 1, TYPE_INT));
        build_store(&m.at, o, (Inst *[]){b, i, j}, 3, making_map(&m, e, vx, vy, NULL), NULL);
        CU_ASSERT_FATAL(making_finish(&m) && code_make(&code, &m, "cpu"));
        static int64_t got[16][16], wanted[16][16];
        int64_t slots[SLOT_COUNT_MAX] = {0};
        slots[slot_of_size(VAR_SIZE_B)] = 1;
        slots_tensor(slots, x, (void *)(uintptr_t)edges, 1, (int64_t[]){1});
        slots_tensor(slots, o, wanted, 3, (int64_t[]){256, 16, 1});
        CU_ASSERT_FATAL(program_run(m.program, slots, m.diag));
        slots_tensor(slots, o, got, 3, (int64_t[]){256, 16, 1});
        code_run(&code, slots, 1);
        for (int a = 0; a < 16; a++)
            for (int c = 0; c < 16; c++) {
                if (got[a][c] != wanted[a][c])
                    fprintf(stderr, "\n%lld %s %lld: %lld, not %lld\n", (long long)edges[a],
                            expr_op_info[ops[k]].name, (long long)edges[c], (long long)got[a][c],
                            (long long)wanted[a][c]);
                CU_ASSERT_EQUAL(got[a][c], wanted[a][c]);
            }
        code_drop(&code);
        making_close(&m);
    }
}

/* o = flag ? count * x : -x from params; x in f16, written as bf16. */
static void test_params(void)
{
    Making m;
    Code code;
    making_open(&m, "params");
    m.program->params[0].name = "flag", m.program->params[0].type = TYPE_BOOL;
    m.program->params[1].name = "count", m.program->params[1].type = TYPE_INT;
    m.program->params[2].name = "factor", m.program->params[2].type = TYPE_FLOAT;
    m.program->param_count = 3;
    int o = making_tensor(&m, "o", ROLE_O, ELEM_TYPE_F32, 1);
    const Expr *count = expr_op1(m.pool, EXPR_TOFLOAT, expr_param(m.pool, 1, TYPE_INT)),
               *factor = expr_param(m.pool, 2, TYPE_FLOAT);
    const Expr *e = expr_op3(m.pool, EXPR_SELECT, expr_param(m.pool, 0, TYPE_BOOL),
                             expr_op2(m.pool, EXPR_MUL, count, factor), expr_op1(m.pool, EXPR_NEG, factor));
    Inst *b = build_grid_index(&m.at, 0);
    build_store(&m.at, o, &b, 1, making_map(&m, e, NULL, NULL, NULL), NULL);
    CU_ASSERT_FATAL(making_finish(&m) && code_make(&code, &m, "cpu"));
    for (int flag = 0; flag < 2; flag++) {
        float got = 0;
        double value = 1.5;
        int64_t slots[SLOT_COUNT_MAX] = {0};
        slots[slot_of_size(VAR_SIZE_B)] = 1;
        slots[SLOT_PARAMS] = flag;
        slots[SLOT_PARAMS + 1] = -3;
        memcpy(&slots[SLOT_PARAMS + 2], &value, sizeof value);
        slots_tensor(slots, o, &got, 1, (int64_t[]){1});
        code_run(&code, slots, 1);
        CU_ASSERT_EQUAL(got, flag ? -4.5f : -1.5f);
    }
    code_drop(&code);
    making_close(&m);
}

void program_tests(void)
{
    CU_pSuite suite = CU_add_suite("programs", NULL, NULL);
    CU_add_test(suite, "sequences", test_sequences);
    CU_add_test(suite, "loops upwards and downwards", test_loops);
    CU_add_test(suite, "ints at their edges", test_int_edges);
    CU_add_test(suite, "params", test_params);
}
