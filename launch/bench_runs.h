/* Reading and generating with the whole model: each length and depth, by each method, in turns with
 * the machine's own speed. */
#ifndef QUIRE_LAUNCH_BENCH_RUNS_H
#define QUIRE_LAUNCH_BENCH_RUNS_H

#include "launch/bench_speed.h"

enum phase { PHASE_PREFILL, PHASE_DECODE };

struct bench_run {
    enum phase phase;
    enum method method;
    int64_t depth;  /* tokens in the cache before */
    int64_t tokens; /* read, or generated one by one */
    struct sequence_options sequence;
    double work; /* operations of reading, bytes of generating; all tokens */
    struct samples tokens_per_s;
    struct samples seconds;           /* in all, of the slowest rank */
    struct samples parts[TIME_PARTS]; /* of these, mean over the ranks */
    struct samples peak; /* of the machine: operations or bytes per second, as the work */
};

struct bench_runs {
    struct bench_run *rows; /* owned */
    int64_t count;
};

/* What the options ask for, with a sequence for each; nothing is measured. Local, the same on all
 * ranks. */
enum status bench_runs_plan(const struct session *session, struct bench_runs *runs);

/* Measures all, once in each of --runs rounds, with the weights loaded. Collective(world). */
enum status bench_runs_run(struct session *session, struct bench_speed *speed,
                           struct bench_runs *runs);
void bench_runs_free(struct bench_runs *runs);

/* Part of the machine's peak (reading) or bandwidth (generating), of the medians. */
double bench_run_of_peak(const struct bench_run *run);

#endif
