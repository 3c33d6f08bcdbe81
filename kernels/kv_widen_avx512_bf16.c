/* To bf16 at AVX-512-BF16. Sixteen bytes become sixteen f32 numbers, are scaled, and go two vectors
 * together into one of bf16, in the order that they have in q8_0. */
#include "kernels/kv_widen.h"

#include <immintrin.h>

#define AHEAD 12288

/* 32 whole numbers times the scales of the first and the second 16. */
static inline __m512i scaled(__m256i whole, __m512 low, __m512 high) {
    __m512 a = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(whole)));
    __m512 b = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(whole, 1)));
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(b, high), _mm512_mul_ps(a, low));
}

static void keys_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i upper = _mm512_add_epi32(twice, _mm512_set1_epi32(8));
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        uint16_t *keys = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t block = 0; block < d; block += KV_SCALED, scales += KV_GROUP) {
            __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scales));
            __m512 low = _mm512_permutexvar_ps(twice, scale);
            __m512 high = _mm512_permutexvar_ps(upper, scale);
            int64_t block_end = block + KV_SCALED < d ? block + KV_SCALED : d;
            for (int64_t i = block; i < block_end; i += 2) {
                const int8_t *at = group + i * KV_GROUP;
                _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
                __m256i whole = _mm256_loadu_si256((const void *)at);
                _mm512_storeu_si512(keys + i * KV_GROUP, scaled(whole, low, high));
            }
        }
    }
}

/* A pair's scales in turn, from its two halves. */
static inline __m512 scales_in_turn(const uint16_t *both) {
    int32_t pair;
    __builtin_memcpy(&pair, both, sizeof pair);
    return _mm512_cvtph_ps(_mm256_set1_epi32(pair));
}

static void values_widen(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        const int8_t *group = kv_widen_group(from, d, g);
        const uint16_t *scales = kv_widen_scales(group, d);
        uint16_t *values = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t p = 0; p < KV_GROUP / 2; p++, values += 2 * d, group += 2 * d)
            for (int64_t i = 0; i < d; i += KV_SCALED, scales += 2) {
                __m512 scale = scales_in_turn(scales);
                _mm_prefetch((const char *)group + 2 * i + AHEAD, _MM_HINT_T0);
                for (int64_t k = i; k < d && k < i + KV_SCALED; k += 16) {
                    int64_t rest = d - k < 16 ? 2 * (d - k) : 32;
                    __mmask32 there = rest == 32 ? 0xffffffffu : (1u << rest) - 1;
                    __m256i whole = _mm256_maskz_loadu_epi8(there, group + 2 * k);
                    _mm512_mask_storeu_epi16(values + 2 * k, there, scaled(whole, scale, scale));
                }
            }
    }
}

const struct kv_widener kv_widen_avx512_bf16 = {KV_BF16, keys_widen, values_widen};
