/* The variants of the small operations by instruction level. Private to the kernels; n any number.
 */
#ifndef QUIRE_KERNELS_ELEMENTWISE_LEVEL_H
#define QUIRE_KERNELS_ELEMENTWISE_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

/* gate[i] = f(gate[i]) * up[i], or f(gate[i]) where up is NULL, by one thread. */
typedef void gate_function(float *gate, const float *up, int64_t n);

/* x[i] = cap tanh(x[i] / cap), by one thread. */
typedef void soft_cap_function(float *x, float cap, int64_t n);

/* One row of a norm; out may be x. */
typedef void rms_norm_function(const float *x, const float *weight, double eps, int64_t width,
                               float *out);
typedef void layer_norm_function(const float *x, const float *weight, const float *bias, double eps,
                                 int64_t width, float *out);

/* x[i] += factor * y[i], by one thread. */
typedef void add_scaled_function(float *x, const float *y, float factor, int64_t n);

/* True when all of x is finite, by one thread. */
typedef bool finite_function(const float *x, int64_t n);

gate_function silu_multiply_generic, silu_multiply_avx2, silu_multiply_avx512;
gate_function gelu_tanh_multiply_generic, gelu_tanh_multiply_avx2, gelu_tanh_multiply_avx512;
soft_cap_function soft_cap_generic, soft_cap_avx2, soft_cap_avx512;

rms_norm_function rms_norm_row_generic, rms_norm_row_avx2, rms_norm_row_avx512;
layer_norm_function layer_norm_row_generic, layer_norm_row_avx2, layer_norm_row_avx512;
add_scaled_function add_scaled_piece_generic, add_scaled_piece_avx2, add_scaled_piece_avx512;
finite_function finite_piece_generic, finite_piece_avx2, finite_piece_avx512;

struct elementwise_level {
    gate_function *silu_multiply, *gelu_tanh_multiply;
    soft_cap_function *soft_cap;
    rms_norm_function *rms_norm_row;
    layer_norm_function *layer_norm_row;
    add_scaled_function *add_scaled_piece;
    finite_function *finite_piece;
};

#define ELEMENTWISE_LEVEL(level)                                                                   \
    {                                                                                              \
        silu_multiply_##level, gelu_tanh_multiply_##level, soft_cap_##level, rms_norm_row_##level, \
            layer_norm_row_##level, add_scaled_piece_##level, finite_piece_##level                 \
    }

#endif
