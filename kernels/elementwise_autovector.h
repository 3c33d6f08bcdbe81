/* The small operations that are plain loops, of which the compiler makes vectors: included once by
 * elementwise_LEVEL.c, which is compiled for its level and says by ELEMENTWISE_NAME what its
 * functions are called. What they compute: elementwise.h; rows and pieces by one thread. */
#include "kernels/elementwise_level.h"

#include <math.h>
#include <string.h>

void ELEMENTWISE_NAME(rms_norm_row)(const float *x, const float *weight, double eps, int64_t width,
                                    float *out) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++)
        sum += (double)x[i] * x[i];
    float factor = (float)(1 / sqrt(sum / (double)width + eps));
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        out[i] = x[i] * factor * weight[i];
}

void ELEMENTWISE_NAME(layer_norm_row)(const float *x, const float *weight, const float *bias,
                                      double eps, int64_t width, float *out) {
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++)
        sum += x[i];
    double mean = sum / (double)width;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    double factor = 1 / sqrt(squares / (double)width + eps);
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        out[i] = (float)((x[i] - mean) * factor) * weight[i] + bias[i];
}

void ELEMENTWISE_NAME(add_scaled_piece)(float *x, const float *y, float factor, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] += factor * y[i];
}

/* A float is infinite or NaN when all exponent bits are set. */
bool ELEMENTWISE_NAME(finite_piece)(const float *x, int64_t n) {
    uint32_t found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !found;
}
