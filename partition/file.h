/* Files as they are read here: regular ones, of a known size, bytes by place. */
#ifndef QUIRE_PARTITION_FILE_H
#define QUIRE_PARTITION_FILE_H

#include "partition/status.h"
#include <stdint.h>

/* DIR/NAME in memory that the caller owns (free). */
enum status file_join(const char *dir, const char *name, char **path);

/* Opens a regular file for reading; its descriptor is the caller's (close), -1 after a failure. */
enum status file_open(const char *path, int *fd, int64_t *bytes);

/* Reads exactly len bytes at `offset`; path and what (a tensor, "header"; NULL: nothing) are for
 * messages. Errors: the disk, a file that is shorter than it was when it was opened. */
enum status file_read_at(const char *path, int fd, const char *what, void *bytes, int64_t len,
                         int64_t offset);

/* Reads a whole regular file of at most max_bytes; text is owned by the caller (free), one NUL byte
 * stands after its len bytes. */
enum status file_read(const char *path, int64_t max_bytes, char **text, int64_t *len);

#endif
