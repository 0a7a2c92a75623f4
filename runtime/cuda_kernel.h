/* Kernels on CUDA devices: modules, tensor maps, launches in the caller's stream. Nothing here waits for the device. */
#ifndef ATTUNE_CUDA_KERNEL_H
#define ATTUNE_CUDA_KERNEL_H

#include "runtime/launch.h"

/* Makes `kernel` one that runs this cubin or PTX text (by the target's name; ends with a zero byte); devices load it when they first launch it. `owned`: the image was malloc'ed
 * and is freed with the kernel (or at once, on failure). */
AttuneStatus cuda_kernel_load(AttuneKernel *kernel, const void *image, size_t size, bool owned, AttuneError **error);

#endif
