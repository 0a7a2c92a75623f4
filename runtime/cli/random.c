/* Random numbers: a counter in steps of the golden ratio, each value mixed by multiplications and shifts;
 * normal ones by Box and Muller's transform. */
#include "runtime/cli/random.h"

#include <math.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

Random random_start(int64_t seed, const char *name)
{
    uint64_t state = mix((uint64_t)seed + 0x9e3779b97f4a7c15u);
    for (; *name; name++)
        state = mix(state ^ (unsigned char)*name);
    return (Random){state};
}

uint64_t random_bits(Random *random)
{
    random->state += 0x9e3779b97f4a7c15u;
    return mix(random->state);
}

double random_uniform(Random *random) { return (double)(random_bits(random) >> 11) * 0x1p-53; }

double random_normal(Random *random)
{
    double radius = sqrt(-2 * log(1 - random_uniform(random)));
    return radius * cos(6.283185307179586 * random_uniform(random));
}
