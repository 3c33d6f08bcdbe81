#include "launch/fit.h"

#include "launch/units.h"
#include "partition/plan.h"
#include <inttypes.h>
#include <stdio.h>

/* What this rank needs for the largest sequence; *request is that sequence's. */
static int64_t largest_need(const struct session *s, const struct sequence_options *sequences,
                            int64_t count, struct plan_request *request) {
    int64_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        struct plan_request r = sequence_plan(&sequences[i], s->threads);
        int64_t total = plan_rank(&s->shape, s->dist.mesh, s->dist.world.rank, &r).total;
        if (i == 0 || total > most) {
            most = total;
            *request = r;
        }
    }
    return most;
}

static enum status refuse(const struct session *s, const struct plan_request *request,
                          int64_t needed, int64_t available, const char *source) {
    int64_t here = s->ranks_on_node;
    int64_t ranks = plan_smallest_ranks(&s->shape, request, available / here);
    char remedy[160];
    if (ranks)
        snprintf(remedy, sizeof remedy, "take at least %" PRId64 " ranks, %" PRId64 " a node",
                 ranks, here);
    else
        snprintf(remedy, sizeof remedy,
                 "no number of ranks would do with %" PRId64
                 " a node; read less or take fewer ranks "
                 "a node",
                 here);
    return status_fail(options_model(s->options), "memory",
                       "found %s free on the node of rank %d (%s), expected %s for its %" PRId64
                       " rank%s; %s",
                       units_bytes(available).text, s->dist.world.rank, source,
                       units_bytes(needed).text, here, here == 1 ? "" : "s", remedy);
}

/* Notes the need of the rank that needs most, and the memory of the node with the least to spare.
 */
static void note_tightest(struct session *s, int64_t own, int64_t needed, int64_t available) {
    int64_t spare = available - needed, least;
    MPI_Allreduce(&own, &s->bytes_needed, 1, MPI_INT64_T, MPI_MAX, s->dist.world.comm);
    MPI_Allreduce(&spare, &least, 1, MPI_INT64_T, MPI_MIN, s->dist.world.comm);
    int64_t tightest = spare == least ? available : INT64_MAX;
    MPI_Allreduce(&tightest, &s->bytes_of_node, 1, MPI_INT64_T, MPI_MIN, s->dist.world.comm);
}

enum status fit_check(struct session *s, const struct sequence_options *sequences, int64_t count) {
    struct plan_request request = {0};
    int64_t own = largest_need(s, sequences, count, &request), needed, available;
    const char *source;
    if (own > INT64_MAX / s->ranks_on_node) /* the node's sum must not wrap round */
        own = INT64_MAX / s->ranks_on_node;
    TRY(status_agree(s->dist.world.comm, plan_node_memory(&available, &source)));
    MPI_Allreduce(&own, &needed, 1, MPI_INT64_T, MPI_SUM, s->machine.node);
    note_tightest(s, own, needed, available);
    enum status status = STATUS_OK;
    if (available < needed)
        status = refuse(s, &request, needed, available, source);
    return status_agree(s->dist.world.comm, status);
}
