/* NVRTC through dlopen: the entry points in a table, compilation, and what ptxas says about the result. */
#define _GNU_SOURCE
#include "nvrtc.h"

#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RESULT_DONE = 0, RESULT_NO_MEMORY = 1, RESULT_INVALID_OPTION = 5, MAX_OPTIONS = 32, MAX_LOG_IN_MESSAGE = 4000 };

typedef void *NvrtcProgram;
typedef struct NvrtcTable {
    const char *(*GetErrorString)(int result);
    int (*Version)(int *major, int *minor);
    int (*CreateProgram)(NvrtcProgram *program, const char *text, const char *name, int header_count,
                         const char *const *headers, const char *const *include_names);
    int (*DestroyProgram)(NvrtcProgram *program);
    int (*CompileProgram)(NvrtcProgram program, int option_count, const char *const *options);
    int (*GetProgramLogSize)(NvrtcProgram program, size_t *size);
    int (*GetProgramLog)(NvrtcProgram program, char *log);
    int (*GetCUBINSize)(NvrtcProgram program, size_t *size);
    int (*GetCUBIN)(NvrtcProgram program, char *cubin);
} NvrtcTable;

/* Found once a process and kept: the library cannot be unloaded safely. */
static struct {
    pthread_once_t once;
    bool present;
    char version[32], why[512];
    NvrtcTable table;
} found = {.once = PTHREAD_ONCE_INIT};

static bool take_symbols(void *library)
{
    const struct {
        const char *name;
        void *to;
    } rows[] = {
        {"nvrtcGetErrorString", &found.table.GetErrorString}, {"nvrtcVersion", &found.table.Version},
        {"nvrtcCreateProgram", &found.table.CreateProgram},   {"nvrtcDestroyProgram", &found.table.DestroyProgram},
        {"nvrtcCompileProgram", &found.table.CompileProgram}, {"nvrtcGetProgramLogSize", &found.table.GetProgramLogSize},
        {"nvrtcGetProgramLog", &found.table.GetProgramLog},   {"nvrtcGetCUBINSize", &found.table.GetCUBINSize},
        {"nvrtcGetCUBIN", &found.table.GetCUBIN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        void *symbol = dlsym(library, rows[i].name);
        if (!symbol) {
            snprintf(found.why, sizeof found.why, "it lacks %s: CUDA 11.1 or newer is needed", rows[i].name);
            return false;
        }
        memcpy(rows[i].to, &symbol, sizeof symbol);
    }
    int major, minor;
    if (found.table.Version(&major, &minor) != RESULT_DONE)
        return false;
    snprintf(found.version, sizeof found.version, "%d.%d", major, minor);
    return true;
}

static void try_library(const char *path)
{
    if (found.present)
        return;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library && !(found.present = take_symbols(library)))
        dlclose(library);
}

static void find_library(void)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    enum { NAMES = sizeof names / sizeof names[0] };
    const char *explicit_path = getenv("ATTUNE_NVRTC");
    if (explicit_path && explicit_path[0]) {
        try_library(explicit_path);
        if (!found.present && !found.why[0])
            snprintf(found.why, sizeof found.why, "ATTUNE_NVRTC is '%.400s', which cannot be loaded", explicit_path);
        return;
    }
    for (int n = 0; n < NAMES; n++)
        try_library(names[n]);
    const char *const roots[] = {getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda"};
    static const char *const folders[] = {"lib64", "lib", "targets/x86_64-linux/lib"};
    for (int r = 0; r < 3; r++)
        for (int f = 0; f < 3 && roots[r] && roots[r][0]; f++)
            for (int n = 0; n < NAMES; n++) {
                char path[4096];
                snprintf(path, sizeof path, "%s/%s/%s", roots[r], folders[f], names[n]);
                try_library(path);
            }
    if (!found.present && !found.why[0])
        snprintf(found.why, sizeof found.why, "none of libnvrtc.so.13, libnvrtc.so.12, libnvrtc.so is in the library path, "
                 "under CUDA_HOME, CUDA_PATH or /usr/local/cuda; ATTUNE_NVRTC can name it");
}

static const NvrtcTable *table(void)
{
    pthread_once(&found.once, find_library);
    return found.present ? &found.table : NULL;
}

const char *nvrtc_version(void)
{
    return table() ? found.version : NULL;
}

void nvrtc_explain_absence(char *text, size_t size)
{
    snprintf(text, size, "%s", table() ? "" : found.why);
}

/* ptxas' report ------------------------------------------------------------------------------------------------- */

/* The number that stands before `word` in [line, end), or 0. */
static int number_before(const char *line, const char *end, const char *word)
{
    const char *at = memmem(line, (size_t)(end - line), word, strlen(word));
    if (!at)
        return 0;
    while (at > line && at[-1] == ' ')
        at--;
    const char *digits = at;
    while (digits > line && isdigit((unsigned char)digits[-1]))
        digits--;
    return digits < at ? atoi(digits) : 0;
}

static bool has(const char *line, const char *end, const char *word)
{
    return memmem(line, (size_t)(end - line), word, strlen(word)) != NULL;
}

static void read_line(const char *line, const char *end, NvrtcReport *report, NvrtcEntry **entry)
{
    static const char compiling[] = "Compiling entry function '";
    const char *name = memmem(line, (size_t)(end - line), compiling, sizeof compiling - 1);
    if (name) {
        *entry = report->entry_count < NVRTC_MAX_ENTRIES ? &report->entries[report->entry_count++] : NULL;
        name += sizeof compiling - 1;
        const char *quote = memchr(name, '\'', (size_t)(end - name));
        if (*entry && quote)
            snprintf((*entry)->name, sizeof (*entry)->name, "%.*s", (int)(quote - name), name);
        return;
    }
    if (has(line, end, "wgmma") && (has(line, end, "serializ") || has(line, end, "C7510") || has(line, end, "C7512")))
        report->wgmma_serialized = true;
    if (has(line, end, "setmaxnreg") && has(line, end, "ignored"))
        report->setmaxnreg_ignored = true;
    if (!*entry)
        return;
    if (has(line, end, "bytes stack frame")) {
        (*entry)->stack = number_before(line, end, "bytes stack frame");
        (*entry)->spill_stores = number_before(line, end, "bytes spill stores");
        (*entry)->spill_loads = number_before(line, end, "bytes spill loads");
    } else if (has(line, end, "Used ") && has(line, end, " registers")) {
        (*entry)->registers = number_before(line, end, "registers");
        (*entry)->barriers = number_before(line, end, "barriers");
        (*entry)->shared_bytes = number_before(line, end, "bytes smem");
    }
}

void nvrtc_read_log(const char *log, NvrtcReport *report)
{
    *report = (NvrtcReport){0};
    NvrtcEntry *entry = NULL;
    for (const char *line = log, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        read_line(line, end, report, &entry);
    }
}

/* Compiling ------------------------------------------------------------------------------------------------------- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

typedef struct Compilation {
    const NvrtcTable *nvrtc;
    NvrtcProgram program;
    bool open;
} Compilation;

static void close_program(void *object)
{
    Compilation *c = object;
    if (c->open)
        c->nvrtc->DestroyProgram(&c->program);
    c->open = false;
}

static void take_log(Arena *arena, Compilation *c, NvrtcResult *result)
{
    size_t size = 0;
    result->log = arena_strdup(arena, "");
    if (c->nvrtc->GetProgramLogSize(c->program, &size) != RESULT_DONE || size == 0)
        return;
    char *log = arena_alloc(arena, size + 1);
    if (c->nvrtc->GetProgramLog(c->program, log) == RESULT_DONE)
        result->log = log;
    nvrtc_read_log(result->log, &result->report);
}

static int compile(Arena *arena, Compilation *c, const char *arch, const char *const *options, NvrtcResult *result)
{
    const char *all[MAX_OPTIONS] = {arena_printf(arena, "--gpu-architecture=%s", arch), "-std=c++17",
                                    "--ptxas-options=-v", "--ptxas-options=-warn-spills"};
    int count = 4;
    for (; options && *options && count < MAX_OPTIONS; options++)
        all[count++] = *options;
    double start = now_ms();
    int code = c->nvrtc->CompileProgram(c->program, count, all);
    result->milliseconds = now_ms() - start;
    take_log(arena, c, result);
    if (code == RESULT_DONE)
        code = c->nvrtc->GetCUBINSize(c->program, &result->cubin_size);
    if (code != RESULT_DONE)
        return code;
    result->cubin = arena_alloc(arena, result->cubin_size);
    return c->nvrtc->GetCUBIN(c->program, result->cubin);
}

NvrtcStatus nvrtc_compile(Arena *arena, Diag *diag, const char *text, const char *name, const char *arch,
                          const char *const *options, NvrtcResult *result)
{
    *result = (NvrtcResult){.log = arena_strdup(arena, "")};
    const NvrtcTable *nvrtc = table();
    if (!nvrtc) {
        if (diag)
            diag_fix(diag, diag_error(diag, SPAN_NONE, "no-nvrtc", "CUDA kernels are compiled by NVRTC, which is not here: %s",
                                      found.why), "install CUDA's NVRTC library, version 12 or newer");
        return NVRTC_ABSENT;
    }
    Compilation *c = ARENA_NEW(arena, Compilation);
    c->nvrtc = nvrtc;
    arena_defer(arena, close_program, c);
    int code = nvrtc->CreateProgram(&c->program, text, name, 0, NULL, NULL);
    c->open = code == RESULT_DONE;
    if (c->open)
        code = compile(arena, c, arch, options, result);
    close_program(c);
    if (code == RESULT_DONE)
        return NVRTC_DONE;
    if (code == RESULT_NO_MEMORY)
        arena_fail(arena);
    result->cubin = NULL;
    result->cubin_size = 0;
    NvrtcStatus status = code == RESULT_INVALID_OPTION ? NVRTC_ABSENT : NVRTC_FAILED;
    if (diag && status == NVRTC_ABSENT)
        diag_error(diag, SPAN_NONE, "nvrtc-arch", "NVRTC %s cannot compile for %s: %.*s", found.version, arch,
                   MAX_LOG_IN_MESSAGE, result->log);
    else if (diag)
        diag_error(diag, SPAN_NONE, "internal", "NVRTC %s refuses the CUDA text of %s (%s), a fault of the compiler, please "
                   "report it: %.*s", found.version, name, nvrtc->GetErrorString(code), MAX_LOG_IN_MESSAGE, result->log);
    return status;
}
