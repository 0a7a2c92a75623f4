/* Default tile boxes of each target.
 *
 * CPUs: 64 queries fill four vectors of 512 bits, whose accumulators and operands just fit 32 registers,
 * and give the row operations four independent chains; 64 keys keep scores, queries and accumulators of
 * width 64 near the first cache while half-masked tiles stay small. Wide heads take fewer queries, so that
 * their accumulators stay in the second cache.
 *
 * Hopper: 64 queries a warpgroup. Narrow heads take three warpgroups, since the exponentials are what limits them and more
 * rows share a tile of keys; scores, weights and accumulators of wider heads fill the registers of two. Boxes of a grid
 * have as many rows, and are as cubic as that allows. Kernels of any other form have tiles as CPUs do, in shared memory, the
 * largest that fit there. */
#include "target.h"

static void cuda_tiles(int64_t width, int rank, int64_t *block_m, int64_t *block_n)
{
    static const int64_t boxes[3][SPEC_MAX_RANK][2][SPEC_MAX_RANK] = {
        {{{192, 1, 1}, {128, 1, 1}}, {{12, 16, 1}, {8, 16, 1}}, {{4, 6, 8}, {4, 4, 8}}},
        {{{128, 1, 1}, {128, 1, 1}}, {{8, 16, 1}, {8, 16, 1}}, {{4, 4, 8}, {4, 4, 8}}},
        {{{128, 1, 1}, {80, 1, 1}}, {{8, 16, 1}, {8, 10, 1}}, {{4, 4, 8}, {2, 5, 8}}},
    };
    int row = width <= 64 ? 0 : width <= 128 ? 1 : 2;
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        block_m[a] = boxes[row][rank - 1][0][a];
        block_n[a] = boxes[row][rank - 1][1][a];
    }
}

enum { MOST_HALVINGS = 9 };

int target_halvings(int attempt)
{
    return attempt <= 0 ? 0 : attempt <= TARGET_EASY_ATTEMPTS ? attempt - 1 : attempt - TARGET_EASY_ATTEMPTS - 1;
}

/* Fewer rows, then fewer keys, of the longest axis. */
static void halve(int attempt, int64_t *block_m, int64_t *block_n)
{
    for (int step = 0; step < attempt; step++) {
        int64_t *block = step % 2 ? block_n : block_m;
        int longest = 0;
        for (int a = 1; a < SPEC_MAX_RANK; a++)
            if (block[a] > block[longest])
                longest = a;
        if (block[longest] > 1)
            block[longest] /= 2;
    }
}

bool target_tiles(const Target *target, ElemType elem, int64_t D, int64_t E, int rank, int attempt,
                  int64_t block_m[SPEC_MAX_RANK], int64_t block_n[SPEC_MAX_RANK])
{
    if (target->kind == TARGET_CUDA && attempt == 0 && elem != ELEM_TYPE_F32 && D <= 256 && E <= 256) {
        cuda_tiles(D > E ? D : E, rank, block_m, block_n);
        return true;
    }
    static const int64_t boxes[SPEC_MAX_RANK][SPEC_MAX_RANK] = {{64, 1, 1}, {8, 8, 1}, {4, 4, 4}};
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        block_m[a] = block_n[a] = boxes[rank - 1][a];
    if (D + E > 1024)
        block_m[0] /= 2;
    halve(target_halvings(attempt), block_m, block_n);
    return target_is_gpu(target) && attempt < TARGET_EASY_ATTEMPTS + MOST_HALVINGS;
}

bool target_likes_states(const Target *target)
{
    return target->kind == TARGET_CPU || target->kind == TARGET_INTERP;
}

/* Products inside a chunk grow with it, the state's traffic shrinks with it. Matrix units want large tiles; a CPU has the
 * state in its second cache. A similarity by channel is evaluated pair by pair and channel by channel, and the delta rule
 * solves its triangle row by row: they want small chunks. */
int64_t target_chunk(const Target *target, const SpecDecay *decay)
{
    bool cpu = target->kind == TARGET_CPU || target->kind == TARGET_INTERP;
    if (decay->kind == DECAY_CHANNEL)
        return cpu ? 8 : 16;
    if (decay->beta)
        return cpu ? 16 : 32;
    return cpu ? 16 : 64;
}

/* Measured (tests/bench/linear_bench.c, docs/benchmarks/linear-cpu.md) on a CPU with AVX-512: its pairwise products of bf16
 * speed up two, one or none of the quadratic form's products, and none of the state's. */
LinearCost target_linear_cost(const Target *target, ElemType elem, bool features)
{
    static const LinearCost measured[] = {{1.07, 48, 0}, {1.45, 58, 0}, {1.9, 56, 0}};
    if (target->kind != TARGET_CPU)
        return (LinearCost){0, 0, 0};
    return measured[elem == ELEM_TYPE_BF16 && target->bf16_dot ? 2 - features : 0];
}
