#include "kernels/vector_avx512.h"

#include "kernels/elementwise_vector.h"

#define ELEMENTWISE_NAME(name) name##_avx512
#include "kernels/elementwise_autovector.h"

void silu_multiply_avx512(float *gate, const float *up, int64_t n) {
    gate_run(silu, gate, up, n);
}

void gelu_tanh_multiply_avx512(float *gate, const float *up, int64_t n) {
    gate_run(gelu_tanh, gate, up, n);
}

void soft_cap_avx512(float *x, float cap, int64_t n) {
    soft_cap_run(x, cap, n);
}
