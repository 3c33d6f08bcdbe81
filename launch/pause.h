/* When a long reading commits, and when it stops to be started again later: after so many tokens or
 * seconds, on SIGUSR1 or SIGTERM, before the end of a Slurm job. Rank 0 decides for all. */
#ifndef QUIRE_LAUNCH_PAUSE_H
#define QUIRE_LAUNCH_PAUSE_H

#include "dist/dist.h"
#include "launch/options.h"
#include <stdbool.h>

enum pause_word {
    PAUSE_GO,     /* read on */
    PAUSE_COMMIT, /* commit, then read on */
    PAUSE_STOP    /* commit, then stop */
};

struct pause {
    int64_t commit_tokens; /* 0: by seconds */
    double commit_seconds;
    double stop_at;                      /* MPI_Wtime; infinite: not asked for */
    double job_end;                      /* of the Slurm job, seconds since 1970; 0: none known */
    int64_t tokens_before;               /* at the last commit */
    double committed;                    /* MPI_Wtime of it */
    double last_step;                    /* MPI_Wtime of the last decision */
    double longest_step, longest_commit; /* seconds */
    const char *reason;                  /* why it stops: "signal", "time", "job end"; NULL */
};

/* From here on SIGUSR1 and SIGTERM are noted instead of ending the process. Before MPI_Init, so
 * that none comes too early. */
void pause_catch_signals(void);

/* Whether such a signal has come to this process. */
bool pause_signalled(void);

/* `tokens` are committed already; `started` is the MPI_Wtime that --stop-after counts from. Asks
 * for the end of the Slurm job that this is, if it is one: SLURM_JOB_END_TIME, else squeue. Local.
 */
void pause_open(const struct options *options, double started, int64_t tokens, bool leads,
                struct pause *pause);

/* What to do now that `tokens` are read; the same on all ranks, which need not be here at the same
 * time: stages of a pipeline go on. Collective(world), not synchronising. */
enum pause_word pause_decide(struct pause *pause, const struct dist *dist, int64_t tokens);

/* A commit at `tokens`, begun at `started` (MPI_Wtime), is done. */
void pause_committed(struct pause *pause, int64_t tokens, double started);

#endif
