/* How weight matrices lie in memory: value by value in one type, or in blocks along the rows. A
 * block always starts at a multiple of its length in the whole tensor, so every mesh quantises
 * alike; a slice of columns that cuts a block holds it whole. Pure arithmetic, by which memory is
 * both planned and taken. */
#ifndef QUIRE_PARTITION_WEIGHT_FORMAT_H
#define QUIRE_PARTITION_WEIGHT_FORMAT_H

#include "partition/tensors.h"

/* Values of a row that share a block, and its bytes as held. length 0: no blocks. */
struct weight_block {
    int64_t length, bytes;
};

struct weight_format {
    int64_t plain_bytes;       /* of a value of a matrix without blocks: 4 f32, 2 bf16 */
    struct weight_block block; /* that matrices are quantised to */
    int64_t row_group;         /* rows in blocks are filled up to a multiple of this */
    /* Blocks that files have, by their number of the type (tensor_slice.stored); they stay as they
     * are. NULL: matrices are held in the types above, whatever the file's. Static. */
    const struct weight_block *stored;
};

/* Every matrix starts at a multiple of this, bytes. */
#define WEIGHT_ALIGNMENT 64

/* The blocks that a matrix is held in: the file's where those are kept, else those quantised to,
 * where the matrix is used in products and they divide its rows. A table whose rows are only looked
 * up is not quantised. */
struct weight_block weight_block(const struct weight_format *format,
                                 const struct tensor_slice *slice);

/* Whether any matrix of the model may be in blocks. */
static inline bool weight_any_blocks(const struct weight_format *format,
                                     const struct shape *shape) {
    return format->block.length || (format->stored && shape->is_gguf);
}

/* The columns of the whole blocks that these columns touch. */
struct range weight_block_columns(struct weight_block block, struct range cols);

/* Bytes of `rows` rows and the columns `own`, up to WEIGHT_ALIGNMENT; at most INT64_MAX. */
int64_t weight_bytes(const struct weight_format *format, struct weight_block block, int64_t rows,
                     struct range own);

#endif
