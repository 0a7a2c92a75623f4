/* Descriptions: what a launch must know, as plain data.
 *
 * A Signature is the host's view of a spec: what it must provide. A Shape is the host's view of a kernel:
 * phases, grids, tensors. Both are made from compiler objects (build.c) or from the bytes in a header that
 * `attune build` wrote, so that launching needs nothing of the compiler. */
#ifndef ATTUNE_DESCRIPTION_H
#define ATTUNE_DESCRIPTION_H

#include "compiler/kernel.h" /* declarations only: slots, extents, limits */
#include "runtime/attune.h"

/* The extent of a dim in terms of params and sizes: operations on a stack, in order. */
typedef enum ExtentOp {
    EXTENT_INT, EXTENT_FLOAT, EXTENT_PARAM, EXTENT_SIZE, /* push: value; bits; params[value]; sizes[value] */
    EXTENT_ADD, EXTENT_SUB, EXTENT_MUL, EXTENT_DIV, EXTENT_MOD, EXTENT_NEG, EXTENT_ABS, EXTENT_SIGN,
    EXTENT_POW, EXTENT_MIN, EXTENT_MAX, EXTENT_LT, EXTENT_LE, EXTENT_EQ, EXTENT_NE, EXTENT_AND, EXTENT_OR,
    EXTENT_NOT, EXTENT_SELECT, EXTENT_TOFLOAT, EXTENT_TOINT, EXTENT_FLOOR, EXTENT_SQRT,
    EXTENT_FADD, EXTENT_FSUB, EXTENT_FMUL, EXTENT_FDIV, EXTENT_FMIN, EXTENT_FMAX,
    EXTENT_OP_COUNT
} ExtentOp;
enum { EXTENT_MAX_STACK = 32 };
typedef struct ExtentStep {
    ExtentOp op;
    int64_t value;
} ExtentStep;
typedef union ExtentValue {
    int64_t i;
    double f;
} ExtentValue;

typedef struct SignatureDim {
    AttuneDimKind kind;
    const char *name;
    int param;             /* FREE: the hidden param that holds the extent */
    int step, step_count;  /* EXTENT: in Signature.steps */
} SignatureDim;
typedef struct SignatureInput {
    const char *name;
    AttuneDtype dtype;
    bool learned;
    int dim_count;
    SignatureDim dims[SPEC_MAX_DIMS];
} SignatureInput;
typedef struct SignatureParam {
    const char *name;
    AttuneParamType type;
    bool constant, hidden, has_default;
    ExtentValue value;
} SignatureParam;
typedef struct Signature {
    const char *name;
    int rank;
    const char *axis_names[SPEC_MAX_RANK];
    int input_count;
    SignatureInput inputs[SPEC_MAX_INPUTS];
    int param_count;
    SignatureParam params[SPEC_MAX_PARAMS];
    const char *returns[RETURN_KIND_COUNT]; /* by ReturnKind; "": the spec does not return it */
    bool reads_v;
    SignatureDim width;    /* of o: kind E, or EXTENT when v's feature map changes it */
    int step_count;
    ExtentStep *steps;
} Signature;

typedef struct Shape {
    const char *target;
    uint32_t needs;        /* MachineNeed bits of host code */
    AttuneDtype dtype;
    int64_t D, E;
    int64_t block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK];
    int64_t scratch_bytes;
    int phase_count;
    struct {
        const char *entry;
        int grid_count;
        Extent grid[PROGRAM_MAX_GRID];
        int threads, shared_bytes;  /* device kernels, as the rest */
        bool persistent;
        int map_count;
        KernelMap maps[KERNEL_MAX_MAPS];
    } phases[PROGRAM_MAX_PHASES];
    int tensor_count;
    struct {
        TensorRole role;
        int index;
        AttuneDtype dtype;
        int dim_count;
        Extent extent[SPEC_MAX_DIMS];
    } tensors[PROGRAM_MAX_TENSORS];
} Shape;

typedef struct Description {
    Signature signature;
    Shape shape;
    void *memory; /* strings and steps */
} Description;

/* The bytes of a description (with_shape false: of the signature alone), malloc'ed; NULL: out of memory. */
unsigned char *description_pack(const Description *description, bool with_shape, size_t *size);
/* NULL with an error for bytes that are no description, of another format, or damaged. */
Description *description_unpack(const unsigned char *bytes, size_t size, AttuneError **error);
void description_destroy(Description *description);

/* False: the stack ran over, a division by zero, an overflow. */
bool signature_extent(const Signature *signature, const SignatureDim *dim, const int64_t *slots,
                      int64_t *extent);
/* attune_spec_input_shape (input_shape.c). */
AttuneStatus signature_input_shape(const Signature *signature, int32_t index, const AttuneSizes *sizes,
                                   const AttuneParam *params, int32_t param_count, int64_t *shape,
                                   AttuneError **error);

#endif
