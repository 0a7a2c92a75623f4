/* The elementary functions against double, over all of f32: every SWEEP-th bit pattern, and random ones
 * near where the methods change. Limits are those that llvm_math.c states. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "emitting.h"

enum { LANES = 64, ROWS = 512, BATCH = LANES * ROWS };
#ifdef __SANITIZE_ADDRESS__
enum { SWEEP = 16381 };
#else
enum { SWEEP = 1021 };
#endif

static double double_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double double_rsqrt(double x) { return 1 / sqrt(x); }

typedef struct Function {
    const char *name;
    ExprOp op;
    double (*exact)(double);
    double limit; /* ulp */
    double range; /* |x| up to here is checked; beyond it, results in [-1, 1] */
} Function;

static const Function functions[] = {
    {"exp", EXPR_EXP, exp, 1.5, INFINITY},
    {"exp2", EXPR_EXP2, exp2, 1.5, INFINITY},
    {"log", EXPR_LOG, log, 4, INFINITY},
    {"log2", EXPR_LOG2, log2, 4, INFINITY},
    {"log1p", EXPR_LOG1P, log1p, 4, INFINITY},
    {"tanh", EXPR_TANH, tanh, 4, INFINITY},
    {"sigmoid", EXPR_SIGMOID, double_sigmoid, 4, INFINITY},
    {"erf", EXPR_ERF, erf, 4, INFINITY},
    {"sqrt", EXPR_SQRT, sqrt, 0.5, INFINITY},
    {"rsqrt", EXPR_RSQRT, double_rsqrt, 1.5, INFINITY},
    {"floor", EXPR_FLOOR, floor, 0, INFINITY},
    {"sin", EXPR_SIN, sin, 4, 0x1p24},
    {"cos", EXPR_COS, cos, 4, 0x1p24},
};
enum { FUNCTION_COUNT = sizeof functions / sizeof *functions };

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Distance in units of the last place of the exact value as f32; results below the normal range count in the
 * smallest normal's units, less what rounding to a subnormal costs. */
static double ulps(float got, double exact)
{
    if (isnan(exact))
        return isnan(got) ? 0 : INFINITY;
    if ((float)exact == got)
        return fabs(exact) < 0x1p-126 || isinf(got)
                   ? 0
                   : fabs((double)got - exact) / ldexp(1, ilogb((float)exact) - 23);
    if (isnan(got) || isinf(got)
        || fabs(exact) >= 0x1p128) /* one side overflows: the largest float is next to infinity */
        return fabs(exact) > 0x1.fffffep127 && fabs((double)got) >= 0x1.fffffcp127 ? 1
               : isinf(got) && fabs(exact) > 0x1.fffffcp127                        ? 1
                                                                                   : INFINITY;
    if (fabs(exact) < 0x1p-125)
        return fabs((double)got - exact) < 0x1p-147 ? 0 : fabs((double)got - exact) / 0x1p-149;
    return fabs((double)got - exact) / ldexp(1, ilogb((float)exact) - 23);
}

/* o[b, n] = f(x[b, n]) or f(x, y). */
static bool make_program(Making *m, ExprOp op, bool two)
{
    making_open(m, "math");
    int n = making_axis(m, "n", LANES), x = making_tensor(m, "q", ROLE_Q, ELEM_TYPE_F32, 2),
        y = making_tensor(m, "k", ROLE_K, ELEM_TYPE_F32, 2);
    int o = making_tensor(m, "o", ROLE_O, ELEM_TYPE_F32, 2);
    Inst *at[] = {build_grid_index(&m->at, 0), build_index(&m->at, n)};
    Inst *a = build_load(&m->at, x, at, 2, NULL), *b = two ? build_load(&m->at, y, at, 2, NULL) : NULL;
    const Expr *e = making_arg(m, 0, TYPE_FLOAT);
    e = two ? expr_op2(m->pool, op, e, making_arg(m, 1, TYPE_FLOAT)) : expr_op1(m->pool, op, e);
    build_store(&m->at, o, at, 2, making_map(m, e, a, b, NULL), NULL);
    return making_finish(m);
}

typedef struct Worst { double ulp; float x, y, got; double exact; } Worst;

static void note(Worst *worst, double ulp, float x, float y, float got, double exact)
{
    if (ulp > worst->ulp || (isnan(ulp) && !isnan(worst->ulp)))
        *worst = (Worst){ulp, x, y, got, exact};
}

static float *x_data, *y_data, *o_data;

static void run_batch(const Code *code)
{
    static const int64_t strides[] = {LANES, 1};
    int64_t slots[SLOT_COUNT_MAX] = {0};
    slots[slot_of_size(VAR_SIZE_B)] = ROWS;
    slots_tensor(slots, 0, x_data, 2, strides);
    slots_tensor(slots, 1, y_data, 2, strides);
    slots_tensor(slots, 2, o_data, 2, strides);
    code_run(code, slots, ROWS);
}

static void check_batch(const Code *code, const Function *f, Worst *worst)
{
    run_batch(code);
    for (int k = 0; k < BATCH; k++) {
        double exact = f->exact((double)x_data[k]);
        if (fabsf(x_data[k]) <= (float)f->range || isnan(x_data[k]))
            note(worst, ulps(o_data[k], exact), x_data[k], 0, o_data[k], exact);
        else if (isinf(x_data[k]) ? !isnan(o_data[k]) : !(fabsf(o_data[k]) <= 1.00001f))
            note(worst, INFINITY, x_data[k], 0, o_data[k], exact);
    }
}

static void sweep(const char *target, const Function *f)
{
    Making m;
    Code code;
    Worst worst = {-1, 0, 0, 0, 0};
    Random random = {7};
    CU_ASSERT_FATAL(make_program(&m, f->op, false));
    CU_ASSERT_FATAL(code_make(&code, &m, target));
    uint64_t bits = 0;
    while (bits < (uint64_t)1 << 32) {
        for (int k = 0; k < BATCH; k++, bits += SWEEP)
            x_data[k] = from_bits((uint32_t)bits);
        check_batch(&code, f, &worst);
    }
    static const float special[] = {0.0f,       -0.0f,     INFINITY,  -INFINITY,       NAN,       1,
                                    -1,         0x1p-126f, 0x1p-149f, 0x1.fffffep127f, 88.72284f, 88.7228f,
                                    -87.33655f, -103.97f,  -104.0f,   0.625f};
    for (int k = 0; k < BATCH; k++) /* dense where results are of ordinary size */
        x_data[k] = k < 16 ? special[k] : (float)((random_unit(&random) - 0.5) * (k % 2 ? 200 : 4));
    check_batch(&code, f, &worst);
    if (!(worst.ulp <= f->limit + (f->limit > 0 ? 0.01 : 0)))
        fprintf(stderr, "\n%s on %s: %g ulp at x = %.9g: got %.9g, exact %.17g\n", f->name, target, worst.ulp,
                (double)worst.x, (double)worst.got, worst.exact);
    CU_ASSERT(worst.ulp <= f->limit + (f->limit > 0 ? 0.01 : 0));
    CU_ASSERT(worst.ulp >= 0);
    code_drop(&code);
    making_close(&m);
}

static void test_functions(void)
{
    const char *const *targets;
    int count = runnable_targets(&targets);
    for (int t = 0; t < count; t++)
        for (int k = 0; k < FUNCTION_COUNT; k++)
            sweep(targets[t], &functions[k]);
}

static void test_pow(void)
{
    static const float special[] = {
        0.0f,      -0.0f,           1,    -1, 2, -2, 0.5f, -0.5f, 3, -3, INFINITY, -INFINITY, NAN,
        0x1p-149f, 0x1.fffffep127f, 1e10f};
    const char *const *targets;
    int count = runnable_targets(&targets);
    for (int t = 0; t < count; t++) {
        Making m;
        Code code;
        Worst worst = {-1, 0, 0, 0, 0};
        Random random = {11};
        CU_ASSERT_FATAL(make_program(&m, EXPR_POW, true));
        CU_ASSERT_FATAL(code_make(&code, &m, targets[t]));
        for (int round = 0; round < 20; round++) {
            for (int k = 0; k < BATCH; k++) {
                x_data[k] = (float)exp((random_unit(&random) - 0.5) * 20);
                y_data[k] = (float)((random_unit(&random) - 0.5) * 30);
                if (k % 8 == 0) {
                    x_data[k] = -x_data[k];
                    y_data[k] = floorf(y_data[k]);
                }
                if (k < 256) {
                    x_data[k] = special[k / 16];
                    y_data[k] = special[k % 16];
                }
            }
            run_batch(&code);
            for (int k = 0; k < BATCH; k++) {
                double exact = pow((double)x_data[k], (double)y_data[k]);
                note(&worst, ulps(o_data[k], exact), x_data[k], y_data[k], o_data[k], exact);
            }
        }
        if (!(worst.ulp <= 2))
            fprintf(stderr, "\npow on %s: %g ulp at %.9g ^ %.9g: got %.9g, exact %.17g\n", targets[t],
                    worst.ulp, (double)worst.x, (double)worst.y, (double)worst.got, worst.exact);
        CU_ASSERT(worst.ulp <= 2);
        code_drop(&code);
        making_close(&m);
    }
}

static int prepare(void)
{
    x_data = malloc(BATCH * sizeof *x_data);
    y_data = calloc(BATCH, sizeof *y_data);
    o_data = malloc(BATCH * sizeof *o_data);
    return !x_data || !y_data || !o_data;
}

static int tidy(void)
{
    free(x_data);
    free(y_data);
    free(o_data);
    return 0;
}

void math_tests(void)
{
    CU_pSuite suite = CU_add_suite("functions", prepare, tidy);
    CU_add_test(suite, "errors over all of f32", test_functions);
    CU_add_test(suite, "powers", test_pow);
}
