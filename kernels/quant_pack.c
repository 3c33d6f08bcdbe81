/* Rows of blocks as GGUF files have them (llama.cpp's ggml-common.h) to tiles as the kernels read
 * them (quant_layout.h): the numbers stay what they are, their places change. */
#include "kernels/quant_layout.h"
#include "kernels/quant_level.h"

#include <string.h>

/* One row's block to its place in a tile. */
typedef void pack_function(const unsigned char *block, int r, unsigned char *tile);

/* `bytes` bytes of row r, four to a vector. */
static inline void put_bytes(const unsigned char *from, int bytes, int r, unsigned char *vectors) {
    for (int i = 0; i < bytes; i += 4)
        memcpy(vectors + i * QUANT_ROWS + 4 * r, from + i, 4);
}

static inline void put_half(const unsigned char *from, int r, unsigned char *halves) {
    memcpy(halves + 2 * r, from, 2);
}

/* 32 numbers of at most 6 bits to a run of 4 bits and what is above them, `high` bits each. */
static inline void put_numbers(const unsigned char q[32], int high, int r, unsigned char *run) {
    unsigned char low[16], above[8] = {0};
    for (int i = 0; i < 16; i++)
        low[i] = (unsigned char)((q[i] & 15) | q[16 + i] << 4);
    put_bytes(low, 16, r, run);
    for (int k = 0; k < 32; k++) {
        int byte = high == 2 ? k / 16 * 4 + k % 4 : k % 4;
        int shift = high == 2 ? 2 * (k / 4 % 4) : k / 4;
        above[byte] = (unsigned char)(above[byte] | q[k] >> 4 << shift);
    }
    put_bytes(above, 4 * high, r, run + QUANT_HIGH);
}

static void q8_0_block(const unsigned char *block, int r, unsigned char *tile) {
    put_half(block, r, tile);
    put_bytes(block + 2, 32, r, tile + quant_layout_q8_0.head);
}

static void q4_0_block(const unsigned char *block, int r, unsigned char *tile) {
    put_half(block, r, tile);
    put_bytes(block + 2, 16, r, tile + quant_layout_q4_0.head);
}

static void q4_1_block(const unsigned char *block, int r, unsigned char *tile) {
    put_half(block, r, tile);
    put_half(block + 2, r, tile + 32);
    put_bytes(block + 4, 16, r, tile + quant_layout_q4_1.head);
}

/* q5_0 and q5_1: bit k of four bytes is the fifth of value k, then half bytes as in q4_0. */
static void q5_numbers(const unsigned char *bits, unsigned char q[32]) {
    for (int k = 0; k < 32; k++) {
        int low = k < 16 ? bits[4 + k] & 15 : bits[4 + k - 16] >> 4;
        q[k] = (unsigned char)(low | (bits[k / 8] >> k % 8 & 1) << 4);
    }
}

static void q5_0_block(const unsigned char *block, int r, unsigned char *tile) {
    unsigned char q[32];
    q5_numbers(block + 2, q);
    put_half(block, r, tile);
    put_numbers(q, 1, r, tile + quant_layout_q5_0.head);
}

static void q5_1_block(const unsigned char *block, int r, unsigned char *tile) {
    unsigned char q[32];
    q5_numbers(block + 4, q);
    put_half(block, r, tile);
    put_half(block + 2, r, tile + 32);
    put_numbers(q, 1, r, tile + quant_layout_q5_1.head);
}

/* q4_k and q5_k: d, e, and in twelve bytes the six bits of s and t of eight runs: of the first
 * four in the low bits of a byte each; of the others four bits in bytes 8 to 11 and two at the top
 * of the first eight. */
static void k_scales(const unsigned char *block, int r, unsigned char *tile) {
    const unsigned char *six = block + 4;
    put_half(block, r, tile);
    put_half(block + 2, r, tile + 32);
    for (int s = 0; s < 8; s++) {
        int scale = s < 4 ? six[s] & 63 : (six[s + 4] & 15) | six[s - 4] >> 6 << 4;
        int minimum = s < 4 ? six[s + 4] & 63 : six[s + 4] >> 4 | six[s] >> 6 << 4;
        unsigned char *at = tile + 64 + s * QUANT_RUN_SCALES + r;
        at[0] = (unsigned char)scale;
        at[QUANT_ROWS] = (unsigned char)minimum;
    }
}

/* Numbers of run s: half bytes of 32 values beside those of the next 32. */
static void k_numbers(const unsigned char *halves, int s, unsigned char q[32]) {
    for (int k = 0; k < 32; k++)
        q[k] = halves[s / 2 * 32 + k] >> s % 2 * 4 & 15;
}

static void q4_k_block(const unsigned char *block, int r, unsigned char *tile) {
    const struct quant_layout *l = &quant_layout_q4_k;
    unsigned char q[32];
    k_scales(block, r, tile);
    for (int s = 0; s < l->runs; s++) {
        k_numbers(block + 16, s, q);
        put_numbers(q, 0, r, tile + l->head + s * l->run);
    }
}

/* Bit s of 32 bytes is the fifth of run s. */
static void q5_k_block(const unsigned char *block, int r, unsigned char *tile) {
    const struct quant_layout *l = &quant_layout_q5_k;
    unsigned char q[32];
    k_scales(block, r, tile);
    for (int s = 0; s < l->runs; s++) {
        k_numbers(block + 48, s, q);
        for (int k = 0; k < 32; k++)
            q[k] = (unsigned char)(q[k] | (block[16 + k] >> s & 1) << 4);
        put_numbers(q, 1, r, tile + l->head + s * l->run);
    }
}

/* Halves of 128 values: 64 bytes of low bits, those of runs 0 and 1 beside those of 2 and 3; 32
 * bytes with two bits for each run. Behind both halves their scales, one for 16 values, and d. */
static void q6_k_block(const unsigned char *block, int r, unsigned char *tile) {
    const struct quant_layout *l = &quant_layout_q6_k;
    put_half(block + 208, r, tile);
    for (int s = 0; s < l->runs; s++) {
        const unsigned char *low = block + s / 4 * 64 + s % 2 * 32,
                            *high = block + 128 + s / 4 * 32;
        unsigned char q[32], *scales = tile + 32 + s * QUANT_RUN_SCALES + r;
        for (int k = 0; k < 32; k++)
            q[k] =
                (unsigned char)((low[k] >> s / 2 % 2 * 4 & 15) | (high[k] >> s % 4 * 2 & 3) << 4);
        put_numbers(q, 2, r, tile + l->head + s * l->run);
        scales[0] = block[192 + 2 * s];
        scales[QUANT_ROWS] = block[192 + 2 * s + 1];
    }
}

/* Rows that are lacking stay zeros. */
static inline void pack(const struct quant_layout *layout, int64_t block_bytes, pack_function *put,
                        int64_t rows, int64_t blocks, const unsigned char *from,
                        unsigned char *tiles) {
    int64_t tile_bytes = quant_tile_bytes(layout);
    memset(tiles, 0, (size_t)(blocks * tile_bytes));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t b = 0; b < blocks; b++, from += block_bytes)
            put(from, (int)r, tiles + b * tile_bytes);
}

#define PACK(type, block_bytes)                                                                    \
    void type##_pack(int64_t rows, int64_t blocks, const unsigned char *from,                      \
                     unsigned char *tiles) {                                                       \
        pack(&quant_layout_##type, block_bytes, type##_block, rows, blocks, from, tiles);          \
    }
PACK(q8_0, 34)
PACK(q4_0, 18)
PACK(q4_1, 20)
PACK(q5_0, 22)
PACK(q5_1, 24)
PACK(q4_k, 144)
PACK(q5_k, 176)
PACK(q6_k, 210)
