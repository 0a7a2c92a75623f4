/* The picture as PNG: one sample a pixel, grid lines where tiles are wide enough, the caption in small
 * letters. */
#include <ctype.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cli/mask_picture.h"

enum { LONGEST = 1024, SHORTEST = 512, MARGIN = 16, LETTER = 2, LINE = 8 * LETTER };

/* Letters of 3 x 5 dots: five octal digits, one a line from the top, its bits from left to right. */
static const struct { char letter; uint16_t dots; } letters[] = {
    {'0', 075557}, {'1', 026227}, {'2', 071747}, {'3', 071317}, {'4', 055711}, {'5', 074717}, {'6', 074757},
    {'7', 071122}, {'8', 075757}, {'9', 075717}, {'a', 025755}, {'b', 065656}, {'c', 034443}, {'d', 065556},
    {'e', 074647}, {'f', 074644}, {'g', 034553}, {'h', 055755}, {'i', 072227}, {'j', 011152}, {'k', 055655},
    {'l', 044447}, {'m', 057755}, {'n', 065555}, {'o', 025552}, {'p', 065644}, {'q', 025573}, {'r', 065655},
    {'s', 034216}, {'t', 072222}, {'u', 055557}, {'v', 055552}, {'w', 055775}, {'x', 055255}, {'y', 055222},
    {'z', 071247}, {'.', 000002}, {',', 000024}, {'%', 051245}, {':', 002020}, {'=', 007070}, {'/', 011244},
    {'(', 024442}, {')', 021112}, {'-', 000700}, {'_', 000007},
};
enum { LETTER_COUNT = sizeof letters / sizeof letters[0] };

typedef struct Image {
    int width, height;
    uint8_t *pixels; /* red, green, blue */
} Image;

static void put_pixel(Image *image, int x, int y, PictureInk ink)
{
    if (x >= 0 && y >= 0 && x < image->width && y < image->height)
        memcpy(image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x), picture_inks[ink], 3);
}

static void put_letter(Image *image, int x, int y, char letter)
{
    uint16_t dots = 0;
    for (int k = 0; k < LETTER_COUNT; k++)
        if (letters[k].letter == tolower((unsigned char)letter))
            dots = letters[k].dots;
    for (int line = 0; line < 5 * LETTER; line++)
        for (int column = 0; column < 3 * LETTER; column++)
            if (dots >> (14 - 3 * (line / LETTER) - column / LETTER) & 1)
                put_pixel(image, x + column, y + line, INK_TEXT);
}

static void put_text(Image *image, int x, int y, const char *text)
{
    for (; *text; text++, x += 4 * LETTER)
        put_letter(image, x, y, *text);
}

/* Pixels of a side of `count` rows, in proportion to the longer one. */
static int side_pixels(int64_t count, int64_t longest)
{
    int64_t scale = longest < SHORTEST ? SHORTEST / (longest > 0 ? longest : 1) : 1;
    if (longest * scale <= LONGEST)
        return (int)(count * scale);
    int64_t pixels = count * LONGEST / longest;
    return (int)(pixels > 0 ? pixels : count > 0);
}

static PictureInk pair_ink(const MaskPicture *picture, TileClass class, int64_t y, int64_t x)
{
    if (class == TILE_CLASS_EMPTY)
        return INK_EMPTY;
    if (class == TILE_CLASS_FULL)
        return INK_FULL;
    return mask_survey_pair(picture->survey, picture->b, picture->h, picture->queries.row[y],
                            picture->keys.row[x])
               ? INK_VISIBLE
               : INK_PARTIAL;
}

static void put_pairs(const MaskPicture *picture, Image *image, int width, int height, uint8_t *classes)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    int64_t known = -1;
    for (int py = 0; py < height; py++) {
        int64_t y = py * rows->count / height, m = rows->tile[y];
        for (int px = 0; px < width; px++) {
            int64_t x = px * keys->count / width;
            if (m != known) /* classes of this row of tiles, by pixel */
                classes[px] = px > 0 && keys->tile[x] == keys->tile[(px - 1) * keys->count / width]
                                  ? classes[px - 1]
                                  : (uint8_t)mask_survey_tile(picture->survey, picture->b, picture->h, m,
                                                              keys->tile[x]);
            put_pixel(image, MARGIN + px, MARGIN + py, pair_ink(picture, (TileClass)classes[px], y, x));
        }
        known = m;
    }
}

static void put_grid(const MaskPicture *picture, Image *image, int width, int height)
{
    const PictureSide *rows = &picture->queries, *keys = &picture->keys;
    for (int64_t m = 0; m <= rows->tiles && height / rows->tiles >= 6; m++)
        for (int x = 0; x <= width; x++)
            put_pixel(image, MARGIN + x, MARGIN + (int)(rows->begin[m] * height / rows->count), INK_GRID);
    for (int64_t n = 0; n <= keys->tiles && width / keys->tiles >= 6; n++)
        for (int y = 0; y <= height; y++)
            put_pixel(image, MARGIN + (int)(keys->begin[n] * width / keys->count), MARGIN + y, INK_GRID);
}

bool mask_picture_png(Arena *arena, const MaskPicture *picture, FILE *out, char *why, size_t why_size)
{
    int64_t rows = picture->queries.count, keys = picture->keys.count, longest = rows > keys ? rows : keys;
    int width = side_pixels(keys, longest), height = side_pixels(rows, longest);
    int text = 4 * LETTER * (int)strlen(picture->caption[0]),
        second = 4 * LETTER * (int)strlen(picture->caption[1]);
    text = text > second ? text : second;
    Image image = {(width > text ? width : text) + 2 * MARGIN, height + 3 * MARGIN + 2 * LINE, NULL};
    size_t size = 3 * (size_t)image.width * (size_t)image.height;
    image.pixels = arena_alloc(arena, size);
    memset(image.pixels, 255, size);
    if (width > 0 && height > 0) {
        put_pairs(picture, &image, width, height, arena_alloc(arena, (size_t)width));
        put_grid(picture, &image, width, height);
    }
    put_text(&image, MARGIN, height + 2 * MARGIN, picture->caption[0]);
    put_text(&image, MARGIN, height + 2 * MARGIN + LINE, picture->caption[1]);
    png_image png = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)image.width,
                     .height = (png_uint_32)image.height, .format = PNG_FORMAT_RGB};
    if (png_image_write_to_stdio(&png, out, 0, image.pixels, 0, NULL))
        return true;
    snprintf(why, why_size, "the picture cannot be written: %s", png.message);
    return false;
}
