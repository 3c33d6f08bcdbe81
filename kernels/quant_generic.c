/* Matrices in blocks, in plain C: the reference for the other levels. */
#include "kernels/half.h"
#include "kernels/quant_layout.h"
#include "kernels/quant_level.h"

#define RUN 32

/* Number k of row r in a run, without sign. */
typedef int number_function(const unsigned char *run, int r, int k);

static inline int nibble(const unsigned char *run, int r, int k) {
    int i = k % 16, byte = run[i / 4 * 64 + 4 * r + i % 4];
    return k < 16 ? byte & 15 : byte >> 4;
}

static inline int q8_0_number(const unsigned char *run, int r, int k) {
    return (signed char)run[k / 4 * 64 + 4 * r + k % 4] + 128;
}

static inline int q5_number(const unsigned char *run, int r, int k) {
    int high = run[QUANT_HIGH + 4 * r + k % 4] >> k / 4 & 1;
    return nibble(run, r, k) | high << 4;
}

static inline int q6_k_number(const unsigned char *run, int r, int k) {
    int high = run[QUANT_HIGH + k / 16 * 64 + 4 * r + k % 4] >> 2 * (k / 4 % 4) & 3;
    return nibble(run, r, k) | high << 4;
}

/* Scale of row r in run s of a tile, and for its half; its minimum. */
typedef float scale_function(const unsigned char *tile, int s, int half, int r);

static inline float half_at(const unsigned char *at, int r) {
    uint16_t half;
    memcpy(&half, at + 2 * r, sizeof half);
    return f16_to_f32(half);
}

static inline float plain_scale(const unsigned char *tile, int s, int half, int r) {
    (void)s, (void)half;
    return half_at(tile, r);
}

static inline float plain_minimum(const unsigned char *tile, int s, int half, int r) {
    (void)s, (void)half;
    return -half_at(tile + 32, r);
}

static inline float k_scale(const unsigned char *tile, int s, int half, int r) {
    (void)half;
    return half_at(tile, r) * (float)tile[64 + s * QUANT_RUN_SCALES + r];
}

static inline float k_minimum(const unsigned char *tile, int s, int half, int r) {
    (void)half;
    return half_at(tile + 32, r) * (float)tile[64 + s * QUANT_RUN_SCALES + QUANT_ROWS + r];
}

static inline float q6_k_scale(const unsigned char *tile, int s, int half, int r) {
    return half_at(tile, r) *
           (float)(signed char)tile[32 + s * QUANT_RUN_SCALES + half * QUANT_ROWS + r];
}

/* The functions below are inlined with the type's own layout and functions. */
#define INLINE static inline __attribute__((always_inline))

INLINE float value_at(const struct quant_layout *l, number_function *number, scale_function *scale,
                      scale_function *minimum, const unsigned char *tile, int s, int r, int k) {
    const unsigned char *run = tile + l->head + s * l->run;
    float value = scale(tile, s, k / 16, r) * (float)(number(run, r, k) - l->offset);
    return l->minimum ? value - minimum(tile, s, 0, r) : value;
}

/* One run of 16 rows for one token: its products are whole numbers. */
INLINE void add_run(const struct quant_layout *l, number_function *number, scale_function *scale,
                    scale_function *minimum, const unsigned char *tile, int s, const int8_t *planes,
                    float x_scale, const int32_t x_sums[2], float *sums) {
    const unsigned char *run = tile + l->head + s * l->run;
    int x[RUN];
    for (int k = 0; k < RUN; k++)
        x[k] = 255 * planes[k] + planes[RUN + k];
    for (int r = 0; r < QUANT_ROWS; r++) {
        int dot[2] = {0, 0};
        for (int k = 0; k < RUN; k++)
            dot[l->halves && k >= 16] += (number(run, r, k) - l->offset) * x[k];
        for (int half = 0; half < 1 + l->halves; half++)
            sums[r] += scale(tile, s, half, r) * x_scale * (float)dot[half];
        if (l->minimum)
            sums[r] -= minimum(tile, s, 0, r) * x_scale * (float)(x_sums[0] + x_sums[1]);
    }
}

INLINE void few(const struct quant_layout *l, number_function *number, scale_function *scale,
                scale_function *minimum, const struct quant_input *in, const struct matrix *m,
                int64_t first, int64_t end, float *y) {
    int64_t tiles = in->blocks / l->runs, tile_bytes = quant_tile_bytes(l);
    const unsigned char *tile = (const unsigned char *)m->data + first * tiles * tile_bytes;
    for (int64_t g = first; g < end; g++) {
        int64_t n = g * QUANT_ROWS, rows = m->rows - n < QUANT_ROWS ? m->rows - n : QUANT_ROWS;
        float sums[QUANT_PASS][QUANT_ROWS] = {{0}};
        for (int64_t b = 0; b < in->blocks; b++)
            for (int64_t t = 0, i = b; t < in->T; t++, i += in->blocks)
                add_run(l, number, scale, minimum, tile + b / l->runs * tile_bytes,
                        (int)(b % l->runs), in->planes + i * 2 * RUN, in->scales[i],
                        in->sums + 2 * i, sums[t]);
        for (int64_t t = 0; t < in->T; t++)
            memcpy(y + t * m->rows + n, sums[t], (size_t)rows * sizeof *y);
        tile += tiles * tile_bytes;
    }
}

#define WIDEN(type, number, scale, minimum, element, convert)                                      \
    const struct quant_layout *l = &quant_layout_##type;                                           \
    for (int64_t b = 0; b < tiles; b++, from += quant_tile_bytes(l), out += l->runs * RUN)         \
        for (int r = 0; r < QUANT_ROWS; r++)                                                       \
            for (int s = 0; s < l->runs; s++)                                                      \
                for (int k = 0; k < RUN; k++)                                                      \
                    out[r * stride + s * RUN + k] =                                                \
                        convert(value_at(l, number, scale, minimum, from, s, r, k));

#define KERNELS(type, number, scale, minimum)                                                      \
    void type##_widen_f32_generic(int64_t tiles, const unsigned char *from, int64_t stride,        \
                                  float *out) {                                                    \
        WIDEN(type, number, scale, minimum, float, )                                               \
    }                                                                                              \
    void type##_widen_bf16_generic(int64_t tiles, const unsigned char *from, int64_t stride,       \
                                   uint16_t *out) {                                                \
        WIDEN(type, number, scale, minimum, uint16_t, bf16_from_f32)                               \
    }                                                                                              \
    void type##_few_generic(const struct quant_input *in, const struct matrix *m, int64_t first,   \
                            int64_t end, float *y) {                                               \
        few(&quant_layout_##type, number, scale, minimum, in, m, first, end, y);                   \
    }
KERNELS(q8_0, q8_0_number, plain_scale, plain_minimum)
KERNELS(q4_0, nibble, plain_scale, plain_minimum)
KERNELS(q4_1, nibble, plain_scale, plain_minimum)
KERNELS(q5_0, q5_number, plain_scale, plain_minimum)
KERNELS(q5_1, q5_number, plain_scale, plain_minimum)
KERNELS(q4_k, nibble, k_scale, k_minimum)
KERNELS(q5_k, q5_number, k_scale, k_minimum)
KERNELS(q6_k, q6_k_number, q6_k_scale, plain_minimum)

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
    for (int k = 0; k < RUN; k++) {
        uint32_t bits;
        memcpy(&bits, x + k, sizeof bits);
        bits &= 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

void quant_round_generic(int64_t blocks, const float *x, int8_t *planes, float *scales,
                         int32_t *sums) {
    for (int64_t b = 0; b < blocks; b++, x += RUN, planes += 2 * RUN) {
        uint32_t bits = largest_bits(x);
        float largest, inverse = 0;
        memcpy(&largest, &bits, sizeof largest);
        bool finite = bits < 0x7f800000u;
        if (finite && largest >= QUANT_INPUT_LEAST)
            inverse = QUANT_INPUT_MOST / largest;
        int32_t sum[2] = {0, 0};
        for (int k = 0; k < RUN; k++) {
            int whole = finite ? nearest(x[k] * inverse) : 0;
            int high = nearest((float)whole * (1.0f / 255));
            planes[k] = (int8_t)high;
            planes[RUN + k] = (int8_t)(whole - 255 * high);
            sum[k / 16] += whole;
        }
        scales[b] = finite ? largest * (1.0f / QUANT_INPUT_MOST) : largest - largest;
        memcpy(sums + 2 * b, sum, sizeof sum);
    }
}
