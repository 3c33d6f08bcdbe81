/* The numbers and scales of a tile (quant_layout.h) as vectors of AVX-512, type by type. Include
 * only where the compiler may use these instructions. */
#ifndef QUIRE_KERNELS_QUANT_VECTOR_AVX512_H
#define QUIRE_KERNELS_QUANT_VECTOR_AVX512_H

#include "kernels/quant_layout.h"
#include "kernels/quant_level.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Numbers 4v .. 4v+3 of each row of a run, without sign. */
typedef __m512i bytes_function(const unsigned char *run, int v);

INLINE __m512i bytes_q8_0(const unsigned char *run, int v) {
    return _mm512_xor_si512(_mm512_loadu_si512(run + v * 64), _mm512_set1_epi8(-128));
}

INLINE __m512i bytes_4(const unsigned char *run, int v) {
    __m512i bytes = _mm512_loadu_si512(run + v % 4 * 64);
    if (v >= 4)
        bytes = _mm512_srli_epi16(bytes, 4);
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

/* Each byte's bits moved up by `up` places (down where it is negative), those of `mask` kept. */
INLINE __m512i bits(__m512i bytes, int up, int mask) {
    __m512i moved =
        up < 0 ? _mm512_srli_epi16(bytes, (unsigned)-up) : _mm512_slli_epi16(bytes, (unsigned)up);
    return _mm512_and_si512(moved, _mm512_set1_epi8((char)mask));
}

INLINE __m512i bytes_5(const unsigned char *run, int v) {
    __m512i high = _mm512_loadu_si512(run + QUANT_HIGH);
    return _mm512_or_si512(bytes_4(run, v), bits(high, 4 - v, 16));
}

INLINE __m512i bytes_6(const unsigned char *run, int v) {
    __m512i high = _mm512_loadu_si512(run + QUANT_HIGH + v / 4 * 64);
    return _mm512_or_si512(bytes_4(run, v), bits(high, 4 - 2 * (v % 4), 48));
}

/* Scales of run s of a tile and of its half, or its minimum: a row in each lane. */
typedef __m512 scales_function(const unsigned char *tile, int s, int half);

INLINE __m512 scales_halves(const unsigned char *at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
}

INLINE __m512 scales_plain(const unsigned char *tile, int s, int half) {
    (void)s, (void)half;
    return scales_halves(tile);
}

INLINE __m512 minimum_plain(const unsigned char *tile, int s, int half) {
    (void)s, (void)half;
    return _mm512_sub_ps(_mm512_set1_ps(-0.0f), scales_halves(tile + 32));
}

INLINE __m512 scales_k(const unsigned char *tile, int s, int half) {
    (void)half;
    __m128i eight = _mm_loadu_si128((const __m128i *)(tile + 64 + s * QUANT_RUN_SCALES));
    return _mm512_mul_ps(scales_halves(tile), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(eight)));
}

INLINE __m512 minimum_k(const unsigned char *tile, int s, int half) {
    (void)half;
    __m128i eight =
        _mm_loadu_si128((const __m128i *)(tile + 64 + s * QUANT_RUN_SCALES + QUANT_ROWS));
    return _mm512_mul_ps(scales_halves(tile + 32), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(eight)));
}

INLINE __m512 scales_q6_k(const unsigned char *tile, int s, int half) {
    __m128i eight =
        _mm_loadu_si128((const __m128i *)(tile + 32 + s * QUANT_RUN_SCALES + half * QUANT_ROWS));
    return _mm512_mul_ps(scales_halves(tile), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(eight)));
}

/* DO(type, its bytes, its scales, its minimum) */
#define QUANT_UNPACK(DO)                                                                           \
    DO(q8_0, bytes_q8_0, scales_plain, minimum_plain)                                              \
    DO(q4_0, bytes_4, scales_plain, minimum_plain)                                                 \
    DO(q4_1, bytes_4, scales_plain, minimum_plain)                                                 \
    DO(q5_0, bytes_5, scales_plain, minimum_plain)                                                 \
    DO(q5_1, bytes_5, scales_plain, minimum_plain)                                                 \
    DO(q4_k, bytes_4, scales_k, minimum_k)                                                         \
    DO(q5_k, bytes_5, scales_k, minimum_k)                                                         \
    DO(q6_k, bytes_6, scales_q6_k, minimum_plain)

/* -- a run row by row, for the kernels that widen it --------------------------------------------*/

/* Row r is scales[half][r] times 16 bytes with their sign, less minimum[r], for each half. */
struct run_rows {
    float scales[2][QUANT_ROWS], minimum[QUANT_ROWS];
    __m128i bytes[2][QUANT_ROWS];
};

/* Four vectors of four bytes of each row to the 16 bytes of each row: within each of the four parts
 * of 128 bits a 4 x 4 transpose gives the rows i, 4 + i, 8 + i and 12 + i. */
INLINE void rows_put(const __m512i v[4], __m128i out[QUANT_ROWS]) {
    __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), low23 = _mm512_unpacklo_epi32(v[2], v[3]);
    __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    const __m512i rows[4] = {
        _mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23), _mm512_unpackhi_epi64(high01, high23)};
    for (int i = 0; i < 4; i++) {
        out[i] = _mm512_castsi512_si128(rows[i]);
        out[4 + i] = _mm512_extracti32x4_epi32(rows[i], 1);
        out[8 + i] = _mm512_extracti32x4_epi32(rows[i], 2);
        out[12 + i] = _mm512_extracti32x4_epi32(rows[i], 3);
    }
}

INLINE void run_unpack(const struct quant_layout *l, bytes_function *bytes, scales_function *scales,
                       scales_function *minimum, const unsigned char *tile, int s,
                       struct run_rows *rows) {
    const __m512i offset = _mm512_set1_epi8((char)l->offset);
    const unsigned char *run = tile + l->head + s * l->run;
    for (int half = 0; half < 2; half++) {
        __m512i v[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            v[i] = _mm512_sub_epi8(bytes(run, 4 * half + i), offset);
        rows_put(v, rows->bytes[half]);
        _mm512_storeu_ps(rows->scales[half], scales(tile, s, half));
    }
    if (l->minimum)
        _mm512_storeu_ps(rows->minimum, minimum(tile, s, 0));
}

/* Values of a row's half, rounded once. */
INLINE __m512 run_values(const struct quant_layout *l, const struct run_rows *rows, int half,
                         int r) {
    __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(rows->bytes[half][r]));
    __m512 value = _mm512_mul_ps(q, _mm512_set1_ps(rows->scales[half][r]));
    return l->minimum ? _mm512_sub_ps(value, _mm512_set1_ps(rows->minimum[r])) : value;
}

#endif
