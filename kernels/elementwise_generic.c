#include "kernels/elementwise_level.h"

#include <math.h>

void silu_multiply_generic(float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}
