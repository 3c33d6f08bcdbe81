/* What an instruction level does with matrices in blocks. Private to quant*.c; one thread each. */
#ifndef QUIRE_KERNELS_QUANT_LEVEL_H
#define QUIRE_KERNELS_QUANT_LEVEL_H

#include "kernels/quant.h"

/* Widens `tiles` tiles of one group of rows: value k of row r goes to out[r * stride + k]. */
typedef void quant_widen_f32_function(int64_t tiles, const unsigned char *from, int64_t stride,
                                      float *out);
typedef void quant_widen_bf16_function(int64_t tiles, const unsigned char *from, int64_t stride,
                                       uint16_t *out);

/* Most tokens that a kernel multiplies at a time: with their sums they fill the registers. */
#define QUANT_PASS 8

/* y[t, n] of the groups [first, end) of m, for in->T <= QUANT_PASS tokens. */
typedef void quant_few_function(const struct quant_input *in, const struct matrix *m, int64_t first,
                                int64_t end, float *y);

/* One token's x [blocks * 32] to planes [blocks][2][32], scales [blocks], sums [blocks][2]. */
typedef void quant_round_function(int64_t blocks, const float *x, int8_t *planes, float *scales,
                                  int32_t *sums);

/* One type at one level. bf16 is only computed in where the processor has it, so the levels below
 * share the plain one; 8-bit products without VNNI are AVX2's. */
struct quant_kernels {
    quant_widen_f32_function *widen_f32;
    quant_widen_bf16_function *widen_bf16;
    quant_few_function *few;
};

/* See pack in quant.h. */
typedef void quant_pack_function(int64_t rows, int64_t blocks, const unsigned char *from,
                                 unsigned char *tiles);

#define DECLARE(type)                                                                              \
    quant_widen_f32_function type##_widen_f32_generic, type##_widen_f32_avx2,                      \
        type##_widen_f32_avx512;                                                                   \
    quant_widen_bf16_function type##_widen_bf16_generic, type##_widen_bf16_avx512;                 \
    quant_few_function type##_few_generic, type##_few_avx2, type##_few_vnni;                       \
    quant_pack_function type##_pack;
DECLARE(q8_0)
DECLARE(q4_0)
DECLARE(q4_1)
DECLARE(q5_0)
DECLARE(q5_1)
DECLARE(q4_k)
DECLARE(q5_k)
DECLARE(q6_k)
#undef DECLARE
quant_round_function quant_round_generic, quant_round_avx2, quant_round_avx512;

/* The whole numbers of quant_input: |x / scale| up to this, 255 * 127 + 127. */
#define QUANT_INPUT_MOST 32512
/* A block whose largest is below counts as zeros: its reciprocal would not be finite. */
#define QUANT_INPUT_LEAST 0x1p-100f

#endif
