/* A weight matrix as a rank holds it: row-major [rows, cols], as checkpoints hold a linear layer's
 * weight [out, in], in the type that the products take it in. */
#ifndef QUIRE_KERNELS_MATRIX_H
#define QUIRE_KERNELS_MATRIX_H

#include "kernels/half.h"
#include <stdint.h>

enum matrix_type { MATRIX_F32, MATRIX_BF16 };

struct matrix {
    enum matrix_type type;
    int64_t rows, cols;
    const void *data; /* borrowed, of its type, contiguous */
};

static inline int64_t matrix_element_bytes(enum matrix_type type) {
    return type == MATRIX_BF16 ? 2 : 4;
}

/* Copies one row into out [cols], exactly. */
static inline void matrix_row(const struct matrix *m, int64_t row, float *out) {
    if (m->type == MATRIX_F32) {
        memcpy(out, (const float *)m->data + row * m->cols, (size_t)m->cols * sizeof *out);
        return;
    }
    const uint16_t *from = (const uint16_t *)m->data + row * m->cols;
    for (int64_t i = 0; i < m->cols; i++)
        out[i] = bf16_to_f32(from[i]);
}

#endif
