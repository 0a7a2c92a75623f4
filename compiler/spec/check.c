/* AST -> Spec: the attention asked for, its settings, its items in their order, and what is worth a
 * warning. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check_internal.h"

static const Node *find_attention(Diag *diag, const Node *file, const char *name)
{
    const Node *found = NULL;
    const char *names[64];
    int count = 0, all = 0;
    Text list = {.arena = diag->arena};
    for (int n = 0; n < file->count; n++) {
        const Node *node = file->child[n];
        if (node->kind != NODE_ATTENTION)
            continue;
        for (int k = 0; k < count; k++)
            if (!strcmp(names[k], node->name))
                diag_error(diag, node->name_span, "duplicate-name", "a second attention '%s'", node->name);
        if (count < 64)
            names[count++] = node->name;
        text_add(&list, "%s%s", all ? ", " : "", node->name);
        all++;
        if (!found && (!name || !strcmp(node->name, name)))
            found = node;
    }
    if (!all) {
        diag_fix(diag, diag_error(diag, file->span, "no-attention", "this file has no attention"),
                 "attention NAME { mask j <= i }");
        return NULL;
    }
    if (name && !found) {
        const char *near = diag_nearest(name, names, count);
        Message *m =
            diag_error(diag, SPAN_NONE, "unknown-name", "there is no attention '%s' in this file", name);
        if (near)
            diag_fix(diag, m, "did you mean '%s'?", near);
        else
            diag_fix(diag, m, "it has: %s", list.data);
        return NULL;
    }
    if (!name && all > 1) {
        diag_fix(diag,
                 diag_error(diag, SPAN_NONE, "unknown-name",
                            "this file has %d attentions; say which one is meant", all),
                 "one of: %s", list.data);
        return NULL;
    }
    return found;
}

static void take_axes(Checker *c, const Node *attention)
{
    static const char *const usual[] = {"x"};
    const Node *axes = attention->child[0];
    Spec *spec = c->spec;
    spec->rank = 1;
    spec->axis_names[0] = usual[0];
    if (!axes)
        return;
    if (axes->count > SPEC_MAX_RANK) {
        check_error(c, axes->span, "too-large", "an index space has at most %d axes, not %d", SPEC_MAX_RANK,
                    axes->count);
        return;
    }
    spec->rank = axes->count;
    for (int a = 0; a < axes->count; a++) {
        spec->axis_names[a] = axes->child[a]->name;
        for (int b = 0; b < a; b++)
            if (!strcmp(spec->axis_names[a], spec->axis_names[b]))
                check_error(c, axes->child[a]->span, "duplicate-name", "two axes are named '%s'",
                            spec->axis_names[a]);
    }
}

/* Settings that are no params are extents of free dimensions, schedule keys, or mistakes. */
static void take_settings(Checker *c, const Node *items, const SpecSetting *settings, int count)
{
    Spec *spec = c->spec;
    for (int n = 0; n < count; n++) {
        const char *names[SPEC_MAX_PARAMS + 32];
        int name_count = 0;
        bool param = false;
        for (int k = 0; k < items->count; k++)
            if (items->child[k]->kind == NODE_PARAM) {
                param |= !strcmp(items->child[k]->name, settings[n].name);
                if (name_count < SPEC_MAX_PARAMS)
                    names[name_count++] = items->child[k]->name;
            }
        if (param)
            continue;
        int free_dim = find_free(c, settings[n].name);
        for (int k = 0; schedule_keys[k]; k++)
            names[name_count++] = schedule_keys[k];
        if (free_dim < 0 && !check_schedule_key(settings[n].name)) {
            const char *near = diag_nearest(settings[n].name, names, name_count);
            Message *m =
                check_error(c, SPAN_NONE, "unknown-setting", "'%s' is no param of '%s' and no schedule key",
                            settings[n].name, spec->name);
            if (near)
                diag_fix(c->diag, m, "did you mean '%s'?", near);
            continue;
        }
        char *end;
        errno = 0;
        long long value = strtoll(settings[n].value, &end, 10);
        if (check_schedule_is_word(settings[n].name)) {
            value = check_schedule_word(settings[n].name, settings[n].value);
            end = value ? (char *)"" : NULL;
        }
        if (!end) {
            check_error(c, SPAN_NONE, "bad-setting", "'%s' cannot be set to '%s': it is quadratic, chunked or recurrent",
                        settings[n].name, settings[n].value);
        } else if (end == settings[n].value || *end || errno || value < 1) {
            check_error(c, SPAN_NONE, "bad-setting", "'%s' cannot be set to '%s': it is a positive number",
                        settings[n].name, settings[n].value);
        } else if (free_dim >= 0) { /* not at launch: kernels are made for one extent */
            spec->params[free_dim].value.i = value;
        } else if (spec->schedule_count == sizeof spec->schedule / sizeof *spec->schedule) {
            check_error(c, SPAN_NONE, "too-large", "too many settings");
        } else {
            spec->schedule[spec->schedule_count].key = arena_strdup(c->arena, settings[n].name);
            spec->schedule[spec->schedule_count].value = value;
            spec->schedule[spec->schedule_count++].span = SPAN_NONE;
        }
    }
}

static void take_lets(Checker *c, const Node *items)
{
    c->lets = ARENA_ARRAY(c->arena, Let, (size_t)items->count);
    for (int n = 0; n < items->count; n++) {
        const Node *item = items->child[n];
        if (item->kind != NODE_LET)
            continue;
        const char *meaning = check_reserved_meaning(item->name);
        if (meaning)
            check_error(c, item->name_span, "reserved-name", "'%s' is %s; choose another name", item->name,
                        meaning);
        for (int k = 0; k < c->let_count; k++)
            if (!strcmp(c->lets[k].node->name, item->name))
                check_error(c, item->name_span, "duplicate-name", "'%s' is declared twice", item->name);
        c->lets[c->let_count++] = (Let){.node = item, .item = n, .generation = -1};
    }
}

static void refuse_second_items(Checker *c, const Node *items)
{
    const Node *first[NODE_KIND_COUNT] = {NULL};
    for (int n = 0; n < items->count; n++) {
        const Node *item = items->child[n];
        switch (item->kind) {
        case NODE_MASK:
        case NODE_SIMILARITY:
        case NODE_SCORE:
        case NODE_NORMALIZE:
        case NODE_DECAY:
        case NODE_OUTPUT:
            if (first[item->kind]) {
                Message *m =
                    check_error(c, item->span, "duplicate-item", "a second %s", node_word(item->kind));
                if (m && item->kind == NODE_MASK)
                    diag_fix(c->diag, m, "join the two with 'and'");
                if (m)
                    diag_note(c->diag, first[item->kind]->span, "the first is here");
            } else {
                first[item->kind] = item;
            }
            break;
        default:
            break;
        }
    }
}

/* Checks the items for which `wanted` holds, in the order written. */
static void check_items_of(Checker *c, const Node *items, bool (*wanted)(NodeKind kind))
{
    for (int n = 0; n < items->count; n++)
        if (wanted(items->child[n]->kind)) {
            c->item = n;
            check_item(c, items->child[n]);
        }
}

static bool is_feature(NodeKind kind) { return kind == NODE_FEATURE; }
static bool is_pairwise(NodeKind kind)
{
    return kind == NODE_MASK || kind == NODE_SIMILARITY || kind == NODE_SCORE;
}
static bool is_normalize(NodeKind kind) { return kind == NODE_NORMALIZE; }
static bool is_other(NodeKind kind) { return !is_feature(kind) && !is_pairwise(kind) && !is_normalize(kind); }

static void check_combinations(Checker *c, const Node *items)
{
    const Spec *spec = c->spec;
    if (spec->decay.kind == DECAY_NONE)
        return;
    NormKind norm = spec->norm.kind;
    bool linear = norm == NORM_NONE || norm == NORM_SUM || norm == NORM_MAGNITUDE || norm == NORM_COUNT,
         recurrent = spec->decay.kind == DECAY_CHANNEL || spec->decay.beta;
    if (!linear && (recurrent || norm != NORM_SOFTMAX))
        diag_fix(c->diag,
                 check_error(c, spec->decay.span, "type-mismatch", "this normaliser cannot have %s",
                             spec->decay.beta ? "a delta rule"
                             : recurrent      ? "a decay by channel"
                                              : "a decay"),
                 "decays go with 'normalize none', sum, magnitude and count%s", recurrent ? "" : ", and with softmax");
    for (int n = 0; n < items->count; n++)
        if (recurrent && items->child[n]->kind == NODE_SIMILARITY)
            check_error(c, items->child[n]->span, "type-mismatch",
                        "with %s the similarity is the dot product",
                        spec->decay.beta ? "a delta rule" : "a decay by channel");
}

Spec *check_spec(Arena *arena, Diag *diag, const Ast *file, const char *name, const SpecSetting *settings,
                 int setting_count)
{
    int errors = diag->errors;
    const Node *attention = find_attention(diag, ast_main(file), name);
    if (!attention)
        return NULL;
    Checker *c = ARENA_NEW(arena, Checker);
    const Node *items = attention->child[1];
    *c = (Checker){.arena = arena,
                   .diag = diag,
                   .ast = file,
                   .file = ast_main(file),
                   .pool = expr_pool_create(arena),
                   .spec = ARENA_NEW(arena, Spec),
                   .memory = arena_used(arena)};
    Spec *spec = c->spec;
    spec->arena = arena;
    spec->pool = c->pool;
    spec->name = attention->name;
    spec->span = attention->name_span;
    spec->norm.elementwise = EXPR_OP_COUNT;
    spec->norm.span = attention->name_span;

    take_axes(c, attention);
    take_lets(c, items);
    for (int n = 0; n < items->count; n++)
        if (items->child[n]->kind == NODE_PARAM) {
            c->item = n;
            check_param(c, items->child[n], settings, setting_count);
        }
    for (int n = 0; n < items->count; n++)
        if (items->child[n]->kind == NODE_INPUT) {
            c->item = n;
            check_input(c, items->child[n]);
        }
    refuse_second_items(c, items);
    check_items_of(c, items, is_feature);
    check_items_of(c, items, is_pairwise);
    check_defaults(c);
    check_items_of(c, items, is_normalize);
    check_items_of(c, items, is_other);
    take_settings(c, items, settings, setting_count);
    check_combinations(c, items);
    if (diag->errors > errors)
        return NULL;
    check_warnings(c);
    return diag->errors > errors ? NULL : spec;
}
