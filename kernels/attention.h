/* Attention of many query rows over one rank's shard of the keys, in one pass: tiled, online
 * softmax, two zones. The result is unnormalised, so that shards merge by log-sum-exp.
 *
 * For a row at position i and the keys j <= i of the shard:
 *
 *     s_j = q_near . k_near_j            when i - j < window, or rule is ATTENTION_ALL_NEAR
 *         = q_far . k_far_j              otherwise, ATTENTION_GROUPED
 *         = -infinity                    otherwise, ATTENTION_MASKED
 *     max = max_j s_j,  sum = sum_j exp(s_j - max),  out = sum_j exp(s_j - max) v_j
 *
 * and s_j becomes cap tanh(s_j / cap) where the queries have a cap (Gemma 2, arXiv 2408.00118).
 * (arXiv 2401.01325 section 3; online softmax: arXiv 1805.02867.) A tile of keys is all near, all
 * far or mixed; only a mixed tile computes both scores, so two zones cost what one costs.
 *
 * In f32 all is f32. In bf16 the queries and the exponentials are rounded to bf16 for the products
 * and their sums are f32; max is then the next whole multiple of ln 2, so that an exponential is
 * rounded alike whatever keys it is computed together with, and sum adds the rounded ones, so that
 * the weights of the values add up to 1. */
#ifndef QUIRE_KERNELS_ATTENTION_H
#define QUIRE_KERNELS_ATTENTION_H

#include "kernels/compute.h"
#include "kernels/cpu.h"
#include "kernels/kv.h"
#include <stdbool.h>
#include <stdint.h>

enum attention_rule { ATTENTION_ALL_NEAR, ATTENTION_GROUPED, ATTENTION_MASKED };

/* The queries of one KV head: the rows of the `group` query heads that share it, token by token.
 * Row r = token * group + head. All arrays borrowed. */
struct attention_queries {
    int64_t rows;
    const int64_t *positions; /* [rows] global position of each row's token, not decreasing */
    const float *near;        /* [rows, d] rotated at the near position, scaled by 1/sqrt(d) */
    const float *far;         /* [rows, d] rotated at the far position, scaled; NULL without */
    float *out;               /* [rows, d] unnormalised output */
    float *max;               /* [rows] see above; -infinity when the row sees no key here */
    float *sum;               /* [rows] row sum; 0 when the row sees no key here */
    float score_cap;          /* of the scores; 0: none */
};

/* One KV head's work. */
struct attention_task {
    struct kv_view keys;
    struct attention_queries queries;
};

/* Computes tasks[0..count), shared over the OpenMP threads. Positions may lie anywhere; keys after
 * a row's position are masked. Rows and tasks may be zero. Overwrites out, max and sum; no argument
 * aliases another. The arithmetic is bf16 where `compute` says so and no task's keys are f32.
 * Levels without bf16 products do it in plain loops, which the tests compare with. False when there
 * is no memory for the tiles (a few hundred kB per thread); nothing is written then. */
bool attention_run(enum isa isa, enum compute compute, enum attention_rule rule, int64_t window,
                   const struct attention_task *tasks, int64_t count);

/* Merges the partial results of `parts` shards in their order, for one row:
 * out [d] = sum_p exp(max_p - max) out_p / sum_p exp(max_p - max) sum_p, max over all.
 * partial(p) stands at partials + p * stride as d outputs, the maximum, the sum. A row that no
 * shard saw a key of gives zeros. */
void attention_merge(const float *partials, int64_t parts, int64_t stride, int64_t head_dim,
                     float *out);

#endif
