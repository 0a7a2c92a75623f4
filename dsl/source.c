/* Source texts: whether their bytes are text at all, where imports are found, the embedded library. */
#include "dsl/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsl_std.h" /* std_files[], written by CMake from std/ */

size_t source_sequence(const char *at, size_t left)
{
    /* The second byte's range keeps out overlong forms, surrogates and what is past U+10FFFF. */
    static const struct { unsigned char first, last, length, low, high; } forms[] = {
        {0x00, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
        {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
        {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
    };
    const unsigned char *bytes = (const unsigned char *)at;
    for (size_t f = 0; left && f < sizeof forms / sizeof forms[0]; f++) {
        if (bytes[0] < forms[f].first || bytes[0] > forms[f].last)
            continue;
        size_t length = forms[f].length;
        if (length > left || (length > 1 && (bytes[1] < forms[f].low || bytes[1] > forms[f].high)))
            return 0;
        for (size_t i = 2; i < length; i++)
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

size_t source_check(const char *text, size_t length, const char **why)
{
    for (size_t at = 0, step; at < length; at += step) {
        step = source_sequence(text + at, length - at);
        *why = text[at] ? "invalid UTF-8" : "a NUL byte";
        if (!step || !text[at])
            return at;
    }
    return length;
}

bool dsl_std(int index, DslText *entry)
{
    int count = (int)(sizeof std_files / sizeof std_files[0]);
    if (index < 0 || index >= count)
        return false;
    *entry = (DslText){std_files[index].name, (const char *)std_files[index].bytes, std_files[index].length};
    return true;
}

bool dsl_read_file(Arena *arena, const char *path, char **text, size_t *length, const char **why)
{
    /* All memory first: nothing is allocated while the file is open, so nothing can leak it. */
    struct stat info;
    *why = NULL;
    if (stat(path, &info) != 0 || S_ISDIR(info.st_mode)) {
        *why = arena_strdup(arena, S_ISDIR(info.st_mode) ? "is a directory" : strerror(errno));
        return false;
    }
    size_t room = DSL_MAX_BYTES + 1;
    if (S_ISREG(info.st_mode) && info.st_size >= 0 && (size_t)info.st_size < room)
        room = (size_t)info.st_size + 1;
    char *buffer = arena_alloc(arena, room + 1);
    size_t got = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int failed = file < 0 ? errno : 0;
    while (!failed && got < room) {
        ssize_t step = read(file, buffer + got, room - got);
        if (step > 0)
            got += (size_t)step;
        else if (step == 0)
            break;
        else if (errno != EINTR)
            failed = errno;
    }
    if (file >= 0)
        close(file);
    if (failed) {
        *why = arena_strdup(arena, strerror(failed));
        return false;
    }
    buffer[got] = '\0';
    *text = buffer;
    *length = got;
    return true;
}

/* "a/./b", "a//b" and "a/c/../b" -> "a/b", so that one file has one name. */
static char *tidy_path(Arena *arena, const char *path)
{
    char *out = arena_alloc(arena, strlen(path) + 2);
    size_t used = 0;
    if (*path == '/')
        out[used++] = '/';
    while (*path) {
        size_t part = strcspn(path, "/");
        size_t root = used && out[0] == '/' ? 1 : 0, last = used;
        while (last > root && out[last - 1] != '/')
            last--;
        bool parent = part == 2 && path[0] == '.' && path[1] == '.';
        bool droppable = used > root && !(used - last == 2 && out[last] == '.' && out[last + 1] == '.');
        if (parent && droppable) {
            used = last > root ? last - 1 : root;
        } else if (part && !(part == 1 && path[0] == '.')) {
            if (used > root)
                out[used++] = '/';
            memcpy(out + used, path, part);
            used += part;
        }
        path += part;
        while (*path == '/')
            path++;
    }
    out[used] = '\0';
    return out;
}

bool dsl_resolve_file(void *paths, Arena *arena, const char *importer, const char *path, DslText *found,
                      const char **why)
{
    const DslPaths *search = paths;
    size_t length = strlen(path);
    const char *ending = length > 5 && strcmp(path + length - 5, ".attn") == 0 ? "" : ".attn";
    int directories = search ? search->count : 0;
    *why = NULL;
    for (int i = -1; i < directories && !*why; i++) {
        char *full;
        if (path[0] == '/') {
            full = arena_printf(arena, "%s%s", path, ending);
        } else if (i < 0) {
            const char *slash = strrchr(importer, '/');
            full = arena_printf(arena, "%.*s%s%s", slash ? (int)(slash - importer + 1) : 0, importer, path,
                                ending);
        } else {
            full = arena_printf(arena, "%s/%s%s", search->directories[i], path, ending);
        }
        full = tidy_path(arena, full);
        struct stat info;
        if (stat(full, &info) != 0)
            continue;
        char *text;
        if (dsl_read_file(arena, full, &text, &found->length, why)) {
            found->name = full;
            found->text = text;
            return true;
        }
    }
    return false;
}
