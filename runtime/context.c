/* Contexts: options and environment, log, workspace blocks. */
#define _GNU_SOURCE
#include "runtime/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device.h"
#include "runtime/error.h"

enum { MAX_THREADS = 4096 };

int attune_version(void)
{
    return ATTUNE_VERSION_MAJOR * 10000 + ATTUNE_VERSION_MINOR * 100 + ATTUNE_VERSION_PATCH;
}

#define TEXT_OF(x) #x
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *attune_version_string(void)
{
    return VERSION_TEXT(ATTUNE_VERSION_MAJOR, ATTUNE_VERSION_MINOR, ATTUNE_VERSION_PATCH);
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static void context_free(AttuneContext *context)
{
    device_close_all(context);
    pool_destroy(context->pool);
    for (int i = 0; i < BLOCK_COUNT; i++)
        free(context->blocks[i].data);
    for (int i = 0; i < context->cache.read_dir_count; i++)
        free(context->cache.read_dirs[i]);
    free(context->cache.read_dirs);
    free(context->cache.dir);
    pthread_mutex_destroy(&context->log_mutex);
    pthread_mutex_destroy(&context->block_mutex);
    pthread_mutex_destroy(&context->device_mutex);
    pthread_mutex_destroy(&context->jit_mutex);
    free(context);
}

/* The explicit directory, $ATTUNE_CACHE_DIR, $XDG_CACHE_HOME/attune, ~/.cache/attune. Relative XDG paths are
 * to be ignored, says their specification. False: out of memory. */
static bool choose_cache_dir(CacheSettings *cache, const char *explicit_dir)
{
    const char *dir = explicit_dir ? explicit_dir : environment("ATTUNE_CACHE_DIR");
    const char *xdg = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    const char *rest = "";
    if (!dir && xdg && xdg[0] == '/') {
        dir = xdg;
        rest = "/attune";
    } else if (!dir && home && home[0] == '/') {
        dir = home;
        rest = "/.cache/attune";
    }
    if (!dir) {
        cache->why = "neither ATTUNE_CACHE_DIR, XDG_CACHE_HOME nor HOME names a directory";
        return true;
    }
    size_t size = strlen(dir) + strlen(rest) + 1;
    cache->dir = malloc(size);
    if (cache->dir)
        snprintf(cache->dir, size, "%s%s", dir, rest);
    return cache->dir != NULL;
}

static AttuneStatus choose_cache(CacheSettings *cache, const AttuneContextOptions *options,
                                 AttuneError **error)
{
    cache->mode = options->cache_mode;
    if (cache->mode == ATTUNE_CACHE_DEFAULT) {
        const char *mode = environment("ATTUNE_CACHE");
        if (!mode || strcmp(mode, "on") == 0)
            cache->mode = ATTUNE_CACHE_ON;
        else if (strcmp(mode, "read-only") == 0)
            cache->mode = ATTUNE_CACHE_READ_ONLY;
        else if (strcmp(mode, "off") == 0)
            cache->mode = ATTUNE_CACHE_OFF;
        else
            return error_set(error, ATTUNE_ERROR_ARGUMENT,
                             "ATTUNE_CACHE is '%s'; known are on, read-only, off", mode);
    }
    if (cache->mode == ATTUNE_CACHE_OFF)
        return ATTUNE_OK;
    cache->limit_bytes = options->cache_limit_bytes > 0 ? options->cache_limit_bytes : (int64_t)1 << 30;
    if (!choose_cache_dir(cache, options->cache_dir))
        return error_memory(error);
    if (options->cache_read_dir_count > 0) {
        cache->read_dirs = calloc((size_t)options->cache_read_dir_count, sizeof cache->read_dirs[0]);
        if (!cache->read_dirs)
            return error_memory(error);
        for (int i = 0; i < options->cache_read_dir_count; i++) {
            if (!options->cache_read_dirs || !options->cache_read_dirs[i])
                return error_set(error, ATTUNE_ERROR_ARGUMENT, "cache_read_dirs[%d] is NULL", i);
            cache->read_dirs[i] = strdup(options->cache_read_dirs[i]);
            if (!cache->read_dirs[i])
                return error_memory(error);
            cache->read_dir_count = i + 1;
        }
    }
    return ATTUNE_OK;
}

static AttuneStatus choose_threads(const AttuneContextOptions *options, int *threads, AttuneError **error)
{
    const char *text = environment("ATTUNE_THREADS");
    long value = options->threads;
    const char *name = "threads";
    if (value == 0 && text) {
        char *end;
        value = strtol(text, &end, 10);
        name = "ATTUNE_THREADS";
        if (*end)
            return error_set(error, ATTUNE_ERROR_ARGUMENT, "ATTUNE_THREADS is '%s', not a number", text);
    }
    if (value < 0 || value > MAX_THREADS)
        return error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is %ld; 1 to %d are possible, 0 takes every core",
                         name, value, MAX_THREADS);
    *threads = value ? (int)value : pool_default_threads();
    return ATTUNE_OK;
}

AttuneContext *attune_context_create(const AttuneContextOptions *options, AttuneError **error)
{
    static const AttuneContextOptions defaults = {0};
    if (!options)
        options = &defaults;
    int threads = 1;
    if (choose_threads(options, &threads, error) != ATTUNE_OK)
        return NULL;
    if ((unsigned)options->cache_mode > ATTUNE_CACHE_OFF) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "cache_mode is %d, which is no AttuneCacheMode",
                  (int)options->cache_mode);
        return NULL;
    }
    if (options->cache_limit_bytes < 0 || options->cache_read_dir_count < 0) {
        error_set(error, ATTUNE_ERROR_ARGUMENT, "%s is negative",
                  options->cache_limit_bytes < 0 ? "cache_limit_bytes" : "cache_read_dir_count");
        return NULL;
    }
    AttuneContext *context = calloc(1, sizeof *context);
    if (!context) {
        error_memory(error);
        return NULL;
    }
    atomic_init(&context->references, 1);
    pthread_mutex_init(&context->log_mutex, NULL);
    pthread_mutex_init(&context->block_mutex, NULL);
    pthread_mutex_init(&context->device_mutex, NULL);
    pthread_mutex_init(&context->jit_mutex, NULL);
    const char *no_jit = environment("ATTUNE_NO_JIT");
    context->no_jit = options->no_jit || (no_jit && strcmp(no_jit, "0") != 0);
    context->log = options->log;
    context->log_user = options->log_user;
    if (choose_cache(&context->cache, options, error) != ATTUNE_OK) {
        context_free(context);
        return NULL;
    }
    context->pool = pool_create(threads);
    if (!context->pool) {
        error_memory(error);
        context_free(context);
        return NULL;
    }
    return context;
}

void context_retain(AttuneContext *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
}

void context_release(AttuneContext *context)
{
    if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) == 1)
        context_free(context);
}

void attune_context_destroy(AttuneContext *context)
{
    if (!context)
        return;
    pthread_mutex_lock(&context->jit_mutex);
    void *jit = context->jit;
    context->jit = NULL;
    pthread_mutex_unlock(&context->jit_mutex);
    if (jit)
        context->jit_destroy(jit); /* lets go of the kernels that the memory cache holds */
    context->log = NULL; /* log_user may die with the caller's context */
    context_release(context);
}

int32_t attune_context_threads(const AttuneContext *context)
{
    return pool_threads(context->pool);
}

void context_log(AttuneContext *context, AttuneLogLevel level, const char *format, ...)
{
    if (!context->log)
        return;
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&context->log_mutex);
    context->log(context->log_user, level, text);
    pthread_mutex_unlock(&context->log_mutex);
}

void *context_block_take(AttuneContext *context, size_t size)
{
    enum { ALIGN = 64 };
    WorkBlock *fit = NULL,
              *idle = NULL; /* the smallest that is large enough; the largest that is not, or an empty slot */
    if (size > SIZE_MAX - SIZE_MAX / 4)
        return NULL;
    pthread_mutex_lock(&context->block_mutex);
    for (WorkBlock *b = context->blocks; b < context->blocks + BLOCK_COUNT; b++) {
        if (b->busy)
            continue;
        if (b->size >= size && b->data)
            fit = !fit || b->size < fit->size ? b : fit;
        else
            idle = !idle || b->size > idle->size ? b : idle;
    }
    if (!fit && idle) {
        size_t room = (size + size / 8 + ALIGN) / ALIGN * ALIGN;
        free(idle->data);
        idle->data = aligned_alloc(ALIGN, room);
        idle->size = idle->data ? room : 0;
        fit = idle->data ? idle : NULL;
    }
    void *data = NULL;
    if (fit) {
        fit->busy = true;
        data = fit->data;
    }
    pthread_mutex_unlock(&context->block_mutex);
    if (!data && !idle) /* more launches at once than blocks: one for this launch alone */
        data = aligned_alloc(ALIGN, (size + ALIGN) / ALIGN * ALIGN);
    return data;
}

void context_block_return(AttuneContext *context, void *data)
{
    if (!data)
        return;
    pthread_mutex_lock(&context->block_mutex);
    WorkBlock *found = NULL;
    for (WorkBlock *b = context->blocks; b < context->blocks + BLOCK_COUNT; b++)
        if (b->data == data)
            found = b;
    if (found)
        found->busy = false;
    pthread_mutex_unlock(&context->block_mutex);
    if (!found)
        free(data);
}
