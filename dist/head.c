#include "dist/head.h"

#include "dist/apply.h"
#include "kernels/elementwise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Logits of hidden states [rows, D] for the own vocabulary rows: work.logits [rows, v], rows <=
 * HEAD_ROWS. Their norm goes to the front of work.partial, the one array of [T, D] that is this
 * rank's alone; the states may stand in it as well. */
static void logits_of(struct sequence *s, const float *hidden, int64_t rows) {
    const struct model *m = s->model;
    int64_t D = m->shape.hidden, v = m->share.vocab.count;
    enum time_part before = times_enter(&m->dist->times, TIME_HEAD);
    norm_apply(&m->shape, &m->final_norm, hidden, rows, s->work.partial);
    struct gemm_input normed = gemm_prepare(&s->work.products, rows, D, s->work.partial);
    gemm_xwt(&normed, &m->head.weight, s->work.logits);
    if (m->head.bias)
        add_to_rows(s->work.logits, m->head.bias, rows, v);
    if (!all_finite(s->work.logits, rows * v))
        sequence_mark_fault(s, step_logits(&m->shape));
    if (m->shape.logits_multiplier != 0)
        scale_by(s->work.logits, (float)m->shape.logits_multiplier, rows * v);
    if (m->shape.logit_cap != 0)
        soft_cap(s->work.logits, (float)m->shape.logit_cap, rows * v);
    times_enter(&m->dist->times, before);
}

void head_probe(struct sequence *s) {
    const struct model *m = s->model;
    if (!s->probe || !m->share.predicts)
        return;
    for (int64_t first = 0; first < s->chunk_rows; first += HEAD_ROWS) {
        int64_t rest = s->chunk_rows - first, rows = rest < HEAD_ROWS ? rest : HEAD_ROWS;
        logits_of(s, s->work.hidden + first * m->shape.hidden, rows);
        struct site_part p = {.site = SITE_LOGITS,
                              .layer = m->shape.layers,
                              .tokens = {s->tokens - s->chunk_rows + first, rows},
                              .columns = m->share.vocab,
                              .data = s->work.logits};
        s->probe->put(s->probe->context, &p);
    }
}

/* Every rank's `bytes` to the first of the stage, `all` there. Collective(stage). */
static void stage_gather(struct dist *dist, const void *own, int bytes, void *all) {
    times_wait(&dist->times, dist->stage.comm);
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Gather(own, bytes, MPI_BYTE, all, bytes, MPI_BYTE, 0, dist->stage.comm);
    times_enter(&dist->times, before);
}

/* One rank's part of a row's loss; the target's logit comes from the rank that holds it. */
struct loss_part {
    struct log_sum sum;
    double target; /* 0 where the target lies elsewhere */
};

static void loss_parts(const struct sequence *s, const int32_t *targets, int64_t rows,
                       struct loss_part *parts) {
    struct range own = s->model->share.vocab;
#pragma omp parallel for
    for (int64_t t = 0; t < rows; t++) {
        const float *row = s->work.logits + t * own.count;
        parts[t].sum = log_sum_of(row, own.count, 1.0);
        parts[t].target = range_has(own, targets[t]) ? row[targets[t] - own.first] : 0.0;
    }
}

static void merge_losses(const struct loss_part *all, int64_t ranks, int64_t rows, float *losses) {
    for (int64_t t = 0; t < rows; t++) {
        struct log_sum sum = all[t].sum;
        double target = all[t].target;
        for (int64_t r = 1; r < ranks; r++) {
            sum = log_sum_merge(sum, all[r * rows + t].sum, 1.0);
            target += all[r * rows + t].target;
        }
        losses[t] = (float)(log_sum_value(sum, 1.0) - target);
    }
}

void head_losses(struct sequence *s, const int32_t *targets, int64_t rows, float *losses) {
    struct dist *dist = s->model->dist;
    if (!s->model->share.predicts)
        return;
    enum time_part before = times_enter(&dist->times, TIME_HEAD);
    struct loss_part mine[HEAD_ROWS];
    struct loss_part *all = NULL;
    if (dist->stage.rank == 0)
        all = malloc((size_t)dist->stage.size * sizeof mine);
    if (dist->stage.rank == 0 && !all)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    for (int64_t first = 0; first < rows; first += HEAD_ROWS) {
        int64_t n = rows - first < HEAD_ROWS ? rows - first : HEAD_ROWS;
        int bytes = (int)(n * (int64_t)sizeof *mine);
        logits_of(s, s->work.hidden + first * s->model->shape.hidden, n);
        loss_parts(s, targets + first, n, mine);
        stage_gather(dist, mine, bytes, all);
        if (all)
            merge_losses(all, dist->stage.size, n, losses + first);
    }
    free(all);
    times_enter(&dist->times, before);
}

/* What every rank of the last stage tells the decider about its vocabulary rows. */
struct shard_report {
    struct log_sum plain;   /* scale 1 */
    struct log_sum scaled;  /* scale 1/temperature */
    struct candidate noisy; /* best with Gumbel noise, unrestricted sampling only */
    double noisy_value;
    int64_t rows;
    int64_t fault; /* fault_step after the logits */
};

/* The decision's arguments and the decider's collected state; one per head_choose. */
struct decision {
    struct sequence *s;
    const float *logits; /* [v] of the row, own vocabulary */
    int64_t position;    /* of the token that is chosen */
    const struct sample_options *options;
    bool unrestricted;            /* a sample without top-k and top-p */
    struct shard_report *reports; /* [R], decider only */
    struct candidate *merged;     /* decider only */
    int64_t merged_count;
};

static double inverse_temperature(const struct sample_options *o) {
    return o->temperature > 0 ? 1.0 / o->temperature : 1.0;
}

static struct shard_report report_shard(const struct decision *d) {
    const struct sequence *s = d->s;
    struct range own = s->model->share.vocab;
    struct shard_report r = {.rows = own.count, .fault = s->fault_step, .noisy_value = -INFINITY};
    r.plain = log_sum_of(d->logits, own.count, 1.0);
    r.scaled = r.plain;
    if (inverse_temperature(d->options) != 1)
        r.scaled = log_sum_of(d->logits, own.count, inverse_temperature(d->options));
    if (d->unrestricted && own.count) {
        r.noisy.id = sample_perturbed(d->logits, own.count, (int32_t)own.first, d->options,
                                      d->position, &r.noisy_value);
        r.noisy.logit = d->logits[r.noisy.id - own.first];
    }
    return r;
}

/* Collects the `want` best candidates of the whole vocabulary at the decider, sorted: each rank
 * sends its own best, so the first `want` of all are certain. Collective(stage). */
static void gather_candidates(struct decision *d, int64_t want) {
    const struct sequence *s = d->s;
    struct dist *dist = s->model->dist;
    struct range own = s->model->share.vocab;
    int size = dist->stage.size;
    int64_t most = own.count < want ? own.count : want;
    struct candidate *mine = malloc((size_t)(most + 1) * sizeof *mine);
    int *counts = calloc(2 * (size_t)size, sizeof *counts);
    if (!mine || !counts)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    most = candidates_top(d->logits, own.count, (int32_t)own.first, want, mine);
    int total = 0;
    for (int r = 0; r < size; r++) {
        int64_t rows = range_part(s->model->shape.vocab, size, r).count;
        counts[r] = (int)((rows < want ? rows : want) * (int64_t)sizeof *mine);
        counts[size + r] = total;
        total += counts[r];
    }
    if (dist->stage.rank == 0) {
        free(d->merged);
        d->merged = malloc((size_t)total + 1);
        if (!d->merged)
            MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    }
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Gatherv(mine, (int)(most * (int64_t)sizeof *mine), MPI_BYTE, d->merged, counts,
                counts + size, MPI_BYTE, 0, dist->stage.comm);
    times_enter(&dist->times, before);
    if (dist->stage.rank == 0) {
        int64_t n = total / (int64_t)sizeof *mine;
        candidates_sort(d->merged, n);
        d->merged_count = n < want ? n : want;
    }
    free(mine);
    free(counts);
}

static struct log_sum merged_sum(const struct decision *d, bool scaled) {
    double scale = scaled ? inverse_temperature(d->options) : 1.0;
    struct log_sum sum = {-INFINITY, 0.0};
    for (int r = 0; r < d->s->model->dist->stage.size; r++) {
        const struct shard_report *report = &d->reports[r];
        sum = log_sum_merge(sum, scaled ? report->scaled : report->plain, scale);
    }
    return sum;
}

static struct candidate best_noisy(const struct decision *d) {
    const struct shard_report *best = &d->reports[0];
    for (int r = 1; r < d->s->model->dist->stage.size; r++)
        if (d->reports[r].noisy_value > best->noisy_value) /* ties stay with the lower id */
            best = &d->reports[r];
    return best->noisy;
}

/* The decider's part: the token from what was collected, or need_more candidates. */
static void decide(const struct decision *d, int64_t logprobs, struct choice *choice,
                   bool *need_more) {
    double total = log_sum_value(merged_sum(d, false), 1.0);
    struct candidate chosen;
    if (d->unrestricted) {
        *need_more = false;
        chosen = best_noisy(d);
    } else {
        int64_t at = sample_choose(d->merged, d->merged_count, d->s->model->shape.vocab,
                                   merged_sum(d, true), d->options, d->position, need_more);
        if (*need_more)
            return;
        chosen = d->merged[at];
    }
    choice->token = chosen.id;
    choice->logprob = (float)(chosen.logit - total);
    choice->top_count = (int32_t)(logprobs < d->merged_count ? logprobs : d->merged_count);
    for (int32_t i = 0; i < choice->top_count; i++) {
        choice->top[i].id = d->merged[i].id;
        choice->top[i].logprob = (float)(d->merged[i].logit - total);
    }
}

static bool any_fault(const struct decision *d) {
    int64_t last = step_logits(&d->s->model->shape);
    for (int r = 0; r < d->s->model->dist->stage.size; r++)
        if (d->reports[r].fault <= last)
            return true;
    return false;
}

/* The last stage decides together; afterwards the decider's choice is filled, its token -1 where a
 * value is not finite. Collective(stage). */
static void stage_choose(struct decision *d, int64_t logprobs, struct choice *choice) {
    struct dist *dist = d->s->model->dist;
    int64_t vocab = d->s->model->shape.vocab;
    int64_t want = d->options->temperature > 0 && d->options->top_k ? d->options->top_k
                   : d->options->temperature > 0                    ? 64
                                                                    : 1;
    if (d->unrestricted)
        want = 1;
    if (want < logprobs)
        want = logprobs;
    bool decider = dist->stage.rank == 0;
    struct shard_report mine = report_shard(d);
    stage_gather(dist, &mine, sizeof mine, d->reports);
    for (int more = 1; more;) {
        if (want > vocab)
            want = vocab;
        gather_candidates(d, want);
        more = 0;
        if (decider && any_fault(d)) {
            choice->token = -1;
        } else if (decider) {
            bool need_more;
            decide(d, logprobs, choice, &need_more);
            more = need_more;
        }
        enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
        MPI_Bcast(&more, 1, MPI_INT, 0, dist->stage.comm);
        times_enter(&dist->times, before);
        want *= 4;
    }
}

/* The rows' hidden states side by side, in work.partial; those of a single row are where they are.
 */
static const float *collect_rows(struct sequence *s, const int64_t *rows, int64_t count) {
    int64_t D = s->model->shape.hidden;
    if (count == 1)
        return s->work.hidden + rows[0] * D;
    for (int64_t i = 0; i < count; i++)
        memcpy(s->work.partial + i * D, s->work.hidden + rows[i] * D,
               (size_t)D * sizeof *s->work.partial);
    return s->work.partial;
}

/* The last stage's part. */
static void choose_rows(struct sequence *s, const int64_t *rows, const int64_t *positions,
                        int64_t count, const struct sample_options *options, int64_t logprobs,
                        struct choice *choices) {
    struct dist *dist = s->model->dist;
    const float *hidden = collect_rows(s, rows, count);
    struct decision d = {.s = s,
                         .options = options,
                         .unrestricted =
                             options->temperature > 0 && !options->top_k && options->top_p >= 1};
    if (dist->stage.rank == 0) {
        d.reports = malloc((size_t)dist->stage.size * sizeof *d.reports);
        if (!d.reports)
            MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t in_block = i % HEAD_ROWS, rest = count - i;
        if (in_block == 0)
            logits_of(s, hidden + i * s->model->shape.hidden, rest < HEAD_ROWS ? rest : HEAD_ROWS);
        d.logits = s->work.logits + in_block * s->model->share.vocab.count;
        d.position = positions[i];
        stage_choose(&d, logprobs, &choices[i]);
    }
    free(d.reports);
    free(d.merged);
}

enum status head_choose_rows(struct sequence *s, const int64_t *rows, const int64_t *positions,
                             int64_t count, const struct sample_options *options, int64_t logprobs,
                             struct choice *choices) {
    struct dist *dist = s->model->dist;
    enum time_part before = times_enter(&dist->times, TIME_HEAD);
    memset(choices, 0, (size_t)count * sizeof *choices);
    if (s->model->share.predicts)
        choose_rows(s, rows, positions, count, options, logprobs, choices);
    /* Stages before the last have nothing to do until it has decided. */
    times_enter(&dist->times, s->model->share.predicts ? TIME_COMMUNICATION : TIME_WAITING);
    MPI_Bcast(choices, (int)((size_t)count * sizeof *choices), MPI_BYTE, dist_decider(dist),
              dist->world.comm);
    times_enter(&dist->times, before);
    for (int64_t i = 0; i < count; i++)
        if (choices[i].token < 0)
            return sequence_check(s);
    return STATUS_OK;
}

enum status head_choose(struct sequence *s, const struct sample_options *options, int64_t logprobs,
                        struct choice *choice) {
    int64_t row = s->chunk_rows - 1, position = s->tokens;
    return head_choose_rows(s, &row, &position, 1, options, logprobs, choice);
}
