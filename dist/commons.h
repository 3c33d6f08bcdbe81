/* Memory that the ranks of a stage have in common, where all of them are on one node: an array that
 * each of them reads and writes, and of each rank a part that the others can read. A sum over the
 * ranks is then read where it is, without messages. Who writes what between two meetings is agreed
 * by its users (forward.c).
 */
#ifndef QUIRE_DIST_COMMONS_H
#define QUIRE_DIST_COMMONS_H

#include "dist/dist.h"

/* Bytes of a cache line, and floats rounded up to whole ones. */
#define COMMONS_LINE 64

static inline int64_t commons_lines(int64_t floats) {
    int64_t each = COMMONS_LINE / (int64_t)sizeof(float);
    return (floats + each - 1) / each * each;
}

struct commons {
    struct dist *dist; /* borrowed */
    MPI_Win window;    /* owned, if there are parts */
    float **parts;     /* owned [ranks], by rank of the stage; NULL: nothing is in common */
    float *shared;     /* the array of all, in rank 0's memory */
};

/* Takes memory for the array, `shared` floats, and for a part of `own` floats of each rank, both on
 * cache lines. Nothing is in common, on no rank, where a stage has one rank or is spread over
 * nodes, or where a node has no room: users have another way. Collective(world). */
void commons_open(struct dist *dist, int64_t shared, int64_t own, struct commons *commons);
/* Accepts one that was never opened (all zero). Collective(stage). */
void commons_close(struct commons *commons);

static inline bool commons_exist(const struct commons *commons) {
    return commons->parts != NULL;
}

/* Goes on when all ranks of the stage are here; what each wrote before, all see from then on. Does
 * nothing where nothing is in common. Collective(stage). */
void commons_meet(const struct commons *commons);

/* Elements [at, at + n) of the own part += those of the others, in rank order. Nobody else may use
 * them at the time. Local, behind a meeting. */
void commons_sum(const struct commons *commons, int64_t at, int64_t n);

#endif
