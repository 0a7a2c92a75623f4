/* attune cache: the disk cache of compiled kernels. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/cli/spec_file.h"

typedef struct Tally {
    int64_t entries, bytes, damaged;
    bool only_damaged;
} Tally;

static void visit(void *user, const AttuneCacheEntry *entry)
{
    Tally *tally = user;
    tally->entries++;
    tally->bytes += entry->bytes;
    tally->damaged += !entry->valid;
    if (tally->only_damaged && entry->valid)
        return;
    char used[32] = "";
    time_t seconds = (time_t)entry->used;
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        strftime(used, sizeof used, "%Y-%m-%d %H:%M", &tm);
    if (entry->valid)
        printf("%.16s  %8lld  %s  %s %s D=%lld E=%lld  %s\n", entry->key, (long long)entry->bytes, used,
               entry->name ? entry->name : "?", attune_dtype_name(entry->dtype), (long long)entry->d,
               (long long)entry->e, entry->target ? entry->target : "?");
    else
        printf("%.16s  %8lld  %s  damaged\n", entry->key, (long long)entry->bytes, used);
}

static int list(const Arguments *arguments, AttuneContext *context)
{
    Tally tally = {0};
    AttuneError *error = NULL;
    if (attune_cache_list(context, visit, &tally, &error) != ATTUNE_OK)
        return error_report(arguments, error);
    printf("%lld entries, %lld bytes in %s\n", (long long)tally.entries, (long long)tally.bytes,
           attune_cache_dir(context));
    return EXIT_DONE;
}

static int verify(const Arguments *arguments, AttuneContext *context)
{
    Tally tally = {.only_damaged = true};
    AttuneError *error = NULL;
    if (attune_cache_verify(context, visit, &tally, &error) != ATTUNE_OK)
        return error_report(arguments, error);
    printf("%lld entries, %lld damaged in %s\n", (long long)tally.entries, (long long)tally.damaged,
           attune_cache_dir(context));
    return tally.damaged > 0 ? EXIT_WRONG : EXIT_DONE;
}

/* 512, 16K, 256M, 1G */
static bool read_bytes(const char *text, int64_t *bytes)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || number < 0 || errno == ERANGE)
        return false;
    int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (shift)
        end++;
    *bytes = number;
    return *end == '\0' && !__builtin_mul_overflow(*bytes, (int64_t)1 << shift, bytes);
}

static int clear(const Arguments *arguments, AttuneContext *context)
{
    int64_t keep = 0, removed = 0;
    const char *text = option_value(arguments, OPTION_KEEP, "0");
    if (!read_bytes(text, &keep))
        return usage_error("cache", "--keep: '%s' is not a number of bytes such as 512M", text);
    AttuneError *error = NULL;
    if (attune_cache_clear(context, keep, &removed, &error) != ATTUNE_OK)
        return error_report(arguments, error);
    if (!option_given(arguments, OPTION_QUIET))
        printf("%lld entries removed from %s\n", (long long)removed, attune_cache_dir(context));
    return EXIT_DONE;
}

int cmd_cache(const Arguments *arguments)
{
    static const struct { const char *name; int (*run)(const Arguments *, AttuneContext *); } works[] = {
        {"list", list}, {"verify", verify}, {"clear", clear}};
    for (int k = 0; k < 3; k++) {
        if (strcmp(arguments->files[0], works[k].name) != 0)
            continue;
        AttuneContext *context = context_open(arguments);
        if (!context)
            return EXIT_WRONG;
        int status =
            attune_cache_dir(context) ? works[k].run(arguments, context) : failure("the cache is off");
        attune_context_destroy(context);
        return status;
    }
    return usage_error("cache", "'%s' is none of list, verify, clear", arguments->files[0]);
}
