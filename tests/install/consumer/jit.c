/* Compiles a spec and runs it: values that are all equal stay so under any weights. */
#include <attune.h>
#include <math.h>
#include <stdio.h>

int main(void)
{
    enum { M = 5, D = 16 };
    static const char text[] = "attention causal { mask j <= i }";
    float x[M * D], o[M * D];
    const int64_t shape[] = {1, 1, M, D};
    for (int i = 0; i < M * D; i++)
        x[i] = 0.5f;
    AttuneError *error = NULL;
    AttuneContext *context = attune_context_create(NULL, &error);
    AttuneSpec *spec = attune_spec_from_text(text, sizeof text - 1, NULL, &error);
    AttuneKernel *kernel = spec ? attune_kernel_create(context, spec, &(AttuneKernelOptions){.d = D}, &error) : NULL;
    AttuneTensor t = {.data = x, .dtype = ATTUNE_F32, .ndim = 4, .shape = shape};
    AttuneLaunch launch = {.q = t, .k = t, .v = t, .o = t};
    launch.o.data = o;
    if (!kernel || attune_kernel_launch(kernel, &launch, &error) != ATTUNE_OK) {
        fprintf(stderr, "%s\n", attune_error_message(error));
        return 1;
    }
    for (int i = 0; i < M * D; i++)
        if (!(fabsf(o[i] - 0.5f) < 1e-6f))
            return 2;
    attune_kernel_destroy(kernel);
    attune_spec_destroy(spec);
    attune_context_destroy(context);
    return 0;
}
