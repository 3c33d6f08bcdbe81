/* Matrices in blocks at AVX2. A tile's sixteen rows are two parts of eight 32-bit lanes. */
#include "kernels/quant_layout.h"
#include "kernels/quant_level.h"

#include <immintrin.h>
#include <string.h>

#define RUN 32
#define PART 8
#define INLINE static inline __attribute__((always_inline))

static inline __m256i load(const void *at) {
    return _mm256_loadu_si256((const __m256i *)at);
}

static inline __m128i load_half(const void *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

/* Numbers 4v .. 4v+3 of each row of a run's part (which begins 32 bytes on), without sign. */
typedef __m256i bytes_function(const unsigned char *run, int v);

INLINE __m256i bytes_q8_0(const unsigned char *run, int v) {
    return _mm256_xor_si256(load(run + v * 64), _mm256_set1_epi8(-128));
}

INLINE __m256i bytes_4(const unsigned char *run, int v) {
    __m256i bytes = load(run + v % 4 * 64);
    if (v >= 4)
        bytes = _mm256_srli_epi16(bytes, 4);
    return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}

/* Each byte's bits moved up by `up` places (down where it is negative), those of `mask` kept. */
INLINE __m256i bits(__m256i bytes, int up, int mask) {
    __m256i moved = up < 0 ? _mm256_srli_epi16(bytes, -up) : _mm256_slli_epi16(bytes, up);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)mask));
}

INLINE __m256i bytes_5(const unsigned char *run, int v) {
    return _mm256_or_si256(bytes_4(run, v), bits(load(run + QUANT_HIGH), 4 - v, 16));
}

INLINE __m256i bytes_6(const unsigned char *run, int v) {
    __m256i high = load(run + QUANT_HIGH + v / 4 * 64);
    return _mm256_or_si256(bytes_4(run, v), bits(high, 4 - 2 * (v % 4), 48));
}

/* Scales of run s of a tile and of its half, or its minimum, for a part's rows. */
typedef __m256 scales_function(const unsigned char *tile, int s, int half, int part);

INLINE __m256 scales_halves(const unsigned char *at, int part) {
    return _mm256_cvtph_ps(load_half(at + part * 16));
}

INLINE __m256 scales_eight(const unsigned char *at, int part) {
    __m128i eight = _mm_loadl_epi64((const __m128i *)(at + part * PART));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
}

INLINE __m256 scales_plain(const unsigned char *tile, int s, int half, int part) {
    (void)s, (void)half;
    return scales_halves(tile, part);
}

INLINE __m256 minimum_plain(const unsigned char *tile, int s, int half, int part) {
    (void)s, (void)half;
    return _mm256_sub_ps(_mm256_set1_ps(-0.0f), scales_halves(tile + 32, part));
}

INLINE __m256 scales_k(const unsigned char *tile, int s, int half, int part) {
    (void)half;
    return _mm256_mul_ps(scales_halves(tile, part),
                         scales_eight(tile + 64 + s * QUANT_RUN_SCALES, part));
}

INLINE __m256 minimum_k(const unsigned char *tile, int s, int half, int part) {
    (void)half;
    return _mm256_mul_ps(scales_halves(tile + 32, part),
                         scales_eight(tile + 64 + s * QUANT_RUN_SCALES + QUANT_ROWS, part));
}

INLINE __m256 scales_q6_k(const unsigned char *tile, int s, int half, int part) {
    const unsigned char *at = tile + 32 + s * QUANT_RUN_SCALES + half * QUANT_ROWS + part * PART;
    __m128i eight = _mm_loadl_epi64((const __m128i *)at);
    return _mm256_mul_ps(scales_halves(tile, part),
                         _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)));
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

/* What is inlined for each type. */
struct kind {
    const struct quant_layout *layout;
    bytes_function *bytes;
    scales_function *scales, *minimum;
};

/* Product of four columns without and with sign in pairs of 16 bits. Numbers of up to 6 bits: two
 * products of at most 63 * 127 fit. */
INLINE __m256i pairs_of(const struct kind kind, const unsigned char *run, int v,
                        const int8_t *plane) {
    return _mm256_maddubs_epi16(kind.bytes(run, v), token(plane, v));
}

/* q8_0: the sign goes from the weight to the activation; two of at most 128 * 127 fit. */
INLINE __m256i pairs_q8_0(const unsigned char *run, int v, const int8_t *plane) {
    __m256i q = load(run + v * 64);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(token(plane, v), q));
}

/* sum_k q x over vectors [first, end) of a run for one plane of the token, q without sign but in
 * q8_0. Two pairs of at most 2 * 63 * 127 fit 16 bits. */
INLINE __m256i dot(const struct kind kind, const unsigned char *run, int first, int end,
                   const int8_t *plane) {
    __m256i sum = _mm256_setzero_si256();
    bool whole_bytes = kind.layout->offset == 128;
#pragma GCC unroll 4
    for (int v = first; v < end; v += 2) {
        if (whole_bytes) {
            sum = add_fours(sum, pairs_q8_0(run, v, plane));
            sum = add_fours(sum, pairs_q8_0(run, v + 1, plane));
        } else {
            sum = add_fours(sum, _mm256_add_epi16(pairs_of(kind, run, v, plane),
                                                  pairs_of(kind, run, v + 1, plane)));
        }
    }
    return sum;
}

/* Vectors [first, end) of run s, which share a scale, for one token, whose values add to x_sum. */
INLINE __m256 add_vectors(const struct kind kind, const unsigned char *tile, int s, int first,
                          int end, int part, const int8_t *planes, float x_scale, int32_t x_sum,
                          __m256 sums) {
    const struct quant_layout *l = kind.layout;
    const unsigned char *run = tile + l->head + s * l->run + part * 32;
    __m256i high = dot(kind, run, first, end, planes);
    __m256i low = dot(kind, run, first, end, planes + RUN);
    __m256i all = _mm256_add_epi32(_mm256_sub_epi32(_mm256_slli_epi32(high, 8), high), low);
    if (l->offset && l->offset != 128)
        all = _mm256_sub_epi32(all, _mm256_set1_epi32(l->offset * x_sum));
    __m256 factor = _mm256_mul_ps(kind.scales(tile, s, first / 4, part), _mm256_set1_ps(x_scale));
    return _mm256_fmadd_ps(factor, _mm256_cvtepi32_ps(all), sums);
}

INLINE __m256 add_run(const struct kind kind, const unsigned char *tile, int s, int part,
                      const struct quant_input *in, int64_t i, __m256 sums) {
    const int8_t *planes = in->planes + i * 2 * RUN;
    const int32_t x_sum = in->sums[2 * i] + in->sums[2 * i + 1];
    float scale = in->scales[i];
    if (kind.layout->halves) {
        for (int half = 0; half < 2; half++)
            sums = add_vectors(kind, tile, s, 4 * half, 4 * half + 4, part, planes, scale,
                               in->sums[2 * i + half], sums);
    } else {
        sums = add_vectors(kind, tile, s, 0, 8, part, planes, scale, x_sum, sums);
    }
    if (kind.layout->minimum) {
        __m256 factor = _mm256_mul_ps(kind.minimum(tile, s, 0, part), _mm256_set1_ps(scale));
        sums = _mm256_fnmadd_ps(factor, _mm256_set1_ps((float)x_sum), sums);
    }
    return sums;
}

INLINE void put(__m256 sums, float *y, int64_t rows) {
    float part[PART];
    _mm256_storeu_ps(part, sums);
    if (rows > 0)
        memcpy(y, part, (size_t)(rows < PART ? rows : PART) * sizeof *y);
}

INLINE void few(const struct kind kind, const struct quant_input *in, const struct matrix *m,
                int64_t first, int64_t end, float *y) {
    const int runs = kind.layout->runs;
    int64_t tiles = in->blocks / runs, tile_bytes = quant_tile_bytes(kind.layout);
    const unsigned char *tile = (const unsigned char *)m->data + first * tiles * tile_bytes;
    for (int64_t g = first; g < end; g++) {
        int64_t n = g * QUANT_ROWS;
        __m256 sums[QUANT_PASS][2];
        memset(sums, 0, sizeof sums);
        for (int64_t b = 0; b < in->blocks; b++) {
            int s = (int)(b % runs);
            for (int64_t t = 0; t < in->T; t++)
                for (int part = 0; part < 2; part++)
                    sums[t][part] =
                        add_run(kind, tile, s, part, in, t * in->blocks + b, sums[t][part]);
            if (s == runs - 1)
                tile += tile_bytes;
        }
        for (int64_t t = 0; t < in->T; t++)
            for (int part = 0; part < 2; part++)
                put(sums[t][part], y + t * m->rows + n + part * PART, m->rows - n - part * PART);
    }
}

/* Four vectors' bytes of four rows: row by row, the 16 bytes of each. */
INLINE void rows_of(const __m128i v[4], __m128i rows[4]) {
    __m128i low01 = _mm_unpacklo_epi32(v[0], v[1]), low23 = _mm_unpacklo_epi32(v[2], v[3]);
    __m128i high01 = _mm_unpackhi_epi32(v[0], v[1]), high23 = _mm_unpackhi_epi32(v[2], v[3]);
    rows[0] = _mm_unpacklo_epi64(low01, low23);
    rows[1] = _mm_unpackhi_epi64(low01, low23);
    rows[2] = _mm_unpacklo_epi64(high01, high23);
    rows[3] = _mm_unpackhi_epi64(high01, high23);
}

/* Eight bytes with their sign to values. */
INLINE void put_values(__m128i bytes, float scale, bool has_minimum, float minimum, float *out) {
    __m256 value =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_set1_ps(scale));
    if (has_minimum)
        value = _mm256_sub_ps(value, _mm256_set1_ps(minimum));
    _mm256_storeu_ps(out, value);
}

/* Half a run of a part's eight rows. */
INLINE void widen_half(const struct kind kind, const unsigned char *tile, int s, int half, int part,
                       int64_t stride, float *out) {
    const struct quant_layout *l = kind.layout;
    const unsigned char *run = tile + l->head + s * l->run + part * 32;
    float scales[PART], minimum[PART] = {0};
    __m256i v[4];
    _mm256_storeu_ps(scales, kind.scales(tile, s, half, part));
    if (l->minimum)
        _mm256_storeu_ps(minimum, kind.minimum(tile, s, 0, part));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_sub_epi8(kind.bytes(run, 4 * half + i), _mm256_set1_epi8((char)l->offset));
    for (int quad = 0; quad < 2; quad++) {
        __m128i four[4], rows[4];
        for (int i = 0; i < 4; i++)
            four[i] = quad ? _mm256_extracti128_si256(v[i], 1) : _mm256_castsi256_si128(v[i]);
        rows_of(four, rows);
        for (int i = 0; i < 4; i++) {
            int r = 4 * quad + i;
            float *to = out + (part * PART + r) * stride + half * 16;
            put_values(rows[i], scales[r], l->minimum, minimum[r], to);
            put_values(_mm_srli_si128(rows[i], 8), scales[r], l->minimum, minimum[r], to + 8);
        }
    }
}

INLINE void widen(const struct kind kind, int64_t tiles, const unsigned char *from, int64_t stride,
                  float *out) {
    for (int64_t b = 0; b < tiles; b++, from += quant_tile_bytes(kind.layout))
        for (int s = 0; s < kind.layout->runs; s++, out += RUN)
            for (int part = 0; part < 2; part++)
                for (int half = 0; half < 2; half++)
                    widen_half(kind, from, s, half, part, stride, out);
}

#define KERNELS(type, bytes, scales, minimum)                                                      \
    void type##_few_avx2(const struct quant_input *in, const struct matrix *m, int64_t first,      \
                         int64_t end, float *y) {                                                  \
        few((struct kind){&quant_layout_##type, bytes, scales, minimum}, in, m, first, end, y);    \
    }                                                                                              \
    void type##_widen_f32_avx2(int64_t tiles, const unsigned char *from, int64_t stride,           \
                               float *out) {                                                       \
        widen((struct kind){&quant_layout_##type, bytes, scales, minimum}, tiles, from, stride,    \
              out);                                                                                \
    }
KERNELS(q8_0, bytes_q8_0, scales_plain, minimum_plain)
KERNELS(q4_0, bytes_4, scales_plain, minimum_plain)
KERNELS(q4_1, bytes_4, scales_plain, minimum_plain)
KERNELS(q5_0, bytes_5, scales_plain, minimum_plain)
KERNELS(q5_1, bytes_5, scales_plain, minimum_plain)
KERNELS(q4_k, bytes_4, scales_k, minimum_k)
KERNELS(q5_k, bytes_5, scales_k, minimum_k)
KERNELS(q6_k, bytes_6, scales_q6_k, minimum_plain)

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
    for (int64_t b = 0; b < blocks; b++, x += RUN, planes += 2 * RUN) {
        __m256i most = _mm256_setzero_si256(), high[4], low[4], whole[4];
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
            whole[i] = finite ? _mm256_cvtps_epi32(v) : _mm256_setzero_si256();
            high[i] = _mm256_cvtps_epi32(
                _mm256_mul_ps(_mm256_cvtepi32_ps(whole[i]), _mm256_set1_ps(1.0f / 255)));
            low[i] = _mm256_add_epi32(_mm256_sub_epi32(whole[i], _mm256_slli_epi32(high[i], 8)),
                                      high[i]);
        }
        _mm256_storeu_si256((__m256i *)planes, narrow(high));
        _mm256_storeu_si256((__m256i *)(planes + RUN), narrow(low));
        scales[b] = finite ? largest * (1.0f / QUANT_INPUT_MOST) : largest - largest;
        for (int half = 0; half < 2; half++)
            sums[2 * b + half] = sum_of(_mm256_add_epi32(whole[2 * half], whole[2 * half + 1]));
    }
}
