#include "partition/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum status file_join(const char *dir, const char *name, char **path) {
    if (asprintf(path, "%s/%s", dir, name) < 0) {
        *path = NULL;
        return status_no_memory(dir, (long long)(strlen(dir) + strlen(name) + 2));
    }
    return STATUS_OK;
}

enum status file_open(const char *path, int *fd, int64_t *bytes) {
    struct stat info;
    /* Without O_NONBLOCK opening a named pipe would wait for ever. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return status_fail(path, NULL, "found %s, expected a readable file; check the path",
                           strerror(errno));
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(*fd);
        *fd = -1;
        return status_fail(path, NULL, "found %s, expected a regular file; check the path",
                           S_ISDIR(info.st_mode) ? "a directory" : "a special file");
    }
    *bytes = info.st_size;
    return STATUS_OK;
}

enum status file_read_at(const char *path, int fd, const char *what, void *bytes, int64_t len,
                         int64_t offset) {
    for (int64_t done = 0; done < len;) {
        ssize_t got = pread(fd, (char *)bytes + done, (size_t)(len - done), offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return status_fail(
                path, what, "found %s at byte %lld, expected %lld readable bytes; check the disk",
                strerror(errno), (long long)(offset + done), (long long)(len - done));
        if (got == 0)
            return status_fail(path, what,
                               "found the end of the file at byte %lld, expected %lld more bytes; "
                               "the file was cut after it was opened",
                               (long long)(offset + done), (long long)(len - done));
        done += got;
    }
    return STATUS_OK;
}

enum status file_read(const char *path, int64_t max_bytes, char **text, int64_t *len) {
    int fd;
    int64_t bytes;
    *text = NULL;
    *len = 0;
    TRY(file_open(path, &fd, &bytes));
    enum status status = STATUS_OK;
    if (bytes > max_bytes)
        status = status_fail(path, NULL,
                             "found %lld bytes, expected at most %lld; restore the file as it was "
                             "published",
                             (long long)bytes, (long long)max_bytes);
    else if (!(*text = malloc((size_t)bytes + 1)))
        status = status_no_memory(path, (long long)bytes + 1);
    else
        status = file_read_at(path, fd, NULL, *text, bytes, 0);
    close(fd);
    if (status != STATUS_OK) {
        free(*text);
        *text = NULL;
        return status;
    }
    (*text)[bytes] = '\0';
    *len = bytes;
    return STATUS_OK;
}
