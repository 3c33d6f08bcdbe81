/* What a session puts into a reading, and what it expects of one: the model's identity, the options
 * that change keys and values, the text. */
#ifndef QUIRE_LAUNCH_BOOK_H
#define QUIRE_LAUNCH_BOOK_H

#include "dist/reading.h"
#include "launch/session.h"

/* The header of a reading of this session's text under `sequence`, for its capacity; text_tokens is
 * that of the text (0: a conversation). Filled on rank 0. Collective(world). */
enum status book_header(const struct session *session, const struct sequence_options *sequence,
                        int64_t text_tokens, struct reading_header *header);

/* Takes over what the reading at PATH says of method, G, w, chunk and types, before a session is
 * opened with these options; refuses a --compute that says otherwise. Collective(MPI_COMM_WORLD).
 */
enum status book_adopt(const char *path, struct options *options);

/* Refuses a reading of another model than the session's. *sequence: the options that go on behind
 * it, for its capacity. Collective(world). */
enum status book_check(const struct session *session, const struct reading *reading,
                       struct sequence_options *sequence);

#endif
