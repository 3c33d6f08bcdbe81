/* Preloaded into quire: ends the process, or lets a call fail, at a chosen call that changes a
 * file; or keeps a record of all such calls of all ranks.
 *
 *     CRASH_MATCH  part of the path of the files that count
 *     CRASH_RANK   the rank that it happens on (default 0)
 *     CRASH_AT     number of the call, from 1; 0: never
 *     CRASH_DO     kill: before the call; torn: after half of its bytes; enospc, eio: it fails
 *     CRASH_LASTS  set: every call after it fails like it
 *     CRASH_COUNT  a file that the number of calls goes to when the process ends
 *     CRASH_RECORD a file, with the rank behind its name, for what was done: a struct done for each
 *                  call that succeeded, then the path, the second path of a rename, the data
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;

static const char *own_rank(void) {
    const char *own = getenv("OMPI_COMM_WORLD_RANK");
    return own ? own : "0";
}

static int matches_any_rank(const char *path) {
    const char *match = getenv("CRASH_MATCH");
    return match && strstr(path, match);
}

static int matches(const char *path) {
    const char *rank = getenv("CRASH_RANK");
    return matches_any_rank(path) && strcmp(own_rank(), rank ? rank : "0") == 0;
}

static void path_of(int fd, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, 4095);
    path[len < 0 ? 0 : len] = '\0';
}

static int descriptor_matches(int fd) {
    char path[4096];
    path_of(fd, path);
    return matches(path);
}

/* -- the record ---------------------------------------------------------------------------------
 */

struct done {
    int64_t begin, end; /* ns */
    int64_t file;       /* inode */
    int64_t at, size;   /* of a write; the new size of a file */
    int64_t path, to;   /* lengths */
    int64_t what;       /* w: write, s: sync, t: size, r: rename, u: unlink */
};

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void put(struct done done, const char *path, const char *to, const void *data) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static int fd = -1;
    char name[4096];
    done.end = now();
    done.path = (int64_t)strlen(path);
    done.to = (int64_t)strlen(to);
    struct iovec parts[] = {{&done, sizeof done},
                            {(void *)path, (size_t)done.path},
                            {(void *)to, (size_t)done.to},
                            {(void *)data, data ? (size_t)done.size : 0}};
    pthread_mutex_lock(&mutex);
    snprintf(name, sizeof name, "%s.%s", getenv("CRASH_RECORD"), own_rank());
    if (fd < 0)
        fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (writev(fd, parts, 4) < 0)
        abort();
    pthread_mutex_unlock(&mutex);
}

static void put_descriptor(int fd, char what, int64_t begin, int64_t at, int64_t size,
                           const void *data) {
    char path[4096];
    struct stat about;
    int error = errno;
    path_of(fd, path);
    if (getenv("CRASH_RECORD") && matches_any_rank(path) && fstat(fd, &about) == 0)
        put((struct done){.what = what,
                          .begin = begin,
                          .file = (int64_t)about.st_ino,
                          .at = at,
                          .size = what == 't' ? (int64_t)about.st_size : size},
            path, "", data);
    errno = error;
}

static void put_name(const char *path, const char *to, char what, int64_t begin) {
    if (getenv("CRASH_RECORD") && matches_any_rank(path))
        put((struct done){.what = what, .begin = begin}, path, to, NULL);
}

/* -- crashes ------------------------------------------------------------------------------------
 */

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
    if (!path || calls == 0 || strcmp(own_rank(), rank ? rank : "0") != 0)
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
    const char *what = descriptor_matches(fd) ? happens() : NULL;
    int64_t begin = now();
    if (what && strcmp(what, "torn") == 0) {
        real(fd, data, size / 2, at);
        end_now();
    }
    int failed = fails(what);
    if (!failed) {
        ssize_t written = real(fd, data, size, at);
        if (written > 0)
            put_descriptor(fd, 'w', begin, at, written, data);
        return written;
    }
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
    int64_t begin = now();
    if (!failed) {
        int result = real(fd);
        if (result == 0)
            put_descriptor(fd, 's', begin, 0, 0, NULL);
        return result;
    }
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
    int64_t begin = now();
    if (!failed) {
        int result = real(fd, size);
        if (result == 0)
            put_descriptor(fd, 't', begin, 0, 0, NULL);
        return result;
    }
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
    int64_t begin = now();
    if (!failed) {
        int result = real(fd, mode, first, size);
        if (result == 0)
            put_descriptor(fd, 't', begin, 0, 0, NULL);
        return result;
    }
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
    int64_t begin = now();
    if (!failed) {
        int result = real(path);
        if (result == 0)
            put_name(path, "", 'u', begin);
        return result;
    }
    errno = failed;
    return -1;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) =
        (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    int failed = matches(to) ? fails(happens()) : 0;
    int64_t begin = now();
    if (!failed) {
        int result = real(from, to);
        if (result == 0)
            put_name(from, to, 'r', begin);
        return result;
    }
    errno = failed;
    return -1;
}
