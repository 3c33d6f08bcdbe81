/* Products of a few tokens from the blocks with AVX512-VNNI: four products of a byte without and a
 * byte with sign are added to each 32-bit lane at once. The weights are made numbers without sign
 * by an offset, whose part of the sum is known beforehand from the activations' sum. */
#include "kernels/quant_level.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Four values of a token, the same for every row. */
INLINE __m512i token(const int8_t *plane, int v) {
    int four;
    memcpy(&four, plane + 4 * v, sizeof four);
    return _mm512_set1_epi32(four);
}

/* A tile's bytes for four columns v of each row, without sign: q + offset. */
typedef __m512i bytes_function(const unsigned char *tile, int v);

INLINE __m512i q8_0_bytes(const unsigned char *tile, int v) {
    return _mm512_xor_si512(_mm512_loadu_si512(tile + QUANT_TILE_SCALES + v * 64),
                            _mm512_set1_epi8(-128));
}

INLINE __m512i q4_0_bytes(const unsigned char *tile, int v) {
    __m512i bytes = _mm512_loadu_si512(tile + QUANT_TILE_SCALES + v % 4 * 64);
    if (v >= 4)
        bytes = _mm512_srli_epi16(bytes, 4);
    return _mm512_and_si512(bytes, _mm512_set1_epi8(15));
}

/* One group of rows for T tokens, known where this is inlined. */
INLINE void group(const int T, bytes_function *bytes, const int offset, const int64_t tile_bytes,
                  const struct quant_input *in, const unsigned char *tile,
                  __m512 sums[QUANT_PASS]) {
    const int64_t blocks = in->blocks;
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
        sums[t] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, tile += tile_bytes) {
        __m512i high[QUANT_PASS], low[QUANT_PASS];
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            high[t] = _mm512_setzero_si512();
            low[t] = _mm512_set1_epi32(-offset * in->sums[t * blocks + b]);
        }
#pragma GCC unroll 8
        for (int v = 0; v < 8; v++) {
            __m512i q = bytes(tile, v);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) {
                const int8_t *planes = in->planes + (t * blocks + b) * 64;
                high[t] = _mm512_dpbusd_epi32(high[t], q, token(planes, v));
                low[t] = _mm512_dpbusd_epi32(low[t], q, token(planes + 32, v));
            }
        }
        __m512 scales = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)tile));
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            __m512i all =
                _mm512_add_epi32(_mm512_sub_epi32(_mm512_slli_epi32(high[t], 8), high[t]), low[t]);
            __m512 factor = _mm512_mul_ps(scales, _mm512_set1_ps(in->scales[t * blocks + b]));
            sums[t] = _mm512_fmadd_ps(factor, _mm512_cvtepi32_ps(all), sums[t]);
        }
    }
}

INLINE void pass(const int T, bytes_function *bytes, const int offset, const int64_t tile_bytes,
                 const struct quant_input *in, const struct matrix *m, int64_t first, int64_t end,
                 float *y) {
    const unsigned char *tiles = m->data;
    for (int64_t g = first; g < end; g++) {
        __m512 sums[QUANT_PASS];
        int64_t n = g * QUANT_ROWS, rest = m->rows - n;
        __mmask16 rows = rest < QUANT_ROWS ? (__mmask16)((1u << rest) - 1) : 0xffff;
        group(T, bytes, offset, tile_bytes, in, tiles + g * in->blocks * tile_bytes, sums);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
            _mm512_mask_storeu_ps(y + t * m->rows + n, rows, sums[t]);
    }
}

#define FEW(type, offset, tile_bytes)                                                              \
    void type##_few_vnni(const struct quant_input *in, const struct matrix *m, int64_t first,      \
                         int64_t end, float *y) {                                                  \
        switch (in->T) {                                                                           \
            CASE(type, 1, offset, tile_bytes)                                                      \
            CASE(type, 2, offset, tile_bytes)                                                      \
            CASE(type, 3, offset, tile_bytes)                                                      \
            CASE(type, 4, offset, tile_bytes)                                                      \
            CASE(type, 5, offset, tile_bytes)                                                      \
            CASE(type, 6, offset, tile_bytes)                                                      \
            CASE(type, 7, offset, tile_bytes)                                                      \
            CASE(type, 8, offset, tile_bytes)                                                      \
        }                                                                                          \
    }
#define CASE(type, T, offset, tile_bytes)                                                          \
    case T:                                                                                        \
        pass(T, type##_bytes, offset, tile_bytes, in, m, first, end, y);                           \
        break;
FEW(q8_0, 128, 544)
FEW(q4_0, 8, 288)
