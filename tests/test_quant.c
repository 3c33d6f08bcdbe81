/* Matrices in blocks: quantised as the `gguf` package does it, and every instruction level's
 * kernels against plain sums, wherever a slice cuts a block. */
#include "kernels/cpu.h"
#include "kernels/gemm.h"
#include "kernels/half.h"
#include "kernels/quant_level.h"
#include "tests/testing.h"

#include <math.h>
#include <omp.h>

/* Those that are quantised here come first, the others are only read from files. */
static const enum matrix_type types[] = {MATRIX_Q8_0, MATRIX_Q4_0, MATRIX_Q4_1, MATRIX_Q5_0,
                                         MATRIX_Q5_1, MATRIX_Q4_K, MATRIX_Q5_K, MATRIX_Q6_K};
enum { TYPES = sizeof types / sizeof *types, QUANTISED_TYPES = 2 };

/* Takes a level; false, and said so, where this machine lacks it. */
static bool take_level(enum isa isa) {
    setenv("QUIRE_ISA", isa_name(isa), 1);
    enum isa chosen;
    if (isa_chosen(&chosen) && chosen == isa)
        return true;
    printf("SKIP: matrices in blocks at %s (found %s)\n", isa_name(isa), isa_name(isa_available()));
    return false;
}

static uint64_t random_state = 1;

static float fraction(void) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)(int64_t)(z ^ z >> 31) * 0x1p-63f;
}

/* A file of tests/fixtures/quant, whole. */
static void *vectors(const char *name, const char *ending, size_t bytes) {
    size_t len;
    char *data = file_load(fixture(path_of("fixtures/quant/%s.%s", name, ending).text).text, &len);
    ck_assert_uint_eq(len, bytes);
    return data;
}

enum { FIXTURE_BLOCKS = 40, FIXTURE_VALUES = FIXTURE_BLOCKS * 32 };

START_TEST(formats_are_those_of_gguf) {
    const struct quant_type *type = quant_type(types[_i]);
    float *values = vectors("values", "f32", FIXTURE_VALUES * sizeof(float));
    size_t bytes = (size_t)(FIXTURE_BLOCKS * type->block_bytes);
    unsigned char *blocks = vectors(type->name, "blocks", bytes), *got = malloc(bytes);
    type->quantise(FIXTURE_BLOCKS, values, got);
    for (size_t i = 0; i < bytes; i++)
        ck_assert_msg(got[i] == blocks[i], "%s, block %d, byte %d: %d, expected %d", type->name,
                      (int)(i / (size_t)type->block_bytes), (int)(i % (size_t)type->block_bytes),
                      got[i], blocks[i]);
    free(values);
    free(blocks);
    free(got);
}
END_TEST

/* The fixture's blocks as a matrix of 5 rows of 256 values. */
START_TEST(values_are_those_of_gguf) {
    const struct quant_type *type = quant_type(types[_i]);
    int64_t blocks = 256 / type->block;
    float *want = vectors(type->name, "f32", FIXTURE_VALUES * sizeof(float));
    unsigned char *from = vectors(type->name, "blocks", (size_t)(5 * blocks * type->block_bytes));
    struct matrix m = {types[_i], 5, 256, NULL, 0};
    void *data = aligned_alloc(64, (size_t)(matrix_bytes(m.type, 5, 256) + 63) / 64 * 64);
    quant_place(m.type, 0, 5, blocks, from, data);
    m.data = data;
    for (int64_t r = 0; r < 5; r++) {
        float row[256];
        matrix_row(&m, r, row);
        for (int k = 0; k < 256; k++)
            ck_assert_msg(row[k] == want[r * 256 + k] || isnan(want[r * 256 + k]),
                          "%s, %d, %d: %g, expected %g", type->name, (int)r, k, (double)row[k],
                          (double)want[r * 256 + k]);
    }
    free(data);
    free(from);
    free(want);
}
END_TEST

START_TEST(halves_are_rounded) {
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float below = f16_to_f32((uint16_t)h), above = f16_to_f32((uint16_t)(h + 1));
        if (h == 0x7bff)
            above = 65536;
        float middle = (below + above) / 2;
        REQUIRE(f16_from_f32(below) == h && f16_from_f32(-below) == (h | 0x8000));
        REQUIRE(f16_from_f32(middle) == (h % 2 ? h + 1 : h));
        REQUIRE(f16_from_f32(nextafterf(middle, INFINITY)) == h + 1);
        REQUIRE(f16_from_f32(nextafterf(middle, 0)) == h);
    }
    REQUIRE(f16_from_f32(INFINITY) == 0x7c00 && f16_from_f32(-1e30f) == 0xfc00);
    REQUIRE(isnan(f16_to_f32(f16_from_f32(NAN))));
}
END_TEST

/* A matrix of random weights of [rows, held], of which it is the columns from `lead` on, and the
 * same as f32, whole. */
struct weights {
    struct matrix m;
    void *data;
    float *values; /* [rows, cols] of the slice, as the blocks have them */
};

/* Random blocks of a type that is only read: any bytes, but scales of a sensible size. */
static unsigned char *random_blocks(const struct quant_type *type, int64_t count) {
    unsigned char *blocks = malloc((size_t)(count * type->block_bytes + 1));
    bool at_end = strcmp(type->name, "q6_k") == 0, one = at_end || strcmp(type->name, "q5_0") == 0;
    float large = type->block > 32 ? 0.001f : 0.01f;
    for (int64_t i = 0; i < count * type->block_bytes; i++)
        blocks[i] = (unsigned char)((fraction() + 1) * 127.9f);
    for (int64_t b = 0; b < count; b++) {
        unsigned char *at = blocks + b * type->block_bytes + (at_end ? type->block_bytes - 2 : 0);
        for (int i = 0; i < (one ? 1 : 2); i++) {
            uint16_t half = f16_from_f32(large * (i + 1) * (fraction() + 1.5f));
            memcpy(at + 2 * i, &half, sizeof half);
        }
    }
    return blocks;
}

/* Fills w->data for columns [0, held) with random weights. */
static void weights_fill(struct weights *w, int64_t held) {
    const struct quant_type *type = quant_type(w->m.type);
    int64_t rows = w->m.rows, n = rows * held;
    if (!type->quantise) {
        unsigned char *blocks = random_blocks(type, n / type->block);
        quant_place(w->m.type, 0, rows, held / type->block, blocks, w->data);
        free(blocks);
        return;
    }
    float *all = malloc((size_t)(n + 1) * sizeof *all);
    for (int64_t i = 0; i < n; i++)
        all[i] = fraction() * (i % 97 ? 0.05f : 3);
    REQUIRE(quant_store(w->m.type, 0, rows, held, all, w->data));
    free(all);
}

static struct weights weights_new(enum matrix_type type, int64_t rows, int64_t cols, int64_t lead) {
    int64_t block = matrix_block(type);
    lead %= block;
    int64_t held = (lead + cols + block - 1) / block * block;
    struct weights w = {.m = {type, rows, cols, NULL, lead}};
    w.data = aligned_alloc(64, (size_t)(matrix_bytes(type, rows, held) + 64) / 64 * 64);
    weights_fill(&w, held);
    w.m.data = w.data;
    /* The plain kernels are the reference, the files of the fixture theirs. */
    setenv("QUIRE_ISA", "generic", 1);
    w.values = malloc((size_t)(rows * cols + 1) * sizeof *w.values);
    for (int64_t r = 0; r < rows; r++)
        matrix_row(&w.m, r, w.values + r * cols);
    return w;
}

static void weights_free(struct weights *w) {
    free(w->data);
    free(w->values);
}

static const struct {
    int64_t rows, cols, lead;
} sizes[] = {{1, 32, 0}, {16, 64, 0},   {15, 96, 0},   {17, 32, 0},   {33, 256, 0},
             {5, 1, 0},  {5, 1, 31},    {20, 31, 1},   {20, 33, 31},  {48, 70, 13},
             {7, 20, 5}, {16, 2048, 0}, {100, 700, 3}, {18, 512, 200}};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* Widened rows are the blocks' values exactly, or those rounded to bf16, from any group on. */
static void check_widened(enum matrix_type type, enum isa isa) {
    for (int i = 0; i < SIZES; i++) {
        struct weights w = weights_new(type, sizes[i].rows, sizes[i].cols, sizes[i].lead);
        int64_t cols = w.m.cols, room = (w.m.rows + QUANT_ROWS) * cols + 1;
        float *wide = malloc((size_t)room * sizeof *wide);
        uint16_t *half = malloc((size_t)room * sizeof *half);
        take_level(isa);
        for (int64_t first = 0; first < w.m.rows; first += QUANT_ROWS) {
            int64_t rows = w.m.rows - first;
            quant_widen_f32(&w.m, first, rows, wide);
            quant_widen_bf16(&w.m, first, rows, half);
            for (int64_t k = 0; k < rows * cols; k++) {
                float want = w.values[first * cols + k];
                if (wide[k] != want || half[k] != bf16_from_f32(want))
                    ck_abort_msg("%s, %s, sizes %d, from row %d, %d: %g, expected %g",
                                 matrix_type_name(type), isa_name(isa), i, (int)first, (int)k,
                                 (double)wide[k], (double)want);
            }
        }
        for (int64_t r = 0; r < w.m.rows; r++) {
            matrix_row(&w.m, r, wide);
            REQUIRE(memcmp(wide, w.values + r * cols, (size_t)cols * sizeof *wide) == 0);
        }
        free(wide);
        free(half);
        weights_free(&w);
    }
}

START_TEST(widened_rows) {
    for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++)
        if (take_level(isa))
            for (int t = 0; t < TYPES; t++)
                check_widened(types[t], isa);
}
END_TEST

/* Every level makes the same numbers of the activations, bit for bit, each within half a unit of
 * the block's largest / 32512. */
START_TEST(activations_are_rounded) {
    enum { BLOCKS = 9 };
    float x[BLOCKS * 32], scales[2][BLOCKS];
    int8_t planes[2][BLOCKS * 64];
    int32_t sums[2][2 * BLOCKS];
    for (int i = 0; i < BLOCKS * 32; i++)
        x[i] = fraction() * (i < 64 ? 1 : i < 128 ? 1e-6f : i < 160 ? 1e20f : 1e-34f);
    x[5 * 32] = 1;
    memset(x + 6 * 32, 0, 32 * sizeof *x);
    x[7 * 32 + 3] = NAN;
    x[8 * 32 + 30] = -INFINITY;
    quant_round_generic(BLOCKS, x, planes[0], scales[0], sums[0]);
    for (int i = 0; i < 7 * 32; i++) {
        int b = i / 32, at = b * 64 + i % 32;
        double got = scales[0][b] * (255.0 * planes[0][at] + planes[0][at + 32]);
        REQUIRE(fabs(got - x[i]) <= 0.5001 * scales[0][b] + 1e-30);
        REQUIRE(planes[0][at] >= -127 && planes[0][at + 32] >= -127);
    }
    REQUIRE(isnan(scales[0][7]) && !isfinite(scales[0][8]));
    static quant_round_function *const rounds[] = {
        [ISA_AVX2] = quant_round_avx2, [ISA_AVX512] = quant_round_avx512};
    for (enum isa isa = ISA_AVX2; isa <= ISA_AVX512; isa++) {
        if (!take_level(isa))
            continue;
        rounds[isa](BLOCKS, x, planes[1], scales[1], sums[1]);
        ck_assert_int_eq(memcmp(planes[0], planes[1], sizeof planes[0]), 0);
        ck_assert_int_eq(memcmp(scales[0], scales[1], 7 * sizeof(float)), 0);
        ck_assert_int_eq(memcmp(sums[0], sums[1], sizeof sums[0]), 0);
        REQUIRE(isnan(scales[1][7]) && !isfinite(scales[1][8]));
    }
}
END_TEST

/* What a product may be off: activations are rounded by `step` of the largest near them, sums by
 * 2^-24 for each block. */
static void check_product(const struct weights *w, int64_t T, const float *x, double step,
                          const float *y, const char *what) {
    int64_t cols = w->m.cols;
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < w->m.rows; n++) {
            double sum = 0, size = 0, weight = 0, largest = 0;
            for (int64_t k = 0; k < cols; k++) {
                double value = w->values[n * cols + k], one = x[t * cols + k];
                sum += value * one;
                size += fabs(value * one);
                weight += fabs(value);
                largest = fmax(largest, fabs(one));
            }
            double got = y[t * w->m.rows + n];
            double bound = step * largest * weight + (double)cols * 0x1p-24 * size + 1e-30;
            if (!(fabs(got - sum) <= bound))
                ck_abort_msg("%s, %s, T %d, [%d, %d] + %d at %d, %d: %g, expected %g", what,
                             matrix_type_name(w->m.type), (int)T, (int)w->m.rows, (int)cols,
                             (int)w->m.lead, (int)t, (int)n, got, sum);
        }
    REQUIRE(y[T * w->m.rows] == 0.5f);
}

static float *activations(int64_t n) {
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = fraction() * (i % 53 ? 1 : 20);
    return x;
}

/* Products through gemm.h with T tokens, computing in f32 or bf16. */
static void check_gemm(const struct weights *w, enum compute compute, int64_t T, const char *what) {
    int64_t K = w->m.cols;
    float *x = activations(T * K), *y = malloc((size_t)(T * w->m.rows + 1) * sizeof *y);
    void *room = aligned_alloc(64, (size_t)gemm_scratch_bytes(compute, true, T, K));
    struct gemm_scratch scratch = gemm_scratch_slice(compute, true, T, K, room);
    y[T * w->m.rows] = 0.5f;
    for (int threads = 1; threads <= 3; threads += 2) {
        omp_set_num_threads(threads);
        struct gemm_input in = gemm_prepare(&scratch, T, K, x);
        gemm_xwt(&in, &w->m, y);
        gemm_xwt(&in, &w->m, y); /* the same input again */
        check_product(w, T, x,
                      T <= QUANT_FEW           ? 0x1p-15
                      : compute == COMPUTE_F32 ? 0
                                               : 0x1p-7,
                      y, what);
    }
    free(x);
    free(y);
    free(room);
}

START_TEST(products) {
    for (int t = 0; t < TYPES; t++)
        for (int i = 0; i < SIZES; i++) {
            struct weights w = weights_new(types[t], sizes[i].rows, sizes[i].cols, sizes[i].lead);
            if (take_level((enum isa)_i)) {
                for (int64_t T = 1; T <= 10; T += t < QUANTISED_TYPES ? 1 : 3)
                    check_gemm(&w, COMPUTE_F32, T, isa_name((enum isa)_i));
                check_gemm(&w, COMPUTE_F32, 31, isa_name((enum isa)_i));
                check_gemm(&w, COMPUTE_F32, 70, isa_name((enum isa)_i));
            }
            if (_i >= ISA_AVX512_BF16 && take_level((enum isa)_i))
                for (int64_t T = 2; T <= 50; T += 16)
                    check_gemm(&w, COMPUTE_BF16, T, isa_name((enum isa)_i));
            weights_free(&w);
            if (!take_level((enum isa)_i))
                return;
        }
}
END_TEST

/* More rows than a panel holds, the last panel's last group not full. */
START_TEST(panels) {
    struct weights w = weights_new(MATRIX_Q4_0, 2060, 2048, 0);
    take_level(isa_available());
    check_gemm(&w, COMPUTE_F32, 40, "panels");
    if (isa_available() >= ISA_AVX512_BF16)
        check_gemm(&w, COMPUTE_BF16, 40, "panels");
    weights_free(&w);
}
END_TEST

/* Levels differ by the rounding of f32 sums alone: the products within a block are whole numbers.
 * Where a slice cuts a block does not matter beyond the activations' rounding. (What a minimum
 * takes away is of the size of the rest: the difference has some of its rounding.) */
START_TEST(levels_agree) {
    for (int t = 0; t < TYPES; t++) {
        struct weights w = weights_new(types[t], 100, 700, 3);
        float *x = activations(8 * 700), *y[ISA_COUNT] = {NULL};
        void *room =
            aligned_alloc(64, (size_t)quant_input_bytes(8, quant_input_blocks(700)) / 64 * 64 + 64);
        for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++) {
            if (!take_level(isa))
                continue;
            y[isa] = malloc(800 * sizeof(float));
            struct quant_input in = quant_input_make(&w.m, 8, x, room);
            quant_few(&in, &w.m, 0, w.m.rows, y[isa]);
            for (int i = 0; i < 800; i++)
                ck_assert_msg(fabsf(y[isa][i] - y[0][i]) <= 1e-5f * (1 + fabsf(y[0][i])),
                              "%s at %s: %g, expected %g", matrix_type_name(types[t]),
                              isa_name(isa), (double)y[isa][i], (double)y[0][i]);
        }
        for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++)
            free(y[isa]);
        free(x);
        free(room);
        weights_free(&w);
    }
}
END_TEST

/* The most extreme whole numbers a file may hold, against activations of one size: nothing
 * overflows on the way. */
START_TEST(extremes_do_not_overflow) {
    if (!take_level((enum isa)_i))
        return;
    static const signed char extremes[] = {-128, -127, 127};
    for (int e = 0; e < 3; e++)
        for (int sign = 0; sign < 2; sign++) {
            unsigned char rows[34 * 16], tile[544];
            float x[32], y[16];
            int8_t room[4096] __attribute__((aligned(64)));
            for (int r = 0; r < 16; r++) {
                memcpy(rows + 34 * r, (uint16_t[]){0x3c00}, 2); /* 1 */
                memset(rows + 34 * r + 2, extremes[e], 32);
            }
            quant_type(MATRIX_Q8_0)->pack(16, 1, rows, tile);
            struct matrix m = {MATRIX_Q8_0, 16, 32, tile, 0};
            for (int k = 0; k < 32; k++)
                x[k] = sign ? -1 : 1;
            struct quant_input in = quant_input_make(&m, 1, x, room);
            quant_few(&in, &m, 0, m.rows, y);
            for (int r = 0; r < 16; r++)
                ck_assert_float_eq_tol(y[r], (float)extremes[e] * 32 * x[0], 1e-2f);
        }
}
END_TEST

/* A weight or an activation that is not finite is not hidden by a block. */
START_TEST(not_finite_stays) {
    if (!take_level((enum isa)_i))
        return;
    for (int t = 0; t < QUANTISED_TYPES; t++)
        for (int bad = 0; bad < 4; bad++) {
            float values[64], x[64], y[2];
            void *data = aligned_alloc(64, 2048);
            int8_t room[4096] __attribute__((aligned(64)));
            for (int k = 0; k < 64; k++)
                values[k] = x[k] = 0.25f;
            float spoiled = bad % 2 ? INFINITY : NAN;
            (bad < 2 ? values : x)[37] = spoiled;
            struct matrix m = {types[t], 2, 32, data, 0};
            REQUIRE(quant_store(m.type, 0, 2, 32, values, data));
            struct quant_input in = quant_input_make(&m, 1, bad < 2 ? x : x + 32, room);
            quant_few(&in, &m, 0, m.rows, y);
            REQUIRE(isfinite(y[0]) == (bad < 2) && !isfinite(y[1]));
            if (bad < 2) {
                float row[32];
                matrix_row(&m, 1, row);
                REQUIRE(!isfinite(row[5]));
            }
            free(data);
        }
}
END_TEST

int main(void) {
    gemm_init();
    Suite *suite = suite_create("quant");
    TCase *cases = tcase_create("quant");
    tcase_add_loop_test(cases, formats_are_those_of_gguf, 0, QUANTISED_TYPES);
    tcase_add_loop_test(cases, values_are_those_of_gguf, 0, TYPES);
    tcase_add_test(cases, halves_are_rounded);
    tcase_add_test(cases, widened_rows);
    tcase_add_test(cases, activations_are_rounded);
    tcase_add_loop_test(cases, products, 0, ISA_COUNT);
    tcase_add_test(cases, panels);
    tcase_add_test(cases, levels_agree);
    tcase_add_loop_test(cases, extremes_do_not_overflow, 0, ISA_COUNT);
    tcase_add_loop_test(cases, not_finite_stays, 0, ISA_COUNT);
    tcase_set_timeout(cases, 60);
    suite_add_tcase(suite, cases);
    int result = suite_run(suite);
    gemm_close();
    return result;
}
