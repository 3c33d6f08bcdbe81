/* quire capture: the activations of a text, into HDF5. */
#include "launch/command.h"

#include "dist/capture.h"
#include "dist/forward.h"
#include "dist/head.h"
#include "launch/book.h"
#include "launch/pause.h"
#include "launch/progress.h"
#include "launch/report.h"
#include "launch/session.h"
#include <inttypes.h>
#include <stdio.h>

struct capture_run {
    struct session session;
    struct report report;
    struct capture *capture;
    struct sequence sequence;
    struct range range;
    struct pause pause;
    int64_t resumed_at;
    bool complete;
    double seconds;
};

/* The tokens to capture, from --range and the length of the text. */
static enum status choose_range(struct capture_run *run, const struct options *options) {
    int64_t length = run->session.tokens.count;
    struct range asked = options->range;
    int64_t end = asked.count < 0 ? length : range_end(asked);
    if (end > length || asked.first >= end)
        return status_usage("--range",
                            "found %" PRId64 ":%" PRId64
                            ", expected a range that is not empty within the %" PRId64
                            " tokens of the text",
                            asked.first, end, length);
    run->range = (struct range){asked.first, end - asked.first};
    return STATUS_OK;
}

static enum status check_layers(const struct capture_run *run, const struct options *options) {
    for (int64_t i = 0; i < options->layers.count; i++)
        if (options->layers.values[i] >= run->session.shape.layers)
            return status_usage("--layers",
                                "found layer %" PRId64 ", expected 0 to %" PRId64
                                ", the model's layers",
                                options->layers.values[i], run->session.shape.layers - 1);
    return STATUS_OK;
}

static enum status open_capture(struct capture_run *run, const struct options *options,
                                const struct sequence_options *sequence) {
    struct session *s = &run->session;
    struct reading_header header;
    struct capture_options capture = {
        .path = options->output,
        .sites = options->sites,
        .layers = options->layers.values,
        .layer_count = options->layers.count,
        .tokens = run->range,
        .stride = options->stride,
        .gzip = options->gzip,
        .shuffle = options->shuffle,
        .model_name = options->model,
        .dtype = s->dtype,
    };
    int64_t end = range_end(run->range);
    TRY(book_header(s, sequence, end, &header));
    TRY(capture_open(&s->dist, &s->shape, sequence, &capture, &header, s->tokens.ids,
                     s->tokens.offsets, &run->capture));
    run->resumed_at = capture_reading(run->capture)->commit.tokens;
    run->complete = run->resumed_at == end;
    return STATUS_OK;
}

static enum status commit(struct capture_run *run) {
    struct session *s = &run->session;
    double start = MPI_Wtime();
    TRY(capture_commit(run->capture, s->tokens.ids, s->tokens.offsets));
    pause_committed(&run->pause, run->sequence.tokens, start);
    return STATUS_OK;
}

/* Reads the text up to the end of the range, from the last commit on; the probe writes as it goes.
 */
static enum status read_on(struct capture_run *run, struct progress *progress) {
    struct session *s = &run->session;
    int64_t end = range_end(run->range), chunk = run->sequence.options.chunk;
    bool stopped = false;
    while (run->sequence.tokens < end && !stopped) {
        int64_t done = run->sequence.tokens, T = end - done < chunk ? end - done : chunk;
        forward_chunk(&run->sequence, s->tokens.ids + done, T);
        if (s->options->sites >> SITE_LOGITS & 1 && done + T > run->range.first)
            head_probe(&run->sequence);
        enum pause_word word = pause_decide(&run->pause, &s->dist, done + T);
        if (word != PAUSE_GO || done + T == end)
            TRY(commit(run));
        stopped = word == PAUSE_STOP;
        progress_update(progress, done + T);
    }
    run->complete = run->sequence.tokens == end;
    return STATUS_OK;
}

static enum status read_text(struct capture_run *run) {
    struct session *s = &run->session;
    struct progress progress;
    double start = MPI_Wtime();
    TRY(reading_attach(capture_reading(run->capture), &run->sequence));
    run->sequence.probe = capture_probe(run->capture);
    pause_open(s->options, s->seconds_started, run->resumed_at, session_leads(s), &run->pause);
    progress_open(&progress, session_leads(s), "capturing", range_end(run->range));
    enum status status = read_on(run, &progress);
    progress_close(&progress);
    run->seconds = MPI_Wtime() - start;
    return status;
}

static void print_pause(const struct capture_run *run, const struct options *options) {
    if (!run->complete && session_leads(&run->session))
        fprintf(stderr,
                "quire: %s: captured %" PRId64 " of %" PRId64
                " tokens, committed; stopped (%s): start again with the same arguments to go on\n",
                options->output, run->sequence.tokens, range_end(run->range), run->pause.reason);
}

static void report_result(struct capture_run *run, const struct options *options) {
    if (!report_wanted(&run->report))
        return;
    json_object_set_new(run->report.root, "output", json_string(options->output));
    json_object_set_new(
        run->report.root, "range",
        json_pack("[I,I]", (json_int_t)run->range.first, (json_int_t)range_end(run->range)));
    json_object_set_new(run->report.root, "stride", json_integer(options->stride));
    json_object_set_new(run->report.root, "resumed_at", json_integer(run->resumed_at));
    json_object_set_new(run->report.root, "complete", json_boolean(run->complete));
    json_t *sites = json_array();
    for (int site = 0; site < SITE_COUNT; site++)
        if (options->sites >> site & 1)
            json_array_append_new(sites, json_string(site_name((enum site)site)));
    json_object_set_new(run->report.root, "sites", sites);
    json_t *layers = options->layers.count ? json_array() : json_null();
    for (int64_t i = 0; i < options->layers.count; i++)
        json_array_append_new(layers, json_integer(options->layers.values[i]));
    json_object_set_new(run->report.root, "layers", layers);
}

static enum status capture_text(struct capture_run *run, const struct options *options) {
    struct session *s = &run->session;
    TRY(session_open(options, s));
    TRY(report_open(s, &run->report));
    TRY(check_layers(run, options));
    TRY(session_open_tokenizer(s, options->text_count > 0));
    TRY(session_read_input(s));
    TRY(choose_range(run, options));
    int64_t length = s->tokens.count;
    struct sequence_options sequence = session_sequence(s, false, length, range_end(run->range));
    TRY(open_capture(run, options, &sequence));
    if (!run->complete) {
        TRY(session_load(s, &sequence, 1));
        session_warn_reach(s, &sequence.scheme, length);
        TRY(sequence_open(&s->model, &sequence, &run->sequence));
        TRY(read_text(run));
    }
    if (run->complete)
        TRY(capture_finish(run->capture));
    report_session(&run->report, s, &sequence.scheme, length);
    report_result(run, options);
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = run->seconds,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = range_end(run->range) - run->resumed_at};
    TRY(report_write(&run->report, s, &timings));
    print_pause(run, options);
    return run->complete ? STATUS_OK : STATUS_PAUSED;
}

enum status command_capture(const struct options *options) {
    struct capture_run run = {0};
    enum status status = capture_text(&run, options);
    capture_close(&run.capture);
    sequence_close(&run.sequence);
    report_close(&run.report);
    session_close(&run.session);
    return status;
}
