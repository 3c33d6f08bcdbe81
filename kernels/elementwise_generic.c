#define ELEMENTWISE_NAME(name) name##_generic
#include "kernels/elementwise_autovector.h"

#include <math.h>

void silu_multiply_generic(float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + expf(-gate[i])) * (up ? up[i] : 1);
}

void gelu_tanh_multiply_generic(float *gate, const float *up, int64_t n) {
    const float a = (float)sqrt(2 / M_PI), b = 0.044715f;
    for (int64_t i = 0; i < n; i++) {
        float x = gate[i];
        gate[i] = 0.5f * x * (1 + tanhf(a * (x + b * x * x * x))) * (up ? up[i] : 1);
    }
}

void soft_cap_generic(float *x, float cap, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
}
