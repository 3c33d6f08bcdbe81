/* Continuations that share what was read before: on every mesh each is what it would be if it alone
 * were read behind the text, its rows mixed with those of the others. */
#include "dist/forward.h"
#include "dist/tails.h"
#include "tests/mpi_support.h"
#include <stdio.h>
#include <string.h>

#define PREFIX 53
#define TAILS 3
#define STEPS 40
#define TOP 20

static const int64_t lengths[TAILS] = {5, 1, 12};
static char directory[DIRECTORY_MAX];

static int32_t token_at(int64_t i) {
    return (int32_t)((i * 7919 + 13) % 61);
}

/* The n-th token of a tail: of the question, or behind it what both ways are given alike. */
static int32_t tail_token_at(int64_t tail, int64_t n) {
    return token_at(1000 * (tail + 1) + n);
}

static struct sequence_options options_of(struct scheme scheme, int64_t capacity) {
    return test_sequence(scheme, capacity, 16);
}

static void read_prefix(struct sequence *s) {
    int32_t ids[PREFIX];
    for (int64_t i = 0; i < PREFIX; i++)
        ids[i] = token_at(i);
    for (int64_t at = 0; at < PREFIX; at += 16)
        forward_chunk(s, ids + at, PREFIX - at < 16 ? PREFIX - at : 16);
}

static const struct sample_options greedy = {.top_p = 1};

/* What follows a tail after its question and `steps` more tokens, read in one sequence. */
static void choose_alone(struct opened *opened, struct scheme scheme, int64_t tail,
                         struct choice choices[STEPS]) {
    struct sequence s;
    struct sequence_options options = options_of(scheme, PREFIX + lengths[tail] + STEPS);
    ck_assert_int_eq(sequence_open(&opened->model, &options, &s), STATUS_OK);
    read_prefix(&s);
    for (int64_t n = 0; n < lengths[tail] + STEPS - 1; n++) {
        int32_t id = tail_token_at(tail, n);
        forward_chunk(&s, &id, 1);
        if (n >= lengths[tail] - 1)
            ck_assert_int_eq(head_choose(&s, &greedy, TOP, &choices[n - lengths[tail] + 1]),
                             STATUS_OK);
    }
    sequence_close(&s);
}

/* The same for all tails in common passes. */
static void choose_together(struct opened *opened, struct scheme scheme,
                            struct choice choices[TAILS][STEPS]) {
    struct sequence s;
    struct tails tails;
    struct sequence_options options = options_of(scheme, PREFIX);
    int64_t capacities[TAILS], done[TAILS] = {0}, rows[16], of[16];
    ck_assert_int_eq(sequence_open(&opened->model, &options, &s), STATUS_OK);
    read_prefix(&s);
    for (int t = 0; t < TAILS; t++)
        capacities[t] = lengths[t] + STEPS;
    ck_assert_int_eq(tails_open(&s, capacities, TAILS, &tails), STATUS_OK);
    for (;;) {
        struct tail_token tokens[16];
        int64_t count = 0;
        /* Some passes take more of one tail than of another. */
        for (int t = TAILS - 1; t >= 0; t--)
            for (int n = 0;
                 n < 1 + (t == 2 && done[2] < 12) * 5 && done[t] < lengths[t] + STEPS - 1; n++)
                tokens[count++] = (struct tail_token){t, tail_token_at(t, done[t]++)};
        if (!count)
            break;
        tails_forward(&tails, tokens, count, rows);
        /* Of the rows with an answer to compare, in the order of the rows. */
        int64_t wanted = 0, wanted_rows[16];
        for (int64_t row = 0; row < count; row++)
            for (int64_t i = 0; i < count; i++)
                if (rows[i] == row && (i + 1 == count || tokens[i + 1].tail != tokens[i].tail) &&
                    done[tokens[i].tail] >= lengths[tokens[i].tail]) {
                    wanted_rows[wanted] = row;
                    of[wanted++] = tokens[i].tail;
                }
        struct choice chosen[16];
        if (wanted)
            ck_assert_int_eq(tails_choose(&tails, wanted_rows, of, wanted, &greedy, TOP, chosen),
                             STATUS_OK);
        for (int64_t i = 0; i < wanted; i++)
            choices[of[i]][done[of[i]] - lengths[of[i]]] = chosen[i];
    }
    ck_assert_int_eq(s.tokens, PREFIX);
    tails_close(&tails);
    sequence_close(&s);
}

static void compare(struct opened *opened, struct scheme scheme) {
    static struct choice alone[STEPS], together[TAILS][STEPS];
    memset(together, 0, sizeof together);
    choose_together(opened, scheme, together);
    for (int64_t tail = 0; tail < TAILS; tail++) {
        choose_alone(opened, scheme, tail, alone);
        double worst = 0;
        for (int64_t n = 0; n < STEPS; n++)
            for (int64_t i = 0; i < TOP; i++) {
                double difference = alone[n].top[i].logprob - together[tail][n].top[i].logprob;
                worst = difference > worst ? difference : -difference > worst ? -difference : worst;
            }
        worst = agreed(opened->dist.world.comm, worst);
        ck_assert_double_lt(worst, 1e-4);
        ck_assert_int_eq(together[tail][STEPS - 1].top_count, TOP);
    }
}

START_TEST(together_as_alone) {
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    struct scheme sliding = {ZONE_MASKED, 24, 1};
    const struct scheme schemes[] = {test_scheme(0, 0), test_scheme(4, 16), sliding};
    for (struct mesh mesh = {0}; mesh_next(size, 2, &mesh);) {
        struct opened opened;
        opened_open(MPI_COMM_WORLD, directory, mesh, &opened);
        for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
            compare(&opened, schemes[i]);
        opened_close(&opened);
    }
}
END_TEST

static Suite *tails_suite(void) {
    Suite *suite = suite_create("tails");
    TCase *tcase = tcase_create("tails");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, together_as_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(int argc, char **argv) {
    snprintf(directory, sizeof directory, "%s/tests/golden/llama", QUIRE_SOURCE_DIR);
    return suite_main(argc, argv, tails_suite);
}
