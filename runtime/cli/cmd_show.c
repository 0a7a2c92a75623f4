/* attune show: the mask of one head, with its tiles. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "runtime/cli/mask_picture.h"
#include "runtime/cli/mask_view.h"

static int64_t terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 128;
}

static char *blocks_text(const MaskView *view)
{
    Text text = {.arena = view->reader.arena};
    for (int side = 0; side < 2; side++) {
        const int64_t *block = side ? view->block_n : view->block_m;
        text_add(&text, "%s", side ? " x " : "");
        for (int a = 0; a < view->spec->rank; a++)
            text_add(&text, "%s%lld", a ? "," : "", (long long)block[a]);
    }
    return text.data;
}

static char *axes_text(const MaskView *view, const int64_t *axes, int64_t all)
{
    Text text = {.arena = view->reader.arena};
    text_add(&text, "%lld", (long long)(view->spec->rank == 1 ? all : axes[0]));
    for (int a = 1; a < view->spec->rank; a++)
        text_add(&text, "x%lld", (long long)axes[a]);
    return text.data;
}

static void write_captions(const MaskView *view, MaskPicture *picture)
{
    MaskCount count = mask_survey_count(view->survey, picture->b, picture->h);
    const AttuneSizes *sizes = &view->data.shape.sizes;
    Arena *arena = view->reader.arena;
    const char *head =
        count.varies ? arena_printf(arena, " b=%lld h=%lld", (long long)picture->b, (long long)picture->h)
                     : "";
    picture->caption[0] = arena_printf(arena, "%s  M=%s N=%s%s  tiles %s", view->spec->name,
                                       axes_text(view, sizes->m_axis, sizes->m),
                                       axes_text(view, sizes->n_axis, sizes->n), head, blocks_text(view));
    double tiles = count.empty + count.partial + count.full;
    picture->caption[1] =
        arena_printf(arena, "density %s%.2f%%  full %.0f, partial %.0f, empty %.0f (%.1f%% of tiles)",
                     count.pairs_sampled ? "about " : "", 100 * count.visible / count.pairs, count.full,
                     count.partial, count.empty, 100 * count.empty / tiles);
}

static int64_t largest(const MaskView *view)
{
    int64_t m = 1, n = 1;
    for (int a = 0; a < view->spec->rank; a++) {
        m *= view->block_m[a];
        n *= view->block_n[a];
    }
    return m > n ? m : n;
}

static int show(MaskView *view)
{
    const AttuneSizes *sizes = &view->data.shape.sizes;
    if (sizes->b < 1 || sizes->h < 1 || sizes->m < 1 || sizes->n < 1)
        return usage_error("show", "--shape: there is nothing to show when a size is 0");
    if (sizes->m > PICTURE_MOST_ROWS || sizes->n > PICTURE_MOST_ROWS)
        return usage_error("show", "--shape: pictures have at most %d rows and keys", PICTURE_MOST_ROWS);
    int64_t b = 0, h = 0;
    if (!option_int(view->arguments, OPTION_BATCH, 0, sizes->b - 1, &b) ||
        !option_int(view->arguments, OPTION_HEAD, 0, sizes->h - 1, &h))
        return EXIT_USAGE;
    Arena *arena = view->reader.arena;
    MaskPicture *picture = mask_picture_create(arena, view->survey, b, h, sizes->m, sizes->n, largest(view));
    write_captions(view, picture);
    const char *path = option_value(view->arguments, OPTION_MASK, NULL);
    if (!path) {
        mask_picture_text(picture, stdout, terminal_columns(), color_wanted(view->arguments, stdout));
        return EXIT_DONE;
    }
    char why[512];
    if (!mask_picture_write(arena, picture, path, why, sizeof why))
        return failure("%s", why);
    if (!option_given(view->arguments, OPTION_QUIET))
        printf("%s\n%s\n%s\n", path, picture->caption[0], picture->caption[1]);
    return EXIT_DONE;
}

int cmd_show(const Arguments *arguments) { return mask_view_run(arguments, show); }
