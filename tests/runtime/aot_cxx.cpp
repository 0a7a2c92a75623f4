// The generated headers are C++ too: this file only has to compile.
#include "aot_device.h"
#include "aot_grid.h"
#include "aot_local.h"

AttuneStatus aot_cxx_run(AttuneContext *context, AttuneError **error);

AttuneStatus aot_cxx_run(AttuneContext *context, AttuneError **error)
{
    aot_local_args args = aot_local_defaults();
    AttuneKernel *kernel = aot_local_kernel(context, error);
    AttuneStatus status = aot_local_run(kernel, &args, error);
    attune_kernel_destroy(kernel);
    return status;
}
