/* What is parsed to which tree. */
#include <stdio.h>
#include <string.h>

#include "parsing.h"

/* The shape of one expression. */
static void expect_shape(const char *expression, const char *shape)
{
    char text[1024];
    snprintf(text, sizeof text, "def f() = %s", expression);
    Parsing parsing = parsing_text(text);
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    if (parsing.status == DSL_OK) {
        const char *got = parsing_shape(&parsing, ast_main(parsing.ast)->child[0]->child[2]);
        if (strcmp(got, shape) != 0)
            printf("\n  %s\n  gave %s\n  not  %s\n", expression, got, shape);
        CU_ASSERT_STRING_EQUAL(got, shape);
    } else {
        printf("\n  %s: %s\n", expression, parsing_error(&parsing));
    }
    parsing_end(&parsing);
}

static void precedence(void)
{
    expect_shape("a + b * c", "(+ a (* b c))");
    expect_shape("a - b - c", "(- (- a b) c)");
    expect_shape("a / b % c * d", "(* (% (/ a b) c) d)");
    expect_shape("(a + b) * c", "(* (+ a b) c)");
    expect_shape("-a ^ b", "(- (^ a b))");
    expect_shape("a ^ b ^ c", "(^ a (^ b c))");
    expect_shape("a ^ -b * c", "(* (^ a (- b)) c)");
    expect_shape("--a", "(- (- a))");
    expect_shape("a - -b", "(- a (- b))");
    expect_shape("-a * b", "(* (- a) b)");
    expect_shape("not a == b and c or d", "(or (and (not (== a b)) c) d)");
    expect_shape("not not a", "(not (not a))");
    expect_shape("a or b and not c", "(or a (and b (not c)))");
    expect_shape("a + b < c * d", "(< (+ a b) (* c d))");
    expect_shape("-v[c].y", "(- (member y (index v c)))");
    expect_shape("f(a)[b][c].x", "(member x (index (index (call f a) b) c))");
}

static void chains(void)
{
    expect_shape("a <= b < c", "(and~ (<= a b) (< b c))");
    expect_shape("a > b >= c > d", "(and~ (and~ (> a b) (>= b c)) (> c d))");
    expect_shape("a == b <= c", "(and~ (== a b) (<= b c))");
    expect_shape("a < b and b < c", "(and (< a b) (< b c))");
    expect_shape("(a < b) == c", "(== (< a b) c)");
    expect_shape("a == (b < c)", "(== a (< b c))");
    expect_shape("(a < b < c) == d", "(== (and~ (< a b) (< b c)) d)");
    expect_shape("not a < b < c", "(not (and~ (< a b) (< b c)))");
    Parsing parsing = parsing_text("def f() = a < b < c");
    const Node *chain = ast_main(parsing.ast)->child[0]->child[2];
    CU_ASSERT_PTR_EQUAL(chain->child[0]->child[1], chain->child[1]->child[0]);
    parsing_end(&parsing);
}

static void forms(void)
{
    expect_shape("if a then b else if c then d else e", "(if a b (if c d e))");
    expect_shape("let u = a + 1 in u * u", "(let u (+ a 1) (* u u))");
    expect_shape("(if a then b else c) + 1", "(+ (if a b c) 1)");
    expect_shape("f()", "(call f)");
    expect_shape("f(a, eps = 1e-6, b = c)", "(call f a (named argument eps 1e-6) (named argument b c))");
    expect_shape("sum(c in 0..D, q[c] * k[c])", "(reduction sum c 0 D (* (index q c) (index k c)))");
    expect_shape("max(c in a + 1..2 * n - 1, f(c))", "(reduction max c (+ a 1) (- (* 2 n) 1) (call f c))");
    expect_shape("(13, 13)", "(tuple 13 13)");
    expect_shape("(a, b, (c, d))", "(tuple a b (tuple c d))");
    expect_shape("((a))", "a");
    expect_shape("true and false", "(and true false)");
    expect_shape("x[a, b + 1, c]", "(index x a (+ b 1) c)");
    expect_shape("// note\n a /* b */ + // c\n b", "(+ a b)");
}

static void numbers(void)
{
    struct { const char *text; NodeKind kind; int64_t integer; double real;
    } cases[] = {
        {"0", NODE_INTEGER, 0, 0},
        {"42", NODE_INTEGER, 42, 0},
        {"0x1F", NODE_INTEGER, 31, 0},
        {"0xffffFFFFffff", NODE_INTEGER, 0xffffffffffff, 0},
        {"9223372036854775807", NODE_INTEGER, INT64_MAX, 0},
        {"007", NODE_INTEGER, 7, 0},
        {"1.5", NODE_REAL, 0, 1.5},
        {"1e3", NODE_REAL, 0, 1000},
        {"2.5e-3", NODE_REAL, 0, 0.0025},
        {"1E+2", NODE_REAL, 0, 100},
        {"0.1", NODE_REAL, 0, 0.1},
        {"1e-400", NODE_REAL, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "def f() = %s", cases[i].text);
        Parsing parsing = parsing_text(text);
        CU_ASSERT_EQUAL_FATAL(parsing.status, DSL_OK);
        const Node *node = ast_main(parsing.ast)->child[0]->child[2];
        CU_ASSERT_EQUAL(node->kind, cases[i].kind);
        CU_ASSERT_EQUAL(node->integer, cases[i].integer);
        CU_ASSERT(node->number == cases[i].real);
        CU_ASSERT_STRING_EQUAL(node->name, cases[i].text);
        parsing_end(&parsing);
    }
}

/* The shape of the items of one attention. */
static void expect_items(const char *items, const char *shape)
{
    char text[1024];
    snprintf(text, sizeof text, "attention a { %s }", items);
    Parsing parsing = parsing_text(text);
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    if (parsing.status == DSL_OK) {
        const char *got = parsing_shape(&parsing, ast_main(parsing.ast)->child[0]->child[1]);
        if (strcmp(got, shape) != 0)
            printf("\n  %s\n  gave %s\n  not  %s\n", items, got, shape);
        CU_ASSERT_STRING_EQUAL(got, shape);
    } else {
        printf("\n  %s: %s\n", items, parsing_error(&parsing));
    }
    parsing_end(&parsing);
}

static void items(void)
{
    expect_items("", "(list)");
    expect_items("param w: int", "(list (param w int _))");
    expect_items("param const w: int2 = (3, 4)", "(list (param const w int2 (tuple 3 4)))");
    expect_items("input doc[b, t]: i32", "(list (input doc (list b t) i32))");
    expect_items("input bias: f32", "(list (input bias _ f32))");
    expect_items("learned input slope[h, 2 * w + 1]: f32",
                 "(list (input learned slope (list h (+ (* 2 w) 1)) f32))");
    expect_items("input keep[b]: blocks(128)", "(list (input keep (list b) (type blocks 128)))");
    expect_items("let near = i - j < 3 mask near", "(list (let item near (< (- i j) 3)) (mask near))");
    expect_items("mask let w = 3 in j < w score s", "(list (mask (let w 3 (< j w))) (score s))");
    expect_items("similarity -norm2(q - k)", "(list (similarity (- (call norm2 (- q k)))))");
    expect_items("feature q, k [r] = exp(x) feature v = x",
                 "(list (feature (list q k) r (call exp x)) (feature (list v) _ x))");
    expect_items("normalize softmax(sink[h]) normalize none",
                 "(list (normalize (call softmax (index sink h))) (normalize none))");
    expect_items("decay delta(beta = b[t])", "(list (decay (call delta (named argument beta (index b t)))))");
    expect_items("select blocks(block) top(topk) by dot(q, mean(k)) always own, first(2)",
                 "(list (select (call blocks block) (call top topk) (call dot q (call mean k)) "
                 "(list own (call first 2))))");
    expect_items("select keep select tokens always own mask true",
                 "(list (select keep _ _ _) (select tokens _ _ (list own)) (mask true))");
    expect_items("output sigmoid(g[i]) * o return lse, column_sum",
                 "(list (output (* (call sigmoid (index g i)) o)) (return (list lse column_sum)))");
    expect_items("stream b { score s normalize sum }", "(list (stream b (list (score s) (normalize sum))))");
    expect_items("schedule sm_90a { block_m = 128  stages = -1 }",
                 "(list (schedule sm_90a (list (setting block_m 128) (setting stages (- 1)))))");
}

static void top_level(void)
{
    Parsing parsing = parsing_text("import \"std/windows\" def f(x: float, n): float = x\n"
                                   "attention a over (y, x) { } def g() = 1");
    CU_ASSERT_EQUAL_FATAL(parsing.status, DSL_OK);
    const Node *file = ast_main(parsing.ast);
    CU_ASSERT_EQUAL_FATAL(file->count, 4);
    CU_ASSERT_STRING_EQUAL(parsing_shape(&parsing, file->child[1]),
                           "(def f (list (def parameter x float) (def parameter n _)) float x)");
    CU_ASSERT_STRING_EQUAL(parsing_shape(&parsing, file->child[2]), "(attention a (list y x) (list))");
    CU_ASSERT_EQUAL(file->child[0]->child[0]->kind, NODE_FILE);
    CU_ASSERT_STRING_EQUAL(file->name, "test.attn");
    CU_ASSERT_EQUAL(parsing.ast->file_count, 2);
    parsing_end(&parsing);

    parsing = parsing_text("");
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    CU_ASSERT_EQUAL(ast_main(parsing.ast)->count, 0);
    parsing_end(&parsing);
    parsing = parsing_text("\xef\xbb\xbf// only a comment");
    CU_ASSERT_EQUAL(parsing.status, DSL_OK);
    parsing_end(&parsing);
}

/* Every span lies in its parent's, and shows the node's own text. */
static void check_spans(const Parsing *parsing, const Node *node, Span outer)
{
    CU_ASSERT(node->span.file == outer.file && node->span.begin >= outer.begin &&
              node->span.end <= outer.end);
    CU_ASSERT(node->span.begin <= node->span.end);
    if (node->name_span.file >= 0 && node->kind != NODE_FILE) {
        const char *text = parsing->diag->sources[node->name_span.file].text;
        uint32_t begin = node->name_span.begin + (node->kind == NODE_IMPORT);
        CU_ASSERT(strncmp(text + begin, node->name, strlen(node->name)) == 0);
    }
    for (int i = 0; i < node->count; i++)
        if (node->child[i] && node->kind != NODE_IMPORT)
            check_spans(parsing, node->child[i], node->span);
}

static void spans(void)
{
    Parsing parsing = parsing_text("import \"std/windows\"\ndef f(x: float, n): float = if x < n < 2 then "
                                   "(x) else let u = x in u[1, 2].y\n"
                                   "attention a over (y, x) { param const w: int = 3 learned input s[h]: f32 "
                                   "input z: i32 mask (j) <= (i)\n"
                                   "feature q, k [r] = -x ^ 2 select b(1) top(2) by (q) always own schedule "
                                   "t { a = (1) } stream b { } }");
    CU_ASSERT_EQUAL_FATAL(parsing.status, DSL_OK);
    const Node *file = ast_main(parsing.ast);
    check_spans(&parsing, file, file->span);
    const Node *items = file->child[2]->child[1];
    const char *text = parsing.diag->sources[file->span.file].text;
    Span learned = items->child[1]->span, input = items->child[2]->span, mask = items->child[3]->span;
    CU_ASSERT(strncmp(text + learned.begin, "learned input s[h]: f32", learned.end - learned.begin) == 0);
    CU_ASSERT(strncmp(text + input.begin, "input z: i32", input.end - input.begin) == 0);
    CU_ASSERT(strncmp(text + mask.begin, "mask (j) <= (i)", mask.end - mask.begin) == 0);
    CU_ASSERT_EQUAL(text[file->child[2]->open], '{');
    parsing_end(&parsing);
}

static void names_are_interned(void)
{
    Parsing parsing = parsing_text("def f(x) = x + x");
    const Node *sum = ast_main(parsing.ast)->child[0]->child[2];
    CU_ASSERT_PTR_EQUAL(sum->child[0]->name, sum->child[1]->name);
    parsing_end(&parsing);
}

void parse_suite(void)
{
    CU_pSuite suite = CU_add_suite("parse", NULL, NULL);
    CU_add_test(suite, "precedence", precedence);
    CU_add_test(suite, "chains", chains);
    CU_add_test(suite, "forms", forms);
    CU_add_test(suite, "numbers", numbers);
    CU_add_test(suite, "items", items);
    CU_add_test(suite, "top level", top_level);
    CU_add_test(suite, "spans", spans);
    CU_add_test(suite, "names", names_are_interned);
}
