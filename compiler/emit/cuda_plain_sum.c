/* Reductions and contractions: by lanes, by threads, by tensor cores. */
#include "cuda_plain_emit.h"

const char *plain_reduce_start(const Emitter *e, const Inst *reduce)
{
    bool is_float = elem_class(reduce->type.elem) == TYPE_FLOAT,
         narrow = !is_float && cuda_narrow(e->g, reduce);
    switch (reduce->reduce) {
    case REDUCE_SUM: return is_float ? "0.0f" : "0";
    case REDUCE_MAX:
        return is_float ? "__int_as_float(0xff800000)"
               : narrow ? "(-2147483647 - 1)"
                        : "(-9223372036854775807LL - 1)";
    case REDUCE_MIN:
        return is_float ? "__int_as_float(0x7f800000)" : narrow ? "2147483647" : "9223372036854775807LL";
    case REDUCE_OR: return "0";
    case REDUCE_AND: break;
    }
    return "1";
}

const char *plain_reduce_type(const Emitter *e, const Inst *reduce)
{
    return reduce->type.elem == ELEM_TYPE_BOOL ? "int" : cuda_type(e->g, reduce);
}

const char *plain_reduce_pair(Emitter *e, const Inst *reduce, const char *a, const char *b)
{
    bool is_float = elem_class(reduce->type.elem) == TYPE_FLOAT;
    const char *bits = is_float ? NULL : cuda_narrow(e->g, reduce) ? "32" : "64";
    switch (reduce->reduce) {
    case REDUCE_SUM:
        return is_float ? PRINT("__fadd_rn(%s, %s)", a, b)
                        : PRINT("(%s)attune_add(%s, %s)", plain_reduce_type(e, reduce), a, b);
    case REDUCE_MAX:
        return is_float ? PRINT("attune_fmax(%s, %s)", a, b) : PRINT("attune_max%s(%s, %s)", bits, a, b);
    case REDUCE_MIN:
        return is_float ? PRINT("attune_fmin(%s, %s)", a, b) : PRINT("attune_min%s(%s, %s)", bits, a, b);
    case REDUCE_OR: return PRINT("(%s | %s)", a, b);
    case REDUCE_AND: break;
    }
    return PRINT("(%s & %s)", a, b);
}

void plain_shuffle(Emitter *e, const Inst *reduce, const char *total, int lanes)
{
    if (lanes < 2)
        return;
    cuda_line(e->g, "for (int lane = %d; lane; lane /= 2) %s = %s;\n", lanes / 2, total,
              plain_reduce_pair(e, reduce, total, PRINT("__shfl_xor_sync(0xffffffffu, %s, lane)", total)));
}

/* Reductions along other axes, contractions -------------------------------------------------------------- */

/* The loop over the elements of a result: opens it; close_elements ends it. */
static int open_elements(Emitter *e, const TileType *axes)
{
    int mark = e->named_count, count = axes->axis_count;
    if (count == 0) {
        plain_open(e);
        return mark;
    }
    cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) {\n", (int)plain_count(e->g, axes),
              PLAIN_THREADS);
    e->g->indent += 4;
    int last = axes->axis[count - 1], columns = (int)plain_extent(e->g, last);
    cuda_line(e->g, "const int a%d = item %% %d;\n", last, columns);
    if (count > 1)
        cuda_line(e->g, "const int row = item / %d;\n", columns);
    plain_name_row(e, axes, "row");
    return mark;
}

static void close_elements(Emitter *e, int mark)
{
    plain_close(e);
    plain_leave(e, mark);
}

/* Sums and the like over one axis, by one thread, or for a scalar by every warp: lanes share the axis. */
static void along_axis(Emitter *e, int axis, bool scalar)
{
    cuda_line(e->g,
              scalar ? "for (int a%d = threadIdx.x %% 32; a%d < %d; a%d += 32) {\n"
                     : "for (int a%d = 0; a%d < %d; a%d++) {\n",
              axis, axis, (int)plain_extent(e->g, axis), axis);
    e->g->indent += 4;
}

void plain_reduce(Emitter *e, const Inst *reduce)
{
    bool scalar = reduce->type.axis_count == 0;
    const char *total =
        scalar ? PRINT("%s%u", reduce->type.elem == ELEM_TYPE_BOOL ? "b" : "v", reduce->id) : "total";
    if (scalar)
        cuda_line(e->g, "%s %s = %s;\n", plain_reduce_type(e, reduce), total, plain_reduce_start(e, reduce));
    int mark = open_elements(e, &reduce->type);
    if (!scalar)
        cuda_line(e->g, "%s %s = %s;\n", plain_reduce_type(e, reduce), total, plain_reduce_start(e, reduce));
    int inner = e->named_count;
    along_axis(e, reduce->axis, scalar);
    cuda_line(e->g, "%s = %s;\n", total,
              plain_reduce_pair(e, reduce, total, plain_element(e, reduce->args[0])));
    plain_close(e);
    plain_leave(e, inner);
    if (scalar)
        plain_shuffle(e, reduce, total, 32);
    else
        plain_write(e, reduce, total);
    close_elements(e, mark);
    if (scalar && reduce->type.elem == ELEM_TYPE_BOOL)
        cuda_line(e->g, "const bool v%u = %s;\n", reduce->id, total);
}

static const char *float_kind(const Inst *value)
{
    return value->type.elem == ELEM_TYPE_BF16  ? "AttuneBf16"
           : value->type.elem == ELEM_TYPE_F16 ? "AttuneF16"
                                               : "AttuneF32";
}

/* A matrix in memory: a tile or a slice of one. */
typedef struct Matrix {
    const Inst *value;
    const PlainValue *place;
    bool transposed;
} Matrix;

static const char *matrix_text(Emitter *e, const Matrix *m)
{
    return PRINT("((%s *)(attune_%s + %d))", plain_memory_type(e->g, m->value),
                 m->place->spilled ? "spill" : "tiles", m->place->offset);
}

static void product_call(Emitter *e, const Inst *contract, const TileType *axes, const Matrix operands[2],
                         int depth, bool into)
{
    /* The operand that holds the result's first axis gives its rows. */
    int first = !inst_has_axis(operands[0].value, axes->axis[0]);
    const Matrix *a = &operands[first], *b = &operands[!first];
    const Inst *result = contract->target ? contract->target : contract;
    if (plain_is_product(contract))
        cuda_line(e->g, "attune_product<%s, ", a->value->type.elem == ELEM_TYPE_BF16 ? "true" : "false");
    else
        cuda_line(e->g, "attune_product_f32<%s, %s, ", float_kind(a->value), float_kind(b->value));
    cuda_line(e->g, "%s, %s, %s, %d, %d, %d, %d, %d, %d>(%s, %s, %s);\n", a->transposed ? "true" : "false",
              b->transposed ? "true" : "false", into ? "true" : "false",
              (int)plain_extent(e->g, axes->axis[0]), (int)plain_extent(e->g, axes->axis[1]), depth,
              a->place->pitch, b->place->pitch, e->plan.values[result->id].pitch, plain_buffer(e, result),
              matrix_text(e, a), matrix_text(e, b));
}

/* One slice of an operand that is computed in place, zero behind the end of the axis. */
static void fill_slice(Emitter *e, const Inst *contract, const Matrix *m)
{
    const TileType *type = &m->value->type;
    int axis = contract->axis, kept = type->axis[type->axis[0] == axis],
        extent = (int)plain_extent(e->g, axis), mark = e->named_count;
    cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) {\n",
              (int)plain_extent(e->g, kept) * PLAIN_SLICE, PLAIN_THREADS);
    e->g->indent += 4;
    cuda_line(e->g, "const int a%d = item / %d, a%d = base + item %% %d;\n", kept, PLAIN_SLICE, axis,
              PLAIN_SLICE);
    const char *to = m->value->type.elem == ELEM_TYPE_BF16  ? "attune_to_bf16"
                     : m->value->type.elem == ELEM_TYPE_F16 ? "attune_to_f16"
                                                            : "";
    cuda_line(e->g, "float part = 0.0f;\n");
    cuda_line(e->g, "if (a%d < %d) {\n", axis, extent);
    e->g->indent += 4;
    cuda_line(e->g, "part = %s;\n", plain_element(e, m->value));
    plain_close(e);
    cuda_line(e->g, "%s[a%d * %d + item %% %d] = %s(part);\n", matrix_text(e, m), kept, m->place->pitch,
              PLAIN_SLICE, to);
    plain_close(e);
    plain_leave(e, mark);
}

/* A product over a long axis. */
static void sliced_product(Emitter *e, const Step *step, const Matrix operands[2])
{
    const Inst *contract = step->members[0], *result = contract->target ? contract->target : contract;
    int rows = (int)plain_extent(e->g, step->axes.axis[0]), pitch = e->plan.values[result->id].pitch;
    if (!contract->target) {
        cuda_line(e->g, "for (int item = threadIdx.x; item < %d; item += %d) %s[item] = 0.0f;\n",
                  rows * pitch, PLAIN_THREADS, plain_buffer(e, result));
    }
    cuda_line(e->g, "for (int base = 0; base < %d; base += %d) {\n", (int)plain_extent(e->g, contract->axis),
              PLAIN_SLICE);
    e->g->indent += 4;
    for (int k = 0; k < 2; k++)
        fill_slice(e, contract, &operands[k]);
    plain_barrier(e);
    product_call(e, contract, &step->axes, operands, PLAIN_SLICE, true);
    plain_barrier(e);
    plain_close(e);
}

/* A matrix product, in one go or in slices. */
static bool emit_product(Emitter *e, const Step *step)
{
    const Inst *contract = step->members[0];
    Matrix operands[2];
    bool sliced[2];
    for (int k = 0; k < 2; k++) {
        const Inst *value = contract->args[k];
        sliced[k] = e->plan.values[value->id].kind == PLAIN_INLINE;
        operands[k] = (Matrix){value, sliced[k] ? &step->slices[k] : &e->plan.values[value->id],
                               !sliced[k] && value->type.axis[0] == contract->axis};
    }
    if (!plain_is_matrix(contract) || sliced[0] != sliced[1])
        return false;
    if (sliced[0])
        sliced_product(e, step, operands);
    else
        product_call(e, contract, &step->axes, operands, (int)plain_extent(e->g, contract->axis),
                     contract->target != NULL);
    return true;
}

void plain_contract(Emitter *e, const Step *step)
{
    const Inst *contract = step->members[0], *into = contract->target, *result = into ? into : contract;
    const TileType *axes = &step->axes;
    if (emit_product(e, step))
        return;
    bool scalar = axes->axis_count == 0;
    const char *sum = scalar ? PRINT("s%u", contract->id) : "sum";
    if (scalar)
        cuda_line(e->g, "float %s = 0.0f;\n", sum);
    int mark = open_elements(e, axes);
    if (!scalar)
        cuda_line(e->g, "float %s = 0.0f;\n", sum);
    int inner = e->named_count;
    along_axis(e, contract->axis, scalar);
    if (contract->expr)
        cuda_line(e->g, "%s = __fadd_rn(%s, %s);\n", sum, sum,
                  cuda_scalar(e->g, contract, contract->expr, plain_operands(e)));
    else
        cuda_line(e->g, "%s = __fmaf_rn(%s, %s, %s);\n", sum, plain_element(e, contract->args[0]),
                  plain_element(e, contract->args[1]), sum);
    plain_close(e);
    plain_leave(e, inner);
    if (scalar)
        cuda_line(e->g,
                  "for (int lane = 16; lane; lane /= 2) %s = __fadd_rn(%s, __shfl_xor_sync(0xffffffffu, %s, "
                  "lane));\n",
                  sum, sum, sum);
    else
        plain_write(e, result, into ? PRINT("__fadd_rn(%s, %s)", plain_read(e, result), sum) : sum);
    close_elements(e, mark);
    if (scalar && into)
        cuda_line(e->g, "v%u = __fadd_rn(v%u, %s);\n", into->id, into->id, sum);
    else if (scalar)
        cuda_line(e->g, "const float v%u = %s;\n", contract->id, sum);
}
