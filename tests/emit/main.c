#include "emitting.h"

#include <stdlib.h>

int main(void)
{
    setenv("ATTUNE_VERIFY_LLVM", "1", 1);
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    object_tests();
    program_tests();
    random_tests();
    math_tests();
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
