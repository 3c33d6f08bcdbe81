/* A sum over the ranks of a stage that may be under way while this rank computes: each rank adds up
 * one slice of everybody's x in f32 and gives its sums to all, so all end with the same bits. On
 * the wire stand f32 values or their nearest bf16 (the sums are rounded once more then). MPI moves
 * long messages only while it is called: reduction_progress does that between pieces of other work.
 */
#ifndef QUIRE_DIST_REDUCTION_H
#define QUIRE_DIST_REDUCTION_H

#include "dist/dist.h"
#include "dist/wire.h"

enum reduction_state { REDUCTION_DONE, REDUCTION_SLICES, REDUCTION_SUMS };

struct reduction {
    struct dist *dist; /* borrowed */
    enum wire wire;
    enum reduction_state state;
    float *x; /* borrowed while under way */
    int64_t n;
    int tag;
    void *send, *receive;  /* borrowed, see reduction_open */
    MPI_Request *requests; /* owned, [2 * ranks] */
};

/* Makes one that can be started again and again. `index`, 0 or 1, tells apart those that are under
 * way at the same time. For sums of up to n elements, `receive` has plan_sum_room(n, ranks)
 * elements of the wire's type and `send` n; that is used by bf16 alone. Local. */
enum status reduction_open(struct dist *dist, enum wire wire, int index, void *send, void *receive,
                           struct reduction *r);
/* Accepts one that was never opened (all zero); none may be under way. */
void reduction_close(struct reduction *r);

/* Starts summing x [n], which belongs to the reduction until its end. Nothing happens with one
 * rank. Collective(stage), as reduction_end. */
void reduction_begin(struct reduction *r, float *x, int64_t n);
/* Moves on what is under way, without waiting. Local. */
void reduction_progress(struct reduction *r);
/* Waits until x holds the sums. */
void reduction_end(struct reduction *r);

/* Both with nothing in between; its waiting for the other ranks is told apart. */
void reduction_run(struct reduction *r, float *x, int64_t n);

#endif
