"""runtime/attune.h by ctypes, as far as the benchmarks need it. Run by itself it prints its layouts, which a test
compares with the compiler's (layout_test.c).

    api = Attune("libattune.so")
    kernel = api.kernel("kernels/softmax/causal.attn", target="cuda", dtype="bf16", d=128)
    plan = kernel.plan(q, k, v, o)          # anything with data_ptr(), shape and stride(), as tensors of PyTorch
    plan(stream)
"""
import ctypes as c
import sys

P = c.POINTER
DTYPES = {"f32": 1, "bf16": 2, "f16": 3, "i32": 4, "i64": 5, "bool": 6}


class AttuneDevice(c.Structure):
    _fields_ = [("kind", c.c_int), ("index", c.c_int32)]


class AttuneTensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("dtype", c.c_int), ("ndim", c.c_int32), ("shape", P(c.c_int64)), ("strides", P(c.c_int64)),
                ("device", AttuneDevice)]


class AttuneContextOptions(c.Structure):
    _fields_ = [("threads", c.c_int32), ("cache_mode", c.c_int), ("cache_dir", c.c_char_p), ("cache_read_dirs", P(c.c_char_p)),
                ("cache_read_dir_count", c.c_int32), ("cache_limit_bytes", c.c_int64), ("no_jit", c.c_bool), ("log", c.c_void_p),
                ("log_user", c.c_void_p)]


class AttuneSetting(c.Structure):
    _fields_ = [("name", c.c_char_p), ("value", c.c_char_p)]


class AttuneSpecOptions(c.Structure):
    _fields_ = [("name", c.c_char_p), ("settings", P(AttuneSetting)), ("setting_count", c.c_int32), ("import_dirs", P(c.c_char_p)),
                ("import_dir_count", c.c_int32), ("source_name", c.c_char_p)]


class AttuneKernelOptions(c.Structure):
    _fields_ = [("target", c.c_char_p), ("dtype", c.c_int), ("d", c.c_int64), ("e", c.c_int64), ("settings", P(AttuneSetting)),
                ("setting_count", c.c_int32), ("dump", c.c_char_p)]


class AttuneKernelInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("target", c.c_char_p), ("device", c.c_int), ("dtype", c.c_int), ("d", c.c_int64), ("e", c.c_int64),
                ("phase_count", c.c_int32), ("block_m", c.c_int64 * 3), ("block_n", c.c_int64 * 3), ("scratch_bytes", c.c_int64),
                ("code_bytes", c.c_size_t), ("state_rows", c.c_int64), ("state_columns", c.c_int64), ("key", c.c_char_p), ("origin", c.c_int), ("create_ms", c.c_double)]


class AttuneParam(c.Structure):
    _fields_ = [("name", c.c_char_p), ("type", c.c_int), ("i", c.c_int64), ("f", c.c_double)]


class AttuneNamedTensor(c.Structure):
    _fields_ = [("name", c.c_char_p), ("tensor", AttuneTensor)]


class AttuneLaunch(c.Structure):
    _fields_ = [("layout", c.c_int), ("q", AttuneTensor), ("k", AttuneTensor), ("v", AttuneTensor), ("o", AttuneTensor),
                ("inputs", P(AttuneNamedTensor)), ("input_count", c.c_int32), ("returns", P(AttuneNamedTensor)), ("return_count", c.c_int32),
                ("params", P(AttuneParam)), ("param_count", c.c_int32), ("cu_seqlens_q", P(c.c_int32)), ("cu_seqlens_k", P(c.c_int32)),
                ("sequences", c.c_int32), ("align", c.c_int), ("offset", c.c_int64), ("m_axis", c.c_int64 * 3), ("n_axis", c.c_int64 * 3),
                ("stream", c.c_void_p), ("state_in", AttuneTensor), ("state_out", AttuneTensor)]


class AttunePlanData(c.Structure):
    _fields_ = [("q", c.c_void_p), ("k", c.c_void_p), ("v", c.c_void_p), ("o", c.c_void_p), ("inputs", P(c.c_void_p)),
                ("returns", P(c.c_void_p)), ("stream", c.c_void_p), ("state_in", c.c_void_p), ("state_out", c.c_void_p)]


LAYOUTS = [AttuneDevice, AttuneTensor, AttuneContextOptions, AttuneSetting, AttuneSpecOptions, AttuneKernelOptions, AttuneKernelInfo, AttuneParam,
           AttuneNamedTensor, AttuneLaunch, AttunePlanData]


class AttuneFailure(Exception):
    pass


def _text(s):
    return str(s).encode()


def _settings(pairs):
    return (AttuneSetting * max(1, len(pairs)))(*[AttuneSetting(_text(n), _text(v)) for n, v in pairs.items()]), len(pairs)


class Plan:
    """Checked once; called with a stream it launches. Keeps its tensors alive."""

    def __init__(self, kernel, launch, keep):
        self.api, self.kernel, self.keep = kernel.api, kernel, keep
        error = c.c_void_p()
        self.handle = self.api.lib.attune_plan_create(kernel.handle, c.byref(launch), c.byref(error))
        if not self.handle:
            self.api.fail(error)
        self.inputs = (c.c_void_p * max(1, launch.input_count))(*[launch.inputs[i].tensor.data for i in range(launch.input_count)])
        self.returns = (c.c_void_p * max(1, launch.return_count))(*[launch.returns[i].tensor.data for i in range(launch.return_count)])
        self.data = AttunePlanData(launch.q.data, launch.k.data, launch.v.data, launch.o.data, self.inputs, self.returns)
        self.launch, self.where = self.api.lib.attune_plan_launch, c.byref(self.data)

    def __call__(self, stream=None):
        self.data.stream = stream
        error = c.c_void_p()
        if self.launch(self.handle, self.where, c.byref(error)):
            self.api.fail(error)

    def __del__(self):
        if getattr(self, "handle", None):
            self.api.lib.attune_plan_destroy(self.handle)


class Kernel:
    def __init__(self, api, handle):
        self.api, self.handle = api, handle
        info = AttuneKernelInfo()
        api.lib.attune_kernel_info(handle, c.byref(info))
        self.name, self.create_ms, self.origin = info.name.decode(), info.create_ms, ("memory", "disk", "compiler", "build")[info.origin]
        self.blocks, self.code_bytes = (list(info.block_m), list(info.block_n)), info.code_bytes

    def plan(self, q, k, v, o, inputs=(), returns=(), params=(), m_axis=(), n_axis=(), offset=0, bmhd=False):
        """inputs, returns: {name: tensor}; params: {name: int, float or bool}."""
        keep = [q, k, v, o, inputs, returns]
        launch = AttuneLaunch(layout=int(bmhd), offset=offset)
        for name, t in (("q", q), ("k", k), ("v", v), ("o", o)):
            setattr(launch, name, self.api.tensor(t, keep))
        for field, given in (("input", dict(inputs)), ("return", dict(returns))):
            rows = (AttuneNamedTensor * max(1, len(given)))(*[AttuneNamedTensor(_text(n), self.api.tensor(t, keep)) for n, t in given.items()])
            keep.append(rows)
            setattr(launch, field + "s", rows)
            setattr(launch, field + "_count", len(given))
        params = dict(params)
        rows = (AttuneParam * max(1, len(params)))()
        for row, (name, value) in zip(rows, params.items()):
            row.name, row.type = _text(name), 3 if isinstance(value, bool) else 2 if isinstance(value, float) else 1
            row.i, row.f = (0, value) if isinstance(value, float) else (int(value), 0)
        launch.params, launch.param_count = rows, len(params)
        keep.append(rows)
        for a, n in enumerate(m_axis):
            launch.m_axis[a] = n
        for a, n in enumerate(n_axis or m_axis):
            launch.n_axis[a] = n
        return Plan(self, launch, keep)

    def __del__(self):
        if getattr(self, "handle", None):
            self.api.lib.attune_kernel_destroy(self.handle)


class Attune:
    def __init__(self, library, cache_off=False):
        self.lib = lib = c.CDLL(library)
        for name, result, arguments in (
                ("attune_context_create", c.c_void_p, [c.c_void_p, c.c_void_p]), ("attune_context_destroy", None, [c.c_void_p]),
                ("attune_spec_from_file", c.c_void_p, [c.c_char_p, c.c_void_p, c.c_void_p]), ("attune_spec_destroy", None, [c.c_void_p]),
                ("attune_kernel_create", c.c_void_p, [c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p]),
                ("attune_kernel_destroy", None, [c.c_void_p]), ("attune_kernel_info", None, [c.c_void_p, c.c_void_p]),
                ("attune_plan_create", c.c_void_p, [c.c_void_p, c.c_void_p, c.c_void_p]), ("attune_plan_destroy", None, [c.c_void_p]),
                ("attune_plan_launch", c.c_int, [c.c_void_p, c.c_void_p, c.c_void_p]), ("attune_build_info", c.c_char_p, []),
                ("attune_error_message", c.c_char_p, [c.c_void_p]), ("attune_error_free", None, [c.c_void_p])):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        error = c.c_void_p()
        options = AttuneContextOptions(cache_mode=3 if cache_off else 0)
        self.context = lib.attune_context_create(c.byref(options), c.byref(error))
        if not self.context:
            self.fail(error)

    def fail(self, error):
        message = self.lib.attune_error_message(error).decode(errors="replace")
        self.lib.attune_error_free(error)
        raise AttuneFailure(message)

    def kernel(self, path, target="cuda", dtype="bf16", d=64, e=0, settings=()):
        error = c.c_void_p()
        rows, count = _settings(dict(settings))
        options = AttuneSpecOptions(settings=rows, setting_count=count)
        spec = self.lib.attune_spec_from_file(_text(path), c.byref(options), c.byref(error))
        if not spec:
            self.fail(error)
        options = AttuneKernelOptions(target=_text(target), dtype=DTYPES[dtype], d=d, e=e)
        handle = self.lib.attune_kernel_create(self.context, spec, c.byref(options), c.byref(error))
        self.lib.attune_spec_destroy(spec)
        if not handle:
            self.fail(error)
        return Kernel(self, handle)

    @staticmethod
    def tensor(t, keep):
        dtype = str(t.dtype).split(".")[-1]
        dtype = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "int32": "i32", "int64": "i64", "bool": "bool"}[dtype]
        shape, strides = (c.c_int64 * len(t.shape))(*t.shape), (c.c_int64 * len(t.shape))(*t.stride())
        keep += [shape, strides]
        on_device = t.device.type == "cuda"
        return AttuneTensor(t.data_ptr(), DTYPES[dtype], len(t.shape), shape, strides, AttuneDevice(int(on_device), t.device.index or 0))


def print_layouts(out=sys.stdout):
    for layout in LAYOUTS:
        print(layout.__name__, c.sizeof(layout), *[f"{name}:{getattr(layout, name).offset}" for name, *_ in layout._fields_], file=out)


if __name__ == "__main__":
    print_layouts()
