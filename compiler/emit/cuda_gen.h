/* What the files of the CUDA emitter share: a Program's phases become __global__ functions of one CUDA C++ text.
 *
 *     cuda.c         the door: text -> NVRTC -> Kernel
 *     cuda_expr.c    Exprs, loads and stores of one element as CUDA C++
 *     cuda_range.c   which ints fit 32 bits
 *     cuda_plain*.c  any phase: a block of threads a work item, tiles in shared memory
 *     cuda_attend*.c attention phases on Hopper: TMA, wgmma, warp roles */
#ifndef ATTUNE_CUDA_GEN_H
#define ATTUNE_CUDA_GEN_H

#include "compiler/target.h"

typedef struct IntRange { int64_t lo, hi; } IntRange; /* INT64_MIN, INT64_MAX: not known */

typedef struct CudaGen {
    Arena *arena;
    Diag *diag;
    const Target *target;
    Program *program;        /* phases may add workspaces */
    const Phase *phase;      /* the one being emitted */
    Text text;               /* the translation unit so far */
    int indent;              /* of the next line, in steps of 4 */
    uint32_t next_name;      /* for names of temporaries */
    IntRange *ranges;        /* of int values, by instruction id: cuda_range.c */
    bool easily;             /* cuda_plain gives up sooner: smaller tiles may suit better */
    int slice_axis;          /* with slice_extent > 0: a block of cuda_plain computes so much of this axis */
    int64_t slice_extent;
    bool exact_differences;  /* exp(x - y) subtracts first: right for scores of any size, one instruction more */
} CudaGen;

/* One line (or part of one) of text at the current indentation. */
void cuda_line(CudaGen *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* cuda_expr.c: inside every kernel `P` is the launch (struct with `long long slots[]`) and is in scope wherever
 * these texts are used. All values are those of ONE element of a tile; `operand` gives the text of another
 * instruction's value at the same element (its axes are a subset), free of side effects and cheap to repeat. */
typedef struct CudaOperands {
    const char *(*text)(void *user, const Inst *value);
    void *user;
} CudaOperands;

/* "bool", "int", "long long" or "float": what an element of the value is held in. Storage types are held as floats that
 * are rounded already. */
const char *cuda_type(const CudaGen *g, const Inst *value);
/* The value of a map at this element: statements for what is used twice go to the text, the result is an expression or
 * a name. A map of a storage type is rounded to it. */
const char *cuda_map(CudaGen *g, const Inst *map, CudaOperands operands);
/* The same for an Expr over ARG(k) = operands of `inst`. */
const char *cuda_scalar(CudaGen *g, const Inst *inst, const Expr *e, CudaOperands operands);
/* The element that a load reads, zero where its guard is false; as cuda_map. */
const char *cuda_load(CudaGen *g, const Inst *load, CudaOperands operands);
/* A statement that stores `value` (text of a float, int or bool) where `store` says, under its guard. */
void cuda_store(CudaGen *g, const Inst *store, CudaOperands operands, const char *value);
/* The address that a load or store touches, without its guard: text of a pointer to the stored type
 * ("unsigned short" for bf16 and f16, "float", "int", "long long", "unsigned char"). */
const char *cuda_address(CudaGen *g, const Inst *access, CudaOperands operands);
/* Text of a launch fact: a size, the offset, a param (float params as float). */
const char *cuda_size(CudaGen *g, VarId size);
const char *cuda_param(CudaGen *g, int param);
/* A float or int literal that reads back exactly. */
const char *cuda_float_literal(CudaGen *g, double value);

/* cuda_range.c: fills g->ranges for the whole Program. */
void cuda_ranges(CudaGen *g);
bool cuda_narrow(const CudaGen *g, const Inst *value); /* fits int */

/* cuda_wgmma.c: a function `name` for one instruction m64 nN k16 on accumulators C: C += a b. */
typedef struct CudaWgmma {
    bool registers;          /* a comes from registers, not from shared memory */
    bool by_rows;            /* b's rows are the sum's index; else its columns, which are contiguous */
    bool first;              /* C is written only */
} CudaWgmma;
void cuda_wgmma(CudaGen *g, const char *name, const char *elem, int n, CudaWgmma form);

/* A __global__ function `entry(const __grid_constant__ Launch_<phase> P)` for g->phase, appended to the text, with its
 * launch configuration and maps in `out` (whose entry is set). cuda_attend: false when the phase is
 * not of its form, and then nothing was appended. cuda_plain: false with a diagnostic. */
bool cuda_attend(CudaGen *g, KernelPhase *out);
bool cuda_plain(CudaGen *g, KernelPhase *out, int *slices);

/* cuda.c: the whole text and how its phases are launched. */
enum { CUDA_PLAIN_ONLY = 1 /* everything goes to cuda_plain */, CUDA_EASILY = 2 /* see CudaGen.easily */ };
typedef enum CudaPath { CUDA_PLAIN, CUDA_ATTEND } CudaPath;
typedef struct CudaText {
    char *text;
    KernelPhase phases[PROGRAM_MAX_PHASES];
    CudaPath path[PROGRAM_MAX_PHASES];
    int slices[PROGRAM_MAX_PHASES]; /* blocks a work item of the Program's grid, next to one another */
} CudaText;
bool cuda_program(const Target *target, Arena *arena, Diag *diag, Program *program, unsigned how,
                  CudaText *out);

#endif
