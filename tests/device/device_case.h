/* A case of tests/pipeline, run through the public interface on any target: its tensors in one block of memory, on a
 * GPU or here, between bytes that must stay as they are. */
#ifndef ATTUNE_TESTS_DEVICE_CASE_H
#define ATTUNE_TESTS_DEVICE_CASE_H

#include "runtime/device.h"
#include "tests/pipeline/run_case.h"

/* Where cases run: device NULL is this machine's memory. */
typedef struct CasePlace {
    const Device *device;
    void *block;          /* of `size` bytes, on the device */
    char *image, *back;   /* likewise, here: what is sent, what came back */
    size_t size;
} CasePlace;
bool case_place_create(CasePlace *place, const Device *device, size_t size, AttuneError **error);
void case_place_destroy(CasePlace *place);

typedef enum CaseFate {
    CASE_PASSED, CASE_FAILED,
    CASE_REFUSED,         /* the launch said that it cannot take these arguments */
    CASE_BROKEN           /* the device is of no more use to this process */
} CaseFate;

/* Launches `repeats` times, each time from fresh memory; the first result is compared with the reference, the others
 * with the first, byte by byte. */
CaseFate device_case_run(CasePlace *place, AttuneKernel *kernel, CaseData *data, int repeats, CaseVerdict *verdict);

#endif
