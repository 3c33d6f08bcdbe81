/* Who holds what of a model: one rank's share, from the shape and the mesh alone (the table of
 * "who holds what": layers over pp; KV heads over tp; k and v rows, query heads, FFN columns and
 * vocabulary rows over the ranks within). Every share may be uneven or empty. Pure arithmetic. */
#ifndef QUIRE_PARTITION_SHARE_H
#define QUIRE_PARTITION_SHARE_H

#include "partition/layout.h"
#include "partition/mesh.h"
#include "partition/shape.h"

struct weight_format;

/* All ranges in the indices of the whole model. */
struct share {
    struct range layers;      /* of the stage */
    struct range kv_heads;    /* of the tp group: its sp ranks cache them, each its tokens */
    struct range group_heads; /* query heads of the tp group: those of its KV heads */
    struct range heads;       /* query heads whose q rows and o columns this rank holds */
    struct range kv_rows;     /* rows of k_proj and of v_proj this rank holds */
    struct range ffn;         /* gate and up rows, down columns */
    struct range expert_ffn;  /* the same of every expert */
    struct range vocab;       /* rows of the embedding table and of the head */
    bool embeds;              /* first stage: holds its rows of the embedding table */
    bool predicts;            /* last stage: holds the final norm and its rows of the head */
    bool routes;              /* first rank of its stage: decides which experts a token takes */
};

struct share share_of(const struct shape *shape, struct mesh mesh, int64_t rank);

/* Query heads and k/v rows of another rank `sp` of the same tp group. */
struct range share_heads(const struct share *share, struct mesh mesh, int64_t sp);
struct range share_kv_rows(const struct shape *shape, const struct share *share, struct mesh mesh,
                           int64_t sp);

/* Parameters held by a rank with this share, a tied table once. */
int64_t share_parameters(const struct shape *shape, const struct share *share);

/* Bytes of those that are f32 whatever the format (norms, biases, routers), up to WEIGHT_ALIGNMENT,
 * and of all with matrices in this format. At most INT64_MAX. */
int64_t share_f32_bytes(const struct shape *shape, const struct share *share);
int64_t share_weight_bytes(const struct shape *shape, const struct share *share,
                           const struct weight_format *format);

#endif
