/* What a text becomes: the Spec's fields, and equal mathematics from different spellings. */
#include <string.h>

#include "suites.h"
#include "tests/support/problem.h"

/* The canonical text; "" after printing why, when there are errors. */
static char *canonical(Problem **keep, const char *text)
{
    *keep = problem_create("test", text, NULL, 0);
    if (!(*keep)->spec)
        fputs(diag_to_text((*keep)->diag), stderr);
    return (*keep)->spec ? spec_canonical((*keep)->spec) : "";
}

/* Both texts say the same. */
static const char *const same[][2] = {
    {"attention a { }", "attention a { mask true similarity dot(q, k) score s * scale normalize softmax }"},
    {"attention a { mask j <= i }", "attention b { let seen = i >= j mask seen }"},
    {"attention a { mask j <= i }", "def causal(i, j) = j <= i attention a { mask causal(i, j) }"},
    {"attention a { mask j <= i }", "def after(a, b) = a < b attention a { mask not after(a = i, b = j) }"},
    {"attention a { mask j <= i and i - j < 5 }", "attention a { mask i - j < 2 + 3 and i >= j }"},
    {"attention a { score s / sqrt(float(D)) }", "attention a { score s / sqrt(D) }"},
    {"attention a { similarity dot(q, k) }", "attention a { similarity sum(c in 0..D, q[c] * k[c]) }"},
    {"attention a { similarity norm2(q) }", "attention a { similarity sum(c in 0..D, q[c] * q[c]) }"},
    {"attention a { similarity norm1(q - k) }",
     "attention a { similarity sum(c in 0..D, abs(q[c] - k[c])) }"},
    {"attention a { similarity max(q * k) }", "attention a { similarity max(c in 0..D, q[c] * k[c]) }"},
    {"attention a { similarity mean(q) }", "attention a { similarity sum(q) / D }"},
    {"attention a { feature q, k = 2 * x }", "attention a { feature k = x * 2.0 feature q = x * 2.0 }"},
    {"attention a { feature q, k = 2 * x }",
     "attention a { feature q, k = vector(c in 0..width(x), 2 * x[c]) }"},
    {"attention a { feature q, k = concat(x, x) }",
     "attention a { feature q, k = vector(c in 0..2 * D, if c < D then x[c] else x[c - D]) }"},
    {"attention a { feature q, k = relu(x) }", "attention a { feature q, k = max(x, 0) }"},
    {"attention a { normalize sigmoid }", "attention a { score sigmoid(s * scale) normalize none }"},
    {"attention a { normalize twice }  def twice(t) = 2 * t",
     "attention a { score 2 * (s * scale) normalize none }"},
    {"attention a { normalize sum(eps = 1, min = 2) }", "attention a { normalize sum(1, 2) }"},
    {"attention a { input z[h]: f32 normalize softmax(z[h]) }",
     "attention a { input z[h]: fp32 normalize softmax(sink = z) }"},
    {"attention a { input d[b, t]: i32 mask d[b, i] == d[b, j] }",
     "attention a { input d[b, t]: i32 mask d[i] == d[j] }"},
    {"attention a { input w[h, d]: f32 feature q = x * w[h] }",
     "attention a { input w[h, d]: f32 feature q = vector(c in 0..D, x[c] * w[h, c]) }"},
    {"attention a { input w[h, r, d]: f32 feature q, k [r] = dot(w[h, r], x) }",
     "attention a { input w[h, r, d]: f32 feature q, k = vector(n in 0..r, sum(c in 0..D, w[h, n, c] * "
     "x[c])) }"},
    {"attention a { input z[h]: f32 mask j <= i normalize none decay exp(z[h]) }",
     "attention a { input z[h]: f32 mask j <= i normalize none decay exp(z) }"},
    {"attention a { mask if i < 3 then j < 2 else j < i }",
     "attention a { mask (i < 3 and j < 2) or (i >= 3 and j < i) or (i < 3 and j < 2) }"},
    {"attention a over (y, x) { mask i.y == j.y and i.x == j.x }",
     "attention a over (y, x) { mask all(a in 0..rank, i[a] == j[a]) }"},
    {"attention a over (y, x) { mask i.y / 2 == j.y / 2 and i.x / 3 == j.x / 3 }",
     "attention a over (y, x) { param const w: int2 = (2, 3) mask all(i / (2, 3) == j / (2, 3)) and w.y == 2 "
     "or false }"},
};

static void spellings(void)
{
    for (size_t n = 0; n < sizeof same / sizeof *same; n++) {
        Problem *a, *b;
        const char *left = strchr(canonical(&a, same[n][0]), '{'),
                   *right = strchr(canonical(&b, same[n][1]), '{');
        bool exact = n != 23 && n != 25; /* the same truth, not the same tree */
        if (exact && (!left || !right || strcmp(left, right)))
            fprintf(stderr, "%zu:\n%s\n%s\n", n, left ? left : "", right ? right : "");
        CU_ASSERT(left && right && (!exact || !strcmp(left, right)));
        problem_destroy(a);
        problem_destroy(b);
    }
}

static void vectors_of_params(void)
{
    SpecSetting settings[] = {{"kernel", "(5, 7)"}, {"block_m", "64"}, {"cap", "1.5"}};
    Problem *p = problem_create("test",
                                "attention a over (y, x) { param const kernel: int2 = 3 param cap: float "
                                "param shift: int3 = (1, 2, 3)"
                                " param on: bool = true"
                                " mask i.y - j.y < kernel.y and i.x < kernel.x and on score s * cap + shift.z"
                                " schedule sm_90a { block_m = 128 } }",
                                settings, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
    const Spec *spec = p->spec;
    CU_ASSERT_EQUAL(spec->rank, 2);
    CU_ASSERT_EQUAL(spec->param_count, 7);
    CU_ASSERT_STRING_EQUAL(spec->params[0].name, "kernel.y");
    CU_ASSERT_EQUAL(spec->params[0].value.i, 5);
    CU_ASSERT(spec->params[0].constant);
    CU_ASSERT_STRING_EQUAL(spec->params[1].name, "kernel.x");
    CU_ASSERT_EQUAL(spec->params[1].value.i, 7);
    CU_ASSERT_STRING_EQUAL(spec->params[2].name, "cap");
    CU_ASSERT_EQUAL(spec->params[2].type, TYPE_FLOAT);
    CU_ASSERT_EQUAL(spec->params[2].value.f, 1.5);
    CU_ASSERT_STRING_EQUAL(spec->params[3].name, "shift.z");
    CU_ASSERT_STRING_EQUAL(spec->params[5].name, "shift.x");
    CU_ASSERT_EQUAL(spec->params[5].value.i, 3);
    CU_ASSERT_EQUAL(spec->params[6].value.i, 1);
    CU_ASSERT_EQUAL(spec->schedule_count, 2);
    CU_ASSERT_STRING_EQUAL(spec->schedule[0].target, "sm_90a");
    CU_ASSERT_EQUAL(spec->schedule[0].value, 128);
    CU_ASSERT_PTR_NULL(spec->schedule[1].target);
    CU_ASSERT_EQUAL(spec->schedule[1].value, 64);
    problem_destroy(p);
}

static void dimensions(void)
{
    Problem *p = problem_create("test",
                                "attention a { param const w: int = 3 learned input t[h, 2 * w - 1, r]: bf16"
                                " input u[b, g, t, e]: f16 input n[i, j, N]: i64 input m[b, t]: bool"
                                " mask m[j] and n[i, j, 0] > 0 score s + t[h, 0, r - 1] output o * u[i] }",
                                NULL, 0);
    if (!p->spec)
        fputs(diag_to_text(p->diag), stderr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
    const SpecInput *in = p->spec->inputs;
    CU_ASSERT_EQUAL(p->spec->input_count, 4);
    CU_ASSERT(in[0].learned && !in[1].learned);
    CU_ASSERT_EQUAL(in[0].type, ELEM_TYPE_BF16);
    CU_ASSERT_EQUAL(in[0].dims[0].kind, DIM_H);
    CU_ASSERT_EQUAL(in[0].dims[1].kind, DIM_EXTENT);
    CU_ASSERT_EQUAL(in[0].dims[2].kind, DIM_FREE);
    CU_ASSERT_STRING_EQUAL(in[0].dims[2].name, "r");
    CU_ASSERT_EQUAL(in[0].dims[2].extent->op, EXPR_PARAM);
    CU_ASSERT(p->spec->params[in[0].dims[2].extent->index].hidden);
    CU_ASSERT_EQUAL(in[1].dims[1].kind, DIM_G);
    CU_ASSERT_EQUAL(in[1].dims[2].kind, DIM_T);
    CU_ASSERT_EQUAL(in[1].dims[3].kind, DIM_E);
    CU_ASSERT_EQUAL(in[2].dims[0].kind, DIM_I);
    CU_ASSERT_EQUAL(in[2].dims[1].kind, DIM_J);
    CU_ASSERT_EQUAL(in[2].dims[2].kind, DIM_EXTENT);
    CU_ASSERT_EQUAL(in[3].type, ELEM_TYPE_BOOL);
    CU_ASSERT_EQUAL(p->spec->feature_q.body, NULL);
    CU_ASSERT_PTR_NOT_NULL(p->spec->output);
    problem_destroy(p);
}

static void normalisers(void)
{
    static const struct { const char *text; NormKind kind; ExprOp elementwise; } rows[] = {
        {"softmax", NORM_SOFTMAX, EXPR_OP_COUNT},
        {"softmax(1)", NORM_SOFTMAX, EXPR_OP_COUNT},
        {"none", NORM_NONE, EXPR_OP_COUNT},
        {"sum", NORM_SUM, EXPR_OP_COUNT},
        {"magnitude(min = 1)", NORM_MAGNITUDE, EXPR_OP_COUNT},
        {"count(power = 0.5)", NORM_COUNT, EXPR_OP_COUNT},
        {"moments(1e-3)", NORM_MOMENTS, EXPR_OP_COUNT},
        {"max", NORM_MAX, EXPR_OP_COUNT},
        {"entmax(1.5)", NORM_ENTMAX, EXPR_OP_COUNT},
        {"sigmoid", NORM_NONE, EXPR_SIGMOID},
        {"tanh", NORM_NONE, EXPR_TANH},
        {"relu", NORM_NONE, EXPR_MAX},
        {"exp", NORM_NONE, EXPR_EXP},
        {"erf", NORM_NONE, EXPR_ERF},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        char text[100];
        snprintf(text, sizeof text, "attention a { normalize %s }", rows[n].text);
        Problem *p = problem_create("test", text, NULL, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
        CU_ASSERT_EQUAL(p->spec->norm.kind, rows[n].kind);
        CU_ASSERT_EQUAL(p->spec->norm.elementwise, rows[n].elementwise);
        problem_destroy(p);
    }
}

static void decays(void)
{
    static const struct { const char *decay; DecayKind kind; bool beta; ExprOp log; } rows[] = {
        {"exp(rate[h])", DECAY_SCALAR, false, EXPR_INPUT},
        {"exp(gate[t])", DECAY_SCALAR, false, EXPR_INPUT},
        {"0.5 * gate[t]", DECAY_SCALAR, false, EXPR_LOG},
        {"sigmoid(gate[t])", DECAY_SCALAR, false, EXPR_SUB},
        {"exp(-wide[t])", DECAY_CHANNEL, false, EXPR_NEG},
        {"delta(beta = gate[t])", DECAY_SCALAR, true, EXPR_FLOAT},
        {"delta(exp(wide[t]), beta = sigmoid(gate[t]))", DECAY_CHANNEL, true, EXPR_INPUT},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        char text[300];
        snprintf(text, sizeof text,
                 "attention a { input rate[h]: f32 input gate[b, h, t]: f32 input wide[b, h, t, d]: f32"
                 " mask j <= i and rate[h] < gate[0] + wide[0, 0] normalize none decay %s }",
                 rows[n].decay);
        Problem *p = problem_create("test", text, NULL, 0);
        if (!p->spec)
            fputs(diag_to_text(p->diag), stderr);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
        CU_ASSERT_PTR_NULL(p->diag->first);
        CU_ASSERT_EQUAL(p->spec->decay.kind, rows[n].kind);
        CU_ASSERT_EQUAL(p->spec->decay.beta != NULL, rows[n].beta);
        CU_ASSERT_EQUAL(p->spec->decay.log_step->op, rows[n].log);
        problem_destroy(p);
    }
}

/* Settings, and which attention of a file is meant. */
static void outside(void)
{
    static const struct { const char *name, *value, *message; } rows[] = {
        {"window", "12", NULL},
        {"window", " 12 ", NULL},
        {"window", "1.5", "'window' cannot be set to '1.5'"},
        {"window", "", "cannot be set"},
        {"window", "99999999999999999999", "cannot be set"},
        {"pair", "(3, 4)", NULL},
        {"pair", "5", NULL},
        {"pair", "(3, 4, 5)", "cannot be set"},
        {"pair", "(3 4)", "cannot be set"},
        {"on", "false", NULL},
        {"on", "maybe", "cannot be set"},
        {"block_m", "128", NULL},
        {"block_m", "-1", "a positive number"},
        {"windo", "3", "no param of 'a' and no schedule key"},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        SpecSetting setting = {rows[n].name, rows[n].value};
        Problem *p = problem_create(
            "test",
            "attention a over (y, x) { param window: int = 3 param pair: int2 = 1 param on: bool = true"
            " mask i.y < window and i.x < pair.y and j.x < pair.x or on }",
            &setting, 1);
        CU_ASSERT_EQUAL(p->spec != NULL, rows[n].message == NULL);
        CU_ASSERT(!rows[n].message || (p->diag->first && strstr(diag_to_text(p->diag), rows[n].message)));
        problem_destroy(p);
    }
    Problem *p = problem_create("test", "attention a { } attention b { }", NULL, 0);
    CU_ASSERT(!p->spec && strstr(diag_to_text(p->diag), "2 attentions"));
    problem_destroy(p);
    p = problem_create("test", "def f(x) = x", NULL, 0);
    CU_ASSERT(!p->spec && strstr(diag_to_text(p->diag), "no attention"));
    problem_destroy(p);
}

void structure_suite(void)
{
    CU_pSuite suite = CU_add_suite("specs", NULL, NULL);
    CU_add_test(suite, "different spellings, one Spec", spellings);
    CU_add_test(suite, "params", vectors_of_params);
    CU_add_test(suite, "dimensions", dimensions);
    CU_add_test(suite, "normalisers", normalisers);
    CU_add_test(suite, "decays", decays);
    CU_add_test(suite, "settings", outside);
}
