/* Seeded faults: a sound Program is made wrong in one place, as a mistake in the compiler would make it wrong.
 *
 * Left out by construction is what changes no result: a tile called partial that is full, a tile visited that is
 * empty, wider loop bounds, comparisons of floats for a bound that no value meets. Some are left that change nothing
 * either (a guard that is always true, a shift of the exponents). */
#ifndef ATTUNE_TESTS_FAULT_H
#define ATTUNE_TESTS_FAULT_H

#include "compiler/tile/tile.h"

/* How many faults can be seeded. Fault `number` of them is seeded (none for a negative one); *kind says what it is,
 * *where is the instruction. */
int fault_seed(Program *program, int number, const char **kind, const Inst **where);

/* No fault: all tiles that are visited are tested element by element. Returns how many tests were changed. */
int fault_force_partial(Program *program);

#endif
