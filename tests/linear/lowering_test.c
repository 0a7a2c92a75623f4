/* Every form of a linear Spec (quadratic, chunked, token by token) against the double reference: lengths around the edges
 * of chunks, gates near 0 and near 1, conditions on keys and on queries, scales on both sides, grouped heads, ragged
 * batches, offsets. And what the recogniser says of specs that have no such form. */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/attention/factor.h"
#include "tests/pipeline/run_case.h"

typedef struct Form {
    const char *name, *items;
    bool recurrence;
} Form;

static const Form texts[] = {
    {"plain", "mask j <= i score s * scale normalize none", false},
    {"plain sum", "feature q, k = max(x, 0.0) + 0.1 mask j <= i score s normalize sum return sum", false},
    {"plain count", "mask j <= i score 0.5 * s normalize count(0.5)", false},
    {"no order", "feature q, k = max(x, 0.0) + 0.1 score s normalize sum(eps = 0.01)", false},
    {"no order, count", "input row[h]: f32 score s * row[h] normalize count", false},
    {"no order, seen",
     "input doc[b, t]: i32 feature k = x * x mask doc[j] >= 0 and doc[i] >= 0 score s * scale normalize "
     "count",
     false},
    {"seen",
     "input doc[b, t]: i32 mask j <= i and doc[j] % 2 == 0 and doc[i] % 3 != 1 score s * scale normalize "
     "count output o + 1",
     false},
    {"seen, sum",
     "feature q, k = exp(x / 4) input doc[b, t]: i32 mask j <= i and doc[j] % 2 == 0 score s normalize sum",
     false},
    {"scales",
     "input a[b, t]: f32 input c[h, t]: f32 mask j <= i score -s * a[i] * scale / (1 + c[j] * c[j]) "
     "normalize none",
     false},
    {"scales, sum",
     "input a[h, t]: f32 feature q, k = max(x, 0.0) + 0.1 mask j <= i score s * exp(a[j] / 2) normalize sum",
     false},
    {"weighted similarity",
     "learned input w[h, d]: f32 mask j <= i similarity sum(c in 0..D, q[c] * w[h, c] * k[c]) score s "
     "normalize none",
     false},
    {"polynomial",
     "input c[h, t]: f32 mask j <= i score 1 + s * scale * 2 - 0.3 * s * s * c[i] normalize none", false},
    {"polynomial, sum", "feature q, k = x / 2 score 1 + s + s * s / 2 normalize sum", false},
    {"polynomial, decay", "mask j <= i score 1 + s * scale decay exp(-0.1 * float(h + 1)) normalize none",
     false},
    {"positions",
     "param length: int = 300 mask j <= i feature q, k = x * cos(float(t) / float(length)) score s normalize "
     "none",
     false},
    {"look back", "mask j <= i feature k = x + 0.5 * shift(x, 1) score s normalize none", false},
    {"head decay", "input g[h]: f32 mask j <= i score s * scale decay exp(-abs(g[h]) / 8) normalize none",
     false},
    {"head decay, sum",
     "input g[h]: f32 feature q, k = max(x, 0.0) + 0.1 mask j <= i score s decay exp(-abs(g[h])) normalize "
     "sum",
     false},
    {"strong head decay", "input g[h]: f32 mask j <= i score s decay exp(-40 * abs(g[h])) normalize none",
     false},
    {"no order but decay", "input g[h]: f32 score s decay exp(-abs(g[h])) normalize count", false},
    {"gates near 1",
     "input g[b, h, t]: f32 mask j <= i score s * scale decay sigmoid(9 + g[t]) normalize none", false},
    {"gates near 0",
     "input g[b, h, t]: f32 mask j <= i score s * scale decay sigmoid(12 * g[t] - 9) normalize none", false},
    {"gates of all sizes",
     "input g[b, h, t]: f32 mask j <= i score s decay exp(-90 * g[t] * g[t] * g[t] * g[t]) normalize none",
     false},
    {"gates, sum, seen",
     "input g[b, h, t]: f32 input doc[b, t]: i32 feature q, k = exp(x / 4) mask j <= i and doc[j] % 3 != 0 "
     "score s "
     "decay sigmoid(2 + g[t]) normalize sum(eps = 0.1)",
     false},
    {"channel gates",
     "input g[b, h, t, d]: f32 mask j <= i score s * scale decay sigmoid(2 + g[t]) normalize none", true},
    {"channel gates near 0",
     "input g[b, h, t, d]: f32 mask j <= i score s decay sigmoid(12 * g[t] - 9) normalize none", true},
    {"channel gates near 1, sum",
     "input g[b, h, t, d]: f32 feature q, k = exp(x / 4) mask j <= i score s decay sigmoid(8 + g[t]) "
     "normalize sum",
     true},
    {"channel gates, scale",
     "input g[h, d]: f32 input a[b, t]: f32 mask j <= i score s * a[i] * a[j] decay exp(-abs(g[h])) "
     "normalize count",
     true},
    {"delta",
     "input b1[b, h, t]: f32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i score s decay "
     "delta(beta = sigmoid(b1[t])) normalize none",
     true},
    {"strong delta",
     "feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i score s decay delta(beta = 1.9) normalize none",
     true},
    {"gated delta",
     "input b1[b, h, t]: f32 input g[b, h, t]: f32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i "
     "score s * scale "
     "decay delta(sigmoid(3 + g[t]), beta = sigmoid(b1[t])) normalize none",
     true},
    {"strongly gated delta, seen",
     "input g[b, h, t]: f32 input doc[b, t]: i32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) "
     "mask j <= i and doc[j] % 3 != 0 score s * exp(0.3 * g[j]) decay delta(sigmoid(12 * g[t] - 9), beta = "
     "0.7) normalize count",
     true},
    {"channel gated delta",
     "input g[b, h, t, d]: f32 feature q, k = x * rsqrt(sum(x * x) + 1e-6) mask j <= i score s "
     "decay delta(sigmoid(2 + g[t]), beta = 0.8) normalize none",
     true},
    {"delta, sum",
     "input g[b, h, t]: f32 feature q, k = (max(x, 0.0) + 0.1) * rsqrt(sum(x * x) + 1.0) mask j <= i score s "
     "decay delta(sigmoid(2 + g[t]), beta = 0.2) normalize sum(eps = 1)",
     true},
};

#define SHAPE(b, h, g, m, n, d, e, ...)                                                                      \
    {                                                                                                        \
        .B = b, .H = h, .G = g, .M = m, .N = n, .D = d, .E = e, __VA_ARGS__                                  \
    }
static const CaseShape shapes[] = {
    SHAPE(1, 2, 2, 64, 64, 16, 16, .offset = 0),
    SHAPE(2, 2, 1, 63, 63, 8, 20, .layout = CASE_BMHD),
    SHAPE(1, 4, 2, 65, 65, 17, 3, .layout = CASE_STRIDED),
    SHAPE(1, 2, 2, 129, 129, 12, 16, .offset = 0),
    SHAPE(1, 1, 1, 15, 15, 16, 33, .layout = CASE_STRIDED),
    SHAPE(1, 2, 1, 17, 17, 5, 8, .offset = 0),
    SHAPE(2, 2, 2, 1, 1, 16, 16, .offset = 0),
    SHAPE(1, 2, 1, 1, 80, 16, 16, .offset = 79),
    SHAPE(1, 2, 2, 40, 100, 16, 16, .offset = 60, .layout = CASE_STRIDED),
    SHAPE(1, 2, 2, 100, 40, 16, 16, .layout = CASE_BROADCAST_KV),
    SHAPE(4, 2, 1, 0, 0, 16, 8, .ragged = true, .q_length = {17, 0, 1, 70}, .k_length = {17, 0, 1, 70}),
    SHAPE(3, 2, 2, 0, 0, 8, 16, .ragged = true, .q_length = {33, 5, 0}, .k_length = {65, 7, 3},
          .layout = CASE_BMHD),
};
enum { SEGMENTS = LOWERING_COUNT }; /* chunked, and cut into segments */
static const int64_t chunks[] = {0, 16, 24, 1, 64};

typedef struct Tally {
    long cases, elements, skipped;
} Tally;

static bool has_token_input(const Spec *spec)
{
    for (int n = 0; n < spec->input_count; n++)
        for (int d = 0; d < spec->inputs[n].dim_count; d++)
            if (spec->inputs[n].dims[d].kind == DIM_T)
                return true;
    return false;
}

static void run_text(const Form *text, Tally *tally, bool few)
{
    static const ElemType elems[] = {ELEM_TYPE_F32, ELEM_TYPE_BF16, ELEM_TYPE_F16};
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    char *source = arena_printf(arena, "attention a { %s }", text->items);
    Spec *spec = case_spec(arena, diag, text->name, source, NULL, 0);
    if (!spec) {
        diag_print(diag, stderr, DIAG_TEXT, false);
        CU_FAIL("a text does not check");
        arena_destroy(arena);
        return;
    }
    int ran = 0;
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++)
        for (int64_t lowering = LOWERING_QUADRATIC; lowering <= SEGMENTS; lowering++) {
            bool ordered = strstr(text->items, "j <= i") || strstr(text->items, "decay");
            if ((lowering == LOWERING_QUADRATIC && text->recurrence) ||
                (lowering >= LOWERING_RECURRENT && !ordered) ||
                (lowering == SEGMENTS && strstr(text->items, "delta(")))
                continue;
            if (few && (n + (size_t)lowering) % 4)
                continue;
            CaseShape shape = shapes[n];
            /* Tokens past the last key have no element in a packed input. */
            if (shape.ragged && has_token_input(spec) && shape.q_length[0] > shape.k_length[0])
                continue;
            shape.lowering = lowering == SEGMENTS ? LOWERING_CHUNKED : lowering;
            shape.chunk = lowering == LOWERING_CHUNKED ? chunks[n % (sizeof chunks / sizeof *chunks)]
                          : lowering == SEGMENTS       ? 8
                                                       : 0;
            shape.segment = lowering == SEGMENTS ? 16 + 8 * (int64_t)(n % 3) : 0;
            shape.seed = n + 1;
            ElemType elem = elems[(n + (size_t)lowering) % 3];
            CaseVerdict verdict = case_run(spec, elem, &shape, CASE_INTERP | CASE_CPU);
            tally->cases++;
            tally->elements += verdict.compared;
            tally->skipped += verdict.skipped;
            ran++;
            if (!verdict.ok) {
                fprintf(stderr, "\n%s, %s %s:\n    %s\n", text->name, elem_type_name(elem),
                        case_shape_text(arena, &shape), verdict.message);
                CU_FAIL("a form differs from the reference");
            }
        }
    CU_ASSERT(ran > 0);
    arena_destroy(arena);
}

static void test_forms(void)
{
    Tally tally = {0, 0, 0};
    bool few = getenv("ATTUNE_TEST_FEW") != NULL;
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
        run_text(&texts[n], &tally, few);
    printf(" %ld cases, %ld elements, %ld skipped ", tally.cases, tally.elements, tally.skipped);
    CU_ASSERT(tally.skipped * 100 <= tally.elements);
}

/* Recognition ------------------------------------------------------------------------------------------------ */

typedef struct Verdict {
    const char *items, *reason;
} Verdict; /* NULL: factorises */

static const Verdict verdicts[] = {
    {"mask j <= i normalize softmax", "softmax"},
    {"mask j <= i score s normalize none", NULL},
    {"mask i >= j score s normalize none", NULL},
    {"score 2 * s / scale normalize sum", NULL},
    {"mask j <= i score s * s * s normalize none", "not linear in the similarity"},
    {"mask j <= i score s * s normalize none", NULL},
    {"mask j <= i score s + 1 normalize none", NULL},
    {"mask j <= i score abs(s) normalize none", "not linear in the similarity"},
    {"mask j <= i score 1 + s * float(j) normalize none", "not linear in the similarity"},
    {"mask j <= i score s / (1 + float(i - j)) normalize none", "joins query and key"},
    {"mask j <= i score 1 / s normalize none", "divides by the similarity"},
    {"mask j <= i score float(i) / 9 normalize none", "does not depend on the similarity"},
    {"mask j <= i and i - j < 8 score s normalize none", "more than their order"},
    {"input doc[b, t]: i32 mask j <= i and doc[i] == doc[j] score s normalize none", "more than their order"},
    {"mask j < i score s normalize none", "more than their order"},
    {"mask j <= i similarity -norm2(q - k) score s normalize none", "no sum of products"},
    {"mask j <= i normalize sigmoid", "score"},
    {"mask j <= i normalize max", "maximum"},
    {"mask j <= i score s normalize moments", "deviation"},
    {"mask j <= i score s normalize none return max", "greatest score"},
    {"input doc[b, t]: i32 mask doc[j] > 0 score s decay 0.9 normalize none", "write j <= i"},
};

static void test_recognition(void)
{
    for (size_t n = 0; n < sizeof verdicts / sizeof *verdicts; n++) {
        Arena *arena = arena_create();
        Diag *diag = diag_create(arena);
        Spec *spec = case_spec(arena, diag, "a", arena_printf(arena, "attention a { %s }", verdicts[n].items),
                               NULL, 0);
        CU_ASSERT_PTR_NOT_NULL(spec);
        Factor factor = {0};
        if (spec)
            factor = factor_recognise(arena, spec_specialize(arena, spec, 16, 16));
        bool right = verdicts[n].reason ? factor.reason && strstr(factor.reason, verdicts[n].reason)
                                        : factor.reason == NULL;
        if (!right)
            fprintf(stderr, "\n%s: %s\n", verdicts[n].items, factor.reason ? factor.reason : "factorises");
        CU_ASSERT(spec && right);
        if (spec && factor.reason) { /* what is forced and impossible is refused with the reason */
            CaseShape shape = {.D = 8, .E = 8, .lowering = LOWERING_CHUNKED};
            Target target;
            CU_ASSERT(target_parse(diag, "interp", &target));
            CU_ASSERT_PTR_NULL(case_program(arena, diag, spec, ELEM_TYPE_F32, &shape, &target));
            CU_ASSERT(diag->errors == 1 && strstr(diag_to_text(diag), "factorise") != NULL);
        }
        arena_destroy(arena);
    }
}

static Program *program_of(Arena *arena, const char *items, int64_t lowering, Diag **diag)
{
    *diag = diag_create(arena);
    Spec *spec = case_spec(arena, *diag, "a", arena_printf(arena, "attention a { %s }", items), NULL, 0);
    CaseShape shape = {.D = 8, .E = 8, .lowering = lowering};
    Target target;
    if (!spec || !target_parse(*diag, "interp", &target))
        return NULL;
    return case_program(arena, *diag, spec, ELEM_TYPE_F32, &shape, &target);
}

/* On a CPU the compiler's own choice has both forms; every sequence takes one by its length. */
static void test_both(void)
{
#if ATTUNE_HAVE_LLVM
    static const CaseShape both[] = {
        SHAPE(1, 2, 2, 40, 40, 16, 16, .offset = 0),
        SHAPE(1, 2, 1, 300, 300, 16, 16, .layout = CASE_STRIDED),
        SHAPE(1, 2, 2, 1, 300, 16, 16, .offset = 299),
        SHAPE(4, 2, 1, 0, 0, 16, 8, .ragged = true, .q_length = {17, 0, 200, 110},
              .k_length = {17, 0, 200, 110}),
    };
    static const char *const items[] = {
        "mask j <= i score s * scale normalize none",
        "input g[b, h, t]: f32 feature q, k = max(x, 0.0) + 0.1 mask j <= i score s decay sigmoid(2 + g[t]) "
        "normalize sum output 2 * o",
    };
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    for (size_t n = 0; n < sizeof items / sizeof *items; n++) {
        Spec *spec =
            case_spec(arena, diag, "a", arena_printf(arena, "attention a { %s }", items[n]), NULL, 0);
        CU_ASSERT_FATAL(spec != NULL);
        for (size_t s = 0; s < sizeof both / sizeof *both; s++) {
            Target target;
            CaseShape shape = both[s];
            shape.seed = s + 1;
            CU_ASSERT_FATAL(target_parse(diag, "cpu", &target));
            Program *p = case_program(arena, diag, spec, ELEM_TYPE_F32, &shape, &target);
            int attend = 0, scan = 0;
            for (int k = 0; p && k < p->phase_count; k++) {
                attend += !strcmp(p->phases[k].name, "attend");
                scan += !strcmp(p->phases[k].name, "scan");
            }
            CU_ASSERT(attend == 1 && scan == 1);
            CaseVerdict verdict = case_run(spec, s % 2 ? ELEM_TYPE_BF16 : ELEM_TYPE_F32, &shape, CASE_CPU);
            if (!verdict.ok)
                fprintf(stderr, "\n%s, %s:\n    %s\n", items[n], case_shape_text(arena, &shape),
                        verdict.message);
            CU_ASSERT(verdict.ok);
        }
    }
    arena_destroy(arena);
#endif
}

static void test_choice(void)
{
    Arena *arena = arena_create();
    Diag *diag;
    const char *plain = "mask j <= i score s normalize none",
               *delta = "mask j <= i score s decay delta(beta = 0.5) normalize none";
    Program *p = program_of(arena, plain, LOWERING_AUTO, &diag);
    CU_ASSERT(p && !strcmp(p->phases[p->phase_count - 1].name, "scan"));
    p = program_of(arena, plain, LOWERING_QUADRATIC, &diag);
    CU_ASSERT(p && !strcmp(p->phases[p->phase_count - 1].name, "attend"));
    p = program_of(arena, plain, LOWERING_RECURRENT, &diag);
    CU_ASSERT(p && !strcmp(p->phases[p->phase_count - 1].name, "recur"));
    p = program_of(arena, "score s normalize sum", LOWERING_AUTO, &diag);
    CU_ASSERT(p && p->phase_count == 2 && !strcmp(p->phases[0].name, "state"));
    CU_ASSERT_PTR_NULL(program_of(arena, "score s normalize sum", LOWERING_RECURRENT, &diag));
    CU_ASSERT(strstr(diag_to_text(diag), "needs an order") != NULL);
    p = program_of(arena, delta, LOWERING_AUTO, &diag);
    CU_ASSERT(p && !strcmp(p->phases[p->phase_count - 1].name, "scan"));
    CU_ASSERT_PTR_NULL(program_of(arena, delta, LOWERING_QUADRATIC, &diag));
    CU_ASSERT(strstr(diag_to_text(diag), "no quadratic form") != NULL);
    arena_destroy(arena);
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("linear lowerings", NULL, NULL);
    CU_add_test(suite, "recognition", test_recognition);
    CU_add_test(suite, "choice", test_choice);
    CU_add_test(suite, "both forms in one kernel", test_both);
    CU_add_test(suite, "forms against the reference", test_forms);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures != 0;
}
