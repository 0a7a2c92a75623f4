/* Runs a kernel that was built ahead of time: row i averages rows i - width .. i of v when all scores are equal. */
#include "window.h"

#include <math.h>
#include <stdio.h>

int main(void)
{
    enum { M = 9, D = 16 };
    float q[M * D], v[M * D], o[M * D];
    for (int i = 0; i < M * D; i++) {
        q[i] = 0;
        v[i] = (float)(i / D);
    }
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    AttuneKernel *kernel = window_kernel(context, &error);
    window_args args = window_defaults();
    args.B = args.H = args.G = 1;
    args.M = args.N = M;
    args.q = args.k = q;
    args.v = v;
    args.o = o;
    args.width = 3;
    if (!kernel || window_run(kernel, &args, &error) != ATTUNE_OK) {
        fprintf(stderr, "%s\n", attune_error_message(error));
        return 1;
    }
    for (int i = 0; i < M; i++) {
        int first = i > 3 ? i - 3 : 0;
        if (!(fabsf(o[i * D] - (float)(first + i) / 2) < 1e-5f))
            return 2;
    }
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    return 0;
}
