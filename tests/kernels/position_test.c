/* Positions in scores and features. */
#include "oracle.h"

#define LINE .B = 2, .H = 4, .G = 2, .M = 13, .N = 19, .D = 8, .E = 6, .offset = 6
#define LONG .B = 1, .H = 2, .G = 1, .M = 60, .N = 90, .D = 4, .E = 4, .offset = 30

static bool causal(const Pair *at) { return at->j <= at->i; }
static double scaled(const Pair *at, double dot) { return dot / sqrt((double)at->p->ref.D); }

static double document_value(const Problem *p, int64_t n) { return n % p->ref.N < 7 ? 0 : 1; }
static void documents(Problem *p) { set_input(p, "doc", document_value); }
static bool causal_document(const Pair *at) { return at->j <= at->i && (at->i < 7) == (at->j < 7); }

static double alibi(const Pair *at, double dot)
{
    return scaled(at, dot) - input_of(at->p, "slope")[at->h] * (double)(at->i - at->j);
}

static double positive(const Problem *p, int64_t n) { (void)p; return 0.25 + 0.5 * (double)n; }
static void kerple_inputs(Problem *p)
{
    set_input(p, "a", positive);
    set_input(p, problem_input(p, "bend") >= 0 ? "bend" : "power", positive);
}
static double kerple_log(const Pair *at, double dot)
{
    return scaled(at, dot)
           - input_of(at->p, "a")[at->h]
                 * log(1 + input_of(at->p, "bend")[at->h] * fabs((double)(at->i - at->j)));
}
static double kerple_power(const Pair *at, double dot)
{
    return scaled(at, dot)
           - input_of(at->p, "a")[at->h]
                 * pow(fabs((double)(at->i - at->j)), input_of(at->p, "power")[at->h]);
}

/* The bucket of T5: exact for small distances, logarithmic above. */
static int64_t t5_bucket(int64_t distance, int64_t buckets, int64_t max_distance)
{
    int64_t exact = buckets / 2;
    if (distance < exact)
        return distance;
    double steps = log((double)distance / (double)exact) / log((double)max_distance / (double)exact)
                   * (double)(buckets - exact);
    int64_t bucket = exact + (int64_t)steps;
    return bucket < buckets - 1 ? bucket : buckets - 1;
}
static double t5(const Pair *at, double dot)
{
    return dot + input_of(at->p, "bias")[at->h * 8 + t5_bucket(at->i - at->j, 8, 40)];
}
static double t5_both(const Pair *at, double dot)
{
    int64_t bucket = t5_bucket(llabs(at->i - at->j), 4, 40);
    return dot + input_of(at->p, "bias")[at->h * 8 + (at->j > at->i ? 4 : 0) + bucket];
}
static double relative(const Pair *at, double dot)
{
    int64_t distance = at->i - at->j, reach = 5;
    distance = distance > reach ? reach : distance < -reach ? -reach : distance;
    return scaled(at, dot) + input_of(at->p, "bias")[at->h * 11 + distance + reach];
}

static void turn(const double *x, double *y, int64_t pair, int64_t other, double angle)
{
    y[pair] = x[pair] * cos(angle) - x[other] * sin(angle);
    y[other] = x[other] * cos(angle) + x[pair] * sin(angle);
}
static void rope(const Problem *p, const double *x, int64_t position, double *y)
{
    int64_t half = p->ref.D / 2;
    for (int64_t c = 0; c < half; c++)
        turn(x, y, c, c + half, (double)position * pow(1000, -(double)c / (double)half));
}
/* Only the first half of the channels turns. */
static void rope_half(const Problem *p, const double *x, int64_t position, double *y)
{
    int64_t quarter = p->ref.D / 4;
    for (int64_t c = 0; c < quarter; c++)
        turn(x, y, c, c + quarter, (double)position * pow(1000, -(double)c / (double)quarter));
    for (int64_t c = 2 * quarter; c < p->ref.D; c++)
        y[c] = x[c];
}
static void rope2d(const Problem *p, const double *x, int64_t position, double *y)
{
    int64_t quarter = p->ref.D / 4, width = p->ref.m_axis[1];
    for (int64_t c = 0; c < quarter; c++) {
        double rate = pow(50, -(double)c / (double)quarter);
        turn(x, y, c, c + quarter, (double)(position / width) * rate);
        turn(x, y, 2 * quarter + c, 3 * quarter + c, (double)(position % width) * rate);
    }
}
static bool chunk7(const Pair *at) { return at->j <= at->i && at->i / 7 == at->j / 7; }

/* 4 tokens in front, then windows of 5; place[t] = (t / 3, 0.5 t) */
static double place(const Problem *p, int64_t n)
{
    int64_t t = n / 2 % p->ref.N;
    return n % 2 ? 0.5 * (double)t : (double)(t / 3);
}
static void places(Problem *p) { set_input(p, "place", place); }
static void rope_places(const Problem *p, const double *x, int64_t position, double *y)
{
    int64_t quarter = p->ref.D / 4;
    for (int64_t c = 0; c < quarter; c++) {
        double rate = pow(1000, -(double)c / (double)quarter);
        turn(x, y, c, c + quarter, (double)(position / 3) * rate);
        turn(x, y, 2 * quarter + c, 3 * quarter + c, 0.5 * (double)position * rate);
    }
}
static bool scale_dit(const Pair *at)
{
    if (at->i < 4)
        return at->j < 4;
    return at->j < 4 || (at->i - 4) / 5 == (at->j - 4) / 5;
}

static const KernelCase cases[] = {
    {"position/alibi", LINE, .oracle = {.visible = causal, .weight = alibi}},
    {"position/alibi_documents", .B = 2, .H = 4, .G = 2, .M = 19, .N = 19, .D = 8, .E = 6,
     .prepare = documents, .oracle = {.visible = causal_document, .weight = alibi}},
    {"position/kerple_log", LINE, .prepare = kerple_inputs,
     .oracle = {.visible = causal, .weight = kerple_log}},
    {"position/kerple_power", LINE, .prepare = kerple_inputs,
     .oracle = {.visible = causal, .weight = kerple_power}},
    {"position/t5_bias", LONG, .settings = {{"buckets", "8"}, {"max_distance", "40"}},
     .oracle = {.visible = causal, .weight = t5}},
    {"position/t5_bias_bidirectional", LONG, .settings = {{"buckets", "8"}, {"max_distance", "40"}},
     .oracle = {.weight = t5_both}},
    {"position/relative_bias", LINE, .settings = {{"reach", "5"}}, .oracle = {.weight = relative}},
    {"position/rope", LINE, .settings = {{"theta", "1000"}}, .oracle = {.visible = causal, .map = rope}},
    {"position/rope_half", LINE, .settings = {{"theta", "1000"}},
     .oracle = {.visible = causal, .map = rope_half}},
    {"position/rope2d", .B = 1, .H = 2, .G = 2, .D = 12, .E = 5, .m_axis = {4, 5}, .n_axis = {4, 5},
     .settings = {{"theta", "50"}}, .oracle = {.map = rope2d}},
    {"windowed/chunk_causal", LINE, .settings = {{"chunk", "7"}, {"theta", "1000"}},
     .oracle = {.visible = chunk7, .map = rope}},
    {"windowed/scale_dit", .B = 2, .H = 2, .G = 2, .M = 19, .N = 19, .D = 8, .E = 4, .prepare = places,
     .settings = {{"front", "4"}, {"window", "5"}, {"theta", "1000"}},
     .oracle = {.visible = scale_dit, .map = rope_places}},
};

static void test_positions(void) { run_kernel_cases(cases, sizeof cases / sizeof *cases); }

void position_suite(void)
{
    CU_pSuite suite = CU_add_suite("positions", NULL, NULL);
    CU_add_test(suite, "biases and rotations", test_positions);
}
