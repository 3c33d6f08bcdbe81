/* quire perplexity: how well a model predicts a text, at several lengths, with plain attention and
 * with SelfExtend side by side. */
#include "launch/command.h"

#include "launch/comparison.h"
#include "launch/loss_file.h"
#include "launch/reading.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/table.h"
#include "launch/units.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Losses at the end of a length that have a mean of their own: they show what the far context is
 * good for, while the mean of all has the short contexts of the beginning in it. */
#define LAST 256

/* What a method gave at a length; the means on rank 0 only. */
struct measure {
    int64_t pass;
    double mean, mean_last; /* nats */
    double tokens_per_s;    /* of the pass */
};

struct perplexity {
    const struct options *options;
    struct session session;
    struct report report;
    struct comparison comparison;
    struct loss_file *file; /* rank 0 only, with --nll */
    /* Readings of the text's beginning, as many tokens as their capacity; owned. The losses of a
     * shorter length are the beginning of a longer one's, so one pass serves all lengths under the
     * same scheme. */
    struct sequence_options *passes;
    int64_t pass_count;
    struct measure *measures[METHOD_COUNT]; /* owned, by length; NULL: the method is left out */
    int64_t tokens_read;
    double seconds_reading;
};

static int64_t longest_length(const struct perplexity *p) {
    return p->comparison.lengths.values[p->comparison.lengths.count - 1];
}

static enum status choose_lengths(struct perplexity *p) {
    int64_t tokens = p->session.tokens.count;
    TRY(comparison_open(p->options, &tokens, 1, &p->comparison));
    if (longest_length(p) > tokens)
        return status_usage(
            "--lengths", "found %" PRId64 ", expected at most %" PRId64 ", the tokens of the text",
            longest_length(p), tokens);
    return STATUS_OK;
}

static bool same_scheme(const struct scheme *a, const struct scheme *b) {
    return a->rule == b->rule && a->window == b->window && a->group == b->group;
}

/* The pass that reads `length` tokens by the method: one that has the scheme already, else a new
 * one. Lengths come in ascending order. */
static int64_t pass_for(struct perplexity *p, enum method method, int64_t length) {
    struct sequence_options o = comparison_sequence(&p->session, method, length);
    int64_t at = 0;
    while (at < p->pass_count && !same_scheme(&p->passes[at].scheme, &o.scheme))
        at++;
    if (at == p->pass_count)
        p->passes[p->pass_count++] = o;
    if (length > p->passes[at].capacity)
        p->passes[at] = o;
    return at;
}

static enum status plan_passes(struct perplexity *p) {
    const struct number_list *lengths = &p->comparison.lengths;
    size_t count = (size_t)lengths->count;
    p->passes = calloc(METHOD_COUNT * count, sizeof *p->passes);
    if (!p->passes)
        return status_no_memory("passes", (long long)(METHOD_COUNT * count * sizeof *p->passes));
    for (enum method m = 0; m < METHOD_COUNT; m++) {
        if (!p->comparison.runs[m])
            continue;
        p->measures[m] = calloc(count, sizeof *p->measures[m]);
        if (!p->measures[m])
            return status_no_memory("passes", (long long)(count * sizeof *p->measures[m]));
        for (int64_t i = 0; i < lengths->count; i++)
            p->measures[m][i].pass = pass_for(p, m, lengths->values[i]);
    }
    return STATUS_OK;
}

static enum status create_file(struct perplexity *p) {
    if (!p->options->nll || !session_leads(&p->session))
        return STATUS_OK;
    return loss_file_create(p->options->nll, p->options->model, &p->session.shape, &p->file);
}

static double mean_of(const float *losses, int64_t count) {
    double sum = 0;
    for (int64_t t = 0; t < count; t++)
        sum += losses[t];
    return sum / (double)count;
}

/* Rank 0: what the losses of a pass say about one method at one length. */
static enum status take_losses(struct perplexity *p, enum method method, int64_t index,
                               const float *losses, double tokens_per_s) {
    struct measure *measure = &p->measures[method][index];
    int64_t length = p->comparison.lengths.values[index], count = length - 1;
    int64_t last = count < LAST ? count : LAST;
    measure->mean = mean_of(losses, count);
    measure->mean_last = mean_of(losses + count - last, last);
    measure->tokens_per_s = tokens_per_s;
    if (!p->file)
        return STATUS_OK;
    return loss_file_put(p->file, method_name(method), length, &p->passes[measure->pass].scheme,
                         losses);
}

static enum status take_pass(struct perplexity *p, int64_t pass, const float *losses,
                             double tokens_per_s) {
    for (enum method m = 0; m < METHOD_COUNT; m++)
        for (int64_t i = 0; p->comparison.runs[m] && i < p->comparison.lengths.count; i++)
            if (p->measures[m][i].pass == pass)
                TRY(take_losses(p, m, i, losses, tokens_per_s));
    return STATUS_OK;
}

/* Collective(world). */
static enum status run_pass(struct perplexity *p, int64_t pass, struct progress *progress) {
    struct session *s = &p->session;
    struct sequence sequence;
    int64_t count = p->passes[pass].capacity;
    float *losses = NULL;
    enum status status = sequence_open(&s->model, &p->passes[pass], &sequence);
    double start = MPI_Wtime();
    if (status == STATUS_OK)
        status = reading_losses(&sequence, s->tokens.ids, count, progress, p->tokens_read, &losses);
    double seconds = MPI_Wtime() - start;
    sequence_close(&sequence);
    TRY(status);
    p->tokens_read += count;
    p->seconds_reading += seconds;
    if (session_leads(s))
        status = take_pass(p, pass, losses, (double)count / (seconds + 1e-9));
    free(losses);
    return status_agree(s->dist.world.comm, status);
}

static enum status run_passes(struct perplexity *p) {
    struct progress progress;
    int64_t total = 0;
    for (int64_t i = 0; i < p->pass_count; i++)
        total += p->passes[i].capacity;
    progress_open(&progress, session_leads(&p->session), "reading", total);
    enum status status = STATUS_OK;
    for (int64_t i = 0; i < p->pass_count && status == STATUS_OK; i++)
        status = run_pass(p, i, &progress);
    progress_close(&progress);
    return status;
}

static const struct scheme *scheme_of(const struct perplexity *p, const struct measure *measure) {
    return &p->passes[measure->pass].scheme;
}

static void put_perplexity(struct table *table, double mean) {
    double perplexity = exp(mean);
    table_put(table, perplexity < 1e6 ? "%.2f" : "%.3g", perplexity);
}

static void put_measure(struct table *table, const struct measure *measure) {
    put_perplexity(table, measure->mean);
    put_perplexity(table, measure->mean_last);
    table_put(table, "%s", units_rate(measure->tokens_per_s).text);
}

static void put_header(const struct perplexity *p, struct table *table) {
    static const char *const plain[] = {"plain", "last 256", "tokens/s"};
    static const char *const extended[] = {"G", "w", "SelfExtend", "last 256", "tokens/s"};
    table_put(table, "tokens");
    table_put(table, "context");
    for (int i = 0; p->comparison.runs[METHOD_PLAIN] && i < 3; i++)
        table_put(table, "%s", plain[i]);
    for (int i = 0; p->comparison.runs[METHOD_SELF_EXTEND] && i < 5; i++)
        table_put(table, "%s", extended[i]);
}

static enum status print_table(const struct perplexity *p) {
    const bool *runs = p->comparison.runs;
    const struct number_list *lengths = &p->comparison.lengths;
    struct table table;
    table_open(&table, 2 + (runs[METHOD_PLAIN] ? 3 : 0) + (runs[METHOD_SELF_EXTEND] ? 5 : 0));
    put_header(p, &table);
    for (int64_t i = 0; i < lengths->count; i++) {
        table_put(&table, "%" PRId64, lengths->values[i]);
        table_put(&table, "%.4gx", (double)lengths->values[i] / (double)p->session.shape.context);
        if (runs[METHOD_PLAIN])
            put_measure(&table, &p->measures[METHOD_PLAIN][i]);
        if (runs[METHOD_SELF_EXTEND]) {
            comparison_put_cells(&table, scheme_of(p, &p->measures[METHOD_SELF_EXTEND][i]));
            put_measure(&table, &p->measures[METHOD_SELF_EXTEND][i]);
        }
    }
    printf("Perplexity of the text's first tokens, and of the last %d of these; trained context "
           "%" PRId64 " tokens\n",
           LAST, p->session.shape.context);
    enum status status = table_print(&table);
    table_close(&table);
    return status;
}

/* JSON has no infinity. */
static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *measure_json(const struct perplexity *p, const struct measure *measure) {
    json_t *object = json_object();
    comparison_put_scheme(object, scheme_of(p, measure), p->session.shape.context);
    json_object_set_new(object, "nll_mean", json_real(measure->mean));
    json_object_set_new(object, "perplexity", real_or_null(exp(measure->mean)));
    json_object_set_new(object, "nll_mean_last_256", json_real(measure->mean_last));
    json_object_set_new(object, "perplexity_last_256", real_or_null(exp(measure->mean_last)));
    json_object_set_new(object, "tokens_per_s", json_real(measure->tokens_per_s));
    return object;
}

static void report_results(struct perplexity *p) {
    const struct number_list *lengths = &p->comparison.lengths;
    if (!report_wanted(&p->report))
        return;
    json_t *results = json_array();
    for (int64_t i = 0; i < lengths->count; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "length", json_integer(lengths->values[i]));
        for (enum method m = 0; m < METHOD_COUNT; m++)
            if (p->measures[m])
                json_object_set_new(row, method_name(m), measure_json(p, &p->measures[m][i]));
        json_array_append_new(results, row);
    }
    json_object_set_new(p->report.root, "tokens", json_integer(p->session.tokens.count));
    json_object_set_new(p->report.root, "results", results);
}

static enum status open_all(struct perplexity *p) {
    struct session *s = &p->session;
    TRY(session_open(p->options, s));
    TRY(report_open(s, &p->report));
    TRY(session_open_tokenizer(s, p->options->tokens_file == NULL));
    TRY(session_read_input(s));
    TRY(status_agree(s->dist.world.comm, choose_lengths(p)));
    TRY(status_agree(s->dist.world.comm, plan_passes(p)));
    TRY(status_agree(s->dist.world.comm, create_file(p)));
    TRY(session_load(s, p->passes, p->pass_count));
    comparison_warn(s, &p->comparison);
    return STATUS_OK;
}

/* Rank 0: the file's name, the table. */
static enum status publish(struct perplexity *p) {
    if (p->file)
        TRY(loss_file_finish(p->file));
    return report_owns_stdout(&p->report) ? STATUS_OK : print_table(p);
}

static enum status run(struct perplexity *p) {
    struct session *s = &p->session;
    TRY(open_all(p));
    TRY(run_passes(p));
    TRY(status_agree(s->dist.world.comm, session_leads(s) ? publish(p) : STATUS_OK));
    struct sequence_options sequence =
        comparison_sequence(s, METHOD_SELF_EXTEND, longest_length(p));
    report_session(&p->report, s, &sequence.scheme, longest_length(p));
    report_results(p);
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = p->seconds_reading,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = p->tokens_read};
    return report_write(&p->report, s, &timings);
}

enum status command_perplexity(const struct options *options) {
    struct perplexity p = {.options = options};
    enum status status = run(&p);
    loss_file_close(&p.file);
    for (enum method m = 0; m < METHOD_COUNT; m++)
        free(p.measures[m]);
    free(p.passes);
    comparison_close(&p.comparison);
    report_close(&p.report);
    session_close(&p.session);
    return status;
}
