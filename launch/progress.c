#include "launch/progress.h"

#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Seconds: before the first output; between two on a terminal; between the first two in a log,
 * which grows until it is one a minute. */
#define PROGRESS_FIRST 1.0
#define PROGRESS_TERMINAL 0.2
#define PROGRESS_LOG 4.0
#define PROGRESS_LOG_MOST 60.0

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_open(struct progress *progress, bool enabled, const char *what, int64_t total) {
    *progress = (struct progress){.what = what, .total = total, .enabled = enabled};
    if (!enabled)
        return;
    progress->terminal = isatty(STDERR_FILENO);
    progress->started = seconds_now();
    progress->printed = progress->started;
    progress->interval = progress->terminal ? PROGRESS_FIRST : PROGRESS_LOG;
}

static void print_line(struct progress *p, int64_t done, double seconds) {
    double rate = (double)done / seconds;
    struct units_text left = units_seconds((double)(p->total - done) / rate);
    fprintf(stderr, "%squire: %s: %" PRId64 " of %" PRId64 " tokens, %s tokens/s, %s left%s",
            p->terminal ? "\r" : "", p->what, done, p->total, units_rate(rate).text, left.text,
            p->terminal ? "\033[K" : "\n");
    fflush(stderr);
    p->line_open = p->terminal;
}

void progress_update(struct progress *p, int64_t done) {
    if (!p->enabled)
        return;
    double now = seconds_now();
    if (now - p->printed < p->interval || done < 1 || done >= p->total)
        return;
    p->printed = now;
    if (p->terminal)
        p->interval = PROGRESS_TERMINAL;
    else if (p->interval * 1.5 < PROGRESS_LOG_MOST)
        p->interval *= 1.5;
    else
        p->interval = PROGRESS_LOG_MOST;
    print_line(p, done, now - p->started);
}

void progress_close(struct progress *p) {
    if (p->line_open) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    p->line_open = false;
}
