/* What the files of the LLVM CPU back end share; llvm_module.c, llvm_value.c and llvm_math.c serve PTX too.
 *
 * Order of work for a phase: plan (llvm_plan.c) decides where every tile lives and which instructions are
 * computed together; the walk (llvm_cpu.c) emits blocks and loops; nests (llvm_nest.c) emit runs of
 * elementwise work; the contraction kernels are in llvm_contract.c; reading and writing of tiles and
 * tensors in llvm_memory.c and llvm_transpose.c; expressions in llvm_map.c and llvm_math.c. */
#ifndef ATTUNE_LLVM_GEN_H
#define ATTUNE_LLVM_GEN_H

#include "llvm.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

/* Inclusive bounds of an int; INT64_MIN / INT64_MAX: unbounded. */
typedef struct Bounds { int64_t lo, hi; } Bounds;
#define BOUNDS_ALL ((Bounds){INT64_MIN, INT64_MAX})

typedef enum Home {
    HOME_NONE,     /* no value, or nobody uses it */
    HOME_SCALAR,   /* no axes: an SSA value, or a slot on the stack for a var */
    HOME_INLINE,   /* computed again wherever it is used */
    HOME_REGISTER, /* exists only inside the nest of its group */
    HOME_BUFFER,   /* an array: stack or scratch */
    HOME_ROWS      /* in the user's memory, reached through a table of row pointers */
} Home;

/* What the plan knows of an instruction, by its id. */
typedef struct Node {
    Inst *inst;
    Home home;
    int position;          /* in the phase, in order of the text */
    int last_use;          /* position up to which the value is needed, loops included */
    int use_count;
    int depth;             /* loops around it */
    Bounds bounds;         /* ints */
    bool has_bounds;
    int lane;              /* axis stored innermost; HOME_ROWS: the axis along a row; -1: none */
    int64_t stride[PROGRAM_MAX_AXES]; /* elements */
    ElemType store;        /* element type in the buffer: F32, I64, BOOL, BF16 (pairs only) */
    int pair_axis;         /* >= 0: BF16, two neighbours along this axis share a 32-bit element */
    bool pair_rows;        /* HOME_ROWS of bf16, read in pairs along the row */
    int64_t bytes, offset; /* in scratch; offset < 0: on the stack */
    struct Node *alias;    /* shares the buffer of this one */
    LLVMValueRef base; /* pointer; HOME_SCALAR: the value or the var's slot; HOME_ROWS: the pointer table */
    int group;             /* ordinal of the group that computes it, -1: none */
} Node;

/* A run of elementwise instructions over the same axes, computed in one loop nest, at the place of the last
 * one. A contraction may head it: then the rest works on the accumulators before they are stored. */
enum { GROUP_MAX = 24 };
typedef struct Group {
    Inst *root[GROUP_MAX];
    int count;
    Inst *head;            /* contraction, or NULL */
    Inst *before;          /* a set of the variable contracted into, done on the way */
    TileType axes;         /* iteration space */
    int reduce_axis;       /* -1: none */
    int pair_axis;         /* of members kept in pairs, -1: none */
    int lane;
    int ordinal;
    int first, last;       /* positions */
} Group;

typedef struct Gen {
    Arena *arena;
    Diag *diag;
    const Target *target;
    const Program *program;
    bool failed;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, bf16;
    int lanes;             /* f32 elements in a vector register */
    LLVMValueRef zero_row; /* constant, `zero_row_bytes` long */
    LLVMValueRef transposer; /* made on first use */
    /* the phase at hand */
    const Phase *phase;
    LLVMValueRef function, slots, scratch;
    LLVMBasicBlockRef entry;
    LLVMValueRef slot_value[SLOT_COUNT_MAX];
    LLVMValueRef grid_value[PROGRAM_MAX_GRID];
    Node *nodes;
    int lane_axis;         /* the phase's main lane axis, or -1 */
    double lane_score[PROGRAM_MAX_AXES];
    Inst **order;          /* the phase's instructions by position */
    int inst_count;
    Group *groups;
    int group_count, group_capacity;
    int64_t scratch_bytes; /* of all phases */
} Gen;

/* Where evaluation stands in a nest: the index of every axis, and values already computed. */
enum { POINT_MEMO = 192 };
typedef struct Point {
    LLVMValueRef
        coord[PROGRAM_MAX_AXES]; /* i64; of the lane axis: its first lane. NULL: not inside that loop */
    int lane, width;                      /* lane axis (-1: none) and number of lanes */
    struct {
        const Inst *inst;
        bool row;
        LLVMValueRef value;
    } memo[POINT_MEMO]; /* row: the pointer, not the element */
    int memo_count;
} Point;

/* llvm_module.c */
typedef struct LlvmModule {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTargetMachineRef machine;
} LlvmModule;
LlvmModule *llvm_module_create(Arena *arena); /* released with the arena, or before */
void llvm_module_release(void *module);
/* Makes the module for g->target; the Gen gets its handles and types. False with an error. */
bool llvm_module_open(Gen *g, LlvmModule *m, LLVMRelocMode relocation);
bool llvm_module_optimise(Gen *g, LlvmModule *m, const char *pipeline);
/* malloc'ed, a zero byte behind it. NULL with an error. */
void *llvm_module_emit(Gen *g, LlvmModule *m, LLVMCodeGenFileType type, size_t *size);
void gen_error(Gen *g, const Inst *inst, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* llvm_plan.c: the decisions, in order */
void plan_phase(Gen *g, const Phase *phase);
Bounds plan_bounds(Gen *g, const Inst *inst);
bool bounds_fit_i32(Bounds b);
/* The axes that an instruction's work runs over. */
TileType plan_space(const Inst *inst);
/* True when the load or store turns tiles: its lanes run across the tensor's rows. */
bool plan_transposes(Gen *g, const Inst *inst, int *unit);
int plan_lane_of_type(Gen *g, const TileType *type);
Node *node_of(const Gen *g, const Inst *inst);
Node *node_home(Node *n); /* the node that owns the buffer */
bool same_axes(const TileType *a, const TileType *b);

/* llvm_group.c: which instructions are computed together */
void plan_groups(Gen *g, const Block *block);
/* Runs over the values that `inst` reads, through those computed in place. */
bool plan_reads(Gen *g, const Inst *inst, bool (*test)(const void *user, const Inst *read), const void *user);

/* llvm_layout.c: axes, strides, places in scratch */
int64_t axis_extent(const Gen *g, int axis);
int64_t padded_extent(const Gen *g, int axis); /* rounded up to whole vectors, as buffers are */
int lane_width(const Gen *g, int axis, int vectors); /* lanes handled at once: divides the padded extent */
/* The axis along which the load or store touches elements one stride apart in the tensor's last dimension,
 * or -1. */
int plan_unit_axis(Gen *g, const Inst *inst);
/* Rows of q, k, v, o and workspaces are contiguous; an input's last stride is known only to the launch. */
bool plan_is_dense(Gen *g, const Inst *inst);
void plan_layout(Gen *g);

/* llvm_cpu.c */
void emit_block(Gen *g, const Block *block);
LLVMValueRef gen_slot(Gen *g, int slot);
LLVMValueRef gen_alloca(Gen *g, LLVMTypeRef type, int64_t count, unsigned align);
void gen_function_attributes(Gen *g, LLVMValueRef fn);

/* llvm_loop.c: loops over an index, with values carried round. Counts known to be 1 make no loop. */
enum { LOOP_MAX_CARRIED = 32 };
typedef struct Loop {
    LLVMValueRef index;
    LLVMValueRef carried[LOOP_MAX_CARRIED]; /* phis inside; final values after loop_end */
    int carried_count;
    LLVMBasicBlockRef head, after;
    LLVMValueRef phi, end, step, test;
    bool single;
} Loop;
/* for index = lo; index < hi; index += step. At least one trip unless `may_skip`. */
Loop loop_begin(Gen *g, LLVMValueRef lo, LLVMValueRef hi, int64_t step, bool may_skip, LLVMValueRef *carried,
                int count);
void loop_end(Gen *g, Loop *loop, LLVMValueRef *next_carried);

/* llvm_value.c: scalars and vectors alike */
bool is_vector(LLVMValueRef v);
LLVMTypeRef vector_of(Gen *g, LLVMTypeRef elem, int width);
LLVMTypeRef elem_llvm(Gen *g, ElemType store); /* type in memory */
LLVMValueRef splat(Gen *g, LLVMValueRef v, int width);
LLVMValueRef like_float(Gen *g, LLVMValueRef like, double value);
LLVMValueRef like_int(Gen *g, LLVMValueRef like, int64_t value);
LLVMTypeRef with_elem(Gen *g, LLVMValueRef like,
                      LLVMTypeRef elem); /* the type of `like` with another element */
LLVMValueRef const_i64(Gen *g, int64_t value);
LLVMValueRef const_i32(Gen *g, int64_t value);
LLVMValueRef lane_numbers(Gen *g, int width, LLVMTypeRef elem);
LLVMValueRef call_intrinsic(Gen *g, const char *name, LLVMTypeRef *overload, int overloads,
                            LLVMValueRef *args, int count);
LLVMValueRef gen_fma(Gen *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef vector_int(Gen *g, LLVMValueRef v, int bits, int width); /* ints as a vector of i32 or i64 */
LLVMValueRef to_i64(Gen *g, LLVMValueRef v); /* widened, scalar or vector */
/* Rounding of f32 to bf16 or f16 and back: as bits (i16) and as f32. */
LLVMValueRef float_to_bits16(Gen *g, LLVMValueRef f, ElemType elem);
LLVMValueRef bits16_to_float(Gen *g, LLVMValueRef bits, ElemType elem);
LLVMValueRef round_float(Gen *g, LLVMValueRef f, ElemType elem);
LLVMValueRef shuffle(Gen *g, LLVMValueRef a, LLVMValueRef b, const int *index, int count);

/* llvm_map.c */
typedef struct MapArgs {
    LLVMValueRef value[INST_MAX_ARGS];
    Bounds bounds[INST_MAX_ARGS];
    int count;
} MapArgs;
LLVMValueRef map_emit(Gen *g, const Expr *e, const MapArgs *args, int width);
Bounds map_bounds(Gen *g, const Expr *e, const Bounds *args, int count);

/* llvm_math.c: f32 scalars and vectors */
LLVMValueRef math_emit(Gen *g, ExprOp op, LLVMValueRef x);
LLVMValueRef math_pow(Gen *g, LLVMValueRef x, LLVMValueRef y);

/* llvm_nest.c */
LLVMValueRef point_eval(Gen *g, Point *p, const Inst *inst);
/* Computes the instruction wherever it lives. */
LLVMValueRef point_compute(Gen *g, Point *p, const Inst *inst);
void point_remember(Gen *g, Point *p, const Inst *inst, bool row, LLVMValueRef value);
LLVMValueRef point_recall(const Point *p, const Inst *inst, bool row);
/* The same place without lanes: at the first one. */
Point point_scalar(const Point *p);
/* A member's work at one point; reductions are folded into *carried (their accumulator). */
void point_root(Gen *g, Point *p, Inst *root, LLVMValueRef *carried);
/* Computes what `inst` reads, so far as it does not depend on loops not yet entered. */
void point_hoist(Gen *g, Point *p, const Inst *inst);
void nest_emit(Gen *g, Group *group);
LLVMValueRef reduce_identity(Gen *g, const Inst *reduce, int width);
LLVMValueRef reduce_step(Gen *g, const Inst *reduce, LLVMValueRef acc, LLVMValueRef v);
LLVMValueRef reduce_across(Gen *g, const Inst *reduce, LLVMValueRef v); /* lanes into one */

/* llvm_memory.c: tiles in buffers */
LLVMValueRef buffer_base(Gen *g, Node *n);
LLVMValueRef buffer_read(Gen *g, const Inst *inst, Point *p);
void buffer_write(Gen *g, const Inst *inst, Point *p, LLVMValueRef value);
LLVMValueRef address_at(Gen *g, LLVMValueRef base, LLVMTypeRef elem, LLVMValueRef index);
LLVMValueRef tail_mask(Gen *g, const Point *p); /* i1 lanes inside the axis; NULL: all */
LLVMValueRef masked_load(Gen *g, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef mask, unsigned align);
void masked_store(Gen *g, LLVMValueRef value, LLVMValueRef address, LLVMValueRef mask, unsigned align);
LLVMValueRef masked_gather(Gen *g, LLVMTypeRef type, LLVMValueRef addresses, LLVMValueRef mask,
                           unsigned align);
void masked_scatter(Gen *g, LLVMValueRef value, LLVMValueRef addresses, LLVMValueRef mask, unsigned align);

/* llvm_tensor.c: tensors of the launch */
LLVMValueRef tensor_read(Gen *g, const Inst *load, Point *p);
LLVMValueRef tensor_bits(Gen *g, const Inst *load, Point *p); /* as stored */
void tensor_write(Gen *g, const Inst *store, Point *p);
LLVMValueRef rows_read(Gen *g, const Inst *inst, Point *p);
LLVMValueRef rows_pointer(Gen *g, const Inst *inst, Point *p);
void rows_build(Gen *g, Inst *load);
/* A vector along the last dimension from `address` on, as stored. */
LLVMValueRef tensor_run(Gen *g, const Inst *load, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef mask);
/* Address of the element at a point without lanes. */
LLVMValueRef tensor_address(Gen *g, const Inst *inst, Point *p);
LLVMValueRef tensor_decode(Gen *g, LLVMValueRef stored, ElemType elem);
LLVMValueRef tensor_encode(Gen *g, LLVMValueRef value, ElemType elem);

/* llvm_pairs.c: bf16 pairs */
void plan_pairs(Gen *g);
LLVMValueRef pair_join(Gen *g, LLVMValueRef low, LLVMValueRef high);
LLVMValueRef pair_dot(Gen *g, LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef pair_scalar(Gen *g, const Inst *scalar, Point *p, bool single);

/* llvm_transpose.c: tiles whose lanes run across the tensor's rows */
void transpose_load(Gen *g, Inst *load, int unit);
void transpose_store(Gen *g, Inst *store, int unit);

/* llvm_contract.c */
void contract_emit(Gen *g, Group *group);
void contract_scalar(Gen *g, Inst *contract);

#endif
