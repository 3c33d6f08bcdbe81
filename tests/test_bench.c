/* What bench makes of its measurements: medians, and parts of the machine's peak against numbers by
 * hand. */
#include "kernels/machine_speed.h"
#include "launch/bench_kernels.h"
#include "launch/bench_runs.h"
#include "tests/testing.h"

static struct samples samples_of(const double *values, int64_t count) {
    struct samples s = {0};
    for (int64_t i = 0; i < count; i++)
        REQUIRE(samples_add(&s, values[i]) == STATUS_OK);
    return s;
}

static struct samples sample_of(double value) {
    return samples_of(&value, 1);
}

START_TEST(medians) {
    static const double values[] = {5, 1, 4, 4, 9};
    for (int64_t count = 0; count <= 5; count++) {
        static const double median[] = {0, 5, 3, 4, 4, 4}, least[] = {0, 5, 1, 1, 1, 1},
                            most[] = {0, 5, 5, 5, 5, 9};
        struct samples s = samples_of(values, count);
        ck_assert_double_eq(samples_median(&s), median[count]);
        ck_assert_double_eq(samples_least(&s), least[count]);
        ck_assert_double_eq(samples_most(&s), most[count]);
        samples_free(&s);
    }
}
END_TEST

/* 4 tokens of 100 operations each, 25 tokens/s in the middle, a peak of 5000 operations/s. */
START_TEST(run_of_peak) {
    static const double rates[] = {50, 25, 5}, peaks[] = {5000, 100, 9000};
    struct bench_run run = {.tokens = 4,
                            .work = 400,
                            .tokens_per_s = samples_of(rates, 3),
                            .peak = samples_of(peaks, 3)};
    ck_assert_double_eq_tol(bench_run_of_peak(&run), 0.5, 1e-12);
    samples_free(&run.peak);
    ck_assert_double_eq(bench_run_of_peak(&run), 0);
    samples_free(&run.tokens_per_s);
}
END_TEST

/* 10 runs/s of 30 operations and 4 bytes; whichever bound is nearer counts. */
START_TEST(kernel_of_peak) {
    bool by_memory;
    struct bench_kernel k = {.operations = 30, .bytes = 4, .peak = SPEED_BF16};
    k.runs = sample_of(10);
    k.peaks[SPEED_F32] = sample_of(1);
    k.peaks[SPEED_BF16] = sample_of(400);
    k.peaks[SPEED_READ] = sample_of(80);
    ck_assert_double_eq(bench_kernel_operations(&k), 300);
    ck_assert_double_eq(bench_kernel_bytes(&k), 40);
    ck_assert_double_eq_tol(bench_kernel_of_peak(&k, &by_memory), 0.75, 1e-12);
    ck_assert(!by_memory);
    k.bytes = 7;
    ck_assert_double_eq_tol(bench_kernel_of_peak(&k, &by_memory), 0.875, 1e-12);
    ck_assert(by_memory);
    samples_free(&k.runs);
    for (enum speed what = 0; what < SPEED_COUNT; what++)
        samples_free(&k.peaks[what]);
}
END_TEST

/* Each level that the machine has goes; its widest instructions are not slower than plain ones by
 * more than a busy machine makes of it. */
START_TEST(machine_goes) {
    int64_t bytes = (int64_t)32 << 20;
    void *memory = speed_memory(bytes);
    REQUIRE(memory);
    for (enum isa isa = ISA_GENERIC; isa < ISA_COUNT; isa++) {
        if (isa > isa_available()) {
            printf("SKIP: the machine's speed at %s\n", isa_name(isa));
            continue;
        }
        ck_assert_double_gt(speed_f32(isa, 1, 0.01), 1e8);
        ck_assert_double_gt(speed_f32(isa, 2, 0.01), 1e8);
        ck_assert_double_gt(speed_read(isa, 2, 0.03, memory, bytes), 1e7);
        ck_assert_double_eq(speed_f32(isa, 0, 0.01), 0);
        ck_assert_double_eq(speed_read(isa, 0, 0.01, memory, bytes), 0);
        if (isa >= ISA_AVX512_BF16)
            ck_assert_double_gt(speed_bf16(isa, 1, 0.01), 1e8);
        else
            ck_assert_double_eq(speed_bf16(isa, 1, 0.01), 0);
    }
    free(memory);
}
END_TEST

/* Numbers that products and attention can take: finite and within (-1, 1), as bf16 and f32. */
START_TEST(memory_is_finite) {
    int64_t bytes = (int64_t)2 << 20;
    uint16_t *halves = speed_memory(bytes);
    REQUIRE(halves);
    float *floats = (float *)malloc((size_t)bytes);
    REQUIRE(floats);
    memcpy(floats, halves, (size_t)bytes);
    for (int64_t i = 0; i < bytes / 4; i++)
        ck_assert(floats[i] > -1 && floats[i] < 1 && floats[i] != 0);
    for (int64_t i = 0; i < bytes / 2; i++)
        ck_assert_uint_lt(halves[i] & 0x7fff, 0x3f80);
    free(floats);
    free(halves);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("bench");
    suite_add(suite, "arithmetic",
              (const TTest *const[]){medians, run_of_peak, kernel_of_peak, NULL});
    suite_add(suite, "machine", (const TTest *const[]){machine_goes, memory_is_finite, NULL});
    return suite_run(suite);
}
