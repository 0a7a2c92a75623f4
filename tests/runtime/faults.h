/* Failing system calls on demand. Programs that link faults.c with FAULT_LINK_OPTIONS (see CMakeLists.txt)
 * have these calls go through here; outside an armed region they go straight on. */
#ifndef ATTUNE_TEST_FAULTS_H
#define ATTUNE_TEST_FAULTS_H

#include <stdbool.h>

typedef enum FaultCall {
    FAULT_OPEN,
    FAULT_OPENAT,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FSYNC,
    FAULT_CLOSE,
    FAULT_RENAMEAT,
    FAULT_FSTAT,
    FAULT_FLOCK,
    FAULT_MKDIR,
    FAULT_UNLINKAT,
    FAULT_FUTIMENS,
    FAULT_CALLS
} FaultCall;
extern const char *const fault_names[FAULT_CALLS];

typedef enum FaultKind {
    FAULT_ERROR,  /* returns -1 with `code` */
    FAULT_SHORT,  /* read, write: one byte */
    FAULT_ZERO,   /* read, write: nothing */
    FAULT_DIE     /* SIGKILL before the call; `call` is ignored, every call counts */
} FaultKind;

typedef struct Fault {
    FaultCall call;
    FaultKind kind;
    int code;
    int nth;         /* 1: the first such call */
    bool persistent; /* and all later ones */
} Fault;

/* The calling thread's calls are counted and spoilt from here on, until fault_disarm. Returns how many
 * matching calls there were. */
void fault_arm(Fault fault);
int fault_disarm(void);

#endif
