/* Every mesh of the job's ranks against one rank: the same logits, the same losses, the same choice
 * of tokens, and the same verdict when a weight is not finite.
 * Ranks: 1 2 3 4 5 6 7 8 */
#include "tests/mpi_support.h"
#include "tests/random_model.h"

#include "dist/forward.h"
#include "dist/head.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 5e-5
#define LONGEST 131

static int rank, ranks;
static char dir[DIRECTORY_MAX];
static struct shape shape;
static int32_t ids[LONGEST];

static void make_model(const char *spoiled) {
    shape = random_model_shape();
    directory_make(dir);
    if (rank == 0)
        random_model_write(dir, &shape, 42, spoiled);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int t = 0; t < LONGEST; t++)
        ids[t] = (int32_t)((t * 37 + t * t * 11 + 5) % shape.vocab);
}

static void remove_model(void) {
    directory_remove(dir);
}

static void setup(void) {
    make_model(NULL);
}

/* One rank's logits, the standard; on rank 0. */
static float *alone(struct scheme scheme, int64_t T) {
    if (rank)
        return NULL;
    struct opened o;
    struct sequence_options options = test_sequence(scheme, T, T);
    opened_open(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, &o);
    float *logits = logits_of(&o, &options, ids, T);
    opened_close(&o);
    return logits;
}

/* Plain attention, SelfExtend with G dividing w and not, and a sliding window. */
static const struct scheme schemes[] = {
    {ZONE_ALL_NEAR, 0, 1}, {ZONE_GROUPED, 16, 4}, {ZONE_GROUPED, 13, 3}, {ZONE_MASKED, 21, 1}};

/* Lengths 1, w-1, w, w+1 for w = 16 and 13, a multiple of the block, a prime. */
static const int64_t lengths[] = {1, 12, 13, 14, 15, 16, 17, 64, LONGEST};
static const int64_t chunks[] = {1, 7, 64, LONGEST};

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static double worst_of_chunks(struct opened *o, struct scheme scheme, int64_t T,
                              const float *want) {
    double worst = 0;
    for (int c = 0; c < COUNT(chunks); c++) {
        if (chunks[c] == 1 && T > 17) /* many tiny collectives; the shorter lengths show the same */
            continue;
        struct sequence_options options = test_sequence(scheme, T, chunks[c]);
        float *got = logits_of(o, &options, ids, T);
        double off = got ? distance(got, want, T * shape.vocab) : 0;
        worst = off <= worst ? worst : off;
        free(got);
    }
    return agreed(MPI_COMM_WORLD, worst);
}

START_TEST(logits_equal_one_rank) {
    struct scheme scheme = schemes[_i];
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        for (int l = 0; l < COUNT(lengths); l++) {
            float *want = alone(scheme, lengths[l]);
            double off = worst_of_chunks(&o, scheme, lengths[l], want);
            ck_assert_msg(off <= TOLERANCE, "scheme %d, length %d, pp=%d,tp=%d,sp=%d: off by %g",
                          _i, (int)lengths[l], (int)mesh.pp, (int)mesh.tp, (int)mesh.sp, off);
            free(want);
        }
        opened_close(&o);
    }
}
END_TEST

/* A cache in bf16 or q8_0 rounds alike on every mesh: what is left is rounding of sums in f32,
 * which a rounding border of the cache now and then makes larger (one step is 2^-8 of the number,
 * or a 127th of the largest of 32). */
START_TEST(rounded_cache_equals_one_rank) {
    struct scheme scheme = schemes[1];
    enum kv_type type = _i ? KV_Q8_0 : KV_BF16;
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o, single;
        struct sequence_options options = test_sequence(scheme, LONGEST, 7);
        options.kv = type;
        float *want = NULL;
        if (rank == 0) {
            opened_open(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, &single);
            want = logits_of(&single, &options, ids, LONGEST);
            opened_close(&single);
        }
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        float *got = logits_of(&o, &options, ids, LONGEST);
        double off = agreed(MPI_COMM_WORLD, got ? distance(got, want, LONGEST * shape.vocab) : 0);
        ck_assert_msg(off <= (type == KV_BF16 ? 4e-3 : 8e-3), "off by %g", off);
        opened_close(&o);
        free(want);
        free(got);
    }
}
END_TEST

/* Products in bf16: every mesh rounds the same weights, and activations that differ in the last
 * bits of f32 sums; one that lies on a rounding border moves by 2^-8 of itself. The same holds
 * between bf16 and f32, where every activation and weight moves by up to 2^-9 of itself, through
 * three layers of random weights, which amplify it more than a trained model's. */
START_TEST(bf16_products_equal_one_rank) {
    enum isa isa;
    isa_chosen(&isa);
    if (!compute_has(COMPUTE_BF16, isa)) {
        if (rank == 0)
            printf("SKIP: bf16 products on every mesh (found %s)\n", isa_name(isa));
        return;
    }
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o, single;
        struct sequence_options options = test_sequence(schemes[1], LONGEST, 64);
        options.compute = COMPUTE_BF16;
        float *want = NULL, *exact = alone(schemes[1], LONGEST);
        if (rank == 0) {
            opened_open_as(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, COMPUTE_BF16, WEIGHTS_AUTO,
                           &single);
            want = logits_of(&single, &options, ids, LONGEST);
            opened_close(&single);
        }
        opened_open_as(MPI_COMM_WORLD, dir, mesh, COMPUTE_BF16, WEIGHTS_AUTO, &o);
        float *got = logits_of(&o, &options, ids, LONGEST);
        int64_t n = LONGEST * shape.vocab;
        double off = agreed(MPI_COMM_WORLD, got ? distance(got, want, n) : 0);
        ck_assert_msg(off <= 1e-2, "off by %g from one rank", off);
        off = agreed(MPI_COMM_WORLD, got ? distance(got, exact, n) : 0);
        ck_assert_msg(off <= 3e-2 && off > 0, "off by %g from f32", off);
        opened_close(&o);
        free(want);
        free(exact);
        free(got);
    }
}
END_TEST

/* Losses straight from the logits, in double. */
static void losses_by_hand(const float *logits, float *losses) {
    for (int t = 0; t + 1 < LONGEST; t++) {
        double sum = 0;
        for (int64_t v = 0; v < shape.vocab; v++)
            sum += exp(logits[t * shape.vocab + v]);
        losses[t] = (float)(log(sum) - logits[t * shape.vocab + ids[t + 1]]);
    }
}

/* The losses of a whole run, read in chunks, everywhere. */
static void losses_of(struct opened *o, const struct sequence_options *options, float *losses) {
    struct sequence s;
    int chunk = (int)options->chunk;
    ck_assert_int_eq(sequence_open(&o->model, options, &s), STATUS_OK);
    for (int done = 0; done < LONGEST; done += chunk) {
        int T = LONGEST - done < chunk ? LONGEST - done : chunk;
        forward_chunk(&s, ids + done, T);
        head_losses(&s, ids + done + 1, done + T < LONGEST ? T : T - 1, losses + done);
    }
    sequence_close(&s);
    MPI_Bcast(losses, LONGEST - 1, MPI_FLOAT, dist_decider(&o->dist), MPI_COMM_WORLD);
}

/* One rank's losses, everywhere. */
static void losses_alone(struct scheme scheme, float *losses) {
    float *logits = alone(scheme, LONGEST);
    if (logits)
        losses_by_hand(logits, losses);
    free(logits);
    MPI_Bcast(losses, LONGEST - 1, MPI_FLOAT, 0, MPI_COMM_WORLD);
}

/* With memory in common, and by messages as between nodes. */
START_TEST(losses_equal_logits) {
    float want[LONGEST] = {0}, got[LONGEST] = {0};
    losses_alone(schemes[2], want);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        struct sequence_options options = test_sequence(schemes[2], LONGEST, 70);
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        o.dist.spread = _i;
        losses_of(&o, &options, got);
        double off = distance(got, want, LONGEST - 1);
        ck_assert_msg(off <= TOLERANCE, "pp=%d,tp=%d,sp=%d: off by %g", (int)mesh.pp, (int)mesh.tp,
                      (int)mesh.sp, off);
        opened_close(&o);
    }
}
END_TEST

/* A chunk in two halves differs in the order of sums alone, and a second run in nothing. */
START_TEST(halves_equal_one_rank) {
    float want[LONGEST] = {0}, got[LONGEST] = {0}, again[LONGEST] = {0};
    losses_alone(schemes[_i], want);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        struct sequence_options options = test_sequence(schemes[_i], LONGEST, LONGEST);
        options.overlap = true;
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        losses_of(&o, &options, got);
        losses_of(&o, &options, again);
        double off = distance(got, want, LONGEST - 1);
        ck_assert_msg(off <= TOLERANCE, "pp=%d,tp=%d,sp=%d: off by %g", (int)mesh.pp, (int)mesh.tp,
                      (int)mesh.sp, off);
        ck_assert_mem_eq(got, again, (LONGEST - 1) * sizeof *got);
        opened_close(&o);
    }
}
END_TEST

/* bf16 on the wire moves a partial sum by up to 2^-9 of itself, through three layers of random
 * weights, as bf16 products do. Where a rank is alone in its stage nothing is rounded. */
START_TEST(bf16_wire_is_near_one_rank) {
    float want[LONGEST] = {0}, got[LONGEST] = {0};
    losses_alone(schemes[1], want);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        for (int overlap = 0; overlap < 2; overlap++) {
            struct opened o;
            struct sequence_options options = test_sequence(schemes[1], LONGEST, LONGEST);
            options.wire = WIRE_BF16;
            options.overlap = overlap;
            opened_open(MPI_COMM_WORLD, dir, mesh, &o);
            losses_of(&o, &options, got);
            double off = distance(got, want, LONGEST - 1);
            bool sends = mesh.tp * mesh.sp > 1;
            ck_assert_msg(off <= (sends ? 2e-2 : TOLERANCE) && (off > TOLERANCE) == sends,
                          "pp=%d,tp=%d,sp=%d: off by %g", (int)mesh.pp, (int)mesh.tp, (int)mesh.sp,
                          off);
            opened_close(&o);
        }
    }
}
END_TEST

#define CHOSEN 24

static void choose_tokens(struct opened *o, const struct sample_options *sample, int32_t *chosen) {
    struct sequence s;
    struct choice choice;
    struct sequence_options options = test_sequence(schemes[1], 20 + CHOSEN, 20);
    ck_assert_int_eq(sequence_open(&o->model, &options, &s), STATUS_OK);
    forward_chunk(&s, ids, 20);
    for (int n = 0; n < CHOSEN; n++) {
        ck_assert_int_eq(head_choose(&s, sample, 3, &choice), STATUS_OK);
        chosen[n] = choice.token;
        ck_assert_int_eq(choice.top_count, 3);
        ck_assert(choice.top[0].logprob >= choice.top[1].logprob && choice.logprob <= 0);
        ck_assert(choice.top[0].logprob >= choice.logprob);
        if (sample->temperature == 0)
            ck_assert_int_eq(choice.top[0].id, choice.token);
        forward_chunk(&s, &choice.token, 1);
    }
    sequence_close(&s);
}

static const struct sample_options samples[] = {
    {.temperature = 0, .top_p = 1},
    {.temperature = 1, .top_p = 1, .seed = 7},
    {.temperature = 0.8, .top_k = 5, .top_p = 1, .seed = 8},
    {.temperature = 2.0, .top_p = 0.97, .seed = 9}, /* needs more candidates than the first lot */
    {.temperature = 1.3, .top_k = 90, .top_p = 0.5, .seed = 10},
};

START_TEST(same_seed_same_tokens) {
    int32_t want[CHOSEN] = {0}, got[CHOSEN];
    struct opened o;
    if (rank == 0) {
        opened_open(MPI_COMM_SELF, dir, (struct mesh){1, 1, 1}, &o);
        choose_tokens(&o, &samples[_i], want);
        opened_close(&o);
    }
    MPI_Bcast(want, CHOSEN, MPI_INT32_T, 0, MPI_COMM_WORLD);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        choose_tokens(&o, &samples[_i], got);
        int same = memcmp(got, want, sizeof got) == 0;
        MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
        ck_assert_msg(same, "options %d, pp=%d,tp=%d,sp=%d", _i, (int)mesh.pp, (int)mesh.tp,
                      (int)mesh.sp);
        opened_close(&o);
    }
}
END_TEST

/* The last element of layer 1's down projection belongs to the rank that holds the last columns. */
START_TEST(not_finite_is_named) {
    make_model("model.layers.1.mlp.down_proj.weight");
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        struct sequence s;
        struct choice choice;
        struct sequence_options options = test_sequence(schemes[0], 20, 20);
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        o.dist.spread = _i;
        ck_assert_int_eq(sequence_open(&o.model, &options, &s), STATUS_OK);
        forward_chunk(&s, ids, 20);
        struct sample_options greedy = {.temperature = 0, .top_p = 1};
        ck_assert_int_eq(head_choose(&s, &greedy, 0, &choice), STATUS_FAILED);
        int64_t stage = ranks / mesh.pp, at = 0;
        while (!range_has(range_part(shape.layers, mesh.pp, at), 1))
            at++;
        char want[32];
        snprintf(want, sizeof want, "on rank %d,", (int)(at * stage + stage - 1));
        ck_assert_msg(strstr(status_text(), "layer 1 FFN") && strstr(status_text(), want),
                      "expected %s in: %s", want, status_text());
        sequence_close(&s);
        opened_close(&o);
    }
    remove_model();
}
END_TEST

static Suite *meshes_suite(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    Suite *suite = suite_create("meshes");
    TCase *tests = tcase_create("one rank");
    tcase_add_unchecked_fixture(tests, setup, remove_model);
    tcase_add_loop_test(tests, logits_equal_one_rank, 0, COUNT(schemes));
    tcase_add_loop_test(tests, rounded_cache_equals_one_rank, 0, 2);
    tcase_add_test(tests, bf16_products_equal_one_rank);
    tcase_add_loop_test(tests, halves_equal_one_rank, 0, COUNT(schemes));
    tcase_add_test(tests, bf16_wire_is_near_one_rank);
    tcase_add_loop_test(tests, losses_equal_logits, 0, 2);
    tcase_add_loop_test(tests, same_seed_same_tokens, 0, COUNT(samples));
    suite_add_tcase(suite, tests);
    TCase *faults = tcase_create("faults");
    tcase_add_loop_test(faults, not_finite_is_named, 0, 2);
    suite_add_tcase(suite, faults);
    return suite;
}

int main(int argc, char **argv) {
    return suite_main(argc, argv, meshes_suite);
}
