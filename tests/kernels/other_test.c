/* Other normalisers, and the linear family by its recurrences. */
#include "oracle.h"

#define LINE .B = 2, .H = 4, .G = 2, .M = 13, .N = 19, .D = 8, .E = 6, .offset = 6
#define SQUARE .B = 2, .H = 4, .G = 2, .M = 17, .N = 17, .D = 8, .E = 6

static bool causal(const Pair *at) { return at->j <= at->i; }
static double scaled(const Pair *at, double dot) { return dot / sqrt((double)at->p->ref.D); }
static double sigma(double x) { return 1 / (1 + exp(-x)); }

static double sigmoid(const Pair *at, double dot)
{
    return sigma(scaled(at, dot) - log((double)at->p->ref.N));
}
static double sigmoid_alibi(const Pair *at, double dot)
{
    return sigma(scaled(at, dot) - log((double)at->p->ref.N)
                 - input_of(at->p, "slope")[at->h] * (double)(at->i - at->j));
}
static double relu(const Pair *at, double dot) { return fmax(scaled(at, dot), 0) / (double)at->p->ref.N; }
static double distance2(const Pair *at)
{
    double sum = 0;
    for (int64_t c = 0; c < at->p->ref.D; c++)
        sum += (at->q[c] - at->k[c]) * (at->q[c] - at->k[c]);
    return sum;
}
static double gaussian(const Pair *at, double dot) { (void)dot; return exp(-distance2(at) / 2); }
static double gaussian_wide(const Pair *at, double dot)
{
    (void)dot;
    return exp(-distance2(at) / (2 * 1.5 * 1.5));
}
static double laplace(const Pair *at, double dot)
{
    double mu = sqrt(0.5), spread = sqrt(1 / (4 * 3.14159265358979323846));
    return 0.5 * (1 + erf((dot / (double)at->p->ref.N - mu) / (spread * sqrt(2))));
}
static double nonlocal(const Pair *at, double dot) { (void)dot; return -distance2(at) / (2.0 * 2.0); }
static bool patch(const Pair *at)
{
    int64_t width = at->p->ref.n_axis[1];
    return llabs(at->i / width - at->j / width) <= 2 && llabs(at->i % width - at->j % width) <= 2;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* 1.5-entmax in closed form: over the sorted z = t / 2, tau_k = mean_k - sqrt((1 - k var_k) / k), with the
 * largest support k for which tau_k <= z_k. */
static void entmax15(const Problem *p, Expected *expected)
{
    int64_t N = p->ref.N;
    double *z = malloc((size_t)N * sizeof *z), *sorted = malloc((size_t)N * sizeof *z);
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t row = 0; row < p->ref.M; row++) {
                int64_t count = row + p->ref.offset + 1;
                double *o = o_row(p, expected->o, b, h, row), tau = 0, sum = 0, square = 0;
                for (int64_t j = 0; j < count; j++) {
                    double s = 0;
                    for (int64_t c = 0; c < p->ref.D; c++)
                        s += q_row(p, b, h, row)[c] * k_row(p, b, group_of(p, h), j)[c];
                    z[j] = sorted[j] = s / sqrt((double)p->ref.D) / 2;
                }
                qsort(sorted, (size_t)count, sizeof *sorted, descending);
                for (int64_t n = 1; n <= count; n++) {
                    sum += sorted[n - 1];
                    square += sorted[n - 1] * sorted[n - 1];
                    double mean = sum / (double)n, spread = square - (double)n * mean * mean;
                    if (spread > 1)
                        break;
                    double here = mean - sqrt((1 - spread) / (double)n);
                    if (here <= sorted[n - 1])
                        tau = here;
                }
                for (int64_t e = 0; e < p->ref.E; e++)
                    o[e] = 0;
                for (int64_t j = 0; j < count; j++)
                    for (int64_t e = 0; e < p->ref.E && z[j] > tau; e++)
                        o[e] += (z[j] - tau) * (z[j] - tau) * v_row(p, b, group_of(p, h), j)[e];
            }
    free(z);
    free(sorted);
}

/* Linear attention as a recurrence: state[D][E] and norm[D] after each token. -------------------------- */

enum { MOST = 16 };

typedef struct State {
    double kv[MOST][MOST], k[MOST];
} State;

static void state_step(const Problem *p, State *state, double keep, const double *k, const double *v)
{
    for (int64_t c = 0; c < p->ref.D; c++) {
        state->k[c] = keep * state->k[c] + k[c];
        for (int64_t e = 0; e < p->ref.E; e++)
            state->kv[c][e] = keep * state->kv[c][e] + k[c] * v[e];
    }
}

static void identity(const double *x, int64_t width, double *y) { memcpy(y, x, (size_t)width * sizeof *y); }
static void elu1(const double *x, int64_t width, double *y)
{
    for (int64_t c = 0; c < width; c++)
        y[c] = x[c] > 0 ? x[c] + 1 : exp(x[c]);
}
static void silu(const double *x, int64_t width, double *y)
{
    for (int64_t c = 0; c < width; c++)
        y[c] = x[c] * sigma(x[c]);
}

typedef void (*After)(const Problem *p, int64_t b, int64_t h, int64_t i, double normal, double *o);

typedef void (*Map1)(const double *x, int64_t width, double *y);

/* The maps of q and k, and of v. */
static void recurrence(const Problem *p, Expected *expected, Map1 map, Map1 map_v,
                       double (*keep)(const Problem *, int64_t), After finish)
{
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++) {
            static const State empty;
            State state = empty;
            for (int64_t t = 0; t < p->ref.N; t++) {
                double k[MOST], q[MOST], v[MOST], normal = 0;
                map(k_row(p, b, group_of(p, h), t), p->ref.D, k);
                map_v(v_row(p, b, group_of(p, h), t), p->ref.E, v);
                state_step(p, &state, keep(p, h), k, v);
                int64_t row = t - p->ref.offset;
                if (row < 0 || row >= p->ref.M)
                    continue;
                double *o = o_row(p, expected->o, b, h, row);
                map(q_row(p, b, h, row), p->ref.D, q);
                for (int64_t e = 0; e < p->ref.E; e++)
                    o[e] = 0;
                for (int64_t c = 0; c < p->ref.D; c++) {
                    normal += q[c] * state.k[c];
                    for (int64_t e = 0; e < p->ref.E; e++)
                        o[e] += q[c] * state.kv[c][e];
                }
                finish(p, b, h, t, normal, o);
            }
        }
}

static double keep_all(const Problem *p, int64_t h) { (void)p; (void)h; return 1; }
static double keep_by_head(const Problem *p, int64_t h) { return exp(input_of(p, "log_decay")[h]); }
static double keep_slope(const Problem *p, int64_t h) { return exp(-input_of(p, "slope")[h]); }

static void divide(const Problem *p, int64_t b, int64_t h, int64_t i, double normal, double *o)
{
    (void)b, (void)h, (void)i;
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] /= normal;
}
static void scale_row(const Problem *p, int64_t b, int64_t h, int64_t i, double normal, double *o)
{
    (void)b, (void)h, (void)i, (void)normal;
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] /= sqrt((double)p->ref.D);
}
static void norm_and_gate(const Problem *p, int64_t b, int64_t h, int64_t i, double normal, double *o)
{
    double square = 0;
    (void)normal;
    for (int64_t e = 0; e < p->ref.E; e++)
        square += o[e] * o[e];
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] *= input_of(p, "gate")[((b * p->ref.H + h) * p->ref.N + i) * p->ref.E + e]
                / sqrt(square / (double)p->ref.E + 1e-6);
}

static void norm_and_sigmoid(const Problem *p, int64_t b, int64_t h, int64_t i, double normal, double *o)
{
    const double *gate = &input_of(p, "gate")[((b * p->ref.H + h) * p->ref.N + i) * p->ref.E];
    norm_and_gate(p, b, h, i, normal, o);
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] *= sigma(gate[e]) / gate[e];
}

static void linear_elu(const Problem *p, Expected *expected)
{
    recurrence(p, expected, elu1, identity, keep_all, divide);
}
static void retention(const Problem *p, Expected *expected)
{
    recurrence(p, expected, identity, identity, keep_by_head, scale_row);
}
static void lightning(const Problem *p, Expected *expected)
{
    recurrence(p, expected, silu, identity, keep_slope, norm_and_gate);
}
static void minimax(const Problem *p, Expected *expected)
{
    recurrence(p, expected, silu, silu, keep_slope, norm_and_sigmoid);
}

static double rate(const Problem *p, int64_t h) { (void)p; return -0.1 * (double)(h + 1); }
static void rates(Problem *p) { set_input(p, "log_decay", rate); }
static double slope(const Problem *p, int64_t h) { (void)p; return 0.05 * (double)(h + 1); }
static void slopes(Problem *p) { set_input(p, "slope", slope); }

/* exp(w_r . y - |y|^2 / 2) with y = x / D^(1/4); o = phi(q) (sum_j phi(k_j) v_j) / (phi(q) . sum_j
 * phi(k_j)) */
static double random_feature(const Problem *p, int64_t h, int64_t r, const double *x)
{
    const double *omega = input_of(p, "omega") + (h * 5 + r) * p->ref.D;
    double root = pow((double)p->ref.D, 0.25), projection = 0, square = 0;
    for (int64_t c = 0; c < p->ref.D; c++) {
        projection += omega[c] * x[c] / root;
        square += x[c] / root * (x[c] / root);
    }
    return exp(projection - square / 2);
}
static void performer(const Problem *p, Expected *expected)
{
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++) {
            double kv[5][MOST] = {{0}}, k[5] = {0};
            for (int64_t j = 0; j < p->ref.N; j++)
                for (int64_t r = 0; r < 5; r++) {
                    double f = random_feature(p, h, r, k_row(p, b, group_of(p, h), j));
                    k[r] += f;
                    for (int64_t e = 0; e < p->ref.E; e++)
                        kv[r][e] += f * v_row(p, b, group_of(p, h), j)[e];
                }
            for (int64_t row = 0; row < p->ref.M; row++) {
                double *o = o_row(p, expected->o, b, h, row), normal = 0;
                for (int64_t e = 0; e < p->ref.E; e++)
                    o[e] = 0;
                for (int64_t r = 0; r < 5; r++) {
                    double f = random_feature(p, h, r, q_row(p, b, h, row));
                    normal += f * k[r];
                    for (int64_t e = 0; e < p->ref.E; e++)
                        o[e] += f * kv[r][e];
                }
                for (int64_t e = 0; e < p->ref.E; e++)
                    o[e] /= normal;
            }
        }
}

static const KernelCase normalisers[] = {
    {"other/sigmoid", LINE, .oracle = {.weight = sigmoid, .plain_sum = true}},
    {"other/sigmoid_causal", LINE, .oracle = {.visible = causal, .weight = sigmoid_alibi, .plain_sum = true}},
    {"other/relu", LINE, .oracle = {.weight = relu, .plain_sum = true}},
    {"other/gaussian", LINE, .oracle = {.weight = gaussian, .plain_sum = true}},
    {"other/gaussian_sum", .B = 1, .H = 2, .G = 1, .M = 9, .N = 20, .D = 3, .E = 1,
     .settings = {{"sigma", "1.5"}}, .oracle = {.weight = gaussian_wide, .plain_sum = true}},
    {"other/laplace", LINE, .oracle = {.visible = causal, .weight = laplace, .plain_sum = true}},
    {"other/nonlocal_means", .B = 1, .H = 1, .G = 1, .D = 5, .E = 3, .m_axis = {6, 7}, .n_axis = {6, 7},
     .settings = {{"bandwidth", "2"}, {"radius", "2"}}, .oracle = {.visible = patch, .weight = nonlocal}},
    {"other/entmax15", LINE, .own = entmax15},
};

static const KernelCase linear[] = {
    {"linear/linear_elu", SQUARE, .own = linear_elu},
    {"linear/linear_elu", LINE, .own = linear_elu},
    {"linear/retention", LINE, .prepare = rates, .own = retention},
    {"linear/lightning", LINE, .prepare = slopes, .own = lightning},
    {"linear/minimax", LINE, .prepare = slopes, .own = minimax},
    {"linear/performer", LINE, .settings = {{"r", "5"}}, .own = performer},
};

static void test_normalisers(void)
{
    run_kernel_cases(normalisers, sizeof normalisers / sizeof *normalisers);
}
static void test_linear(void) { run_kernel_cases(linear, sizeof linear / sizeof *linear); }

void other_suite(void)
{
    CU_pSuite suite = CU_add_suite("other normalisers", NULL, NULL);
    CU_add_test(suite, "normalisers", test_normalisers);
    CU_add_test(suite, "linear attention", test_linear);
}
