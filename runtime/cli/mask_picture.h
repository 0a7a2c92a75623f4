/* Pictures of a mask: queries down, keys to the right, tiles coloured by class, visible pairs inside partial
 * tiles.
 *
 * Along both sides rows stand in the order of tiles, so that a tile is a rectangle in a grid (rank 2, 3) too.
 */
#ifndef ATTUNE_CLI_MASK_PICTURE_H
#define ATTUNE_CLI_MASK_PICTURE_H

#include <stdio.h>

#include "compiler/attention/mask_survey.h"

/* One side of the picture. */
typedef struct PictureSide {
    int64_t count, tiles;
    int64_t *row;       /* [count]: flat row at each position */
    int64_t *tile;      /* [count]: its tile */
    int64_t *begin;     /* [tiles + 1]: first position of each tile */
} PictureSide;

typedef struct MaskPicture {
    MaskSurvey *survey;
    int64_t b, h;            /* the batch entry and head shown */
    PictureSide queries, keys;
    const char *caption[2];  /* lines under the picture */
} MaskPicture;

enum { PICTURE_MOST_ROWS = 1 << 22 };

/* rows, keys: M and N, at most PICTURE_MOST_ROWS; largest_tile: rows of the largest block of either side. */
MaskPicture *mask_picture_create(Arena *arena, MaskSurvey *survey, int64_t b, int64_t h, int64_t rows,
                                 int64_t keys, int64_t largest_tile);
/* By the ending of `path`: .svg or .png. False with the reason in `why`. */
bool mask_picture_write(Arena *arena, const MaskPicture *picture, const char *path, char *why,
                        size_t why_size);
/* One character a tile, or a group of tiles when there are more than `columns`. */
void mask_picture_text(const MaskPicture *picture, FILE *out, int64_t columns, bool color);

/* The two file forms. */
bool mask_picture_svg(const MaskPicture *picture, FILE *out);
bool mask_picture_png(Arena *arena, const MaskPicture *picture, FILE *out, char *why, size_t why_size);

/* Colours, shared by both forms: red, green, blue. */
typedef enum PictureInk {
    INK_PAPER,
    INK_EMPTY,
    INK_PARTIAL,
    INK_VISIBLE,
    INK_FULL,
    INK_GRID,
    INK_TEXT,
    INK_COUNT
} PictureInk;
extern const uint8_t picture_inks[INK_COUNT][3];

#endif
