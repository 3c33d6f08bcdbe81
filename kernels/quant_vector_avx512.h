/* The rows of a tile (quant.h) one by one, for the kernels that widen them at AVX-512. Include only
 * where the compiler may use these instructions. */
#ifndef QUIRE_KERNELS_QUANT_VECTOR_AVX512_H
#define QUIRE_KERNELS_QUANT_VECTOR_AVX512_H

#include "kernels/quant_level.h"
#include <immintrin.h>

/* Row r is scales[r] times 32 bytes with their sign. */
struct tile_rows {
    float scales[QUANT_ROWS];
    __m128i first[QUANT_ROWS], second[QUANT_ROWS];
};

/* Four vectors as they lie, four bytes of each row, to the 16 bytes of each row: within each of the
 * four parts of 128 bits a 4 x 4 transpose. out[i] has the rows i, 4 + i, 8 + i and 12 + i. */
static inline void tile_transpose(const unsigned char *vectors, __m512i out[4]) {
    __m512i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_loadu_si512(vectors + i * 64);
    __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), low23 = _mm512_unpacklo_epi32(v[2], v[3]);
    __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    out[0] = _mm512_unpacklo_epi64(low01, low23);
    out[1] = _mm512_unpackhi_epi64(low01, low23);
    out[2] = _mm512_unpacklo_epi64(high01, high23);
    out[3] = _mm512_unpackhi_epi64(high01, high23);
}

static inline void tile_put(const __m512i from[4], __m128i out[QUANT_ROWS]) {
    for (int i = 0; i < 4; i++) {
        out[i] = _mm512_castsi512_si128(from[i]);
        out[4 + i] = _mm512_extracti32x4_epi32(from[i], 1);
        out[8 + i] = _mm512_extracti32x4_epi32(from[i], 2);
        out[12 + i] = _mm512_extracti32x4_epi32(from[i], 3);
    }
}

static inline void tile_scales(const unsigned char *tile, float scales[QUANT_ROWS]) {
    _mm512_storeu_ps(scales, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)tile)));
}

static inline void tile_rows_q8_0(const unsigned char *tile, struct tile_rows *rows) {
    __m512i bytes[4];
    tile_scales(tile, rows->scales);
    tile_transpose(tile + QUANT_TILE_SCALES, bytes);
    tile_put(bytes, rows->first);
    tile_transpose(tile + QUANT_TILE_SCALES + 256, bytes);
    tile_put(bytes, rows->second);
}

static inline void tile_rows_q4_0(const unsigned char *tile, struct tile_rows *rows) {
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    __m512i bytes[4], part[4];
    tile_scales(tile, rows->scales);
    tile_transpose(tile + QUANT_TILE_SCALES, bytes);
    for (int i = 0; i < 4; i++)
        part[i] = _mm512_sub_epi8(_mm512_and_si512(bytes[i], low), eight);
    tile_put(part, rows->first);
    for (int i = 0; i < 4; i++)
        part[i] = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(bytes[i], 4), low), eight);
    tile_put(part, rows->second);
}

#endif
