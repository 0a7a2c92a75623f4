/* What the tests of dsl/ share: one parse with its arena, and the suites. */
#ifndef TESTS_DSL_PARSING_H
#define TESTS_DSL_PARSING_H

#include <CUnit/CUnit.h>

#include "dsl/dsl.h"

/* A finished parse; end it with parsing_end. */
typedef struct Parsing {
    Arena *arena;
    Diag *diag;
    Ast *ast;
    DslStatus status;
} Parsing;

Parsing parsing_begin(const char *text, size_t length, const DslOptions *options);
Parsing parsing_text(const char *text);
void parsing_end(Parsing *parsing);
/* The first error's text, or "". */
const char *parsing_error(const Parsing *parsing);
/* The tree with every bracket, as (+ a (* b c)); in the parse's arena. */
char *parsing_shape(const Parsing *parsing, const Node *node);
/* A file's text, malloced; NULL when it cannot be read. */
char *read_whole(const char *path, size_t *length);
/* Calls fn for each *.attn in tests/dsl/<folder>; returns how many there were. */
int each_file(const char *folder, void (*fn)(const char *path));

void diag_suite(void);
void parse_suite(void);
void print_suite(void);
void error_suite(void);
void limit_suite(void);
void import_suite(void);
void std_suite(void);

#endif
