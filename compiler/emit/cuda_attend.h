/* The attention form of a phase, and what its emission shares. */
#ifndef ATTUNE_CUDA_ATTEND_H
#define ATTUNE_CUDA_ATTEND_H

#include "cuda_gen.h"

/* A part of the scores that depends on a pair's distance alone, or on its key: of a map, this Expr of it; NULL: a load's
 * value. */
typedef struct AttendTable {
    const Inst *inst;
    const Expr *expr;
    bool by_key;
    bool masked;             /* only read by the element test */
} AttendTable;
enum { ATTEND_MAX_TABLES = 8 };

/* The parts of a phase that is one sweep over key tiles with two products:
 *     root: values of the query tile; q [m, d]; rows' running values and the accumulator acc [m, e]
 *     for each key tile of `loops`: unless `visit` is false
 *         t = contract d (q, k); ... ; where not `full`: the element test; ... acc = acc * rows; acc += w v
 *     root again: what is finished from the rows and stored */
typedef struct AttendForm {
    const Block *root;
    const Inst *loops[SPEC_MAX_RANK];        /* outermost first */
    const Block *bodies[SPEC_MAX_RANK + 1];  /* the loops' bodies and, with `visit`, its body */
    int body_count;
    const Inst *visit;                       /* the `if`; NULL: every tile is visited */
    const Inst *partial;                     /* the `if` around the element test; NULL: none */
    const Inst *full;                        /* scalar bool: nothing to test; NULL: always tested */
    const Inst *q, *k, *v;                   /* loads */
    const Inst *scores, *sum, *weights, *acc;
    int m, n, d, e;                          /* axes */
    int rank, block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK];
    int rows, keys, D, E;                    /* a tile's queries and keys; widths */
    bool *at_root;                           /* by instruction id: in the root block before the loops */
    bool *in_tile;                           /* in a loop */
    bool *carried;                           /* [m] values of a tile that rescale acc */
    AttendTable tables[ATTEND_MAX_TABLES];
    int table_count;
    bool *deferred;                          /* row sums that stay apart in the four threads of a row until the end */
} AttendForm;

/* False with the reason in *why: the phase has another form. */
bool attend_recognise(CudaGen *g, AttendForm *form, const char **why);

/* cuda_attend_table.c: fills form->tables. */
void attend_find_tables(CudaGen *g, AttendForm *form);
/* The instruction with tables in the place of what they hold: reads[k] stands for an entry of table k. */
const Inst *attend_with_tables(CudaGen *g, const AttendForm *form, const Inst *inst, Inst *const *reads);

/* The generated struct K of cuda_attend.cuh, whose head is written already. */
void attend_hooks(CudaGen *g, const AttendForm *form);
/* wgmma: `scores` and `sum` of K, and before K the instructions' wrappers. */
void attend_products_wrappers(CudaGen *g, const AttendForm *form);
void attend_products(CudaGen *g, const AttendForm *form);

#endif
