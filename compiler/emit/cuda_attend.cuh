/* The schedule of an attention phase on Hopper, as a template over what the compiler generates for one spec.
 *
 * A block is persistent. One warpgroup gives its registers away: its warp 0 claims query tiles, one after another, and
 * classes the key tiles that the mask can reach, 32 at a time; warps 1 and 2 bring the keys and the values of those that
 * hold a visible pair in by TMA: first those that need the element test, then the full ones. The other warpgroups own 64
 * query rows each. They keep scores, weights and accumulators in registers and overlap
 *     the next scores' product with this tile's weighted sum, and the normaliser with both,
 *     their products with the other warpgroups' normalisers (in turns: PINGPONG),
 *     the first scores of the next query tile with the last weighted sum of this one (EARLY).
 *
 * K, the generated part, has:
 *     RANK, WGS, BLOCK_M = 64 WGS, BLOCK_N, D, E, STAGES, EARLY, PINGPONG, PRODUCER_REGS (0: leave), CONSUMER_REGS
 *     AHEAD            tiles left to load when the next query tile is claimed
 *     LISTED           key tiles of a class that are noted when they are classed; where there are more, they are classed
 *                      again to be loaded
 *     TABLES           floats of shared memory for what a warpgroup tabulates of a tile, in each of two buffers
 *     TILE_IN_FULL     full tiles' scores depend on the tile's place
 *     Launch, Root (values of a query tile), Rows (running row values), Carry (what rescales the accumulators)
 *     total, counter, decode, root, range, classify, load_q, load_k, load_v,
 *     valid_keys, start, prepare, score, rescale, finish, pack
 *     scores, sum: the two products (wgmma). */

/* The block ------------------------------------------------------------------------------------------------ */

struct Work { /* a query tile: its place in the grid, how many key tiles of either class it has, whether these are listed */
    int b, h, tile[3], partial, full, valid, listed;
};

template <class K> struct Shape {
    static constexpr int D_PANELS = (K::D + 63) / 64, E_PANELS = (K::E + 63) / 64;
    static constexpr int Q_PANEL = K::BLOCK_M * 128, KV_PANEL = K::BLOCK_N * 128;
    static constexpr int Q_BYTES = D_PANELS * Q_PANEL, K_BYTES = D_PANELS * KV_PANEL, V_BYTES = E_PANELS * KV_PANEL;
    static constexpr int Q_BUFFERS = K::EARLY ? 2 : 1;
    static constexpr int AT_Q = 0, AT_K = Q_BUFFERS * Q_BYTES, AT_V = AT_K + K::STAGES * K_BYTES;
    static constexpr int AT_BARS = AT_V + K::STAGES * V_BYTES;
    static constexpr int Q_FULL = AT_BARS, Q_EMPTY = Q_FULL + 16, K_FULL = Q_EMPTY + 16, K_EMPTY = K_FULL + 32,
                         V_FULL = K_EMPTY + 32, V_EMPTY = V_FULL + 32, WORK_FULL = V_EMPTY + 32, WORK_EMPTY = WORK_FULL + 16,
                         WANTED = WORK_EMPTY + 16;
    /* Two query tiles: the one at hand and the one to come. tile[s]: place of the key tile in slot s. */
    static constexpr int AT_WORK = WANTED + 16, AT_TILES = AT_WORK + 2 * 48;
    static constexpr int AT_LISTS = AT_TILES + 4 * 16; /* of 16-bit ordinals: [2 query tiles][partial, full][LISTED] */
    static constexpr int AT_TABLES = AT_LISTS + 8 * K::LISTED;
    static constexpr int BYTES = AT_TABLES + K::WGS * 2 * 4 * K::TABLES;
    static constexpr int SCORES = K::BLOCK_N / 2, SUMS = (K::E + 7) / 8 * 4;
};

DEV void work_write(unsigned char *at, const Work &w)
{
    volatile int *p = (volatile int *)at;
    p[0] = w.b, p[1] = w.h, p[2] = w.tile[0], p[3] = w.tile[1], p[4] = w.tile[2];
    p[5] = w.partial, p[6] = w.full, p[7] = w.valid, p[8] = w.listed;
}

DEV void work_read(const unsigned char *at, Work &w)
{
    const volatile int *p = (const volatile int *)at;
    w.b = p[0], w.h = p[1], w.tile[0] = p[2], w.tile[1] = p[3], w.tile[2] = p[4];
    w.partial = p[5], w.full = p[6], w.valid = p[7], w.listed = p[8];
}

/* The range of key tiles that a query tile's hull leaves, walked in linear order. */
struct KeyTiles {
    int lo[3], hi[3];
    DEV_MEMBER int count() const
    {
        int n = 1;
        for (int a = 0; a < 3; a++)
            n *= hi[a] > lo[a] ? hi[a] - lo[a] : 0;
        return n;
    }
    template <int RANK> DEV_MEMBER void place(int at, int (&tile)[3]) const
    {
        tile[0] = lo[0] + at, tile[1] = tile[2] = 0;
        if (RANK == 2) {
            const int n = max(hi[1] - lo[1], 1);
            tile[0] = lo[0] + at / n, tile[1] = lo[1] + at % n;
        }
        if (RANK == 3) {
            const int n = max(hi[2] - lo[2], 1), m = max(hi[1] - lo[1], 1), row = at / n;
            tile[2] = lo[2] + at % n, tile[1] = lo[1] + row % m, tile[0] = lo[0] + row / m;
        }
    }
};

enum { CLASS_EMPTY, CLASS_PARTIAL, CLASS_FULL };

template <class K>
DEV int class_of(const typename K::Launch &P, const typename K::Root &root, const KeyTiles &tiles, int at, int count)
{
    int tile[3];
    tiles.place<K::RANK>(at < count ? at : 0, tile);
    return at < count ? K::classify(P, root, tile) : CLASS_EMPTY;
}

/* Warp 0: claims, classes, publishes. The claim comes late, when the warp that loads keys has almost finished the tile
 * before and wants another one: blocks that are ahead take more. */
template <class K> DEV void schedule(const typename K::Launch &P, unsigned char *smem, u32 base)
{
    typedef Shape<K> X;
    const int lane = threadIdx.x & 31, total = K::total(P);
    unsigned int *counter = K::counter(P);
    int claim = blockIdx.x;
    for (u32 n = 0;; n++) {
        const u32 slot = n & 1;
        if (n > 0) {
            barrier_wait(base + X::WANTED, (n - 1) & 1);
            if (lane == 0)
                claim = (int)gridDim.x + (int)atomicAdd(counter, 1u);
            claim = __shfl_sync(0xffffffffu, claim, 0);
        }
        barrier_wait(base + X::WORK_EMPTY + 8 * slot, (n >> 1 & 1) ^ 1);
        Work w;
        w.valid = claim < total;
        if (w.valid) {
            K::decode(P, claim, w);
            typename K::Root root;
            K::root(P, w, 0, root);
            KeyTiles tiles;
            K::range(P, root, tiles);
            const int count = tiles.count();
            u16 *list = (u16 *)(smem + X::AT_LISTS) + slot * 2 * K::LISTED;
            w.partial = w.full = 0;
#pragma unroll 1
            for (int at = 0; at < count; at += 32) {
                const int kind = class_of<K>(P, root, tiles, at + lane, count);
                const u32 partial = __ballot_sync(0xffffffffu, kind == CLASS_PARTIAL), before = (1u << lane) - 1;
                const u32 full = __ballot_sync(0xffffffffu, kind == CLASS_FULL);
                const int slot = kind == CLASS_PARTIAL ? w.partial + __popc(partial & before) : w.full + __popc(full & before);
                if (kind != CLASS_EMPTY && slot < K::LISTED)
                    list[(kind == CLASS_FULL ? K::LISTED : 0) + slot] = (u16)(at + lane);
                w.partial += __popc(partial);
                w.full += __popc(full);
            }
            w.listed = w.partial <= K::LISTED && w.full <= K::LISTED && count < 65536;
            if (w.partial + w.full == 0) { /* rows that see nothing: one tile, of which the element test leaves nothing */
                w.partial = 1;
                if (lane == 0)
                    list[0] = 0;
            }
        }
        __syncwarp();
        if (lane == 0) {
            work_write(smem + X::AT_WORK + 48 * slot, w);
            barrier_arrive(base + X::WORK_FULL + 8 * slot);
        }
        __syncwarp();
        if (!w.valid)
            break;
    }
    if (lane == 0) { /* the last block leaves the counters as it found them */
        __threadfence();
        if (atomicAdd(counter + 1, 1u) == gridDim.x - 1)
            counter[0] = counter[1] = 0;
    }
}

/* The visited key tiles of a query tile, in order: from the list, or classed again where that was too short. */
template <class K> struct Visit {
    KeyTiles tiles;
    const u16 *list;
    int count, kind, at;
    u32 found;

    DEV_MEMBER void begin(const typename K::Launch &P, const typename K::Root &root, const unsigned char *smem, u32 slot)
    {
        K::range(P, root, tiles);
        count = tiles.count();
        list = (const u16 *)(smem + Shape<K>::AT_LISTS) + slot * 2 * K::LISTED;
        kind = CLASS_PARTIAL;
        at = -32;
        found = 0;
    }
    DEV_MEMBER void next(const typename K::Launch &P, const typename K::Root &root, const Work &w, int n, int (&tile)[3])
    {
        int ordinal;
        if (w.listed) {
            ordinal = n < w.partial ? list[n] : list[K::LISTED + n - w.partial];
        } else {
            while (!found) {
                at += 32;
                if (at >= count)
                    at = 0, kind = CLASS_FULL;
                found = __ballot_sync(0xffffffffu, class_of<K>(P, root, tiles, at + (threadIdx.x & 31), count) == kind);
            }
            ordinal = at + __ffs(found) - 1;
            found &= found - 1;
        }
        tiles.place<K::RANK>(ordinal, tile);
    }
};

DEV u64 policy_once()
{
    u64 r;
    asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(r));
    return r;
}
DEV u64 policy_kept()
{
    u64 r;
    asm("createpolicy.fractional.L2::evict_last.b64 %0;" : "=l"(r));
    return r;
}

/* Warp 1: keys, and the queries after the first of them. */
template <class K> DEV void load_keys(const typename K::Launch &P, unsigned char *smem, u32 base)
{
    typedef Shape<K> X;
    const int lane = threadIdx.x & 31;
    const u64 once = policy_once(), kept = policy_kept();
    int slot = 0, slot_q = 0;
    u32 free = 1, free_q = 1;
    for (u32 work = 0;; work++) {
        barrier_wait(base + X::WORK_FULL + 8 * (work & 1), work >> 1 & 1);
        Work w;
        work_read(smem + X::AT_WORK + 48 * (work & 1), w);
        if (!w.valid)
            break;
        typename K::Root root;
        K::root(P, w, 0, root);
        Visit<K> visit;
        visit.begin(P, root, smem, work & 1);
        const int all = w.partial + w.full;
#pragma unroll 1
        for (int n = 0; n < all; n++) {
            int tile[3];
            visit.next(P, root, w, n, tile);
            if (lane == 0) {
                barrier_wait(base + X::K_EMPTY + 8 * slot, free);
                volatile int *place = (volatile int *)(smem + X::AT_TILES + 16 * slot);
                place[0] = tile[0], place[1] = tile[1], place[2] = tile[2];
                const u32 bar = base + X::K_FULL + 8 * slot;
                barrier_expect(bar, X::K_BYTES);
                K::load_k(P, root, tile, base + X::AT_K + slot * X::K_BYTES, bar, kept);
                if (n == 0) {
                    barrier_wait(base + X::Q_EMPTY + 8 * slot_q, free_q);
                    const u32 bar_q = base + X::Q_FULL + 8 * slot_q;
                    barrier_expect(bar_q, X::Q_BYTES);
                    K::load_q(P, w, root, base + X::AT_Q + slot_q * X::Q_BYTES, bar_q, once);
                }
                if (n == (all < K::AHEAD ? 0 : all - K::AHEAD))
                    barrier_arrive(base + X::WANTED);
            }
            if (++slot == K::STAGES)
                slot = 0, free ^= 1;
            __syncwarp();
        }
        if (++slot_q == X::Q_BUFFERS)
            slot_q = 0, free_q ^= 1;
    }
}

/* Warp 2: values. */
template <class K> DEV void load_values(const typename K::Launch &P, unsigned char *smem, u32 base)
{
    typedef Shape<K> X;
    const int lane = threadIdx.x & 31;
    const u64 kept = policy_kept();
    int slot = 0;
    u32 free = 1;
    for (u32 work = 0;; work++) {
        barrier_wait(base + X::WORK_FULL + 8 * (work & 1), work >> 1 & 1);
        Work w;
        work_read(smem + X::AT_WORK + 48 * (work & 1), w);
        if (!w.valid)
            break;
        typename K::Root root;
        K::root(P, w, 0, root);
        Visit<K> visit;
        visit.begin(P, root, smem, work & 1);
        const int all = w.partial + w.full;
#pragma unroll 1
        for (int n = 0; n < all; n++) {
            int tile[3];
            visit.next(P, root, w, n, tile);
            if (lane == 0) {
                barrier_wait(base + X::V_EMPTY + 8 * slot, free);
                const u32 bar = base + X::V_FULL + 8 * slot;
                barrier_expect(bar, X::V_BYTES);
                K::load_v(P, root, tile, base + X::AT_V + slot * X::V_BYTES, bar, kept);
            }
            if (++slot == K::STAGES)
                slot = 0, free ^= 1;
            __syncwarp();
        }
        if (lane == 0)
            barrier_arrive(base + X::WORK_EMPTY + 8 * (work & 1));
    }
}

/* A warpgroup of 64 query rows. */
template <class K> struct Consumer {
    typedef Shape<K> X;
    typedef typename K::Root Root;
    const typename K::Launch &P;
    unsigned char *smem;
    u32 base;
    int wg, row, column; /* of this thread: first row in the tile, first column of a group of 8 */
    bool lead;
    u64 q, k, v;
    int slot_k, slot_v, slot_q;
    u32 phase_k, phase_v, phase_q, works;
    float *tables;  /* of this warpgroup: two buffers in turn */
    int turn_of_tables;

    DEV_MEMBER void fetch(Work &w)
    {
        const u32 slot = works & 1;
        barrier_wait(base + X::WORK_FULL + 8 * slot, works >> 1 & 1);
        work_read(smem + X::AT_WORK + 48 * slot, w);
        __syncwarp();
        if (lead)
            barrier_arrive(base + X::WORK_EMPTY + 8 * slot);
        works++;
    }
    DEV_MEMBER void turn() const
    {
        if (K::PINGPONG && K::WGS > 1)
            named_sync(1 + wg, 256);
    }
    DEV_MEMBER void pass() const
    {
        if (K::PINGPONG && K::WGS > 1)
            named_arrive(wg + 1 == K::WGS ? 1 : 2 + wg, 256);
    }
    DEV_MEMBER void wait_q() const { barrier_wait(base + X::Q_FULL + 8 * slot_q, phase_q); }
    DEV_MEMBER void free_q()
    {
        if (lead)
            barrier_arrive(base + X::Q_EMPTY + 8 * slot_q);
        if (++slot_q == X::Q_BUFFERS)
            slot_q = 0, phase_q ^= 1;
    }
    DEV_MEMBER void wait_k() const { barrier_wait(base + X::K_FULL + 8 * slot_k, phase_k); }
    DEV_MEMBER void wait_v() const { barrier_wait(base + X::V_FULL + 8 * slot_v, phase_v); }
    template <bool WANTED> DEV_MEMBER void read_tile(int (&tile)[3]) const
    {
        if (!WANTED)
            return;
        const volatile int *place = (const volatile int *)(smem + X::AT_TILES + 16 * slot_k);
        tile[0] = place[0];
        tile[1] = K::RANK > 1 ? place[1] : 0;
        tile[2] = K::RANK > 2 ? place[2] : 0;
        __syncwarp();
    }
    DEV_MEMBER void free_k()
    {
        if (lead)
            barrier_arrive(base + X::K_EMPTY + 8 * slot_k);
        if (++slot_k == K::STAGES)
            slot_k = 0, phase_k ^= 1;
    }
    /* What scores read from tables is computed while products run. */
    template <bool MASKED> DEV_MEMBER void prepare(const Root &root, const int (&tile)[3])
    {
        if (K::TABLES == 0)
            return;
        turn_of_tables ^= 1;
        if (K::template prepare<MASKED>(P, root, tile, 64 * wg, tables + turn_of_tables * K::TABLES))
            named_sync(8 + wg, 128);
    }
    DEV_MEMBER void free_v()
    {
        if (lead)
            barrier_arrive(base + X::V_EMPTY + 8 * slot_v);
        if (++slot_v == K::STAGES)
            slot_v = 0, phase_v ^= 1;
    }
    DEV_MEMBER void scores(float (&S)[X::SCORES]) const
    {
        K::scores(S, q + (u64)(slot_q * (X::Q_BYTES >> 4)), k + (u64)(slot_k * (X::K_BYTES >> 4)));
    }
    DEV_MEMBER void sum(float (&O)[X::SUMS], const u32 (&W)[X::SCORES / 2]) const
    {
        K::sum(O, W, v + (u64)(slot_v * (X::V_BYTES >> 4)));
    }
    /* A packed tensor goes on behind the sequence's end: weights are 0 there, and 0 times what stands there may be NaN.
     * Before the tile's weighted sum is issued, and while no other is in flight. */
    DEV_MEMBER void clean_v(const Root &root, const int (&tile)[3]) const
    {
        const int valid_keys = K::RANK > 1 ? K::BLOCK_N : K::valid_keys(P, root, tile);
        if (valid_keys >= K::BLOCK_N)
            return;
        wait_v();
        unsigned char *panels = smem + X::AT_V + slot_v * X::V_BYTES + (threadIdx.x & 7) * 16;
#pragma unroll 1
        for (int row = max(valid_keys, 0) + ((threadIdx.x & 127) >> 3); row < K::BLOCK_N; row += 16)
#pragma unroll
            for (int p = 0; p < X::E_PANELS; p++)
                *(uint4 *)(panels + p * X::KV_PANEL + row * 128) = make_uint4(0, 0, 0, 0);
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        named_sync(8 + wg, 128);
    }
    DEV_MEMBER void weights(u32 (&W)[X::SCORES / 2], const float (&S)[X::SCORES]) const
    {
#pragma unroll
        for (int x = 0; x < X::SCORES / 2; x++)
            W[x] = K::pack(S[2 * x], S[2 * x + 1]);
    }
    /* The weights of a query tile's first key tile, whose scores are on their way. BEHIND: so is the last weighted sum of
     * the query tile before, if there was one. */
    template <bool BEHIND>
    DEV_MEMBER void first(float (&S)[X::SCORES], float (&O)[X::SUMS], u32 (&W)[X::SCORES / 2], const Work &w,
                          typename K::Rows &rows, typename K::Carry &carry, Root &root, bool before)
    {
        int tile[3] = {0, 0, 0};
        K::root(P, w, row, root);
        read_tile<true>(tile);
        prepare<true>(root, tile);
        wgmma_wait<BEHIND ? 1 : 0>();
        settle(S);
        free_k();
        K::start(root, rows);
        K::template score<true>(P, root, tile, row, column, tables + turn_of_tables * K::TABLES, base + X::AT_WORK, S,
                                    rows, carry);
        if (BEHIND) {
            wgmma_wait<0>();
            settle(O);
            settle(W);
            if (before)
                free_v();
        }
        weights(W, S);
        clean_v(root, tile);
    }
    template <bool MASKED>
    DEV_MEMBER void step(float (&S)[X::SCORES], float (&O)[X::SUMS], u32 (&W)[X::SCORES / 2], typename K::Rows &rows,
                         typename K::Carry &carry, const Root &root)
    {
        int tile[3] = {0, 0, 0};
        wait_k();
        turn();
        wgmma_fence();
        scores(S);
        wgmma_commit();
        wait_v();
        wgmma_fence();
        sum(O, W);
        wgmma_commit();
        pass();
        read_tile<MASKED || K::TILE_IN_FULL>(tile);
        prepare<MASKED>(root, tile);
        wgmma_wait<1>();
        settle(S);
        free_k();
        K::template score<MASKED>(P, root, tile, row, column, tables + turn_of_tables * K::TABLES, base + X::AT_WORK, S,
                                    rows, carry);
        wgmma_wait<0>();
        settle(O);
        settle(W);
        free_v();
        weights(W, S);
        K::rescale(O, carry);
        if (MASKED)
            clean_v(root, tile);
    }
    DEV_MEMBER void last(float (&O)[X::SUMS], const u32 (&W)[X::SCORES / 2])
    {
        wait_v();
        wgmma_fence();
        sum(O, W);
        wgmma_commit();
        wgmma_wait<0>();
        settle(O);
        free_v();
    }
    DEV_MEMBER void steps(const Work &w, float (&S)[X::SCORES], float (&O)[X::SUMS], u32 (&W)[X::SCORES / 2],
                          typename K::Rows &rows, typename K::Carry &carry, const Root &root)
    {
#pragma unroll
        for (int x = 0; x < X::SUMS; x++)
            O[x] = 0;
        int masked = w.partial - 1, plain = w.full; /* but for the first, which is done */
        if (masked < 0)
            masked = 0, plain--;
#pragma unroll 1
        for (; masked > 0; masked--)
            step<true>(S, O, W, rows, carry, root);
#pragma unroll 1
        for (; plain > 0; plain--)
            step<false>(S, O, W, rows, carry, root);
        free_q();
    }
    /* One query tile after another. */
    DEV_MEMBER void run_apart(Work &w)
    {
        float S[X::SCORES], O[X::SUMS];
        u32 W[X::SCORES / 2];
        typename K::Rows rows;
        typename K::Carry carry;
        Root root;
        for (; w.valid; fetch(w)) {
            wait_q();
            wait_k();
            wgmma_fence();
            scores(S);
            wgmma_commit();
            first<false>(S, O, W, w, rows, carry, root, false);
            steps(w, S, O, W, rows, carry, root);
            last(O, W);
            K::finish(P, w, root, rows, O, row);
        }
    }
    /* A query tile's first scores go with the last weighted sum of the one before. The very first has none before it: its
     * sum is of whatever lies in shared memory, and nobody looks at it. */
    DEV_MEMBER void run_early(Work &w)
    {
        float S[X::SCORES], O[X::SUMS];
        u32 W[X::SCORES / 2];
        typename K::Rows rows;
        typename K::Carry carry;
        Root root;
        Work before;
        before.valid = 0;
#pragma unroll
        for (int x = 0; x < X::SUMS; x++)
            O[x] = 0;
#pragma unroll
        for (int x = 0; x < X::SCORES / 2; x++)
            W[x] = 0;
        K::root(P, w, row, root);
        K::start(root, rows);
        while (true) {
            const typename K::Rows rows_before = rows;
            const Root root_before = root;
            wait_q();
            wait_k();
            turn();
            wgmma_fence();
            scores(S);
            wgmma_commit();
            if (before.valid)
                wait_v();
            wgmma_fence();
            sum(O, W);
            wgmma_commit();
            pass();
            first<true>(S, O, W, w, rows, carry, root, before.valid);
            if (before.valid) {
                typename K::Rows done = rows_before;
                K::finish(P, before, root_before, done, O, row);
            }
            steps(w, S, O, W, rows, carry, root);
            before = w;
            fetch(w);
            if (!w.valid)
                break;
        }
        last(O, W);
        K::finish(P, before, root, rows, O, row);
    }
    DEV_MEMBER void run()
    {
        Work w;
        fetch(w);
        if (!w.valid)
            return;
        if (K::PINGPONG && K::WGS > 1 && wg == K::WGS - 1)
            named_arrive(1, 256);
        if (K::EARLY)
            run_early(w);
        else
            run_apart(w);
    }
};

template <class K> DEV void attend(const typename K::Launch &P, unsigned char *smem)
{
    typedef Shape<K> X;
    const u32 base = shared_address(smem);
    const int wg = __shfl_sync(0xffffffffu, (int)(threadIdx.x >> 7), 0);
    if (threadIdx.x == 0) {
        for (int s = 0; s < X::Q_BUFFERS; s++) {
            barrier_init(base + X::Q_FULL + 8 * s, 1);
            barrier_init(base + X::Q_EMPTY + 8 * s, 4 * K::WGS);
        }
        for (int s = 0; s < K::STAGES; s++) {
            barrier_init(base + X::K_FULL + 8 * s, 1);
            barrier_init(base + X::K_EMPTY + 8 * s, 4 * K::WGS);
            barrier_init(base + X::V_FULL + 8 * s, 1);
            barrier_init(base + X::V_EMPTY + 8 * s, 4 * K::WGS);
        }
        for (int s = 0; s < 2; s++) {
            barrier_init(base + X::WORK_FULL + 8 * s, 1);
            barrier_init(base + X::WORK_EMPTY + 8 * s, 4 * K::WGS + 1);
        }
        barrier_init(base + X::WANTED, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    if (wg == 0) {
        if (K::PRODUCER_REGS)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(K::PRODUCER_REGS ? K::PRODUCER_REGS : 24));
        const int warp = threadIdx.x >> 5;
        if (warp == 0)
            schedule<K>(P, smem, base);
        else if (warp == 1)
            load_keys<K>(P, smem, base);
        else if (warp == 2)
            load_values<K>(P, smem, base);
        return;
    }
    if (K::PRODUCER_REGS)
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(K::PRODUCER_REGS ? K::CONSUMER_REGS : 24));
    const int lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3, me = wg - 1;
    Consumer<K> consumer = {P,
                            smem,
                            base,
                            me,
                            64 * me + 16 * warp + (lane >> 2),
                            2 * (lane & 3),
                            lane == 0,
                            matrix(base + X::AT_Q + 64 * 128 * me, 16),
                            matrix(base + X::AT_K, 16),
                            matrix(base + X::AT_V, X::KV_PANEL),
                            0, 0, 0, 0, 0, 0, 0,
                            (float *)(smem + X::AT_TABLES) + me * 2 * K::TABLES,
                            0};
    consumer.run();
}
