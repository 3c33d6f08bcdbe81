/* A weight matrix as a rank holds it: [rows, cols], as checkpoints hold a linear layer's weight
 * [out, in], in the type that the products take it in. F32 and BF16 are row-major; the types in
 * blocks lie as quant.h draws them. */
#ifndef QUIRE_KERNELS_MATRIX_H
#define QUIRE_KERNELS_MATRIX_H

#include <stdint.h>

/* The types in blocks follow those without. */
enum matrix_type {
    MATRIX_F32,
    MATRIX_BF16,
    MATRIX_Q8_0,
    MATRIX_Q4_0,
    MATRIX_Q4_1,
    MATRIX_Q5_0,
    MATRIX_Q5_1,
    MATRIX_Q4_K,
    MATRIX_Q5_K,
    MATRIX_Q6_K,
    MATRIX_TYPE_COUNT
};

struct matrix {
    enum matrix_type type;
    int64_t rows, cols;
    const void *data; /* borrowed, of its type, contiguous */
    int64_t lead; /* values of each row's first block that lie before column 0: a slice of columns
                   * keeps the blocks whole that it cuts. 0 without blocks */
};

/* "f32", "bf16", "q8_0", "q4_0". */
const char *matrix_type_name(enum matrix_type type);

/* Values of a row that share a block; 1 without blocks. */
int64_t matrix_block(enum matrix_type type);

/* Bytes of rows x cols values; in blocks, cols are those of all blocks touched, a multiple of
 * matrix_block, and the rows are filled up to QUANT_ROWS. */
int64_t matrix_bytes(enum matrix_type type, int64_t rows, int64_t cols);

/* Copies one row into out [cols] as f32, exactly. */
void matrix_row(const struct matrix *m, int64_t row, float *out);

#endif
