/* Running a shipped spec and comparing it with an oracle. */
#include "oracle.h"

#include <stdio.h>

int64_t group_of(const Problem *p, int64_t h) { return h / (p->ref.H / p->ref.G); }

const double *q_row(const Problem *p, int64_t b, int64_t h, int64_t row)
{
    return p->q + ((b * p->ref.H + h) * p->ref.M + row) * p->ref.D;
}

const double *k_row(const Problem *p, int64_t b, int64_t g, int64_t j)
{
    return p->k + ((b * p->ref.G + g) * p->ref.N + j) * p->ref.D;
}

const double *v_row(const Problem *p, int64_t b, int64_t g, int64_t j)
{
    return p->v + ((b * p->ref.G + g) * p->ref.N + j) * p->ref.E;
}

double *o_row(const Problem *p, double *o, int64_t b, int64_t h, int64_t row)
{
    return o + ((b * p->ref.H + h) * p->ref.M + row) * p->ref.E;
}

const double *input_of(const Problem *p, const char *name)
{
    int input = problem_input(p, name);
    CU_ASSERT_FATAL(input >= 0);
    return p->inputs[input];
}

void set_input(Problem *p, const char *name, double (*value)(const Problem *p, int64_t index))
{
    int input = problem_input(p, name);
    CU_ASSERT_FATAL(input >= 0);
    for (int64_t n = 0; n < problem_input_count(p, input); n++)
        problem_set(p, input, n, value(p, n));
}

static double dot(const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t c = 0; c < count; c++)
        sum += a[c] * b[c];
    return sum;
}

static void oracle_row(const Problem *p, const Oracle *oracle, Pair *at, double *o, double *lse)
{
    int64_t N = p->ref.N, D = p->ref.D, E = p->ref.E;
    double *t = malloc((size_t)N * sizeof *t), *mapped_q = malloc((size_t)D * sizeof *t),
           *mapped_k = malloc((size_t)D * sizeof *t);
    double most = -INFINITY, sum = 0;
    int64_t count = 0;
    if (oracle->map) {
        oracle->map(p, at->q, at->i, mapped_q);
        at->q = mapped_q;
    }
    for (int64_t j = 0; j < N; j++) {
        at->j = j;
        at->k = k_row(p, at->b, at->g, j);
        t[j] = -INFINITY;
        if (oracle->visible && !oracle->visible(at))
            continue;
        if (oracle->map) {
            oracle->map(p, at->k, j, mapped_k);
            at->k = mapped_k;
        }
        double s = dot(at->q, at->k, D);
        t[j] = oracle->weight ? oracle->weight(at, s) : s / sqrt((double)D);
        most = t[j] > most ? t[j] : most;
        count++;
    }
    for (int64_t e = 0; e < E; e++)
        o[e] = 0;
    *lse = -INFINITY;
    if (count && oracle->sink && oracle->sink(p, at->h) > most)
        most = oracle->sink(p, at->h);
    for (int64_t j = 0; j < N && count; j++) {
        if (t[j] == -INFINITY)
            continue;
        double w = oracle->plain_sum ? t[j] : exp(t[j] - most);
        sum += w;
        for (int64_t e = 0; e < E; e++)
            o[e] += w * v_row(p, at->b, at->g, j)[e];
    }
    if (count && !oracle->plain_sum) {
        if (oracle->sink)
            sum += exp(oracle->sink(p, at->h) - most);
        for (int64_t e = 0; e < E; e++)
            o[e] /= sum;
        *lse = most + log(sum);
    }
    for (int64_t e = 0; e < E && oracle->divisor; e++)
        o[e] /= oracle->divisor(p, at->h, sum, count);
    if (oracle->finish)
        oracle->finish(p, at->b, at->h, at->i, o);
    free(t);
    free(mapped_q);
    free(mapped_k);
}

static void run_oracle(const Problem *p, const Oracle *oracle, Expected *expected)
{
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t row = 0; row < p->ref.M; row++) {
                Pair at = {p, b, h, group_of(p, h), row + p->ref.offset, 0, q_row(p, b, h, row), NULL};
                oracle_row(p, oracle, &at, o_row(p, expected->o, b, h, row),
                           &expected->lse[(b * p->ref.H + h) * p->ref.M + row]);
            }
}

static bool near(double a, double b)
{
    return a == b || fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

int64_t count_wrong(const KernelCase *test, ElemType elem, bool report)
{
    char path[512];
    int setting_count = 0;
    snprintf(path, sizeof path, "%s/%s.attn", KERNELS, test->file);
    while (setting_count < 8 && test->settings[setting_count].name)
        setting_count++;
    Problem *p = problem_open(path, test->settings, setting_count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    if (!p->spec)
        fputs(diag_to_text(p->diag), stderr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
    RefProblem *r = &p->ref;
    *r = (RefProblem){.B = test->B,
                      .H = test->H,
                      .G = test->G,
                      .M = test->M,
                      .N = test->N,
                      .D = test->D,
                      .E = test->E,
                      .offset = test->offset};
    if (test->m_axis[0]) {
        memcpy(r->m_axis, test->m_axis, sizeof r->m_axis);
        memcpy(r->n_axis, test->n_axis, sizeof r->n_axis);
        r->M = r->N = 1;
        for (int a = 0; a < p->spec->rank; a++) {
            r->M *= r->m_axis[a];
            r->N *= r->n_axis[a];
        }
    }
    problem_fill(p, elem, 7 + (uint64_t)elem);
    if (test->prepare)
        test->prepare(p);
    CU_ASSERT_FATAL(problem_run(p, true, elem));

    int64_t rows = r->B * r->H * r->M, wrong = 0;
    Expected expected = {malloc((size_t)(rows * r->E) * sizeof(double)),
                         malloc((size_t)rows * sizeof(double))};
    for (int64_t n = 0; n < rows; n++)
        expected.lse[n] = NAN; /* not compared */
    if (test->own)
        test->own(p, &expected);
    else
        run_oracle(p, &test->oracle, &expected);
    for (int64_t n = 0; n < rows * r->E; n++)
        wrong += !near(p->o[n], expected.o[n]);
    for (int64_t n = 0; n < rows; n++)
        wrong += p->spec->norm.kind == NORM_SOFTMAX && !isnan(expected.lse[n])
                 && !near(p->returns[RETURN_LSE][n], expected.lse[n]);
    if (wrong && report)
        fprintf(stderr, "%s (%s): %lld of %lld values are wrong\n", test->file, elem_type_name(elem),
                (long long)wrong, (long long)(rows * (r->E + 1)));

    /* a plain run of the same mathematics is near, and does not hit the oracle exactly */
    double error = 0, size = 0;
    CU_ASSERT_FATAL(problem_run(p, false, elem));
    for (int64_t n = 0; n < rows * r->E; n++) {
        error = fmax(error, fabs(p->o[n] - expected.o[n]));
        size = fmax(size, fabs(expected.o[n]));
    }
    CU_ASSERT(!report || (error > 0 && error < (elem == ELEM_TYPE_F32 ? 1e-4 : 0.1) * size));
    free(expected.o);
    free(expected.lse);
    problem_destroy(p);
    return wrong;
}

void run_kernel_cases(const KernelCase *tests, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        CU_ASSERT_EQUAL(count_wrong(&tests[n], ELEM_TYPE_F32, true), 0);
        CU_ASSERT_EQUAL(count_wrong(&tests[n], ELEM_TYPE_BF16, true), 0);
    }
}
