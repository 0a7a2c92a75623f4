/* libcuda: dlopen, and the table of entry points through cuGetProcAddress. */
#define _GNU_SOURCE
#include "runtime/cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTERFACE_VERSION = 12030 };

/* Found once a process and kept: the driver cannot be unloaded. */
static struct {
    pthread_once_t once;
    bool present;
    char why[512];
    CudaApi api;
} found = {.once = PTHREAD_ONCE_INIT};

typedef int (*GetProcAddress)(const char *name, void **entry, int version, uint64_t flags, void *status);

static bool take_entries(void *library)
{
    const struct {
        const char *name;
        void *to;
        bool needed;
    } rows[] = {
#define CUDA_API(entry, needed, arguments) {"cu" #entry, &found.api.entry, needed},
#include "runtime/cuda_api.def"
#undef CUDA_API
    };
    GetProcAddress find = NULL;
    int (*driver_version)(int *version) = NULL, version = 0;
    void *entry = dlsym(library, "cuGetProcAddress_v2");
    memcpy(&find, &entry, sizeof entry);
    entry = dlsym(library, "cuDriverGetVersion");
    memcpy(&driver_version, &entry, sizeof entry);
    if (!find || !driver_version || driver_version(&version) != CUDA_DONE) {
        snprintf(found.why, sizeof found.why, "the CUDA driver is older than 12.0: install a newer one");
        return false;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        entry = NULL;
        int status, code = find(rows[i].name, &entry, version < INTERFACE_VERSION ? version : INTERFACE_VERSION, 0, &status);
        if ((code != CUDA_DONE || !entry) && rows[i].needed) {
            snprintf(found.why, sizeof found.why, "the CUDA driver (for CUDA %d.%d) lacks %s: install a newer one",
                     version / 1000, version % 1000 / 10, rows[i].name);
            return false;
        }
        memcpy(rows[i].to, &entry, sizeof entry);
    }
    return true;
}

static void find_driver(void)
{
    const char *path = getenv("ATTUNE_LIBCUDA");
    void *library = dlopen(path && path[0] ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(found.why, sizeof found.why, "no CUDA driver is installed (%.300s)", dlerror());
        return;
    }
    if (!take_entries(library))
        return;
    int code = found.api.Init(0);
    found.present = code == CUDA_DONE;
    if (!found.present) {
        char text[256];
        cuda_explain(&found.api, code, text, sizeof text);
        snprintf(found.why, sizeof found.why, "the CUDA driver cannot start: %s", text);
    }
}

const CudaApi *cuda_api(const char **why)
{
    pthread_once(&found.once, find_driver);
    *why = found.why;
    return found.present ? &found.api : NULL;
}

void cuda_explain(const CudaApi *cuda, int code, char *text, size_t size)
{
    const char *words = NULL, *name = NULL;
    cuda->GetErrorString(code, &words);
    cuda->GetErrorName(code, &name);
    snprintf(text, size, "%s (%s, %d)", words ? words : "unknown error", name ? name : "no name", code);
}
