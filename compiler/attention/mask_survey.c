/* Surveys: mask_classify is asked once, over variables for the box's bounds; every tile is then an evaluation
 * of its two expressions with numbers for those variables. Per-token arrays become ranges: minima and maxima
 * of each block, computed once for each batch entry and head, as a kernel's mask tables are. */
#include "compiler/attention/mask_survey.h"

#include <math.h>
#include <string.h>

#include "compiler/attention/mask.h"
#include "compiler/spec/reference_code.h"

enum {
    MAX_TABLES = 2 * SPEC_MAX_INPUTS,
    MOST_TILES = 1 << 21,     /* classified by mask_survey_count before it samples */
    MOST_PAIRS = 1 << 22,     /* evaluated */
};

/* Range of one per-token array over every block of its side, for the batch entry and head at hand. */
typedef struct Table {
    const Expr *input, *lo, *hi; /* lo, hi: the variables that stand for the range */
    bool queries;
    ExprValue *least, *greatest; /* [tiles of its side] */
} Table;

struct MaskSurvey {
    Arena *arena;
    const Spec *spec;
    const RefProblem *problem;
    int rank;
    int64_t axis[2][SPEC_MAX_RANK], block[2][SPEC_MAX_RANK], tiles[2][SPEC_MAX_RANK],
        tiles_all[2];                                        /* 0: keys, 1: queries */
    const Expr *lo[2][SPEC_MAX_RANK], *hi[2][SPEC_MAX_RANK]; /* variables: inclusive bounds of positions */
    MaskClass class;
    MaskHull hull;
    Table tables[MAX_TABLES];
    int table_count;
    int64_t table_b, table_h;    /* what the tables hold; -1: nothing */
    int64_t b, h, position[2][SPEC_MAX_RANK];                /* bindings of an evaluation: J*, I* */
    int64_t box_lo[2][SPEC_MAX_RANK], box_hi[2][SPEC_MAX_RANK];
    int64_t table_tile[2];
    ExprEval eval;
};

/* Leaves ------------------------------------------------------------------------------------------------- */

static int64_t size_value(const MaskSurvey *survey, int var)
{
    const RefProblem *p = survey->problem;
    switch (var) {
    case VAR_SIZE_B: return p->B;
    case VAR_SIZE_H: return p->H;
    case VAR_SIZE_G: return p->G;
    case VAR_SIZE_M: return p->M;
    case VAR_SIZE_N: return p->N;
    case VAR_SIZE_D: return p->D;
    case VAR_SIZE_E: return p->E;
    case VAR_SIZE_M0: case VAR_SIZE_M1: case VAR_SIZE_M2: return survey->axis[1][var - VAR_SIZE_M0];
    case VAR_SIZE_N0: case VAR_SIZE_N1: case VAR_SIZE_N2: return survey->axis[0][var - VAR_SIZE_N0];
    default: return p->offset;
    }
}

static ExprValue variable_value(const MaskSurvey *survey, const Expr *e)
{
    int var = e->index;
    const RefProblem *p = survey->problem;
    if (var >= VAR_FIRST_BOUND) {
        for (int side = 0; side < 2; side++)
            for (int a = 0; a < survey->rank; a++) {
                if (survey->lo[side][a] == e)
                    return (ExprValue){.i = survey->box_lo[side][a]};
                if (survey->hi[side][a] == e)
                    return (ExprValue){.i = survey->box_hi[side][a]};
            }
        for (int k = 0; k < survey->table_count; k++) {
            const Table *table = &survey->tables[k];
            int64_t tile = survey->table_tile[table->queries];
            if (table->lo == e)
                return table->least[tile];
            if (table->hi == e)
                return table->greatest[tile];
        }
    }
    switch (var) {
    case VAR_B: return (ExprValue){.i = survey->b};
    case VAR_H: return (ExprValue){.i = survey->h};
    case VAR_G: return (ExprValue){.i = p->H > 0 && p->G > 0 ? survey->h / (p->H / p->G) : 0};
    case VAR_I0: case VAR_I1: case VAR_I2: return (ExprValue){.i = survey->position[1][var - VAR_I0]};
    case VAR_J0: case VAR_J1: case VAR_J2: return (ExprValue){.i = survey->position[0][var - VAR_J0]};
    default: return (ExprValue){.i = size_value(survey, var)};
    }
}

static ExprValue input_value(const MaskSurvey *survey, const Expr *e, const ExprValue *args)
{
    const RefTensor *tensor = &survey->problem->inputs[e->index];
    int64_t at = 0;
    for (int d = 0; d < e->arity; d++)
        at += args[d].i * tensor->stride[d];
    if (!tensor->data)
        return (ExprValue){.i = 0};
    switch (tensor->type) {
    case ELEM_TYPE_BOOL: return (ExprValue){.i = ((const uint8_t *)tensor->data)[at]};
    case ELEM_TYPE_I32: return (ExprValue){.i = ((const int32_t *)tensor->data)[at]};
    case ELEM_TYPE_I64: return (ExprValue){.i = ((const int64_t *)tensor->data)[at]};
    default: return (ExprValue){.f = ref_load(tensor->data, tensor->type, at)};
    }
}

static ExprValue leaf_value(void *user, const Expr *e, const ExprValue *args)
{
    const MaskSurvey *survey = user;
    switch (e->op) {
    case EXPR_VAR: return variable_value(survey, e);
    case EXPR_PARAM: return survey->problem->params[e->index];
    case EXPR_INPUT: return input_value(survey, e, args);
    default: return (ExprValue){.i = 0}; /* a mask has no elements and no operands */
    }
}

/* Tables ------------------------------------------------------------------------------------------------- */

static ExprRange table_range(void *user, const Expr *input)
{
    MaskSurvey *survey = user;
    for (int k = 0; k < survey->table_count; k++)
        if (survey->tables[k].input == input)
            return (ExprRange){survey->tables[k].lo, survey->tables[k].hi};
    return (ExprRange){NULL, NULL};
}

static ExprRange table_range_of_queries(void *user, const Expr *input)
{
    MaskSurvey *survey = user;
    for (int k = 0; k < survey->table_count; k++)
        if (survey->tables[k].input == input && survey->tables[k].queries)
            return (ExprRange){survey->tables[k].lo, survey->tables[k].hi};
    return (ExprRange){NULL, NULL};
}

static void collect_table(void *user, const Expr *e)
{
    MaskSurvey *survey = user;
    if (e->op != EXPR_INPUT || survey->table_count == MAX_TABLES)
        return;
    MaskSide side = mask_array_side(survey->spec, e);
    if (side != MASK_SIDE_QUERY && side != MASK_SIDE_KEY)
        return;
    ExprPool *pool = survey->spec->pool;
    Table *table = &survey->tables[survey->table_count++];
    table->input = e;
    table->queries = side == MASK_SIDE_QUERY;
    table->lo = expr_var(pool, expr_fresh_bound(pool), (ExprType)e->type);
    table->hi = expr_var(pool, expr_fresh_bound(pool), (ExprType)e->type);
    table->least = ARENA_ARRAY(survey->arena, ExprValue, (size_t)survey->tiles_all[table->queries]);
    table->greatest = ARENA_ARRAY(survey->arena, ExprValue, (size_t)survey->tiles_all[table->queries]);
}

/* Moves the coordinates of `side` to those of flat row `row`; rank 1 queries begin at the offset. */
static void place(MaskSurvey *survey, int side, int64_t row)
{
    for (int a = survey->rank - 1; a > 0; a--) {
        survey->position[side][a] = row % survey->axis[side][a];
        row /= survey->axis[side][a];
    }
    survey->position[side][0] = row + (side == 1 && survey->rank == 1 ? survey->problem->offset : 0);
}

static int64_t tile_of_position(const MaskSurvey *survey, int side)
{
    int64_t tile = 0;
    for (int a = 0; a < survey->rank; a++) {
        int64_t row =
            survey->position[side][a] - (side == 1 && survey->rank == 1 ? survey->problem->offset : 0);
        tile = tile * survey->tiles[side][a] + row / survey->block[side][a];
    }
    return tile;
}

static bool less(ExprType type, ExprValue a, ExprValue b)
{
    return type == TYPE_FLOAT ? a.f < b.f : a.i < b.i;
}

static void fill_table(MaskSurvey *survey, Table *table)
{
    int side = table->queries;
    ExprType type = (ExprType)table->input->type;
    ExprValue top = {.i = INT64_MAX}, bottom = {.i = INT64_MIN};
    if (type == TYPE_FLOAT) {
        top.f = (double)INFINITY;
        bottom.f = -(double)INFINITY;
    } else if (type == TYPE_BOOL) {
        top.i = 1;
        bottom.i = 0;
    }
    for (int64_t k = 0; k < survey->tiles_all[side]; k++) {
        table->least[k] = top;
        table->greatest[k] = bottom;
    }
    int64_t rows = side ? survey->problem->M : survey->problem->N;
    for (int64_t row = 0; row < rows; row++) {
        place(survey, side, row);
        ExprValue value = expr_eval(&survey->eval, table->input);
        int64_t tile = tile_of_position(survey, side);
        if (less(type, value, table->least[tile]))
            table->least[tile] = value;
        if (less(type, table->greatest[tile], value))
            table->greatest[tile] = value;
    }
}

static void choose_head(MaskSurvey *survey, int64_t b, int64_t h)
{
    survey->b = b;
    survey->h = h;
    if (survey->table_b == b && survey->table_h == h)
        return;
    survey->table_b = b;
    survey->table_h = h;
    for (int k = 0; k < survey->table_count; k++)
        fill_table(survey, &survey->tables[k]);
}

/* The survey --------------------------------------------------------------------------------------------- */

MaskSurvey *mask_survey_create(Arena *arena, const Spec *spec, const RefProblem *problem,
                               const int64_t *block_m, const int64_t *block_n)
{
    MaskSurvey *survey = ARENA_NEW(arena, MaskSurvey);
    ExprPool *pool = spec->pool;
    survey->arena = arena;
    survey->spec = spec;
    survey->problem = problem;
    survey->rank = spec->rank;
    survey->table_b = survey->table_h = -1;
    survey->eval = (ExprEval){.user = survey, .leaf = leaf_value};
    MaskBox box = {{0}, {0}, {0}, {0}};
    for (int side = 0; side < 2; side++) {
        survey->tiles_all[side] = 1;
        for (int a = 0; a < SPEC_MAX_RANK; a++) {
            int64_t extent = spec->rank == 1 ? (a > 0 ? 1 : side ? problem->M : problem->N)
                                             : side ? problem->m_axis[a] : problem->n_axis[a];
            survey->axis[side][a] = a < spec->rank ? extent : 1;
            survey->block[side][a] = a < spec->rank ? (side ? block_m : block_n)[a] : 1;
            survey->tiles[side][a] =
                (survey->axis[side][a] + survey->block[side][a] - 1) / survey->block[side][a];
            survey->tiles_all[side] *= survey->tiles[side][a];
        }
        for (int a = 0; a < spec->rank; a++) {
            survey->lo[side][a] = expr_var(pool, expr_fresh_bound(pool), TYPE_INT);
            survey->hi[side][a] = expr_var(pool, expr_fresh_bound(pool), TYPE_INT);
            (side ? box.i_lo : box.j_lo)[a] = survey->lo[side][a];
            (side ? box.i_hi : box.j_hi)[a] = survey->hi[side][a];
        }
    }
    expr_walk(arena, spec->mask, collect_table, survey);
    MaskArrays arrays = {table_range, survey}, query_arrays = {table_range_of_queries, survey};
    survey->class = mask_classify(spec, &box, &arrays);
    survey->hull = mask_key_range(spec, &box, &query_arrays);
    return survey;
}

int64_t mask_survey_tiles(const MaskSurvey *survey, bool queries, int axis)
{
    return survey->tiles[queries][axis];
}

int64_t mask_survey_tiles_all(const MaskSurvey *survey, bool queries) { return survey->tiles_all[queries]; }

/* Binds the bounds of flat tile `tile` of one side. */
static void place_box(MaskSurvey *survey, int side, int64_t tile)
{
    survey->table_tile[side] = tile;
    for (int a = survey->rank - 1; a >= 0; a--) {
        int64_t ordinal = tile % survey->tiles[side][a], block = survey->block[side][a];
        tile /= survey->tiles[side][a];
        int64_t end = (ordinal + 1) * block;
        int64_t shift = side == 1 && survey->rank == 1 ? survey->problem->offset : 0;
        survey->box_lo[side][a] = ordinal * block + shift;
        survey->box_hi[side][a] = (end < survey->axis[side][a] ? end : survey->axis[side][a]) - 1 + shift;
    }
}

TileClass mask_survey_tile(MaskSurvey *survey, int64_t b, int64_t h, int64_t query_tile, int64_t key_tile)
{
    choose_head(survey, b, h);
    place_box(survey, 1, query_tile);
    place_box(survey, 0, key_tile);
    for (int a = 0; a < survey->rank; a++) {
        const Expr *lo = survey->hull.lo[a], *hi = survey->hull.hi[a];
        if ((lo && survey->box_hi[0][a] < expr_eval(&survey->eval, lo).i) ||
            (hi && survey->box_lo[0][a] >= expr_eval(&survey->eval, hi).i))
            return TILE_CLASS_EMPTY;
    }
    if (!expr_eval(&survey->eval, survey->class.may).i)
        return TILE_CLASS_EMPTY;
    return expr_eval(&survey->eval, survey->class.must).i ? TILE_CLASS_FULL : TILE_CLASS_PARTIAL;
}

bool mask_survey_pair(MaskSurvey *survey, int64_t b, int64_t h, int64_t row, int64_t key)
{
    survey->b = b;
    survey->h = h;
    place(survey, 1, row);
    place(survey, 0, key);
    return expr_eval(&survey->eval, survey->spec->mask).i != 0;
}

/* Counting ----------------------------------------------------------------------------------------------- */

static int64_t box_size(const MaskSurvey *survey, int side)
{
    int64_t size = 1;
    for (int a = 0; a < survey->rank; a++)
        size *= survey->box_hi[side][a] - survey->box_lo[side][a] + 1;
    return size;
}

/* Flat row of element `k` of the box that is bound. */
static int64_t box_row(const MaskSurvey *survey, int side, int64_t k)
{
    int64_t row = 0, scale = 1;
    int64_t shift = side == 1 && survey->rank == 1 ? survey->problem->offset : 0;
    for (int a = survey->rank - 1; a >= 0; a--) {
        int64_t width = survey->box_hi[side][a] - survey->box_lo[side][a] + 1;
        row += (survey->box_lo[side][a] - shift + k % width) * scale;
        k /= width;
        scale *= survey->axis[side][a];
    }
    return row;
}

typedef struct PairCount {
    double visible;
    int64_t turn, step; /* every step-th row of a partial tile is evaluated */
} PairCount;

static void count_pairs(MaskSurvey *survey, int64_t b, int64_t h, PairCount *count)
{
    int64_t rows = box_size(survey, 1), keys = box_size(survey, 0);
    for (int64_t r = 0; r < rows; r++) {
        if (count->turn++ % count->step != 0)
            continue;
        int64_t row = box_row(survey, 1, r), seen = 0;
        for (int64_t k = 0; k < keys; k++)
            seen += mask_survey_pair(survey, b, h, row, box_row(survey, 0, k));
        count->visible += (double)seen * (double)count->step;
    }
}

/* Rows of query tiles are taken `stride` apart, `pairs` is NULL in the pass that only counts tiles. */
static void count_head(MaskSurvey *survey, int64_t b, int64_t h, int64_t stride, MaskCount *total,
                       PairCount *pairs)
{
    for (int64_t m = 0; m < survey->tiles_all[1]; m += stride)
        for (int64_t n = 0; n < survey->tiles_all[0]; n++) {
            TileClass class = mask_survey_tile(survey, b, h, m, n);
            if (pairs && class == TILE_CLASS_PARTIAL)
                count_pairs(survey, b, h, pairs);
            if (pairs)
                continue;
            total->empty += class == TILE_CLASS_EMPTY;
            total->partial += class == TILE_CLASS_PARTIAL;
            total->full += class == TILE_CLASS_FULL;
            if (class == TILE_CLASS_FULL)
                total->visible += (double)box_size(survey, 1) * (double)box_size(survey, 0);
        }
}

static bool depends_on_head(const MaskSurvey *survey)
{
    return expr_uses(survey->spec->mask, VAR_B) || expr_uses(survey->spec->mask, VAR_H) ||
           expr_uses(survey->spec->mask, VAR_G);
}

static double block_pairs(const MaskSurvey *survey)
{
    double pairs = 1;
    for (int a = 0; a < survey->rank; a++)
        pairs *= (double)survey->block[0][a] * (double)survey->block[1][a];
    return pairs;
}

int64_t mask_survey_rows(MaskSurvey *survey, bool queries, int64_t tile, int64_t *rows)
{
    place_box(survey, queries, tile);
    int64_t count = box_size(survey, queries);
    for (int64_t k = 0; k < count; k++)
        rows[k] = box_row(survey, queries, k);
    return count;
}

/* The heads that are looked at: one stands for all when the mask does not tell them apart. */
typedef struct HeadRange {
    int64_t b_begin, b_end, h_begin, h_end;
    double each; /* how many heads each one stands for */
} HeadRange;

static HeadRange heads_looked_at(const MaskSurvey *survey, int64_t b, int64_t h, bool varies)
{
    const RefProblem *p = survey->problem;
    if (b >= 0)
        return (HeadRange){b, b + 1, h, h + 1, 1};
    if (varies)
        return (HeadRange){0, p->B, 0, p->H, 1};
    return (HeadRange){0, 1, 0, 1, (double)p->B * (double)p->H};
}

MaskCount mask_survey_count(MaskSurvey *survey, int64_t b, int64_t h)
{
    const RefProblem *p = survey->problem;
    MaskCount total = {.varies = depends_on_head(survey)};
    HeadRange heads = heads_looked_at(survey, b, h, total.varies);
    double looked = (double)(heads.b_end - heads.b_begin) * (double)(heads.h_end - heads.h_begin);
    total.pairs = looked * heads.each * (double)p->M * (double)p->N;
    if (total.pairs <= 0)
        return total;
    double tiles = looked * (double)survey->tiles_all[0] * (double)survey->tiles_all[1];
    int64_t stride = 1;
    if (tiles > MOST_TILES) {
        stride = (int64_t)ceil(tiles / MOST_TILES);
        stride = stride < survey->tiles_all[1] ? stride : survey->tiles_all[1];
    }
    PairCount pairs = {.step = 1};
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t at_b = heads.b_begin; at_b < heads.b_end; at_b++)
            for (int64_t at_h = heads.h_begin; at_h < heads.h_end; at_h++)
                count_head(survey, at_b, at_h, stride, &total, pass == 1 ? &pairs : NULL);
        if (pass == 0 && total.partial * block_pairs(survey) > MOST_PAIRS)
            pairs.step = (int64_t)ceil(total.partial * block_pairs(survey) / MOST_PAIRS) |
                         1; /* odd: no beat with tiles */
    }
    double sampled_rows = (double)((survey->tiles_all[1] + stride - 1) / stride);
    double scale = heads.each * (double)survey->tiles_all[1] / sampled_rows;
    total.empty *= scale;
    total.partial *= scale;
    total.full *= scale;
    total.visible = (total.visible + pairs.visible) * scale;
    total.tiles_sampled = stride > 1;
    total.pairs_sampled = stride > 1 || pairs.step > 1;
    return total;
}
