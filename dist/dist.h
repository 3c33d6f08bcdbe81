/* The ranks of a run and how they stand to each other: one axis each for the world, a pipeline
 * stage, the sp group within it and the column of ranks across the stages. Also how ranks agree on
 * a failure before any of them leaves a phase. */
#ifndef QUIRE_DIST_DIST_H
#define QUIRE_DIST_DIST_H

#include "dist/times.h"
#include "partition/mesh.h"
#include "partition/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

/* This rank among those of an axis. The communicator is a duplicate that the dist object frees. */
struct axis {
    int rank, size;
    MPI_Comm comm;
};

struct dist {
    struct mesh mesh;
    struct mesh_place place;
    struct axis world; /* all N ranks, in the order of the parent communicator */
    struct axis stage; /* the R = tp * sp ranks that hold the same layers */
    struct axis sp;    /* the ranks that cache the same KV heads, tokens split */
    struct axis pp;    /* the ranks at the same place of every stage */
    bool spread;       /* the ranks of this stage are on several nodes */
    struct times times;
};

/* Makes the communicators for `mesh`, whose product is the size of `parent`. Collective(parent). */
enum status dist_open(MPI_Comm parent, struct mesh mesh, struct dist *dist);
/* Collective(world). Accepts a dist that was never opened (all zero). */
void dist_close(struct dist *dist);

/* Rank, within the world, of the first rank of the last stage: it decides tokens. */
int dist_decider(const struct dist *dist);

/* The worst of all ranks' statuses, with the message of the lowest rank that failed adopted
 * everywhere: every rank leaves a phase with the same verdict. Collective(comm). */
enum status status_agree(MPI_Comm comm, enum status local);

#endif
