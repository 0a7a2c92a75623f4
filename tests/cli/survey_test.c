/* Surveys of masks against every pair, one by one: full tiles hold only visible pairs, empty ones none, and
 * the counts are exact where nothing is sampled. */
#include <CUnit/Basic.h>
#include <string.h>

#include "compiler/attention/mask_survey.h"
#include "compiler/spec/check.h"

typedef struct Case {
    const char *text;
    int64_t B, H, M, N, m_axis[3], n_axis[3], offset, block_m[3], block_n[3];
    double full, partial, empty; /* -1: not said here */
} Case;

/* [B, T] documents and [H] windows that specs may name as their first and second input. */
static int32_t documents[2 * 200], widths[4] = {3, 17, 40, 200};

static Arena *arena;

static const Spec *read_spec(const char *text)
{
    Diag *diag = diag_create(arena);
    Ast *ast = NULL;
    CU_ASSERT_EQUAL_FATAL(dsl_parse(diag, "case", text, strlen(text), NULL, &ast), DSL_OK);
    Spec *spec = check_spec(arena, diag, ast, NULL, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
    return spec;
}

static RefProblem make_problem(const Spec *spec, const Case *c)
{
    RefProblem p = {.B = c->B, .H = c->H, .G = 1, .M = c->M, .N = c->N, .D = 8, .E = 8, .offset = c->offset};
    for (int a = 0; a < 3; a++) {
        p.m_axis[a] = c->m_axis[a] ? c->m_axis[a] : a == 0 ? c->M : 1;
        p.n_axis[a] = c->n_axis[a] ? c->n_axis[a] : a == 0 ? c->N : 1;
    }
    for (int k = 0; k < spec->param_count; k++)
        p.params[k] = spec->params[k].value;
    if (spec->input_count > 0)
        p.inputs[0] = (RefTensor){.data = documents, .type = ELEM_TYPE_I32, .stride = {200, 1}};
    if (spec->input_count > 1)
        p.inputs[1] = (RefTensor){.data = widths, .type = ELEM_TYPE_I32, .stride = {1}};
    return p;
}

/* Every pair of a tile against its class; adds up what is visible. */
static void check_tile(MaskSurvey *survey, int64_t b, int64_t h, int64_t m, int64_t n, MaskCount *sum)
{
    int64_t rows[256], keys[256];
    int64_t row_count = mask_survey_rows(survey, true, m, rows),
            key_count = mask_survey_rows(survey, false, n, keys);
    TileClass class = mask_survey_tile(survey, b, h, m, n);
    int64_t visible = 0;
    for (int64_t r = 0; r < row_count; r++)
        for (int64_t k = 0; k < key_count; k++)
            visible += mask_survey_pair(survey, b, h, rows[r], keys[k]);
    CU_ASSERT_TRUE(class != TILE_CLASS_EMPTY || visible == 0);
    CU_ASSERT_TRUE(class != TILE_CLASS_FULL || visible == row_count * key_count);
    sum->visible += (double)visible;
    sum->pairs += (double)(row_count * key_count);
    sum->full += class == TILE_CLASS_FULL;
    sum->partial += class == TILE_CLASS_PARTIAL;
    sum->empty += class == TILE_CLASS_EMPTY;
}

static void check_case(const Case *c)
{
    const Spec *spec = read_spec(c->text);
    RefProblem problem = make_problem(spec, c);
    MaskSurvey *survey = mask_survey_create(arena, spec, &problem, c->block_m, c->block_n);
    MaskCount sum = {0}, count = mask_survey_count(survey, -1, -1);
    for (int64_t b = 0; b < c->B; b++)
        for (int64_t h = 0; h < c->H; h++) {
            MaskCount head = {0};
            for (int64_t m = 0; m < mask_survey_tiles_all(survey, true); m++)
                for (int64_t n = 0; n < mask_survey_tiles_all(survey, false); n++)
                    check_tile(survey, b, h, m, n, &head);
            MaskCount one = mask_survey_count(survey, b, h);
            CU_ASSERT_EQUAL(one.visible, head.visible);
            CU_ASSERT_EQUAL(one.partial, head.partial);
            sum.visible += head.visible;
            sum.pairs += head.pairs;
            sum.full += head.full;
            sum.partial += head.partial;
            sum.empty += head.empty;
        }
    CU_ASSERT_EQUAL(count.pairs, sum.pairs);
    CU_ASSERT_EQUAL(count.pairs, (double)(c->B * c->H * c->M * c->N));
    CU_ASSERT_EQUAL(count.visible, sum.visible);
    CU_ASSERT_EQUAL(count.full, sum.full);
    CU_ASSERT_EQUAL(count.partial, sum.partial);
    CU_ASSERT_EQUAL(count.empty, sum.empty);
    CU_ASSERT_FALSE(count.tiles_sampled || count.pairs_sampled);
    if (c->full >= 0) {
        CU_ASSERT_EQUAL(count.full, c->full);
        CU_ASSERT_EQUAL(count.partial, c->partial);
        CU_ASSERT_EQUAL(count.empty, c->empty);
    }
}

static void test_cases(void)
{
    static const Case cases[] = {
        {"attention a { mask j <= i }", 1, 2, 128, 128, {0}, {0}, 0, {32}, {32}, 12, 8, 12},
        {"attention a { mask j <= i }", 1, 1, 100, 130, {0}, {0}, 30, {32}, {16}, -1, 0, 0},
        {"attention a { mask j <= i }", 1, 1, 40, 60, {0}, {0}, -25, {8}, {16}, -1, 0, 0},
        {"attention a { score s }", 2, 3, 50, 70, {0}, {0}, 0, {16}, {32}, 72, 0, 0},
        {"attention a { param w: int = 37  mask j <= i and i - j < w }",
         1, 1, 150, 150, {0}, {0}, 0, {16}, {16}, -1, 0, 0},
        {"attention a { input doc[b, t]: i32  mask doc[i] == doc[j] and j <= i }",
         2, 1, 150, 150, {0}, {0}, 0, {16}, {32}, -1, 0, 0},
        {"attention a { input doc[b, t]: i32  mask doc[i] < doc[j] }",
         2, 2, 90, 150, {0}, {0}, 20, {16}, {32}, -1, 0, 0},
        {"attention a { input doc[b, t]: i32  input w[h]: i32  mask i - j < w[h] and doc[j] >= 0 and j <= i}",
         1, 4, 120, 120, {0}, {0}, 0, {24}, {20}, -1, 0, 0},
        {"attention a { mask i % 7 == j % 7 }", 1, 1, 60, 60, {0}, {0}, 0, {8}, {8}, -1, 0, 0},
        {"attention a over (y, x) { mask abs(i.y - j.y) <= 2 and abs(i.x - j.x) <= 3 }",
         1, 1, 9 * 13, 9 * 13, {9, 13}, {9, 13}, 0, {4, 4}, {2, 8}, -1, 0, 0},
        {"attention a over (y, x) { mask j.y <= i.y and j.x == i.x }",
         1, 1, 8 * 8, 5 * 8, {8, 8}, {5, 8}, 0, {2, 4}, {4, 4}, -1, 0, 0},
        {"attention a over (z, y, x) { mask abs(i.z - j.z) <= 1 and abs(i.y - j.y) <= 1 and j.x <= i.x }",
         1, 1, 4 * 5 * 6, 4 * 5 * 6, {4, 5, 6}, {4, 5, 6}, 0, {2, 2, 2}, {2, 4, 4}, -1, 0, 0},
    };
    for (int k = 0; k < 200; k++) {
        documents[k] = k / 23;
        documents[200 + k] = (k * 7) % 13;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        check_case(&cases[k]);
}

/* A tile that is all visible must be found full and a hidden one empty, where the bounds can be had exactly.
 */
static void test_exact(void)
{
    const Spec *spec = read_spec("attention a { param w: int = 64  mask j <= i and i - j < w }");
    Case c = {.B = 1, .H = 1, .M = 512, .N = 512};
    RefProblem problem = make_problem(spec, &c);
    int64_t block[3] = {16};
    MaskSurvey *survey = mask_survey_create(arena, spec, &problem, block, block);
    for (int64_t m = 0; m < 32; m++)
        for (int64_t n = 0; n < 32; n++) {
            int64_t back = m - n; /* tiles: i - j runs from 16 back - 15 to 16 back + 15 */
            TileClass expected = back < 0 || back > 4 ? TILE_CLASS_EMPTY
                               : back == 0 || back == 4 ? TILE_CLASS_PARTIAL : TILE_CLASS_FULL;
            CU_ASSERT_EQUAL(mask_survey_tile(survey, 0, 0, m, n), expected);
        }
}

/* Above the limits the counts are estimates, and near. */
static void test_sampled(void)
{
    const Spec *spec = read_spec("attention a { param w: int = 1000  mask j <= i and i - j < w }");
    double n = 1 << 20, visible = 1000 * n - 1000.0 * 999 / 2;
    Case c = {.B = 1, .H = 1, .M = 1 << 20, .N = 1 << 20};
    RefProblem problem = make_problem(spec, &c);
    int64_t block_m[3] = {512}, block_n[3] = {256};
    MaskSurvey *survey = mask_survey_create(arena, spec, &problem, block_m, block_n);
    MaskCount count = mask_survey_count(survey, -1, -1);
    CU_ASSERT_TRUE(count.tiles_sampled && count.pairs_sampled);
    CU_ASSERT_EQUAL(count.pairs, n * n);
    CU_ASSERT_DOUBLE_EQUAL(count.visible / visible, 1, 0.02);
    CU_ASSERT_DOUBLE_EQUAL((count.full + count.partial + count.empty) / (n / 512 * n / 256), 1, 0.01);
}

static void test_nothing(void)
{
    const Spec *spec = read_spec("attention a { mask j <= i }");
    int64_t block[3] = {16};
    for (int k = 0; k < 4; k++) {
        Case c = {.B = k != 0, .H = k != 1, .M = k != 2, .N = k != 3};
        RefProblem problem = make_problem(spec, &c);
        MaskCount count = mask_survey_count(mask_survey_create(arena, spec, &problem, block, block), -1, -1);
        CU_ASSERT_EQUAL(count.pairs + count.visible + count.full + count.partial, 0);
    }
}

static int set_up(void)
{
    arena = arena_create(); /* not armed: running out of memory ends the test */
    return arena == NULL;
}

static int tear_down(void)
{
    arena_destroy(arena);
    return 0;
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("mask survey", set_up, tear_down);
    CU_add_test(suite, "every pair", test_cases);
    CU_add_test(suite, "exact classes", test_exact);
    CU_add_test(suite, "samples", test_sampled);
    CU_add_test(suite, "no pairs", test_nothing);
    CU_basic_run_tests();
    int failures = (int)CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures ? 1 : 0;
}
