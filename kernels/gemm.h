/* Matrix products in f32 through OpenBLAS. OpenBLAS runs single-threaded; the work is shared over
 * the OpenMP threads here. */
#ifndef QUIRE_KERNELS_GEMM_H
#define QUIRE_KERNELS_GEMM_H

#include "kernels/cpu.h"
#include <stdint.h>

/* y[t, n] = sum_k x[t, k] w[n, k]: x [T, K], w [N, K] row-major as checkpoints hold a linear
 * layer's weight, y [T, N], all contiguous. K = 0 gives zeros; T or N = 0 does nothing. */
void gemm_xwt(int64_t T, int64_t N, int64_t K, const float *x, const float *w, float *y);

/* Core type that OpenBLAS runs with ("SkylakeX", "Haswell", ...). */
const char *gemm_core(void);

/* OpenBLAS's version and build, one line. */
const char *gemm_library(void);

/* The value for OPENBLAS_CORETYPE with which this process should be started anew, or NULL when
 * OpenBLAS already runs a core of the instruction level (or was asked to and does not have it).
 * OpenBLAS 0.3.21 does not know processors after its time and falls to AVX2 where AVX-512 is there.
 * It reads the variable when it is loaded, so the program must set it and execute itself again. A
 * variable that names a core of another level, as cluster profiles set for other programs, gives
 * way: QUIRE_ISA alone chooses the level. */
const char *gemm_core_wanted(void);

/* The same as a function of the level, the core OpenBLAS runs with and OPENBLAS_CORETYPE (NULL: not
 * set). */
const char *gemm_core_choose(enum isa isa, const char *core, const char *variable);

/* Called once before the first product: OpenBLAS's own threads off. */
void gemm_init(void);

#endif
