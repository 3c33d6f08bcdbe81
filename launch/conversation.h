/* generate --save and --resume: a reading that a conversation is kept in, turn by turn. Without
 * either every call does nothing. */
#ifndef QUIRE_LAUNCH_CONVERSATION_H
#define QUIRE_LAUNCH_CONVERSATION_H

#include "launch/book.h"
#include "launch/pause.h"
#include "launch/session.h"

struct conversation {
    struct reading *reading; /* NULL: nothing is kept */
    struct pause pause;
    int32_t *ids;  /* owned, on every rank: all tokens so far, room for the reading's capacity */
    int64_t known; /* of them */
    int64_t begun; /* tokens of earlier turns */
};

/* --resume FILE: opens it for writing, puts the options that go on behind it into *sequence, and
 * checks that this turn's tokens and -n find room. session->tokens is this turn's text, which may
 * be empty. Collective(world). */
enum status conversation_resume(struct session *session, struct sequence_options *sequence,
                                struct conversation *conversation);

/* --save FILE: creates it for a conversation that begins with this turn's text. Before weights are
 * read, as conversation_resume. Collective(world). */
enum status conversation_create(struct session *session, const struct sequence_options *sequence,
                                struct conversation *conversation);

/* Loads what is there into the sequence; what is to be read next is ids[sequence->tokens, known).
 * With nothing to be read, the sequence goes back by a token, which it will read again for what
 * follows it. Collective(world). */
enum status conversation_attach(struct conversation *conversation, const struct session *session,
                                struct sequence *sequence);

/* Notes a generated token. Local, on every rank. */
void conversation_put(struct conversation *conversation, int32_t id);

/* Commits when it is time to, and tells by *stops whether to stop. `status` of it all.
 * Collective(world). */
enum status conversation_step(struct conversation *conversation, bool *stops);

/* The last commit of this turn. Collective(world). */
enum status conversation_commit(struct conversation *conversation);

void conversation_close(struct conversation *conversation);

#endif
