/* Descriptions as bytes and back.
 *
 * One walk describes the format; it writes or reads depending on the codec, so the two directions cannot
 * disagree. Integers are zigzag varints, strings are NUL-terminated, whatever the machine that wrote them. */
#include "runtime/description.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/error.h"
#include "runtime/machine.h"

enum { FORMAT = 3 };
static const char magic[] = "attune-description";

typedef struct Codec {
    bool reading, bad, no_memory;
    unsigned char *bytes;  /* writing: owned, grows; reading: a copy that strings point into */
    size_t size, at;
    Description *into;
} Codec;

static void put(Codec *c, const void *bytes, size_t count)
{
    if (c->no_memory)
        return;
    if (c->size - c->at < count) {
        size_t room = c->size * 2 + count + 256;
        unsigned char *grown = realloc(c->bytes, room);
        if (!grown) {
            c->no_memory = true;
            return;
        }
        c->bytes = grown;
        c->size = room;
    }
    memcpy(c->bytes + c->at, bytes, count);
    c->at += count;
}

static void code_word(Codec *c, uint64_t *word)
{
    if (!c->reading) {
        uint64_t rest = *word;
        do {
            unsigned char byte = (unsigned char)((rest & 127) | (rest > 127 ? 128 : 0));
            put(c, &byte, 1);
            rest >>= 7;
        } while (rest);
        return;
    }
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        if (shift > 63 || c->at >= c->size) {
            c->bad = true;
            break;
        }
        unsigned char byte = c->bytes[c->at++];
        value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            break;
    }
    *word = c->bad ? 0 : value;
}

static void code_i64(Codec *c, int64_t *value)
{
    uint64_t word = ((uint64_t)*value << 1) ^ (*value < 0 ? ~(uint64_t)0 : 0);
    code_word(c, &word);
    if (c->reading)
        *value = (int64_t)((word >> 1) ^ (~(word & 1) + 1));
}

/* A number that must be in [low, high]; what is read is never outside. */
static int code_int(Codec *c, int value, int low, int high)
{
    int64_t wide = value;
    code_i64(c, &wide);
    if (wide < low || wide > high) {
        c->bad = true;
        return low;
    }
    return (int)wide;
}

static bool code_bool(Codec *c, bool value)
{
    return code_int(c, value, 0, 1) != 0;
}

static void code_text(Codec *c, const char **text)
{
    if (!c->reading) {
        put(c, *text ? *text : "", (*text ? strlen(*text) : 0) + 1);
        return;
    }
    unsigned char *end = c->at < c->size ? memchr(c->bytes + c->at, 0, c->size - c->at) : NULL;
    *text = "";
    if (!end) {
        c->bad = true;
        return;
    }
    *text = (const char *)c->bytes + c->at;
    c->at = (size_t)(end - c->bytes) + 1;
}

static void code_extent(Codec *c, Extent *extent)
{
    extent->size = code_int(c, extent->size, -1, VAR_OFFSET);
    if (extent->size >= 0 && extent->size < VAR_SIZE_B)
        c->bad = true;
    extent->div_knob = -1;
    code_i64(c, &extent->div);
    code_i64(c, &extent->mul);
    if (extent->div < 1 || extent->mul < 0)
        c->bad = true;
}

static void code_dim(Codec *c, const Signature *s, SignatureDim *dim)
{
    dim->kind = (AttuneDimKind)code_int(c, (int)dim->kind, ATTUNE_DIM_B, ATTUNE_DIM_FREE);
    code_text(c, &dim->name);
    dim->param = code_int(c, dim->param, -1, s->param_count - 1);
    dim->step = code_int(c, dim->step, 0, s->step_count);
    dim->step_count = code_int(c, dim->step_count, 0, s->step_count - dim->step);
    if (dim->kind == ATTUNE_DIM_FREE && dim->param < 0)
        c->bad = true;
}

static void code_input(Codec *c, Signature *s, SignatureInput *input)
{
    code_text(c, &input->name);
    input->dtype = (AttuneDtype)code_int(c, (int)input->dtype, ATTUNE_F32, ATTUNE_DTYPE_COUNT - 1);
    input->learned = code_bool(c, input->learned);
    input->dim_count = code_int(c, input->dim_count, 0, SPEC_MAX_DIMS);
    for (int i = 0; i < input->dim_count; i++)
        code_dim(c, s, &input->dims[i]);
}

static void code_signature(Codec *c, Signature *s)
{
    code_text(c, &s->name);
    s->rank = code_int(c, s->rank, 1, SPEC_MAX_RANK);
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        code_text(c, &s->axis_names[a]);
    for (int r = 0; r < RETURN_KIND_COUNT; r++)
        code_text(c, &s->returns[r]);
    s->reads_v = code_bool(c, s->reads_v);
    s->param_count = code_int(c, s->param_count, 0, SPEC_MAX_PARAMS);
    for (int i = 0; i < s->param_count; i++) {
        SignatureParam *param = &s->params[i];
        code_text(c, &param->name);
        param->type = (AttuneParamType)code_int(c, (int)param->type, ATTUNE_PARAM_INT, ATTUNE_PARAM_BOOL);
        param->constant = code_bool(c, param->constant);
        param->hidden = code_bool(c, param->hidden);
        param->has_default = code_bool(c, param->has_default);
        code_i64(c, &param->value.i); /* floats by their bits */
    }
    s->step_count = code_int(c, s->step_count, 0, 1 << 20);
    if (c->reading && !c->bad && s->step_count > 0) {
        s->steps = (size_t)s->step_count <= c->size - c->at
                       ? calloc((size_t)s->step_count, sizeof s->steps[0])
                       : NULL;
        if (!s->steps) {
            c->no_memory = (size_t)s->step_count <= c->size - c->at;
            c->bad = true;
            s->step_count = 0;
        }
    }
    for (int i = 0; i < s->step_count && !c->bad; i++) {
        s->steps[i].op = (ExtentOp)code_int(c, (int)s->steps[i].op, 0, EXTENT_OP_COUNT - 1);
        code_i64(c, &s->steps[i].value);
    }
    code_dim(c, s, &s->width);
    s->input_count = code_int(c, s->input_count, 0, SPEC_MAX_INPUTS);
    for (int i = 0; i < s->input_count; i++)
        code_input(c, s, &s->inputs[i]);
}

static void code_map(Codec *c, KernelMap *map)
{
    map->tensor = code_int(c, map->tensor, 0, PROGRAM_MAX_TENSORS - 1);
    map->rank = code_int(c, map->rank, 1, SPEC_MAX_RANK);
    for (int a = 0; a < map->rank; a++)
        map->box[a] = code_int(c, map->box[a], 1, INT32_MAX);
    map->width = code_int(c, map->width, 1, INT32_MAX);
    map->queries = code_bool(c, map->queries);
}

static void code_shape(Codec *c, Shape *k)
{
    code_text(c, &k->target);
    k->needs = (uint32_t)code_int(c, (int)k->needs, 0, NEED_ALL);
    k->dtype = (AttuneDtype)code_int(c, (int)k->dtype, ATTUNE_F32, ATTUNE_DTYPE_COUNT - 1);
    code_i64(c, &k->D);
    code_i64(c, &k->E);
    code_i64(c, &k->scratch_bytes);
    if (k->D < 1 || k->E < 1 || k->scratch_bytes < 0)
        c->bad = true;
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        code_i64(c, &k->block_m[a]);
        code_i64(c, &k->block_n[a]);
    }
    k->phase_count = code_int(c, k->phase_count, 0, PROGRAM_MAX_PHASES);
    for (int p = 0; p < k->phase_count; p++) {
        code_text(c, &k->phases[p].entry);
        k->phases[p].grid_count = code_int(c, k->phases[p].grid_count, 0, PROGRAM_MAX_GRID);
        for (int g = 0; g < k->phases[p].grid_count; g++)
            code_extent(c, &k->phases[p].grid[g]);
        k->phases[p].threads = code_int(c, k->phases[p].threads, 0, INT32_MAX);
        k->phases[p].shared_bytes = code_int(c, k->phases[p].shared_bytes, 0, INT32_MAX);
        k->phases[p].persistent = code_bool(c, k->phases[p].persistent);
        k->phases[p].map_count = code_int(c, k->phases[p].map_count, 0, KERNEL_MAX_MAPS);
        for (int m = 0; m < k->phases[p].map_count; m++)
            code_map(c, &k->phases[p].maps[m]);
    }
    k->tensor_count = code_int(c, k->tensor_count, 0, PROGRAM_MAX_TENSORS);
    for (int t = 0; t < k->tensor_count; t++) {
        k->tensors[t].role = (TensorRole)code_int(c, (int)k->tensors[t].role, ROLE_Q, TENSOR_ROLE_COUNT - 1);
        int limit = k->tensors[t].role == ROLE_INPUT ? c->into->signature.input_count
                    : k->tensors[t].role == ROLE_RETURN ? RETURN_KIND_COUNT
                    : k->tensors[t].role == ROLE_STATE ? STATE_OUT + 1 : PROGRAM_MAX_TENSORS;
        k->tensors[t].index = code_int(c, k->tensors[t].index, 0, limit > 0 ? limit - 1 : 0);
        if (limit == 0)
            c->bad = true;
        k->tensors[t].dtype = (AttuneDtype)code_int(c, (int)k->tensors[t].dtype, ATTUNE_F32,
                                                    ATTUNE_DTYPE_COUNT - 1);
        k->tensors[t].dim_count = code_int(c, k->tensors[t].dim_count, 0, SPEC_MAX_DIMS);
        for (int d = 0; d < k->tensors[t].dim_count; d++)
            code_extent(c, &k->tensors[t].extent[d]);
    }
    for (int p = 0; p < k->phase_count; p++)
        for (int m = 0; m < k->phases[p].map_count; m++)
            c->bad |= k->phases[p].maps[m].tensor >= k->tensor_count;
}

static void code_description(Codec *c, Description *d, bool with_shape)
{
    const char *word = magic;
    code_text(c, &word);
    if (strcmp(word, magic) != 0)
        c->bad = true;
    int format = code_int(c, FORMAT, 0, 1 << 20);
    if (format != FORMAT)
        c->bad = true;
    if (c->bad)
        return;
    c->into = d;
    code_signature(c, &d->signature);
    if (code_bool(c, with_shape) && !c->bad)
        code_shape(c, &d->shape);
}

unsigned char *description_pack(const Description *description, bool with_shape, size_t *size)
{
    Codec c = {0};
    Description *copy = malloc(sizeof *copy); /* the walk takes pointers that a reader would write through */
    if (!copy)
        return NULL;
    *copy = *description;
    code_description(&c, copy, with_shape);
    free(copy);
    if (c.no_memory || c.bad) {
        free(c.bytes);
        return NULL;
    }
    *size = c.at;
    return c.bytes;
}

Description *description_unpack(const unsigned char *bytes, size_t size, AttuneError **error)
{
    Description *d = calloc(1, sizeof *d);
    Codec c = {.reading = true, .size = size, .bytes = malloc(size ? size : 1)};
    if (!d || !c.bytes) {
        free(d);
        free(c.bytes);
        error_memory(error);
        return NULL;
    }
    memcpy(c.bytes, bytes, size);
    d->memory = c.bytes;
    code_description(&c, d, false);
    if (c.bad || c.at != size) {
        description_destroy(d);
        if (c.no_memory)
            error_memory(error);
        else
            error_set(error, ATTUNE_ERROR_ARGUMENT,
                      "the kernel's description is damaged or was made by another version of "
                      "Attune (its format is not %d): build the kernel again",
                      FORMAT);
        return NULL;
    }
    return d;
}

void description_destroy(Description *description)
{
    if (!description)
        return;
    free(description->signature.steps);
    free(description->memory);
    free(description);
}

/* Floor division and its remainder, as in the language. */
static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

/* a^b as in the language: 0 for negative b. False: it overflows. */
static bool power(int64_t a, int64_t b, int64_t *result)
{
    *result = b < 0 ? 0 : 1;
    if (a == 0 || a == 1 || a == -1) /* any b, without as many steps */
        b = b <= 0 ? b : a == -1 ? 2 - b % 2 : 1;
    for (; b > 0; b--)
        if (__builtin_mul_overflow(*result, a, result))
            return false;
    return true;
}

static bool extent_apply(ExtentOp op, ExtentValue *v)
{
    int64_t a = v[0].i, b = v[1].i;
    double x = v[0].f, y = v[1].f;
    switch (op) {
    case EXTENT_ADD: return !__builtin_add_overflow(a, b, &v[0].i);
    case EXTENT_SUB: return !__builtin_sub_overflow(a, b, &v[0].i);
    case EXTENT_MUL: return !__builtin_mul_overflow(a, b, &v[0].i);
    case EXTENT_DIV:
        v[0].i = b == 0 || b == -1 ? 0 : floor_div(a, b);
        return b != -1 || !__builtin_sub_overflow(0, a, &v[0].i);
    case EXTENT_MOD: v[0].i = b == 0 || b == -1 ? 0 : a - floor_div(a, b) * b; return true;
    case EXTENT_NEG: return !__builtin_sub_overflow(0, a, &v[0].i);
    case EXTENT_ABS: return a >= 0 || !__builtin_sub_overflow(0, a, &v[0].i);
    case EXTENT_MIN: v[0].i = a < b ? a : b; return true;
    case EXTENT_MAX: v[0].i = a > b ? a : b; return true;
    case EXTENT_LT: v[0].i = a < b; return true;
    case EXTENT_LE: v[0].i = a <= b; return true;
    case EXTENT_EQ: v[0].i = a == b; return true;
    case EXTENT_NE: v[0].i = a != b; return true;
    case EXTENT_AND: v[0].i = a & b; return true;
    case EXTENT_OR: v[0].i = a | b; return true;
    case EXTENT_NOT: v[0].i = !a; return true;
    case EXTENT_SELECT: v[0] = a ? v[1] : v[2]; return true;
    case EXTENT_SIGN: v[0].i = (a > 0) - (a < 0); return true;
    case EXTENT_POW: return power(a, b, &v[0].i);
    case EXTENT_TOFLOAT: v[0].f = (double)a; return true;
    case EXTENT_TOINT: v[0].i = fabs(x) < 0x1p62 ? (int64_t)x : 0; return fabs(x) < 0x1p62;
    case EXTENT_FLOOR: v[0].f = floor(x); return true;
    case EXTENT_SQRT: v[0].f = sqrt(x); return true;
    case EXTENT_FADD: v[0].f = x + y; return true;
    case EXTENT_FSUB: v[0].f = x - y; return true;
    case EXTENT_FMUL: v[0].f = x * y; return true;
    case EXTENT_FDIV: v[0].f = x / y; return true;
    case EXTENT_FMIN: v[0].f = x < y ? x : y; return true;
    case EXTENT_FMAX: v[0].f = x > y ? x : y; return true;
    default: return false;
    }
}

static int extent_arity(ExtentOp op)
{
    switch (op) {
    case EXTENT_INT: case EXTENT_FLOAT: case EXTENT_PARAM: case EXTENT_SIZE: return 0;
    case EXTENT_NEG:
    case EXTENT_ABS:
    case EXTENT_SIGN:
    case EXTENT_NOT:
    case EXTENT_TOFLOAT:
    case EXTENT_TOINT:
    case EXTENT_FLOOR:
    case EXTENT_SQRT: return 1;
    case EXTENT_SELECT: return 3;
    default: return 2;
    }
}

bool signature_extent(const Signature *signature, const SignatureDim *dim, const int64_t *slots,
                      int64_t *extent)
{
    ExtentValue stack[EXTENT_MAX_STACK] = {{0}};
    int depth = 0;
    for (int i = 0; i < dim->step_count; i++) {
        const ExtentStep *step = &signature->steps[dim->step + i];
        int arity = extent_arity(step->op);
        if (arity == 0) {
            int64_t limit = step->op == EXTENT_PARAM ? signature->param_count : SLOT_SIZE_COUNT;
            bool indexed = step->op == EXTENT_PARAM || step->op == EXTENT_SIZE;
            if (depth >= EXTENT_MAX_STACK || (indexed && (step->value < 0 || step->value >= limit)))
                return false;
            int64_t base = step->op == EXTENT_PARAM ? SLOT_PARAMS : SLOT_SIZES;
            stack[depth++].i = indexed ? slots[base + step->value] : step->value;
            continue;
        }
        depth -= arity;
        if (depth < 0 || depth + 3 > EXTENT_MAX_STACK || !extent_apply(step->op, &stack[depth]))
            return false;
        depth++;
    }
    *extent = stack[0].i;
    return depth == 1;
}
