/* The collectives of the forward pass, named for what they compute and over which axis. Each splits
 * what is long into messages below 1 GiB and adds its time to the dist object. Buffers never alias
 * unless said. MPI errors abort the job (MPI_ERRORS_ARE_FATAL). */
#ifndef QUIRE_DIST_COLLECTIVE_H
#define QUIRE_DIST_COLLECTIVE_H

#include "dist/dist.h"

/* x [n] := sum over the ranks of the stage, the same bits everywhere. Collective(stage). */
void stage_allreduce_sum(struct dist *dist, float *x, int64_t n);

/* Every rank of the sp group sends send [n_own] to all; receive holds the parts [counts[r]] in rank
 * order. Collective(sp). */
void sp_allgather(struct dist *dist, const float *send, const int64_t *counts, float *receive);

/* Rank r of the sp group gets the send_counts[r] floats of its place in send, from each rank; they
 * stand in receive in rank order, receive_counts[r] each. Collective(sp). */
void sp_alltoall(struct dist *dist, const float *send, const int64_t *send_counts, float *receive,
                 const int64_t *receive_counts);

/* Passes a chunk's residual stream x [n] on to the same place of the next stage: begin starts
 * sending (x must stay as it is until end), receive waits for the previous stage's. Point to
 * point over the pp axis; `request` pairs begin and end. */
void pp_send_begin(struct dist *dist, const float *x, int64_t n, MPI_Request *request);
void pp_send_end(struct dist *dist, MPI_Request *request);
void pp_receive(struct dist *dist, float *x, int64_t n);

#endif
