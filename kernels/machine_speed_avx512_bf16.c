/* Products of bf16 pairs: sixteen sums, 32 products each. */
#include "kernels/machine_speed_level.h"

#include <immintrin.h>

#define SUMS 16
#define STEPS 20000

int64_t speed_bf16_avx512(void) {
    __m512 sums[SUMS] = {_mm512_setzero_ps()};
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f00), y = (__m512bh)_mm512_set1_epi16(0x3580);
    __asm__("" : "+v"(x), "+v"(y));
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
            __asm__ volatile("" : "+v"(sums[i]));
        }
    }
    return (int64_t)STEPS * SUMS * 32 * 2;
}
