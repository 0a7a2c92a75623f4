#include "tiling.h"
void lane_tests(void)
{
}
