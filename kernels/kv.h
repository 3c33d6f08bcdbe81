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
 * In q8_0, 32 dimensions of a token share a scale (GGUF's format of that name; what is left of
 * head_dim at the end has its own): a number is a whole number of 8 bits times the scale, an IEEE
 * half. Whole numbers lie as bf16 does, scales behind those of each group of 16 tokens:
 *
 *     keys    q8_0  whole numbers [d/2][16][2], then scales [blocks of 32][16]
 *     values  q8_0  8 pairs of tokens, whole numbers [d][2] each, then scales [8][blocks of 32][2]
 *
 * A token takes the same bytes in each of them, and so does a group. Positions of a block that hold
 * no token yet are zero. */
#ifndef QUIRE_KERNELS_KV_H
#define QUIRE_KERNELS_KV_H

#include <stdint.h>

enum kv_type { KV_F32, KV_BF16, KV_Q8_0 };
#define KV_TYPES 3

#define KV_GROUP 16
#define KV_SCALED 32 /* dimensions that share a scale in q8_0 */

/* Scales of one token. */
static inline int64_t kv_scales(int64_t head_dim) {
    return (head_dim + KV_SCALED - 1) / KV_SCALED;
}

/* Bytes of an element, without scales. */
static inline int64_t kv_element_bytes(enum kv_type type) {
    return type == KV_F32 ? 4 : type == KV_BF16 ? 2 : 1;
}

/* Bytes that one token's key, or value, takes. A block of tokens takes as many times that. */
static inline int64_t kv_row_bytes(enum kv_type type, int64_t head_dim) {
    int64_t scales = type == KV_Q8_0 ? kv_scales(head_dim) : 0;
    return head_dim * kv_element_bytes(type) + 2 * scales;
}

static inline const char *kv_type_name(enum kv_type type) {
    return type == KV_F32 ? "f32" : type == KV_BF16 ? "bf16" : "q8_0";
}

/* Writes the keys (values) of tokens slot .. slot + count - 1 of a block, all of one group of
 * KV_GROUP: x [count, head_dim], rounded to nearest: to even in bf16, away from zero in q8_0, where
 * 32 numbers that hold one that is not finite all become NaN. */
void kv_put_keys(enum kv_type type, void *block, int64_t slot, int64_t count, int64_t head_dim,
                 const float *x);
void kv_put_values(enum kv_type type, void *block, int64_t slot, int64_t count, int64_t head_dim,
                   const float *x);

/* Rounds x [rows, head_dim] to the type and back, in place. Doing so twice changes nothing. */
void kv_round(enum kv_type type, int64_t rows, int64_t head_dim, float *x);

/* One token's row as bytes in the order of the dimensions, and back; in q8_0 the blocks as in GGUF
 * files, each the scale, then whole numbers. bytes [kv_row_bytes]. */
void kv_pack(enum kv_type type, int64_t head_dim, const float *x, void *bytes);
void kv_unpack(enum kv_type type, int64_t head_dim, const void *bytes, float *x);

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
