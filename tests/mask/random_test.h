#ifndef ATTUNE_TEST_MASK_RANDOM_H
#define ATTUNE_TEST_MASK_RANDOM_H

#include "mask_field.h"

void test_random_masks(void);

#endif
