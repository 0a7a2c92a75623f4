/* Targets: facts about a machine and the function that emits for it. */
#ifndef ATTUNE_TARGET_H
#define ATTUNE_TARGET_H

#include "attention/factor.h"
#include "kernel.h"

typedef enum TargetKind { TARGET_CPU, TARGET_INTERP, TARGET_CUDA, TARGET_PTX } TargetKind;

typedef struct Target {
    TargetKind kind;
    char name[64];          /* canonical spelling of what was asked for: "cpu", "interp", "cuda:sm_90a" */
    char arch[16];          /* CUDA: "sm_90a"; PTX: "sm_80" */
    int shared_bytes;       /* GPUs: dynamic shared memory a block may have */
    int sm_count;           /* GPUs: multiprocessors of the usual such device; launches ask the one at hand */
    char cpu[64];           /* CPU, PTX: LLVM's cpu name ("znver4") */
    char features[2048];    /* CPU, PTX: LLVM's feature string */
    char triple[128];
    int vector_bits;        /* CPU: 128, 256, 512 */
    bool bf16_dot;          /* AVX512_BF16: pairwise bf16 products into f32 */
    bool f16_convert;       /* F16C or better */
    int vector_registers;   /* architectural */
    int64_t l1_bytes, l2_bytes;
} Target;

/* "cpu" (this machine), "cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:aarch64", "interp", "cuda" (for sm_90a), "cuda:sm_90a", "sm_90a", "ptx" (any GPU from sm_80
 * on), "ptx:sm_90". False with a
 * message that lists the known ones; also when this build lacks the back end. */
bool target_parse(Diag *diag, const char *text, Target *target);
bool target_is_gpu(const Target *target);
/* Attempts at tile sizes: 0, then ever smaller ones that should fit easily, then the same series for what has to fit. */
enum { TARGET_EASY_ATTEMPTS = 5 };
int target_halvings(int attempt);
/* The tile boxes that suit the target when nothing else was asked for (by axis, outermost first). False when no attempt
 * comes after this one. */
bool target_tiles(const Target *target, ElemType elem, int64_t D, int64_t E, int rank, int attempt, int64_t block_m[SPEC_MAX_RANK],
                  int64_t block_n[SPEC_MAX_RANK]);
/* Tokens of a chunk of the linear lowerings. */
int64_t target_chunk(const Target *target, const SpecDecay *decay);
/* What linear lowerings cost beside the quadratic one; `features`: q' is computed, and so f32. */
LinearCost target_linear_cost(const Target *target, ElemType elem, bool features);
/* Whether attention whose weights factorise is evaluated from a state when nothing else was asked for. */
bool target_likes_states(const Target *target);
/* Emits the Program. NULL with diagnostics. */
Kernel *target_emit(const Target *target, Arena *arena, Diag *diag, Program *program);

#endif
