/* Specs: text in, everything that a host may ask about it out. */
#define _GNU_SOURCE
#include "runtime/spec.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/cache.h"
#include "runtime/error.h"

bool spec_guard(Arena *arena, void (*body)(void *user), void *user)
{
    jmp_buf door, *outer = arena_arm(arena, &door);
    if (setjmp(door)) {
        arena_arm(arena, outer);
        return false;
    }
    body(user);
    arena_arm(arena, outer);
    return true;
}

AttuneDtype spec_dtype(ElemType type)
{
    switch (type) {
    case ELEM_TYPE_BOOL: return ATTUNE_BOOL;
    case ELEM_TYPE_I32: return ATTUNE_I32;
    case ELEM_TYPE_I64: return ATTUNE_I64;
    case ELEM_TYPE_F32: return ATTUNE_F32;
    case ELEM_TYPE_BF16: return ATTUNE_BF16;
    case ELEM_TYPE_F16: return ATTUNE_F16;
    }
    return ATTUNE_DTYPE_NONE;
}

bool spec_elem(AttuneDtype dtype, ElemType *type)
{
    for (int t = ELEM_TYPE_BOOL; t <= ELEM_TYPE_F16; t++)
        if (spec_dtype((ElemType)t) == dtype) {
            *type = (ElemType)t;
            return true;
        }
    return false;
}

/* Messages ---------------------------------------------------------------------------------------------- */

typedef struct DiagTexts {
    const Diag *diag;
    char *text;
} DiagTexts;

static void make_text(void *user)
{
    DiagTexts *texts = user;
    texts->text = diag_to_text(texts->diag);
}

AttuneStatus spec_diag_error(AttuneError **error, AttuneStatus status, const Diag *diag)
{
    DiagTexts texts = {.diag = diag};
    if (!diag->first || !spec_guard(diag->arena, make_text, &texts) || !texts.text)
        return error_memory(error);
    if (diag->errors == 1 && diag->first->id && strcmp(diag->first->id, "out-of-memory") == 0)
        return error_memory(error);
    char *json = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&json, &size);
    if (out) {
        diag_print(diag, out, DIAG_JSON, false);
        fclose(out);
    }
    error_set_text(error, status, texts.text, json);
    free(json);
    return status;
}

/* Extents as steps -------------------------------------------------------------------------------------- */

typedef struct Flatten {
    Arena *arena;
    Signature *signature;
    int room, depth, most;
    bool bad;
} Flatten;

enum { MAX_STEPS = 4096 };

static void add_step(Flatten *f, ExtentOp op, int64_t value, int arity)
{
    Signature *s = f->signature;
    if (s->step_count == MAX_STEPS) {
        f->bad = true;
        return;
    }
    if (s->step_count == f->room) {
        int room = f->room * 2 + 32;
        s->steps = arena_grow(f->arena, s->steps, (size_t)s->step_count, (size_t)room, sizeof s->steps[0]);
        f->room = room;
    }
    s->steps[s->step_count++] = (ExtentStep){op, value};
    f->depth += 1 - arity;
    f->most = f->depth > f->most ? f->depth : f->most;
}

static ExtentOp extent_op(const Expr *e)
{
    bool floats = e->arity > 0 && e->args[0]->type == TYPE_FLOAT;
    switch ((ExprOp)e->op) {
    case EXPR_ADD: return floats ? EXTENT_FADD : EXTENT_ADD;
    case EXPR_SUB: return floats ? EXTENT_FSUB : EXTENT_SUB;
    case EXPR_MUL: return floats ? EXTENT_FMUL : EXTENT_MUL;
    case EXPR_DIV: return floats ? EXTENT_FDIV : EXTENT_DIV;
    case EXPR_MIN: return floats ? EXTENT_FMIN : EXTENT_MIN;
    case EXPR_MAX: return floats ? EXTENT_FMAX : EXTENT_MAX;
    case EXPR_MOD: return floats ? EXTENT_OP_COUNT : EXTENT_MOD;
    case EXPR_NEG: return floats ? EXTENT_OP_COUNT : EXTENT_NEG;
    case EXPR_ABS: return floats ? EXTENT_OP_COUNT : EXTENT_ABS;
    case EXPR_SIGN: return floats ? EXTENT_OP_COUNT : EXTENT_SIGN;
    case EXPR_POW: return floats ? EXTENT_OP_COUNT : EXTENT_POW;
    case EXPR_LT: return floats ? EXTENT_OP_COUNT : EXTENT_LT;
    case EXPR_LE: return floats ? EXTENT_OP_COUNT : EXTENT_LE;
    case EXPR_EQ: return floats ? EXTENT_OP_COUNT : EXTENT_EQ;
    case EXPR_NE: return floats ? EXTENT_OP_COUNT : EXTENT_NE;
    case EXPR_AND: return EXTENT_AND;
    case EXPR_OR: return EXTENT_OR;
    case EXPR_NOT: return EXTENT_NOT;
    case EXPR_SELECT: case EXPR_BSELECT: return EXTENT_SELECT;
    case EXPR_TOFLOAT: case EXPR_BTOF: return EXTENT_TOFLOAT;
    case EXPR_TOINT: return EXTENT_TOINT;
    case EXPR_FLOOR: return EXTENT_FLOOR;
    case EXPR_SQRT: return EXTENT_SQRT;
    default: return EXTENT_OP_COUNT;
    }
}

static void flatten(Flatten *f, const Expr *e)
{
    if (f->bad)
        return;
    if (e->op == EXPR_INT || e->op == EXPR_BOOL) {
        add_step(f, EXTENT_INT, e->value.i, 0);
    } else if (e->op == EXPR_FLOAT) {
        add_step(f, EXTENT_FLOAT, (int64_t)e->value.bits, 0);
    } else if (e->op == EXPR_PARAM) {
        add_step(f, EXTENT_PARAM, e->index, 0);
    } else if (e->op == EXPR_VAR && e->index >= VAR_SIZE_B && e->index <= VAR_OFFSET) {
        add_step(f, EXTENT_SIZE, e->index - VAR_SIZE_B, 0);
    } else {
        ExtentOp op = extent_op(e);
        bool same = e->op == EXPR_BTOI; /* a bool is 0 or 1 already */
        f->bad |= op == EXTENT_OP_COUNT && !same;
        for (int i = 0; i < e->arity && !f->bad; i++)
            flatten(f, e->args[i]);
        if (!same && !f->bad)
            add_step(f, op, 0, e->arity);
    }
}

/* Signatures -------------------------------------------------------------------------------------------- */

static AttuneParamType param_type(ExprType type)
{
    return type == TYPE_INT ? ATTUNE_PARAM_INT : type == TYPE_FLOAT ? ATTUNE_PARAM_FLOAT : ATTUNE_PARAM_BOOL;
}

static bool signature_steps(Flatten *f, Diag *diag, Span span, const Expr *extent, SignatureDim *to)
{
    f->depth = f->most = 0;
    to->step = f->signature->step_count;
    flatten(f, extent);
    to->step_count = f->signature->step_count - to->step;
    if (!f->bad && f->most <= EXTENT_MAX_STACK - 3)
        return true;
    diag_error(diag, span, "extent-too-complex",
               "the extent '%s' is more than a launch can compute; use + - * / %% min max "
               "and comparisons of params and sizes",
               to->name);
    return false;
}

static bool signature_input(Flatten *f, Diag *diag, const SpecInput *input, SignatureInput *out)
{
    static const AttuneDimKind kinds[] = {
        [DIM_B] = ATTUNE_DIM_B, [DIM_H] = ATTUNE_DIM_H, [DIM_G] = ATTUNE_DIM_G, [DIM_T] = ATTUNE_DIM_T,
        [DIM_I] = ATTUNE_DIM_I, [DIM_J] = ATTUNE_DIM_J, [DIM_D] = ATTUNE_DIM_D, [DIM_E] = ATTUNE_DIM_E,
        [DIM_EXTENT] = ATTUNE_DIM_EXTENT, [DIM_FREE] = ATTUNE_DIM_FREE,
    };
    *out = (SignatureInput){.name = input->name, .dtype = spec_dtype(input->type), .learned = input->learned,
                            .dim_count = input->dim_count};
    for (int i = 0; i < input->dim_count; i++) {
        const SpecDim *dim = &input->dims[i];
        SignatureDim *to = &out->dims[i];
        *to = (SignatureDim){.kind = kinds[dim->kind], .name = dim->name ? dim->name : "", .param = -1};
        if (dim->kind == DIM_FREE) {
            to->param = dim->extent->index;
        } else if (dim->kind == DIM_EXTENT && !signature_steps(f, diag, input->span, dim->extent, to)) {
            return false;
        }
    }
    return true;
}

bool spec_signature(Arena *arena, Diag *diag, const Spec *spec, Signature *signature)
{
    *signature = (Signature){.name = spec->name, .rank = spec->rank, .input_count = spec->input_count,
                             .param_count = spec->param_count, .reads_v = spec->norm.kind != NORM_MAX};
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        signature->axis_names[a] = a < spec->rank && spec->axis_names[a] ? spec->axis_names[a] : "";
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        signature->returns[r] = spec->returns[r] ? return_kind_name((ReturnKind)r) : "";
    for (int i = 0; i < spec->param_count; i++) {
        const SpecParam *param = &spec->params[i];
        signature->params[i] = (SignatureParam){.name = param->name ? param->name : "",
                                                .type = param_type(param->type),
                                                .constant = param->constant,
                                                .hidden = param->hidden,
                                                .has_default = param->has_default,
                                                .value.i = param->value.i};
    }
    Flatten f = {.arena = arena, .signature = signature};
    for (int i = 0; i < spec->input_count; i++)
        if (!signature_input(&f, diag, &spec->inputs[i], &signature->inputs[i]))
            return false;
    signature->width = (SignatureDim){.kind = ATTUNE_DIM_E, .name = "E", .param = -1};
    const Expr *width = spec->feature_v.width;
    if (!width || (width->op == EXPR_VAR && width->index == VAR_SIZE_E))
        return true;
    signature->width = (SignatureDim){.kind = ATTUNE_DIM_EXTENT, .name = "v's feature map", .param = -1};
    return signature_steps(&f, diag, spec->feature_v.span, width, &signature->width);
}

/* Opening ----------------------------------------------------------------------------------------------- */

typedef struct Resolver {
    const AttuneSpec *spec;
    AttuneSpec *recording; /* the spec itself while it is opened for the first time, then NULL */
} Resolver;

static bool resolve(void *user, Arena *arena, const char *importer, const char *path, DslText *found,
                    const char **why)
{
    Resolver *resolver = user;
    for (const ImportRecord *r = resolver->spec->imports; r; r = r->next) {
        if (strcmp(r->importer, importer) != 0 || strcmp(r->path, path) != 0)
            continue;
        *found = r->text;
        *why = r->why;
        return r->found;
    }
    if (!resolver->recording)
        return false;
    DslPaths paths = {resolver->spec->import_dirs, resolver->spec->import_dir_count};
    ImportRecord *record = ARENA_NEW(arena, ImportRecord);
    record->found = dsl_resolve_file(&paths, arena, importer, path, found, why);
    record->importer = arena_strdup(arena, importer);
    record->path = arena_strdup(arena, path);
    record->why = *why;
    record->text = *found;
    record->next = resolver->recording->imports;
    resolver->recording->imports = record;
    return record->found;
}

static Spec *open_spec(const AttuneSpec *spec, AttuneSpec *recording, const AttuneSetting *settings,
                       int setting_count, Arena *arena, Diag **diag)
{
    Resolver resolver = {spec, recording};
    DslOptions options = {.resolve = resolve, .user = &resolver};
    Ast *ast;
    *diag = diag_create(arena);
    if (dsl_parse(*diag, spec->source_name, spec->text, spec->length, &options, &ast) != DSL_OK)
        return NULL;
    SpecSetting *all = ARENA_ARRAY(arena, SpecSetting, (size_t)(spec->setting_count + setting_count) + 1);
    int count = 0;
    for (int i = 0; i < spec->setting_count; i++) {
        bool replaced = false;
        for (int k = 0; k < setting_count; k++)
            replaced |= strcmp(spec->settings[i].name, settings[k].name) == 0;
        if (!replaced)
            all[count++] = spec->settings[i];
    }
    for (int k = 0; k < setting_count; k++)
        all[count++] = (SpecSetting){settings[k].name, settings[k].value};
    return check_spec(arena, *diag, ast, spec->name, all, count);
}

Spec *spec_reopen(const AttuneSpec *spec, const AttuneSetting *settings, int setting_count, Arena *arena,
                  Diag **diag)
{
    return open_spec(spec, NULL, settings, setting_count, arena, diag);
}

static void make_info(AttuneSpec *spec)
{
    const Signature *s = &spec->signature;
    spec->inputs = ARENA_ARRAY(spec->arena, AttuneInputInfo, (size_t)s->input_count + 1);
    spec->params = ARENA_ARRAY(spec->arena, AttuneParamInfo, (size_t)s->param_count + 1);
    for (int i = 0; i < s->input_count; i++) {
        const SignatureInput *input = &s->inputs[i];
        spec->inputs[i] = (AttuneInputInfo){
            .name = input->name, .dtype = input->dtype, .learned = input->learned, .ndim = input->dim_count};
        for (int d = 0; d < input->dim_count; d++)
            spec->inputs[i].dims[d] = (AttuneDim){input->dims[d].kind, input->dims[d].name};
    }
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        if (param->hidden)
            continue;
        AttuneParam value = {.name = param->name, .type = param->type};
        if (param->type == ATTUNE_PARAM_FLOAT)
            value.f = param->value.f;
        else
            value.i = param->value.i;
        spec->params[spec->param_count++] =
            (AttuneParamInfo){.value = value, .constant = param->constant, .has_default = param->has_default};
    }
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (s->returns[r][0])
            spec->returns[spec->return_count++] = s->returns[r];
}

typedef struct Opening {
    AttuneSpec *spec;
    const AttuneSpecOptions *options;
    const char *path, *text; /* one of them */
    size_t length;
    Diag *diag;
    AttuneStatus status;
    AttuneError **error;
} Opening;

static const char *copy_or_null(Arena *arena, const char *text)
{
    return text ? arena_strdup(arena, text) : NULL;
}

static bool copy_options(Opening *o)
{
    AttuneSpec *spec = o->spec;
    Arena *arena = spec->arena;
    const AttuneSpecOptions *options = o->options;
    const char *what = options->setting_count < 0 || (options->setting_count > 0 && !options->settings)
                           ? "settings"
                       : options->import_dir_count < 0 ||
                               (options->import_dir_count > 0 && !options->import_dirs)
                           ? "import_dirs"
                           : NULL;
    for (int i = 0; !what && i < options->setting_count; i++)
        if (!options->settings[i].name || !options->settings[i].value)
            what = "a name or value of settings";
    for (int i = 0; !what && i < options->import_dir_count; i++)
        if (!options->import_dirs[i])
            what = "an entry of import_dirs";
    if (what) {
        o->status = error_set(o->error, ATTUNE_ERROR_ARGUMENT, "%s is NULL, or its count is negative", what);
        return false;
    }
    spec->name = copy_or_null(arena, options->name);
    spec->settings = ARENA_ARRAY(arena, SpecSetting, (size_t)options->setting_count + 1);
    spec->setting_count = options->setting_count;
    for (int i = 0; i < options->setting_count; i++)
        spec->settings[i] = (SpecSetting){arena_strdup(arena, options->settings[i].name),
                                          arena_strdup(arena, options->settings[i].value)};
    const char **dirs = ARENA_ARRAY(arena, const char *, (size_t)options->import_dir_count + 1);
    for (int i = 0; i < options->import_dir_count; i++)
        dirs[i] = arena_strdup(arena, options->import_dirs[i]);
    spec->import_dirs = dirs;
    spec->import_dir_count = options->import_dir_count;
    return true;
}

static void identify(Opening *o)
{
    AttuneSpec *spec = o->spec;
    Description description = {.signature = spec->signature};
    size_t packed_size, length = strlen(spec->canonical);
    unsigned char *packed = description_pack(&description, false, &packed_size), key[CACHE_KEY_BYTES];
    if (!packed)
        arena_fail(spec->arena);
    cache_digest(packed, packed_size, key);
    free(packed);
    Text all = {.arena = spec->arena};
    text_add_bytes(&all, (const char *)key, sizeof key);
    for (int i = 0; i < spec->spec->schedule_count; i++)
        text_add(&all, "%s = %lld\n", spec->spec->schedule[i].key, (long long)spec->spec->schedule[i].value);
    text_add_bytes(&all, spec->canonical, length);
    cache_digest(all.data, all.length, spec->identity);
    cache_digest(spec->canonical, length, key);
    cache_key_text(key, spec->digest);
}

static void opening_run(void *user)
{
    Opening *o = user;
    AttuneSpec *spec = o->spec;
    Arena *arena = spec->arena;
    o->diag = diag_create(arena);
    if (!copy_options(o))
        return;
    if (o->path) {
        char *text;
        const char *why = NULL;
        if (!dsl_read_file(arena, o->path, &text, &spec->length, &why)) {
            o->status = error_set(o->error, ATTUNE_ERROR_IO, "cannot read %s: %s", o->path,
                                  why ? why : "no reason is known");
            return;
        }
        spec->text = text;
        spec->source_name = arena_strdup(arena, o->path);
    } else {
        spec->text = arena_strndup(arena, o->text, o->length);
        spec->length = o->length;
        spec->source_name = o->options->source_name ? arena_strdup(arena, o->options->source_name) : "<text>";
    }
    spec->spec = open_spec(spec, spec, NULL, 0, arena, &o->diag);
    if (!spec->spec || !spec_signature(arena, o->diag, spec->spec, &spec->signature)) {
        o->status = ATTUNE_ERROR_SPEC;
        return;
    }
    spec->warnings = o->diag->first ? diag_to_text(o->diag) : "";
    spec->canonical = spec_canonical(spec->spec);
    identify(o);
    make_info(spec);
}

static AttuneSpec *spec_open(Opening *o)
{
    static const AttuneSpecOptions defaults = {0};
    Arena *arena = arena_create();
    AttuneSpec *spec = calloc(1, sizeof *spec);
    if (!arena || !spec) {
        arena_destroy(arena);
        free(spec);
        error_memory(o->error);
        return NULL;
    }
    spec->arena = arena;
    o->spec = spec;
    o->options = o->options ? o->options : &defaults;
    if (!spec_guard(arena, opening_run, o)) {
        error_memory(o->error);
        o->status = ATTUNE_ERROR_MEMORY;
    } else if (o->status == ATTUNE_ERROR_SPEC) {
        spec_diag_error(o->error, ATTUNE_ERROR_SPEC, o->diag);
    }
    if (o->status != ATTUNE_OK) {
        attune_spec_destroy(spec);
        return NULL;
    }
    return spec;
}

AttuneSpec *attune_spec_from_file(const char *path, const AttuneSpecOptions *options, AttuneError **error)
{
    if (!path) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "path is NULL");
        return NULL;
    }
    return spec_open(&(Opening){.path = path, .options = options, .error = error});
}

AttuneSpec *attune_spec_from_text(const char *text, size_t length, const AttuneSpecOptions *options,
                                  AttuneError **error)
{
    if (!text) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "text is NULL");
        return NULL;
    }
    if (length > DSL_MAX_BYTES) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "length is %zu; a spec has at most %d bytes", length,
                  DSL_MAX_BYTES);
        return NULL;
    }
    return spec_open(&(Opening){.text = text, .length = length, .options = options, .error = error});
}

void attune_spec_destroy(AttuneSpec *spec)
{
    if (!spec)
        return;
    arena_destroy(spec->arena);
    free(spec);
}

void attune_spec_info(const AttuneSpec *spec, AttuneSpecInfo *info)
{
    *info = (AttuneSpecInfo){
        .name = spec->signature.name, .rank = spec->signature.rank, .inputs = spec->inputs,
        .input_count = spec->signature.input_count, .params = spec->params, .param_count = spec->param_count,
        .returns = spec->returns, .return_count = spec->return_count, .warnings = spec->warnings,
        .canonical = spec->canonical, .digest = spec->digest,
    };
    for (int a = 0; a < spec->signature.rank; a++)
        info->axis_names[a] = spec->signature.axis_names[a];
}

AttuneStatus attune_spec_input_shape(const AttuneSpec *spec, int32_t index, const AttuneSizes *sizes,
                                     const AttuneParam *params, int32_t param_count,
                                     int64_t shape[ATTUNE_MAX_DIMS], AttuneError **error)
{
    return signature_input_shape(&spec->signature, index, sizes, params, param_count, shape, error);
}
