/* How weight matrices lie in memory: value by value in one type, or in blocks along the rows. A
 * block always starts at a multiple of its length in the whole tensor, so every mesh quantises
 * alike; a slice of columns that cuts a block holds it whole. Pure arithmetic, by which memory is
 * both planned and taken. */
#ifndef QUIRE_PARTITION_WEIGHT_FORMAT_H
#define QUIRE_PARTITION_WEIGHT_FORMAT_H

#include "partition/layout.h"
#include <stdbool.h>
#include <stdint.h>

struct weight_format {
    int64_t plain_bytes; /* of a value of a matrix without blocks: 4 f32, 2 bf16 */
    int64_t block;       /* values of a row in a block; 0: no matrix is in blocks */
    int64_t block_bytes; /* of one row's block */
    int64_t row_group;   /* rows in blocks are filled up to a multiple of this */
};

/* Every matrix starts at a multiple of this, bytes. */
#define WEIGHT_ALIGNMENT 64

/* True when a tensor of `cols` columns in all, used in products, is held in blocks: when blocks
 * divide its rows. A table whose rows are only looked up stays without (used_in_products false). */
bool weight_in_blocks(const struct weight_format *format, int64_t cols, bool used_in_products);

/* The columns of the whole blocks that these columns touch. */
struct range weight_block_columns(const struct weight_format *format, struct range cols);

/* Bytes of `rows` rows and the columns `own` of a tensor of `cols` columns in all, up to
 * WEIGHT_ALIGNMENT; at most INT64_MAX. */
int64_t weight_bytes(const struct weight_format *format, int64_t cols, bool used_in_products,
                     int64_t rows, struct range own);

#endif
