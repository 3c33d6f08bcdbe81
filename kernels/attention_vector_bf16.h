/* From scores to weights at AVX-512-BF16: what the steps of that level and of the tiles share.
 * Included by their files alone, which are compiled for it. Rows of scores and weights stand
 * STEP_KEYS apart. */
#include "kernels/attention_step.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* One pair in all lanes. */
static inline __m512bh pair_load(const uint16_t *at) {
    int32_t pair;
    memcpy(&pair, at, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* 2^x for x <= 0 within 4e-6: exactly 0 for -infinity; NaN stays NaN. The polynomial is that of
 * degree 4 with the least largest relative error on [0, 1) (Lawson's iteration). */
static inline __m512 exp2_negative(__m512 x) {
    __m512 fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(0x1.bb7cd4p-7f);
    p = _mm512_fmadd_ps(p, fraction, _mm512_set1_ps(0x1.aa13f2p-5f));
    p = _mm512_fmadd_ps(p, fraction, _mm512_set1_ps(0x1.ee798ap-3f));
    p = _mm512_fmadd_ps(p, fraction, _mm512_set1_ps(0x1.62d166p-1f));
    p = _mm512_fmadd_ps(p, fraction, _mm512_set1_ps(0x1.00002cp+0f));
    return _mm512_scalef_ps(p, x);
}

static inline __mmask16 lanes_below(int64_t n) {
    return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* Chooses the zones' scores and hides what the row does not see, of the first `keys`. */
static void row_mask(const struct attention_step *s, int64_t r, int64_t keys) {
    const __m512 unseen = _mm512_set1_ps(-INFINITY);
    for (int64_t j = 0; j < keys; j += 16) {
        float *p = s->scores + r * STEP_KEYS + j;
        __m512 x = _mm512_load_ps(p);
        if (j < s->border[r] && s->far_groups > 0)
            x = _mm512_mask_blend_ps(lanes_below(s->border[r] - j), x,
                                     _mm512_load_ps(s->far_scores + r * STEP_KEYS + j));
        __mmask16 seen = lanes_below(s->end[r] - j) & (__mmask16)~lanes_below(s->first[r] - j);
        _mm512_store_ps(p, _mm512_mask_blend_ps(seen, unseen, x));
    }
}

/* Scores of row r into weights; its maximum, sums, correction. */
INLINE void row_softmax(const struct attention_step *s, int64_t r, const int64_t groups) {
    float *p = s->scores + r * STEP_KEYS, *sums = s->sums + r * STEP_LANES;
    uint16_t *weights = s->weights + r * STEP_KEYS;
    __m512 largest = _mm512_load_ps(p);
#pragma GCC unroll 8
    for (int64_t g = 1; g < groups; g++)
        largest = _mm512_max_ps(_mm512_load_ps(p + g * 16), largest);
    __m512 unit = _mm512_set1_ps((float)M_LOG2E), max = _mm512_set1_ps(s->max[r]);
    s->correction[r] = 1;
    if (_mm512_cmp_ps_mask(_mm512_mul_ps(largest, unit), max, _CMP_GT_OQ)) {
        float highest = ceilf(_mm512_reduce_max_ps(largest) * (float)M_LOG2E);
        max = _mm512_set1_ps(highest);
        s->correction[r] = _mm512_cvtss_f32(
            _mm512_scalef_ps(_mm512_set1_ps(1), _mm512_set1_ps(s->max[r] - highest)));
        s->max[r] = highest;
    }
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int64_t g = 0; g < groups; g += 2) {
        __m512 even = exp2_negative(_mm512_fmsub_ps(_mm512_load_ps(p + g * 16), unit, max));
        __m512 odd = _mm512_setzero_ps();
        if (g + 1 < groups)
            odd = exp2_negative(_mm512_fmsub_ps(_mm512_load_ps(p + g * 16 + 16), unit, max));
        __m512bh pair = _mm512_cvtne2ps_pbh(odd, even);
        _mm512_store_si512(weights + g * 16, (__m512i)pair);
        sum = _mm512_dpbf16_ps(sum, pair, ones);
    }
    sum = _mm512_fmadd_ps(_mm512_load_ps(sums), _mm512_set1_ps(s->correction[r]), sum);
    _mm512_store_ps(sums, sum);
}

/* The same for what the row sees. An odd number of groups has a group of zeros behind. */
static void row_weigh(const struct attention_step *s, int64_t r, int64_t groups) {
    if (s->masked && s->first[r] >= s->end[r]) {
        s->correction[r] = 1;
        memset(s->weights + r * STEP_KEYS, 0,
               (size_t)((groups + 1) / 2 * 2 * KV_GROUP) * sizeof *s->weights);
        return;
    }
    if (s->masked)
        row_mask(s, r, groups * KV_GROUP);
    if (groups == STEP_KEYS / KV_GROUP)
        row_softmax(s, r, STEP_KEYS / KV_GROUP);
    else
        row_softmax(s, r, groups);
}
