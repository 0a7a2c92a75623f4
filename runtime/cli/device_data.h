/* The tensors of a launch on a GPU: a copy of each, and a launch of the copies. */
#ifndef ATTUNE_CLI_DEVICE_DATA_H
#define ATTUNE_CLI_DEVICE_DATA_H

#include "runtime/cli/launch_data.h"
#include "runtime/device.h"

typedef struct DeviceData {
    Device *device;
    LaunchData *host;
    AttuneLaunch launch;
    AttuneNamedTensor inputs[ATTUNE_MAX_INPUTS], returns[RETURN_KIND_COUNT];
    void *blocks[4 + ATTUNE_MAX_INPUTS + RETURN_KIND_COUNT];
    int block_count;
} DeviceData;

/* Copies everything to device 0. device_data_free in any case. */
AttuneStatus device_data_make(AttuneContext *context, LaunchData *host, DeviceData *data, AttuneError **error);
/* Waits for the launches so far, brings o and the returns back. */
AttuneStatus device_data_fetch(const DeviceData *data, AttuneError **error);
void device_data_free(DeviceData *data);

#endif
