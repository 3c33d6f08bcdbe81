/* The mesh N = pp * tp * sp: pp pipeline stages of R = tp * sp ranks each. Which rank stands where,
 * and which mesh to take when none is asked for. Pure arithmetic. */
#ifndef QUIRE_PARTITION_MESH_H
#define QUIRE_PARTITION_MESH_H

#include "partition/shape.h"
#include "partition/status.h"
#include <stdint.h>

/* Axis sizes, each >= 1; in a request 0 means "choose". */
struct mesh {
    int64_t pp; /* stages: contiguous ranges of layers */
    int64_t tp; /* groups of a stage: KV heads */
    int64_t sp; /* ranks of a group: KV tokens, block-cyclic */
};

/* Coordinates of a rank. rank = (pp * mesh.tp + tp) * mesh.sp + sp: the ranks of an sp group, which
 * talk most, are neighbours. */
struct mesh_place {
    int64_t pp, tp, sp;
};

static inline int64_t mesh_ranks(struct mesh m) {
    return m.pp * m.tp * m.sp;
}

/* Ranks of one stage, R. */
static inline int64_t mesh_stage_ranks(struct mesh m) {
    return m.tp * m.sp;
}

struct mesh_place mesh_place(struct mesh m, int64_t rank);
int64_t mesh_rank(struct mesh m, struct mesh_place place);

/* Reads "pp=A,tp=B,sp=C": any order, each axis at most once; axes left out stay 0.
 * Errors: STATUS_USAGE naming --mesh. */
enum status mesh_parse(const char *text, struct mesh *request);

/* Completes a request for `ranks` ranks: pp defaults to 1; tp to the largest divisor of R that
 * divides the KV heads; what is left goes to the axis left out. Refuses, with the reason, a product
 * other than `ranks` and more stages than layers; nothing else: tp above the number of KV heads and
 * shares that are uneven or empty are legal. Errors: STATUS_USAGE naming --mesh. */
enum status mesh_complete(struct mesh request, int64_t ranks, const struct shape *shape,
                          struct mesh *mesh);

#endif
