/* The fake driver. Built as a shared library that ATTUNE_LIBCUDA names; tests reach its state by dlsym. */
#include "fake_libcuda.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

FakeState fake_state = {.devices = 1, .major = 9, .minor = 0};
static _Thread_local CudaHandle stack[16];
static _Thread_local int depth;
static pthread_mutex_t record = PTHREAD_MUTEX_INITIALIZER;

int cuGetProcAddress_v2(const char *name, void **entry, int version, uint64_t flags, int *status);
int cuDriverGetVersion(int *version);

/* Counts the call; its result when a test wants it to fail. */
static int enter(const char *name, bool needs_context)
{
    atomic_fetch_add(&fake_state.calls, 1);
    if (needs_context && depth == 0)
        atomic_fetch_add(&fake_state.without_context, 1);
    if (fake_state.fail_at == 0 || (fake_state.fail_name[0] && strcmp(fake_state.fail_name, name) != 0))
        return CUDA_DONE;
    return --fake_state.fail_at == 0 ? fake_state.fail_code : CUDA_DONE;
}

#define BEGIN(needs_context) \
    do { \
        int failure_ = enter(__func__ + 5, needs_context); \
        if (failure_ != CUDA_DONE) \
            return failure_; \
    } while (0)

static int fake_Init(unsigned flags)
{
    (void)flags;
    BEGIN(false);
    return CUDA_DONE;
}

static int fake_GetErrorName(int code, const char **text)
{
    (void)code;
    *text = "FAKE_ERROR";
    return CUDA_DONE;
}

static int fake_GetErrorString(int code, const char **text)
{
    *text = code == CUDA_OUT_OF_MEMORY ? "no memory left" : "a fake failure";
    return CUDA_DONE;
}

static int fake_DeviceGetCount(int *count)
{
    BEGIN(false);
    *count = fake_state.devices;
    return CUDA_DONE;
}

static int fake_DeviceGet(int *device, int ordinal)
{
    BEGIN(false);
    *device = 100 + ordinal;
    return CUDA_DONE;
}

static int fake_DeviceGetName(char *name, int size, int device)
{
    BEGIN(false);
    snprintf(name, (size_t)size, "Fake %d", device);
    return CUDA_DONE;
}

static int fake_DeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    BEGIN(false);
    switch (attribute) {
    case CUDA_ATTRIBUTE_SM_COUNT: *value = FAKE_SM_COUNT; break;
    case CUDA_ATTRIBUTE_MAJOR: *value = fake_state.major; break;
    case CUDA_ATTRIBUTE_MINOR: *value = fake_state.minor; break;
    case CUDA_ATTRIBUTE_MOST_SHARED: *value = FAKE_SHARED; break;
    case CUDA_ATTRIBUTE_POOLS: *value = 1; break;
    default: return CUDA_INVALID_VALUE;
    }
    return CUDA_DONE;
}

static int fake_DevicePrimaryCtxRetain(CudaHandle *context, int device)
{
    BEGIN(false);
    *context = (CudaHandle)(intptr_t)(0xc000 + device);
    atomic_fetch_add(&fake_state.contexts, 1);
    return CUDA_DONE;
}

static int fake_DevicePrimaryCtxRelease(int device)
{
    (void)device;
    atomic_fetch_sub(&fake_state.contexts, 1);
    return CUDA_DONE;
}

static int fake_CtxGetCurrent(CudaHandle *context)
{
    BEGIN(false);
    *context = depth > 0 ? stack[depth - 1] : NULL;
    return CUDA_DONE;
}

static int fake_CtxPushCurrent(CudaHandle context)
{
    BEGIN(false);
    stack[depth++] = context;
    return CUDA_DONE;
}

static int fake_CtxPopCurrent(CudaHandle *context)
{
    *context = stack[--depth];
    return CUDA_DONE;
}

static int fake_ModuleLoadData(CudaHandle *module, const void *image)
{
    BEGIN(true);
    atomic_fetch_add(&fake_state.loads, 1);
    bool text = memcmp(image, "//", 2) == 0 && strstr(image, ".version") && strstr(image, ".visible .entry");
    if (!text && memcmp(image, "fake", 4) != 0 && memcmp(image, "\x7f" "ELF", 4) != 0)
        return CUDA_NO_BINARY;
    *module = malloc(1);
    atomic_fetch_add(&fake_state.modules, 1);
    return CUDA_DONE;
}

static int fake_ModuleUnload(CudaHandle module)
{
    atomic_fetch_add(&fake_state.without_context, depth == 0);
    free(module);
    atomic_fetch_sub(&fake_state.modules, 1);
    return CUDA_DONE;
}

static int fake_ModuleGetFunction(CudaHandle *function, CudaHandle module, const char *name)
{
    static char names[16][96];
    (void)module;
    BEGIN(true);
    int k = 0;
    while (names[k][0] && strcmp(names[k], name) != 0)
        k++;
    snprintf(names[k], sizeof names[k], "%s", name);
    *function = names[k];
    return CUDA_DONE;
}

static int fake_FuncSetAttribute(CudaHandle function, int attribute, int value)
{
    (void)function;
    BEGIN(true);
    return attribute == CUDA_FUNCTION_DYNAMIC_SHARED && value <= FAKE_SHARED ? CUDA_DONE : CUDA_INVALID_VALUE;
}

static int fake_OccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CudaHandle function, int threads, size_t shared)
{
    (void)function;
    BEGIN(true);
    atomic_fetch_add(&fake_state.occupancy_calls, 1);
    *blocks = threads > 1024 || shared > FAKE_SHARED ? 0 : FAKE_OCCUPANCY;
    return CUDA_DONE;
}

static int fake_LaunchKernel(CudaHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared, CudaHandle stream, void **arguments,
                             void **extra)
{
    BEGIN(true);
    if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x == 0 || block_y != 1 || block_z != 1 || extra)
        return CUDA_INVALID_VALUE;
    pthread_mutex_lock(&record);
    FakeLaunch *launch = &fake_state.launches[fake_state.launch_count++ % FAKE_MOST];
    *launch = (FakeLaunch){.grid = grid_x, .threads = block_x, .shared = shared, .stream = stream};
    snprintf(launch->entry, sizeof launch->entry, "%s", (const char *)function);
    memcpy(launch->argument, arguments[0], fake_state.argument_bytes);
    pthread_mutex_unlock(&record);
    return CUDA_DONE;
}

static int fake_TensorMapEncodeTiled(CudaTensorMap *map, int type, uint32_t rank, void *address, const uint64_t *dims,
                                     const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                                     int interleave, int swizzle, int l2_promotion, int fill)
{
    BEGIN(false);
    if ((uintptr_t)map % 64 != 0 || rank > 5 || (uintptr_t)address % 16 != 0)
        return CUDA_INVALID_VALUE;
    for (uint32_t d = 0; d < rank; d++)
        if (dims[d] == 0 || dims[d] > (uint64_t)1 << 32 || box[d] == 0 || box[d] > 256 ||
            (d > 0 && (strides[d - 1] % 16 != 0 || strides[d - 1] >= (uint64_t)1 << 40)))
            return CUDA_INVALID_VALUE;
    pthread_mutex_lock(&record);
    FakeMap *kept = &fake_state.maps[fake_state.map_count % FAKE_MOST];
    *kept = (FakeMap){.type = type, .rank = rank, .address = address, .interleave = interleave, .swizzle = swizzle,
                      .l2_promotion = l2_promotion, .fill = fill};
    memcpy(kept->dims, dims, rank * sizeof *dims);
    memcpy(kept->strides, strides, (rank - 1) * sizeof *strides);
    memcpy(kept->box, box, rank * sizeof *box);
    memcpy(kept->element_strides, element_strides, rank * sizeof *element_strides);
    memset(map, 0, sizeof *map);
    map->opaque[0] = 0x7a9;
    map->opaque[1] = (uint64_t)(uintptr_t)address;
    map->opaque[2] = (uint64_t)fake_state.map_count++;
    pthread_mutex_unlock(&record);
    return CUDA_DONE;
}

static int fake_MemAlloc(CudaAddress *address, size_t size)
{
    BEGIN(true);
    void *block = aligned_alloc(256, (size + 255) / 256 * 256);
    if (!block)
        return CUDA_OUT_OF_MEMORY;
    memset(block, 0xa5, size);
    *address = (CudaAddress)(uintptr_t)block;
    atomic_fetch_add(&fake_state.blocks, 1);
    return CUDA_DONE;
}

static int fake_MemFree(CudaAddress address)
{
    atomic_fetch_add(&fake_state.without_context, depth == 0);
    free((void *)(uintptr_t)address);
    atomic_fetch_sub(&fake_state.blocks, 1);
    return CUDA_DONE;
}

static int copy(CudaAddress to, const void *from, size_t size)
{
    memcpy((void *)(uintptr_t)to, from, size);
    memcpy(fake_state.copied, from, size < sizeof fake_state.copied ? size : sizeof fake_state.copied);
    atomic_fetch_add(&fake_state.copies, 1);
    return CUDA_DONE;
}

static int fake_MemcpyHtoD(CudaAddress to, const void *from, size_t size)
{
    BEGIN(true);
    atomic_fetch_add(&fake_state.waits, 1);
    return copy(to, from, size);
}

static int fake_MemcpyDtoH(void *to, CudaAddress from, size_t size)
{
    BEGIN(true);
    atomic_fetch_add(&fake_state.waits, 1);
    memcpy(to, (const void *)(uintptr_t)from, size);
    return CUDA_DONE;
}

static int fake_MemcpyHtoDAsync(CudaAddress to, const void *from, size_t size, CudaHandle stream)
{
    (void)stream;
    BEGIN(true);
    return copy(to, from, size);
}

static int fake_MemsetD32Async(CudaAddress to, unsigned value, size_t count, CudaHandle stream)
{
    (void)stream;
    BEGIN(true);
    for (size_t k = 0; k < count; k++)
        memcpy((char *)(uintptr_t)to + 4 * k, &value, 4);
    atomic_fetch_add(&fake_state.memsets, 1);
    return CUDA_DONE;
}

static int fake_MemPoolCreate(CudaHandle *pool, const CudaPoolProperties *properties)
{
    BEGIN(true);
    if (properties->type != CUDA_ALLOCATION_PINNED || properties->location_type != CUDA_LOCATION_DEVICE)
        return CUDA_INVALID_VALUE;
    *pool = malloc(1);
    atomic_fetch_add(&fake_state.pools, 1);
    return CUDA_DONE;
}

static int fake_MemPoolDestroy(CudaHandle pool)
{
    free(pool);
    atomic_fetch_sub(&fake_state.pools, 1);
    return CUDA_DONE;
}

static int fake_MemPoolSetAttribute(CudaHandle pool, int attribute, void *value)
{
    (void)pool, (void)value;
    BEGIN(true);
    return attribute == CUDA_POOL_KEEP ? CUDA_DONE : CUDA_INVALID_VALUE;
}

static int fake_MemAllocFromPoolAsync(CudaAddress *address, size_t size, CudaHandle pool, CudaHandle stream)
{
    BEGIN(true);
    if (!pool || size == 0)
        return CUDA_INVALID_VALUE;
    void *block = aligned_alloc(256, (size + 255) / 256 * 256);
    if (!block)
        return CUDA_OUT_OF_MEMORY;
    memset(block, 0x5a, size);
    *address = (CudaAddress)(uintptr_t)block;
    fake_state.last_pool_size = size;
    fake_state.last_pool_stream = stream;
    atomic_fetch_add(&fake_state.pool_blocks, 1);
    return CUDA_DONE;
}

static int fake_MemFreeAsync(CudaAddress address, CudaHandle stream)
{
    if (stream != fake_state.last_pool_stream)
        return CUDA_INVALID_VALUE;
    free((void *)(uintptr_t)address);
    atomic_fetch_sub(&fake_state.pool_blocks, 1);
    return enter("MemFreeAsync", true);
}

static int fake_StreamCreate(CudaHandle *stream, unsigned flags)
{
    (void)flags;
    BEGIN(true);
    *stream = malloc(1);
    atomic_fetch_add(&fake_state.streams, 1);
    return CUDA_DONE;
}

static int fake_StreamDestroy(CudaHandle stream)
{
    free(stream);
    atomic_fetch_sub(&fake_state.streams, 1);
    return CUDA_DONE;
}

static int fake_StreamSynchronize(CudaHandle stream)
{
    (void)stream;
    BEGIN(true);
    atomic_fetch_add(&fake_state.waits, 1);
    return CUDA_DONE;
}

static int fake_StreamIsCapturing(CudaHandle stream, int *status)
{
    (void)stream;
    BEGIN(true);
    *status = fake_state.capturing;
    return CUDA_DONE;
}

static int fake_StreamGetId(CudaHandle stream, uint64_t *id)
{
    BEGIN(true);
    *id = (uint64_t)(uintptr_t)stream + 1000;
    return fake_state.no_stream_ids ? CUDA_INVALID_VALUE : CUDA_DONE;
}

static int fake_EventCreate(CudaHandle *event, unsigned flags)
{
    (void)flags;
    BEGIN(true);
    *event = malloc(1);
    atomic_fetch_add(&fake_state.events, 1);
    return CUDA_DONE;
}

static int fake_EventDestroy(CudaHandle event)
{
    free(event);
    atomic_fetch_sub(&fake_state.events, 1);
    return CUDA_DONE;
}

static int fake_EventRecord(CudaHandle event, CudaHandle stream)
{
    (void)event, (void)stream;
    BEGIN(true);
    return CUDA_DONE;
}

static int fake_EventSynchronize(CudaHandle event)
{
    (void)event;
    BEGIN(true);
    atomic_fetch_add(&fake_state.waits, 1);
    return CUDA_DONE;
}

static int fake_EventElapsedTime(float *milliseconds, CudaHandle from, CudaHandle to)
{
    (void)from, (void)to;
    BEGIN(true);
    *milliseconds = 0.5f;
    return CUDA_DONE;
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return CUDA_DONE;
}

int cuGetProcAddress_v2(const char *name, void **entry, int version, uint64_t flags, int *status)
{
    static const struct {
        const char *name;
        void (*entry)(void);
    } rows[] = {
#define CUDA_API(id, needed, arguments) {"cu" #id, (void (*)(void))fake_##id},
#include "runtime/cuda_api.def"
#undef CUDA_API
    };
    (void)flags;
    *status = 0;
    *entry = NULL;
    /* What newer interfaces have under these names takes other arguments. */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && version <= 12030; i++)
        if (strcmp(rows[i].name, name) == 0)
            memcpy(entry, &rows[i].entry, sizeof *entry);
    return *entry ? CUDA_DONE : CUDA_INVALID_VALUE;
}
