/* The arguments of cuTensorMapEncodeTiled for every form of a KernelMap. */
#include "suites.h"

#include <string.h>

#include "runtime/tensor_map.h"

typedef struct Case {
    const char *what;
    KernelMap map;
    AttuneDtype dtype;
    int64_t stride[4], batches, heads, axes[3];
    uint64_t dims[5], strides[4];
    uint32_t box[5];
} Case;

static const Case cases[] = {
    {"dense d128", {0, 1, {128}, 128, true}, ATTUNE_BF16, {16 * 1000 * 128, 1000 * 128, 128, 1}, 3, 16, {1000},
     {64, 1000, 2, 16, 3}, {256, 128, 256000, 4096000}, {64, 128, 2, 1, 1}},
    {"BMHD d64", {0, 1, {64}, 64, true}, ATTUNE_F16, {5 * 4 * 64, 64, 4 * 64, 1}, 2, 4, {5},
     {64, 5, 1, 4, 2}, {512, 128, 128, 2560}, {64, 64, 1, 1, 1}},
    {"f32 d64", {0, 1, {32}, 64, true}, ATTUNE_F32, {640, 640, 64, 1}, 1, 1, {10},
     {32, 10, 2, 1, 1}, {256, 128, 256, 256}, {32, 32, 2, 1, 1}},
    {"d96 goes by rows", {0, 1, {64}, 96, true}, ATTUNE_BF16, {9600, 960, 96, 1}, 2, 10, {10},
     {96, 10, 1, 10, 2}, {192, 192, 1920, 19200}, {64, 64, 1, 1, 1}},
    {"d40, narrower than a panel", {0, 1, {16}, 40, true}, ATTUNE_BF16, {4000, 400, 40, 1}, 2, 10, {10},
     {40, 10, 1, 10, 2}, {80, 80, 800, 8000}, {64, 16, 1, 1, 1}},
    {"one row of one head", {0, 1, {64}, 128, true}, ATTUNE_BF16, {0, 0, 0, 1}, 1, 1, {1},
     {64, 1, 2, 1, 1}, {256, 128, 256, 256}, {64, 64, 2, 1, 1}},
    {"rank 2", {0, 2, {8, 16}, 128, true}, ATTUNE_BF16, {2 * 600 * 128, 600 * 128, 128, 1}, 3, 2, {20, 30},
     {128, 30, 20, 2, 3}, {256, 7680, 153600, 307200}, {64, 16, 8, 1, 1}},
    {"rank 3 dense", {0, 3, {2, 4, 8}, 64, true}, ATTUNE_BF16, {2 * 60 * 64, 60 * 64, 64, 1}, 3, 2, {3, 4, 5},
     {64, 5, 4, 3, 6}, {128, 640, 2560, 7680}, {64, 8, 4, 2, 1}},
    {"rank 3, one batch entry, heads inside rows", {0, 3, {2, 4, 8}, 64, true}, ATTUNE_BF16, {0, 64, 128, 1}, 1, 2, {3, 4, 5},
     {64, 5, 4, 3, 2}, {256, 1280, 5120, 128}, {64, 8, 4, 2, 1}},
    {"rank 3, one head", {0, 3, {2, 4, 8}, 64, true}, ATTUNE_BF16, {5000, 0, 64, 1}, 3, 1, {3, 4, 5},
     {64, 5, 4, 3, 3}, {128, 640, 2560, 10000}, {64, 8, 4, 2, 1}},
    {"no rows", {0, 1, {64}, 128, true}, ATTUNE_BF16, {0, 0, 128, 1}, 2, 3, {0},
     {1, 1, 1, 1, 1}, {256, 128, 0, 0}, {64, 64, 2, 1, 1}},
};

static TensorMapSource source_of(const Case *c)
{
    TensorMapSource source = {.name = "k", .dtype = c->dtype, .stride = c->stride, .batches = c->batches, .heads = c->heads};
    memcpy(source.axes, c->axes, sizeof source.axes);
    return source;
}

static void forms(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Case *c = &cases[i];
        TensorMapSource source = source_of(c);
        TensorMapArguments a;
        char why[256] = "";
        bool good = tensor_map_arguments(&c->map, &source, &a, why, sizeof why);
        good = good && memcmp(a.dims, c->dims, sizeof a.dims) == 0 && memcmp(a.strides, c->strides, sizeof a.strides) == 0 &&
               memcmp(a.box, c->box, sizeof a.box) == 0 && a.empty == (c->axes[0] == 0);
        if (!good)
            printf("\n%s: %s dims %d %d %d %d %d strides %d %d %d %d box %d %d %d %d %d\n", c->what, why, (int)a.dims[0],
                   (int)a.dims[1], (int)a.dims[2], (int)a.dims[3], (int)a.dims[4], (int)a.strides[0], (int)a.strides[1],
                   (int)a.strides[2], (int)a.strides[3], (int)a.box[0], (int)a.box[1], (int)a.box[2], (int)a.box[3],
                   (int)a.box[4]);
        CU_ASSERT_TRUE(good);
        CU_ASSERT_EQUAL(a.type, c->dtype == ATTUNE_F16 ? 6 : c->dtype == ATTUNE_BF16 ? 9 : 7);
    }
}

static void refused(const Case *base, KernelMap map, const int64_t *stride, const char *part)
{
    Case c = *base;
    c.map = map;
    memcpy(c.stride, stride, sizeof c.stride);
    TensorMapSource source = source_of(&c);
    TensorMapArguments a;
    char why[256] = "";
    CU_ASSERT_FALSE(tensor_map_arguments(&c.map, &source, &a, why, sizeof why));
    CHECK_CONTAINS(why, part);
}

static void refusals(void)
{
    const Case *dense = &cases[0], *grid = &cases[7];
    refused(dense, dense->map, (int64_t[4]){1000, 500, 129, 1}, "k has rows 258 bytes apart (stride 129)");
    refused(dense, dense->map, (int64_t[4]){1000, 500, 128, 1}, "k has heads 1000 bytes apart");
    refused(dense, dense->map, (int64_t[4]){128000, 64000, -128, 1}, "rows a stride of -128 elements");
    refused(dense, dense->map, (int64_t[4]){(int64_t)1 << 39, 64000, 128, 1}, "batch entries a stride of");
    refused(dense, dense->map, (int64_t[4]){INT64_MAX, 64000, 128, 1}, "k has batch entries");
    refused(dense, (KernelMap){0, 1, {257}, 128, true}, dense->stride, "a box of 257 rows is not possible");
    refused(dense, (KernelMap){0, 1, {0}, 128, true}, dense->stride, "a box of 0 rows");
    refused(dense, (KernelMap){0, 1, {64}, 257 * 64, true}, dense->stride, "a box of 257 panels");
    refused(grid, grid->map, (int64_t[4]){10000, 3840, 64, 1}, "use the layout BHMD");
}

CU_TestInfo tensor_map_tests[] = {{"forms", forms}, {"refusals", refusals}, CU_TEST_INFO_NULL};
