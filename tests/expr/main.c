#include <CUnit/Basic.h>

#include "tests.h"

int main(void)
{
    CU_initialize_registry();
    add_law_tests();
    add_range_tests();
    add_derive_tests();
    add_print_tests();
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures != 0;
}
