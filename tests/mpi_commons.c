/* Memory in common: all ranks of a stage see what each wrote, sums are right, stages do not meet
 * each other, and nothing is in common where that cannot be.
 * Ranks: 1 2 3 4 6 */
#include "tests/mpi_support.h"

#include "dist/commons.h"
#include "partition/share.h"

static int rank, ranks;

static void setup(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
}

/* Small whole numbers: their sums are exact. Different in each stage and round. */
static float value(int64_t stage, int of_rank, int round, int64_t i) {
    return (float)((i * 31 + of_rank * 17 + stage * 101 + round * 7) % 1009);
}

static float sum_of(int64_t stage, int members, int round, int64_t i) {
    float sum = 0;
    for (int r = 0; r < members; r++)
        sum += value(stage, r, round, i);
    return sum;
}

/* Each rank sums its share and hands it out in the shared array, as the forward pass does. */
static void sum_rounds(struct dist *dist, const struct commons *c, int64_t n) {
    const struct axis *stage = &dist->stage;
    struct range own = range_part(n, stage->size, stage->rank);
    float *part = c->parts[stage->rank];
    for (int round = 0; round < 20; round++) {
        for (int64_t i = 0; i < n; i++)
            part[i] = value(dist->place.pp, stage->rank, round, i);
        commons_meet(c);
        commons_sum(c, own.first, own.count);
        for (int64_t i = own.first; i < range_end(own); i++)
            c->shared[i] = part[i];
        commons_meet(c);
        for (int64_t i = 0; i < n; i++)
            ck_assert_msg(c->shared[i] == sum_of(dist->place.pp, stage->size, round, i),
                          "n = %d, round %d, element %d: %g", (int)n, round, (int)i,
                          (double)c->shared[i]);
    }
}

/* None, fewer than ranks, uneven shares, many. */
static const int64_t sizes[] = {0, 1, 3, 1021, 100003};

START_TEST(sums_reach_all) {
    for (int pp = 1; pp <= ranks; pp++) {
        struct dist dist;
        struct commons c;
        if (ranks % pp)
            continue;
        ck_assert_int_eq(dist_open(MPI_COMM_WORLD, (struct mesh){pp, 1, ranks / pp}, &dist),
                         STATUS_OK);
        commons_open(&dist, sizes[_i], sizes[_i], &c);
        ck_assert_int_eq(commons_exist(&c), ranks > pp);
        if (commons_exist(&c))
            sum_rounds(&dist, &c, sizes[_i]);
        commons_close(&c);
        ck_assert(!commons_exist(&c));
        dist_close(&dist);
    }
}
END_TEST

/* Arrays start on cache lines and do not overlap. */
START_TEST(arrays_are_apart) {
    struct dist dist;
    struct commons c;
    ck_assert_int_eq(dist_open(MPI_COMM_WORLD, (struct mesh){1, ranks, 1}, &dist), STATUS_OK);
    commons_open(&dist, 5, 3, &c);
    if (commons_exist(&c)) {
        ck_assert_uint_eq((uintptr_t)c.shared % 64, 0);
        for (int r = 0; r < ranks; r++) {
            ck_assert_uint_eq((uintptr_t)c.parts[r] % 64, 0);
            ck_assert(c.parts[r] >= c.shared + 5 || c.parts[r] + 3 <= c.shared);
            for (int other = 0; other < r; other++)
                ck_assert(c.parts[r] >= c.parts[other] + 3 || c.parts[r] + 3 <= c.parts[other]);
        }
    }
    commons_close(&c);
    dist_close(&dist);
}
END_TEST

/* One rank whose stage is on several nodes, or more than any machine has, and nobody has any. */
START_TEST(nothing_in_common) {
    struct dist dist;
    struct commons c;
    ck_assert_int_eq(dist_open(MPI_COMM_WORLD, (struct mesh){1, ranks, 1}, &dist), STATUS_OK);
    dist.spread = rank == ranks - 1;
    commons_open(&dist, 100, 100, &c);
    ck_assert(!commons_exist(&c));
    commons_close(&c);
    dist.spread = false;
    commons_open(&dist, (int64_t)1 << 50, 100, &c);
    ck_assert(!commons_exist(&c));
    commons_meet(&c);
    commons_close(&c);
    dist_close(&dist);
}
END_TEST

static Suite *commons_suite(void) {
    Suite *suite = suite_create("commons");
    TCase *tests = tcase_create("memory");
    tcase_add_unchecked_fixture(tests, setup, NULL);
    tcase_add_loop_test(tests, sums_reach_all, 0, sizeof sizes / sizeof *sizes);
    tcase_add_test(tests, arrays_are_apart);
    tcase_add_test(tests, nothing_in_common);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv) {
    return suite_main(argc, argv, commons_suite);
}
