/* What the tests of the code generator share: Programs made with the builder, run by the interpreter and as
 * code. */
#ifndef ATTUNE_TESTS_EMITTING_H
#define ATTUNE_TESTS_EMITTING_H

#include <CUnit/Basic.h>

#include "compiler/emit/llvm.h"
#include "tests/support/random.h"

/* A Program under construction with one phase over (b: B) and the builder at its end. */
typedef struct Making {
    Arena *arena;
    Diag *diag;
    ExprPool *pool;
    Program *program;
    Phase *phase;
    Builder at;
} Making;

void making_open(Making *m, const char *name);
void making_close(Making *m);
int making_axis(Making *m, const char *name, int64_t extent);
int making_tensor(Making *m, const char *name, TensorRole role, ElemType elem, int dims);
/* map of an expression in ARG(k) */
Inst *making_map(Making *m, const Expr *e, Inst *a, Inst *b, Inst *c);
const Expr *making_arg(Making *m, int k, ExprType type);
/* Stage SIZED, verified; false with the complaints printed. */
bool making_finish(Making *m);

/* Code of a Program in this process. */
typedef struct Code {
    Kernel *kernel;
    LlvmCode *loaded;
    void *scratch;
} Code;
/* Compiles for a target that this machine can run; false with the reasons printed. */
bool code_make(Code *code, Making *m, const char *target);
/* All phases over `items` work items each. */
void code_run(const Code *code, const int64_t *slots, int64_t items);
void code_drop(Code *code);
/* The targets among "cpu" and the x86-64 levels that this machine can run. */
int runnable_targets(const char *const **names);

void slots_tensor(int64_t *slots, int tensor, void *data, int dims, const int64_t *strides);

void math_tests(void);
void program_tests(void);
void random_tests(void);
void object_tests(void);

#endif
