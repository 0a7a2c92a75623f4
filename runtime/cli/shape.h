/* --shape: sizes by name, and what is left out. */
#ifndef ATTUNE_CLI_SHAPE_H
#define ATTUNE_CLI_SHAPE_H

#include "compiler/spec/spec.h"
#include "runtime/attune.h"
#include "runtime/cli/command.h"

/* Sizes that are not known are 0 until shape_complete. */
typedef struct Shape {
    AttuneSizes sizes;
    int32_t m_rank, n_rank;               /* how many axes M, N were given with; 0: not given */
    AttuneAlign align;
    bool offset_given;
} Shape;

/* Reads --shape, --align, --offset; a status after saying what is wrong. */
int shape_read(const Arguments *arguments, Shape *shape);
/* Fills what is left out (B 1, H 1, G as H, M 1024 or 32x32, N as M, D 64, E as D) and checks the axes
 * against the attention's rank. */
int shape_complete(Shape *shape, const Spec *spec);
/* "B=1 H=8 G=8 M=48x64 N=48x64 D=64 E=64" */
void shape_print(FILE *out, const Shape *shape, int rank);

#endif
