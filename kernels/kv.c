#include "kernels/kv.h"
#include "kernels/half.h"

void kv_put_key(enum kv_type type, void *block, int64_t slot, int64_t head_dim, const float *key) {
    int64_t group = slot / KV_GROUP * KV_GROUP * head_dim, lane = slot % KV_GROUP;
    if (type == KV_F32) {
        float *to = (float *)block + group + lane;
        for (int64_t i = 0; i < head_dim; i++)
            to[i * KV_GROUP] = key[i];
    } else {
        uint16_t *to = (uint16_t *)block + group + 2 * lane;
        for (int64_t i = 0; i < head_dim; i++)
            to[i / 2 * 2 * KV_GROUP + i % 2] = bf16_from_f32(key[i]);
    }
}

void kv_put_value(enum kv_type type, void *block, int64_t slot, int64_t head_dim,
                  const float *value) {
    if (type == KV_F32) {
        memcpy((float *)block + slot * head_dim, value, (size_t)head_dim * sizeof *value);
    } else {
        uint16_t *to = (uint16_t *)block + slot / 2 * 2 * head_dim + slot % 2;
        for (int64_t i = 0; i < head_dim; i++)
            to[2 * i] = bf16_from_f32(value[i]);
    }
}

void kv_round(enum kv_type type, float *x, int64_t n) {
    if (type == KV_F32)
        return;
    for (int64_t i = 0; i < n; i++)
        x[i] = bf16_to_f32(bf16_from_f32(x[i]));
}
