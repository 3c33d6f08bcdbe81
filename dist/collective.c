#include "dist/collective.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

/* Floats of one message: below 1 GiB, where MPI's int counts and some transports end. */
#define MESSAGE_FLOATS ((int64_t)1 << 27)

enum tag { TAG_RESIDUAL = 1 };

void stage_allreduce_sum(struct dist *dist, float *x, int64_t n) {
    if (dist->stage.size == 1)
        return;
    double start = MPI_Wtime();
    for (int64_t done = 0; done < n; done += MESSAGE_FLOATS) {
        int64_t rest = n - done;
        int count = (int)(rest < MESSAGE_FLOATS ? rest : MESSAGE_FLOATS);
        MPI_Allreduce(MPI_IN_PLACE, x + done, count, MPI_FLOAT, MPI_SUM, dist->stage.comm);
    }
    dist->seconds_in_collectives += MPI_Wtime() - start;
}

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

void sp_allgather(struct dist *dist, const float *send, const int64_t *counts, float *receive) {
    double start = MPI_Wtime();
    int size = dist->sp.size;
    int *to = int_counts(counts, size);
    MPI_Allgatherv(send, to[dist->sp.rank], MPI_FLOAT, receive, to, to + size, MPI_FLOAT,
                   dist->sp.comm);
    free(to);
    dist->seconds_in_collectives += MPI_Wtime() - start;
}

void sp_alltoall(struct dist *dist, const float *send, const int64_t *send_counts, float *receive,
                 const int64_t *receive_counts) {
    double start = MPI_Wtime();
    int size = dist->sp.size;
    int *from = int_counts(send_counts, size), *to = int_counts(receive_counts, size);
    MPI_Alltoallv(send, from, from + size, MPI_FLOAT, receive, to, to + size, MPI_FLOAT,
                  dist->sp.comm);
    free(from);
    free(to);
    dist->seconds_in_collectives += MPI_Wtime() - start;
}

void pp_send_begin(struct dist *dist, const float *x, int64_t n, MPI_Request *request) {
    assert(n <= INT_MAX);
    MPI_Isend(x, (int)n, MPI_FLOAT, dist->pp.rank + 1, TAG_RESIDUAL, dist->pp.comm, request);
}

void pp_send_end(struct dist *dist, MPI_Request *request) {
    double start = MPI_Wtime();
    MPI_Wait(request, MPI_STATUS_IGNORE);
    dist->seconds_in_collectives += MPI_Wtime() - start;
}

void pp_receive(struct dist *dist, float *x, int64_t n) {
    double start = MPI_Wtime();
    assert(n <= INT_MAX);
    MPI_Recv(x, (int)n, MPI_FLOAT, dist->pp.rank - 1, TAG_RESIDUAL, dist->pp.comm,
             MPI_STATUS_IGNORE);
    dist->seconds_in_collectives += MPI_Wtime() - start;
}
