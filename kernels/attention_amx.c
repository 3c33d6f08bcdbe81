/* The step of bf16 arithmetic on the tiles of AMX, for many rows.
 *
 * Scores and values are the same product of tiles, a block of 2 x 2 registers of 16 x 16 sums:
 *
 *     c[r, n] (+)= sum_k a[r, k] b[k, n],   a [rows, K] in bf16, b in tiles of 32 k by 16 n
 *
 * for the scores a = queries, k = dimensions, n = keys; for the output a = weights, k = keys, n =
 * dimensions. A tile of b is 16 rows of pairs of k: a group of keys [d/2][16][2] and 16 pairs of
 * values [d][2] are such rows already. What does not fill its tiles, a head_dim that is no multiple
 * of 32 and an odd number of groups, is copied once in a step, with zeros behind.
 *
 * The rows go through the step in passes of 32. The tiles and the vectors work at the same time:
 * while the rows of one pass are weighed, the scores of the next and the values of the one before
 * are multiplied in between, block by block, which a processor that computes out of order overlaps.
 * Scores and weights of two passes fit into the first cache; keys and values come from the second,
 * and each step asks ahead for those of the next.
 *
 * Decoding gains nothing from this: a token's few rows would leave most of a tile empty, and wait
 * for the memory that every key is read from once. attention.c gives few rows to the step of
 * AVX-512-BF16. */
#include "kernels/amx_tile.h"
#include "kernels/attention_step.h"
#include "kernels/attention_vector_bf16.h"
#include "kernels/gemm_bf16.h"

#include <string.h>

#define PASS_ROWS 32
#define STEP_PASSES 4
#define TILE_LANES 16 /* rows and columns of a register of sums */
#define TILE_DEPTH 32 /* k of a product of two registers */

/* Eight full registers: four of sums, two of a, two of b. */
static void tiles_open(void) {
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.rows[t] = TILE_ROWS;
        config.row_bytes[t] = TILE_ROW_BYTES;
    }
    tile_configure(&config);
}

static void tiles_close(void) {
    tile_release();
}

/* Strides in elements. */
struct product {
    int64_t rows, columns; /* at most PASS_ROWS; in registers, 0: nothing to do */
    int64_t K;             /* in tiles */
    const uint16_t *a;
    int64_t a_stride;
    const uint16_t *b; /* the tile of k and n at b + k * b_deeper + n * b_across, */
    int64_t b_stride;  /* its rows so far apart */
    int64_t b_deeper, b_across;
    float *c;
    int64_t c_stride;
    bool adds; /* false: c is overwritten */
};

/* tile_load or tile_store of the sums: `down` x `across` registers, constants where it stands. */
#define BLOCK_MOVE(move, down, across, p)                                                          \
    do {                                                                                           \
        float *c = (p)->c, *below = c + TILE_LANES * (p)->c_stride;                                \
        const int64_t c_stride = (p)->c_stride * (int64_t)sizeof *c;                               \
        move(0, c, c_stride);                                                                      \
        if ((across) > 1)                                                                          \
            move(1, c + TILE_LANES, c_stride);                                                     \
        if ((down) > 1)                                                                            \
            move(2, below, c_stride);                                                              \
        if ((down) > 1 && (across) > 1)                                                            \
            move(3, below + TILE_LANES, c_stride);                                                 \
    } while (0)

INLINE void block_zero(const int down, const int across) {
    tile_zero(0);
    if (across > 1)
        tile_zero(1);
    if (down > 1)
        tile_zero(2);
    if (down > 1 && across > 1)
        tile_zero(3);
}

INLINE void block_run(const int down, const int across, const struct product *p) {
    const int64_t a_stride = p->a_stride * 2, b_stride = p->b_stride * 2; /* bytes */
    const uint16_t *a = p->a, *b = p->b;
    if (p->adds)
        BLOCK_MOVE(tile_load, down, across, p);
    else
        block_zero(down, across);
    for (int64_t k = 0; k < p->K; k++) {
        tile_load(4, a, a_stride);
        tile_load(6, b, b_stride);
        tile_dot(0, 4, 6);
        if (across > 1) {
            tile_load(7, b + p->b_across, b_stride);
            tile_dot(1, 4, 7);
        }
        if (down > 1) {
            tile_load(5, a + TILE_LANES * p->a_stride, a_stride);
            tile_dot(2, 5, 6);
        }
        if (down > 1 && across > 1)
            tile_dot(3, 5, 7);
        a += TILE_DEPTH;
        b += p->b_deeper;
    }
    BLOCK_MOVE(tile_store, down, across, p);
}

static int64_t product_blocks(const struct product *p) {
    return (p->columns + 1) / 2;
}

/* All rows by two columns of registers, or by the last one. */
static void product_block(const struct product *whole, int64_t block) {
    bool tall = whole->rows > TILE_LANES, wide = 2 * block + 1 < whole->columns;
    struct product p = *whole;
    p.b += 2 * block * p.b_across;
    p.c += 2 * block * TILE_LANES;
    if (tall && wide)
        block_run(2, 2, &p);
    else if (tall)
        block_run(2, 1, &p);
    else if (wide)
        block_run(1, 2, &p);
    else
        block_run(1, 1, &p);
}

/* Keys and values as the tiles take them: the cache's own, or padded copies. */
struct operands {
    const uint16_t *near, *far; /* groups of [depth/2][16][2] */
    int64_t depth;
    const uint16_t *values; /* pairs of keys, each [stride][2] */
    int64_t stride;
};

static int64_t round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

/* Groups [first, end), each padded to `depth` dimensions, at the same places of a wider array. */
static const uint16_t *keys_pad(const struct attention_step *s, const uint16_t *keys, int64_t first,
                                int64_t end, int64_t depth, uint16_t *to) {
    int64_t size = s->head_dim * KV_GROUP, padded = depth * KV_GROUP;
    for (int64_t g = first; g < end; g++) {
        memcpy(to + g * padded, keys + g * size, (size_t)size * sizeof *to);
        memset(to + g * padded + size, 0, (size_t)(padded - size) * sizeof *to);
    }
    return to;
}

/* All pairs of the tile, padded to whole rows of registers across and down. */
static const uint16_t *values_pad(const struct attention_step *s, int64_t stride, uint16_t *to) {
    const uint16_t *from = s->values;
    int64_t pairs = round_up(s->keys, KV_GROUP) / 2, all = round_up(s->keys, TILE_DEPTH) / 2;
    int64_t size = 2 * s->head_dim, padded = 2 * stride;
    for (int64_t j = 0; j < pairs; j++) {
        memcpy(to + j * padded, from + j * size, (size_t)size * sizeof *to);
        memset(to + j * padded + size, 0, (size_t)(padded - size) * sizeof *to);
    }
    memset(to + pairs * padded, 0, (size_t)((all - pairs) * padded) * sizeof *to);
    return to;
}

static struct operands operands_of(const struct attention_step *s) {
    struct operands o = {.near = s->keys_near,
                         .far = s->keys_far,
                         .depth = round_up(s->head_dim, TILE_DEPTH),
                         .values = s->values,
                         .stride = s->stride};
    int64_t groups = (s->keys + KV_GROUP - 1) / KV_GROUP, room = STEP_KEYS * o.depth;
    if (o.depth != s->head_dim) {
        o.near = keys_pad(s, o.near, s->near_group, groups, o.depth, s->padded);
        o.far = keys_pad(s, o.far, 0, s->far_groups, o.depth, s->padded + room);
    }
    if (o.stride != s->head_dim || groups % 2 != 0)
        o.values = values_pad(s, o.stride, s->padded + 2 * room);
    return o;
}

/* Some rows of a step: a step of their own, with the keys that they see, and its products. */
struct pass {
    struct attention_step step;
    int64_t row, groups;
    struct product far, near, values;
};

/* Scores of all rows and the keys of groups [first, end). */
static struct product scores_product(const struct attention_step *s, const struct operands *o,
                                     const uint16_t *queries, const uint16_t *keys, int64_t first,
                                     int64_t end, float *scores) {
    if (first >= end)
        return (struct product){0};
    return (struct product){.rows = s->rows,
                            .columns = end - first,
                            .K = o->depth / TILE_DEPTH,
                            .a = queries,
                            .a_stride = s->stride_rounded,
                            .b = keys + first * o->depth * KV_GROUP,
                            .b_stride = 2 * KV_GROUP,
                            .b_deeper = TILE_DEPTH * KV_GROUP,
                            .b_across = o->depth * KV_GROUP,
                            .c = scores + first * KV_GROUP,
                            .c_stride = STEP_KEYS};
}

static struct product values_product(const struct attention_step *s, const struct operands *o,
                                     int64_t groups) {
    return (struct product){.rows = s->rows,
                            .columns = s->stride / TILE_LANES,
                            .K = (groups + 1) / 2,
                            .a = s->weights,
                            .a_stride = STEP_KEYS,
                            .b = o->values,
                            .b_stride = 2 * o->stride,
                            .b_deeper = TILE_DEPTH * o->stride,
                            .b_across = 2 * TILE_LANES,
                            .c = s->out,
                            .c_stride = s->stride,
                            .adds = true};
}

/* What the rows of a masked step see. */
static void keys_seen(struct attention_step *s) {
    int64_t keys = 0, far = 0, near = s->keys;
    for (int64_t r = 0; r < s->rows; r++) {
        if (s->first[r] >= s->end[r])
            continue;
        keys = s->end[r] > keys ? s->end[r] : keys;
        far = s->border[r] > far ? s->border[r] : far;
        near = s->border[r] < near ? s->border[r] : near;
    }
    s->keys = keys;
    s->near_group = near / KV_GROUP;
    if (s->far_groups > 0)
        s->far_groups = (far + KV_GROUP - 1) / KV_GROUP;
}

/* Rows [row, row + rows) of a step. Scores and weights of every other pass share their place. */
static struct attention_step rows_of(const struct attention_step *whole, int64_t row,
                                     int64_t rows) {
    struct attention_step s = *whole;
    int64_t place = row % (2 * PASS_ROWS) * STEP_KEYS;
    s.rows = rows;
    s.near_rounded += row * s.stride_rounded;
    s.out += row * s.stride;
    s.max += row;
    s.sums += row * STEP_LANES;
    s.correction += row;
    s.scores += place;
    s.weights += place;
    if (s.far_groups > 0) {
        s.far_rounded += row * s.stride_rounded;
        s.far_scores += place;
    }
    if (s.masked) {
        s.first += row;
        s.border += row;
        s.end += row;
        keys_seen(&s);
    }
    return s;
}

static void pass_open(const struct attention_step *whole, const struct operands *o, int64_t row,
                      struct pass *pass) {
    int64_t rows = whole->rows - row < PASS_ROWS ? whole->rows - row : PASS_ROWS;
    struct attention_step *s = &pass->step;
    *s = rows_of(whole, row, rows);
    pass->row = row;
    pass->groups = (s->keys + KV_GROUP - 1) / KV_GROUP;
    if (pass->groups == 0) { /* nothing is seen: the rows stay as they are */
        s->rows = 0;
        return;
    }
    bool all_far = !s->masked && s->far_groups > 0;
    pass->far = scores_product(s, o, s->far_rounded, o->far, 0, s->far_groups,
                               all_far ? s->scores : s->far_scores);
    pass->near =
        scores_product(s, o, s->near_rounded, o->near, s->near_group, pass->groups, s->scores);
    pass->values = values_product(s, o, pass->groups);
}

/* Where the step has a cap, when the products of the scores are done. */
static void scores_cap(const struct pass *pass) {
    const struct attention_step *s = &pass->step;
    step_cap(s, soft_cap_avx512, 0, s->far_groups, pass->far.c);
    step_cap(s, soft_cap_avx512, s->near_group, pass->groups, s->scores);
}

/* Asks for bytes [part / parts, (part + 1) / parts) behind `from`. */
static void fetch_ahead(const void *from, int64_t bytes, int64_t part, int64_t parts) {
    for (int64_t at = bytes * part / parts / 64 * 64; at < bytes * (part + 1) / parts; at += 64)
        _mm_prefetch((const char *)from + at, _MM_HINT_T1);
}

/* Rows [first, end) of a pass. Between them some of the next tile's lines are asked for, in case
 * the tiles go on side by side. */
static void rows_weigh(const struct pass *pass, int64_t first, int64_t end, int64_t rows_all) {
    const struct attention_step *s = &pass->step;
    int64_t bytes = pass->groups * KV_GROUP * s->head_dim * 2;
    const char *keys = s->far_groups > 0 ? s->keys_far : s->keys_near, *values = s->values;
    for (int64_t r = first; r < end; r++) {
        fetch_ahead(keys + bytes, bytes, pass->row + r, rows_all);
        fetch_ahead(values + bytes, bytes, pass->row + r, rows_all);
        row_weigh(s, r, pass->groups);
    }
}

/* out = c out, of the rows whose maximum has changed. */
static void rows_correct(const struct attention_step *s) {
    for (int64_t r = 0; r < s->rows; r++) {
        const __m512 correction = _mm512_set1_ps(s->correction[r]);
        float *out = s->out + r * s->stride;
        for (int64_t i = 0; i < s->stride && s->correction[r] != 1; i += 16)
            _mm512_store_ps(out + i, _mm512_mul_ps(_mm512_load_ps(out + i), correction));
    }
}

/* Scores of one pass, weights of another, values of a third: the rows go evenly between the blocks
 * of the products. */
static void passes_advance(const struct pass *scores, const struct pass *weights,
                           const struct pass *values, int64_t rows_all) {
    const struct product *products[] = {&scores->far, &scores->near, &values->values};
    int64_t rows = weights->step.rows, row = 0, blocks = 0, done = 0;
    for (int i = 0; i < 3; i++)
        blocks += product_blocks(products[i]);
    scores_cap(weights);
    rows_correct(&values->step);
    for (int i = 0; i < 3; i++) {
        for (int64_t block = 0; block < product_blocks(products[i]); block++) {
            product_block(products[i], block);
            done++;
            rows_weigh(weights, row, rows * done / blocks, rows_all);
            row = rows * done / blocks;
        }
    }
    rows_weigh(weights, row, rows, rows_all);
}

static void step_run(const struct attention_step *s) {
    struct operands o = operands_of(s);
    struct pass passes[STEP_PASSES + 4], *first = passes + 2; /* around them stand empty ones */
    int64_t count = (s->rows + PASS_ROWS - 1) / PASS_ROWS;
    memset(passes, 0, sizeof passes);
    for (int64_t i = 0; i < count; i++)
        pass_open(s, &o, i * PASS_ROWS, first + i);
    for (int64_t i = 0; i < count + 2; i++)
        passes_advance(first + i, first + i - 1, first + i - 2, s->rows);
}

#ifdef QUIRE_TILES
const struct attention_kernel attention_amx_modelled =
#else
const struct attention_kernel attention_amx =
#endif
    {.run = step_run,
     .open = tiles_open,
     .close = tiles_close,
     .rows = STEP_PASSES * PASS_ROWS,
     .keys = STEP_KEYS,
     .run_few_q8_0 = attention_few_q8_0,
     .q8_0 = &kv_widen_avx512_bf16,
     .rounds = true,
     .round = gemm_round};
