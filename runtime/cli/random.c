/* Random numbers: a counter in steps of the golden ratio, each value mixed by multiplications and shifts;
 * normal ones by Box and Muller's transform. */
#include "runtime/cli/random.h"

#include <math.h>
#include <pthread.h>

#include "runtime/cli/npy.h"
#include "runtime/cpu.h"

enum { MOST_THREADS = 32, A_THREAD = 1 << 16 };
static const uint64_t golden = 0x9e3779b97f4a7c15u;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

Random random_start(int64_t seed, const char *name)
{
    uint64_t state = mix((uint64_t)seed + golden);
    for (; *name; name++)
        state = mix(state ^ (unsigned char)*name);
    return (Random){state};
}

uint64_t random_bits(Random *random)
{
    random->state += golden;
    return mix(random->state);
}

double random_uniform(Random *random) { return (double)(random_bits(random) >> 11) * 0x1p-53; }

double random_normal(Random *random)
{
    double radius = sqrt(-2 * log(1 - random_uniform(random)));
    return radius * cos(6.283185307179586 * random_uniform(random));
}

typedef struct Part {
    pthread_t thread;
    Random random;
    AttuneDtype dtype;
    char *to;
    int64_t count;
    bool started;
} Part;

static void *fill_part(void *user)
{
    Part *part = user;
    int64_t size = attune_dtype_size(part->dtype);
    for (int64_t k = 0; k < part->count; k++) {
        float value = (float)random_normal(&part->random);
        npy_convert(&value, ATTUNE_F32, part->to + k * size, part->dtype, 1);
    }
    return NULL;
}

void random_normals(Random random, AttuneDtype dtype, void *to, int64_t count)
{
    Part parts[MOST_THREADS];
    int64_t threads = count / A_THREAD + 1, most = pool_default_threads();
    threads = threads > most ? most : threads;
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    for (int64_t t = 0; t < threads; t++) {
        int64_t begin = count / threads * t, end = t + 1 < threads ? count / threads * (t + 1) : count;
        parts[t] = (Part){.random = {random.state + 2 * (uint64_t)begin * golden}, /* two draws a number */
                          .dtype = dtype, .to = (char *)to + begin * attune_dtype_size(dtype), .count = end - begin};
        parts[t].started = t > 0 && pthread_create(&parts[t].thread, NULL, fill_part, &parts[t]) == 0;
    }
    for (int64_t t = 0; t < threads; t++)
        if (!parts[t].started)
            fill_part(&parts[t]);
    for (int64_t t = 1; t < threads; t++)
        if (parts[t].started)
            pthread_join(parts[t].thread, NULL);
}
