/* What the GPU's own instructions are in LLVM's code for the host: see llvm_ptx_isa.c and emulate.h. */
#ifndef ATTUNE_TESTS_EMULATE_PTX_H
#define ATTUNE_TESTS_EMULATE_PTX_H

#include "emulate.h"

extern "C" {

unsigned attune_tid_x(void) { return threadIdx.x; }
unsigned attune_ctaid_x(void) { return blockIdx.x; }
void attune_bar_sync(void) { __syncthreads(); }
unsigned attune_shfl_sync_bfly_b32(unsigned v, unsigned bits) { return __shfl_xor_sync(~0u, v, (int)bits); }

float attune_ex2_approx_ftz_f32(float a) { return exp2f(a); }
float attune_ex2_approx_f32(float a) { return exp2f(a); }
float attune_lg2_approx_ftz_f32(float a) { return log2f(a); }
float attune_tanh_approx_f32(float a) { return tanhf(a); }
float attune_rcp_approx_ftz_f32(float a) { return 1.0f / a; }
float attune_rsqrt_approx_ftz_f32(float a) { return 1.0f / sqrtf(a); }
float attune_sqrt_approx_ftz_f32(float a) { return sqrtf(a); }
float attune_div_approx_f32(float a, float b) { return a / b; }

/* Addresses of shared memory have 32 bits. */
static unsigned char *emulate_shared(unsigned at)
{
    return attune_tiles + (at - (unsigned)(uintptr_t)attune_tiles);
}

static void emulate_ldmatrix(unsigned *to, unsigned at, bool transposed)
{
    unsigned r[4];
    if (transposed)
        attune_ldmatrix<true>(r, (const unsigned short *)emulate_shared(at));
    else
        attune_ldmatrix<false>(r, (const unsigned short *)emulate_shared(at));
    memcpy(to, r, sizeof r);
}
void attune_ldmatrix_sync_aligned_m8n8_x4_shared_b16(unsigned *to, unsigned at)
{
    emulate_ldmatrix(to, at, false);
}
void attune_ldmatrix_sync_aligned_m8n8_x4_trans_shared_b16(unsigned *to, unsigned at)
{
    emulate_ldmatrix(to, at, true);
}

#define EMULATE_MMA(type, is_bf16)                                                                       \
    void attune_mma_sync_aligned_m16n8k16_row_col_f32_##type##_##type##_f32(                             \
        float *to, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1, float c0,\
        float c1, float c2, float c3)                                                                    \
    {                                                                                                    \
        const unsigned a[4] = {a0, a1, a2, a3};                                                          \
        float c[4] = {c0, c1, c2, c3};                                                                   \
        attune_mma<is_bf16>(c, a, b0, b1);                                                               \
        memcpy(to, c, sizeof c);                                                                         \
    }
EMULATE_MMA(bf16, true)
EMULATE_MMA(f16, false)

void attune_cp_async_wait_all(void) { attune_wait_copies(); }
void attune_cp_async_cg_shared_global(unsigned to, unsigned long long from, unsigned take)
{
    attune_copy16(emulate_shared(to), (const void *)from, take != 0);
}
}

#endif
