#include "kernels/vector_avx2.h"

#include "kernels/elementwise_vector.h"

void silu_multiply_avx2(float *gate, const float *up, int64_t n) {
    silu_multiply_vector(gate, up, n);
}
