/* The KV cache of one rank: the keys and values of its tp group's KV heads for the tokens that are
 * its own (block-cyclic over sp), for every layer of the stage. A key is stored far-rotated for
 * every token and near-rotated in a ring of the last window + chunk tokens; it needs no other
 * rotation, ever. A layer of one zone keeps one rotation; one with a sliding window keeps only
 * rings. Both copies come from the key already rounded to the cache's type. */
#ifndef QUIRE_DIST_CACHE_H
#define QUIRE_DIST_CACHE_H

#include "kernels/kv.h"
#include "partition/layout.h"
#include "partition/plan.h"
#include "partition/scheme.h"
#include "partition/share.h"

/* What one layer keeps of each head, and where its blocks start in the cache's arrays. */
struct cache_layer {
    struct plan_blocks blocks, first;
};

struct cache {
    enum kv_type type;
    struct cyclic cyclic; /* blocks over the ranks of the sp group */
    int64_t part;         /* this rank's place in it */
    int64_t layers, heads, head_dim;
    struct cache_layer *layout;                   /* owned, [layers] */
    struct plan_blocks blocks;                    /* of all layers and heads */
    unsigned char *keys_near, *keys_far, *values; /* owned, [layer][head][slot][block bytes] */
};

/* Zeroed room for request->capacity tokens. Local. */
enum status cache_open(const struct shape *shape, const struct share *share, struct mesh mesh,
                       int64_t sp, const struct plan_request *request, enum kv_type type,
                       struct cache *cache);
void cache_close(struct cache *cache);

/* Bytes allocated. */
int64_t cache_bytes(const struct cache *cache);

/* Rotary tables of some tokens, [tokens, pairs] each; far ones NULL for a layer of one zone. pairs
 * 0: a layer without rotation, no tables. */
struct rotary {
    int64_t pairs;
    const float *near_cos, *near_sin;
    const float *far_cos, *far_sin;
};

/* Of `limit` consecutive tokens from `token` on, those that cache_put takes at once: the rest of a
 * group of KV_GROUP. */
int64_t cache_run(const struct cache *cache, int64_t token, int64_t limit);

/* Stores `count` consecutive tokens of one group from `token` on, for one layer and head: keys,
 * values [count, heads * d], unrotated; table rows from `row` on are the tokens'. The tokens must
 * be this rank's. `scratch` [2 * KV_GROUP * d] floats. Local, safe to call from threads for
 * different groups or heads. */
void cache_put(struct cache *cache, int64_t layer, int64_t token, int64_t count, int64_t head,
               const float *keys, const float *values, const struct rotary *tables, int64_t row,
               float *scratch);

/* The same of keys, or values, alone, [count, d] of this head; keys are rounded to the cache's type
 * already. `near`: the near rotation is stored too. `scratch` [KV_GROUP * d]. */
void cache_put_keys(struct cache *cache, int64_t layer, int64_t token, int64_t count, int64_t head,
                    const float *keys, bool near, const struct rotary *tables, int64_t row,
                    float *scratch);
void cache_put_values(struct cache *cache, int64_t layer, int64_t token, int64_t count,
                      int64_t head, const float *values);

/* The first of `tokens` tokens whose keys (far-rotated or near), whose near-rotated keys, and whose
 * values a layer still keeps: what was before has been overwritten in its rings. */
struct cache_kept {
    int64_t keys, near, values;
};
struct cache_kept cache_kept(const struct cache *cache, int64_t layer, int64_t tokens);

/* One layer and head as the attention kernels read it, `tokens` global tokens being stored. */
struct kv_view cache_view(const struct cache *cache, int64_t layer, int64_t head, int64_t tokens);

#endif
