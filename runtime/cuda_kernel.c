/* Launching on CUDA.
 *
 * A launch is: one stream-ordered allocation for everything that it needs besides its tensors, the lengths of a ragged
 * batch copied into it, then the phases in order, then the allocation given back in stream order. The argument of
 * each phase is its tensor maps followed by the slots. A plan keeps the lengths on the device and its maps encoded. */
#include "runtime/cuda_kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device.h"
#include "runtime/error.h"
#include "runtime/tensor_map.h"

enum { MOST_BLOCKS = INT32_MAX, MAP_SLOTS = KERNEL_MAX_MAPS * PROGRAM_MAX_PHASES, ALIGN = 256 };

/* The kernel on one device. */
typedef struct CudaModule {
    Device *device;
    CudaHandle module;
    struct {
        CudaHandle function;
        int blocks; /* at once on the whole device */
    } phases[PROGRAM_MAX_PHASES];
} CudaModule;

typedef struct CudaCode {
    const void *image;
    bool owned;
    bool is_text; /* PTX, which the driver compiles */
    char arch[32];
    pthread_mutex_t mutex;                         /* guards loading */
    CudaModule *_Atomic modules[CONTEXT_DEVICES];
} CudaCode;

/* By position over all phases. */
typedef struct KeptMaps {
    pthread_mutex_t mutex;
    int64_t address[MAP_SLOTS];  /* that a map was encoded for; 0: not yet */
    CudaTensorMap map[MAP_SLOTS];
} KeptMaps;

typedef struct CudaPlan {
    Device *device;
    CudaAddress lengths;         /* 0: none */
    KeptMaps maps;
} CudaPlan;

/* What a phase is passed. */
typedef struct PhaseArgument {
    _Alignas(64) unsigned char bytes[KERNEL_MAX_MAPS * sizeof(CudaTensorMap) + SLOT_COUNT_MAX * 8 + 64];
} PhaseArgument;

/* Modules ------------------------------------------------------------------------------------------------------- */

static void module_free(CudaModule *m)
{
    DeviceEntry entry;
    if (m->module && device_enter(m->device, &entry, NULL) == ATTUNE_OK) {
        m->device->cuda->ModuleUnload(m->module);
        device_leave(&entry);
    }
    free(m);
}

static void code_destroy(void *object)
{
    CudaCode *code = object;
    for (int i = 0; i < CONTEXT_DEVICES; i++) {
        CudaModule *module = atomic_load(&code->modules[i]);
        if (module)
            module_free(module);
    }
    pthread_mutex_destroy(&code->mutex);
    if (code->owned)
        free((void *)(uintptr_t)code->image);
    free(code);
}

/* "sm_90a" runs on 9.0 alone, "sm_90" on 9.x from 9.0; PTX for "sm_90" on anything from 9.0 on. */
static bool arch_fits(const CudaCode *code, const Device *d)
{
    char *end;
    long number = strncmp(code->arch, "sm_", 3) == 0 ? strtol(code->arch + 3, &end, 10) : 0;
    if (number < 10)
        return true; /* says nothing: the driver will */
    int major = (int)(number / 10), minor = (int)(number % 10);
    if (code->is_text)
        return d->major > major || (d->major == major && d->minor >= minor);
    return d->major == major && (*end == 'a' ? d->minor == minor : d->minor >= minor);
}

static AttuneStatus load_phase(const AttuneKernel *kernel, CudaModule *m, int p, AttuneError **error)
{
    const CudaApi *cuda = m->device->cuda;
    const Shape *shape = &kernel->description->shape;
    const char *entry = shape->phases[p].entry;
    int threads = shape->phases[p].threads, shared = shape->phases[p].shared_bytes, blocks = 0;
    if (shared > m->device->most_shared)
        return error_set(error, ATTUNE_ERROR_TARGET, "%s needs %d bytes of shared memory a block, but device %d (%s) has %d",
                         entry, shared, m->device->index, m->device->name, m->device->most_shared);
    int code = cuda->ModuleGetFunction(&m->phases[p].function, m->module, entry);
    if (code == CUDA_DONE)
        code = cuda->FuncSetAttribute(m->phases[p].function, CUDA_FUNCTION_DYNAMIC_SHARED, shared);
    if (code == CUDA_DONE)
        code = cuda->OccupancyMaxActiveBlocksPerMultiprocessor(&blocks, m->phases[p].function, threads, (size_t)shared);
    char what[160];
    snprintf(what, sizeof what, "preparing %s", entry);
    if (code == CUDA_DONE && blocks < 1)
        return error_set(error, ATTUNE_ERROR_INTERNAL, "%s with %d threads and %d bytes of shared memory does not fit on "
                         "device %d (%s)", entry, threads, shared, m->device->index, m->device->name);
    m->phases[p].blocks = blocks * m->device->sm_count;
    return device_check(m->device, code, what, error);
}

/* Inside the device. */
static AttuneStatus load_module(const AttuneKernel *kernel, const CudaCode *code, CudaModule *m, AttuneError **error)
{
    const Device *d = m->device;
    if (!arch_fits(code, d))
        return error_set(error, ATTUNE_ERROR_TARGET, "the kernel was compiled for %s, but device %d (%s) is sm_%d%d: the target "
                         "'ptx' is for any from sm_80 on", code->arch, d->index, d->name, d->major, d->minor);
    AttuneStatus status = device_check(d, d->cuda->ModuleLoadData(&m->module, code->image), "loading the kernel", error);
    for (int p = 0; p < kernel->description->shape.phase_count && status == ATTUNE_OK; p++)
        status = load_phase(kernel, m, p, error);
    return status;
}

/* The kernel on `device`, loaded on first use. Inside the device. */
static AttuneStatus module_get(const AttuneKernel *kernel, Device *device, CudaModule **module, AttuneError **error)
{
    CudaCode *code = kernel->code;
    AttuneStatus status = ATTUNE_OK;
    *module = atomic_load_explicit(&code->modules[device->index], memory_order_acquire);
    if (*module)
        return status;
    pthread_mutex_lock(&code->mutex);
    CudaModule *m = atomic_load(&code->modules[device->index]);
    if (!m) {
        m = calloc(1, sizeof *m);
        if (m) {
            m->device = device;
            status = load_module(kernel, code, m, error);
        } else {
            status = error_memory(error);
        }
        if (status == ATTUNE_OK) {
            atomic_store_explicit(&code->modules[device->index], m, memory_order_release);
        } else if (m) {
            module_free(m);
            m = NULL;
        }
    }
    *module = m;
    pthread_mutex_unlock(&code->mutex);
    return status;
}

/* Arguments ----------------------------------------------------------------------------------------------------- */

static const char *role_name(TensorRole role)
{
    static const char *const names[] = {[ROLE_Q] = "q", [ROLE_K] = "k", [ROLE_V] = "v", [ROLE_O] = "o",
                                        [ROLE_RETURN] = "a returned tensor", [ROLE_INPUT] = "an input",
                                        [ROLE_WORKSPACE] = "a workspace", [ROLE_STATE] = "a state"};
    return names[role];
}

static AttuneStatus encode_map(const AttuneKernel *kernel, const Device *device, const Ready *r, const KernelMap *map,
                               CudaTensorMap *encoded, AttuneError **error)
{
    const Shape *shape = &kernel->description->shape;
    const int64_t *slot = &r->slots[slot_of_tensor(map->tensor)];
    TensorRole role = shape->tensors[map->tensor].role;
    bool packed = r->slots[SLOT_CU_Q] != 0 && role != ROLE_WORKSPACE; /* rows of all sequences in one batch entry */
    TensorMapSource source = {
        .name = role_name(role), .dtype = shape->tensors[map->tensor].dtype, .stride = slot + 1,
        .batches = packed ? 1 : r->slots[slot_of_size(VAR_SIZE_B)],
        .heads = r->slots[slot_of_size(map->queries ? VAR_SIZE_H : VAR_SIZE_G)],
    };
    for (int a = 0; a < map->rank; a++)
        source.axes[a] = r->slots[slot_of_size((VarId)((map->queries ? VAR_SIZE_M0 : VAR_SIZE_N0) + a))];
    if (packed)
        source.axes[0] = map->queries ? r->total_q : r->total_k;
    TensorMapArguments a;
    char why[512];
    if (!tensor_map_arguments(map, &source, &a, why, sizeof why))
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s", why);
    CudaAddress address = a.empty ? device_zeros(device) : (CudaAddress)slot[0];
    if (address % 16 != 0)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s.data is 0x%llx, which is not a multiple of 16, as this kernel's copies "
                         "need: align the buffer", source.name, (unsigned long long)address);
    static const uint32_t ones[TENSOR_MAP_RANK] = {1, 1, 1, 1, 1};
    int code = device->cuda->TensorMapEncodeTiled(encoded, a.type, TENSOR_MAP_RANK, (void *)(uintptr_t)address, a.dims,
                                                  a.strides, a.box, ones, CUDA_INTERLEAVE_NONE, CUDA_SWIZZLE_128, CUDA_L2_256,
                                                  CUDA_FILL_ZERO);
    if (code == CUDA_DONE)
        return ATTUNE_OK;
    snprintf(why, sizeof why, "describing %s to TMA (dims %llu %llu %llu %llu %llu, strides %llu %llu %llu %llu, box %u %u %u %u %u)",
             source.name, (unsigned long long)a.dims[0], (unsigned long long)a.dims[1], (unsigned long long)a.dims[2],
             (unsigned long long)a.dims[3], (unsigned long long)a.dims[4], (unsigned long long)a.strides[0],
             (unsigned long long)a.strides[1], (unsigned long long)a.strides[2], (unsigned long long)a.strides[3], a.box[0],
             a.box[1], a.box[2], a.box[3], a.box[4]);
    return device_check(device, code, why, error);
}

/* The maps of all phases, from `kept` where it has them for the same address. */
static AttuneStatus take_maps(const AttuneKernel *kernel, const Device *device, const Ready *r, KeptMaps *kept,
                              CudaTensorMap *maps, AttuneError **error)
{
    const Shape *shape = &kernel->description->shape;
    AttuneStatus status = ATTUNE_OK;
    if (kept)
        pthread_mutex_lock(&kept->mutex);
    for (int p = 0, at = 0; p < shape->phase_count && status == ATTUNE_OK; p++)
        for (int m = 0; m < shape->phases[p].map_count && status == ATTUNE_OK; m++, at++) {
            const KernelMap *map = &shape->phases[p].maps[m];
            int64_t address = r->slots[slot_of_tensor(map->tensor)];
            if (kept && kept->address[at] == address && address != 0) {
                maps[at] = kept->map[at];
                continue;
            }
            status = encode_map(kernel, device, r, map, &maps[at], error);
            if (kept && status == ATTUNE_OK) {
                kept->address[at] = address;
                kept->map[at] = maps[at];
            }
        }
    if (kept)
        pthread_mutex_unlock(&kept->mutex);
    return status;
}

/* Launching ------------------------------------------------------------------------------------------------------- */

typedef struct CudaLaunch {
    AttuneKernel *kernel;
    Ready *r;
    CudaPlan *plan; /* or NULL */
    Device *device;
    CudaModule *module;
    CudaHandle stream;
} CudaLaunch;

/* Kernels compute positions in 32 bits. */
static AttuneStatus check_sizes(const Ready *r, AttuneError **error)
{
    for (VarId size = VAR_SIZE_B; size <= VAR_OFFSET; size++) {
        int64_t value = r->slots[slot_of_size(size)];
        if (value > CUDA_SIZE_MAX || value < -CUDA_SIZE_MAX)
            return error_set(error, ATTUNE_ERROR_ARGUMENT, "a size or the offset of the launch is %lld: on CUDA they are at most 2^29",
                             (long long)value);
    }
    return ATTUNE_OK;
}

static AttuneStatus start_phases(const CudaLaunch *l, const CudaTensorMap *maps, AttuneError **error)
{
    const Shape *shape = &l->kernel->description->shape;
    size_t slot_bytes = (size_t)slot_of_tensor(shape->tensor_count) * sizeof l->r->slots[0];
    AttuneStatus status = ATTUNE_OK;
    for (int p = 0; p < shape->phase_count && status == ATTUNE_OK; p++) {
        size_t map_bytes = (size_t)shape->phases[p].map_count * sizeof maps[0];
        int64_t blocks = l->r->items[p];
        if (shape->phases[p].persistent && blocks > l->module->phases[p].blocks)
            blocks = l->module->phases[p].blocks;
        if (blocks > MOST_BLOCKS)
            return error_set(error, ATTUNE_ERROR_ARGUMENT, "the launch has %lld work items, more than a device can start (%d): "
                             "split it along B or H", (long long)blocks, MOST_BLOCKS);
        PhaseArgument argument;
        memcpy(argument.bytes, maps, map_bytes);
        memcpy(argument.bytes + map_bytes, l->r->slots, slot_bytes);
        memset(argument.bytes + map_bytes + slot_bytes, 0, 64); /* the struct's own padding */
        maps += shape->phases[p].map_count;
        if (blocks == 0)
            continue;
        void *arguments[] = {argument.bytes};
        int code = l->device->cuda->LaunchKernel(l->module->phases[p].function, (unsigned)blocks, 1, 1,
                                                 (unsigned)shape->phases[p].threads, 1, 1, (unsigned)shape->phases[p].shared_bytes,
                                                 l->stream, arguments, NULL);
        if (code != CUDA_DONE) {
            char what[160];
            snprintf(what, sizeof what, "starting %s", shape->phases[p].entry);
            status = device_check(l->device, code, what, error);
        }
    }
    return status;
}

/* Host lengths, q's then k's, as one array. */
static int32_t *packed_lengths(const Ready *r, size_t *bytes)
{
    size_t count = (size_t)r->slots[slot_of_size(VAR_SIZE_B)] + 1;
    int32_t *packed = malloc(2 * count * sizeof packed[0]);
    *bytes = 2 * count * sizeof packed[0];
    if (packed) {
        memcpy(packed, (const void *)(intptr_t)r->slots[SLOT_CU_Q], *bytes / 2);
        memcpy(packed + count, (const void *)(intptr_t)r->slots[SLOT_CU_K], *bytes / 2);
    }
    return packed;
}

static void set_lengths(Ready *r, CudaAddress lengths)
{
    int64_t count = r->slots[slot_of_size(VAR_SIZE_B)] + 1;
    r->slots[SLOT_CU_Q] = (int64_t)lengths;
    r->slots[SLOT_CU_K] = (int64_t)lengths + count * (int64_t)sizeof(int32_t);
}

/* Copies the lengths of a launch without a plan. The driver has read them when this returns, unless the stream is
 * recorded into a graph, which would read them when it runs. */
static AttuneStatus upload_lengths(const CudaLaunch *l, CudaAddress to, bool capturing, AttuneError **error)
{
    size_t bytes;
    if (capturing)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "the stream is being captured and the launch has cu_seqlens: create a plan "
                         "before the capture, and launch that");
    int32_t *packed = packed_lengths(l->r, &bytes);
    if (!packed)
        return error_memory(error);
    int code = l->device->cuda->MemcpyHtoDAsync(to, packed, bytes, l->stream);
    free(packed);
    set_lengths(l->r, to);
    return device_check(l->device, code, "copying cu_seqlens", error);
}

static size_t align_up(size_t size)
{
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static bool wants_counters(const Shape *shape)
{
    for (int p = 0; p < shape->phase_count; p++)
        if (shape->phases[p].persistent)
            return true;
    return false;
}

/* Inside the device. */
static AttuneStatus launch(const CudaLaunch *l, AttuneError **error)
{
    const CudaApi *cuda = l->device->cuda;
    Ready *r = l->r;
    bool ragged = r->slots[SLOT_CU_Q] != 0, copy = ragged && !(l->plan && l->plan->lengths);
    int capture = 0;
    AttuneStatus status = check_sizes(r, error);
    if (status == ATTUNE_OK)
        status = device_check(l->device, cuda->StreamIsCapturing(l->stream, &capture), "looking at the stream", error);
    if (status != ATTUNE_OK)
        return status;
    bool counters = wants_counters(&l->kernel->description->shape);
    /* A captured launch may run again while the stream is at something else: it brings its own counters. */
    CudaAddress counter = counters && !capture ? device_counters(l->device, l->stream) : 0;
    bool own_counters = counters && !counter;
    size_t lengths_at = align_up(r->total);
    size_t counters_at = align_up(lengths_at + (copy ? (size_t)(r->slots[slot_of_size(VAR_SIZE_B)] + 1) * 8 : 0));
    size_t total = own_counters ? counters_at + DEVICE_COUNTER_BYTES : copy ? counters_at : r->total;
    CudaAddress block = 0;
    if (total > 0) {
        int code = cuda->MemAllocFromPoolAsync(&block, total, l->device->pool, l->stream);
        if (code != CUDA_DONE) {
            char what[64];
            snprintf(what, sizeof what, "allocating %zu bytes of workspace", total);
            return device_check(l->device, code, what, error);
        }
    }
    ready_place(l->kernel, r, (uintptr_t)block);
    r->slots[SLOT_COUNTER] = (int64_t)(own_counters ? block + counters_at : counter);
    if (own_counters)
        status = device_check(l->device, cuda->MemsetD32Async(block + counters_at, 0, DEVICE_COUNTERS, l->stream),
                              "clearing counters", error);
    if (status == ATTUNE_OK && copy)
        status = upload_lengths(l, block + lengths_at, capture != 0, error);
    else if (ragged && !copy)
        set_lengths(r, l->plan->lengths);
    CudaTensorMap maps[MAP_SLOTS];
    if (status == ATTUNE_OK)
        status = take_maps(l->kernel, l->device, r, l->plan ? &l->plan->maps : NULL, maps, error);
    if (status == ATTUNE_OK)
        status = start_phases(l, maps, error);
    if (block) {
        int code = cuda->MemFreeAsync(block, l->stream);
        if (status == ATTUNE_OK)
            status = device_check(l->device, code, "giving the workspace back", error);
    }
    return status;
}

static AttuneStatus cuda_run(AttuneKernel *kernel, Ready *ready, void *plan, void *stream, AttuneError **error)
{
    CudaLaunch l = {.kernel = kernel, .r = ready, .plan = plan, .stream = stream};
    DeviceEntry entry;
    AttuneStatus status = ATTUNE_OK;
    if (l.plan)
        l.device = l.plan->device;
    else
        status = device_get(kernel->context, ready->device, &l.device, error);
    if (status == ATTUNE_OK)
        status = device_enter(l.device, &entry, error);
    if (status != ATTUNE_OK)
        return status;
    status = module_get(kernel, l.device, &l.module, error);
    if (status == ATTUNE_OK)
        status = launch(&l, error);
    device_leave(&entry);
    return status;
}

/* Plans ------------------------------------------------------------------------------------------------------- */

static AttuneStatus keep_lengths(CudaPlan *plan, const Ready *r, AttuneError **error)
{
    const CudaApi *cuda = plan->device->cuda;
    size_t bytes;
    int32_t *packed = packed_lengths(r, &bytes);
    if (!packed)
        return error_memory(error);
    int code = cuda->MemAlloc(&plan->lengths, bytes);
    if (code == CUDA_DONE)
        code = cuda->MemcpyHtoDAsync(plan->lengths, packed, bytes, plan->device->stream);
    if (code == CUDA_DONE)
        code = cuda->StreamSynchronize(plan->device->stream);
    free(packed);
    return device_check(plan->device, code, "copying cu_seqlens", error);
}

static void plan_close(void *object)
{
    CudaPlan *plan = object;
    DeviceEntry entry;
    if (!plan)
        return;
    if (plan->lengths && device_enter(plan->device, &entry, NULL) == ATTUNE_OK) {
        plan->device->cuda->MemFree(plan->lengths);
        device_leave(&entry);
    }
    pthread_mutex_destroy(&plan->maps.mutex);
    free(plan);
}

static AttuneStatus plan_open(AttuneKernel *kernel, const Ready *ready, void **shared, AttuneError **error)
{
    Device *device;
    CudaModule *module;
    DeviceEntry entry;
    AttuneStatus status = device_get(kernel->context, ready->device, &device, error);
    if (status != ATTUNE_OK)
        return status;
    CudaPlan *plan = aligned_alloc(_Alignof(CudaPlan), sizeof *plan);
    if (!plan)
        return error_memory(error);
    memset(plan, 0, sizeof *plan);
    pthread_mutex_init(&plan->maps.mutex, NULL);
    plan->device = device;
    status = device_enter(device, &entry, error);
    if (status == ATTUNE_OK) {
        status = module_get(kernel, device, &module, error);
        if (status == ATTUNE_OK && ready->slots[SLOT_CU_Q])
            status = keep_lengths(plan, ready, error);
        device_leave(&entry);
    }
    if (status != ATTUNE_OK) {
        plan_close(plan);
        return status;
    }
    *shared = plan;
    return ATTUNE_OK;
}

static const Backend cuda_backend = {.device = ATTUNE_DEVICE_CUDA, .run = cuda_run, .plan_open = plan_open,
                                     .plan_close = plan_close};

AttuneStatus cuda_kernel_load(AttuneKernel *kernel, const void *image, size_t size, bool owned, AttuneError **error)
{
    CudaCode *code = calloc(1, sizeof *code);
    if (!code) {
        if (owned)
            free((void *)(uintptr_t)image);
        return error_memory(error);
    }
    const char *target = kernel->description->shape.target, *colon = strchr(target, ':');
    code->is_text = strncmp(target, "ptx", 3) == 0;
    snprintf(code->arch, sizeof code->arch, "%.31s", colon ? colon + 1 : code->is_text ? "sm_80" : target);
    code->image = image;
    code->owned = owned;
    pthread_mutex_init(&code->mutex, NULL);
    kernel->backend = &cuda_backend;
    kernel->code = code;
    kernel->code_destroy = code_destroy;
    kernel->code_bytes = size;
    return ATTUNE_OK;
}
