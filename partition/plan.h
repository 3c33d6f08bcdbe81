/* What a run needs of memory, per rank and before anything is read, and what a node offers. */
#ifndef QUIRE_PARTITION_PLAN_H
#define QUIRE_PARTITION_PLAN_H

#include "partition/mesh.h"
#include "partition/scheme.h"
#include "partition/shape.h"
#include "partition/share.h"
#include "partition/status.h"
#include "partition/weight_format.h"
#include <stdint.h>

/* One run, as asked. */
struct plan_request {
    int64_t capacity;       /* tokens that the KV cache must hold */
    int64_t chunk;          /* tokens per forward pass, T */
    int64_t block;          /* tokens per KV block */
    int64_t kv_bytes;       /* per cached element: 4 f32, 2 bf16, 1 q8_0 */
    int64_t kv_scale_bytes; /* and per 32 of a head's, or what is left of them: 2 q8_0, else 0 */
    int64_t wire_bytes;     /* per element that travels between ranks: 4 f32, 2 bf16 */
    struct weight_format weights;
    bool bf16; /* computed in bf16 */
    /* Bytes that products take besides inputs and outputs, for inputs of up to T tokens and K
     * columns: gemm.h in kernels/. NULL: none. */
    int64_t (*products)(bool bf16, bool blocks, int64_t T, int64_t K);
    int64_t logits_rows; /* rows of logits held at a time */
    int64_t threads;
    struct scheme scheme;
};

/* Bytes that one rank will hold. */
struct plan {
    int64_t weights;
    int64_t kv;          /* far copies, near ring, values */
    int64_t activations; /* residual, projections, gathered queries, attention state, logits */
    int64_t overhead;    /* MPI, BLAS buffers, the program itself */
    int64_t total;
};

/* KV blocks that a rank of the sp group keeps: of all tokens up to the capacity, and of the ring of
 * the last window + chunk tokens. cache_open in dist/ allocates by the same numbers. */
int64_t plan_kv_blocks(int64_t capacity, int64_t block, int64_t sp_size, int64_t sp);
int64_t plan_ring_blocks(int64_t capacity, int64_t window, int64_t chunk, int64_t block,
                         int64_t sp_size, int64_t sp);

/* Elements that a rank receives at most while it sums up to n elements over `ranks` ranks: a slice
 * from each, or, of sums no longer than PLAN_SHORT_SUM together, everything. dist/reduction.h. */
#define PLAN_SHORT_SUM 16384
int64_t plan_sum_room(int64_t n, int64_t ranks);

/* Blocks that a layer keeps of each KV head, by how it attends (scheme_of_layer): near-rotated
 * keys, far-rotated keys, values. */
struct plan_blocks {
    int64_t near, far, values;
};
struct plan_blocks plan_layer_blocks(const struct plan_request *request, struct scheme of_layer,
                                     int64_t sp_size, int64_t sp);

struct plan plan_rank(const struct shape *shape, struct mesh mesh, int64_t rank,
                      const struct plan_request *request);

/* The largest total over the ranks of the mesh. */
int64_t plan_largest(const struct shape *shape, struct mesh mesh,
                     const struct plan_request *request);

/* Smallest number of ranks, on the automatic mesh, none of which needs more than
 * bytes_per_rank; 0 when no number up to 65536 does. */
int64_t plan_smallest_ranks(const struct shape *shape, const struct plan_request *request,
                            int64_t bytes_per_rank);

/* Memory that processes of this node may still take, bytes: MemAvailable of /proc/meminfo, and the
 * room below the limit of this process's memory cgroup (v2 or v1) and of every cgroup above it.
 * `source` names what was smallest ("MemAvailable", "cgroup memory.max", ...). Local. */
enum status plan_node_memory(int64_t *bytes, const char **source);

/* The same with other places of /proc and /sys/fs/cgroup. */
enum status plan_node_memory_at(const char *proc, const char *cgroup, int64_t *bytes,
                                const char **source);

#endif
