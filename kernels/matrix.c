#include "kernels/matrix.h"

#include "kernels/half.h"
#include "kernels/quant.h"

const char *matrix_type_name(enum matrix_type type) {
    if (type == MATRIX_F32)
        return "f32";
    return type == MATRIX_BF16 ? "bf16" : quant_type(type)->name;
}

int64_t matrix_block(enum matrix_type type) {
    const struct quant_type *quant = quant_type(type);
    return quant ? quant->block : 1;
}

int64_t matrix_bytes(enum matrix_type type, int64_t rows, int64_t cols) {
    const struct quant_type *quant = quant_type(type);
    if (!quant)
        return rows * cols * (type == MATRIX_BF16 ? 2 : 4);
    int64_t groups = (rows + QUANT_ROWS - 1) / QUANT_ROWS;
    return groups * (cols / quant->block) * quant->tile_bytes;
}

void matrix_row(const struct matrix *m, int64_t row, float *out) {
    if (quant_type(m->type)) {
        quant_row(m, row, out);
    } else if (m->type == MATRIX_F32) {
        memcpy(out, (const float *)m->data + row * m->cols, (size_t)m->cols * sizeof *out);
    } else {
        const uint16_t *from = (const uint16_t *)m->data + row * m->cols;
        for (int64_t i = 0; i < m->cols; i++)
            out[i] = bf16_to_f32(from[i]);
    }
}
