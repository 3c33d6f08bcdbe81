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
    int64_t cpus_of_rank; /* in this rank's affinity mask */
    int64_t cpus_of_node; /* in the union of the masks of the node's ranks */
    int64_t threads;      /* for this rank */
    bool open;
};

/* threads: as asked for, 0: the CPUs of the node's ranks divided by these ranks, at least 1 and at
 * most the CPUs of this rank. Collective(world). */
enum status machine_open(MPI_Comm world, int64_t threads, struct machine *machine);
/* Collective(node). Accepts one that was never opened (all zero). */
void machine_close(struct machine *machine);

/* The lowest rank whose threads are more than its CPUs, -1 when there is none; its CPUs in *cpus.
 * Collective(world). */
int machine_crowded(MPI_Comm world, const struct machine *machine, int *cpus);

#endif
