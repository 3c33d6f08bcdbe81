/* How keys and values lie in memory: blocks of consecutive tokens, laid out so that the attention
 * kernels read them without packing.
 *
 * One block holds `block` tokens (a multiple of 16) of one KV head:
 *
 *     keys    f32   groups of 16 tokens, each [d][16]
 *             bf16  groups of 16 tokens, each [d/2][16][2]: pairs of dimensions side by side
 *     values  f32   [token][d]
 *             bf16  pairs of tokens, each [d][2]: the two tokens side by side
 *
 * Positions of a block that hold no token yet are zero. */
#ifndef QUIRE_KERNELS_KV_H
#define QUIRE_KERNELS_KV_H

#include <stdint.h>

enum kv_type { KV_F32, KV_BF16 };

#define KV_GROUP 16

static inline int64_t kv_type_bytes(enum kv_type type) {
    return type == KV_F32 ? 4 : 2;
}

static inline const char *kv_type_name(enum kv_type type) {
    return type == KV_F32 ? "f32" : "bf16";
}

/* Writes the key [d] (value [d]) of token `slot` of a block, rounded to nearest even. */
void kv_put_key(enum kv_type type, void *block, int64_t slot, int64_t head_dim, const float *key);
void kv_put_value(enum kv_type type, void *block, int64_t slot, int64_t head_dim,
                  const float *value);

/* Rounds x [n] to the type and back, in place. */
void kv_round(enum kv_type type, float *x, int64_t n);

/* One KV head of one layer as one rank holds it: its blocks of the block-cyclic sequence. Local
 * block b holds the tokens from first + (b * parts + part) * block on. Borrowed from the cache. */
struct kv_view {
    enum kv_type type;
    int64_t head_dim;
    int64_t block;         /* tokens per block, multiple of KV_GROUP */
    int64_t parts, part;   /* of the sp group */
    int64_t first, tokens; /* global tokens first .. tokens-1 are there */
    const void *keys_near; /* near-rotated; local block b in slot b % ring_near */
    int64_t ring_near;     /* slots; 0: no tokens here */
    const void *keys_far;  /* far-rotated, every block; NULL unless the scheme has a far zone */
    const void *values;    /* local block b in slot b % ring_values */
    int64_t ring_values;
};

#endif
