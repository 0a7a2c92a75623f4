/* One element of a tile: its place, its text, its coordinates. */
#include "cuda_plain_emit.h"

static void name_value(Emitter *e, const Inst *value, const char *name)
{
    e->name[value->id] = name;
    e->named[e->named_count++] = value->id;
}

void plain_leave(Emitter *e, int mark)
{
    while (e->named_count > mark)
        e->name[e->named[--e->named_count]] = NULL;
}

const char *plain_hold(Emitter *e, const Inst *value, const char *text)
{
    const char *name = PRINT("x%u", e->g->next_name++);
    cuda_line(e->g, "const %s %s = %s;\n", cuda_type(e->g, value), name, text);
    name_value(e, value, name);
    return name;
}

const char *plain_memory_type(const CudaGen *g, const Inst *value)
{
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return "unsigned char";
    case ELEM_TYPE_BF16:
    case ELEM_TYPE_F16: return "unsigned short";
    default: return cuda_type(g, value);
    }
}

const char *plain_buffer(Emitter *e, const Inst *value)
{
    if (e->plan.values[value->id].spilled)
        return PRINT("((%s *)(attune_spill + %d))", plain_memory_type(e->g, value),
                     e->plan.values[value->id].offset);
    return PRINT("((%s *)(attune_tiles + %d))", plain_memory_type(e->g, value),
                 e->plan.values[value->id].offset);
}

/* Where an element lies: loops name the coordinate along axis k `ak`. */
static const char *place_of(Emitter *e, const Inst *value)
{
    const TileType *type = &value->type;
    const char *row = NULL;
    for (int k = 0; k + 1 < type->axis_count; k++)
        row = row ? PRINT("(%s * %d + a%d)", row, (int)plain_extent(e->g, type->axis[k]), type->axis[k])
                  : PRINT("a%d", type->axis[k]);
    int last = type->axis[type->axis_count - 1];
    return row ? PRINT("%s[%s * %d + a%d]", plain_buffer(e, value), row, e->plan.values[value->id].pitch,
                       last)
               : PRINT("%s[a%d]", plain_buffer(e, value), last);
}

const char *plain_read(Emitter *e, const Inst *value)
{
    const char *at = place_of(e, value);
    switch (value->type.elem) {
    case ELEM_TYPE_BOOL: return PRINT("(%s != 0)", at);
    case ELEM_TYPE_BF16: return PRINT("attune_of_bf16(%s)", at);
    case ELEM_TYPE_F16: return PRINT("attune_of_f16(%s)", at);
    default: return at;
    }
}

void plain_write(Emitter *e, const Inst *value, const char *text)
{
    if (value->type.elem == ELEM_TYPE_BF16)
        text = PRINT("attune_to_bf16(%s)", text);
    else if (value->type.elem == ELEM_TYPE_F16)
        text = PRINT("attune_to_f16(%s)", text);
    cuda_line(e->g, "%s = %s;\n", place_of(e, value), text);
}

CudaOperands plain_operands(Emitter *e)
{
    return (CudaOperands){plain_element, e};
}

/* The text of a value at the element at hand. */
const char *plain_element(void *user, const Inst *value)
{
    Emitter *e = user;
    const PlainValue *v = &e->plan.values[value->id];
    if (e->name[value->id])
        return e->name[value->id];
    if (v->kind == PLAIN_SCALAR)
        return PRINT("v%u", value->id);
    if (value->op == TILE_INDEX && e->g->slice_extent && value->axis == e->g->slice_axis)
        return PRINT("(a%d + slice)", value->axis);
    if (value->op == TILE_INDEX)
        return PRINT("a%d", value->axis);
    if (v->kind == PLAIN_INLINE && value->op == TILE_LOAD)
        return plain_hold(e, value, cuda_load(e->g, value, plain_operands(e)));
    if (v->kind == PLAIN_INLINE)
        return plain_hold(e, value, cuda_map(e->g, value, plain_operands(e)));
    return plain_hold(e, value, plain_read(e, value));
}

/* A var of a storage type holds rounded floats. */
const char *plain_rounded(Emitter *e, ElemType elem, const char *text)
{
    return elem == ELEM_TYPE_BF16  ? PRINT("attune_round_bf16(%s)", text)
           : elem == ELEM_TYPE_F16 ? PRINT("attune_round_f16(%s)", text)
                                   : text;
}

void plain_barrier(Emitter *e)
{
    if (e->copies)
        cuda_line(e->g, "attune_wait_copies();\n");
    e->copies = false;
    cuda_line(e->g, "__syncthreads();\n");
}

void plain_open(Emitter *e)
{
    cuda_line(e->g, "{\n");
    e->g->indent += 4;
}

void plain_close(Emitter *e)
{
    e->g->indent -= 4;
    cuda_line(e->g, "}\n");
}

/* The coordinates of row `r` along all axes but the last. */
void plain_name_row(Emitter *e, const TileType *axes, const char *r)
{
    int count = axes->axis_count - 1;
    for (int k = count - 1; k >= 0; k--) {
        int extent = (int)plain_extent(e->g, axes->axis[k]);
        int64_t inner = 1;
        for (int i = k + 1; i < count; i++)
            inner *= plain_extent(e->g, axes->axis[i]);
        const char *quotient = inner > 1 ? PRINT("%s / %d", r, (int)inner) : r;
        cuda_line(e->g, k ? "const int a%d = %s %% %d;\n" : "const int a%d = %s;\n", axes->axis[k], quotient,
                  extent);
    }
}
