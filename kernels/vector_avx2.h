/* A vector of floats at the AVX2 level, under the names that the shared kernel sources use
 * (vector_avx512.h has the same). Include only where the compiler may use these instructions. */
#ifndef QUIRE_KERNELS_VECTOR_AVX2_H
#define QUIRE_KERNELS_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define LANES 8

typedef __m256 vector;
typedef __m256i vector_words;

static inline vector vector_load(const float *x) {
    return _mm256_loadu_ps(x);
}

static inline void vector_store(float *x, vector a) {
    _mm256_storeu_ps(x, a);
}

static inline vector vector_set(float x) {
    return _mm256_set1_ps(x);
}

/* a * b + c, rounded once */
static inline vector vector_fma(vector a, vector b, vector c) {
    return _mm256_fmadd_ps(a, b, c);
}

/* c - a * b, rounded once */
static inline vector vector_fnma(vector a, vector b, vector c) {
    return _mm256_fnmadd_ps(a, b, c);
}

/* The larger (smaller) one; b when one of them is NaN. */
static inline vector vector_max(vector a, vector b) {
    return _mm256_max_ps(a, b);
}

static inline vector vector_min(vector a, vector b) {
    return _mm256_min_ps(a, b);
}

static inline vector vector_round(vector a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* a * 2^n for whole n, |n| up to 252: in two steps, since 2^n itself need not be a float. */
static inline vector vector_scale(vector a, vector n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    __m256i x = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i y = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(x)), _mm256_castsi256_ps(y));
}

static inline bool vector_any_greater(vector a, vector b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
}

/* x in the lanes where a < b, y in the others. */
static inline vector vector_where_less(vector a, vector b, vector x, vector y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline float vector_largest(vector a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static inline float vector_first(vector a) {
    return _mm256_cvtss_f32(a);
}

static inline __m256i lanes_below(int64_t n) {
    int limit = n < 0 ? 0 : n > LANES ? LANES : (int)n;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(limit), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* a in the lanes below n, b in the others; any n. */
static inline vector vector_below(vector a, vector b, int64_t n) {
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(lanes_below(n)));
}

/* x [n] and zeros behind; any n. */
static inline vector vector_load_part(const float *x, int64_t n) {
    return _mm256_maskload_ps(x, lanes_below(n));
}

static inline void vector_store_part(float *x, vector a, int64_t n) {
    _mm256_maskstore_ps(x, lanes_below(n), a);
}

/* Pairs of bf16 in 32-bit words: the first (second) of each pair in f32. */
static inline vector words_first(vector_words words) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

static inline vector words_second(vector_words words) {
    return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000)));
}

static inline vector_words words_load(const uint32_t *words) {
    return _mm256_loadu_si256((const __m256i *)words);
}

/* words [n] and zeros behind; any n. */
static inline vector_words words_load_part(const uint32_t *words, int64_t n) {
    return _mm256_maskload_epi32((const int *)words, lanes_below(n));
}

/* Pairs of bytes [2 * LANES] in 32-bit words: the first (second) of each pair as floats. */
static inline vector_words bytes_load(const int8_t *pairs) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)pairs));
}

static inline vector bytes_first(vector_words pairs) {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(pairs, 24), 24));
}

static inline vector bytes_second(vector_words pairs) {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(pairs, 8));
}

/* IEEE halves as floats. */
static inline vector halves_load(const uint16_t *halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)halves));
}

#endif
