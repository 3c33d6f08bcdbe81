/* Matrices in blocks at AVX2. A tile's sixteen rows are two halves of eight 32-bit lanes. */
#include "kernels/quant_level.h"

#include <immintrin.h>
#include <string.h>

#define BLOCK 32
#define HALF 8
#define INLINE static inline __attribute__((always_inline))

static inline __m256i load(const void *at) {
    return _mm256_loadu_si256((const __m256i *)at);
}

static inline __m128i load_half(const void *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

/* Vector v of a tile, its half `half`. */
static inline __m256i quants(const unsigned char *tile, int v, int half) {
    return load(tile + QUANT_TILE_SCALES + v * 64 + half * 32);
}

static inline __m256 scales_of(const unsigned char *tile, int half) {
    return _mm256_cvtph_ps(load_half(tile + half * 16));
}

/* Four values of a token, the same for every row. */
static inline __m256i token(const int8_t *plane, int v) {
    int four;
    memcpy(&four, plane + 4 * v, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Products of bytes without and with sign, summed in fours to the lanes' 32 bits. */
static inline __m256i add_fours(__m256i sum, __m256i pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* sum_k q x over a block for one plane of the token. The sign goes from the weight to the
 * activation; two products of at most 128 * 127 fit 16 bits. */
INLINE __m256i q8_0_dot(const unsigned char *tile, int half, const int8_t *plane) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        __m256i q = quants(tile, v, half), x = _mm256_sign_epi8(token(plane, v), q);
        sum = add_fours(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(q), x));
    }
    return sum;
}

/* The same with q + 8 in place of q: eight pairs of products of at most 15 * 127 fit 16 bits. */
INLINE __m256i q4_0_dot(const unsigned char *tile, int half, const int8_t *plane) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i pairs = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        __m256i q = quants(tile, v, half);
        __m256i first = _mm256_and_si256(q, low);
        __m256i second = _mm256_and_si256(_mm256_srli_epi16(q, 4), low);
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(first, token(plane, v)));
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(second, token(plane, v + 4)));
    }
    return add_fours(_mm256_setzero_si256(), pairs);
}

/* The functions of a type are these, with its own dot; `offset` is what its dot has q larger by. */
typedef __m256i dot_function(const unsigned char *tile, int half, const int8_t *plane);

INLINE __m256 add_block(dot_function *dot, int offset, const unsigned char *tile, int half,
                        const int8_t *planes, float scale, int sum, __m256 sums) {
    __m256i high = dot(tile, half, planes), low = dot(tile, half, planes + BLOCK);
    __m256i all = _mm256_add_epi32(_mm256_sub_epi32(_mm256_slli_epi32(high, 8), high), low);
    if (offset)
        all = _mm256_sub_epi32(all, _mm256_set1_epi32(offset * sum));
    __m256 factor = _mm256_mul_ps(scales_of(tile, half), _mm256_set1_ps(scale));
    return _mm256_fmadd_ps(factor, _mm256_cvtepi32_ps(all), sums);
}

INLINE void put(__m256 sums, float *y, int64_t rows) {
    float part[HALF];
    _mm256_storeu_ps(part, sums);
    if (rows > 0)
        memcpy(y, part, (size_t)(rows < HALF ? rows : HALF) * sizeof *y);
}

INLINE void few(dot_function *dot, int offset, int64_t tile_bytes, const struct quant_input *in,
                const struct matrix *m, int64_t first, int64_t end, float *y) {
    const unsigned char *tile = (const unsigned char *)m->data + first * in->blocks * tile_bytes;
    for (int64_t g = first; g < end; g++) {
        int64_t n = g * QUANT_ROWS;
        __m256 sums[QUANT_PASS][2];
        memset(sums, 0, sizeof sums);
        for (int64_t b = 0; b < in->blocks; b++, tile += tile_bytes)
            for (int64_t t = 0, i = b; t < in->T; t++, i += in->blocks)
                for (int half = 0; half < 2; half++)
                    sums[t][half] = add_block(dot, offset, tile, half, in->planes + i * 2 * BLOCK,
                                              in->scales[i], in->sums[i], sums[t][half]);
        for (int64_t t = 0; t < in->T; t++)
            for (int half = 0; half < 2; half++)
                put(sums[t][half], y + t * m->rows + n + half * HALF, m->rows - n - half * HALF);
    }
}

void q8_0_few_avx2(const struct quant_input *in, const struct matrix *m, int64_t first, int64_t end,
                   float *y) {
    few(q8_0_dot, 0, 544, in, m, first, end, y);
}

void q4_0_few_avx2(const struct quant_input *in, const struct matrix *m, int64_t first, int64_t end,
                   float *y) {
    few(q4_0_dot, 8, 288, in, m, first, end, y);
}

/* Four vectors' bytes of four rows from row 4 * quad on: row by row, the 16 bytes of each. */
INLINE void rows_of(const unsigned char *vectors, int quad, __m128i rows[4]) {
    __m128i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = load_half(vectors + i * 64 + quad * 16);
    __m128i low01 = _mm_unpacklo_epi32(v[0], v[1]), low23 = _mm_unpacklo_epi32(v[2], v[3]);
    __m128i high01 = _mm_unpackhi_epi32(v[0], v[1]), high23 = _mm_unpackhi_epi32(v[2], v[3]);
    rows[0] = _mm_unpacklo_epi64(low01, low23);
    rows[1] = _mm_unpackhi_epi64(low01, low23);
    rows[2] = _mm_unpacklo_epi64(high01, high23);
    rows[3] = _mm_unpackhi_epi64(high01, high23);
}

/* Sixteen bytes with their sign, times the row's scale. */
INLINE void put_values(__m128i bytes, float scale, float *out) {
    __m256 factor = _mm256_set1_ps(scale);
    __m256 first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    __m256 second = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
    _mm256_storeu_ps(out, _mm256_mul_ps(first, factor));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(second, factor));
}

INLINE void scales_store(const unsigned char *tile, float scales[QUANT_ROWS]) {
    _mm256_storeu_ps(scales, scales_of(tile, 0));
    _mm256_storeu_ps(scales + HALF, scales_of(tile, 1));
}

void q8_0_widen_f32_avx2(int64_t tiles, const unsigned char *from, int64_t stride, float *out) {
    float scales[QUANT_ROWS];
    __m128i rows[4];
    for (int64_t b = 0; b < tiles; b++, from += 544, out += BLOCK) {
        scales_store(from, scales);
        for (int quad = 0; quad < 4; quad++)
            for (int half = 0; half < 2; half++) {
                rows_of(from + QUANT_TILE_SCALES + half * 256, quad, rows);
                for (int i = 0; i < 4; i++)
                    put_values(rows[i], scales[4 * quad + i],
                               out + (4 * quad + i) * stride + half * 16);
            }
    }
}

void q4_0_widen_f32_avx2(int64_t tiles, const unsigned char *from, int64_t stride, float *out) {
    const __m128i low = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    float scales[QUANT_ROWS];
    __m128i rows[4];
    for (int64_t b = 0; b < tiles; b++, from += 288, out += BLOCK) {
        scales_store(from, scales);
        for (int quad = 0; quad < 4; quad++) {
            rows_of(from + QUANT_TILE_SCALES, quad, rows);
            for (int i = 0; i < 4; i++) {
                float *row = out + (4 * quad + i) * stride;
                __m128i first = _mm_and_si128(rows[i], low);
                __m128i second = _mm_and_si128(_mm_srli_epi16(rows[i], 4), low);
                put_values(_mm_sub_epi8(first, eight), scales[4 * quad + i], row);
                put_values(_mm_sub_epi8(second, eight), scales[4 * quad + i], row + 16);
            }
        }
    }
}

static inline uint32_t largest_bits(__m256i a) {
    __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(b);
}

/* 32 numbers of 32 bits within -128 to 127 as bytes. */
static inline __m256i narrow(const __m256i v[4]) {
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline int32_t sum_of(__m256i a) {
    __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xb1)));
}

void quant_round_avx2(int64_t blocks, const float *x, int8_t *planes, float *scales,
                      int32_t *sums) {
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    for (int64_t b = 0; b < blocks; b++, x += BLOCK, planes += 2 * BLOCK) {
        __m256i most = _mm256_setzero_si256(), high[4], low[4], sum = most;
        for (int i = 0; i < 4; i++)
            most = _mm256_max_epi32(most, _mm256_and_si256(load(x + 8 * i), size));
        uint32_t bits = largest_bits(most);
        bool finite = bits < 0x7f800000u;
        float largest, inverse = 0;
        memcpy(&largest, &bits, sizeof largest);
        if (finite && largest >= QUANT_INPUT_LEAST)
            inverse = QUANT_INPUT_MOST / largest;
        for (int i = 0; i < 4; i++) {
            __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(inverse));
            __m256i whole = finite ? _mm256_cvtps_epi32(v) : _mm256_setzero_si256();
            high[i] = _mm256_cvtps_epi32(
                _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(1.0f / 255)));
            low[i] =
                _mm256_add_epi32(_mm256_sub_epi32(whole, _mm256_slli_epi32(high[i], 8)), high[i]);
            sum = _mm256_add_epi32(sum, whole);
        }
        _mm256_storeu_si256((__m256i *)planes, narrow(high));
        _mm256_storeu_si256((__m256i *)(planes + BLOCK), narrow(low));
        scales[b] = finite ? largest * (1.0f / QUANT_INPUT_MOST) : largest - largest;
        sums[b] = sum_of(sum);
    }
}
