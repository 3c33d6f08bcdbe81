/* quire generate: the continuation of a text, printed as it comes. */
#include "launch/command.h"

#include "dist/forward.h"
#include "dist/head.h"
#include "launch/progress.h"
#include "launch/reading.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/stream.h"
#include "launch/units.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Why generating ended. */
enum ending { ENDING_LENGTH, ENDING_EOS, ENDING_STRING };

struct generation {
    const struct options *options;
    struct session session;
    struct report report;
    struct sequence sequence;
    int32_t *tokens; /* owned, [count] generated, on every rank */
    int64_t count;
    enum ending ending;
    double seconds_reading, seconds_generating;
    /* rank 0 only */
    struct decoder *decoder; /* NULL without a tokenizer: ids are printed */
    struct stream stream;
    json_t *logprobs; /* owned; NULL unless asked for */
};

static enum status decode(struct generation *g, int32_t id) {
    const char *text;
    int64_t len;
    TRY(decoder_put(g->decoder, id, &text, &len));
    return stream_put(&g->stream, text, len);
}

/* The decoder is led through the prompt, so that the continuation reads as it would behind it: its
 * first word keeps the blank in front. */
static enum status open_output(struct generation *g) {
    const struct options *o = g->options;
    struct session *s = &g->session;
    bool silent = report_owns_stdout(&g->report);
    stream_open(silent ? NULL : stdout, o->stops, o->stop_count, &g->stream);
    if (o->logprobs >= 0 && report_wanted(&g->report))
        g->logprobs = json_array();
    if (!s->tokenizer)
        return STATUS_OK;
    TRY(decoder_open(s->tokenizer, &g->decoder));
    for (int64_t i = 0; i < s->tokens.count; i++) {
        const char *text;
        int64_t len;
        TRY(decoder_put(g->decoder, s->tokens.ids[i], &text, &len));
    }
    return STATUS_OK;
}

static enum status read_prompt(struct generation *g) {
    struct session *s = &g->session;
    struct progress progress;
    double start = MPI_Wtime();
    progress_open(&progress, session_leads(s), "reading", s->tokens.count);
    reading_run(&g->sequence, s->tokens.ids, s->tokens.count, &progress, 0);
    enum status status = sequence_check(&g->sequence);
    progress_close(&progress);
    g->seconds_reading = MPI_Wtime() - start;
    return status;
}

static bool is_end_of_text(const struct generation *g, int32_t token) {
    const struct stop_ids *stop = &g->session.stop_ids;
    for (int32_t i = 0; i < stop->count; i++)
        if (stop->ids[i] == token)
            return true;
    return false;
}

static void note_logprobs(struct generation *g, const struct choice *choice) {
    if (!g->logprobs)
        return;
    json_t *top = json_array();
    for (int32_t i = 0; i < choice->top_count; i++)
        json_array_append_new(top, json_pack("{s:I,s:f}", "token", (json_int_t)choice->top[i].id,
                                             "logprob", (double)choice->top[i].logprob));
    json_array_append_new(g->logprobs,
                          json_pack("{s:I,s:f,s:o}", "token", (json_int_t)choice->token, "logprob",
                                    (double)choice->logprob, "top", top));
}

/* Ids stand for the text where there is no tokenizer. */
static enum status print_id(struct generation *g, int32_t id) {
    char word[16];
    int len = snprintf(word, sizeof word, g->count > 1 ? " %" PRId32 : "%" PRId32, id);
    return stream_put(&g->stream, word, len);
}

/* Rank 0 prints what the token adds, and all learn whether a stop text is complete.
 * Collective(world). */
static enum status put_token(struct generation *g, const struct choice *choice, bool *stopped) {
    struct session *s = &g->session;
    enum status status = STATUS_OK;
    int word = 0; /* 1: stopped, 2: failed */
    if (session_leads(s)) {
        note_logprobs(g, choice);
        status = g->decoder ? decode(g, choice->token) : print_id(g, choice->token);
        word = status != STATUS_OK ? 2 : g->stream.stopped;
    }
    MPI_Bcast(&word, 1, MPI_INT, 0, s->dist.world.comm);
    *stopped = word == 1;
    return word == 2 ? status_agree(s->dist.world.comm, status) : STATUS_OK;
}

/* One token after the other; the last needs no forward pass, nothing follows it. */
static enum status generate(struct generation *g, struct progress *progress) {
    const struct options *o = g->options;
    int64_t logprobs = o->logprobs > 0 ? o->logprobs : 0;
    g->ending = ENDING_LENGTH;
    g->session.dist.times.phase = TIME_GENERATING;
    while (g->count < o->count) {
        struct choice choice;
        bool stopped;
        if (g->count)
            forward_chunk(&g->sequence, &g->tokens[g->count - 1], 1);
        TRY(head_choose(&g->sequence, &o->sample, logprobs, &choice));
        if (!o->ignore_eos && is_end_of_text(g, choice.token)) {
            g->ending = ENDING_EOS;
            return STATUS_OK;
        }
        g->tokens[g->count++] = choice.token;
        TRY(put_token(g, &choice, &stopped));
        if (stopped) {
            g->ending = ENDING_STRING;
            return STATUS_OK;
        }
        progress_update(progress, g->count);
    }
    return STATUS_OK;
}

/* What is still held back: the beginning of a stop text that did not come, an unfinished
 * character. */
static enum status end_output(struct generation *g) {
    const char *text;
    int64_t len;
    if (g->ending == ENDING_STRING)
        return STATUS_OK;
    if (g->decoder) {
        TRY(decoder_end(g->decoder, &text, &len));
        TRY(stream_put(&g->stream, text, len));
    }
    return stream_end(&g->stream);
}

/* On a terminal the text itself shows how far it is. */
static enum status generate_text(struct generation *g) {
    struct session *s = &g->session;
    struct progress progress;
    bool shows_text = g->stream.file && (isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO));
    double start = MPI_Wtime();
    progress_open(&progress, session_leads(s) && !shows_text, "generating", g->options->count);
    enum status status = generate(g, &progress);
    if (status == STATUS_OK) {
        if (session_leads(s))
            status = end_output(g);
        status = status_agree(s->dist.world.comm, status);
    }
    progress_close(&progress);
    g->seconds_generating = MPI_Wtime() - start;
    return status;
}

static void print_summary(const struct generation *g) {
    static const char *const endings[] = {
        [ENDING_LENGTH] = "as many as asked for",
        [ENDING_EOS] = "then end of text",
        [ENDING_STRING] = "then a stop text",
    };
    const struct session *s = &g->session;
    if (!session_leads(s))
        return;
    fprintf(stderr,
            "%squire: %" PRId64 " tokens in %s (%s tokens/s), %s; %" PRId64 " tokens read in %s "
            "(%s tokens/s)\n",
            g->stream.file ? "\n" : "", g->count, units_seconds(g->seconds_generating).text,
            units_rate((double)g->count / (g->seconds_generating + 1e-9)).text, endings[g->ending],
            s->tokens.count, units_seconds(g->seconds_reading).text,
            units_rate((double)s->tokens.count / (g->seconds_reading + 1e-9)).text);
}

static void report_results(struct generation *g) {
    static const char *const endings[] = {
        [ENDING_LENGTH] = "length", [ENDING_EOS] = "eos", [ENDING_STRING] = "string"};
    json_t *root = g->report.root;
    if (!report_wanted(&g->report))
        return;
    json_t *tokens = json_array();
    for (int64_t i = 0; i < g->count; i++)
        json_array_append_new(tokens, json_integer(g->tokens[i]));
    json_object_set_new(root, "prompt_tokens", json_integer(g->session.tokens.count));
    json_object_set_new(root, "tokens", tokens);
    json_object_set_new(root, "text",
                        g->decoder
                            ? report_text(g->stream.text ? g->stream.text : "", g->stream.len)
                            : json_null());
    json_object_set_new(root, "stop", json_string(endings[g->ending]));
    if (g->logprobs)
        json_object_set(root, "logprobs", g->logprobs);
}

/* A stop text is looked for in the text, which must be there and can hold it. */
static enum status check_stops(const struct generation *g) {
    const struct options *o = g->options;
    for (int64_t i = 0; i < o->stop_count; i++) {
        int64_t len = (int64_t)strlen(o->stops[i]);
        if (text_valid_utf8(o->stops[i], len) != len)
            return status_usage("--stop",
                                "found bytes that are not UTF-8, expected UTF-8; no text that is "
                                "generated has such bytes");
        if (session_leads(&g->session) && !g->session.tokenizer)
            return status_usage("--stop", "found with a model directory that has no tokenizer, "
                                          "expected none; leave it out");
    }
    return STATUS_OK;
}

static enum status open_all(struct generation *g, struct sequence_options *sequence) {
    struct session *s = &g->session;
    const struct options *o = g->options;
    TRY(session_open(o, s));
    TRY(report_open(s, &g->report));
    TRY(session_open_tokenizer(s, o->tokens_file == NULL));
    TRY(status_agree(s->dist.world.comm, check_stops(g)));
    TRY(session_read_input(s));
    int64_t length = s->tokens.count + o->count + o->reserve;
    *sequence = session_sequence(s, false, length, length);
    TRY(session_load(s, sequence, 1));
    session_warn_reach(s, &sequence->scheme, length);
    TRY(sequence_open(&s->model, sequence, &g->sequence));
    g->tokens = malloc((size_t)o->count * sizeof *g->tokens + 1);
    enum status status = g->tokens ? STATUS_OK : status_no_memory("tokens", o->count * 4);
    if (status == STATUS_OK && session_leads(s))
        status = open_output(g);
    return status_agree(s->dist.world.comm, status);
}

static enum status run(struct generation *g) {
    struct session *s = &g->session;
    struct sequence_options sequence;
    TRY(open_all(g, &sequence));
    TRY(read_prompt(g));
    TRY(generate_text(g));
    report_session(&g->report, s, &sequence.scheme, sequence.capacity);
    report_results(g);
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = g->seconds_reading,
                              .generating = g->seconds_generating,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = s->tokens.count,
                              .tokens_generated = g->count};
    TRY(report_write(&g->report, s, &timings));
    print_summary(g);
    return STATUS_OK;
}

enum status command_generate(const struct options *options) {
    struct generation g = {.options = options};
    enum status status = run(&g);
    decoder_close(&g.decoder);
    stream_close(&g.stream);
    json_decref(g.logprobs);
    free(g.tokens);
    sequence_close(&g.sequence);
    report_close(&g.report);
    session_close(&g.session);
    return status;
}
