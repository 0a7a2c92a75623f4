/* The shipped kernels as cases: which there are, and what sizes and params suit them. */
#define _DEFAULT_SOURCE
#include "shipped.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>

static char **found;
static int found_count;

static int note_kernel(const char *path, const struct stat *info, int kind)
{
    size_t length = strlen(path);
    (void)info;
    if (kind == FTW_F && length > 5 && !strcmp(path + length - 5, ".attn") && found_count < SHIPPED_MAX_KERNELS)
        found[found_count++] = strdup(path);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int shipped_kernels(const char *directory, char **paths)
{
    found = paths;
    found_count = 0;
    ftw(directory, note_kernel, 16);
    qsort(paths, (size_t)found_count, sizeof *paths, by_name);
    return found_count;
}

/* Windows and blocks as shipped are wider than the sequences here: these are set so that tiles come out empty, full
 * and partial. By the number of parts of the param. */
static const struct Small { const char *name, *value[SPEC_MAX_RANK]; } small[] = {
    {"window", {"21", "(4, 3)", "(2, 3, 3)"}}, {"stride", {"13", "(2, 1)", "(1, 2, 1)"}}, {"columns", {"3"}}, {"chunk", {"24"}},
    {"overlap", {"3"}}, {"front", {"19"}}, {"radius", {"9", "(2, 3)"}}, {"reach", {"12"}}, {"kernel", {"5", "(3, 5)", "(3, 3, 3)"}},
    {"dilation", {"2", "(1, 2)", "(1, 1, 2)"}}, {"key_window", {"40", "(6, 5)"}}, {"shift", {"2", "(2, 1)"}}, {"step", {"3"}},
    {"max_distance", {"24"}}, {"buckets", {"8"}}, {"causal", {"true"}}, {"causal_y", {"true"}}, {"causal_z", {"true"}},
    {"omega_count", {"7"}}, {"sinks", {"2"}},
};
enum { SMALL_COUNT = sizeof small / sizeof *small };
_Static_assert((int)SMALL_COUNT <= (int)SHIPPED_MAX_SETTINGS, "a setting each");

int shipped_small_settings(const Spec *spec, SpecSetting *settings)
{
    int count = 0;
    for (int n = 0; n < SMALL_COUNT; n++) {
        size_t length = strlen(small[n].name);
        int parts = 0;
        for (int p = 0; p < spec->param_count; p++) {
            const char *name = spec->params[p].name;
            parts += !strncmp(name, small[n].name, length) && (name[length] == '.' || !name[length]);
        }
        if (parts && small[n].value[parts - 1])
            settings[count++] = (SpecSetting){small[n].name, small[n].value[parts - 1]};
    }
    return count;
}

/* A spec may need more of the widths than the shape has (rope's pairs and quarters). */
static int64_t width_multiple(const char *path)
{
    if (strstr(path, "rope2d") || strstr(path, "scale_dit"))
        return 4;
    return strstr(path, "rope") || strstr(path, "chunk_causal") ? 2 : 1;
}

bool shipped_shape_fits(const Spec *spec, const CaseShape *shape)
{
    bool by_position = false;
    for (int n = 0; n < spec->input_count; n++)
        for (int d = 0; d < spec->inputs[n].dim_count; d++)
            by_position |= spec->inputs[n].dims[d].kind == DIM_T;
    for (int64_t b = 0; shape->ragged && by_position && b < shape->B; b++)
        if (shape->q_length[b] > 0 && shape->offset + shape->q_length[b] > shape->k_length[b])
            return false;
    return true;
}

/* Logits of 1e4 make sense where they are only compared with one another, and come without rounding from coarse q and k:
 * a weight depends on differences that are far below their own roundings. */
static bool large_logits_fit(const Spec *spec)
{
    const Expr *s = spec->similarity, *product = s->op == EXPR_SUM ? s->args[1] : s;
    bool dot = s->op == EXPR_SUM && product->op == EXPR_MUL && product->args[0]->op == EXPR_ELEM && product->args[1]->op == EXPR_ELEM;
    return dot && spec->norm.kind == NORM_SOFTMAX && !spec->feature_q.body && !strstr(spec->name, "sink");
}

CaseShape shipped_shape(const Spec *spec, const char *path, const CaseShape *given, uint64_t seed)
{
    CaseShape shape = *given;
    int64_t multiple = width_multiple(path);
    shape.seed = seed;
    shape.D = (shape.D + multiple - 1) / multiple * multiple;
    for (int a = 0; a < SPEC_MAX_RANK && spec->rank > 1; a++) {
        shape.M = (a ? shape.M : 1) * (a < spec->rank ? shape.m_axis[a] : 1);
        shape.N = (a ? shape.N : 1) * (a < spec->rank ? shape.n_axis[a] : 1);
    }
    if (shape.q_size > 1 && !large_logits_fit(spec))
        shape.q_size = 0;
    return shape;
}

bool shipped_is_refused(const Diag *diag)
{
    return diag->first && (!strcmp(diag->first->id, "not-yet") || !strcmp(diag->first->id, "feature-width"));
}
