/* The node that a rank runs on: how many ranks share it, which CPUs they may use, how many threads
 * that makes for each. */
#ifndef QUIRE_LAUNCH_MACHINE_H
#define QUIRE_LAUNCH_MACHINE_H

#include "partition/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

struct machine {
    MPI_Comm node; /* owned; the ranks that share this node's memory */
    int64_t ranks_on_node;
    int64_t cpus_of_rank, cores_of_rank; /* in this rank's affinity mask */
    int64_t cpus_of_node, cores_of_node; /* in the union of the masks of the node's ranks */
    int64_t threads;                     /* for this rank */
    const char *threads_from;            /* "asked", "cores" or "slurm": what decided them */
    bool released;                       /* Open MPI's own binding gave way: restart.h */
    bool open;
};

/* Has each rank run on its own share of the node's cores where Open MPI bound it to one, unasked.
 * threads: as asked for, 0: one for each core of this rank's affinity mask, cores that several
 * ranks may use divided among them; no more than Slurm gave the task, and at least 1.
 * Collective(world). */
enum status machine_open(MPI_Comm world, int64_t threads, struct machine *machine);
/* Collective(node). Accepts one that was never opened (all zero). */
void machine_close(struct machine *machine);

/* The lowest rank whose threads are more than its cores, -1 when there is none; its cores in
 * *cores. Collective(world). */
int machine_crowded(MPI_Comm world, const struct machine *machine, int *cores);

#endif
