/* The tile instructions of AMX-BF16 as the kernels call them: eight registers of at most 16 rows by
 * 64 bytes (Intel SDM volume 1, chapter 18, and volume 2 under each instruction's name).
 *
 *     tile_configure(config)        gives the registers their sizes, and zeroes them
 *     tile_release()                gives them back to the processor
 *     tile_zero(t)                  t = 0
 *     tile_load(t, from, stride)    t = rows of memory, `stride` bytes apart
 *     tile_store(t, to, stride)     and back; no byte beyond a row's size is read or written
 *     tile_dot(c, a, b)             c[m, n] += sum_k a[m, 2k] b[k, 2n] + a[m, 2k+1] b[k, 2n+1],
 *                                   a and b in bf16, c in f32
 *
 * Registers are named by literal numbers. A file that calls these either is compiled for AMX and
 * runs at ISA_AMX alone, or names in QUIRE_TILES a header with functions of the same names that
 * compute what the processor would: so the arithmetic is tested on machines without tiles. */
#ifndef QUIRE_KERNELS_AMX_TILE_H
#define QUIRE_KERNELS_AMX_TILE_H

#include <stdint.h>

/* What the instruction LDTILECFG reads. All else is zero; palette 1 is eight registers of 1 kB. */
struct tile_config {
    uint8_t palette, start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16]; /* of register t; a multiple of 4, at most 64 */
    uint8_t rows[16];       /* at most 16 */
};

#define TILE_ROWS 16
#define TILE_ROW_BYTES 64

#ifdef QUIRE_TILES
#include QUIRE_TILES
#elif defined(__AMX_TILE__)
#include <immintrin.h>

/* The compiler's own forms do not say that they read memory (GCC 12: tileloadd has no operand for
 * it, ldtilecfg one of eight bytes), so what was written has to be there by order. */
#define TILE_MEMORY_IN_ORDER __asm__ volatile("" ::: "memory")

#define tile_configure(config)                                                                     \
    do {                                                                                           \
        TILE_MEMORY_IN_ORDER;                                                                      \
        _tile_loadconfig(config);                                                                  \
    } while (0)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, stride)                                                                 \
    do {                                                                                           \
        TILE_MEMORY_IN_ORDER;                                                                      \
        _tile_loadd(t, from, stride);                                                              \
    } while (0)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
#define tile_dot(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

#endif
