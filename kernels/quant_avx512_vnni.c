/* Products of a few tokens from the blocks with AVX512-VNNI: four products of a byte without and a
 * byte with sign are added to each 32-bit lane at once. The weights are numbers without sign,
 * larger by an offset, whose part of the sum is known beforehand from the activations' sum. */
#include "kernels/quant_vector_avx512.h"

#include <string.h>

/* Four values of a token, the same for every row. */
INLINE __m512i token(const int8_t *plane, int v) {
    int four;
    memcpy(&four, plane + 4 * v, sizeof four);
    return _mm512_set1_epi32(four);
}

/* What is inlined for each type and number of tokens T. */
struct kind {
    const struct quant_layout *layout;
    bytes_function *bytes;
    scales_function *scales, *minimum;
};

/* Vectors [first, end) of run s for T tokens: their products with one scale. */
INLINE void add_vectors(const int T, const struct kind kind, const unsigned char *tile, const int s,
                        const int first, const int end, const struct quant_input *in, int64_t b,
                        __m512 sums[QUANT_PASS]) {
    const struct quant_layout *l = kind.layout;
    const unsigned char *run = tile + l->head + s * l->run;
    __m512i high[QUANT_PASS], low[QUANT_PASS];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
        const int32_t *x_sums = in->sums + 2 * (t * in->blocks + b);
        int32_t x_sum = l->halves ? x_sums[first / 4] : x_sums[0] + x_sums[1];
        high[t] = _mm512_setzero_si512();
        low[t] = _mm512_set1_epi32(-l->offset * x_sum);
    }
#pragma GCC unroll 8
    for (int v = first; v < end; v++) {
        __m512i q = kind.bytes(run, v);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            const int8_t *planes = in->planes + (t * in->blocks + b) * 64;
            high[t] = _mm512_dpbusd_epi32(high[t], q, token(planes, v));
            low[t] = _mm512_dpbusd_epi32(low[t], q, token(planes + 32, v));
        }
    }
    __m512 scales = kind.scales(tile, s, first / 4);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
        __m512i all =
            _mm512_add_epi32(_mm512_sub_epi32(_mm512_slli_epi32(high[t], 8), high[t]), low[t]);
        __m512 factor = _mm512_mul_ps(scales, _mm512_set1_ps(in->scales[t * in->blocks + b]));
        sums[t] = _mm512_fmadd_ps(factor, _mm512_cvtepi32_ps(all), sums[t]);
    }
}

INLINE void add_run(const int T, const struct kind kind, const unsigned char *tile, const int s,
                    const struct quant_input *in, int64_t b, __m512 sums[QUANT_PASS]) {
    if (kind.layout->halves) {
        add_vectors(T, kind, tile, s, 0, 4, in, b, sums);
        add_vectors(T, kind, tile, s, 4, 8, in, b, sums);
    } else {
        add_vectors(T, kind, tile, s, 0, 8, in, b, sums);
    }
    if (!kind.layout->minimum)
        return;
    __m512 minimum = kind.minimum(tile, s, 0);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
        int64_t i = t * in->blocks + b;
        __m512 factor = _mm512_mul_ps(minimum, _mm512_set1_ps(in->scales[i]));
        sums[t] = _mm512_fnmadd_ps(
            factor, _mm512_set1_ps((float)(in->sums[2 * i] + in->sums[2 * i + 1])), sums[t]);
    }
}

/* Bytes ahead of a run that are asked for while it is multiplied: the sums keep the processor from
 * looking as far ahead itself (of the memory's rate, for one token of q4_0: 83 % without, 96 % with
 * it; less far or farther is slower). */
#define AHEAD 6144

INLINE void fetch_run(const unsigned char *run, const int bytes) {
#pragma GCC unroll 16
    for (int i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)run + AHEAD + i, _MM_HINT_T0);
}

INLINE void pass(const int T, const struct kind kind, const struct quant_input *in,
                 const struct matrix *m, int64_t first, int64_t end, float *y) {
    const int runs = kind.layout->runs;
    int64_t tiles = in->blocks / runs, tile_bytes = quant_tile_bytes(kind.layout);
    const unsigned char *tile = (const unsigned char *)m->data + first * tiles * tile_bytes;
    for (int64_t g = first; g < end; g++) {
        __m512 sums[QUANT_PASS];
        int64_t n = g * QUANT_ROWS, rest = m->rows - n;
        __mmask16 rows = rest < QUANT_ROWS ? (__mmask16)((1u << rest) - 1) : 0xffff;
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
            sums[t] = _mm512_setzero_ps();
        for (int64_t i = 0; i < tiles; i++, tile += tile_bytes)
            for (int s = 0; s < runs; s++) {
                fetch_run(tile + s * (tile_bytes / runs), (int)(tile_bytes / runs));
                add_run(T, kind, tile, s, in, i * runs + s, sums);
            }
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
            _mm512_mask_storeu_ps(y + t * m->rows + n, rows, sums[t]);
    }
}

#define FEW(type, bytes, scales, minimum)                                                          \
    void type##_few_vnni(const struct quant_input *in, const struct matrix *m, int64_t first,      \
                         int64_t end, float *y) {                                                  \
        const struct kind kind = {&quant_layout_##type, bytes, scales, minimum};                   \
        switch (in->T) {                                                                           \
            CASE(1)                                                                                \
            CASE(2)                                                                                \
            CASE(3)                                                                                \
            CASE(4)                                                                                \
            CASE(5)                                                                                \
            CASE(6)                                                                                \
            CASE(7)                                                                                \
            CASE(8)                                                                                \
        }                                                                                          \
    }
#define CASE(T)                                                                                    \
    case T:                                                                                        \
        pass(T, kind, in, m, first, end, y);                                                       \
        break;
QUANT_UNPACK(FEW)
