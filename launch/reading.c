#include "launch/reading.h"

#include "dist/forward.h"
#include "dist/head.h"
#include <stdbool.h>
#include <stdlib.h>

/* Floats of one message: the count of an MPI call is an int. */
#define MESSAGE_FLOATS ((int64_t)1 << 28)

/* losses: room on the decider, NULL elsewhere; not used unless with_losses. */
static void read_chunks(struct sequence *s, const int32_t *ids, int64_t count, bool with_losses,
                        float *losses, struct progress *progress, int64_t done_before) {
    int64_t chunk = s->options.chunk;
    s->model->dist->times.phase = TIME_READING;
    for (int64_t first = 0; first < count; first += chunk) {
        int64_t rest = count - first, T = rest < chunk ? rest : chunk;
        forward_chunk(s, ids + first, T);
        if (with_losses) /* the last token of all has no successor to be judged by */
            head_losses(s, ids + first + 1, T < rest ? T : T - 1, losses ? losses + first : NULL);
        if (progress)
            progress_update(progress, done_before + first + T);
    }
}

void reading_run(struct sequence *sequence, const int32_t *ids, int64_t count,
                 struct progress *progress, int64_t done_before) {
    read_chunks(sequence, ids, count, false, NULL, progress, done_before);
}

/* Moves losses [count] from the decider to world rank 0. */
static void send_losses(const struct dist *dist, float *losses, int64_t count) {
    int decider = dist_decider(dist);
    if (decider == 0)
        return;
    for (int64_t first = 0; first < count; first += MESSAGE_FLOATS) {
        int64_t rest = count - first;
        int n = (int)(rest < MESSAGE_FLOATS ? rest : MESSAGE_FLOATS);
        if (dist->world.rank == decider)
            MPI_Send(losses + first, n, MPI_FLOAT, 0, 0, dist->world.comm);
        if (dist->world.rank == 0)
            MPI_Recv(losses + first, n, MPI_FLOAT, decider, 0, dist->world.comm, MPI_STATUS_IGNORE);
    }
}

enum status reading_losses(struct sequence *s, const int32_t *ids, int64_t count,
                           struct progress *progress, int64_t done_before, float **losses) {
    const struct dist *dist = s->model->dist;
    bool decides = dist->world.rank == dist_decider(dist), leads = dist->world.rank == 0;
    enum status status = STATUS_OK;
    *losses = NULL;
    if (decides || leads) {
        *losses = malloc((size_t)count * sizeof **losses);
        if (!*losses)
            status = status_no_memory("losses", count * (int64_t)sizeof **losses);
    }
    status = status_agree(dist->world.comm, status);
    if (status == STATUS_OK) {
        read_chunks(s, ids, count, true, decides ? *losses : NULL, progress, done_before);
        status = sequence_check(s);
    }
    if (status == STATUS_OK)
        send_losses(dist, *losses, count - 1);
    if (status != STATUS_OK || !leads) {
        free(*losses);
        *losses = NULL;
    }
    return status;
}
