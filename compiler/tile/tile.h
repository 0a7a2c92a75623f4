/* The tile IR: a Program says what the kernel does with tiles, loops and memory.
 *
 * A tile is a value over named axes ("m" query rows of the tile, "n" keys of the tile, "d", "e", ... channels).
 * Operators broadcast by axis name, so there is no transpose, no reshape and no layout here: those are the
 * target's business. A tile without axes is a scalar. `var` makes a mutable tile, `set` and `contract into` change
 * it, naming it as an operand reads it. Everything else is SSA in nested blocks.
 *
 * Element arithmetic: int is 64-bit, float is f32; bf16/f16 are storage (a value of such a type is the f32 result
 * rounded to it). */
#ifndef ATTUNE_TILE_H
#define ATTUNE_TILE_H

#include "compiler/spec/spec.h"

typedef enum TileOp {
#define TILE_OP(id, ...) TILE_##id,
#include "tile_ops.def"
#undef TILE_OP
    TILE_OP_COUNT
} TileOp;

enum { TILE_MAX_AXES = 4, PROGRAM_MAX_AXES = 16, PROGRAM_MAX_TENSORS = 64, PROGRAM_MAX_GRID = 6, PROGRAM_MAX_KNOBS = 8,
       PROGRAM_MAX_PHASES = 8, INST_MAX_ARGS = 24 };

/* Sizes that the `size` pass chooses (block_m, block_n, by coordinate axis) appear in Exprs as these variables
 * until it has run. */
#define VAR_KNOB(k) ((VarId)(32 + (k)))

typedef struct Knob { const char *name; int64_t value; /* 0: not chosen yet */ } Knob;

typedef struct Axis {
    const char *name;
    const Expr *extent_expr; /* over knobs, or a constant */
    int64_t extent;          /* known from stage SIZED on; 0 before */
} Axis;

/* Element types of tile values; storage types as in the Spec. */
typedef struct TileType {
    ElemType elem;              /* BOOL, I64 (ints), F32, BF16, F16 */
    uint8_t axis_count;
    uint8_t axis[TILE_MAX_AXES]; /* indices into Program.axes, increasing */
} TileType;

/* ceil(size / div) * mul, size = a VAR_SIZE_* (or 1 for size < 0). With div_knob >= 0 the divisor is that knob. */
typedef struct Extent { int size; int div_knob; int64_t div, mul; } Extent;

typedef enum TensorRole { ROLE_Q, ROLE_K, ROLE_V, ROLE_O, ROLE_RETURN, ROLE_INPUT, ROLE_WORKSPACE, ROLE_STATE } TensorRole;
enum { TENSOR_ROLE_COUNT = ROLE_STATE + 1 };
/* Index of a ROLE_STATE tensor, f32 [B, H, rows, columns]: read when VAR_STATE says so, written likewise. */
enum { STATE_IN, STATE_OUT };
typedef struct Tensor {
    const char *name;
    TensorRole role;
    int index;                    /* ROLE_INPUT: in Spec.inputs; ROLE_RETURN: ReturnKind; ROLE_WORKSPACE: ordinal; ROLE_STATE: STATE_IN, STATE_OUT */
    ElemType elem;
    int dim_count;
    Extent extent[SPEC_MAX_DIMS]; /* of workspaces: dense, row-major; of states; else informative */
} Tensor;

typedef enum ReduceKind { REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_OR, REDUCE_AND } ReduceKind;
/* Rows of the sequence at hand; without ragged batches begin = 0 and length = M or N. */
typedef enum SeqField { SEQ_Q_BEGIN, SEQ_Q_LENGTH, SEQ_K_BEGIN, SEQ_K_LENGTH } SeqField;

typedef struct Inst Inst;
typedef struct Block { Inst *first, *last; Inst *owner; /* the for/if it belongs to; NULL: a phase's body */ } Block;

struct Inst {
    TileOp op;
    uint32_t id;            /* %id in the text */
    bool has_value;
    TileType type;          /* of the value; of the variable for var */
    int arg_count;
    Inst **args;
    Inst *guard;            /* load, store: bool tile; false lanes read as zero, are not written. NULL: all true */
    Inst *target;           /* set: the var; contract: the var accumulated into, or NULL */
    int axis;               /* index, reduce, contract */
    ReduceKind reduce;
    const Expr *expr;       /* map: over ARG(k), sizes, params. contract: over ARG(0), ARG(1); NULL = their product */
    int tensor;             /* load, store */
    SeqField seq;
    int grid;               /* grid_index */
    bool reverse;           /* for: from hi - 1 down to lo */
    Block *body, *orelse;   /* for: body; if: body, orelse (may be NULL) */
    const char *label;      /* the concept that made it: "softmax", "mask" */
    Span span;              /* the user's line */
    Inst *prev, *next;
    Block *parent;
};

typedef struct Phase {
    const char *name;
    int grid_count;
    struct { const char *name; Extent extent; } grid[PROGRAM_MAX_GRID]; /* last one fastest */
    Block *body;
} Phase;

typedef enum Stage { STAGE_LOGICAL, STAGE_SIZED, STAGE_PLACED, STAGE_STAGED, STAGE_SYNCED } Stage;

typedef struct Program {
    Arena *arena;
    ExprPool *pool;
    const Spec *spec;       /* for names and spans; NULL for programs read from text */
    const Diag *diag;       /* its sources give the lines that the text form names; NULL: labels only */
    const char *name;
    Stage stage;
    int rank;
    Axis axes[PROGRAM_MAX_AXES]; int axis_count;
    Knob knobs[PROGRAM_MAX_KNOBS]; int knob_count;
    Tensor tensors[PROGRAM_MAX_TENSORS]; int tensor_count;
    struct { const char *name; ExprType type; } params[SPEC_MAX_PARAMS]; int param_count;
    Phase phases[PROGRAM_MAX_PHASES]; int phase_count; /* run in order, each after all of the one before */
    uint32_t next_id;
} Program;

typedef struct TileOpInfo {
    const char *name;
    int min_args, max_args;
    bool has_value, has_effect;
    Stage first_stage, last_stage; /* legal from .. to */
    const char *meaning;
} TileOpInfo;
extern const TileOpInfo tile_op_info[TILE_OP_COUNT];
const char *stage_name(Stage stage);

/* tile_build.c ------------------------------------------------------------------------------------------- */
/* The four that add a declaration return -1 / NULL when the Program can hold no more. */
Program *program_create(Arena *arena, ExprPool *pool, const char *name, int rank);
int program_axis(Program *program, const char *name, const Expr *extent); /* finds or adds */
int program_tensor(Program *program, Tensor tensor);
int program_knob(Program *program, const char *name);
Phase *program_phase(Program *program, const char *name);

/* Where new instructions go: at the end of `block`, or before `before` when it is set. */
typedef struct Builder { Program *program; Block *block; Inst *before; Span span; const char *label; } Builder;
Block *block_create(Program *program, Inst *owner);
Inst *build_index(Builder *b, int axis);                                   /* i64[axis]: 0, 1, ... */
Inst *build_grid_index(Builder *b, int grid);
Inst *build_seq(Builder *b, SeqField field, Inst *batch);
/* Axes of the result: the union of the args' axes. The element type follows from the Expr; elem rounds floats. */
Inst *build_map(Builder *b, const Expr *expr, Inst *const *args, int count);
Inst *build_map_as(Builder *b, ElemType elem, const Expr *expr, Inst *const *args, int count);
Inst *build_reduce(Builder *b, ReduceKind kind, int axis, Inst *value);    /* of an empty axis: 0, -inf/INT64_MIN, .. */
Inst *build_contract(Builder *b, int axis, Inst *a, Inst *c, const Expr *expr, Inst *into);
Inst *build_load(Builder *b, int tensor, Inst *const *indices, int count, Inst *guard);
void build_store(Builder *b, int tensor, Inst *const *indices, int count, Inst *value, Inst *guard);
Inst *build_var(Builder *b, ElemType elem, const int *axes, int axis_count, Inst *init); /* init broadcasts */
void build_set(Builder *b, Inst *var, Inst *value);
Inst *build_for(Builder *b, Inst *lo, Inst *hi, bool reverse);             /* value: the index; fill ->body */
Inst *build_if(Builder *b, Inst *cond, bool with_else);
/* Any operator, with the operands and the builder's place and label set; the rest is the caller's. */
Inst *build_inst(Builder *b, TileOp op, Inst *const *args, int count);
void inst_remove(Inst *inst);
bool inst_has_axis(const Inst *inst, int axis);
bool type_has_axis(const TileType *type, int axis);
bool type_add_axis(TileType *type, int axis); /* keeps the order; false: it is full */
/* The type that an instruction's operands give it (elem of a map, load: its own). False: too many axes. */
bool type_infer(const Inst *inst, TileType *type);
ExprType elem_class(ElemType elem);     /* bf16 -> float, i32 -> int, ... */
ElemType elem_of_class(ExprType type);  /* float -> f32, int -> i64, bool */
/* Visits every instruction, outer before inner, in order. The visitor may remove the one it is shown. */
void program_walk(Program *program, void (*visit)(void *user, Inst *inst), void *user);

/* tile_print.c, tile_parse.c: one text form, print(parse(text)) == text. */
char *program_print(const Program *program, Arena *arena);
Program *program_parse(Arena *arena, Diag *diag, int source); /* NULL with diagnostics */
/* tile_verify.c: complaints name the instruction (its text in the message). True when sound. */
bool program_verify(const Program *program, Diag *diag);

/* tile_interp.c: the meaning of a Program, element by element. `slots` as described in compiler/kernel.h.
 * False with a message (out of memory, an index outside a tensor when extents are known). */
bool program_run(const Program *program, const int64_t *slots, Diag *diag);

#endif
