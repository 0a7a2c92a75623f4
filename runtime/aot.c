/* attune_build: an object, its header, its manifest. */
#include "runtime/aot.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/aot_object.h"
#include "runtime/error.h"

enum { MAX_SYMBOL = 48 };

static AttuneStatus check_symbol(const char *symbol, AttuneError **error)
{
    bool good = isalpha((unsigned char)symbol[0]) || symbol[0] == '_';
    for (const char *p = symbol; *p; p++)
        good &= isalnum((unsigned char)*p) || *p == '_';
    if (!good)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "symbol is '%s', which is no C identifier: letters, digits and _, no "
                         "digit first",
                         symbol);
    if (strlen(symbol) > MAX_SYMBOL)
        return error_set(error, ATTUNE_ERROR_ARGUMENT,
                         "symbol has %zu characters; the limit is %d: give a shorter one", strlen(symbol),
                         MAX_SYMBOL);
    return ATTUNE_OK;
}

/* The manifest ------------------------------------------------------------------------------------------ */

static void add_string(Text *out, const char *text)
{
    text_add(out, "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            text_add(out, "\\%c", *p);
        else if ((unsigned char)*p < 32)
            text_add(out, "\\u%04x", (unsigned)(unsigned char)*p);
        else
            text_add_bytes(out, p, 1);
    }
    text_add(out, "\"");
}

static void add_member(Text *out, const char *name, const char *value)
{
    text_add(out, "  \"%s\": ", name);
    add_string(out, value);
    text_add(out, ",\n");
}

static void add_params(Text *out, const Signature *s)
{
    const char *separator = "";
    static const char *const types[] = {
        [ATTUNE_PARAM_INT] = "int", [ATTUNE_PARAM_FLOAT] = "float", [ATTUNE_PARAM_BOOL] = "bool"};
    text_add(out, "  \"params\": [");
    for (int i = 0; i < s->param_count; i++) {
        const SignatureParam *param = &s->params[i];
        text_add(out, "%s\n    {\"name\": ", separator);
        add_string(out, param->name);
        text_add(out, ", \"type\": \"%s\", \"constant\": %s", types[param->type],
                 param->constant || param->hidden ? "true" : "false");
        if (param->type == ATTUNE_PARAM_FLOAT)
            text_add(out, ", \"value\": %.17g}", param->value.f);
        else
            text_add(out, ", \"value\": %lld}", (long long)param->value.i);
        separator = ",";
    }
    text_add(out, "],\n");
}

void aot_manifest(Text *out, const Aot *aot)
{
    const Signature *s = aot->build->signature;
    const Kernel *kernel = aot->kernel;
    char text[CACHE_KEY_TEXT];
    unsigned char digest[CACHE_KEY_BYTES];
    text_add(out, "{\n");
    add_member(out, "name", s->name);
    add_member(out, "symbol", aot->symbol);
    add_member(out, "made_by", attune_build_info());
    add_member(out, "target", kernel->target);
    add_member(out, "triple", aot->build->target.triple);
    add_member(out, "cpu", aot->build->target.cpu);
    add_member(out, "features", aot->build->target.features);
    add_member(out, "dtype", elem_type_name(kernel->elem));
    text_add(out, "  \"d\": %lld, \"e\": %lld, \"rank\": %d,\n", (long long)kernel->D, (long long)kernel->E,
             s->rank);
    cache_key_text(aot->build->key, text);
    add_member(out, "key", text);
    const char *what = kernel->format == KERNEL_OBJECT ? "object" : "image"; /* in a device's object */
    text_add(out, "  \"%s_bytes\": %zu,\n", what, kernel->code_size);
    cache_digest(kernel->code, kernel->code_size, digest);
    cache_key_text(digest, text);
    text_add(out, "  \"%s_sha256\": \"%s\",\n", what, text);
    text_add(out, "  \"scratch_bytes\": %lld,\n  \"phases\": [", (long long)kernel->scratch_bytes);
    for (int p = 0; p < kernel->phase_count; p++) {
        text_add(out, p ? ", " : "");
        add_string(out, kernel->phases[p].entry);
    }
    text_add(out, "],\n");
    add_params(out, s);
    text_add(out, "  \"inputs\": [");
    for (int i = 0; i < s->input_count; i++) {
        text_add(out, "%s\n    {\"name\": ", i ? "," : "");
        add_string(out, s->inputs[i].name);
        text_add(out, ", \"dtype\": \"%s\", \"dims\": [", attune_dtype_name(s->inputs[i].dtype));
        for (int d = 0; d < s->inputs[i].dim_count; d++) {
            text_add(out, d ? ", " : "");
            add_string(out, s->inputs[i].dims[d].name);
        }
        text_add(out, "]}");
    }
    text_add(out, "],\n  \"returns\": [");
    const char *separator = "";
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        if (s->returns[r][0]) {
            text_add(out, "%s\"%s\"", separator, s->returns[r]);
            separator = ", ";
        }
    text_add(out, "]\n}\n");
}

/* Building ---------------------------------------------------------------------------------------------- */

typedef struct AotTexts {
    Aot aot;
    Text header, manifest;
} AotTexts;

static void make_texts(void *user)
{
    AotTexts *texts = user;
    aot_header(&texts->header, &texts->aot);
    aot_manifest(&texts->manifest, &texts->aot);
}

/* The bytes of NAME.o. */
static void *make_object(Kernel *kernel, const char *symbol, size_t *size)
{
    if (kernel->format == KERNEL_OBJECT) {
        void *object = kernel->code;
        *size = kernel->code_size;
        kernel->code = NULL;
        return object;
    }
    char image[MAX_SYMBOL + 8];
    snprintf(image, sizeof image, "%s_image", symbol);
    return aot_object(image, kernel->code, kernel->code_size, size);
}

AttuneBuild *aot_make(const Build *build, Kernel *kernel, const char *symbol, AttuneError **error)
{
    unsigned char *description;
    size_t size;
    if (kernel->format != KERNEL_OBJECT && !kernel_is_image(kernel)) {
        error_set(error, ATTUNE_ERROR_TARGET, "kernels for %s cannot be built ahead of time", kernel->target);
        return NULL;
    }
    if (build_describe(build, kernel, &description, &size, error) != ATTUNE_OK)
        return NULL;
    AotTexts texts = {.aot = {build, kernel, symbol, description, size}};
    texts.header.arena = texts.manifest.arena = build->arena;
    bool made = spec_guard(build->arena, make_texts, &texts);
    free(description);
    AttuneBuild *result = calloc(1, sizeof *result);
    if (result && made) {
        result->header = strdup(texts.header.data);
        result->manifest = strdup(texts.manifest.data);
        if (result->header && result->manifest)
            result->object = make_object(kernel, symbol, &result->object_size);
        if (result->object)
            return result;
    }
    attune_build_free(result);
    error_memory(error);
    return NULL;
}

AttuneBuild *attune_build(const AttuneSpec *spec, const AttuneBuildOptions *options, AttuneError **error)
{
    AttuneKernelOptions checked;
    Target target;
    if (build_check_options(spec, options ? &options->kernel : NULL, &checked, error) != ATTUNE_OK)
        return NULL;
    const char *symbol = options->symbol ? options->symbol : spec->signature.name;
    if (check_symbol(symbol, error) != ATTUNE_OK || build_target(checked.target, &target, error) != ATTUNE_OK)
        return NULL;
    if (target.kind == TARGET_INTERP) {
        error_set(error, ATTUNE_ERROR_TARGET,
                  "target is interp, which makes no object; known for building are cpu and "
                  "cpu:NAME");
        return NULL;
    }
    Build build;
    AttuneBuild *result = NULL;
    if (build_open(&build, NULL, spec, &checked, &target, symbol, error) == ATTUNE_OK) {
        Kernel *kernel = build_compile(&build, error);
        if (kernel)
            result = aot_make(&build, kernel, symbol, error);
        kernel_destroy(kernel);
    }
    build_close(&build);
    return result;
}

void attune_build_free(AttuneBuild *build)
{
    if (!build)
        return;
    free(build->object);
    free(build->header);
    free(build->manifest);
    free(build);
}
