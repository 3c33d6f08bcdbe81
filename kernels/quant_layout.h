/* How the tiles of quant.h are built, type by type, as constants that the kernels are inlined
 * with. Value k of a run of 32 is
 *
 *     scale (q_k - offset) - minimum,     q_k >= 0
 *
 * and a tile holds the scales of its sixteen rows, then `runs` runs of whole numbers:
 *
 *     q8_0, q4_0, q5_0   16 d                                   scale = d
 *     q4_1, q5_1         16 d, 16 m                             scale = d, minimum = -m
 *     q4_k, q5_k         16 d, 16 e, of each run 16 s, 16 t     scale = d s, minimum = e t
 *     q6_k               16 d, of each run 16 s, 16 s'          scale = d s, from value 16 on d s'
 *
 * with d, e, m in f16 and s, t, s' in eight bits, those of q6_k with a sign. A run is four vectors
 * of 64 bytes (four of each row) of low halves, byte i of a row q_i | q_(16+i) << 4, and behind
 * them what is above these four bits, for value k in byte k % 4 of the row:
 *
 *     q5_*               one vector, bit k / 4
 *     q6_k               two vectors, k / 16, bits 2 (k / 4 % 4) and the next
 *
 * but in q8_0 eight vectors of whole bytes with their sign. Private to quant*.c. */
#ifndef QUIRE_KERNELS_QUANT_LAYOUT_H
#define QUIRE_KERNELS_QUANT_LAYOUT_H

#include "kernels/quant.h"

struct quant_layout {
    int runs;     /* of 32 values in a tile */
    int head;     /* bytes of scales at its start */
    int run;      /* bytes of a run */
    int offset;   /* what the numbers without sign are larger by */
    bool minimum; /* a run has one */
    bool halves;  /* its two halves have scales of their own */
};

static const struct quant_layout quant_layout_q8_0 = {1, 32, 512, 128, false, false};
static const struct quant_layout quant_layout_q4_0 = {1, 32, 256, 8, false, false};
static const struct quant_layout quant_layout_q4_1 = {1, 64, 256, 0, true, false};
static const struct quant_layout quant_layout_q5_0 = {1, 32, 320, 16, false, false};
static const struct quant_layout quant_layout_q5_1 = {1, 64, 320, 0, true, false};
static const struct quant_layout quant_layout_q4_k = {8, 320, 256, 0, true, false};
static const struct quant_layout quant_layout_q5_k = {8, 320, 320, 0, true, false};
static const struct quant_layout quant_layout_q6_k = {8, 288, 384, 32, false, true};

/* Where the high bits of a run stand, and the scales of run s. */
#define QUANT_HIGH 256
#define QUANT_RUN_SCALES (2 * QUANT_ROWS)

static inline int64_t quant_tile_bytes(const struct quant_layout *layout) {
    return layout->head + (int64_t)layout->runs * layout->run;
}

#endif
