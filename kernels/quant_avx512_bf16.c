/* Matrices in blocks at AVX-512-BF16: widening, rounded to bf16. */
#include "kernels/quant_level.h"
#include "kernels/quant_vector_avx512.h"

static inline __m512 values(__m128i bytes, __m512 scale) {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), scale);
}

static inline void put_rows(const struct tile_rows *rows, int64_t stride, uint16_t *out) {
    for (int r = 0; r < QUANT_ROWS; r++) {
        __m512 scale = _mm512_set1_ps(rows->scales[r]);
        __m512bh row =
            _mm512_cvtne2ps_pbh(values(rows->second[r], scale), values(rows->first[r], scale));
        _mm512_storeu_si512(out + r * stride, (__m512i)row);
    }
}

void q8_0_widen_bf16_avx512(int64_t tiles, const unsigned char *from, int64_t stride,
                            uint16_t *out) {
    struct tile_rows rows;
    for (int64_t b = 0; b < tiles; b++, from += 544, out += 32) {
        tile_rows_q8_0(from, &rows);
        put_rows(&rows, stride, out);
    }
}

void q4_0_widen_bf16_avx512(int64_t tiles, const unsigned char *from, int64_t stride,
                            uint16_t *out) {
    struct tile_rows rows;
    for (int64_t b = 0; b < tiles; b++, from += 288, out += 32) {
        tile_rows_q4_0(from, &rows);
        put_rows(&rows, stride, out);
    }
}
