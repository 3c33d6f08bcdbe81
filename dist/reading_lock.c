#include "dist/reading_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_SECONDS 10
#define WAIT_STEP_NS 100000000

/* The bytes that are locked: they need not be there, and reading and writing them is free. */
#define BYTE_LEADER 0
#define BYTE_RANKS 1

static int lock_bytes(int fd, short type, off_t first, off_t count) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = count};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

static bool exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

static bool is_file_at(int fd, const char *path) {
    struct stat open_file, named;
    return fstat(fd, &open_file) == 0 && stat(path, &named) == 0 &&
           open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

static bool is_busy(int error) {
    return error == EAGAIN || error == EACCES;
}

static enum status open_either(const char *path, const char *partial, int *fd, bool *is_new) {
    struct stat about;
    *is_new = !exists(path);
    *fd = *is_new ? open(partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666)
                  : open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return status_fail(
            path, NULL, "found %s, expected a file that can be written; %s", strerror(errno),
            *is_new ? "choose another place" : "make it writable, or choose another");
    if (fstat(*fd, &about) == 0 && S_ISREG(about.st_mode) && (about.st_mode & 0222))
        return STATUS_OK;
    close(*fd);
    return status_fail(path, NULL,
                       "found %s, expected a regular file that can be written; make it writable "
                       "(chmod u+w), or choose another",
                       S_ISREG(about.st_mode) ? "a read-only file" : "no regular file");
}

enum status reading_lock(const char *path, const char *partial, int *fd, bool *is_new) {
    const struct timespec step = {0, WAIT_STEP_NS};
    for (int waited = 0;; waited++) {
        TRY(open_either(path, partial, fd, is_new));
        int failed = lock_bytes(*fd, F_WRLCK, BYTE_LEADER, 2) == 0 ? 0 : errno;
        if (failed && !is_busy(failed)) {
            fprintf(stderr,
                    "quire: warning: %s: found %s, expected a file system with locks; let no other "
                    "job write this file\n",
                    path, strerror(failed));
            return STATUS_OK;
        }
        /* While it waited, the job before may have given the file its name. */
        if (!failed && is_file_at(*fd, *is_new ? partial : path) && *is_new == !exists(path))
            return STATUS_OK;
        close(*fd);
        if (failed && waited >= WAIT_SECONDS * (1000000000 / WAIT_STEP_NS))
            return status_fail(path, "lock",
                               "found another job that writes it (waited %d s), expected none; "
                               "wait for its end, or end it",
                               WAIT_SECONDS);
        if (failed)
            nanosleep(&step, NULL);
    }
}

void reading_lock_share(int fd) {
    lock_bytes(fd, F_UNLCK, BYTE_RANKS, 1);
}

void reading_lock_join(int fd) {
    lock_bytes(fd, F_RDLCK, BYTE_RANKS, 1);
}
