/* The bf16 products behind gemm.h. Private to gemm*.c. */
#ifndef QUIRE_KERNELS_GEMM_BF16_H
#define QUIRE_KERNELS_GEMM_BF16_H

#include "kernels/cpu.h"
#include <stdbool.h>
#include <stdint.h>

/* Most tokens that gemm_few takes at once. */
#define GEMM_FEW 8

/* y[t, n] for a few tokens t < T <= GEMM_FEW and the rows n of [first, end): x [T, K], w [N, K],
 * y [T, ...] with N between its rows. Each weight is read from memory once, in its order; one
 * thread. */
void gemm_few(int64_t T, int64_t N, int64_t K, int64_t first, int64_t end, const uint16_t *x,
              const uint16_t *w, float *y);

/* Rounds n floats to the nearest bf16, ties to even; one thread. */
void gemm_round(int64_t n, const float *x, uint16_t *rounded);

/* The whole product by oneDNN, on all threads, y's rows `stride` apart. False where it has no fast
 * way for the sizes, or no memory; y is then undefined. */
bool gemm_many(int64_t T, int64_t N, int64_t K, const uint16_t *x, const uint16_t *w,
               int64_t stride, float *y);
void gemm_many_init(enum isa isa);
void gemm_many_close(void);

#endif
