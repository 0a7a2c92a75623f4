/* A slow evaluator of def calls, straight from the tree, in double: what the library's functions mean. */
#ifndef TESTS_DSL_EVALUATE_H
#define TESTS_DSL_EVALUATE_H

#include "dsl/ast.h"

enum { VALUE_MOST = 160 };

/* A scalar (count 0), or a vector or tuple of count elements. Booleans are 0 and 1. */
typedef struct Value {
    int count;
    bool is_int;
    double at[VALUE_MOST];
} Value;

Value value_int(long number);
Value value_real(double number);
Value value_ints(int count, const int *numbers);
Value value_reals(int count, const double *numbers);
/* The value of def `name` of the Ast's files; a failed CUnit assertion and 0 when something has no meaning
 * here. */
Value evaluate_def(const Ast *ast, const char *name, const Value *arguments, int count);

#endif
