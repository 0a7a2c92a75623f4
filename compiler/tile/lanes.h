/* Lanes: an Expr compiled to straight-line code over short arrays, the interpreter's inner loop.
 *
 * A register holds up to `width` elements: float for floats (rounded after every operation), int64_t for ints
 * and bools. The meaning of an operator is its row of expr_ops.def, as in expr_eval. */
#ifndef ATTUNE_LANES_H
#define ATTUNE_LANES_H

#include "compiler/spec/expr.h"

typedef union LaneData { float *f; int64_t *i; void *p; } LaneData;

typedef struct LaneStep {
    uint16_t op; /* ExprOp */
    bool float_operands, float_result;
    int out, x[3];
} LaneStep;

typedef struct Lanes {
    LaneStep *steps;
    int step_count, reg_count;
    LaneData *reg;  /* the caller may point an operand's register at its own memory */
    LaneData *own;  /* the memory that each register was given */
    int *arg_reg;   /* by operand: its register, -1: not used */
    int arg_count, width, result;
    bool float_result;
} Lanes;

/* leaf(user, e): the value of a size or param, the same for every element. */
Lanes *lanes_compile(Arena *arena, const Expr *e, int arg_count, int width,
                     ExprValue (*leaf)(void *user, const Expr *e), void *user);
/* Runs all steps for the first `count` lanes; operands' registers are filled. The result is reg[result]. */
void lanes_run(const Lanes *lanes, int count);

#endif
