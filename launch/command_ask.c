/* quire ask: questions about a text that was read before, answered together. */
#include "launch/command.h"

#include "dist/tails.h"
#include "launch/answer.h"
#include "launch/book.h"
#include "launch/progress.h"
#include "launch/questions.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/units.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct asking {
    struct options options; /* with what the file says */
    struct session session;
    struct report report;
    struct reading *reading;
    struct sequence_options request;
    struct sequence sequence;
    struct questions questions;
    struct tails tails;
    struct answer *answers; /* owned, [questions.count] */
    int64_t speaking;       /* rank 0: the question whose answer goes to stdout now */
    int32_t *pending;       /* owned: the reading's last tokens that were not read yet */
    int64_t pending_count;
    int64_t generated;
    double seconds_resuming, seconds_reading, seconds_generating, first_token;
    /* of one pass */
    struct tail_token *tokens;            /* owned, [chunk] */
    int64_t *rows, *row_of, *question_of; /* owned, [chunk] each */
    struct choice *choices;               /* owned, [chunk] */
};

static enum status check_complete(const struct asking *a) {
    const struct reading *r = a->reading;
    const char *path = a->options.book;
    if (r->commit.tokens == 0)
        return status_fail(
            path, "tokens",
            "found none that are committed, expected some; read on with quire ingest");
    if (!reading_is_complete(&r->header, &r->commit) && !a->options.partial)
        return status_fail(path, "tokens",
                           "found %" PRId64 " of %" PRId64
                           ", expected all of them; read on with quire ingest, or ask with "
                           "--partial",
                           r->commit.tokens, r->header.text_tokens);
    return STATUS_OK;
}

/* Tokens that a question's tail must hold: what is pending, the question, the answer. */
static int64_t tail_capacity(const struct asking *a, int64_t question) {
    return a->pending_count + a->questions.all[question].tokens.count + a->options.count;
}

/* A conversation's last token was not read yet. */
static enum status find_pending(struct asking *a) {
    const struct reading *r = a->reading;
    MPI_Comm world = a->session.dist.world.comm;
    int32_t *ids = NULL;
    enum status status = STATUS_OK;
    a->pending_count = r->commit.known - r->commit.tokens;
    a->pending = malloc((size_t)a->pending_count * sizeof *a->pending + 1);
    if (!a->pending)
        status = status_no_memory("token ids", a->pending_count * 4);
    if (session_leads(&a->session) && status == STATUS_OK)
        status = reading_ids(r, &ids, NULL);
    if (ids && status == STATUS_OK)
        memcpy(a->pending, ids + r->commit.tokens, (size_t)a->pending_count * sizeof *ids);
    free(ids);
    TRY(status_agree(world, status));
    MPI_Bcast(a->pending, (int)a->pending_count, MPI_INT32_T, 0, world);
    return STATUS_OK;
}

/* The tails are counted as if the sequence were so much longer. */
static enum status load(struct asking *a) {
    struct session *s = &a->session;
    struct sequence_options whole = a->request;
    int64_t longest = 0;
    for (int64_t i = 0; i < a->questions.count; i++) {
        whole.capacity += tail_capacity(a, i);
        longest = tail_capacity(a, i) > longest ? tail_capacity(a, i) : longest;
    }
    TRY(session_load(s, &whole, 1));
    session_warn_reach(s, &a->request.scheme, a->reading->commit.tokens + longest);
    TRY(sequence_open(&s->model, &a->request, &a->sequence));
    double start = MPI_Wtime();
    TRY(reading_attach(a->reading, &a->sequence));
    a->seconds_resuming = MPI_Wtime() - start;
    return STATUS_OK;
}

static enum status open_answers(struct asking *a) {
    const struct session *s = &a->session;
    int64_t count = a->questions.count, chunk = a->sequence.options.chunk;
    a->answers = calloc((size_t)count, sizeof *a->answers);
    a->tokens = calloc((size_t)chunk, sizeof *a->tokens);
    a->rows = calloc(3 * (size_t)chunk, sizeof *a->rows);
    a->choices = calloc((size_t)chunk, sizeof *a->choices);
    if (!a->answers || !a->tokens || !a->rows || !a->choices)
        return status_no_memory("answers", count * (int64_t)sizeof *a->answers);
    a->row_of = a->rows + chunk;
    a->question_of = a->row_of + chunk;
    bool silent = report_owns_stdout(&a->report);
    for (int64_t i = 0; i < count; i++)
        TRY(answer_open(s, &a->report, i == 0 && !silent ? stdout : NULL,
                        a->questions.all[i].tokens.ids, a->questions.all[i].tokens.count,
                        &a->answers[i]));
    return STATUS_OK;
}

static enum status open_tails(struct asking *a) {
    int64_t count = a->questions.count;
    int64_t *capacities = malloc((size_t)count * sizeof *capacities);
    enum status status = capacities ? STATUS_OK : status_no_memory("tails", count * 8);
    if (status == STATUS_OK)
        status = open_answers(a);
    status = status_agree(a->session.dist.world.comm, status);
    if (status == STATUS_OK) {
        for (int64_t i = 0; i < count; i++)
            capacities[i] = tail_capacity(a, i);
        status = tails_open(&a->sequence, capacities, count, &a->tails);
    }
    free(capacities);
    return status;
}

/* Rank 0: prints what may be printed, one answer after the other. */
static enum status speak(struct asking *a) {
    if (report_owns_stdout(&a->report))
        return STATUS_OK;
    for (; a->speaking < a->questions.count; a->speaking++) {
        struct answer *answer = &a->answers[a->speaking];
        answer->stream.file = stdout;
        if (answer->ending == ENDING_NONE)
            return stream_put(&answer->stream, "", 0);
        TRY(answer_end(answer));
        const char *text = answer->stream.text;
        int64_t len = answer->stream.len;
        bool ended = len && text[len - 1] == '\n';
        bool last = a->speaking + 1 == a->questions.count;
        if (fputs(ended ? "" : "\n", stdout) < 0 || fputs(last ? "" : "\n", stdout) < 0 ||
            fflush(stdout) != 0)
            return status_fail("standard output", NULL,
                               "found no room for the answers, expected it; write them elsewhere");
    }
    return STATUS_OK;
}

/* Chooses behind the pass's tokens [count] that are marked as a question's last so far, row_of[i]
 * the row of the i-th and question_of[i] its question. */
static enum status choose(struct asking *a, int64_t count) {
    struct session *s = &a->session;
    int64_t logprobs = a->options.logprobs > 0 ? a->options.logprobs : 0;
    for (int64_t i = 1; i < count; i++) /* rows ascend, as the head wants them */
        for (int64_t j = i; j > 0 && a->row_of[j] < a->row_of[j - 1]; j--) {
            int64_t row = a->row_of[j], question = a->question_of[j];
            a->row_of[j] = a->row_of[j - 1];
            a->question_of[j] = a->question_of[j - 1];
            a->row_of[j - 1] = row;
            a->question_of[j - 1] = question;
        }
    TRY(tails_choose(&a->tails, a->row_of, a->question_of, count, &a->options.sample, logprobs,
                     a->choices));
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < count && status == STATUS_OK; i++) {
        struct answer *answer = &a->answers[a->question_of[i]];
        int64_t before = answer->count;
        status = answer_put(s, &a->choices[i], answer);
        a->generated += answer->count - before;
    }
    if (status == STATUS_OK && session_leads(s))
        status = speak(a);
    return answer_agree(s, status, a->answers, a->questions.count);
}

/* The n-th token of a question's tail. */
static int32_t question_token(const struct asking *a, int64_t question, int64_t n) {
    if (n < a->pending_count)
        return a->pending[n];
    return a->questions.all[question].tokens.ids[n - a->pending_count];
}

/* Reads all questions, as many tokens in a pass as fit a chunk. */
static enum status read_questions(struct asking *a) {
    int64_t chunk = a->sequence.options.chunk, question = 0, done = 0;
    while (question < a->questions.count) {
        int64_t count = 0, ends = 0, end_at[chunk];
        for (; count < chunk && question < a->questions.count; count++) {
            int64_t length = tail_capacity(a, question) - a->options.count;
            a->tokens[count] = (struct tail_token){question, question_token(a, question, done)};
            if (++done < length)
                continue;
            end_at[ends] = count;
            a->question_of[ends++] = question++;
            done = 0;
        }
        tails_forward(&a->tails, a->tokens, count, a->rows);
        for (int64_t i = 0; i < ends; i++)
            a->row_of[i] = a->rows[end_at[i]];
        if (ends && a->options.count)
            TRY(choose(a, ends));
    }
    return sequence_check(&a->sequence);
}

/* One more token of each answer that has not ended, beginning with answer *next; false when there
 * is none. */
static bool next_tokens(struct asking *a, int64_t *next, int64_t *count) {
    int64_t chunk = a->sequence.options.chunk;
    for (*count = 0; *count < chunk && *next < a->questions.count; ++*next) {
        const struct answer *answer = &a->answers[*next];
        if (answer->ending != ENDING_NONE)
            continue;
        a->tokens[*count] = (struct tail_token){*next, answer->tokens[answer->count - 1]};
        a->question_of[(*count)++] = *next;
    }
    return *count > 0;
}

static enum status generate(struct asking *a, struct progress *progress) {
    a->session.dist.times.phase = TIME_GENERATING;
    for (bool any = true; any;) {
        any = false;
        for (int64_t next = 0, count; next_tokens(a, &next, &count); any = true) {
            tails_forward(&a->tails, a->tokens, count, a->rows);
            memcpy(a->row_of, a->rows, (size_t)count * sizeof *a->rows);
            TRY(choose(a, count));
        }
        progress_update(progress, a->generated);
    }
    return STATUS_OK;
}

static enum status answer_all(struct asking *a) {
    struct session *s = &a->session;
    struct progress progress;
    double start = MPI_Wtime();
    for (int64_t i = 0; i < a->questions.count && a->options.count == 0; i++)
        a->answers[i].ending = ENDING_LENGTH;
    TRY(read_questions(a));
    a->first_token = MPI_Wtime() - s->seconds_started;
    a->seconds_reading = MPI_Wtime() - start;
    start = MPI_Wtime();
    progress_open(&progress, session_leads(s), "answering", a->questions.count * a->options.count);
    enum status status = generate(a, &progress);
    progress_close(&progress);
    if (status == STATUS_OK && session_leads(s))
        status = speak(a);
    a->seconds_generating = MPI_Wtime() - start;
    return status_agree(s->dist.world.comm, status);
}

static json_t *answer_object(const struct asking *a, int64_t i) {
    const struct question *question = &a->questions.all[i];
    json_t *object = json_object(), *ids = json_array();
    for (int64_t n = 0; n < question->tokens.count; n++)
        json_array_append_new(ids, json_integer(question->tokens.ids[n]));
    json_object_set_new(object, "question",
                        report_text(question->text, (int64_t)strlen(question->text)));
    json_object_set_new(object, "question_tokens", ids);
    json_object_set_new(object, "prompt_tokens", json_integer(question->tokens.count));
    answer_report(&a->answers[i], object);
    return object;
}

static enum status write_report(struct asking *a) {
    struct session *s = &a->session;
    int64_t read = 0;
    for (int64_t i = 0; i < a->questions.count; i++)
        read += a->questions.all[i].tokens.count;
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = a->seconds_reading,
                              .generating = a->seconds_generating,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = read,
                              .tokens_generated = a->generated};
    report_session(&a->report, s, &a->request.scheme, a->request.capacity);
    if (report_wanted(&a->report)) {
        json_t *answers = json_array(), *root = a->report.root;
        for (int64_t i = 0; i < a->questions.count; i++)
            json_array_append_new(answers, answer_object(a, i));
        json_object_set_new(root, "book_tokens", json_integer(a->reading->commit.tokens));
        json_object_set_new(
            root, "complete",
            json_boolean(reading_is_complete(&a->reading->header, &a->reading->commit)));
        json_object_set_new(root, "answers", answers);
        json_object_set_new(root, "resuming_s", json_real(a->seconds_resuming));
        json_object_set_new(root, "first_token_s", json_real(a->first_token));
    }
    return report_write(&a->report, s, &timings);
}

static void print_summary(const struct asking *a) {
    const struct session *s = &a->session;
    if (!session_leads(s))
        return;
    fprintf(stderr,
            "quire: %" PRId64 " answer%s, %" PRId64
            " tokens in %s (%s tokens/s); the reading of %" PRId64 " tokens opened in %s\n",
            a->questions.count, a->questions.count == 1 ? "" : "s", a->generated,
            units_seconds(a->seconds_generating).text,
            units_rate((double)a->generated / (a->seconds_generating + 1e-9)).text,
            a->reading->commit.tokens, units_seconds(a->seconds_resuming).text);
}

static enum status ask(struct asking *a) {
    struct session *s = &a->session;
    TRY(book_adopt(a->options.book, &a->options));
    TRY(session_open(&a->options, s));
    TRY(report_open(s, &a->report));
    TRY(session_open_tokenizer(s, true));
    TRY(questions_read(s, &a->questions));
    TRY(reading_open(&s->dist, a->options.book, NULL, false, false, &a->reading));
    TRY(check_complete(a));
    TRY(book_check(s, a->reading, &a->request));
    TRY(find_pending(a));
    TRY(load(a));
    TRY(open_tails(a));
    TRY(answer_all(a));
    TRY(write_report(a));
    print_summary(a);
    return STATUS_OK;
}

enum status command_ask(const struct options *options) {
    struct asking a = {.options = *options};
    enum status status = ask(&a);
    for (int64_t i = 0; a.answers && i < a.questions.count; i++)
        answer_close(&a.answers[i]);
    free(a.answers);
    free(a.pending);
    free(a.tokens);
    free(a.rows);
    free(a.choices);
    tails_close(&a.tails);
    reading_close(&a.reading);
    sequence_close(&a.sequence);
    questions_close(&a.questions);
    report_close(&a.report);
    session_close(&a.session);
    return status;
}
