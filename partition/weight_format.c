#include "partition/weight_format.h"

bool weight_in_blocks(const struct weight_format *format, int64_t cols, bool used_in_products) {
    return format->block && used_in_products && cols % format->block == 0;
}

struct range weight_block_columns(const struct weight_format *format, struct range cols) {
    int64_t first = cols.first / format->block * format->block;
    int64_t end = (range_end(cols) + format->block - 1) / format->block * format->block;
    return cols.count ? (struct range){first, end - first} : (struct range){first, 0};
}

int64_t weight_bytes(const struct weight_format *format, int64_t cols, bool used_in_products,
                     int64_t rows, struct range own) {
    __int128 bytes;
    if (weight_in_blocks(format, cols, used_in_products)) {
        int64_t groups = (rows + format->row_group - 1) / format->row_group;
        int64_t blocks = weight_block_columns(format, own).count / format->block;
        bytes = (__int128)groups * format->row_group * blocks * format->block_bytes;
    } else {
        bytes = (__int128)rows * own.count * format->plain_bytes;
    }
    bytes = (bytes + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}
