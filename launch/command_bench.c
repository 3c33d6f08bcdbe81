/* quire bench: how fast the machine, the kernels and a model go, each held against the machine as
 * it is in the same run. */
#include "launch/bench_levels.h"
#include "launch/bench_report.h"
#include "launch/command.h"
#include "launch/fit.h"
#include <stdlib.h>

/* Whether a part is measured: all unless some are named. */
static bool measures_runs(const struct options *o) {
    return (!o->only_machine && !o->only_kernels) || o->prefills.count || o->decode_depths.count;
}

static bool measures_kernels(const struct options *o) {
    return o->only_kernels || !o->only_machine;
}

/* What the runs need, for the comparison with the memory that is free; owned by the caller. */
static enum status take_sequences(const struct bench *b, struct sequence_options **sequences) {
    size_t bytes = (size_t)b->runs.count * sizeof **sequences;
    *sequences = malloc(bytes + 1);
    if (!*sequences)
        return status_no_memory("runs", (long long)bytes);
    for (int64_t i = 0; i < b->runs.count; i++)
        (*sequences)[i] = b->runs.rows[i].sequence;
    return STATUS_OK;
}

static enum status measure_kernels(struct bench *b) {
    struct session *s = &b->session;
    bool within = bench_levels_within();
    TRY(bench_machine_run(s, &b->speed, &b->machine));
    if (!measures_kernels(b->options))
        return STATUS_OK;
    TRY(bench_kernels_run(s, &b->speed, within, &b->kernels));
    return bench_levels_run(s, &b->kernels);
}

/* What does not fit is refused before anything is measured; weights are there for the runs alone.
 */
static enum status measure_all(struct bench *b, const struct sequence_options *sequences) {
    struct session *s = &b->session;
    if (b->runs.count)
        TRY(fit_check(s, sequences, b->runs.count));
    TRY(measure_kernels(b));
    if (!b->runs.count)
        return STATUS_OK;
    TRY(session_load(s, sequences, b->runs.count));
    return bench_runs_run(s, &b->speed, &b->runs);
}

static enum status measure(struct bench *b) {
    struct session *s = &b->session;
    struct sequence_options *sequences = NULL;
    enum status status = STATUS_OK;
    TRY(bench_speed_open(s, &b->speed));
    if (measures_runs(b->options))
        status = bench_runs_plan(s, &b->runs);
    if (status == STATUS_OK)
        status = take_sequences(b, &sequences);
    status = status_agree(s->dist.world.comm, status);
    if (status == STATUS_OK)
        status = measure_all(b, sequences);
    free(sequences);
    return status;
}

static enum status run(struct bench *b) {
    struct session *s = &b->session;
    enum status status = STATUS_OK;
    TRY(session_open(b->options, s));
    TRY(report_open(s, &b->report));
    TRY(measure(b));
    bench_put_report(b);
    TRY(bench_write_report(b));
    if (session_leads(s) && !report_owns_stdout(&b->report))
        status = bench_print(b);
    return status_agree(s->dist.world.comm, status);
}

enum status command_bench(const struct options *options) {
    struct bench b = {.options = options};
    enum status status = run(&b);
    bench_runs_free(&b.runs);
    bench_kernels_free(&b.kernels);
    bench_machine_free(&b.machine);
    bench_speed_close(&b.speed);
    report_close(&b.report);
    session_close(&b.session);
    return status;
}
