/* attune_reference and attune_check: a launch against its meaning in double. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/spec/reference.h"
#include "runtime/build.h"
#include "runtime/error.h"
#include "runtime/problem.h"

/* A launch as the reference wants it. */
typedef struct Referee {
    Build build;
    const Spec *spec;
    Problem problem;
    RefProblem ref;
    int64_t batches, heads, rows, width; /* of the result: [batches, heads, rows, width] */
} Referee;

static RefTensor ref_tensor(const View *view, ElemType type)
{
    RefTensor tensor = {.data = view->data, .type = type};
    memcpy(tensor.stride, view->stride, sizeof tensor.stride);
    return tensor;
}

static void fill_reference(Referee *r, ElemType elem)
{
    const Problem *p = &r->problem;
    const int64_t *slots = p->slots;
    RefProblem *ref = &r->ref;
    bool ragged = slots[SLOT_CU_Q] != 0;
    *ref = (RefProblem){
        .B = slots[slot_of_size(VAR_SIZE_B)],
        .H = slots[slot_of_size(VAR_SIZE_H)],
        .G = slots[slot_of_size(VAR_SIZE_G)],
        .M = p->total_q,
        .N = p->total_k,
        .D = slots[slot_of_size(VAR_SIZE_D)],
        .E = slots[slot_of_size(VAR_SIZE_E)],
        .offset = slots[slot_of_size(VAR_OFFSET)],
        .cu_q = (const int32_t *)(intptr_t)slots[SLOT_CU_Q],
        .cu_k = (const int32_t *)(intptr_t)slots[SLOT_CU_K],
        .q = ref_tensor(&p->q, elem),
        .k = ref_tensor(&p->k, elem),
        .v = ref_tensor(&p->v, elem),
    };
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        ref->m_axis[a] = slots[slot_of_size((VarId)(VAR_SIZE_M0 + a))];
        ref->n_axis[a] = slots[slot_of_size((VarId)(VAR_SIZE_N0 + a))];
    }
    for (int i = 0; i < r->spec->input_count; i++)
        ref->inputs[i] = ref_tensor(&p->inputs[i], r->spec->inputs[i].type);
    for (int i = 0; i < r->spec->param_count; i++)
        ref->params[i].i = slots[SLOT_PARAMS + i];
    r->batches = ragged ? 1 : ref->B;
    r->heads = ref->H;
    r->rows = ref->M;
    r->width = p->width;
}

static AttuneStatus referee_open(Referee *r, const AttuneSpec *spec, const AttuneKernelOptions *options,
                                 const AttuneLaunch *launch, AttuneError **error)
{
    AttuneKernelOptions checked;
    Target none = {.kind = TARGET_INTERP};
    AttuneStatus status = build_check_options(spec, options, &checked, error);
    if (status == ATTUNE_OK)
        status = build_open(&r->build, NULL, spec, &checked, &none, NULL, error);
    if (status != ATTUNE_OK)
        return status;
    r->spec = r->build.spec ? r->build.spec : spec->spec;
    ProblemRules rules = {r->build.signature, checked.dtype, checked.d, checked.e, ATTUNE_DEVICE_HOST, false, 0, 0};
    status = problem_check(&rules, launch, &r->problem, error);
    if (status == ATTUNE_OK)
        fill_reference(r, r->build.options.elem);
    return status;
}

static AttuneStatus run(const Referee *r, bool exact, int64_t rows, double *o, double *lse, double *max,
                        AttuneError **error)
{
    RefResult result = {.o = o};
    result.returns[RETURN_LSE] = lse;
    result.returns[RETURN_MAX] = max;
    if (!reference_run(r->spec, &r->ref, exact, r->build.options.elem, rows < 1 ? 1 : rows, &result))
        return error_memory(error);
    return ATTUNE_OK;
}

AttuneStatus attune_reference(const AttuneSpec *spec, const AttuneKernelOptions *options,
                              const AttuneLaunch *launch, int64_t rows, double *o, double *lse,
                              AttuneError **error)
{
    Referee r = {.spec = NULL};
    AttuneStatus status = referee_open(&r, spec, options, launch, error);
    if (status == ATTUNE_OK && (o || lse))
        status = run(&r, true, rows, o, lse, NULL, error);
    build_close(&r.build);
    return status;
}

/* Comparing --------------------------------------------------------------------------------------------- */

static double load(const void *data, ElemType type, int64_t index)
{
    uint32_t bits;
    float value;
    if (type == ELEM_TYPE_F32)
        return ((const float *)data)[index];
    uint16_t half = ((const uint16_t *)data)[index];
    if (type == ELEM_TYPE_BF16) {
        bits = (uint32_t)half << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                        : ldexp(1024 + fraction, exponent - 25);
    return half >> 15 ? -magnitude : magnitude;
}

typedef struct Sums {
    double max, squares;
} Sums;

static void add_error(Sums *sums, double have, double want)
{
    double error = fabs(have - want);
    if (isnan(want) && isnan(have)) /* the mathematics itself has no value there */
        error = 0;
    else if (have == want) /* equal infinities */
        error = 0;
    else if (!(error < (double)INFINITY))
        error = (double)INFINITY;
    sums->max = error > sums->max ? error : sums->max;
    sums->squares += error * error;
}

/* What is compared with what. */
typedef struct Comparison {
    const Referee *r;
    const double *exact, *plain, *lse, *max;
    Sums ours, theirs;
    AttuneCheck *check;
} Comparison;

/* One row of o, and its lse. A row without a visible key has no maximum. */
static void compare_row(Comparison *c, int64_t b, int64_t h, int64_t m)
{
    const Referee *r = c->r;
    AttuneCheck *check = c->check;
    const View *o = &r->problem.o, *statistic = &r->problem.returns[RETURN_LSE];
    int64_t line = (b * r->heads + h) * r->rows + m, row = line * r->width;
    int64_t at = b * o->stride[0] + h * o->stride[1] + m * o->stride[2];
    bool empty = isinf(c->max[line]) && c->max[line] < 0, wrong = false;
    for (int64_t e = 0; e < r->width; e++) {
        double have = load(o->data, r->build.options.elem, at + e * o->stride[3]);
        add_error(&c->ours, have, c->exact[row + e]);
        add_error(&c->theirs, c->plain[row + e], c->exact[row + e]);
        wrong |= (empty && have != 0) || (isnan(have) && !isnan(c->exact[row + e]));
        check->values++;
    }
    if (r->problem.has_return[RETURN_LSE]) {
        int64_t place = b * statistic->stride[0] + h * statistic->stride[1] + m * statistic->stride[2];
        double have = ((const float *)statistic->data)[place], want = c->lse[line];
        double error = have == want ? 0 : fabs(have - want);
        wrong |= empty ? have != want : isnan(have) && !isnan(want);
        check->lse_error = error > check->lse_error || isnan(error) ? error : check->lse_error;
    }
    check->wrong_empty_rows += wrong;
}

/* Every rows-th query of each sequence, as the reference computes them. */
static void compare_rows(Comparison *c, int64_t rows)
{
    const RefProblem *ref = &c->r->ref;
    for (int64_t b = 0; b < ref->B; b++) {
        int64_t begin = ref->cu_q ? ref->cu_q[b] : 0, end = ref->cu_q ? ref->cu_q[b + 1] : ref->M;
        for (int64_t h = 0; h < ref->H; h++)
            for (int64_t m = begin; m < end; m += rows)
                compare_row(c, ref->cu_q ? 0 : b, h, m);
    }
}

/* 2x the plain run's largest error and 1.1x its RMSE. Where a plain run happens to be exact, the last digit
 * of the largest value stays allowed. */
static void judge(const Comparison *c, int64_t count)
{
    AttuneCheck *check = c->check;
    ElemType elem = c->r->build.options.elem;
    double digit = elem == ELEM_TYPE_F32 ? 0x1p-24 : elem == ELEM_TYPE_BF16 ? 0x1p-9 : 0x1p-12;
    double largest = 0, values = check->values > 0 ? (double)check->values : 1;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(c->exact[i]) && fabs(c->exact[i]) > largest)
            largest = fabs(c->exact[i]);
    check->max_error = c->ours.max;
    check->rms_error = sqrt(c->ours.squares / values);
    check->plain_max = c->theirs.max;
    check->plain_rms = sqrt(c->theirs.squares / values);
    check->max_limit = 2 * check->plain_max + largest * digit;
    check->rms_limit = 1.1 * check->plain_rms + largest * digit / 16;
    check->passed = check->max_error <= check->max_limit && check->rms_error <= check->rms_limit &&
                    check->wrong_empty_rows == 0 && check->lse_error <= 1e-3;
}

AttuneStatus attune_check(const AttuneSpec *spec, const AttuneKernelOptions *options,
                          const AttuneLaunch *launch, int64_t rows, AttuneCheck *check, AttuneError **error)
{
    if (!check)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "check is NULL");
    memset(check, 0, sizeof *check);
    Referee r = {.spec = NULL};
    double *exact = NULL, *plain = NULL, *lse = NULL, *max = NULL;
    AttuneStatus status = referee_open(&r, spec, options, launch, error);
    int64_t lines = r.batches * r.heads * r.rows, count = lines * r.width;
    rows = rows < 1 ? 1 : rows;
    if (status == ATTUNE_OK) {
        exact = calloc((size_t)count + 1, sizeof *exact);
        plain = calloc((size_t)count + 1, sizeof *plain);
        lse = calloc((size_t)lines + 1, sizeof *lse);
        max = calloc((size_t)lines + 1, sizeof *max);
        status = exact && plain && lse && max ? ATTUNE_OK : error_memory(error);
    }
    if (status == ATTUNE_OK)
        status = run(&r, true, rows, exact, lse, max, error);
    if (status == ATTUNE_OK)
        status = run(&r, false, rows, plain, NULL, NULL, error);
    if (status == ATTUNE_OK) {
        Comparison c = {.r = &r, .exact = exact, .plain = plain, .lse = lse, .max = max, .check = check};
        compare_rows(&c, rows);
        judge(&c, count);
    }
    free(exact);
    free(plain);
    free(lse);
    free(max);
    build_close(&r.build);
    return status;
}
