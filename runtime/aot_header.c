/* The C header of a kernel that was built ahead of time: a description for attune_kernel_from_built, and a
 * typed entry for dense tensors. It is C11 and C++. */
#include <ctype.h>
#include <math.h>
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
        "B", "H", "G", "M", "N", "q", "k", "v", "o", "offset", "align", "m_axis", "n_axis", "auto", "break",
        "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float",
        "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
        "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
        "bool", "true", "false", "NULL", "alignas", "alignof", "and", "and_eq", "asm", "bitand", "bitor",
        "catch", "class", "compl", "concept", "consteval", "constexpr", "constinit", "const_cast",
        "co_await", "co_return", "co_yield", "decltype", "delete", "dynamic_cast", "explicit", "export",
        "friend", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or",
        "or_eq", "private", "protected", "public", "reinterpret_cast", "requires", "static_assert",
        "static_cast", "template", "this", "thread_local", "throw", "try", "typeid", "typename", "using",
        "virtual", "wchar_t", "xor", "xor_eq", "linux", "unix",
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

static void add_kernel(MemberNames *names)
{
    const Aot *aot = names->aot;
    Text *out = names->out;
    const char *symbol = aot->symbol;
    for (int p = 0; p < aot->kernel->phase_count; p++)
        text_add(out, "void %s(const int64_t *slots, int64_t begin, int64_t end, void *scratch);\n",
                 aot->kernel->phases[p].entry);
    text_add(out,
             "\n/* The kernel, for %s_run or for attune_kernel_launch (strides, ragged batches, plans). */\n",
             symbol);
    text_add(out, "static inline AttuneKernel *%s_kernel(AttuneContext *context, AttuneError **error)\n{\n",
             symbol);
    text_add(out, "    static const unsigned char description[] = {");
    for (size_t i = 0; i < aot->description_size; i++)
        text_add(out, "%s%u,", i % 24 == 0 ? "\n        " : " ", (unsigned)aot->description[i]);
    text_add(out, "\n    };\n    static const AttunePhase phases[] = {");
    for (int p = 0; p < aot->kernel->phase_count; p++)
        text_add(out, "%s%s", p ? ", " : "", aot->kernel->phases[p].entry);
    text_add(
        out,
        "};\n    AttuneBuilt built;\n    memset(&built, 0, sizeof built);\n    built.description = "
        "description;\n"
        "    built.description_size = sizeof description;\n    built.phases = phases;\n"
        "    built.phase_count = %d;\n    return attune_kernel_from_built(context, &built, error);\n}\n\n",
        aot->kernel->phase_count);
}

static void add_arguments(MemberNames *names)
{
    const Aot *aot = names->aot;
    const Signature *s = aot->build->signature;
    const Kernel *kernel = aot->kernel;
    Text *out = names->out;
    long long d = kernel->D, e = kernel->E;
    const char *type = c_type(spec_dtype(kernel->elem));
    const char *note = kernel->elem == ELEM_TYPE_F32    ? ""
                       : kernel->elem == ELEM_TYPE_BF16 ? " bf16 bits"
                                                        : " f16 bits";
    text_add(out, "/* Dense, row-major tensors. Start from %s_defaults(). */\ntypedef struct %s_args {\n",
             aot->symbol, aot->symbol);
    text_add(out,
             "    int64_t B, H, G, M, N; /* batch, query heads, key heads (G divides H), queries, keys */\n");
    text_add(out, "    const %s *q; /* [B, H, M, %lld]%s */\n", type, d, note);
    text_add(out, "    const %s *k; /* [B, G, N, %lld]%s */\n", type, d, note);
    if (s->reads_v)
        text_add(out, "    const %s *v; /* [B, G, N, %lld]%s */\n", type, e, note);
    text_add(out, "    %s *o;       /* [B, H, M, %lld]%s, written */\n", type, e, note);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (s->returns[r][0]) {
            names->returned[r] = member(names, s->returns[r]);
            text_add(out, "    float *%s; /* [B, H, M], written; NULL: not wanted */\n", names->returned[r]);
        }
    for (int i = 0; i < s->input_count; i++) {
        names->input[i] = member(names, s->inputs[i].name);
        text_add(out, "    const %s *%s; /* [", c_type(s->inputs[i].dtype), names->input[i]);
        for (int k = 0; k < s->inputs[i].dim_count; k++)
            text_add(out, "%s%s", k ? ", " : "", s->inputs[i].dims[k].name);
        text_add(out, "] %s */\n", attune_dtype_name(s->inputs[i].dtype));
    }
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        if (!at_launch(param))
            continue;
        names->param[i] = member(names, param->name);
        text_add(out, "    %s %s;%s\n",
                 param->type == ATTUNE_PARAM_INT     ? "int64_t"
                 : param->type == ATTUNE_PARAM_FLOAT ? "double"
                                                     : "bool",
                 names->param[i], param->has_default ? "" : " /* no default */");
    }
    if (s->rank == 1)
        text_add(out, "    int64_t offset;    /* position of query row 0 */\n    AttuneAlign align; /* or "
                      "bottom-right */\n");
    else
        text_add(out, "    int64_t m_axis[3], n_axis[3]; /* extents of the query and key grids, product M "
                      "and N; n zero: as m */\n");
    text_add(out, "} %s_args;\n\n", aot->symbol);
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
    Text *out = names->out;
    const char *symbol = names->aot->symbol;
    text_add(
        out,
        "static inline %s_args %s_defaults(void)\n{\n    %s_args args;\n    memset(&args, 0, sizeof args);\n",
        symbol, symbol, symbol);
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        if (!at_launch(param) || !param->has_default)
            continue;
        if (param->type == ATTUNE_PARAM_FLOAT)
            text_add(out, "    args.%s = %s;\n", names->param[i], float_text(out->arena, param->value.f));
        else
            text_add(out, "    args.%s = %lld;\n", names->param[i], (long long)param->value.i);
    }
    text_add(out, "    return args;\n}\n\n");
}

static void add_tensor(Text *out, const char *tensor, const char *pointer, const char *dtype, int ndim,
                       const char *shape)
{
    text_add(out, "    %s.data = (void *)%s;\n    %s.dtype = %s;\n    %s.ndim = %d;\n    %s.shape = %s;\n",
             tensor, pointer, tensor, dtype, tensor, ndim, tensor, shape);
}

static void add_run(MemberNames *names)
{
    const Aot *aot = names->aot;
    const Signature *s = aot->build->signature;
    Text *out = names->out;
    const char *symbol = aot->symbol, *dtype = dtype_macro(spec_dtype(aot->kernel->elem));
    long long d = aot->kernel->D, e = aot->kernel->E;
    int params = 0;
    text_add(out,
             "/* Checks the arguments and runs on the context's threads; done when it returns. */\n"
             "static inline AttuneStatus %s_run(AttuneKernel *kernel, const %s_args *args, AttuneError "
             "**error)\n{\n",
             symbol, symbol);
    text_add(out,
             "    const int64_t q_shape[4] = {args->B, args->H, args->M, %lld}, k_shape[4] = {args->B, "
             "args->G, args->N, %lld};\n",
             d, d);
    if (s->reads_v)
        text_add(out, "    const int64_t v_shape[4] = {args->B, args->G, args->N, %lld};\n", e);
    text_add(out, "    const int64_t o_shape[4] = {args->B, args->H, args->M, %lld};\n", e);
    text_add(out, "    AttuneLaunch launch;\n    memset(&launch, 0, sizeof launch);\n");
    add_tensor(out, "launch.q", "args->q", dtype, 4, "q_shape");
    add_tensor(out, "launch.k", "args->k", dtype, 4, "k_shape");
    if (s->reads_v)
        add_tensor(out, "launch.v", "args->v", dtype, 4, "v_shape");
    add_tensor(out, "launch.o", "args->o", dtype, 4, "o_shape");
    if (s->rank == 1)
        text_add(out, "    launch.offset = args->offset;\n    launch.align = args->align;\n");
    else
        text_add(out, "    memcpy(launch.m_axis, args->m_axis, sizeof launch.m_axis);\n"
                      "    memcpy(launch.n_axis, args->n_axis, sizeof launch.n_axis);\n");
    for (int i = 0; i < s->param_count; i++)
        params += at_launch(&s->params[i]);
    if (params > 0) {
        text_add(out, "    AttuneParam params[%d];\n", params);
        int at = 0;
        for (int i = 0; i < s->param_count; i++) {
            static const char *const kinds[] = {"", "int", "float", "bool"};
            if (at_launch(&s->params[i]))
                text_add(out, "    params[%d] = attune_param_%s(\"%s\", args->%s);\n", at++,
                         kinds[s->params[i].type], s->params[i].name, names->param[i]);
        }
        text_add(out, "    launch.params = params;\n    launch.param_count = %d;\n", params);
    }
    if (s->input_count > 0) {
        text_add(out,
                 "    AttuneNamedTensor inputs[%d];\n    int64_t shapes[%d][ATTUNE_MAX_DIMS];\n    "
                 "AttuneSizes sizes;\n"
                 "    memset(inputs, 0, sizeof inputs);\n    memset(&sizes, 0, sizeof sizes);\n",
                 s->input_count, s->input_count);
        text_add(
            out,
            "    sizes.b = args->B;\n    sizes.h = args->H;\n    sizes.g = args->G;\n    sizes.m = args->M;\n"
            "    sizes.n = args->N;\n    sizes.d = %lld;\n    sizes.e = %lld;\n",
            d, e);
        text_add(out, s->rank == 1 ? "    sizes.offset = args->align == ATTUNE_ALIGN_BOTTOM_RIGHT ? args->N "
                                     "- args->M : args->offset;\n"
                                   : "    memcpy(sizes.m_axis, args->m_axis, sizeof sizes.m_axis);\n"
                                     "    memcpy(sizes.n_axis, args->n_axis, sizeof sizes.n_axis);\n");
        text_add(out,
                 "    for (int32_t i = 0; i < %d; i++) {\n"
                 "        AttuneStatus status = attune_kernel_input_shape(kernel, i, &sizes, %s, %d, "
                 "shapes[i], error);\n"
                 "        if (status != ATTUNE_OK)\n            return status;\n    }\n",
                 s->input_count, params > 0 ? "params" : "NULL", params);
        for (int i = 0; i < s->input_count; i++) {
            Arena *arena = out->arena;
            text_add(out, "    inputs[%d].name = \"%s\";\n", i, s->inputs[i].name);
            add_tensor(out, arena_printf(arena, "inputs[%d].tensor", i),
                       arena_printf(arena, "args->%s", names->input[i]), dtype_macro(s->inputs[i].dtype),
                       s->inputs[i].dim_count, arena_printf(arena, "shapes[%d]", i));
        }
        text_add(out, "    launch.inputs = inputs;\n    launch.input_count = %d;\n", s->input_count);
    }
    bool returns = false;
    for (int r = 0; r < RETURN_KIND_COUNT; r++) {
        if (!s->returns[r][0])
            continue;
        if (!returns)
            text_add(out,
                     "    AttuneNamedTensor returns[%d];\n    memset(returns, 0, sizeof returns);\n    "
                     "launch.returns = returns;\n",
                     RETURN_KIND_COUNT);
        returns = true;
        text_add(out,
                 "    if (args->%s) {\n        AttuneNamedTensor *back = &returns[launch.return_count++];\n"
                 "        back->name = \"%s\";\n        back->tensor.data = args->%s;\n        "
                 "back->tensor.dtype = ATTUNE_F32;\n"
                 "        back->tensor.ndim = 3;\n        back->tensor.shape = q_shape;\n    }\n",
                 names->returned[r], s->returns[r], names->returned[r]);
    }
    text_add(out, "    return attune_kernel_launch(kernel, &launch, error);\n}\n\n");
}

void aot_header(Text *out, const Aot *aot)
{
    MemberNames names = {.out = out, .aot = aot};
    const char *symbol = aot->symbol;
    text_add(out, "/* Made by attune %s from '%s' for %s, %s; do not edit.\n *\n", attune_version_string(),
             aot->build->signature->name, aot->kernel->target, elem_type_name(aot->kernel->elem));
    text_add(out,
             " *     AttuneContext *context = attune_context_create(NULL, NULL);\n *     AttuneKernel "
             "*kernel = %s_kernel(context, "
             "NULL);\n *     %s_args args = %s_defaults();\n *     args.B = 1; ... args.q = q; ...\n *     "
             "AttuneStatus status = "
             "%s_run(kernel, &args, &error);\n *\n",
             symbol, symbol, symbol, symbol);
    text_add(out, " * Link the object file of the same name, libattune_rt and the threads library. */\n");
    text_add(
        out,
        "#ifndef ATTUNE_BUILT_%s_H\n#define ATTUNE_BUILT_%s_H\n\n#include <attune.h>\n#include <string.h>\n\n"
        "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
        symbol, symbol);
    add_kernel(&names);
    add_arguments(&names);
    add_defaults(&names);
    add_run(&names);
    text_add(out, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}
