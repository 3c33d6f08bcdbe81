#include "kernels/elementwise.h"
#include "kernels/cpu.h"
#include "kernels/elementwise_level.h"
#include "kernels/half.h"

#include <math.h>
#include <string.h>

static silu_multiply_function *const silu_multiply_of[ISA_COUNT] = {
    silu_multiply_generic, silu_multiply_avx2, silu_multiply_avx512, silu_multiply_avx512,
    silu_multiply_avx512};

/* Elements that a thread takes at a time; fewer are not worth waking the others. */
#define PIECE 16384

void rms_norm(const float *x, const float *weight, double eps, int64_t rows, int64_t width,
              float *out) {
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t t = 0; t < rows; t++) {
        const float *row = x + t * width;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++)
            sum += (double)row[i] * row[i];
        float factor = (float)(1 / sqrt(sum / (double)width + eps));
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            out[t * width + i] = row[i] * factor * weight[i];
    }
}

void silu_multiply(float *gate, const float *up, int64_t n) {
    enum isa isa;
    isa_chosen(&isa);
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        silu_multiply_of[isa](gate + i, up + i, n - i < PIECE ? n - i : PIECE);
}

void add_to(float *x, const float *y, int64_t n) {
#pragma omp parallel for simd schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

/* The conversions are also called for single rows, by threads at work: those open no team. */
static inline void round_piece(const float *x, int64_t n, uint16_t *out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = bf16_from_f32(x[i]);
}

static inline void widen_piece(const uint16_t *x, int64_t n, float *out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(x[i]);
}

void bf16_round(const float *x, int64_t n, uint16_t *out) {
    if (n <= PIECE) {
        round_piece(x, n, out);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += PIECE)
        round_piece(x + i, n - i < PIECE ? n - i : PIECE, out + i);
}

void bf16_widen(const uint16_t *x, int64_t n, float *out) {
    if (n <= PIECE) {
        widen_piece(x, n, out);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += PIECE)
        widen_piece(x + i, n - i < PIECE ? n - i : PIECE, out + i);
}

void add_bf16_to(float *x, const uint16_t *y, int64_t n) {
#pragma omp parallel for simd schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i++)
        x[i] += bf16_to_f32(y[i]);
}

/* A float is infinite or NaN when all exponent bits are set. */
bool all_finite(const float *x, int64_t n) {
    uint32_t found = 0;
#pragma omp parallel for simd schedule(static) reduction(| : found) if (n > PIECE)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !found;
}

void rope_tables(const int64_t *positions, int64_t count, const double *frequencies,
                 int64_t head_dim, float *cosines, float *sines) {
    int64_t half = head_dim / 2;
#pragma omp parallel for schedule(static) if (count > 1)
    for (int64_t t = 0; t < count; t++) {
        for (int64_t i = 0; i < half; i++) {
            double sine, cosine;
            sincos((double)positions[t] * frequencies[i], &sine, &cosine);
            cosines[t * half + i] = (float)cosine;
            sines[t * half + i] = (float)sine;
        }
    }
}

void rope_rotate(const float *x, const float *cosines, const float *sines, int64_t head_dim,
                 float scale, float *out) {
    int64_t half = head_dim / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        out[i] = scale * (a * cosines[i] - b * sines[i]);
        out[i + half] = scale * (b * cosines[i] + a * sines[i]);
    }
}
