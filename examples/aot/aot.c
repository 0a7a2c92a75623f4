/* A kernel that was built ahead of time: no compiler is linked, nothing is compiled at run time. The build
 * has run
 *
 *     attune build sink_window.attn --shape=D=48 -o DIRECTORY
 *
 * (attune_add_kernels in CMake), which made sink_window.o and the header below with its typed entry. */
#include <math.h>
#include <stdio.h>

#include "sink_window.h"

enum { HEADS = 4, KEY_HEADS = 2, TOKENS = 257, WIDTH = 48, WINDOW = 40 };

static float q[HEADS][TOKENS][WIDTH], k[KEY_HEADS][TOKENS][WIDTH], v[KEY_HEADS][TOKENS][WIDTH],
    o[HEADS][TOKENS][WIDTH];
static float lse[HEADS][TOKENS];
static const float sink[HEADS] = {-1, 0, 1, 2};

/* The largest difference of channel 0 and of lse from the sums by hand. */
static double compare(void)
{
    double worst = 0;
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++) {
            int g = h / (HEADS / KEY_HEADS);
            double sum = exp((double)sink[h]), weighted = 0;
            for (int j = i < WINDOW ? 0 : i - WINDOW + 1; j <= i; j++) {
                double s = 0;
                for (int c = 0; c < WIDTH; c++)
                    s += (double)q[h][i][c] * (double)k[g][j][c];
                double w = exp(s / sqrt(WIDTH));
                sum += w;
                weighted += w * (double)v[g][j][0];
            }
            worst = fmax(worst, fabs(weighted / sum - (double)o[h][i][0]));
            worst = fmax(worst, fabs(log(sum) - (double)lse[h][i]));
        }
    return worst;
}

int main(void)
{
    for (int n = 0; n < HEADS * TOKENS * WIDTH; n++)
        (&q[0][0][0])[n] = sinf(0.7f * (float)n);
    for (int n = 0; n < KEY_HEADS * TOKENS * WIDTH; n++) {
        (&k[0][0][0])[n] = cosf(1.3f * (float)n);
        (&v[0][0][0])[n] = sinf(0.1f * (float)n);
    }
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    AttuneKernel *kernel = context ? sink_window_kernel(context, &error) : NULL;
    sink_window_args args = sink_window_defaults();
    args.B = 1;
    args.H = HEADS;
    args.G = KEY_HEADS;
    args.M = args.N = TOKENS;
    args.q = &q[0][0][0];
    args.k = &k[0][0][0];
    args.v = &v[0][0][0];
    args.o = &o[0][0][0];
    args.lse = &lse[0][0];
    args.sink = sink;
    args.window = WINDOW;
    if (!kernel || sink_window_run(kernel, &args, &error) != ATTUNE_OK) {
        fprintf(stderr, "%s\n", attune_error_message(error));
        return 1;
    }
    double worst = compare();
    printf("attune %s, no compiler: largest difference from the sums by hand %.1e\n", attune_version_string(),
           worst);
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    return worst < 1e-5 ? 0 : 1;
}
