#include "launch/bench_runs.h"

#include "dist/fill.h"
#include "dist/forward.h"
#include "dist/head.h"
#include "launch/reading.h"
#include "partition/work.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Measured where nothing is asked for. */
static const int64_t standard_prefills[] = {512, 4096}, standard_depths[] = {0, 16384};

/* Tokens generated before the clock starts: the first after filling the cache finds nothing where
 * it will be later. */
#define WARM_TOKENS 1

/* SelfExtend by --group and --window; where both are automatic, w = L/4 and the G that the rule
 * gives for the length, at least 2, so that there are two zones where the length needs none. */
static struct scheme scheme_for(const struct session *s, enum method method, int64_t length) {
    struct scheme_request request = s->options->scheme;
    request.plain = method == METHOD_PLAIN;
    bool automatic = !request.group && !request.window;
    if (automatic)
        request.window = s->shape.context / 4 ? s->shape.context / 4 : 1;
    struct scheme scheme = scheme_choose(&s->shape, request, length);
    if (scheme.rule == ZONE_GROUPED && automatic && scheme.group < 2)
        scheme.group = 2;
    return scheme;
}

static struct bench_run run_plan(const struct session *s, enum phase phase, enum method method,
                                 int64_t length) {
    struct bench_run run = {.phase = phase, .method = method};
    run.depth = phase == PHASE_DECODE ? length : 0;
    run.tokens = phase == PHASE_DECODE ? s->options->decode_tokens : length;
    int64_t warm = phase == PHASE_DECODE ? WARM_TOKENS : 0, end = run.depth + warm + run.tokens;
    run.sequence = session_sequence(s, false, end, end);
    run.sequence.scheme = scheme_for(s, method, end);
    struct plan_request request = sequence_plan(&run.sequence, s->threads);
    run.work = phase == PHASE_PREFILL
                   ? work_prefill(&s->shape, &run.sequence.scheme, run.tokens)
                   : work_decode(&s->shape, &request, run.depth + warm, run.tokens);
    return run;
}

static void plan_lengths(const struct session *s, enum phase phase, const int64_t *lengths,
                         int64_t count, struct bench_runs *runs) {
    for (int64_t i = 0; i < count; i++)
        for (enum method m = 0; m < METHOD_COUNT; m++)
            if (s->options->methods & 1u << m)
                runs->rows[runs->count++] = run_plan(s, phase, m, lengths[i]);
}

enum status bench_runs_plan(const struct session *s, struct bench_runs *runs) {
    const struct options *o = s->options;
    bool standard = o->prefills.count == 0 && o->decode_depths.count == 0;
    int64_t prefills = standard ? 2 : o->prefills.count;
    int64_t depths = standard ? 2 : o->decode_depths.count;
    size_t most = (size_t)(prefills + depths) * METHOD_COUNT;
    memset(runs, 0, sizeof *runs);
    runs->rows = calloc(most, sizeof *runs->rows);
    if (!runs->rows)
        return status_no_memory("runs", (long long)(most * sizeof *runs->rows));
    plan_lengths(s, PHASE_PREFILL, standard ? standard_prefills : o->prefills.values, prefills,
                 runs);
    plan_lengths(s, PHASE_DECODE, standard ? standard_depths : o->decode_depths.values, depths,
                 runs);
    return STATUS_OK;
}

void bench_runs_free(struct bench_runs *runs) {
    for (int64_t i = 0; i < runs->count; i++) {
        samples_free(&runs->rows[i].tokens_per_s);
        samples_free(&runs->rows[i].seconds);
        for (enum time_part part = 0; part < TIME_PARTS; part++)
            samples_free(&runs->rows[i].parts[part]);
        samples_free(&runs->rows[i].peak);
    }
    free(runs->rows);
    memset(runs, 0, sizeof *runs);
}

/* The token that a text of no meaning has at a position. */
static int32_t token_at(const struct session *s, int64_t position) {
    return (int32_t)((position * 7919 + 11) % s->shape.vocab);
}

static const struct sample_options greedy = {.temperature = 0, .top_p = 1};

/* What the clock showed when a measurement began. */
struct started {
    double now;
    struct times times;
};

/* All ranks begin together. */
static void start(struct session *s, struct started *started) {
    MPI_Barrier(s->dist.world.comm);
    started->now = MPI_Wtime();
    started->times = s->dist.times;
}

/* From the first token read until the one that follows the last is known. */
static enum status prefill(struct session *s, struct sequence *sequence, int64_t tokens,
                           const int32_t *ids, struct started *started) {
    struct choice choice;
    int64_t first = tokens < sequence->options.chunk ? tokens : sequence->options.chunk;
    reading_run(sequence, ids, first, NULL, 0); /* warms buffers and libraries */
    TRY(sequence_check(sequence));
    sequence_reset(sequence);
    start(s, started);
    reading_run(sequence, ids, tokens, NULL, 0);
    return head_choose(sequence, &greedy, 0, &choice);
}

static enum status decode(struct session *s, struct sequence *sequence, int64_t depth,
                          int64_t tokens, struct started *started) {
    struct choice choice = {.token = token_at(s, depth)};
    sequence_fill(sequence, depth);
    s->dist.times.phase = TIME_GENERATING;
    for (int64_t t = 0; t < WARM_TOKENS + tokens; t++) {
        if (t == WARM_TOKENS)
            start(s, started);
        forward_chunk(sequence, &choice.token, 1);
        TRY(head_choose(sequence, &greedy, 0, &choice));
    }
    return STATUS_OK;
}

/* Seconds in each part since the start, mean over the ranks; those of the slowest rank in all.
 * Collective(world). */
static enum status keep(const struct session *s, const struct started *started,
                        struct bench_run *run) {
    MPI_Comm world = s->dist.world.comm;
    enum time_phase phase = run->phase == PHASE_DECODE ? TIME_GENERATING : TIME_READING;
    double seconds = MPI_Wtime() - started->now, parts[TIME_PARTS];
    for (enum time_part part = 0; part < TIME_PARTS; part++)
        parts[part] = s->dist.times.seconds[phase][part] - started->times.seconds[phase][part];
    MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, world);
    MPI_Allreduce(MPI_IN_PLACE, parts, TIME_PARTS, MPI_DOUBLE, MPI_SUM, world);
    for (enum time_part part = 0; part < TIME_PARTS; part++)
        TRY(samples_add(&run->parts[part], parts[part] / s->dist.world.size));
    TRY(samples_add(&run->seconds, seconds));
    return samples_add(&run->tokens_per_s, (double)run->tokens / seconds);
}

static enum status measure(struct session *s, struct bench_speed *speed, struct bench_run *run,
                           const int32_t *ids) {
    struct sequence sequence;
    struct started started = {0};
    double peak;
    bool decodes = run->phase == PHASE_DECODE;
    TRY(bench_speed_sample(speed, decodes ? SPEED_READ : bench_speed_of(s->compute), &peak));
    enum status status = samples_add(&run->peak, peak);
    TRY(status_agree(s->dist.world.comm, status));
    status = sequence_open(&s->model, &run->sequence, &sequence);
    if (status == STATUS_OK)
        status = decodes ? decode(s, &sequence, run->depth, run->tokens, &started)
                         : prefill(s, &sequence, run->tokens, ids, &started);
    if (status == STATUS_OK)
        status = status_agree(s->dist.world.comm, keep(s, &started, run));
    sequence_close(&sequence);
    return status;
}

/* On a terminal one line tells what is going on. */
static void show(const struct session *s, int64_t round, const struct bench_run *run) {
    if (!session_leads(s) || !isatty(STDERR_FILENO))
        return;
    if (run)
        fprintf(stderr, "\rquire: round %" PRId64 " of %" PRId64 ": %s %" PRId64 ", %s\033[K",
                round + 1, s->options->runs,
                run->phase == PHASE_DECODE ? "generating at depth" : "reading",
                run->phase == PHASE_DECODE ? run->depth : run->tokens, method_name(run->method));
    else
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

/* Ids for the longest text to be read; owned by the caller. */
static enum status make_ids(const struct session *s, const struct bench_runs *runs, int32_t **ids) {
    int64_t most = 1;
    for (int64_t i = 0; i < runs->count; i++)
        if (runs->rows[i].phase == PHASE_PREFILL && runs->rows[i].tokens > most)
            most = runs->rows[i].tokens;
    *ids = malloc((size_t)most * sizeof **ids);
    if (!*ids)
        return status_no_memory("token ids", most * (int64_t)sizeof **ids);
    for (int64_t i = 0; i < most; i++)
        (*ids)[i] = token_at(s, i);
    return STATUS_OK;
}

enum status bench_runs_run(struct session *s, struct bench_speed *speed, struct bench_runs *runs) {
    int32_t *ids = NULL;
    enum status status = status_agree(s->dist.world.comm, make_ids(s, runs, &ids));
    s->dist.times.apart = s->options->timing; /* its barriers cost time */
    for (int64_t round = 0; round < s->options->runs; round++)
        for (int64_t i = 0; i < runs->count && status == STATUS_OK; i++) {
            show(s, round, &runs->rows[i]);
            status = measure(s, speed, &runs->rows[i], ids);
        }
    show(s, 0, NULL);
    free(ids);
    return status;
}

double bench_run_of_peak(const struct bench_run *run) {
    double peak = samples_median(&run->peak), tokens = (double)run->tokens;
    return peak > 0 ? run->work / tokens * samples_median(&run->tokens_per_s) / peak : 0;
}
