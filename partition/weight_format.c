#include "partition/weight_format.h"

struct weight_block weight_block(const struct weight_format *format,
                                 const struct tensor_slice *slice) {
    if (format->stored)
        return format->stored[slice->stored];
    if (format->block.length && !slice->looked_up && slice->cols % format->block.length == 0)
        return format->block;
    return (struct weight_block){0, 0};
}

struct range weight_block_columns(struct weight_block block, struct range cols) {
    int64_t first = cols.first / block.length * block.length;
    int64_t end = (range_end(cols) + block.length - 1) / block.length * block.length;
    return cols.count ? (struct range){first, end - first} : (struct range){first, 0};
}

int64_t weight_bytes(const struct weight_format *format, struct weight_block block, int64_t rows,
                     struct range own) {
    __int128 bytes;
    if (block.length) {
        int64_t groups = (rows + format->row_group - 1) / format->row_group;
        int64_t blocks = weight_block_columns(block, own).count / block.length;
        bytes = (__int128)groups * format->row_group * blocks * block.bytes;
    } else {
        bytes = (__int128)rows * own.count * format->plain_bytes;
    }
    bytes = (bytes + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}
