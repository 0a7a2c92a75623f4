/* The test functions of this folder, by file. */
#ifndef ATTUNE_TEST_CUDA_SUITES_H
#define ATTUNE_TEST_CUDA_SUITES_H

#include "tests/runtime/fixture.h"

extern CU_TestInfo tensor_map_tests[], cuda_launch_tests[], cuda_fault_tests[];

#endif
