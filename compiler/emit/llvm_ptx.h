/* PTX through LLVM: the same steps as cuda_plain's (cuda_plain.h), as LLVM code for NVPTX. Nothing but the
 * driver is needed to run the result.
 *
 *     llvm_ptx.c         the door: Program -> module -> PTX text -> Kernel
 *     llvm_ptx_walk.c    phases, steps, loops, barriers
 *     llvm_ptx_group.c   elementwise steps and copies
 *     llvm_ptx_sum.c     reductions and contractions
 *     llvm_ptx_product.c block-wide matrix products: tensor cores, or floats
 *     llvm_ptx_value.c   one element: its place, its value, loads and stores
 *     llvm_ptx_expr.c    Exprs
 *     llvm_ptx_isa.c     the machine's own instructions */
#ifndef ATTUNE_EMIT_LLVM_PTX_H
#define ATTUNE_EMIT_LLVM_PTX_H

#include "cuda_plain.h"
#include "llvm_gen.h"

typedef struct Ptx {
    Gen l;         /* LLVM's handles, for llvm_value.c and llvm_math.c */
    CudaGen *g;    /* what the plan is made with */
    PlainPlan plan;
    Pending *pending;
    LLVMValueRef *value; /* by instruction id: at the element at hand; scalars' for good (vars: their slot) */
    uint32_t *named;     /* stack of those that hold for the element at hand */
    int named_count;
    LLVMValueRef coord[PROGRAM_MAX_AXES]; /* i32, of the element at hand */
    LLVMValueRef grid[PROGRAM_MAX_GRID];  /* i32 */
    LLVMValueRef thread, block, slice;    /* i32; slice: the first coordinate along g->slice_axis */
    LLVMValueRef tiles, spill;            /* shared memory; this block's part of the workspace */
    LLVMValueRef tiles_at;                /* i32: the address of shared memory for instructions of its own */
    LLVMTypeRef f16, global;              /* pointers to global memory */
    bool host;                            /* for tests: see llvm_ptx_isa.c */
    bool low, coarse;                     /* q has 16 bits; it is bf16 */
    bool copies;                          /* asynchronous copies may be on their way */
} Ptx;

/* llvm_ptx_isa.c */
LLVMValueRef ptx_register(Ptx *p, const char *name); /* i32: "tid.x", "ctaid.x" */
void ptx_barrier(Ptx *p);                            /* for what copies brought too */
/* The value (i32, i64 or f32) of the lane whose number differs in these bits. */
LLVMValueRef ptx_shuffle(Ptx *p, LLVMValueRef v, LLVMValueRef bits);
/* An instruction of one f32 operand, or two: "ex2.approx.ftz.f32". */
LLVMValueRef ptx_approx(Ptx *p, const char *instruction, LLVMValueRef a, LLVMValueRef b);
/* Four 8 x 8 matrices; lane l names row l % 8 of matrix l / 8. at: i32. */
void ptx_ldmatrix(Ptx *p, bool transposed, LLVMValueRef at, LLVMValueRef fragment[4]);
/* sum += a b, m16n8k16 */
void ptx_mma(Ptx *p, bool bf16, LLVMValueRef sum[4], const LLVMValueRef a[4], LLVMValueRef b0,
             LLVMValueRef b1);
/* 16 bytes from global to shared memory, zeros where `take` is false (NULL: true). */
void ptx_copy16(Ptx *p, LLVMValueRef to, LLVMValueRef from, LLVMValueRef take);
void ptx_function_attributes(Ptx *p, LLVMValueRef function);

/* llvm_ptx_value.c */
#define PTX_INT(p, n) const_i32(&(p)->l, (n))
LLVMTypeRef ptx_type(Ptx *p, const Inst *value);        /* i1, i32, i64, f32: what an element is held in */
LLVMTypeRef ptx_memory_type(Ptx *p, const Inst *value); /* in tiles */
LLVMValueRef ptx_fit(Ptx *p, LLVMValueRef v, LLVMTypeRef type); /* ints widened or narrowed */
LLVMValueRef ptx_slot(Ptx *p, int slot);                /* i64 */
LLVMValueRef ptx_size(Ptx *p, VarId size);              /* i32 */
LLVMValueRef ptx_element(Ptx *p, const Inst *value);
LLVMValueRef ptx_hold(Ptx *p, const Inst *value, LLVMValueRef v); /* until ptx_leave */
void ptx_leave(Ptx *p, int mark);
LLVMValueRef ptx_read(Ptx *p, const Inst *value); /* a tile's element */
void ptx_write(Ptx *p, const Inst *value, LLVMValueRef v);
LLVMValueRef ptx_rounded(Ptx *p, ElemType elem, LLVMValueRef v);
LLVMValueRef ptx_to_bits(Ptx *p, ElemType elem, LLVMValueRef v); /* f32 -> i16 */
LLVMValueRef ptx_of_bits(Ptx *p, ElemType elem, LLVMValueRef v);
LLVMValueRef ptx_load(Ptx *p, const Inst *load);
void ptx_store(Ptx *p, const Inst *store, LLVMValueRef v);
LLVMValueRef ptx_address(Ptx *p, const Inst *access);
/* A tile, or a slice of one, and an element of it (index: i32). */
LLVMValueRef ptx_buffer(Ptx *p, const PlainValue *place);
LLVMValueRef ptx_at(Ptx *p, LLVMValueRef buffer, LLVMTypeRef elem, LLVMValueRef index);

/* llvm_ptx_expr.c */
LLVMValueRef ptx_map(Ptx *p, const Inst *map);
LLVMValueRef ptx_scalar(Ptx *p, const Inst *inst, const Expr *e); /* over ARG(k) = operands of inst */

/* llvm_ptx_walk.c: arithmetic on i32, blocks, loops */
LLVMValueRef ptx_add(Ptx *p, LLVMValueRef a, int64_t b);
LLVMValueRef ptx_mul(Ptx *p, LLVMValueRef a, int64_t b);
LLVMValueRef ptx_div(Ptx *p, LLVMValueRef a, int64_t b); /* a >= 0 */
LLVMValueRef ptx_mod(Ptx *p, LLVMValueRef a, int64_t b);
LLVMValueRef ptx_sum(Ptx *p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef ptx_less(Ptx *p, LLVMValueRef a, int64_t b);
LLVMValueRef ptx_variable(Ptx *p, LLVMTypeRef type, LLVMValueRef first); /* its slot; first may be NULL */
LLVMValueRef ptx_get(Ptx *p, LLVMTypeRef type, LLVMValueRef slot);
void ptx_set(Ptx *p, LLVMValueRef slot, LLVMValueRef v);
typedef struct PtxLoop {
    LLVMValueRef index;
    LLVMBasicBlockRef head, after;
    LLVMValueRef step;
} PtxLoop;
/* for (index = lo; index < hi; index += step); step < 0: while index >= hi. */
PtxLoop ptx_loop(Ptx *p, LLVMValueRef lo, LLVMValueRef hi, int64_t step);
void ptx_loop_end(Ptx *p, PtxLoop *loop);
LLVMBasicBlockRef ptx_block(Ptx *p);
/* if (cond) { ... } ptx_if_end. Returns the block behind it; cond NULL: always. */
LLVMBasicBlockRef ptx_if(Ptx *p, LLVMValueRef cond);
void ptx_if_end(Ptx *p, LLVMBasicBlockRef after);
/* The coordinates of a row along all axes but the last. */
void ptx_name_row(Ptx *p, const TileType *axes, LLVMValueRef row);
bool ptx_phase(Ptx *p, KernelPhase *out, int *slices);

/* llvm_ptx_group.c, llvm_ptx_sum.c, llvm_ptx_product.c */
void ptx_group(Ptx *p, const Step *step);
void ptx_copy(Ptx *p, const Step *step);
void ptx_zero_padding(Ptx *p, const Step *step);
LLVMTypeRef ptx_reduce_type(Ptx *p, const Inst *reduce);
LLVMValueRef ptx_reduce_start(Ptx *p, const Inst *reduce);
LLVMValueRef ptx_reduce_pair(Ptx *p, const Inst *reduce, LLVMValueRef a, LLVMValueRef b);
/* All of so many neighbouring lanes get the total. */
void ptx_reduce_lanes(Ptx *p, const Inst *reduce, LLVMValueRef slot, int lanes);
void ptx_reduce(Ptx *p, const Inst *reduce);
void ptx_contract(Ptx *p, const Step *step);

typedef struct PtxMatrix {
    const Inst *value;
    const PlainValue *place;
    bool transposed; /* the summed axis is its first */
} PtxMatrix;
typedef struct PtxProduct {
    PtxMatrix a, b;
    const PlainValue *result;
    int rows, columns, depth;
    bool into; /* added to what the result holds */
} PtxProduct;
void ptx_product(Ptx *p, const PtxProduct *product, bool tensor_cores);

#endif
