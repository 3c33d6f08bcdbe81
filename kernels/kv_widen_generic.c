/* In plain loops: the reference of the others. */
#include "kernels/half.h"
#include "kernels/kv_widen.h"

static float key_number(const int8_t *group, int64_t head_dim, int64_t lane, int64_t i) {
    const uint16_t *scales = kv_widen_scales(group, head_dim);
    return f16_to_f32(scales[i / KV_SCALED * KV_GROUP + lane]) *
           group[(i / 2 * KV_GROUP + lane) * 2 + i % 2];
}

static float value_number(const int8_t *group, int64_t head_dim, int64_t lane, int64_t i) {
    const uint16_t *scales = kv_widen_scales(group, head_dim);
    return f16_to_f32(scales[(lane / 2 * kv_scales(head_dim) + i / KV_SCALED) * 2 + lane % 2]) *
           group[(lane / 2 * head_dim + i) * 2 + lane % 2];
}

static void keys_f32(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        float *keys = (float *)to + g * KV_GROUP * d;
        for (int64_t i = 0; i < d; i++)
            for (int64_t lane = 0; lane < KV_GROUP; lane++)
                keys[i * KV_GROUP + lane] = key_number(kv_widen_group(from, d, g), d, lane, i);
    }
}

static void values_f32(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        float *values = (float *)to + g * KV_GROUP * d;
        for (int64_t lane = 0; lane < KV_GROUP; lane++)
            for (int64_t i = 0; i < d; i++)
                values[lane * d + i] = value_number(kv_widen_group(from, d, g), d, lane, i);
    }
}

static void keys_bf16(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        uint16_t *keys = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t i = 0; i < d; i++)
            for (int64_t lane = 0; lane < KV_GROUP; lane++)
                keys[(i / 2 * KV_GROUP + lane) * 2 + i % 2] =
                    bf16_from_f32(key_number(kv_widen_group(from, d, g), d, lane, i));
    }
}

static void values_bf16(int64_t d, int64_t first, int64_t end, const void *from, void *to) {
    for (int64_t g = first; g < end; g++) {
        uint16_t *values = (uint16_t *)to + g * KV_GROUP * d;
        for (int64_t lane = 0; lane < KV_GROUP; lane++)
            for (int64_t i = 0; i < d; i++)
                values[(lane / 2 * d + i) * 2 + lane % 2] =
                    bf16_from_f32(value_number(kv_widen_group(from, d, g), d, lane, i));
    }
}

const struct kv_widener kv_widen_generic = {KV_F32, keys_f32, values_f32};
const struct kv_widener kv_widen_generic_bf16 = {KV_BF16, keys_bf16, values_bf16};
