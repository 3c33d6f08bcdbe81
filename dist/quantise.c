#include "dist/quantise.h"

#include "kernels/quant.h"
#include <stdlib.h>

/* Bytes of stored values, as f32, that are held at a time, unless one group of rows takes more. */
#define PIECE_BYTES ((int64_t)8 << 20)

static enum status read_pieces(struct weights *weights, const char *name, struct range rows,
                               struct range cols, enum matrix_type type, int64_t piece,
                               float *values, void *data) {
    for (int64_t done = 0; done < rows.count; done += piece) {
        struct range part = {rows.first + done, rows.count - done};
        if (part.count > piece)
            part.count = piece;
        TRY(weights_read(weights, name, part, cols, values));
        if (!quant_store(type, done, part.count, cols.count, values, data))
            return status_no_memory(name, (long long)cols.count * QUANT_ROWS);
    }
    return STATUS_OK;
}

enum status quantise_read(struct weights *weights, const char *name, struct range rows,
                          struct range cols, enum matrix_type type, void *data) {
    if (rows.count == 0 || cols.count == 0)
        return STATUS_OK;
    int64_t group = QUANT_ROWS * cols.count * (int64_t)sizeof(float);
    int64_t piece = (PIECE_BYTES / group + 1) * QUANT_ROWS;
    int64_t most = piece < rows.count ? piece : rows.count;
    float *values = malloc((size_t)(most * cols.count) * sizeof *values);
    if (!values)
        return status_no_memory(name, (long long)(most * cols.count) * 4);
    enum status status = read_pieces(weights, name, rows, cols, type, piece, values, data);
    free(values);
    return status;
}
