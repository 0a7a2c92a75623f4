#include "tiling.h"
void kernel_tests(void)
{
}
