/* Running and comparing: see run_case.h for the rule. */
#include "run_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "case_data.h"
#if ATTUNE_HAVE_LLVM
#include "compiler/emit/llvm.h"
#endif

const char *const case_layout_names[CASE_LAYOUT_COUNT] = {"bhmd", "bmhd", "strided", "broadcast kv", "broadcast q"};

char *case_shape_text(Arena *arena, const CaseShape *s)
{
    Text text = {.arena = arena};
    text_add(&text, "B %lld H %lld G %lld ", (long long)s->B, (long long)s->H, (long long)s->G);
    if (s->ragged) {
        for (int side = 0; side < 2; side++) {
            text_add(&text, side ? "k" : "q");
            for (int64_t b = 0; b < s->B; b++)
                text_add(&text, "%c%lld", b ? ',' : ' ', (long long)(side ? s->k_length : s->q_length)[b]);
            text_add(&text, " ");
        }
    } else if (s->m_axis[1] > 1 || s->n_axis[1] > 1 || s->m_axis[2] > 1 || s->n_axis[2] > 1) {
        text_add(&text, "M %lldx%lldx%lld N %lldx%lldx%lld ", (long long)s->m_axis[0], (long long)s->m_axis[1], (long long)s->m_axis[2],
                 (long long)s->n_axis[0], (long long)s->n_axis[1], (long long)s->n_axis[2]);
    } else {
        text_add(&text, "M %lld N %lld ", (long long)s->M, (long long)s->N);
    }
    text_add(&text, "D %lld E %lld offset %lld %s seed %llu", (long long)s->D, (long long)s->E, (long long)s->offset,
             case_layout_names[s->layout], (unsigned long long)s->seed);
    if (s->q_size > 0)
        text_add(&text, " q size %g", s->q_size);
    if (s->block_m[0] || s->block_n[0])
        text_add(&text, " tiles %lldx%lldx%lld, %lldx%lldx%lld", (long long)s->block_m[0], (long long)s->block_m[1], (long long)s->block_m[2],
                 (long long)s->block_n[0], (long long)s->block_n[1], (long long)s->block_n[2]);
    if (s->lowering || s->chunk)
        text_add(&text, " lowering %lld chunk %lld segment %lld", (long long)s->lowering, (long long)s->chunk, (long long)s->segment);
    return text.data;
}

/* Compiling ----------------------------------------------------------------------------------------------- */

/* Extents of inputs are part of the kernel: those that were not set get some number. */
static Spec *with_extents(Spec *spec)
{
    for (int n = 0; spec && n < spec->param_count; n++)
        if (spec->params[n].hidden && spec->params[n].value.i < 1)
            spec->params[n].value.i = 3 + n % 4;
    return spec;
}

Spec *case_spec(Arena *arena, Diag *diag, const char *name, const char *text, const SpecSetting *settings, int count)
{
    Ast *ast;
    if (dsl_parse(diag, name, text, strlen(text), NULL, &ast) != DSL_OK)
        return NULL;
    return with_extents(check_spec(arena, diag, ast, NULL, settings, count));
}

Spec *case_spec_file(Arena *arena, Diag *diag, const char *path, const SpecSetting *settings, int count)
{
    char *text;
    size_t length;
    const char *why;
    if (!dsl_read_file(arena, path, &text, &length, &why)) {
        diag_error(diag, SPAN_NONE, "read", "%s: %s", path, why);
        return NULL;
    }
    DslPaths paths = {NULL, 0};
    DslOptions options = {.resolve = dsl_resolve_file, .user = &paths};
    Ast *ast;
    if (dsl_parse(diag, path, text, length, &options, &ast) != DSL_OK)
        return NULL;
    return with_extents(check_spec(arena, diag, ast, NULL, settings, count));
}

static void add_setting(Spec *spec, const char *key, int64_t value)
{
    if (value < 1 || spec->schedule_count >= (int)(sizeof spec->schedule / sizeof *spec->schedule))
        return;
    spec->schedule[spec->schedule_count].key = key;
    spec->schedule[spec->schedule_count].target = NULL;
    spec->schedule[spec->schedule_count++].value = value;
}

/* The Spec with the shape's tile boxes and form in its schedule. */
static const Spec *with_tiles(Arena *arena, const Spec *spec, const CaseShape *shape)
{
    static const char *const keys[2][SPEC_MAX_RANK] = {{"block_m", "block_m1", "block_m2"}, {"block_n", "block_n1", "block_n2"}};
    Spec *result = ARENA_NEW(arena, Spec);
    *result = *spec;
    for (int side = 0; side < 2; side++)
        for (int a = 0; a < spec->rank; a++)
            add_setting(result, keys[side][a], (side ? shape->block_n : shape->block_m)[a]);
    add_setting(result, "chunk", shape->chunk);
    add_setting(result, "lowering", shape->lowering);
    add_setting(result, "segment", shape->segment);
    return result;
}

Program *case_program(Arena *arena, Diag *diag, const Spec *spec, ElemType elem, const CaseShape *shape, const Target *target)
{
    CompileOptions options = {.target = target, .elem = elem, .D = shape->D, .E = shape->E};
    return compile_program(arena, diag, with_tiles(arena, spec, shape), &options);
}

/* Expectations -------------------------------------------------------------------------------------------- */

static bool make_result(CaseData *data, RefResult *result, bool exact)
{
    size_t rows = (size_t)(data->rows * data->shape.H);
    result->o = ARENA_ARRAY(data->arena, double, rows * (size_t)data->shape.E);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        result->returns[r] = ARENA_ARRAY(data->arena, double, rows);
    return reference_run(data->spec, &data->problem, exact, data->elem, 1, result);
}

CaseData *case_data_create(const Spec *spec, ElemType elem, const CaseShape *shape)
{
    Arena *arena = arena_create();
    if (!arena)
        return NULL;
    CaseData *data = ARENA_NEW(arena, CaseData);
    data->arena = arena;
    data->spec = spec;
    data->elem = elem;
    data->shape = *shape;
    if (!case_fill(data) || !make_result(data, &data->exact, true) || !make_result(data, &data->plain, false)) {
        case_data_destroy(data);
        return NULL;
    }
    return data;
}

void case_data_destroy(CaseData *data)
{
    if (!data)
        return;
    CaseTensor *rows[] = {&data->q, &data->k, &data->v, &data->o};
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
        guarded_destroy(&rows[n]->memory);
    for (int n = 0; n < SPEC_MAX_INPUTS; n++)
        guarded_destroy(&data->inputs[n].memory);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        guarded_destroy(&data->returns[r].memory);
    arena_destroy(data->arena);
}

/* Launching ----------------------------------------------------------------------------------------------- */

typedef struct LaunchTensor { TensorRole role; int index; ElemType elem; int dim_count; const Extent *extent; } LaunchTensor;

typedef struct CaseLaunch {
    int64_t slots[SLOT_COUNT_MAX];
    Guarded workspace[PROGRAM_MAX_TENSORS];
    int workspace_count;
    bool failed;
} CaseLaunch;

static int64_t launch_extent(const Extent *extent, const int64_t *slots)
{
    int64_t size = extent->size < 0 ? 1 : slots[slot_of_size((VarId)extent->size)];
    return (size + extent->div - 1) / extent->div * extent->mul;
}

static void set_tensor(int64_t *slot, const CaseTensor *tensor)
{
    slot[0] = (int64_t)(intptr_t)tensor->memory.data;
    for (int d = 0; d < tensor->dim_count; d++)
        slot[1 + d] = d == 0 && tensor->packed_batch ? 0 : tensor->stride[d];
}

/* Ragged inputs whose batch dimension is not the first. */
static void set_input(const CaseData *data, int64_t *slot, int n)
{
    const CaseTensor *tensor = &data->inputs[n];
    slot[0] = (int64_t)(intptr_t)tensor->memory.data;
    for (int d = 0; d < tensor->dim_count; d++)
        slot[1 + d] = tensor->packed_batch && data->spec->inputs[n].dims[d].kind == DIM_B ? 0 : tensor->stride[d];
}

static void set_workspace(CaseLaunch *launch, int64_t *slot, const LaunchTensor *tensor)
{
    int64_t count = 1;
    for (int d = tensor->dim_count - 1; d >= 0; d--) {
        slot[1 + d] = count;
        count *= launch_extent(&tensor->extent[d], launch->slots);
    }
    Guarded *block = &launch->workspace[launch->workspace_count++];
    size_t bytes = (size_t)count * (size_t)elem_type_size(tensor->elem);
    if (!guarded_create(block, bytes, tensor->elem <= ELEM_TYPE_I64 ? GUARDED_INT : GUARDED_NAN, true))
        launch->failed = true;
    slot[0] = (int64_t)(intptr_t)block->data;
}

static void launch_prepare(CaseLaunch *launch, CaseData *data, const LaunchTensor *tensors, int count)
{
    const RefProblem *p = &data->problem;
    memset(launch, 0, sizeof *launch);
    int64_t sizes[SLOT_SIZE_COUNT] = {p->B, p->H, p->G, p->M, p->N, p->D, p->E, p->m_axis[0], p->m_axis[1], p->m_axis[2],
                                      p->n_axis[0], p->n_axis[1], p->n_axis[2], 0, 3, p->offset};
    memcpy(launch->slots + SLOT_SIZES, sizes, sizeof sizes);
    launch->slots[SLOT_CU_Q] = (int64_t)(intptr_t)p->cu_q;
    launch->slots[SLOT_CU_K] = (int64_t)(intptr_t)p->cu_k;
    for (int n = 0; n < data->spec->param_count; n++)
        memcpy(&launch->slots[SLOT_PARAMS + n], &p->params[n], sizeof(int64_t));
    guarded_reset(&data->o.memory);
    for (int t = 0; t < count; t++) {
        int64_t *slot = launch->slots + slot_of_tensor(t);
        switch (tensors[t].role) {
        case ROLE_Q: set_tensor(slot, &data->q); break;
        case ROLE_K: set_tensor(slot, &data->k); break;
        case ROLE_V: set_tensor(slot, &data->v); break;
        case ROLE_O: set_tensor(slot, &data->o); break;
        case ROLE_RETURN:
            guarded_reset(&data->returns[tensors[t].index].memory);
            set_tensor(slot, &data->returns[tensors[t].index]);
            break;
        case ROLE_INPUT: set_input(data, slot, tensors[t].index); break;
        case ROLE_WORKSPACE: set_workspace(launch, slot, &tensors[t]); break;
        case ROLE_STATE: break; /* VAR_STATE is 0: nobody reads or writes it */
        }
    }
}

static bool launch_finish(CaseLaunch *launch)
{
    bool intact = true;
    for (int n = 0; n < launch->workspace_count; n++) {
        intact &= guarded_intact(&launch->workspace[n]);
        guarded_destroy(&launch->workspace[n]);
    }
    return intact;
}

/* Comparing ----------------------------------------------------------------------------------------------- */

static CaseVerdict wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static CaseVerdict wrong(const char *format, ...)
{
    CaseVerdict verdict = {.ok = false};
    va_list args;
    va_start(args, format);
    vsnprintf(verdict.message, sizeof verdict.message, format, args);
    va_end(args);
    return verdict;
}

static double unit_roundoff(ElemType elem)
{
    return elem == ELEM_TYPE_F32 ? 0x1p-24 : elem == ELEM_TYPE_BF16 ? 0x1p-9 : 0x1p-12;
}

/* distinct: values that differ from the one before; where all rows are the same, they are one sample. */
typedef struct Errors { double max, plain_max, square, plain_square, largest, last; int64_t worst, count, distinct, skipped; } Errors;

static void add_error(Errors *errors, int64_t at, double got, double exact, double plain)
{
    if (!isfinite(exact) || !isfinite(plain)) {
        errors->skipped++;
        return;
    }
    double error = fabs(got - exact), plain_error = fabs(plain - exact);
    if (!(error <= errors->max)) { /* NaN too */
        errors->max = error;
        errors->worst = at;
    }
    errors->plain_max = fmax(errors->plain_max, plain_error);
    errors->square += error * error;
    errors->plain_square += plain_error * plain_error;
    errors->largest = fmax(errors->largest, fabs(exact));
    errors->distinct += errors->count == 0 || exact != errors->last;
    errors->last = exact;
    errors->count++;
}

/* The tensor's elements in order are those of exact and plain. */
static CaseVerdict judge(const CaseTensor *tensor, ElemType elem, const char *name, const Errors *errors, const double *exact, const double *plain,
                         double got)
{
    double u = unit_roundoff(elem), scale = errors->largest;
    bool wide = elem == ELEM_TYPE_F32;
    double count = errors->count ? (double)errors->count : 1, few = sqrt(1 / fmax(1, (double)errors->distinct));
    double limit = 2 * errors->plain_max + (wide ? 32 : 4) * u * scale + 0x1p-20;
    double rmse = sqrt(errors->square / count), plain_rmse = sqrt(errors->plain_square / count);
    double rmse_limit = 1.1 * plain_rmse + fmax(wide ? 8 : 0.5, few * (wide ? 32 : 4)) * u * scale + 0x1p-20;
    bool sampled = errors->distinct >= 16; /* of fewer values a mean square says nothing, the maximum judges alone */
    if (errors->max <= limit && (rmse <= rmse_limit || !sampled))
        return (CaseVerdict){.ok = true, .compared = errors->count, .skipped = errors->skipped,
                             .share = fmax(errors->max / limit, sampled ? rmse / rmse_limit : 0)};
    int64_t at = errors->worst, index[SPEC_MAX_DIMS] = {0};
    for (int d = tensor->dim_count - 1; d >= 0; d--) {
        index[d] = at % tensor->extent[d];
        at /= tensor->extent[d];
    }
    return wrong("%s[%lld, %lld, %lld, %lld] = %.9g, exact %.9g, plain %.9g; max error %.3g (limit %.3g), RMSE %.3g (limit %.3g), S %.3g",
                 name, (long long)index[0], (long long)index[1], (long long)index[2], (long long)index[3], got, exact[errors->worst],
                 plain[errors->worst], errors->max, limit, rmse, rmse_limit, scale);
}

static CaseVerdict compare_rows(const CaseData *data)
{
    const CaseTensor *o = &data->o;
    Errors errors = {0};
    int64_t index[SPEC_MAX_DIMS] = {0}, at = 0, E = data->shape.E;
    double worst = 0;
    if (case_tensor_empty(o))
        return (CaseVerdict){.ok = true};
    do {
        double got = case_load(o, index);
        bool empty = data->exact.returns[RETURN_MAX][at / E] == -INFINITY;
        if (empty && got != 0)
            return wrong("o[%lld, %lld, %lld, %lld] = %g, but the row sees no key", (long long)index[0], (long long)index[1],
                         (long long)index[2], (long long)index[3], got);
        int64_t before = errors.worst;
        double max = errors.max;
        add_error(&errors, at, got, data->exact.o[at], data->plain.o[at]);
        if (errors.worst != before || !(errors.max <= max))
            worst = got;
        at++;
    } while (case_next(o, index) && !isnan(errors.max));
    return judge(o, o->elem, "o", &errors, data->exact.o, data->plain.o, worst);
}

static CaseVerdict compare_return(const CaseData *data, int kind)
{
    const CaseTensor *tensor = &data->returns[kind];
    const double *exact = data->exact.returns[kind], *plain = data->plain.returns[kind];
    Errors errors = {0};
    int64_t index[SPEC_MAX_DIMS] = {0}, at = 0;
    double worst = 0;
    if (case_tensor_empty(tensor))
        return (CaseVerdict){.ok = true};
    do {
        double got = case_load(tensor, index);
        bool empty = data->exact.returns[RETURN_MAX][at] == -INFINITY;
        if (empty && got != exact[at])
            return wrong("%s[%lld, %lld, %lld] = %g, but %g is right where no key is seen", return_kind_name((ReturnKind)kind),
                         (long long)index[0], (long long)index[1], (long long)index[2], got, exact[at]);
        int64_t before = errors.worst;
        double max = errors.max;
        if (!empty)
            add_error(&errors, at, got, exact[at], plain[at]);
        if (errors.worst != before || !(errors.max <= max))
            worst = got;
        at++;
    } while (case_next(tensor, index) && !isnan(errors.max));
    bool rounded = data->spec->feature_q.body || data->spec->feature_k.body; /* q' and k' have the storage type */
    return judge(tensor, rounded ? data->elem : tensor->elem, return_kind_name((ReturnKind)kind), &errors, exact, plain, worst);
}

/* Only elements may have been written. */
static bool gaps_untouched(const CaseTensor *tensor, Arena *arena)
{
    size_t size = (size_t)elem_type_size(tensor->elem), count = tensor->memory.size / size;
    bool *element = ARENA_ARRAY(arena, bool, count);
    int64_t index[SPEC_MAX_DIMS] = {0};
    if (case_tensor_empty(tensor))
        return true;
    do {
        int64_t at = 0;
        for (int d = 0; d < tensor->dim_count; d++)
            at += index[d] * tensor->stride[d];
        element[at] = true;
    } while (case_next(tensor, index));
    for (size_t n = 0; n < count; n++)
        for (size_t b = 0; b < size && !element[n]; b++)
            if ((uint8_t)tensor->memory.data[n * size + b] != tensor->memory.fill)
                return false;
    return true;
}

CaseVerdict case_compare(CaseData *data)
{
    CaseVerdict total = {.ok = true};
    for (int r = -1; r < RETURN_KIND_COUNT; r++) {
        const CaseTensor *tensor = r < 0 ? &data->o : &data->returns[r];
        if (r >= 0 && !data->spec->returns[r])
            continue;
        CaseVerdict verdict = r < 0 ? compare_rows(data) : compare_return(data, r);
        if (!verdict.ok)
            return verdict;
        total.compared += verdict.compared;
        total.skipped += verdict.skipped;
        total.share = fmax(total.share, verdict.share);
        if (!guarded_intact(&tensor->memory))
            return wrong("memory around %s was written", r < 0 ? "o" : return_kind_name((ReturnKind)r));
        Arena *arena = arena_create();
        bool untouched = gaps_untouched(tensor, arena);
        arena_destroy(arena);
        if (!untouched)
            return wrong("memory between the rows of %s was written", r < 0 ? "o" : return_kind_name((ReturnKind)r));
    }
    return total;
}

/* Running ------------------------------------------------------------------------------------------------- */

CaseVerdict case_run_interp(CaseData *data, const Program *program)
{
    LaunchTensor tensors[PROGRAM_MAX_TENSORS];
    for (int t = 0; t < program->tensor_count; t++)
        tensors[t] = (LaunchTensor){program->tensors[t].role, program->tensors[t].index, program->tensors[t].elem,
                                    program->tensors[t].dim_count, program->tensors[t].extent};
    CaseLaunch launch;
    launch_prepare(&launch, data, tensors, program->tensor_count);
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    CaseVerdict verdict = {.ok = true};
    if (launch.failed)
        verdict = wrong("no memory for a workspace");
    else if (!program_run(program, launch.slots, diag))
        verdict = wrong("the interpreter stopped: %s", diag_to_text(diag));
    arena_destroy(arena);
    if (!launch_finish(&launch) && verdict.ok)
        verdict = wrong("memory around a workspace was written");
    return verdict.ok ? case_compare(data) : verdict;
}

CaseVerdict case_run_with(CaseData *data, const Program *program, CaseRunner *run, void *user)
{
    LaunchTensor tensors[PROGRAM_MAX_TENSORS];
    for (int t = 0; t < program->tensor_count; t++)
        tensors[t] = (LaunchTensor){program->tensors[t].role, program->tensors[t].index, program->tensors[t].elem,
                                    program->tensors[t].dim_count, program->tensors[t].extent};
    CaseLaunch launch;
    launch_prepare(&launch, data, tensors, program->tensor_count);
    const char *problem = launch.failed ? "no memory for a workspace" : run(user, program, launch.slots);
    CaseVerdict verdict = {.ok = true};
    if (problem)
        verdict = wrong("%s", problem);
    if (!launch_finish(&launch) && verdict.ok)
        verdict = wrong("memory around a workspace was written");
    return verdict.ok ? case_compare(data) : verdict;
}

#if ATTUNE_HAVE_LLVM
typedef void Entry(const int64_t *slots, int64_t begin, int64_t end, void *scratch);

/* The work items in three runs, as a pool of threads might divide them. */
static void run_phase(Entry *entry, const KernelPhase *phase, const int64_t *slots, void *scratch)
{
    int64_t items = 1;
    for (int g = 0; g < phase->grid_count; g++)
        items *= launch_extent(&phase->grid[g], slots);
    int64_t first = items / 3, second = items - items / 4;
    entry(slots, second, items, scratch);
    if (first > 0)
        entry(slots, 0, first, scratch);
    if (second > first)
        entry(slots, first, second, scratch);
}

static CaseVerdict run_code(const Kernel *kernel, LlvmCode *code, const int64_t *slots)
{
    Guarded scratch;
    if (!guarded_create(&scratch, ((size_t)kernel->scratch_bytes + 63) / 64 * 64, GUARDED_NAN, true))
        return wrong("no memory for the scratch");
    CaseVerdict verdict = {.ok = true};
    for (int p = 0; p < kernel->phase_count && verdict.ok; p++) {
        void *symbol = llvm_symbol(code, kernel->phases[p].entry);
        Entry *entry;
        memcpy(&entry, &symbol, sizeof entry);
        if (entry)
            run_phase(entry, &kernel->phases[p], slots, scratch.data);
        else
            verdict = wrong("the object has no symbol '%s'", kernel->phases[p].entry);
    }
    if (!guarded_intact(&scratch) && verdict.ok)
        verdict = wrong("memory around the scratch was written");
    guarded_destroy(&scratch);
    return verdict;
}

CaseVerdict case_run_kernel(CaseData *data, const Kernel *kernel)
{
    LaunchTensor tensors[PROGRAM_MAX_TENSORS];
    for (int t = 0; t < kernel->tensor_count; t++)
        tensors[t] = (LaunchTensor){kernel->tensors[t].role, kernel->tensors[t].index, kernel->tensors[t].elem,
                                    kernel->tensors[t].dim_count, kernel->tensors[t].extent};
    char error[256] = "";
    LlvmCode *code = llvm_load(kernel->code, kernel->code_size, error, sizeof error);
    if (!code)
        return wrong("the object does not load: %s", error);
    CaseLaunch launch;
    launch_prepare(&launch, data, tensors, kernel->tensor_count);
    CaseVerdict verdict = launch.failed ? wrong("no memory for a workspace") : run_code(kernel, code, launch.slots);
    if (!launch_finish(&launch) && verdict.ok)
        verdict = wrong("memory around a workspace was written");
    llvm_unload(code);
    return verdict.ok ? case_compare(data) : verdict;
}
#endif

size_t case_result_bytes(const CaseData *data, const void **bytes, int which)
{
    const CaseTensor *tensor = which == 0 ? &data->o : &data->returns[which - 1];
    *bytes = which <= RETURN_KIND_COUNT ? tensor->memory.data : NULL;
    return which <= RETURN_KIND_COUNT ? tensor->memory.size : 0;
}

static CaseVerdict run_backends(const Spec *spec, ElemType elem, const CaseShape *shape, unsigned backends, CaseData *data, Arena *arena)
{
    CaseVerdict total = {.ok = true};
    const char *cpu = getenv("ATTUNE_TEST_CPU");
    for (unsigned backend = CASE_INTERP; backend <= CASE_CPU; backend <<= 1) {
        const char *name = backend == CASE_INTERP ? "interp" : cpu ? cpu : "cpu";
        if (!(backends & backend) || (backend == CASE_CPU && !ATTUNE_HAVE_LLVM))
            continue;
        Diag *diag = diag_create(arena);
        Target target;
        Program *program = target_parse(diag, name, &target) ? case_program(arena, diag, spec, elem, shape, &target) : NULL;
        if (!program)
            return wrong("%s: does not compile: %s", name, diag_to_text(diag));
        CaseVerdict verdict;
        if (backend == CASE_INTERP)
            verdict = case_run_interp(data, program);
#if ATTUNE_HAVE_LLVM
        else {
            Kernel *kernel = target_emit(&target, arena, diag, program);
            verdict = kernel ? case_run_kernel(data, kernel) : wrong("no code: %s", diag_to_text(diag));
            kernel_destroy(kernel);
        }
#endif
        if (!verdict.ok) {
            CaseVerdict named = wrong("%s: %.480s", name, verdict.message);
            return named;
        }
        total.compared += verdict.compared;
        total.skipped += verdict.skipped;
        total.share = fmax(total.share, verdict.share);
    }
    return total;
}

CaseVerdict case_run(const Spec *spec, ElemType elem, const CaseShape *shape, unsigned backends)
{
    CaseData *data = case_data_create(spec, elem, shape);
    Arena *arena = arena_create();
    CaseVerdict verdict = data && arena ? run_backends(spec, elem, shape, backends, data, arena) : wrong("the case's data cannot be made");
    arena_destroy(arena);
    case_data_destroy(data);
    return verdict;
}
