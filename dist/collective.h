/* What the ranks of an sp group and of neighbouring stages send each other in the forward pass (the
 * sums over a stage: reduction.h), named for what it does and over which axis. Each call adds its
 * time to the dist object. Buffers never alias. MPI errors abort the job (MPI_ERRORS_ARE_FATAL). */
#ifndef QUIRE_DIST_COLLECTIVE_H
#define QUIRE_DIST_COLLECTIVE_H

#include "dist/dist.h"
#include "dist/wire.h"

/* Rank r of the sp group gets the send_counts[r] elements of its place in send, from each rank;
 * they stand in receive in rank order, receive_counts[r] each. Elements are of the wire's type.
 * Collective(sp). */
void sp_alltoall(struct dist *dist, enum wire wire, const void *send, const int64_t *send_counts,
                 void *receive, const int64_t *receive_counts);

/* x [n] := sum over the ranks of the stage, in f32 whatever travels otherwise: for a few numbers.
 * Collective(stage). */
void stage_allreduce_sum(struct dist *dist, float *x, int64_t n);

/* Passes a chunk's residual stream x [n] on to the same place of the next stage: begin starts
 * sending (x must stay as it is until end), receive waits for the previous stage's. Point to
 * point over the pp axis; `request` pairs begin and end. */
void pp_send_begin(struct dist *dist, const float *x, int64_t n, MPI_Request *request);
void pp_send_end(struct dist *dist, MPI_Request *request);
void pp_receive(struct dist *dist, float *x, int64_t n);

#endif
