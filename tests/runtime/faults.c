/* Failing system calls on demand: the linker's --wrap sends every call here. */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fault_names[FAULT_CALLS] = {"open",     "openat", "read",  "write", "fsync",    "close",
                                              "renameat", "fstat",  "flock", "mkdir", "unlinkat", "futimens"};

static _Thread_local Fault armed;
static _Thread_local bool is_armed;
static _Thread_local int seen;

void fault_arm(Fault fault)
{
    armed = fault;
    seen = 0;
    is_armed = true;
}

int fault_disarm(void)
{
    is_armed = false;
    return seen;
}

static bool hit(FaultCall call)
{
    if (!is_armed || (armed.kind != FAULT_DIE && armed.call != call))
        return false;
    seen++;
    bool now = armed.persistent ? seen >= armed.nth : seen == armed.nth;
    if (now && armed.kind == FAULT_DIE)
        raise(SIGKILL);
    if (now)
        errno = armed.code;
    return now;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_openat(int fd, const char *path, int flags, ...);
int __wrap_openat(int fd, const char *path, int flags, ...);
ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_renameat(int from, const char *old, int to, const char *name);
int __wrap_renameat(int from, const char *old, int to, const char *name);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_unlinkat(int fd, const char *path, int flags);
int __wrap_unlinkat(int fd, const char *path, int flags);
int __real_futimens(int fd, const struct timespec *times);
int __wrap_futimens(int fd, const struct timespec *times);

static mode_t mode_argument(int flags, va_list args)
{
    return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return hit(FAULT_OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_argument(flags, args);
    va_end(args);
    return hit(FAULT_OPENAT) ? -1 : __real_openat(fd, path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    if (hit(FAULT_READ))
        return armed.kind == FAULT_ERROR ? -1 : armed.kind == FAULT_ZERO ? 0 : __real_read(fd, bytes, 1);
    return __real_read(fd, bytes, size);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    if (hit(FAULT_WRITE))
        return armed.kind == FAULT_ERROR ? -1 : armed.kind == FAULT_ZERO ? 0 : __real_write(fd, bytes, 1);
    return __real_write(fd, bytes, size);
}

int __wrap_fsync(int fd)
{
    return hit(FAULT_FSYNC) ? -1 : __real_fsync(fd);
}

int __wrap_close(int fd)
{
    if (!hit(FAULT_CLOSE))
        return __real_close(fd);
    int code = armed.code;
    __real_close(fd); /* as Linux does: the number is free even when an error is told */
    errno = code;
    return -1;
}

int __wrap_renameat(int from, const char *old, int to, const char *name)
{
    return hit(FAULT_RENAMEAT) ? -1 : __real_renameat(from, old, to, name);
}

int __wrap_fstat(int fd, struct stat *st)
{
    return hit(FAULT_FSTAT) ? -1 : __real_fstat(fd, st);
}

int __wrap_flock(int fd, int operation)
{
    return hit(FAULT_FLOCK) ? -1 : __real_flock(fd, operation);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return hit(FAULT_MKDIR) ? -1 : __real_mkdir(path, mode);
}

int __wrap_unlinkat(int fd, const char *path, int flags)
{
    return hit(FAULT_UNLINKAT) ? -1 : __real_unlinkat(fd, path, flags);
}

int __wrap_futimens(int fd, const struct timespec *times)
{
    return hit(FAULT_FUTIMENS) ? -1 : __real_futimens(fd, times);
}
