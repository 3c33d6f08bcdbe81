/* The part of a layer between the projections: what the ranks of an sp group exchange so that each
 * query meets every key. With one rank in the group nothing is sent. Legend as in sequence.h. */
#ifndef QUIRE_DIST_ATTEND_H
#define QUIRE_DIST_ATTEND_H

#include "dist/sequence.h"

/* Makes the rotary tables and row positions of the chunk of T tokens from s->tokens on, once for
 * all layers. Local. */
void attend_prepare(struct sequence *s, int64_t T);

/* work.q_own of every rank of the group -> work.q_near, work.q_far: all query heads of the group,
 * rotated and scaled. Collective(sp). */
void attend_gather_queries(struct sequence *s, int64_t T);

/* work.kv_own -> the caches of the tokens' owners. Hands k and v to the probe and to the keeper on
 * the way. Collective(sp). */
void attend_store_keys(struct sequence *s, int64_t layer, int64_t T);

/* The last step of it alone: keys, values [own tokens, k*d], unrotated, of this rank's tokens of the
 * chunk into its cache. Local. */
void attend_put_keys(struct sequence *s, int64_t layer, int64_t T, const float *keys,
                     const float *values);

/* The gathered queries over this rank's shard of the cache -> work.attended, row_max, row_sum,
 * unnormalised. Local. */
void attend_shard(struct sequence *s, int64_t layer, int64_t T);

/* Merges the shards by log-sum-exp, each rank ending with its own heads: work.merged [T, h*d].
 * Shards merge in rank order, so all meshes of one sp give the same bits. Collective(sp). */
void attend_merge(struct sequence *s, int64_t T);

#endif
