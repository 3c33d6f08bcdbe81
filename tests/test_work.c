/* Operations and bytes against sums by hand; the shapes with names; random weights. */
#include "partition/shape_named.h"
#include "partition/weights.h"
#include "partition/work.h"
#include "tests/testing.h"
#include <math.h>

/* Layers of 1024 (q) + 512 (k) + 512 (v) + 1024 (o) + 3 * 1024 (FFN) = 6144 weights; tables of
 * 1024. */
static const struct shape tiny = {.layers = 2,
                                  .hidden = 32,
                                  .heads = 2,
                                  .kv_heads = 1,
                                  .head_dim = 16,
                                  .ffn = 32,
                                  .vocab = 32,
                                  .context = 100};
static const struct scheme plain = {ZONE_ALL_NEAR, 0, 1}, grouped = {ZONE_GROUPED, 2, 4},
                           masked = {ZONE_MASKED, 2, 1};

START_TEST(pairs) {
    ck_assert_double_eq(work_pairs(&plain, 0, 0), 0);
    ck_assert_double_eq(work_pairs(&plain, 0, 3), 1 + 2 + 3);
    ck_assert_double_eq(work_pairs(&plain, 5, 2), 6 + 7);
    ck_assert_double_eq(work_pairs(&grouped, 0, 3), 1 + 2 + 3);
    ck_assert_double_eq(work_pairs(&masked, 0, 1), 1);
    ck_assert_double_eq(work_pairs(&masked, 0, 3), 1 + 2 + 2);
    ck_assert_double_eq(work_pairs(&masked, 1, 3), 2 + 2 + 2);
    ck_assert_double_eq(work_pairs(&masked, 7, 2), 2 + 2);
    ck_assert_double_eq(work_pairs(&plain, 0, 1 << 20), 549756338176.0);
}
END_TEST

START_TEST(prefill) {
    /* Layers 2 * 12288 for each token, the head 2 * 1024 once; 4 * 32 * 2 for each pair. */
    double products = 2 * (12288 * 3 + 1024);
    ck_assert_double_eq(work_prefill(&tiny, &plain, 3), products + 256 * 6);
    ck_assert_double_eq(work_prefill(&tiny, &grouped, 3), products + 256 * 6);
    ck_assert_double_eq(work_prefill(&tiny, &masked, 3), products + 256 * 5);
    struct shape tied = tiny;
    tied.tied = true;
    ck_assert_double_eq(work_prefill(&tied, &plain, 3), products + 256 * 6);
}
END_TEST

START_TEST(decode) {
    struct plan_request request = {.capacity = 16,
                                   .chunk = 4,
                                   .block = 16,
                                   .kv_bytes = 2,
                                   .wire_bytes = 4,
                                   .weights = {.plain_bytes = 2},
                                   .threads = 1,
                                   .scheme = plain};
    /* Matrices and the head in bf16, norms of 5 * 32 in f32; a pair 2 * 16 numbers in 2 layers. */
    double weights = 2 * (12288 + 1024) + 4 * 160;
    ck_assert_double_eq(work_decode(&tiny, &request, 0, 1), weights + 128);
    ck_assert_double_eq(work_decode(&tiny, &request, 5, 2), 2 * weights + 128 * (6 + 7));
    struct shape tied = tiny;
    tied.tied = true;
    ck_assert_double_eq(work_decode(&tied, &request, 0, 1), weights + 128);
    request.weights.plain_bytes = request.kv_bytes = 4;
    request.scheme = masked;
    weights = 4 * (12288 + 1024) + 4 * 160;
    ck_assert_double_eq(work_decode(&tiny, &request, 5, 2), 2 * weights + 256 * (2 + 2));
    /* Blocks of 32 values in 34 bytes; k and v of each layer, 544 bytes, fill whole lines of 64. */
    request.weights = (struct weight_format){2, {32, 34}, 16, NULL};
    request.scheme = plain;
    weights = 34 * (12288 + 1024) / 32 + 4 * 160 + 4 * (576 - 544);
    ck_assert_double_eq(work_decode(&tiny, &request, 0, 1), weights + 256);
    /* 16 whole numbers and a scale for each key and value, in 2 layers. */
    request.kv_bytes = 1;
    request.kv_scale_bytes = 2;
    ck_assert_double_eq(work_decode(&tiny, &request, 0, 1), weights + 2 * 2 * 18);
}
END_TEST

/* Parameters as the models' publishers count them. */
START_TEST(named_shapes) {
    static const struct {
        const char *name;
        int64_t parameters;
    } models[] = {{"tinyllama-1.1b", 1100048384}, {"llama-2-7b", 6738415616},
                  {"mistral-7b", 7241732096},     {"solar-10.7b", 10731524096},
                  {"phi-2", 2779683840},          {"llama-3.1-8b", 8030261248}};
    struct shape shape;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        ck_assert(shape_has_name(models[i].name));
        REQUIRE(shape_named(models[i].name, &shape) == STATUS_OK);
        ck_assert_int_eq(shape_parameters(&shape), models[i].parameters);
        ck_assert_ptr_nonnull(strstr(shape_names, models[i].name));
    }
    ck_assert(!shape_has_name("phi-"));
    ck_assert_int_eq(shape_named("phi-", &shape), STATUS_USAGE);
}
END_TEST

static float wide(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &word, sizeof f);
    return f;
}

/* Every slice has the same numbers as the whole, in f32 and bf16. */
START_TEST(random_slices) {
    enum { ROWS = 13, COLS = 19, HIDDEN = 48 };
    struct range rows = {0, ROWS}, cols = {0, COLS};
    float whole[ROWS * COLS], slice[ROWS * COLS];
    uint16_t halves[ROWS * COLS];
    struct weights *weights;
    REQUIRE(weights_open_random("name", HIDDEN, &weights) == STATUS_OK);
    REQUIRE(weights_check(weights, "a.weight", ROWS, COLS) == STATUS_OK);
    ck_assert(weights_has(weights, "a.weight"));
    ck_assert_str_eq(weights_dtype(weights, "a.weight"), "BF16");
    REQUIRE(weights_read(weights, "a.weight", rows, cols, whole) == STATUS_OK);
    REQUIRE(weights_read_bf16(weights, "a.weight", rows, cols, halves) == STATUS_OK);
    for (int i = 0; i < ROWS * COLS; i++)
        ck_assert_float_eq(whole[i], wide(halves[i]));
    for (int64_t first = 0; first < ROWS; first += 3)
        for (int64_t left = 0; left < COLS; left += 5) {
            struct range r = range_intersect(rows, (struct range){first, 4});
            struct range c = range_intersect(cols, (struct range){left, 7});
            REQUIRE(weights_read(weights, "a.weight", r, c, slice) == STATUS_OK);
            for (int64_t i = 0; i < r.count * c.count; i++)
                ck_assert_float_eq(slice[i],
                                   whole[(r.first + i / c.count) * COLS + c.first + i % c.count]);
        }
    REQUIRE(weights_read(weights, "b.weight", rows, cols, slice) == STATUS_OK);
    ck_assert_int_ne(memcmp(slice, whole, sizeof whole), 0);
    ck_assert_int_eq(weights_bytes_read(weights), 0);
    weights_close(&weights);
}
END_TEST

/* Mean 0 and variance 1/hidden; norms near 1, biases near 0. */
START_TEST(random_sizes) {
    enum { ROWS = 256, COLS = 512, HIDDEN = 512 };
    struct range rows = {0, ROWS}, cols = {0, COLS}, none = {0, 0};
    float *x = malloc((size_t)ROWS * COLS * sizeof *x);
    struct weights *weights;
    REQUIRE(x && weights_open_random("name", HIDDEN, &weights) == STATUS_OK);
    REQUIRE(weights_read(weights, "a.weight", rows, cols, x) == STATUS_OK);
    double sum = 0, squares = 0;
    for (int i = 0; i < ROWS * COLS; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    ck_assert_double_le(fabs(sum / (ROWS * COLS)), 1e-3);
    ck_assert_double_eq_tol(squares / (ROWS * COLS) * HIDDEN, 1, 0.02);
    REQUIRE(weights_read(weights, "norm.weight", rows, none, x) == STATUS_OK);
    for (int i = 0; i < ROWS; i++)
        ck_assert_float_eq_tol(x[i], 1, 0.11f);
    REQUIRE(weights_read(weights, "q.bias", rows, none, x) == STATUS_OK);
    for (int i = 0; i < ROWS; i++)
        ck_assert_float_eq_tol(x[i], 0, 0.11f);
    free(x);
    weights_close(&weights);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("work");
    suite_add(suite, "work", (const TTest *const[]){pairs, prefill, decode, NULL});
    suite_add(suite, "without files",
              (const TTest *const[]){named_shapes, random_slices, random_sizes, NULL});
    return suite_run(suite);
}
