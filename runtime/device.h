/* GPUs as a context holds them: found when first asked for, each with its primary context (the one that other
 * libraries use too), a memory pool for stream-ordered workspaces, and zeroed counters for persistent kernels. */
#ifndef ATTUNE_DEVICE_H
#define ATTUNE_DEVICE_H

#include <pthread.h>

#include "runtime/context.h"
#include "runtime/cuda.h"

enum {
    DEVICE_COUNTERS = 64,       /* 32-bit, a stream; see SLOT_COUNTER */
    DEVICE_COUNTER_BYTES = DEVICE_COUNTERS * 4,
    DEVICE_STREAMS = 64         /* that have counters of their own; launches in others clear some each time */
};

typedef struct Device {
    int index, handle;
    const CudaApi *cuda;
    CudaHandle context;         /* retained */
    CudaHandle pool;
    CudaHandle stream;          /* for uploads that belong to no launch */
    char name[96];
    int major, minor;           /* compute capability */
    int sm_count, most_shared;
    CudaAddress counters;       /* DEVICE_STREAMS times, then DEVICE_COUNTER_BYTES of zeros that nobody writes */
    pthread_mutex_t mutex;
    uint64_t streams[DEVICE_STREAMS]; /* ids, by counter */
    int stream_count;
} Device;

/* Device `index`, the same for every caller. */
AttuneStatus device_get(AttuneContext *context, int index, Device **device, AttuneError **error);
/* The devices of `context`, when it goes. */
void device_close_all(AttuneContext *context);

/* Makes the device's context the calling thread's; device_leave puts back what was there. */
typedef struct DeviceEntry {
    const Device *device;
    bool pushed;
} DeviceEntry;
AttuneStatus device_enter(const Device *device, DeviceEntry *entry, AttuneError **error);
void device_leave(const DeviceEntry *entry);

/* ATTUNE_OK, or an error that says what was tried and what the driver says. */
AttuneStatus device_check(const Device *device, int code, const char *what, AttuneError **error);

/* Counters for launches in `stream` that nothing else uses; 0: there are none left. Inside an entry. */
CudaAddress device_counters(Device *device, CudaHandle stream);
/* Zeros: DEVICE_COUNTER_BYTES, never written. */
CudaAddress device_zeros(const Device *device);

/* Memory and copies for tools; they wait for the default stream. They enter the device themselves. */
AttuneStatus device_alloc(const Device *device, size_t size, void **address, AttuneError **error);
void device_free(const Device *device, void *address);
AttuneStatus device_upload(const Device *device, void *to, const void *from, size_t size, AttuneError **error);
AttuneStatus device_download(const Device *device, void *to, const void *from, size_t size, AttuneError **error);

#endif
