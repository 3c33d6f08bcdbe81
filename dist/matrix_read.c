#include "dist/matrix_read.h"

#include "kernels/half.h"
#include "kernels/quant.h"
#include <stdlib.h>
#include <strings.h>

/* Bytes of stored values, as f32, that are held at a time, unless one group of rows takes more. */
#define PIECE_BYTES ((int64_t)8 << 20)

/* Rows from `row` on that follow each other in the file too, at most those of `rows`, and where. */
static struct range rows_in_file(const struct matrix_source *source, struct range rows,
                                 int64_t row) {
    int64_t d = source->pairs;
    if (!d)
        return (struct range){row, range_end(rows) - row};
    int64_t i = row % d, half = d / 2;
    return (struct range){row - i + (i < half ? 2 * i : 2 * (i - half) + 1), 1};
}

/* The type of a tensor in blocks. */
static enum matrix_type type_of(const struct matrix_source *source) {
    const char *dtype = weights_dtype(source->weights, source->name);
    for (enum matrix_type type = MATRIX_F32; type < MATRIX_TYPE_COUNT; type++)
        if (quant_type(type) && strcasecmp(quant_type(type)->name, dtype) == 0)
            return type;
    return MATRIX_F32;
}

/* Blocks as they stand in the file, row behind row; cols a range of whole ones. */
static enum status read_blocks(const struct matrix_source *source, struct range rows,
                               struct range cols, int64_t row_bytes, unsigned char *out) {
    struct range run;
    for (int64_t row = rows.first; row < range_end(rows); row += run.count) {
        run = rows_in_file(source, rows, row);
        TRY(weights_read_blocks(source->weights, source->name, run, cols,
                                out + (row - rows.first) * row_bytes));
    }
    return STATUS_OK;
}

/* Up to QUANT_ROWS rows of a tensor in blocks as f32, through `room`: blocks, then tiles, then
 * rows. */
static enum status widen_group(const struct matrix_source *source, const struct quant_type *quant,
                               struct matrix *m, struct range rows, struct range cols,
                               struct range held, unsigned char *room, float *out) {
    int64_t blocks = held.count / quant->block, row_bytes = blocks * quant->block_bytes;
    unsigned char *tiles = room + QUANT_ROWS * row_bytes;
    float *wide = (float *)(void *)(tiles + blocks * quant->tile_bytes);
    TRY(read_blocks(source, rows, held, row_bytes, room));
    quant_place(m->type, 0, rows.count, blocks, room, tiles);
    m->data = tiles;
    quant_widen_f32(m, 0, rows.count, wide);
    memcpy(out, wide, (size_t)(rows.count * cols.count) * sizeof *out);
    return STATUS_OK;
}

static enum status widen_blocks(const struct matrix_source *source, struct range rows,
                                struct range cols, float *out) {
    enum matrix_type type = type_of(source);
    const struct quant_type *quant = quant_type(type);
    int64_t block = quant->block, first = cols.first / block * block;
    struct range held = {first, (range_end(cols) - first + block - 1) / block * block};
    struct matrix m = {type, QUANT_ROWS, cols.count, NULL, cols.first - first};
    int64_t bytes = held.count / block * (QUANT_ROWS * quant->block_bytes + quant->tile_bytes) +
                    QUANT_ROWS * cols.count * (int64_t)sizeof *out;
    unsigned char *room = aligned_alloc(64, (size_t)(bytes / 64 + 1) * 64);
    enum status status = room ? STATUS_OK : status_no_memory(source->name, (long long)bytes);
    for (int64_t done = 0; status == STATUS_OK && done < rows.count; done += QUANT_ROWS) {
        int64_t rest = rows.count - done;
        struct range group = {rows.first + done, rest < QUANT_ROWS ? rest : QUANT_ROWS};
        status = widen_group(source, quant, &m, group, cols, held, room, out + done * cols.count);
    }
    free(room);
    return status;
}

static enum status read_f32(const struct matrix_source *source, struct range rows,
                            struct range cols, float *out) {
    if (weights_in_blocks(source->weights, source->name))
        return widen_blocks(source, rows, cols, out);
    struct range run;
    int64_t width = cols.count ? cols.count : 1;
    for (int64_t row = rows.first; row < range_end(rows); row += run.count) {
        run = rows_in_file(source, rows, row);
        TRY(weights_read(source->weights, source->name, run, cols,
                         out + (row - rows.first) * width));
    }
    return STATUS_OK;
}

static enum status read_bf16(const struct matrix_source *source, struct range rows,
                             struct range cols, uint16_t *out) {
    struct range run;
    for (int64_t row = rows.first; row < range_end(rows); row += run.count) {
        run = rows_in_file(source, rows, row);
        TRY(weights_read_bf16(source->weights, source->name, run, cols,
                              out + (row - rows.first) * cols.count));
    }
    return STATUS_OK;
}

/* How a piece of rows gets from the files to its place: through values [rows, cols] in f32, or
 * through the file's blocks. */
struct piece {
    enum matrix_type type;
    bool stored;
    void *room;
    void *data;
};

static enum status piece_read(const struct matrix_source *source, const struct piece *p,
                              int64_t done, struct range rows, struct range cols) {
    const struct quant_type *quant = quant_type(p->type);
    if (p->stored) {
        int64_t blocks = cols.count / quant->block;
        TRY(read_blocks(source, rows, cols, blocks * quant->block_bytes, p->room));
        quant_place(p->type, done, rows.count, blocks, p->room, p->data);
        return STATUS_OK;
    }
    TRY(read_f32(source, rows, cols, p->room));
    if (quant)
        return quant_store(p->type, done, rows.count, cols.count, p->room, p->data)
                   ? STATUS_OK
                   : status_no_memory(source->name, (long long)cols.count * QUANT_ROWS);
    const float *values = p->room;
    uint16_t *out = (uint16_t *)p->data + done * cols.count;
    for (int64_t i = 0; i < rows.count * cols.count; i++)
        out[i] = bf16_from_f32(values[i]);
    return STATUS_OK;
}

static enum status read_pieces(const struct matrix_source *source, struct range rows,
                               struct range cols, struct piece *p) {
    int64_t group = QUANT_ROWS * cols.count * (int64_t)sizeof(float);
    int64_t most = (PIECE_BYTES / group + 1) * QUANT_ROWS;
    if (most > rows.count)
        most = rows.count;
    p->room = malloc((size_t)(most * cols.count) * sizeof(float));
    if (!p->room)
        return status_no_memory(source->name, (long long)(most * cols.count) * 4);
    enum status status = STATUS_OK;
    for (int64_t done = 0; status == STATUS_OK && done < rows.count; done += most) {
        struct range part = {rows.first + done, rows.count - done};
        if (part.count > most)
            part.count = most;
        status = piece_read(source, p, done, part, cols);
    }
    free(p->room);
    return status;
}

enum status matrix_read(const struct matrix_source *source, struct range rows, struct range cols,
                        enum matrix_type type, bool stored, void *data) {
    struct piece piece = {type, stored, NULL, data};
    bool blocks = weights_in_blocks(source->weights, source->name);
    if (type == MATRIX_F32)
        return rows.count ? read_f32(source, rows, cols, data) : STATUS_OK;
    if (rows.count == 0 || cols.count == 0)
        return STATUS_OK;
    if (type == MATRIX_BF16 && !blocks)
        return read_bf16(source, rows, cols, data);
    return read_pieces(source, rows, cols, &piece);
}
