/* Masks and scores of the softmax family on a line. */
#include "oracle.h"

#define LINE .B = 2, .H = 4, .G = 2, .M = 13, .N = 19, .D = 8, .E = 6, .offset = 6
#define SQUARE .B = 2, .H = 4, .G = 2, .M = 17, .N = 17, .D = 8, .E = 6

static bool causal(const Pair *at) { return at->j <= at->i; }

/* masks */
static bool window5(const Pair *at) { return at->j > at->i - 5 && at->j <= at->i; }
static bool radius3(const Pair *at) { return llabs(at->i - at->j) <= 3; }
static bool streaming(const Pair *at) { return at->j <= at->i && (at->j < 2 || at->i - at->j < 4); }
static bool every_third(const Pair *at)
{
    for (int64_t n = 0; n < 4; n++)
        if (at->j == at->i - 3 * n)
            return true;
    return false;
}
static bool strided(const Pair *at)
{
    return (at->i - 4 < at->j && at->j <= at->i) || (at->j <= at->i && (at->i - at->j) % 4 == 0);
}
static bool strided_heads(const Pair *at)
{
    bool a = at->i - 4 < at->j && at->j <= at->i, b = at->j <= at->i && (at->i - at->j) % 4 == 0;
    return at->h % 2 ? b : a;
}
static bool fixed_a(const Pair *at) { return at->j / 5 == at->i / 5 && at->j <= at->i; }
static bool fixed_b(const Pair *at) { return at->j % 5 >= 5 - 2 && at->j <= at->i; }
static bool fixed(const Pair *at) { return fixed_a(at) || fixed_b(at); }
static bool fixed_heads(const Pair *at) { return at->h % 2 ? fixed_b(at) : fixed_a(at); }

/* documents: 0 0 0 0 1 1 1 1 1 2 ... */
static int64_t document(int64_t t) { return t < 4 ? 0 : t < 9 ? 1 : 2; }
static int64_t document_end(int64_t t) { return t < 4 ? 2 : t < 9 ? 7 : 10; }
static double document_value(const Problem *p, int64_t n) { return (double)document(n % p->ref.N); }
static double prefix_value(const Problem *p, int64_t n) { return (double)document_end(n % p->ref.N); }
static void documents(Problem *p) { set_input(p, "doc", document_value); }
static void prefixed_documents(Problem *p)
{
    documents(p);
    set_input(p, "prefix_end", prefix_value);
}
static bool same(const Pair *at) { return document(at->i) == document(at->j); }
static bool causal_document(const Pair *at) { return same(at) && causal(at); }
static bool sliding_document(const Pair *at) { return same(at) && at->j <= at->i && at->j > at->i - 3; }
static bool prefix_document(const Pair *at)
{
    return same(at) && (at->j <= at->i || at->j < document_end(at->i));
}
static bool question(const Pair *at) { return at->j <= at->i && (same(at) || document(at->j) == 0); }

static double lengths(const Problem *p, int64_t b) { (void)p; return b ? 9 : 4; }
static void prefixes(Problem *p) { set_input(p, "prefix_length", lengths); }
static bool prefix(const Pair *at) { return at->j <= at->i || at->j < (at->b ? 9 : 4); }

/* text 0..3, image 4..8, text 9..10, noisy 11.. */
static double kind_value(const Problem *p, int64_t n)
{
    int64_t t = n % p->ref.N;
    return t >= 4 && t < 9 ? 1 : t >= 11 ? 2 : 0;
}
static double segment_value(const Problem *p, int64_t n)
{
    int64_t t = n % p->ref.N;
    return t < 4 ? 0 : t < 9 ? 1 : t < 11 ? 2 : 3;
}
static void bagel_inputs(Problem *p)
{
    set_input(p, "kind", kind_value);
    set_input(p, "segment", segment_value);
}
static bool bagel(const Pair *at)
{
    bool image = at->i >= 4 && at->i < 9, noisy = at->i >= 11;
    if (noisy)
        return true; /* its own segment, and the clean tokens before it */
    if (at->j >= 11)
        return false;
    return at->j <= at->i || (image && at->j >= 4 && at->j < 9);
}

/* scores */
static double capped(const Pair *at, double dot) { return 2 * tanh(dot / sqrt((double)at->p->ref.D) / 2); }
static double sink_of(const Problem *p, int64_t h)
{
    return input_of(p, problem_input(p, "sink") >= 0 ? "sink" : "sink_logit")[h];
}

static double latent(const Pair *at, double dot) { (void)at; return dot / sqrt(24); }

static void unit(const Problem *p, const double *x, int64_t position, double *y)
{
    double square = 0;
    (void)position;
    for (int64_t c = 0; c < p->ref.D; c++)
        square += x[c] * x[c];
    for (int64_t c = 0; c < p->ref.D; c++)
        y[c] = x[c] / sqrt(square + 1e-12);
}
static double temperature(const Pair *at, double dot) { return dot * input_of(at->p, "temperature")[at->h]; }

static const KernelCase masks[] = {
    {"softmax/full", LINE},
    {"softmax/full", .B = 2, .H = 3, .G = 3, .M = 1, .N = 30, .D = 67, .E = 33},
    {"softmax/full_lse", LINE},
    {"softmax/causal", LINE, .oracle = {.visible = causal}},
    {"softmax/causal", SQUARE, .oracle = {.visible = causal}},
    {"softmax/causal", .B = 1, .H = 2, .G = 1, .M = 12, .N = 9, .D = 8, .E = 8, .offset = -3,
     .oracle = {.visible = causal}}, /* empty rows */
    {"softmax/causal_lse", LINE, .oracle = {.visible = causal}},
    {"softmax/prefix", LINE, .prepare = prefixes, .oracle = {.visible = prefix}},
    {"windowed/sliding_window", LINE, .settings = {{"window", "5"}}, .oracle = {.visible = window5}},
    {"windowed/local_window", LINE, .settings = {{"radius", "3"}}, .oracle = {.visible = radius3}},
    {"windowed/streaming_window", SQUARE, .settings = {{"window", "4"}, {"sinks", "2"}},
     .oracle = {.visible = streaming}},
    {"sparse/dilated_window", SQUARE, .settings = {{"window", "4"}, {"step", "3"}},
     .oracle = {.visible = every_third}},
    {"sparse/strided", SQUARE, .settings = {{"stride", "4"}}, .oracle = {.visible = strided}},
    {"sparse/strided_heads", SQUARE, .settings = {{"stride", "4"}}, .oracle = {.visible = strided_heads}},
    {"sparse/fixed", SQUARE, .settings = {{"stride", "5"}, {"columns", "2"}}, .oracle = {.visible = fixed}},
    {"sparse/fixed_heads", SQUARE, .settings = {{"stride", "5"}, {"columns", "2"}},
     .oracle = {.visible = fixed_heads}},
    {"documents/documents", SQUARE, .prepare = documents, .oracle = {.visible = same}},
    {"documents/causal_documents", SQUARE, .prepare = documents, .oracle = {.visible = causal_document}},
    {"documents/sliding_documents", SQUARE, .settings = {{"window", "3"}}, .prepare = documents,
     .oracle = {.visible = sliding_document}},
    {"documents/prefix_documents", SQUARE, .prepare = prefixed_documents,
     .oracle = {.visible = prefix_document}},
    {"documents/shared_question", SQUARE, .prepare = documents, .oracle = {.visible = question}},
    {"documents/bagel", SQUARE, .prepare = bagel_inputs, .oracle = {.visible = bagel}},
};

static const KernelCase scores[] = {
    {"softmax/latent", LINE, .settings = {{"head", "24"}}, .oracle = {.visible = causal, .weight = latent}},
    {"softmax/softcap", LINE, .settings = {{"cap", "2"}}, .oracle = {.visible = causal, .weight = capped}},
    {"softmax/sink", LINE, .oracle = {.visible = causal, .sink = sink_of}},
    {"softmax/softcap_sink", LINE, .settings = {{"cap", "2"}},
     .oracle = {.visible = causal, .weight = capped, .sink = sink_of}},
    {"softmax/qk_norm", LINE, .oracle = {.visible = causal, .weight = temperature, .map = unit}},
};

/* The oracles can fail: each of these differs from its spec in one place. */
static bool causal_late(const Pair *at) { return at->j < at->i; }
static bool window4(const Pair *at) { return at->j > at->i - 4 && at->j <= at->i; }
static double unscaled(const Pair *at, double dot) { (void)at; return dot; }
static double other_sink(const Problem *p, int64_t h) { return sink_of(p, (h + 1) % p->ref.H); }
static const KernelCase faults[] = {
    {"softmax/causal", LINE, .oracle = {.visible = causal_late}},
    {"softmax/causal", LINE, .oracle = {.visible = causal, .weight = unscaled}},
    {"windowed/sliding_window", LINE, .settings = {{"window", "5"}}, .oracle = {.visible = window4}},
    {"documents/causal_documents", SQUARE, .prepare = documents, .oracle = {.visible = causal}},
    {"softmax/sink", LINE, .oracle = {.visible = causal, .sink = other_sink}},
    {"softmax/sink", LINE, .oracle = {.visible = causal}},
};
static void test_faults(void)
{
    for (size_t n = 0; n < sizeof faults / sizeof *faults; n++)
        CU_ASSERT(count_wrong(&faults[n], ELEM_TYPE_F32, false) > 0);
}

static void test_masks(void) { run_kernel_cases(masks, sizeof masks / sizeof *masks); }
static void test_scores(void) { run_kernel_cases(scores, sizeof scores / sizeof *scores); }

void softmax_suite(void)
{
    CU_pSuite suite = CU_add_suite("softmax", NULL, NULL);
    CU_add_test(suite, "masks", test_masks);
    CU_add_test(suite, "scores", test_scores);
    CU_add_test(suite, "faults are seen", test_faults);
}
