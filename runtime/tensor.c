/* Element types and DLPack.
 *
 * The structs below declare the DLPack 1.x binary interface (DLTensor is the same since 0.2), so that no
 * header of it is needed to build or use Attune. */
#include "runtime/attune.h"
#include "runtime/error.h"

#include <string.h>
#include <strings.h>

static const struct DtypeRow {
    const char *names[5];
    int size;
    uint8_t dl_code, dl_bits;
} dtypes[ATTUNE_DTYPE_COUNT] = {
    [ATTUNE_DTYPE_NONE] = {{"none"}, 0, 0, 0},
    [ATTUNE_F32] = {{"f32", "fp32", "float32", "float"}, 4, 2, 32},
    [ATTUNE_BF16] = {{"bf16", "bfloat16"}, 2, 4, 16},
    [ATTUNE_F16] = {{"f16", "fp16", "float16", "half"}, 2, 2, 16},
    [ATTUNE_I32] = {{"i32", "int32", "int"}, 4, 0, 32},
    [ATTUNE_I64] = {{"i64", "int64", "long"}, 8, 0, 64},
    [ATTUNE_BOOL] = {{"bool"}, 1, 6, 8},
};

const char *attune_dtype_name(AttuneDtype dtype)
{
    return dtypes[(unsigned)dtype < ATTUNE_DTYPE_COUNT ? dtype : ATTUNE_DTYPE_NONE].names[0];
}

int64_t attune_dtype_size(AttuneDtype dtype)
{
    return (unsigned)dtype < ATTUNE_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

AttuneDtype attune_dtype_parse(const char *name)
{
    for (int d = ATTUNE_F32; name && d < ATTUNE_DTYPE_COUNT; d++)
        for (int n = 0; n < 5 && dtypes[d].names[n]; n++)
            if (strcasecmp(name, dtypes[d].names[n]) == 0)
                return (AttuneDtype)d;
    return ATTUNE_DTYPE_NONE;
}

typedef struct DlTensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DlTensor;

typedef struct DlManagedVersioned {
    struct {
        uint32_t major, minor;
    } version;
    void *manager_ctx;
    void (*deleter)(struct DlManagedVersioned *self);
    uint64_t flags;
    DlTensor tensor;
} DlManagedVersioned;

enum { DL_CPU = 1, DL_CUDA = 2, DL_CUDA_HOST = 3, DL_CUDA_MANAGED = 13, DL_MAJOR = 1 };

AttuneStatus attune_tensor_from_dlpack(const void *dl_tensor, AttuneTensor *tensor, AttuneError **error)
{
    const DlTensor *dl = dl_tensor;
    if (!dl || !tensor)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is NULL", dl ? "tensor" : "dl_tensor");
    AttuneDevice device = {ATTUNE_DEVICE_HOST, 0};
    if (dl->device.type == DL_CUDA || dl->device.type == DL_CUDA_MANAGED)
        device = (AttuneDevice){ATTUNE_DEVICE_CUDA, dl->device.id};
    else if (dl->device.type != DL_CPU && dl->device.type != DL_CUDA_HOST)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "the DLPack tensor is on device type %d; known are 1 (host), "
                         "3 (pinned host), 2 and 13 (CUDA): copy it to one of these",
                         (int)dl->device.type);
    if (dl->ndim < 0 || dl->ndim > ATTUNE_MAX_DIMS)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "the DLPack tensor has %d dimensions; the limit is %d",
                         (int)dl->ndim, ATTUNE_MAX_DIMS);
    if (dl->dtype.lanes != 1)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "the DLPack tensor has %d lanes an element; only 1 is known", (int)dl->dtype.lanes);
    AttuneDtype dtype = ATTUNE_DTYPE_NONE;
    for (int d = ATTUNE_F32; d < ATTUNE_DTYPE_COUNT; d++)
        if (dtypes[d].dl_code == dl->dtype.code && dtypes[d].dl_bits == dl->dtype.bits)
            dtype = (AttuneDtype)d;
    if (dtype == ATTUNE_DTYPE_NONE)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "the DLPack tensor's type (code %d, %d bits) is none of f32, "
                         "bf16, f16, i32, i64, bool",
                         (int)dl->dtype.code, (int)dl->dtype.bits);
    *tensor = (AttuneTensor){
        .data = dl->data ? (char *)dl->data + dl->byte_offset : NULL,
        .dtype = dtype, .ndim = dl->ndim, .shape = dl->shape, .strides = dl->strides, .device = device,
    };
    return ATTUNE_OK;
}

AttuneStatus attune_tensor_from_dlpack_versioned(const void *managed, AttuneTensor *tensor,
                                                 AttuneError **error)
{
    const DlManagedVersioned *dl = managed;
    if (!dl)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "managed is NULL");
    if (dl->version.major != DL_MAJOR)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "the tensor speaks DLPack %u.%u; known is %d.x",
                         (unsigned)dl->version.major, (unsigned)dl->version.minor, DL_MAJOR);
    return attune_tensor_from_dlpack(&dl->tensor, tensor, error);
}
