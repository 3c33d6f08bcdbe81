/* config.json: what passes must be a shape that the rest can rely on. */
#include "partition/shape.h"
#include "tests/fuzz/fuzzing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct shape shape;
    if (shape_parse("config.json", (const char *)bytes, (int64_t)len, &shape) != STATUS_OK)
        return 0;
    PROMISED(shape.layers > 0 && shape.hidden > 0 && shape.heads > 0 && shape.vocab > 0);
    PROMISED(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim > 0);
    PROMISED(shape.context > 0 && shape.sliding_window >= 0);
    PROMISED(shape_rotary_dim(&shape) % 2 == 0 && shape_rotary_dim(&shape) <= shape.head_dim);
    PROMISED(shape_parameters(&shape) > 0);
    return 0;
}
