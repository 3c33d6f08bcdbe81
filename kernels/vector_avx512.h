/* A vector of floats at the AVX-512 level, under the names that the shared kernel sources use
 * (vector_avx2.h has the same). Include only where the compiler may use these instructions. */
#ifndef QUIRE_KERNELS_VECTOR_AVX512_H
#define QUIRE_KERNELS_VECTOR_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define LANES 16

typedef __m512 vector;
typedef __m512i vector_words;

static inline vector vector_load(const float *x) {
    return _mm512_loadu_ps(x);
}

static inline void vector_store(float *x, vector a) {
    _mm512_storeu_ps(x, a);
}

static inline vector vector_set(float x) {
    return _mm512_set1_ps(x);
}

/* a * b + c, rounded once */
static inline vector vector_fma(vector a, vector b, vector c) {
    return _mm512_fmadd_ps(a, b, c);
}

/* c - a * b, rounded once */
static inline vector vector_fnma(vector a, vector b, vector c) {
    return _mm512_fnmadd_ps(a, b, c);
}

/* The larger (smaller) one; b when one of them is NaN. */
static inline vector vector_max(vector a, vector b) {
    return _mm512_max_ps(a, b);
}

static inline vector vector_min(vector a, vector b) {
    return _mm512_min_ps(a, b);
}

static inline vector vector_round(vector a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a * 2^n for whole n, |n| up to 300 */
static inline vector vector_scale(vector a, vector n) {
    return _mm512_scalef_ps(a, n);
}

static inline bool vector_any_greater(vector a, vector b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0;
}

/* x in the lanes where a < b, y in the others. */
static inline vector vector_where_less(vector a, vector b, vector x, vector y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

static inline float vector_largest(vector a) {
    return _mm512_reduce_max_ps(a);
}

static inline float vector_first(vector a) {
    return _mm512_cvtss_f32(a);
}

static inline __mmask16 lanes_below(int64_t n) {
    return n >= LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* a in the lanes below n, b in the others; any n. */
static inline vector vector_below(vector a, vector b, int64_t n) {
    return _mm512_mask_blend_ps(lanes_below(n), b, a);
}

/* x [n] and zeros behind; any n. */
static inline vector vector_load_part(const float *x, int64_t n) {
    return _mm512_maskz_loadu_ps(lanes_below(n), x);
}

static inline void vector_store_part(float *x, vector a, int64_t n) {
    _mm512_mask_storeu_ps(x, lanes_below(n), a);
}

/* Pairs of bf16 in 32-bit words: the first (second) of each pair in f32. */
static inline vector words_first(vector_words words) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

static inline vector words_second(vector_words words) {
    return _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32((int)0xffff0000)));
}

static inline vector_words words_load(const uint32_t *words) {
    return _mm512_loadu_si512(words);
}

/* words [n] and zeros behind; any n. */
static inline vector_words words_load_part(const uint32_t *words, int64_t n) {
    return _mm512_maskz_loadu_epi32(lanes_below(n), words);
}

/* Pairs of bytes [2 * LANES] in 32-bit words: the first (second) of each pair as floats. */
static inline vector_words bytes_load(const int8_t *pairs) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)pairs));
}

static inline vector bytes_first(vector_words pairs) {
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(pairs, 24), 24));
}

static inline vector bytes_second(vector_words pairs) {
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(pairs, 8));
}

/* IEEE halves as floats. */
static inline vector halves_load(const uint16_t *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)halves));
}

#endif
