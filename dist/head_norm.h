/* Norms of queries and keys before they are rotated, where the family has them: of each head by
 * itself (Qwen3, Gemma 3), or over the full width of all heads (OLMo 2). Legend as in sequence.h.
 */
#ifndef QUIRE_DIST_HEAD_NORM_H
#define QUIRE_DIST_HEAD_NORM_H

#include "dist/sequence.h"

/* work.q_own [T, h*d], and over the full width work.kv_own's keys [T, r] as well, in place: every
 * rank knows a part of each token's width, so the sums of squares are added over the stage first.
 * Collective(stage) over the full width, else local. */
void head_norm_projections(struct sequence *s, int64_t layer, int64_t T);

/* keys [tokens, k*d] of whole heads, at their owner, each head by itself, in place. Local. */
void head_norm_keys(const struct sequence *s, int64_t layer, float *keys, int64_t tokens);

#endif
