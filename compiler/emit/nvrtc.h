/* NVRTC: CUDA C++ text -> cubin. The library is found at run time; nothing links it. */
#ifndef ATTUNE_EMIT_NVRTC_H
#define ATTUNE_EMIT_NVRTC_H

#include "dsl/diag.h"

enum { NVRTC_MAX_ENTRIES = 8 };

/* What ptxas reports of one __global__ function. */
typedef struct NvrtcEntry {
    char name[96];
    int registers;               /* a thread, at launch */
    int stack, spill_stores, spill_loads; /* bytes a thread */
    int barriers;
    int shared_bytes;            /* static */
} NvrtcEntry;

typedef struct NvrtcReport {
    int entry_count;             /* 0: the log held no report (a compile cache answered) */
    NvrtcEntry entries[NVRTC_MAX_ENTRIES];
    bool wgmma_serialized;       /* ptxas C7510, C7512 and their like: the tensor cores wait after every instruction */
    bool setmaxnreg_ignored;
} NvrtcReport;

typedef enum NvrtcStatus {
    NVRTC_DONE,
    NVRTC_ABSENT,                /* no library, or one that cannot compile for the arch */
    NVRTC_FAILED                 /* the text has errors: see the log */
} NvrtcStatus;

typedef struct NvrtcResult {
    void *cubin;                 /* in the arena, as all here */
    size_t cubin_size;
    char *log;                   /* of the front end and ptxas; "" when they are silent */
    NvrtcReport report;
    double milliseconds;
} NvrtcResult;

/* Compiles `text` for `arch` ("sm_90a"). `name` is what messages call the text; `options` are further ones, ending with
 * NULL, or NULL. With `diag`, failures become errors there. Thread-safe. */
NvrtcStatus nvrtc_compile(Arena *arena, Diag *diag, const char *text, const char *name, const char *arch,
                          const char *const *options, NvrtcResult *result);
/* Reads a log as nvrtc_compile does. */
void nvrtc_read_log(const char *log, NvrtcReport *report);
/* "13.0", or NULL without the library: part of cache keys. */
const char *nvrtc_version(void);
/* Why there is none: the names that were tried. */
void nvrtc_explain_absence(char *text, size_t size);

#endif
