/* One text being read: its position scheme, its KV cache, how far it is, and the buffers that the
 * forward pass reuses for every chunk. Made once per text, all memory taken at the start. */
#ifndef QUIRE_DIST_SEQUENCE_H
#define QUIRE_DIST_SEQUENCE_H

#include "dist/cache.h"
#include "dist/commons.h"
#include "dist/model.h"
#include "dist/probe.h"
#include "dist/reduction.h"
#include "kernels/attention.h"
#include "kernels/compute.h"
#include "kernels/cpu.h"
#include "kernels/gemm.h"

/* Longest chunk: bounds buffers and the counts of a collective. A longer request is cut to it; the
 * result does not depend on it beyond rounding. */
#define CHUNK_MAX 8192

struct sequence_options {
    struct scheme scheme;
    enum kv_type kv;
    enum compute compute;
    enum weights_type weights;
    enum isa isa;
    enum wire wire; /* type of activations between ranks */
    bool overlap;   /* read a chunk in two halves, one's sums under way while the other computes */
    int64_t capacity; /* tokens, prompt and generated ones */
    int64_t length;   /* tokens asked for, which chooses longrope's factors; 0: the capacity */
    int64_t chunk;    /* tokens per forward pass, T; cut to CHUNK_MAX and to the capacity */
    int64_t block;    /* tokens per KV block, a multiple of KV_GROUP */
};

/* An expert that a token takes, and the weight of what it computes. */
struct route {
    int32_t expert;
    float weight;
};

/* The buffers of a chunk of T tokens. Legend as in model.h; g query heads of the tp group, k its KV
 * heads, S the ranks of the sp group. One allocation, sliced. */
struct workspace {
    float *data;         /* owned: all of the below */
    int64_t bytes;       /* of it */
    float *hidden;       /* [T, D] residual stream, replicated in the stage or once for all */
    float *normed;       /* [T, D] as hidden */
    float *partial;      /* [T, D] this rank's sum before that over the stage */
    float *passing;      /* [T, D] residual stream on its way to the next stage */
    float *q_own;        /* [T, h*d] */
    float *q_near;       /* [k][T * g/k][d] rotated and scaled, as the attention kernel reads it */
    float *q_far;        /* the same, far */
    float *kv_own;       /* [T, r] keys, then [T, r] values */
    void *exchange_send; /* by rank of the group: [T, h*d], [its tokens][2*r], as it travels */
    void *exchange_all;  /* S parts [T, h_s*d], [own tokens][2*r_s] */
    float *keys;         /* [own tokens, k*d] */
    float *values;       /* [own tokens, k*d] */
    float *attended;     /* [k][T * g/k][d] unnormalised */
    float *row_max;      /* [k][T * g/k] */
    float *row_sum;      /* [k][T * g/k] */
    void *merge_send; /* by rank of the group: [T, h_s][d outputs, maximum, sum], as it travels */
    void *merge_all;  /* S parts [T, h][the same] */
    float *merged;    /* [T, h*d] */
    float *gate, *up; /* [T, f], f of the FFN or of an expert, whichever is more */
    float *squares;   /* [2][T] sums of squares of q and k; NULL without norms over their width */
    /* Mixtures of experts, E of them, U for each token; NULL without. */
    struct route *routes;         /* [T, U] */
    float *router_logits;         /* [T, E] on the rank that routes */
    int32_t *expert_order;        /* [T * U] the routes by expert */
    int32_t *expert_first;        /* [E + 1] where each expert's begin */
    float *expert_in;             /* [T, D] the tokens of one expert */
    float *expert_out;            /* [T, D] */
    struct gemm_scratch products; /* inputs up to [T, max(D, h*d, f)] */
    void *sum_send;               /* [T, D] in bf16; NULL unless sums travel in it */
    void *sum_all; /* of two halves, see plan_sum_room; NULL with one rank in the stage */
    float *tables; /* rotary, of each embedding: near cos, near sin, far cos, far sin of queries,
                    * of keys; [T, pairs] each */
    float *logits; /* [HEAD_ROWS, v] */
};

/* Rows of logits computed at a time. */
#define HEAD_ROWS 64

/* Rows of a pass that are not the sequence's next tokens but those of tails (tails.h). */
struct tails;
struct batch {
    int64_t rows;
    const int64_t *positions; /* [rows] not falling */
    struct tails *tails;
};

struct sequence {
    struct model *model; /* borrowed */
    struct sequence_options options;
    struct cache cache;
    struct commons commons; /* of hidden, normed and each rank's partial; nothing where sums travel
                             * in two halves or in bf16 */
    struct workspace work;
    struct attention_task *tasks; /* owned, one per KV head of the group */
    double *frequencies;          /* owned, [2][pairs] radians per position: rope, rope_local */
    double rope_factor[2];        /* of cosines and sines */
    int64_t *positions;           /* owned, [T * g/k] positions of attention rows; then [T] */
    int64_t tokens;               /* tokens read so far */
    int64_t chunk_rows;           /* tokens of the last chunk: rows of work.hidden */
    struct reduction sums[2];     /* of the halves of a chunk, or of the whole (the first), where
                                   * nothing is in common */
    MPI_Request passing;          /* send of work.passing under way, or MPI_REQUEST_NULL */
    int64_t fault_step;           /* first step here that gave a value not finite, see below */
    const struct probe *probe;    /* borrowed, may be NULL */
    const struct probe *keeper;   /* borrowed, may be NULL: gets SITE_K and SITE_V alone */
    const struct batch *batch;    /* of the pass under way, NULL: the next tokens */
};

/* Position of the pass's row. */
static inline int64_t sequence_position(const struct sequence *s, int64_t row) {
    return s->batch ? s->batch->positions[row] : s->tokens + row;
}

/* Frequencies [2][pairs] of the rotary embeddings for these options, and what cosines and sines are
 * multiplied by. */
void sequence_frequencies(const struct shape *shape, const struct sequence_options *options,
                          double *frequencies, double factors[2]);

/* Pairs that are rotated of each head, and how many rotary embeddings the model has. */
static inline int64_t rotary_pairs(const struct shape *shape) {
    return shape_rotary_dim(shape) / 2;
}
static inline int64_t rotary_count(const struct shape *shape) {
    return shape->has_local_rope ? 2 : 1;
}

/* How a layer of this stage attends, and which of the rotary embeddings it has: 0, or 1 for a local
 * one; -1: none. */
struct scheme sequence_layer_scheme(const struct sequence *s, int64_t layer);
int64_t sequence_embedding(const struct sequence *s, int64_t layer);

/* Memory that one sequence needs, as plan.h counts it. */
struct plan_request sequence_plan(const struct sequence_options *options, int64_t threads);

/* Collective(world): ranks agree on the outcome. */
enum status sequence_open(struct model *model, const struct sequence_options *options,
                          struct sequence *sequence);
/* Frees a half-opened one too, or one that was never opened (all zero). Collective(stage). */
void sequence_close(struct sequence *sequence);

/* Bytes of the cache, the workspace and the positions on this rank, as if nothing were in common:
 * what the plan calls kv and activations. */
int64_t sequence_bytes(const struct sequence *sequence);

/* Forgets the text; memory stays. Local, on every rank. */
void sequence_reset(struct sequence *sequence);

/* The steps of a forward pass in their order, for naming where a value stopped being finite: the
 * embedding, attention and FFN of each layer, the logits; one more is none. */
static inline int64_t step_attention(int64_t layer) {
    return 1 + 2 * layer;
}
static inline int64_t step_ffn(int64_t layer) {
    return 2 + 2 * layer;
}
#define STEP_EMBEDDING 0
static inline int64_t step_logits(const struct shape *shape) {
    return 1 + 2 * shape->layers;
}

/* Marks that this rank's part of a step is not finite; the earliest stays. Local. */
void sequence_mark_fault(struct sequence *sequence, int64_t step);

/* Fails, on all ranks alike, when any rank marked a fault, naming the first layer
 * and its rank.
 * Collective(world). */
enum status sequence_check(struct sequence *sequence);

#endif
