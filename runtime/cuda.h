/* The CUDA driver, found at run time: nothing here needs CUDA to be built, nothing links it. */
#ifndef ATTUNE_CUDA_H
#define ATTUNE_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *CudaHandle;      /* contexts, modules, functions, streams, events, pools */
typedef uint64_t CudaAddress;  /* device memory */

/* A CUtensorMap: opaque, 64-byte aligned where the device reads it. */
typedef struct CudaTensorMap {
    _Alignas(64) uint64_t opaque[16];
} CudaTensorMap;

/* A CUmemPoolProps. */
typedef struct CudaPoolProperties {
    int type, handle_types, location_type, location;
    void *security;
    size_t most;
    unsigned short usage;
    unsigned char reserved[54];
} CudaPoolProperties;

/* Numbers of the driver's interface that are used. */
enum {
    CUDA_DONE = 0,
    CUDA_INVALID_VALUE = 1,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NO_BINARY = 209,
    CUDA_ATTRIBUTE_SM_COUNT = 16,
    CUDA_ATTRIBUTE_MAJOR = 75,
    CUDA_ATTRIBUTE_MINOR = 76,
    CUDA_ATTRIBUTE_MOST_SHARED = 97, /* dynamic shared memory a block */
    CUDA_ATTRIBUTE_POOLS = 115,
    CUDA_FUNCTION_DYNAMIC_SHARED = 8,
    CUDA_ALLOCATION_PINNED = 1,
    CUDA_LOCATION_DEVICE = 1,
    CUDA_POOL_KEEP = 4,              /* release threshold */
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_TYPE_F16 = 6,
    CUDA_TYPE_F32 = 7,
    CUDA_TYPE_BF16 = 9,
    CUDA_INTERLEAVE_NONE = 0,
    CUDA_SWIZZLE_128 = 3,
    CUDA_L2_256 = 3,
    CUDA_FILL_ZERO = 0
};

typedef struct CudaApi {
#define CUDA_API(name, needed, arguments) int(*name) arguments;
#include "runtime/cuda_api.def"
#undef CUDA_API
} CudaApi;

/* The initialised driver ($ATTUNE_LIBCUDA, else libcuda.so.1), the same for the whole process; NULL: *why says why
 * there is none. */
const CudaApi *cuda_api(const char **why);
/* "out of memory (CUDA_ERROR_OUT_OF_MEMORY)". */
void cuda_explain(const CudaApi *cuda, int code, char *text, size_t size);

#endif
