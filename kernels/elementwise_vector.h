/* The small operations of one vector level: included once by elementwise_LEVEL.c, behind
 * vector_LEVEL.h. */
#include "kernels/elementwise_level.h"
#include "kernels/vector_exp.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vector silu(vector x) {
    return x / (vector_set(1) + vector_exp(-x));
}

/* (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). */
INLINE vector gelu_tanh(vector x) {
    vector u = x * vector_fma(x * x, vector_set(0x1.2444f2p-4f), vector_set(0x1.988454p+0f));
    return x / (vector_set(1) + vector_exp(-u));
}

INLINE void gate_run(vector (*f)(vector), float *gate, const float *up, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vector x = f(vector_load(gate + i));
        if (up)
            x = x * vector_load(up + i);
        vector_store(gate + i, x);
    }
    vector x = f(vector_load_part(gate + i, n - i));
    if (up)
        x = x * vector_load_part(up + i, n - i);
    vector_store_part(gate + i, x, n - i);
}

INLINE void soft_cap_run(float *x, float cap, int64_t n) {
    const vector factor = vector_set(cap), inverse = vector_set(1 / cap);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vector_store(x + i, factor * vector_tanh(vector_load(x + i) * inverse));
    vector_store_part(x + i, factor * vector_tanh(vector_load_part(x + i, n - i) * inverse), n - i);
}
