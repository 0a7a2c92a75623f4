/* Block-wide matrix products of tiles in shared memory, for phases of cuda_plain. 256 threads; results and
 * operands are row-major with a pitch. TRANSPOSED: the summed axis is the operand's first. INTO: added to
 * what the result holds. */
enum { ATTUNE_THREADS = 256, ATTUNE_WARPS = 8 };

#ifndef ATTUNE_EMULATE
/* Four 8 x 8 matrices; lane l names row l % 8 of matrix l / 8. */
template <bool TRANSPOSED> ATTUNE_FN void attune_ldmatrix(unsigned (&r)[4], const unsigned short *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
}
/* 16 bytes from global to shared memory, zeros instead unless `take`; there after attune_wait_copies. */
ATTUNE_FN void attune_copy16(void *to, const void *from, bool take)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((unsigned)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)),
                   "r"(take ? 16 : 0)
                 : "memory");
}
ATTUNE_FN void attune_wait_copies(void) { asm volatile("cp.async.wait_all;" : : : "memory"); }
template <bool BF16>
ATTUNE_FN void attune_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    if (BF16)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, "
                     "%7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif

template <bool INTO> ATTUNE_FN void attune_give(float *to, float value) { *to = INTO ? *to + value : value; }
template <bool INTO> ATTUNE_FN void attune_give(float *to, float first, float second)
{
    float2 old = INTO ? *(float2 *)to : make_float2(0.0f, 0.0f);
    *(float2 *)to = INTO ? make_float2(old.x + first, old.y + second) : make_float2(first, second);
}

/* c[R][S] = sum over K of a b on tensor cores. A warp takes 16 rows and 32 columns at a time. */
template <bool BF16, bool A_TRANSPOSED, bool B_TRANSPOSED, bool INTO, int R, int S, int K, int A_PITCH,
          int B_PITCH, int C_PITCH>
ATTUNE_FN void attune_product(float *c, const unsigned short *a, const unsigned short *b)
{
    const int lane = threadIdx.x % 32, columns = (S + 31) / 32, strips = (R + 15) / 16 * columns;
    for (int strip = threadIdx.x / 32; strip < strips; strip += ATTUNE_WARPS) {
        const int r = strip / columns * 16, s = strip % columns * 32;
        float sum[4][4] = {};
        for (int k = 0; k < K; k += 16) {
            unsigned x[4];
            if (A_TRANSPOSED)
                attune_ldmatrix<true>(x, a + (k + lane % 8 + lane / 16 * 8) * A_PITCH + r + lane / 8 % 2 * 8);
            else
                attune_ldmatrix<false>(x, a + (r + lane % 16) * A_PITCH + k + lane / 16 * 8);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                if (s + half * 16 >= S)
                    continue;
                unsigned y[4];
                if (B_TRANSPOSED)
                    attune_ldmatrix<true>(y, b + (k + lane % 16) * B_PITCH + s + half * 16 + lane / 16 * 8);
                else
                    attune_ldmatrix<false>(y, b + (s + half * 16 + lane % 8 + lane / 16 * 8) * B_PITCH + k +
                                                  lane / 8 % 2 * 8);
                attune_mma<BF16>(sum[half * 2], x, y[0], y[1]);
                attune_mma<BF16>(sum[half * 2 + 1], x, y[2], y[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = r + lane / 4 + e / 2 * 8, column = s + n * 8 + lane % 4 * 2 + e % 2;
                if (!((R % 16 == 0 || row < R) && (S % 32 == 0 || column < S)))
                    continue;
                if (S % 2 || C_PITCH % 2)
                    attune_give<INTO>(&c[row * C_PITCH + column], sum[n][e]);
                else if (e % 2 == 0) /* both columns exist, or neither */
                    attune_give<INTO>(&c[row * C_PITCH + column], sum[n][e], sum[n][e + 1]);
            }
    }
}

/* Elements of the three float types, as floats. */
struct AttuneF32 {
    typedef float Stored;
    ATTUNE_FN float value(float a) { return a; }
};
struct AttuneBf16 {
    typedef unsigned short Stored;
    ATTUNE_FN float value(unsigned short a) { return attune_of_bf16(a); }
};
struct AttuneF16 {
    typedef unsigned short Stored;
    ATTUNE_FN float value(unsigned short a) { return attune_of_f16(a); }
};

/* Four elements along the summed axis. */
template <class T, bool TRANSPOSED, int PITCH>
ATTUNE_FN void attune_four(float (&x)[4], const typename T::Stored *m, int row, int k)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
        x[j] = T::value(TRANSPOSED ? m[(k + j) * PITCH + row] : m[row * PITCH + k + j]);
}

/* The same in f32, every product and sum rounded once: 16 x 16 threads, up to 4 x 4 elements each. */
template <class A, class B, bool A_TRANSPOSED, bool B_TRANSPOSED, bool INTO, int R, int S, int K, int A_PITCH,
          int B_PITCH, int C_PITCH>
ATTUNE_FN void attune_product_f32(float *c, const typename A::Stored *a, const typename B::Stored *b)
{
    constexpr int ROWS = R > 48 ? 4 : (R + 15) / 16, COLUMNS = S > 48 ? 4 : (S + 15) / 16;
    const int y = threadIdx.x / 16, x = threadIdx.x % 16;
    for (int r = 0; r < R; r += 16 * ROWS)
        for (int s = 0; s < S; s += 16 * COLUMNS) {
            float sum[ROWS][COLUMNS] = {};
            int row[ROWS], column[COLUMNS]; /* those outside repeat the last */
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                row[i] = attune_min32(r + i * 16 + y, R - 1);
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
                column[j] = attune_min32(s + j * 16 + x, S - 1);
            int k = 0;
            for (; k + 4 <= K; k += 4) {
                float p[ROWS][4], q[COLUMNS][4];
#pragma unroll
                for (int i = 0; i < ROWS; i++)
                    attune_four<A, A_TRANSPOSED, A_PITCH>(p[i], a, row[i], k);
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    attune_four<B, B_TRANSPOSED, B_PITCH>(q[j], b, column[j], k);
#pragma unroll
                for (int n = 0; n < 4; n++)
#pragma unroll
                    for (int i = 0; i < ROWS; i++)
#pragma unroll
                        for (int j = 0; j < COLUMNS; j++)
                            sum[i][j] = __fmaf_rn(p[i][n], q[j][n], sum[i][j]);
            }
            for (; k < K; k++)
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int j = 0; j < COLUMNS; j++)
                        sum[i][j] = __fmaf_rn(
                            A::value(A_TRANSPOSED ? a[k * A_PITCH + row[i]] : a[row[i] * A_PITCH + k]),
                            B::value(B_TRANSPOSED ? b[k * B_PITCH + column[j]] : b[column[j] * B_PITCH + k]),
                            sum[i][j]);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    if (r + i * 16 + y < R && s + j * 16 + x < S)
                        attune_give<INTO>(&c[row[i] * C_PITCH + column[j]], sum[i][j]);
        }
}
