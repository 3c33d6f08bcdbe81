/* The step of one vector level: included once by attention_LEVEL.c, behind vector_LEVEL.h, which
 * names the level's soft_cap_level.
 *
 * Scores and values are the same product, a register block of a few rows by a few vectors:
 *
 *     c[r][v] = sum_k a[r, k] b[k, v],   a [rows, K], b's vectors at b + v_offset(v) + k * b_stride
 *
 * for the scores a = queries, k = dimensions, vectors = keys; for the output a = weights, k = keys,
 * vectors = dimensions. Blocks of keys (dimensions) go around rows, so that b stays in the first
 * cache while all rows pass over it. */
#include "kernels/attention_step.h"
#include "kernels/vector_exp.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/* The block that the registers hold: 6 x 4 of 32 registers, 6 x 2 of 16. A tile of few rows, which
 * is there in decoding, waits for memory rather than for arithmetic: it goes in blocks of 4 rows,
 * so that bf16 can be widened in registers, and asks for the next tile's lines beforehand. */
#define BLOCK_ROWS 6
#define BLOCK_ROWS_FEW 4
#define BLOCK_VECTORS (LANES == 16 ? 4 : 2)
#define FEW_ROWS 16
#define GROUP_VECTORS (KV_GROUP / LANES)

/* A product over a column of vectors. Of bf16, k counts pairs, and b's words are [k][lane] pairs.
 */
struct product {
    int64_t K;
    const float *a;
    int64_t a_stride;
    const void *b;        /* of four-byte elements */
    int64_t b_stride;     /* from one k to the next; vectors stand LANES apart, */
    int64_t group_stride; /* and so do groups of KV_GROUP lanes */
    int64_t ahead;        /* from b to what is needed next */
    float *c;
    int64_t c_stride;
    const float *correction; /* NULL: c = product; else c = correction[row] c + product */
};

typedef vector register_block[BLOCK_ROWS][BLOCK_VECTORS];

/* How b is read: as it is, or asking ahead, or asking ahead and widening. */
enum block_form { MANY_ROWS, FEW_ROWS_F32, FEW_ROWS_BF16 };

/* c += a[., k] b[k, .] for one k, or for the two of a pair. rows, vectors and form are constants
 * where this is inlined, and every loop unrolls. */
INLINE void block_step(int rows, int vectors, enum block_form form, const struct product *p,
                       int64_t k, register_block c) {
    const float *b = (const float *)p->b + k * p->b_stride, *a = p->a;
    vector x[BLOCK_VECTORS], second[BLOCK_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const float *at = b + v / GROUP_VECTORS * p->group_stride + v % GROUP_VECTORS * LANES;
        if (form != MANY_ROWS && v * LANES % 16 == 0)
            __builtin_prefetch(at + p->ahead, 0, 2);
        if (form == FEW_ROWS_BF16) {
            vector_words words = words_load((const uint32_t *)at);
            x[v] = words_first(words);
            second[v] = words_second(words);
        } else {
            x[v] = vector_load(at);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        vector y = vector_set(a[r * p->a_stride + (form == FEW_ROWS_BF16 ? 2 * k : k)]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            c[r][v] = vector_fma(y, x[v], c[r][v]);
        if (form == FEW_ROWS_BF16) {
            y = vector_set(a[r * p->a_stride + 2 * k + 1]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                c[r][v] = vector_fma(y, second[v], c[r][v]);
        }
    }
}

INLINE void block_run(int rows, int vectors, enum block_form form, const struct product *p) {
    register_block c;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            c[r][v] = vector_set(0);
    for (int64_t k = 0; k < p->K; k++)
        block_step(rows, vectors, form, p, k, c);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *to = p->c + r * p->c_stride + v * LANES;
            if (p->correction)
                c[r][v] = vector_fma(vector_load(to), vector_set(p->correction[r]), c[r][v]);
            vector_store(to, c[r][v]);
        }
}

#define BLOCK_CASE(rows, vectors)                                                                  \
    case (rows)*8 + (vectors):                                                                     \
        block_run(rows, vectors, form, p);                                                         \
        return;
#if LANES == 16
#define BLOCK_CASES(rows)                                                                          \
    BLOCK_CASE(rows, 1) BLOCK_CASE(rows, 2) BLOCK_CASE(rows, 3) BLOCK_CASE(rows, 4)
#else
#define BLOCK_CASES(rows) BLOCK_CASE(rows, 1) BLOCK_CASE(rows, 2)
#endif

static void block_many(int64_t rows, int64_t vectors, const struct product *p) {
    const enum block_form form = MANY_ROWS;
    switch (rows * 8 + vectors) {
        BLOCK_CASES(1)
        BLOCK_CASES(2)
        BLOCK_CASES(3)
        BLOCK_CASES(4)
        BLOCK_CASES(5)
        BLOCK_CASES(6)
    }
}

static void block_few_f32(int64_t rows, int64_t vectors, const struct product *p) {
    const enum block_form form = FEW_ROWS_F32;
    switch (rows * 8 + vectors) {
        BLOCK_CASES(1)
        BLOCK_CASES(2)
        BLOCK_CASES(3)
        BLOCK_CASES(4)
    }
}

static void block_few_bf16(int64_t rows, int64_t vectors, const struct product *p) {
    const enum block_form form = FEW_ROWS_BF16;
    switch (rows * 8 + vectors) {
        BLOCK_CASES(1)
        BLOCK_CASES(2)
        BLOCK_CASES(3)
        BLOCK_CASES(4)
    }
}

/* A column of `vectors` by all rows, the rows in blocks of nearly one size. */
static void column_run(int64_t rows, int64_t vectors, enum block_form form,
                       const struct product *whole) {
    int64_t most = form == MANY_ROWS ? BLOCK_ROWS : BLOCK_ROWS_FEW;
    int64_t blocks = (rows + most - 1) / most;
    struct product p = *whole;
    for (int64_t i = 0; i < blocks; i++) {
        int64_t first = rows * i / blocks, count = rows * (i + 1) / blocks - first;
        p.a = whole->a + first * p.a_stride;
        p.c = whole->c + first * p.c_stride;
        if (whole->correction)
            p.correction = whole->correction + first;
        if (form == MANY_ROWS)
            block_many(count, vectors, &p);
        else if (form == FEW_ROWS_F32)
            block_few_f32(count, vectors, &p);
        else
            block_few_bf16(count, vectors, &p);
    }
}

static enum block_form form_of(const struct attention_step *s) {
    if (s->rows > FEW_ROWS || s->head_dim % LANES != 0)
        return MANY_ROWS;
    return s->type == KV_F32 ? FEW_ROWS_F32 : FEW_ROWS_BF16;
}

/* Keys of groups [first, end) in f32, each [d][KV_GROUP], from the tile's group 0 on. */
static const float *keys_wide(const struct attention_step *s, const void *keys, int64_t first,
                              int64_t end) {
    if (s->type == KV_F32)
        return keys;
    const uint32_t *from = keys;
    float *wide = s->wide;
    /* [d/2][16] pairs become [d/2][2][16]. */
    for (int64_t i = first * s->head_dim / 2; i < end * s->head_dim / 2; i++)
        for (int64_t lane = 0; lane < KV_GROUP; lane += LANES) {
            vector_words words = words_load(from + i * KV_GROUP + lane);
            vector_store(wide + 2 * i * KV_GROUP + lane, words_first(words));
            vector_store(wide + (2 * i + 1) * KV_GROUP + lane, words_second(words));
        }
    return wide;
}

static void scores_compute(const struct attention_step *s, const float *queries, const void *keys,
                           int64_t first, int64_t end, float *scores) {
    if (first >= end)
        return;
    enum block_form form = form_of(s);
    const float *b = form == MANY_ROWS ? keys_wide(s, keys, first, end) : keys;
    int64_t d = s->head_dim, K = form == FEW_ROWS_BF16 ? d / 2 : d;
    const int64_t most = BLOCK_VECTORS / GROUP_VECTORS;
    for (int64_t g = first, groups; g < end; g += groups) {
        groups = end - g < most ? end - g : most;
        struct product p = {.K = K,
                            .a = queries,
                            .a_stride = d,
                            .b = b + g * K * KV_GROUP,
                            .b_stride = KV_GROUP,
                            .group_stride = K * KV_GROUP,
                            .ahead = (end - first) * K * KV_GROUP,
                            .c = scores + g * KV_GROUP,
                            .c_stride = STEP_KEYS};
        column_run(s->rows, groups * GROUP_VECTORS, form, &p);
    }
    step_cap(s, soft_cap_level, first, end, scores);
}

/* Chooses the zones' scores and hides what the row does not see. */
static void row_mask(const struct attention_step *s, int64_t r, int64_t keys) {
    const vector unseen = vector_set(-INFINITY);
    for (int64_t j = 0; j < keys; j += LANES) {
        float *p = s->scores + r * STEP_KEYS + j;
        vector x = vector_load(p);
        if (j < s->border[r] && s->far_groups > 0)
            x = vector_below(vector_load(s->far_scores + r * STEP_KEYS + j), x, s->border[r] - j);
        x = vector_below(x, unseen, s->end[r] - j);
        x = vector_below(unseen, x, s->first[r] - j);
        vector_store(p, x);
    }
}

/* Scores of row r, `keys` of them (whole vectors), into weights; its maximum, sums, correction. */
INLINE void row_softmax(const struct attention_step *s, int64_t r, int64_t keys) {
    float *p = s->scores + r * STEP_KEYS;
    s->correction[r] = 1;
    if (s->masked && s->first[r] >= s->end[r]) {
        for (int64_t j = 0; j < keys; j += LANES)
            vector_store(p + j, vector_set(0));
        return;
    }
    if (s->masked)
        row_mask(s, r, keys);
    vector largest = vector_load(p), max = vector_set(s->max[r]), sum = vector_set(0);
    for (int64_t j = LANES; j < keys; j += LANES)
        largest = vector_max(vector_load(p + j), largest);
    float *sums = s->sums + r * STEP_LANES;
    if (vector_any_greater(largest, max)) {
        float highest = vector_largest(largest);
        s->correction[r] = vector_first(vector_exp_negative(max - vector_set(highest)));
        s->max[r] = highest;
        max = vector_set(highest);
        vector_store(sums, vector_load(sums) * vector_set(s->correction[r]));
    }
    for (int64_t j = 0; j < keys; j += LANES) {
        vector weight = vector_exp_negative(vector_load(p + j) - max);
        vector_store(p + j, weight);
        sum += weight;
    }
    vector_store(sums, vector_load(sums) + sum);
}

/* The tile's values in f32, [keys][stride]: the cache itself where it is of this form. */
static const float *values_wide(const struct attention_step *s) {
    int64_t d = s->head_dim;
    if (s->type == KV_F32 && d % LANES == 0)
        return s->values;
    for (int64_t j = 0; j < s->keys; j += 2) {
        const float *from = (const float *)s->values + j * d;
        const uint32_t *pairs = (const uint32_t *)s->values + j / 2 * d;
        float *to = s->wide + j * s->stride;
        for (int64_t i = 0; i < d; i += LANES) {
            vector even, odd;
            if (s->type == KV_BF16) {
                vector_words words = words_load_part(pairs + i, d - i);
                even = words_first(words);
                odd = words_second(words);
            } else {
                even = vector_load_part(from + i, d - i);
                odd = vector_load_part(from + d + i, d - i);
            }
            vector_store(to + i, even);
            vector_store(to + s->stride + i, odd);
        }
    }
    return s->wide;
}

static void values_add(const struct attention_step *s) {
    enum block_form form = form_of(s);
    const float *b = form == MANY_ROWS ? values_wide(s) : s->values;
    int64_t K = form == FEW_ROWS_BF16 ? (s->keys + 1) / 2 : s->keys;
    int64_t stride = b == s->wide ? s->stride : s->head_dim;
    int64_t vectors = (s->head_dim + LANES - 1) / LANES;
    for (int64_t v = 0, count; v < vectors; v += count) {
        count = vectors - v < BLOCK_VECTORS ? vectors - v : BLOCK_VECTORS;
        struct product p = {.K = K,
                            .a = s->scores,
                            .a_stride = STEP_KEYS,
                            .b = b + v * LANES,
                            .b_stride = stride,
                            .group_stride = KV_GROUP,
                            .ahead = K * stride,
                            .c = s->out + v * LANES,
                            .c_stride = s->stride,
                            .correction = s->correction};
        column_run(s->rows, count, form, &p);
    }
}

static void step_run(const struct attention_step *s) {
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    bool all_far = !s->masked && s->far_groups > 0;
    scores_compute(s, s->far, s->keys_far, 0, s->far_groups, all_far ? s->scores : s->far_scores);
    scores_compute(s, s->near, s->keys_near, s->near_group, groups, s->scores);
    for (int64_t r = 0; r < s->rows; r++)
        row_softmax(s, r, groups * KV_GROUP);
    values_add(s);
}
