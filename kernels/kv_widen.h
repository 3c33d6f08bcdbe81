/* Keys and values of q8_0 widened to a type that the products take, a few groups of tokens at a
 * time: each level's way to f32, exactly, and to bf16, rounded. Private to the kernels. */
#ifndef QUIRE_KERNELS_KV_WIDEN_H
#define QUIRE_KERNELS_KV_WIDEN_H

#include "kernels/kv.h"

/* Groups [first, end) of KV_GROUP tokens of `from`, which starts at group 0, to their places in
 * `to`, which does so too. Reads up to 12 kB ahead of them into the caches. */
typedef void kv_widen_function(int64_t head_dim, int64_t first, int64_t end, const void *from,
                               void *to);

struct kv_widener {
    enum kv_type type; /* of `to`: f32 or bf16 */
    kv_widen_function *keys, *values;
};

extern const struct kv_widener kv_widen_generic, kv_widen_avx2, kv_widen_avx512,
    kv_widen_generic_bf16, kv_widen_avx512_bf16;

/* Where a group starts, and its scales. */
static inline const int8_t *kv_widen_group(const void *from, int64_t head_dim, int64_t group) {
    return (const int8_t *)from + group * KV_GROUP * kv_row_bytes(KV_Q8_0, head_dim);
}

static inline const uint16_t *kv_widen_scales(const int8_t *group, int64_t head_dim) {
    return (const uint16_t *)(group + head_dim * KV_GROUP);
}

#endif
