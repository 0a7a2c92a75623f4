/* Tensors of a launch to a GPU and back. */
#include "runtime/cli/device_data.h"

#include <string.h>

static size_t bytes_of(const AttuneTensor *tensor)
{
    int64_t count = attune_dtype_size(tensor->dtype);
    for (int d = 0; d < tensor->ndim; d++)
        count *= tensor->shape[d];
    return (size_t)count;
}

/* Makes `tensor` a view of a copy on the device. */
static AttuneStatus copy_tensor(DeviceData *data, AttuneTensor *tensor, AttuneError **error)
{
    void *block, *from = tensor->data;
    if (!from)
        return ATTUNE_OK;
    AttuneStatus status = device_alloc(data->device, bytes_of(tensor), &block, error);
    if (status != ATTUNE_OK)
        return status;
    data->blocks[data->block_count++] = block;
    tensor->data = block;
    tensor->device = (AttuneDevice){ATTUNE_DEVICE_CUDA, data->device->index};
    return device_upload(data->device, block, from, bytes_of(tensor), error);
}

AttuneStatus device_data_make(AttuneContext *context, LaunchData *host, DeviceData *data, AttuneError **error)
{
    *data = (DeviceData){.host = host, .launch = host->launch};
    AttuneStatus status = device_get(context, 0, &data->device, error);
    AttuneTensor *operands[] = {&data->launch.q, &data->launch.k, &data->launch.v, &data->launch.o};
    for (int t = 0; t < 4 && status == ATTUNE_OK; t++)
        status = copy_tensor(data, operands[t], error);
    for (int i = 0; i < host->launch.input_count && status == ATTUNE_OK; i++) {
        data->inputs[i] = host->launch.inputs[i];
        status = copy_tensor(data, &data->inputs[i].tensor, error);
    }
    for (int k = 0; k < host->launch.return_count && status == ATTUNE_OK; k++) {
        data->returns[k] = host->launch.returns[k];
        status = copy_tensor(data, &data->returns[k].tensor, error);
    }
    data->launch.inputs = data->inputs;
    data->launch.returns = data->returns;
    return status;
}

AttuneStatus device_data_fetch(const DeviceData *data, AttuneError **error)
{
    const AttuneLaunch *host = &data->host->launch;
    AttuneStatus status = device_download(data->device, host->o.data, data->launch.o.data, bytes_of(&host->o), error);
    for (int k = 0; k < host->return_count && status == ATTUNE_OK; k++)
        status = device_download(data->device, host->returns[k].tensor.data, data->returns[k].tensor.data,
                                 bytes_of(&host->returns[k].tensor), error);
    return status;
}

void device_data_free(DeviceData *data)
{
    for (int b = 0; b < data->block_count; b++)
        device_free(data->device, data->blocks[b]);
    data->block_count = 0;
}
