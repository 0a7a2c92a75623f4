/* The scanner's two entry points, between lexer.l and grammar.y. Private to dsl/. */
#ifndef ATTUNE_DSL_LEXER_H
#define ATTUNE_DSL_LEXER_H

#include "dsl/parser.h"
#include "dsl_grammar.h" /* tokens and their value type, written by bison */

/* Starts to scan the parser's text. */
void lexer_begin(Parser *parser);
/* The next token; 0 at the end. Its place goes to *span. */
int lexer_scan(DSL_YYSTYPE *value, Span *span, void *scanner);

#endif
