/* The picture as SVG: a rectangle for every run of tiles of one class, a path of runs of visible pairs, grid
 * lines. */
#include "runtime/cli/mask_picture.h"

enum { SIDE_LONGEST = 480, MARGIN = 12, LINE = 18, MOST_RUNS = 60000, MOST_PAIRS = 1 << 21 };

static void put_ink(FILE *out, PictureInk ink)
{
    fprintf(out, "#%02x%02x%02x", picture_inks[ink][0], picture_inks[ink][1], picture_inks[ink][2]);
}

static void put_rectangle(FILE *out, PictureInk ink, int64_t x, int64_t y, int64_t width, int64_t height)
{
    fprintf(out, "<rect x=\"%lld\" y=\"%lld\" width=\"%lld\" height=\"%lld\" fill=\"", (long long)x,
            (long long)y, (long long)width, (long long)height);
    put_ink(out, ink);
    fputs("\"/>\n", out);
}

static TileClass class_at(const MaskPicture *picture, int64_t m, int64_t n)
{
    return mask_survey_tile(picture->survey, picture->b, picture->h, m, n);
}

/* Tiles of one class that stand beside each other are one rectangle. */
static void put_tiles(const MaskPicture *picture, FILE *out, double *partial_pairs)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    for (int64_t m = 0; m < rows->tiles; m++) {
        int64_t height = rows->begin[m + 1] - rows->begin[m];
        for (int64_t n = 0; n < keys->tiles;) {
            TileClass class = class_at(picture, m, n);
            int64_t end = n + 1;
            while (end < keys->tiles && class_at(picture, m, end) == class)
                end++;
            int64_t width = keys->begin[end] - keys->begin[n];
            if (class != TILE_CLASS_EMPTY)
                put_rectangle(out, class == TILE_CLASS_FULL ? INK_FULL : INK_PARTIAL, keys->begin[n],
                              rows->begin[m], width, height);
            if (class == TILE_CLASS_PARTIAL)
                *partial_pairs += (double)width * (double)height;
            n = end;
        }
    }
}

/* Runs of visible pairs in the partial tiles of one row. */
static int put_row_runs(const MaskPicture *picture, FILE *out, int64_t y)
{
    const PictureSide *keys = &picture->keys;
    int64_t row = picture->queries.row[y], m = picture->queries.tile[y], begin = -1;
    int runs = 0;
    bool partial = false;
    for (int64_t x = 0; x <= keys->count; x++) {
        if (x < keys->count && (x == 0 || keys->tile[x] != keys->tile[x - 1]))
            partial = class_at(picture, m, keys->tile[x]) == TILE_CLASS_PARTIAL;
        bool visible = x < keys->count && partial &&
                       mask_survey_pair(picture->survey, picture->b, picture->h, row, keys->row[x]);
        if (visible && begin < 0)
            begin = x;
        if (!visible && begin >= 0) {
            fprintf(out, "M%lld %lldh%lldv1h-%lldz", (long long)begin, (long long)y, (long long)(x - begin),
                    (long long)(x - begin));
            begin = -1;
            runs++;
        }
    }
    return runs;
}

static void put_pairs(const MaskPicture *picture, FILE *out)
{
    fputs("<path fill=\"", out);
    put_ink(out, INK_VISIBLE);
    fputs("\" d=\"", out);
    int runs = 0;
    for (int64_t y = 0; y < picture->queries.count && runs < MOST_RUNS; y++) {
        int made = put_row_runs(picture, out, y);
        runs += made;
        if (made)
            fputc('\n', out);
    }
    fputs("\"/>\n", out);
}

static void put_grid(const MaskPicture *picture, FILE *out, double width)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    fprintf(out, "<path fill=\"none\" stroke-width=\"%.4g\" stroke=\"", width);
    put_ink(out, INK_GRID);
    fputs("\" d=\"", out);
    for (int64_t m = 0; m <= rows->tiles; m++)
        fprintf(out, "M0 %lldH%lld", (long long)rows->begin[m], (long long)keys->count);
    for (int64_t n = 0; n <= keys->tiles; n++)
        fprintf(out, "M%lld 0V%lld", (long long)keys->begin[n], (long long)rows->count);
    fputs("\"/>\n", out);
}

static void put_text(FILE *out, double x, double y, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">", x, y);
    for (; *text; text++) {
        if (*text == '<' || *text == '&')
            fputs(*text == '<' ? "&lt;" : "&amp;", out);
        else
            fputc(*text, out);
    }
    fputs("</text>\n", out);
}

static void put_legend(FILE *out, double y)
{
    static const struct { PictureInk ink; const char *name;
    } entries[] = {{INK_FULL, "full tile"},
                   {INK_PARTIAL, "partial tile"},
                   {INK_VISIBLE, "visible pair in it"},
                   {INK_EMPTY, "empty tile"}};
    double x = MARGIN;
    for (int k = 0; k < 4; k++) {
        put_rectangle(out, entries[k].ink, (int64_t)x, (int64_t)y - 10, 12, 12);
        put_text(out, x + 17, y, entries[k].name);
        x += k == 2 ? 135 : 105;
    }
}

bool mask_picture_svg(const MaskPicture *picture, FILE *out)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    int64_t longest = rows->count > keys->count ? rows->count : keys->count;
    double scale = longest > 0 ? (double)SIDE_LONGEST / (double)longest : 1;
    double height = (double)rows->count * scale + MARGIN, width = SIDE_LONGEST + 2 * MARGIN,
           partial_pairs = 0;
    double whole = height + 3.5 * LINE + MARGIN;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f "
            "%.0f\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n<g transform=\"translate(%d %d) "
            "scale(%.9g)\">\n",
            width, whole, width, whole, MARGIN, MARGIN, scale);
    put_rectangle(out, INK_EMPTY, 0, 0, keys->count, rows->count);
    put_tiles(picture, out, &partial_pairs);
    if (partial_pairs <= MOST_PAIRS)
        put_pairs(picture, out);
    if (rows->tiles <= 128 && keys->tiles <= 128)
        put_grid(picture, out, 0.6 / scale);
    fputs("</g>\n<g font-family=\"sans-serif\" font-size=\"13\" fill=\"", out);
    put_ink(out, INK_TEXT);
    fputs("\">\n", out);
    put_text(out, MARGIN, height + LINE + 4, picture->caption[0]);
    put_text(out, MARGIN, height + 2 * LINE + 4, picture->caption[1]);
    put_legend(out, height + 3 * LINE + 8);
    fputs("</g>\n</svg>\n", out);
    return !ferror(out);
}
