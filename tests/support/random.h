/* Seeded numbers for tests: the same on every machine. */
#ifndef ATTUNE_TESTS_RANDOM_H
#define ATTUNE_TESTS_RANDOM_H

#include <stdint.h>

typedef struct Random { uint64_t state; } Random;

uint64_t random_bits(Random *random);
/* in [0, 1) */
double random_unit(Random *random);
/* mean 0, variance 1 */
double random_normal(Random *random);
/* in [0, end) */
int64_t random_below(Random *random, int64_t end);
/* in [lo, hi] */
int64_t random_between(Random *random, int64_t lo, int64_t hi);

#endif
