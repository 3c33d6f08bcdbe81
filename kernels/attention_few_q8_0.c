/* The step of bf16 arithmetic at AVX-512-BF16 for a few rows over q8_0, as decoding has them: each
 * number is read once, widened in a register as kv_widen.h would, and multiplied with all rows. */
#include "kernels/attention_vector_bf16.h"
#include "kernels/kv_vector_bf16.h"

/* Most rows, and vectors side by side of values: 8 x 3 or 6 x 4 sums. */
#define ROWS ATTENTION_FEW_ROWS
#define VECTORS 4

/* Scores of groups [first, end). */
INLINE void keys_run(const int rows, const struct attention_step *s, const uint16_t *queries,
                     const void *keys, int64_t first, int64_t end, float *scores) {
    int64_t d = s->head_dim;
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(keys, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        __m512 c[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            c[r] = _mm512_setzero_ps();
        for (int64_t block = 0; block < d; block += KV_SCALED, scales += KV_GROUP) {
            __m512 low, high;
            kv_key_scales(scales, &low, &high);
            int64_t block_end = block + KV_SCALED < d ? block + KV_SCALED : d;
            for (int64_t i = block; i < block_end; i += 2) {
                const int8_t *at = group + i * KV_GROUP;
                _mm_prefetch((const char *)at + KV_AHEAD, _MM_HINT_T0);
                __m512bh x = kv_scaled(_mm256_loadu_si256((const void *)at), low, high);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++)
                    c[r] =
                        _mm512_dpbf16_ps(c[r], x, pair_load(queries + r * s->stride_rounded + i));
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            _mm512_store_ps(scores + r * STEP_KEYS + g * KV_GROUP, c[r]);
    }
}

/* out = correction out + weights values for `vectors` vectors of 16 dimensions from `vector` on. */
INLINE void values_run(const int rows, const int vectors, const struct attention_step *s,
                       int64_t vector) {
    int64_t d = s->head_dim, pairs = (s->keys + 1) / 2;
    __mmask32 last = kv_bytes_there(d - (vector + vectors - 1) * 16);
    __m512 c[ROWS * VECTORS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        c[i] = _mm512_setzero_ps();
    for (int64_t j = 0; j < pairs; j++) {
        const int8_t *group = kv_widen_group(s->values, d, j / (KV_GROUP / 2));
        int64_t pair = j % (KV_GROUP / 2);
        const int8_t *at = group + (pair * d + vector * 16) * 2;
        const uint16_t *scales = kv_widen_scales(group, d) + pair * 2 * kv_scales(d);
        __m512bh x[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            __m512 scale = kv_value_scales(scales + (vector + v) / 2 * 2);
            if (v % 2 == 0)
                _mm_prefetch((const char *)at + v * 32 + KV_AHEAD, _MM_HINT_T0);
            __mmask32 there = v == vectors - 1 ? last : 0xffffffffu;
            x[v] = kv_scaled(_mm256_maskz_loadu_epi8(there, at + v * 32), scale, scale);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512bh y = pair_load(s->weights + r * STEP_KEYS + 2 * j);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                c[r * vectors + v] = _mm512_dpbf16_ps(c[r * vectors + v], x[v], y);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *to = s->out + r * s->stride + (vector + v) * 16;
            __m512 correction = _mm512_set1_ps(s->correction[r]);
            _mm512_store_ps(to,
                            _mm512_fmadd_ps(_mm512_load_ps(to), correction, c[r * vectors + v]));
        }
}

/* All vectors in columns of nearly one width. */
INLINE void columns_run(const int rows, const struct attention_step *s) {
    int64_t vectors = s->stride / 16, most = rows <= 6 ? 4 : 3;
    int64_t columns = (vectors + most - 1) / most;
    for (int64_t i = 0; i < columns; i++) {
        int64_t vector = vectors * i / columns;
        switch (vectors * (i + 1) / columns - vector) {
        case 1:
            values_run(rows, 1, s, vector);
            break;
        case 2:
            values_run(rows, 2, s, vector);
            break;
        case 3:
            values_run(rows, 3, s, vector);
            break;
        case 4:
            if (rows <= 6)
                values_run(rows <= 6 ? rows : 6, 4, s, vector);
        }
    }
}

INLINE void scores_run(const int rows, const struct attention_step *s, const uint16_t *queries,
                       const void *keys, int64_t first, int64_t end, float *scores) {
    if (first < end)
        keys_run(rows, s, queries, keys, first, end, scores);
    step_cap(s, soft_cap_avx512, first, end, scores);
}

INLINE void rows_run(const int rows, const struct attention_step *s) {
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    bool all_far = !s->masked && s->far_groups > 0;
    scores_run(rows, s, s->far_rounded, s->keys_far, 0, s->far_groups,
               all_far ? s->scores : s->far_scores);
    scores_run(rows, s, s->near_rounded, s->keys_near, s->near_group, groups, s->scores);
    for (int64_t r = 0; r < rows; r++)
        row_weigh(s, r, groups);
    columns_run(rows, s);
}

#define ROWS_CASE(rows)                                                                            \
    case (rows):                                                                                   \
        rows_run(rows, s);                                                                         \
        return;

void attention_few_q8_0(const struct attention_step *s) {
    switch (s->rows) {
        ROWS_CASE(1)
        ROWS_CASE(2)
        ROWS_CASE(3)
        ROWS_CASE(4)
        ROWS_CASE(5)
        ROWS_CASE(6)
        ROWS_CASE(7)
        ROWS_CASE(8)
    }
}
