/* The mask looked at from outside: for sizes, params and per-token arrays at hand, the class of every tile
 * and the visible pairs. Made of the same expressions that a kernel evaluates (mask_classify,
 * mask_key_range), so what it counts is what a kernel does. For pictures, estimates and reports; kernels do
 * not need it. */
#ifndef ATTUNE_MASK_SURVEY_H
#define ATTUNE_MASK_SURVEY_H

#include "compiler/spec/reference.h"

typedef enum TileClass { TILE_CLASS_EMPTY, TILE_CLASS_PARTIAL, TILE_CLASS_FULL } TileClass;

typedef struct MaskSurvey MaskSurvey;

/* Sizes, params and the mask's inputs of `problem` are read (its q, k, v are not; ragged batches are not
 * known here). block_m, block_n: the tile's box by axis. Everything lives in the arena. */
MaskSurvey *mask_survey_create(Arena *arena, const Spec *spec, const RefProblem *problem,
                               const int64_t *block_m, const int64_t *block_n);

/* Tiles along an axis of the queries or keys, and their product. */
int64_t mask_survey_tiles(const MaskSurvey *survey, bool queries, int axis);
int64_t mask_survey_tiles_all(const MaskSurvey *survey, bool queries);
/* Tiles and pairs are numbered by flat index, outermost axis slowest; a query row counts from 0 whatever the
 * offset. */
TileClass mask_survey_tile(MaskSurvey *survey, int64_t b, int64_t h, int64_t query_tile, int64_t key_tile);
bool mask_survey_pair(MaskSurvey *survey, int64_t b, int64_t h, int64_t row, int64_t key);

/* Flat rows (or keys) of a tile, in order; `rows` has room for the product of its block. Gives how many. */
int64_t mask_survey_rows(MaskSurvey *survey, bool queries, int64_t tile, int64_t *rows);

/* Over all batch entries and heads (b < 0), or over one head. Above some millions of tiles or pairs a regular
 * sample is counted and scaled. */
typedef struct MaskCount {
    double empty, partial, full;  /* tiles */
    double pairs, visible;        /* all pairs, visible pairs */
    bool tiles_sampled, pairs_sampled; /* these numbers are estimates */
    bool varies;                  /* the mask depends on the batch entry or the head */
} MaskCount;
MaskCount mask_survey_count(MaskSurvey *survey, int64_t b, int64_t h);

#endif
