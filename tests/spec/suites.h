/* The suites of the checker and the reference. */
#ifndef ATTUNE_TESTS_SPEC_SUITES_H
#define ATTUNE_TESTS_SPEC_SUITES_H

#include <CUnit/Basic.h>

void golden_suite(void);
void structure_suite(void);
void limit_suite(void);
void reference_suite(void);

#endif
