/* Default tile boxes of each target.
 *
 * CPUs: 64 queries fill four vectors of 512 bits, whose accumulators and operands just fit 32 registers,
 * and give the row operations four independent chains; 64 keys keep scores, queries and accumulators of
 * width 64 near the first cache while half-masked tiles stay small. Wide heads take fewer queries, so that
 * their accumulators stay in the second cache. */
#include "target.h"

void target_tiles(const Target *target, ElemType elem, int64_t D, int64_t E, int rank,
                  int64_t block_m[SPEC_MAX_RANK], int64_t block_n[SPEC_MAX_RANK])
{
    (void)target, (void)elem;
    static const int64_t boxes[SPEC_MAX_RANK][SPEC_MAX_RANK] = {{64, 1, 1}, {8, 8, 1}, {4, 4, 4}};
    for (int a = 0; a < SPEC_MAX_RANK; a++)
        block_m[a] = block_n[a] = boxes[rank - 1][a];
    if (D + E > 1024)
        block_m[0] /= 2;
}
