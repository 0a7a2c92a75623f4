/* Deciding a boolean predicate over a box of positions, symbolically.
 *
 * The predicate is brought into cases (disjunctive form, one group of axes at a time); each case is a
 * conjunction of atoms that bound, by closed forms, the coordinates i_a and j_a and their differences i_a -
 * j_a. A case is possible when no bound contradicts another or the box. Everything is an Expr over the box's
 * bounds; nothing is enumerated. */
#ifndef ATTUNE_MASK_SOLVE_H
#define ATTUNE_MASK_SOLVE_H

#include "mask.h"

enum {
    SOLVE_I = 0,
    SOLVE_J = SPEC_MAX_RANK,
    SOLVE_DELTA = 2 * SPEC_MAX_RANK,
    SOLVE_VARS = 3 * SPEC_MAX_RANK
};

/* Results larger than this, and predicates larger than that, fall back to plain intervals (or to no bound): a
 * class is computed for every tile inside the kernel. */
enum { SOLVE_NODES = 512, SOLVE_LARGEST = 2000 };

typedef struct Solver {
    Arena *arena;
    ExprPool *pool;
    const Spec *spec;
    const MaskArrays *arrays;
    bool query_arrays, key_arrays;               /* the box bounds that side: its arrays may be asked for */
    const Expr *var[SOLVE_VARS];                 /* stand for I*, J*, I* - J* in the predicate */
    const Expr *lo[SOLVE_VARS], *hi[SOLVE_VARS]; /* the box; NULL for axes beyond the rank */
} Solver;

/* `predicate` with VAR_I*, VAR_J* replaced by the solver's variables (its other leaves are fixed or inputs).
 */
const Expr *solve_prepare(Solver *solver, const Expr *predicate);
/* A condition that holds whenever some point of the box satisfies the predicate (or, !positive, its
 * negation). */
const Expr *solve_may(Solver *solver, const Expr *predicate, bool positive);
/* Bounds of a variable over the points of the box that satisfy the predicate, inclusive; NULL: the box's own.
 */
ExprRange solve_hull(Solver *solver, const Expr *predicate, int var);

/* What mask_solve.c and mask_cases.c share
 * ---------------------------------------------------------------------- */

typedef enum AtomKind {
    ATOM_GE,        /* form >= 0 */
    ATOM_EQ,        /* form == 0 */
    ATOM_NE,        /* form != 0 */
    ATOM_CONGRUENT, /* form is a multiple of divisor (of any sign; divisor 0: always, see mask_cases.c) */
    ATOM_OTHER      /* form is a bool */
} AtomKind;
typedef struct Atom {
    AtomKind kind;
    const Expr *form, *divisor;
} Atom;

enum { CASE_ATOMS = 24, CASE_LIMIT = 48 };
typedef struct Case {
    int count;
    Atom atom[CASE_ATOMS];
} Case;
typedef struct Cases {
    int count;
    Case *list;
} Cases; /* any of them */

/* Always succeeds: what would need too many cases becomes ATOM_OTHER. */
Cases cases_of(Solver *solver, const Expr *predicate, bool positive);
/* Both: every pair of cases; false when there would be too many. */
bool cases_both(Solver *solver, const Cases *a, const Cases *b, Cases *out);
/* Uses the congruences of a case on the quotients of its other atoms. */
void case_join_quotients(Solver *solver, Case *c);
/* Cases in which no remainder wraps inside the box, under the condition *valid; false when there is nothing
 * to do. */
bool cases_split_wraps(Solver *solver, const Case *whole, Cases *out, const Expr **valid);
/* Depends on the point of the box. */
bool solve_varies(const Solver *solver, const Expr *e);
/* The solver's variables that e reads, as bits; those read only by arrays do not count. */
unsigned solve_reads(const Solver *solver, const Expr *e);
/* Bounds over the box as it is. */
ExprRange solve_box_range(Solver *solver, const Expr *e);

#endif
