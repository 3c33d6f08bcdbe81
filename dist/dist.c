#include "dist/dist.h"

#include <stdio.h>
#include <string.h>

/* Ranks of `parent` with equal color form the axis, ordered by key. */
static struct axis axis_split(MPI_Comm parent, int color, int key) {
    struct axis axis;
    MPI_Comm_split(parent, color, key, &axis.comm);
    MPI_Comm_rank(axis.comm, &axis.rank);
    MPI_Comm_size(axis.comm, &axis.size);
    return axis;
}

/* Whether an axis goes over more than one node's memory. */
static bool axis_spread(const struct axis *axis) {
    MPI_Comm node;
    int here;
    MPI_Comm_split_type(axis->comm, MPI_COMM_TYPE_SHARED, axis->rank, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &here);
    MPI_Comm_free(&node);
    return here < axis->size;
}

enum status dist_open(MPI_Comm parent, struct mesh mesh, struct dist *dist) {
    int rank;
    MPI_Comm_rank(parent, &rank);
    struct mesh_place place = mesh_place(mesh, rank);
    int stage_rank = (int)(place.tp * mesh.sp + place.sp);
    memset(dist, 0, sizeof *dist);
    dist->mesh = mesh;
    dist->place = place;
    dist->world = axis_split(parent, 0, rank);
    dist->stage = axis_split(parent, (int)place.pp, stage_rank);
    dist->sp = axis_split(parent, (int)(place.pp * mesh.tp + place.tp), (int)place.sp);
    dist->pp = axis_split(parent, stage_rank, (int)place.pp);
    dist->spread = axis_spread(&dist->stage);
    times_start(&dist->times);
    return STATUS_OK;
}

void dist_close(struct dist *dist) {
    struct axis *axes[] = {&dist->world, &dist->stage, &dist->sp, &dist->pp};
    for (int i = 0; i < 4; i++)
        if (axes[i]->size)
            MPI_Comm_free(&axes[i]->comm);
    memset(dist, 0, sizeof *dist);
}

int dist_decider(const struct dist *dist) {
    struct mesh_place place = {.pp = dist->mesh.pp - 1, .tp = 0, .sp = 0};
    return (int)mesh_rank(dist->mesh, place);
}

enum status status_agree(MPI_Comm comm, enum status local) {
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    int mine[2] = {local != STATUS_OK ? size - rank : 0, (int)local}, all[2];
    MPI_Allreduce(mine, all, 2, MPI_INT, MPI_MAX, comm);
    if (all[0] == 0)
        return STATUS_OK;
    int first = size - all[0];
    char text[STATUS_TEXT_MAX] = "";
    if (rank == first)
        snprintf(text, sizeof text, "%s", status_text());
    MPI_Bcast(text, sizeof text, MPI_CHAR, first, comm);
    status_adopt(text);
    return (enum status)all[1];
}
