/* One generated text: its tokens on every rank, the text itself on rank 0, decoded and printed as
 * it comes, and why it ended. */
#ifndef QUIRE_LAUNCH_ANSWER_H
#define QUIRE_LAUNCH_ANSWER_H

#include "dist/head.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/stream.h"

/* Why generating ended; ENDING_NONE: it has not. */
enum ending { ENDING_NONE, ENDING_LENGTH, ENDING_EOS, ENDING_STRING };

struct answer {
    int32_t *tokens; /* owned, [count] generated, on every rank */
    int64_t count;
    enum ending ending;
    /* rank 0 only */
    struct decoder *decoder; /* NULL without a tokenizer: ids are printed */
    struct stream stream;
    json_t *logprobs; /* owned; NULL unless asked for */
};

/* Room for options->count tokens behind ids [count]: the decoder is led through these, so that the
 * text reads as it would behind them. file: where it is printed, NULL: nowhere (yet). Local.
 * answer_close frees a half-opened one too. */
enum status answer_open(const struct session *session, const struct report *report, FILE *file,
                        const int32_t *ids, int64_t count, struct answer *answer);
void answer_close(struct answer *answer);

/* Takes the next choice, unless it ends the text. On rank 0 the text goes on; ENDING_STRING is then
 * known there alone: answer_agree. Local. */
enum status answer_put(const struct session *session, const struct choice *choice,
                       struct answer *answer);

/* Makes endings [count answers] and the status of rank 0 known everywhere. Collective(world). */
enum status answer_agree(const struct session *session, enum status status, struct answer *answers,
                         int64_t count);

/* Puts out what was held back: no more comes. Rank 0. */
enum status answer_end(struct answer *answer);

/* Puts "tokens", "text", "stop" and "logprobs" into a report's object. Rank 0. */
void answer_report(const struct answer *answer, json_t *object);

#endif
