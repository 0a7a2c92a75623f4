/* GPUs: opening, entering, counters, memory. */
#include "runtime/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"

enum { ZEROS_AT = DEVICE_STREAMS * DEVICE_COUNTER_BYTES, COUNTER_BLOCK = ZEROS_AT + DEVICE_COUNTER_BYTES };

AttuneStatus device_check(const Device *device, int code, const char *what, AttuneError **error)
{
    if (code == CUDA_DONE)
        return ATTUNE_OK;
    char text[256];
    cuda_explain(device->cuda, code, text, sizeof text);
    AttuneStatus status = code == CUDA_OUT_OF_MEMORY ? ATTUNE_ERROR_MEMORY : ATTUNE_ERROR_INTERNAL;
    return error_set(error, status, "%s failed on device %d: %s", what, device->index, text);
}

AttuneStatus device_enter(const Device *device, DeviceEntry *entry, AttuneError **error)
{
    CudaHandle current = NULL;
    *entry = (DeviceEntry){.device = device};
    int code = device->cuda->CtxGetCurrent(&current);
    if (code == CUDA_DONE && current != device->context) {
        code = device->cuda->CtxPushCurrent(device->context);
        entry->pushed = code == CUDA_DONE;
    }
    return device_check(device, code, "entering the CUDA context", error);
}

void device_leave(const DeviceEntry *entry)
{
    CudaHandle popped;
    if (entry->pushed)
        entry->device->cuda->CtxPopCurrent(&popped);
}

/* Opening ------------------------------------------------------------------------------------------------------- */

static void device_close(Device *d)
{
    DeviceEntry entry;
    if (d->context && device_enter(d, &entry, NULL) == ATTUNE_OK) {
        /* Errors mean that the driver is gone already, at the process's end. */
        if (d->counters)
            d->cuda->MemFree(d->counters);
        if (d->pool)
            d->cuda->MemPoolDestroy(d->pool);
        if (d->stream)
            d->cuda->StreamDestroy(d->stream);
        device_leave(&entry);
    }
    if (d->context)
        d->cuda->DevicePrimaryCtxRelease(d->handle);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

void device_close_all(AttuneContext *context)
{
    for (int i = 0; i < CONTEXT_DEVICES; i++)
        if (context->devices[i])
            device_close(context->devices[i]);
}

static int make_pool(Device *d)
{
    CudaPoolProperties properties = {.type = CUDA_ALLOCATION_PINNED, .location_type = CUDA_LOCATION_DEVICE,
                                     .location = d->handle};
    int code = d->cuda->MemPoolCreate(&d->pool, &properties);
    uint64_t keep = UINT64_MAX; /* giving memory back at every wait would make every launch after it slow */
    return code == CUDA_DONE ? d->cuda->MemPoolSetAttribute(d->pool, CUDA_POOL_KEEP, &keep) : code;
}

static AttuneStatus read_facts(Device *d, AttuneError **error)
{
    int pools = 0;
    const struct {
        int attribute, *to;
    } rows[] = {{CUDA_ATTRIBUTE_SM_COUNT, &d->sm_count}, {CUDA_ATTRIBUTE_MAJOR, &d->major},
                {CUDA_ATTRIBUTE_MINOR, &d->minor}, {CUDA_ATTRIBUTE_MOST_SHARED, &d->most_shared},
                {CUDA_ATTRIBUTE_POOLS, &pools}};
    int code = d->cuda->DeviceGetName(d->name, sizeof d->name, d->handle);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && code == CUDA_DONE; i++)
        code = d->cuda->DeviceGetAttribute(rows[i].to, rows[i].attribute, d->handle);
    if (code == CUDA_DONE && !pools)
        return error_set(error, ATTUNE_ERROR_TARGET, "device %d (%s) has no memory pools", d->index, d->name);
    return device_check(d, code, "asking for its properties", error);
}

/* Inside the device. */
static AttuneStatus make_parts(Device *d, AttuneError **error)
{
    int code = make_pool(d);
    if (code == CUDA_DONE)
        code = d->cuda->StreamCreate(&d->stream, CUDA_STREAM_NON_BLOCKING);
    if (code == CUDA_DONE)
        code = d->cuda->MemAlloc(&d->counters, COUNTER_BLOCK);
    if (code == CUDA_DONE)
        code = d->cuda->MemsetD32Async(d->counters, 0, COUNTER_BLOCK / 4, d->stream);
    if (code == CUDA_DONE)
        code = d->cuda->StreamSynchronize(d->stream);
    return device_check(d, code, "preparing the device", error);
}

static AttuneStatus device_open(Device *d, AttuneError **error)
{
    int count = 0;
    AttuneStatus status = device_check(d, d->cuda->DeviceGetCount(&count), "counting the devices", error);
    if (status == ATTUNE_OK && d->index >= count)
        return error_set(error, ATTUNE_ERROR_TARGET, "device.index is %d, but there %s %d CUDA device%s: they count from 0",
                         d->index, count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    if (status == ATTUNE_OK)
        status = device_check(d, d->cuda->DeviceGet(&d->handle, d->index), "finding it", error);
    if (status == ATTUNE_OK)
        status = read_facts(d, error);
    if (status == ATTUNE_OK)
        status = device_check(d, d->cuda->DevicePrimaryCtxRetain(&d->context, d->handle), "making its context", error);
    DeviceEntry entry;
    if (status == ATTUNE_OK)
        status = device_enter(d, &entry, error);
    if (status == ATTUNE_OK) {
        status = make_parts(d, error);
        device_leave(&entry);
    }
    return status;
}

static AttuneStatus device_make(AttuneContext *context, int index, AttuneError **error)
{
    const char *why;
    const CudaApi *cuda = cuda_api(&why);
    if (!cuda)
        return error_set(error, ATTUNE_ERROR_TARGET, "kernels for CUDA cannot run here: %s", why);
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return error_memory(error);
    pthread_mutex_init(&d->mutex, NULL);
    d->cuda = cuda;
    d->index = index;
    AttuneStatus status = device_open(d, error);
    if (status == ATTUNE_OK)
        context->devices[index] = d;
    else
        device_close(d);
    return status;
}

AttuneStatus device_get(AttuneContext *context, int index, Device **device, AttuneError **error)
{
    *device = NULL;
    if (index < 0 || index >= CONTEXT_DEVICES)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "device.index is %d; 0 to %d are possible", index, CONTEXT_DEVICES - 1);
    pthread_mutex_lock(&context->device_mutex);
    AttuneStatus status = context->devices[index] ? ATTUNE_OK : device_make(context, index, error);
    *device = context->devices[index];
    pthread_mutex_unlock(&context->device_mutex);
    return status;
}

/* Counters ------------------------------------------------------------------------------------------------------ */

CudaAddress device_counters(Device *d, CudaHandle stream)
{
    uint64_t id;
    /* By id, not by handle: handles of destroyed streams come back while their work may still be running. */
    if (!d->cuda->StreamGetId || d->cuda->StreamGetId(stream, &id) != CUDA_DONE)
        return 0;
    pthread_mutex_lock(&d->mutex);
    int k = 0;
    while (k < d->stream_count && d->streams[k] != id)
        k++;
    if (k == d->stream_count && k < DEVICE_STREAMS)
        d->streams[d->stream_count++] = id;
    pthread_mutex_unlock(&d->mutex);
    return k < DEVICE_STREAMS ? d->counters + (CudaAddress)k * DEVICE_COUNTER_BYTES : 0;
}

CudaAddress device_zeros(const Device *d)
{
    return d->counters + ZEROS_AT;
}

/* Memory for tools ------------------------------------------------------------------------------------------------ */

AttuneStatus device_alloc(const Device *d, size_t size, void **address, AttuneError **error)
{
    DeviceEntry entry;
    CudaAddress made = 0;
    AttuneStatus status = device_enter(d, &entry, error);
    if (status != ATTUNE_OK)
        return status;
    char what[64];
    snprintf(what, sizeof what, "allocating %zu bytes", size);
    status = device_check(d, d->cuda->MemAlloc(&made, size ? size : 1), what, error);
    device_leave(&entry);
    *address = (void *)(uintptr_t)made;
    return status;
}

void device_free(const Device *d, void *address)
{
    DeviceEntry entry;
    if (!address || device_enter(d, &entry, NULL) != ATTUNE_OK)
        return;
    d->cuda->MemFree((CudaAddress)(uintptr_t)address);
    device_leave(&entry);
}

AttuneStatus device_upload(const Device *d, void *to, const void *from, size_t size, AttuneError **error)
{
    DeviceEntry entry;
    AttuneStatus status = size ? device_enter(d, &entry, error) : ATTUNE_OK;
    if (status != ATTUNE_OK || !size)
        return status;
    status = device_check(d, d->cuda->MemcpyHtoD((CudaAddress)(uintptr_t)to, from, size), "copying to it", error);
    device_leave(&entry);
    return status;
}

AttuneStatus device_download(const Device *d, void *to, const void *from, size_t size, AttuneError **error)
{
    DeviceEntry entry;
    AttuneStatus status = size ? device_enter(d, &entry, error) : ATTUNE_OK;
    if (status != ATTUNE_OK || !size)
        return status;
    status = device_check(d, d->cuda->MemcpyDtoH(to, (CudaAddress)(uintptr_t)from, size), "copying from it", error);
    device_leave(&entry);
    return status;
}
