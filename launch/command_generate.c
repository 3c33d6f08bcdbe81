/* quire generate: the continuation of a text, printed as it comes. */
#include "launch/command.h"

#include "dist/forward.h"
#include "dist/head.h"
#include "launch/answer.h"
#include "launch/conversation.h"
#include "launch/progress.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct generation {
    struct options options; /* with what a file to be resumed says */
    struct session session;
    struct report report;
    struct sequence sequence;
    struct conversation conversation; /* --save, --resume */
    struct answer answer;
    int64_t read; /* tokens, in this run */
    bool stopped; /* to be resumed */
    double seconds_reading, seconds_generating;
};

/* What is to be read: this turn's text, and in a conversation what was not read before. */
static const int32_t *unread(const struct generation *g, int64_t *count) {
    const struct conversation *c = &g->conversation;
    *count = g->session.tokens.count;
    if (!c->reading)
        return g->session.tokens.ids;
    *count = c->known - g->sequence.tokens;
    return c->ids + g->sequence.tokens;
}

static enum status read_prompt(struct generation *g) {
    struct session *s = &g->session;
    struct progress progress;
    int64_t count, chunk = g->sequence.options.chunk;
    const int32_t *ids = unread(g, &count);
    double start = MPI_Wtime();
    enum status status = STATUS_OK;
    s->dist.times.phase = TIME_READING;
    progress_open(&progress, session_leads(s), "reading", count);
    while (g->read < count && !g->stopped && status == STATUS_OK) {
        int64_t rest = count - g->read, T = rest < chunk ? rest : chunk;
        forward_chunk(&g->sequence, ids + g->read, T);
        g->read += T;
        status = conversation_step(&g->conversation, &g->stopped);
        progress_update(&progress, g->read);
    }
    if (status == STATUS_OK)
        status = sequence_check(&g->sequence);
    progress_close(&progress);
    g->seconds_reading = MPI_Wtime() - start;
    return status;
}

/* One token after the other; the last needs no forward pass, nothing follows it. */
static enum status generate(struct generation *g, struct progress *progress) {
    const struct options *o = &g->options;
    struct session *s = &g->session;
    struct answer *answer = &g->answer;
    int64_t logprobs = o->logprobs > 0 ? o->logprobs : 0;
    s->dist.times.phase = TIME_GENERATING;
    answer->ending = o->count ? ENDING_NONE : ENDING_LENGTH;
    while (answer->ending == ENDING_NONE && !g->stopped) {
        struct choice choice;
        int64_t before = answer->count;
        if (before)
            forward_chunk(&g->sequence, &answer->tokens[before - 1], 1);
        TRY(head_choose(&g->sequence, &o->sample, logprobs, &choice));
        enum status status = answer_put(s, &choice, answer);
        TRY(answer_agree(s, status, answer, 1));
        if (answer->count > before)
            conversation_put(&g->conversation, choice.token);
        if (answer->ending == ENDING_NONE)
            TRY(conversation_step(&g->conversation, &g->stopped));
        progress_update(progress, answer->count);
    }
    return conversation_commit(&g->conversation);
}

/* On a terminal the text itself shows how far it is. */
static enum status generate_text(struct generation *g) {
    struct session *s = &g->session;
    struct progress progress;
    bool shows_text = g->answer.stream.file && (isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO));
    double start = MPI_Wtime();
    progress_open(&progress, session_leads(s) && !shows_text, "generating", g->options.count);
    enum status status = generate(g, &progress);
    if (status == STATUS_OK) {
        if (session_leads(s))
            status = answer_end(&g->answer);
        status = status_agree(s->dist.world.comm, status);
    }
    progress_close(&progress);
    g->seconds_generating = MPI_Wtime() - start;
    return status;
}

static void print_summary(const struct generation *g) {
    static const char *const endings[] = {
        [ENDING_NONE] = "then stopped, to be resumed",
        [ENDING_LENGTH] = "as many as asked for",
        [ENDING_EOS] = "then end of text",
        [ENDING_STRING] = "then a stop text",
    };
    const struct session *s = &g->session;
    const struct reading *r = g->conversation.reading;
    if (!session_leads(s))
        return;
    fprintf(stderr,
            "%squire: %" PRId64 " tokens in %s (%s tokens/s), %s; %" PRId64 " tokens read in %s "
            "(%s tokens/s)\n",
            g->answer.stream.file ? "\n" : "", g->answer.count,
            units_seconds(g->seconds_generating).text,
            units_rate((double)g->answer.count / (g->seconds_generating + 1e-9)).text,
            endings[g->answer.ending], g->read, units_seconds(g->seconds_reading).text,
            units_rate((double)g->read / (g->seconds_reading + 1e-9)).text);
    if (r)
        fprintf(stderr,
                "quire: %s keeps %" PRId64 " tokens and has room for %" PRId64
                " more; go on with --resume\n",
                r->path, r->commit.known, r->header.capacity - r->commit.known);
}

static void report_results(struct generation *g) {
    json_t *root = g->report.root;
    const struct reading *r = g->conversation.reading;
    if (!report_wanted(&g->report))
        return;
    json_object_set_new(root, "prompt_tokens", json_integer(g->session.tokens.count));
    answer_report(&g->answer, root);
    if (r)
        json_object_set_new(root, "conversation",
                            json_pack("{s:o,s:I,s:I,s:b}", "file",
                                      report_text(r->path, (int64_t)strlen(r->path)), "tokens",
                                      (json_int_t)r->commit.known, "capacity",
                                      (json_int_t)r->header.capacity, "stopped", g->stopped));
}

/* A stop text is looked for in the text, which must be there and can hold it. */
static enum status check_stops(const struct generation *g) {
    const struct options *o = &g->options;
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

/* The sequence's options, and the file that a conversation is kept in: before weights are read. */
static enum status choose_sequence(struct generation *g, struct sequence_options *sequence) {
    struct session *s = &g->session;
    const struct options *o = &g->options;
    if (o->resume)
        return conversation_resume(s, sequence, &g->conversation);
    int64_t length = s->tokens.count + o->count + o->reserve;
    *sequence = session_sequence(s, false, length, length);
    return o->save ? conversation_create(s, sequence, &g->conversation) : STATUS_OK;
}

static enum status open_all(struct generation *g, struct sequence_options *sequence) {
    struct session *s = &g->session;
    const struct options *o = &g->options;
    bool has_text = o->text_count > 0 || o->tokens_file;
    if (o->resume)
        TRY(book_adopt(o->resume, &g->options));
    TRY(session_open(o, s));
    s->continues = o->resume != NULL;
    TRY(report_open(s, &g->report));
    TRY(session_open_tokenizer(s, o->text_count > 0));
    TRY(status_agree(s->dist.world.comm, check_stops(g)));
    if (has_text)
        TRY(session_read_input(s));
    TRY(choose_sequence(g, sequence));
    TRY(session_load(s, sequence, 1));
    session_warn_reach(s, &sequence->scheme, sequence->capacity);
    TRY(sequence_open(&s->model, sequence, &g->sequence));
    TRY(conversation_attach(&g->conversation, s, &g->sequence));
    const struct conversation *c = &g->conversation;
    bool silent = report_owns_stdout(&g->report);
    return status_agree(s->dist.world.comm,
                        answer_open(s, &g->report, silent ? NULL : stdout,
                                    c->reading ? c->ids : s->tokens.ids,
                                    c->reading ? c->known : s->tokens.count, &g->answer));
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
                              .tokens_read = g->read,
                              .tokens_generated = g->answer.count};
    TRY(report_write(&g->report, s, &timings));
    print_summary(g);
    return g->stopped ? STATUS_PAUSED : STATUS_OK;
}

enum status command_generate(const struct options *options) {
    struct generation g = {.options = *options};
    enum status status = run(&g);
    answer_close(&g.answer);
    conversation_close(&g.conversation);
    sequence_close(&g.sequence);
    report_close(&g.report);
    session_close(&g.session);
    return status;
}
