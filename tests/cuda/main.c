/* CUDA without a GPU. */
#include "fake_kernel.h"
#include "suites.h"

int main(void)
{
    fake_load();
    CU_SuiteInfo suites[] = {
        {"tensor maps", NULL, NULL, NULL, NULL, tensor_map_tests},
        {"launches", NULL, NULL, NULL, NULL, cuda_launch_tests},
        {"failures", NULL, NULL, NULL, NULL, cuda_fault_tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(suites);
}
