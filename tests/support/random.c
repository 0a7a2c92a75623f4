/* splitmix64, and Box-Muller for normal numbers. */
#include "random.h"

#include <math.h>

uint64_t random_bits(Random *random)
{
    uint64_t x = random->state += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

double random_unit(Random *random) { return (double)(random_bits(random) >> 11) * 0x1p-53; }

double random_normal(Random *random)
{
    double radius = sqrt(-2 * log(1 - random_unit(random)));
    return radius * cos(6.283185307179586 * random_unit(random));
}

int64_t random_below(Random *random, int64_t end) { return (int64_t)(random_bits(random) % (uint64_t)end); }

int64_t random_between(Random *random, int64_t lo, int64_t hi)
{
    return lo + random_below(random, hi - lo + 1);
}
