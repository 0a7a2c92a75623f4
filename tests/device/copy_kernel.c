/* The copying kernel: CUDA C++ text, NVRTC, a description by hand. */
#include "copy_kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/emit/nvrtc.h"
#include "runtime/description.h"

/* One block a tile: box[0] x box[1] x box[2] rows of one head. Shared memory is as TMA writes it: a panel of 128 bytes
 * of every row, then the next; in a panel, 16-byte chunk c of row r is at chunk c ^ (r & 7). */
static const char text[] =
    "typedef long long i64; typedef unsigned u32; typedef unsigned char u8;\n"
    "struct Map { unsigned long long opaque[16]; };\n"
    "struct __align__(64) Args { Map map[1]; i64 slots[SLOTS]; };\n"
    "struct __align__(64) Bare { i64 slots[SLOTS]; };\n"
    "constexpr int ROWS = BOX0 * BOX1 * BOX2, PANEL = 128 / ELEM, PANELS = (WIDTH + PANEL - 1) / PANEL;\n"
    "constexpr bool WHOLE = RANK == 1 && WIDTH % PANEL == 0;\n"
    "__device__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }\n"
    "__device__ void copy5(u32 to, const Map *map, u32 bar, int a, int b, int c, int d, int e) {\n"
    "    asm volatile(\"cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];\"\n"
    "        :: \"r\"(to), \"l\"(map), \"r\"(bar), \"r\"(a), \"r\"(b), \"r\"(c), \"r\"(d), \"r\"(e) : \"memory\");\n"
    "}\n"
    "__device__ i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }\n"
    "__device__ void tile(const Args &a, i64 item, u8 *shared, u32 bar, u32 phase) {\n"
    "    const i64 *s = a.slots;\n"
    "    i64 m0 = s[S_M0], m1 = s[S_M0 + 1], m2 = s[S_M0 + 2], H = s[S_H];\n"
    "    i64 t2 = RANK > 2 ? ceil_div(m2, BOX2) : 1, t1 = RANK > 1 ? ceil_div(m1, BOX1) : 1, t0 = ceil_div(m0, BOX0);\n"
    "    i64 i2 = item % t2 * BOX2, i1 = item / t2 % t1 * BOX1, i0 = item / (t2 * t1) % t0 * BOX0;\n"
    "    i64 head = item / (t2 * t1 * t0), b = head / H, h = head % H, first = 0, length = m0, batch = b;\n"
    "    if (RANK == 1 && s[S_CU]) { const int *cu = (const int *)s[S_CU]; first = cu[b]; length = cu[b + 1] - first; batch = 0; }\n"
    "    if (threadIdx.x == 0) {\n"
    "        asm volatile(\"mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;\" :: \"r\"(bar), \"r\"(PANELS * ROWS * 128) : \"memory\");\n"
    "        u32 to = shared_address(shared);\n"
    "        for (int p = 0; p < (WHOLE ? 1 : PANELS); p++, to += ROWS * 128) {\n"
    "            if (RANK == 1) copy5(to, &a.map[0], bar, p * PANEL, (int)(first + i0), 0, (int)h, (int)batch);\n"
    "            if (RANK == 2) copy5(to, &a.map[0], bar, p * PANEL, (int)i1, (int)i0, (int)h, (int)b);\n"
    "            if (RANK == 3) copy5(to, &a.map[0], bar, p * PANEL, (int)i2, (int)i1, (int)i0, (int)(b * H + h));\n"
    "        }\n"
    "    }\n"
    "    u32 done = 0;\n"
    "    while (!done)\n"
    "        asm volatile(\"{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }\" : \"=r\"(done) : \"r\"(bar), \"r\"(phase) : \"memory\");\n"
    "    for (int k = threadIdx.x; k < ROWS * WIDTH; k += blockDim.x) {\n"
    "        int r = k / WIDTH, c = k % WIDTH, x2 = r % BOX2, x1 = r / BOX2 % BOX1, x0 = r / (BOX2 * BOX1);\n"
    "        i64 j0 = i0 + x0, j1 = i1 + x1, j2 = i2 + x2, row = j0;\n"
    "        if (RANK == 2) row = j0 * m1 + j1;\n"
    "        if (RANK == 3) row = (j0 * m1 + j1) * m2 + j2;\n"
    "        if (j0 >= (RANK == 1 ? length : m0) || (RANK > 1 && j1 >= m1) || (RANK > 2 && j2 >= m2)) continue;\n"
    "        int byte = c % PANEL * ELEM;\n"
    "        const u8 *from = shared + c / PANEL * ROWS * 128 + r * 128 + ((byte / 16) ^ (r & 7)) * 16 + byte % 16;\n"
    "        const i64 *o = s + S_TO;\n"
    "        i64 ob = WORKSPACE ? b : batch, orow = WORKSPACE ? row : first + row;\n"
    "        u8 *to = (u8 *)o[0] + (ob * o[1] + h * o[2] + orow * o[3] + c) * ELEM;\n"
    "        for (int x = 0; x < ELEM; x++) to[x] = from[x];\n"
    "    }\n"
    "    __syncthreads();\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(128, 1) copy(const __grid_constant__ Args a) {\n"
    "    extern __shared__ __align__(1024) u8 shared[];\n"
    "    __shared__ __align__(8) unsigned long long barrier;\n"
    "    __shared__ i64 claimed;\n"
    "    u32 bar = shared_address(&barrier);\n"
    "    if (threadIdx.x == 0) {\n"
    "        asm volatile(\"mbarrier.init.shared.b64 [%0], 1;\" :: \"r\"(bar));\n"
    "        asm volatile(\"fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;\" ::: \"memory\");\n"
    "    }\n"
    "    __syncthreads();\n"
    "    if (!PERSISTENT) { tile(a, blockIdx.x, shared, bar, 0); return; }\n"
    "    int *counter = (int *)a.slots[S_COUNTER];\n"
    "    const i64 *s = a.slots;\n"
    "    i64 items = s[S_B] * s[S_H] * ceil_div(s[S_M0], BOX0);\n"
    "    for (u32 phase = 0;; phase ^= 1) {\n"
    "        if (threadIdx.x == 0) claimed = atomicAdd(counter, 1);\n"
    "        __syncthreads();\n"
    "        i64 item = claimed;\n"
    "        __syncthreads();\n"
    "        if (item >= items) break;\n"
    "        tile(a, item, shared, bar, phase);\n"
    "        if (threadIdx.x == 0) asm volatile(\"fence.proxy.async.shared::cta;\" ::: \"memory\");\n"
    "    }\n"
    "    if (threadIdx.x == 0 && atomicAdd(counter + 1, 1) == gridDim.x - 1) { counter[0] = 0; counter[1] = 0; }\n"
    "}\n"
    /* From the workspace to o, one block a row and head. */
    "extern \"C\" __global__ void back(const __grid_constant__ Bare a) {\n"
    "    const i64 *s = a.slots, *w = s + S_W, *o = s + S_O;\n"
    "    i64 M = s[S_M], row = blockIdx.x % M, head = blockIdx.x / M, b = head / s[S_H], h = head % s[S_H];\n"
    "    const u8 *from = (const u8 *)w[0] + (b * w[1] + h * w[2] + row * w[3]) * ELEM;\n"
    "    u8 *to = (u8 *)o[0] + (b * o[1] + h * o[2] + row * o[3]) * ELEM;\n"
    "    for (int k = threadIdx.x; k < WIDTH * ELEM; k += blockDim.x) to[k] = from[k];\n"
    "}\n";

enum { TENSORS = 3, TENSOR_Q = 0, TENSOR_O, TENSOR_W };

static NvrtcStatus compile(Arena *arena, Diag *diag, const CopyForm *f, NvrtcResult *result)
{
    const struct {
        const char *name;
        int value;
    } rows[] = {
        {"SLOTS", slot_of_tensor(TENSORS)}, {"ELEM", (int)attune_dtype_size(f->dtype)}, {"RANK", f->rank},
        {"WIDTH", f->width}, {"BOX0", f->box[0]}, {"BOX1", f->rank > 1 ? f->box[1] : 1}, {"BOX2", f->rank > 2 ? f->box[2] : 1},
        {"WORKSPACE", f->workspace}, {"PERSISTENT", f->persistent}, {"S_B", slot_of_size(VAR_SIZE_B)},
        {"S_H", slot_of_size(VAR_SIZE_H)}, {"S_M", slot_of_size(VAR_SIZE_M)}, {"S_M0", slot_of_size(VAR_SIZE_M0)},
        {"S_CU", SLOT_CU_Q}, {"S_COUNTER", SLOT_COUNTER}, {"S_O", slot_of_tensor(TENSOR_O)},
        {"S_W", slot_of_tensor(TENSOR_W)}, {"S_TO", slot_of_tensor(f->workspace ? TENSOR_W : TENSOR_O)},
    };
    enum { COUNT = sizeof rows / sizeof rows[0] };
    const char *options[COUNT + 1] = {NULL};
    for (int i = 0; i < COUNT; i++)
        options[i] = arena_printf(arena, "-D%s=%d", rows[i].name, rows[i].value);
    return nvrtc_compile(arena, diag, text, "copy.cu", "sm_90a", options, result);
}

static Extent extent(int size, int64_t div)
{
    return (Extent){.size = size, .div_knob = -1, .div = div, .mul = 1};
}

static void describe(const CopyForm *f, Description *d)
{
    memset(d, 0, sizeof *d);
    Signature *s = &d->signature;
    s->name = "copy";
    s->rank = f->rank;
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        s->axis_names[a] = "";
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        s->returns[r] = "";
    s->width = (SignatureDim){.kind = ATTUNE_DIM_E, .name = "E", .param = -1};
    Shape *k = &d->shape;
    k->target = "cuda:sm_90a";
    k->dtype = f->dtype;
    k->D = k->E = f->width;
    k->tensor_count = TENSORS;
    k->tensors[TENSOR_Q].role = ROLE_Q;
    k->tensors[TENSOR_O].role = ROLE_O;
    k->tensors[TENSOR_W].role = ROLE_WORKSPACE;
    for (int t = 0; t < TENSORS; t++)
        k->tensors[t].dtype = f->dtype;
    if (f->workspace) {
        const Extent extents[4] = {extent(VAR_SIZE_B, 1), extent(VAR_SIZE_H, 1), extent(VAR_SIZE_M, 1), extent(VAR_SIZE_D, 1)};
        k->tensors[TENSOR_W].dim_count = 4;
        memcpy(k->tensors[TENSOR_W].extent, extents, sizeof extents);
    }
    k->phase_count = f->workspace ? 2 : 1;
    k->phases[0].entry = "copy";
    k->phases[0].grid_count = 2 + f->rank;
    k->phases[0].grid[0] = extent(VAR_SIZE_B, 1);
    k->phases[0].grid[1] = extent(VAR_SIZE_H, 1);
    int rows = 1, panel = 128 / (int)attune_dtype_size(f->dtype);
    KernelMap *map = &k->phases[0].maps[0];
    *map = (KernelMap){.tensor = TENSOR_Q, .rank = f->rank, .width = f->width, .queries = true};
    for (int a = 0; a < f->rank; a++) {
        k->phases[0].grid[2 + a] = extent(VAR_SIZE_M0 + a, f->box[a]);
        map->box[a] = f->box[a];
        rows *= f->box[a];
    }
    k->phases[0].threads = 128;
    k->phases[0].shared_bytes = (f->width + panel - 1) / panel * rows * 128;
    k->phases[0].persistent = f->persistent;
    k->phases[0].map_count = 1;
    k->phases[1].entry = "back";
    k->phases[1].threads = 64;
    k->phases[1].grid_count = 3;
    k->phases[1].grid[0] = extent(VAR_SIZE_B, 1);
    k->phases[1].grid[1] = extent(VAR_SIZE_H, 1);
    k->phases[1].grid[2] = extent(VAR_SIZE_M, 1);
}

AttuneKernel *copy_kernel(AttuneContext *context, const CopyForm *form)
{
    static void *images[64]; /* the driver reads them later; freed never, the program ends soon */
    static int image_count;
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    NvrtcResult result;
    AttuneKernel *kernel = NULL;
    AttuneError *error = NULL;
    if (compile(arena, diag, form, &result) == NVRTC_DONE && image_count < 64) {
        Description *d = malloc(sizeof *d);
        size_t size;
        describe(form, d);
        unsigned char *bytes = description_pack(d, true, &size);
        void *image = images[image_count++] = memcpy(malloc(result.cubin_size), result.cubin, result.cubin_size);
        AttuneBuilt built = {.description = bytes, .description_size = size, .phase_count = d->shape.phase_count,
                             .image = image, .image_size = result.cubin_size};
        kernel = attune_kernel_from_built(context, &built, &error);
        free(bytes);
        free(d);
    } else {
        diag_print(diag, stdout, DIAG_TEXT, false);
    }
    if (error)
        printf("%s\n", attune_error_message(error));
    attune_error_free(error);
    arena_destroy(arena);
    return kernel;
}
