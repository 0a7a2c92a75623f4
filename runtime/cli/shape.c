/* --shape B=1,H=8,M=48x64: sizes by name; axes of a grid are joined by x. */
#include "runtime/cli/shape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int wrong(const char *text)
{
    return usage_error(NULL, "--shape: '%s' is not NAME=SIZE, with sizes from 0 to 2^40 such as 128 or 48x64",
                       text);
}

/* Reads SIZE or SIZExSIZE..., gives the number of axes; 0: malformed. */
static int read_sizes(const char *text, int64_t *sizes)
{
    int count = 0;
    for (;;) {
        char *end;
        errno = 0;
        if (*text < '0' || *text > '9' || count == ATTUNE_MAX_RANK)
            return 0;
        long long size = strtoll(text, &end, 10);
        if (errno == ERANGE || size > (1LL << 40))
            return 0;
        sizes[count++] = size;
        if (*end == '\0')
            return count;
        if (*end != 'x')
            return 0;
        text = end + 1;
    }
}

static bool product(const int64_t *sizes, int count, int64_t *result)
{
    *result = 1;
    for (int k = 0; k < count; k++)
        if (__builtin_mul_overflow(*result, sizes[k], result) || *result > (1LL << 40))
            return false;
    return true;
}

static bool read_axes(const int64_t *sizes, int count, int64_t *all, int64_t axes[ATTUNE_MAX_RANK],
                      int32_t *rank)
{
    if (!product(sizes, count, all))
        return false;
    memset(axes, 0, sizeof(int64_t) * ATTUNE_MAX_RANK);
    memcpy(axes, sizes, sizeof(int64_t) * (size_t)count);
    *rank = count;
    return true;
}

static int read_entry(Shape *shape, char *entry)
{
    char *equals = strchr(entry, '=');
    int64_t sizes[ATTUNE_MAX_RANK];
    int count = equals ? read_sizes(equals + 1, sizes) : 0;
    if (count == 0 || equals == entry)
        return wrong(entry);
    size_t length = (size_t)(equals - entry);
    AttuneSizes *all = &shape->sizes;
    char name = length == 1 ? *entry : '\0';
    if (name == 'M' || name == 'N') {
        bool ok = name == 'M' ? read_axes(sizes, count, &all->m, all->m_axis, &shape->m_rank)
                              : read_axes(sizes, count, &all->n, all->n_axis, &shape->n_rank);
        return ok ? EXIT_DONE : wrong(entry);
    }
    if (count > 1)
        return usage_error(NULL, "--shape: only M and N have several axes, not '%s'", entry);
    int64_t *slot = name == 'B' ? &all->b : name == 'H' ? &all->h : name == 'G' ? &all->g
                  : name == 'D' ? &all->d : name == 'E' ? &all->e : NULL;
    if (!slot)
        return usage_error(
            NULL, "--shape: '%.*s' is none of B H G M N D E (extents of inputs are given as --set NAME=SIZE)",
            (int)length, entry);
    *slot = sizes[0];
    if (sizes[0] == 0 && name != 'B' && name != 'H')
        return usage_error(NULL, "--shape: %c must be at least 1", name);
    return EXIT_DONE;
}

int shape_read(const Arguments *arguments, Shape *shape)
{
    memset(shape, 0, sizeof *shape);
    shape->sizes.b = shape->sizes.h = -1; /* 0 is a size that one may ask for */
    for (int k = 0; k < arguments->count[OPTION_SHAPE]; k++) {
        char *text = strdup(arguments->values[OPTION_SHAPE][k]);
        if (!text)
            return failure("out of memory");
        int status = EXIT_DONE;
        char *rest = text;
        while (status == EXIT_DONE && rest)
            status = read_entry(shape, strsep(&rest, ","));
        free(text);
        if (status != EXIT_DONE)
            return status;
    }
    const char *align = option_value(arguments, OPTION_ALIGN, "top-left");
    if (strcmp(align, "bottom-right") == 0)
        shape->align = ATTUNE_ALIGN_BOTTOM_RIGHT;
    else if (strcmp(align, "top-left") != 0)
        return usage_error(NULL, "--align: '%s' is neither top-left nor bottom-right", align);
    shape->offset_given = option_given(arguments, OPTION_OFFSET);
    if (shape->offset_given && shape->align == ATTUNE_ALIGN_BOTTOM_RIGHT)
        return usage_error(NULL, "--offset and --align=bottom-right exclude each other");
    return option_int(arguments, OPTION_OFFSET, -(1 << 30), 1 << 30, &shape->sizes.offset) ? EXIT_DONE
                                                                                           : EXIT_USAGE;
}

/* One of M, N: rank 1 has no axes, a grid needs all of them. */
static int complete_axes(const char *name, const Spec *spec, int32_t given, int64_t all,
                         int64_t axes[ATTUNE_MAX_RANK])
{
    if (spec->rank == 1) {
        if (given > 1)
            return usage_error(NULL, "--shape: %s has %d axes, but %s is over one", name, given, spec->name);
        memset(axes, 0, sizeof(int64_t) * ATTUNE_MAX_RANK);
        return EXIT_DONE;
    }
    if (given == spec->rank)
        return EXIT_DONE;
    return usage_error(NULL, "--shape: %s is over %d axes: give them as %s=%s (their product is %lld)",
                       spec->name, spec->rank, name, spec->rank == 2 ? "48x64" : "8x16x16", (long long)all);
}

int shape_complete(Shape *shape, const Spec *spec)
{
    AttuneSizes *all = &shape->sizes;
    if (all->m == 0 && shape->m_rank == 0) {
        all->m = 1024;
        all->m_axis[0] = spec->rank == 2 ? 32 : 4;
        all->m_axis[1] = spec->rank == 2 ? 32 : 16;
        all->m_axis[2] = 16;
        if (spec->rank == 2)
            all->m_axis[2] = 0;
        shape->m_rank = spec->rank;
    }
    if (all->n == 0 && shape->n_rank == 0) {
        all->n = all->m;
        memcpy(all->n_axis, all->m_axis, sizeof all->n_axis);
        shape->n_rank = shape->m_rank;
    }
    all->b = all->b < 0 ? 1 : all->b;
    all->h = all->h < 0 ? 1 : all->h;
    all->g = all->g ? all->g : all->h > 0 ? all->h : 1;
    all->d = all->d ? all->d : 64;
    all->e = all->e ? all->e : all->d;
    if (all->h % all->g != 0)
        return usage_error(
            NULL, "--shape: H=%lld query heads cannot share G=%lld key heads: H must be a multiple of G",
            (long long)all->h, (long long)all->g);
    if (spec->rank > 1 && (shape->offset_given || shape->align != ATTUNE_ALIGN_OFFSET))
        return usage_error(NULL, "--offset and --align are for attentions over one axis; %s is over %d",
                           spec->name, spec->rank);
    if (shape->align == ATTUNE_ALIGN_BOTTOM_RIGHT)
        all->offset = all->n - all->m;
    int status = complete_axes("M", spec, shape->m_rank, all->m, all->m_axis);
    return status == EXIT_DONE ? complete_axes("N", spec, shape->n_rank, all->n, all->n_axis) : status;
}

static void print_axes(FILE *out, const char *name, int64_t all, const int64_t *axes, int rank)
{
    fprintf(out, " %s=%lld", name, (long long)(rank == 1 ? all : axes[0]));
    for (int a = 1; a < rank; a++)
        fprintf(out, "x%lld", (long long)axes[a]);
}

void shape_print(FILE *out, const Shape *shape, int rank)
{
    const AttuneSizes *all = &shape->sizes;
    fprintf(out, "B=%lld H=%lld G=%lld", (long long)all->b, (long long)all->h, (long long)all->g);
    print_axes(out, "M", all->m, all->m_axis, rank);
    print_axes(out, "N", all->n, all->n_axis, rank);
    fprintf(out, " D=%lld E=%lld", (long long)all->d, (long long)all->e);
    if (all->offset != 0)
        fprintf(out, " offset=%lld", (long long)all->offset);
}
