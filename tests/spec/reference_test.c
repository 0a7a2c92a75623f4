/* The reference against hand-written loops, where the shipped specs do not reach. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compiler/spec/reference_code.h"
#include "suites.h"
#include "tests/support/problem.h"

enum { B = 2, H = 4, G = 2, N = 11, D = 5, E = 3 };

static Problem *make(const char *text, int64_t M, int64_t offset)
{
    Problem *p = problem_create("test", text, NULL, 0);
    if (!p->spec)
        fputs(diag_to_text(p->diag), stderr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
    p->ref = (RefProblem){.B = B, .H = H, .G = G, .M = M, .N = N, .D = D, .E = E, .offset = offset};
    problem_fill(p, ELEM_TYPE_F32, 3);
    return p;
}

static void run(Problem *p) { CU_ASSERT_FATAL(problem_run(p, true, ELEM_TYPE_F32)); }

static bool near(double a, double b) { return a == b || fabs(a - b) <= 1e-10 * (1 + fabs(b)); }

static double *o_at(const Problem *p, int64_t b, int64_t h, int64_t row)
{
    return p->o + ((b * H + h) * p->ref.M + row) * problem_out_width(p);
}
static const double *q_at(const Problem *p, int64_t b, int64_t h, int64_t row)
{
    return p->q + ((b * H + h) * p->ref.M + row) * D;
}
static const double *k_at(const Problem *p, int64_t b, int64_t h, int64_t j)
{
    return p->k + ((b * G + h / (H / G)) * N + j) * D;
}
static const double *v_at(const Problem *p, int64_t b, int64_t h, int64_t j)
{
    return p->v + ((b * G + h / (H / G)) * N + j) * E;
}
static double similarity(const Problem *p, int64_t b, int64_t h, int64_t row, int64_t j)
{
    double sum = 0;
    for (int c = 0; c < D; c++)
        sum += q_at(p, b, h, row)[c] * k_at(p, b, h, j)[c];
    return sum;
}

/* o_i = S_i q_i with S[e][c] after each token:  S <- S diag(keep) (I - beta k k^T) + beta v k^T.
 * ---------------- */

static void delta_recurrence(const Problem *p, const double *log_keep, int keep_width, const double *beta,
                             double *out)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++) {
            double S[E][D] = {{0}};
            for (int64_t t = 0; t < N; t++) {
                const double *k = k_at(p, b, h, t), *v = v_at(p, b, h, t);
                double strength = beta ? beta[(b * H + h) * N + t] : 1;
                for (int e = 0; e < E; e++) {
                    double erased = 0;
                    for (int c = 0; c < D; c++) {
                        if (log_keep)
                            S[e][c] *=
                                exp(log_keep[((b * H + h) * N + t) * keep_width + (keep_width > 1 ? c : 0)]);
                        erased += S[e][c] * k[c];
                    }
                    for (int c = 0; c < D; c++)
                        S[e][c] += strength * (v[e] - (beta ? erased : 0)) * k[c];
                }
                if (t < p->ref.offset || t - p->ref.offset >= p->ref.M)
                    continue;
                for (int e = 0; e < E; e++) {
                    double sum = 0;
                    for (int c = 0; c < D; c++)
                        sum += S[e][c] * q_at(p, b, h, t - p->ref.offset)[c];
                    out[((b * H + h) * p->ref.M + t - p->ref.offset) * E + e] = sum;
                }
            }
        }
}

/* Negative log factors, strengths in (0, 1). */
static void make_gates(Problem *p)
{
    for (int n = 0; n < p->spec->input_count; n++)
        for (int64_t at = 0; at < problem_input_count(p, n); at++)
            problem_set(p, n, at,
                        strcmp(p->spec->inputs[n].name, "beta") ? -fabs(p->inputs[n][at])
                                                                : 1 / (1 + fabs(p->inputs[n][at])));
}

static void recurrences(void)
{
    static const struct { const char *decay; const char *log_keep, *beta; } rows[] = {
        {"exp(gate[t])", "gate", NULL},
        {"exp(wide[t])", "wide", NULL},
        {"delta(beta = beta[t])", NULL, "beta"},
        {"delta(exp(gate[t]), beta = beta[t])", "gate", "beta"},
        {"delta(exp(wide[t]), beta = beta[t])", "wide", "beta"},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        for (int64_t M = N; M > 3; M -= 4) {
            char text[300];
            snprintf(
                text, sizeof text,
                "attention a { input gate[b, h, t]: f32 input wide[b, h, t, d]: f32 input beta[b, h, t]: f32"
                " mask j <= i score s normalize none decay %s }",
                rows[n].decay);
            Problem *p = make(text, M, N - M);
            make_gates(p);
            run(p);
            double expected[B * H * N * E];
            const double *keep = rows[n].log_keep ? p->inputs[problem_input(p, rows[n].log_keep)] : NULL;
            bool wide = rows[n].log_keep && rows[n].log_keep[0] == 'w';
            delta_recurrence(p, keep, wide ? D : 1, rows[n].beta ? p->inputs[problem_input(p, "beta")] : NULL,
                             expected);
            int wrong = 0;
            for (int64_t at = 0; at < B * H * M * E; at++)
                wrong += !near(p->o[at], expected[at]);
            CU_ASSERT_EQUAL(wrong, 0);
            /* a plain run is near, but not the same */
            double error = 0, size = 0;
            CU_ASSERT(problem_run(p, false, ELEM_TYPE_F32));
            for (int64_t at = 0; at < B * H * M * E; at++) {
                error = fmax(error, fabs(p->o[at] - expected[at]));
                size = fmax(size, fabs(expected[at]));
            }
            CU_ASSERT(error > 0 && error < 1e-5 * size);
            problem_destroy(p);
        }
}

/* A decay under softmax is added to the scores. */
static void forgetting(void)
{
    Problem *p =
        make("attention a { input gate[b, h, t]: f32 mask j <= i decay exp(gate[t]) return lse }", 6, 5);
    make_gates(p);
    run(p);
    int wrong = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t row = 0; row < 6; row++) {
                double sum = 0, total[E] = {0};
                for (int64_t j = 0; j <= row + 5; j++) {
                    double score = similarity(p, b, h, row, j) / sqrt(D);
                    for (int64_t t = j + 1; t <= row + 5; t++)
                        score += p->inputs[0][(b * H + h) * N + t];
                    sum += exp(score);
                    for (int e = 0; e < E; e++)
                        total[e] += exp(score) * v_at(p, b, h, j)[e];
                }
                for (int e = 0; e < E; e++)
                    wrong += !near(o_at(p, b, h, row)[e], total[e] / sum);
                wrong += !near(p->returns[RETURN_LSE][(b * H + h) * 6 + row], log(sum));
                wrong += !near(p->returns[RETURN_MAX][(b * H + h) * 6 + row]
                                   + log(p->returns[RETURN_SUM][(b * H + h) * 6 + row]),
                               log(sum));
            }
    CU_ASSERT_EQUAL(wrong, 0);
    problem_destroy(p);
}

/* Normalisers over A = { j : j <= i }. ----------------------------------------------------------------- */

typedef void (*Weights)(const double *t, int64_t count, double *w);

static void weights_sum(const double *t, int64_t count, double *w)
{
    double sum = 0.25;
    for (int64_t j = 0; j < count; j++)
        sum += t[j];
    for (int64_t j = 0; j < count; j++)
        w[j] = t[j] / (sum < 0.5 ? 0.5 : sum);
}
static void weights_magnitude(const double *t, int64_t count, double *w)
{
    double sum = 0;
    for (int64_t j = 0; j < count; j++)
        sum += t[j];
    for (int64_t j = 0; j < count; j++)
        w[j] = t[j] / (fabs(sum) + 0.25 < 0.5 ? 0.5 : fabs(sum) + 0.25);
}
static void weights_count(const double *t, int64_t count, double *w)
{
    for (int64_t j = 0; j < count; j++)
        w[j] = t[j] / pow((double)count, 0.3);
}
static void weights_moments(const double *t, int64_t count, double *w)
{
    double mean = 0, square = 0;
    for (int64_t j = 0; j < count; j++)
        mean += t[j] / (double)count;
    for (int64_t j = 0; j < count; j++)
        square += (t[j] - mean) * (t[j] - mean) / (double)count;
    for (int64_t j = 0; j < count; j++)
        w[j] = 2 * (t[j] - mean) / (sqrt(square) + 0.125) + 3;
}
static void weights_sparsemax(const double *t, int64_t count, double *w)
{
    /* tau by trying every support: the right one is consistent with itself */
    for (int64_t support = 1; support <= count; support++) {
        double sorted[N], tau = -1;
        memcpy(sorted, t, (size_t)count * sizeof *t);
        for (int64_t a = 0; a < count; a++)
            for (int64_t b = a + 1; b < count; b++)
                if (sorted[b] > sorted[a]) {
                    double swap = sorted[a];
                    sorted[a] = sorted[b];
                    sorted[b] = swap;
                }
        for (int64_t j = 0; j < support; j++)
            tau += sorted[j];
        tau /= (double)support;
        bool right = sorted[support - 1] > tau && (support == count || sorted[support] <= tau);
        if (!right)
            continue;
        for (int64_t j = 0; j < count; j++)
            w[j] = t[j] > tau ? t[j] - tau : 0;
        return;
    }
}

static void normalisers(void)
{
    static const struct { const char *text; Weights weights; } rows[] = {
        {"sum(eps = 0.25, min = 0.5)", weights_sum},
        {"magnitude(eps = 0.25, min = 0.5)", weights_magnitude},
        {"count(0.3)", weights_count},
        {"moments(eps = 0.125, gain = 2, bias = 3)", weights_moments},
        {"entmax(2)", weights_sparsemax},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        char text[200];
        snprintf(text, sizeof text, "attention a { mask j <= i score s normalize %s }", rows[n].text);
        Problem *p = make(text, N, 0);
        run(p);
        int wrong = 0;
        for (int64_t b = 0; b < B; b++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t i = 0; i < N; i++) {
                    double t[N], w[N], o[E] = {0};
                    for (int64_t j = 0; j <= i; j++)
                        t[j] = similarity(p, b, h, i, j);
                    rows[n].weights(t, i + 1, w);
                    for (int64_t j = 0; j <= i; j++)
                        for (int e = 0; e < E; e++)
                            o[e] += w[j] * v_at(p, b, h, j)[e];
                    for (int e = 0; e < E; e++)
                        wrong += !near(o_at(p, b, h, i)[e], o[e]);
                }
        CU_ASSERT_EQUAL(wrong, 0);
        problem_destroy(p);
    }
    Problem *p = make("attention a { mask j <= i score s normalize max }", N, 0);
    run(p);
    for (int64_t i = 0; i < N; i++) {
        double most = -INFINITY;
        for (int64_t j = 0; j <= i; j++)
            most = fmax(most, similarity(p, 1, 3, i, j));
        CU_ASSERT(near(o_at(p, 1, 3, i)[0], most));
    }
    problem_destroy(p);
}

/* Rows, sequences, edges. ------------------------------------------------------------------------------ */

static void empty_rows(void)
{
    Problem *p =
        make("attention a { input z[h]: f32 mask j < i - 2 normalize softmax(z[h]) output o + 1 return lse }",
             N, 0);
    run(p);
    for (int64_t row = 0; row < 3; row++) {
        for (int e = 0; e < E; e++)
            CU_ASSERT_EQUAL(o_at(p, 0, 0, row)[e], 0);
        CU_ASSERT_EQUAL(p->returns[RETURN_LSE][row], -INFINITY);
        CU_ASSERT_EQUAL(p->returns[RETURN_MAX][row], -INFINITY);
        CU_ASSERT_EQUAL(p->returns[RETURN_SUM][row], 0);
    }
    CU_ASSERT(o_at(p, 0, 0, 3)[0] != 0 && isfinite(p->returns[RETURN_LSE][3]));
    problem_destroy(p);
    p = make("attention a { mask false normalize sum }", N, 0);
    run(p);
    for (int64_t n = 0; n < B * H * N * E; n++)
        CU_ASSERT_EQUAL(p->o[n], 0);
    problem_destroy(p);
    /* every score -inf: like an empty row */
    p = make("attention a { score -inf return lse }", 2, 0);
    run(p);
    CU_ASSERT_EQUAL(p->o[0], 0);
    CU_ASSERT_EQUAL(p->returns[RETURN_LSE][0], -INFINITY);
    problem_destroy(p);
}

/* A ragged launch is one launch a sequence. */
static void ragged(void)
{
    static const char *text =
        "attention a { input doc[b, t]: i32 input gain[b, i]: f32 input hot[b]: f32 param w: int = 3"
        " feature q, k = x * cos(t * 0.1) mask j <= i and (doc[i] == doc[j] or i - j < w) score s * hot[b] + "
        "gain[i] * j / N }";
    static const int32_t cu_q[] = {0, 4, 4, 9}, cu_k[] = {0, 6, 8, 15};
    Problem *all = problem_create("test", text, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(all->spec);
    all->ref =
        (RefProblem){.B = 3, .H = H, .G = G, .M = 5, .N = 7, .D = D, .E = E, .cu_q = cu_q, .cu_k = cu_k};
    problem_fill(all, ELEM_TYPE_F32, 5);
    for (int64_t t = 0; t < 15; t++)
        problem_set(all, 0, t, (double)(t / 3));
    run(all);
    int compared = 0, wrong = 0;
    for (int64_t b = 0; b < 3; b++) {
        Problem *one = problem_create("test", text, NULL, 0);
        one->ref = (RefProblem){
            .B = 1, .H = H, .G = G, .M = cu_q[b + 1] - cu_q[b], .N = cu_k[b + 1] - cu_k[b], .D = D, .E = E};
        problem_fill(one, ELEM_TYPE_F32, 5);
        for (int64_t h = 0; h < H; h++)
            for (int64_t row = 0; row < one->ref.M * D; row++)
                ((float *)one->ref.q.data)[h * one->ref.M * D + row] =
                    (float)all->q[(h * 9 + cu_q[b]) * D + row];
        for (int64_t g = 0; g < G; g++)
            for (int64_t row = 0; row < one->ref.N; row++) {
                for (int c = 0; c < D; c++)
                    ((float *)one->ref.k.data)[(g * one->ref.N + row) * D + c] =
                        (float)all->k[(g * 15 + cu_k[b] + row) * D + c];
                for (int e = 0; e < E; e++)
                    ((float *)one->ref.v.data)[(g * one->ref.N + row) * E + e] =
                        (float)all->v[(g * 15 + cu_k[b] + row) * E + e];
            }
        for (int64_t t = 0; t < one->ref.N; t++)
            problem_set(one, 0, t, all->inputs[0][cu_k[b] + t]);
        for (int64_t row = 0; row < one->ref.M; row++)
            problem_set(one, 1, row, all->inputs[1][cu_q[b] + row]);
        problem_set(one, 2, 0, all->inputs[2][b]);
        run(one);
        for (int64_t h = 0; h < H; h++)
            for (int64_t n = 0; n < one->ref.M * E; n++, compared++)
                wrong += !near(all->o[(h * 9 + cu_q[b]) * E + n], one->o[h * one->ref.M * E + n]);
        problem_destroy(one);
    }
    CU_ASSERT_EQUAL(compared, 9 * H * E);
    CU_ASSERT_EQUAL(wrong, 0);
    problem_destroy(all);
}

/* Rows of a DIM_I input are counted from the first query; reads outside an input give 0. */
static void addresses(void)
{
    Problem *p = make("attention a { input row[i]: f32 input key[g, j]: f32 input few[3]: f32 mask i == j"
                      " score row[i] + key[j] + few[j] normalize none }", 4, 6);
    run(p);
    int wrong = 0;
    for (int64_t h = 0; h < H; h++)
        for (int64_t row = 0; row < 4; row++)
            wrong += !near(o_at(p, 1, h, row)[0], (p->inputs[0][row] + p->inputs[1][h / 2 * N + row + 6])
                                                      * v_at(p, 1, h, row + 6)[0]);
    CU_ASSERT_EQUAL(wrong, 0);
    problem_destroy(p);
    p = make("attention a { input few[3]: f32 mask i == j score 1 + few[j - 1] normalize none }", N, 0);
    run(p);
    for (int64_t i = 0; i < N; i++)
        CU_ASSERT(near(o_at(p, 0, 0, i)[1],
                       (1 + (i >= 1 && i < 4 ? p->inputs[0][i - 1] : 0)) * v_at(p, 0, 0, i)[1]));
    problem_destroy(p);
}

/* Feature maps that change widths, look back and differ by query head. */
static void features(void)
{
    Problem *p =
        make("attention a { input w[h, r, d]: f32 param const r: int = 7 feature q, k [r] = dot(w[h, r], x)"
             " feature v = concat(x, shift(x, 2)) mask j <= i score s normalize none }",
             N, 0);
    run(p);
    CU_ASSERT_EQUAL(problem_out_width(p), 2 * E);
    int wrong = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < N; i++) {
                double o[2 * E] = {0};
                for (int64_t j = 0; j <= i; j++) {
                    double s = 0;
                    for (int r = 0; r < 7; r++) {
                        double a = 0, c = 0;
                        for (int d = 0; d < D; d++) {
                            a += p->inputs[0][(h * 7 + r) * D + d] * q_at(p, b, h, i)[d];
                            c += p->inputs[0][(h * 7 + r) * D + d] * k_at(p, b, h, j)[d];
                        }
                        s += a * c;
                    }
                    for (int e = 0; e < E; e++) {
                        o[e] += s * v_at(p, b, h, j)[e];
                        o[E + e] += j >= 2 ? s * v_at(p, b, h, j - 2)[e] : 0;
                    }
                }
                for (int e = 0; e < 2 * E; e++)
                    wrong += !near(o_at(p, b, h, i)[e], o[e]);
            }
    CU_ASSERT_EQUAL(wrong, 0);
    problem_destroy(p);
}

/* Only every third row is written. */
static void some_rows(void)
{
    Problem *p = make("attention a { }", N, 0);
    for (int64_t n = 0; n < B * H * N * E; n++)
        p->o[n] = NAN;
    RefResult result = {.o = p->o};
    CU_ASSERT_FATAL(reference_run(p->spec, &p->ref, true, ELEM_TYPE_F32, 3, &result));
    for (int64_t row = 0; row < B * H * N; row++)
        CU_ASSERT_EQUAL(isnan(p->o[row * E]) != 0, row % N % 3 != 0);
    problem_destroy(p);
}

/* Expressions ------------------------------------------------------------------------------------------ */

static ExprValue leaf(void *user, const Expr *e, const ExprValue *args)
{
    const Problem *p = user;
    ExprValue value = {0};
    if (e->op == EXPR_VAR)
        switch (e->index) {
        case VAR_H: value.i = 1; break;
        case VAR_I0: value.i = 7; break;
        case VAR_J0: value.i = 0; break;
        case VAR_SIZE_D: value.i = D; break;
        case VAR_SIZE_N: value.i = 1; break;
        case VAR_S: value.f = similarity(p, 0, 1, 0, 0); break;
        default: CU_FAIL("a leaf that was not meant"); break;
        }
    else if (e->op == EXPR_ELEM)
        value.f = e->index == ELEM_Q ? q_at(p, 0, 1, 0)[args[0].i] : k_at(p, 0, 1, 0)[args[0].i];
    else if (e->op == EXPR_PARAM)
        value = p->ref.params[e->index];
    return value;
}

/* One query, one key, v = 1: o is the score, by the lanes' code and by the evaluator. */
static void expressions(void)
{
    static const char *const scores[] = {
        "s",
        "i + h * 3",
        "-7 / 2 + 7 / -2 + -7 % 3 + i % -4",
        "n / 3 + n % 3 - (0 - n) / 3 + (0 - n) % 3",
        "exp(s) + exp2(s) + log(abs(s)) + log2(abs(s) + 1)",
        "sqrt(abs(s)) + rsqrt(abs(s)) + sin(s) + cos(s) + tan(s)",
        "tanh(s) + sigmoid(s) + sigmoid(-30 * s) + erf(s)",
        "floor(s * 3) + ceil(s * 3) + int(s * 10) + float(i)",
        "min(s, 0.5, i) + max(i, 3, h) + abs(h - i) + sign(s) + sign(3 - i)",
        "relu(s) + elu(s) + silu(s) + gelu(s) + softplus(s) + laplace(s) + square(s) + leaky_relu(s, 0.1)",
        "log1p(abs(s)) + 1e6 * log1p(1e-7 * s)",
        "elu(-s) + softplus(40 * s) + softplus(-40 * s)",
        "clamp(s, -0.1, 0.1) + clamp(i, 2, 5)",
        "2 ^ 3 + s ^ 2 + 2 ^ -1 + n ^ 2 + i ^ 0.5",
        "if s > 0 and i != 3 or not f then s else i",
        "(if f == (i > 3) then 1 else 0) + (if f != (i > 3) then 2 else 0)",
        "dot(q, k) + norm(q) + norm1(k) + norm2(q - k) + sum(q * k) + mean(q) + max(q) + min(k)",
        "sum(c in 0..D, q[c] * sum(d in c..D, k[d]))",
        "max(c in 1..D, q[c] - k[c - 1]) + min(c in 0..2, q[c])",
        "mean(c in 0..3, c * s) + prod(c in 1..5, c)",
        "if all(c in 0..D, q[c] > -9) and any(c in 0..D, k[c] > 0) then s else 2 * s",
        "dot(softmax(q), softmax(concat(k)))",
        "sum(vector(c in 0..2 * D, concat(q, k)[2 * D - 1 - c] * c)) + width(concat(q, q, k))",
        "let u = s * s in let w = u + 1 in u * w",
        "inf - inf == s",
    };
    for (size_t n = 0; n < sizeof scores / sizeof *scores; n++) {
        char text[400];
        bool truth = strstr(scores[n], "inf") != NULL;
        snprintf(text, sizeof text,
                 "attention a { param n: int = 17 param f: bool = true score %s%s%s + 0 * n + (if f then 0 "
                 "else 1) normalize none }",
                 truth ? "if " : "(", scores[n], truth ? " then 1 else 2" : ")");
        Problem *p = problem_create("test", text, NULL, 0);
        if (!p->spec)
            fputs(diag_to_text(p->diag), stderr);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
        p->ref = (RefProblem){.B = 1, .H = 4, .G = 2, .M = 1, .N = 1, .D = D, .E = 1, .offset = 7};
        problem_fill(p, ELEM_TYPE_F32, n);
        store_element((void *)p->ref.v.data, ELEM_TYPE_F32, 0, 1);
        run(p);
        ExprEval eval = {p, leaf, false};
        double expected = expr_eval(&eval, p->spec->score).f;
        if (!near(p->o[1], expected))
            fprintf(stderr, "%s: %g, not %g\n", scores[n], p->o[1], expected);
        CU_ASSERT(near(p->o[1], expected));
        problem_destroy(p);
    }
}

static void rounding(void)
{
    Random random = {9};
    uint16_t bits;
    float f;
    for (int n = 0; n < 20000; n++) {
        double value = ldexp(random_normal(&random), (int)random_below(&random, 60) - 40);
        if (n % 7 == 0)
            value = ldexp(nearbyint(value * 512), -9); /* ties */
        store_element(&bits, ELEM_TYPE_BF16, 0, value);
        CU_ASSERT_EQUAL(ref_round(value, ELEM_TYPE_BF16), ref_load(&bits, ELEM_TYPE_BF16, 0));
        store_element(&bits, ELEM_TYPE_F16, 0, value);
        CU_ASSERT_EQUAL(ref_round(value, ELEM_TYPE_F16), ref_load(&bits, ELEM_TYPE_F16, 0));
        store_element(&f, ELEM_TYPE_F32, 0, value);
        CU_ASSERT_EQUAL(ref_round(value, ELEM_TYPE_F32), f);
    }
    CU_ASSERT_EQUAL(ref_round(65519, ELEM_TYPE_F16), 65504);
    CU_ASSERT_EQUAL(ref_round(65520, ELEM_TYPE_F16), INFINITY);
    CU_ASSERT_EQUAL(ref_round(1.00390625, ELEM_TYPE_BF16), 1);         /* a tie, to even */
    CU_ASSERT_EQUAL(ref_round(1.01171875, ELEM_TYPE_BF16), 1.015625);
}

void reference_suite(void)
{
    CU_pSuite suite = CU_add_suite("reference", NULL, NULL);
    CU_add_test(suite, "decays and delta rules by recurrence", recurrences);
    CU_add_test(suite, "decay under softmax", forgetting);
    CU_add_test(suite, "normalisers", normalisers);
    CU_add_test(suite, "empty rows", empty_rows);
    CU_add_test(suite, "ragged", ragged);
    CU_add_test(suite, "addresses", addresses);
    CU_add_test(suite, "features", features);
    CU_add_test(suite, "some rows", some_rows);
    CU_add_test(suite, "expressions as evaluated", expressions);
    CU_add_test(suite, "rounding", rounding);
}
