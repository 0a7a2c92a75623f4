/* The linear family in its quadratic form: weights from the papers' formulas, pair by pair. */
#include "oracle.h"

#define LINE .B = 2, .H = 4, .G = 2, .M = 13, .N = 19, .D = 8, .E = 6, .offset = 6
#define SQUARE .B = 2, .H = 4, .G = 2, .M = 17, .N = 17, .D = 8, .E = 6

static bool causal(const Pair *at) { return at->j <= at->i; }
static double sigma(double x) { return 1 / (1 + exp(-x)); }
static double same(const Pair *at, double dot) { (void)at; return dot; }
static double by_sum(const Problem *p, int64_t h, double sum, int64_t count)
{
    (void)p, (void)h, (void)count;
    return sum;
}
static double by_sum_eps(const Problem *p, int64_t h, double sum, int64_t count)
{
    (void)p, (void)h, (void)count;
    return sum + 1e-6;
}

static double length_of(const double *x, int64_t width)
{
    double square = 0;
    for (int64_t c = 0; c < width; c++)
        square += x[c] * x[c];
    return sqrt(square);
}
static void unit(const Problem *p, const double *x, int64_t position, double *y)
{
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] = x[c] / sqrt(length_of(x, p->ref.D) * length_of(x, p->ref.D) + 1e-12);
}
static void positive(const Problem *p, const double *x, int64_t position, double *y)
{
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] = x[c] > 0 ? x[c] : 0;
}
static void elu1(const Problem *p, const double *x, int64_t position, double *y)
{
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] = x[c] > 0 ? x[c] + 1 : exp(x[c]);
}
static void standard(const Problem *p, const double *x, int64_t position, double *y)
{
    double mean = 0, square = 0, width = (double)p->ref.D;
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++)
        mean += x[c] / width;
    for (int64_t c = 0; c < p->ref.D; c++)
        square += (x[c] - mean) * (x[c] - mean) / width;
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] = (x[c] - mean) / sqrt(square + 1e-6);
}
/* relu(x)^3 with the length of relu(x) */
static void focused(const Problem *p, const double *x, int64_t position, double *y)
{
    double raw[16];
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++) {
        raw[c] = (x[c] > 0 ? x[c] : 0) + 1e-6;
        y[c] = raw[c] * raw[c] * raw[c];
    }
    double factor = length_of(raw, p->ref.D) / length_of(y, p->ref.D);
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] *= factor;
}

static double count_power(const Problem *p, int64_t h, double sum, int64_t count)
{
    (void)sum;
    return pow((double)count, sigma(input_of(p, "m")[h]));
}
static double key_power(const Pair *at, double dot)
{
    return dot / pow(at->j > 1 ? (double)at->j : 1, sigma(input_of(at->p, "m")[at->h]));
}
static double cosine(const Pair *at, double dot)
{
    return dot * cos(1.57079632679489661923 * (double)(at->i - at->j) / 40);
}
static double taylor(const Pair *at, double dot) { (void)at; return 1 + dot + dot * dot / 2; }
static double taylor_scaled(const Pair *at, double dot)
{
    return taylor(at, dot / sqrt((double)at->p->ref.D));
}
static double softmax_feature(const double *x, int64_t width, int64_t c, double sign)
{
    double sum = 0;
    for (int64_t n = 0; n < width; n++)
        sum += exp(sign * x[n]);
    return exp(sign * x[c]) / sum;
}
static double hedgehog(const Pair *at, double dot)
{
    int64_t width = at->p->ref.D;
    double s = 0;
    (void)dot;
    for (int64_t c = 0; c < width; c++)
        s += softmax_feature(at->q, width, c, 1) * softmax_feature(at->k, width, c, 1)
            + softmax_feature(at->q, width, c, -1) * softmax_feature(at->k, width, c, -1);
    return s;
}
static double at_least_100(const Problem *p, int64_t h, double sum, int64_t count)
{
    (void)count;
    return (sum > 100 ? sum : 100) / input_of(p, "temperature")[h];
}

/* with x / D^(1/4) for x: sum over 5 frequencies of cos(w.q) cos(w.k) + sin(w.q) sin(w.k) = cos(w.(q - k)) */
static double spectral(const Pair *at, double dot)
{
    double s = 0;
    (void)dot;
    for (int64_t r = 0; r < 5; r++) {
        const double *omega = input_of(at->p, "omega") + (at->h * 5 + r) * at->p->ref.D;
        double phase = 0;
        for (int64_t c = 0; c < at->p->ref.D; c++)
            phase += omega[c] * (at->q[c] - at->k[c]);
        s += cos(phase / pow((double)at->p->ref.D, 0.25));
    }
    return s;
}

static void root_mean_square(const Problem *p, int64_t b, int64_t h, int64_t i, double *o)
{
    double length = length_of(o, p->ref.E);
    (void)b, (void)h, (void)i;
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] /= sqrt(length * length / (double)p->ref.E + 1e-6);
}
static void add_convolved(const Problem *p, int64_t b, int64_t h, int64_t i, double *o)
{
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] += input_of(p, "convolved")[((b * p->ref.H + h) * p->ref.N + i) * p->ref.E + e];
}
static void gate(const Problem *p, int64_t b, int64_t h, int64_t i, double *o)
{
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] *= sigma(input_of(p, "gate")[((b * p->ref.H + h) * p->ref.N + i) * p->ref.E + e]);
}

static double negative(const Problem *p, int64_t n) { (void)p; return -0.03 * (double)(n % 11); }
static double strength(const Problem *p, int64_t n) { (void)p; return 0.2 + 0.05 * (double)(n % 13); }
static void gates(Problem *p)
{
    if (problem_input(p, "log_gate") >= 0)
        set_input(p, "log_gate", negative);
    if (problem_input(p, "beta") >= 0)
        set_input(p, "beta", strength);
}
static double summed_gate(const Pair *at)
{
    double log = 0;
    for (int64_t t = at->j + 1; t <= at->i; t++)
        log += input_of(at->p, "log_gate")[(at->b * at->p->ref.H + at->h) * at->p->ref.N + t];
    return log;
}
static double ssd(const Pair *at, double dot) { return dot * exp(summed_gate(at)); }
static double forgetting(const Pair *at, double dot)
{
    return dot / sqrt((double)at->p->ref.D) + summed_gate(at);
}
static double gated_linear(const Pair *at, double dot)
{
    int64_t D = at->p->ref.D, N = at->p->ref.N;
    double s = 0;
    (void)dot;
    for (int64_t c = 0; c < D; c++) {
        double log = 0;
        for (int64_t t = at->j + 1; t <= at->i; t++)
            log += input_of(at->p, "log_gate")[((at->b * at->p->ref.H + at->h) * N + t) * D + c];
        s += at->q[c] * at->k[c] * exp(log);
    }
    return s / sqrt((double)D);
}

/* With unit x for x: sum over 5 directions of cos(w.(q - k)), what is new against what is kept. */
static double rfa(const Pair *at, double dot)
{
    int64_t D = at->p->ref.D, N = at->p->ref.N;
    const double *gate = input_of(at->p, "gate") + (at->b * at->p->ref.H + at->h) * N;
    double s = 0, norm_q = sqrt(length_of(at->q, D) * length_of(at->q, D) + 1e-12), norm_k = sqrt(length_of(at->k, D) * length_of(at->k, D) + 1e-12);
    (void)dot;
    for (int64_t r = 0; r < 5; r++) {
        const double *omega = input_of(at->p, "omega") + (at->h * 5 + r) * D;
        double phase = 0;
        for (int64_t c = 0; c < D; c++)
            phase += omega[c] * (at->q[c] / norm_q - at->k[c] / norm_k);
        s += cos(phase);
    }
    s *= 1 - sigma(gate[at->j]);
    for (int64_t t = at->j + 1; t <= at->i; t++)
        s *= sigma(gate[t]);
    return s;
}
/* The real part of q conj(k) exp(i theta (i - j)) for pairs of channels as complex numbers, times exp(-slope (i - j)) */
static double transnormer_llm(const Pair *at, double dot)
{
    int64_t half = at->p->ref.D / 2;
    double s = 0, gap = (double)(at->i - at->j), y[2][16];
    (void)dot;
    for (int64_t c = 0; c < at->p->ref.D; c++) {
        y[0][c] = at->q[c] * sigma(at->q[c]);
        y[1][c] = at->k[c] * sigma(at->k[c]);
    }
    for (int64_t c = 0; c < half; c++) {
        double theta = input_of(at->p, "theta")[at->h * at->p->ref.D + c];
        s += (y[0][c] * y[1][c] + y[0][c + half] * y[1][c + half]) * cos(theta * gap);
        s -= (y[0][c + half] * y[1][c] - y[0][c] * y[1][c + half]) * sin(theta * gap);
    }
    return s * exp(-input_of(at->p, "slope")[at->h] * gap);
}
static void norm_and_gate(const Problem *p, int64_t b, int64_t h, int64_t i, double *o)
{
    root_mean_square(p, b, h, i, o);
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] *= input_of(p, "gate")[((b * p->ref.H + h) * p->ref.N + i) * p->ref.E + e];
}
static double regla(const Pair *at, double dot)
{
    int64_t D = at->p->ref.D, N = at->p->ref.N;
    double s = 0, most = -INFINITY, shift = input_of(at->p, "shift")[at->b * at->p->ref.H + at->h];
    (void)dot;
    for (int64_t c = 0; c < D; c++)
        most = fmax(most, at->q[c]);
    for (int64_t c = 0; c < D; c++) {
        double keep = 1;
        for (int64_t t = at->j + 1; t <= at->i; t++) {
            int64_t n = ((at->b * at->p->ref.H + at->h) * N + t) * D + c;
            double g = sigma(input_of(at->p, "gate")[n]), r = sigma(input_of(at->p, "refine")[n]);
            keep *= (1 - r) * g * g + r * (1 - (1 - g) * (1 - g));
        }
        s += exp(at->q[c] - most) * exp(at->k[c] - shift) * keep;
    }
    return s / (exp(1) * sqrt((double)D * (exp(2) - 1)));
}

/* S <- alpha S (I - beta k k^T) + beta v k^T, o = S q, with unit q and k */
static void delta(const Problem *p, Expected *expected)
{
    const double *log_gate = problem_input(p, "log_gate") >= 0 ? input_of(p, "log_gate") : NULL,
                 *beta = input_of(p, "beta");
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++) {
            double S[8][8] = {{0}}, k[8], q[8];
            for (int64_t t = 0; t < p->ref.N; t++) {
                int64_t at = (b * p->ref.H + h) * p->ref.N + t, row = t - p->ref.offset;
                double keep = log_gate ? exp(log_gate[at]) : 1;
                unit(p, k_row(p, b, group_of(p, h), t), t, k);
                for (int64_t e = 0; e < p->ref.E; e++) {
                    double found = 0;
                    for (int64_t c = 0; c < p->ref.D; c++)
                        found += keep * S[e][c] * k[c];
                    for (int64_t c = 0; c < p->ref.D; c++)
                        S[e][c] =
                            keep * S[e][c] + beta[at] * (v_row(p, b, group_of(p, h), t)[e] - found) * k[c];
                }
                if (row < 0 || row >= p->ref.M)
                    continue;
                unit(p, q_row(p, b, h, row), t, q);
                for (int64_t e = 0; e < p->ref.E; e++) {
                    double *o = &o_row(p, expected->o, b, h, row)[e];
                    *o = 0;
                    for (int64_t c = 0; c < p->ref.D; c++)
                        *o += S[e][c] * q[c] / sqrt((double)p->ref.D);
                }
            }
        }
}

static double padding(const Problem *p, int64_t n) { return n % p->ref.N % 7 == 5 ? -1 : 0; }
static void pads(Problem *p) { set_input(p, "doc", padding); }
/* A = g (s - mean) / (std + eps) + b over the keys that are no padding */
static void moments(const Problem *p, Expected *expected)
{
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t i = 0; i < p->ref.M; i++) {
                double *o = o_row(p, expected->o, b, h, i), mean = 0, square = 0, s[32], count = 0;
                const double *q = q_row(p, b, h, i);
                for (int64_t j = 0; j < p->ref.N; j++) {
                    s[j] = 0;
                    for (int64_t c = 0; c < p->ref.D; c++)
                        s[j] += q[c] * k_row(p, b, group_of(p, h), j)[c];
                    if (j % 7 != 5)
                        mean += s[j], count++;
                }
                mean /= count;
                for (int64_t j = 0; j < p->ref.N; j++)
                    square += j % 7 == 5 ? 0 : (s[j] - mean) * (s[j] - mean) / count;
                for (int64_t e = 0; e < p->ref.E; e++) {
                    o[e] = 0;
                    for (int64_t j = 0; j < p->ref.N; j++)
                        o[e] += i % 7 == 5 || j % 7 == 5
                                    ? 0
                                    : v_row(p, b, group_of(p, h), j)[e]
                                          * (input_of(p, "gain")[h] * (s[j] - mean) / (sqrt(square) + 1e-3)
                                             + input_of(p, "bias")[h]);
                }
            }
}

static void best_match(const Problem *p, Expected *expected)
{
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t i = 0; i < p->ref.M; i++) {
                double most = -INFINITY;
                for (int64_t j = 0; j < p->ref.N; j++) {
                    double s = 0;
                    for (int64_t c = 0; c < p->ref.D; c++)
                        s += q_row(p, b, h, i)[c] * k_row(p, b, group_of(p, h), j)[c];
                    most = fmax(most, s);
                }
                o_row(p, expected->o, b, h, i)[0] = most;
            }
}

static bool block6(const Pair *at) { return at->j <= at->i && at->i / 6 == at->j / 6; }

/* blocks of 2, 2 near, every 3rd, the last head sees all */
static bool sharded(const Pair *at)
{
    int64_t bq = at->i / 2, bk = at->j / 2, step = 3 / at->p->ref.G > 1 ? 3 / at->p->ref.G : 1;
    if (at->h == at->p->ref.H - 1)
        return at->j <= at->i;
    return bk <= bq && at->j <= at->i && (bq - bk < 2 || (bk + at->g * step + 1) % 3 == 0);
}

/* sentences of 2, sections of 6, one document; the first of each group is kept on the level above */
static bool kept(int64_t t, int64_t level) { return level == 0 || (level == 1 ? t % 2 == 0 : t % 6 == 0); }
static int64_t group_at(int64_t t, int64_t level) { return level == 0 ? t / 2 : level == 1 ? t / 6 : 0; }
static double keep_value(const Problem *p, int64_t n) { return kept(n / 3 % p->ref.N, n % 3); }
static double group_value(const Problem *p, int64_t n) { return (double)group_at(n / 3 % p->ref.N, n % 3); }
static void levels(Problem *p)
{
    set_input(p, "keep", keep_value);
    set_input(p, "group", group_value);
}
static bool hierarchical(const Pair *at)
{
    for (int64_t level = 0; level < 3; level++)
        if (kept(at->i, level) && kept(at->j, level) && group_at(at->i, level) == group_at(at->j, level))
            return true;
    return false;
}

/* full, causal, inverted, both */
static const int slice_rows[4][5] = {{0, 4, 0, 3, 0}, {4, 9, 3, 9, 1}, {9, 13, 5, 12, 2}, {13, 17, 9, 17, 3}};
static double slice_value(const Problem *p, int64_t n) { (void)p; return slice_rows[n / 5][n % 5]; }
static void slice_inputs(Problem *p) { set_input(p, "slice", slice_value); }
static bool slices(const Pair *at)
{
    int64_t i = at->i, j = at->j;
    if (i < 4)
        return j < 3;
    if (i < 9) /* the last query sees the last key, each one before it one less */
        return j >= 3 && j <= 8 - (8 - i);
    if (i < 13) /* the first query sees all, each one after it begins one later */
        return j >= 5 + (i - 9) && j < 12;
    return j >= 9 + (i - 13) && j <= 16 - (16 - i);
}

static const KernelCase cases[] = {
    {"linear/cottention", LINE,
     .oracle = {.visible = causal, .weight = same, .map = unit, .plain_sum = true, .divisor = count_power}},
    {"linear/cottention_keys", LINE,
     .oracle = {.visible = causal, .weight = key_power, .map = unit, .plain_sum = true}},
    {"linear/cosformer", LINE, .settings = {{"length", "40"}},
     .oracle =
         {.visible = causal, .weight = cosine, .map = positive, .plain_sum = true, .divisor = by_sum_eps}},
    {"linear/norm_attention", LINE,
     .oracle =
         {.visible = causal, .weight = same, .map = elu1, .plain_sum = true, .finish = root_mean_square}},
    {"linear/fastmax", LINE,
     .oracle = {.visible = causal, .weight = taylor, .map = standard, .plain_sum = true, .divisor = by_sum}},
    {"linear/focused", SQUARE,
     .oracle =
         {.weight = same, .map = focused, .plain_sum = true, .divisor = by_sum_eps, .finish = add_convolved}},
    {"linear/l2vit", SQUARE,
     .oracle = {.weight = same, .map = positive, .plain_sum = true, .divisor = at_least_100}},
    {"linear/based", LINE,
     .oracle = {.visible = causal, .weight = taylor_scaled, .plain_sum = true, .divisor = by_sum}},
    {"linear/hedgehog", LINE,
     .oracle = {.visible = causal, .weight = hedgehog, .plain_sum = true, .divisor = by_sum}},
    {"linear/spectral", LINE, .settings = {{"r", "5"}},
     .oracle = {.weight = spectral, .plain_sum = true, .divisor = by_sum}},
    {"linear/rfa", LINE, .settings = {{"r", "5"}},
     .oracle = {.visible = causal, .weight = rfa, .plain_sum = true, .divisor = by_sum}},
    {"linear/transnormer_llm", LINE,
     .oracle = {.visible = causal, .weight = transnormer_llm, .plain_sum = true, .finish = norm_and_gate}},
    {"linear/regla", LINE,
     .oracle = {.visible = causal, .weight = regla, .plain_sum = true, .finish = root_mean_square}},
    {"linear/ssd", LINE, .prepare = gates, .oracle = {.visible = causal, .weight = ssd, .plain_sum = true}},
    {"linear/gated_linear", LINE, .prepare = gates,
     .oracle = {.visible = causal, .weight = gated_linear, .plain_sum = true}},
    {"linear/delta_net", LINE, .prepare = gates, .own = delta},
    {"linear/gated_delta_net", LINE, .prepare = gates, .own = delta},
    {"softmax/forgetting", LINE, .prepare = gates, .oracle = {.visible = causal, .weight = forgetting}},
    {"softmax/gated", LINE, .oracle = {.visible = causal, .finish = gate}},
    {"windowed/diag_attention", LINE, .settings = {{"block", "6"}}, .oracle = {.visible = block6}},
    {"other/moments", SQUARE, .prepare = pads, .own = moments},
    {"other/late_interaction", .B = 2, .H = 2, .G = 1, .M = 5, .N = 19, .D = 8, .E = 1, .own = best_match},
    {"sparse/sharded", SQUARE,
     .settings = {{"block", "2"}, {"near", "2"}, {"stride", "3"}, {"start", "1"}, {"dense", "1"}},
     .oracle = {.visible = sharded}},
    {"documents/hierarchical", SQUARE, .prepare = levels, .oracle = {.visible = hierarchical}},
    {"documents/slices", SQUARE, .settings = {{"r", "4"}}, .prepare = slice_inputs,
     .oracle = {.visible = slices}},
};

static void test_linear(void) { run_kernel_cases(cases, sizeof cases / sizeof *cases); }

void linear_suite(void)
{
    CU_pSuite suite = CU_add_suite("linear family", NULL, NULL);
    CU_add_test(suite, "in quadratic form", test_linear);
}
