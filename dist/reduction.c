#include "dist/reduction.h"

#include "kernels/elementwise.h"
#include "partition/plan.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TAGS_EACH = 2, TAG_FIRST = 16 };

enum status reduction_open(struct dist *dist, enum wire wire, int index, void *send, void *receive,
                           struct reduction *r) {
    *r = (struct reduction){.dist = dist,
                            .wire = wire,
                            .tag = TAG_FIRST + TAGS_EACH * index,
                            .send = send,
                            .receive = receive};
    r->requests = malloc(2 * (size_t)dist->stage.size * sizeof(MPI_Request));
    return r->requests ? STATUS_OK : status_no_memory("requests", dist->stage.size);
}

void reduction_close(struct reduction *r) {
    free(r->requests);
    memset(r, 0, sizeof *r);
}

static struct range slice_of(const struct reduction *r, int rank) {
    return range_part(r->n, r->dist->stage.size, rank);
}

/* One exchange of everything is then quicker than two of slices. */
static bool is_short(const struct reduction *r) {
    return r->n * r->dist->stage.size <= PLAN_SHORT_SUM;
}

static char *element(const struct reduction *r, void *array, int64_t index) {
    return (char *)array + index * wire_bytes(r->wire);
}

/* Where the n elements stand as they travel. */
static void *travelling(const struct reduction *r) {
    return r->wire == WIRE_F32 ? (void *)r->x : r->send;
}

/* Where rank `from` puts its part of this rank's slice. */
static void *received(const struct reduction *r, int from) {
    return element(r, r->receive, from * slice_of(r, 0).count);
}

/* One message to and one from every other rank: of its slice and this rank's, then of the sums of
 * this rank's and its. Those of a rank to itself are none. */
static void exchange(struct reduction *r) {
    const struct axis *stage = &r->dist->stage;
    bool sums = r->state == REDUCTION_SUMS;
    struct range own = slice_of(r, stage->rank);
    int tag = r->tag + sums;
    MPI_Datatype type = wire_datatype(r->wire);
    r->requests[2 * stage->rank] = r->requests[2 * stage->rank + 1] = MPI_REQUEST_NULL;
    for (int step = 1; step < stage->size; step++) {
        int from = (stage->rank + stage->size - step) % stage->size;
        struct range theirs = slice_of(r, from);
        void *in = sums ? element(r, travelling(r), theirs.first) : received(r, from);
        MPI_Irecv(in, (int)(sums ? theirs : own).count, type, from, tag, stage->comm,
                  &r->requests[2 * from]);
    }
    for (int step = 1; step < stage->size; step++) {
        int to = (stage->rank + step) % stage->size;
        struct range out = sums ? own : slice_of(r, to);
        MPI_Isend(element(r, travelling(r), out.first), (int)out.count, type, to, tag, stage->comm,
                  &r->requests[2 * to + 1]);
    }
}

/* x[i] += what rank `from` sent of the n elements. */
static void add_received(const struct reduction *r, const void *from, float *x, int64_t n) {
    if (r->wire == WIRE_F32)
        add_to(x, from, n);
    else
        add_bf16_to(x, from, n);
}

/* Sums this rank's slice in rank order, so that it does not matter who sums it. */
static void sum_slice(struct reduction *r) {
    const struct axis *stage = &r->dist->stage;
    struct range own = slice_of(r, stage->rank);
    float *x = r->x + own.first;
    for (int from = 0; from < stage->size; from++)
        if (from != stage->rank)
            add_received(r, received(r, from), x, own.count);
    if (r->wire == WIRE_BF16)
        bf16_round(x, own.count, (uint16_t *)r->send + own.first);
}

/* Goes on to the next state once the messages of this one are through. */
static void advance(struct reduction *r) {
    if (r->state == REDUCTION_SLICES) {
        sum_slice(r);
        r->state = REDUCTION_SUMS;
        exchange(r);
    } else {
        if (r->wire == WIRE_BF16)
            bf16_widen(r->send, r->n, r->x);
        r->state = REDUCTION_DONE;
    }
}

/* All ranks' elements to all ranks, each of which sums them. */
static void sum_short(struct reduction *r) {
    const struct axis *stage = &r->dist->stage;
    if (r->wire == WIRE_F32) {
        MPI_Allreduce(MPI_IN_PLACE, r->x, (int)r->n, MPI_FLOAT, MPI_SUM, stage->comm);
        return;
    }
    bf16_round(r->x, r->n, r->send);
    MPI_Allgather(r->send, (int)r->n, MPI_UINT16_T, r->receive, (int)r->n, MPI_UINT16_T,
                  stage->comm);
    memset(r->x, 0, (size_t)r->n * sizeof *r->x);
    for (int from = 0; from < stage->size; from++)
        add_bf16_to(r->x, (uint16_t *)r->receive + from * r->n, r->n);
}

void reduction_begin(struct reduction *r, float *x, int64_t n) {
    assert(r->state == REDUCTION_DONE);
    if (r->dist->stage.size == 1)
        return;
    enum time_part before = times_enter(&r->dist->times, TIME_COMMUNICATION);
    r->x = x;
    r->n = n;
    if (is_short(r)) {
        sum_short(r);
    } else {
        if (r->wire == WIRE_BF16)
            bf16_round(x, n, r->send);
        r->state = REDUCTION_SLICES;
        exchange(r);
    }
    times_enter(&r->dist->times, before);
}

void reduction_progress(struct reduction *r) {
    int through;
    if (r->state == REDUCTION_DONE)
        return;
    MPI_Testall(2 * r->dist->stage.size, r->requests, &through, MPI_STATUSES_IGNORE);
    if (through)
        advance(r);
}

void reduction_end(struct reduction *r) {
    if (r->state == REDUCTION_DONE)
        return;
    enum time_part before = times_enter(&r->dist->times, TIME_COMMUNICATION);
    while (r->state != REDUCTION_DONE) {
        MPI_Waitall(2 * r->dist->stage.size, r->requests, MPI_STATUSES_IGNORE);
        advance(r);
    }
    times_enter(&r->dist->times, before);
}

void reduction_run(struct reduction *r, float *x, int64_t n) {
    times_wait(&r->dist->times, r->dist->stage.comm);
    reduction_begin(r, x, n);
    reduction_end(r);
}
