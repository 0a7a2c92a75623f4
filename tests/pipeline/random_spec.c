/* The grammar of random specs: see random_spec.h. */
#include "random_spec.h"

#include <string.h>

typedef enum Place { IN_MASK, IN_SCORE, IN_FEATURE, IN_OUTPUT, IN_HEAD /* i and j are unknown */ } Place;

typedef struct Maker {
    Arena *arena;
    Random random;
    RandomSpec *spec;
    Place place;
    char tensor;              /* IN_FEATURE: q, k or v; 'b': both q and k */
    const char *declared[GEN_MAX_ITEMS];
    int declared_count;
    int lets[3];              /* by GenKind up to GEN_FLOAT: number of item-level lets */
    bool use_lets;
} Maker;

/* Trees ----------------------------------------------------------------------------------------------------- */

static Gen *node(Maker *m, GenKind kind, double bound, const char *format, int count, Gen *a, Gen *b, Gen *c)
{
    Gen *gen = ARENA_NEW(m->arena, Gen);
    *gen = (Gen){kind, format, count, {a, b, c}, bound};
    return gen;
}

static Gen *leaf(Maker *m, GenKind kind, double bound, const char *format) { return node(m, kind, bound, format, 0, NULL, NULL, NULL); }

static int64_t below(Maker *m, int64_t end) { return random_below(&m->random, end); }
static bool chance(Maker *m, int percent) { return below(m, 100) < percent; }
#define PICK(m, ...) pick_text(m, (const char *const[]){__VA_ARGS__}, (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))
static const char *pick_text(Maker *m, const char *const *texts, int count) { return texts[below(m, count)]; }

static void add_item(Maker *m, Gen *item) { m->spec->items[m->spec->item_count++] = item; }

/* Declares an input or a param at its first use. The name is its first word but one. */
static const char *declare(Maker *m, const char *name, const char *declaration)
{
    for (int n = 0; n < m->declared_count; n++)
        if (!strcmp(m->declared[n], name))
            return name;
    m->declared[m->declared_count++] = name;
    add_item(m, leaf(m, GEN_ITEM, 0, declaration));
    return name;
}

static const char *number(Maker *m, int64_t lo, int64_t hi)
{
    return arena_printf(m->arena, "%lld", (long long)random_between(&m->random, lo, hi));
}

/* Ints ------------------------------------------------------------------------------------------------------ */

static Gen *make_bool(Maker *m, int depth);

static const char *axis_member(Maker *m)
{
    return m->spec->rank == 2 ? PICK(m, ".y", ".x") : PICK(m, ".z", ".y", ".x");
}

static Gen *int_leaf(Maker *m)
{
    bool pair = m->place == IN_MASK || m->place == IN_SCORE, rows = m->place == IN_OUTPUT;
    for (;;)
        switch (below(m, 14)) {
        case 0: case 1: case 2:
            if (!pair && !rows)
                continue;
            if (m->spec->rank > 1 && chance(m, 80))
                return leaf(m, GEN_INT, 0, arena_printf(m->arena, "i%s", axis_member(m)));
            return leaf(m, GEN_INT, 0, "i");
        case 3: case 4: case 5:
            if (!pair)
                continue;
            if (m->spec->rank > 1 && chance(m, 80))
                return leaf(m, GEN_INT, 0, arena_printf(m->arena, "j%s", axis_member(m)));
            return leaf(m, GEN_INT, 0, "j");
        case 6: return leaf(m, GEN_INT, 0, number(m, 0, 12));
        case 7: return leaf(m, GEN_INT, 0, PICK(m, "h", "g", "b", "H", "G", "B", "N", "M", "D", "E", "rank"));
        case 8: return leaf(m, GEN_INT, 0, declare(m, "wide", "param wide: int = 6"));
        case 9: return leaf(m, GEN_INT, 0, declare(m, "fixed", "param const fixed: int = 3"));
        case 10: return declare(m, "reach", "input reach[h]: i32"), leaf(m, GEN_INT, 0, PICK(m, "reach[h]", "reach[(h + 1) % H]"));
        case 11:
            if (!pair && !rows)
                continue;
            return declare(m, "doc", "input doc[b, t]: i32"), leaf(m, GEN_INT, 0, pair && chance(m, 50) ? "doc[j]" : "doc[i]");
        case 12:
            if (m->place == IN_FEATURE)
                return leaf(m, GEN_INT, 0, m->spec->rank > 1 ? arena_printf(m->arena, "t%s", axis_member(m)) : "t");
            if (m->spec->rank > 1)
                return leaf(m, GEN_INT, 0, arena_printf(m->arena, "size%s", axis_member(m)));
            if (!pair && !rows)
                continue;
            return declare(m, "group", "input group[i]: i64"), leaf(m, GEN_INT, 0, "group[i]");
        case 13:
            if (m->use_lets && m->lets[GEN_INT])
                return leaf(m, GEN_INT, 0, arena_printf(m->arena, "int%lld", (long long)below(m, m->lets[GEN_INT])));
        }
}

static Gen *make_int(Maker *m, int depth)
{
    if (depth <= 0 || chance(m, 30))
        return int_leaf(m);
    depth--;
    switch (below(m, 13)) {
    case 0: case 1: return node(m, GEN_INT, 0, "(%0 - %1)", 2, make_int(m, depth), make_int(m, depth), NULL);
    case 2: return node(m, GEN_INT, 0, "(%0 + %1)", 2, make_int(m, depth), make_int(m, depth), NULL);
    case 3: return node(m, GEN_INT, 0, arena_printf(m->arena, "%%0 * %s", number(m, 1, 3)), 1, make_int(m, 0), NULL, NULL);
    case 4: return node(m, GEN_INT, 0, arena_printf(m->arena, "(%%0 / %s)", number(m, 1, 7)), 1, make_int(m, depth), NULL, NULL);
    case 5: return node(m, GEN_INT, 0, arena_printf(m->arena, "(%%0 %% %s)", number(m, 1, 7)), 1, make_int(m, depth), NULL, NULL);
    case 6: return node(m, GEN_INT, 0, "abs(%0)", 1, make_int(m, depth), NULL, NULL);
    case 7: return node(m, GEN_INT, 0, "min(%0, %1)", 2, make_int(m, depth), make_int(m, depth), NULL);
    case 8: return node(m, GEN_INT, 0, "max(%0, %1)", 2, make_int(m, depth), make_int(m, depth), NULL);
    case 9: return node(m, GEN_INT, 0, "clamp(%0, %1, %2)", 3, make_int(m, depth), make_int(m, 0), make_int(m, 0));
    case 10: return node(m, GEN_INT, 0, "(if %0 then %1 else %2)", 3, make_bool(m, depth), make_int(m, depth), make_int(m, depth));
    case 11: return node(m, GEN_INT, 0, PICK(m, "sign(%0)", "-%0", "%0 ^ 2", "int(float(%0))"), 1, make_int(m, 0), NULL, NULL);
    default: return node(m, GEN_INT, 0, PICK(m, "(%0 / fixed)", "(%0 % wide)"), 1,
                         (declare(m, "wide", "param wide: int = 6"), declare(m, "fixed", "param const fixed: int = 3"), make_int(m, depth)), NULL, NULL);
    }
}

/* Bools ----------------------------------------------------------------------------------------------------- */

/* Predicates as people write them: these have closed forms that the compiler should find. */
static Gen *window(Maker *m)
{
    if (m->spec->rank == 1)
        switch (below(m, 12)) {
        case 0: case 1: return leaf(m, GEN_BOOL, 0, "j <= i");
        case 2: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "i - j < %s", number(m, 1, 20)));
        case 3: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "abs(i - j) <= %s", number(m, 0, 9)));
        case 4: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "(i - j) %% %s == %s", number(m, 2, 5), number(m, 0, 1)));
        case 5: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "i / %1$s == j / %1$s", number(m, 2, 11)));
        case 6: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "j < %s", number(m, 0, 9)));
        case 7: return declare(m, "doc", "input doc[b, t]: i32"), leaf(m, GEN_BOOL, 0, PICK(m, "doc[i] == doc[j]", "doc[j] <= doc[i]", "doc[j] != doc[i]", "doc[j] >= 0"));
        case 8: return declare(m, "reach", "input reach[h]: i32"), leaf(m, GEN_BOOL, 0, PICK(m, "i - j < reach[h]", "j < reach[h] * 2", "abs(i - j) <= reach[h]"));
        case 9: return leaf(m, GEN_BOOL, 0, PICK(m, "sliding(i, j, 9)", "local(i, j, 4)", "prefix(i, j, 6)", "sliding_with_sinks(i, j, 5, 2)",
                                                 "dilated(i, j, 6, 3)", "block_causal(i, j, 7)", "block_with_halo(i, j, 6, 2)",
                                                 "neighbor1(i, j, N, 5, 2)", "axis_neighbor_causal(i, j, N, 5, 1, 3)"));
        case 10: return leaf(m, GEN_BOOL, 0, PICK(m, "i - 3 <= j < i + 4", "0 <= i - j <= 5", "j <= i * 2", "j * 2 <= i + 3", "i + j < N", "j >= M - i",
                                                  "i * 3 / 4 >= j", "max(i, 3) > j", "min(i, j) < 5", "j <= clamp(i, 2, N - 2)"));
        default: return leaf(m, GEN_BOOL, 0, PICK(m, "h % 2 == 0", "b == 0 or j == 0", "i % 4 == 1", "j % 3 != 2", "j < N / 2", "i < N - 4", "h == g"));
        }
    switch (below(m, 6)) {
    case 0: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "abs(i%1$s - j%1$s) <= %2$s", axis_member(m), number(m, 0, 3)));
    case 1: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "j%1$s <= i%1$s", axis_member(m)));
    case 2: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "i%1$s / %2$s == j%1$s / %2$s", axis_member(m), number(m, 2, 4)));
    case 3: return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "(i%1$s - j%1$s) %% %2$s == 0", axis_member(m), number(m, 2, 3)));
    case 4:
        return leaf(m, GEN_BOOL, 0, m->spec->rank == 2 ? PICK(m, "neighbor(i, j, size, (3, 3), (1, 1))", "neighbor(i, j, size, (3, 2), (1, 2))",
                                                              "neighbor_stride(i, j, size, (3, 3), (1, 1), (2, 1))", "box(i, j, (1, 2))",
                                                              "same_box(i, j, (2, 3), (1, 0))", "axial(i, j)", "j <= i", "all(abs(i - j) <= 12)")
                                                       : PICK(m, "neighbor3(i, j, size, (2, 3, 3), (1, 1, 1))", "neighbor3_causal(i, j, size, (2, 3, 3), (1, 1, 1), (1, 1, 1))", "j <= i"));
    default: return leaf(m, GEN_BOOL, 0, PICK(m, "h % 2 == 0", "i.x + j.x < size.x", "j.x < 3", "i.y != 1", "i != j", "N - j > 2"));
    }
}

/* Both sides are exact in every path. */
static Gen *float_comparison(Maker *m)
{
    declare(m, "level", "input level[b, t]: f32");
    declare(m, "limit", "input limit[h]: bf16");
    return leaf(m, GEN_BOOL, 0, m->place == IN_OUTPUT ? "level[i] > limit[h]"
                : PICK(m, "level[j] <= limit[h]", "level[i] > level[j]", "level[j] < 0.25", "max(level[i], level[j]) > -0.5"));
}

static Gen *bool_leaf(Maker *m)
{
    bool pair = m->place == IN_MASK || m->place == IN_SCORE;
    if (pair && chance(m, 60))
        return window(m);
    switch (below(m, 7)) {
    case 0: return declare(m, "flag", "input flag[b, t]: bool"), leaf(m, GEN_BOOL, 0, pair ? PICK(m, "flag[j]", "flag[i]", "flag[i] == flag[j]") : m->place == IN_OUTPUT ? "flag[i]" : "true");
    case 1: return declare(m, "odd", "input odd[h]: bool"), leaf(m, GEN_BOOL, 0, "odd[h]");
    case 2: return declare(m, "open", "param open: bool = true"), leaf(m, GEN_BOOL, 0, "open");
    case 3:
        if (pair || m->place == IN_OUTPUT)
            return float_comparison(m);
        return leaf(m, GEN_BOOL, 0, "h == 0");
    case 4:
        if (m->use_lets && m->lets[GEN_BOOL])
            return leaf(m, GEN_BOOL, 0, arena_printf(m->arena, "bool%lld", (long long)below(m, m->lets[GEN_BOOL])));
        return leaf(m, GEN_BOOL, 0, "H > 1");
    default: {
        Gen *a = make_int(m, 1), *b = make_int(m, 1);
        return node(m, GEN_BOOL, 0, PICK(m, "%0 < %1", "%0 <= %1", "%0 > %1", "%0 >= %1", "%0 == %1", "%0 != %1"), 2, a, b, NULL);
    }
    }
}

static Gen *make_bool(Maker *m, int depth)
{
    if (depth <= 0 || chance(m, 20))
        return bool_leaf(m);
    depth--;
    switch (below(m, 10)) {
    case 0: case 1: case 2: return node(m, GEN_BOOL, 0, "(%0 and %1)", 2, make_bool(m, depth), make_bool(m, depth), NULL);
    case 3: case 4: return node(m, GEN_BOOL, 0, "(%0 or %1)", 2, make_bool(m, depth), make_bool(m, depth), NULL);
    case 5: return node(m, GEN_BOOL, 0, "(not (%0))", 1, make_bool(m, depth), NULL, NULL);
    case 6: return node(m, GEN_BOOL, 0, "(if %0 then %1 else %2)", 3, make_bool(m, depth), make_bool(m, depth), make_bool(m, depth));
    case 7: return node(m, GEN_BOOL, 0, PICK(m, "((%0) == (%1))", "((%0) != (%1))"), 2, make_bool(m, depth), make_bool(m, 0), NULL);
    case 8: return node(m, GEN_BOOL, 0, "(%0 <= %1 < %2)", 3, make_int(m, depth), make_int(m, depth), make_int(m, 1));
    default: return node(m, GEN_BOOL, 0, PICK(m, "(%0 < %1)", "(%0 <= %1)", "(%0 == %1)", "(%0 != %1)"), 2, make_int(m, depth), make_int(m, depth), NULL);
    }
}

/* Floats ---------------------------------------------------------------------------------------------------- */

static Gen *float_leaf(Maker *m)
{
    bool pair = m->place == IN_SCORE, rows = m->place == IN_OUTPUT;
    for (;;)
        switch (below(m, 13)) {
        case 0: case 1: case 2:
            if (pair)
                return leaf(m, GEN_FLOAT, 5, "s * scale");
            continue;
        case 3: return leaf(m, GEN_FLOAT, 2, PICK(m, "0.5", "-1.25", "2", "scale", "0.1", "1.5", "pi / 4"));
        case 4: return declare(m, "slope", "learned input slope[h]: f32"), leaf(m, GEN_FLOAT, 2, PICK(m, "slope[h]", "slope"));
        case 5: return leaf(m, GEN_FLOAT, 1, declare(m, "strength", "param strength: float = 0.75"));
        case 6: return leaf(m, GEN_FLOAT, 1, declare(m, "amount", "param const amount: float = -0.5"));
        case 7:
            if (!pair)
                continue;
            return declare(m, "key_bias", "input key_bias[b, g, t]: bf16"), leaf(m, GEN_FLOAT, 2, PICK(m, "key_bias[j]", "key_bias[g, j]"));
        case 8:
            if (!pair && !rows)
                continue;
            return declare(m, "row_bias", "input row_bias[b, i]: f16"), leaf(m, GEN_FLOAT, 2, "row_bias[i]");
        case 9:
            if (!pair)
                continue;
            return declare(m, "table", "input table[h, i, j]: f32"), leaf(m, GEN_FLOAT, 2, "table[i, j]");
        case 10:
            if (!pair)
                continue;
            return declare(m, "relative", "learned input relative[h, 17]: f32"),
                   leaf(m, GEN_FLOAT, 2, PICK(m, "relative[clamp(i - j, -8, 8) + 8]", "relative[i - j + 4]", "relative[(i - j) % 17]"));
        case 11: return node(m, GEN_FLOAT, 2, PICK(m, "float(%0 % 7) / 7.0", "float(clamp(%0, -9, 9)) * 0.1", "floor(float(%0 % 9) / 2.0) * 0.25"), 1, make_int(m, 1), NULL, NULL);
        case 12:
            if (m->use_lets && m->lets[GEN_FLOAT] && pair)
                return leaf(m, GEN_FLOAT, 8, arena_printf(m->arena, "float%lld", (long long)below(m, m->lets[GEN_FLOAT])));
        }
}

static Gen *bounded(Maker *m, Gen *gen)
{
    if (gen->bound <= 8)
        return gen;
    double divisor = gen->bound > 64 ? 32 : 4;
    return node(m, GEN_FLOAT, 6, arena_printf(m->arena, "(6 * tanh(%%0 / %g))", divisor), 1, gen, NULL, NULL);
}

static Gen *make_float(Maker *m, int depth);

/* Functions with |f| <= 1 or |f(x)| <= |x| + 1, smooth or at least continuous. */
static Gen *float_function(Maker *m, int depth)
{
    Gen *x = make_float(m, depth);
    if (chance(m, 50))
        return node(m, GEN_FLOAT, 1, PICK(m, "tanh(%0)", "sigmoid(%0)", "sin(%0)", "cos(%0)", "erf(%0)", "exp(-abs(%0))", "exp2(-abs(%0))",
                                          "rsqrt(1 + square(%0))", "laplace(%0)", "clamp(%0, -1, 0.75)"), 1, x, NULL, NULL);
    return node(m, GEN_FLOAT, x->bound + 1, PICK(m, "abs(%0)", "-%0", "relu(%0)", "silu(%0)", "gelu(%0)", "elu(%0)", "softplus(%0)", "leaky_relu(%0, 0.1)",
                                                 "log(1 + abs(%0))", "log1p(abs(%0))", "log2(1.5 + abs(%0))", "sqrt(abs(%0) + 0.25)", "pow(abs(%0) + 0.5, 0.5)",
                                                 "swish(%0)", "(let y = %0 in y / (1 + abs(y)))"), 1, x, NULL, NULL);
}

static Gen *make_float(Maker *m, int depth)
{
    if (depth <= 0 || chance(m, 25))
        return float_leaf(m);
    depth--;
    Gen *a, *b;
    switch (below(m, 9)) {
    case 0: case 1:
        a = make_float(m, depth), b = make_float(m, depth);
        return bounded(m, node(m, GEN_FLOAT, a->bound + b->bound, PICK(m, "(%0 + %1)", "(%0 - %1)"), 2, a, b, NULL));
    case 2:
        a = make_float(m, depth), b = make_float(m, depth);
        return bounded(m, node(m, GEN_FLOAT, a->bound * b->bound, "(%0) * (%1)", 2, a, b, NULL));
    case 3:
        a = make_float(m, depth), b = make_float(m, depth);
        return node(m, GEN_FLOAT, a->bound > b->bound ? a->bound : b->bound, PICK(m, "min(%0, %1)", "max(%0, %1)"), 2, a, b, NULL);
    case 4:
        a = make_float(m, depth), b = make_float(m, depth);
        return node(m, GEN_FLOAT, a->bound > b->bound ? a->bound : b->bound, "(if %0 then %1 else %2)", 3, make_bool(m, 1), a, b);
    case 5:
        a = make_float(m, depth), b = make_float(m, depth);
        return node(m, GEN_FLOAT, a->bound, "(%0 / (1 + abs(%1)))", 2, a, b, NULL);
    default: return bounded(m, float_function(m, depth));
    }
}

/* Vectors --------------------------------------------------------------------------------------------------- */

/* A map that keeps the width. */
static Gen *same_width_map(Maker *m)
{
    bool is_v = m->tensor == 'v';
    for (;;)
        switch (below(m, 12)) {
        case 0: return leaf(m, GEN_VECTOR, 0, PICK(m, "x * 0.5", "elu(x) + 1", "relu(x)", "tanh(x)", "silu(x) + 0.1", "-x", "x + 0.5 * abs(x)", "min(x, 1)"));
        case 1: return leaf(m, GEN_VECTOR, 0, PICK(m, "x + 0.5 * shift(x, 1)", "x - shift(x, 2)", "0.5 * (shift(x, 1) + shift(x, 3))", "tanh(shift(x, 1)) + x"));
        case 2: return leaf(m, GEN_VECTOR, 0, PICK(m, "x * rsqrt(norm2(x) + 0.5)", "x / (1 + norm(x))", "x - mean(x)", "x / (0.5 + norm1(x))", "x - 0.5 * max(x)"));
        case 3: return leaf(m, GEN_VECTOR, 0, PICK(m, "softmax(x)", "softmax(-0.5 * x) + 0.1"));
        case 4:
            if (is_v)
                return leaf(m, GEN_VECTOR, 0, "vector(c in 0..E, x[E - 1 - c] + 0.25 * x[c])");
            return leaf(m, GEN_VECTOR, 0, PICK(m, "vector(c in 0..D, x[(c + 1) % D])", "vector(c in 0..D, if c % 2 == 0 then x[c] else -x[c - 1])",
                                               "vector(c in 0..D, sum(e in 0..D, x[e] * float(e - c)) * 0.1)"));
        case 5:
            if (is_v || m->spec->rank > 1)
                continue;
            return leaf(m, GEN_VECTOR, 0, PICK(m, "rope(x, t, 100.0)", "rope_interleaved(x, t, 50.0)", "rope_partial(x, t, 100.0, 2)", "rmsnorm_eps(x, 0.5)", "l2norm(x + 0.5)"));
        case 6:
            if (is_v || m->spec->rank > 1)
                continue;
            return declare(m, "place", "learned input place[t, d]: f32"), leaf(m, GEN_VECTOR, 0, PICK(m, "x + place[t]", "x * (1 + place[t])"));
        case 7: /* a query head differs from the others of its group */
            if (is_v)
                return declare(m, "gain_v", "learned input gain_v[g, e]: f32"), leaf(m, GEN_VECTOR, 0, PICK(m, "x * gain_v[g]", "x * gain_v", "x + gain_v[0]"));
            return declare(m, "gain", "learned input gain[h, d]: f16"), leaf(m, GEN_VECTOR, 0, PICK(m, "x * gain[h]", "x + gain", "x * gain[0] + 0.5"));
        case 8: return node(m, GEN_VECTOR, 0, "x * (%0)", 1, make_float(m, 1), NULL, NULL);
        case 9: return node(m, GEN_VECTOR, 0, "(if %0 then x else 0.5 * x)", 1, make_bool(m, 1), NULL, NULL);
        case 10:
            if (is_v || m->spec->rank > 1)
                continue;
            return leaf(m, GEN_VECTOR, 0, PICK(m, "x * cos(0.25 * t)", "x + float(t % 4) * 0.1", "gelu(x) * (1 + float(t) / (1.0 + N))"));
        case 11: return leaf(m, GEN_VECTOR, 0, PICK(m, "standardize(x + 0.1 * x * x)", "let y = x * x in y / (1 + y)", "relu(x) + 0.1 * x ^ 2"));
        }
}

/* A map of q and k together that may change the width. */
static Gen *wider_map(Maker *m, const char **width)
{
    *width = "";
    switch (below(m, 6)) {
    case 0: return leaf(m, GEN_VECTOR, 0, PICK(m, "hedgehog(x)", "sign_split(x)", "concat(x, 0.5 * x)", "concat(relu(x), tanh(x))"));
    case 1:
        *width = " [many]";
        declare(m, "many", "param const many: int = 5");
        declare(m, "mix", "input mix[h, many, d]: f32");
        return leaf(m, GEN_VECTOR, 0, PICK(m, "dot(mix[h, many], x)", "exp(dot(mix[h, many], x) * scale - norm2(x) * 0.1)", "relu(dot(mix[h, many], x))"));
    case 2:
        if (m->spec->shape.D <= 4) {
            *width = " [taylor_width(D)]";
            return leaf(m, GEN_VECTOR, 0, "taylor(x * 0.5)");
        }
        return leaf(m, GEN_VECTOR, 0, "vector(c in 0..3, x[c % D] + 0.5 * sum(x))");
    case 3:
        if (m->spec->rank == 1)
            return leaf(m, GEN_VECTOR, 0, "cosformer(x, t, N + M + 4)");
        return leaf(m, GEN_VECTOR, 0, "concat(x, x * x)");
    default: return same_width_map(m);
    }
}

static void make_features(Maker *m)
{
    const char *width = "";
    m->place = IN_FEATURE;
    m->tensor = 'b';
    if (chance(m, 20)) {
        Gen *body = wider_map(m, &width);
        add_item(m, node(m, GEN_ITEM, 0, arena_printf(m->arena, "feature q, k%s = %%0", width), 1, body, NULL, NULL));
    } else {
        for (const char *tensor = "qk"; *tensor; tensor++)
            if (chance(m, 12)) {
                m->tensor = *tensor;
                add_item(m, node(m, GEN_ITEM, 0, *tensor == 'q' ? "feature q = %0" : "feature k = %0", 1, same_width_map(m), NULL, NULL));
            }
    }
    m->tensor = 'v';
    if (chance(m, 12))
        add_item(m, node(m, GEN_ITEM, 0, "feature v = %0", 1, same_width_map(m), NULL, NULL));
}

/* Items ----------------------------------------------------------------------------------------------------- */

static void make_similarity(Maker *m)
{
    if (!chance(m, 25))
        return;
    const char *text = PICK(m, "dot(q, k)", "-0.25 * norm2(q - k)", "-sum(c in 0..width(q), abs(q[c] - k[c])) / D", "-norm1(q - k) * 0.25",
                            "max(c in 0..width(q), q[c] * k[c])", "dot(q, k) * rsqrt(norm2(q) * norm2(k) + 1)", "sum(c in 0..width(q), tanh(q[c] + k[c]))",
                            "dot(q, k) - 0.5 * norm2(k)", "sum(c in 0..width(q), min(q[c], k[c])) * 0.5", "dot(q + 0.5, k) + 0.1 * sum(q)", "max(q) - min(k)",
                            "0.5 * dot(q, k) + 0.25 * dot(q, k) ^ 2 * scale");
    add_item(m, leaf(m, GEN_ITEM, 0, arena_printf(m->arena, "similarity %s", text)));
}

/* How the normaliser wants its scores. */
static Gen *make_score(Maker *m, bool positive)
{
    m->place = IN_SCORE;
    Gen *score = chance(m, 15) ? leaf(m, GEN_FLOAT, 5, "s * scale") : make_float(m, 1 + (int)below(m, 3));
    if (chance(m, 50))
        score = bounded(m, node(m, GEN_FLOAT, score->bound + 5, "s * scale + %0", 1, score, NULL, NULL));
    if (positive)
        score = node(m, GEN_FLOAT, 8, PICK(m, "exp(tanh(%0))", "sigmoid(%0) + 0.1", "abs(%0) + 0.25", "square(tanh(%0)) + 0.5"), 1, score, NULL, NULL);
    return score;
}

typedef enum NormStyle { STYLE_ANY, STYLE_POSITIVE } NormStyle;

static const char *make_normalizer(Maker *m, NormStyle *style, bool *softmax, bool *decays)
{
    int64_t choice = below(m, 20);
    *decays = choice < 14;
    *style = STYLE_ANY;
    *softmax = false;
    switch (choice) {
    case 0: case 1: case 2: case 3: case 4: case 5: *softmax = true; return NULL;
    case 6: *softmax = true; return "normalize softmax";
    case 7: case 8: *softmax = true; declare(m, "sink", "input sink[h]: f32"); return PICK(m, "normalize softmax(sink[h])", "normalize softmax(sink = 0.5)", "normalize softmax(sink[g] + 1)");
    case 9: case 10: return "normalize none";
    case 11: *style = STYLE_POSITIVE; return PICK(m, "normalize sum", "normalize sum(1e-6)");
    case 12: return PICK(m, "normalize sum(eps = 0.5, min = 1.5)", "normalize magnitude(min = 1.5)", "normalize magnitude(0.5, 1)");
    case 13: return PICK(m, "normalize count", "normalize count(0.5)", "normalize count(power = 1)");
    case 14: return PICK(m, "normalize moments(0.5, 1.5, 0.25)", "normalize moments(eps = 0.5, gain = 0.75, bias = 0.1)", "normalize moments(eps = 1, bias = -0.25)");
    case 15: return "normalize max";
    case 16: case 17: return PICK(m, "normalize entmax(1.5)", "normalize entmax(2)", "normalize entmax(alpha = 1.25)");
    case 18: return PICK(m, "normalize sigmoid", "normalize tanh", "normalize relu", "normalize erf", "normalize softplus", "normalize laplace", "normalize silu");
    default: m->spec->defs[m->spec->def_count++] = leaf(m, GEN_ITEM, 0, "def bump(a) = a / (1 + a * a)"); return "normalize bump";
    }
}

static void make_decay(Maker *m)
{
    if (m->spec->rank > 1 || !chance(m, 15))
        return;
    switch (below(m, 5)) {
    case 0: declare(m, "log_decay", "input log_decay[h]: f32"); add_item(m, leaf(m, GEN_ITEM, 0, "decay exp(log_decay[h])")); break;
    case 1: declare(m, "step", "input step[b, h, t]: f32"); add_item(m, leaf(m, GEN_ITEM, 0, "decay exp(step[t])")); break;
    case 2: declare(m, "gate_step", "input gate_step[h, t]: bf16"); add_item(m, leaf(m, GEN_ITEM, 0, "decay sigmoid(2 + gate_step[t])")); break;
    case 3: add_item(m, leaf(m, GEN_ITEM, 0, "decay 0.9")); break;
    default: add_item(m, leaf(m, GEN_ITEM, 0, "decay exp(-0.05 * float(t % 3 + h))")); break;
    }
}

static void make_output(Maker *m)
{
    m->place = IN_OUTPUT;
    if (!chance(m, 25))
        return;
    switch (below(m, 7)) {
    case 0: declare(m, "gate", "input gate[b, h, i, e]: f16"); add_item(m, leaf(m, GEN_ITEM, 0, PICK(m, "output sigmoid(gate[i]) * o", "output o + gate[i]"))); break;
    case 1: declare(m, "gate_t", "input gate_t[b, t, e]: f32"); add_item(m, leaf(m, GEN_ITEM, 0, "output gate_t[i] * o")); break;
    case 2: add_item(m, leaf(m, GEN_ITEM, 0, PICK(m, "output o * rsqrt(norm2(o) / E + 0.5)", "output o - 0.5 * mean(o)", "output o / (1 + norm(o))", "output o + 0.5 * max(o)"))); break;
    case 3: add_item(m, node(m, GEN_ITEM, 0, "output o * (%0)", 1, make_float(m, 1), NULL, NULL)); break;
    case 4: add_item(m, node(m, GEN_ITEM, 0, "output if %0 then o else -0.5 * o", 1, make_bool(m, 1), NULL, NULL)); break;
    case 5: add_item(m, leaf(m, GEN_ITEM, 0, PICK(m, "output tanh(o)", "output 2 * o + 0.25", "output silu(o)", "output vector(c in 0..E, o[c] * float(c + 1) / E)"))); break;
    default: declare(m, "scale_e", "learned input scale_e[h, e]: f32"); add_item(m, leaf(m, GEN_ITEM, 0, "output scale_e[h] * o")); break;
    }
}

static void make_returns(Maker *m, bool softmax)
{
    if (!chance(m, 35))
        return;
    add_item(m, leaf(m, GEN_ITEM, 0, softmax ? PICK(m, "return lse", "return lse, max, sum", "return max", "return sum") : PICK(m, "return sum", "return max", "return sum, max")));
}

static void make_lets(Maker *m)
{
    m->place = IN_MASK;
    if (chance(m, 25))
        add_item(m, node(m, GEN_ITEM, 0, "let int0 = %0", 1, make_int(m, 2), NULL, NULL)), m->lets[GEN_INT] = 1;
    if (chance(m, 20))
        add_item(m, node(m, GEN_ITEM, 0, "let bool0 = %0", 1, make_bool(m, 1), NULL, NULL)), m->lets[GEN_BOOL] = 1;
}

/* Sizes ----------------------------------------------------------------------------------------------------- */

static int64_t pick_size(Maker *m, int64_t small)
{
    return chance(m, 4) ? 0 : chance(m, 15) ? 1 : chance(m, 80) ? random_between(&m->random, 2, small) : random_between(&m->random, small, 2 * small);
}

static void make_shape(Maker *m, uint64_t seed)
{
    static const int64_t widths[] = {1, 3, 4, 4, 8, 8, 16, 17}, tiles[] = {1, 2, 4, 8, 8, 16, 16, 32};
    CaseShape *s = &m->spec->shape;
    int rank = m->spec->rank;
    *s = (CaseShape){.B = 1 + below(m, 2), .G = 1 + below(m, 2), .D = widths[below(m, 8)], .E = widths[below(m, 8)], .seed = seed};
    s->H = s->G * (1 + below(m, 3));
    s->layout = chance(m, 50) ? CASE_BHMD : (CaseLayout)below(m, CASE_LAYOUT_COUNT);
    for (int a = 0; a < rank; a++) {
        s->m_axis[a] = pick_size(m, rank == 1 ? 24 : rank == 2 ? 6 : 3);
        s->n_axis[a] = chance(m, 60) ? s->m_axis[a] : pick_size(m, rank == 1 ? 24 : rank == 2 ? 6 : 3);
        s->block_m[a] = tiles[below(m, rank == 1 ? 8 : rank == 2 ? 5 : 3)];
        s->block_n[a] = tiles[below(m, rank == 1 ? 8 : rank == 2 ? 5 : 3)];
    }
    s->M = s->N = 1;
    for (int a = 0; a < rank; a++) {
        s->M *= s->m_axis[a];
        s->N *= s->n_axis[a];
    }
    if (rank == 1 && chance(m, 30))
        s->offset = s->N > s->M ? s->N - s->M : below(m, 6);
    if (rank == 1 && chance(m, 15)) {
        s->ragged = true;
        s->B = 1 + below(m, 4);
        for (int64_t b = 0; b < s->B; b++) {
            s->q_length[b] = chance(m, 15) ? 0 : below(m, 20);
            s->k_length[b] = s->offset + s->q_length[b] + (chance(m, 50) ? 0 : below(m, 8));
        }
    }
}

RandomSpec *random_spec_create(Arena *arena, uint64_t seed)
{
    RandomSpec *spec = ARENA_NEW(arena, RandomSpec);
    Maker maker = {.arena = arena, .random = {seed * 0x2545F4914F6CDD1Du + 1}, .spec = spec}, *m = &maker;
    spec->arena = arena;
    spec->rank = chance(m, 75) ? 1 : chance(m, 70) ? 2 : 3;
    spec->elem = chance(m, 70) ? ELEM_TYPE_F32 : chance(m, 50) ? ELEM_TYPE_BF16 : ELEM_TYPE_F16;
    make_shape(m, seed);
    NormStyle style;
    bool softmax, decays;
    make_features(m);
    make_lets(m);
    m->use_lets = true;
    m->place = IN_MASK;
    if (chance(m, 90))
        add_item(m, node(m, GEN_ITEM, 0, "mask %0", 1, make_bool(m, (int)below(m, 4)), NULL, NULL));
    make_similarity(m);
    const char *normalizer = make_normalizer(m, &style, &softmax, &decays);
    bool positive = style == STYLE_POSITIVE;
    if (positive || chance(m, 80)) {
        Gen *score = make_score(m, positive);
        add_item(m, node(m, GEN_ITEM, 0, "score %0", 1, score, NULL, NULL));
    }
    if (normalizer)
        add_item(m, leaf(m, GEN_ITEM, 0, normalizer));
    if (decays)
        make_decay(m);
    m->use_lets = false; /* they may name j */
    make_output(m);
    make_returns(m, softmax);
    return spec;
}
