/* Matrix products with weights: f32 through OpenBLAS, bf16 through oneDNN, and kernels of our own
 * where one or a few tokens meet a bf16 weight. Both libraries follow the OpenMP threads: OpenBLAS
 * runs single-threaded and the work is shared here, oneDNN uses OpenMP itself. */
#ifndef QUIRE_KERNELS_GEMM_H
#define QUIRE_KERNELS_GEMM_H

#include "kernels/cpu.h"
#include "kernels/matrix.h"
#include <stdint.h>

/* Activations x [T, K] as products with weights of one type read them. Made once for all products
 * of the same activations. */
struct gemm_input {
    int64_t T, K;
    const float *x;          /* borrowed */
    const uint16_t *rounded; /* borrowed, [T, K]; NULL for f32 weights */
};

/* For bf16 weights, x is rounded into `rounded` [T, K], which f32 weights leave alone (it may be
 * NULL then). Both must stay as they are until the last product. */
struct gemm_input gemm_prepare(enum matrix_type weights, int64_t T, int64_t K, const float *x,
                               uint16_t *rounded);

/* y[t, n] = sum_k x[t, k] w[n, k], summed in f32: w [N, K] of the type that the input was prepared
 * for, y [T, N] contiguous. K = 0 gives zeros; T or N = 0 does nothing. bf16 needs the level
 * ISA_AVX512_BF16 or above. */
void gemm_xwt(const struct gemm_input *in, const struct matrix *w, float *y);

/* Core type that OpenBLAS runs with ("SkylakeX", "Haswell", ...). */
const char *gemm_core(void);

/* The versions of the libraries, one line each: OpenBLAS's with its build, oneDNN's number. */
const char *gemm_library(void);
const char *gemm_library_bf16(void);

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

/* Called once before the first product: OpenBLAS's own threads off, oneDNN kept to the instruction
 * level that QUIRE_ISA allows. */
void gemm_init(void);

/* Frees what the products keep from call to call. */
void gemm_close(void);

#endif
