/* The suites of this folder, and the random expressions that they share. */
#ifndef ATTUNE_TEST_EXPR_H
#define ATTUNE_TEST_EXPR_H

#include "compiler/spec/expr.h"

void add_law_tests(void);
void add_range_tests(void);
void add_derive_tests(void);
void add_print_tests(void);

/* A tree as it was drawn, never simplified, with a meaning of its own: the oracle for laws and evaluation. */
typedef struct Tree Tree;
struct Tree {
    ExprOp op; /* EXPR_INT, FLOAT, BOOL constants; EXPR_VAR: variable `var`; else an operator */
    ExprType type;
    int var;
    ExprValue value;
    const Tree *args[3];
};

enum { TREE_VARS = 4 };
/* Variables of a tree: three int coordinates (VAR_I0, VAR_I1, VAR_J0 >= 0) and one float (VAR_S). */
extern const VarId tree_var[TREE_VARS];

typedef struct Random {
    uint64_t state;
} Random;
uint64_t random_next(Random *random);
int64_t random_between(Random *random, int64_t lo, int64_t hi);

/* used[op] counts the operators drawn. */
const Tree *tree_draw(Arena *arena, Random *random, ExprType type, int depth, long *used);
const Expr *tree_build(ExprPool *pool, const Tree *tree);
/* *odd is set when a NaN turned up on the way. */
ExprValue tree_value(const Tree *tree, const ExprValue *vars, bool *odd);

/* Evaluates e with these values of the tree's variables (others must not occur). */
ExprValue tree_eval(const Expr *e, const ExprValue *vars);

#endif
