/* Hand-written Programs against plain C loops in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/tile/tile_memory.h"
#include "tiling.h"

static void run(Tiling *t, Launch *launch)
{
    if (!program_run(t->program, launch->slots, t->diag))
        diag_print(t->diag, stderr, DIAG_TEXT, false);
    CU_ASSERT_EQUAL_FATAL(t->diag->errors, 0);
}

static void near(double got, double expected, double tolerance)
{
    bool good = isinf(expected) ? got == expected : fabs(got - expected) <= tolerance * (1 + fabs(expected));
    if (!good)
        fprintf(stderr, "\ngot %.9g, expected %.9g\n", got, expected);
    CU_ASSERT(good);
}

static float *floats(size_t count, uint64_t *seed)
{
    float *values = malloc(count * sizeof *values);
    for (size_t k = 0; k < count; k++)
        values[k] = random_float(seed);
    return values;
}

/* The same values as bf16 or f16; the floats become what is stored. */
static uint16_t *halves(float *values, size_t count, bool bf16)
{
    uint16_t *stored = malloc(count * sizeof *stored);
    for (size_t k = 0; k < count; k++) {
        stored[k] = bf16 ? bf16_of_float(values[k]) : f16_of_float(values[k]);
        values[k] = bf16 ? float_of_bf16(stored[k]) : float_of_f16(stored[k]);
    }
    return stored;
}

enum { SB = 2, SH = 4, SG = 2, SD = 12, SE = 6 };

static void softmax_case(int M, int N, int offset)
{
    Tiling t;
    Launch launch = {0};
    uint64_t seed = (uint64_t)(M * 1000 + N);
    size_t nq = (size_t)(SB * SH * M * SD), nk = (size_t)(SB * SG * N * SD), nv = (size_t)(SB * SG * N * SE);
    size_t no = (size_t)(SB * SH * M * SE), nl = (size_t)(SB * SH * M);
    float *q = floats(nq, &seed), *k = floats(nk, &seed), *v = floats(nv, &seed);
    float *o = floats(no, &seed), *lse = floats(nl, &seed);
    uint16_t *q16 = halves(q, nq, true), *k16 = halves(k, nk, true), *v16 = halves(v, nv, false);
    tiling_open(&t, "softmax");
    launch.program = t.program;
    launch_size(&launch, VAR_SIZE_B, SB);
    launch_size(&launch, VAR_SIZE_H, SH);
    launch_size(&launch, VAR_SIZE_G, SG);
    launch_size(&launch, VAR_SIZE_M, M);
    launch_size(&launch, VAR_SIZE_N, N);
    launch_size(&launch, VAR_OFFSET, offset);
    launch_float(&launch, 0, 0.7);
    launch_tensor(&launch, "q", q16, 4, SB, SH, M, SD);
    launch_tensor(&launch, "k", k16, 4, SB, SG, N, SD);
    launch_tensor(&launch, "v", v16, 4, SB, SG, N, SE);
    launch_tensor(&launch, "o", o, 4, SB, SH, M, SE);
    launch_tensor(&launch, "lse", lse, 3, SB, SH, M);
    run(&t, &launch);
    for (int bh = 0; bh < SB * SH; bh++)
        for (int i = 0; i < M; i++) {
            int bg = bh / SH * SG + bh % SH / (SH / SG);
            double sum = 0, acc[SE] = {0};
            for (int j = 0; j < N && j <= i + offset; j++) {
                double s = 0;
                for (int d = 0; d < SD; d++)
                    s += (double)q[(bh * M + i) * SD + d] * (double)k[(bg * N + j) * SD + d];
                sum += exp(0.7 * s);
                for (int e = 0; e < SE; e++)
                    acc[e] += exp(0.7 * s) * (double)v[(bg * N + j) * SE + e];
            }
            near((double)lse[bh * M + i], log(sum), 1e-5);
            for (int e = 0; e < SE; e++)
                near((double)o[(bh * M + i) * SE + e], sum > 0 ? acc[e] / sum : 0, 1e-5);
        }
    tiling_close(&t);
    free(q), free(k), free(v), free(o), free(lse), free(q16), free(k16), free(v16);
}

static void softmax(void)
{
    softmax_case(19, 37, 18);
    softmax_case(16, 32, 0);
    softmax_case(5, 3, -2); /* rows without keys */
    softmax_case(1, 40, 39);
}

enum { LB = 2, LH = 3, LN = 43, LD = 4, LE = 6 };

static void linear(void)
{
    Tiling t;
    Launch launch = {0};
    uint64_t seed = 7;
    float *q = floats(LB * LH * LN * LD, &seed), *k = floats(LB * LH * LN * LD, &seed);
    float *v = floats(LB * LH * LN * LE, &seed), *o = floats(LB * LH * LN * LE, &seed);
    float *state = floats(LB * LH * 6 * LD * LE, &seed);
    tiling_open(&t, "linear");
    launch.program = t.program;
    launch_size(&launch, VAR_SIZE_B, LB);
    launch_size(&launch, VAR_SIZE_H, LH);
    launch_size(&launch, VAR_SIZE_M, LN);
    launch_size(&launch, VAR_SIZE_N, LN);
    launch_tensor(&launch, "q", q, 4, LB, LH, LN, LD);
    launch_tensor(&launch, "k", k, 4, LB, LH, LN, LD);
    launch_tensor(&launch, "v", v, 4, LB, LH, LN, LE);
    launch_tensor(&launch, "o", o, 4, LB, LH, LN, LE);
    launch_tensor(&launch, "state", state, 5, LB, LH, 6, LD, LE);
    run(&t, &launch);
    for (int bh = 0; bh < LB * LH; bh++)
        for (int i = 0; i < LN; i++)
            for (int e = 0; e < LE; e++) {
                double sum = 0;
                for (int j = 0; j <= i; j++)
                    for (int d = 0; d < LD; d++)
                        sum += (double)q[(bh * LN + i) * LD + d] *
                               fmax((double)k[(bh * LN + j) * LD + d], 0) * (double)v[(bh * LN + j) * LE + e];
                near((double)o[(bh * LN + i) * LE + e], sum, 1e-5);
            }
    tiling_close(&t);
    free(q), free(k), free(v), free(o), free(state);
}

enum { MB = 2, MH = 2, MN = 70 };

static void minmax(void)
{
    Tiling t;
    Launch launch = {0};
    uint64_t seed = 11;
    static int32_t doc[MB][MN];
    static float count[MB][MH][MN];
    static int64_t visits[MB][MH][MN], lo[MB][5], hi[MB][5];
    for (int b = 0; b < MB; b++)
        for (int j = 0; j < MN; j++)
            doc[b][j] = (j ? doc[b][j - 1] : -3) + (random_bits(&seed) % 5 == 0);
    tiling_open(&t, "minmax");
    launch.program = t.program;
    launch_size(&launch, VAR_SIZE_B, MB);
    launch_size(&launch, VAR_SIZE_H, MH);
    launch_size(&launch, VAR_SIZE_M, MN);
    launch_size(&launch, VAR_SIZE_N, MN);
    launch_tensor(&launch, "doc", doc, 2, MB, MN);
    launch_tensor(&launch, "count", count, 3, MB, MH, MN);
    launch_tensor(&launch, "visits", visits, 3, MB, MH, MN);
    launch_tensor(&launch, "lo", lo, 2, MB, 5);
    launch_tensor(&launch, "hi", hi, 2, MB, 5);
    run(&t, &launch);
    for (int b = 0; b < MB; b++)
        for (int h = 0; h < MH; h++)
            for (int i = 0; i < MN; i++) {
                int expected = 0, tile = i / 4 * 4, seen = 0;
                for (int j = 0; j < MN; j++)
                    expected += doc[b][j] == doc[b][i];
                for (int block = 0; block < 5; block++) {
                    int last = block * 16 + 15 < MN ? block * 16 + 15 : MN - 1, some = 0;
                    for (int r = tile; r < tile + 4 && r < MN; r++)
                        some |= doc[b][r] >= doc[b][block * 16] && doc[b][r] <= doc[b][last];
                    seen += some ? 1 : 1000;
                }
                CU_ASSERT_EQUAL(count[b][h][i], expected);
                CU_ASSERT_EQUAL(visits[b][h][i], seen);
            }
    tiling_close(&t);
}

enum { RB = 4, RH = 2, RD = 3 };

static void ragged(void)
{
    static const int32_t cu_q[RB + 1] = {0, 5, 5, 14, 15}, cu_k[RB + 1] = {0, 7, 9, 9, 20};
    Tiling t;
    Launch launch = {0};
    uint64_t seed = 13;
    int rows = cu_q[RB], keys = cu_k[RB];
    float *q = floats((size_t)(RH * rows * RD), &seed), *k = floats((size_t)(RH * keys * RD), &seed);
    float *v = floats((size_t)(RH * keys * RD), &seed), *o = floats((size_t)(RH * rows * RD), &seed);
    tiling_open(&t, "ragged");
    launch.program = t.program;
    launch_size(&launch, VAR_SIZE_B, RB);
    launch_size(&launch, VAR_SIZE_H, RH);
    launch_size(&launch, VAR_SIZE_M, 9);
    launch_size(&launch, VAR_SIZE_N, 11);
    launch.slots[SLOT_CU_Q] = (int64_t)(intptr_t)cu_q;
    launch.slots[SLOT_CU_K] = (int64_t)(intptr_t)cu_k;
    launch_tensor(&launch, "q", q, 4, 1, RH, rows, RD);
    launch_tensor(&launch, "k", k, 4, 1, RH, keys, RD);
    launch_tensor(&launch, "v", v, 4, 1, RH, keys, RD);
    launch_tensor(&launch, "o", o, 4, 1, RH, rows, RD);
    run(&t, &launch);
    for (int b = 0; b < RB; b++)
        for (int h = 0; h < RH; h++)
            for (int i = cu_q[b]; i < cu_q[b + 1]; i++)
                for (int d = 0; d < RD; d++) {
                    double sum = 0;
                    for (int j = cu_k[b]; j < cu_k[b + 1]; j++) {
                        double s = 0;
                        for (int c = 0; c < RD; c++)
                            s += (double)q[(h * rows + i) * RD + c] * (double)k[(h * keys + j) * RD + c];
                        sum += (double)v[(h * keys + j) * RD + d] / (1 + exp(-s));
                    }
                    near((double)o[(h * rows + i) * RD + d], sum, 1e-5);
                }
    /* without cumulative lengths a sequence is the whole size */
    launch.slots[SLOT_CU_Q] = launch.slots[SLOT_CU_K] = 0;
    launch_size(&launch, VAR_SIZE_B, 1);
    launch_size(&launch, VAR_SIZE_M, rows);
    launch_size(&launch, VAR_SIZE_N, keys);
    run(&t, &launch);
    double sum = 0;
    for (int j = 0; j < keys; j++) {
        double s = 0;
        for (int c = 0; c < RD; c++)
            s += (double)q[(rows - 1) * RD + c] * (double)k[j * RD + c];
        sum += (double)v[j * RD + 1] / (1 + exp(-s));
    }
    near((double)o[(rows - 1) * RD + 1], sum, 1e-5);
    tiling_close(&t);
    free(q), free(k), free(v), free(o);
}

/* Programs of one phase over one work item, storing into w = workspace 0. */
#define SMALL(body)                                                                                                         \
    "program small rank 1 stage sized { axis m = 3 axis n = 5 axis d = 2 param flag : bool param x : float param k : int\n" \
    "tensor w : workspace 0 f32 [4, N] tensor t : input 0 i32 [N]\n"                                                        \
    "phase p { %0 : i64 = map () 0 %1 : i64[m] = index m %2 : i64[n] = index n " body " } }"

static bool small(const char *text, float *w, int32_t *table, const char *complaint)
{
    Tiling t;
    Launch launch = {0};
    tiling_parse(&t, "small", text, strlen(text));
    bool sound = t.program && program_verify(t.program, t.diag);
    if (!sound)
        diag_print(t.diag, stderr, DIAG_TEXT, false);
    CU_ASSERT_FATAL(sound);
    launch.program = t.program;
    launch_size(&launch, VAR_SIZE_N, 5);
    launch.slots[SLOT_PARAMS] = 1;
    launch_float(&launch, 1, 0.1);
    launch.slots[SLOT_PARAMS + 2] = -7;
    launch_tensor(&launch, "w", w, 2, 4, 5);
    launch_tensor(&launch, "t", table, 1, 5);
    bool done = program_run(t.program, launch.slots, t.diag);
    CU_ASSERT_EQUAL(done, complaint == NULL);
    char *said = diag_to_text(t.diag);
    if (complaint && !strstr(said, complaint)) {
        fprintf(stderr, "\nexpected '%s', got %s\n", complaint, said);
        CU_FAIL("the message is another");
    }
    tiling_close(&t);
    return done;
}

static void reductions(void)
{
    float w[20] = {0};
    small(SMALL("%3 : f32[m, n] = map (%1, %2) float($0 * 10 - $1)"
                "%4 : f32[m] = reduce sum n %3 store w(%0, %1) = %4 %10 : i64 = map () 1"
                "%5 : f32[m] = reduce max n %3 store w(%10, %1) = %5 %11 : i64 = map () 2"
                "%6 : f32[n] = reduce min m %3 store w(%11, %2) = %6 %12 : i64 = map () 3"
                "%7 : bool[m, n] = map (%1, %2) $0 == $1 and $0 > 0"
                "%8 : bool[n] = reduce or m %7 %9 : bool[m] = reduce and n %7"
                "%13 : f32[n] = map (%8) float($0) store w(%12, %2) = %13"
                "%14 : bool = reduce and m %9 store w(%0, %2) = %13 if %14"),
          w, NULL, NULL);
    static const float expected[20] = {-10, 40, 90, 0, 0, 0, 10, 20, 0, 0, 0, -1, -2, -3, -4, 0, 1, 1, 0, 0};
    for (int k = 0; k < 20; k++)
        CU_ASSERT_EQUAL(w[k], expected[k]);
}

/* Loops that run downwards and not at all, both arms of an if, a var that is broadcast to. */
static void control(void)
{
    float w[20] = {0};
    small(
        SMALL("%3 : i64 = map () 4 %10 : i64 = map () 2 %4 : f32 = map () 1.0 %5 : f32[n] = var %4"
              "%6 = for reverse %0 .. %3 {" /* 3, 2, 1, 0: w[0] = ((1 * 2 + 3) * 2 + 2) * 2 ... */
              "  %7 : f32[n] = map (%5, %6, %2) $0 * 2.0 + float($1 + $2) set %5 = %7"
              "  %8 : bool = map (%6) $0 % 2 == 1"
              "  if %8 { %9 : f32 = map (%6) float($0) store w(%6, %0) = %9 } else { store w(%10, %6) = %4 }"
              "}"
              "%11 = for %3 .. %0 { set %5 = %4 }" /* never */
              "store w(%0, %2) = %5"),
        w, NULL, NULL);
    for (int n = 0; n < 5; n++) {
        float expected = 1;
        for (int k = 3; k >= 0; k--)
            expected = expected * 2 + (float)(k + n);
        CU_ASSERT_EQUAL(w[n], expected);
    }
    CU_ASSERT_EQUAL(w[5], 1); /* of odd k: w[k][0] = k; of even k: w[2][k] = 1 */
    CU_ASSERT_EQUAL(w[15], 3);
    CU_ASSERT_EQUAL(w[10], 1);
    CU_ASSERT_EQUAL(w[12], 1);
    CU_ASSERT_EQUAL(w[11], 0);
}

/* Values of type bf16 and f16 are rounded; sums of ints wrap; contract with an expression; a var of bf16. */
static void element_types(void)
{
    float w[20] = {0};
    small(
        SMALL(
            "%3 : bf16[n] = map (%2) 1.0 + float($0) / 256.0 store w(%0, %2) = %3 %10 : i64 = map () 1"
            "%4 : f16[n] = map (%2) 1.0 + float($0) / 2048.0 store w(%10, %2) = %4 %11 : i64 = map () 2"
            "%14 : f32 = map () 0.0 %5 : bf16[n] = var %14 set %5 = %4 store w(%11, %2) = %5 %12 : i64 = map () 3"
            "%6 : i64[n] = map (%2) select($0 < 2, 9223372036854775807, $0) %7 : i64 = reduce sum n %6"
            "%8 : f32[m] = contract n %1, %2 by select($0 < $1, float($0 + $1), 0.5)"
            "store w(%12, %1) = %8 %9 : f32 = map (%7) float($0) %13 : i64 = map () 3 store w(%12, %13) = %9"),
        w, NULL, NULL);
    static const float bf16s[5] = {1, 1, 1.0078125f, 1.015625f, 1.015625f};
    static const float f16s[5] = {1, 1, 1.0009765625f, 1.001953125f, 1.001953125f};
    for (int k = 0; k < 5; k++) {
        CU_ASSERT_EQUAL(w[k], bf16s[k]);
        CU_ASSERT_EQUAL(w[5 + k], f16s[k]);
        CU_ASSERT_EQUAL(w[10 + k], 1);
    }
    CU_ASSERT_EQUAL(w[15], 0.5f + 1 + 2 + 3 + 4);
    CU_ASSERT_EQUAL(w[16], 2 * 0.5f + 3 + 4 + 5);
    CU_ASSERT_EQUAL(w[17], 3 * 0.5f + 5 + 6);
    CU_ASSERT_EQUAL(w[18], 7);
}

static void bounds(void)
{
    float w[20] = {0};
    int32_t table[5] = {0, 1, 2, 3, 4};
    small(SMALL("%3 : i64[n] = map (%2) $0 + 1 %4 : f32[n] = map (%2) 1.0 store w(%0, %3) = %4"), w, table,
          "index 5 is outside dimension 1 of 'w'");
    small(SMALL("%3 : i64[n] = map (%2) $0 - 1 %4 : i64[n] = load t(%3)"), w, table,
          "index -1 is outside dimension 0 of 't'");
    small(SMALL("%3 : i64[n] = map (%2) $0 - 1 %5 : bool[n] = map (%3) $0 >= 0 %4 : i64[n] = load t(%3) if %5"
                "%6 : f32[n] = map (%4) float($0) + 1.0 store w(%0, %2) = %6"),
          w, table, NULL);
    static const float expected[5] = {1, 1, 2, 3, 4};
    for (int k = 0; k < 5; k++)
        CU_ASSERT_EQUAL(w[k], expected[k]);
    small(SMALL("%4 : i64[n] = load t(%2)"), w, NULL, "the tensor 't' has no memory");
    small(SMALL("%3 : bool = map () flag and k == -7 %5 : f32 = map () x if %3 { store w(%0, %0) = %5 }"), w,
          table, NULL);
    CU_ASSERT_EQUAL(w[0], 0.1f);
}

static void needs_sizes(void)
{
    Tiling t;
    Launch launch = {0};
    tiling_open(&t, "logical");
    CU_ASSERT(!program_run(t.program, launch.slots, t.diag));
    CU_ASSERT_STRING_EQUAL(t.diag->first->text, "the program 'every thing' has no sizes yet");
    tiling_close(&t);
}

/* Every 16-bit pattern there and back; rounding of what lies between against the neighbours. */
static void half_floats(void)
{
    uint64_t seed = 3;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint16_t half = (uint16_t)bits;
        float b = float_of_bf16(half), f = float_of_f16(half);
        CU_ASSERT(b != b ? bf16_of_float(b) >> 7 == half >> 7 : bf16_of_float(b) == half);
        CU_ASSERT(f != f ? (f16_of_float(f) & 0x7c00) == 0x7c00 && (f16_of_float(f) & 0x3ff)
                         : f16_of_float(f) == half);
        if ((half & 0x7fff) >= 0x7bff)
            continue;
        float next = float_of_f16((uint16_t)(half + 1)), middle = (f + next) / 2;
        CU_ASSERT_EQUAL(f16_of_float(middle), half & 1 ? half + 1 : half); /* ties to even */
        CU_ASSERT_EQUAL(f16_of_float(nextafterf(middle, next)), half + 1);
        CU_ASSERT_EQUAL(f16_of_float(nextafterf(middle, f)), half);
    }
    CU_ASSERT_EQUAL(f16_of_float(65519.0f), 0x7bff);
    CU_ASSERT_EQUAL(f16_of_float(65520.0f), 0x7c00);
    CU_ASSERT_EQUAL(f16_of_float(-1e30f), 0xfc00);
    for (int k = 0; k < 100000; k++) {
        uint32_t bits = (uint32_t)random_bits(&seed);
        float value, down, up;
        memcpy(&value, &bits, sizeof value);
        if (isnan(value) || isinf(value))
            continue;
        uint16_t low = (uint16_t)(bits >> 16), got = bf16_of_float(value);
        down = float_of_bf16(low);
        up = float_of_bf16((uint16_t)(low + 1));
        double to_down = fabs((double)value - (double)down),
               to_up = isinf(up) ? 0x1p120 : fabs((double)up - (double)value);
        if (!isinf(up))
            CU_ASSERT_EQUAL(got, to_down < to_up || (to_down == to_up && !(low & 1)) ? low : low + 1);
    }
}

void run_tests(void)
{
    CU_pSuite suite = CU_add_suite("run", NULL, NULL);
    CU_add_test(suite, "softmax", softmax);
    CU_add_test(suite, "linear", linear);
    CU_add_test(suite, "minmax", minmax);
    CU_add_test(suite, "ragged", ragged);
    CU_add_test(suite, "reductions", reductions);
    CU_add_test(suite, "control", control);
    CU_add_test(suite, "element types", element_types);
    CU_add_test(suite, "bounds", bounds);
    CU_add_test(suite, "needs sizes", needs_sizes);
    CU_add_test(suite, "half floats", half_floats);
}
