/* Random predicates, params of any sign (zero and negative divisors among them): whatever is said must be
 * true. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "random_test.h"

typedef struct Draw {
    Spec *spec;
    uint64_t state;
} Draw;

static int64_t draw(Draw *d, int64_t lo, int64_t hi)
{
    d->state += 0x9E3779B97F4A7C15u;
    uint64_t x = d->state;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return lo + (int64_t)((x ^ x >> 31) % (uint64_t)(hi - lo + 1));
}

static const Expr *op2(Draw *d, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(d->spec->pool, op, a, b);
}

static const Expr *fixed(Draw *d)
{
    ExprPool *pool = d->spec->pool;
    switch (draw(d, 0, 5)) {
    case 0: return expr_param(pool, (int)draw(d, 0, 1), TYPE_INT);
    case 1: return expr_var(pool, VAR_SIZE_N, TYPE_INT);
    default: return expr_int(pool, draw(d, -6, 12));
    }
}

static const Expr *coordinate(Draw *d)
{
    return expr_var(d->spec->pool,
                    (VarId)(draw(d, 0, 1) ? VAR_I0 + draw(d, 0, d->spec->rank - 1)
                                          : VAR_J0 + draw(d, 0, d->spec->rank - 1)),
                    TYPE_INT);
}

static const Expr *term(Draw *d, int depth)
{
    if (depth == 0)
        return draw(d, 0, 3) ? coordinate(d) : fixed(d);
    ExprPool *pool = d->spec->pool;
    const Expr *a = term(d, depth - 1);
    switch (draw(d, 0, 9)) {
    case 0: return op2(d, EXPR_ADD, a, term(d, depth - 1));
    case 1:
    case 2: return op2(d, EXPR_SUB, a, term(d, depth - 1));
    case 3: return op2(d, EXPR_MUL, a, fixed(d));
    case 4: return op2(d, EXPR_DIV, a, fixed(d));
    case 5: return op2(d, EXPR_MOD, a, fixed(d));
    case 6: return op2(d, EXPR_MIN, a, term(d, depth - 1));
    case 7: return op2(d, EXPR_MAX, a, term(d, depth - 1));
    case 8: return expr_op1(pool, EXPR_ABS, a);
    default:
        return expr_op3(pool, EXPR_SELECT, op2(d, EXPR_LT, term(d, 0), term(d, 0)), a, term(d, depth - 1));
    }
}

static const Expr *predicate(Draw *d, int depth)
{
    static const ExprOp compare[] = {EXPR_LE, EXPR_LT, EXPR_EQ, EXPR_NE};
    if (depth == 0)
        return op2(d, compare[draw(d, 0, 3)], term(d, (int)draw(d, 1, 3)), term(d, (int)draw(d, 0, 2)));
    const Expr *a = predicate(d, depth - 1), *b = predicate(d, (int)draw(d, 0, depth - 1));
    switch (draw(d, 0, 6)) {
    case 0: return expr_op1(d->spec->pool, EXPR_NOT, op2(d, EXPR_AND, a, b));
    case 1: return expr_op3(d->spec->pool, EXPR_BSELECT, predicate(d, 0), a, b);
    case 2:
    case 3: return op2(d, EXPR_OR, a, b);
    default: return op2(d, EXPR_AND, a, b);
    }
}

typedef struct Count {
    long tiles, wrong, outside, empty, empty_found, full, full_found;
    size_t largest;
} Count;

static void step(int64_t *at, const int64_t *extent, int rank, int64_t index)
{
    for (int a = rank - 1; a >= 0; a--) {
        at[a] = index % extent[a];
        index /= extent[a];
    }
}

/* All boxes of one shape, the last ones cut off; ranges of both sides. */
static void check(MaskField *f, int64_t m, int64_t n, Count *count)
{
    Spec *spec = f->spec;
    int rank = spec->rank;
    MaskClass class = mask_classify(spec, &f->box, NULL);
    MaskHull keys = mask_key_range(spec, &f->box, NULL), queries = mask_query_range(spec, &f->box, NULL);
    size_t nodes = expr_count(f->arena, class.may);
    count->largest = nodes > count->largest ? nodes : count->largest;
    int64_t boxes_i = 1, boxes_j = 1, count_i[3], count_j[3], at[3];
    for (int a = 0; a < rank; a++) {
        boxes_i *= count_i[a] = (f->m[a] + m - 1) / m;
        boxes_j *= count_j[a] = (f->n[a] + n - 1) / n;
    }
    for (int64_t x = 0; x < boxes_i; x++)
        for (int64_t y = 0; y < boxes_j; y++) {
            step(at, count_i, rank, x);
            for (int a = 0; a < rank; a++) {
                f->i_lo[a] = at[a] * m + f->offset;
                f->i_hi[a] = (at[a] * m + m < f->m[a] ? at[a] * m + m : f->m[a]) - 1 + f->offset;
            }
            step(at, count_j, rank, y);
            for (int a = 0; a < rank; a++) {
                f->j_lo[a] = at[a] * n;
                f->j_hi[a] = (at[a] * n + n < f->n[a] ? at[a] * n + n : f->n[a]) - 1;
            }
            bool may = mask_field_value(f, class.may), must = mask_field_value(f, class.must), any = false,
                 all = true;
            int64_t lo[2][3], hi[2][3];
            for (int a = 0; a < rank; a++) {
                lo[0][a] = keys.lo[a] ? mask_field_value(f, keys.lo[a]) : INT64_MIN;
                hi[0][a] = keys.hi[a] ? mask_field_value(f, keys.hi[a]) : INT64_MAX;
                lo[1][a] = queries.lo[a] ? mask_field_value(f, queries.lo[a]) : INT64_MIN;
                hi[1][a] = queries.hi[a] ? mask_field_value(f, queries.hi[a]) : INT64_MAX;
            }
            for (int64_t row = 0; row < f->M; row++)
                for (int64_t key = 0; key < f->N; key++) {
                    int64_t i[3], j[3];
                    step(i, f->m, rank, row);
                    step(j, f->n, rank, key);
                    bool inside = true;
                    for (int a = 0; a < rank; a++) {
                        i[a] += f->offset;
                        inside &= i[a] >= f->i_lo[a] && i[a] <= f->i_hi[a] && j[a] >= f->j_lo[a] &&
                                  j[a] <= f->j_hi[a];
                    }
                    if (!inside)
                        continue;
                    bool visible = f->visible[row * f->N + key];
                    any |= visible;
                    all &= visible;
                    for (int a = 0; a < rank && visible; a++)
                        count->outside +=
                            j[a] < lo[0][a] || j[a] >= hi[0][a] || i[a] < lo[1][a] || i[a] >= hi[1][a];
                }
            count->tiles++;
            count->empty += !any;
            count->full += all;
            count->empty_found += !may;
            count->full_found += must;
            count->wrong += (any && !may) || (!all && must);
        }
}

void test_random_masks(void)
{
    Count count = {0};
    Draw d = {.state = 42};
    for (int round = 0; round < 900; round++) {
        Arena *arena = arena_create();
        Spec *spec = ARENA_NEW(arena, Spec);
        *spec = (Spec){.arena = arena,
                       .pool = expr_pool_create(arena),
                       .rank = round % 4 == 3 ? 2 : 1,
                       .param_count = 2};
        d.spec = spec;
        for (int k = 0; k < 2; k++)
            spec->params[k] = (SpecParam){.name = "p", .type = TYPE_INT, .value.i = draw(&d, -2, 9)};
        spec->mask = predicate(&d, round % 3);
        int64_t extent[3];
        for (int a = 0; a < spec->rank; a++)
            extent[a] = spec->rank == 1 ? draw(&d, 10, 26) : draw(&d, 3, 6);
        MaskField f;
        mask_field_create(&f, arena, spec, extent, extent, spec->rank == 1 ? draw(&d, -5, 9) : 0, 0, 1);
        long before = count.wrong + count.outside;
        check(&f, draw(&d, 1, 6), draw(&d, 1, 6), &count);
        if (count.wrong + count.outside > before && before < 5) {
            Text text = {.arena = arena};
            expr_print(&text, spec->mask, &(ExprNames){.rank = spec->rank});
            printf("\n  wrong: %s with %ld, %ld", text.data, (long)spec->params[0].value.i,
                   (long)spec->params[1].value.i);
        }
        arena_destroy(arena);
    }
    printf(" %ld tiles, empty %ld of %ld, full %ld of %ld, at most %zu nodes ", count.tiles,
           count.empty_found, count.empty, count.full_found, count.full, count.largest);
    CU_ASSERT_EQUAL(count.wrong, 0);
    CU_ASSERT_EQUAL(count.outside, 0);
    CU_ASSERT(count.tiles > 30000);
    CU_ASSERT(count.largest <= 1000);
    CU_ASSERT(count.empty_found * 10 > count.empty * 8 && count.full_found * 10 > count.full * 8);
}
