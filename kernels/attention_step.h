/* One step of tiled attention: a tile of query rows against a tile of consecutive keys of one
 * block. attention.c decides what is seen from where; the steps of the levels (generic, AVX2,
 * AVX-512) do the arithmetic. Private to the kernels.
 *
 * A step computes the scores, takes the rows' running maximum m on, and adds to the running sums:
 *
 *     m' = max(m, max_j s_j),  c = exp(m - m'),  p_j = exp(s_j - m')
 *     sums = c sums + sum_j p_j,  out = c out + sum_j p_j v_j
 *
 * The tile's own sum_j is formed first and added once, so rounding grows with the number of tiles
 * rather than with the number of keys. A row that sees no key of the tile keeps its state; a row
 * that sees only scores of -infinity or NaN becomes NaN, so that overflow is not hidden. */
#ifndef QUIRE_KERNELS_ATTENTION_STEP_H
#define QUIRE_KERNELS_ATTENTION_STEP_H

#include "kernels/kv.h"
#include <stdbool.h>
#include <stdint.h>

#define STEP_ROWS 96  /* rows of a tile at most */
#define STEP_KEYS 128 /* keys of a tile at most, a multiple of KV_GROUP */
#define STEP_LANES 16 /* partial sums of a row; head_dim is padded to a multiple of it */

struct attention_step {
    int64_t rows, head_dim;
    int64_t stride;    /* head_dim, padded to STEP_LANES: rows of out and of wide values */
    const float *near; /* [rows, d] queries */
    const float *far;

    enum kv_type type;
    int64_t keys;          /* 1 .. STEP_KEYS; those of the last group beyond it are not seen */
    int64_t far_groups;    /* groups of KV_GROUP keys [0, far_groups) hold a far key of some row */
    int64_t near_group;    /* groups [near_group, end) hold a near one */
    const void *keys_near; /* the tile's first group in each array; the groups that hold none of */
    const void *keys_far;  /* the zone's keys are not read */
    const void *values;

    bool masked;           /* false: every row sees every key, in one zone, and the next three */
    const int32_t *first;  /* [rows] are not read. Row r sees the keys [first, end) of the tile; */
    const int32_t *border; /* those before border are far, the others near */
    const int32_t *end;

    float *out;  /* [rows, stride] */
    float *max;  /* [rows] */
    float *sums; /* [rows, STEP_LANES], to be added up */

    float *scores;     /* scratch [rows, STEP_KEYS] */
    float *far_scores; /* scratch [rows, STEP_KEYS] */
    float *correction; /* scratch [rows] */
    float *wide;       /* scratch [STEP_KEYS, stride]: keys or values in f32 */
};

typedef void attention_step_function(const struct attention_step *step);

attention_step_function attention_step_generic, attention_step_avx2, attention_step_avx512;

#endif
