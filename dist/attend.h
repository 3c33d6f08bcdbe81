/* The part of a layer between the projections: what the ranks of an sp group exchange so that each
 * query meets every key. With one rank in the group nothing is sent. Legend as in sequence.h. */
#ifndef QUIRE_DIST_ATTEND_H
#define QUIRE_DIST_ATTEND_H

#include "dist/sequence.h"

/* Makes the rotary tables and row positions of the chunk of T tokens from s->tokens on, once for
 * all layers. Local. */
void attend_prepare(struct sequence *s, int64_t T);

/* The functions below take the tokens `rows` of the chunk: all, or a part that another one follows.
 * What they leave in the workspace begins with the first of these. */

/* work.q_own of every rank of the group -> work.q_near, work.q_far: all query heads of the group,
 * rotated as the layer has it and scaled; work.kv_own -> work.keys, work.values of the tokens'
 * owners. One message to each rank. With one rank in the group, k and v stay where they are.
 * Collective(sp). */
void attend_exchange(struct sequence *s, int64_t layer, struct range rows);

/* The own tokens' keys and values -> the cache; the probe and the keeper get them on the way.
 * Local. */
void attend_store_keys(struct sequence *s, int64_t layer, struct range rows);

/* The last step of it alone: keys, values [own tokens, k*d], unrotated, of this rank's tokens among
 * the rows into its cache. Local. */
void attend_put_keys(struct sequence *s, int64_t layer, struct range rows, const float *keys,
                     const float *values);

/* The gathered queries over this rank's shard of the cache -> work.attended, row_max, row_sum,
 * unnormalised. Local. */
void attend_shard(struct sequence *s, int64_t layer, struct range rows);

/* Attention as the layer has it. Ends the job where there is no memory for it. Local. */
void attend_tasks(struct sequence *s, int64_t layer, const struct attention_task *tasks,
                  int64_t count);

/* Merges the shards of T tokens by log-sum-exp, each rank ending with its own heads: work.merged
 * [T, h*d]. Shards merge in rank order, so all meshes of one sp give the same bits.
 * Collective(sp). */
void attend_merge(struct sequence *s, int64_t T);

#endif
