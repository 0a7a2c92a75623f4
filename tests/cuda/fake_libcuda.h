/* A CUDA driver without a GPU: device memory is host memory, launches are recorded, any call can be made to fail. */
#ifndef ATTUNE_TEST_FAKE_LIBCUDA_H
#define ATTUNE_TEST_FAKE_LIBCUDA_H

#include <stdatomic.h>

#include "runtime/cuda.h"

enum { FAKE_MOST = 512, FAKE_ARGUMENT = 8192, FAKE_SM_COUNT = 4, FAKE_OCCUPANCY = 2, FAKE_SHARED = 227 * 1024 };

typedef struct FakeLaunch {
    char entry[96];
    unsigned grid, threads, shared;
    void *stream;
    unsigned char argument[FAKE_ARGUMENT];
} FakeLaunch;

typedef struct FakeMap {
    int type;
    uint32_t rank, box[5], element_strides[5];
    void *address;
    uint64_t dims[5], strides[4];
    int interleave, swizzle, l2_promotion, fill;
} FakeMap;

typedef struct FakeState {
    /* To be set by a test. */
    int devices, major, minor, capturing;
    bool no_stream_ids;
    size_t argument_bytes;       /* that kernels take */
    int fail_at, fail_code;      /* the n-th call from now on fails, 0: none */
    char fail_name[64];          /* "LaunchKernel": only calls of that name count and fail */
    /* Recorded. */
    atomic_int calls, waits, copies, memsets, loads, occupancy_calls;
    int launch_count, map_count;
    FakeLaunch launches[FAKE_MOST];
    FakeMap maps[FAKE_MOST];
    /* What is alive: all 0 in the end. */
    atomic_int blocks, pool_blocks, modules, pools, streams, events, contexts;
    size_t last_pool_size;
    void *last_pool_stream;
    atomic_int without_context;  /* calls that needed one and had none */
    unsigned char copied[256];   /* of the last copy to the device */
} FakeState;

#endif
