/* Params and inputs: their types, values from outside, extents, and how an input is read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_internal.h"

int find_input(const Checker *c, const char *name)
{
    for (int n = 0; n < c->spec->input_count; n++)
        if (!strcmp(c->spec->inputs[n].name, name))
            return n;
    return -1;
}

Param *find_param(Checker *c, const char *name)
{
    for (int n = 0; n < c->param_count; n++)
        if (!strcmp(c->params[n].name, name))
            return &c->params[n];
    return NULL;
}

int find_free(const Checker *c, const char *name)
{
    for (int n = 0; n < c->spec->param_count; n++)
        if (c->spec->params[n].hidden && !strcmp(c->spec->params[n].name, name))
            return n;
    return -1;
}

static bool declarable(Checker *c, const Node *node)
{
    const char *meaning = check_reserved_meaning(node->name);
    if (meaning) {
        check_error(c, node->name_span, "reserved-name", "'%s' is %s; choose another name", node->name,
                    meaning);
        return false;
    }
    bool let = false;
    for (int n = 0; n < c->let_count; n++)
        let |= !strcmp(c->lets[n].node->name, node->name);
    if (find_input(c, node->name) >= 0 || find_param(c, node->name) || let) {
        check_error(c, node->name_span, "duplicate-name", "'%s' is declared twice", node->name);
        return false;
    }
    return true;
}

/* Params ----------------------------------------------------------------------------------------------- */

static const struct { const char *name; ExprType type; int parts; } param_types[] = {
    {"int", TYPE_INT, 1},  {"float", TYPE_FLOAT, 1},  {"bool", TYPE_BOOL, 1},    {"int2", TYPE_INT, 2},
    {"int3", TYPE_INT, 3}, {"float2", TYPE_FLOAT, 2}, {"float3", TYPE_FLOAT, 3},
};
enum { PARAM_TYPE_COUNT = sizeof param_types / sizeof *param_types };

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* One number of `type` at *at, which moves past it. */
static bool read_number(const char **at, ExprType type, ExprValue *value)
{
    char *end;
    const char *text = skip_blanks(*at);
    errno = 0;
    if (type == TYPE_BOOL) {
        bool yes = !strncmp(text, "true", 4), no = !strncmp(text, "false", 5);
        value->i = yes;
        end = (char *)text + (yes ? 4 : no ? 5 : 0);
    } else if (type == TYPE_INT) {
        value->i = strtoll(text, &end, 10);
    } else {
        value->f = strtod(text, &end);
    }
    if (end == text || (errno == ERANGE && type == TYPE_INT))
        return false;
    *at = skip_blanks(end);
    return true;
}

static bool read_setting(const char *text, ExprType type, int parts, ExprValue *values)
{
    text = skip_blanks(text);
    bool bracket = *text == '(';
    text += bracket;
    for (int p = 0; p < parts; p++) {
        if (p && *text++ != ',')
            return false;
        if (!read_number(&text, type, &values[p]))
            return false;
        if (p == 0 && parts > 1 && !bracket && !*text) { /* one number for all parts */
            for (int n = 1; n < parts; n++)
                values[n] = values[0];
            return true;
        }
    }
    if (bracket && *text++ != ')')
        return false;
    return !*skip_blanks(text);
}

static bool default_value(Checker *c, const Node *node, ExprType type, int parts, ExprValue *values)
{
    c->context = IN_CONSTANT;
    c->generation++;
    const char *what = arena_printf(c->arena, "the default of '%s'", node->name);
    Value value = check_coerce(c, node->child[1]->span, check_value(c, node->child[1]), node->child[0], what);
    if (value.kind == VALUE_ERROR)
        return false;
    for (int p = 0; p < parts; p++) {
        const Expr *e = parts == 1 ? value.e : value.part[p];
        if (e->op != EXPR_INT && e->op != EXPR_FLOAT && e->op != EXPR_BOOL) {
            diag_fix(c->diag,
                     check_error(c, node->child[1]->span, "not-constant", "%s is not a constant", what),
                     "use numbers and `param const`s only");
            return false;
        }
        if (type == TYPE_FLOAT)
            values[p].f = e->value.f;
        else
            values[p].i = e->value.i;
    }
    return true;
}

static const char *part_name(Checker *c, const char *name, int part, int parts)
{
    static const char *const usual[] = {"z", "y", "x"};
    if (parts == 1)
        return name;
    return arena_printf(c->arena, "%s.%s", name, parts == c->spec->rank ? c->spec->axis_names[part]
                        : usual[SPEC_MAX_RANK - parts + part]);
}

void check_param(Checker *c, const Node *node, const SpecSetting *settings, int setting_count)
{
    Spec *spec = c->spec;
    int type = 0;
    const char *names[PARAM_TYPE_COUNT];
    for (int n = 0; n < PARAM_TYPE_COUNT; n++)
        names[n] = param_types[n].name;
    if (!declarable(c, node))
        return;
    while (type < PARAM_TYPE_COUNT && strcmp(param_types[type].name, node->child[0]->name))
        type++;
    if (type == PARAM_TYPE_COUNT) {
        const char *near = diag_nearest(node->child[0]->name, names, PARAM_TYPE_COUNT);
        Message *m = check_error(c, node->child[0]->span, "unknown-type", "a param cannot be of type '%s'",
                                 node->child[0]->name);
        if (near)
            diag_fix(c->diag, m, "did you mean '%s'?", near);
        else
            diag_fix(c->diag, m, "int, float, bool, int2, int3, float2 or float3");
        type = 0; /* the name exists all the same, so that its uses are not errors too */
    }
    int parts = param_types[type].parts;
    if (spec->param_count + parts > SPEC_MAX_PARAMS) {
        check_error(c, node->name_span, "too-large", "more than %d params (parts of tuples count)",
                    SPEC_MAX_PARAMS);
        return;
    }
    ExprValue values[SPEC_MAX_RANK] = {{0}};
    bool has_value = node->child[1] && default_value(c, node, param_types[type].type, parts, values);
    bool failed = node->child[1] && !has_value;
    for (int n = 0; n < setting_count; n++) {
        if (strcmp(settings[n].name, node->name))
            continue;
        if (!read_setting(settings[n].value, param_types[type].type, parts, values)) {
            diag_fix(c->diag,
                     check_error(c, node->name_span, "bad-setting", "'%s' cannot be set to '%s': it is %s%s",
                                 node->name, settings[n].value,
                                 param_types[type].name[0] == 'i' ? "an " : "a ", param_types[type].name),
                     parts == 1 ? "give one value, as in %s=%s" : "give all parts, as in %s=%s", node->name,
                     parts == 2                             ? "(7, 7)"
                     : parts == 3                           ? "(3, 7, 7)"
                     : param_types[type].type == TYPE_FLOAT ? "0.5"
                     : param_types[type].type == TYPE_BOOL  ? "true"
                                                            : "128");
            failed = true;
        }
        has_value = true;
    }
    bool constant = node->flags & NODE_CONST;
    if (constant && !has_value && !failed)
        diag_fix(c->diag,
                 check_error(c, node->name_span, "no-value", "'param const %s' has no value", node->name),
                 "give it a default, or set it: --set %s=...", node->name);
    Param *param = &c->params[c->param_count++];
    *param = (Param){node->name, spec->param_count, parts, false, node};
    for (int p = 0; p < parts; p++)
        spec->params[spec->param_count++] = (SpecParam){
            .name = part_name(c, node->name, p, parts), .type = param_types[type].type, .constant = constant,
            .has_default = has_value, .value = values[p], .span = node->span};
}

/* Inputs ----------------------------------------------------------------------------------------------- */

static const Expr *size_var(Checker *c, VarId var) { return expr_var(c->pool, var, TYPE_INT); }

static bool free_dim(Checker *c, const Node *node, SpecDim *dim)
{
    Spec *spec = c->spec;
    int at = find_free(c, node->name);
    if (at < 0 && spec->param_count == SPEC_MAX_PARAMS) {
        check_error(c, node->span, "too-large", "more than %d params and free dimensions", SPEC_MAX_PARAMS);
        return false;
    }
    if (at < 0) {
        at = spec->param_count++;
        spec->params[at] =
            (SpecParam){.name = node->name, .type = TYPE_INT, .hidden = true, .span = node->span};
    }
    dim->kind = DIM_FREE;
    dim->extent = expr_param(c->pool, at, TYPE_INT);
    return true;
}

static bool check_dim(Checker *c, const Node *node, SpecDim *dim)
{
    static const struct { const char *name; DimKind kind; VarId size; } kinds[] = {
        {"b", DIM_B, VAR_SIZE_B}, {"h", DIM_H, VAR_SIZE_H}, {"g", DIM_G, VAR_SIZE_G},
        {"t", DIM_T, VAR_SIZE_N}, {"i", DIM_I, VAR_SIZE_M}, {"j", DIM_J, VAR_SIZE_N},
        {"d", DIM_D, VAR_SIZE_D}, {"e", DIM_E, VAR_SIZE_E},
    };
    dim->name = node_print(c->arena, node);
    if (node->kind == NODE_NAME) {
        for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++)
            if (!strcmp(kinds[n].name, node->name)) {
                dim->kind = kinds[n].kind;
                dim->extent = size_var(c, kinds[n].size);
                return true;
            }
        bool let = false;
        for (int n = 0; n < c->let_count; n++)
            let |= !strcmp(c->lets[n].node->name, node->name);
        if (!find_param(c, node->name) && find_input(c, node->name) < 0 && !let
            && !check_reserved_meaning(node->name))
            return free_dim(c, node, dim);
    }
    dim->kind = DIM_EXTENT;
    dim->extent = value_expect_int(c, node->span, check_value(c, node), "an extent");
    return dim->extent != NULL;
}

void check_input(Checker *c, const Node *node)
{
    Spec *spec = c->spec;
    const Node *dims = node->child[0], *type = node->child[1];
    SpecInput input = {
        .name = node->name, .learned = node->flags & NODE_LEARNED, .span = node->span, .type = ELEM_TYPE_F32};
    if (!declarable(c, node))
        return;
    if (!strcmp(type->name, "blocks") || !strcmp(type->name, "tokens") || !strcmp(type->name, "pages")) {
        check_error(c, type->span, "not-supported", "lists of %s are not supported yet", type->name);
    } else if (!elem_type_parse(type->name, &input.type)) {
        static const char *const names[] = {"bool", "i32", "i64", "f32", "bf16", "f16"};
        const char *near = diag_nearest(type->name, names, 6);
        Message *m =
            check_error(c, type->span, "unknown-type", "an input cannot be of type '%s'", type->name);
        diag_fix(c->diag, m, near ? "did you mean '%s'?" : "f32, bf16, f16, i32, i64 or bool", near);
    }
    if (dims && dims->count > SPEC_MAX_DIMS) {
        check_error(c, dims->span, "too-large", "an input has at most %d dimensions", SPEC_MAX_DIMS);
        return;
    }
    if (spec->input_count == SPEC_MAX_INPUTS) {
        check_error(c, node->name_span, "too-large", "more than %d inputs", SPEC_MAX_INPUTS);
        return;
    }
    c->context = IN_EXTENT;
    c->generation++;
    for (int n = 0; dims && n < dims->count; n++)
        if (!check_dim(c, dims->child[n], &input.dims[input.dim_count++]))
            input.dims[n].extent = expr_int(c->pool, 1);
    spec->inputs[spec->input_count++] = input;
}

static Value wrong_index(Checker *c, const Node *node, const SpecInput *input)
{
    Text dims = {.arena = c->arena};
    text_add(&dims, "%s", input->name);
    for (int d = 0; d < input->dim_count; d++)
        text_add(&dims, "%s%s%s", d ? ", " : "[", input->dims[d].name, d == input->dim_count - 1 ? "]" : "");
    diag_fix(c->diag, check_error(c, node->span, "wrong-index", "these indices do not fit '%s'", dims.data),
             "leading b, h and g may be left out, and one last dimension, which then makes a vector");
    return value_error();
}

Value check_input_read(Checker *c, const Node *node, int index, Node *const *indices, int count)
{
    Spec *spec = c->spec;
    const SpecInput *input = &spec->inputs[index];
    static const VarId leading[] = {[DIM_B] = VAR_B, [DIM_H] = VAR_H, [DIM_G] = VAR_G};
    const Expr *given[SPEC_MAX_DIMS], *all[SPEC_MAX_DIMS];
    int total = 0, used = 0, dim = 0;
    c->input_used[index] = true;
    if (c->context == IN_CONSTANT || c->context == IN_EXTENT) {
        check_error(c, node->span, "wrong-place", "'%s' is a tensor: its values are not known %s",
                    input->name, c->context == IN_EXTENT ? "when extents are" : "in a default");
        return value_error();
    }
    bool bad = false;
    for (int n = 0; n < count; n++) {
        Value value = check_value(c, indices[n]);
        int parts = value.kind == VALUE_TUPLE ? value.parts : 1; /* a pair stands for two indices */
        for (int p = 0; p < parts; p++) {
            Value part = value.kind == VALUE_TUPLE ? value_scalar(value.part[p]) : value;
            const Expr *e = value_expect_int(c, indices[n]->span, part, "an index");
            bad |= !e;
            if (total == SPEC_MAX_DIMS)
                return bad ? value_error() : wrong_index(c, node, input);
            given[total++] = e;
        }
    }
    if (bad)
        return value_error();
    int omitted = input->dim_count - total;
    for (; dim < input->dim_count && input->dims[dim].kind <= DIM_G; dim++) {
        const Expr *own = size_var(c, leading[input->dims[dim].kind]);
        if (omitted > 0 && !(used < total && given[used] == own)) {
            all[dim] = own;
            omitted--;
        } else if (used < total) {
            all[dim] = given[used++];
        } else {
            return wrong_index(c, node, input);
        }
    }
    const Expr *width = NULL;
    for (; dim < input->dim_count; dim++) {
        DimKind kind = input->dims[dim].kind;
        if (used < total) {
            all[dim] = given[used++];
            /* positions are absolute; rows of a DIM_I dimension are counted from the first query */
            if (kind == DIM_I && spec->rank == 1)
                all[dim] = expr_op2(c->pool, EXPR_SUB, all[dim], size_var(c, VAR_OFFSET));
        } else if (dim == input->dim_count - 1 && kind >= DIM_D) {
            width = input->dims[dim].extent;
            all[dim] = size_var(c, VAR_C);
        } else {
            return wrong_index(c, node, input);
        }
    }
    if (used < total)
        return wrong_index(c, node, input);
    ExprType type = input->type == ELEM_TYPE_BOOL ? TYPE_BOOL
        : input->type == ELEM_TYPE_I32 || input->type == ELEM_TYPE_I64 ? TYPE_INT : TYPE_FLOAT;
    expr_set_span(c->pool, node->span);
    const Expr *e = expr_input(c->pool, index, type, all, input->dim_count);
    return width ? value_vector(e, width) : value_scalar(e);
}
