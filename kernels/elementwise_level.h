/* The variants of the small operations by instruction level. Private to the kernels; n any number.
 */
#ifndef QUIRE_KERNELS_ELEMENTWISE_LEVEL_H
#define QUIRE_KERNELS_ELEMENTWISE_LEVEL_H

#include <stdint.h>

/* gate[i] = f(gate[i]) * up[i], or f(gate[i]) where up is NULL, by one thread. */
typedef void gate_function(float *gate, const float *up, int64_t n);

/* x[i] = cap tanh(x[i] / cap), by one thread. */
typedef void soft_cap_function(float *x, float cap, int64_t n);

gate_function silu_multiply_generic, silu_multiply_avx2, silu_multiply_avx512;
gate_function gelu_tanh_multiply_generic, gelu_tanh_multiply_avx2, gelu_tanh_multiply_avx512;
soft_cap_function soft_cap_generic, soft_cap_avx2, soft_cap_avx512;

struct elementwise_level {
    gate_function *silu_multiply, *gelu_tanh_multiply;
    soft_cap_function *soft_cap;
};

#define ELEMENTWISE_LEVEL(level)                                                                   \
    { silu_multiply_##level, gelu_tanh_multiply_##level, soft_cap_##level }

#endif
