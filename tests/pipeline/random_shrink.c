/* Random specs as text, and smaller ones that still fail. */
#include <string.h>

#include "random_spec.h"

/* Text ------------------------------------------------------------------------------------------------------ */

static void print(Text *out, const Gen *gen)
{
    for (const char *at = gen->format; *at; at++) {
        if (at[0] == '%' && at[1] >= '0' && at[1] < '0' + gen->count)
            print(out, gen->child[*++at - '0']);
        else
            text_add_bytes(out, at, 1);
    }
}

char *random_spec_text(Arena *arena, const RandomSpec *spec)
{
    static const char *const axes[] = {"", " over (y, x)", " over (z, y, x)"};
    Text out = {.arena = arena};
    text_add(&out, "import \"std/windows\"\nimport \"std/features\"\n");
    for (int n = 0; n < spec->def_count; n++)
        if (spec->defs[n]) {
            print(&out, spec->defs[n]);
            text_add(&out, "\n");
        }
    text_add(&out, "attention random%s {\n", axes[spec->rank - 1]);
    for (int n = 0; n < spec->item_count; n++)
        if (spec->items[n]) {
            text_add(&out, "    ");
            print(&out, spec->items[n]);
            text_add(&out, "\n");
        }
    text_add(&out, "}\n");
    return out.data;
}

/* Shrinking ------------------------------------------------------------------------------------------------- */

enum { MOST_TRIES = 1500 };

typedef struct Shrink {
    RandomSpec *spec;
    bool (*fails)(void *user, const RandomSpec *spec);
    void *user;
    int tries;
} Shrink;

static bool still_fails(Shrink *s)
{
    return s->tries++ < MOST_TRIES && s->fails(s->user, s->spec);
}

/* Replaces *slot and keeps that when the failure stays. */
static bool try_slot(Shrink *s, Gen **slot, Gen *with)
{
    Gen *before = *slot;
    if (before == with)
        return false;
    *slot = with;
    if (still_fails(s))
        return true;
    *slot = before;
    return false;
}

static bool shrink_node(Shrink *s, Gen **slot)
{
    static const char *const simplest[][3] = {[GEN_BOOL] = {"true", "j <= i"}, [GEN_INT] = {"0", "1", "i"}, [GEN_FLOAT] = {"0.5", "s * scale"}, [GEN_VECTOR] = {"x"}};
    bool changed = false;
    Gen *gen = *slot;
    for (int c = 0; c < gen->count && gen->kind < GEN_ITEM; c++)
        if (gen->child[c]->kind == gen->kind && try_slot(s, slot, gen->child[c]))
            return true;
    for (int n = 0; gen->kind < GEN_ITEM && n < 3 && simplest[gen->kind][n]; n++) {
        Gen *leaf = ARENA_NEW(s->spec->arena, Gen);
        *leaf = (Gen){.kind = gen->kind, .format = simplest[gen->kind][n]};
        if (!strcmp(gen->format, leaf->format))
            break;
        if (try_slot(s, slot, leaf))
            return true;
    }
    for (int c = 0; c < gen->count; c++)
        changed |= shrink_node(s, &gen->child[c]);
    return changed;
}

static bool try_shape(Shrink *s, CaseShape with)
{
    CaseShape before = s->spec->shape;
    if (!memcmp(&before, &with, sizeof with))
        return false;
    s->spec->shape = with;
    if (still_fails(s))
        return true;
    s->spec->shape = before;
    return false;
}

static CaseShape with_axes(CaseShape shape, int rank)
{
    shape.M = shape.N = 1;
    for (int a = 0; a < rank; a++) {
        shape.M *= shape.m_axis[a];
        shape.N *= shape.n_axis[a];
    }
    return shape;
}

static bool shrink_number(Shrink *s, size_t field, int64_t least)
{
    bool changed = false;
    for (int round = 0; round < 12; round++) {
        CaseShape shape = s->spec->shape;
        int64_t *value = (int64_t *)((char *)&shape + field), now = *value;
        if (now <= least)
            break;
        *value = round == 0 ? least : now / 2 > least ? now / 2 : least;
        if (try_shape(s, with_axes(shape, s->spec->rank))) {
            changed = true;
            continue;
        }
        *value = now - 1;
        if (!try_shape(s, with_axes(shape, s->spec->rank)))
            break;
        changed = true;
    }
    return changed;
}

static bool shrink_shape(Shrink *s)
{
    bool changed = false;
    CaseShape shape = s->spec->shape;
    shape.layout = CASE_BHMD;
    changed |= try_shape(s, shape);
    shape = s->spec->shape;
    shape.ragged = false;
    changed |= try_shape(s, shape);
    shape = s->spec->shape;
    shape.H = shape.G = 1;
    changed |= try_shape(s, shape);
    shape = s->spec->shape;
    if (!shape.ragged) {
        changed |= shrink_number(s, offsetof(CaseShape, B), 1);
        for (int a = 0; a < s->spec->rank; a++) {
            changed |= shrink_number(s, offsetof(CaseShape, m_axis) + (size_t)a * sizeof(int64_t), 1);
            changed |= shrink_number(s, offsetof(CaseShape, n_axis) + (size_t)a * sizeof(int64_t), 1);
        }
    } else {
        for (int b = 0; b < CASE_MAX_SEQUENCES; b++) {
            changed |= shrink_number(s, offsetof(CaseShape, q_length) + (size_t)b * sizeof(int64_t), 0);
            changed |= shrink_number(s, offsetof(CaseShape, k_length) + (size_t)b * sizeof(int64_t), 0);
        }
        changed |= shrink_number(s, offsetof(CaseShape, B), 1);
    }
    changed |= shrink_number(s, offsetof(CaseShape, D), 1);
    changed |= shrink_number(s, offsetof(CaseShape, E), 1);
    changed |= shrink_number(s, offsetof(CaseShape, offset), 0);
    return changed;
}

void random_spec_minimize(RandomSpec *spec, bool (*fails)(void *user, const RandomSpec *spec), void *user)
{
    Shrink shrink = {spec, fails, user, 0}, *s = &shrink;
    bool changed = true;
    while (changed && s->tries < MOST_TRIES) {
        changed = false;
        for (int n = spec->item_count - 1; n >= 0; n--)
            if (spec->items[n])
                changed |= try_slot(s, &spec->items[n], NULL);
        for (int n = 0; n < spec->def_count; n++)
            if (spec->defs[n])
                changed |= try_slot(s, &spec->defs[n], NULL);
        for (int n = 0; n < spec->item_count; n++)
            if (spec->items[n])
                changed |= shrink_node(s, &spec->items[n]);
        if (spec->elem != ELEM_TYPE_F32) {
            ElemType before = spec->elem;
            spec->elem = ELEM_TYPE_F32;
            if (still_fails(s))
                changed = true;
            else
                spec->elem = before;
        }
        changed |= shrink_shape(s);
    }
}
