/* One step of tiled attention: a tile of query rows against a tile of consecutive keys of one
 * block. attention.c decides what is seen from where; the steps of the levels (generic, AVX2,
 * AVX-512, AVX-512-BF16) do the arithmetic. Private to the kernels.
 *
 * A step computes the scores, takes the rows' running maximum m on, and adds to the running sums:
 *
 *     m' = max(m, max_j s_j),  c = exp(m - m'),  p_j = exp(s_j - m')
 *     sums = c sums + sum_j p_j,  out = c out + sum_j p_j v_j
 *
 * The tile's own sum_j is formed first and added once, so rounding grows with the number of tiles
 * rather than with the number of keys. A row that sees no key of the tile keeps its state; a row
 * that sees only scores of -infinity or NaN becomes NaN, so that overflow is not hidden.
 *
 * In bf16 arithmetic, with e = 1 / ln 2 and m a whole number,
 *
 *     m' = max(m, ceil(e max_j s_j)),  c = 2^(m - m'),  p_j = bf16(2^(e s_j - m'))
 *
 * for scores of queries rounded to bf16. A rounding of p_j is the same for every m', and c is
 * exact: which keys make a tile, or a rank's shard, changes nothing but the order of f32 sums. */
#ifndef QUIRE_KERNELS_ATTENTION_STEP_H
#define QUIRE_KERNELS_ATTENTION_STEP_H

#include "kernels/attention.h"
#include "kernels/elementwise_level.h"
#include "kernels/kv.h"
#include "kernels/kv_widen.h"
#include <stdbool.h>
#include <stdint.h>

#define STEP_ROWS                                                                                  \
    96 /* rows of a tile at most, and the keys, a multiple of KV_GROUP: of the steps */
#define STEP_KEYS 128 /* here that do not choose their own in struct attention_kernel */
#define STEP_LANES 16 /* partial sums of a row; head_dim is padded to a multiple of it */
#define STEP_PAIRS 32 /* head_dim of rounded queries is padded to a multiple of it, with zeros */

struct attention_step {
    int64_t rows, head_dim;
    int64_t stride;    /* head_dim, padded to STEP_LANES: rows of out and of wide values */
    const float *near; /* [rows, d] queries */
    const float *far;
    float score_cap;              /* 0: none */
    int64_t stride_rounded;       /* head_dim, padded to STEP_PAIRS */
    const uint16_t *near_rounded; /* [rows, stride_rounded] the same in bf16, where the kernel */
    const uint16_t *far_rounded;  /* rounds */

    enum kv_type type;     /* f32 or bf16; q8_0 only for run_few_q8_0 */
    int64_t keys;          /* 1 .. the kernel's; those of the last group beyond are not seen */
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
    float *max;  /* [rows] m */
    float *sums; /* [rows, STEP_LANES], to be added up */

    float *scores;     /* scratch [rows, keys of the kernel] */
    float *far_scores; /* scratch [rows, keys of the kernel] */
    uint16_t *weights; /* scratch [rows, keys of the kernel], where the kernel rounds */
    float *correction; /* scratch [rows] */
    float *wide;       /* scratch [keys of the kernel, stride]: keys or values in f32 */
    uint16_t *padded; /* scratch [3, keys of the kernel, stride_rounded], where the kernel rounds */
};

/* Caps the scores [rows, STEP_KEYS] of the keys in groups [first, end), each zone's by itself,
 * where the step has a cap: called behind the products, with the level's function. */
static inline void step_cap(const struct attention_step *s, soft_cap_function *cap, int64_t first,
                            int64_t end, float *scores) {
    if (s->score_cap == 0 || first >= end)
        return;
    for (int64_t r = 0; r < s->rows; r++)
        cap(scores + r * STEP_KEYS + first * KV_GROUP, s->score_cap, (end - first) * KV_GROUP);
}

#define ATTENTION_FEW_ROWS 8

/* run_few_q8_0 of the kernels with bf16 products. */
void attention_few_q8_0(const struct attention_step *step);

/* A step, with the tiles that it takes. */
struct attention_kernel {
    void (*run)(const struct attention_step *step);
    int64_t rows, keys; /* of a tile at most; keys a multiple of KV_GROUP */
    bool rounds;        /* bf16 arithmetic */
    /* The same for tiles of q8_0 as they are and up to ATTENTION_FEW_ROWS rows; may be NULL. */
    void (*run_few_q8_0)(const struct attention_step *step);
    const struct kv_widener *q8_0; /* what makes tiles of q8_0 ready for the step */
    /* Rounds n floats to bf16. NULL in f32. */
    void (*round)(int64_t n, const float *x, uint16_t *rounded);
    void (*open)(void), (*close)(void); /* around a thread's steps; NULL: nothing is needed */
};

extern const struct attention_kernel attention_generic, attention_avx2, attention_avx512,
    attention_generic_bf16, attention_avx512_bf16, attention_amx;

/* attention_run by this kernel. */
bool attention_run_by(const struct attention_kernel *kernel, enum attention_rule rule,
                      int64_t window, const struct attention_task *tasks, int64_t count);

#endif
