/* Timing a launch, for `attune run --bench` and the benchmark program. */
#ifndef ATTUNE_CLI_BENCH_H
#define ATTUNE_CLI_BENCH_H

#include "runtime/attune.h"
#include "runtime/device.h"

typedef struct BenchTimes {
    int runs;
    double median, least, most; /* seconds */
} BenchTimes;

double bench_now(void); /* seconds of a clock that never goes back */
/* Runs the launch once untimed, then for about `seconds`, at least three times. */
AttuneStatus bench_launch(AttuneKernel *kernel, const AttuneLaunch *launch, double seconds, BenchTimes *times,
                          AttuneError **error);
/* The same on a GPU, by its own clock, with a cold L2 cache; about 0.2 s of warm-up. */
AttuneStatus bench_launch_device(AttuneKernel *kernel, const AttuneLaunch *launch, const Device *device,
                                 double seconds, BenchTimes *times, AttuneError **error);
/* Operations of the two products over `pairs` visible pairs: one multiplication and one addition a channel.
 */
double bench_operations(double pairs, int64_t d, int64_t e);

#endif
