/* The small operations between the matrix products. Rows are shared over the OpenMP threads. */
#ifndef QUIRE_KERNELS_ELEMENTWISE_H
#define QUIRE_KERNELS_ELEMENTWISE_H

#include <stdbool.h>
#include <stdint.h>

/* out[t, i] = x[t, i] * weight[i] / sqrt(mean_i x[t, i]^2 + eps): RMSNorm, arXiv 1910.07467 eq. 4.
 * x, out [rows, D], weight [D]; out may be x. The mean is summed in f64. */
void rms_norm(const float *x, const float *weight, double eps, int64_t rows, int64_t width,
              float *out);

/* gate[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)): SwiGLU, arXiv 2002.05202. [n] */
void silu_multiply(float *gate, const float *up, int64_t n);

/* x[i] += y[i]. [n] */
void add_to(float *x, const float *y, int64_t n);

/* Rounds x [n] to the nearest bf16, ties to even, and widens it again, exactly. */
void bf16_round(const float *x, int64_t n, uint16_t *out);
void bf16_widen(const uint16_t *x, int64_t n, float *out);

/* x[i] += y[i], y in bf16. [n] */
void add_bf16_to(float *x, const uint16_t *y, int64_t n);

/* True when every element of x [n] is finite. */
bool all_finite(const float *x, int64_t n);

/* cos and sin tables of rotary angles, made in double and rounded once: tables [positions, d/2],
 * angle = position * frequency. */
void rope_tables(const int64_t *positions, int64_t count, const double *frequencies,
                 int64_t head_dim, float *cosines, float *sines);

/* out = scale * R(angle) x for one row x [d] with its table rows cosines, sines [d/2]; pairs are
 * (x[i], x[i + d/2]), as in Hugging Face checkpoints. out may be x. */
void rope_rotate(const float *x, const float *cosines, const float *sines, int64_t head_dim,
                 float scale, float *out);

#endif
