/* Preloaded into quire: ends the process, or lets a call fail, at a chosen call that changes a
 * file.
 *
 *     CRASH_MATCH  part of the path of the files that count
 *     CRASH_RANK   the rank that it happens on (default 0)
 *     CRASH_AT     number of the call, from 1; 0: never
 *     CRASH_DO     kill: before the call; torn: after half of its bytes; enospc, eio: it fails
 *     CRASH_LASTS  set: every call after it fails like it
 *     CRASH_COUNT  a file that the number of calls goes to when the process ends
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int matches(const char *path) {
    const char *match = getenv("CRASH_MATCH"), *rank = getenv("CRASH_RANK");
    const char *own = getenv("OMPI_COMM_WORLD_RANK");
    return match && strstr(path, match) && strcmp(own ? own : "0", rank ? rank : "0") == 0;
}

static int descriptor_matches(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return 0;
    path[len] = '\0';
    return matches(path);
}

static void end_now(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Counts the call. Returns what is to happen: NULL: nothing. */
static const char *happens(void) {
    const char *at = getenv("CRASH_AT"), *what = getenv("CRASH_DO");
    long call = atomic_fetch_add(&calls, 1) + 1;
    bool lasts = getenv("CRASH_LASTS") && at && atol(at) > 0 && call > atol(at);
    if (!at || (atol(at) != call && !lasts))
        return NULL;
    if (!what || strcmp(what, "kill") == 0)
        end_now();
    return what;
}

/* For calls without bytes; 0: go on, else the errno to fail with. */
static int fails(const char *what) {
    if (!what)
        return 0;
    if (strcmp(what, "torn") == 0)
        end_now();
    return strcmp(what, "enospc") == 0 ? ENOSPC : EIO;
}

__attribute__((destructor)) static void count_out(void) {
    const char *path = getenv("CRASH_COUNT"), *rank = getenv("CRASH_RANK");
    const char *own = getenv("OMPI_COMM_WORLD_RANK");
    if (!path || calls == 0 || strcmp(own ? own : "0", rank ? rank : "0") != 0)
        return;
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%ld\n", (long)calls);
        fclose(file);
    }
}

typedef ssize_t pwrite_function(int, const void *, size_t, off_t);

static ssize_t write_some(const char *name, int fd, const void *data, size_t size, off_t at) {
    pwrite_function *real = (pwrite_function *)dlsym(RTLD_NEXT, name);
    if (!descriptor_matches(fd))
        return real(fd, data, size, at);
    const char *what = happens();
    if (what && strcmp(what, "torn") == 0) {
        real(fd, data, size / 2, at);
        end_now();
    }
    int failed = fails(what);
    if (!failed)
        return real(fd, data, size, at);
    errno = failed;
    return -1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return write_some("pwrite", fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    return write_some("pwrite64", fd, data, size, at);
}

static int call_on(int fd, int (*real)(int)) {
    int failed = descriptor_matches(fd) ? fails(happens()) : 0;
    if (!failed)
        return real(fd);
    errno = failed;
    return -1;
}

int fsync(int fd) {
    return call_on(fd, (int (*)(int))dlsym(RTLD_NEXT, "fsync"));
}

int fdatasync(int fd) {
    return call_on(fd, (int (*)(int))dlsym(RTLD_NEXT, "fdatasync"));
}

/* The descriptor is gone all the same. What was open for reading alone does not count. */
int close(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    int flags = fcntl(fd, F_GETFL);
    bool writes = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
    int failed = writes && descriptor_matches(fd) ? fails(happens()) : 0, result = real(fd);
    if (!failed)
        return result;
    errno = failed;
    return -1;
}

static int truncate_to(const char *name, int fd, off_t size) {
    int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, name);
    int failed = descriptor_matches(fd) ? fails(happens()) : 0;
    if (!failed)
        return real(fd, size);
    errno = failed;
    return -1;
}

int ftruncate(int fd, off_t size) {
    return truncate_to("ftruncate", fd, size);
}

int ftruncate64(int fd, off_t size) {
    return truncate_to("ftruncate64", fd, size);
}

static int reserve(const char *name, int fd, int mode, off_t first, off_t size) {
    int (*real)(int, int, off_t, off_t) = (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, name);
    int failed = descriptor_matches(fd) ? fails(happens()) : 0;
    if (!failed)
        return real(fd, mode, first, size);
    errno = failed;
    return -1;
}

int fallocate(int fd, int mode, off_t first, off_t size) {
    return reserve("fallocate", fd, mode, first, size);
}

int fallocate64(int fd, int mode, off_t first, off_t size) {
    return reserve("fallocate64", fd, mode, first, size);
}

int unlink(const char *path) {
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    int failed = matches(path) ? fails(happens()) : 0;
    if (!failed)
        return real(path);
    errno = failed;
    return -1;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) =
        (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    int failed = matches(to) ? fails(happens()) : 0;
    if (!failed)
        return real(from, to);
    errno = failed;
    return -1;
}
