/* Numbers of q8_0 as bf16 at AVX-512-BF16, in registers. Included by files alone that are compiled
 * for it. Sixteen bytes become sixteen f32 numbers, are scaled, and go two vectors together into
 * one of bf16, in the order that they have in q8_0. */
#include "kernels/kv_widen.h"

#include <immintrin.h>
#include <string.h>

/* Bytes between what is read and what is asked for with it. */
#define KV_AHEAD 12288

/* 32 whole numbers times the scales of the first and the second 16. */
static inline __m512bh kv_scaled(__m256i whole, __m512 low, __m512 high) {
    __m512 a = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(whole)));
    __m512 b = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(whole, 1)));
    return _mm512_cvtne2ps_pbh(_mm512_mul_ps(b, high), _mm512_mul_ps(a, low));
}

/* The scales of a group of keys, each twice, for a pair of dimensions: of the first 8 keys, and of
 * the others. */
static inline void kv_key_scales(const uint16_t *scales, __m512 *low, __m512 *high) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scales));
    *low = _mm512_permutexvar_ps(twice, scale);
    *high = _mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8)), scale);
}

/* The scales of a pair of values in turn. */
static inline __m512 kv_value_scales(const uint16_t *both) {
    int32_t pair;
    memcpy(&pair, both, sizeof pair);
    return _mm512_cvtph_ps(_mm256_set1_epi32(pair));
}

/* Bytes of the pairs of `left` dimensions, at most 16. */
static inline __mmask32 kv_bytes_there(int64_t left) {
    return left >= 16 ? 0xffffffffu : (1u << 2 * left) - 1;
}
