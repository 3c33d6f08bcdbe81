/* quire passkey: whether a model finds a number that is hidden in its input, by length and depth,
 * with plain attention and with SelfExtend on the same prompts. */
#include "launch/command.h"

#include "dist/forward.h"
#include "dist/head.h"
#include "launch/comparison.h"
#include "launch/passkey_prompt.h"
#include "launch/reading.h"
#include "launch/report.h"
#include "launch/session.h"
#include "launch/table.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct passkey {
    const struct options *options;
    struct session session;
    struct report report;
    struct comparison comparison;
    struct number_list depths;    /* owned; ascending, each once */
    int64_t *right[METHOD_COUNT]; /* owned, [lengths][depths] keys found; NULL: left out */
    json_t *wrong;                /* owned, answers that were wrong; rank 0 with --json */
    struct progress progress;
    int64_t tokens_read, tokens_generated;
    double seconds_reading, seconds_generating;
};

/* The lengths of the paper's table, in multiples of the trained context. */
static enum status choose_cells(struct passkey *p) {
    int64_t lengths[5], context = p->session.shape.context;
    for (int i = 0; i < 5; i++)
        lengths[i] = context << i;
    TRY(comparison_open(p->options, lengths, 5, &p->comparison));
    TRY(number_list_sorted(p->options->depths.values, p->options->depths.count, &p->depths));
    int64_t cells = p->comparison.lengths.count * p->depths.count;
    for (enum method m = 0; m < METHOD_COUNT; m++) {
        if (!p->comparison.runs[m])
            continue;
        p->right[m] = calloc((size_t)cells, sizeof *p->right[m]);
        if (!p->right[m])
            return status_no_memory("cells", cells * (int64_t)sizeof *p->right[m]);
    }
    return STATUS_OK;
}

/* Rank 0 builds, all get the ids. passkey_prompt_free is the caller's, on failure too.
 * Collective(world). */
static enum status make_prompt(struct passkey *p, const struct passkey_trial *trial,
                               struct passkey_prompt *prompt) {
    MPI_Comm world = p->session.dist.world.comm;
    enum status status = STATUS_OK;
    memset(prompt, 0, sizeof *prompt);
    if (session_leads(&p->session)) {
        status = passkey_prompt_build(p->session.tokenizer, trial, prompt);
    } else {
        prompt->ids = malloc((size_t)trial->length * sizeof *prompt->ids);
        if (!prompt->ids)
            status = status_no_memory("prompt", trial->length * (int64_t)sizeof *prompt->ids);
    }
    TRY(status_agree(world, status));
    prompt->count = trial->length;
    MPI_Bcast(&prompt->answer, 1, MPI_INT64_T, 0, world);
    MPI_Bcast(prompt->ids, (int)prompt->count, MPI_INT32_T, 0, world);
    return STATUS_OK;
}

/* Refuses lengths that hold no key before the weights are read. Collective(world). */
static enum status check_lengths(struct passkey *p) {
    struct passkey_trial trial = {.seed = p->options->sample.seed,
                                  .length = p->comparison.lengths.values[0],
                                  .depth = p->depths.values[0]};
    enum status status = STATUS_OK;
    if (session_leads(&p->session))
        status = passkey_prompt_check(p->session.tokenizer, &trial);
    return status_agree(p->session.dist.world.comm, status);
}

/* Whether SelfExtend at this length is the plain attention that runs anyhow. */
static bool is_plain_too(const struct passkey *p, int64_t length) {
    struct sequence_options o = comparison_sequence(&p->session, METHOD_SELF_EXTEND, length);
    return p->comparison.runs[METHOD_PLAIN] && o.scheme.rule != ZONE_GROUPED;
}

static bool is_run(const struct passkey *p, enum method method, int64_t length) {
    return p->comparison.runs[method] && !(method == METHOD_SELF_EXTEND && is_plain_too(p, length));
}

static enum status load(struct passkey *p) {
    const struct number_list *lengths = &p->comparison.lengths;
    int64_t count = 0;
    struct sequence_options *all = malloc(METHOD_COUNT * (size_t)lengths->count * sizeof *all);
    enum status status = all ? STATUS_OK : status_no_memory("cells", 0);
    status = status_agree(p->session.dist.world.comm, status);
    for (int64_t i = 0; i < lengths->count && status == STATUS_OK; i++)
        for (enum method m = 0; m < METHOD_COUNT; m++)
            if (is_run(p, m, lengths->values[i]))
                all[count++] = comparison_sequence(&p->session, m, lengths->values[i]);
    if (status == STATUS_OK)
        status = session_load(&p->session, all, count);
    free(all);
    return status;
}

/* Greedy, as many tokens as the answer has, into answer. Collective(world). */
static enum status answer_prompt(struct sequence *sequence, int64_t count, int32_t *answer) {
    static const struct sample_options greedy = {.top_p = 1};
    sequence->model->dist->times.phase = TIME_GENERATING;
    for (int64_t i = 0; i < count; i++) {
        struct choice choice;
        if (i)
            forward_chunk(sequence, &answer[i - 1], 1);
        TRY(head_choose(sequence, &greedy, 0, &choice));
        answer[i] = choice.token;
    }
    return sequence_check(sequence);
}

/* The text of an answer; owned, NULL without memory. */
static char *answer_text(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count) {
    struct decoder *decoder = NULL;
    char *whole = NULL;
    size_t size = 0;
    const char *text;
    int64_t len;
    FILE *out = open_memstream(&whole, &size);
    enum status status = decoder_open(tokenizer, &decoder);
    for (int64_t i = 0; out && status == STATUS_OK && i <= count; i++) {
        status = i < count ? decoder_put(decoder, ids[i], &text, &len)
                           : decoder_end(decoder, &text, &len);
        if (status == STATUS_OK && len)
            fwrite(text, 1, (size_t)len, out);
    }
    decoder_close(&decoder);
    if (out)
        fclose(out);
    return whole;
}

/* Notes for the report what the model said instead of the key. */
static void note_wrong(struct passkey *p, enum method method, const struct passkey_trial *trial,
                       const struct passkey_prompt *prompt, const int32_t *answer) {
    if (!p->wrong)
        return;
    char *said = answer_text(p->session.tokenizer, answer, prompt->answer);
    json_array_append_new(
        p->wrong, json_pack("{s:I,s:I,s:I,s:s,s:s,s:o}", "length", (json_int_t)trial->length,
                            "depth", (json_int_t)trial->depth, "trial", (json_int_t)trial->number,
                            "method", method_name(method), "key", prompt->key, "answer",
                            said ? report_text(said, (int64_t)strlen(said)) : json_null()));
    free(said);
}

/* Reads the prompt, lets the model answer, compares. Collective(world). */
static enum status ask(struct passkey *p, struct sequence *sequence,
                       const struct passkey_prompt *prompt, int32_t *answer, bool *is_right) {
    int64_t asked = prompt->count - prompt->answer;
    double start = MPI_Wtime();
    sequence_reset(sequence);
    reading_run(sequence, prompt->ids, asked, &p->progress, p->tokens_read);
    TRY(sequence_check(sequence));
    double read = MPI_Wtime();
    TRY(answer_prompt(sequence, prompt->answer, answer));
    p->seconds_reading += read - start;
    p->seconds_generating += MPI_Wtime() - read;
    p->tokens_read += asked;
    p->tokens_generated += prompt->answer;
    *is_right = memcmp(answer, prompt->ids + asked, (size_t)prompt->answer * sizeof *answer) == 0;
    return STATUS_OK;
}

/* Collective(world). */
static enum status run_trial(struct passkey *p, struct sequence *sequence, enum method method,
                             const struct passkey_trial *trial, int64_t *right) {
    struct passkey_prompt prompt;
    int32_t *answer = NULL;
    bool is_right = false;
    enum status status = make_prompt(p, trial, &prompt);
    if (status == STATUS_OK) {
        answer = malloc((size_t)prompt.answer * sizeof *answer);
        status = status_agree(p->session.dist.world.comm,
                              answer ? STATUS_OK : status_no_memory("answer", prompt.answer));
    }
    if (status == STATUS_OK)
        status = ask(p, sequence, &prompt, answer, &is_right);
    if (status == STATUS_OK && !is_right)
        note_wrong(p, method, trial, &prompt, answer);
    *right += is_right;
    free(answer);
    passkey_prompt_free(&prompt);
    return status;
}

/* All depths and trials of a length by one method; right: [depths]. Collective(world). */
static enum status run_length(struct passkey *p, enum method method, int64_t length,
                              int64_t *right) {
    struct sequence_options options = comparison_sequence(&p->session, method, length);
    struct sequence sequence;
    enum status status = sequence_open(&p->session.model, &options, &sequence);
    for (int64_t d = 0; d < p->depths.count; d++)
        for (int64_t t = 0; t < p->options->trials && status == STATUS_OK; t++) {
            struct passkey_trial trial = {p->options->sample.seed, length, p->depths.values[d], t};
            status = run_trial(p, &sequence, method, &trial, &right[d]);
        }
    sequence_close(&sequence);
    return status;
}

static int64_t tokens_to_read(const struct passkey *p) {
    const struct number_list *lengths = &p->comparison.lengths;
    int64_t total = 0;
    for (int64_t i = 0; i < lengths->count; i++)
        for (enum method m = 0; m < METHOD_COUNT; m++)
            if (is_run(p, m, lengths->values[i]))
                total += lengths->values[i] * p->depths.count * p->options->trials;
    return total;
}

static enum status run_lengths(struct passkey *p) {
    const struct number_list *lengths = &p->comparison.lengths;
    int64_t depths = p->depths.count;
    enum status status = STATUS_OK;
    progress_open(&p->progress, session_leads(&p->session), "reading", tokens_to_read(p));
    for (int64_t i = 0; i < lengths->count; i++)
        for (enum method m = 0; m < METHOD_COUNT && status == STATUS_OK; m++) {
            if (is_run(p, m, lengths->values[i]))
                status = run_length(p, m, lengths->values[i], p->right[m] + i * depths);
            else if (p->comparison.runs[m])
                memcpy(p->right[m] + i * depths, p->right[METHOD_PLAIN] + i * depths,
                       (size_t)depths * sizeof **p->right);
        }
    progress_close(&p->progress);
    return status;
}

static void put_header(const struct passkey *p, struct table *table, enum method method) {
    table_put(table, "tokens");
    table_put(table, "context");
    if (method == METHOD_SELF_EXTEND) {
        table_put(table, "G");
        table_put(table, "w");
    }
    for (int64_t d = 0; d < p->depths.count; d++)
        table_put(table, "%" PRId64 "%%", p->depths.values[d]);
    table_put(table, "all");
}

static void put_row(const struct passkey *p, struct table *table, enum method method,
                    int64_t index) {
    int64_t length = p->comparison.lengths.values[index], depths = p->depths.count, sum = 0;
    table_put(table, "%" PRId64, length);
    table_put(table, "%.4gx", (double)length / (double)p->session.shape.context);
    if (method == METHOD_SELF_EXTEND) {
        struct sequence_options o = comparison_sequence(&p->session, method, length);
        comparison_put_cells(table, &o.scheme);
    }
    for (int64_t d = 0; d < depths; d++) {
        int64_t right = p->right[method][index * depths + d];
        table_put(table, "%.3g", 100.0 * (double)right / (double)p->options->trials);
        sum += right;
    }
    table_put(table, "%.1f", 100.0 * (double)sum / (double)(p->options->trials * depths));
}

static enum status print_table(const struct passkey *p, enum method method) {
    bool grouped = method == METHOD_SELF_EXTEND;
    struct table table;
    table_open(&table, 3 + p->depths.count + (grouped ? 2 : 0));
    put_header(p, &table, method);
    for (int64_t i = 0; i < p->comparison.lengths.count; i++)
        put_row(p, &table, method, i);
    printf("\n%s\n", grouped ? "SelfExtend" : "Plain attention");
    enum status status = table_print(&table);
    table_close(&table);
    return status;
}

static enum status print_tables(const struct passkey *p) {
    printf("Pass keys found, per cent of %" PRId64 " a cell, by the key's depth in the text; "
           "trained context %" PRId64 " tokens\n",
           p->options->trials, p->session.shape.context);
    for (enum method m = 0; m < METHOD_COUNT; m++)
        if (p->right[m])
            TRY(print_table(p, m));
    return STATUS_OK;
}

static json_t *cell_json(const struct passkey *p, int64_t index, int64_t depth) {
    int64_t length = p->comparison.lengths.values[index], trials = p->options->trials;
    struct sequence_options o = comparison_sequence(&p->session, METHOD_SELF_EXTEND, length);
    json_t *cell = json_object();
    json_object_set_new(cell, "length", json_integer(length));
    json_object_set_new(cell, "depth", json_integer(p->depths.values[depth]));
    json_object_set_new(cell, "trials", json_integer(trials));
    for (enum method m = 0; m < METHOD_COUNT; m++)
        if (p->right[m])
            json_object_set_new(
                cell, method_name(m),
                json_real((double)p->right[m][index * p->depths.count + depth] / (double)trials));
    comparison_put_scheme(cell, &o.scheme, p->session.shape.context);
    return cell;
}

static void report_results(struct passkey *p) {
    if (!report_wanted(&p->report))
        return;
    json_t *cells = json_array();
    for (int64_t i = 0; i < p->comparison.lengths.count; i++)
        for (int64_t d = 0; d < p->depths.count; d++)
            json_array_append_new(cells, cell_json(p, i, d));
    json_object_set_new(p->report.root, "cells", cells);
    json_object_set(p->report.root, "wrong_answers", p->wrong);
}

static enum status open_all(struct passkey *p) {
    struct session *s = &p->session;
    TRY(session_open(p->options, s));
    TRY(report_open(s, &p->report));
    if (report_wanted(&p->report))
        p->wrong = json_array();
    TRY(status_agree(s->dist.world.comm, choose_cells(p)));
    TRY(session_open_tokenizer(s, true));
    TRY(check_lengths(p));
    comparison_warn(s, &p->comparison);
    return load(p);
}

static enum status run(struct passkey *p) {
    struct session *s = &p->session;
    TRY(open_all(p));
    TRY(run_lengths(p));
    bool prints = session_leads(s) && !report_owns_stdout(&p->report);
    TRY(status_agree(s->dist.world.comm, prints ? print_tables(p) : STATUS_OK));
    int64_t longest = p->comparison.lengths.values[p->comparison.lengths.count - 1];
    struct sequence_options sequence = comparison_sequence(s, METHOD_SELF_EXTEND, longest);
    report_session(&p->report, s, &sequence.scheme, longest);
    report_results(p);
    struct timings timings = {.loading = s->seconds_loading,
                              .reading = p->seconds_reading,
                              .generating = p->seconds_generating,
                              .total = MPI_Wtime() - s->seconds_started,
                              .tokens_read = p->tokens_read,
                              .tokens_generated = p->tokens_generated};
    return report_write(&p->report, s, &timings);
}

enum status command_passkey(const struct options *options) {
    struct passkey p = {.options = options};
    enum status status = run(&p);
    for (enum method m = 0; m < METHOD_COUNT; m++)
        free(p.right[m]);
    free(p.depths.values);
    json_decref(p.wrong);
    comparison_close(&p.comparison);
    report_close(&p.report);
    session_close(&p.session);
    return status;
}
