/* Weights in blocks on every mesh: the same logits as one rank's, wherever a slice cuts a block,
 * and as much memory as was planned. Ranks: 1 2 3 4 5 */
#include "tests/mpi_support.h"
#include "tests/random_model.h"

#include "dist/forward.h"
#include "partition/plan.h"
#include <stdio.h>
#include <stdlib.h>

#define TOKENS 70

static int rank, ranks;
static char dir[DIRECTORY_MAX];
static struct shape shape;
static int32_t ids[TOKENS];

/* Blocks divide every row of the whole model, heads of 12 and FFN columns rarely those of a rank.
 */
static void setup(void) {
    shape = random_model_shape();
    shape.hidden = 64;
    shape.head_dim = 12;
    shape.ffn = 160;
    directory_make(dir);
    if (rank == 0)
        random_model_write(dir, &shape, 42, NULL);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int t = 0; t < TOKENS; t++)
        ids[t] = (int32_t)((t * 37 + t * t * 11 + 5) % shape.vocab);
}

static void remove_model(void) {
    directory_remove(dir);
}

/* Largest difference from one rank on any mesh, and from the same weights unquantised. */
static void compare(enum compute compute, enum weights_type type, int64_t chunk, double *off,
                    double *off_exact) {
    struct sequence_options options = test_sequence(test_scheme(4, 16), TOKENS, chunk);
    float *want = NULL, *exact = NULL;
    options.compute = compute;
    options.weights = type;
    if (rank == 0) {
        struct opened o;
        opened_open_as(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, compute, type, &o);
        want = logits_of(&o, &options, ids, TOKENS);
        opened_close(&o);
        opened_open(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, &o);
        options.compute = COMPUTE_F32;
        options.weights = WEIGHTS_AUTO;
        exact = logits_of(&o, &options, ids, TOKENS);
        opened_close(&o);
        options.compute = compute;
        options.weights = type;
    }
    int64_t n = TOKENS * shape.vocab;
    *off = 0;
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open_as(MPI_COMM_WORLD, dir, mesh, compute, type, &o);
        float *got = logits_of(&o, &options, ids, TOKENS);
        double here = agreed(MPI_COMM_WORLD, got ? distance(got, want, n) : 0);
        *off = here <= *off ? *off : here;
        opened_close(&o);
        free(got);
    }
    *off_exact = agreed(MPI_COMM_WORLD, want ? distance(want, exact, n) : 0);
    free(want);
    free(exact);
}

static const struct {
    enum weights_type type;
    double least, most; /* from unquantised weights: measured 0.032 and 0.52 */
} types[] = {{WEIGHTS_Q8_0, 1e-3, 0.06}, {WEIGHTS_Q4_0, 0.02, 0.8}};

/* A token at a time the products come from the blocks, in chunks of 64 from widened rows. */
START_TEST(logits_equal_one_rank) {
    static const int64_t chunks[] = {1, 7, 64};
    for (int c = 0; c < 3; c++) {
        double off, off_exact;
        compare(COMPUTE_F32, types[_i].type, chunks[c], &off, &off_exact);
        ck_assert_msg(off <= 5e-4, "chunk %d: off by %g", (int)chunks[c], off);
        ck_assert_msg(off_exact >= types[_i].least && off_exact <= types[_i].most,
                      "chunk %d: off by %g from f32", (int)chunks[c], off_exact);
    }
}
END_TEST

START_TEST(logits_in_bf16) {
    enum isa isa;
    double off, off_exact;
    isa_chosen(&isa);
    if (!compute_has(COMPUTE_BF16, isa)) {
        if (rank == 0)
            printf("SKIP: bf16 products of weights in blocks (found %s)\n", isa_name(isa));
        return;
    }
    compare(COMPUTE_BF16, types[_i].type, 64, &off, &off_exact);
    ck_assert_msg(off <= 1e-2, "off by %g", off);
    ck_assert_msg(off_exact <= types[_i].most + 0.03, "off by %g from f32", off_exact);
}
END_TEST

/* The last matrix that is loaded ends where the planned memory does. */
START_TEST(memory_is_as_planned) {
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open_as(MPI_COMM_WORLD, dir, mesh, COMPUTE_F32, types[_i].type, &o);
        struct sequence_options options = test_sequence(test_scheme(0, 0), TOKENS, 64);
        options.weights = types[_i].type;
        struct plan_request request = sequence_plan(&options, 1);
        struct plan plan = plan_rank(&shape, mesh, rank, &request);
        const struct model *m = &o.model;
        const struct matrix *last = &m->layers[m->share.layers.count - 1].ffn.down.weight;
        int64_t block = matrix_block(last->type);
        int64_t held = (last->lead + last->cols + block - 1) / block * block;
        int64_t end = (const char *)last->data - (const char *)m->data +
                      matrix_bytes(last->type, last->rows, held);
        ck_assert_int_eq(last->type, types[_i].type == WEIGHTS_Q8_0 ? MATRIX_Q8_0 : MATRIX_Q4_0);
        ck_assert_int_eq(m->embedding.type, MATRIX_F32);
        ck_assert_int_eq((end + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT,
                         plan.weights);
        int64_t most = plan.total;
        MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
        ck_assert_int_eq(most, plan_largest(&shape, mesh, &request));
        opened_close(&o);
    }
}
END_TEST

static Suite *quantised_suite(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    Suite *suite = suite_create("quantised");
    TCase *tests = tcase_create("quantised");
    tcase_add_unchecked_fixture(tests, setup, remove_model);
    tcase_add_loop_test(tests, logits_equal_one_rank, 0, 2);
    tcase_add_loop_test(tests, logits_in_bf16, 0, 2);
    tcase_add_loop_test(tests, memory_is_as_planned, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv) {
    return suite_main(argc, argv, quantised_suite);
}
