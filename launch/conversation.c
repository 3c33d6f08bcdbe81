#include "launch/conversation.h"

#include "dist/reading.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ids of one message: below 1 GiB. */
#define MESSAGE_IDS ((int64_t)1 << 27)

/* Room for all that the file can hold, this turn's text behind what was there. */
static enum status take_text(struct conversation *c, const struct session *s, int32_t *before) {
    MPI_Comm world = s->dist.world.comm;
    int64_t capacity = c->reading->header.capacity;
    c->begun = c->reading->commit.known;
    c->known = c->begun + s->tokens.count;
    c->ids = malloc((size_t)capacity * sizeof *c->ids);
    TRY(status_agree(world, c->ids ? STATUS_OK : status_no_memory("token ids", capacity * 4)));
    if (before)
        memcpy(c->ids, before, (size_t)c->begun * sizeof *c->ids);
    for (int64_t done = 0; done < c->begun; done += MESSAGE_IDS) {
        int64_t rest = c->begun - done;
        MPI_Bcast(c->ids + done, (int)(rest < MESSAGE_IDS ? rest : MESSAGE_IDS), MPI_INT32_T, 0,
                  world);
    }
    if (s->tokens.count)
        memcpy(c->ids + c->begun, s->tokens.ids, (size_t)s->tokens.count * sizeof *c->ids);
    return STATUS_OK;
}

static enum status check_room(const struct reading *r, const struct session *s) {
    int64_t needed = r->commit.known + s->tokens.count + s->options->count;
    if (r->commit.sequence == 0)
        return status_fail(r->path, "tokens",
                           "found none that are committed, expected some; start anew with --save");
    if (needed > r->header.capacity)
        return status_fail(r->path, "capacity",
                           "found room for %" PRId64 " tokens, of which %" PRId64
                           " are taken, expected it for %" PRId64
                           "; take a smaller -n, or start anew with --save and a larger --reserve",
                           r->header.capacity, r->commit.known, needed);
    return STATUS_OK;
}

enum status conversation_resume(struct session *s, struct sequence_options *sequence,
                                struct conversation *c) {
    int32_t *before = NULL;
    enum status status = STATUS_OK;
    TRY(reading_open(&s->dist, s->options->resume, NULL, false, true, &c->reading));
    TRY(check_room(c->reading, s));
    TRY(book_check(s, c->reading, sequence));
    if (session_leads(s))
        status = reading_ids(c->reading, &before, NULL);
    status = status_agree(s->dist.world.comm, status);
    if (status == STATUS_OK)
        status = take_text(c, s, before);
    free(before);
    return status;
}

enum status conversation_create(struct session *s, const struct sequence_options *sequence,
                                struct conversation *c) {
    struct reading_header header;
    enum status status = STATUS_OK;
    if (session_leads(s) && access(s->options->save, F_OK) == 0)
        status = status_fail(s->options->save, "--save",
                             "found a file, expected none; go on with it by --resume, or choose "
                             "another");
    TRY(status_agree(s->dist.world.comm, status));
    TRY(book_header(s, sequence, 0, &header));
    TRY(reading_open(&s->dist, s->options->save, &header, false, true, &c->reading));
    return take_text(c, s, NULL);
}

/* The text's ids are kept before it is read: a conversation that is cut off in it can go on. */
enum status conversation_attach(struct conversation *c, const struct session *s,
                                struct sequence *sequence) {
    if (!c->reading)
        return STATUS_OK;
    TRY(reading_attach(c->reading, sequence));
    pause_open(s->options, s->seconds_started, sequence->tokens, session_leads(s), &c->pause);
    if (c->known > c->begun)
        return conversation_commit(c);
    if (c->known == sequence->tokens) { /* read again, it must not change the file */
        sequence->keeper = NULL;
        sequence->tokens--;
    }
    return STATUS_OK;
}

void conversation_put(struct conversation *c, int32_t id) {
    if (c->reading)
        c->ids[c->known++] = id;
}

enum status conversation_commit(struct conversation *c) {
    struct reading *r = c->reading;
    if (!r)
        return STATUS_OK;
    double start = MPI_Wtime();
    TRY(reading_commit(r, c->ids, NULL, c->known));
    pause_committed(&c->pause, r->commit.tokens, start);
    return STATUS_OK;
}

enum status conversation_step(struct conversation *c, bool *stops) {
    *stops = false;
    if (!c->reading)
        return STATUS_OK;
    struct sequence *s = c->reading->sequence;
    if (c->reading->writes && !s->keeper)
        s->keeper = &c->reading->keeper;
    enum pause_word word = pause_decide(&c->pause, c->reading->dist, s->tokens);
    *stops = word == PAUSE_STOP;
    return word == PAUSE_GO ? STATUS_OK : conversation_commit(c);
}

void conversation_close(struct conversation *c) {
    reading_close(&c->reading);
    free(c->ids);
    *c = (struct conversation){0};
}
