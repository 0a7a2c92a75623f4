/* A Spec as text: for people (the language, as checked) and canonical (for keys).
 *
 * Both come from one writer. The canonical text leaves out what does not change the mathematics (the spec's
 * name, schedule, defaults of runtime params, spans), calls params and inputs by position, and relies on the
 * pool for the rest: equal expressions are one Expr, with commutative operands and bound variables in
 * canonical form. */
#include "spec.h"

typedef struct Writer {
    Text *out;
    const Spec *spec;
    bool canonical;
    ExprNames names;
} Writer;

static void write_expr(Writer *w, const char *before, const Expr *e)
{
    text_add(w->out, "%s", before);
    expr_print(w->out, e, &w->names);
}

static void write_params(Writer *w)
{
    static const char *const types[] = {[TYPE_BOOL] = "bool", [TYPE_INT] = "int", [TYPE_FLOAT] = "float"};
    ExprPool *pool = w->spec->pool;
    for (int k = 0; k < w->spec->param_count; k++) {
        const SpecParam *p = &w->spec->params[k];
        if (p->hidden && !w->canonical)
            continue;
        text_add(w->out, "    param %s%s: %s", p->constant ? "const " : "", w->names.params[k],
                 types[p->type]);
        bool fixed = p->constant || (p->hidden && p->value.i > 0);
        if (fixed || (p->has_default && !w->canonical))
            write_expr(w, " = ",
                       p->type == TYPE_FLOAT ? expr_float(pool, p->value.f)
                       : p->type == TYPE_INT ? expr_int(pool, p->value.i)
                                             : expr_bool(pool, p->value.i != 0));
        text_add(w->out, "\n");
    }
}

static void write_inputs(Writer *w)
{
    static const char *const kinds[] = {[DIM_B] = "b", [DIM_H] = "h", [DIM_G] = "g", [DIM_T] = "t",
                                        [DIM_I] = "i", [DIM_J] = "j", [DIM_D] = "d", [DIM_E] = "e"};
    for (int k = 0; k < w->spec->input_count; k++) {
        const SpecInput *input = &w->spec->inputs[k];
        text_add(w->out, "    %sinput %s", input->learned ? "learned " : "", w->names.inputs[k]);
        for (int d = 0; d < input->dim_count; d++) {
            const SpecDim *dim = &input->dims[d];
            text_add(w->out, "%s", d == 0 ? "[" : ", ");
            if (dim->kind == DIM_FREE && !w->canonical)
                text_add(w->out, "%s", dim->name);
            else if (dim->kind == DIM_EXTENT || dim->kind == DIM_FREE)
                write_expr(w, "", dim->extent);
            else
                text_add(w->out, "%s", kinds[dim->kind]);
        }
        text_add(w->out, "%s: %s\n", input->dim_count ? "]" : "", elem_type_name(input->type));
    }
}

static void write_feature(Writer *w, const char *name, const SpecFeature *feature)
{
    if (!feature->body)
        return;
    text_add(w->out, "    feature %s", name);
    write_expr(w, " [", feature->width);
    write_expr(w, "] = ", feature->body);
    text_add(w->out, "\n");
}

static void write_norm(Writer *w)
{
    static const char *const kinds[] = {
        [NORM_SOFTMAX] = "softmax", [NORM_NONE] = "none",       [NORM_SUM] = "sum", [NORM_MAGNITUDE] = "magnitude",
        [NORM_COUNT] = "count",     [NORM_MOMENTS] = "moments", [NORM_MAX] = "max", [NORM_ENTMAX] = "entmax",
    };
    const SpecNorm *n = &w->spec->norm;
    const struct {
        const char *name;
        const Expr *value;
    } arguments[] = {
        {"sink", n->sink}, {"eps", n->eps},   {"min", n->min},     {"power", n->power},
        {"gain", n->gain}, {"bias", n->bias}, {"alpha", n->alpha},
    };
    /* An elementwise normaliser is already part of the score: its name is for people. */
    bool named =
        !w->canonical && n->kind == NORM_NONE && n->elementwise < EXPR_OP_COUNT && n->elementwise > EXPR_ELEM;
    text_add(w->out, "    normalize %s", kinds[n->kind]);
    int count = 0;
    for (size_t k = 0; k < sizeof arguments / sizeof arguments[0]; k++)
        if (arguments[k].value) {
            text_add(w->out, "%s%s = ", count++ ? ", " : "(", arguments[k].name);
            write_expr(w, "", arguments[k].value);
        }
    text_add(w->out, "%s%s%s\n", count ? ")" : "", named ? " // elementwise " : "",
             named ? expr_op_info[n->elementwise].name : "");
}

static void write_rest(Writer *w)
{
    const Spec *spec = w->spec;
    if (spec->decay.kind != DECAY_NONE) {
        write_expr(w, spec->decay.kind == DECAY_CHANNEL ? "    decay [c] exp(" : "    decay exp(",
                   spec->decay.log_step);
        text_add(w->out, ")");
        if (spec->decay.beta)
            write_expr(w, " beta ", spec->decay.beta);
        text_add(w->out, "\n");
    }
    if (spec->output) {
        write_expr(w, "    output ", spec->output);
        text_add(w->out, "\n");
    }
    int count = 0;
    for (int k = 0; k < RETURN_KIND_COUNT; k++)
        if (spec->returns[k])
            text_add(w->out, "%s%s", count++ ? ", " : "    return ", return_kind_name((ReturnKind)k));
    text_add(w->out, "%s", count ? "\n" : "");
    if (w->canonical || spec->schedule_count == 0)
        return;
    text_add(w->out, "    schedule {");
    for (int k = 0; k < spec->schedule_count; k++)
        text_add(w->out, " %s = %lld", spec->schedule[k].key, (long long)spec->schedule[k].value);
    text_add(w->out, " }\n");
}

static char *write_spec(const Spec *spec, bool canonical)
{
    Text text = {.arena = spec->arena};
    const char **params = ARENA_ARRAY(spec->arena, const char *, SPEC_MAX_PARAMS);
    const char **inputs = ARENA_ARRAY(spec->arena, const char *, SPEC_MAX_INPUTS);
    for (int k = 0; k < spec->param_count; k++)
        params[k] = canonical ? arena_printf(spec->arena, "p%d", k) : spec->params[k].name;
    for (int k = 0; k < spec->input_count; k++)
        inputs[k] = canonical ? arena_printf(spec->arena, "a%d", k) : spec->inputs[k].name;
    Writer w = {&text, spec, canonical, {.params = params, .inputs = inputs, .rank = spec->rank}};

    text_add(&text, "attention %s", canonical ? "_" : spec->name);
    for (int axis = 0; axis < spec->rank && spec->rank > 1; axis++)
        text_add(&text, "%s%c", axis == 0 ? " over (" : ", ", "zyx"[3 - spec->rank + axis]);
    text_add(&text, "%s {\n", spec->rank > 1 ? ")" : "");
    write_params(&w);
    write_inputs(&w);
    write_feature(&w, "q", &spec->feature_q);
    write_feature(&w, "k", &spec->feature_k);
    write_feature(&w, "v", &spec->feature_v);
    write_expr(&w, "    mask ", spec->mask);
    write_expr(&w, "\n    similarity ", spec->similarity);
    write_expr(&w, "\n    score ", spec->score);
    text_add(&text, "\n");
    write_norm(&w);
    write_rest(&w);
    text_add(&text, "}\n");
    return text.data;
}

char *spec_canonical(const Spec *spec) { return write_spec(spec, true); }
char *spec_print(const Spec *spec) { return write_spec(spec, false); }
