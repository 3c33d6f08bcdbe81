#include "kernels/elementwise.h"
#include "kernels/cpu.h"
#include "kernels/elementwise_level.h"
#include "kernels/half.h"

#include <math.h>

static const struct elementwise_level levels[ISA_COUNT] = {
    ELEMENTWISE_LEVEL(generic), ELEMENTWISE_LEVEL(avx2), ELEMENTWISE_LEVEL(avx512),
    ELEMENTWISE_LEVEL(avx512), ELEMENTWISE_LEVEL(avx512)};

static const struct elementwise_level *level(void) {
    enum isa isa;
    isa_chosen(&isa);
    return &levels[isa];
}

/* Elements that a thread takes at a time; fewer are not worth waking the others. */
#define PIECE 16384

void rms_norm(const float *x, const float *weight, double eps, int64_t rows, int64_t width,
              float *out) {
    rms_norm_function *norm = level()->rms_norm_row;
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t t = 0; t < rows; t++)
        norm(x + t * width, weight, eps, width, out + t * width);
}

void layer_norm(const float *x, const float *weight, const float *bias, double eps, int64_t rows,
                int64_t width, float *out) {
    layer_norm_function *norm = level()->layer_norm_row;
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t t = 0; t < rows; t++)
        norm(x + t * width, weight, bias, eps, width, out + t * width);
}

/* Length of the piece of n elements that begins at i. */
static inline int64_t piece_of(int64_t n, int64_t i) {
    return n - i < PIECE ? n - i : PIECE;
}

static void run_gate(gate_function *function, float *gate, const float *up, int64_t n) {
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        function(gate + i, up ? up + i : NULL, piece_of(n, i));
}

void silu_multiply(float *gate, const float *up, int64_t n) {
    run_gate(level()->silu_multiply, gate, up, n);
}

void gelu_tanh_multiply(float *gate, const float *up, int64_t n) {
    run_gate(level()->gelu_tanh_multiply, gate, up, n);
}

static void gelu_piece(float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        gate[i] = 0.5f * gate[i] * (1 + erff(gate[i] * (float)M_SQRT1_2)) * (up ? up[i] : 1);
}

void gelu_multiply(float *gate, const float *up, int64_t n) {
    run_gate(gelu_piece, gate, up, n);
}

void soft_cap(float *x, float cap, int64_t n) {
    const struct elementwise_level *l = level();
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        l->soft_cap(x + i, cap, piece_of(n, i));
}

void add_to(float *x, const float *y, int64_t n) {
    add_scaled_to(x, y, 1, n);
}

void add_scaled_to(float *x, const float *y, float factor, int64_t n) {
    add_scaled_function *add = level()->add_scaled_piece;
#pragma omp parallel for schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        add(x + i, y + i, factor, piece_of(n, i));
}

void scale_by(float *x, float factor, int64_t n) {
#pragma omp parallel for simd schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

void add_to_rows(float *x, const float *bias, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width > PIECE)
    for (int64_t t = 0; t < rows; t++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            x[t * width + i] += bias[i];
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
        round_piece(x + i, piece_of(n, i), out + i);
}

void bf16_widen(const uint16_t *x, int64_t n, float *out) {
    if (n <= PIECE) {
        widen_piece(x, n, out);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += PIECE)
        widen_piece(x + i, piece_of(n, i), out + i);
}

void add_bf16_to(float *x, const uint16_t *y, int64_t n) {
#pragma omp parallel for simd schedule(static) if (n > PIECE)
    for (int64_t i = 0; i < n; i++)
        x[i] += bf16_to_f32(y[i]);
}

bool all_finite(const float *x, int64_t n) {
    finite_function *finite = level()->finite_piece;
    bool all = true;
#pragma omp parallel for schedule(static) reduction(&& : all) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        all = finite(x + i, piece_of(n, i)) && all;
    return all;
}

void rope_tables(const int64_t *positions, int64_t count, const double *frequencies, int64_t pairs,
                 double factor, float *cosines, float *sines) {
#pragma omp parallel for schedule(static) if (count > 1)
    for (int64_t t = 0; t < count; t++) {
        for (int64_t i = 0; i < pairs; i++) {
            double sine, cosine;
            sincos((double)positions[t] * frequencies[i], &sine, &cosine);
            cosines[t * pairs + i] = (float)(factor * cosine);
            sines[t * pairs + i] = (float)(factor * sine);
        }
    }
}

void rope_rotate(const float *x, const float *cosines, const float *sines, int64_t pairs,
                 int64_t head_dim, float scale, float *out) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; i++) {
        float a = x[i], b = x[i + pairs];
        out[i] = scale * (a * cosines[i] - b * sines[i]);
        out[i + pairs] = scale * (b * cosines[i] + a * sines[i]);
    }
    for (int64_t i = 2 * pairs; i < head_dim; i++)
        out[i] = scale * x[i];
}
