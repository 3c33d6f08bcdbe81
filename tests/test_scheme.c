#include "partition/scheme.h"
#include "tests/testing.h"

#include <math.h>

/* Relative position of query i and key j, by the method's definition. */
static int64_t distance(int64_t i, int64_t j, int64_t G, int64_t w) {
    return i - j < w ? i - j : i / G + w - w / G - j / G;
}

START_TEST(far_positions) {
    static const int64_t table[] = {6, 6, 5, 5, 4, 4, 3, 2, 1, 0};
    struct scheme s = {ZONE_GROUPED, 4, 2};
    for (int64_t j = 0; j <= 9; j++) {
        bool near = 9 - j < s.window;
        REQUIRE((near ? 9 - j : scheme_far_query(&s, 9) - scheme_far_key(&s, j)) == table[j]);
        REQUIRE(distance(9, j, 2, 4) == table[j]);
    }
    /* The first far key is at distance w where a group begins, for G that divide w and not. */
    for (int64_t G = 1; G <= 7; G++)
        for (int64_t w = 1; w <= 20; w++) {
            s = (struct scheme){ZONE_GROUPED, w, G};
            for (int64_t i = w; i < 60; i++)
                for (int64_t j = 0; j <= i - w; j++)
                    REQUIRE(scheme_far_query(&s, i) - scheme_far_key(&s, j) ==
                            distance(i, j, G, w));
            REQUIRE(scheme_far_query(&s, w) - scheme_far_key(&s, 0) == w);
        }
}
END_TEST

/* Longest input with all relative positions below L, by looking at them. Positions fall from the
 * first key on, so the first key tells. */
static int64_t limit_by_trial(int64_t L, int64_t G, int64_t w) {
    int64_t length = 0;
    while (distance(length, 0, G, w) < L)
        length++;
    return length;
}

START_TEST(limits) {
    for (int64_t L = 2; L <= 24; L++)
        for (int64_t G = 1; G <= 9; G++)
            for (int64_t w = 1; w < L; w++) {
                REQUIRE(scheme_limit(L, G, w) == limit_by_trial(L, G, w));
                if (w % G == 0) /* the paper's form */
                    REQUIRE(scheme_limit(L, G, w) == (L - w) * G + w);
            }
    REQUIRE(scheme_limit(8, 2, 16) == 0);
    REQUIRE(scheme_limit(4096, 16, 1024) == 50176);
}
END_TEST

START_TEST(smallest_groups) {
    for (int64_t L = 2; L <= 20; L++)
        for (int64_t w = 1; w < L + 4; w++)
            for (int64_t length = 1; length <= 150; length++) {
                int64_t group = 1;
                while (group <= 200 && scheme_limit(L, group, w) < length)
                    group++;
                if (group > 200)
                    group = 0;
                if (scheme_smallest_group(L, w, length) != group)
                    ck_abort_msg("L=%lld w=%lld length=%lld: expected %lld", (long long)L,
                                 (long long)w, (long long)length, (long long)group);
            }
    ck_assert_int_eq(scheme_smallest_group(4096, 4096, 1 << 20), 0);
}
END_TEST

/* Smallest G with w + ceil((N - w) / G) <= 2L/3, by trial. */
static int64_t group_by_trial(int64_t L, int64_t w, int64_t N) {
    for (int64_t G = 1; G <= N + 1; G++) {
        int64_t far = N > w ? (N - w + G - 1) / G : N - w;
        if (3 * (w + far) <= 2 * L)
            return G;
    }
    return 0;
}

START_TEST(automatic_scheme) {
    for (int64_t L = 8; L <= 40; L++)
        for (int64_t N = 1; N <= 400; N += 3) {
            struct shape shape = {.context = L};
            struct scheme s = scheme_choose(&shape, (struct scheme_request){0}, N);
            if (N <= L) {
                REQUIRE(s.rule == ZONE_ALL_NEAR);
                continue;
            }
            REQUIRE(s.rule == ZONE_GROUPED);
            REQUIRE(s.window == L / 4);
            REQUIRE(s.group == group_by_trial(L, L / 4, N));
            REQUIRE(scheme_reach(&s, L) >= N);
        }
    struct shape shape = {.context = 4096};
    struct scheme s = scheme_choose(&shape, (struct scheme_request){0}, 65536);
    REQUIRE(s.window == 1024);
    REQUIRE(s.group == 38); /* 64512 far tokens in at most 1706 groups */
}
END_TEST

START_TEST(requested_scheme) {
    struct shape shape = {.context = 40, .sliding_window = 24};
    struct scheme s = scheme_choose(&shape, (struct scheme_request){.plain = true}, 1000);
    ck_assert(s.rule == ZONE_MASKED && s.window == 24);
    s = scheme_choose(&shape, (struct scheme_request){0}, 40);
    ck_assert(s.rule == ZONE_MASKED && s.window == 24);
    /* SelfExtend turns the sliding window off. */
    s = scheme_choose(&shape, (struct scheme_request){0}, 41);
    ck_assert(s.rule == ZONE_GROUPED && s.window == 10);
    shape.sliding_window = 0;
    s = scheme_choose(&shape, (struct scheme_request){.plain = true}, 1000);
    ck_assert_int_eq(s.rule, ZONE_ALL_NEAR);
    /* What is given is used, at any length. */
    s = scheme_choose(&shape, (struct scheme_request){.group = 3, .window = 10}, 5);
    ck_assert(s.rule == ZONE_GROUPED && s.group == 3 && s.window == 10);
    s = scheme_choose(&shape, (struct scheme_request){.group = 3}, 500);
    ck_assert(s.rule == ZONE_GROUPED && s.group == 3 && s.window == 10);
    s = scheme_choose(&shape, (struct scheme_request){.window = 16}, 100);
    ck_assert(s.group == group_by_trial(40, 16, 100) && s.window == 16);
    /* No G satisfies the authors' rule with so wide a window, but one is within the limit. */
    ck_assert_int_eq(group_by_trial(40, 30, 100), 0);
    s = scheme_choose(&shape, (struct scheme_request){.window = 30}, 100);
    ck_assert(s.rule == ZONE_GROUPED && s.group == 8 && s.window == 30);
    ck_assert(scheme_limit(40, 8, 30) >= 100 && scheme_limit(40, 7, 30) < 100);
    /* Nor is any. */
    s = scheme_choose(&shape, (struct scheme_request){.window = 60}, 1000);
    ck_assert(s.rule == ZONE_GROUPED && s.group == 1 && s.window == 60);
}
END_TEST

START_TEST(warnings) {
    struct shape shape = {.context = 40};
    char text[256];
    struct scheme plain = {ZONE_ALL_NEAR, 0, 1}, grouped = {ZONE_GROUPED, 10, 3};
    ck_assert_int_eq(scheme_reach(&plain, 40), 40);
    ck_assert_int_eq(scheme_reach(&grouped, 40), 99);
    ck_assert(!scheme_warning(&plain, &shape, 40, text, sizeof text));
    ck_assert(!scheme_warning(&grouped, &shape, 99, text, sizeof text));
    ck_assert(scheme_warning(&plain, &shape, 41, text, sizeof text));
    ck_assert_ptr_nonnull(strstr(text, "--group 2 "));
    ck_assert(scheme_warning(&grouped, &shape, 100, text, sizeof text));
    ck_assert_ptr_nonnull(strstr(text, "--group 4 "));
    struct scheme wide = {ZONE_GROUPED, 45, 3};
    ck_assert(scheme_warning(&wide, &shape, 1000, text, sizeof text));
    ck_assert_ptr_null(strstr(text, "--group"));
    char small[8];
    ck_assert(scheme_warning(&wide, &shape, 1000, small, sizeof small));
    ck_assert_uint_lt(strlen(small), sizeof small);
}
END_TEST

static void check_close(double found, double expected) {
    ck_assert_msg(fabs(found - expected) <= 1e-13 * expected, "%.17g, expected %.17g", found,
                  expected);
}

START_TEST(frequencies) {
    double f[64];
    struct rope rope = {.type = ROPE_DEFAULT, .theta = 10000, .factor = 1};
    rope_frequencies(&rope, 64, 1, f);
    for (int i = 0; i < 64; i++)
        check_close(f[i], exp(-log(10000.0) * i / 64));
    rope = (struct rope){.type = ROPE_LINEAR, .theta = 10000, .factor = 4};
    rope_frequencies(&rope, 4, 1, f);
    check_close(f[0], 0.25);
    check_close(f[2], 0.0025);
    /* Llama-3.1-8B, by a separate program from the formula in transformers. */
    static const struct {
        int i;
        double frequency;
    } llama3[] = {{0, 1.0},
                  {1, 0.8146172338565447},
                  {28, 0.0032114459947525913},
                  {29, 0.002166570763503359},
                  {32, 0.0005248461609929547},
                  {34, 0.00017850781276799638},
                  {35, 9.556212353964683e-05},
                  {63, 3.068925988914511e-07}};
    rope = (struct rope){.type = ROPE_LLAMA3,
                         .theta = 500000,
                         .factor = 8,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_context = 8192};
    rope_frequencies(&rope, 64, 1, f);
    for (size_t i = 0; i < sizeof llama3 / sizeof llama3[0]; i++)
        check_close(f[llama3[i].i], llama3[i].frequency);
    /* The short factors up to the original context, the long ones beyond it; and the factor. */
    rope = (struct rope){.type = ROPE_LONGROPE,
                         .theta = 10000,
                         .original_context = 40,
                         .attention_factor = 1.25,
                         .short_factor = {1, 1.5},
                         .long_factor = {2, 4}};
    ck_assert_double_eq(rope_frequencies(&rope, 2, 40, f), 1.25);
    check_close(f[0], 1);
    check_close(f[1], 0.01 / 1.5);
    ck_assert_double_eq(rope_frequencies(&rope, 2, 41, f), 1.25);
    check_close(f[0], 0.5);
    check_close(f[1], 0.0025);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scheme");
    suite_add(suite, "scheme",
              (const TTest *const[]){far_positions, limits, smallest_groups, automatic_scheme,
                                     requested_scheme, warnings, frequencies, NULL});
    return suite_run(suite);
}
