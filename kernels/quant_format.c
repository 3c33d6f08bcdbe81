/* The types in blocks as files have them: quantising by the rules of the `gguf` package's quants.py
 * (which follow llama.cpp's ggml-quants.c). Compiled without fused multiply-add: the rounding is
 * part of the format. */
#include "kernels/half.h"
#include "kernels/quant_level.h"

#define BLOCK 32
#define INFINITE 0x7f800000u

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Bits of the largest absolute value; NaN and infinity are above every number. */
static uint32_t largest_bits(const float *x) {
    uint32_t largest = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits = bits_of(x[i]) & 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static void put_scale(float d, uint32_t largest, unsigned char *out) {
    uint16_t half = largest >= INFINITE ? 0x7e00 : f16_from_f32(d);
    memcpy(out, &half, sizeof half);
}

static inline float reciprocal(float d) {
    return d == 0 ? 0 : 1 / d;
}

/* d = max |x| / 127, q = x / d to the nearest, halves away from zero. */
static void q8_0_quantise(int64_t blocks, const float *x, unsigned char *out) {
    for (int64_t b = 0; b < blocks; b++, x += BLOCK, out += 2 + BLOCK) {
        uint32_t largest = largest_bits(x);
        float d = float_of(largest) / 127, inverse = reciprocal(d);
        put_scale(d, largest, out);
        for (int i = 0; i < BLOCK; i++) {
            float v = x[i] * inverse, size = v < 0 ? -v : v;
            int whole = largest >= INFINITE ? 0 : (int)size;
            whole += size - (float)whole >= 0.5f;
            out[2 + i] = (unsigned char)(v < 0 ? -whole : whole);
        }
    }
}

/* The value of the largest size with its sign; of two alike the first. */
static float extreme(const float *x, uint32_t largest) {
    for (int i = 0; i < BLOCK; i++)
        if ((bits_of(x[i]) & 0x7fffffffu) == largest)
            return x[i];
    return 0;
}

/* d = extreme / -8, q = x / d + 8.5 cut to a whole number of 0 to 15. */
static void q4_0_quantise(int64_t blocks, const float *x, unsigned char *out) {
    for (int64_t b = 0; b < blocks; b++, x += BLOCK, out += 2 + BLOCK / 2) {
        uint32_t largest = largest_bits(x);
        float d = extreme(x, largest) / -8, inverse = reciprocal(d);
        put_scale(d, largest, out);
        unsigned char q[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            int whole = largest >= INFINITE ? 0 : (int)(x[i] * inverse + 8.5f);
            q[i] = (unsigned char)(whole > 15 ? 15 : whole);
        }
        for (int i = 0; i < BLOCK / 2; i++)
            out[2 + i] = (unsigned char)(q[i] | q[i + BLOCK / 2] << 4);
    }
}

/* The scales of q4_k's and q5_k's runs take eight bits each here, six in a file. */
static const struct quant_type types[MATRIX_TYPE_COUNT] = {
    [MATRIX_Q8_0] = {"q8_0", BLOCK, 34, QUANT_ROWS * 34, q8_0_quantise, q8_0_pack},
    [MATRIX_Q4_0] = {"q4_0", BLOCK, 18, QUANT_ROWS * 18, q4_0_quantise, q4_0_pack},
    [MATRIX_Q4_1] = {"q4_1", BLOCK, 20, QUANT_ROWS * 20, NULL, q4_1_pack},
    [MATRIX_Q5_0] = {"q5_0", BLOCK, 22, QUANT_ROWS * 22, NULL, q5_0_pack},
    [MATRIX_Q5_1] = {"q5_1", BLOCK, 24, QUANT_ROWS * 24, NULL, q5_1_pack},
    [MATRIX_Q4_K] = {"q4_k", 8 * BLOCK, 144, QUANT_ROWS * 148, NULL, q4_k_pack},
    [MATRIX_Q5_K] = {"q5_k", 8 * BLOCK, 176, QUANT_ROWS * 180, NULL, q5_k_pack},
    [MATRIX_Q6_K] = {"q6_k", 8 * BLOCK, 210, QUANT_ROWS * 210, NULL, q6_k_pack},
};

const struct quant_type *quant_type(enum matrix_type type) {
    return types[type].name ? &types[type] : NULL;
}
