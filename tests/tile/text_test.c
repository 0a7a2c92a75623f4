/* The text form: what is printed reads back as the same Program; what is wrong is refused with a message. */
#include <stdlib.h>
#include <string.h>

#include "tiling.h"

static const char *const programs[] = {"softmax", "linear", "minmax", "ragged", "logical"};
enum { PROGRAM_COUNT = sizeof programs / sizeof *programs };

/* Labels and everything else but comments between lines. */
static void round_trip(void)
{
    for (int k = 0; k < PROGRAM_COUNT; k++) {
        Tiling once, twice;
        tiling_open(&once, programs[k]);
        char *text = program_print(once.program, once.arena);
        tiling_parse(&twice, "printed", text, strlen(text));
        CU_ASSERT_PTR_NOT_NULL_FATAL(twice.program);
        CU_ASSERT_STRING_EQUAL(program_print(twice.program, twice.arena), text);
        CU_ASSERT(program_verify(twice.program, twice.diag));
        CU_ASSERT_EQUAL(twice.program->next_id, once.program->next_id);
        tiling_close(&once);
        tiling_close(&twice);
    }
}

/* The hand-written files are themselves in printed form, but for the comment in front. */
static void files_are_canonical(void)
{
    for (int k = 0; k < PROGRAM_COUNT; k++) {
        Tiling t;
        size_t length;
        char *file = tiling_read(programs[k], &length), *begin;
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        file[length] = '\0';
        begin = strstr(file, "program ");
        while (begin > file && begin[-1] != '\n')
            begin = strstr(begin + 1, "program ");
        tiling_open(&t, programs[k]);
        CU_ASSERT_STRING_EQUAL(program_print(t.program, t.arena), begin);
        tiling_close(&t);
        free(file);
    }
}

/* A shared subexpression that doubles with every step is written once a step. */
static void shared_parts(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    ExprPool *pool = expr_pool_create(arena);
    Program *program = program_create(arena, pool, "shared", 1);
    program->stage = STAGE_SIZED;
    Builder b = {.program = program, .block = program_phase(program, "p")->body, .span = SPAN_NONE};
    Inst *x = build_map(&b, expr_float(pool, 0.25), NULL, 0);
    const Expr *e = expr_arg(pool, 0, TYPE_FLOAT);
    for (int k = 0; k < 40; k++)
        e = expr_op2(pool, EXPR_MUL, expr_op1(pool, EXPR_SIN, e), expr_op1(pool, EXPR_COS, e));
    build_map(&b, e, &x, 1);
    char *text = program_print(program, arena);
    CU_ASSERT(strlen(text) < 4000);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " let #0 = "));
    Program *again = program_parse(arena, diag, diag_add_source(diag, "printed", text, strlen(text)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    CU_ASSERT_STRING_EQUAL(program_print(again, arena), text);
    CU_ASSERT(program_verify(again, diag));
    arena_destroy(arena);
}

static void labels_and_lines(void)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    ExprPool *pool = expr_pool_create(arena);
    Program *program = program_create(arena, pool, "labelled", 1);
    int source = diag_add_source(diag, "causal.attn", "one\ntwo\nthree\n", 14);
    Builder b = {.program = program,
                 .block = program_phase(program, "p")->body,
                 .span = {source, 4, 7},
                 .label = "mask"};
    build_map(&b, expr_int(pool, 1), NULL, 0);
    b.label = NULL;
    build_map(&b, expr_int(pool, 2), NULL, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(program_print(program, arena), "1 ; mask\n"));
    program->diag = diag;
    CU_ASSERT_PTR_NOT_NULL(strstr(program_print(program, arena), "1 ; mask causal.attn:2\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(program_print(program, arena), "2 ; causal.attn:2\n"));
    arena_destroy(arena);
}

/* Each with a part of the message that it must give. */
static void refused(void)
{
#define HEAD                                                                                                 \
    "program p rank 1 stage sized {\n axis m = 4\n tensor q : q f32 [M]\n phase a grid (b: B) {\n %0 = grid b\n"
    static const char *const cases[][2] = {
        {"", "expected 'program'"},
        {"program p rank 4 stage sized {}", "the rank must be between 0 and 3"},
        {"program p rank 1 stage size {}", "did you mean 'sized'?"},
        {"program p rank 1 stage sized { tensor q : query f32 [M] }", "'query' is not a tensor's role"},
        {"program p rank 1 stage sized { tensor q : q f32 [X] }", "'X' is not a size"},
        {"program p rank 1 stage sized { tensor q : q f32 [M, M, M, M, M, M, M] }", "more than 6 dimensions"},
        {"program p rank 1 stage sized { axis m = M }", "an axis' extent is a number"},
        {"program p rank 1 stage sized { axis m = 4 axis m = 4 }", "the axis 'm' is there twice"},
        {"program p rank 1 stage sized { knob k knob k }", "the knob 'k' is there twice"},
        {"program p rank 1 stage sized { axis m = 99999999999999999999 }", "does not fit in 64 bits"},
        {"program p rank 1 stage sized {} x", "expected nothing behind the program"},
        {"program p rank 1 stage sized {", "expected a declaration"},
        {"program p rank 1 stage sized { axes m = 4 }", "did you mean 'axis'?"},
        {"program 'p", "does not end on its line"},
        {"program '\\x00' rank", "expected \\x and two hexadecimal digits"},
        {"program p\x01", "byte 0x01 means nothing here"},
        {"program p ?", "'?' means nothing here"},
        {HEAD "%1 = grid c } }", "'c' is not a grid dimension: expected one of b"},
        {HEAD "%0 = grid b } }", "%0 is defined twice"},
        {HEAD "%1048576 = grid b } }", "value numbers are below 1048576"},
        {HEAD "set %0 = %9 } }", "%9 is not defined before"},
        {HEAD "grid b } }", "the value of grid needs a name"},
        {HEAD "%1 = set %0 = %0 } }", "this set has no value to name"},
        {HEAD "%1 = max n %0 } }", "'max' is not an operator"},
        {HEAD "%1 = reduce sun m %0 } }", "did you mean 'sum'?"},
        {HEAD "%1 : f32[n] = index m } }", "'n' is not an axis"},
        {HEAD "%1 : f33 = index m } }", "'f33' is not an element type"},
        {HEAD "%1 = load r(%0) } }", "'r' is not a tensor"},
        {HEAD "%1 = map (%0) $1 } }", "there is no operand $1: there are 1"},
        {HEAD "%1 = map (%0) $0 + 1.0 } }", "'+' does not take (int, float)"},
        {HEAD "%1 = map (%0) not $0 } }", "'not' does not take (int)"},
        {HEAD "%1 = map (%0) select(true, $0) } }", "'select' does not take that many operands"},
        {HEAD "%1 = map (%0) max(1, 2, 3, 4) } }", "'max' has too many operands"},
        {HEAD "%1 = map (%0) tahn(float($0)) } }", "did you mean 'tanh'?"},
        {HEAD "%1 = map (%0) widow } }", "unknown name 'widow'"},
        {HEAD "%1 = map (%0) $0 + %0 } }", "a value cannot stand in an expression"},
        {HEAD "%1 = map (%0) #0 } }", "#0 is not defined by a 'let' before"},
        {HEAD "%1 = map (%0) let #1 = 2 in #1 } }", "expected #0"},
        {HEAD "%1 = map (%0) ($0 + 1 } }", "expected ')'"},
        {HEAD "%1 = map (%0) } }", "expected an expression"},
        {HEAD "%1 = map (%0) 9223372036854775808 } }", "does not fit in 64 bits"},
        {HEAD "%1 = for %0 %0 { } } }", "expected '..'"},
        {HEAD "%1 = for %0 .. %0 set } }", "expected '{'"},
        {HEAD "if %0 { } else { }", "expected an operator"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Tiling t;
        tiling_parse(&t, "case", cases[k][0], strlen(cases[k][0]));
        CU_ASSERT_PTR_NULL(t.program);
        CU_ASSERT_EQUAL(t.diag->errors, 1);
        char *said = diag_to_text(t.diag);
        if (!strstr(said, cases[k][1])) {
            fprintf(stderr, "\nof '%s' expected '%s', got %s\n", cases[k][0], cases[k][1], said);
            CU_FAIL("the message is another");
        }
        tiling_close(&t);
    }
}

/* head, unit * count, middle, close * count, tail. */
static char *nest(const char *head, const char *unit, const char *middle, const char *close, int count,
                  const char *tail)
{
    char *text = malloc(strlen(head) + (strlen(unit) + strlen(close)) * (size_t)count + strlen(middle) +
                        strlen(tail) + 1);
    char *at = stpcpy(text, head);
    for (int k = 0; k < count; k++)
        at = stpcpy(at, unit);
    at = stpcpy(at, middle);
    for (int k = 0; k < count; k++)
        at = stpcpy(at, close);
    stpcpy(at, tail);
    return text;
}

static void limits(void)
{
    struct {
        const char *head, *unit, *middle, *close;
        int legal, illegal;
        const char *message;
    } const cases[] = {
        {HEAD "%1 = map (%0) ", "(", "$0", ")", 512, 513, "nest deeper than 512"},
        {HEAD "%1 = map (%0) ", "abs(", "$0", ")", 512, 513, "nest deeper than 512"},
        {HEAD "%1 = map (%0) ", "- ", "$0", "", 512, 100000, "nest deeper than 512"},
        {HEAD "%1 = map (%0) ", "not ", "true", "", 512, 100000, "nest deeper than 512"},
        {HEAD "%1 = map (%0) ", "2 ^ ", "$0", "", 512, 100000, "nest deeper than 512"},
        {HEAD "%1 = map (%0) $0", " % $0 - 1", "", "", 2048, 2049, "more than 4096 operators"},
        {HEAD "%1 : bool = map () true ", "if %1 { ", "", "}", 64, 65, "blocks nest deeper than 64"},
        {HEAD "%1 = map (%0", ", %0", ") 1", "", 23, 24, "more than 24 operands"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int wrong = 0; wrong < 2; wrong++) {
            Tiling t;
            char *text = nest(cases[k].head, cases[k].unit, cases[k].middle, cases[k].close,
                              wrong ? cases[k].illegal : cases[k].legal, " } }");
            tiling_parse(&t, "limit", text, strlen(text));
            CU_ASSERT_EQUAL(t.program == NULL, wrong);
            if (wrong)
                CU_ASSERT_PTR_NOT_NULL(strstr(t.diag->first->text, cases[k].message));
            if (t.program)
                CU_ASSERT(program_verify(t.program, t.diag));
            tiling_close(&t);
            free(text);
        }
}

void text_tests(void)
{
    CU_pSuite suite = CU_add_suite("text", NULL, NULL);
    CU_add_test(suite, "round trip", round_trip);
    CU_add_test(suite, "files are canonical", files_are_canonical);
    CU_add_test(suite, "shared parts", shared_parts);
    CU_add_test(suite, "labels and lines", labels_and_lines);
    CU_add_test(suite, "refused", refused);
    CU_add_test(suite, "limits", limits);
}
