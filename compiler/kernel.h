/* Kernel: what leaves the compiler. Plain data, owns its memory, needs no compiler to be run, stored or shipped.
 *
 * A kernel is a list of phases, run in order. A phase is one function over a linear range of work items:
 *     void entry(const int64_t *slots, int64_t begin, int64_t end, void *scratch)
 * The launch's facts arrive as one array of 64-bit slots (the same for every target and for the interpreter):
 *     [SLOT_SIZES ...]     VAR_SIZE_B .. VAR_OFFSET, in that order
 *     [SLOT_CU_Q, SLOT_CU_K]  addresses of int32 cumulative lengths [B + 1], or 0
 *     [SLOT_COUNTER]       CUDA: address of 64 zeroed 32-bit counters that a persistent kernel leaves zeroed; else 0
 *     [SLOT_PARAMS ...]    one a param, by position; floats as the bits of a double
 *     [tensor_slot(k) ...] for tensor k of the Program: address, then SPEC_MAX_DIMS strides in elements
 * scratch: per worker, `scratch_bytes`, 64-byte aligned, contents undefined.
 *
 * On CUDA a phase is one __global__ function of one argument, passed by value and 64-byte aligned:
 *     struct { CUtensorMap map[map_count]; int64_t slots[slot_of_tensor(tensor_count)]; }
 * started with `threads` threads and `shared_bytes` of dynamic shared memory a block; blocks: one a work item, or
 * (persistent) as many as run at once. */
#ifndef ATTUNE_KERNEL_H
#define ATTUNE_KERNEL_H

#include "compiler/tile/tile.h"

enum {
    SLOT_SIZES = 0,
    SLOT_SIZE_COUNT = VAR_OFFSET - VAR_SIZE_B + 1,
    SLOT_CU_Q = SLOT_SIZES + SLOT_SIZE_COUNT,
    SLOT_CU_K,
    SLOT_COUNTER,
    SLOT_PARAMS,
    SLOT_TENSORS = SLOT_PARAMS + SPEC_MAX_PARAMS,
    SLOTS_PER_TENSOR = 1 + SPEC_MAX_DIMS,
    SLOT_COUNT_MAX = SLOT_TENSORS + PROGRAM_MAX_TENSORS * SLOTS_PER_TENSOR
};
/* Every size (M, N, ...) of a launch on CUDA is at most this, `offset` between minus that and that: launches check it.
 * Positions (row + offset) and their differences then fit 32 bits. */
#define CUDA_SIZE_MAX ((int64_t)1 << 29)
static inline int slot_of_size(VarId size) { return SLOT_SIZES + (int)size - VAR_SIZE_B; }
static inline int slot_of_tensor(int tensor) { return SLOT_TENSORS + tensor * SLOTS_PER_TENSOR; }

typedef enum KernelFormat { KERNEL_OBJECT /* relocatable ELF */, KERNEL_PROGRAM /* for the interpreter */, KERNEL_CUBIN, KERNEL_PTX /* text, its zero byte counted */ } KernelFormat;

enum { KERNEL_MAX_MAPS = 6 };

/* A TMA tensor map over one Program tensor [batch, head, row, channel]: rank 5, 128-byte swizzle, zeros for whatever is
 * outside, elements of the tensor's type. A panel is 128 bytes of a row: 64 elements of bf16 or f16, 32 of f32. The
 * dimensions, innermost first, with the box that one copy brings in brackets (box[a] is at most 256):
 *     rank 1, width a multiple of a panel:  in panel [a panel], row [box[0]], panel [all], head [1], batch [1]
 *     rank 1, any other width:              channel [a panel], row [box[0]], 0 [1], head [1], batch [1]
 *     rank 2:                               channel [a panel], axis 1 [box[1]], axis 0 [box[0]], head [1], batch [1]
 *     rank 3:     channel [a panel], axis 2 [box[2]], axis 1 [box[1]], axis 0 [box[0]], batch * heads + head [1]
 * "Head" and "row" count queries' (H, M) or keys' (G, N). Ragged batches: rows of all sequences, the batch is 0. Where no
 * row exists at all (N = 0) every element reads as zero. Strides and addresses must be multiples of 16 bytes, which
 * launches check: do not ask for a map over a width that is not (a dense tensor would be refused). */
typedef struct KernelMap {
    int tensor;                          /* q, k, v, o or a workspace of that form */
    int rank;                            /* coordinate axes of its rows */
    int box[SPEC_MAX_RANK];              /* rows of the box by axis, outermost first */
    int width;                           /* elements of a row */
    bool queries;                        /* rows are queries (M*, H heads), else keys (N*, G heads) */
} KernelMap;

typedef struct KernelPhase {
    char entry[96];                      /* symbol */
    int grid_count;
    Extent grid[PROGRAM_MAX_GRID];       /* divisors are numbers here, no knobs */
    int threads, shared_bytes;           /* CUDA only, as the rest */
    bool persistent;
    int map_count;
    KernelMap maps[KERNEL_MAX_MAPS];
} KernelPhase;

typedef struct KernelTensor {
    char name[64];
    TensorRole role;
    int index;
    ElemType elem;
    int dim_count;
    Extent extent[SPEC_MAX_DIMS];        /* of workspaces and states */
} KernelTensor;

typedef struct Kernel {
    KernelFormat format;
    char name[64];
    char target[64];                     /* "cpu:znver4+...", "interp", "sm_90a" */
    ElemType elem;                       /* of q, k, v, o */
    int64_t D, E;                        /* head widths that it was built for */
    int rank;
    int phase_count; KernelPhase phases[8];
    int tensor_count; KernelTensor tensors[PROGRAM_MAX_TENSORS];
    int64_t block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK];
    int64_t scratch_bytes;
    void *code; size_t code_size;        /* malloc'ed; KERNEL_PROGRAM: NULL */
    Program *program; Arena *program_arena; /* KERNEL_PROGRAM only: owned */
} Kernel;

/* Code that a device's driver takes. */
static inline bool kernel_is_image(const Kernel *kernel)
{
    return kernel->format == KERNEL_CUBIN || kernel->format == KERNEL_PTX;
}
/* Value of an extent for a launch. */
int64_t extent_value(const Extent *extent, const int64_t *slots);
/* Fills what a SIZED Program says: name, rank, phases (entries NAME_PHASE), tensors, blocks. */
void kernel_describe(Kernel *kernel, const Program *program);
/* Frees the kernel and what it owns. */
void kernel_destroy(Kernel *kernel);
/* One contiguous byte string and back (the cache's payload). NULL / false: out of memory, malformed bytes. */
void *kernel_pack(const Kernel *kernel, size_t *size);
Kernel *kernel_unpack(const void *bytes, size_t size);

#endif
