#include "launch/pause.h"

#include <ctype.h>
#include <math.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds that a Slurm job keeps for its own end. */
#define JOB_MARGIN 30.0

static volatile sig_atomic_t signalled;

static void note_signal(int number) {
    (void)number;
    signalled = 1;
}

void pause_catch_signals(void) {
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool pause_signalled(void) {
    return signalled;
}

/* "2026-11-28T21:36:00" in local time; 0 for what is no time ("N/A", "Unknown"). */
static double time_of(const char *text) {
    struct tm broken = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &broken);
    return end && (*end == '\0' || isspace((unsigned char)*end)) ? (double)mktime(&broken) : 0;
}

static double job_end_of_squeue(const char *job) {
    char command[128], line[64] = "";
    if (!*job || strspn(job, "0123456789_") != strlen(job) || strlen(job) > 40)
        return 0;
    snprintf(command, sizeof command, "squeue --noheader --jobs=%s --format=%%e 2>/dev/null", job);
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return 0;
    if (!fgets(line, sizeof line, pipe))
        *line = '\0';
    pclose(pipe);
    return time_of(line);
}

static double job_end(void) {
    const char *end = getenv("SLURM_JOB_END_TIME"), *job = getenv("SLURM_JOB_ID");
    if (end && *end && strspn(end, "0123456789") == strlen(end))
        return strtod(end, NULL);
    return job ? job_end_of_squeue(job) : 0;
}

void pause_open(const struct options *options, double started, int64_t tokens, bool leads,
                struct pause *pause) {
    double now = MPI_Wtime();
    *pause = (struct pause){.commit_tokens = options->commit_tokens,
                            .commit_seconds = options->commit_seconds,
                            .stop_at = INFINITY,
                            .tokens_before = tokens,
                            .committed = now,
                            .last_step = now};
    if (options->stop_after >= 0)
        pause->stop_at = started + (double)options->stop_after;
    if (leads)
        pause->job_end = job_end();
}

/* The next chunk and a commit must be over before the job's end. */
static bool job_ends(const struct pause *p) {
    double left = p->job_end - (double)time(NULL);
    return p->job_end > 0 && left < 2 * p->longest_step + 2 * p->longest_commit + JOB_MARGIN;
}

/* Rank 0's. */
static enum pause_word decide(struct pause *p, int64_t tokens) {
    double now = MPI_Wtime();
    if (now - p->last_step > p->longest_step)
        p->longest_step = now - p->last_step;
    p->last_step = now;
    p->reason = signalled ? "signal" : now >= p->stop_at ? "time" : job_ends(p) ? "job end" : NULL;
    if (p->reason)
        return PAUSE_STOP;
    bool due = p->commit_tokens ? tokens - p->tokens_before >= p->commit_tokens
                                : now - p->committed >= p->commit_seconds;
    return due ? PAUSE_COMMIT : PAUSE_GO;
}

/* Rank 0 sends and goes on: the broadcast's tree leads from lower to higher ranks, and so from
 * earlier stages to later ones. */
enum pause_word pause_decide(struct pause *p, const struct dist *dist, int64_t tokens) {
    int word = PAUSE_GO;
    if (dist->world.rank == 0)
        word = (int)decide(p, tokens);
    MPI_Bcast(&word, 1, MPI_INT, 0, dist->world.comm);
    return (enum pause_word)word;
}

void pause_committed(struct pause *p, int64_t tokens, double started) {
    double now = MPI_Wtime();
    if (now - started > p->longest_commit)
        p->longest_commit = now - started;
    p->tokens_before = tokens;
    p->committed = now;
    p->last_step = now;
}
