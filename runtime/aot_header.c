/* The C header of a kernel that was built ahead of time: a description for attune_kernel_from_built, and a
 * typed entry for dense tensors. It is C11 and C++. One call of `line` here is one line there. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "runtime/aot.h"

/* Names of struct members. What a spec calls things may be a keyword here, or taken. */
typedef struct MemberNames {
    Text *out;
    const Aot *aot;
    const char *input[SPEC_MAX_INPUTS], *param[SPEC_MAX_PARAMS], *returned[RETURN_KIND_COUNT];
    const char *taken[SPEC_MAX_INPUTS + SPEC_MAX_PARAMS + RETURN_KIND_COUNT];
    int taken_count;
} MemberNames;

static bool is_taken(const MemberNames *names, const char *name)
{
    static const char *const reserved[] = {
        "B",
        "H",
        "G",
        "M",
        "N",
        "q",
        "k",
        "v",
        "o",
        "offset",
        "align",
        "m_axis",
        "n_axis",
        "device",
        "stream",
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "bool",
        "true",
        "false",
        "NULL",
        "alignas",
        "alignof",
        "and",
        "and_eq",
        "asm",
        "bitand",
        "bitor",
        "catch",
        "class",
        "compl",
        "concept",
        "consteval",
        "constexpr",
        "constinit",
        "const_cast",
        "co_await",
        "co_return",
        "co_yield",
        "decltype",
        "delete",
        "dynamic_cast",
        "explicit",
        "export",
        "friend",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "not_eq",
        "nullptr",
        "operator",
        "or",
        "or_eq",
        "private",
        "protected",
        "public",
        "reinterpret_cast",
        "requires",
        "static_assert",
        "static_cast",
        "template",
        "this",
        "thread_local",
        "throw",
        "try",
        "typeid",
        "typename",
        "using",
        "virtual",
        "wchar_t",
        "xor",
        "xor_eq",
        "linux",
        "unix",
    };
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(reserved[i], name) == 0)
            return true;
    for (int i = 0; i < names->taken_count; i++)
        if (strcmp(names->taken[i], name) == 0)
            return true;
    return false;
}

static const char *member(MemberNames *names, const char *name)
{
    Arena *arena = names->out->arena;
    char *made = arena_strdup(arena, name);
    for (char *p = made; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_')
            *p = '_'; /* "window.y" */
    while (is_taken(names, made))
        made = arena_printf(arena, "%s_", made);
    names->taken[names->taken_count++] = made;
    return made;
}

static const char *c_type(AttuneDtype dtype)
{
    switch (dtype) {
    case ATTUNE_F32: return "float";
    case ATTUNE_BF16: case ATTUNE_F16: return "uint16_t";
    case ATTUNE_I32: return "int32_t";
    case ATTUNE_I64: return "int64_t";
    default: return "bool";
    }
}

static const char *dtype_macro(AttuneDtype dtype)
{
    static const char *const names[] = {"ATTUNE_DTYPE_NONE", "ATTUNE_F32", "ATTUNE_BF16", "ATTUNE_F16",
                                        "ATTUNE_I32",        "ATTUNE_I64", "ATTUNE_BOOL"};
    return names[dtype];
}

static bool at_launch(const SignatureParam *param)
{
    return !param->constant && !param->hidden;
}

static bool on_device(const MemberNames *names)
{
    return kernel_is_image(names->aot->kernel);
}

static void line(MemberNames *names, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(MemberNames *names, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_add(names->out, "%s\n", arena_vprintf(names->out->arena, format, args));
    va_end(args);
}

static void add_bytes(MemberNames *names, const unsigned char *bytes, size_t size)
{
    enum { A_LINE = 24 };
    for (size_t at = 0; at < size; at += A_LINE) {
        text_add(names->out, "       ");
        for (size_t i = at; i < size && i < at + A_LINE; i++)
            text_add(names->out, " %u,", (unsigned)bytes[i]);
        text_add(names->out, "\n");
    }
}

static void add_kernel(MemberNames *names)
{
    const Aot *aot = names->aot;
    const Kernel *kernel = aot->kernel;
    const char *symbol = aot->symbol;
    if (on_device(names))
        line(names, "extern const unsigned char %s_image[];", symbol);
    for (int p = 0; p < kernel->phase_count && !on_device(names); p++)
        line(names, "void %s(const int64_t *slots, int64_t begin, int64_t end, void *scratch);",
             kernel->phases[p].entry);
    line(names, "%s", "");
    line(names, "/* The kernel, for %s_run or for attune_kernel_launch (strides, ragged batches, plans). */",
         symbol);
    line(names, "static inline AttuneKernel *%s_kernel(AttuneContext *context, AttuneError **error)", symbol);
    line(names, "{");
    line(names, "    static const unsigned char description[] = {");
    add_bytes(names, aot->description, aot->description_size);
    line(names, "    };");
    if (!on_device(names)) {
        line(names, "    static const AttunePhase phases[] = {");
        for (int p = 0; p < kernel->phase_count; p++)
            line(names, "        %s,", kernel->phases[p].entry);
        line(names, "    };");
    }
    line(names, "    AttuneBuilt built;");
    line(names, "    memset(&built, 0, sizeof built);");
    line(names, "    built.description = description;");
    line(names, "    built.description_size = sizeof description;");
    line(names, "    built.phase_count = %d;", kernel->phase_count);
    if (on_device(names)) {
        line(names, "    built.image = %s_image;", symbol);
        line(names, "    built.image_size = %zu;", kernel->code_size);
    } else {
        line(names, "    built.phases = phases;");
    }
    line(names, "    return attune_kernel_from_built(context, &built, error);");
    line(names, "}");
    line(names, "%s", "");
}

static const char *param_c_type(AttuneParamType type)
{
    return type == ATTUNE_PARAM_INT ? "int64_t" : type == ATTUNE_PARAM_FLOAT ? "double" : "bool";
}

static void add_arguments(MemberNames *names)
{
    const Aot *aot = names->aot;
    const Signature *s = aot->build->signature;
    const Kernel *kernel = aot->kernel;
    long long d = kernel->D, e = kernel->E;
    const char *type = c_type(spec_dtype(kernel->elem)), *note = "";
    if (kernel->elem != ELEM_TYPE_F32)
        note = kernel->elem == ELEM_TYPE_BF16 ? " bf16 bits" : " f16 bits";
    line(names, "/* Dense, row-major tensors%s. Start from %s_defaults(). */",
         on_device(names) ? " in the memory of `device`" : "", aot->symbol);
    line(names, "typedef struct %s_args {", aot->symbol);
    line(names,
         "    int64_t B, H, G, M, N; /* batch, query heads, key heads (G divides H), queries, keys */");
    line(names, "    const %s *q; /* [B, H, M, %lld]%s */", type, d, note);
    line(names, "    const %s *k; /* [B, G, N, %lld]%s */", type, d, note);
    if (s->reads_v)
        line(names, "    const %s *v; /* [B, G, N, %lld]%s */", type, e, note);
    line(names, "    %s *o; /* [B, H, M, %lld]%s, written */", type, e, note);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (s->returns[r][0]) {
            names->returned[r] = member(names, s->returns[r]);
            line(names, "    float *%s; /* [B, H, M], written; NULL: not wanted */", names->returned[r]);
        }
    for (int i = 0; i < s->input_count; i++) {
        Text dims = {.arena = names->out->arena};
        for (int k = 0; k < s->inputs[i].dim_count; k++)
            text_add(&dims, "%s%s", k ? ", " : "", s->inputs[i].dims[k].name);
        names->input[i] = member(names, s->inputs[i].name);
        line(names, "    const %s *%s; /* [%s] %s */", c_type(s->inputs[i].dtype), names->input[i],
             dims.data ? dims.data : "", attune_dtype_name(s->inputs[i].dtype));
    }
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        if (!at_launch(param))
            continue;
        names->param[i] = member(names, param->name);
        line(names, "    %s %s;%s", param_c_type(param->type), names->param[i],
             param->has_default ? "" : " /* no default */");
    }
    if (s->rank == 1) {
        line(names, "    int64_t offset; /* position of query row 0 */");
        line(names, "    AttuneAlign align; /* or bottom-right */");
    } else {
        line(names, "    int64_t m_axis[3]; /* extents of the query grid, product M */");
        line(names, "    int64_t n_axis[3]; /* of the key grid, product N; zeros: as m_axis */");
    }
    if (on_device(names)) {
        line(names, "    int32_t device; /* index */");
        line(names, "    void *stream; /* a CUstream; NULL: the default one */");
    }
    line(names, "} %s_args;", aot->symbol);
    line(names, "%s", "");
}

/* Exact, in C11 and C++. */
static const char *float_text(Arena *arena, double value)
{
    if (isnan(value))
        return "0.0 / 0.0";
    if (isinf(value))
        return value < 0 ? "-1e308 * 10" : "1e308 * 10";
    return arena_printf(arena, "%.17g", value);
}

static void add_defaults(MemberNames *names)
{
    const Signature *s = names->aot->build->signature;
    const char *symbol = names->aot->symbol;
    line(names, "static inline %s_args %s_defaults(void)", symbol, symbol);
    line(names, "{");
    line(names, "    %s_args args;", symbol);
    line(names, "    memset(&args, 0, sizeof args);");
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        if (!at_launch(param) || !param->has_default)
            continue;
        if (param->type == ATTUNE_PARAM_FLOAT)
            line(names, "    args.%s = %s;", names->param[i], float_text(names->out->arena, param->value.f));
        else
            line(names, "    args.%s = %lld;", names->param[i], (long long)param->value.i);
    }
    line(names, "    return args;");
    line(names, "}");
    line(names, "%s", "");
}

static void add_tensor(MemberNames *names, const char *indent, const char *tensor, const char *pointer,
                       AttuneDtype dtype, int ndim, const char *shape)
{
    line(names, "%s%s.data = (void *)%s;", indent, tensor, pointer);
    line(names, "%s%s.dtype = %s;", indent, tensor, dtype_macro(dtype));
    line(names, "%s%s.ndim = %d;", indent, tensor, ndim);
    line(names, "%s%s.shape = %s;", indent, tensor, shape);
    if (on_device(names)) {
        line(names, "%s%s.device.kind = ATTUNE_DEVICE_CUDA;", indent, tensor);
        line(names, "%s%s.device.index = args->device;", indent, tensor);
    }
}

/* Gives how many there are. */
static int add_params(MemberNames *names)
{
    static const char *const kinds[] = {
        [ATTUNE_PARAM_INT] = "int", [ATTUNE_PARAM_FLOAT] = "float", [ATTUNE_PARAM_BOOL] = "bool"};
    const Signature *s = names->aot->build->signature;
    int count = 0, at = 0;
    for (int i = 0; i < s->param_count; i++)
        count += at_launch(&s->params[i]);
    if (count == 0)
        return 0;
    line(names, "    AttuneParam params[%d];", count);
    for (int i = 0; i < s->param_count; i++)
        if (at_launch(&s->params[i]))
            line(names, "    params[%d] = attune_param_%s(\"%s\", args->%s);", at++, kinds[s->params[i].type],
                 s->params[i].name, names->param[i]);
    line(names, "    launch.params = params;");
    line(names, "    launch.param_count = %d;", count);
    return count;
}

static void add_inputs(MemberNames *names, int param_count)
{
    const Signature *s = names->aot->build->signature;
    if (s->input_count == 0)
        return;
    line(names, "    AttuneNamedTensor inputs[%d];", s->input_count);
    line(names, "    int64_t shapes[%d][ATTUNE_MAX_DIMS];", s->input_count);
    line(names, "    AttuneSizes sizes;");
    line(names, "    memset(inputs, 0, sizeof inputs);");
    line(names, "    memset(&sizes, 0, sizeof sizes);");
    for (const char *letter = "BHGMN"; *letter; letter++)
        line(names, "    sizes.%c = args->%c;", tolower((unsigned char)*letter), *letter);
    line(names, "    sizes.d = %lld;", (long long)names->aot->kernel->D);
    line(names, "    sizes.e = %lld;", (long long)names->aot->kernel->E);
    if (s->rank == 1) {
        line(names, "    sizes.offset = args->align == ATTUNE_ALIGN_BOTTOM_RIGHT ? args->N - args->M : "
                    "args->offset;");
    } else {
        line(names, "    memcpy(sizes.m_axis, args->m_axis, sizeof sizes.m_axis);");
        line(names, "    memcpy(sizes.n_axis, args->n_axis, sizeof sizes.n_axis);");
    }
    line(names, "    for (int32_t i = 0; i < %d; i++) {", s->input_count);
    line(names, "        AttuneStatus status =");
    line(names, "            attune_kernel_input_shape(kernel, i, &sizes, %s, %d, shapes[i], error);",
         param_count > 0 ? "params" : "NULL", param_count);
    line(names, "        if (status != ATTUNE_OK)");
    line(names, "            return status;");
    line(names, "    }");
    for (int i = 0; i < s->input_count; i++) {
        Arena *arena = names->out->arena;
        line(names, "    inputs[%d].name = \"%s\";", i, s->inputs[i].name);
        add_tensor(names, "    ", arena_printf(arena, "inputs[%d].tensor", i),
                   arena_printf(arena, "args->%s", names->input[i]), s->inputs[i].dtype,
                   s->inputs[i].dim_count, arena_printf(arena, "shapes[%d]", i));
    }
    line(names, "    launch.inputs = inputs;");
    line(names, "    launch.input_count = %d;", s->input_count);
}

static void add_returns(MemberNames *names)
{
    const Signature *s = names->aot->build->signature;
    int count = 0;
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        count += s->returns[r][0] != '\0';
    if (count == 0)
        return;
    line(names, "    AttuneNamedTensor returns[%d], *back = returns;", count);
    line(names, "    memset(returns, 0, sizeof returns);");
    for (int r = 0; r < RETURN_KIND_COUNT; r++) {
        if (!s->returns[r][0])
            continue;
        line(names, "    if (args->%s) {", names->returned[r]);
        line(names, "        back->name = \"%s\";", s->returns[r]);
        add_tensor(names, "        ", "back->tensor",
                   arena_printf(names->out->arena, "args->%s", names->returned[r]), ATTUNE_F32, 3, "q_shape");
        line(names, "        back++;");
        line(names, "    }");
    }
    line(names, "    launch.returns = returns;");
    line(names, "    launch.return_count = (int32_t)(back - returns);");
}

static void add_run(MemberNames *names)
{
    const Aot *aot = names->aot;
    const Signature *s = aot->build->signature;
    const char *symbol = aot->symbol;
    AttuneDtype dtype = spec_dtype(aot->kernel->elem);
    long long d = aot->kernel->D, e = aot->kernel->E;
    line(names, "/* Checks the arguments and %s. */",
         on_device(names) ? "launches in the stream, without waiting for the device"
                          : "runs on the context's threads; done when it returns");
    line(names,
         "static inline AttuneStatus %s_run(AttuneKernel *kernel, const %s_args *args, AttuneError **error)",
         symbol, symbol);
    line(names, "{");
    line(names, "    const int64_t q_shape[4] = {args->B, args->H, args->M, %lld};", d);
    line(names, "    const int64_t k_shape[4] = {args->B, args->G, args->N, %lld};", d);
    if (s->reads_v)
        line(names, "    const int64_t v_shape[4] = {args->B, args->G, args->N, %lld};", e);
    line(names, "    const int64_t o_shape[4] = {args->B, args->H, args->M, %lld};", e);
    line(names, "    AttuneLaunch launch;");
    line(names, "    memset(&launch, 0, sizeof launch);");
    add_tensor(names, "    ", "launch.q", "args->q", dtype, 4, "q_shape");
    add_tensor(names, "    ", "launch.k", "args->k", dtype, 4, "k_shape");
    if (s->reads_v)
        add_tensor(names, "    ", "launch.v", "args->v", dtype, 4, "v_shape");
    add_tensor(names, "    ", "launch.o", "args->o", dtype, 4, "o_shape");
    if (s->rank == 1) {
        line(names, "    launch.offset = args->offset;");
        line(names, "    launch.align = args->align;");
    } else {
        line(names, "    memcpy(launch.m_axis, args->m_axis, sizeof launch.m_axis);");
        line(names, "    memcpy(launch.n_axis, args->n_axis, sizeof launch.n_axis);");
    }
    if (on_device(names))
        line(names, "    launch.stream = args->stream;");
    add_inputs(names, add_params(names));
    add_returns(names);
    line(names, "    return attune_kernel_launch(kernel, &launch, error);");
    line(names, "}");
    line(names, "%s", "");
}

void aot_header(Text *out, const Aot *aot)
{
    MemberNames made = {.out = out, .aot = aot}, *names = &made;
    const char *symbol = aot->symbol;
    line(names, "/* Made by attune %s from '%s' for %s, %s; do not edit.", attune_version_string(),
         aot->build->signature->name, aot->kernel->target, elem_type_name(aot->kernel->elem));
    line(names, " *");
    line(names, " *     AttuneContext *context = attune_context_create(NULL, NULL);");
    line(names, " *     AttuneKernel *kernel = %s_kernel(context, NULL);", symbol);
    line(names, " *     %s_args args = %s_defaults();", symbol, symbol);
    line(names, " *     args.B = 1; ... args.q = q; ...");
    line(names, " *     AttuneStatus status = %s_run(kernel, &args, &error);", symbol);
    line(names, " *");
    line(names, " * Link the object file of the same name, libattune_rt and the threads library. */");
    line(names, "#ifndef ATTUNE_BUILT_%s_H", symbol);
    line(names, "#define ATTUNE_BUILT_%s_H", symbol);
    line(names, "%s", "");
    line(names, "#include <attune.h>");
    line(names, "#include <string.h>");
    line(names, "%s", "");
    line(names, "#ifdef __cplusplus");
    line(names, "extern \"C\" {");
    line(names, "#endif");
    line(names, "%s", "");
    add_kernel(names);
    add_arguments(names);
    add_defaults(names);
    add_run(names);
    line(names, "#ifdef __cplusplus");
    line(names, "}");
    line(names, "#endif");
    line(names, "%s", "");
    line(names, "#endif");
}
