/* Matrices in blocks, in plain C: the reference for the other levels. */
#include "kernels/half.h"
#include "kernels/quant_level.h"

#define BLOCK 32

static inline float scale_of(const unsigned char *tile, int r) {
    uint16_t half;
    memcpy(&half, tile + 2 * r, sizeof half);
    return f16_to_f32(half);
}

/* Whole number k of row r in a tile, without its scale. */
typedef int whole_at(const unsigned char *tile, int r, int k);

static inline int q8_0_at(const unsigned char *tile, int r, int k) {
    return (signed char)tile[QUANT_TILE_SCALES + k / 4 * 64 + 4 * r + k % 4];
}

static inline int q4_0_at(const unsigned char *tile, int r, int k) {
    int i = k % 16, byte = tile[QUANT_TILE_SCALES + i / 4 * 64 + 4 * r + i % 4];
    return (k < 16 ? byte & 15 : byte >> 4) - 8;
}

/* The functions below are inlined with the type's own whole_at. */
#define INLINE static inline __attribute__((always_inline))

INLINE void widen_f32(whole_at *at, int64_t tile_bytes, int64_t tiles, const unsigned char *from,
                      int64_t stride, float *out) {
    for (int64_t b = 0; b < tiles; b++, from += tile_bytes, out += BLOCK)
        for (int r = 0; r < QUANT_ROWS; r++) {
            float scale = scale_of(from, r);
            for (int k = 0; k < BLOCK; k++)
                out[r * stride + k] = scale * (float)at(from, r, k);
        }
}

INLINE void widen_bf16(whole_at *at, int64_t tile_bytes, int64_t tiles, const unsigned char *from,
                       int64_t stride, uint16_t *out) {
    for (int64_t b = 0; b < tiles; b++, from += tile_bytes, out += BLOCK)
        for (int r = 0; r < QUANT_ROWS; r++) {
            float scale = scale_of(from, r);
            for (int k = 0; k < BLOCK; k++)
                out[r * stride + k] = bf16_from_f32(scale * (float)at(from, r, k));
        }
}

/* One block of 16 rows for one token. */
INLINE void add_block(whole_at *at, const unsigned char *tile, const int8_t *planes, float scale,
                      float *sums) {
    int x[BLOCK];
    for (int k = 0; k < BLOCK; k++)
        x[k] = 255 * planes[k] + planes[BLOCK + k];
    int dots[QUANT_ROWS] = {0};
    for (int k = 0; k < BLOCK; k++)
        for (int r = 0; r < QUANT_ROWS; r++)
            dots[r] += at(tile, r, k) * x[k];
    for (int r = 0; r < QUANT_ROWS; r++)
        sums[r] += scale_of(tile, r) * scale * (float)dots[r];
}

INLINE void few(whole_at *at, int64_t tile_bytes, const struct quant_input *in,
                const struct matrix *m, int64_t first, int64_t end, float *y) {
    const unsigned char *tile = (const unsigned char *)m->data + first * in->blocks * tile_bytes;
    for (int64_t g = first; g < end; g++) {
        int64_t n = g * QUANT_ROWS, rows = m->rows - n < QUANT_ROWS ? m->rows - n : QUANT_ROWS;
        float sums[QUANT_PASS][QUANT_ROWS] = {{0}};
        for (int64_t b = 0; b < in->blocks; b++, tile += tile_bytes)
            for (int64_t t = 0, i = b; t < in->T; t++, i += in->blocks)
                add_block(at, tile, in->planes + i * 2 * BLOCK, in->scales[i], sums[t]);
        for (int64_t t = 0; t < in->T; t++)
            memcpy(y + t * m->rows + n, sums[t], (size_t)rows * sizeof *y);
    }
}

#define KERNELS(type, tile_bytes)                                                                  \
    void type##_widen_f32_generic(int64_t tiles, const unsigned char *from, int64_t stride,        \
                                  float *out) {                                                    \
        widen_f32(type##_at, tile_bytes, tiles, from, stride, out);                                \
    }                                                                                              \
    void type##_widen_bf16_generic(int64_t tiles, const unsigned char *from, int64_t stride,       \
                                   uint16_t *out) {                                                \
        widen_bf16(type##_at, tile_bytes, tiles, from, stride, out);                               \
    }                                                                                              \
    void type##_few_generic(const struct quant_input *in, const struct matrix *m, int64_t first,   \
                            int64_t end, float *y) {                                               \
        few(type##_at, tile_bytes, in, m, first, end, y);                                          \
    }
KERNELS(q8_0, 544)
KERNELS(q4_0, 288)

/* To the nearest whole number, ties to even, for |x| < 2^22: beside 1.5 * 2^23 no fraction fits. */
static inline int nearest(float x) {
    float shifted = x + 0x1.8p23f;
    int bits;
    memcpy(&bits, &shifted, sizeof bits);
    return bits - 0x4b400000;
}

/* Bits of the largest size in a block: as whole numbers, those of infinity and of every NaN are
 * above those of all numbers. */
static uint32_t largest_bits(const float *x) {
    uint32_t largest = 0;
    for (int k = 0; k < BLOCK; k++) {
        uint32_t bits;
        memcpy(&bits, x + k, sizeof bits);
        bits &= 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

void quant_round_generic(int64_t blocks, const float *x, int8_t *planes, float *scales,
                         int32_t *sums) {
    for (int64_t b = 0; b < blocks; b++, x += BLOCK, planes += 2 * BLOCK) {
        uint32_t bits = largest_bits(x);
        float largest, inverse = 0;
        memcpy(&largest, &bits, sizeof largest);
        bool finite = bits < 0x7f800000u;
        if (finite && largest >= QUANT_INPUT_LEAST)
            inverse = QUANT_INPUT_MOST / largest;
        int32_t sum = 0;
        for (int k = 0; k < BLOCK; k++) {
            int whole = finite ? nearest(x[k] * inverse) : 0;
            int high = nearest((float)whole * (1.0f / 255));
            planes[k] = (int8_t)high;
            planes[BLOCK + k] = (int8_t)(whole - 255 * high);
            sum += whole;
        }
        scales[b] = finite ? largest * (1.0f / QUANT_INPUT_MOST) : largest - largest;
        sums[b] = sum;
    }
}
