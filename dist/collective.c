#include "dist/collective.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

enum tag { TAG_RESIDUAL = 1 };

/* Counts and displacements as MPI wants them. The chunk bounds what is sent at once (CHUNK_MAX in
 * sequence.h), so they fit an int; the assertion guards against a caller that forgets. */
static int *int_counts(const int64_t *counts, int size) {
    int *out = malloc(2 * (size_t)size * sizeof *out);
    if (!out)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    int64_t offset = 0;
    for (int r = 0; r < size; r++) {
        out[r] = (int)counts[r];
        out[size + r] = (int)offset;
        offset += counts[r];
    }
    assert(offset <= INT_MAX);
    return out;
}

void sp_alltoall(struct dist *dist, enum wire wire, const void *send, const int64_t *send_counts,
                 void *receive, const int64_t *receive_counts) {
    MPI_Datatype type = wire_datatype(wire);
    times_wait(&dist->times, dist->sp.comm);
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    int size = dist->sp.size;
    int *from = int_counts(send_counts, size), *to = int_counts(receive_counts, size);
    MPI_Alltoallv(send, from, from + size, type, receive, to, to + size, type, dist->sp.comm);
    free(from);
    free(to);
    times_enter(&dist->times, before);
}

void stage_allreduce_sum(struct dist *dist, float *x, int64_t n) {
    if (dist->stage.size == 1)
        return;
    assert(n <= INT_MAX);
    times_wait(&dist->times, dist->stage.comm);
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Allreduce(MPI_IN_PLACE, x, (int)n, MPI_FLOAT, MPI_SUM, dist->stage.comm);
    times_enter(&dist->times, before);
}

void pp_send_begin(struct dist *dist, const float *x, int64_t n, MPI_Request *request) {
    assert(n <= INT_MAX);
    MPI_Isend(x, (int)n, MPI_FLOAT, dist->pp.rank + 1, TAG_RESIDUAL, dist->pp.comm, request);
}

void pp_send_end(struct dist *dist, MPI_Request *request) {
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Wait(request, MPI_STATUS_IGNORE);
    times_enter(&dist->times, before);
}

void pp_receive(struct dist *dist, float *x, int64_t n) {
    assert(n <= INT_MAX);
    enum time_part before = times_enter(&dist->times, TIME_WAITING);
    MPI_Probe(dist->pp.rank - 1, TAG_RESIDUAL, dist->pp.comm, MPI_STATUS_IGNORE);
    times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Recv(x, (int)n, MPI_FLOAT, dist->pp.rank - 1, TAG_RESIDUAL, dist->pp.comm,
             MPI_STATUS_IGNORE);
    times_enter(&dist->times, before);
}
