/* Launches and plans: every complaint of the host-side validation once, and what a right launch computes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "runtime/machine.h"

static AttuneContext *context;
static AttuneKernel *kernel;

static int setup(void)
{
    context = attune_context_create(&(AttuneContextOptions){.threads = 3, .cache_mode = ATTUNE_CACHE_OFF},
                                    NULL);
    kernel = fixture_kernel(context);
    return !context || !kernel;
}

static int teardown(void)
{
    attune_kernel_destroy(kernel);
    attune_context_destroy(context);
    return 0;
}

/* Complaints -------------------------------------------------------------------------------------------- */

typedef struct Complaint {
    void (*spoil)(Fixture *f);
    const char *says; /* parts of the message, apart by '|' */
} Complaint;

#define SPOIL(name, body) \
    static void name(Fixture *f) \
    { \
        AttuneLaunch *l = &f->launch; \
        (void)l; \
        body \
    }

SPOIL(layout, l->layout = (AttuneLayout)7;)
SPOIL(q_dtype, l->q.dtype = ATTUNE_F16;)
SPOIL(input_dtype, f->inputs[FIX_DOC].tensor.dtype = ATTUNE_F32;)
SPOIL(k_device, l->k.device.kind = ATTUNE_DEVICE_CUDA;)
SPOIL(v_ndim, l->v.ndim = 3;)
SPOIL(q_no_shape, l->q.shape = NULL;)
SPOIL(q_negative, f->q_shape[2] = -1;)
SPOIL(q_huge, f->q_shape[2] = (int64_t)1 << 30;)
SPOIL(q_null, l->q.data = NULL;)
SPOIL(o_null, l->o.data = NULL;)
SPOIL(k_unaligned, l->k.data = (char *)f->k + 2;)
SPOIL(v_last_stride, memcpy(f->strides, (int64_t[4]){40, 20, 4, 2}, sizeof f->strides);
      l->v.strides = f->strides;)
SPOIL(q_far, memcpy(f->strides, (int64_t[4]){INT64_MAX / 2, INT64_MAX / 2, 8, 1}, sizeof f->strides);
      l->q.strides = f->strides;)
SPOIL(q_width, f->q_shape[3] = 7;)
SPOIL(k_width, f->k_shape[3] = 7;)
SPOIL(k_batch, f->k_shape[0] = 1;)
SPOIL(v_width, f->v_shape[3] = 3;)
SPOIL(v_batch, f->v_shape[0] = 1;)
SPOIL(v_heads, f->v_shape[1] = 1;)
SPOIL(v_rows, f->v_shape[2] = 4;)
SPOIL(o_width, f->o_shape[3] = 5;)
SPOIL(o_batch, f->o_shape[0] = 1;)
SPOIL(o_heads, f->o_shape[1] = 2;)
SPOIL(o_rows, f->o_shape[2] = 2;)
SPOIL(groups, f->k_shape[1] = f->v_shape[1] = 3;)
SPOIL(no_groups, f->k_shape[1] = f->v_shape[1] = 0;)
SPOIL(o_repeats, memcpy(f->strides, (int64_t[4]){48, 12, 0, 1}, sizeof f->strides);
      l->o.strides = f->strides;)
SPOIL(o_folds, memcpy(f->strides, (int64_t[4]){48, 12, 3, 1}, sizeof f->strides); l->o.strides = f->strides;)
SPOIL(lse_repeats, memcpy(f->strides, (int64_t[4]){12, 0, 1}, sizeof f->strides);
      f->returns[0].tensor.strides = f->strides;)
SPOIL(o_on_q, l->o.data = f->q + 4;)
SPOIL(o_on_k, l->o.data = f->k + 16;)
SPOIL(o_on_v, l->o.data = f->v;)
SPOIL(o_on_input, l->o.data = f->input[FIX_LEFT];)
SPOIL(lse_on_o, f->returns[0].tensor.data = f->o + 90;)
SPOIL(m_axis_rank1, l->m_axis[0] = 2;)
SPOIL(m_axis_extra, l->m_axis[1] = 3;)
SPOIL(m_axis_negative, l->m_axis[0] = -1;)
SPOIL(align_unknown, l->align = (AttuneAlign)3;)
SPOIL(align_and_offset, l->align = ATTUNE_ALIGN_BOTTOM_RIGHT; l->offset = 1;)
SPOIL(offset_far, l->offset = ((int64_t)1 << 30) - 2;)
SPOIL(offset_before, l->offset = -1;)
SPOIL(offset_past, l->offset = 3;)
SPOIL(params_null, l->params = NULL;)
SPOIL(params_negative, l->param_count = -1;)
SPOIL(param_unknown, f->params[0].name = "caps";)
SPOIL(param_unnamed, f->params[0].name = NULL;)
SPOIL(param_hidden, f->params[1] = attune_param_int("r", 6); l->param_count = 2;)
SPOIL(param_twice, f->params[1] = f->params[0]; l->param_count = 2;)
SPOIL(param_type, f->params[1] = attune_param_float("window", 2); l->param_count = 2;)
SPOIL(param_no_type, f->params[0].type = (AttuneParamType)0;)
SPOIL(param_bool_for_float, f->params[0] = attune_param_bool("cap", true);)
SPOIL(param_bad_bool, f->params[1] = attune_param_bool("on", true); f->params[1].i = 2; l->param_count = 2;)
SPOIL(param_const, f->params[1] = attune_param_int("fixed", 8); l->param_count = 2;)
SPOIL(param_missing, l->param_count = 0;)
SPOIL(inputs_null, l->inputs = NULL;)
SPOIL(input_unknown, f->inputs[0].name = "slopes";)
SPOIL(input_unnamed, f->inputs[0].name = NULL;)
SPOIL(input_twice, f->inputs[1] = f->inputs[0];)
SPOIL(input_missing, l->input_count--;)
SPOIL(input_ndim, f->inputs[FIX_BIAS].tensor.ndim = 2;)
SPOIL(input_heads, f->input_shape[FIX_SLOPE][0] = 3;)
SPOIL(input_batch, f->input_shape[FIX_DOC][0] = 1;)
SPOIL(input_tokens, f->input_shape[FIX_DOC][1] = 4;)
SPOIL(input_rows, f->input_shape[FIX_BIAS][1] = 5;)
SPOIL(input_keys, f->input_shape[FIX_BIAS][2] = 6;)
SPOIL(input_free, f->input_shape[FIX_RIGHT][0] = 5;)
SPOIL(input_extent, f->input_shape[FIX_BAND][0] = 4;)
SPOIL(input_extent_bad, f->params[1] = attune_param_int("window", -9); l->param_count = 2;)
SPOIL(input_d, f->input_shape[FIX_GATE][0] = 9;)
SPOIL(input_e, f->input_shape[FIX_GATE][1] = 3;)
SPOIL(input_null, f->inputs[FIX_BAND].tensor.data = NULL;)
SPOIL(input_unaligned, f->inputs[FIX_GATE].tensor.data = (char *)f->input[FIX_GATE] + 1;)
SPOIL(returns_null, l->returns = NULL;)
SPOIL(return_unknown, f->returns[0].name = "max";)
SPOIL(return_empty, f->returns[0].name = "";)
SPOIL(return_twice, f->returns[1] = f->returns[0]; l->return_count = 2;)
SPOIL(return_shape, f->lse_shape[2] = 4;)
SPOIL(return_dtype, f->returns[0].tensor.dtype = ATTUNE_F16;)
SPOIL(ragged_half, fixture_make_ragged(f); l->cu_seqlens_k = NULL;)
SPOIL(ragged_other_half, fixture_make_ragged(f); l->cu_seqlens_q = NULL;)
SPOIL(ragged_count, fixture_make_ragged(f); l->sequences = -1;)
SPOIL(ragged_start, fixture_make_ragged(f); f->cu_q[0] = 1;)
SPOIL(ragged_falls, fixture_make_ragged(f); f->cu_k[1] = 6;)
SPOIL(ragged_end, fixture_make_ragged(f); f->cu_q[2] = 4;)
SPOIL(ragged_batch, fixture_make_ragged(f); l->q.shape--; l->q.ndim++;)
SPOIL(ragged_input, fixture_make_ragged(f); f->input_shape[FIX_DOC][0] = 2;)
SPOIL(ragged_positions, fixture_make_ragged(f); l->offset = 1;)
SPOIL(ragged_align, fixture_make_ragged(f); l->align = ATTUNE_ALIGN_BOTTOM_RIGHT;)

SPOIL(ragged_ndim, fixture_make_ragged(f); l->v.ndim = 2;)
SPOIL(many_elements, f->k_shape[0] = f->k_shape[1] = f->k_shape[2] = f->k_shape[3] = (1 << 30) - 1;)

static const Complaint complaints[] = {
    {ragged_ndim, "v has 2 dimensions, but must have 3 or 4: [1, G, total, E], the first may be left out"},
    {many_elements, "k has more than 2^63 elements"},
    {layout, "layout is 7"},
    {q_dtype, "q has dtype f16, but must be f32|create a kernel for that dtype"},
    {input_dtype, "input 'doc' has dtype f32, but must be i32"},
    {k_device, "k is in device memory|runs on the host"},
    {v_ndim, "v has 3 dimensions, but must have 4: [B, G, N, E]"},
    {q_no_shape, "q.shape is NULL"},
    {q_negative, "q.shape[2] is -1"},
    {q_huge, "q.shape[2] is 1073741824; extents are 0 to 2^30 - 1"},
    {q_null, "q.data is NULL"},
    {o_null, "o.data is NULL"},
    {k_unaligned, "k.data is|multiple of the element size 4"},
    {v_last_stride, "v.strides[3] is 2|must be dense|copy v"},
    {q_far, "q reaches beyond 2^63 bytes"},
    {q_width, "q has width 7, but the kernel was created for d = 8"},
    {k_width, "k has width 7, but q has 8"},
    {k_batch, "k has batch size 1, but q has 2"},
    {v_width, "v has width 3, but the kernel was created for e = 4"},
    {v_batch, "v has batch size 1, but k has 2"},
    {v_heads, "v has head count 1, but k has 2"},
    {v_rows, "v has row count 4, but k has 5"},
    {o_width, "o has width 5, but the kernel was created for e = 4"},
    {o_batch, "o has batch size 1, but q has 2"},
    {o_heads, "o has head count 2, but q has 4"},
    {o_rows, "o has row count 2, but q has 3"},
    {groups, "q has 4 heads and k has 3|must divide"},
    {no_groups, "q has 4 heads and k has 0|must divide"},
    {o_repeats, "o is written|one address (stride 0)"},
    {o_folds, "o is written|one address (stride 3)"},
    {lse_repeats, "lse is written|one address (stride 0)"},
    {o_on_q, "memory of o overlaps that of q"},
    {o_on_k, "memory of o overlaps that of k"},
    {o_on_v, "memory of o overlaps that of v"},
    {o_on_input, "memory of o overlaps that of left"},
    {lse_on_o, "memory of lse overlaps that of o"},
    {m_axis_rank1, "m_axis[0] is 2, but M is 3"},
    {m_axis_extra, "m_axis[1] is 3, but 'fake' has rank 1"},
    {m_axis_negative, "m_axis[0] is -1"},
    {align_unknown, "align is 3"},
    {align_and_offset, "offset is 1 and align is bottom-right"},
    {offset_far, "offset is 1073741822 with 3 query rows|below 2^30"},
    {offset_before, "offset is -1, but input 'doc' is read by position"},
    {offset_past, "input 'doc' has shape [2, 5] for [b, t]: extent 't' is 5, but must be at least 6"},
    {params_null, "params is NULL"},
    {params_negative, "param_count (-1)"},
    {param_unknown, "params[0] is 'caps', which 'fake' does not have"},
    {param_unnamed, "params[0] is '(NULL)'"},
    {param_hidden, "params[1] is 'r', which 'fake' does not have"},
    {param_twice, "param 'cap' is given twice"},
    {param_type, "param 'window' is given as a float, but is an int"},
    {param_no_type, "param 'cap' is given as nothing known"},
    {param_bool_for_float, "param 'cap' is given as a bool, but is a float"},
    {param_bad_bool, "param 'on' is 2; a bool is 0 or 1"},
    {param_const, "param 'fixed' is `const`|settings of attune_kernel_create"},
    {param_missing, "param 'cap' has no default and is not given"},
    {inputs_null, "inputs is NULL"},
    {input_unknown, "inputs[0] is 'slopes', which 'fake' does not have"},
    {input_unnamed, "inputs[0] is '(NULL)'"},
    {input_twice, "input 'slope' is given twice"},
    {input_missing, "input 'gate' is not given"},
    {input_ndim, "input 'bias' has 2 dimensions, but must have 3: [h, i, j]"},
    {input_heads, "input 'slope' has shape [3] for [h]: extent 'h' is 3, but must be 4"},
    {input_batch, "extent 'b' is 1, but must be 2"},
    {input_tokens, "extent 't' is 4, but must be at least 5"},
    {input_rows, "extent 'i' is 5, but must be 3"},
    {input_keys, "extent 'j' is 6, but must be 5"},
    {input_free, "extent 'r' is 5, but must be 6 (what the first tensor with this dim has)"},
    {input_extent, "extent '2 * window + 1' is 4, but must be 5"},
    {input_extent_bad, "extent '2 * window + 1' of input 'band' comes to no size"},
    {input_d, "extent 'd' is 9, but must be 8"},
    {input_e, "extent 'e' is 3, but must be 4"},
    {input_null, "input 'band'.data is NULL"},
    {input_unaligned, "input 'gate'.data is|element size 2"},
    {returns_null, "returns is NULL"},
    {return_unknown, "returns[0] is 'max', which 'fake' does not return"},
    {return_empty, "returns[0] is '', which 'fake' does not return"},
    {return_twice, "return 'lse' is given twice"},
    {return_shape, "return 'lse' has shape [2, 4, 4], but must be [2, 4, 3]"},
    {return_dtype, "return 'lse' has dtype f16, but must be f32"},
    {ragged_half, "cu_seqlens_k is NULL"},
    {ragged_other_half, "cu_seqlens_q is NULL"},
    {ragged_count, "sequences is -1"},
    {ragged_start, "cu_seqlens_q[0] is 1"},
    {ragged_falls, "cu_seqlens_k[2] is 5, less than cu_seqlens_k[1] = 6"},
    {ragged_end, "cu_seqlens_q[2] is 4, but q has 3 rows"},
    {ragged_batch, "q.shape[0] is 2, but with cu_seqlens|in one batch"},
    {ragged_input, "extent 'b' is 2, but must be 1 (rows of all sequences are packed)"},
    {ragged_positions,
     "sequence 1 has 2 keys, but its queries reach position 2, where input 'doc' has nothing"},
    {ragged_align, "sequence 1 has 0 keys more than queries and sequence 0 has 2"},
};

static void check_all_parts(const char *text, const char *parts)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        CHECK_CONTAINS(text, part);
}

static void test_complaints(void)
{
    Fixture *f = malloc(sizeof *f);
    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        AttuneError *error = NULL;
        fixture_init(f);
        for (int x = 0; x < 512; x++)
            f->o[x] = 77;
        complaints[i].spoil(f);
        CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, &error), ATTUNE_ERROR_ARGUMENT);
        CU_ASSERT_EQUAL(attune_error_status(error), ATTUNE_ERROR_ARGUMENT);
        check_all_parts(attune_error_message(error), complaints[i].says);
        for (int x = 0; x < 512; x++)
            CU_ASSERT_EQUAL_FATAL(f->o[x], 77); /* nothing ran */
        attune_error_free(error);
    }
    free(f);
}

static void test_null_arguments(void)
{
    AttuneError *error = NULL;
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    CU_ASSERT_EQUAL(attune_kernel_launch(NULL, &f->launch, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "kernel is NULL");
    attune_error_free(error);
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, NULL, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "launch is NULL");
    attune_error_free(error);
    f->launch.q.data = NULL;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL),
                    ATTUNE_ERROR_ARGUMENT); /* no error wanted */
    free(f);
}

/* Right launches ---------------------------------------------------------------------------------------- */

static float row_sum(const Fixture *f, int64_t b, int64_t h, int64_t i, const int64_t *stride)
{
    float sum = 0;
    for (int64_t c = 0; c < FIX_D; c++)
        sum += f->q[b * stride[0] + h * stride[1] + i * stride[2] + c];
    return sum;
}

static void check_result(const Fixture *f, const int64_t *q_stride, const int64_t *o_stride)
{
    for (int64_t b = 0; b < FIX_B; b++)
        for (int64_t h = 0; h < FIX_H; h++)
            for (int64_t i = 0; i < FIX_M; i++) {
                float want = row_sum(f, b, h, i, q_stride) + (float)(100 * h);
                for (int64_t c = 0; c < FIX_E; c++)
                    CU_ASSERT_EQUAL(f->o[b * o_stride[0] + h * o_stride[1] + i * o_stride[2] + c], want);
            }
}

static const int64_t dense_q[] = {FIX_H * FIX_M * FIX_D, FIX_M *FIX_D, FIX_D},
                     dense_o[] = {FIX_H * FIX_M * FIX_E, FIX_M *FIX_E, FIX_E};

static void test_dense(void)
{
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    f->launch.offset = 1;
    f->params[0] = attune_param_int("cap", 30); /* an int will do for a float */
    f->input_shape[FIX_DOC][1] = 50; /* longer than needed is fine */
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    check_result(f, dense_q, dense_o);
    for (int i = 0; i < FIX_B * FIX_H * FIX_M; i++)
        CU_ASSERT_EQUAL(f->lse[i], (float)(i % FIX_M + 1));
    free(f);
}

static void test_return_not_wanted(void)
{
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    f->launch.return_count = 0;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    check_result(f, dense_q, dense_o);
    free(f);
}

static void test_bottom_right(void)
{
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    f->launch.align = ATTUNE_ALIGN_BOTTOM_RIGHT;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(f->lse[0], FIX_N - FIX_M);
    free(f);
}

/* [B, M, H, D] in memory, given by layout and given by strides. */
static void test_layouts(void)
{
    const int64_t q_stride[] = {FIX_M * FIX_H * FIX_D, FIX_D, FIX_H * FIX_D, 1},
                  o_stride[] = {FIX_M * FIX_H * FIX_E, FIX_E, FIX_H * FIX_E, 1};
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    f->launch.q.strides = q_stride;
    f->launch.o.strides = o_stride;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    check_result(f, q_stride, o_stride);
    fixture_init(f);
    f->launch.layout = ATTUNE_BMHD;
    int64_t *shapes[] = {f->q_shape, f->k_shape, f->v_shape, f->o_shape};
    for (int t = 0; t < 4; t++) {
        int64_t heads = shapes[t][1];
        shapes[t][1] = shapes[t][2];
        shapes[t][2] = heads;
    }
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    check_result(f, q_stride, o_stride);
    f->launch.q.dtype = ATTUNE_BF16;
    AttuneError *error = NULL;
    attune_kernel_launch(kernel, &f->launch, &error);
    attune_error_free(error);
    free(f);
}

/* Extents of 1 may have any stride; inputs may be broadcast with stride 0; q may run backwards. */
static void test_odd_strides(void)
{
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    f->q_shape[0] = f->k_shape[0] = f->v_shape[0] = f->o_shape[0] = f->lse_shape[0] = 1;
    f->input_shape[FIX_DOC][0] = 1;
    const int64_t junk_q[] = {-987654321, FIX_M * FIX_D, FIX_D, 1}, junk_o[] = {5, FIX_M * FIX_E, FIX_E, 1},
                  zero[] = {0, 0, 0};
    f->launch.q.strides = junk_q;
    f->launch.o.strides = junk_o;
    f->inputs[FIX_BIAS].tensor.strides = zero;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(f->o[FIX_E], row_sum(f, 0, 0, 1, dense_q));
    const int64_t backwards[] = {0, FIX_M * FIX_D, -FIX_D, 1};
    f->launch.q.strides = backwards;
    f->launch.q.data = f->q + (FIX_M - 1) * FIX_D;
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(f->o[0], row_sum(f, 0, 0, FIX_M - 1, dense_q));
    free(f);
}

static void test_ragged(void)
{
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    fixture_make_ragged(f);
    CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, NULL), ATTUNE_OK);
    const float lse[] = {0, 0, 1}; /* rows count from 0 in every sequence */
    for (int64_t h = 0; h < FIX_H; h++)
        for (int64_t row = 0; row < FIX_M; row++) {
            CU_ASSERT_EQUAL(f->o[(h * FIX_M + row) * FIX_E],
                            row_sum(f, 0, h, row, dense_q) + (float)(100 * h));
            CU_ASSERT_EQUAL(f->lse[h * FIX_M + row], lse[row]);
        }
    free(f);
}

static void test_empty(void)
{
    Fixture *f = malloc(sizeof *f);
    for (int which = 0; which < 4; which++) {
        fixture_init(f);
        memset(f->o, 0x55, sizeof f->o);
        if (which == 0) {
            f->q_shape[2] = f->o_shape[2] = f->lse_shape[2] = f->input_shape[FIX_BIAS][1] = 0;
            f->launch.q.data = f->launch.o.data = NULL;
        } else if (which == 1) {
            f->q_shape[0] = f->k_shape[0] = f->v_shape[0] = f->o_shape[0] = f->lse_shape[0] =
                f->input_shape[FIX_DOC][0] = 0;
        } else if (which == 2) {
            f->q_shape[1] = f->k_shape[1] = f->v_shape[1] = f->o_shape[1] = f->lse_shape[1] = 0;
            f->input_shape[FIX_SLOPE][0] = f->input_shape[FIX_BIAS][0] = 0;
        } else { /* no key: rows are still written */
            f->k_shape[2] = f->v_shape[2] = f->input_shape[FIX_BIAS][2] = 0;
            f->launch.k.data = f->launch.v.data = NULL;
        }
        AttuneError *error = NULL;
        CU_ASSERT_EQUAL(attune_kernel_launch(kernel, &f->launch, &error), ATTUNE_OK);
        CU_ASSERT_STRING_EQUAL(attune_error_message(error), "");
        attune_error_free(error);
        CU_ASSERT_EQUAL(f->o[0] == row_sum(f, 0, 0, 0, dense_q), which == 3);
    }
    free(f);
}

static void test_grid(void)
{
    static const struct {
        int64_t m[3], n[3];
        const char *says; /* NULL: right */
    } rows[] = {
        {{3, 4, 0}, {0}, NULL},
        {{3, 4, 1}, {3, 4, 0}, NULL},
        {{3, 5, 0}, {3, 4, 0}, "m_axis is [3, 5], 15 positions, but M is 12"},
        {{3, 4, 0}, {2, 4, 0}, "n_axis is [2, 4], 8 positions, but N is 12"},
        {{12, 0, 0}, {0}, "m_axis is [12, 0], 0 positions"},
        {{3, 4, 2}, {0}, "m_axis[2] is 2, but 'fake' has rank 2"},
    };
    AttuneKernel *grid = fixture_kernel_of_rank(context, 2);
    Fixture *f = malloc(sizeof *f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        AttuneError *error = NULL;
        fixture_init(f);
        f->q_shape[0] = f->k_shape[0] = f->v_shape[0] = f->o_shape[0] = f->lse_shape[0] =
            f->input_shape[FIX_DOC][0] = 1;
        f->q_shape[2] = f->k_shape[2] = f->v_shape[2] = f->o_shape[2] = f->lse_shape[2] = 12;
        f->input_shape[FIX_BIAS][1] = f->input_shape[FIX_BIAS][2] = f->input_shape[FIX_DOC][1] = 12;
        f->q_shape[1] = f->o_shape[1] = f->lse_shape[1] = f->input_shape[FIX_BIAS][0] =
            f->input_shape[FIX_SLOPE][0] = 1;
        f->k_shape[1] = f->v_shape[1] = 1;
        memcpy(f->launch.m_axis, rows[i].m, sizeof rows[i].m);
        memcpy(f->launch.n_axis, rows[i].n, sizeof rows[i].n);
        CU_ASSERT_EQUAL(attune_kernel_launch(grid, &f->launch, &error),
                        rows[i].says ? ATTUNE_ERROR_ARGUMENT : ATTUNE_OK);
        CHECK_CONTAINS(attune_error_message(error), rows[i].says ? rows[i].says : "");
        attune_error_free(error);
    }
    AttuneError *error = NULL;
    f->launch.m_axis[2] = 0;
    f->launch.offset = 1;
    CU_ASSERT_EQUAL(attune_kernel_launch(grid, &f->launch, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "runs over a grid of rank 2");
    attune_error_free(error);
    f->launch.offset = 0;
    f->launch.cu_seqlens_q = f->launch.cu_seqlens_k = f->cu_q;
    CU_ASSERT_EQUAL(attune_kernel_launch(grid, &f->launch, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "ragged batches are for rank 1");
    attune_error_free(error);
    attune_kernel_destroy(grid);
    free(f);
}

/* Plans ------------------------------------------------------------------------------------------------- */

static AttunePlanData plan_data(Fixture *f, const void **inputs, void **returns)
{
    for (int i = 0; i < FIX_INPUTS; i++)
        inputs[i] = f->input[i];
    returns[0] = f->lse;
    return (AttunePlanData){f->q, f->k, f->v, f->o, inputs, returns, NULL, NULL, NULL};
}

static void test_plan(void)
{
    const void *inputs[FIX_INPUTS];
    void *returns[1];
    Fixture *f = malloc(sizeof *f), *other = malloc(sizeof *other);
    fixture_init(f);
    fixture_init(other);
    AttuneTensor *tensors[] = {&f->launch.q, &f->launch.k, &f->launch.v, &f->launch.o, &f->returns[0].tensor};
    for (int t = 0; t < 5; t++)
        tensors[t]->data = NULL; /* a plan is about shapes */
    for (int i = 0; i < FIX_INPUTS; i++)
        f->inputs[i].tensor.data = NULL;
    AttunePlan *plan = attune_plan_create(kernel, &f->launch, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    AttunePlanData data = plan_data(f, inputs, returns);
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, NULL), ATTUNE_OK);
    check_result(f, dense_q, dense_o);
    other->q[0] += 5;
    data = plan_data(other, inputs, returns);
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, NULL), ATTUNE_OK);
    check_result(other, dense_q, dense_o);
    CU_ASSERT_EQUAL(other->o[0], f->o[0] + 5);

    AttuneError *error = NULL;
    data.o = NULL;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "o.data is NULL");
    attune_error_free(error);
    data = plan_data(other, inputs, returns);
    inputs[FIX_DOC] = (char *)other->input[FIX_DOC] + 1;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "doc.data is");
    attune_error_free(error);
    data.inputs = NULL;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, NULL), ATTUNE_ERROR_ARGUMENT);
    data = plan_data(other, inputs, returns);
    data.returns = NULL;
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, &error), ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "lse.data is NULL");
    attune_error_free(error);
    CU_ASSERT_EQUAL(attune_plan_launch(NULL, &data, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_plan_launch(plan, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    attune_plan_destroy(plan);

    f->q_shape[3] = 9;
    CU_ASSERT_PTR_NULL(attune_plan_create(kernel, &f->launch, &error));
    CHECK_CONTAINS(attune_error_message(error), "q has width 9");
    attune_error_free(error);
    CU_ASSERT_PTR_NULL(attune_plan_create(NULL, &f->launch, NULL));
    free(f);
    free(other);
}

/* A ragged plan keeps its own copy of the lengths; plans and kernels outlive handles that they were made
 * from. */
static void test_plan_lifetime(void)
{
    const void *inputs[FIX_INPUTS];
    void *returns[1];
    Fixture *f = malloc(sizeof *f);
    fixture_init(f);
    fixture_make_ragged(f);
    AttuneContext *own = attune_context_create(&(AttuneContextOptions){.threads = 2}, NULL);
    AttuneKernel *mine = fixture_kernel(own);
    attune_context_destroy(own);
    AttunePlan *plan = attune_plan_create(mine, &f->launch, NULL);
    attune_kernel_destroy(mine);
    memset(f->cu_q, 0x7f, sizeof f->cu_q);
    AttunePlanData data = plan_data(f, inputs, returns);
    CU_ASSERT_EQUAL(attune_plan_launch(plan, &data, NULL), ATTUNE_OK);
    CU_ASSERT_EQUAL(f->lse[1], 0);
    CU_ASSERT_EQUAL(f->lse[2], 1);
    attune_plan_destroy(plan);
    free(f);
}

static void test_built_misuse(void)
{
    Description *d = malloc(sizeof *d);
    ExtentStep steps[8];
    size_t size;
    fixture_description(d, steps);
    unsigned char *bytes = description_pack(d, true, &size);
    const AttunePhase phases[2] = {NULL};
    AttuneError *error = NULL;
    CU_ASSERT_PTR_NULL(attune_kernel_from_built(context, NULL, &error));
    CHECK_CONTAINS(attune_error_message(error), "is NULL");
    attune_error_free(error);
    AttuneBuilt built = {.description = bytes, .description_size = size, .phases = phases, .phase_count = 1};
    CU_ASSERT_PTR_NULL(attune_kernel_from_built(context, &built, &error));
    CHECK_CONTAINS(attune_error_message(error), "built has 1 phases, but its description has 2");
    attune_error_free(error);
    size_t refused = 0;
    built.phase_count = 2;
    for (size_t cut = 0; cut < size; cut++) { /* every truncation is noticed */
        built.description_size = cut;
        CU_ASSERT_PTR_NULL(attune_kernel_from_built(context, &built, &error));
        refused += attune_error_status(error) == ATTUNE_ERROR_ARGUMENT;
        attune_error_free(error);
        error = NULL;
    }
    CU_ASSERT_EQUAL(refused, size);
    for (size_t at = 0; at < size;
         at++) /* no flipped bit crashes or leaks; what comes back is a description or NULL */
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (unsigned char)(1 << bit);
            Description *read = description_unpack(bytes, size, NULL);
            if (read)
                CU_ASSERT_TRUE(read->shape.phase_count <= PROGRAM_MAX_PHASES &&
                               read->signature.input_count <= SPEC_MAX_INPUTS);
            description_destroy(read);
            bytes[at] ^= (unsigned char)(1 << bit);
        }
    Description *again = description_unpack(bytes, size, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    size_t twice;
    unsigned char *packed = description_pack(again, true, &twice);
    CU_ASSERT_TRUE(twice == size && memcmp(packed, bytes, size) == 0);
    free(packed);
    description_destroy(again);
    free(bytes);
    free(d);
}

static void test_input_shapes(void)
{
    AttuneSizes sizes = {.b = 2, .h = 4, .g = 2, .m = 3, .n = 5, .d = 8, .e = 4, .offset = 4};
    static const int64_t want[FIX_INPUTS][3] = {{4}, {2, 7}, {4, 3, 5}, {6}, {6}, {9}, {8, 4}};
    const AttuneParam params[] = {attune_param_int("window", 4), attune_param_int("r", 6)};
    for (int i = 0; i < FIX_INPUTS; i++) {
        int64_t shape[ATTUNE_MAX_DIMS] = {0};
        CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, i, &sizes, params, 2, shape, NULL), ATTUNE_OK);
        CU_ASSERT_EQUAL(memcmp(shape, want[i], sizeof want[i]), 0);
    }
    int64_t shape[ATTUNE_MAX_DIMS];
    AttuneError *error = NULL;
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, 7, &sizes, NULL, 0, shape, &error),
                    ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "index is 7, but 'fake' has 7 inputs");
    attune_error_free(error);
    const AttuneParam wrong[] = {attune_param_int("x", 4)}, negative[] = {attune_param_int("window", -4)};
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, 0, &sizes, wrong, 1, shape, &error),
                    ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "params[0] is 'x'");
    attune_error_free(error);
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, FIX_BAND, &sizes, negative, 1, shape, &error),
                    ATTUNE_ERROR_ARGUMENT);
    CHECK_CONTAINS(attune_error_message(error), "comes to no size");
    attune_error_free(error);
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, 0, NULL, NULL, 0, shape, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, 0, &sizes, NULL, 0, NULL, NULL), ATTUNE_ERROR_ARGUMENT);
    CU_ASSERT_EQUAL(attune_kernel_input_shape(kernel, 0, &sizes, NULL, 1, shape, NULL),
                    ATTUNE_ERROR_ARGUMENT);
}

int main(void)
{
    CU_TestInfo wrong[] = {{"every complaint", test_complaints}, {"NULL arguments", test_null_arguments},
                           {"built kernels", test_built_misuse}, CU_TEST_INFO_NULL};
    CU_TestInfo right[] = {{"dense", test_dense},
                           {"return not wanted", test_return_not_wanted},
                           {"bottom-right", test_bottom_right},
                           {"layouts", test_layouts},
                           {"odd strides", test_odd_strides},
                           {"ragged", test_ragged},
                           {"empty", test_empty},
                           {"grids", test_grid},
                           {"input shapes", test_input_shapes},
                           CU_TEST_INFO_NULL};
    CU_TestInfo plans[] = {{"plan", test_plan}, {"lifetime", test_plan_lifetime}, CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"wrong launches", setup, teardown, NULL, NULL, wrong},
                             {"right launches", setup, teardown, NULL, NULL, right},
                             {"plans", setup, teardown, NULL, NULL, plans},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
