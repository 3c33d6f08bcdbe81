/* Products of one or a few tokens at AVX-512-BF16. Weights pass once, a few rows side by side: one
 * for one token, where reading in the order of memory is fastest; more for more, so that the
 * activations are loaded less often than the weights. While a group of rows is multiplied, the next
 * one is fetched, because the processor's own prefetching pauses at the start of each row. */
#include "kernels/gemm_bf16.h"
#include "kernels/half.h"

#include <immintrin.h>

/* Elements of a vector. */
#define LANES 32
/* Most rows side by side. */
#define ROWS_MAX 4

static inline __m512bh load(const uint16_t *at) {
    return (__m512bh)_mm512_loadu_si512(at);
}

static inline __m512bh load_tail(const uint16_t *at, __mmask32 mask) {
    return (__m512bh)_mm512_maskz_loadu_epi16(mask, at);
}

/* ROWS rows of w times T tokens, both known where this is inlined. */
static inline __attribute__((always_inline)) void tile(const int T, const int ROWS, int64_t N,
                                                       int64_t K, const uint16_t *x,
                                                       const uint16_t *w, float *y) {
    __m512 sums[ROWS_MAX][GEMM_FEW];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
        for (int t = 0; t < T; t++)
            sums[r][t] = _mm512_setzero_ps();
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        __m512bh weights[ROWS_MAX];
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
            weights[r] = load(w + r * K + k);
            _mm_prefetch((const char *)(w + (ROWS + r) * K + k), _MM_HINT_T0);
        }
#pragma GCC unroll 16
        for (int t = 0; t < T; t++) {
            __m512bh activations = load(x + t * K + k);
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
                sums[r][t] = _mm512_dpbf16_ps(sums[r][t], weights[r], activations);
        }
    }
    if (k < K) {
        __mmask32 rest = (__mmask32)((1u << (K - k)) - 1);
#pragma GCC unroll 16
        for (int t = 0; t < T; t++)
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++)
                sums[r][t] = _mm512_dpbf16_ps(sums[r][t], load_tail(w + r * K + k, rest),
                                              load_tail(x + t * K + k, rest));
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; t++)
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++)
            y[t * N + r] = _mm512_reduce_add_ps(sums[r][t]);
}

/* The rows of a share for T tokens, in groups of ROWS: with T sums each they fit the registers. */
#define PASS(T, ROWS)                                                                              \
    static void pass_##T(int64_t N, int64_t K, int64_t first, int64_t end, const uint16_t *x,      \
                         const uint16_t *w, float *y) {                                            \
        int64_t n = first;                                                                         \
        for (; n + ROWS <= end; n += ROWS)                                                         \
            tile(T, ROWS, N, K, x, w + n * K, y + n);                                              \
        for (; n < end; n++)                                                                       \
            tile(T, 1, N, K, x, w + n * K, y + n);                                                 \
    }
PASS(1, 1)
PASS(2, 1)
PASS(3, 4)
PASS(4, 4)
PASS(5, 4)
PASS(6, 4)
PASS(7, 3)
PASS(8, 3)

void gemm_few(int64_t T, int64_t N, int64_t K, int64_t first, int64_t end, const uint16_t *x,
              const uint16_t *w, float *y) {
    static void (*const passes[GEMM_FEW])(int64_t, int64_t, int64_t, int64_t, const uint16_t *,
                                          const uint16_t *, float *) = {
        pass_1, pass_2, pass_3, pass_4, pass_5, pass_6, pass_7, pass_8};
    passes[T - 1](N, K, first, end, x, w, y);
}

void gemm_round(int64_t n, const float *x, uint16_t *rounded) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_si512(rounded + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16),
                                                                      _mm512_loadu_ps(x + i)));
    for (; i < n; i++)
        rounded[i] = bf16_from_f32(x[i]);
}
