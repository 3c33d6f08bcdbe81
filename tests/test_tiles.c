/* The software model of the tiles against the architecture's description: exact products, the order
 * of the sums, denormals, sizes, faults. Where the processor has tiles, they are held to the same.
 */
#include "kernels/cpu.h"
#include "kernels/half.h"
#include "tests/testing.h"
#include "tests/tile_model.h"
#include "tests/tile_product.h"
#include "tests/tile_trap.h"

#include <math.h>

static tile_product_function *const products[] = {tile_product_model, tile_product_machine};

enum { PRODUCTS = sizeof products / sizeof *products };

/* Sizes for c [m, n] += a [m, k pairs] b [k pairs, n]. */
static struct tile_config config_of(int m, int n, int k) {
    return (struct tile_config){
        .palette = 1,
        .row_bytes = {(uint16_t)(4 * n), (uint16_t)(4 * k), (uint16_t)(4 * n)},
        .rows = {(uint8_t)m, (uint8_t)m, (uint8_t)k}};
}

static int small_integer(int seed) {
    return (int)((uint32_t)seed * 2654435761u >> 16) % 17 - 8;
}

/* Integers whose sums f32 holds exactly: every size, and nothing written beyond c. Rows stand
 * further apart than they are long. */
static void check_sizes(tile_product_function *product, int m, int n, int k) {
    enum { STRIDE = 48 };
    uint16_t a[16][STRIDE], b[16][STRIDE];
    float c[16][STRIDE], expected[16][STRIDE];
    for (int r = 0; r < 16; r++)
        for (int i = 0; i < STRIDE; i++) {
            a[r][i] = bf16_from_f32((float)small_integer(r * 100 + i));
            b[r][i] = bf16_from_f32((float)small_integer(r * 300 + i + 7));
            expected[r][i] = c[r][i] = (float)small_integer(r * 700 + i + 9);
        }
    for (int r = 0; r < m; r++)
        for (int i = 0; i < n; i++)
            for (int p = 0; p < 2 * k; p++)
                expected[r][i] += bf16_to_f32(a[r][p]) * bf16_to_f32(b[p / 2][2 * i + p % 2]);
    struct tile_config config = config_of(m, n, k);
    product(&config, (struct tile_matrix){a, sizeof *a}, (struct tile_matrix){b, sizeof *b},
            (struct tile_matrix){c, sizeof *c});
    ck_assert_mem_eq(c, expected, sizeof c);
}

START_TEST(sizes) {
    static const int some[] = {1, 2, 5, 8, 15, 16};
    for (int p = 0; p < PRODUCTS; p++)
        for (int m = 0; m < 6; m++)
            for (int n = 0; n < 6; n++)
                for (int k = 0; k < 6; k++)
                    check_sizes(products[p], some[m], some[n], some[k]);
}
END_TEST

/* c[0, 0] += the products of the first 2 * pairs elements. */
static float product_of(tile_product_function *product, int pairs, const float *a, const float *b,
                        float c) {
    uint16_t x[32] = {0}, y[16][2] = {{0}};
    for (int i = 0; i < 2 * pairs; i++) {
        x[i] = bf16_from_f32(a[i]);
        y[i / 2][i % 2] = bf16_from_f32(b[i]);
    }
    struct tile_config config = config_of(1, 1, pairs);
    product(&config, (struct tile_matrix){x, sizeof x}, (struct tile_matrix){y, sizeof *y},
            (struct tile_matrix){&c, sizeof c});
    return c;
}

START_TEST(order_of_sums) {
    static const float ones[] = {1, 1, 1, 1, 1, 1};
    static const float apart[] = {0x1p24f, 1, -0x1p24f, 1}, pair[] = {1, 1};
    static const float late[] = {0x1p24f, 0, 1, 0, 1, 0};
    for (int p = 0; p < PRODUCTS; p++) {
        /* First and second members apart: in turn, one of the ones would be lost. */
        ck_assert(product_of(products[p], 2, apart, ones, 0) == 2);
        /* c is added to last: before, both ones would be lost. */
        ck_assert(product_of(products[p], 1, pair, ones, 0x1p24f) == 0x1p24f + 2);
        /* Each sum goes from the first pair to the last, rounded to even each time. */
        ck_assert(product_of(products[p], 3, late, ones, 0) == 0x1p24f);
    }
}
END_TEST

START_TEST(special_values) {
    static const float denormal[] = {0x1p-130f, 0}, large[] = {0x1p100f, 1}, one[] = {1, 0};
    static const float tiny[] = {0x1p-70f, 0}, infinite[] = {INFINITY, 0}, zero[] = {0, 0};
    for (int p = 0; p < PRODUCTS; p++) {
        ck_assert(product_of(products[p], 1, denormal, large, 0) == 0);
        ck_assert(product_of(products[p], 1, large, denormal, 0) == 0);
        ck_assert(product_of(products[p], 1, tiny, tiny, 0) == 0); /* 2^-140 */
        ck_assert(product_of(products[p], 1, zero, one, 0x1p-130f) == 0);
        ck_assert(product_of(products[p], 1, tiny, one, 0) == 0x1p-70f);
        ck_assert(product_of(products[p], 1, infinite, one, 3) == INFINITY);
        ck_assert(isnan(product_of(products[p], 1, infinite, zero, 0)));
        ck_assert(isnan(product_of(products[p], 1, one, one, NAN)));
    }
}
END_TEST

static int faults;

static void fault_count(const char *reason) {
    (void)reason;
    faults++;
}

/* Whether the model faults at this configuration. */
static bool configure_faults(const struct tile_config *config) {
    faults = 0;
    tile_configure(config);
    return faults > 0;
}

START_TEST(faults_of_configuration) {
    tile_fault = fault_count;
    const struct tile_config good = config_of(16, 16, 16);
    tile_release();
    ck_assert(!configure_faults(&good) && tile_configured());
    struct tile_config none = {.palette = 0};
    ck_assert(!configure_faults(&none) && !tile_configured());

    struct tile_config bad[10];
    for (int i = 0; i < 10; i++)
        bad[i] = good;
    bad[0].palette = 2;
    bad[1].start_row = 1;
    bad[2].reserved[13] = 1;
    bad[3].row_bytes[0] = 68;
    bad[4].rows[1] = 17;
    bad[5].rows[2] = 0;
    bad[6].row_bytes[2] = 0;
    bad[7].rows[3] = 1;
    bad[8].row_bytes[8] = 64;
    bad[9].rows[15] = 16;
    for (int i = 0; i < 10; i++)
        ck_assert_msg(configure_faults(bad + i) && !tile_configured(), "configuration %d", i);
}
END_TEST

/* Faults of c += a b with registers of these sizes. */
static int dot_faults(const int rows[3], const int row_bytes[3]) {
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 3; t++) {
        config.rows[t] = (uint8_t)rows[t];
        config.row_bytes[t] = (uint16_t)row_bytes[t];
    }
    tile_configure(&config);
    faults = 0;
    tile_dot(0, 1, 2);
    tile_release();
    return faults;
}

START_TEST(faults_of_products) {
    tile_fault = fault_count;
    ck_assert_int_eq(dot_faults((int[]){9, 9, 7}, (int[]){20, 28, 20}), 0);
    ck_assert_int_eq(dot_faults((int[]){8, 9, 7}, (int[]){20, 28, 20}), 1); /* rows of c, a */
    ck_assert_int_eq(dot_faults((int[]){9, 9, 7}, (int[]){24, 28, 20}), 1); /* columns of c, b */
    ck_assert_int_eq(dot_faults((int[]){9, 9, 8}, (int[]){20, 28, 20}), 1); /* pairs of a, b */
    ck_assert_int_eq(dot_faults((int[]){9, 9, 7}, (int[]){20, 30, 20}), 1); /* half a word */
    ck_assert_int_eq(dot_faults((int[]){9, 9, 0}, (int[]){20, 28, 0}), 1);  /* b is not there */

    struct tile_config config = config_of(16, 16, 16);
    char row[64];
    tile_configure(&config);
    faults = 0;
    tile_dot(0, 0, 2);
    tile_dot(0, 1, 0);
    tile_dot(0, 1, 1);
    tile_zero(3);
    tile_load(8, row, 0);
    tile_release();
    tile_zero(0);
    tile_load(1, row, 0);
    tile_store(1, row, 0);
    tile_dot(0, 1, 2);
    ck_assert_int_eq(faults, 9);
}
END_TEST

int main(void) {
    if (isa_available() < ISA_AMX) {
        printf("SKIP: tiles of the processor (it has none; their model is tested)\n");
        tiles_trap();
    }
    const TTest *const tests[] = {
        sizes, order_of_sums, special_values, faults_of_configuration, faults_of_products, NULL};
    Suite *suite = suite_create("tiles");
    suite_add(suite, "tiles", tests);
    return suite_run(suite);
}
