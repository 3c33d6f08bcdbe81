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

/* The options of a sequence that goes on behind a reading: method, G, w, chunk and types are the
 * file's. Refuses, before weights are read, a reading of another model and a processor that lacks
 * the reading's arithmetic. `capacity`: of the sequence. Collective(world). */
enum status book_sequence(struct session *session, const struct reading *reading, int64_t capacity,
                          struct sequence_options *sequence);

#endif
