/* The step of bf16 arithmetic at AVX-512-BF16: scores and values by vdpbf16ps, which adds to 16 f32
 * sums the products of 16 pairs of bf16.
 *
 * Both products are a register block of a few rows by a few vectors, a summand pair at a time:
 *
 *     c[r][v] += sum_k a[r, k] . b[k, v],   a [rows, K] pairs, broadcast; b's vectors of 16 pairs
 *
 * for the scores a = queries, k = pairs of dimensions, v = groups of keys; for the output a =
 * weights, k = pairs of keys, v = dimensions. Columns of vectors go around the rows, so that b
 * stays in the first cache while all rows pass over it. */
#include "kernels/attention_vector_bf16.h"
#include "kernels/gemm_bf16.h"

/* A block takes 24 sums, which with its vectors and a broadcast fill the 32 registers. */
#define BLOCK_SUMS 24
#define BLOCK_VECTORS 4

/* A tile of few rows, which is there in decoding, waits for memory rather than for arithmetic. The
 * processor reads ahead where lines are used in their order, but stops whenever the step turns from
 * keys to values or to the softmax; so the lines to come are asked for one by one, this many bytes
 * ahead in their order. (Measured on Zen 5: 8 to 16 kB reach 90 % of the read bandwidth and more,
 * 4 kB 75 %; scores of single groups of keys in their order 90 %, four groups side by side 75 %.)
 */
#define FEW_ROWS 8
#define AHEAD_ROWS 16
#define AHEAD_BYTES 12288

struct product {
    int64_t K;         /* pairs */
    const uint16_t *a; /* [rows, a_stride] */
    int64_t a_stride;
    const uint16_t *b; /* vector v of pair k at b + k * b_stride + v * vector_stride */
    int64_t b_stride;
    int64_t vector_stride;
    __mmask16 last; /* lanes of the last vector that are there */
    float *c;       /* [rows, c_stride], vectors of 16 side by side */
    int64_t c_stride;
    const float *correction; /* NULL: c = product; else c = correction[row] c + product */
    int64_t ahead;           /* 0, or bytes from a vector to the one that is asked for with it */
};

static inline __m512bh vector_load(const uint16_t *at) {
    return (__m512bh)_mm512_loadu_si512(at);
}

INLINE void block_run(const int rows, const int vectors, const bool ahead,
                      const struct product *p) {
    __m512 c[BLOCK_SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        c[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < p->K; k++) {
        const uint16_t *b = p->b + k * p->b_stride;
        if (ahead)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                _mm_prefetch((const char *)(b + v * p->vector_stride) + p->ahead, _MM_HINT_T0);
        __m512bh x[BLOCK_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors - 1; v++)
            x[v] = vector_load(b + v * p->vector_stride);
        x[vectors - 1] =
            (__m512bh)_mm512_maskz_loadu_epi32(p->last, b + (vectors - 1) * p->vector_stride);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            __m512bh y = pair_load(p->a + r * p->a_stride + 2 * k);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                c[r * vectors + v] = _mm512_dpbf16_ps(c[r * vectors + v], x[v], y);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *to = p->c + r * p->c_stride + v * 16;
            __m512 sum = c[r * vectors + v];
            if (p->correction)
                sum = _mm512_fmadd_ps(_mm512_load_ps(to), _mm512_set1_ps(p->correction[r]), sum);
            _mm512_store_ps(to, sum);
        }
}

#define BLOCK_CASE(vectors, rows)                                                                  \
    case (rows):                                                                                   \
        if (p->ahead)                                                                              \
            block_run(rows, vectors, true, p);                                                     \
        else                                                                                       \
            block_run(rows, vectors, false, p);                                                    \
        return;

static void block_1(int64_t rows, const struct product *p) {
    switch (rows) {
        BLOCK_CASE(1, 1)
        BLOCK_CASE(1, 2)
        BLOCK_CASE(1, 3)
        BLOCK_CASE(1, 4)
        BLOCK_CASE(1, 5)
        BLOCK_CASE(1, 6)
        BLOCK_CASE(1, 7) BLOCK_CASE(1, 8) BLOCK_CASE(1, 9) BLOCK_CASE(1, 10) BLOCK_CASE(1, 11)
            BLOCK_CASE(1, 12)
    }
}

static void block_2(int64_t rows, const struct product *p) {
    switch (rows) {
        BLOCK_CASE(2, 1)
        BLOCK_CASE(2, 2)
        BLOCK_CASE(2, 3)
        BLOCK_CASE(2, 4)
        BLOCK_CASE(2, 5)
        BLOCK_CASE(2, 6)
        BLOCK_CASE(2, 7) BLOCK_CASE(2, 8) BLOCK_CASE(2, 9) BLOCK_CASE(2, 10) BLOCK_CASE(2, 11)
            BLOCK_CASE(2, 12)
    }
}

static void block_3(int64_t rows, const struct product *p) {
    switch (rows) {
        BLOCK_CASE(3, 1)
        BLOCK_CASE(3, 2)
        BLOCK_CASE(3, 3)
        BLOCK_CASE(3, 4) BLOCK_CASE(3, 5) BLOCK_CASE(3, 6) BLOCK_CASE(3, 7) BLOCK_CASE(3, 8)
    }
}

static void block_4(int64_t rows, const struct product *p) {
    switch (rows) {
        BLOCK_CASE(4, 1)
        BLOCK_CASE(4, 2) BLOCK_CASE(4, 3) BLOCK_CASE(4, 4) BLOCK_CASE(4, 5) BLOCK_CASE(4, 6)
    }
}

/* Most rows of a block of 1, 2 .. vectors. */
static const int64_t rows_most[BLOCK_VECTORS] = {12, 12, 8, 6};

/* A product of all its rows by `vectors`, in columns of nearly one width, those in blocks of nearly
 * one height. */
static void product_run(const struct product *whole, int64_t rows, int64_t vectors) {
    static void (*const blocks[BLOCK_VECTORS])(int64_t, const struct product *) = {
        block_1, block_2, block_3, block_4};
    int64_t widest = BLOCK_VECTORS;
    while (whole->ahead && widest > 1 && rows > rows_most[widest - 1]) /* b is to pass once */
        widest--;
    int64_t columns = (vectors + widest - 1) / widest;
    for (int64_t column = 0; column < columns; column++) {
        int64_t v = vectors * column / columns, width = vectors * (column + 1) / columns - v;
        int64_t count = (rows + rows_most[width - 1] - 1) / rows_most[width - 1];
        struct product p = *whole;
        p.b += v * p.vector_stride;
        p.last = v + width == vectors ? whole->last : 0xffff;
        for (int64_t i = 0; i < count; i++) {
            int64_t first = rows * i / count;
            p.a = whole->a + first * p.a_stride;
            p.c = whole->c + first * p.c_stride + v * 16;
            if (whole->correction)
                p.correction = whole->correction + first;
            blocks[width - 1](rows * (i + 1) / count - first, &p);
        }
    }
}

/* Scores of a few rows with one group of keys after the other, in the order of memory. Pairs of
 * dimensions go to two sums in turn, so that one row does not wait for its own sum. */
INLINE void groups_run(const int rows, const struct product *p, int64_t groups) {
    for (int64_t g = 0; g < groups; g++) {
        const uint16_t *b = p->b + g * p->vector_stride;
        __m512 c[2][FEW_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            c[0][r] = c[1][r] = _mm512_setzero_ps();
        int64_t k = 0;
        for (; k < p->K - 1; k += 2)
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const uint16_t *at = b + (k + half) * p->b_stride;
                _mm_prefetch((const char *)at + p->ahead, _MM_HINT_T0);
                __m512bh x = vector_load(at);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) {
                    __m512bh y = pair_load(p->a + r * p->a_stride + 2 * (k + half));
                    c[half][r] = _mm512_dpbf16_ps(c[half][r], x, y);
                }
            }
        if (k < p->K) {
            __m512bh x = vector_load(b + k * p->b_stride);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                __m512bh y = pair_load(p->a + r * p->a_stride + 2 * k);
                c[0][r] = _mm512_dpbf16_ps(c[0][r], x, y);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            _mm512_store_ps(p->c + r * p->c_stride + g * 16, _mm512_add_ps(c[0][r], c[1][r]));
    }
}
#define GROUPS_CASE(rows)                                                                          \
    case (rows):                                                                                   \
        groups_run(rows, p, groups);                                                               \
        return;

static void groups_few(int64_t rows, const struct product *p, int64_t groups) {
    switch (rows) {
        GROUPS_CASE(1)
        GROUPS_CASE(2)
        GROUPS_CASE(3) GROUPS_CASE(4) GROUPS_CASE(5) GROUPS_CASE(6) GROUPS_CASE(7) GROUPS_CASE(8)
    }
}

/* Scores of all rows and the keys of groups [first, end). */
static void scores_compute(const struct attention_step *s, const uint16_t *queries,
                           const uint16_t *keys, int64_t first, int64_t end, float *scores) {
    if (first >= end)
        return;
    int64_t size = s->head_dim * KV_GROUP;
    struct product p = {.K = s->head_dim / 2,
                        .a = queries,
                        .a_stride = s->stride_rounded,
                        .b = keys + first * size,
                        .b_stride = 2 * KV_GROUP,
                        .vector_stride = size,
                        .last = 0xffff,
                        .c = scores + first * KV_GROUP,
                        .c_stride = STEP_KEYS,
                        .ahead = s->rows <= AHEAD_ROWS ? AHEAD_BYTES : 0};
    if (s->rows <= FEW_ROWS)
        groups_few(s->rows, &p, end - first);
    else
        product_run(&p, s->rows, end - first);
    step_cap(s, soft_cap_avx512, first, end, scores);
}

static void values_add(const struct attention_step *s) {
    struct product p = {.K = (s->keys + 1) / 2,
                        .a = s->weights,
                        .a_stride = STEP_KEYS,
                        .b = s->values,
                        .b_stride = 2 * s->head_dim,
                        .vector_stride = 32,
                        .last = lanes_below((s->head_dim - 1) % 16 + 1),
                        .c = s->out,
                        .c_stride = s->stride,
                        .correction = s->correction};
    if (s->rows <= AHEAD_ROWS)
        p.ahead = s->rows <= rows_most[BLOCK_VECTORS - 1] ? AHEAD_BYTES : 4 * p.K * s->head_dim;
    product_run(&p, s->rows, s->stride / 16);
}

static void step_run(const struct attention_step *s) {
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    bool all_far = !s->masked && s->far_groups > 0;
    scores_compute(s, s->far_rounded, s->keys_far, 0, s->far_groups,
                   all_far ? s->scores : s->far_scores);
    scores_compute(s, s->near_rounded, s->keys_near, s->near_group, groups, s->scores);
    for (int64_t r = 0; r < s->rows; r++)
        row_weigh(s, r, groups);
    values_add(s);
}

const struct attention_kernel attention_avx512_bf16 = {.run = step_run,
                                                       .rows = STEP_ROWS,
                                                       .keys = STEP_KEYS,
                                                       .run_few_q8_0 = attention_few_q8_0,
                                                       .q8_0 = &kv_widen_avx512_bf16,
                                                       .rounds = true,
                                                       .round = gemm_round};
