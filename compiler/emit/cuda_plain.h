/* The plan of a phase for cuda_plain: which values are tiles in shared memory, and the steps that make them.
 *
 * A block of threads computes one work item. A value without axes is a register of every thread. Ints and
 * bools that depend on nothing that changes are computed where they are read; so are floats that only a sum
 * reads, at once, and the operands of products over a long axis, whose tiles would be too large. Every other
 * value belongs to a step, and lies in shared memory when another step reads it. */
#ifndef ATTUNE_CUDA_PLAIN_H
#define ATTUNE_CUDA_PLAIN_H

#include "cuda_gen.h"

enum {
    PLAIN_THREADS = 256,
    PLAIN_MAX_MEMBERS = 48,
    PLAIN_AT_ONCE = 4, /* columns: see plain_at_once */
    PLAIN_SLICE = 64 /* of a long axis that a product sums over */
};

typedef enum PlainKind { PLAIN_SCALAR, PLAIN_INLINE, PLAIN_TILE } PlainKind;

typedef enum StepKind {
    STEP_SCALAR, /* a statement of every thread */
    STEP_GROUP,  /* elementwise over the same axes, with reductions along the last: one loop */
    STEP_REDUCE, /* along another axis, or to a scalar */
    STEP_CONTRACT,
    STEP_FOR,
    STEP_IF
} StepKind;

typedef struct PlainValue PlainValue;
typedef struct Step Step;
struct Step {
    StepKind kind;
    int order, end; /* position; of loops also that of their last step */
    TileType axes;  /* that the loop runs over (elem is of no meaning) */
    Inst *members[PLAIN_MAX_MEMBERS];
    int member_count;
    PlainValue *slices; /* of a product in slices: two, for its operands */
    Step *parent, *next, *body, *orelse;
};

struct PlainValue {
    PlainKind kind;
    const Inst *inst; /* the value; NULL: a slice */
    Step *step;       /* that makes it */
    bool buffered;    /* lies in shared memory */
    bool product;     /* operand of a matrix product on tensor cores: rows and columns are padded to 16 */
    bool vector;      /* operand of a product of floats: read in groups of four */
    bool zero_rows, zero_columns; /* the padding must be zero */
    int rows, columns, pitch; /* of the matrix that the last axis and all others make, padded; in elements */
    int size, offset;         /* bytes of an element, in shared memory */
    int first, last;          /* steps between which it is alive */
    bool spilled;             /* lies in global memory: offset counts there */
    bool taken;               /* another value lies in the same place from the last step on */
};

typedef struct PlainPlan {
    CudaGen *g;
    PlainValue *values; /* by instruction id */
    bool *stored;       /* by tensor: this phase writes it */
    uint32_t *uses;     /* by instruction id */
    bool products;      /* some contraction goes to tensor cores */
    Step *steps;
    int bytes;           /* of shared memory */
    int64_t spill_bytes; /* of global memory, a block: what shared memory has no room for */
    int spill_tensor;    /* the workspace where it lies; -1: none */
    int64_t long_axis;   /* products over more take their operands in slices */
    int slices;          /* blocks a work item: see CudaGen.slice_axis */
} PlainPlan;

/* False with an error when the tiles do not fit the shared memory (its id is PLAIN_TOO_LARGE). */
#define PLAIN_TOO_LARGE "tile-memory"
bool plain_plan(CudaGen *g, PlainPlan *plan);
/* cuda_plain_memory.c: lifetimes and places of the tiles. With `spill` what shared memory has no room for
 * goes to global memory. False: it does not fit. */
bool plain_place(PlainPlan *plan, bool spill);
/* How the phase is launched. */
void plain_launch(const PlainPlan *plan, KernelPhase *out);
/* Blocks that share a work item become a dimension of the grid. */
void plain_divide_grid(Phase *phase, int slices);
/* A product of two matrices, elementwise operands apart: on tensor cores or in floats. */
bool plain_is_matrix(const Inst *contract);
/* Tensor cores multiply it: operands of one 16-bit type with two axes each. */
bool plain_is_product(const Inst *contract);
/* Calls see for every tile or scalar that `inst` reads, through values that are computed in place. */
void plain_reads(const PlainPlan *plan, const Inst *inst, void (*see)(void *user, const Inst *value),
                 void *user);
int64_t plain_count(const CudaGen *g, const TileType *axes); /* elements */
int64_t plain_extent(const CudaGen *g, int axis);
bool plain_same_axes(const TileType *a, const TileType *b);
/* Neighbouring lanes that share a row in the loop of a group. */
int plain_lanes(const CudaGen *g, const TileType *axes);
/* Columns of a row that a thread takes in one go, so that their loads come together; few in large groups. */
int plain_at_once(const CudaGen *g, const Step *group);
/* A group that is a copy of rows of a tensor that lie together: they go 16 bytes at a time. */
bool plain_is_copy(const PlainPlan *plan, const Step *step);

/* cuda_plain_order.c: what was touched since the last barrier. */
typedef struct Pending Pending;
Pending *plain_pending(CudaGen *g, const Pending *like); /* NULL: nothing */
bool plain_any_pending(const Pending *pending);
void plain_none_pending(Pending *pending); /* a barrier was put */
/* Adds what the step touches. True: a barrier must stand before it, and nothing older is pending. */
bool plain_order(const PlainPlan *plan, Pending *pending, const Step *step);
/* Adds what is pending at the end of another way to the same place. True: a barrier must stand there. */
bool plain_join(Pending *pending, const Pending *other);

#endif
