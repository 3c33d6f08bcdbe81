/* The products of both types of weights against sums in double, on every number of tokens that
 * takes another way through them. One run tests one level, that of QUIRE_ISA. */
#include "kernels/compute.h"
#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/half.h"
#include "tests/testing.h"

#include <math.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Whole numbers of -7 to 7: every product and sum is exact, in any order. */
static float whole_number(void) {
    return (float)(random_bits() % 15) - 7;
}

static float fraction(void) {
    return (float)(int64_t)random_bits() * 0x1p-63f;
}

/* The nearest bf16, ties to even, by arithmetic: 8 bits of fraction, the first one implied. */
static double rounded_to_bf16(double x) {
    int exponent;
    if (x == 0 || !isfinite(x))
        return x;
    frexp(x, &exponent);
    double step = ldexp(1, exponent - 8 < -133 ? -133 : exponent - 8);
    double rounded = rint(x / step) * step; /* rint: ties to even */
    return fabs(rounded) >= 0x1p128 ? copysign(INFINITY, x) : rounded;
}

struct product {
    enum matrix_type type;
    int64_t T, N, K;
    float *x, *y;
    uint16_t *rounded;
    void *weights;
};

static struct product product_new(enum matrix_type type, int64_t T, int64_t N, int64_t K,
                                  float (*number)(void)) {
    struct product p = {type, T, N, K, NULL, NULL, NULL, NULL};
    p.x = malloc((size_t)(T * K + 1) * sizeof *p.x);
    p.y = malloc((size_t)(T * N + 1) * sizeof *p.y);
    p.rounded = malloc((size_t)(T * K + 1) * sizeof *p.rounded);
    p.weights = malloc((size_t)(N * K + 1) * 4);
    for (int64_t i = 0; i < T * K; i++)
        p.x[i] = number();
    for (int64_t i = 0; i < N * K; i++)
        if (type == MATRIX_F32)
            ((float *)p.weights)[i] = number();
        else
            ((uint16_t *)p.weights)[i] = bf16_from_f32(number());
    for (int64_t i = 0; i <= T * N; i++)
        p.y[i] = 0.5f;
    return p;
}

static void product_run(struct product *p) {
    struct matrix w = {p->type, p->N, p->K, p->weights, 0};
    struct gemm_scratch scratch = {.compute = p->type == MATRIX_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
                                   .rounded = p->rounded};
    struct gemm_input in = gemm_prepare(&scratch, p->T, p->K, p->x);
    gemm_xwt(&in, &w, p->y);
}

/* The worst that sums of K products in f32 may be off, whatever their order: each of K additions
 * rounds by at most 2^-24 of the sum of absolute values. The bf16 inputs themselves are exact, and
 * so are their products. */
static void product_check(const struct product *p) {
    float *row = malloc((size_t)(p->K + 1) * sizeof *row);
    for (int64_t n = 0; n < p->N; n++) {
        struct matrix w = {p->type, p->N, p->K, p->weights, 0};
        matrix_row(&w, n, row);
        for (int64_t t = 0; t < p->T; t++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < p->K; k++) {
                double x = p->x[t * p->K + k];
                x = (p->type == MATRIX_BF16 ? rounded_to_bf16(x) : x) * row[k];
                sum += x;
                size += fabs(x);
            }
            double got = p->y[t * p->N + n];
            if (!(fabs(got - sum) <= (double)p->K * 0x1p-24 * size))
                ck_abort_msg("type %d, T %lld, N %lld, K %lld: %g at %lld, %lld, expected %g",
                             p->type, (long long)p->T, (long long)p->N, (long long)p->K, got,
                             (long long)t, (long long)n, sum);
        }
    }
    REQUIRE(p->y[p->T * p->N] == 0.5f);
    free(row);
}

static void product_free(struct product *p) {
    free(p->x);
    free(p->y);
    free(p->rounded);
    free(p->weights);
}

static void check_sizes(enum matrix_type type, int64_t T, int64_t N, int64_t K) {
    struct product exact = product_new(type, T, N, K, whole_number);
    product_run(&exact);
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < N; n++) {
            float expected = 0;
            for (int64_t k = 0; k < K; k++) {
                float w = type == MATRIX_F32 ? ((float *)exact.weights)[n * K + k]
                                             : bf16_to_f32(((uint16_t *)exact.weights)[n * K + k]);
                expected += exact.x[t * K + k] * w;
            }
            if (exact.y[t * N + n] != expected)
                ck_abort_msg("type %d, T %lld, N %lld, K %lld", type, (long long)T, (long long)N,
                             (long long)K);
        }
    REQUIRE(exact.y[T * N] == 0.5f);
    product_free(&exact);
    struct product rounding = product_new(type, T, N, K, fraction);
    product_run(&rounding);
    product_check(&rounding);
    product_free(&rounding);
}

static void check_all_sizes(enum matrix_type type) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 9, 17, 33, 64, 130};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    for (int threads = 1; threads <= 6; threads += threads < 3 ? 1 : 3) {
        omp_set_num_threads(threads);
        for (int t = 0; t < SIZES; t++)
            for (int n = 0; n < SIZES; n++)
                for (int k = 0; k < SIZES; k++)
                    check_sizes(type, sizes[t], sizes[n], sizes[k]);
        for (int64_t T = 1; T <= 18; T++)
            check_sizes(type, T, 23, 2049);
        check_sizes(type, 1, 1001, 700);
        check_sizes(type, 5, 777, 1025);
        check_sizes(type, 200, 300, 257);
        check_sizes(type, 1000, 3, 100);
    }
    omp_set_num_threads(omp_get_num_procs());
}

START_TEST(f32_products) {
    check_all_sizes(MATRIX_F32);
}
END_TEST

static bool has_bf16(void) {
    enum isa isa;
    isa_chosen(&isa);
    if (compute_has(COMPUTE_BF16, isa))
        return true;
    if (isa == isa_available())
        printf("SKIP: bf16 products (found %s)\n", isa_name(isa));
    return false;
}

START_TEST(bf16_products) {
    if (has_bf16())
        check_all_sizes(MATRIX_BF16);
}
END_TEST

/* More sizes than products are kept ready for, then the first ones again. */
START_TEST(many_sizes) {
    if (!has_bf16())
        return;
    for (int round = 0; round < 2; round++)
        for (int64_t T = 17; T < 99; T++)
            check_sizes(MATRIX_BF16, T, 5, 8);
    gemm_close(); /* and anew */
    check_sizes(MATRIX_BF16, 17, 5, 8);
}
END_TEST

/* Weights of one input, multiplied together, against each alone. Whole numbers: no order of the
 * sums changes them. */
static void check_together(bool bf16, int64_t T, int64_t K) {
    static const int64_t heights[] = {300, 0, 1, 77};
    enum { COUNT = sizeof heights / sizeof *heights };
    struct product p[COUNT];
    struct matrix w[COUNT];
    struct gemm_output outputs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        enum matrix_type type = bf16 && i != 2 ? MATRIX_BF16 : MATRIX_F32;
        p[i] = product_new(type, T, heights[i], K, whole_number);
        memcpy(p[i].x, p[0].x, (size_t)(T * K) * sizeof *p[0].x);
        w[i] = (struct matrix){type, heights[i], K, p[i].weights, 0};
        outputs[i] = (struct gemm_output){&w[i], malloc((size_t)(T * heights[i] + 1) * 4)};
        product_run(&p[i]);
    }
    struct gemm_scratch scratch = {.compute = bf16 ? COMPUTE_BF16 : COMPUTE_F32,
                                   .rounded = p[0].rounded};
    struct gemm_input in = gemm_prepare(&scratch, T, K, p[0].x);
    gemm_xwt_each(&in, outputs, COUNT);
    for (int i = 0; i < COUNT; i++) {
        for (int64_t at = 0; at < T * heights[i]; at++)
            REQUIRE(outputs[i].y[at] == p[i].y[at]);
        free(outputs[i].y);
    }
    for (int i = 0; i < COUNT; i++)
        product_free(&p[i]);
}

START_TEST(weights_of_one_input) {
    static const int64_t tokens[] = {0, 1, 2, 8, 9, 16, 17, 40};
    bool bf16 = has_bf16();
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++)
        for (int64_t K = 0; K < 800; K += 257) {
            check_together(false, tokens[t], K);
            if (bf16)
                check_together(true, tokens[t], K);
        }
}
END_TEST

START_TEST(activations_are_rounded) {
    /* Between two bf16 numbers: below, on and above the middle, on both parities; the largest, what
     * rounds to infinity, no numbers, and as many more as make full vectors and a tail. */
    static float x[75] = {1,          1.00390625f, 0x1.01p0f,   0x1.010002p0f, 0x1.03p0f,
                          -0x1.03p0f, 0x1.fep127f, 0x1.ffp127f, 3e38f,         INFINITY,
                          -INFINITY,  0,           -0.0f,       0x1.02p-100f,  0x1.03p-100f};
    uint16_t rounded[76];
    if (!has_bf16())
        return;
    for (int i = 15; i < 74; i++)
        x[i] = ldexpf(fraction(), (int)(random_bits() % 200) - 100);
    x[74] = NAN;
    for (int64_t n = 1; n <= 75; n++) {
        rounded[n] = 0x1234;
        gemm_round(n, x + 75 - n, rounded);
        for (int64_t i = 0; i < n; i++) {
            double expected = rounded_to_bf16(x[75 - n + i]), got = bf16_to_f32(rounded[i]);
            REQUIRE(isnan(expected) ? isnan(got)
                                    : got == expected && !signbit(got) == !signbit(expected));
        }
        REQUIRE(rounded[n] == 0x1234);
    }
}
END_TEST

START_TEST(gemm_core_choice) {
    static const struct {
        enum isa isa;
        const char *core, *variable, *wanted;
    } rows[] = {
        /* the right ones stay */
        {ISA_AVX512, "SkylakeX", NULL, NULL},
        {ISA_AVX512, "Cooperlake", NULL, NULL},
        {ISA_AVX512, "SapphireRapids", NULL, NULL},
        {ISA_AVX2, "Haswell", NULL, NULL},
        {ISA_AVX2, "Zen", NULL, NULL},
        {ISA_GENERIC, "Nehalem", NULL, NULL},
        {ISA_GENERIC, "Prescott", NULL, NULL},
        /* processors after OpenBLAS's time */
        {ISA_AVX512, "Haswell", NULL, "SkylakeX"},
        {ISA_AVX512, "Zen", NULL, "SkylakeX"},
        {ISA_AVX512, "Prescott", NULL, "SkylakeX"},
        {ISA_AVX2, "Prescott", NULL, "Haswell"},
        {ISA_AVX2, "Sandybridge", NULL, "Haswell"},
        /* limited by QUIRE_ISA */
        {ISA_AVX2, "SkylakeX", NULL, "Haswell"},
        {ISA_AVX2, "Cooperlake", NULL, "Haswell"},
        {ISA_GENERIC, "Haswell", NULL, "Prescott"},
        {ISA_GENERIC, "Sandybridge", NULL, "Prescott"},
        {ISA_GENERIC, "SkylakeX", NULL, "Prescott"},
        /* levels that differ in bf16 alone */
        {ISA_AVX512_BF16, "Cooperlake", NULL, NULL},
        {ISA_AVX512_BF16, "Haswell", NULL, "SkylakeX"},
        {ISA_AMX, "SapphireRapids", NULL, NULL},
        {ISA_AMX, "Zen", "Haswell", "SkylakeX"},
        /* a variable of another level gives way, one of the level stays */
        {ISA_AVX512, "Haswell", "Haswell", "SkylakeX"},
        {ISA_AVX512, "Haswell", "", "SkylakeX"},
        {ISA_GENERIC, "SkylakeX", "SkylakeX", "Prescott"},
        {ISA_AVX512, "Cooperlake", "Cooperlake", NULL},
        /* what was asked for and did not come is not asked for again */
        {ISA_AVX512, "Haswell", "SkylakeX", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_pstr_eq(gemm_core_choose(rows[i].isa, rows[i].core, rows[i].variable),
                          rows[i].wanted);
    ck_assert_ptr_nonnull(strstr(gemm_library(), "OpenBLAS"));
}
END_TEST

/* QUIRE_ISA limits both libraries: what the processor has beyond it is not used. */
START_TEST(libraries_at_the_level) {
    static const dnnl_cpu_isa_t levels[ISA_COUNT] = {
        dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core,
        dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_avx512_core_amx};
    enum isa isa;
    isa_chosen(&isa);
    ck_assert_int_eq(dnnl_get_effective_cpu_isa(), levels[isa]);
    ck_assert_ptr_null(gemm_core_wanted());
}
END_TEST

int main(void) {
    enum isa isa;
    if (!isa_chosen(&isa)) {
        printf("SKIP: products at %s (this processor does not have it)\n", getenv("QUIRE_ISA"));
        return 77;
    }
    gemm_init();
    Suite *suite = suite_create("gemm");
    suite_add(suite, "gemm",
              (const TTest *const[]){f32_products, bf16_products, many_sizes, weights_of_one_input,
                                     activations_are_rounded, gemm_core_choice,
                                     libraries_at_the_level, NULL});
    int result = suite_run(suite);
    gemm_close();
    return result;
}
