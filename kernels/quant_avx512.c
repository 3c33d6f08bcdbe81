/* Matrices in blocks at AVX-512: widening to f32, and activations for products from the blocks. */
#include "kernels/quant_vector_avx512.h"

#include <string.h>

INLINE void widen(const struct quant_layout *l, bytes_function *bytes, scales_function *scales,
                  scales_function *minimum, int64_t tiles, const unsigned char *from,
                  int64_t stride, float *out) {
    struct run_rows rows;
    for (int64_t b = 0; b < tiles; b++, from += quant_tile_bytes(l))
        for (int s = 0; s < l->runs; s++, out += 32) {
            run_unpack(l, bytes, scales, minimum, from, s, &rows);
            for (int r = 0; r < QUANT_ROWS; r++)
                for (int half = 0; half < 2; half++)
                    _mm512_storeu_ps(out + r * stride + half * 16, run_values(l, &rows, half, r));
        }
}

#define WIDEN(type, bytes, scales, minimum)                                                        \
    void type##_widen_f32_avx512(int64_t tiles, const unsigned char *from, int64_t stride,         \
                                 float *out) {                                                     \
        widen(&quant_layout_##type, bytes, scales, minimum, tiles, from, stride, out);             \
    }
QUANT_UNPACK(WIDEN)

void quant_round_avx512(int64_t blocks, const float *x, int8_t *planes, float *scales,
                        int32_t *sums) {
    const __m512i size = _mm512_set1_epi32(0x7fffffff);
    for (int64_t b = 0; b < blocks; b++, x += 32, planes += 64) {
        __m512 v[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)};
        uint32_t bits = _mm512_reduce_max_epu32(
            _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(v[0]), size),
                             _mm512_and_si512(_mm512_castps_si512(v[1]), size)));
        bool finite = bits < 0x7f800000u;
        float largest, inverse = 0;
        memcpy(&largest, &bits, sizeof largest);
        if (finite && largest >= QUANT_INPUT_LEAST)
            inverse = QUANT_INPUT_MOST / largest;
        for (int i = 0; i < 2; i++) {
            __m512i whole = finite
                                ? _mm512_cvtps_epi32(_mm512_mul_ps(v[i], _mm512_set1_ps(inverse)))
                                : _mm512_setzero_si512();
            __m512i high = _mm512_cvtps_epi32(
                _mm512_mul_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(1.0f / 255)));
            __m512i low =
                _mm512_add_epi32(_mm512_sub_epi32(whole, _mm512_slli_epi32(high, 8)), high);
            _mm_storeu_si128((__m128i *)(planes + 16 * i), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((__m128i *)(planes + 32 + 16 * i), _mm512_cvtepi32_epi8(low));
            sums[2 * b + i] = _mm512_reduce_add_epi32(whole);
        }
        scales[b] = finite ? largest * (1.0f / QUANT_INPUT_MOST) : largest - largest;
    }
}
