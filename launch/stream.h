/* Generated text on its way out: printed as it comes, but held back while its end could be the
 * beginning of a stop text, and cut before one that is complete. One rank's; no MPI. */
#ifndef QUIRE_LAUNCH_STREAM_H
#define QUIRE_LAUNCH_STREAM_H

#include "partition/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct stream {
    FILE *file;               /* borrowed; NULL: nothing is printed */
    const char *const *stops; /* borrowed */
    int64_t stop_count;
    char *text; /* owned: all that came, without the stop text and what followed it */
    int64_t len, room;
    int64_t printed; /* bytes of it */
    bool stopped;
};

void stream_open(FILE *file, const char *const *stops, int64_t stop_count, struct stream *stream);
void stream_close(struct stream *stream);

/* Takes the next len bytes, and prints what is sure. stream->stopped tells that a stop text is
 * complete; nothing must be put after that. Errors: memory, a file that cannot be written. */
enum status stream_put(struct stream *stream, const char *text, int64_t len);

/* Prints what was held back: no more text comes. */
enum status stream_end(struct stream *stream);

#endif
