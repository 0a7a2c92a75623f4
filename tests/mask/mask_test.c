/* Tile classes and key/query ranges against brute force, for the masks of the field.
 *
 * Sound: no visible pair in a tile classed empty, no invisible one in a tile classed full, no visible pair
 * outside a range. Tight: of the truly empty tiles at least 98% are classed empty, of the truly full ones 95%
 * full, summed over sizes, heads and tile shapes; ranges miss the true hull by less than a tile. */
#include "mask_field.h"
#include "random_test.h"

#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

typedef struct MaskCase {
    const char *name, *text;
    int rank;
    bool range_tight; /* the key and query ranges come within a tile of the truth */
} MaskCase;

#define SPEC(text) "import \"std/windows\"\nattention t { " text " }"
#define SPEC2(text) "import \"std/windows\"\nattention t over (y, x) { " text " }"
#define SPEC3(text) "import \"std/windows\"\nattention t over (z, y, x) { " text " }"

static const MaskCase cases[] = {
    {"causal", SPEC("mask j <= i"), 1, true},
    {"sliding", SPEC("param window: int = 50 mask j <= i and i - j < window"), 1, true},
    {"sliding huge", SPEC("param window: int = 9223372036854775807 mask j <= i and i - j < window"), 1, true},
    {"local", SPEC("mask abs(i - j) <= 37"), 1, true},
    {"std sliding", SPEC("mask sliding(i, j, 70)"), 1, true},
    {"prefix", SPEC("param p: int = 70 mask j <= i or j < p"), 1, true},
    {"document", SPEC("input doc[b, t]: i32 mask doc[i] == doc[j]"), 1, false},
    {"document causal", SPEC("input doc[b, t]: i32 mask j <= i and doc[i] == doc[j]"), 1, false},
    {"global and window", SPEC("mask j < 20 or i < 20 or abs(i - j) < 40"), 1, false},
    {"sinks", SPEC("param w: int = 60 param n: int = 4 mask j <= i and (i - j < w or j < n)"), 1, false},
    {"dilated", SPEC("param w: int = 30 param d: int = 3 mask j <= i and i - j < w * d and (i - j) % d == 0"),
     1, true},
    {"strided", SPEC("param l: int = 24 mask j <= i and (i - j < l or (i - j) % l == 0)"), 1, true},
    {"wide stride", SPEC("mask j <= i and (i - j) % 200 == 0"), 1, true},
    {"fixed", SPEC("param l: int = 96 param c: int = 8 mask j <= i and (i / l == j / l or j % l >= l - c)"),
     1, false},
    {"block causal", SPEC("param c: int = 48 mask j / c <= i / c"), 1, true},
    {"block halo", SPEC("mask block_with_halo(i, j, 40, 13)"), 1, true},
    {"chunked", SPEC("param c: int = 80 mask i / c == j / c"), 1, true},
    {"chunked causal", SPEC("param c: int = 80 mask j <= i and i / c == j / c"), 1, true},
    {"sharded",
     SPEC("input shard[h]: i32 input phase[h]: i32 mask j <= i and (i - j < shard[h] or "
          "(i / shard[h] - j / shard[h] - phase[h]) % 4 == 0)"),
     1, false},
    {"shifted chunks",
     SPEC("param c: int = 64 param shift: int = 20 mask ((i + shift) % N) / c == ((j + shift) % N) / c"), 1,
     true},
    {"neighbour 1-D", SPEC("mask neighbor1(i, j, N, 41, 1)"), 1, true},
    {"neighbour 1-D dilated", SPEC("mask neighbor1(i, j, N, 21, 3)"), 1, true},
    {"neighbour 1-D causal", SPEC("mask axis_neighbor_causal(i, j, N, 21, 2, 1)"), 1, true},
    {"neighbour 1-D stride", SPEC("mask axis_neighbor(i, j, N, 40, 1, 8)"), 1, true},
    {"threshold", SPEC("param cut: float = 40.5 mask j <= i and tanh(float(i - j) / cut) < 0.7"), 1, false},
    {"neighbour 2-D", SPEC2("mask neighbor(i, j, size, (7, 9), (1, 1))"), 2, true},
    {"neighbour 2-D params", SPEC2("param width: int2 = (7, 9) mask neighbor(i, j, size, width, (1, 1))"), 2,
     true},
    {"neighbour 2-D dilated", SPEC2("mask neighbor(i, j, size, (5, 5), (2, 3))"), 2, true},
    {"neighbour 2-D stride", SPEC2("mask neighbor_stride(i, j, size, (8, 8), (1, 1), (2, 4))"), 2, true},
    {"box 2-D", SPEC2("mask box(i, j, (3, 5))"), 2, true},
    {"boxes 2-D", SPEC2("mask same_box(i, j, (7, 7), (0, 0))"), 2, true},
    {"shifted boxes 2-D",
     SPEC2("mask ((i.y + 3) % size.y) / 7 == ((j.y + 3) % size.y) / 7 and "
           "((i.x + 3) % size.x) / 7 == ((j.x + 3) % size.x) / 7"),
     2, true},
    {"causal rows 2-D", SPEC2("mask j.y <= i.y and abs(i.x - j.x) <= 4"), 2, true},
    {"axial 2-D", SPEC2("mask axial(i, j)"), 2, false},
    {"neighbour 3-D", SPEC3("mask neighbor3(i, j, size, (3, 5, 5), (1, 1, 1))"), 3, true},
    {"neighbour 3-D causal", SPEC3("mask neighbor3_causal(i, j, size, (3, 5, 5), (1, 1, 1), (1, 1, 1))"), 3,
     true},
};

/* Query and key extents by axis, and the offset of the first query (rank 1). */
typedef struct MaskSizes {
    int64_t m[3], n[3], offset;
} MaskSizes;
static const MaskSizes sizes1[] = {
    {{300}, {300}, 0}, {{389}, {389}, 0}, {{150}, {410}, 260}, {{90}, {333}, 0}};
static const MaskSizes sizes2[] = {{{21, 26}, {21, 26}, 0}, {{32, 17}, {32, 17}, 0}};
static const MaskSizes sizes3[] = {{{6, 10, 12}, {6, 10, 12}, 0}, {{7, 9, 9}, {7, 9, 9}, 0}};
typedef struct MaskTile {
    int64_t m[3], n[3];
} MaskTile;
static const MaskTile tiles1[] = {{{32}, {128}}, {{64}, {64}}, {{16}, {16}}, {{1}, {64}}};
static const MaskTile tiles2[] = {{{4, 8}, {4, 8}}, {{4, 4}, {8, 8}}};
static const MaskTile tiles3[] = {{{2, 4, 4}, {2, 4, 4}}, {{1, 4, 8}, {2, 4, 4}}};

typedef struct Tally {
    long tiles, empty, empty_found, full, full_found, unsound, outside, loose;
    size_t nodes_may, nodes_must, nodes_range;
} Tally;

/* Sets the box of one side to tile number `index`; false past the last. */
static bool set_tile(int64_t index, int rank, const int64_t *extent, const int64_t *tile, int64_t first,
                     int64_t *lo, int64_t *hi)
{
    for (int a = rank - 1; a >= 0; a--) {
        int64_t count = (extent[a] + tile[a] - 1) / tile[a], at = index % count;
        index /= count;
        lo[a] = first + at * tile[a];
        hi[a] = first + (at * tile[a] + tile[a] < extent[a] ? at * tile[a] + tile[a] : extent[a]) - 1;
    }
    return index == 0;
}

static bool next(int rank, int64_t *at, const int64_t *lo, const int64_t *hi)
{
    for (int a = rank - 1; a >= 0; a--) {
        if (++at[a] <= hi[a])
            return true;
        at[a] = lo[a];
    }
    return false;
}

static void count_visible(const MaskField *f, long *visible, long *all)
{
    int64_t i[3], j[3];
    *visible = *all = 0;
    memcpy(i, f->i_lo, sizeof i);
    do {
        memcpy(j, f->j_lo, sizeof j);
        do {
            ++*all;
            *visible += mask_field_at(f, i, j);
        } while (next(f->spec->rank, j, f->j_lo, f->j_hi));
    } while (next(f->spec->rank, i, f->i_lo, f->i_hi));
}

static void check_tiles(MaskField *f, const MaskTile *tile, const MaskClass *class, Tally *tally)
{
    int rank = f->spec->rank;
    for (int64_t x = 0; set_tile(x, rank, f->m, tile->m, f->offset, f->i_lo, f->i_hi); x++)
        for (int64_t y = 0; set_tile(y, rank, f->n, tile->n, 0, f->j_lo, f->j_hi); y++) {
            long visible, all;
            count_visible(f, &visible, &all);
            bool may = mask_field_value(f, class->may), must = mask_field_value(f, class->must);
            tally->tiles++;
            tally->empty += visible == 0;
            tally->full += visible == all;
            tally->empty_found += visible == 0 && !may;
            tally->full_found += visible == all && must;
            tally->unsound += (visible > 0 && !may) || (visible < all && must);
        }
}

/* The hull of what is visible on side `keys` from each tile of the other side. */
static void check_range(MaskField *f, const MaskTile *tile, const MaskHull *hull, bool keys, Tally *tally)
{
    int rank = f->spec->rank;
    const int64_t *given = keys ? f->m : f->n, *shape = keys ? tile->m : tile->n,
                  *other = keys ? tile->n : tile->m;
    int64_t *lo = keys ? f->i_lo : f->j_lo, *hi = keys ? f->i_hi : f->j_hi;
    int64_t first = keys || rank > 1 ? 0 : f->offset, start[3] = {first, 0, 0}, end[3] = {0};
    for (int a = 0; a < rank; a++)
        end[a] = start[a] + (keys ? f->n[a] : f->m[a]) - 1;
    for (int64_t x = 0; set_tile(x, rank, given, shape, keys ? f->offset : 0, lo, hi); x++) {
        int64_t seen_lo[3], seen_hi[3], at[3], other_at[3];
        bool any = false;
        memcpy(at, lo, sizeof at);
        do {
            memcpy(other_at, start, sizeof other_at);
            do {
                if (!(keys ? mask_field_at(f, at, other_at) : mask_field_at(f, other_at, at)))
                    continue;
                for (int a = 0; a < rank; a++) {
                    seen_lo[a] = !any || other_at[a] < seen_lo[a] ? other_at[a] : seen_lo[a];
                    seen_hi[a] = !any || other_at[a] > seen_hi[a] ? other_at[a] : seen_hi[a];
                }
                any = true;
            } while (next(rank, other_at, start, end));
        } while (next(rank, at, lo, hi));
        for (int a = 0; a < rank && any; a++) {
            int64_t from = hull->lo[a] ? mask_field_value(f, hull->lo[a]) : start[a];
            int64_t to = hull->hi[a] ? mask_field_value(f, hull->hi[a]) - 1 : end[a];
            from = from < start[a] ? start[a] : from;
            to = to > end[a] ? end[a] : to;
            int64_t slack = other[a] > 4 ? other[a] : 4; /* a tile, or a few rows */
            tally->outside += seen_lo[a] < from || seen_hi[a] > to;
            if (getenv("MASK_LOOSE") && (seen_lo[a] - from >= slack || to - seen_hi[a] >= slack))
                printf("%s axis %d of m %ld n %ld: given %ld..%ld, seen %ld..%ld, range %ld..%ld\n",
                       keys ? "keys" : "queries", a, (long)f->M, (long)f->N, (long)lo[a], (long)hi[a],
                       (long)seen_lo[a], (long)seen_hi[a], (long)from, (long)to);
            tally->loose += seen_lo[a] - from >= slack || to - seen_hi[a] >= slack;
        }
    }
}

static size_t largest(Arena *arena, const MaskHull *hull, size_t most)
{
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        size_t lo = hull->lo[a] ? expr_count(arena, hull->lo[a]) : 0,
               hi = hull->hi[a] ? expr_count(arena, hull->hi[a]) : 0;
        most = lo > most ? lo : most;
        most = hi > most ? hi : most;
    }
    return most;
}

static void run_case(const MaskCase *c, Tally *keys, Tally *tally)
{
    static const MaskSizes *const sizes[] = {sizes1, sizes2, sizes3};
    static const size_t size_counts[] = {sizeof sizes1 / sizeof *sizes1, sizeof sizes2 / sizeof *sizes2,
                                         sizeof sizes3 / sizeof *sizes3};
    static const MaskTile *const tiles[] = {tiles1, tiles2, tiles3};
    static const size_t tile_counts[] = {sizeof tiles1 / sizeof *tiles1, sizeof tiles2 / sizeof *tiles2,
                                         sizeof tiles3 / sizeof *tiles3};
    for (size_t n = 0; n < size_counts[c->rank - 1]; n++)
        for (int64_t head = 0; head < (strstr(c->text, "shard") ? 2 : 1); head++) {
            Arena *arena = arena_create();
            Spec *spec = mask_field_spec(arena, c->text);
            CU_ASSERT_PTR_NOT_NULL_FATAL(spec);
            const MaskSizes *size = &sizes[c->rank - 1][n];
            MaskField f;
            mask_field_create(&f, arena, spec, size->m, size->n, size->offset, head, 2);
            MaskClass class = mask_classify(spec, &f.box, &f.arrays);
            MaskHull key_hull = mask_key_range(spec, &f.box, &f.arrays),
                     query_hull = mask_query_range(spec, &f.box, &f.arrays);
            tally->nodes_may = expr_count(arena, class.may);
            tally->nodes_must = expr_count(arena, class.must);
            tally->nodes_range = largest(arena, &query_hull, largest(arena, &key_hull, 0));
            if (getenv("MASK_PRINT") && n == 0 && head == 0) {
                Text text = {.arena = arena};
                text_add(&text, "may ");
                expr_print(&text, class.may, NULL);
                text_add(&text, "\nmust ");
                expr_print(&text, class.must, NULL);
                for (int a = 0; a < c->rank; a++)
                    for (int k = 0; k < 4; k++) {
                        const MaskHull *h = k < 2 ? &key_hull : &query_hull;
                        const Expr *e = k % 2 ? h->hi[a] : h->lo[a];
                        text_add(&text, "\n%s %s %d: ", k < 2 ? "keys" : "queries", k % 2 ? "end" : "from",
                                 a);
                        if (e)
                            expr_print(&text, e, NULL);
                    }
                printf("\n%s\n", text.data);
            }
            for (size_t t = 0; t < tile_counts[c->rank - 1]; t++) {
                const MaskTile *tile = &tiles[c->rank - 1][t];
                check_tiles(&f, tile, &class, tally);
                check_range(&f, tile, &key_hull, true, keys);
                check_range(&f, tile, &query_hull, false, tally);
            }
            arena_destroy(arena);
        }
}

static void test_masks(void)
{
    const char *only = getenv("MASK_ONLY");
    printf("\n%-24s %7s %16s %16s %5s %5s %5s %6s\n", "mask", "tiles", "empty found", "full found", "may",
           "must", "range", "loose");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const MaskCase *c = &cases[k];
        if (only && !strstr(c->name, only))
            continue;
        Tally keys = {0}, t = {0};
        run_case(c, &keys, &t);
        printf("%-24s %7ld %7ld of %6ld %7ld of %5ld %5zu %5zu %5zu %ld+%ld\n", c->name, t.tiles,
               t.empty_found, t.empty, t.full_found, t.full, t.nodes_may, t.nodes_must, t.nodes_range,
               keys.loose, t.loose);
        CU_ASSERT_EQUAL(t.unsound, 0);
        CU_ASSERT_EQUAL(keys.outside + t.outside, 0);
        CU_ASSERT(t.empty_found * 100 >= t.empty * 98);
        CU_ASSERT(t.full_found * 100 >= t.full * 95);
        CU_ASSERT(!c->range_tight || keys.loose + t.loose == 0);
        CU_ASSERT(t.nodes_may < 500 && t.nodes_must < 500 && t.nodes_range < 500);
    }
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("mask", NULL, NULL);
    CU_add_test(suite, "random predicates", test_random_masks);
    CU_add_test(suite, "classes and ranges against brute force", test_masks);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures != 0;
}
