/* Default tile boxes of each target. */
#include "target.h"

void target_tiles(const Target *target, ElemType elem, int64_t D, int64_t E, int rank, int64_t block_m[SPEC_MAX_RANK], int64_t block_n[SPEC_MAX_RANK])
{
    (void)target, (void)elem, (void)D, (void)E;
    static const int64_t boxes_m[SPEC_MAX_RANK][SPEC_MAX_RANK] = {{32, 1, 1}, {4, 8, 1}, {2, 4, 4}};
    static const int64_t boxes_n[SPEC_MAX_RANK][SPEC_MAX_RANK] = {{128, 1, 1}, {8, 16, 1}, {4, 4, 8}};
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        block_m[a] = boxes_m[rank - 1][a];
        block_n[a] = boxes_n[rank - 1][a];
    }
}
