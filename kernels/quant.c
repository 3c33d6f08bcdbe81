#include "kernels/quant.h"

#include "kernels/cpu.h"
#include "kernels/quant_level.h"
#include <stdlib.h>
#include <string.h>

#define AT_ALL_LEVELS(type)                                                                        \
    {                                                                                              \
        {type##_widen_f32_generic, type##_widen_bf16_generic, type##_few_generic},                 \
            {type##_widen_f32_avx2, type##_widen_bf16_generic, type##_few_avx2},                   \
            {type##_widen_f32_avx512, type##_widen_bf16_generic, type##_few_avx2},                 \
            {type##_widen_f32_avx512, type##_widen_bf16_avx512, type##_few_avx2},                  \
            {type##_widen_f32_avx512, type##_widen_bf16_avx512, type##_few_avx2},                  \
    }

static const struct quant_kernels kernels[MATRIX_TYPE_COUNT][ISA_COUNT] = {
    [MATRIX_Q8_0] = AT_ALL_LEVELS(q8_0), [MATRIX_Q4_0] = AT_ALL_LEVELS(q4_0),
    [MATRIX_Q4_1] = AT_ALL_LEVELS(q4_1), [MATRIX_Q5_0] = AT_ALL_LEVELS(q5_0),
    [MATRIX_Q5_1] = AT_ALL_LEVELS(q5_1), [MATRIX_Q4_K] = AT_ALL_LEVELS(q4_k),
    [MATRIX_Q5_K] = AT_ALL_LEVELS(q5_k), [MATRIX_Q6_K] = AT_ALL_LEVELS(q6_k),
};

/* With the processor's 8-bit products, at AVX-512 and above. */
static quant_few_function *const few_vnni[MATRIX_TYPE_COUNT] = {
    [MATRIX_Q8_0] = q8_0_few_vnni, [MATRIX_Q4_0] = q4_0_few_vnni, [MATRIX_Q4_1] = q4_1_few_vnni,
    [MATRIX_Q5_0] = q5_0_few_vnni, [MATRIX_Q5_1] = q5_1_few_vnni, [MATRIX_Q4_K] = q4_k_few_vnni,
    [MATRIX_Q5_K] = q5_k_few_vnni, [MATRIX_Q6_K] = q6_k_few_vnni,
};

static quant_round_function *const rounds[ISA_COUNT] = {quant_round_generic, quant_round_avx2,
                                                        quant_round_avx512, quant_round_avx512,
                                                        quant_round_avx512};

static enum isa level(void) {
    enum isa isa;
    isa_chosen(&isa);
    return isa;
}

static int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Columns of all blocks that a matrix touches. */
static int64_t columns_held(const struct matrix *m) {
    int64_t block = quant_type(m->type)->block;
    return (m->lead + m->cols + block - 1) / block * block;
}

static int64_t group_bytes(const struct matrix *m) {
    const struct quant_type *type = quant_type(m->type);
    return columns_held(m) / type->block * type->tile_bytes;
}

bool quant_store(enum matrix_type type, int64_t first, int64_t rows, int64_t cols, const float *x,
                 void *data) {
    const struct quant_type *quant = quant_type(type);
    int64_t blocks = cols / quant->block, row_bytes = blocks * quant->block_bytes;
    int64_t groups = (rows + QUANT_ROWS - 1) / QUANT_ROWS;
    unsigned char *tiles = (unsigned char *)data + matrix_bytes(type, first, cols);
    bool good = true;
#pragma omp parallel reduction(&& : good)
    {
        unsigned char *row = malloc((size_t)(QUANT_ROWS * row_bytes + 1));
        good = row != NULL;
#pragma omp for schedule(static)
        for (int64_t g = 0; g < groups; g++) {
            int64_t r = g * QUANT_ROWS, n = min_of(rows - r, QUANT_ROWS);
            if (!row)
                continue;
            quant->quantise(n * blocks, x + r * cols, row);
            quant->pack(n, blocks, row, tiles + g * blocks * quant->tile_bytes);
        }
        free(row);
    }
    return good;
}

void quant_place(enum matrix_type type, int64_t first, int64_t rows, int64_t blocks,
                 const unsigned char *from, void *data) {
    const struct quant_type *quant = quant_type(type);
    int64_t row_bytes = blocks * quant->block_bytes, groups = (rows + QUANT_ROWS - 1) / QUANT_ROWS;
    unsigned char *tiles = (unsigned char *)data + first / QUANT_ROWS * blocks * quant->tile_bytes;
#pragma omp parallel for schedule(static) if (groups > 1)
    for (int64_t g = 0; g < groups; g++)
        quant->pack(min_of(rows - g * QUANT_ROWS, QUANT_ROWS), blocks,
                    from + g * QUANT_ROWS * row_bytes, tiles + g * blocks * quant->tile_bytes);
}

/* One group of rows to out [QUANT_ROWS, cols]: whole tiles in their place, those that a slice cuts
 * through a buffer of one. Inlined for each type of element. */
#define WIDEN_GROUP(element)                                                                       \
    int64_t block = quant_type(m->type)->block, tile_bytes = quant_type(m->type)->tile_bytes;      \
    int64_t cols = m->cols, at = -m->lead;                                                         \
    element part[QUANT_ROWS * QUANT_BLOCK_MOST];                                                   \
    while (at < cols) {                                                                            \
        int64_t whole = at < 0 ? 0 : (cols - at) / block;                                          \
        if (whole) {                                                                               \
            widen(whole, tiles, cols, out + at);                                                   \
        } else {                                                                                   \
            int64_t from = at < 0 ? -at : 0, end = min_of(cols - at, block);                       \
            whole = 1;                                                                             \
            widen(1, tiles, block, part);                                                          \
            for (int64_t r = 0; r < QUANT_ROWS; r++)                                               \
                memcpy(out + r * cols + at + from, part + r * block + from,                        \
                       (size_t)(end - from) * sizeof *out);                                        \
        }                                                                                          \
        tiles += whole * tile_bytes;                                                               \
        at += whole * block;                                                                       \
    }

/* Values of a block at most. */
#define QUANT_BLOCK_MOST 256

static void group_f32(const struct matrix *m, const unsigned char *tiles,
                      quant_widen_f32_function *widen, float *out) {
    WIDEN_GROUP(float)
}

static void group_bf16(const struct matrix *m, const unsigned char *tiles,
                       quant_widen_bf16_function *widen, uint16_t *out) {
    WIDEN_GROUP(uint16_t)
}

void quant_widen_f32(const struct matrix *m, int64_t first, int64_t rows, float *out) {
    quant_widen_f32_function *widen = kernels[m->type][level()].widen_f32;
    int64_t groups = (rows + QUANT_ROWS - 1) / QUANT_ROWS, bytes = group_bytes(m);
    const unsigned char *tiles = (const unsigned char *)m->data + first / QUANT_ROWS * bytes;
#pragma omp parallel for schedule(static) if (groups > 1)
    for (int64_t g = 0; g < groups; g++)
        group_f32(m, tiles + g * bytes, widen, out + g * QUANT_ROWS * m->cols);
}

void quant_widen_bf16(const struct matrix *m, int64_t first, int64_t rows, uint16_t *out) {
    quant_widen_bf16_function *widen = kernels[m->type][level()].widen_bf16;
    int64_t groups = (rows + QUANT_ROWS - 1) / QUANT_ROWS, bytes = group_bytes(m);
    const unsigned char *tiles = (const unsigned char *)m->data + first / QUANT_ROWS * bytes;
#pragma omp parallel for schedule(static) if (groups > 1)
    for (int64_t g = 0; g < groups; g++)
        group_bf16(m, tiles + g * bytes, widen, out + g * QUANT_ROWS * m->cols);
}

void quant_row(const struct matrix *m, int64_t row, float *out) {
    const struct quant_type *type = quant_type(m->type);
    const unsigned char *tiles = (const unsigned char *)m->data + row / QUANT_ROWS * group_bytes(m);
    float part[QUANT_ROWS * QUANT_BLOCK_MOST];
    for (int64_t at = -m->lead; at < m->cols; at += type->block, tiles += type->tile_bytes) {
        int64_t from = at < 0 ? -at : 0, end = min_of(m->cols - at, type->block);
        kernels[m->type][level()].widen_f32(1, tiles, type->block, part);
        memcpy(out + at + from, part + row % QUANT_ROWS * type->block + from,
               (size_t)(end - from) * sizeof *out);
    }
}

/* Blocks of 32 from the first one that a slice touches to the last whole one are rounded where they
 * lie; those it cuts go through a buffer with zeros around. */
static void round_token(const struct matrix *m, int64_t blocks, const float *x, int8_t *planes,
                        float *scales, int32_t *sums) {
    quant_round_function *round = rounds[level()];
    for (int64_t b = 0; b < blocks;) {
        int64_t at = b * 32 - m->lead, whole = at < 0 ? 0 : (m->cols - at) / 32, n = 1;
        if (at >= 0 && whole > 0) {
            n = whole;
            round(n, x + at, planes + b * 64, scales + b, sums + 2 * b);
        } else {
            float part[32] = {0};
            int64_t from = at < 0 ? -at : 0, end = min_of(m->cols - at, 32);
            if (end > from)
                memcpy(part + from, x + at + from, (size_t)(end - from) * sizeof *x);
            round(1, part, planes + b * 64, scales + b, sums + 2 * b);
        }
        b += n;
    }
}

struct quant_input quant_input_make(const struct matrix *m, int64_t T, const float *x, void *room) {
    int64_t blocks = columns_held(m) / 32;
    int8_t *planes = room;
    float *scales = (float *)(void *)(planes + T * blocks * 64);
    int32_t *sums = (int32_t *)(void *)(scales + T * blocks);
#pragma omp parallel for schedule(static) if (T > 1)
    for (int64_t t = 0; t < T; t++)
        round_token(m, blocks, x + t * m->cols, planes + t * blocks * 64, scales + t * blocks,
                    sums + 2 * t * blocks);
    return (struct quant_input){T, blocks, planes, scales, sums};
}

static bool has_vnni(void) {
    return level() >= ISA_AVX512 && cpu_has_vnni();
}

int64_t quant_few_tokens(void) {
    return has_vnni() ? QUANT_FEW : QUANT_PASS;
}

/* Tokens [t, t + n) of an input. */
static struct quant_input input_part(const struct quant_input *in, int64_t t, int64_t n) {
    int64_t first = t * in->blocks;
    return (struct quant_input){n, in->blocks, in->planes + first * 64, in->scales + first,
                                in->sums + 2 * first};
}

/* Where there are more tokens than a kernel takes, group by group, so that the blocks are read from
 * memory once. */
void quant_few(const struct quant_input *in, const struct matrix *m, int64_t first, int64_t rows,
               float *y) {
    quant_few_function *few = has_vnni() ? few_vnni[m->type] : kernels[m->type][level()].few;
    int64_t group = first / QUANT_ROWS, end = group + (rows + QUANT_ROWS - 1) / QUANT_ROWS;
    int64_t step = in->T <= QUANT_PASS ? end - group : 1;
    for (; group < end; group += step)
        for (int64_t t = 0; t < in->T; t += QUANT_PASS) {
            struct quant_input pass = input_part(in, t, min_of(in->T - t, QUANT_PASS));
            few(&pass, m, group, group + step, y + t * m->rows);
        }
}
