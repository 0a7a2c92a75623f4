/* Scheduling passes over a Program. One pass, one file; the file's name is the pass's name. Each is a function
 * Program -> Program in place; compile.c's table says when it runs and what it settles. */
#ifndef ATTUNE_SCHEDULE_H
#define ATTUNE_SCHEDULE_H

#include "compiler/tile/tile.h"

/* Removes what nobody reads, merges equal instructions of a block. */
void schedule_simplify(Program *program, Diag *diag);
/* Constants and copies go where they are read; decided branches are taken. */
void schedule_propagate(Program *program, Diag *diag);

/* Moves a positive factor of the scores behind the mask and the maximum, into the exponential. */
void schedule_fold(Program *program, Diag *diag);

/* What the `size` pass needs to know. Zeros: choose. */
typedef struct SizeChoice {
    int64_t block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK];
    int64_t chunk, segment;
} SizeChoice;
/* Gives the knobs values: stage LOGICAL -> SIZED. */
void schedule_size(Program *program, Diag *diag, const SizeChoice *choice);

#endif
