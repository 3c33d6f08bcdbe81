/* Progress of long work on stderr of rank 0: on a terminal a live line, in a log file a sparse line
 * every few seconds at first and every minute later. Nothing for work shorter than a second or so.
 * Nothing ever on stdout. */
#ifndef QUIRE_LAUNCH_PROGRESS_H
#define QUIRE_LAUNCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* "reading", "passkey 4096" ...; borrowed */
    int64_t total;    /* tokens */
    double started, printed, interval;
    bool enabled, terminal, line_open;
};

/* enabled: this rank prints (session_leads). */
void progress_open(struct progress *progress, bool enabled, const char *what, int64_t total);
/* `done` of the total tokens are done: tokens done, tokens/s, time left. */
void progress_update(struct progress *progress, int64_t done);
/* Clears the live line. */
void progress_close(struct progress *progress);

#endif
