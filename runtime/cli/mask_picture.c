/* Pictures of a mask: the sides, text for terminals, and which file form is wanted. */
#include "runtime/cli/mask_picture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

const uint8_t picture_inks[INK_COUNT][3] = {
    [INK_PAPER] = {255, 255, 255}, [INK_EMPTY] = {243, 243, 240}, [INK_PARTIAL] = {252, 226, 186},
    [INK_VISIBLE] = {230, 126, 34}, [INK_FULL] = {41, 98, 155},   [INK_GRID] = {190, 190, 186},
    [INK_TEXT] = {60, 60, 60},
};

static PictureSide make_side(Arena *arena, MaskSurvey *survey, bool queries, int64_t count,
                             int64_t largest_tile)
{
    PictureSide side = {.count = count, .tiles = mask_survey_tiles_all(survey, queries)};
    side.row = ARENA_ARRAY(arena, int64_t, (size_t)(count + largest_tile));
    side.tile = ARENA_ARRAY(arena, int64_t, (size_t)count);
    side.begin = ARENA_ARRAY(arena, int64_t, (size_t)side.tiles + 1);
    int64_t position = 0;
    for (int64_t t = 0; t < side.tiles; t++) {
        side.begin[t] = position;
        position += mask_survey_rows(survey, queries, t, side.row + position);
        for (int64_t p = side.begin[t]; p < position; p++)
            side.tile[p] = t;
    }
    side.begin[side.tiles] = position;
    return side;
}

MaskPicture *mask_picture_create(Arena *arena, MaskSurvey *survey, int64_t b, int64_t h, int64_t rows,
                                 int64_t keys, int64_t largest_tile)
{
    MaskPicture *picture = ARENA_NEW(arena, MaskPicture);
    *picture = (MaskPicture){.survey = survey, .b = b, .h = h, .caption = {"", ""}};
    picture->queries = make_side(arena, survey, true, rows, largest_tile);
    picture->keys = make_side(arena, survey, false, keys, largest_tile);
    return picture;
}

/* Class of a rectangle of tiles: partial as soon as two classes meet. */
static TileClass group_class(const MaskPicture *picture, int64_t m, int64_t m_end, int64_t n, int64_t n_end)
{
    TileClass first = mask_survey_tile(picture->survey, picture->b, picture->h, m, n);
    for (int64_t y = m; y < m_end; y++)
        for (int64_t x = n; x < n_end; x++)
            if (first == TILE_CLASS_PARTIAL ||
                mask_survey_tile(picture->survey, picture->b, picture->h, y, x) != first)
                return TILE_CLASS_PARTIAL;
    return first;
}

/* Letters that a tile is wide, so that a letter (twice as high as wide) covers about as many keys as half its
 * rows. */
static int64_t letters_of_tile(const MaskPicture *picture)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    int64_t height = rows->tiles > 0 ? rows->begin[1] : 1, width = keys->tiles > 0 ? keys->begin[1] : 1;
    int64_t letters = (2 * width + height / 2) / height;
    return letters > 1 ? letters : 1;
}

void mask_picture_text(const MaskPicture *picture, FILE *out, int64_t columns, bool color)
{
    static const char mark[] = {
        [TILE_CLASS_EMPTY] = '.', [TILE_CLASS_PARTIAL] = '/', [TILE_CLASS_FULL] = '#'};
    static const char *const paint[] = {[TILE_CLASS_EMPTY] = "\033[2m", [TILE_CLASS_PARTIAL] = "\033[33m",
                                        [TILE_CLASS_FULL] = "\033[34m"};
    int64_t letters = letters_of_tile(picture), wide = picture->keys.tiles * letters, group = 1;
    if (wide > columns || picture->queries.tiles > columns) {
        int64_t most = wide > picture->queries.tiles ? wide : picture->queries.tiles;
        group = (most + columns - 1) / columns;
    }
    for (int64_t m = 0; m < picture->queries.tiles; m += group) {
        int64_t m_end = m + group < picture->queries.tiles ? m + group : picture->queries.tiles;
        for (int64_t n = 0; n < picture->keys.tiles; n += group) {
            int64_t n_end = n + group < picture->keys.tiles ? n + group : picture->keys.tiles;
            TileClass class = group_class(picture, m, m_end, n, n_end);
            fputs(color ? paint[class] : "", out);
            for (int64_t k = 0; k < letters; k++)
                fputc(mark[class], out);
            fputs(color ? "\033[0m" : "", out);
        }
        fputc('\n', out);
    }
    fprintf(out, "%s\n%s\n", picture->caption[0], picture->caption[1]);
    fprintf(out, "# full  / partial  . empty");
    if (group > 1)
        fprintf(out, "   (a mark is %lld x %lld tiles)", (long long)group, (long long)group);
    fputc('\n', out);
}

bool mask_picture_write(Arena *arena, const MaskPicture *picture, const char *path, char *why,
                        size_t why_size)
{
    size_t length = strlen(path);
    bool svg = length > 4 && strcmp(path + length - 4, ".svg") == 0;
    if (!svg && (length <= 4 || strcmp(path + length - 4, ".png") != 0)) {
        snprintf(why, why_size, "%s: the name of a picture ends in .png or .svg", path);
        return false;
    }
    char *temporary = arena_printf(arena, "%s.%ld.tmp", path, (long)getpid());
    FILE *out = fopen(temporary, "wb");
    if (!out) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return false;
    }
    snprintf(why, why_size, "%s: cannot be written", path);
    bool ok = svg ? mask_picture_svg(picture, out) : mask_picture_png(arena, picture, out, why, why_size);
    ok = fclose(out) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return true;
    unlink(temporary);
    return false;
}
