/* The library's functions, evaluated and compared with their definitions in the papers' own form. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "parsing.h"

static Parsing library;

static int open_library(void)
{
    library = parsing_text("import \"std/windows\" import \"std/documents\" import \"std/features\"");
    return library.status == DSL_OK ? 0 : 1;
}

static int close_library(void)
{
    parsing_end(&library);
    return 0;
}

/* A def of ints. */
static int ints(const char *name, int count, const int *numbers)
{
    Value arguments[8];
    for (int i = 0; i < count; i++)
        arguments[i] = value_int(numbers[i]);
    return (int)evaluate_def(library.ast, name, arguments, count).at[0];
}
#define INTS(name, ...) ints((name), (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (int[]){__VA_ARGS__})

/* The first key of a neighbourhood as the papers state it, within one residue class of length n. */
static int neighborhood_first(int i, int n, int width, int stride)
{
    int leader = i / stride * stride + stride / 2;
    leader = leader < n - 1 ? leader : n - 1;
    int right = width / 2 + width % 2 - 1, first = leader - width / 2 > 0 ? leader - width / 2 : 0;
    return leader + right >= n ? first + n - leader - right - 1 : first;
}

static void neighbors(void)
{
    int cases = 0, seen = 0;
    for (int n = 1; n <= 17; n++)
        for (int dilation = 1; dilation <= 3; dilation++)
            for (int width = 1; width * dilation <= n; width++)
                for (int stride = 1; stride <= width; stride++)
                    for (int i = 0; i < n; i++) {
                        int length = (n - i % dilation + dilation - 1) / dilation;
                        int p = i / dilation, first = neighborhood_first(p, length, width, stride),
                            inside = 0;
                        int last = p / stride * stride + stride - 1;
                        last = last < length - 1 ? last : length - 1;
                        for (int j = 0; j < n; j++) {
                            int pj = j / dilation;
                            bool same = i % dilation == j % dilation;
                            int want = same && pj >= first && pj < first + width;
                            int got = INTS("axis_neighbor", i, j, n, width, dilation, stride);
                            int low = last - width + 1 > 0 ? last - width + 1 : 0;
                            int causal = same && pj >= low && pj < (p + 1 < length ? p + 1 : length);
                            CU_ASSERT_EQUAL(got, want);
                            CU_ASSERT_EQUAL(INTS("axis_neighbor_causal", i, j, n, width, dilation, stride),
                                            causal);
                            inside += got;
                            cases++;
                        }
                        CU_ASSERT_EQUAL(inside, width); /* a neighbourhood is never cut off */
                        seen += inside;
                    }
    CU_ASSERT(cases > 20000 && seen > 1000 && seen < cases);
}

/* A window wider than its axis sees all of it. */
static void wide_windows(void)
{
    for (int n = 1; n < 6; n++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                CU_ASSERT_EQUAL(INTS("axis_neighbor", i, j, n, 9, 1, 1), 1);
}

static void grids(void)
{
    int sizes[3] = {4, 5, 6}, widths[3] = {2, 3, 3}, dilations[3] = {1, 1, 2}, strides[3] = {1, 2, 1},
        ones[3] = {1, 1, 1};
    int agree = 0, seen = 0;
    for (int a = 0; a < 120; a += 7)
        for (int b = 0; b < 120; b++) {
            int i[3] = {a / 30, a / 6 % 5, a % 6}, j[3] = {b / 30, b / 6 % 5, b % 6}, near[3], plain[3];
            for (int axis = 0; axis < 3; axis++) {
                near[axis] = INTS("axis_neighbor", i[axis], j[axis], sizes[axis], widths[axis],
                                  dilations[axis], strides[axis]);
                plain[axis] =
                    INTS("axis_neighbor", i[axis], j[axis], sizes[axis], widths[axis], dilations[axis], 1);
            }
            int causal =
                INTS("axis_neighbor_causal", i[0], j[0], sizes[0], widths[0], dilations[0], strides[0]);
            Value three[6] = {value_ints(3, i), value_ints(3, j), value_ints(3, sizes), value_ints(3, widths),
                              value_ints(3, dilations), value_ints(3, strides)};
            Value two[6] = {value_ints(2, i + 1),         value_ints(2, j + 1),
                            value_ints(2, sizes + 1),     value_ints(2, widths + 1),
                            value_ints(2, dilations + 1), value_ints(2, strides + 1)};
            const Ast *ast = library.ast;
            agree += evaluate_def(ast, "neighbor3_stride", three, 6).at[0] == (near[0] && near[1] && near[2]);
            agree += evaluate_def(ast, "neighbor3_causal", three, 6).at[0] == (causal && near[1] && near[2]);
            agree += evaluate_def(ast, "neighbor3", three, 5).at[0] == (plain[0] && plain[1] && plain[2]);
            agree += evaluate_def(ast, "neighbor_stride", two, 6).at[0] == (near[1] && near[2]);
            agree += evaluate_def(ast, "neighbor", two, 5).at[0] == (plain[1] && plain[2]);
            Value boxes[4] = {two[0], two[1], value_ints(2, widths + 1), value_ints(2, ones)};
            int same = (i[1] + 1) / 3 == (j[1] + 1) / 3 && (i[2] + 1) / 3 == (j[2] + 1) / 3;
            agree += evaluate_def(ast, "same_box", boxes, 4).at[0] == same;
            int boxed = abs(i[1] - j[1]) <= 3 && abs(i[2] - j[2]) <= 3;
            agree += evaluate_def(ast, "box", boxes, 3).at[0] == boxed;
            agree += evaluate_def(ast, "axial", boxes, 2).at[0] == (i[1] == j[1] || i[2] == j[2]);
            seen += near[0] && near[1] && near[2];
        }
    CU_ASSERT_EQUAL(agree, 18 * 120 * 8);
    CU_ASSERT_EQUAL(seen, 18 * 2 * 3 * 3);
}

static void lines(void)
{
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 12; j++) {
            int past = i - j;
            CU_ASSERT_EQUAL(INTS("causal", i, j), past >= 0);
            CU_ASSERT_EQUAL(INTS("sliding", i, j, 4), past >= 0 && past < 4);
            CU_ASSERT_EQUAL(INTS("local", i, j, 2), abs(past) <= 2);
            CU_ASSERT_EQUAL(INTS("prefix", i, j, 3), past >= 0 || j < 3);
            CU_ASSERT_EQUAL(INTS("first", j, 3), j < 3);
            CU_ASSERT_EQUAL(INTS("sliding_with_sinks", i, j, 3, 2), past >= 0 && (past < 3 || j < 2));
            CU_ASSERT_EQUAL(INTS("dilated", i, j, 3, 2), past == 0 || past == 2 || past == 4);
            CU_ASSERT_EQUAL(INTS("same_block", i, j, 4), i / 4 == j / 4);
            CU_ASSERT_EQUAL(INTS("block_causal", i, j, 4), j / 4 <= i / 4);
            CU_ASSERT_EQUAL(INTS("block_with_halo", i, j, 4, 1), j >= i / 4 * 4 - 1 && j <= i / 4 * 4 + 4);
            int di = i / 5, dj = j / 5;
            CU_ASSERT_EQUAL(INTS("same_document", di, dj), di == dj);
            CU_ASSERT_EQUAL(INTS("causal_document", i, j, di, dj), di == dj && past >= 0);
            CU_ASSERT_EQUAL(INTS("prefix_document", i, j, di, dj, di * 5 + 2),
                            di == dj && (past >= 0 || j % 5 < 2));
            CU_ASSERT_EQUAL(INTS("sliding_document", i, j, di, dj, 2), di == dj && (past == 0 || past == 1));
            CU_ASSERT_EQUAL(INTS("shared_document", i, j, di, dj, 0), past >= 0 && (di == dj || dj == 0));
            CU_ASSERT_EQUAL(INTS("block_causal_document", di, dj), dj <= di);
            CU_ASSERT_EQUAL(INTS("not_padding", di - 1, dj - 1), di > 0 && dj > 0);
        }
}

/* ---- feature maps ---- */

enum { WIDTH = 8 };
static const double q[WIDTH] = {0.5, -1.25, 2, 0.125, -0.75, 1.5, -2, 0.25};
static const double k[WIDTH] = {-1, 0.75, 0.5, -0.25, 1.25, 2, -1.5, 0.375};

static Value map(const char *name, const double *x, int count, const Value *more)
{
    Value arguments[8] = {value_reals(WIDTH, x)};
    for (int i = 0; i < count; i++)
        arguments[i + 1] = more[i];
    return evaluate_def(library.ast, name, arguments, count + 1);
}

static double dot(const Value *a, const Value *b)
{
    double sum = 0;
    CU_ASSERT_EQUAL(a->count, b->count);
    for (int i = 0; i < a->count; i++)
        sum += a->at[i] * b->at[i];
    return sum;
}

static double dot_of(const char *name, int i, int j, Value base, int count)
{
    Value a = map(name, q, count, (Value[]){value_int(i), base}),
          b = map(name, k, count, (Value[]){value_int(j), base});
    return dot(&a, &b);
}

#define CLOSE(a, b) CU_ASSERT_DOUBLE_EQUAL((a), (b), 1e-9)

static void elementwise(void)
{
    Value elu1 = map("elu1", q, 0, NULL), split = map("sign_split", q, 0, NULL);
    CU_ASSERT_EQUAL(split.count, 2 * WIDTH);
    for (int c = 0; c < WIDTH; c++) {
        CLOSE(elu1.at[c], q[c] > 0 ? q[c] + 1 : exp(q[c]));
        CLOSE(split.at[c] - split.at[c + WIDTH], q[c]);
        CU_ASSERT(split.at[c] >= 0 && split.at[c + WIDTH] >= 0);
    }
}

static void norms(void)
{
    Value l2 = map("l2norm", q, 0, NULL), rms = map("rmsnorm", q, 0, NULL),
          standard = map("standardize", q, 0, NULL);
    double sum = 0, mean = 0;
    for (int c = 0; c < WIDTH; c++) {
        sum += q[c] * q[c];
        mean += standard.at[c];
    }
    CU_ASSERT_DOUBLE_EQUAL(dot(&l2, &l2), 1, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(dot(&rms, &rms), WIDTH, 1e-4);
    CLOSE(rms.at[2], q[2] / sqrt(sum / WIDTH + 1e-6));
    CLOSE(mean, 0);
    CU_ASSERT_DOUBLE_EQUAL(dot(&standard, &standard), WIDTH, 1e-4);
    double other[WIDTH] = {0};
    Value zero = map("l2norm", other, 0, NULL);
    CU_ASSERT(zero.at[0] == 0);
}

static void rotary(void)
{
    Value base = value_real(10000);
    static const char *const names[] = {"rope", "rope_interleaved"};
    for (int n = 0; n < 2; n++) {
        Value turned = map(names[n], q, 2, (Value[]){value_int(7), base});
        for (int p = 0; p < WIDTH / 2; p++) {
            int a = n ? 2 * p : p, b = n ? 2 * p + 1 : p + WIDTH / 2;
            double angle = 7 * pow(10000, -2.0 * p / WIDTH);
            CLOSE(turned.at[a], q[a] * cos(angle) - q[b] * sin(angle));
            CLOSE(turned.at[b], q[b] * cos(angle) + q[a] * sin(angle));
        }
        /* Only the distance counts. */
        CLOSE(dot_of(names[n], 3, 11, base, 2), dot_of(names[n], 103, 111, base, 2));
        CU_ASSERT(fabs(dot_of(names[n], 3, 11, base, 2) - dot_of(names[n], 3, 12, base, 2)) > 1e-3);
    }
    Value partial = map("rope_partial", q, 3, (Value[]){value_int(7), base, value_int(4)});
    double angle = 7 * pow(10000, -0.5);
    CLOSE(partial.at[1], q[1] * cos(angle) - q[3] * sin(angle));
    CLOSE(partial.at[3], q[3] * cos(angle) + q[1] * sin(angle));
    for (int c = 4; c < WIDTH; c++)
        CLOSE(partial.at[c], q[c]);
    int place[2] = {5, 9};
    Value two = map("rope2", q, 2, (Value[]){value_ints(2, place), base});
    for (int axis = 0; axis < 2; axis++)
        for (int p = 0; p < 2; p++) {
            int a = axis * 4 + p, b = a + 2;
            double turn = place[axis] * pow(10000, -p / 2.0);
            CLOSE(two.at[a], q[a] * cos(turn) - q[b] * sin(turn));
            CLOSE(two.at[b], q[b] * cos(turn) + q[a] * sin(turn));
        }
}

static void linear_features(void)
{
    Value x = value_reals(WIDTH, q), y = value_reals(WIDTH, k);
    double s = dot(&x, &y);
    Value tx = map("taylor", q, 0, NULL), ty = map("taylor", k, 0, NULL);
    CU_ASSERT_EQUAL(tx.count, INTS("taylor_width", WIDTH));
    CLOSE(dot(&tx, &ty), 1 + s + s * s / 2);

    double direct = 0;
    for (int c = 0; c < WIDTH; c++)
        direct += fmax(q[c], 0) * fmax(k[c], 0) * cos(M_PI / 2 * (3 - 8) / 20.0);
    CLOSE(dot_of("cosformer", 3, 8, value_int(20), 2), direct);

    Value hedgehog = map("hedgehog", q, 0, NULL);
    double all = 0, negated = 0;
    for (int c = 0; c < WIDTH; c++) {
        all += exp(q[c]);
        negated += exp(-q[c]);
    }
    CU_ASSERT_EQUAL(hedgehog.count, 2 * WIDTH);
    CLOSE(hedgehog.at[5], exp(q[5]) / all);
    CLOSE(hedgehog.at[WIDTH + 5], exp(-q[5]) / negated);

    Value sharp = map("focused", q, 1, (Value[]){value_real(3)});
    double before = 0;
    for (int c = 0; c < WIDTH; c++)
        before += (fmax(q[c], 0) + 1e-6) * (fmax(q[c], 0) + 1e-6);
    CLOSE(dot(&sharp, &sharp), before);
    CLOSE(sharp.at[2] / sharp.at[5], pow(2.000001 / 1.500001, 3));

    Value arguments[2] = {value_real(0.25), x};
    CLOSE(evaluate_def(library.ast, "favor", arguments, 2).at[0], exp(0.25 - dot(&x, &x) / 2));
}

void std_suite(void)
{
    CU_pSuite suite = CU_add_suite("std", open_library, close_library);
    CU_add_test(suite, "lines", lines);
    CU_add_test(suite, "neighbors", neighbors);
    CU_add_test(suite, "wide windows", wide_windows);
    CU_add_test(suite, "grids", grids);
    CU_add_test(suite, "elementwise", elementwise);
    CU_add_test(suite, "norms", norms);
    CU_add_test(suite, "rotary", rotary);
    CU_add_test(suite, "linear features", linear_features);
}
