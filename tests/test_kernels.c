/* The kernels besides attention: 16-bit floats, the cache's layout, the small operations, matrix
 * products, and sampling. Expected values come from the definitions in double precision, from exact
 * arithmetic, or from published vectors. */
#include "kernels/cpu.h"
#include "kernels/elementwise.h"
#include "kernels/elementwise_level.h"
#include "kernels/half.h"
#include "kernels/kv.h"
#include "kernels/sample.h"
#include "tests/testing.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static float random_float(float low, float high) {
    return low + (high - low) * ((float)(random_bits() >> 40) * 0x1p-24f);
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Value of a 16-bit float with so many bits of exponent and fraction, from the definition. */
static double half_value(uint32_t h, int exponent_bits, int fraction_bits) {
    int exponent = (int)(h >> fraction_bits) & ((1 << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double fraction = ldexp(h & ((1u << fraction_bits) - 1), -fraction_bits);
    double sign = h & 0x8000u ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction != 0 ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias));
}

START_TEST(half_widened) {
    for (uint32_t h = 0; h < 0x10000; h++) {
        double bf16 = half_value(h, 8, 7), f16 = half_value(h, 5, 10);
        float a = bf16_to_f32((uint16_t)h), b = f16_to_f32((uint16_t)h);
        REQUIRE(isnan(bf16) ? isnan(a) : a == bf16 && !signbit(a) == !signbit(bf16));
        REQUIRE(isnan(f16) ? isnan(b) : b == f16 && !signbit(b) == !signbit(f16));
    }
}
END_TEST

/* Nearest, the even one of two: checked against the distances to both neighbours. */
START_TEST(half_rounded) {
    for (int n = 0; n < 200000; n++) {
        float f = float_of((uint32_t)random_bits());
        if (n % 4 == 0) /* halfway between two */
            f = float_of((bits_of(f) & 0xffff0000u) | 0x8000u);
        if (isnan(f) || fabsf(f) >= 0x1.fep127f)
            continue;
        uint16_t h = bf16_from_f32(f);
        uint16_t below = (uint16_t)(bits_of(f) >> 16); /* towards zero */
        double low = fabs(f - half_value(below, 8, 7)),
               high = fabs(f - half_value(below + 1u, 8, 7));
        REQUIRE(h == (low < high || (low == high && below % 2 == 0) ? below : below + 1));
    }
    REQUIRE(isinf(bf16_to_f32(bf16_from_f32(INFINITY))));
    REQUIRE(bf16_to_f32(bf16_from_f32(-INFINITY)) == -INFINITY);
    REQUIRE(isinf(bf16_to_f32(bf16_from_f32(0x1.fffffep127f)))); /* rounds up out of range */
    /* A NaN whose payload is cut off must not become infinity, nor one that carries. */
    REQUIRE(isnan(bf16_to_f32(bf16_from_f32(float_of(0x7f800001u)))));
    REQUIRE(isnan(bf16_to_f32(bf16_from_f32(float_of(0xffffffffu)))));
    REQUIRE(signbit(bf16_to_f32(bf16_from_f32(-0.f))));
}
END_TEST

/* Where the header says that a key and a value stand. */
START_TEST(kv_layout) {
    enum { d = 6, BLOCK = 32 };
    float key[d], value[d], f32[2][BLOCK * d];
    uint16_t bf16[2][BLOCK * d];
    for (int64_t slot = 0; slot < BLOCK; slot++) {
        for (int64_t i = 0; i < d; i++) {
            key[i] = (float)(slot * 8 + i);
            value[i] = -key[i];
        }
        kv_put_keys(KV_F32, f32[0], slot, 1, d, key);
        kv_put_values(KV_F32, f32[1], slot, 1, d, value);
        kv_put_keys(KV_BF16, bf16[0], slot, 1, d, key);
        kv_put_values(KV_BF16, bf16[1], slot, 1, d, value);
    }
    float(*keys)[d][16] = (void *)f32[0], (*values)[d] = (void *)f32[1];
    uint16_t(*keys16)[d / 2][16][2] = (void *)bf16[0], (*values16)[d][2] = (void *)bf16[1];
    for (int64_t slot = 0; slot < BLOCK; slot++)
        for (int64_t i = 0; i < d; i++) {
            float expected = (float)(slot * 8 + i);
            REQUIRE(keys[slot / 16][i][slot % 16] == expected);
            REQUIRE(values[slot][i] == -expected);
            REQUIRE(bf16_to_f32(keys16[slot / 16][i / 2][slot % 16][i % 2]) == expected);
            REQUIRE(bf16_to_f32(values16[slot / 2][i][slot % 2]) == -expected);
        }
}
END_TEST

START_TEST(kv_rounding) {
    float x[3] = {1 + 0x1p-9f, 3.14159274f, NAN};
    kv_round(KV_F32, 1, 2, x);
    REQUIRE(x[0] == 1 + 0x1p-9f && x[1] == 3.14159274f);
    kv_round(KV_BF16, 1, 3, x);
    REQUIRE(x[0] == 1 && x[1] == 3.140625f && isnan(x[2]));
}
END_TEST

/* q8_0, for every kind of last block: numbers within half a scale and its rounding; twice is once;
 * bytes as GGUF has them; a key and a value where the header says, with the same scales. */
START_TEST(kv_q8_0) {
    static const int64_t dims[] = {2, 6, 32, 48, 64, 80};
    enum { D = 80, ROW = D + 6, BLOCK = 32 };
    for (size_t n = 0; n < sizeof dims / sizeof *dims; n++) {
        int64_t d = dims[n], scales = (d + 31) / 32;
        REQUIRE(kv_row_bytes(KV_Q8_0, d) == d + 2 * scales);
        _Alignas(4) int8_t keys[BLOCK * ROW] = {0}, values[BLOCK * ROW] = {0};
        float rows[BLOCK][D], x[D], again[D], unpacked[D];
        for (int64_t slot = 0; slot < BLOCK; slot++) {
            for (int64_t i = 0; i < d; i++)
                x[i] = random_float(-3, 3) * (float)(1 + i / 32 * 50);
            memcpy(rows[slot], x, sizeof x);
            kv_round(KV_Q8_0, 1, d, rows[slot]);
            memcpy(again, rows[slot], sizeof again);
            kv_round(KV_Q8_0, 1, d, again);
            REQUIRE(memcmp(again, rows[slot], (size_t)d * sizeof *again) == 0);
            for (int64_t i = 0; i < d; i++)
                REQUIRE(fabsf(rows[slot][i] - x[i]) <=
                        3 * (float)(1 + i / 32 * 50) * (0.5f / 127 + 0x1p-11f));
            int8_t bytes[ROW];
            kv_pack(KV_Q8_0, d, x, bytes);
            kv_unpack(KV_Q8_0, d, bytes, unpacked);
            REQUIRE(memcmp(unpacked, rows[slot], (size_t)d * sizeof *unpacked) == 0);
            uint16_t scale;
            memcpy(&scale, bytes, sizeof scale);
            REQUIRE(rows[slot][0] == f16_to_f32(scale) * bytes[2]);
            kv_put_keys(KV_Q8_0, keys, slot, 1, d, x);
            kv_put_values(KV_Q8_0, values, slot, 1, d, x);
        }
        for (int64_t slot = 0; slot < BLOCK; slot++)
            for (int64_t i = 0; i < d; i++) {
                int64_t group = slot / 16, lane = slot % 16, pair = lane / 2;
                const int8_t *k = keys + group * 16 * (d + 2 * scales);
                const int8_t *v = values + group * 16 * (d + 2 * scales);
                const uint16_t *ks = (const void *)(k + 16 * d), *vs = (const void *)(v + 16 * d);
                REQUIRE(f16_to_f32(ks[i / 32 * 16 + lane]) * k[(i / 2 * 16 + lane) * 2 + i % 2] ==
                        rows[slot][i]);
                REQUIRE(f16_to_f32(vs[(pair * scales + i / 32) * 2 + lane % 2]) *
                            v[(pair * d + i) * 2 + lane % 2] ==
                        rows[slot][i]);
            }
    }
    /* What is not finite, or beyond the scale, is not hidden; zeros stay. */
    float x[34] = {0};
    x[33] = NAN;
    kv_round(KV_Q8_0, 1, 34, x);
    REQUIRE(x[0] == 0 && x[31] == 0 && isnan(x[32]) && isnan(x[33]));
    x[0] = 1e9f;
    kv_round(KV_Q8_0, 1, 34, x);
    REQUIRE(!isfinite(x[0]));
}
END_TEST

START_TEST(norm) {
    static const int64_t widths[] = {1, 7, 64, 300};
    for (int n = 0; n < 4; n++) {
        int64_t width = widths[n];
        float x[3 * 300], weight[300], out[3 * 300];
        for (int64_t i = 0; i < 3 * width; i++)
            x[i] = random_float(-3, 3);
        for (int64_t i = 0; i < width; i++)
            weight[i] = random_float(0, 2);
        rms_norm(x, weight, 1e-5, 3, width, out);
        for (int64_t t = 0; t < 3; t++) {
            double square = 0;
            for (int64_t i = 0; i < width; i++)
                square += (double)x[t * width + i] * x[t * width + i];
            for (int64_t i = 0; i < width; i++) {
                double expected =
                    x[t * width + i] * weight[i] / sqrt(square / (double)width + 1e-5);
                REQUIRE(fabs(out[t * width + i] - expected) <= 3e-7 * fabs(expected));
            }
        }
        rms_norm(x, weight, 1e-5, 3, width, x);
        ck_assert_mem_eq(x, out, (size_t)(3 * width) * sizeof *x);
    }
    float zero[2] = {0, 0}, one[2] = {1, 1};
    rms_norm(zero, one, 1e-5, 1, 2, zero);
    REQUIRE(zero[0] == 0 && zero[1] == 0);
    rms_norm(zero, one, 1e-5, 0, 2, zero);
}
END_TEST

START_TEST(layer_norms) {
    static const int64_t widths[] = {1, 7, 64, 300};
    for (int n = 0; n < 4; n++) {
        int64_t width = widths[n];
        float x[3 * 300], weight[300], bias[300], out[3 * 300];
        for (int64_t i = 0; i < 3 * width; i++)
            x[i] = random_float(-3, 3) + 100; /* a mean far from zero must not cost digits */
        for (int64_t i = 0; i < width; i++) {
            weight[i] = random_float(0, 2);
            bias[i] = random_float(-1, 1);
        }
        layer_norm(x, weight, bias, 1e-5, 3, width, out);
        for (int64_t t = 0; t < 3; t++) {
            double mean = 0, variance = 0;
            for (int64_t i = 0; i < width; i++)
                mean += x[t * width + i] / (double)width;
            for (int64_t i = 0; i < width; i++)
                variance += (x[t * width + i] - mean) * (x[t * width + i] - mean) / (double)width;
            for (int64_t i = 0; i < width; i++) {
                double normed = (x[t * width + i] - mean) / sqrt(variance + 1e-5);
                double expected = normed * weight[i] + bias[i];
                REQUIRE(fabs(out[t * width + i] - expected) <= 3e-7 * (fabs(expected) + 1));
            }
        }
        layer_norm(x, weight, bias, 1e-5, 3, width, x);
        ck_assert_mem_eq(x, out, (size_t)(3 * width) * sizeof *x);
    }
    float x[2] = {5, 5}, one[2] = {1, 1}, bias[2] = {0.5f, -2};
    layer_norm(x, one, bias, 1e-5, 1, 2, x);
    REQUIRE(x[0] == 0.5f && x[1] == -2);
    layer_norm(x, one, bias, 1e-5, 0, 2, x);
}
END_TEST

static double exact_silu(double x) {
    return x / (1 + exp(-x));
}

/* x/2 (1 + tanh u) without the cancellation of a negative u. */
static double exact_gelu_tanh(double x) {
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double exact_gelu(double x) {
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

/* One activation of one level: every tail, every size of the argument, with and without the second
 * factor, against the formula in double; relative to the value, and `absolute` for what cancels. */
static void check_gate(gate_function *gate_of, double (*exact)(double), double relative,
                       double absolute) {
    for (int64_t n = 0; n < 70; n++)
        for (int alone = 0; alone < 2; alone++) {
            float gate[71], up[71], before[71];
            for (int64_t i = 0; i <= n; i++) {
                before[i] = gate[i] = random_float(-1, 1) * (float)(1 << i % 7) * 1.3f;
                up[i] = random_float(-2, 2);
            }
            gate_of(gate, alone ? NULL : up, n);
            for (int64_t i = 0; i < n; i++) {
                double expected = exact(before[i]) * (alone ? 1 : up[i]);
                ck_assert_msg(fabs(gate[i] - expected) <= relative * fabs(expected) + absolute,
                              "f(%.9g): %.9g, expected %.9g", before[i], gate[i], expected);
            }
            REQUIRE(gate[n] == before[n]); /* what lies behind is not touched */
        }
    float gate[5] = {NAN, 200, -200, INFINITY, 0}, up[5] = {1, 1, 1, 1, 1};
    gate_of(gate, up, 5);
    REQUIRE(isnan(gate[0]) && gate[1] == 200 && fabsf(gate[2]) < 1e-37f);
    REQUIRE(gate[3] == INFINITY && gate[4] == 0);
}

static bool lacks(enum isa isa, const char *what) {
    if (isa <= isa_available())
        return false;
    printf("SKIP: %s at %s (found %s)\n", what, isa_name(isa), isa_name(isa_available()));
    return true;
}

/* Relative error of silu: exp within 1.2e-7, a sum, a quotient and a product of half a unit (6e-8)
 * each. gelu_tanh has four more roundings in the exponent, whose error the exponential multiplies
 * by the exponent itself: where the value is below 1e-4 that may be 3e-6 of it. The plain forms add
 * 1 to a tanh or an erf near -1 and are right to a unit of 1 times x. */
START_TEST(activations) {
    static gate_function *const silu[ISA_COUNT] = {silu_multiply_generic, silu_multiply_avx2,
                                                   silu_multiply_avx512};
    static gate_function *const gelu[ISA_COUNT] = {
        gelu_tanh_multiply_generic, gelu_tanh_multiply_avx2, gelu_tanh_multiply_avx512};
    for (enum isa isa = ISA_GENERIC; isa <= ISA_AVX512; isa++) {
        if (lacks(isa, "activations"))
            continue;
        check_gate(silu[isa], exact_silu, 3.2e-7, 1e-37);
        check_gate(gelu[isa], exact_gelu_tanh, 4e-7, isa == ISA_GENERIC ? 4e-7 : 2e-8);
    }
    check_gate(gelu_multiply, exact_gelu, 4e-7, 4e-7);
}
END_TEST

START_TEST(soft_caps) {
    static soft_cap_function *const levels[ISA_COUNT] = {soft_cap_generic, soft_cap_avx2,
                                                         soft_cap_avx512};
    for (enum isa isa = ISA_GENERIC; isa <= ISA_AVX512; isa++) {
        if (lacks(isa, "soft caps"))
            continue;
        for (int64_t n = 0; n < 70; n++) {
            float x[71], before[71], cap = random_float(0.5f, 50);
            for (int64_t i = 0; i <= n; i++)
                before[i] = x[i] = random_float(-1, 1) * cap * 0.003f * (float)(1 << i % 12);
            levels[isa](x, cap, n);
            for (int64_t i = 0; i < n; i++) {
                double expected = cap * tanh(before[i] / (double)cap);
                REQUIRE(fabs(x[i] - expected) <= 3e-7 * fabs(expected));
            }
            REQUIRE(x[n] == before[n]);
        }
        float x[5] = {NAN, INFINITY, -INFINITY, 0, 1e-30f};
        levels[isa](x, 30, 5);
        REQUIRE(isnan(x[0]) && x[1] == 30 && x[2] == -30 && x[3] == 0);
        REQUIRE(fabsf(x[4] - 1e-30f) < 1e-36f);
    }
}
END_TEST

/* The plain loops of each level against the portable ones' definition, every length up to several
 * vectors. */
START_TEST(loops_at_each_level) {
    static const struct elementwise_level levels[] = {
        ELEMENTWISE_LEVEL(generic), ELEMENTWISE_LEVEL(avx2), ELEMENTWISE_LEVEL(avx512)};
    enum { MOST = 150 };
    for (enum isa isa = ISA_GENERIC; isa <= ISA_AVX512; isa++) {
        if (lacks(isa, "norms and sums"))
            continue;
        const struct elementwise_level *l = &levels[isa];
        for (int64_t n = 1; n <= MOST; n++) {
            float x[MOST], y[MOST], bias[MOST], root[MOST + 1], layer[MOST + 1], sum[MOST + 1];
            double square = 0, mean = 0, variance = 0;
            for (int64_t i = 0; i < n; i++) {
                x[i] = sum[i] = random_float(-3, 3) + 10;
                y[i] = random_float(0, 2);
                bias[i] = random_float(-1, 1);
                square += (double)x[i] * x[i] / (double)n;
                mean += x[i] / (double)n;
            }
            for (int64_t i = 0; i < n; i++)
                variance += (x[i] - mean) * (x[i] - mean) / (double)n;
            root[n] = layer[n] = sum[n] = 7;
            l->rms_norm_row(x, y, 1e-5, n, root);
            l->layer_norm_row(x, y, bias, 1e-5, n, layer);
            l->add_scaled_piece(sum, y, 0.3f, n);
            for (int64_t i = 0; i < n; i++) {
                double of_root = x[i] * y[i] / sqrt(square + 1e-5);
                double of_layer = (x[i] - mean) / sqrt(variance + 1e-5) * y[i] + bias[i];
                REQUIRE(fabs(root[i] - of_root) <= 3e-7 * of_root);
                REQUIRE(fabs(layer[i] - of_layer) <= 3e-7 * (fabs(of_layer) + 1));
                REQUIRE(fabs(sum[i] - (x[i] + 0.3f * (double)y[i])) <= 2e-6);
            }
            REQUIRE(root[n] == 7 && layer[n] == 7 && sum[n] == 7);
            REQUIRE(l->finite_piece(x, n) && l->finite_piece(x, 0));
            for (int64_t i = 0; i < n; i++) {
                float kept = x[i];
                x[i] = i % 2 ? NAN : -INFINITY;
                REQUIRE(!l->finite_piece(x, n) && l->finite_piece(x, i));
                x[i] = kept;
            }
        }
    }
}
END_TEST

/* More than one thread's piece, through the product's own entrances. */
START_TEST(long_arrays) {
    enum { N = 100003 };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *z = malloc(N * sizeof *z);
    for (int i = 0; i < N; i++) {
        x[i] = z[i] = random_float(-5, 5);
        y[i] = random_float(-5, 5);
    }
    silu_multiply(z, y, N);
    for (int i = 0; i < N; i++) {
        double expected = x[i] / (1 + exp(-(double)x[i])) * y[i];
        REQUIRE(fabs(z[i] - expected) <= 3.2e-7 * fabs(expected));
    }
    memcpy(z, x, N * sizeof *z);
    add_to(z, y, N);
    for (int i = 0; i < N; i++)
        REQUIRE(z[i] == x[i] + y[i]);
    REQUIRE(all_finite(x, N));
    static const int at[] = {0, 1, 15, 16, 50000, N - 1};
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 4; k++) {
            float kept = x[at[i]];
            x[at[i]] = bad[k];
            REQUIRE(!all_finite(x, N));
            REQUIRE(all_finite(x, at[i]));
            x[at[i]] = kept;
        }
    x[3] = 0x1.fffffep127f;
    x[4] = 0x1p-149f;
    REQUIRE(all_finite(x, N));
    free(x);
    free(y);
    free(z);
}
END_TEST

START_TEST(rotary) {
    enum { d = 10, COUNT = 4 };
    static const int64_t positions[COUNT] = {0, 1, 12345, 1000003};
    double frequencies[d / 2];
    float cosines[COUNT * d / 2], sines[COUNT * d / 2], x[d], out[d];
    for (int i = 0; i < d / 2; i++)
        frequencies[i] = pow(10000, -2.0 * i / d);
    rope_tables(positions, COUNT, frequencies, d / 2, 1, cosines, sines);
    for (int t = 0; t < COUNT; t++) {
        for (int i = 0; i < d; i++)
            x[i] = random_float(-2, 2);
        rope_rotate(x, cosines + t * d / 2, sines + t * d / 2, d / 2, d, 0.25f, out);
        for (int i = 0; i < d / 2; i++) {
            /* A product in long double keeps the angle of a large position. */
            double angle = (double)remainderl((long double)positions[t] * frequencies[i],
                                              2 * 3.14159265358979323846264338327950288L);
            double a = x[i], b = x[i + d / 2];
            ck_assert_double_eq_tol(cosines[t * d / 2 + i], cos(angle), 7e-8);
            ck_assert_double_eq_tol(sines[t * d / 2 + i], sin(angle), 7e-8);
            ck_assert_double_eq_tol(out[i], 0.25 * (a * cos(angle) - b * sin(angle)), 3e-7);
            ck_assert_double_eq_tol(out[i + d / 2], 0.25 * (b * cos(angle) + a * sin(angle)), 3e-7);
        }
        rope_rotate(x, cosines + t * d / 2, sines + t * d / 2, d / 2, d, 0.25f, x);
        ck_assert_mem_eq(x, out, sizeof x);
    }
}
END_TEST

/* A part of the head is rotated, or nothing of it: the rest is only scaled. Tables with a factor.
 */
START_TEST(rotary_part) {
    enum { d = 10, PAIRS = 3 };
    static const int64_t position[1] = {77};
    double frequencies[PAIRS] = {1, 0.3, 0.01};
    float cosines[PAIRS], sines[PAIRS], x[d], out[d];
    rope_tables(position, 1, frequencies, PAIRS, 1.5, cosines, sines);
    for (int i = 0; i < d; i++)
        x[i] = random_float(-2, 2);
    rope_rotate(x, cosines, sines, PAIRS, d, 0.5f, out);
    for (int i = 0; i < PAIRS; i++) {
        double angle = 77 * frequencies[i], a = x[i], b = x[i + PAIRS];
        ck_assert_double_eq_tol(out[i], 0.75 * (a * cos(angle) - b * sin(angle)), 1e-6);
        ck_assert_double_eq_tol(out[i + PAIRS], 0.75 * (b * cos(angle) + a * sin(angle)), 1e-6);
    }
    for (int i = 2 * PAIRS; i < d; i++)
        REQUIRE(out[i] == 0.5f * x[i]);
    rope_rotate(x, NULL, NULL, 0, d, 0.5f, out);
    for (int i = 0; i < d; i++)
        REQUIRE(out[i] == 0.5f * x[i]);
}
END_TEST

/* The known answers that the authors of the generator publish (Random123, kat_vectors). */
START_TEST(philox_known_answers) {
    static const uint32_t vectors[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t words[4];
        memcpy(words, vectors[i], sizeof words);
        philox_block(words, vectors[i][4], vectors[i][5]);
        ck_assert_mem_eq(words, vectors[i] + 6, sizeof words);
    }
}
END_TEST

/* P(noise < x) = exp(-exp(-x)); seed, position and id all count, with all their bits. */
START_TEST(gumbel) {
    enum { N = 100000 };
    int below[5] = {0};
    for (int i = 0; i < N; i++) {
        double noise = gumbel_noise(7, i / 100, i % 100);
        REQUIRE(isfinite(noise));
        for (int k = 0; k < 5; k++)
            below[k] += noise < k - 1;
    }
    for (int k = 0; k < 5; k++) {
        double p = exp(-exp(-(k - 1.0))), sigma = sqrt(p * (1 - p) / N);
        REQUIRE(fabs(below[k] / (double)N - p) <= 4 * sigma);
    }
    double noise = gumbel_noise(7, 5, 3);
    REQUIRE(noise == gumbel_noise(7, 5, 3));
    REQUIRE(noise != gumbel_noise(8, 5, 3) && noise != gumbel_noise(7 + (1ull << 32), 5, 3));
    REQUIRE(noise != gumbel_noise(7, 6, 3) && noise != gumbel_noise(7, 5 + (1ll << 32), 3));
    REQUIRE(noise != gumbel_noise(7, 5, 4));
}
END_TEST

/* Against sorting everything, with many ties. */
START_TEST(best_candidates) {
    for (int n = 0; n < 200; n++) {
        float logits[150];
        struct candidate all[150], top[150];
        int64_t count = (int64_t)(random_bits() % 150), want = (int64_t)(random_bits() % 160);
        for (int64_t i = 0; i < count; i++) {
            logits[i] = n % 2 ? (float)(random_bits() % 9) : random_float(-9, 9);
            if (i % 17 == 3)
                logits[i] = -INFINITY;
            all[i] = (struct candidate){logits[i], 1000 + (int32_t)i};
        }
        candidates_sort(all, count);
        for (int64_t i = 1; i < count; i++)
            REQUIRE(all[i - 1].logit > all[i].logit ||
                    (all[i - 1].logit == all[i].logit && all[i - 1].id < all[i].id));
        int64_t kept = candidates_top(logits, count, 1000, want, top);
        ck_assert_int_eq(kept, want < count ? want : count);
        for (int64_t i = 0; i < kept; i++)
            REQUIRE(top[i].id == all[i].id && top[i].logit == all[i].logit);
    }
}
END_TEST

START_TEST(log_sums) {
    float logits[100];
    for (int i = 0; i < 100; i++)
        logits[i] = i % 10 == 4 ? -INFINITY : random_float(-30, 30);
    double scale = 1 / 0.7, sum = 0;
    for (int i = 0; i < 100; i++)
        sum += exp(scale * logits[i]);
    struct log_sum merged = log_sum_of(logits, 0, scale);
    REQUIRE(merged.max == -INFINITY && merged.sum == 0);
    REQUIRE(log_sum_value(merged, scale) == -INFINITY);
    for (int i = 0; i < 100; i += 20)
        merged = log_sum_merge(merged, log_sum_of(logits + i, 20, scale), scale);
    ck_assert_double_eq_tol(log_sum_value(merged, scale), log(sum), 1e-12);
    ck_assert_double_eq_tol(log_sum_value(log_sum_of(logits, 100, scale), scale), log(sum), 1e-12);
    float none[2] = {-INFINITY, -INFINITY}, huge[2] = {30000, 30000};
    struct log_sum empty = log_sum_of(none, 2, scale);
    REQUIRE(empty.max == -INFINITY && empty.sum == 0);
    REQUIRE(log_sum_merge(empty, empty, scale).sum == 0);
    ck_assert_double_eq_tol(log_sum_value(log_sum_of(huge, 2, 1), 1), 30000 + log(2), 1e-9);
}
END_TEST

/* A whole vocabulary's, the same bits whatever the number of threads. */
START_TEST(long_log_sums) {
    enum { N = 10007 };
    static float logits[N];
    double sum = 0;
    for (int i = 0; i < N; i++) {
        logits[i] = random_float(-30, 30);
        sum += exp(logits[i]);
    }
    struct log_sum got[3];
    int threads = omp_get_max_threads();
    for (int n = 0; n < 3; n++) {
        omp_set_num_threads(n + 1);
        got[n] = log_sum_of(logits, N, 1);
        ck_assert_double_eq_tol(log_sum_value(got[n], 1), log(sum), 1e-12);
        REQUIRE(got[n].max == got[0].max && got[n].sum == got[0].sum);
    }
    omp_set_num_threads(threads);
}
END_TEST

/* Logits whose probabilities at temperature 1 are 0.5, 0.25, 0.125, 0.0625, 0.0625. */
static const struct candidate halves[5] = {
    {0, 10}, {-0.6931472f, 11}, {-1.3862944f, 12}, {-2.0794415f, 13}, {-2.0794415f, 14}};

/* Which of the candidates ever come out, as bits; 0 when more are needed. */
static unsigned chosen(int64_t n, int64_t vocab, double temperature, int64_t top_k, double top_p) {
    struct sample_options options = {temperature, top_k, top_p, 1};
    float logits[5];
    for (int i = 0; i < 5; i++)
        logits[i] = halves[i].logit;
    struct log_sum total = log_sum_of(logits, 5, temperature > 0 ? 1 / temperature : 1);
    unsigned found = 0;
    for (int64_t position = 0; position < 2000; position++) {
        bool need_more = true;
        int64_t i = sample_choose(halves, n, vocab, total, &options, position, &need_more);
        if (need_more)
            return 0;
        REQUIRE(i >= 0 && i < n);
        found |= 1u << i;
    }
    return found;
}

START_TEST(choices) {
    ck_assert_uint_eq(chosen(5, 5, 0, 0, 1), 1); /* greedy */
    ck_assert_uint_eq(chosen(1, 5, 0, 3, 0.9), 1);
    ck_assert_uint_eq(chosen(5, 5, 1, 0, 1), 31);
    ck_assert_uint_eq(chosen(5, 5, 1, 3, 1), 7);
    ck_assert_uint_eq(chosen(5, 5, 1, 1, 1), 1);
    ck_assert_uint_eq(chosen(5, 5, 1, 100, 1), 31);
    /* top-p: the smallest leading set that reaches p */
    ck_assert_uint_eq(chosen(5, 5, 1, 0, 0.4), 1);
    ck_assert_uint_eq(chosen(5, 5, 1, 0, 0.6), 3);
    ck_assert_uint_eq(chosen(5, 5, 1, 0, 0.8), 7);
    ck_assert_uint_eq(chosen(5, 5, 1, 0, 0), 1);
    /* after top-k the shares are of what is kept: 4/7, 2/7, 1/7 */
    ck_assert_uint_eq(chosen(5, 5, 1, 3, 0.55), 1);
    ck_assert_uint_eq(chosen(5, 5, 1, 3, 0.6), 3);
    ck_assert_uint_eq(chosen(5, 5, 1, 3, 0.9), 7);
    /* after the temperature: at 0.5 the shares are 64, 16, 4, 1, 1 of 86 */
    ck_assert_uint_eq(chosen(5, 5, 0.5, 0, 0.74), 1);
    ck_assert_uint_eq(chosen(5, 5, 0.5, 0, 0.75), 3);
    ck_assert_uint_eq(chosen(5, 5, 0.5, 0, 0.95), 7);
}
END_TEST

START_TEST(choices_that_need_more) {
    ck_assert_uint_eq(chosen(2, 5, 1, 0, 0.6), 3); /* the two have 0.75 */
    ck_assert_uint_eq(chosen(2, 5, 1, 0, 0.8), 0);
    ck_assert_uint_eq(chosen(4, 5, 1, 0, 1), 0);
    ck_assert_uint_eq(chosen(2, 5, 1, 3, 1), 0);
    ck_assert_uint_eq(chosen(2, 5, 1, 2, 1), 3);
    ck_assert_uint_eq(chosen(3, 5, 1, 4, 0.3), 0); /* the shares of four need the fourth */
    ck_assert_uint_eq(chosen(2, 2, 1, 0, 1), 3);
    ck_assert_uint_eq(chosen(2, 2, 1, 0, 0.99), 3); /* all there are, whatever they reach */
    ck_assert_uint_eq(chosen(2, 2, 1, 7, 1), 3);
}
END_TEST

/* Shards of any size, and everything as candidates, choose the same token. */
START_TEST(shards_agree) {
    enum { VOCAB = 300 };
    float logits[VOCAB];
    struct candidate all[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = i % 13 == 5 ? -INFINITY : random_float(-4, 4);
    candidates_top(logits, VOCAB, 0, VOCAB, all);
    struct sample_options options = {0.8, 0, 1, 99};
    struct log_sum total = log_sum_of(logits, VOCAB, 1 / options.temperature);
    for (int64_t position = 0; position < 500; position++) {
        bool need_more;
        int32_t expected =
            all[sample_choose(all, VOCAB, VOCAB, total, &options, position, &need_more)].id;
        REQUIRE(!need_more);
        int32_t best = -1;
        double best_value = -INFINITY;
        for (int32_t first = 0; first < VOCAB; first += 1 + (int32_t)(position % 70)) {
            int64_t n = 1 + position % 70;
            double value;
            int32_t id = sample_perturbed(logits + first, n < VOCAB - first ? n : VOCAB - first,
                                          first, &options, position, &value);
            if (value > best_value) {
                best = id;
                best_value = value;
            }
        }
        ck_assert_int_eq(best, expected);
    }
    float none[3] = {-INFINITY, -INFINITY, -INFINITY};
    double value;
    ck_assert_int_eq(sample_perturbed(none, 3, 40, &options, 0, &value), 40);
    REQUIRE(value == -INFINITY);
}
END_TEST

/* How often a token comes is its softmax probability at the temperature. */
START_TEST(frequencies_of_samples) {
    static const float logits[4] = {1, 0.5f, -0.5f, -2};
    enum { N = 40000 };
    struct sample_options options = {0.7, 0, 1, 12345};
    int counts[4] = {0};
    double sum = 0, value;
    for (int64_t position = 0; position < N; position++)
        counts[sample_perturbed(logits, 4, 0, &options, position, &value)]++;
    for (int i = 0; i < 4; i++)
        sum += exp(logits[i] / 0.7);
    for (int i = 0; i < 4; i++) {
        double p = exp(logits[i] / 0.7) / sum, sigma = sqrt(p * (1 - p) / N);
        REQUIRE(fabs(counts[i] / (double)N - p) <= 4 * sigma);
    }
}
END_TEST

int main(void) {
    for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++)
        if (isa > isa_available())
            printf("SKIP: isa %s (this processor does not have it)\n", isa_name(isa));
    const TTest *const tests[] = {half_widened, half_rounded,
                                  kv_layout,    kv_rounding,
                                  kv_q8_0,      norm,
                                  layer_norms,  activations,
                                  soft_caps,    loops_at_each_level,
                                  long_arrays,  rotary,
                                  rotary_part,  philox_known_answers,
                                  gumbel,       best_candidates,
                                  log_sums,     long_log_sums,
                                  choices,      choices_that_need_more,
                                  shards_agree, frequencies_of_samples,
                                  NULL};
    Suite *suite = suite_create("kernels");
    suite_add(suite, "kernels", tests);
    return suite_run(suite);
}
