/* CUDA C++ of the plain path on the host: one fiber a thread, blocks one after another.
 *
 * A text is compiled after `#define ATTUNE_EMULATE` and this header. Threads of a block run in turns, up to
 * the next barrier or exchange within their warp; a warp whose lanes do not all come to the same kind of stop
 * is a fault of the kernel, and so is a thread that ends while others wait. Shared memory starts as NaNs; a
 * zone behind it must stay whole. */
#ifndef ATTUNE_TESTS_EMULATE_H
#define ATTUNE_TESTS_EMULATE_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define __device__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __restrict__

struct EmulateIndex {
    unsigned x;
};
static EmulateIndex threadIdx, blockIdx;
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }
struct alignas(8) float2 {
    float x, y;
};
static inline float2 make_float2(float x, float y) { return float2{x, y}; }

/* Fibers ----------------------------------------------------------------------------------------------------
 */

enum { EMULATE_THREADS = 256, EMULATE_STACK = 128 * 1024, EMULATE_SHARED = 227 * 1024, EMULATE_ZONE = 4096 };
enum EmulateStop { STOP_NONE, STOP_BLOCK, STOP_WARP, STOP_END };

alignas(1024) unsigned char attune_tiles[EMULATE_SHARED + EMULATE_ZONE];

struct EmulateFiber {
    void *stack_pointer; /* x86-64 */
    ucontext_t context;  /* elsewhere */
    EmulateStop stop;
};
static EmulateFiber emulate_fibers[EMULATE_THREADS], emulate_main;
static char *emulate_stacks;
static void (*emulate_body)(void);
static char *emulate_error;
static size_t emulate_error_size;

#if defined(__x86_64__)
extern "C" void attune_emulate_switch(void **from, void *to);
asm(".text\n.p2align 4\nattune_emulate_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
static inline void emulate_switch(EmulateFiber *from, EmulateFiber *to)
{
    attune_emulate_switch(&from->stack_pointer, to->stack_pointer);
}
#else
static inline void emulate_switch(EmulateFiber *from, EmulateFiber *to)
{
    swapcontext(&from->context, &to->context);
}
#endif

static void emulate_stop(EmulateStop stop)
{
    EmulateFiber *self = &emulate_fibers[threadIdx.x];
    self->stop = stop;
    emulate_switch(self, &emulate_main);
}

static void emulate_thread(void)
{
    emulate_body();
    emulate_stop(STOP_END);
    abort();
}

static void emulate_start(int t)
{
    EmulateFiber *fiber = &emulate_fibers[t];
    char *stack = emulate_stacks + (size_t)t * EMULATE_STACK;
    fiber->stop = STOP_NONE;
#if defined(__x86_64__)
    void **top = (void **)(stack + EMULATE_STACK) - 1; /* aligned as after a call */
    *--top = (void *)emulate_thread;
    for (int k = 0; k < 6; k++)
        *--top = NULL;
    fiber->stack_pointer = top;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = EMULATE_STACK;
    makecontext(&fiber->context, emulate_thread, 0);
#endif
}

static EmulateStop emulate_resume(int t)
{
    threadIdx.x = (unsigned)t;
    emulate_switch(&emulate_main, &emulate_fibers[t]);
    return emulate_fibers[t].stop;
}

static bool emulate_fault(const char *text, int thread)
{
    snprintf(emulate_error, emulate_error_size, "block %u, thread %d: %s", blockIdx.x, thread, text);
    return false;
}

/* Until all threads of the warp wait for the block, or have ended. */
static bool emulate_warp(int first, bool backwards, EmulateStop *stop)
{
    do {
        *stop = STOP_NONE;
        for (int k = 0; k < 32; k++) {
            int t = first + (backwards ? 31 - k : k);
            EmulateStop own = emulate_resume(t);
            if (k > 0 && own != *stop)
                return emulate_fault("its warp stops at different places", t);
            *stop = own;
        }
    } while (*stop == STOP_WARP);
    return true;
}

static bool emulate_block(int threads)
{
    for (int t = 0; t < threads; t++)
        emulate_start(t);
    bool backwards = blockIdx.x % 2 != 0; /* what misses a barrier goes wrong one way or the other */
    EmulateStop all = STOP_NONE;
    while (all != STOP_END)
        for (int k = 0; k < threads; k += 32) {
            EmulateStop stop;
            int first = backwards ? threads - 32 - k : k;
            if (!emulate_warp(first, backwards, &stop))
                return false;
            if (k > 0 && stop != all)
                return emulate_fault("some warps have ended, others are at a barrier", first);
            all = stop;
        }
    return true;
}

/* Runs `body` for every thread of every block. */
static bool emulate_grid(void (*body)(void), long long blocks, int threads, int shared_bytes, char *error,
                         size_t error_size)
{
    emulate_body = body;
    emulate_error = error;
    emulate_error_size = error_size;
    if (threads != EMULATE_THREADS || shared_bytes > EMULATE_SHARED)
        return emulate_fault("more shared memory or other threads than a block has", 0);
    if (!emulate_stacks)
        emulate_stacks = (char *)mmap(NULL, (size_t)EMULATE_THREADS * EMULATE_STACK, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long long block = 0; block < blocks; block++) {
        blockIdx.x = (unsigned)block;
        memset(attune_tiles, 0xff, sizeof attune_tiles);
        if (!emulate_block(threads))
            return false;
        for (int k = shared_bytes; k < (int)sizeof attune_tiles; k++)
            if (attune_tiles[k] != 0xff)
                return emulate_fault("memory behind the shared memory was written", 0);
    }
    return true;
}

/* Intrinsics --------------------------------------------------------------------------------------------- */

static inline void __syncthreads(void) { emulate_stop(STOP_BLOCK); }

/* What lanes show one another; two of each, for a fast lane may be at the next exchange already. */
struct EmulatePost {
    uint64_t words[8];
};
static EmulatePost emulate_posts[2][EMULATE_THREADS];
static unsigned char emulate_turn[EMULATE_THREADS];

static inline const EmulatePost *emulate_exchange(const EmulatePost &post)
{
    unsigned t = threadIdx.x;
    int turn = emulate_turn[t] ^= 1;
    emulate_posts[turn][t] = post;
    emulate_stop(STOP_WARP);
    return emulate_posts[turn] + t / 32 * 32;
}

template <class T> static inline T __shfl_xor_sync(unsigned, T value, int mask)
{
    EmulatePost post = {};
    memcpy(post.words, &value, sizeof value);
    unsigned lane = threadIdx.x % 32;
    memcpy(&value, emulate_exchange(post)[lane ^ (unsigned)mask].words, sizeof value);
    return value;
}

static inline float __int_as_float(int a)
{
    float f;
    memcpy(&f, &a, sizeof f);
    return f;
}
static inline float __uint_as_float(unsigned a)
{
    float f;
    memcpy(&f, &a, sizeof f);
    return f;
}
static inline unsigned emulate_bits(float a)
{
    unsigned u;
    memcpy(&u, &a, sizeof u);
    return u;
}
static inline double __longlong_as_double(long long a)
{
    double d;
    memcpy(&d, &a, sizeof d);
    return d;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fmul_ru(float a, float b)
{
    float r = a * b;
    return isfinite(r) && (double)r < (double)a * b             ? nextafterf(r, INFINITY)
           : r == -INFINITY && a != -INFINITY && b != -INFINITY ? -3.40282347e38f
                                                                : r;
}

static inline float attune_ex2(float a) { return exp2f(a); }
static inline float attune_lg2(float a) { return log2f(a); }
static inline float attune_tanh(float a) { return tanhf(a); }
static inline float attune_rcp(float a) { return 1.0f / a; }
static inline float attune_rsqrt(float a) { return 1.0f / sqrtf(a); }
static inline float attune_sqrt(float a) { return sqrtf(a); }
static inline float attune_of_f16(unsigned short a)
{
    _Float16 h;
    memcpy(&h, &a, sizeof h);
    return (float)h;
}
static inline unsigned short attune_to_f16(float a)
{
    _Float16 h = (_Float16)a;
    unsigned short u;
    memcpy(&u, &h, sizeof u);
    return u;
}
static inline unsigned short attune_to_bf16(float a)
{
    unsigned u = emulate_bits(a);
    return a != a ? 0x7fff : (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

template <bool TRANSPOSED> static void attune_ldmatrix(unsigned (&r)[4], const unsigned short *row)
{
    const EmulatePost *posts = emulate_exchange(EmulatePost{{(uint64_t)(uintptr_t)row}});
    int lane = threadIdx.x % 32;
    if ((uintptr_t)row % 16) {
        fprintf(stderr, "ldmatrix: a row is not aligned\n");
        abort();
    }
    for (int m = 0; m < 4; m++) {
        unsigned short pair[2];
        for (int k = 0; k < 2; k++) {
            int i = TRANSPOSED ? lane % 4 * 2 + k : lane / 4, j = TRANSPOSED ? lane / 4 : lane % 4 * 2 + k;
            pair[k] = ((const unsigned short *)(uintptr_t)posts[m * 8 + i].words[0])[j];
        }
        r[m] = pair[0] | (unsigned)pair[1] << 16;
    }
}

template <bool BF16> static float emulate_half(uint64_t word, int half)
{
    unsigned short bits = (unsigned short)(word >> (16 * half));
    return BF16 ? __uint_as_float((unsigned)bits << 16) : attune_of_f16(bits);
}

template <bool BF16> static void attune_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    const EmulatePost *posts = emulate_exchange(EmulatePost{{a[0], a[1], a[2], a[3], b0, b1}});
    int lane = threadIdx.x % 32;
    for (int e = 0; e < 4; e++) {
        int column = lane % 4 * 2 + e % 2, low = e / 2; /* low: rows 8 .. 15 */
        for (int k = 0; k < 16; k++)
            c[e] += emulate_half<BF16>(posts[lane / 4 * 4 + k % 8 / 2].words[k / 8 * 2 + low], k % 2) *
                    emulate_half<BF16>(posts[column * 4 + k % 8 / 2].words[4 + k / 8], k % 2);
    }
}

/* Copies arrive when they are waited for: code that reads earlier finds what was there. */
struct EmulateCopy {
    unsigned char *to;
    const void *from;
    bool take;
};
enum { EMULATE_COPIES = 4096 };
static EmulateCopy emulate_copies[EMULATE_THREADS][EMULATE_COPIES];
static int emulate_copy_count[EMULATE_THREADS];


static void attune_wait_copies(void)
{
    unsigned t = threadIdx.x;
    for (int k = 0; k < emulate_copy_count[t]; k++) {
        const EmulateCopy *copy = &emulate_copies[t][k];
        memset(copy->to, 0, 16);
        if (copy->take)
            memcpy(copy->to, copy->from, 16);
    }
    emulate_copy_count[t] = 0;
}

static void attune_copy16(void *to, const void *from, bool take)
{
    unsigned t = threadIdx.x;
    if ((uintptr_t)to % 16 || (take && (uintptr_t)from % 16)) {
        fprintf(stderr, "cp.async: an address is not aligned\n");
        abort();
    }
    if (emulate_copy_count[t] == EMULATE_COPIES)
        attune_wait_copies();
    emulate_copies[t][emulate_copy_count[t]++] = {(unsigned char *)to, from, take};
}

#endif
