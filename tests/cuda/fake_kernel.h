/* A kernel for the fake driver: the runtime fixture's, as if compiled for a GPU. */
#ifndef ATTUNE_TEST_FAKE_KERNEL_H
#define ATTUNE_TEST_FAKE_KERNEL_H

#include "fake_libcuda.h"
#include "tests/runtime/fixture.h"

extern FakeState *fake; /* of the loaded driver */
/* Loads the driver; once a process, before anything asks for one. */
void fake_load(void);
/* As after loading. Everything must have been freed. */
void fake_reset(void);
/* Asserts that nothing is alive, and that no call lacked a context. */
void fake_check_clean(void);

/* Phase 0: 128 threads, 1000 bytes. Phase 1: 384 threads, 200000 bytes, persistent, maps over q (box 64) and o (box 16).
 * `change`, when not NULL, spoils the description before it is packed. */
AttuneKernel *fake_kernel(AttuneContext *context, void (*change)(Description *description));
/* The fixture's launch with its tensors on device 0. */
void fake_fixture_init(Fixture *f);
AttunePlanData fake_plan_data(const Fixture *f, const void **inputs, void **returns, void *stream);
/* Slot `slot` of recorded launch `launch` (0 is the first); maps come before slots. */
int64_t fake_slot(int launch, int slot);
const CudaTensorMap *fake_map(int launch, int map);

#endif
