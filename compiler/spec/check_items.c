/* The items of an attention: mask, similarity, score, features, normaliser, decay, output, returns,
 * schedule. */
#include <string.h>

#include "check_internal.h"

const char *const schedule_keys[] = {"block_m", "block_m1", "block_m2", "block_n", "block_n1", "block_n2",
                                     "chunk",   "stages",   "warps",    "splits",  "lowering", "segment", NULL};

/* Values that are words: the position in the list, from 1. */
static const char *const lowerings[] = {"quadratic", "chunked", "recurrent", NULL};

int check_schedule_word(const char *key, const char *word)
{
    for (int n = 0; !strcmp(key, "lowering") && lowerings[n]; n++)
        if (!strcmp(lowerings[n], word))
            return n + 1;
    return 0;
}

bool check_schedule_is_word(const char *key)
{
    return !strcmp(key, "lowering");
}

bool check_schedule_key(const char *name)
{
    for (int n = 0; schedule_keys[n]; n++)
        if (!strcmp(schedule_keys[n], name))
            return true;
    return false;
}

static Value item_value(Checker *c, Context context, const Node *node)
{
    c->context = context;
    c->generation++;
    c->depth = 0;
    return check_value(c, node);
}

/* Features --------------------------------------------------------------------------------------------- */

/* `feature q [r] = body`: a scalar body that names the channel r, or a vector of that width. */
static void check_feature_body(Checker *c, const Node *node, SpecFeature *feature)
{
    const Node *width = node->child[1], *body = node->child[2];
    Span span = body->span;
    c->context = IN_FEATURE;
    const Expr *declared = NULL;
    if (width) {
        declared = value_expect_int(c, width->span, item_value(c, IN_FEATURE, width), "the width");
        if (!declared)
            return;
    }
    bool names_channel = width && width->kind == NODE_NAME && !check_reserved_meaning(width->name);
    VarId bound = expr_fresh_bound(c->pool);
    Binding channel = {NULL, names_channel ? width->name : "",
                       value_scalar(expr_var(c->pool, bound, TYPE_INT))};
    c->locals = names_channel ? &channel : NULL;
    Value value = item_value(c, IN_FEATURE, body);
    c->locals = NULL;
    if (value.kind == VALUE_ERROR)
        return;
    if (value.kind == VALUE_SCALAR && names_channel) {
        value.e = expect_float(c, span, value.e, "a feature map");
        value = value.e ? value_vector(
                    bound_to_channel(c, value.e, bound, expr_var(c->pool, VAR_C, TYPE_INT)), declared)
                        : value_error();
    } else if (value.kind != VALUE_VECTOR) {
        diag_fix(c->diag,
                 check_error(c, span, "type-mismatch", "a feature map must give a vector, not %s",
                             value_describe(&value)),
                 "it is a function of the vector x; 'feature q [r] = ...' names its channel r");
        return;
    } else if (declared && declared != value.width) {
        diag_fix(c->diag,
                 check_error(c, width->span, "width-mismatch",
                             "this is not the width of the feature map's vector"),
                 "leave it out: the vector's own width is used");
        return;
    } else {
        value.e = expect_float(c, span, value.e, "a feature map");
    }
    if (value.kind == VALUE_VECTOR && value.e)
        *feature = (SpecFeature){value.e, value.width, node->span};
}

static void check_feature(Checker *c, const Node *node)
{
    const Node *names = node->child[0];
    for (int n = 0; n < names->count; n++) {
        const Node *name = names->child[n];
        SpecFeature *feature = !strcmp(name->name, "q")   ? &c->spec->feature_q
                               : !strcmp(name->name, "k") ? &c->spec->feature_k
                               : !strcmp(name->name, "v") ? &c->spec->feature_v
                                                          : NULL;
        if (!feature) {
            diag_fix(c->diag,
                     check_error(c, name->span, "unknown-name", "there is no tensor '%s' to map", name->name),
                     "q, k or v");
            continue;
        }
        if (feature->body) {
            diag_fix(
                c->diag,
                check_error(c, name->span, "duplicate-item", "'%s' has a feature map already", name->name),
                "one map can do both: apply one function to the other's result");
            continue;
        }
        c->tensor = name->name[0];
        c->tensor_alone = names->count == 1;
        check_feature_body(c, node, feature);
    }
}

/* Normalisers ------------------------------------------------------------------------------------------ */

enum { NORM_ARGS = 3 };

typedef struct NormRow {
    const char *name;
    NormKind kind;
    const char *args[NORM_ARGS]; /* in positional order */
} NormRow;

static const NormRow norm_rows[] = {
    {"softmax", NORM_SOFTMAX, {"sink"}},
    {"none", NORM_NONE, {NULL}},
    {"sum", NORM_SUM, {"eps", "min"}},
    {"magnitude", NORM_MAGNITUDE, {"eps", "min"}},
    {"count", NORM_COUNT, {"power"}},
    {"moments", NORM_MOMENTS, {"eps", "gain", "bias"}},
    {"max", NORM_MAX, {NULL}},
    {"entmax", NORM_ENTMAX, {"alpha"}},
};
enum { NORM_ROW_COUNT = sizeof norm_rows / sizeof *norm_rows };

static const Expr **norm_slot(SpecNorm *norm, const char *name)
{
    const struct { const char *name; const Expr **slot; } slots[] = {
        {"sink", &norm->sink}, {"eps", &norm->eps},   {"min", &norm->min},     {"power", &norm->power},
        {"gain", &norm->gain}, {"bias", &norm->bias}, {"alpha", &norm->alpha},
    };
    for (size_t n = 0; n < sizeof slots / sizeof *slots; n++)
        if (!strcmp(slots[n].name, name))
            return slots[n].slot;
    return NULL;
}

static void norm_arguments(Checker *c, const Node *node, const NormRow *row)
{
    SpecNorm *norm = &c->spec->norm;
    int most = 0;
    while (most < NORM_ARGS && row->args[most])
        most++;
    for (int n = 0; node->kind == NODE_CALL && n < node->count; n++) {
        const Node *argument = node->child[n], *value = argument;
        int at = n;
        if (argument->kind == NODE_NAMED) {
            value = argument->child[0];
            for (at = 0; at < most && strcmp(row->args[at], argument->name);)
                at++;
            if (at == most) {
                Message *m = check_error(c, argument->name_span, "wrong-arguments",
                                         "'%s' has no argument '%s'", row->name, argument->name);
                const char *near = diag_nearest(argument->name, row->args, most);
                if (near)
                    diag_fix(c->diag, m, "did you mean '%s'?", near);
                continue;
            }
        } else if (at >= most) {
            check_error(c, argument->span, "wrong-arguments", "'%s' takes %d argument%s", row->name, most,
                        most == 1 ? "" : "s");
            continue;
        }
        const Expr **slot = norm_slot(norm, row->args[at]);
        if (*slot)
            check_error(c, argument->span, "wrong-arguments", "'%s' is given twice", row->args[at]);
        const char *what = arena_printf(c->arena, "'%s'", row->args[at]);
        *slot = value_expect_float(c, value->span, item_value(c, IN_NORMALIZE, value), what);
    }
    if (norm->kind != NORM_ENTMAX)
        return;
    if (!norm->alpha && !c->diag->errors)
        diag_fix(c->diag, check_error(c, node->span, "wrong-arguments", "entmax needs its alpha"),
                 "entmax(1.5)");
    if (norm->alpha && norm->alpha->op == EXPR_FLOAT && !(norm->alpha->value.f > 1))
        diag_fix(c->diag, check_error(c, node->span, "bad-value", "entmax needs an alpha above 1"),
                 "alpha = 1 is 'normalize softmax'");
}

static const Node *def_of_one(Checker *c, const char *name)
{
    for (int n = 0; n < c->file->count; n++) {
        const Node *child = c->file->child[n];
        if (child->kind == NODE_DEF && !strcmp(child->name, name))
            return child;
        const Node *imported = child->kind == NODE_IMPORT ? child->child[0] : NULL;
        for (int d = 0; imported && d < imported->count; d++)
            if (imported->child[d]->kind == NODE_DEF && !strcmp(imported->child[d]->name, name))
                return imported->child[d];
    }
    return NULL;
}

/* Elementwise: the function becomes part of the score, and nothing is divided. */
static bool norm_elementwise(Checker *c, const Node *node)
{
    Spec *spec = c->spec;
    Value score = value_scalar(spec->score), result = value_error();
    c->context = IN_SCORE;
    c->generation++;
    if (node->kind != NODE_NAME)
        return false;
    if (def_of_one(c, node->name)) {
        /* as if `name(score)` had been written */
        static const char *const argument = "the score";
        Node name = *node, call = *node, *child = &name;
        name.name = argument;
        call.kind = NODE_CALL;
        call.child = &child;
        call.count = 1;
        Binding binding = {NULL, argument, score};
        c->locals = &binding;
        result = check_call(c, &call);
        c->locals = NULL;
    } else if (!check_apply(c, node, node->name, score, &result)) {
        return false;
    }
    const Expr *e = value_expect_float(c, node->span, result, "a normaliser's weight");
    if (e) {
        spec->score = e;
        spec->norm.elementwise = (ExprOp)e->op;
    }
    spec->norm.kind = NORM_NONE;
    return true;
}

static void check_normalize(Checker *c, const Node *item)
{
    const Node *node = item->child[0];
    SpecNorm *norm = &c->spec->norm;
    norm->span = item->span;
    if (node->kind != NODE_NAME && node->kind != NODE_CALL) {
        diag_fix(
            c->diag,
            check_error(c, node->span, "type-mismatch", "a normaliser is a name, or a name with arguments"),
            "softmax, none, sum(eps = 1e-6), sigmoid, ...");
        return;
    }
    for (int n = 0; n < NORM_ROW_COUNT; n++)
        if (!strcmp(norm_rows[n].name, node->name)) {
            norm->kind = norm_rows[n].kind;
            norm_arguments(c, node, &norm_rows[n]);
            return;
        }
    if (c->spec->score && norm_elementwise(c, node))
        return;
    const char *names[NORM_ROW_COUNT + 8] = {"sigmoid", "tanh",    "relu", "exp",
                                             "erf",     "laplace", "silu", "softplus"};
    for (int n = 0; n < NORM_ROW_COUNT; n++)
        names[8 + n] = norm_rows[n].name;
    const char *near = diag_nearest(node->name, names, NORM_ROW_COUNT + 8);
    Message *m = check_error(c, node->name_span, "unknown-normaliser", "unknown normaliser '%s'", node->name);
    if (near)
        diag_fix(c->diag, m, "did you mean '%s'?", near);
    else
        diag_fix(
            c->diag, m,
            "softmax, none, sum, count, moments, max, entmax, or a function of the score such as sigmoid");
}

/* Decay ------------------------------------------------------------------------------------------------ */

/* log e, without leaving log space where e is written as exp(...) or a product of such. */
static const Expr *log_of(Checker *c, const Expr *e)
{
    ExprPool *pool = c->pool;
    if (e->op == EXPR_EXP)
        return e->args[0];
    if (e->op == EXPR_MUL && e->args[0]->op == EXPR_EXP && e->args[1]->op == EXPR_EXP)
        return expr_op2(pool, EXPR_ADD, e->args[0]->args[0], e->args[1]->args[0]);
    if (e->op == EXPR_SIGMOID) { /* min(x, 0) - log(1 + exp(-|x|)) */
        const Expr *x = e->args[0],
                   *small = expr_op1(pool, EXPR_EXP, expr_op1(pool, EXPR_NEG, expr_op1(pool, EXPR_ABS, x)));
        return expr_op2(pool, EXPR_SUB, expr_op2(pool, EXPR_MIN, x, expr_float(pool, 0)),
                        expr_op1(pool, EXPR_LOG1P, small));
    }
    return expr_op1(pool, EXPR_LOG, e);
}

static void decay_factor(Checker *c, const Node *node)
{
    SpecDecay *decay = &c->spec->decay;
    Value value = item_value(c, IN_DECAY, node);
    if (value.kind == VALUE_ERROR)
        return;
    if (value.kind == VALUE_TUPLE) {
        check_error(c, node->span, "type-mismatch", "a decay is a number or a vector, not %s",
                    value_describe(&value));
        return;
    }
    const Expr *e = expect_float(c, node->span, value.e, "a decay");
    if (!e)
        return;
    if (value.kind == VALUE_VECTOR && value.width != expr_var(c->pool, VAR_SIZE_D, TYPE_INT)
        && value.width != c->spec->feature_k.width) {
        check_error(c, node->span, "width-mismatch",
                    "a decay by channel needs one factor for each channel of k");
        return;
    }
    decay->kind = value.kind == VALUE_VECTOR ? DECAY_CHANNEL : DECAY_SCALAR;
    decay->log_step = log_of(c, e);
}

static void check_decay(Checker *c, const Node *item)
{
    const Node *node = item->child[0];
    SpecDecay *decay = &c->spec->decay;
    decay->span = item->span;
    if (c->spec->rank > 1) {
        check_error(c, item->span, "not-supported", "a decay needs a sequence, not a grid of %d axes",
                    c->spec->rank);
        return;
    }
    if (node->kind != NODE_CALL || strcmp(node->name, "delta")) {
        decay_factor(c, node);
        return;
    }
    /* delta(beta = ...), delta(factor, beta = ...) */
    decay->kind = DECAY_SCALAR;
    decay->log_step = expr_float(c->pool, 0);
    for (int n = 0; n < node->count; n++) {
        const Node *argument = node->child[n];
        if (argument->kind != NODE_NAMED && n == 0) {
            decay_factor(c, argument);
        } else if (argument->kind == NODE_NAMED && !strcmp(argument->name, "beta")) {
            const Node *value = argument->child[0];
            decay->beta = value_expect_float(c, value->span, item_value(c, IN_DECAY, value), "beta");
        } else {
            check_error(c, argument->span, "wrong-arguments",
                        "delta takes the decay, if any, and beta = ...");
        }
    }
    if (!decay->beta && !c->diag->errors)
        diag_fix(c->diag, check_error(c, node->span, "wrong-arguments", "delta needs its strength"),
                 "delta(beta = beta[t])");
}

/* The rest --------------------------------------------------------------------------------------------- */

static void check_output(Checker *c, const Node *item)
{
    Value value = item_value(c, IN_OUTPUT, item->child[0]);
    if (value.kind == VALUE_ERROR)
        return;
    const Expr *width =
        c->spec->feature_v.body ? c->spec->feature_v.width : expr_var(c->pool, VAR_SIZE_E, TYPE_INT);
    if (value.kind != VALUE_VECTOR) {
        diag_fix(c->diag,
                 check_error(c, item->child[0]->span, "type-mismatch", "the output must be a vector, not %s",
                             value_describe(&value)),
                 "it is a function of the row o, as in 'output sigmoid(gate[i]) * o'");
    } else if (value.width != width) {
        check_error(c, item->child[0]->span, "width-mismatch", "the output must be as wide as o");
    } else {
        c->spec->output = expect_float(c, item->child[0]->span, value.e, "the output");
    }
}

static void check_return(Checker *c, const Node *item)
{
    static const char *const later[] = {"column_sum", "entropy", "argmax", "weights"};
    const char *names[RETURN_KIND_COUNT];
    const Node *list = item->child[0];
    for (int kind = 0; kind < RETURN_KIND_COUNT; kind++)
        names[kind] = return_kind_name((ReturnKind)kind);
    for (int n = 0; n < list->count; n++) {
        const Node *name = list->child[n];
        int kind = 0, unknown = 1;
        while (kind < RETURN_KIND_COUNT && strcmp(names[kind], name->name))
            kind++;
        for (size_t l = 0; l < sizeof later / sizeof *later; l++)
            if (kind == RETURN_KIND_COUNT && !strcmp(later[l], name->name)) {
                check_error(c, name->span, "not-supported", "returning '%s' is not supported yet",
                            name->name);
                unknown = 0;
            }
        if (kind < RETURN_KIND_COUNT) {
            c->spec->returns[kind] = true;
        } else if (unknown) {
            const char *near = diag_nearest(name->name, names, RETURN_KIND_COUNT);
            Message *m = check_error(c, name->span, "unknown-name", "'%s' cannot be returned", name->name);
            diag_fix(c->diag, m, near ? "did you mean '%s'?" : "lse, max or sum", near);
        }
        if (kind == RETURN_LSE && c->spec->norm.kind != NORM_SOFTMAX)
            diag_fix(c->diag, check_error(c, name->span, "type-mismatch", "only softmax has an lse"),
                     "return sum");
    }
}

static void add_setting(Checker *c, const Node *setting, const char *target, int64_t value)
{
    Spec *spec = c->spec;
    if (spec->schedule_count == sizeof spec->schedule / sizeof *spec->schedule) {
        check_error(c, setting->span, "too-large", "too many settings");
        return;
    }
    spec->schedule[spec->schedule_count].key = setting->name;
    spec->schedule[spec->schedule_count].target = target;
    spec->schedule[spec->schedule_count].value = value;
    spec->schedule[spec->schedule_count++].span = setting->span;
}

static void check_schedule(Checker *c, const Node *item)
{
    const Node *list = item->child[0];
    int key_count = 0;
    while (schedule_keys[key_count])
        key_count++;
    for (int n = 0; n < list->count; n++) {
        const Node *setting = list->child[n];
        if (!check_schedule_key(setting->name)) {
            const char *near = diag_nearest(setting->name, schedule_keys, key_count);
            Message *m = check_error(c, setting->name_span, "unknown-name", "unknown schedule key '%s'",
                                     setting->name);
            if (near)
                diag_fix(c->diag, m, "did you mean '%s'?", near);
            continue;
        }
        const Node *given = setting->child[0];
        if (check_schedule_is_word(setting->name)) {
            int word = given->kind == NODE_NAME ? check_schedule_word(setting->name, given->name) : 0;
            if (!word)
                check_error(c, given->span, "bad-value", "%s is quadratic, chunked or recurrent", setting->name);
            else
                add_setting(c, setting, item->name, word);
            continue;
        }
        const Expr *e =
            value_expect_int(c, given->span, item_value(c, IN_CONSTANT, given), "a setting");
        if (e && (e->op != EXPR_INT || e->value.i < 1)) {
            check_error(c, given->span, "bad-value", "a setting is a positive number");
        } else if (e) {
            add_setting(c, setting, item->name, e->value.i);
        }
    }
}

void check_item(Checker *c, const Node *node)
{
    Spec *spec = c->spec;
    const Node *body = node->count ? node->child[0] : NULL;
    switch (node->kind) {
    case NODE_MASK:
        spec->mask = value_expect_bool(c, body->span, item_value(c, IN_MASK, body), "a mask");
        break;
    case NODE_SIMILARITY:
        spec->similarity =
            value_expect_float(c, body->span, item_value(c, IN_SIMILARITY, body), "a similarity");
        break;
    case NODE_SCORE:
        spec->score = value_expect_float(c, body->span, item_value(c, IN_SCORE, body), "a score");
        break;
    case NODE_FEATURE: check_feature(c, node); break;
    case NODE_NORMALIZE: check_normalize(c, node); break;
    case NODE_DECAY: check_decay(c, node); break;
    case NODE_OUTPUT: check_output(c, node); break;
    case NODE_RETURN: check_return(c, node); break;
    case NODE_SCHEDULE: check_schedule(c, node); break;
    case NODE_SELECT:
        check_error(c, node->span, "not-supported",
                    "'select' is not supported yet: every visible key is attended");
        break;
    case NODE_STREAM:
        check_error(c, node->span, "not-supported",
                    "several streams are not supported yet: one attention has one score");
        break;
    default:
        break;
    }
}

/* What is not written: s = q' . k', t = s * scale, everything visible. */
void check_defaults(Checker *c)
{
    Spec *spec = c->spec;
    ExprPool *pool = c->pool;
    expr_set_span(pool, spec->span);
    if (!spec->mask)
        spec->mask = expr_bool(pool, true);
    if (!spec->similarity) {
        VarId bound = expr_fresh_bound(pool);
        const Expr *channel = expr_var(pool, bound, TYPE_INT), *width = expr_var(pool, VAR_SIZE_D, TYPE_INT);
        const Expr *q = spec->feature_q.body ? spec->feature_q.width : width;
        const Expr *k = spec->feature_k.body ? spec->feature_k.width : width;
        if (q != k && !c->diag->errors)
            diag_fix(c->diag,
                     check_error(c, spec->feature_q.body ? spec->feature_q.span : spec->feature_k.span,
                                 "width-mismatch",
                                 "q and k have different widths after their feature maps, so they have no "
                                 "dot product"),
                     "map both, or write a similarity");
        spec->similarity = expr_reduce(pool, EXPR_SUM, bound, q,
                                       expr_op2(pool, EXPR_MUL, expr_elem(pool, ELEM_Q, channel, NULL),
                                                expr_elem(pool, ELEM_K, channel, NULL)));
    }
    if (!spec->score) {
        const Expr *d = expr_op1(pool, EXPR_TOFLOAT, expr_var(pool, VAR_SIZE_D, TYPE_INT));
        spec->score =
            expr_op2(pool, EXPR_MUL, expr_var(pool, VAR_S, TYPE_FLOAT), expr_op1(pool, EXPR_RSQRT, d));
    }
}
