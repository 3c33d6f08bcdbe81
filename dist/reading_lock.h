/* One job writes a reading at a time. Rank 0 holds a lock on the file that dies with its process;
 * the other ranks hold a share in a second one, so that the next job does not begin before the last
 * of them is gone. The locks are of the open file (Linux OFD locks), and hinder no reader. */
#ifndef QUIRE_DIST_READING_LOCK_H
#define QUIRE_DIST_READING_LOCK_H

#include "partition/status.h"
#include <stdbool.h>

/* Opens the file at `path` for writing, or `partial` where there is none at `path` (created when it
 * is not there either), and locks it, waiting 10 s for another job. *is_new: it is `partial`. A
 * file system without locks gets a warning on stderr. The descriptor is the caller's; the lock ends
 * when it is closed. For one rank of a job. */
enum status reading_lock(const char *path, const char *partial, int *fd, bool *is_new);

/* Lets the other ranks of the job in. */
void reading_lock_share(int fd);

/* Takes another rank's share, on a descriptor of its own. */
void reading_lock_join(int fd);

#endif
