/* What the schedules on Hopper share: barriers, TMA, wgmma, rows to global memory. */

#pragma nv_diag_suppress 177, 128

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
#define DEV static __device__ __forceinline__
#define DEV_MEMBER __device__ __forceinline__

/* Barriers, TMA, wgmma ------------------------------------------------------------------------------------ */

DEV u32 shared_address(const void *p)
{
    return (u32)__cvta_generic_to_shared(p);
}

DEV void barrier_init(u32 bar, u32 count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}

DEV void barrier_arrive(u32 bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

DEV void barrier_expect(u32 bar, u32 bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

DEV void barrier_wait(u32 bar, u32 phase)
{
    asm volatile("{\n\t"
                 ".reg .pred done;\n\t"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@done bra over;\n\t"
                 "bra again;\n\t"
                 "over:\n\t"
                 "}" ::"r"(bar), "r"(phase) : "memory");
}

/* A rank-5 box to shared memory. */
DEV void tma_load(u32 to, const void *map, u32 bar, int c0, int c1, int c2, int c3, int c4, u64 policy)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
                 " [%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(to), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2),
                 "r"(c3), "r"(c4), "l"(policy) : "memory");
}

/* Rows [row, row + box) of one head of a tensor map of the runtime's form (compiler/kernel.h), all panels of 64
 * channels, PANEL bytes apart in shared memory. */
template <int PANELS, int PANEL, int RANK, bool WHOLE>
DEV void tma_load_rows(u32 to, const void *map, u32 bar, const int (&at)[3], int head, int batch, int heads, u64 policy)
{
    if (RANK == 1 && WHOLE) {
        tma_load(to, map, bar, 0, at[0], 0, head, batch, policy);
        return;
    }
#pragma unroll
    for (int p = 0; p < PANELS; p++) {
        if (RANK == 1)
            tma_load(to + p * PANEL, map, bar, 64 * p, at[0], 0, head, batch, policy);
        else if (RANK == 2)
            tma_load(to + p * PANEL, map, bar, 64 * p, at[1], at[0], head, batch, policy);
        else
            tma_load(to + p * PANEL, map, bar, 64 * p, at[2], at[1], at[0], batch * heads + head, policy);
    }
}

DEV void named_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

DEV void named_arrive(int id, int threads)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEV void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

/* After a wait: the front end may move no use of these above it. */
template <int N> DEV void settle(float (&x)[N])
{
#pragma unroll
    for (int k = 0; k < N; k++)
        asm volatile("" : "+f"(x[k])::"memory");
}
template <int N> DEV void settle(u32 (&x)[N])
{
#pragma unroll
    for (int k = 0; k < N; k++)
        asm volatile("" : "+r"(x[k])::"memory");
}

/* A matrix in shared memory under the 128-byte swizzle: panels of 64 two-byte elements, 128 bytes a row. lead: bytes to
 * the next panel where the rows are the sum's index. */
DEV u64 matrix(u32 address, u32 lead)
{
    return (u64)((address & 0x3ffff) >> 4) | (u64)(lead >> 4) << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62;
}

DEV float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
DEV float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
DEV float quad_min(float x)
{
    x = fminf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fminf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

/* Nothing, but after x is known: the assembler would put off what x comes from until the products have ended. */
DEV void known_by_now(float x, u32 shared)
{
    asm volatile("{\n\t"
                 ".reg .pred never;\n\t"
                 "setp.gt.f32 never, %0, 0f7f800000;\n\t"
                 "@never st.shared.b32 [%1], %1;\n\t"
                 "}" ::"f"(x), "r"(shared) : "memory");
}

DEV u32 pack_bf16(float low, float high)
{
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
DEV u32 pack_f16(float low, float high)
{
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

/* Row y (0, 1: 8 rows further) of an accumulator of E columns to global memory; packed[g] holds columns 8 g + 2 quad.
 * Where rows allow it, the four lanes of a quad trade columns so that each writes 16 bytes at once. */
template <int E, class Pack>
DEV void store_row(const float (&O)[(E + 7) / 8 * 4], int y, u16 *to, bool valid, Pack pack)
{
    const int quad = threadIdx.x & 3;
    const bool aligned = ((u64)to & 15) == 0;
    if (E % 32 == 0) {
#pragma unroll
        for (int g = 0; g < E / 32; g++) {
            u32 a[4];
#pragma unroll
            for (int k = 0; k < 4; k++)
                a[k] = pack(O[(4 * g + k) * 4 + 2 * y], O[(4 * g + k) * 4 + 2 * y + 1]);
            if (__all_sync(0xffffffffu, aligned || !valid)) {
                u32 s = quad & 1 ? a[0] : a[1], t = quad & 1 ? a[2] : a[3];
                s = __shfl_xor_sync(0xffffffffu, s, 1);
                t = __shfl_xor_sync(0xffffffffu, t, 1);
                if (quad & 1)
                    a[0] = s, a[2] = t;
                else
                    a[1] = s, a[3] = t;
                s = quad & 2 ? a[0] : a[2], t = quad & 2 ? a[1] : a[3];
                s = __shfl_xor_sync(0xffffffffu, s, 2);
                t = __shfl_xor_sync(0xffffffffu, t, 2);
                if (quad & 2)
                    a[0] = s, a[1] = t;
                else
                    a[2] = s, a[3] = t;
                if (valid)
                    *(uint4 *)(to + 32 * g + 8 * quad) = make_uint4(a[0], a[1], a[2], a[3]);
            } else if (valid) {
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    to[32 * g + 8 * k + 2 * quad] = (u16)a[k];
                    to[32 * g + 8 * k + 2 * quad + 1] = (u16)(a[k] >> 16);
                }
            }
        }
    } else if (valid) {
#pragma unroll
        for (int g = 0; g < (E + 7) / 8; g++) {
            const u32 a = pack(O[4 * g + 2 * y], O[4 * g + 2 * y + 1]);
            if (8 * g + 2 * quad < E)
                to[8 * g + 2 * quad] = (u16)a;
            if (8 * g + 2 * quad + 1 < E)
                to[8 * g + 2 * quad + 1] = (u16)(a >> 16);
        }
    }
}
