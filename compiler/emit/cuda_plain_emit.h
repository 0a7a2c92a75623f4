/* What the files of cuda_plain share: the text of one element, loops, steps. */
#ifndef ATTUNE_CUDA_PLAIN_EMIT_H
#define ATTUNE_CUDA_PLAIN_EMIT_H

#include "cuda_plain.h"

typedef struct Emitter {
    CudaGen *g;
    PlainPlan plan;
    const char **name;       /* by instruction id: where its value at hand is, in the scope at hand */
    uint32_t *named;         /* stack of those that have a name, so that a scope can forget them */
    int named_count;
    Pending *pending;        /* accesses since the last barrier */
    bool copies;             /* asynchronous copies may be on their way */
} Emitter;

#define PRINT(...) arena_printf(e->g->arena, __VA_ARGS__)

/* cuda_plain_element.c: loops name the coordinate along axis k `ak`; tiles lie behind `attune_tiles`. */
const char *plain_memory_type(const CudaGen *g, const Inst *value);
const char *plain_buffer(Emitter *e, const Inst *value);
/* The text of a value at the element at hand. `user`: the Emitter. */
const char *plain_element(void *user, const Inst *value);
CudaOperands plain_operands(Emitter *e);
/* Gives the value a name in the scope at hand. */
const char *plain_hold(Emitter *e, const Inst *value, const char *text);
void plain_leave(Emitter *e, int mark); /* forgets what was named since */
const char *plain_read(Emitter *e, const Inst *value); /* from memory, to memory */
void plain_write(Emitter *e, const Inst *value, const char *text);
/* A var of a storage type holds rounded floats. */
const char *plain_rounded(Emitter *e, ElemType elem, const char *text);
/* For what copies brought too. */
void plain_barrier(Emitter *e);
void plain_open(Emitter *e);
void plain_close(Emitter *e);
/* The coordinates of row `r` along all axes but the last. */
void plain_name_row(Emitter *e, const TileType *axes, const char *r);

/* cuda_plain_group.c */
void plain_group(Emitter *e, const Step *step);
void plain_copy(Emitter *e, const Step *step);
/* The padding of operands of tensor cores along the axis that is summed. */
void plain_zero_padding(Emitter *e, const Step *step);

/* cuda_plain_sum.c */
const char *plain_reduce_start(const Emitter *e, const Inst *reduce);
const char *plain_reduce_type(const Emitter *e, const Inst *reduce);
const char *plain_reduce_pair(Emitter *e, const Inst *reduce, const char *a, const char *b);
/* All of so many neighbouring lanes get the total. */
void plain_shuffle(Emitter *e, const Inst *reduce, const char *total, int lanes);
void plain_reduce(Emitter *e, const Inst *reduce);
void plain_contract(Emitter *e, const Step *step);

#endif
