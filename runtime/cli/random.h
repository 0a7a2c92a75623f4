/* Seeded random numbers, the same on every machine. */
#ifndef ATTUNE_CLI_RANDOM_H
#define ATTUNE_CLI_RANDOM_H

#include <stdint.h>

#include "runtime/attune.h"

typedef struct Random { uint64_t state; } Random;

/* A stream of its own for every name. */
Random random_start(int64_t seed, const char *name);
uint64_t random_bits(Random *random);
double random_uniform(Random *random);  /* [0, 1) */
double random_normal(Random *random);   /* mean 0, variance 1 */
/* As many calls of random_normal, stored as elements of that type; on several threads when they are many. */
void random_normals(Random random, AttuneDtype dtype, void *to, int64_t count);

#endif
