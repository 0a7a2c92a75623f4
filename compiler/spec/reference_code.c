/* Straight-line evaluation of expressions over lanes; see reference_code.h. */
#include "reference_code.h"

#include <math.h>
#include <string.h>

#include "expr_meaning.h"

typedef enum Stage { STAGE_HEAD, STAGE_ROW, STAGE_LANE, STAGE_COUNT } Stage;

typedef struct Slot {
    ExprValue *at;
    int stride; /* 0: the same for all lanes */
    Stage stage;
} Slot;

typedef struct Inst Inst;
typedef struct Block {
    Inst **insts;
    int count, capacity;
} Block;

struct Inst {
    const Expr *e;
    Slot result;
    Slot args[SPEC_MAX_DIMS];
    bool dot;        /* the SUM of q[c] * k[c] */
    Block body;      /* of a reduction, whose bound variable lives in `bound` and body result in `term` */
    ExprValue *bound;
    Slot term;
};

typedef struct Entry {
    const Expr *e;
    Slot slot;
} Entry;

/* Where instructions go: the three stages of the whole code, or the body of a reduction. */
typedef struct Scope {
    struct Scope *parent;
    const Expr *reduction;
    Block *block;
    ExprValue *bound;
    Entry *entries;
    int count, capacity;
} Scope;

struct RefCode {
    Arena *arena;
    RefLaneKind lanes;
    Block stages[STAGE_COUNT];
    Slot result;
};

/* Building --------------------------------------------------------------------------------------------- */

static Entry *scope_find(Scope *scope, const Expr *e)
{
    if (!scope->capacity)
        return NULL;
    for (uint32_t n = e->id * 2654435761u;; n++) {
        Entry *entry = &scope->entries[n & (uint32_t)(scope->capacity - 1)];
        if (!entry->e || entry->e == e)
            return entry;
    }
}

static void scope_add(Arena *arena, Scope *scope, const Expr *e, Slot slot)
{
    if (scope->count * 2 >= scope->capacity) {
        Entry *old = scope->entries;
        int old_capacity = scope->capacity;
        scope->capacity = old_capacity ? old_capacity * 2 : 16;
        scope->entries = ARENA_ARRAY(arena, Entry, (size_t)scope->capacity);
        for (int n = 0; n < old_capacity; n++)
            if (old[n].e)
                *scope_find(scope, old[n].e) = old[n];
    }
    *scope_find(scope, e) = (Entry){e, slot};
    scope->count++;
}

static void block_add(Arena *arena, Block *block, Inst *inst)
{
    if (block->count == block->capacity) {
        int capacity = block->capacity ? block->capacity * 2 : 8;
        block->insts =
            arena_grow(arena, block->insts, (size_t)block->count, (size_t)capacity, sizeof *block->insts);
        block->capacity = capacity;
    }
    block->insts[block->count++] = inst;
}

static bool is_reduction(const Expr *e)
{
    return e->op == EXPR_SUM || e->op == EXPR_REDMAX || e->op == EXPR_REDMIN;
}

static Stage leaf_stage(const RefCode *code, const Expr *e)
{
    switch (e->op) {
    case EXPR_VAR:
        switch (e->index) {
        case VAR_I0: case VAR_I1: case VAR_I2: case VAR_T0: case VAR_T1: case VAR_T2:
            return STAGE_ROW;
        case VAR_J0: case VAR_J1: case VAR_J2: case VAR_S:
            return code->lanes == REF_LANES_KEYS ? STAGE_LANE : STAGE_ROW;
        case VAR_C:
            return code->lanes == REF_LANES_CHANNELS ? STAGE_LANE : STAGE_ROW;
        default:
            return STAGE_HEAD;
        }
    case EXPR_ELEM:
        return e->index == ELEM_K && code->lanes == REF_LANES_KEYS ? STAGE_LANE : STAGE_ROW;
    default:
        return STAGE_HEAD;
    }
}

static bool is_dot(const RefCode *code, const Expr *e)
{
    if (code->lanes != REF_LANES_KEYS || e->op != EXPR_SUM || e->args[1]->op != EXPR_MUL)
        return false;
    const Expr *a = e->args[1]->args[0], *b = e->args[1]->args[1];
    if (a->op != EXPR_ELEM || b->op != EXPR_ELEM)
        return false;
    if (!((a->index == ELEM_Q && b->index == ELEM_K) || (a->index == ELEM_K && b->index == ELEM_Q)))
        return false;
    return a->args[0]->op == EXPR_VAR && a->args[0]->index == e->index && b->args[0] == a->args[0];
}

/* Does e depend on a value that only exists inside `scope` (its bound variable)? Answered by what was already
 * built: a node whose operands all have slots outside is itself outside. */
static bool depends_on(Arena *arena, const Expr *e, int32_t bound, Scope *seen)
{
    if (e->op == EXPR_VAR)
        return e->index == bound;
    if (!(e->vars >> 63))
        return false;
    Entry *known = scope_find(seen, e);
    if (known && known->e)
        return known->slot.stride;
    bool result = false;
    for (int n = 0; n < e->arity && !result; n++)
        result = depends_on(arena, e->args[n], bound, seen);
    if (e->arity)
        scope_add(arena, seen, e, (Slot){NULL, result, STAGE_HEAD});
    return result;
}

typedef struct Depends {
    struct Depends *next;
    int32_t bound;
    Scope seen;
} Depends;

typedef struct Builder {
    RefCode *code;
    Depends *depends;
} Builder;

static bool depends(Builder *builder, const Expr *e, int32_t bound)
{
    Depends *d = builder->depends;
    while (d && d->bound != bound)
        d = d->next;
    if (!d) {
        d = ARENA_NEW(builder->code->arena, Depends);
        *d = (Depends){builder->depends, bound, {0}};
        builder->depends = d;
    }
    return depends_on(builder->code->arena, e, bound, &d->seen);
}

static Slot build(Builder *builder, const Expr *e, Scope *scope)
{
    RefCode *code = builder->code;
    Arena *arena = code->arena;
    if (e->op == EXPR_VAR && e->index >= VAR_FIRST_BOUND) {
        for (Scope *at = scope; at; at = at->parent)
            if (at->reduction && at->reduction->index == e->index)
                return (Slot){at->bound, 0, STAGE_HEAD};
    }
    while (scope->reduction && !depends(builder, e, scope->reduction->index))
        scope = scope->parent;
    Entry *known = scope_find(scope, e);
    if (known && known->e)
        return known->slot;

    Inst *inst = ARENA_NEW(arena, Inst);
    inst->e = e;
    inst->dot = is_dot(code, e);
    Stage stage = leaf_stage(code, e);
    if (is_reduction(e)) {
        inst->args[0] = build(builder, e->args[0], scope);
        stage = inst->args[0].stage;
        if (inst->dot) {
            stage = STAGE_LANE;
        } else {
            inst->bound = ARENA_NEW(arena, ExprValue);
            Scope body = {scope, e, &inst->body, inst->bound, NULL, 0, 0};
            inst->term = build(builder, e->args[1], &body);
            if (inst->term.stage > stage)
                stage = inst->term.stage;
        }
    } else {
        for (int n = 0; n < e->arity; n++) {
            inst->args[n] = build(builder, e->args[n], scope);
            if (inst->args[n].stage > stage)
                stage = inst->args[n].stage;
        }
    }
    inst->result.stage = stage;
    inst->result.stride = stage == STAGE_LANE;
    inst->result.at = ARENA_ARRAY(arena, ExprValue, stage == STAGE_LANE ? REF_LANES : 1);
    block_add(arena, scope->reduction ? scope->block : &code->stages[stage], inst);
    scope_add(arena, scope, e, inst->result);
    return inst->result;
}

RefCode *ref_code_build(Arena *arena, const Expr *e, RefLaneKind lanes)
{
    RefCode *code = ARENA_NEW(arena, RefCode);
    code->arena = arena;
    code->lanes = lanes;
    Builder builder = {code, NULL};
    Scope top = {0};
    code->result = build(&builder, e, &top);
    return code;
}

/* Stored values ---------------------------------------------------------------------------------------- */

static double half_to_double(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double value = exponent == 31 ? (fraction ? NAN : INFINITY)
        : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -value : value;
}

double ref_load(const void *data, ElemType type, int64_t index)
{
    switch (type) {
    case ELEM_TYPE_BOOL: return ((const uint8_t *)data)[index] != 0;
    case ELEM_TYPE_I32: return ((const int32_t *)data)[index];
    case ELEM_TYPE_I64: return (double)((const int64_t *)data)[index];
    case ELEM_TYPE_F32: return ((const float *)data)[index];
    case ELEM_TYPE_F16: return half_to_double(((const uint16_t *)data)[index]);
    case ELEM_TYPE_BF16: {
        uint32_t bits = (uint32_t)((const uint16_t *)data)[index] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    }
    return 0;
}

/* To `digits` significant bits with smallest exponent `lowest` (of the last bit). */
static double round_bits(double value, int digits, int lowest, double largest)
{
    if (!isfinite(value) || value == 0)
        return value;
    int exponent;
    frexp(value, &exponent);
    int last = exponent - digits < lowest ? lowest : exponent - digits;
    double rounded = ldexp(nearbyint(ldexp(value, -last)), last);
    return fabs(rounded) > largest ? copysign(INFINITY, value) : rounded;
}

double ref_round(double value, ElemType type)
{
    switch (type) {
    case ELEM_TYPE_F32: return (float)value;
    case ELEM_TYPE_BF16: return round_bits((float)value, 8, -133, 0x1.fep127);
    case ELEM_TYPE_F16: return round_bits((float)value, 11, -24, 65504);
    default: return value;
    }
}

static int64_t extent_of_var(const RefEnv *env, int var)
{
    const RefProblem *p = env->problem;
    switch (var) {
    case VAR_SIZE_B: return p->B;
    case VAR_SIZE_H: return p->H;
    case VAR_SIZE_G: return p->G;
    case VAR_SIZE_M: return env->M;
    case VAR_SIZE_N: return env->N;
    case VAR_SIZE_D: return p->D;
    case VAR_SIZE_E: return p->E;
    case VAR_SIZE_M0: case VAR_SIZE_M1: case VAR_SIZE_M2: return env->m_axis[var - VAR_SIZE_M0];
    case VAR_SIZE_N0: case VAR_SIZE_N1: case VAR_SIZE_N2: return env->n_axis[var - VAR_SIZE_N0];
    case VAR_OFFSET: return p->offset;
    case VAR_B: return env->b;
    case VAR_H: return env->h;
    case VAR_G: return env->g;
    default: return 0;
    }
}

static ExprValue extent_leaf(void *user, const Expr *e, const ExprValue *args)
{
    const RefEnv *env = user;
    (void)args;
    ExprValue value = {0};
    if (e->op == EXPR_VAR)
        value.i = extent_of_var(env, e->index);
    else if (e->op == EXPR_PARAM)
        value = env->problem->params[e->index];
    return value;
}

void ref_input_extents(RefEnv *env)
{
    const RefProblem *p = env->problem;
    for (int n = 0; n < env->spec->input_count; n++) {
        const SpecInput *input = &env->spec->inputs[n];
        for (int d = 0; d < input->dim_count; d++) {
            int64_t *extent = &env->input_extent[n][d];
            switch (input->dims[d].kind) {
            case DIM_B: *extent = p->B; break;
            case DIM_H: *extent = p->H; break;
            case DIM_G: *extent = p->G; break;
            case DIM_T: case DIM_J: *extent = env->N; break;
            case DIM_I: *extent = env->M; break;
            case DIM_D: *extent = p->D; break;
            case DIM_E: *extent = p->E; break;
            case DIM_EXTENT: case DIM_FREE: {
                ExprEval eval = {env, extent_leaf, false};
                *extent = expr_eval(&eval, input->dims[d].extent).i;
                break;
            }
            }
        }
    }
}

/* Running ---------------------------------------------------------------------------------------------- */

static void coordinates(int64_t flat, int rank, const int64_t *axis, int64_t *out)
{
    for (int a = rank - 1; a > 0; a--) {
        out[a] = axis[a] > 0 ? flat % axis[a] : 0;
        flat = axis[a] > 0 ? flat / axis[a] : 0;
    }
    out[0] = flat;
}

static ExprValue var_value(const RefEnv *env, const RefCode *code, int var, int64_t lane)
{
    ExprValue value = {0};
    switch (var) {
    case VAR_I0: case VAR_I1: case VAR_I2: value.i = env->position[var - VAR_I0]; break;
    case VAR_T0: case VAR_T1: case VAR_T2: value.i = env->position[var - VAR_T0]; break;
    case VAR_J0: case VAR_J1: case VAR_J2: {
        int64_t at[SPEC_MAX_RANK] = {0};
        coordinates(lane, env->spec->rank, env->n_axis, at);
        value.i = code->lanes == REF_LANES_KEYS ? at[var - VAR_J0] : 0;
        break;
    }
    case VAR_C: value.i = lane; break;
    case VAR_S: value.f = env->s[lane]; break;
    default: value.i = extent_of_var(env, var); break;
    }
    return value;
}

static ExprValue input_value(const RefEnv *env, const Expr *e, const Slot *args, int lane)
{
    const SpecInput *input = &env->spec->inputs[e->index];
    const RefTensor *tensor = &env->problem->inputs[e->index];
    bool ragged = env->problem->cu_k || env->problem->cu_q, tokens = false;
    for (int d = 0; d < input->dim_count; d++)
        tokens |=
            input->dims[d].kind == DIM_T || input->dims[d].kind == DIM_I || input->dims[d].kind == DIM_J;
    int64_t address = 0;
    bool inside = tensor->data != NULL;
    for (int d = 0; d < input->dim_count && inside; d++) {
        int64_t index = args[d].at[lane * args[d].stride].i;
        inside = index >= 0 && index < env->input_extent[e->index][d];
        DimKind kind = input->dims[d].kind;
        if (ragged && tokens && kind == DIM_B)
            index = 0;
        else if (ragged && kind == DIM_I)
            index += env->base_q;
        else if (ragged && (kind == DIM_T || kind == DIM_J))
            index += env->base_k;
        address += index * tensor->stride[d];
    }
    ExprValue value = {0};
    if (!inside)
        return value;
    if (e->type == TYPE_FLOAT)
        value.f = ref_load(tensor->data, tensor->type, address);
    else if (tensor->type == ELEM_TYPE_I64)
        value.i = ((const int64_t *)tensor->data)[address];
    else
        value.i = (int64_t)ref_load(tensor->data, tensor->type, address);
    return value;
}

static double elem_value(const RefEnv *env, const Expr *e, const Slot *args, int64_t first, int lane)
{
    int64_t c = args[0].at[lane * args[0].stride].i;
    switch ((ElemOf)e->index) {
    case ELEM_Q: return c >= 0 && c < env->q_width ? env->q[c] : 0;
    case ELEM_K: return c >= 0 && c < env->k_width ? env->k[(first + lane) * env->k_width + c] : 0;
    case ELEM_O: return c >= 0 && c < env->o_width ? env->o[c] : 0;
    case ELEM_X: {
        int64_t back = e->arity > 1 ? args[1].at[lane * args[1].stride].i : 0, row = env->x_row - back;
        return c >= 0 && c < env->x_width && back >= 0 && row >= 0 ? env->x[row * env->x_width + c] : 0;
    }
    case ELEM_V: return 0;
    }
    return 0;
}

static void run_block(const RefCode *code, const RefEnv *env, const Block *block, int64_t first, int count);

static void run_dot(const RefEnv *env, Inst *inst, int64_t first, int count)
{
    int64_t extent = inst->args[0].at->i;
    if (extent > env->q_width)
        extent = env->q_width;
    if (extent > env->k_width)
        extent = env->k_width;
    const double *q = env->q;
    for (int l = 0; l < count; l++) {
        const double *k = env->k + (first + l) * env->k_width;
        if (env->plain) {
            float sum = 0;
            for (int64_t c = 0; c < extent; c++)
                sum += (float)q[c] * (float)k[c];
            inst->result.at[l].f = sum;
            continue;
        }
        double sum[4] = {0};
        int64_t c = 0;
        for (; c + 4 <= extent; c += 4)
            for (int n = 0; n < 4; n++)
                sum[n] += q[c + n] * k[c + n];
        for (; c < extent; c++)
            sum[0] += q[c] * k[c];
        inst->result.at[l].f = sum[0] + sum[1] + (sum[2] + sum[3]);
    }
}

static void run_reduction(const RefCode *code, const RefEnv *env, Inst *inst, int64_t first, int count)
{
    const Expr *e = inst->e;
    bool is_float = e->type == TYPE_FLOAT;
    ExprValue *result = inst->result.at;
    int lanes = inst->result.stride ? count : 1;
    int64_t longest = 0;
    for (int l = 0; l < lanes; l++) {
        int64_t extent = inst->args[0].at[l * inst->args[0].stride].i;
        longest = extent > longest ? extent : longest;
        if (e->op == EXPR_SUM)
            result[l] = (ExprValue){0};
        else if (is_float)
            result[l].f = e->op == EXPR_REDMAX ? -INFINITY : INFINITY;
        else
            result[l].i = e->op == EXPR_REDMAX ? INT64_MIN : INT64_MAX;
    }
    for (int64_t c = 0; c < longest; c++) {
        inst->bound->i = c;
        run_block(code, env, &inst->body, first, count);
        for (int l = 0; l < lanes; l++) {
            if (c >= inst->args[0].at[l * inst->args[0].stride].i)
                continue;
            ExprValue term = inst->term.at[l * inst->term.stride];
            if (e->op == EXPR_SUM && is_float)
                result[l].f = env->plain ? (float)(result[l].f + term.f) : result[l].f + term.f;
            else if (e->op == EXPR_SUM)
                result[l].i = (int64_t)((uint64_t)result[l].i + (uint64_t)term.i);
            else if (is_float)
                result[l].f = e->op == EXPR_REDMAX ? (term.f > result[l].f ? term.f : result[l].f)
                    : (term.f < result[l].f ? term.f : result[l].f);
            else if ((e->op == EXPR_REDMAX) == (term.i > result[l].i))
                result[l].i = term.i;
        }
    }
}

/* The rows' meanings, lane by lane. */
#define LANES for (int l = 0; l < lanes; l++)
#define LEAF 0
#define REDUCE 0
#define NONE 0
#define EXPR_OP(id, name, arity_, signature, flags, ints, floats, range, derivative)                \
    case EXPR_##id:                                                                                 \
        LANES {                                                                                     \
            if (operands_float) {                                                                   \
                double a = x[l * sx].f, b = y[l * sy].f, c = z[l * sz].f;                           \
                int64_t p = x[l * sx].i;                                                            \
                (void)a, (void)b, (void)c, (void)p;                                                 \
                if (result_float)                                                                   \
                    r[l].f = (double)(floats);                                                      \
                else                                                                                \
                    r[l].i = (int64_t)(floats);                                                     \
            } else {                                                                                \
                int64_t a = x[l * sx].i, b = y[l * sy].i, c = z[l * sz].i;                          \
                (void)a, (void)b, (void)c;                                                          \
                if (result_float)                                                                   \
                    r[l].f = (double)(ints);                                                        \
                else                                                                                \
                    r[l].i = (int64_t)(ints);                                                       \
            }                                                                                       \
        }                                                                                           \
        break;

static void run_operator(Inst *inst, int lanes)
{
    static const ExprValue nothing;
    const Expr *e = inst->e;
    ExprValue *r = inst->result.at;
    const ExprValue *x = inst->args[0].at, *y = e->arity > 1 ? inst->args[1].at : &nothing;
    const ExprValue *z = e->arity > 2 ? inst->args[2].at : &nothing;
    int sx = inst->args[0].stride, sy = inst->args[1].stride, sz = inst->args[2].stride;
    bool operands_float = e->args[e->arity - 1]->type == TYPE_FLOAT, result_float = e->type == TYPE_FLOAT;
    switch ((ExprOp)e->op) {
#include "expr_ops.def"
    case EXPR_OP_COUNT: break;
    }
}
#undef EXPR_OP
#undef LEAF
#undef REDUCE
#undef NONE

static void run_inst(const RefCode *code, const RefEnv *env, Inst *inst, int64_t first, int count)
{
    const Expr *e = inst->e;
    ExprValue *r = inst->result.at;
    int lanes = inst->result.stride ? count : 1;
    switch ((ExprOp)e->op) {
    case EXPR_INT: case EXPR_BOOL: LANES r[l].i = e->value.i; break;
    case EXPR_FLOAT: LANES r[l].f = e->value.f; break;
    case EXPR_VAR: LANES r[l] = var_value(env, code, e->index, first + l); break;
    case EXPR_PARAM: LANES r[l] = env->problem->params[e->index]; break;
    case EXPR_ARG: LANES r[l].i = 0; break;
    case EXPR_INPUT: LANES r[l] = input_value(env, e, inst->args, l); break;
    case EXPR_ELEM: LANES r[l].f = elem_value(env, e, inst->args, first, l); break;
    case EXPR_SUM: case EXPR_REDMAX: case EXPR_REDMIN:
        if (inst->dot)
            run_dot(env, inst, first, count);
        else
            run_reduction(code, env, inst, first, count);
        return;
    default: run_operator(inst, lanes); break;
    }
    if (env->plain && e->type == TYPE_FLOAT)
        LANES r[l].f = (float)r[l].f;
}

static void run_block(const RefCode *code, const RefEnv *env, const Block *block, int64_t first, int count)
{
    for (int n = 0; n < block->count; n++)
        run_inst(code, env, block->insts[n], first, count);
}

void ref_code_head(RefCode *code, const RefEnv *env)
{
    run_block(code, env, &code->stages[STAGE_HEAD], 0, 1);
}

void ref_code_row(RefCode *code, const RefEnv *env)
{
    run_block(code, env, &code->stages[STAGE_ROW], 0, 1);
}

const ExprValue *ref_code_lanes(RefCode *code, const RefEnv *env, int64_t first, int count, int *stride)
{
    run_block(code, env, &code->stages[STAGE_LANE], first, count);
    *stride = code->result.stride;
    return code->result.at;
}

double ref_code_scalar(RefCode *code, const RefEnv *env)
{
    int stride;
    ref_code_head(code, env);
    ref_code_row(code, env);
    return ref_code_lanes(code, env, 0, 1, &stride)->f;
}
