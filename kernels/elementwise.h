/* The small operations between the matrix products. Rows are shared over the OpenMP threads. */
#ifndef QUIRE_KERNELS_ELEMENTWISE_H
#define QUIRE_KERNELS_ELEMENTWISE_H

#include <stdbool.h>
#include <stdint.h>

/* out[t, i] = x[t, i] * weight[i] / sqrt(mean_i x[t, i]^2 + eps): RMSNorm, arXiv 1910.07467 eq. 4.
 * x, out [rows, D], weight [D]; out may be x. The mean is summed in f64. */
void rms_norm(const float *x, const float *weight, double eps, int64_t rows, int64_t width,
              float *out);

/* out[t, i] = (x[t, i] - mean_i x) * weight[i] / sqrt(variance_i x + eps) + bias[i]: LayerNorm,
 * arXiv 1607.06450. x, out [rows, D], weight, bias [D]; out may be x. Sums in f64. */
void layer_norm(const float *x, const float *weight, const float *bias, double eps, int64_t rows,
                int64_t width, float *out);

/* gate[i] = f(gate[i]) * up[i], or f(gate[i]) where up is NULL. [n]
 * silu(x) = x / (1 + exp(-x)): SwiGLU, arXiv 2002.05202;
 * gelu_tanh(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), gelu(x) = x/2 (1 + erf(x/sqrt(2))):
 * arXiv 1606.08415. */
void silu_multiply(float *gate, const float *up, int64_t n);
void gelu_tanh_multiply(float *gate, const float *up, int64_t n);
void gelu_multiply(float *gate, const float *up, int64_t n);

/* x[i] = cap tanh(x[i] / cap), cap > 0. [n] */
void soft_cap(float *x, float cap, int64_t n);

/* x[i] += y[i]. [n] */
void add_to(float *x, const float *y, int64_t n);

/* x[i] += factor * y[i]. [n] */
void add_scaled_to(float *x, const float *y, float factor, int64_t n);

/* x[i] *= factor. [n] */
void scale_by(float *x, float factor, int64_t n);

/* x[t, i] += bias[i]. x [rows, width] */
void add_to_rows(float *x, const float *bias, int64_t rows, int64_t width);

/* Rounds x [n] to the nearest bf16, ties to even, and widens it again, exactly. */
void bf16_round(const float *x, int64_t n, uint16_t *out);
void bf16_widen(const uint16_t *x, int64_t n, float *out);

/* x[i] += y[i], y in bf16. [n] */
void add_bf16_to(float *x, const uint16_t *y, int64_t n);

/* True when every element of x [n] is finite. */
bool all_finite(const float *x, int64_t n);

/* cos and sin tables of rotary angles, made in double and rounded once: tables [positions, pairs],
 * factor * cos(angle) and factor * sin(angle), angle = position * frequency. */
void rope_tables(const int64_t *positions, int64_t count, const double *frequencies, int64_t pairs,
                 double factor, float *cosines, float *sines);

/* out = scale * R(angle) x for one row x [d] with its table rows cosines, sines [pairs]. The first
 * 2 * pairs elements are rotated, as pairs (x[i], x[i + pairs]), as in Hugging Face checkpoints;
 * the rest is only scaled. pairs 0: nothing is rotated, the tables are not read. out may be x. */
void rope_rotate(const float *x, const float *cosines, const float *sines, int64_t pairs,
                 int64_t head_dim, float scale, float *out);

#endif
