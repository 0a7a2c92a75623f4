/* attune_kernel_create: memory, then disk, then the compiler; each kernel is made once, whoever asks. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler/emit/nvrtc.h"
#include "runtime/build.h"
#include "runtime/cuda.h"
#include "runtime/error.h"
#include "runtime/machine.h"

enum { BUCKETS = 256, STACK_KEY = 1024 };

typedef struct JitEntry {
    struct JitEntry *next;
    uint64_t hash;
    AttuneKernel *kernel; /* NULL: being made by some thread */
    size_t key_size;
    unsigned char key[];
} JitEntry;

typedef struct JitTarget {
    struct JitTarget *next;
    Target target;
    char name[];
} JitTarget;

typedef struct Jit {
    AttuneContext *context;
    Cache *cache;
    pthread_mutex_t mutex;
    pthread_cond_t made;
    JitEntry *buckets[BUCKETS];
    JitTarget *targets;
} Jit;

static void jit_destroy(void *object)
{
    Jit *jit = object;
    for (int b = 0; b < BUCKETS; b++)
        for (JitEntry *entry = jit->buckets[b], *next; entry; entry = next) {
            next = entry->next;
            attune_kernel_destroy(entry->kernel);
            free(entry);
        }
    for (JitTarget *target = jit->targets, *next; target; target = next) {
        next = target->next;
        free(target);
    }
    cache_close(jit->cache);
    pthread_cond_destroy(&jit->made);
    pthread_mutex_destroy(&jit->mutex);
    free(jit);
}

static Jit *jit_of(AttuneContext *context)
{
    pthread_mutex_lock(&context->jit_mutex);
    Jit *jit = context->jit;
    if (!jit && (jit = calloc(1, sizeof *jit))) {
        jit->cache = cache_open(context);
        if (jit->cache) {
            jit->context = context;
            pthread_mutex_init(&jit->mutex, NULL);
            pthread_cond_init(&jit->made, NULL);
            context->jit = jit;
            context->jit_destroy = jit_destroy;
        } else {
            free(jit);
            jit = NULL;
        }
    }
    pthread_mutex_unlock(&context->jit_mutex);
    return jit;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Progress: says so once a compilation takes more than a second, and then every five. ------------------- */

typedef struct Watch {
    AttuneContext *context;
    const char *name;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    bool running, stopped;
} Watch;

static void *watch_main(void *argument)
{
    Watch *watch = argument;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int seconds = 1;
    until.tv_sec += 1;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stopped) {
        if (pthread_cond_timedwait(&watch->stop, &watch->mutex, &until) == 0 || watch->stopped)
            continue;
        context_log(watch->context, ATTUNE_LOG_INFO, "still compiling %s (%d s)", watch->name, seconds);
        seconds += seconds == 1 ? 4 : 5;
        until.tv_sec += seconds == 5 ? 4 : 5;
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

static void watch_start(Watch *watch, AttuneContext *context, const char *name)
{
    *watch = (Watch){.context = context, .name = name};
    if (!context->log)
        return;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->stop, &attributes);
    pthread_condattr_destroy(&attributes);
    watch->running = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
}

static void watch_stop(Watch *watch)
{
    if (!watch->context->log)
        return;
    if (watch->running) {
        pthread_mutex_lock(&watch->mutex);
        watch->stopped = true;
        pthread_cond_signal(&watch->stop);
        pthread_mutex_unlock(&watch->mutex);
        pthread_join(watch->thread, NULL);
    }
    pthread_cond_destroy(&watch->stop);
    pthread_mutex_destroy(&watch->mutex);
}

/* Disk and compiler ------------------------------------------------------------------------------------- */

static AttuneKernel *from_disk(Jit *jit, Build *build)
{
    void *payload;
    size_t size;
    if (!cache_find(jit->cache, build->key, &payload, &size))
        return NULL;
    Kernel *kernel = kernel_unpack(payload, size);
    free(payload);
    AttuneError *error = NULL;
    AttuneKernel *made = kernel ? build_finish(build, kernel, &error) : NULL;
    if (!made)
        context_log(jit->context, ATTUNE_LOG_WARNING,
                    "kernel cache: an entry cannot be used (%s); compiling instead",
                    kernel ? attune_error_message(error) : "its kernel is malformed");
    attune_error_free(error);
    return made;
}

static void to_disk(Jit *jit, const Build *build, const Kernel *kernel)
{
    size_t size;
    void *payload = kernel_pack(kernel, &size);
    if (!payload)
        return;
    CacheLabel label;
    memset(&label, 0, sizeof label);
    snprintf(label.name, sizeof label.name, "%s", build->signature->name);
    snprintf(label.target, sizeof label.target, "%s", kernel->target);
    label.dtype = (int32_t)spec_dtype(kernel->elem);
    label.d = kernel->D;
    label.e = kernel->E;
    cache_store(jit->cache, build->key, &label, payload, size);
    free(payload);
}

static AttuneKernel *compile_and_keep(Jit *jit, Build *build, bool keep, AttuneError **error)
{
    AttuneContext *context = jit->context;
    const char *name = build->signature->name;
    Watch watch;
    double start = now_ms();
    watch_start(&watch, context, name);
    Kernel *kernel = build_compile(build, error);
    watch_stop(&watch);
    if (!kernel)
        return NULL;
    context_log(context, ATTUNE_LOG_INFO, "compiled %s for %s, %s, d = %lld, e = %lld in %.0f ms", name,
                kernel->target, elem_type_name(kernel->elem), (long long)kernel->D, (long long)kernel->E,
                now_ms() - start);
    if (keep)
        to_disk(jit, build, kernel);
    AttuneKernel *made = build_finish(build, kernel, error);
    if (made)
        made->origin = ATTUNE_FROM_COMPILER;
    return made;
}

/* Where NVRTC is missing, LLVM makes PTX, for which the driver alone is enough. */
static void do_without_nvrtc(Jit *jit, Target *target)
{
#if ATTUNE_HAVE_PTX
    Target portable;
    const char *why;
    char absence[600];
    if (target->kind != TARGET_CUDA || nvrtc_version() || !cuda_api(&why) ||
        build_target("ptx:sm_90", &portable, NULL) != ATTUNE_OK)
        return;
    nvrtc_explain_absence(absence, sizeof absence);
    context_log(jit->context, ATTUNE_LOG_WARNING,
                "target %s: NVRTC was not found (%s), so kernels are made for %s, without Hopper's fast path",
                target->name, absence, portable.name);
    *target = portable;
#else
    (void)jit;
    (void)target;
#endif
}

static AttuneStatus target_of(Jit *jit, const char *name, Target *target, AttuneError **error)
{
    pthread_mutex_lock(&jit->mutex);
    JitTarget *known = jit->targets;
    while (known && strcmp(known->name, name) != 0)
        known = known->next;
    if (known)
        *target = known->target;
    pthread_mutex_unlock(&jit->mutex);
    if (known)
        return ATTUNE_OK;
    AttuneStatus status = build_target(name, target, error);
    if (status == ATTUNE_OK)
        do_without_nvrtc(jit, target);
    JitTarget *added = status == ATTUNE_OK ? malloc(sizeof *added + strlen(name) + 1) : NULL;
    if (added) { /* without memory it is worked out again next time */
        added->target = *target;
        strcpy(added->name, name);
        pthread_mutex_lock(&jit->mutex);
        added->next = jit->targets;
        jit->targets = added;
        pthread_mutex_unlock(&jit->mutex);
    }
    return status;
}

static AttuneKernel *make_kernel(Jit *jit, const AttuneSpec *spec, const AttuneKernelOptions *options,
                                 AttuneError **error)
{
    AttuneContext *context = jit->context;
    Target target;
    if (target_of(jit, options->target, &target, error) != ATTUNE_OK ||
        machine_check(target.name, build_needs(&target), error) != ATTUNE_OK)
        return NULL;
    Build build;
    double start = now_ms();
    if (build_open(&build, context, spec, options, &target, "attune", error) != ATTUNE_OK) {
        build_close(&build);
        return NULL;
    }
    char key[CACHE_KEY_TEXT];
    cache_key_text(build.key, key);
    AttuneKernel *kernel = NULL;
    CacheLock lock = {.fd = -1};
    bool on_disk = target.kind != TARGET_INTERP && !options->dump;
    if (on_disk)
        kernel = from_disk(jit, &build);
    if (!kernel && context->no_jit) {
        error_set(error, ATTUNE_ERROR_NO_JIT,
                  "compiling is forbidden (no_jit or ATTUNE_NO_JIT), and no cache directory has "
                  "kernel %s: %s for %s, %s, d = %lld, e = %lld",
                  key, build.signature->name, target.name, attune_dtype_name(options->dtype),
                  (long long)options->d, (long long)options->e);
    } else if (!kernel) {
        context_log(context, ATTUNE_LOG_DEBUG, "kernel cache: miss %s", key);
        if (on_disk && cache_lock(jit->cache, build.key, &lock))
            kernel = from_disk(jit, &build); /* what somebody else made while this one waited */
        if (!kernel)
            kernel = compile_and_keep(jit, &build, on_disk, error);
        cache_unlock(jit->cache, &lock);
    }
    if (kernel) {
        if (kernel->origin != ATTUNE_FROM_COMPILER) {
            kernel->origin = ATTUNE_FROM_DISK;
            context_log(context, ATTUNE_LOG_DEBUG, "kernel cache: hit %s", key);
        }
        kernel->create_ms = now_ms() - start;
    }
    build_close(&build);
    return kernel;
}

/* Memory ------------------------------------------------------------------------------------------------ */

static void append(unsigned char *key, size_t *at, const void *bytes, size_t size)
{
    if (key)
        memcpy(key + *at, bytes, size);
    *at += size;
}

/* A cheap key: nothing is parsed or hashed with SHA here. key NULL: only the size. */
static size_t write_key(unsigned char *key, const AttuneSpec *spec, const AttuneKernelOptions *options)
{
    size_t at = 0;
    int64_t numbers[] = {(int64_t)options->dtype, options->d, options->e};
    append(key, &at, spec->identity, sizeof spec->identity);
    append(key, &at, numbers, sizeof numbers);
    append(key, &at, options->target, strlen(options->target) + 1);
    for (int i = 0; i < options->setting_count; i++) {
        append(key, &at, options->settings[i].name, strlen(options->settings[i].name) + 1);
        append(key, &at, options->settings[i].value, strlen(options->settings[i].value) + 1);
    }
    return at;
}

static uint64_t hash_key(const unsigned char *key, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ key[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static JitEntry **find(Jit *jit, const unsigned char *key, size_t size, uint64_t hash)
{
    JitEntry **link = &jit->buckets[hash % BUCKETS];
    while (*link &&
           !((*link)->hash == hash && (*link)->key_size == size && memcmp((*link)->key, key, size) == 0))
        link = &(*link)->next;
    return link;
}

static AttuneKernel *kernel_of_key(Jit *jit, const unsigned char *key, size_t size, const AttuneSpec *spec,
                                   const AttuneKernelOptions *options, AttuneError **error)
{
    uint64_t hash = hash_key(key, size);
    pthread_mutex_lock(&jit->mutex);
    JitEntry **link;
    while (*(link = find(jit, key, size, hash)) && !(*link)->kernel)
        pthread_cond_wait(&jit->made, &jit->mutex); /* another thread is at it; if it fails, this one tries */
    AttuneKernel *kernel = *link ? (*link)->kernel : NULL;
    JitEntry *entry = NULL;
    if (kernel) {
        kernel_retain(kernel);
    } else if ((entry = calloc(1, sizeof *entry + size))) {
        entry->hash = hash;
        entry->key_size = size;
        memcpy(entry->key, key, size);
        entry->next = *link;
        *link = entry;
    }
    pthread_mutex_unlock(&jit->mutex);
    if (kernel)
        return kernel;
    if (!entry) {
        error_memory(error);
        return NULL;
    }
    kernel = make_kernel(jit, spec, options, error);
    pthread_mutex_lock(&jit->mutex);
    if (kernel) {
        entry->kernel = kernel;
        kernel_retain(kernel); /* one for the table, one for the caller */
    } else {
        link = find(jit, key, size, hash);
        *link = entry->next;
        free(entry);
    }
    pthread_cond_broadcast(&jit->made);
    pthread_mutex_unlock(&jit->mutex);
    return kernel;
}

AttuneKernel *attune_kernel_create(AttuneContext *context, const AttuneSpec *spec,
                                   const AttuneKernelOptions *options, AttuneError **error)
{
    AttuneKernelOptions checked;
    if (!context) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "context is NULL");
        return NULL;
    }
    if (build_check_options(spec, options, &checked, error) != ATTUNE_OK)
        return NULL;
    Jit *jit = jit_of(context);
    if (!jit) {
        error_memory(error);
        return NULL;
    }
    if (checked.dump) /* to see it being compiled it must be */
        return make_kernel(jit, spec, &checked, error);
    unsigned char on_stack[STACK_KEY], *key = on_stack;
    size_t size = write_key(NULL, spec, &checked);
    if (size > sizeof on_stack && !(key = malloc(size))) {
        error_memory(error);
        return NULL;
    }
    write_key(key, spec, &checked);
    AttuneKernel *kernel = kernel_of_key(jit, key, size, spec, &checked, error);
    if (key != on_stack)
        free(key);
    return kernel;
}

/* The disk cache for tools ------------------------------------------------------------------------------ */

const char *attune_cache_dir(AttuneContext *context)
{
    return context && context->cache.mode != ATTUNE_CACHE_OFF ? context->cache.dir : NULL;
}

/* NULL with an error. */
static Cache *cache_of(AttuneContext *context, AttuneError **error)
{
    if (!context) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "context is NULL");
        return NULL;
    }
    Jit *jit = jit_of(context);
    if (!jit)
        error_memory(error);
    return jit ? jit->cache : NULL;
}

static AttuneStatus cache_error(const AttuneContext *context)
{
    return context ? ATTUNE_ERROR_MEMORY : ATTUNE_ERROR_ARGUMENT;
}

AttuneStatus attune_cache_list(AttuneContext *context, AttuneCacheVisit visit, void *user,
                               AttuneError **error)
{
    Cache *cache = cache_of(context, error);
    return cache ? cache_visit(cache, false, visit, user, error) : cache_error(context);
}

AttuneStatus attune_cache_verify(AttuneContext *context, AttuneCacheVisit visit, void *user,
                                 AttuneError **error)
{
    Cache *cache = cache_of(context, error);
    return cache ? cache_visit(cache, true, visit, user, error) : cache_error(context);
}

AttuneStatus attune_cache_clear(AttuneContext *context, int64_t keep_bytes, int64_t *removed,
                                AttuneError **error)
{
    if (keep_bytes < 0)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "keep_bytes is %lld; it must not be negative",
                         (long long)keep_bytes);
    Cache *cache = cache_of(context, error);
    return cache ? cache_shrink(cache, keep_bytes, removed, error) : cache_error(context);
}
