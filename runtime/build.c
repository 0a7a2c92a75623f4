/* Compiling and loading: options -> key -> Kernel -> AttuneKernel. */
#define _GNU_SOURCE
#include "runtime/build.h"

#include <stdlib.h>
#include <string.h>

#include "compiler/emit/llvm.h"
#include "compiler/emit/nvrtc.h"
#include "runtime/attune_build_id.h"
#include "runtime/cuda_kernel.h"
#include "runtime/error.h"
#include "runtime/machine.h"

const char *attune_build_info(void)
{
#if ATTUNE_HAVE_LLVM
    static _Thread_local char text[96];
    snprintf(text, sizeof text, "attune %s (LLVM %s)", attune_version_string(), llvm_version());
    return text;
#else
    return "attune (without LLVM)";
#endif
}

AttuneStatus build_check_options(const AttuneSpec *spec, const AttuneKernelOptions *options,
                                 AttuneKernelOptions *checked, AttuneError **error)
{
    if (!spec || !options)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is NULL", spec ? "options" : "spec");
    *checked = *options;
    if (!checked->target)
        checked->target = "cpu";
    if (checked->dtype == ATTUNE_DTYPE_NONE)
        checked->dtype = ATTUNE_F32;
    if (checked->dtype != ATTUNE_F32 && checked->dtype != ATTUNE_BF16 && checked->dtype != ATTUNE_F16)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "dtype is %s; q, k, v, o can be f32, bf16 or f16",
                         attune_dtype_name(checked->dtype));
    if (checked->e == 0)
        checked->e = spec->signature.reads_v ? checked->d : 1;
    const int64_t widths[] = {checked->d, checked->e};
    for (int i = 0; i < 2; i++)
        if (widths[i] < 1 || widths[i] > 65536)
            return error_set(error, ATTUNE_ERROR_ARGUMENT, "%c is %lld; widths are 1 to 65536", "de"[i],
                             (long long)widths[i]);
    if (checked->setting_count < 0 || (checked->setting_count > 0 && !checked->settings))
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "settings is NULL, or setting_count (%d) is negative",
                         (int)checked->setting_count);
    for (int i = 0; i < checked->setting_count; i++)
        if (!checked->settings[i].name || !checked->settings[i].value)
            return error_set(error, ATTUNE_ERROR_ARGUMENT, "settings[%d] has no %s", i,
                             checked->settings[i].name ? "value" : "name");
    return ATTUNE_OK;
}

typedef struct TargetParse {
    Arena *arena;
    const char *name;
    Target *target;
    Diag *diag;
    bool known;
} TargetParse;

static void parse_target(void *user)
{
    TargetParse *p = user;
    p->diag = diag_create(p->arena);
    p->known = target_parse(p->diag, p->name, p->target);
}

AttuneStatus build_target(const char *name, Target *target, AttuneError **error)
{
    TargetParse parse = {.arena = arena_create(), .name = name, .target = target};
    if (!parse.arena)
        return error_memory(error);
    AttuneStatus status = ATTUNE_OK;
    memset(target, 0, sizeof *target);
    if (!spec_guard(parse.arena, parse_target, &parse))
        status = error_memory(error);
    else if (!parse.known)
        status = spec_diag_error(error, ATTUNE_ERROR_TARGET, parse.diag);
    arena_destroy(parse.arena);
    return status;
}

/* The spec and the key ---------------------------------------------------------------------------------- */

static void open_spec(void *user)
{
    Build *b = user;
    b->spec = spec_reopen(b->source, b->settings, b->setting_count, b->arena, &b->diag);
    Signature *signature = ARENA_NEW(b->arena, Signature);
    if (b->spec && !spec_signature(b->arena, b->diag, b->spec, signature))
        b->spec = NULL;
    if (b->spec)
        b->canonical = spec_canonical(b->spec);
    b->signature = signature;
}

AttuneStatus build_spec(Build *b, AttuneError **error)
{
    if (b->spec)
        return ATTUNE_OK;
    if (!spec_guard(b->arena, open_spec, b))
        return error_memory(error);
    return b->spec ? ATTUNE_OK : spec_diag_error(error, ATTUNE_ERROR_SPEC, b->diag);
}

/* Everything that the code depends on, and nothing that it does not, such as paths. */
static void make_key(void *user)
{
    Build *b = user;
    const Spec *spec = b->spec ? b->spec : b->source->spec;
    Text text = {.arena = b->arena};
    text_add(&text, "attune %s %s\n%s", attune_version_string(), ATTUNE_BUILD_ID,
             compile_fingerprint(b->arena, &b->options));
    if (b->target.kind == TARGET_CUDA) {
        const char *version = nvrtc_version();
        text_add(&text, "NVRTC %s\n", version ? version : "none");
    }
#if ATTUNE_HAVE_LLVM
    else
        text_add(&text, "LLVM %s\n", llvm_version());
#endif
    for (int i = 0; i < spec->schedule_count; i++)
        text_add(&text, "%s = %lld\n", spec->schedule[i].key, (long long)spec->schedule[i].value);
    text_add(&text, "%s", b->canonical);
    cache_digest(text.data, text.length, b->key);
}

AttuneStatus build_open(Build *b, AttuneContext *context, const AttuneSpec *spec,
                        const AttuneKernelOptions *options, const Target *target, const char *symbol,
                        AttuneError **error)
{
    ElemType elem = ELEM_TYPE_F32;
    *b = (Build){.source = spec, .settings = options->settings, .setting_count = options->setting_count,
                 .context = context, .target = *target};
    spec_elem(options->dtype, &elem);
    b->options = (CompileOptions){.target = &b->target, .elem = elem, .D = options->d, .E = options->e,
                                  .dump = options->dump, .symbol = symbol};
    b->signature = &spec->signature;
    b->canonical = spec->canonical;
    b->arena = arena_create();
    if (!b->arena)
        return error_memory(error);
    if (b->setting_count > 0) {
        AttuneStatus status = build_spec(b, error);
        if (status != ATTUNE_OK)
            return status;
    }
    return spec_guard(b->arena, make_key, b) ? ATTUNE_OK : error_memory(error);
}

void build_close(Build *b)
{
    arena_destroy(b->arena);
    b->arena = NULL;
}

/* Compiling --------------------------------------------------------------------------------------------- */

typedef struct Compilation {
    Build *build;
    Kernel *kernel;
} Compilation;

static void compile(void *user)
{
    Compilation *c = user;
    c->kernel = compile_spec(c->build->arena, c->build->diag, c->build->spec, &c->build->options);
}

static void log_lines(AttuneContext *context, char *text)
{
    for (char *line = text, *end; *line; line = end) {
        end = strchrnul(line, '\n');
        if (*end)
            *end++ = '\0';
        context_log(context, ATTUNE_LOG_INFO, "%s", line);
    }
}

Kernel *build_compile(Build *b, AttuneError **error)
{
    if (build_spec(b, error) != ATTUNE_OK)
        return NULL;
    char *dump = NULL;
    size_t dump_size;
    if (b->options.dump && b->context)
        b->options.dump_out = open_memstream(&dump, &dump_size);
    Compilation c = {.build = b};
    bool in_memory = spec_guard(b->arena, compile, &c);
    if (b->options.dump_out) {
        fclose(b->options.dump_out);
        b->options.dump_out = NULL;
        if (dump)
            log_lines(b->context, dump);
        free(dump);
    }
    if (!in_memory)
        error_memory(error);
    else if (!c.kernel)
        spec_diag_error(error, ATTUNE_ERROR_COMPILE, b->diag);
    return in_memory ? c.kernel : NULL;
}

/* Describing and loading -------------------------------------------------------------------------------- */

uint32_t build_needs(const Target *target)
{
    if (target->kind != TARGET_CPU)
        return 0;
    if (strncmp(target->triple, "x86_64", 6) != 0)
        return NEED_AARCH64;
    return NEED_X86_64 | (target->vector_bits >= 256 ? NEED_AVX2 : 0u) |
           (target->vector_bits >= 512 ? NEED_AVX512 : 0u) | (target->f16_convert ? NEED_F16C : 0u) |
           (target->bf16_dot ? NEED_AVX512_BF16 : 0u);
}

AttuneStatus build_describe(const Build *b, const Kernel *kernel, unsigned char **bytes, size_t *size,
                            AttuneError **error)
{
    Description *d = calloc(1, sizeof *d);
    if (!d)
        return error_memory(error);
    d->signature = *b->signature;
    Shape *shape = &d->shape;
    *shape = (Shape){.target = kernel->target, .needs = build_needs(&b->target),
                     .dtype = spec_dtype(kernel->elem),
                     .D = kernel->D,
                     .E = kernel->E,
                     .scratch_bytes = kernel->scratch_bytes,
                     .phase_count = kernel->phase_count,
                     .tensor_count = kernel->tensor_count};
    memcpy(shape->block_m, kernel->block_m, sizeof shape->block_m);
    memcpy(shape->block_n, kernel->block_n, sizeof shape->block_n);
    for (int p = 0; p < kernel->phase_count; p++) {
        shape->phases[p].entry = kernel->phases[p].entry;
        shape->phases[p].grid_count = kernel->phases[p].grid_count;
        memcpy(shape->phases[p].grid, kernel->phases[p].grid, sizeof shape->phases[p].grid);
        shape->phases[p].threads = kernel->phases[p].threads;
        shape->phases[p].shared_bytes = kernel->phases[p].shared_bytes;
        shape->phases[p].persistent = kernel->phases[p].persistent;
        shape->phases[p].map_count = kernel->phases[p].map_count;
        memcpy(shape->phases[p].maps, kernel->phases[p].maps, sizeof shape->phases[p].maps);
    }
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        shape->tensors[t].role = tensor->role;
        shape->tensors[t].index = tensor->index;
        shape->tensors[t].dtype = spec_dtype(tensor->elem);
        shape->tensors[t].dim_count = tensor->dim_count;
        memcpy(shape->tensors[t].extent, tensor->extent, sizeof shape->tensors[t].extent);
        if (tensor->role < ROLE_WORKSPACE) /* informative there; the views of a launch say more */
            shape->tensors[t].dim_count = 0;
    }
    *bytes = description_pack(d, true, size);
    free(d);
    return *bytes ? ATTUNE_OK : error_memory(error);
}

typedef struct Interpretation {
    const Kernel *kernel;
    const int64_t *slots;
    Arena *arena;
    Diag *diag;
    bool done;
} Interpretation;

static void run_interpreter(void *user)
{
    Interpretation *i = user;
    i->diag = diag_create(i->arena);
    i->done = program_run(i->kernel->program, i->slots, i->diag);
}

static AttuneStatus interpret(void *code, const int64_t *slots, AttuneError **error)
{
    Interpretation i = {.kernel = code, .slots = slots, .arena = arena_create()};
    AttuneStatus status = ATTUNE_OK;
    if (!i.arena || !spec_guard(i.arena, run_interpreter, &i))
        status = error_memory(error);
    else if (!i.done)
        status = spec_diag_error(error, ATTUNE_ERROR_INTERNAL, i.diag);
    arena_destroy(i.arena);
    return status;
}

static void destroy_program(void *code)
{
    kernel_destroy(code);
}

#if ATTUNE_HAVE_LLVM
static void destroy_object(void *code)
{
    llvm_unload(code);
}

static AttuneStatus load_object(AttuneKernel *made, const Kernel *kernel, AttuneError **error)
{
    char why[512] = "no reason is known";
    LlvmCode *code = llvm_load(kernel->code, kernel->code_size, why, sizeof why);
    if (!code && strcmp(why, "out of memory") == 0)
        return error_memory(error);
    if (!code)
        return error_set(error, ATTUNE_ERROR_INTERNAL, "the compiled code cannot be loaded: %s", why);
    made->code = code;
    made->code_destroy = destroy_object;
    for (int p = 0; p < kernel->phase_count; p++) {
        made->phases[p] = (AttunePhase)(intptr_t)llvm_symbol(code, kernel->phases[p].entry);
        if (!made->phases[p])
            return error_set(error, ATTUNE_ERROR_INTERNAL, "the compiled code has no entry %s",
                             kernel->phases[p].entry);
    }
    return ATTUNE_OK;
}
#else
static AttuneStatus load_object(AttuneKernel *made, const Kernel *kernel, AttuneError **error)
{
    (void)made;
    return error_set(error, ATTUNE_ERROR_TARGET,
                     "this build of Attune has no LLVM and cannot load code for %s", kernel->target);
}
#endif

AttuneKernel *build_finish(Build *b, Kernel *kernel, AttuneError **error)
{
    unsigned char *bytes;
    size_t size;
    Description *description = NULL;
    if (build_describe(b, kernel, &bytes, &size, error) == ATTUNE_OK) {
        description = description_unpack(bytes, size, error);
        free(bytes);
    }
    AttuneKernel *made = description ? kernel_create(b->context, description) : NULL;
    if (description && !made)
        error_memory(error);
    if (!made) {
        kernel_destroy(kernel);
        return NULL;
    }
    cache_key_text(b->key, made->key);
    made->code_bytes = kernel->code_size;
    AttuneStatus status = ATTUNE_OK;
    switch (kernel->format) {
    case KERNEL_PROGRAM:
        made->code = kernel;
        made->code_destroy = destroy_program;
        made->interpret = interpret;
        return made;
    case KERNEL_OBJECT:
        status = load_object(made, kernel, error);
        break;
    case KERNEL_CUBIN:
    case KERNEL_PTX:
        status = cuda_kernel_load(made, kernel->code, kernel->code_size, true, error);
        kernel->code = NULL;
        break;
    default:
        status = error_set(error, ATTUNE_ERROR_TARGET, "kernels for %s can be built but not launched here",
                           kernel->target);
        break;
    }
    kernel_destroy(kernel);
    if (status != ATTUNE_OK) {
        attune_kernel_destroy(made);
        return NULL;
    }
    return made;
}
