/* quire ingest: reads a text into a file, to be asked about later; goes on where it stopped. */
#include "launch/command.h"

#include "dist/forward.h"
#include "launch/book.h"
#include "launch/pause.h"
#include "launch/progress.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct ingestion {
    const struct options *options;
    struct session session;
    struct report report;
    struct sequence_options request;
    struct reading *reading;
    struct sequence sequence;
    struct pause pause;
    int64_t resumed_at; /* tokens that were there */
    int64_t commits;
    bool complete;
    double seconds_resuming, seconds_reading, seconds_committing;
};

/* G and w are chosen for the text and what may follow it, and the file has room for that. */
static void choose_sequence(struct ingestion *in) {
    struct session *s = &in->session;
    int64_t reserve = in->options->reserve;
    if (reserve < 0)
        reserve = s->shape.context / 8;
    int64_t length = s->tokens.count + reserve;
    in->request = session_sequence(s, false, length, length);
}

static enum status open_file(struct ingestion *in) {
    struct session *s = &in->session;
    struct reading_header header;
    TRY(book_header(s, &in->request, s->tokens.count, &header));
    TRY(reading_open(&s->dist, in->options->output, &header, s->text != NULL, true, &in->reading));
    in->resumed_at = in->reading->commit.tokens;
    in->complete = in->reading->commit.sequence && in->resumed_at == s->tokens.count;
    return STATUS_OK;
}

static enum status commit(struct ingestion *in) {
    struct session *s = &in->session;
    double start = MPI_Wtime();
    TRY(reading_commit(in->reading, s->tokens.ids, s->tokens.offsets, in->sequence.tokens));
    pause_committed(&in->pause, in->sequence.tokens, start);
    in->seconds_committing += MPI_Wtime() - start;
    in->commits++;
    return STATUS_OK;
}

/* Chunk by chunk, from the last commit on. The first one is read even where time is up, so that
 * every start gets on; a signal stops before it. */
static enum status read_on(struct ingestion *in, struct progress *progress) {
    struct session *s = &in->session;
    int64_t chunk = in->sequence.options.chunk, end = s->tokens.count;
    int stopped = pause_signalled();
    MPI_Bcast(&stopped, 1, MPI_INT, 0, s->dist.world.comm);
    while (in->sequence.tokens < end) {
        int64_t done = in->sequence.tokens, rest = end - done;
        if (stopped) {
            in->pause.reason = in->pause.reason ? in->pause.reason : "signal";
            return STATUS_OK;
        }
        forward_chunk(&in->sequence, s->tokens.ids + done, rest < chunk ? rest : chunk);
        enum pause_word word = pause_decide(&in->pause, &s->dist, in->sequence.tokens);
        bool is_end = in->sequence.tokens == end;
        if (word != PAUSE_GO || is_end)
            TRY(commit(in));
        stopped = word == PAUSE_STOP;
        progress_update(progress, in->sequence.tokens);
    }
    in->complete = true;
    return STATUS_OK;
}

static enum status read_text(struct ingestion *in) {
    struct session *s = &in->session;
    struct progress progress;
    double start = MPI_Wtime();
    TRY(reading_attach(in->reading, &in->sequence));
    in->seconds_resuming = MPI_Wtime() - start;
    start = MPI_Wtime();
    pause_open(in->options, s->seconds_started, in->resumed_at, session_leads(s), &in->pause);
    progress_open(&progress, session_leads(s), "ingesting", s->tokens.count);
    enum status status = read_on(in, &progress);
    progress_close(&progress);
    in->seconds_reading = MPI_Wtime() - start;
    return status;
}

static void print_summary(const struct ingestion *in) {
    const struct session *s = &in->session;
    const char *path = in->options->output;
    int64_t tokens = in->reading->commit.tokens, read = tokens - in->resumed_at;
    if (!session_leads(s))
        return;
    if (in->complete && read == 0 && in->resumed_at)
        fprintf(stderr, "quire: %s is complete: all %" PRId64 " tokens were read already\n", path,
                tokens);
    else if (in->complete)
        fprintf(stderr,
                "quire: %s is complete: %" PRId64 " tokens, %" PRId64 " of them read now in %s\n",
                path, tokens, read, units_seconds(in->seconds_reading).text);
    else
        fprintf(stderr,
                "quire: %s holds %" PRId64 " of %" PRId64
                " tokens, committed; stopped (%s): start again with the same arguments to go on\n",
                path, tokens, s->tokens.count, in->pause.reason);
}

static enum status write_report(struct ingestion *in) {
    struct session *s = &in->session;
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = in->seconds_reading,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = in->reading->commit.tokens - in->resumed_at};
    report_session(&in->report, s, &in->request.scheme, in->request.capacity);
    if (report_wanted(&in->report)) {
        json_t *root = in->report.root;
        json_object_set_new(root, "output",
                            report_text(in->options->output, (int64_t)strlen(in->options->output)));
        json_object_set_new(root, "text_tokens", json_integer(s->tokens.count));
        json_object_set_new(root, "capacity", json_integer(in->request.capacity));
        json_object_set_new(root, "resumed_at", json_integer(in->resumed_at));
        json_object_set_new(root, "committed_tokens", json_integer(in->reading->commit.tokens));
        json_object_set_new(root, "commits", json_integer(in->commits));
        json_object_set_new(root, "complete", json_boolean(in->complete));
        json_object_set_new(root, "stopped",
                            in->complete ? json_null() : json_string(in->pause.reason));
        json_object_set_new(root, "bytes", json_integer(reading_bytes(&in->reading->header)));
        json_object_set_new(root, "resuming_s", json_real(in->seconds_resuming));
        json_object_set_new(root, "writing_s", json_real(in->reading->seconds_writing));
        json_object_set_new(root, "committing_s", json_real(in->seconds_committing));
    }
    return report_write(&in->report, s, &timings);
}

static enum status ingest(struct ingestion *in) {
    struct session *s = &in->session;
    TRY(session_open(in->options, s));
    TRY(report_open(s, &in->report));
    TRY(session_open_tokenizer(s, in->options->tokens_file == NULL));
    TRY(session_read_input(s));
    choose_sequence(in);
    TRY(open_file(in));
    if (!in->complete) {
        TRY(session_load(s, &in->request, 1));
        session_warn_reach(s, &in->request.scheme, in->request.capacity);
        TRY(sequence_open(&s->model, &in->request, &in->sequence));
        TRY(read_text(in));
    }
    TRY(write_report(in));
    print_summary(in);
    return in->complete ? STATUS_OK : STATUS_PAUSED;
}

enum status command_ingest(const struct options *options) {
    struct ingestion in = {.options = options};
    enum status status = ingest(&in);
    reading_close(&in.reading);
    sequence_close(&in.sequence);
    report_close(&in.report);
    session_close(&in.session);
    return status;
}
