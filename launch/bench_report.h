/* What bench measured, as tables and as a report. */
#ifndef QUIRE_LAUNCH_BENCH_REPORT_H
#define QUIRE_LAUNCH_BENCH_REPORT_H

#include "launch/bench_kernels.h"
#include "launch/bench_machine.h"
#include "launch/bench_runs.h"
#include "launch/report.h"

struct bench {
    const struct options *options;
    struct session session;
    struct report report;
    struct bench_speed speed;
    struct bench_machine machine;
    struct bench_kernels kernels;
    struct bench_runs runs;
};

/* Puts "asked", "understood", "machine", "kernels" and "runs". Local. */
void bench_put_report(struct bench *bench);

/* Puts "timings" and writes the report. Collective(world). */
enum status bench_write_report(struct bench *bench);

/* Prints the tables on standard output. Local. */
enum status bench_print(const struct bench *bench);

#endif
