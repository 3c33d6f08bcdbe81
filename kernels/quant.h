/* Weight matrices in blocks: each run of 32 values along a row shares a scale, as in GGUF files
 * (llama.cpp's formats of those names). Few tokens are multiplied straight from the blocks; for
 * many, rows are widened into a panel first (gemm.h does both). A type is a row of two tables: what
 * it is (struct quant_type), and how each instruction level computes with it (quant_level.h).
 *
 * In files a row's blocks follow each other. Held, sixteen rows are interleaved, so that a vector
 * of sixteen 32-bit lanes has a row in each lane and a product needs no sum across lanes:
 *
 *     group of 16 rows: [tile of block 0][tile of block 1] ... then the next 16 rows
 *     tile: 16 scales, one of each row, then vectors of 64 bytes, four bytes of each row:
 *
 *     q8_0, 544 bytes            row 0      row 1     ...  row 15
 *       scales (f16)             d          d              d
 *       vector 0                 q0..q3     q0..q3         q0..q3        q: int8, value q d
 *       ...
 *       vector 7                 q28..q31   q28..q31       q28..q31
 *
 * quant_layout.h says it for the other types.
 * Rows that are lacking in the last group are zeros. */
#ifndef QUIRE_KERNELS_QUANT_H
#define QUIRE_KERNELS_QUANT_H

#include "kernels/matrix.h"
#include <stdbool.h>
#include <stdint.h>

/* Rows of a group. */
#define QUANT_ROWS 16

struct quant_type {
    const char *name;
    int64_t block;       /* values of a row in a block, a multiple of 32 */
    int64_t block_bytes; /* of one row's block in a file */
    int64_t tile_bytes;  /* of sixteen rows' blocks, held */

    /* x [blocks * block] to blocks as files have them. The values are those of the `gguf` package's
     * quantize, bit for bit; a block with a value that is not finite gets the scale NaN. NULL: the
     * type is only read. */
    void (*quantise)(int64_t blocks, const float *x, unsigned char *out);

    /* `rows` <= 16 rows of `blocks` file blocks each, one row behind the other, to tiles. */
    void (*pack)(int64_t rows, int64_t blocks, const unsigned char *from, unsigned char *tiles);
};

/* NULL for F32 and BF16. */
const struct quant_type *quant_type(enum matrix_type type);

/* Quantises x [rows, cols] into the groups of a matrix from row `first` on, a multiple of
 * QUANT_ROWS, on all threads; cols a multiple of the block. False without memory. */
bool quant_store(enum matrix_type type, int64_t first, int64_t rows, int64_t cols, const float *x,
                 void *data);

/* The same from `rows` rows of `blocks` blocks as files have them, one row behind the other. */
void quant_place(enum matrix_type type, int64_t first, int64_t rows, int64_t blocks,
                 const unsigned char *from, void *data);

/* One row as f32, out [cols]. */
void quant_row(const struct matrix *m, int64_t row, float *out);

/* Rows [first, first + rows), first a multiple of QUANT_ROWS, widened to f32 or rounded to bf16,
 * out [rows up to QUANT_ROWS, cols] contiguous; all threads. */
void quant_widen_f32(const struct matrix *m, int64_t first, int64_t rows, float *out);
void quant_widen_bf16(const struct matrix *m, int64_t first, int64_t rows, uint16_t *out);

/* Most tokens that quant_input_make and quant_few take, and the number up to which products from
 * the blocks are faster than with widened rows (measured: 32 with the processor's own 8-bit
 * products, else 8). */
#define QUANT_FEW 32
int64_t quant_few_tokens(void);

/* Activations of a few tokens as quant_few reads them: blocks of 32 on the weight's grid, each a
 * scale times 16-bit whole numbers, in two planes of int8: x = scale (255 high + low). So they are
 * rounded by 2^-16 of the block's largest, which is far below the rounding of the weights, and the
 * result hardly depends on where a slice cuts a block. */
struct quant_input {
    int64_t T, blocks;
    const int8_t *planes; /* [T][blocks][2][32]: high, low */
    const float *scales;  /* [T][blocks] */
    const int32_t *sums;  /* [T][blocks][2] of 255 high + low over each half of the block */
};

/* Bytes that quant_input_make fills. */
static inline int64_t quant_input_bytes(int64_t T, int64_t blocks) {
    return T * blocks * (2 * 32 + (int64_t)sizeof(float) + 2 * (int64_t)sizeof(int32_t));
}

/* Blocks of 32 that inputs of K columns take at most, wherever a slice starts and whatever the
 * type. */
static inline int64_t quant_input_blocks(int64_t K) {
    return K / 32 + 16;
}

/* x [T, m->cols], T <= QUANT_FEW, moved to the columns of m's blocks, with zeros outside its slice;
 * a block with a value that is not finite gets the scale NaN. `room` has the bytes of
 * quant_input_bytes, aligned to 64. */
struct quant_input quant_input_make(const struct matrix *m, int64_t T, const float *x, void *room);

/* y[t, n] = sum_k x[t, k] w[n, k] for the rows n of [first, first + rows), first a multiple of
 * QUANT_ROWS; y [T, m->rows] contiguous; one thread: whole numbers within a block, f32 from block
 * to block. */
void quant_few(const struct quant_input *in, const struct matrix *m, int64_t first, int64_t rows,
               float *y);

#endif
