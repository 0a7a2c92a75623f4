/* Block-wide matrix products of tiles: c[rows][columns] = sum over the depth of a b, as cuda_plain.cuh has
 * them. Results and operands are row-major with a pitch. */
#include "llvm_ptx.h"

#define V LLVMValueRef

enum { WARPS = PLAIN_THREADS / 32 };

static V result_at(Ptx *p, const PtxProduct *m, V row, V column)
{
    V index = ptx_sum(p, ptx_mul(p, row, m->result->pitch), column);
    return ptx_at(p, ptx_buffer(p, m->result), p->l.f32, index);
}

static void give(Ptx *p, const PtxProduct *m, V at, V v)
{
    LLVMBuilderRef b = p->l.b;
    LLVMTypeRef type = LLVMTypeOf(v);
    if (m->into)
        v = LLVMBuildFAdd(b, LLVMBuildLoad2(b, type, at, ""), v, "");
    LLVMBuildStore(b, v, at);
}

/* Tensor cores ------------------------------------------------------------------------------------------- */

/* Where instructions of their own find an element of a 16-bit operand. */
static V operand_at(Ptx *p, const PtxMatrix *m, V row, V column)
{
    V index = ptx_sum(p, ptx_mul(p, row, m->place->pitch), column);
    return ptx_sum(p, ptx_add(p, p->tiles_at, m->place->offset), ptx_mul(p, index, 2));
}

/* Where one warp stands: 16 rows from r, 32 columns from s. */
typedef struct Strip {
    V r, s, lane;
    V low8, low16, half, quarter; /* lane % 8, lane % 16, lane / 16 * 8, lane / 8 % 2 * 8 */
} Strip;

static void fragment_a(Ptx *p, const PtxMatrix *m, const Strip *t, V k, V fragment[4])
{
    V at = m->transposed ? operand_at(p, m, ptx_sum(p, ptx_sum(p, k, t->low8), t->half),
                                      ptx_sum(p, t->r, t->quarter))
                         : operand_at(p, m, ptx_sum(p, t->r, t->low16), ptx_sum(p, k, t->half));
    ptx_ldmatrix(p, m->transposed, at, fragment);
}

/* Of 16 columns from s on. */
static void fragment_b(Ptx *p, const PtxMatrix *m, const Strip *t, V k, V s, V fragment[4])
{
    V at = m->transposed ? operand_at(p, m, ptx_sum(p, k, t->low16), ptx_sum(p, s, t->half))
                         : operand_at(p, m, ptx_sum(p, ptx_sum(p, s, t->low8), t->half),
                                      ptx_sum(p, k, t->quarter));
    ptx_ldmatrix(p, m->transposed, at, fragment);
}

static void multiply_strip(Ptx *p, const PtxProduct *m, const Strip *t, V sums[4][4])
{
    bool bf16 = m->a.value->type.elem == ELEM_TYPE_BF16;
    for (int n = 0; n < 4; n++)
        for (int e = 0; e < 4; e++)
            sums[n][e] = ptx_variable(p, p->l.f32, LLVMConstReal(p->l.f32, 0));
    PtxLoop loop = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, m->depth), 16);
    V a[4], b[4];
    fragment_a(p, &m->a, t, loop.index, a);
    for (int half = 0; half < 2; half++) {
        V s = ptx_add(p, t->s, half * 16);
        bool partial = half == 1 && m->columns % 32 > 0 && m->columns % 32 <= 16;
        LLVMBasicBlockRef after = ptx_if(p, partial ? ptx_less(p, s, m->columns) : NULL);
        fragment_b(p, &m->b, t, loop.index, s, b);
        for (int n = 0; n < 2; n++) {
            V sum[4];
            for (int e = 0; e < 4; e++)
                sum[e] = ptx_get(p, p->l.f32, sums[half * 2 + n][e]);
            ptx_mma(p, bf16, sum, a, b[n * 2], b[n * 2 + 1]);
            for (int e = 0; e < 4; e++)
                ptx_set(p, sums[half * 2 + n][e], sum[e]);
        }
        ptx_if_end(p, after);
    }
    ptx_loop_end(p, &loop);
}

/* Two neighbours of a row at once, where both exist or neither does. */
static void give_strip(Ptx *p, const PtxProduct *m, const Strip *t, V sums[4][4])
{
    Gen *l = &p->l;
    bool pairs = m->columns % 2 == 0 && m->result->pitch % 2 == 0;
    LLVMTypeRef two = LLVMVectorType(l->f32, 2);
    for (int n = 0; n < 4; n++)
        for (int e = 0; e < 4; e += pairs ? 2 : 1) {
            V row = ptx_add(p, ptx_sum(p, t->r, ptx_div(p, t->lane, 4)), e / 2 * 8);
            V column = ptx_add(p, ptx_sum(p, t->s, ptx_mul(p, ptx_mod(p, t->lane, 4), 2)), n * 8 + e % 2);
            V inside = m->rows % 16 ? ptx_less(p, row, m->rows) : NULL;
            V left = m->columns % 32 ? ptx_less(p, column, m->columns) : NULL;
            LLVMBasicBlockRef after =
                ptx_if(p, inside && left ? LLVMBuildAnd(l->b, inside, left, "") : inside ? inside : left);
            V v = ptx_get(p, l->f32, sums[n][e]), at = result_at(p, m, row, column);
            if (pairs) {
                v = LLVMBuildInsertElement(l->b, LLVMGetPoison(two), v, PTX_INT(p, 0), "");
                v = LLVMBuildInsertElement(l->b, v, ptx_get(p, l->f32, sums[n][e + 1]), PTX_INT(p, 1), "");
            }
            give(p, m, at, v);
            ptx_if_end(p, after);
        }
}

static void product_on_tensor_cores(Ptx *p, const PtxProduct *m)
{
    V sums[4][4], lane = ptx_mod(p, p->thread, 32);
    int columns = (m->columns + 31) / 32, strips = (m->rows + 15) / 16 * columns;
    Strip t = {.lane = lane,
               .low8 = ptx_mod(p, lane, 8),
               .low16 = ptx_mod(p, lane, 16),
               .half = ptx_mul(p, ptx_div(p, lane, 16), 8),
               .quarter = ptx_mul(p, ptx_mod(p, ptx_div(p, lane, 8), 2), 8)};
    PtxLoop loop = ptx_loop(p, ptx_div(p, p->thread, 32), PTX_INT(p, strips), WARPS);
    t.r = ptx_mul(p, ptx_div(p, loop.index, columns), 16);
    t.s = ptx_mul(p, ptx_mod(p, loop.index, columns), 32);
    multiply_strip(p, m, &t, sums);
    give_strip(p, m, &t, sums);
    ptx_loop_end(p, &loop);
}

/* Floats ------------------------------------------------------------------------------------------------- */

/* Every product and sum is rounded once; 16 x 16 threads, up to 4 x 4 elements each. */
enum { SIDE = 4 };

/* One element of an operand as a float: `row` counts along its kept axis. */
static V operand(Ptx *p, const PtxMatrix *m, V row, V k)
{
    LLVMTypeRef type = ptx_memory_type(p, m->value);
    V index = m->transposed ? ptx_sum(p, ptx_mul(p, k, m->place->pitch), row)
                            : ptx_sum(p, ptx_mul(p, row, m->place->pitch), k);
    V v = LLVMBuildLoad2(p->l.b, type, ptx_at(p, ptx_buffer(p, m->place), type, index), "");
    return type == p->l.i16 ? ptx_of_bits(p, m->value->type.elem, v) : v;
}

/* Four along the summed axis. */
static void operand_four(Ptx *p, const PtxMatrix *m, V row, V k, V four[4])
{
    LLVMTypeRef type = ptx_memory_type(p, m->value);
    if (m->transposed || m->place->pitch % 4) {
        for (int j = 0; j < 4; j++)
            four[j] = operand(p, m, row, ptx_add(p, k, j));
        return;
    }
    V index = ptx_sum(p, ptx_mul(p, row, m->place->pitch), k);
    V at = ptx_at(p, ptx_buffer(p, m->place), type, index);
    V all = LLVMBuildLoad2(p->l.b, LLVMVectorType(type, 4), at, "");
    for (int j = 0; j < 4; j++) {
        four[j] = LLVMBuildExtractElement(p->l.b, all, PTX_INT(p, j), "");
        if (type == p->l.i16)
            four[j] = ptx_of_bits(p, m->value->type.elem, four[j]);
    }
}

typedef struct Patch {
    int rows, columns;
    V row[SIDE], column[SIDE]; /* those outside repeat the last */
    V sum[SIDE][SIDE];
} Patch;

static void multiply_patch(Ptx *p, const PtxProduct *m, Patch *t, V k, int count)
{
    V a[SIDE][4], b[SIDE][4];
    for (int i = 0; i < t->rows; i++)
        if (count == 4)
            operand_four(p, &m->a, t->row[i], k, a[i]);
        else
            a[i][0] = operand(p, &m->a, t->row[i], k);
    for (int j = 0; j < t->columns; j++)
        if (count == 4)
            operand_four(p, &m->b, t->column[j], k, b[j]);
        else
            b[j][0] = operand(p, &m->b, t->column[j], k);
    for (int i = 0; i < t->rows; i++)
        for (int j = 0; j < t->columns; j++) {
            V sum = ptx_get(p, p->l.f32, t->sum[i][j]);
            for (int n = 0; n < count; n++)
                sum = call_intrinsic(&p->l, "llvm.fma", &p->l.f32, 1, (V[]){a[i][n], b[j][n], sum}, 3);
            ptx_set(p, t->sum[i][j], sum);
        }
}

static V last_at_most(Ptx *p, V a, int64_t count)
{
    return LLVMBuildSelect(p->l.b, ptx_less(p, a, count), a, PTX_INT(p, count - 1), "");
}

static void product_in_floats(Ptx *p, const PtxProduct *m)
{
    LLVMBuilderRef b = p->l.b;
    Patch t = {.rows = m->rows > 48 ? SIDE : (m->rows + 15) / 16,
               .columns = m->columns > 48 ? SIDE : (m->columns + 15) / 16};
    V y = ptx_div(p, p->thread, 16), x = ptx_mod(p, p->thread, 16), row[SIDE], column[SIDE];
    PtxLoop down = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, m->rows), 16 * t.rows);
    PtxLoop across = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, m->columns), 16 * t.columns);
    for (int i = 0; i < t.rows; i++) {
        row[i] = ptx_sum(p, ptx_add(p, down.index, i * 16), y);
        t.row[i] = last_at_most(p, row[i], m->rows);
    }
    for (int j = 0; j < t.columns; j++) {
        column[j] = ptx_sum(p, ptx_add(p, across.index, j * 16), x);
        t.column[j] = last_at_most(p, column[j], m->columns);
    }
    for (int i = 0; i < t.rows; i++)
        for (int j = 0; j < t.columns; j++)
            t.sum[i][j] = ptx_variable(p, p->l.f32, LLVMConstReal(p->l.f32, 0));
    int fours = m->depth / 4 * 4;
    PtxLoop depth = ptx_loop(p, PTX_INT(p, 0), PTX_INT(p, fours), 4);
    multiply_patch(p, m, &t, depth.index, 4);
    ptx_loop_end(p, &depth);
    for (int k = fours; k < m->depth; k++)
        multiply_patch(p, m, &t, PTX_INT(p, k), 1);
    for (int i = 0; i < t.rows; i++)
        for (int j = 0; j < t.columns; j++) {
            V inside = LLVMBuildAnd(b, ptx_less(p, row[i], m->rows), ptx_less(p, column[j], m->columns), "");
            LLVMBasicBlockRef after = ptx_if(p, inside);
            give(p, m, result_at(p, m, row[i], column[j]), ptx_get(p, p->l.f32, t.sum[i][j]));
            ptx_if_end(p, after);
        }
    ptx_loop_end(p, &across);
    ptx_loop_end(p, &down);
}

void ptx_product(Ptx *p, const PtxProduct *product, bool tensor_cores)
{
    if (tensor_cores)
        product_on_tensor_cores(p, product);
    else
        product_in_floats(p, product);
}
