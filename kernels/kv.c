#include "kernels/kv.h"
#include "kernels/half.h"
#include "kernels/quant.h"

/* One block of q8_0 as in files: the scale, then whole numbers. */
struct block_q8_0 {
    uint16_t scale;
    int8_t whole[KV_SCALED];
};
_Static_assert(sizeof(struct block_q8_0) == 2 + KV_SCALED, "GGUF's block has no padding");

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The n <= 32 numbers of a block, quantised as a weight's are. */
static struct block_q8_0 block_of(const float *x, int64_t n) {
    float padded[KV_SCALED] = {0};
    struct block_q8_0 block;
    if (n < KV_SCALED)
        x = memcpy(padded, x, (size_t)n * sizeof *x);
    quant_type(MATRIX_Q8_0)->quantise(1, x, (unsigned char *)&block);
    return block;
}

static void put_q8_0_key(void *block, int64_t slot, int64_t head_dim, const float *key) {
    int64_t lane = slot % KV_GROUP;
    int8_t *group = (int8_t *)block + (slot - lane) * kv_row_bytes(KV_Q8_0, head_dim);
    uint16_t *scales = (uint16_t *)(group + head_dim * KV_GROUP);
    for (int64_t first = 0; first < head_dim; first += KV_SCALED) {
        int64_t n = smaller(KV_SCALED, head_dim - first);
        struct block_q8_0 q = block_of(key + first, n);
        int8_t *to = group + first * KV_GROUP + 2 * lane;
        for (int64_t i = 0; i < n; i++)
            to[i / 2 * 2 * KV_GROUP + i % 2] = q.whole[i];
        scales[first / KV_SCALED * KV_GROUP + lane] = q.scale;
    }
}

static void put_q8_0_value(void *block, int64_t slot, int64_t head_dim, const float *value) {
    int64_t lane = slot % KV_GROUP, pair = lane / 2, odd = lane % 2;
    int8_t *group = (int8_t *)block + (slot - lane) * kv_row_bytes(KV_Q8_0, head_dim);
    uint16_t *scales = (uint16_t *)(group + head_dim * KV_GROUP) + pair * 2 * kv_scales(head_dim);
    for (int64_t first = 0; first < head_dim; first += KV_SCALED) {
        int64_t n = smaller(KV_SCALED, head_dim - first);
        struct block_q8_0 q = block_of(value + first, n);
        int8_t *to = group + (pair * head_dim + first) * 2 + odd;
        for (int64_t i = 0; i < n; i++)
            to[2 * i] = q.whole[i];
        scales[first / KV_SCALED * 2 + odd] = q.scale;
    }
}

/* Dimensions go around tokens, so that a group is written in its order. */
static void put_bf16_keys(uint16_t *group, int64_t lane, int64_t count, int64_t head_dim,
                          const float *x) {
    for (int64_t i = 0; i < head_dim; i += 2) {
        uint16_t *to = group + i * KV_GROUP + 2 * lane;
        for (int64_t t = 0; t < count; t++) {
            to[2 * t] = bf16_from_f32(x[t * head_dim + i]);
            to[2 * t + 1] = bf16_from_f32(x[t * head_dim + i + 1]);
        }
    }
}

void kv_put_keys(enum kv_type type, void *block, int64_t slot, int64_t count, int64_t head_dim,
                 const float *x) {
    int64_t group = slot / KV_GROUP * KV_GROUP * head_dim, lane = slot % KV_GROUP;
    if (type == KV_F32) {
        float *to = (float *)block + group + lane;
        for (int64_t i = 0; i < head_dim; i++)
            for (int64_t t = 0; t < count; t++)
                to[i * KV_GROUP + t] = x[t * head_dim + i];
    } else if (type == KV_BF16) {
        put_bf16_keys((uint16_t *)block + group, lane, count, head_dim, x);
    } else {
        for (int64_t t = 0; t < count; t++)
            put_q8_0_key(block, slot + t, head_dim, x + t * head_dim);
    }
}

void kv_put_values(enum kv_type type, void *block, int64_t slot, int64_t count, int64_t head_dim,
                   const float *x) {
    if (type == KV_F32) {
        memcpy((float *)block + slot * head_dim, x, (size_t)(count * head_dim) * sizeof *x);
        return;
    }
    for (int64_t t = 0; t < count; t++, slot++, x += head_dim) {
        if (type == KV_Q8_0) {
            put_q8_0_value(block, slot, head_dim, x);
            continue;
        }
        uint16_t *to = (uint16_t *)block + slot / 2 * 2 * head_dim + slot % 2;
        for (int64_t i = 0; i < head_dim; i++)
            to[2 * i] = bf16_from_f32(x[i]);
    }
}

static void round_q8_0(int64_t head_dim, float *x) {
    for (int64_t first = 0; first < head_dim; first += KV_SCALED) {
        int64_t n = smaller(KV_SCALED, head_dim - first);
        struct block_q8_0 q = block_of(x + first, n);
        float scale = f16_to_f32(q.scale);
        for (int64_t i = 0; i < n; i++)
            x[first + i] = scale * q.whole[i];
    }
}

void kv_round(enum kv_type type, int64_t rows, int64_t head_dim, float *x) {
    if (type == KV_Q8_0)
        for (int64_t r = 0; r < rows; r++)
            round_q8_0(head_dim, x + r * head_dim);
    if (type == KV_BF16)
        for (int64_t i = 0; i < rows * head_dim; i++)
            x[i] = bf16_to_f32(bf16_from_f32(x[i]));
}

void kv_pack(enum kv_type type, int64_t head_dim, const float *x, void *bytes) {
    if (type == KV_F32) {
        memcpy(bytes, x, (size_t)head_dim * sizeof *x);
    } else if (type == KV_BF16) {
        for (int64_t i = 0; i < head_dim; i++) {
            uint16_t half = bf16_from_f32(x[i]);
            memcpy((char *)bytes + 2 * i, &half, sizeof half);
        }
    } else {
        char *to = bytes;
        for (int64_t first = 0; first < head_dim; first += KV_SCALED) {
            int64_t n = smaller(KV_SCALED, head_dim - first);
            struct block_q8_0 q = block_of(x + first, n);
            memcpy(to, &q, (size_t)(2 + n));
            to += 2 + n;
        }
    }
}

void kv_unpack(enum kv_type type, int64_t head_dim, const void *bytes, float *x) {
    if (type == KV_F32) {
        memcpy(x, bytes, (size_t)head_dim * sizeof *x);
    } else if (type == KV_BF16) {
        for (int64_t i = 0; i < head_dim; i++) {
            uint16_t half;
            memcpy(&half, (const char *)bytes + 2 * i, sizeof half);
            x[i] = bf16_to_f32(half);
        }
    } else {
        const char *from = bytes;
        for (int64_t first = 0; first < head_dim; first += KV_SCALED) {
            int64_t n = smaller(KV_SCALED, head_dim - first);
            struct block_q8_0 q;
            memcpy(&q, from, (size_t)(2 + n));
            from += 2 + n;
            for (int64_t i = 0; i < n; i++)
                x[first + i] = f16_to_f32(q.scale) * q.whole[i];
        }
    }
}
