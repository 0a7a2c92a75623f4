/* A kernel from a text, at run time: the shortest whole program. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/attune.h"

enum { HEADS = 2, TOKENS = 300, WIDTH = 32, WINDOW = 50 };

static const char *const text = "attention sliding_window { param window: int = 1024\n"
                                "  mask j <= i and i - j < window }";
static float q[HEADS][TOKENS][WIDTH], k[HEADS][TOKENS][WIDTH], v[HEADS][TOKENS][WIDTH],
    o[HEADS][TOKENS][WIDTH];

int main(void)
{
    for (int n = 0; n < HEADS * TOKENS * WIDTH; n++) {
        (&q[0][0][0])[n] = sinf(0.7f * (float)n);
        (&k[0][0][0])[n] = cosf(1.3f * (float)n);
        (&v[0][0][0])[n] = sinf(0.1f * (float)n);
    }
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    AttuneSpec *spec = context ? attune_spec_from_text(text, strlen(text), NULL, &error) : NULL;
    AttuneKernelOptions options = {.dtype = ATTUNE_F32, .d = WIDTH};
    AttuneKernel *kernel = spec ? attune_kernel_create(context, spec, &options, &error) : NULL;

    int64_t shape[4] = {1, HEADS, TOKENS, WIDTH};
    AttuneParam window = attune_param_int("window", WINDOW);
    AttuneLaunch launch = {.q = {.data = q, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape},
                           .k = {.data = k, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape},
                           .v = {.data = v, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape},
                           .o = {.data = o, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape},
                           .params = &window, .param_count = 1};
    if (!kernel || attune_kernel_launch(kernel, &launch, &error) != ATTUNE_OK) {
        fprintf(stderr, "%s\n", attune_error_message(error));
        return 1;
    }
    double worst = 0; /* the same by hand, channel 0 of every row */
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++) {
            double sum = 0, weighted = 0;
            for (int j = i < WINDOW ? 0 : i - WINDOW + 1; j <= i; j++) {
                double s = 0;
                for (int c = 0; c < WIDTH; c++)
                    s += (double)q[h][i][c] * (double)k[h][j][c];
                double w = exp(s / sqrt(WIDTH));
                sum += w;
                weighted += w * (double)v[h][j][0];
            }
            worst = fmax(worst, fabs(weighted / sum - (double)o[h][i][0]));
        }
    printf("sliding window of %d over %d tokens: largest difference from the sum by hand %.1e\n", WINDOW,
           TOKENS, worst);
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
    return worst < 1e-5 ? 0 : 1;
}
