/* Reference logits (made with the transformers library in float64) on every mesh of the job's
 * ranks: within 5e-5 of the largest logit. One MPI job per number of ranks.
 * Ranks: 1 2 3 4 5 */
#include "tests/golden_file.h"
#include "tests/mpi_support.h"

#include "dist/forward.h"
#include "dist/head.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOLERANCE 5e-5

static int rank, ranks;

static struct scheme scheme_of(const struct shape *shape, const char *name) {
    int64_t group, window;
    golden_scheme(name, &group, &window);
    if (group)
        return test_scheme(group, window);
    return scheme_choose(shape, (struct scheme_request){.plain = true}, 0);
}

/* Compares one set of logits on one mesh for one chunk size; all ranks hold the verdict. */
static void compare(struct opened *o, const char *what, struct scheme scheme, const int32_t *ids,
                    int64_t T, const float *want, int64_t chunk, int64_t length) {
    struct sequence_options options = test_sequence(scheme, T, chunk);
    options.length = length;
    float *got = logits_of(o, &options, ids, T);
    double off = got ? distance(got, want, T * o->model.shape.vocab) : 0;
    off = agreed(MPI_COMM_WORLD, off);
    ck_assert_msg(off <= TOLERANCE, "%s, mesh pp=%d,tp=%d,sp=%d, chunk %d: off by %g", what,
                  (int)o->dist.mesh.pp, (int)o->dist.mesh.tp, (int)o->dist.mesh.sp, (int)chunk,
                  off);
    free(got);
}

/* Compares one set of reference logits for several sizes of a chunk. Sets ending in _short take
 * longrope's short factors: those of texts within the original context. */
static void compare_set(struct opened *o, const char *dir, const struct golden *golden, int set) {
    static const int64_t chunks[] = {7, 64, 96};
    const struct golden_logits *logits = &golden->sets[set];
    struct scheme scheme = scheme_of(&o->model.shape, logits->name);
    bool is_short = strstr(logits->name, "_short") != NULL;
    int64_t length = is_short ? o->model.shape.rope.original_context : 0;
    for (int i = 0; i < 3; i++)
        compare(o, dir, scheme, golden->ids, logits->rows, logits->values, chunks[i], length);
}

/* What was planned for this rank is what it has taken. */
static void check_plan(struct opened *o, struct scheme scheme, int64_t T) {
    struct sequence s;
    struct sequence_options options = test_sequence(scheme, T, 7);
    struct plan_request request = sequence_plan(&options, 1);
    int64_t rank_of_model = mesh_rank(o->dist.mesh, o->dist.place);
    struct plan plan = plan_rank(&o->model.shape, o->dist.mesh, rank_of_model, &request);
    ck_assert_int_eq(sequence_open(&o->model, &options, &s), STATUS_OK);
    ck_assert_int_eq(sequence_bytes(&s), plan.kv + plan.activations);
    ck_assert_int_eq(o->model.bytes, plan.weights);
    sequence_close(&s);
}

static void compare_dir(const char *dir) {
    char path[4096];
    struct golden golden;
    struct shape shape;
    snprintf(path, sizeof path, "%s/golden.safetensors", dir);
    golden_read(path, "logits_", &golden);
    ck_assert_int_gt(golden.sets_count, 1);
    ck_assert_int_eq(shape_read(dir, &shape), STATUS_OK);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        for (int i = 0; i < golden.sets_count; i++) {
            if (strstr(golden.sets[i].name, "_keepwindow")) /* windows are off under SelfExtend */
                continue;
            compare_set(&o, dir, &golden, i);
            check_plan(&o, scheme_of(&shape, golden.sets[i].name), golden.T);
        }
        opened_close(&o);
    }
    golden_free(&golden);
}

static const char *const own[] = {"llama",   "llama-bf16", "llama3",  "llama3-oldconfig",
                                  "mistral", "phi",        "phi3",    "phi3-longrope",
                                  "qwen2",   "qwen3",      "gemma",   "gemma2",
                                  "gemma3",  "olmo2",      "granite", "smollm3",
                                  "mixtral", "qwen3_moe"};
enum { OWN = sizeof own / sizeof own[0] };

START_TEST(own_directories) {
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/tests/golden/%s", QUIRE_SOURCE_DIR, own[_i]);
    compare_dir(dir);
}
END_TEST

#define LONG 150

/* Losses of LONG tokens in one chunk: with memory in common, by messages, in halves. */
enum way { IN_COMMON, BY_MESSAGES, IN_HALVES, WAYS };

static void read_losses(struct opened *o, enum way way, const int32_t *ids, float *losses) {
    struct sequence s;
    struct sequence_options options = test_sequence(test_scheme(3, 10), LONG, LONG);
    options.overlap = way == IN_HALVES;
    o->dist.spread = way == BY_MESSAGES;
    ck_assert_int_eq(sequence_open(&o->model, &options, &s), STATUS_OK);
    ck_assert_int_eq(commons_exist(&s.commons), way == IN_COMMON && o->dist.stage.size > 1);
    forward_chunk(&s, ids, LONG);
    head_losses(&s, ids + 1, LONG - 1, losses);
    ck_assert_int_eq(sequence_check(&s), STATUS_OK);
    sequence_close(&s);
}

/* However sums go over the stage, also those of one half while the other computes, the losses are
 * the same, whatever stands around attention and FFN. */
START_TEST(ways_to_sum) {
    char dir[4096];
    int32_t ids[LONG];
    float losses[WAYS][LONG];
    struct shape shape;
    snprintf(dir, sizeof dir, "%s/tests/golden/%s", QUIRE_SOURCE_DIR, own[_i]);
    ck_assert_int_eq(shape_read(dir, &shape), STATUS_OK);
    for (int t = 0; t < LONG; t++)
        ids[t] = (int32_t)((t * 37 + t * t * 11 + 5) % shape.vocab);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        for (enum way way = 0; way < WAYS; way++) {
            read_losses(&o, way, ids, losses[way]);
            double off = o.dist.world.rank == dist_decider(&o.dist)
                             ? distance(losses[way], losses[0], LONG - 1)
                             : 0;
            MPI_Bcast(&off, 1, MPI_DOUBLE, dist_decider(&o.dist), MPI_COMM_WORLD);
            ck_assert_msg(off <= TOLERANCE, "%s, pp=%d,tp=%d,sp=%d, way %d: off by %g", own[_i],
                          (int)mesh.pp, (int)mesh.tp, (int)mesh.sp, way, off);
        }
        opened_close(&o);
    }
}
END_TEST

/* The other form of config.json describes the same model. */
START_TEST(old_config) {
    if (strcmp(own[_i], "llama3-oldconfig") == 0) /* it is in that form already */
        return;
    char dir[DIRECTORY_MAX], command[8192];
    directory_make(dir);
    if (rank == 0) {
        snprintf(command, sizeof command,
                 "cp %s/tests/golden/%s/* %s/ && cp %s/config_old_style.json %s/config.json",
                 QUIRE_SOURCE_DIR, own[_i], dir, dir, dir);
        ck_assert_int_eq(system(command), 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    compare_dir(dir);
    directory_remove(dir);
}
END_TEST

/* Third-party values: models/ferrl-tiny-*, and those of neural-api-tiny-hf, whose llama is there in
 * two shards as well. Their files are linked into a temporary directory under the usual names. */
#define FERRL(name)                                                                                \
    { "ferrl-tiny-" name, "config.json", "golden.json", {"model.safetensors"}, NULL }
#define NEURAL(name)                                                                               \
    {                                                                                              \
        "neural-api-tiny-hf", "tiny_" name "_config.json", "tiny_" name "_logits.json",            \
            {"tiny_" name ".safetensors"}, NULL                                                    \
    }
static const struct third_party {
    const char *folder, *config, *logits;
    const char *weights[3]; /* file there, and its name here when it differs */
    const char *index;
} others[] = {
    FERRL("llama"),
    FERRL("qwen3"),
    NEURAL("llama"),
    {"neural-api-tiny-hf",
     "tiny_llama_config.json",
     "tiny_llama_logits.json",
     {"tiny_llama-00001-of-00002.safetensors", "tiny_llama-00002-of-00002.safetensors"},
     "tiny_llama.safetensors.index.json"},
    NEURAL("mistral"),
    NEURAL("qwen2"),
    NEURAL("qwen3"),
    NEURAL("phi"),
    NEURAL("phi3"),
    NEURAL("phi3_longrope"),
    NEURAL("gemma"),
    NEURAL("gemma2"),
};
enum { OTHERS = sizeof others / sizeof others[0] };

static void link_file(const char *shared, const char *folder, const char *file, const char *dir,
                      const char *name) {
    char from[4096], to[4096], *whole;
    snprintf(from, sizeof from, "%s/models/%s/%s", shared, folder, file);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    whole = realpath(from, NULL);
    ck_assert_ptr_nonnull(whole);
    ck_assert_int_eq(symlink(whole, to), 0);
    free(whole);
}

static void link_model(const char *shared, const struct third_party *p, const char *dir) {
    link_file(shared, p->folder, p->config, dir, "config.json");
    if (p->index)
        link_file(shared, p->folder, p->index, dir, "model.safetensors.index.json");
    for (int i = 0; i < 3 && p->weights[i]; i++)
        link_file(shared, p->folder, p->weights[i], dir,
                  p->index ? p->weights[i] : "model.safetensors");
}

/* One text of a file of logits: ids and their logits [T, V]. */
static void compare_json(struct opened *o, const char *what, json_t *ids, json_t *logits,
                         bool flat) {
    int64_t T = (int64_t)json_array_size(ids), V = o->model.shape.vocab;
    int32_t *tokens = malloc((size_t)T * sizeof *tokens);
    float *want = malloc((size_t)(T * V) * sizeof *want);
    for (int64_t t = 0; t < T; t++) {
        tokens[t] = (int32_t)json_integer_value(json_array_get(ids, (size_t)t));
        for (int64_t v = 0; v < V; v++) {
            json_t *row = flat ? logits : json_array_get(logits, (size_t)t);
            want[t * V + v] =
                (float)json_number_value(json_array_get(row, (size_t)(flat ? t * V + v : v)));
        }
    }
    struct scheme scheme = scheme_of(&o->model.shape, "plain");
    compare(o, what, scheme, tokens, T, want, T, 0);
    compare(o, what, scheme, tokens, T, want, 3, 0);
    free(tokens);
    free(want);
}

static void compare_texts(struct opened *o, const char *what, json_t *root) {
    json_t *sequences = json_object_get(root, "sequences"), *entry;
    size_t i;
    if (sequences) {
        json_t *logits = json_object_get(root, "logits");
        json_array_foreach(sequences, i, entry)
            compare_json(o, what, entry, json_array_get(logits, i), false);
        return;
    }
    json_t *text = json_object_get(json_object_get(root, "cases"), "full_b1");
    json_t *ids = json_object_get(text, "input_ids");
    if (json_is_array(json_array_get(ids, 0)))
        ids = json_array_get(ids, 0);
    ck_assert_ptr_nonnull(ids);
    compare_json(o, what, ids, json_object_get(text, "logits"), true);
}

START_TEST(third_party) {
    const struct third_party *p = &others[_i];
    const char *shared = shared_dir();
    char dir[DIRECTORY_MAX], path[4096];
    if (!shared) {
        if (rank == 0)
            printf("SKIP: %s (no shared data)\n", p->folder);
        return;
    }
    directory_make(dir);
    if (rank == 0)
        link_model(shared, p, dir);
    MPI_Barrier(MPI_COMM_WORLD);
    snprintf(path, sizeof path, "%s/models/%s/%s", shared, p->folder, p->logits);
    json_t *root = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(root);
    struct shape shape;
    ck_assert_int_eq(shape_read(dir, &shape), STATUS_OK);
    for (struct mesh mesh = {0}; mesh_next(ranks, shape.layers, &mesh);) {
        struct opened o;
        opened_open(MPI_COMM_WORLD, dir, mesh, &o);
        compare_texts(&o, p->config, root);
        opened_close(&o);
    }
    json_decref(root);
    directory_remove(dir);
}
END_TEST

static Suite *golden_suite(void) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    Suite *suite = suite_create("golden logits");
    TCase *tests = tcase_create("golden");
    tcase_add_loop_test(tests, own_directories, 0, OWN);
    tcase_add_loop_test(tests, ways_to_sum, 0, OWN);
    tcase_add_loop_test(tests, old_config, 0, OWN);
    tcase_add_loop_test(tests, third_party, 0, OTHERS);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(int argc, char **argv) {
    return suite_main(argc, argv, golden_suite);
}
