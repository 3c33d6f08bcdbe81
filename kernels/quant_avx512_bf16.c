/* Matrices in blocks at AVX-512-BF16: widening, rounded to bf16. */
#include "kernels/quant_vector_avx512.h"

INLINE void widen(const struct quant_layout *l, bytes_function *bytes, scales_function *scales,
                  scales_function *minimum, int64_t tiles, const unsigned char *from,
                  int64_t stride, uint16_t *out) {
    struct run_rows rows;
    for (int64_t b = 0; b < tiles; b++, from += quant_tile_bytes(l))
        for (int s = 0; s < l->runs; s++, out += 32) {
            run_unpack(l, bytes, scales, minimum, from, s, &rows);
            for (int r = 0; r < QUANT_ROWS; r++)
                _mm512_storeu_si512(out + r * stride,
                                    (__m512i)_mm512_cvtne2ps_pbh(run_values(l, &rows, 1, r),
                                                                 run_values(l, &rows, 0, r)));
        }
}

#define WIDEN(type, bytes, scales, minimum)                                                        \
    void type##_widen_bf16_avx512(int64_t tiles, const unsigned char *from, int64_t stride,        \
                                  uint16_t *out) {                                                 \
        widen(&quant_layout_##type, bytes, scales, minimum, tiles, from, stride, out);             \
    }
QUANT_UNPACK(WIDEN)
