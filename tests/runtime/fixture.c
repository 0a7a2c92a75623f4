/* A kernel without a compiler. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

static void add_input(Signature *s, const char *name, AttuneDtype dtype, int dim_count,
                      const AttuneDimKind *kinds, const char *const *names)
{
    SignatureInput *input = &s->inputs[s->input_count++];
    *input = (SignatureInput){.name = name, .dtype = dtype, .dim_count = dim_count};
    for (int d = 0; d < dim_count; d++)
        input->dims[d] = (SignatureDim){
            .kind = kinds[d], .name = names[d], .param = kinds[d] == ATTUNE_DIM_FREE ? 4 : -1};
}

#define KINDS(...) (const AttuneDimKind[]){__VA_ARGS__}
#define NAMES(...) (const char *const[]){__VA_ARGS__}
#define SIZE(id) ((Extent){.size = VAR_SIZE_##id, .div_knob = -1, .div = 1, .mul = 1})

void fixture_description(Description *d, ExtentStep *steps)
{
    memset(d, 0, sizeof *d);
    Signature *s = &d->signature;
    s->name = "fake";
    s->rank = 1;
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        s->axis_names[a] = "";
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        s->returns[r] = r == RETURN_LSE ? "lse" : "";
    s->reads_v = true;
    s->width = (SignatureDim){.kind = ATTUNE_DIM_E, .name = "E", .param = -1};
    add_input(s, "slope", ATTUNE_F32, 1, KINDS(ATTUNE_DIM_H), NAMES("h"));
    add_input(s, "doc", ATTUNE_I32, 2, KINDS(ATTUNE_DIM_B, ATTUNE_DIM_T), NAMES("b", "t"));
    add_input(s, "bias", ATTUNE_F32, 3, KINDS(ATTUNE_DIM_H, ATTUNE_DIM_I, ATTUNE_DIM_J),
              NAMES("h", "i", "j"));
    add_input(s, "left", ATTUNE_F32, 1, KINDS(ATTUNE_DIM_FREE), NAMES("r"));
    add_input(s, "right", ATTUNE_F32, 1, KINDS(ATTUNE_DIM_FREE), NAMES("r"));
    add_input(s, "band", ATTUNE_F32, 1, KINDS(ATTUNE_DIM_EXTENT), NAMES("2 * window + 1"));
    add_input(s, "gate", ATTUNE_F16, 2, KINDS(ATTUNE_DIM_D, ATTUNE_DIM_E), NAMES("d", "e"));
    const ExtentStep band[] = {
        {EXTENT_INT, 2}, {EXTENT_PARAM, 0}, {EXTENT_MUL, 0}, {EXTENT_INT, 1}, {EXTENT_ADD, 0}};
    memcpy(steps, band, sizeof band);
    s->steps = steps;
    s->step_count = 5;
    s->inputs[FIX_BAND].dims[0].step_count = 5;
    s->param_count = 5;
    s->params[0] = (SignatureParam){
        .name = "window", .type = ATTUNE_PARAM_INT, .has_default = true, .value.i = FIX_WINDOW};
    s->params[1] = (SignatureParam){.name = "cap", .type = ATTUNE_PARAM_FLOAT};
    s->params[2] = (SignatureParam){
        .name = "on", .type = ATTUNE_PARAM_BOOL, .has_default = true, .value.i = 1};
    s->params[3] = (SignatureParam){
        .name = "fixed", .type = ATTUNE_PARAM_INT, .constant = true, .has_default = true, .value.i = 7};
    s->params[4] = (SignatureParam){.name = "r", .type = ATTUNE_PARAM_INT, .hidden = true};

    Shape *k = &d->shape;
    k->target = "test";
    k->dtype = ATTUNE_F32;
    k->D = FIX_D;
    k->E = FIX_E;
    k->scratch_bytes = 24;
    k->phase_count = 2;
    k->phases[0].entry = "sum_rows";
    k->phases[1].entry = "write_rows";
    for (int p = 0; p < 2; p++) {
        k->phases[p].grid_count = 3;
        k->phases[p].grid[0] = SIZE(B);
        k->phases[p].grid[1] = SIZE(H);
        k->phases[p].grid[2] = SIZE(M0);
    }
    const TensorRole roles[] = {ROLE_Q, ROLE_O, ROLE_RETURN, ROLE_INPUT, ROLE_WORKSPACE};
    k->tensor_count = 5;
    for (int t = 0; t < 5; t++) {
        k->tensors[t].role = roles[t];
        k->tensors[t].dtype = ATTUNE_F32;
    }
    k->tensors[3].index = FIX_SLOPE;
    k->tensors[4].dim_count = 3;
    k->tensors[4].extent[0] = SIZE(B);
    k->tensors[4].extent[1] = SIZE(H);
    k->tensors[4].extent[2] = SIZE(M0);
}

typedef struct Item {
    int64_t b, h, i;
    bool inside;
    int64_t row; /* in the tensors */
} Item;

static Item item_of(const int64_t *slots, int64_t item)
{
    int64_t heads = slots[slot_of_size(VAR_SIZE_H)], rows = slots[slot_of_size(VAR_SIZE_M0)];
    Item at = {.b = item / (heads * rows), .h = item / rows % heads, .i = item % rows, .inside = true};
    const int32_t *cu = (const int32_t *)(intptr_t)slots[SLOT_CU_Q];
    at.row = at.i;
    if (cu) {
        at.inside = at.i < cu[at.b + 1] - cu[at.b];
        at.row = cu[at.b] + at.i;
    }
    return at;
}

static float *element(const int64_t *slots, int tensor, int64_t x, int64_t y, int64_t z, int64_t w)
{
    const int64_t *slot = &slots[slot_of_tensor(tensor)];
    return (float *)(intptr_t)slot[0] + x * slot[1] + y * slot[2] + z * slot[3] + w * slot[4];
}

static void sum_rows(const int64_t *slots, int64_t begin, int64_t end, void *scratch)
{
    float *total = scratch; /* its own for each thread, or the sums go wrong */
    for (int64_t n = begin; n < end; n++) {
        Item at = item_of(slots, n);
        *total = 0;
        for (int64_t c = 0; at.inside && c < slots[slot_of_size(VAR_SIZE_D)]; c++)
            *total += *element(slots, 0, at.b, at.h, at.row, c);
        *element(slots, 4, at.b, at.h, at.i, 0) = *total;
    }
}

static void write_rows(const int64_t *slots, int64_t begin, int64_t end, void *scratch)
{
    (void)scratch;
    for (int64_t n = begin; n < end; n++) {
        Item at = item_of(slots, n);
        if (!at.inside)
            continue;
        for (int64_t c = 0; c < slots[slot_of_size(VAR_SIZE_E)]; c++)
            *element(slots, 1, at.b, at.h, at.row, c) = *element(slots, 4, at.b, at.h, at.i, 0) +
                                                        *element(slots, 3, at.h, 0, 0, 0);
        *element(slots, 2, at.b, at.h, at.row, 0) = (float)(at.i + slots[slot_of_size(VAR_OFFSET)]);
    }
}

AttuneKernel *fixture_kernel_of_rank(AttuneContext *context, int rank)
{
    static const AttunePhase phases[] = {sum_rows, write_rows};
    Description *d = malloc(sizeof *d);
    ExtentStep steps[8];
    size_t size;
    fixture_description(d, steps);
    d->signature.rank = rank;
    if (rank > 1) { /* the grids are then over M as a whole: one axis is enough for a fake */
        for (int p = 0; p < 2; p++)
            d->shape.phases[p].grid[2] = SIZE(M);
        d->shape.tensors[4].extent[2] = SIZE(M);
    }
    unsigned char *bytes = description_pack(d, true, &size);
    AttuneBuilt built = {.description = bytes, .description_size = size, .phases = phases, .phase_count = 2};
    AttuneKernel *kernel = attune_kernel_from_built(context, &built, NULL);
    free(bytes);
    free(d);
    return kernel;
}

AttuneKernel *fixture_kernel(AttuneContext *context)
{
    return fixture_kernel_of_rank(context, 1);
}

void fixture_init(Fixture *f)
{
    memset(f, 0, sizeof *f);
    memcpy(f->q_shape, (int64_t[4]){FIX_B, FIX_H, FIX_M, FIX_D}, sizeof f->q_shape);
    memcpy(f->k_shape, (int64_t[4]){FIX_B, FIX_G, FIX_N, FIX_D}, sizeof f->k_shape);
    memcpy(f->v_shape, (int64_t[4]){FIX_B, FIX_G, FIX_N, FIX_E}, sizeof f->v_shape);
    memcpy(f->o_shape, (int64_t[4]){FIX_B, FIX_H, FIX_M, FIX_E}, sizeof f->o_shape);
    memcpy(f->lse_shape, (int64_t[3]){FIX_B, FIX_H, FIX_M}, sizeof f->lse_shape);
    f->launch.q = (AttuneTensor){.data = f->q, .dtype = ATTUNE_F32, .ndim = 4, .shape = f->q_shape};
    f->launch.k = (AttuneTensor){.data = f->k, .dtype = ATTUNE_F32, .ndim = 4, .shape = f->k_shape};
    f->launch.v = (AttuneTensor){.data = f->v, .dtype = ATTUNE_F32, .ndim = 4, .shape = f->v_shape};
    f->launch.o = (AttuneTensor){.data = f->o, .dtype = ATTUNE_F32, .ndim = 4, .shape = f->o_shape};
    for (int i = 0; i < 512; i++)
        f->q[i] = (float)(i % 13) - 6;
    static const char *const names[] = {"slope", "doc", "bias", "left", "right", "band", "gate"};
    static const int ndim[] = {1, 2, 3, 1, 1, 1, 2};
    static const int64_t shapes[][3] = {{FIX_H}, {FIX_B, FIX_N}, {FIX_H, FIX_M, FIX_N}, {FIX_R}, {FIX_R},
                                        {2 * FIX_WINDOW + 1}, {FIX_D, FIX_E}};
    for (int i = 0; i < FIX_INPUTS; i++) {
        memcpy(f->input_shape[i], shapes[i], sizeof shapes[i]);
        f->inputs[i].name = names[i];
        f->inputs[i].tensor = (AttuneTensor){.data = f->input[i],
                                             .dtype = i == FIX_DOC    ? ATTUNE_I32
                                                      : i == FIX_GATE ? ATTUNE_F16
                                                                      : ATTUNE_F32,
                                             .ndim = ndim[i],
                                             .shape = f->input_shape[i]};
    }
    for (int h = 0; h < FIX_H; h++)
        f->input[FIX_SLOPE][h] = (float)(100 * h);
    f->returns[0] = (AttuneNamedTensor){
        "lse", {.data = f->lse, .dtype = ATTUNE_F32, .ndim = 3, .shape = f->lse_shape}};
    f->params[0] = attune_param_float("cap", 30);
    f->launch.inputs = f->inputs;
    f->launch.input_count = FIX_INPUTS;
    f->launch.returns = f->returns;
    f->launch.return_count = 1;
    f->launch.params = f->params;
    f->launch.param_count = 1;
}

void fixture_make_ragged(Fixture *f)
{
    memcpy(f->cu_q, (int32_t[3]){0, 1, 3}, sizeof f->cu_q);
    memcpy(f->cu_k, (int32_t[3]){0, 3, 5}, sizeof f->cu_k);
    f->launch.cu_seqlens_q = f->cu_q;
    f->launch.cu_seqlens_k = f->cu_k;
    f->launch.sequences = 2;
    AttuneTensor *tensors[] = {&f->launch.q, &f->launch.k, &f->launch.v, &f->launch.o, &f->returns[0].tensor};
    for (int t = 0; t < 5; t++) {
        tensors[t]->ndim--;
        tensors[t]->shape++;
    }
    f->input_shape[FIX_DOC][0] = 1;
}

void check_contains(const char *text, const char *part, const char *file, int line)
{
    bool found = strstr(text, part) != NULL;
    if (!found)
        printf("\n%s:%d: \"%s\" is not in \"%s\"\n", file, line, part, text);
    CU_ASSERT_TRUE(found);
}

int run_suites(CU_SuiteInfo *suites)
{
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
        return 2;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures(), run = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    return failures > 0 || run == 0;
}
