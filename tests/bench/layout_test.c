/* Prints the layouts of attune.h's structs, as attune_ctypes.py prints its own: a test compares them. */
#include <stdio.h>

#include "runtime/attune.h"

#define BEGIN(type) printf(#type " %zu", sizeof(type))
#define FIELD(type, name) printf(" " #name ":%zu", offsetof(type, name))
#define END() putchar('\n')
#define ROW1(t, a) FIELD(t, a)
#define EACH2(t, a, b) FIELD(t, a), FIELD(t, b)
#define EACH4(t, a, b, c, d) EACH2(t, a, b), EACH2(t, c, d)

int main(void)
{
    BEGIN(AttuneDevice), EACH2(AttuneDevice, kind, index), END();
    BEGIN(AttuneTensor), EACH4(AttuneTensor, data, dtype, ndim, shape), EACH2(AttuneTensor, strides, device), END();
    BEGIN(AttuneContextOptions), EACH4(AttuneContextOptions, threads, cache_mode, cache_dir, cache_read_dirs);
    EACH4(AttuneContextOptions, cache_read_dir_count, cache_limit_bytes, no_jit, log), ROW1(AttuneContextOptions, log_user), END();
    BEGIN(AttuneSetting), EACH2(AttuneSetting, name, value), END();
    BEGIN(AttuneSpecOptions), EACH4(AttuneSpecOptions, name, settings, setting_count, import_dirs);
    EACH2(AttuneSpecOptions, import_dir_count, source_name), END();
    BEGIN(AttuneKernelOptions), EACH4(AttuneKernelOptions, target, dtype, d, e), EACH2(AttuneKernelOptions, settings, setting_count);
    ROW1(AttuneKernelOptions, dump), END();
    BEGIN(AttuneKernelInfo), EACH4(AttuneKernelInfo, name, target, device, dtype), EACH4(AttuneKernelInfo, d, e, phase_count, block_m);
    EACH4(AttuneKernelInfo, block_n, scratch_bytes, code_bytes, state_rows);
    EACH2(AttuneKernelInfo, state_columns, key), EACH2(AttuneKernelInfo, origin, create_ms), END();
    BEGIN(AttuneParam), EACH4(AttuneParam, name, type, i, f), END();
    BEGIN(AttuneNamedTensor), EACH2(AttuneNamedTensor, name, tensor), END();
    BEGIN(AttuneLaunch), EACH4(AttuneLaunch, layout, q, k, v), EACH4(AttuneLaunch, o, inputs, input_count, returns);
    EACH4(AttuneLaunch, return_count, params, param_count, cu_seqlens_q), EACH4(AttuneLaunch, cu_seqlens_k, sequences, align, offset);
    EACH4(AttuneLaunch, m_axis, n_axis, stream, state_in), ROW1(AttuneLaunch, state_out), END();
    BEGIN(AttunePlanData), EACH4(AttunePlanData, q, k, v, o), EACH4(AttunePlanData, inputs, returns, stream, state_in);
    ROW1(AttunePlanData, state_out), END();
    return 0;
}
