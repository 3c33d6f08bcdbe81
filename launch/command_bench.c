/* quire bench: how fast the machine, the kernels and a model go, each held against the machine as
 * it is in the same run. */
#include "launch/bench_report.h"
#include "launch/command.h"
#include <stdlib.h>

/* Whether a part is measured: all unless some are named. */
static bool measures_runs(const struct options *o) {
    return (!o->only_machine && !o->only_kernels) || o->prefills.count || o->decode_depths.count;
}

static bool measures_kernels(const struct options *o) {
    return o->only_kernels || !o->only_machine;
}

/* All that the runs need fits before anything is measured; the weights come after the kernels. */
static enum status check_fit(struct bench *b) {
    size_t bytes = (size_t)b->runs.count * sizeof(struct sequence_options);
    struct sequence_options *sequences = malloc(bytes + 1);
    enum status status = sequences ? STATUS_OK : status_no_memory("runs", (long long)bytes);
    status = status_agree(b->session.dist.world.comm, status);
    for (int64_t i = 0; i < b->runs.count && status == STATUS_OK; i++)
        sequences[i] = b->runs.rows[i].sequence;
    if (status == STATUS_OK)
        status = session_load(&b->session, sequences, b->runs.count);
    free(sequences);
    return status;
}

static enum status measure(struct bench *b) {
    struct session *s = &b->session;
    const struct options *o = b->options;
    TRY(bench_speed_open(s, &b->speed));
    if (measures_runs(o)) {
        TRY(status_agree(s->dist.world.comm, bench_runs_plan(s, &b->runs)));
        TRY(check_fit(b));
    }
    TRY(bench_machine_run(s, &b->speed, &b->machine));
    if (measures_kernels(o))
        TRY(bench_kernels_run(s, &b->speed, &b->kernels));
    return bench_runs_run(s, &b->speed, &b->runs);
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
