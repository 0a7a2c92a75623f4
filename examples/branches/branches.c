/* Blocks of papers that are several attentions: what a host program does around the calls.
 *
 * 1. Recurrent Memory-Augmented Transformer: three branches over the same queries (causal; causal within a
 *    chunk; a bank of memory slots), added. Three launches and a sum.
 * 2. Ring attention: keys and values pass by in blocks, one a step; the partial results of the steps are
 *    merged by their log-sum-exp, exactly. The causal mask is the same spec throughout: where a block of keys
 *    stands relative to the queries is the launch's offset, so blocks are full, diagonal, or skipped.
 *
 * Both are compared with sums by hand in double precision. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/attune.h"

enum { HEADS = 2, TOKENS = 256, WIDTH = 32, SLOTS = 24, CHUNK = 64, DEVICES = 4, SHARD = TOKENS / DEVICES };

typedef float Rows[HEADS][TOKENS][WIDTH];
static Rows q, k, v, whole, chunked, remembered, ring;
static float memory_k[HEADS][SLOTS][WIDTH], memory_v[HEADS][SLOTS][WIDTH];

static const char causal_text[] = "attention causal { mask j <= i  return lse }";
static const char chunk_text[] =
    "attention chunk { param chunk: int = 64  mask j <= i and i / chunk == j / chunk }";
static const char memory_text[] = "attention memory { score s * scale }";

static void check(AttuneError *error)
{
    if (!error)
        return;
    fprintf(stderr, "branches: %s\n", attune_error_message(error));
    exit(1);
}

static AttuneKernel *kernel_of(AttuneContext *context, const char *text, size_t length)
{
    AttuneError *error = NULL;
    AttuneSpec *spec = attune_spec_from_text(text, length, NULL, &error);
    check(error);
    AttuneKernelOptions options = {.dtype = ATTUNE_F32, .d = WIDTH};
    AttuneKernel *kernel = attune_kernel_create(context, spec, &options, &error);
    check(error);
    attune_spec_destroy(spec);
    return kernel;
}

/* Rows of every head, whose tensor has `stride` rows a head. */
static AttuneTensor view(const float *data, const int64_t *shape, const int64_t *strides)
{
    return (AttuneTensor){
        .data = (void *)(uintptr_t)data, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape, .strides = strides};
}

static void launch(AttuneKernel *kernel, const float *queries, int64_t rows, const float *keys,
                   const float *values, int64_t key_rows, int64_t key_stride, float *out, float *lse,
                   int64_t offset)
{
    int64_t q_shape[4] = {1, HEADS, rows, WIDTH}, k_shape[4] = {1, HEADS, key_rows, WIDTH};
    int64_t q_strides[4] = {HEADS * TOKENS * WIDTH, TOKENS * WIDTH, WIDTH, 1};
    int64_t k_strides[4] = {HEADS * key_stride * WIDTH, key_stride * WIDTH, WIDTH, 1};
    AttuneNamedTensor back = {"lse", {.data = lse, .dtype = ATTUNE_F32, .ndim = 3, .shape = q_shape}};
    AttuneLaunch arguments = {.q = view(queries, q_shape, q_strides),
                              .k = view(keys, k_shape, k_strides),
                              .v = view(values, k_shape, k_strides),
                              .o = view(out, q_shape, q_strides),
                              .returns = &back,
                              .return_count = lse ? 1 : 0,
                              .offset = offset};
    AttuneError *error = NULL;
    attune_kernel_launch(kernel, &arguments, &error);
    check(error);
}

/* (o, lse) of one more block of keys into those of the blocks so far. A row without keys has lse = -inf and
 * no say. */
static void merge(float o[WIDTH], float *lse, const float part[WIDTH], float part_lse)
{
    float top = fmaxf(*lse, part_lse);
    if (isinf(top))
        return;
    float a = expf(*lse - top), b = expf(part_lse - top), sum = a + b;
    for (int c = 0; c < WIDTH; c++)
        o[c] = (a * o[c] + b * part[c]) / sum;
    *lse = top + logf(sum);
}

/* Device p holds queries and one block of keys; at step s it has the block of device p - s. */
static void ring_attention(AttuneKernel *kernel)
{
    static Rows part;
    for (int p = 0; p < DEVICES; p++) {
        float lse[HEADS][SHARD], part_lse[HEADS][SHARD];
        for (int h = 0; h < HEADS; h++)
            for (int i = 0; i < SHARD; i++)
                lse[h][i] = -INFINITY;
        for (int step = 0; step < DEVICES; step++) {
            int from = (p - step + DEVICES) % DEVICES;
            if (from > p)
                continue; /* all of it lies after every query here */
            launch(kernel, q[0][p * SHARD], SHARD, k[0][from * SHARD], v[0][from * SHARD], SHARD, TOKENS,
                   part[0][p * SHARD], &part_lse[0][0], (int64_t)(p - from) * SHARD);
            for (int h = 0; h < HEADS; h++)
                for (int i = 0; i < SHARD; i++)
                    merge(ring[h][p * SHARD + i], &lse[h][i], part[h][p * SHARD + i], part_lse[h][i]);
        }
    }
}

/* Channel c of one row of softmax attention over keys [begin, end), in double. */
static double by_hand(const float *query, const float (*keys)[WIDTH], const float (*values)[WIDTH], int begin,
                      int end, int c)
{
    double sum = 0, weighted = 0;
    for (int j = begin; j < end; j++) {
        double s = 0;
        for (int d = 0; d < WIDTH; d++)
            s += (double)query[d] * (double)keys[j][d];
        double w = exp(s / sqrt(WIDTH));
        sum += w;
        weighted += w * (double)values[j][c];
    }
    return weighted / sum;
}

static void fill(float *data, int count, float step)
{
    for (int n = 0; n < count; n++)
        data[n] = sinf(step * (float)n + step);
}

int main(void)
{
    fill(&q[0][0][0], HEADS * TOKENS * WIDTH, 0.73f);
    fill(&k[0][0][0], HEADS * TOKENS * WIDTH, 1.31f);
    fill(&v[0][0][0], HEADS * TOKENS * WIDTH, 0.17f);
    fill(&memory_k[0][0][0], HEADS * SLOTS * WIDTH, 2.11f);
    fill(&memory_v[0][0][0], HEADS * SLOTS * WIDTH, 0.29f);
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    check(error);
    AttuneKernel *causal = kernel_of(context, causal_text, sizeof causal_text - 1);
    AttuneKernel *chunk = kernel_of(context, chunk_text, sizeof chunk_text - 1);
    AttuneKernel *memory = kernel_of(context, memory_text, sizeof memory_text - 1);

    launch(causal, q[0][0], TOKENS, k[0][0], v[0][0], TOKENS, TOKENS, whole[0][0], NULL, 0);
    launch(chunk, q[0][0], TOKENS, k[0][0], v[0][0], TOKENS, TOKENS, chunked[0][0], NULL, 0);
    launch(memory, q[0][0], TOKENS, memory_k[0][0], memory_v[0][0], SLOTS, SLOTS, remembered[0][0], NULL, 0);
    ring_attention(causal);

    double block_error = 0, ring_error = 0;
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++) {
            int c = i % WIDTH;
            double full = by_hand(q[h][i], k[h], v[h], 0, i + 1, c);
            double three = full + by_hand(q[h][i], k[h], v[h], i / CHUNK * CHUNK, i + 1, c) +
                           by_hand(q[h][i], memory_k[h], memory_v[h], 0, SLOTS, c);
            double sum = (double)whole[h][i][c] + (double)chunked[h][i][c] + (double)remembered[h][i][c];
            block_error = fmax(block_error, fabs(sum - three));
            ring_error = fmax(ring_error, fabs((double)ring[h][i][c] - full));
        }
    printf("three branches added: largest difference from the sums by hand %.1e\n", block_error);
    printf("ring of %d devices, merged by lse: largest difference %.1e\n", DEVICES, ring_error);
    attune_kernel_destroy(causal);
    attune_kernel_destroy(chunk);
    attune_kernel_destroy(memory);
    attune_context_destroy(context);
    return block_error < 1e-5 && ring_error < 1e-5 ? 0 : 1;
}
