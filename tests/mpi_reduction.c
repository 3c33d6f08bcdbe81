/* Sums over a stage: right, the same bits on all ranks, also while two are under way.
 * Ranks: 1 2 3 4 5 */
#include "tests/mpi_support.h"

#include "dist/reduction.h"
#include "kernels/half.h"
#include "partition/plan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Nothing, fewer than ranks, on both sides of the border between one exchange and two, long ones
 * whose slices are uneven. */
static const int64_t sizes[] = {0, 1, 3, 100, 8192, 16385, 70001};
#define MOST 70001
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static int rank, ranks;
static struct dist dist;

/* What one rank puts in: of both signs and several magnitudes. */
static float value(int of_rank, int which, int64_t i) {
    int64_t mixed = (i * 7919 + of_rank * 104729 + which * 1299709) % 10007;
    return (float)(mixed - 5003) * ((mixed & 7) ? 0.001f : 1.0f);
}

static void setup(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    ck_assert_int_eq(dist_open(MPI_COMM_WORLD, (struct mesh){1, ranks, 1}, &dist), STATUS_OK);
}

static void teardown(void) {
    dist_close(&dist);
}

/* Against the sum in double. In bf16 every addend moves by 2^-9 of itself, and the sum too. */
static bool is_right(enum wire wire, int which, int64_t n, const float *x) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, magnitude = 0;
        for (int r = 0; r < ranks; r++) {
            sum += value(r, which, i);
            magnitude += fabs(value(r, which, i));
        }
        bool exact = wire == WIRE_F32 || ranks == 1;
        double bound = exact ? 1e-6 * magnitude : (magnitude + fabs(sum)) * 0x1p-8;
        if (!(fabs(x[i] - sum) <= bound))
            return false;
    }
    return true;
}

static bool is_same(int64_t n, const float *x) {
    uint32_t *least = malloc((size_t)n * 4 + 1), *most = malloc((size_t)n * 4 + 1);
    ck_assert(least && most);
    MPI_Allreduce(x, least, (int)n, MPI_UINT32_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(x, most, (int)n, MPI_UINT32_T, MPI_MAX, MPI_COMM_WORLD);
    bool same = memcmp(least, most, (size_t)n * 4) == 0;
    free(least);
    free(most);
    return same;
}

struct buffers {
    float *x;
    void *send, *receive;
    struct reduction reduction;
};

static void buffers_open(enum wire wire, int index, struct buffers *b) {
    size_t room = (size_t)plan_sum_room(MOST, ranks) * sizeof(float);
    *b = (struct buffers){malloc(MOST * sizeof(float)), malloc(MOST * 2), malloc(room), {0}};
    ck_assert(b->x && b->send && b->receive);
    ck_assert_int_eq(reduction_open(&dist, wire, index, b->send, b->receive, &b->reduction),
                     STATUS_OK);
}

static void buffers_close(struct buffers *b) {
    reduction_close(&b->reduction);
    free(b->x);
    free(b->send);
    free(b->receive);
}

static void fill(struct buffers *b, int which, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        b->x[i] = value(rank, which, i);
}

START_TEST(alone) {
    enum wire wire = (enum wire)_i;
    struct buffers b;
    buffers_open(wire, 0, &b);
    for (int k = 0; k < COUNT(sizes); k++) {
        fill(&b, 0, sizes[k]);
        reduction_run(&b.reduction, b.x, sizes[k]);
        ck_assert_msg(is_right(wire, 0, sizes[k], b.x), "%s, n = %d", wire_name(wire),
                      (int)sizes[k]);
        ck_assert(is_same(sizes[k], b.x));
    }
    buffers_close(&b);
}
END_TEST

/* Ranks move them on at different times, and end them in either order. */
START_TEST(two_under_way) {
    enum wire wire = (enum wire)_i;
    struct buffers b[2];
    buffers_open(wire, 0, &b[0]);
    buffers_open(wire, 1, &b[1]);
    for (int k = 0; k < COUNT(sizes); k++) {
        for (int which = 0; which < 2; which++) {
            fill(&b[which], which, sizes[k]);
            reduction_begin(&b[which].reduction, b[which].x, sizes[k]);
            for (int times = 0; times < 3 * rank; times++)
                reduction_progress(&b[0].reduction);
        }
        for (int which = 0; which < 2; which++)
            reduction_end(&b[which].reduction);
        for (int which = 0; which < 2; which++) {
            ck_assert_msg(is_right(wire, which, sizes[k], b[which].x), "%s, n = %d",
                          wire_name(wire), (int)sizes[k]);
            ck_assert(is_same(sizes[k], b[which].x));
        }
    }
    buffers_close(&b[0]);
    buffers_close(&b[1]);
}
END_TEST

/* What is not finite on one rank is on all afterwards: it does not get lost in rounding. */
START_TEST(not_finite_stays) {
    enum wire wire = (enum wire)_i;
    struct buffers b;
    buffers_open(wire, 0, &b);
    for (int k = 1; k < COUNT(sizes); k++) {
        int64_t n = sizes[k];
        fill(&b, 0, n);
        if (rank == ranks - 1)
            b.x[n - 1] = NAN;
        reduction_run(&b.reduction, b.x, n);
        ck_assert(isnan(b.x[n - 1]));
    }
    buffers_close(&b);
}
END_TEST

static Suite *reduction_suite(void) {
    Suite *suite = suite_create("reduction");
    TCase *tests = tcase_create("sums");
    tcase_add_unchecked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, alone, 0, WIRE_COUNT);
    tcase_add_loop_test(tests, two_under_way, 0, WIRE_COUNT);
    tcase_add_loop_test(tests, not_finite_stays, 0, WIRE_COUNT);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv) {
    return suite_main(argc, argv, reduction_suite);
}
