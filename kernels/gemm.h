/* Matrix products with weights: f32 through OpenBLAS, bf16 through oneDNN, and kernels of our own
 * where one or a few tokens meet a bf16 weight or one in blocks (quant.h). For many tokens, rows in
 * blocks are widened into a panel, a bounded number at a time, and multiplied in f32 or bf16. Both
 * libraries follow the OpenMP threads: OpenBLAS runs single-threaded and the work is shared here,
 * oneDNN uses OpenMP itself. */
#ifndef QUIRE_KERNELS_GEMM_H
#define QUIRE_KERNELS_GEMM_H

#include "kernels/compute.h"
#include "kernels/cpu.h"
#include "kernels/matrix.h"
#include "kernels/quant.h"
#include <stdbool.h>
#include <stdint.h>

/* What products take from their caller besides inputs and outputs: the type that they compute in,
 * and room, which holds an input's other forms until its last product. */
struct gemm_scratch {
    enum compute compute;
    uint16_t *rounded; /* [T, K] of the largest input; NULL in f32 */
    void *blocks;      /* a few tokens for weights in blocks; NULL without such weights */
    void *panel;       /* widened rows of such weights; likewise */
};

/* Bytes of that room for inputs of up to T tokens and K columns; `blocks`: weights may be in
 * blocks. gemm_scratch_slice hands it out of memory of so many bytes, aligned to
 * 64; of NULL, NULLs. */
int64_t gemm_scratch_bytes(enum compute compute, bool blocks, int64_t T, int64_t K);
struct gemm_scratch gemm_scratch_slice(enum compute compute, bool blocks, int64_t T, int64_t K,
                                       void *memory);

/* Activations x [T, K] on their way into products with any weights: what a type of weights needs
 * of them is made at the first such product and kept for the next ones. */
struct gemm_input {
    int64_t T, K;
    const float *x;               /* borrowed */
    struct gemm_scratch scratch;  /* its room borrowed */
    bool is_rounded;              /* scratch.rounded is x */
    struct quant_input in_blocks; /* x for weights in blocks; T 0: not made */
};

/* x and the scratch's room must stay as they are until the last product; a new input takes the
 * room over. */
struct gemm_input gemm_prepare(const struct gemm_scratch *scratch, int64_t T, int64_t K,
                               const float *x);

/* y[t, n] = sum_k x[t, k] w[n, k], summed in f32: w [N, K], y [T, N] contiguous. K = 0 gives zeros;
 * T or N = 0 does nothing. Weights in bf16, and computing in bf16, need the level ISA_AVX512_BF16
 * or above. All products of one input with weights in blocks have the same columns. */
void gemm_xwt(struct gemm_input *in, const struct matrix *w, float *y);

/* The same for several weights of one input. For a few tokens all are multiplied by one team of
 * threads: starting one takes as long as reading some hundred kB. */
struct gemm_output {
    const struct matrix *w;
    float *y;
};
void gemm_xwt_each(struct gemm_input *in, const struct gemm_output *outputs, int count);

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
