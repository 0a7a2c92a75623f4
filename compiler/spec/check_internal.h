/* What the files of the checker share.
 *
 *   check.c          the door: which attention, settings, items in order, warnings
 *   check_declare.c  params and inputs
 *   check_items.c    normalisers, decay, features, returns
 *   check_expr.c     names and operators
 *   check_call.c     functions: built-in, `def`, reductions
 *   check_value.c    values, broadcasting, vectors
 *   check_warnings.c what is legal and hardly meant
 *
 * A per-token vector is an Expr in VAR_C with a width. Every scalar is free of VAR_C: indexing and reducing
 * close it, comprehensions bind a fresh variable and turn it into VAR_C at the end. `def` and `let` are
 * inlined. */
#ifndef ATTUNE_CHECK_INTERNAL_H
#define ATTUNE_CHECK_INTERNAL_H

#include "check.h"

typedef enum ValueKind { VALUE_ERROR, VALUE_SCALAR, VALUE_TUPLE, VALUE_VECTOR } ValueKind;

typedef struct Value {
    ValueKind kind;
    const Expr *e;                    /* SCALAR; VECTOR: element VAR_C */
    const Expr *width;                /* VECTOR */
    const Expr
        *part[SPEC_MAX_RANK]; /* TUPLE. A SCALAR with parts is a position: flat, with its coordinates */
    int parts;
} Value;

typedef enum Context {
    IN_CONSTANT, IN_EXTENT, IN_MASK, IN_SIMILARITY, IN_SCORE, IN_FEATURE, IN_DECAY, IN_NORMALIZE, IN_OUTPUT
} Context;

typedef struct Binding {
    struct Binding *next;
    const char *name;
    Value value;
} Binding;

/* A param as written; its parts stand at spec->params[first ...]. */
typedef struct Param {
    const char *name;
    int first, parts;
    bool used;
    const Node *node;
} Param;

typedef struct Let {
    const Node *node;
    int item;              /* visible to later items */
    bool used, busy;
    int generation;        /* of `value` */
    Value value;
} Let;

typedef struct Checker {
    Arena *arena;
    Diag *diag;
    const Ast *ast;
    ExprPool *pool;
    Spec *spec;
    const Node *file;      /* where functions are looked up: of the attention, or of the def being inlined */
    Context context;
    char tensor;           /* IN_FEATURE: 'q', 'k', 'v' */
    bool tensor_alone;     /* the feature is of one tensor only, so i or j is its position */
    Binding *locals;
    int item;              /* index of the item being checked */
    int generation;        /* changes with every item and context */
    const Node *def;       /* being inlined, with its call */
    Span call;
    int inlined;           /* defs being inlined, one in another */
    const Node *stack[64];
    int depth, steps;
    size_t memory;         /* arena_used at the start */
    bool stopped;          /* a limit was passed and reported */
    Param params[SPEC_MAX_PARAMS];
    int param_count;
    bool input_used[SPEC_MAX_INPUTS];
    Let *lets;
    int let_count;
} Checker;

enum {
    CHECK_MAX_STEPS = 1 << 16,
    CHECK_MAX_DEPTH = 1000,
    CHECK_MAX_EXPR_DEPTH = 3000,
    CHECK_MAX_INLINED = 64
};
enum { CHECK_MAX_MEMORY = 256 << 20 };

/* check_value.c */
Message *check_error(Checker *c, Span span, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
Value value_error(void);
Value value_scalar(const Expr *e);
Value value_vector(const Expr *e, const Expr *width);
/* "an int", "a tuple of 2", "a vector" ... */
const char *value_describe(const Value *value);
const char *type_describe(ExprType type);
/* The value as one scalar; NULL after an error about `what`. */
const Expr *value_expect_scalar(Checker *c, Span span, Value value, const char *what);
const Expr *value_expect_int(Checker *c, Span span, Value value, const char *what);
const Expr *value_expect_float(Checker *c, Span span, Value value, const char *what);
const Expr *value_expect_bool(Checker *c, Span span, Value value, const char *what);
/* An int as a float; floats as they are; NULL after an error for a bool. */
const Expr *expect_float(Checker *c, Span span, const Expr *e, const char *what);
bool expect_number(Checker *c, Span span, const Expr *e, const char *what);
/* fn on scalars, lifted over tuples and vectors. It returns NULL after reporting an error. */
typedef const Expr *(*ScalarFn)(Checker *c, Span span, const Expr *const *args, int count, const void *user);
Value value_map(Checker *c, Span span, const Value *args, int count, ScalarFn fn, const void *user);
/* Vectors. */
const Expr *vector_at(Checker *c, const Expr *element, const Expr *channel);
Value vector_reduce(Checker *c, Span span, ExprOp op, Value vector);
const Expr *bound_to_channel(Checker *c, const Expr *e, VarId bound, const Expr *channel);
/* part of a tuple or position by the name of an axis, or -1 */
int axis_part(const Checker *c, const char *name, int parts);

/* check_expr.c */
Value check_value(Checker *c, const Node *node);
Value check_binary(Checker *c, NodeKind kind, Span span, Value a, Value b);
Value check_name(Checker *c, const Node *node);
/* Names that can be used here, for did-you-mean. */
const char *check_nearest_name(Checker *c, const char *wrong);
/* Is the name one of the language's own, so that nothing may be declared with it? */
const char *check_reserved_meaning(const char *name);

/* check_call.c */
Value check_call(Checker *c, const Node *node);
Value check_reduce(Checker *c, const Node *node);
/* The function `name` of one argument on a score; false when there is none of that name. */
bool check_apply(Checker *c, const Node *node, const char *name, Value argument, Value *result);
Value check_coerce(Checker *c, Span span, Value value, const Node *type, const char *what);

/* check_declare.c */
void check_param(Checker *c, const Node *node, const SpecSetting *settings, int setting_count);
void check_input(Checker *c, const Node *node);
Value check_input_read(Checker *c, const Node *node, int input, Node *const *indices, int count);
int find_input(const Checker *c, const char *name);
Param *find_param(Checker *c, const char *name);
/* The hidden param of a free dimension's name, or -1. */
int find_free(const Checker *c, const char *name);

/* check_items.c */
void check_item(Checker *c, const Node *node);
void check_defaults(Checker *c);
void check_warnings(Checker *c);
bool check_schedule_key(const char *name);
/* Keys whose values are words; the word's number from 1, 0 for none of them. */
bool check_schedule_is_word(const char *key);
int check_schedule_word(const char *key, const char *word);
extern const char *const schedule_keys[];

#endif
