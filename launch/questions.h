/* The questions of quire ask: -p texts and the lines of --questions files, in their order, each
 * encoded alone, as it stands behind a text that was read before. */
#ifndef QUIRE_LAUNCH_QUESTIONS_H
#define QUIRE_LAUNCH_QUESTIONS_H

#include "launch/session.h"

struct question {
    char *text;           /* owned, rank 0 only */
    struct tokens tokens; /* ids on every rank, offsets on rank 0 */
};

struct questions {
    struct question *all; /* owned */
    int64_t count;
};

/* Reads, checks and encodes them on rank 0 and gives every rank the ids. Errors: none, an empty
 * one, text that is not UTF-8. Collective(world). */
enum status questions_read(const struct session *session, struct questions *questions);
void questions_close(struct questions *questions);

#endif
