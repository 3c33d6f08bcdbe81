#include "kernels/elementwise_level.h"
void silu_multiply_avx2(float *gate, const float *up, int64_t n) {
    silu_multiply_generic(gate, up, n);
}
