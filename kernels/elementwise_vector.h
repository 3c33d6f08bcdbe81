/* The small operations of one vector level: included once by elementwise_LEVEL.c, behind
 * vector_LEVEL.h. */
#include "kernels/elementwise_level.h"
#include "kernels/vector_exp.h"

static inline void silu_multiply_vector(float *gate, const float *up, int64_t n) {
    const vector one = vector_set(1);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vector x = vector_load(gate + i);
        vector_store(gate + i, x / (one + vector_exp(-x)) * vector_load(up + i));
    }
    vector x = vector_load_part(gate + i, n - i);
    x = x / (one + vector_exp(-x)) * vector_load_part(up + i, n - i);
    vector_store_part(gate + i, x, n - i);
}
