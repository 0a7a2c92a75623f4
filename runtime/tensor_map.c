/* From a KernelMap to the dimensions, strides and boxes that compiler/kernel.h promises.
 *
 * TMA wants every stride to be a multiple of 16 bytes below 2^40 and never counts backwards. Dimensions of one element
 * have no stride that matters; they get the row's size, which every driver takes. */
#include "runtime/tensor_map.h"

#include <stdio.h>
#include <string.h>

enum { STRIDE_UNIT = 16, MOST_BOX = 256 };

typedef struct MapBuilder {
    const KernelMap *map;
    const TensorMapSource *source;
    TensorMapArguments *out;
    char *why;
    size_t why_size;
    int64_t element; /* bytes */
    int rank;
    bool good;
} MapBuilder;

#define REFUSE(b, ...) ((b)->good = false, (void)snprintf((b)->why, (b)->why_size, __VA_ARGS__))

static void add_dim(MapBuilder *b, const char *what, int64_t extent, int64_t stride, int64_t box)
{
    TensorMapArguments *out = b->out;
    int64_t bytes, row = (b->map->width * b->element + STRIDE_UNIT - 1) / STRIDE_UNIT * STRIDE_UNIT;
    if (!b->good)
        return;
    if (extent <= 1)
        bytes = row;
    else if (__builtin_mul_overflow(stride, b->element, &bytes))
        bytes = -1;
    out->empty |= extent <= 0;
    if (box < 1 || box > MOST_BOX)
        REFUSE(b, "%s: a box of %lld %s is not possible", b->source->name, (long long)box, what);
    else if (bytes % STRIDE_UNIT != 0)
        REFUSE(b, "%s has %s %lld bytes apart (stride %lld), but this kernel's copies need multiples of %d bytes: copy %s into "
               "a dense tensor", b->source->name, what, (long long)bytes, (long long)stride, STRIDE_UNIT, b->source->name);
    else if (bytes < 0 || bytes >= (int64_t)1 << 40)
        REFUSE(b, "%s has %s a stride of %lld elements apart, but this kernel's copies need strides from 0 up to 2^40 bytes: "
               "copy %s into a dense tensor", b->source->name, what, (long long)stride, b->source->name);
    out->dims[b->rank] = (uint64_t)extent;
    out->strides[b->rank - 1] = (uint64_t)bytes;
    out->box[b->rank++] = (uint32_t)box;
}

static int data_type(AttuneDtype dtype)
{
    return dtype == ATTUNE_F16 ? CUDA_TYPE_F16 : dtype == ATTUNE_BF16 ? CUDA_TYPE_BF16 : CUDA_TYPE_F32;
}

/* Rows of the coordinate axes, innermost first. */
static void add_rows(MapBuilder *b)
{
    int64_t stride = b->source->stride[2];
    for (int a = b->map->rank - 1; a >= 0; a--) {
        add_dim(b, "rows", b->source->axes[a], stride, b->map->box[a]);
        if (a > 0 && __builtin_mul_overflow(stride, b->source->axes[a], &stride))
            stride = INT64_MAX / 16;
    }
}

static void add_heads(MapBuilder *b)
{
    const TensorMapSource *s = b->source;
    int64_t batch = s->stride[0], head = s->stride[1];
    if (b->map->rank < 3) {
        add_dim(b, "heads", s->heads, head, 1);
        add_dim(b, "batch entries", s->batches, batch, 1);
    } else if (s->heads <= 1) {
        add_dim(b, "batch entries", s->batches, batch, 1);
    } else if (s->batches <= 1 || batch == head * s->heads) {
        add_dim(b, "heads", s->heads * s->batches, head, 1);
    } else {
        REFUSE(b, "%s has batch entries %lld elements apart and heads %lld, but over three axes this kernel's copies need the "
               "heads of all batch entries at one distance: use the layout BHMD", s->name, (long long)batch, (long long)head);
    }
}

bool tensor_map_arguments(const KernelMap *map, const TensorMapSource *source, TensorMapArguments *arguments, char *why,
                          size_t why_size)
{
    MapBuilder b = {.map = map, .source = source, .out = arguments, .why = why, .why_size = why_size,
                    .element = attune_dtype_size(source->dtype), .good = true};
    int64_t panel = TENSOR_MAP_PANEL_BYTES / b.element;
    bool panels = map->rank == 1 && map->width % panel == 0;
    *arguments = (TensorMapArguments){.type = data_type(source->dtype)};
    arguments->dims[0] = (uint64_t)(panels ? panel : map->width);
    arguments->box[0] = (uint32_t)panel;
    b.rank = 1;
    add_rows(&b);
    if (map->rank == 1)
        add_dim(&b, "panels", panels ? map->width / panel : 1, panel, panels ? map->width / panel : 1);
    add_heads(&b);
    if (b.good && arguments->empty)
        for (int d = 0; d < TENSOR_MAP_RANK; d++)
            arguments->dims[d] = 1;
    return b.good;
}
