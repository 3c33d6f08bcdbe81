#include "tests/mpi_support.h"

#include "dist/forward.h"
#include "dist/head.h"
#include "kernels/gemm.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEST_BLOCK 16

static void end_job(enum status status) {
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "%s\n", status_text());
    MPI_Abort(MPI_COMM_WORLD, 1);
}

void opened_open(MPI_Comm comm, const char *dir, struct mesh mesh, struct opened *opened) {
    opened_open_as(comm, dir, mesh, COMPUTE_F32, WEIGHTS_AUTO, opened);
}

void opened_open_as(MPI_Comm comm, const char *dir, struct mesh mesh, enum compute compute,
                    enum weights_type type, struct opened *opened) {
    struct shape shape;
    struct weights *weights;
    end_job(shape_read(dir, &shape));
    end_job(dist_open(comm, mesh, &opened->dist));
    end_job(weights_open(dir, &weights));
    end_job(model_check(weights, &shape));
    end_job(model_load(&opened->dist, &shape, weights, compute, type, &opened->model));
    weights_close(&weights);
}

void opened_close(struct opened *opened) {
    model_close(&opened->model);
    dist_close(&opened->dist);
}

bool mesh_next(int64_t ranks, int64_t stages, struct mesh *mesh) {
    int64_t pp = mesh->pp ? mesh->pp : 1, tp = mesh->pp ? mesh->tp + 1 : 1;
    for (; pp <= stages && pp <= ranks; pp++, tp = 1) {
        if (ranks % pp)
            continue;
        for (int64_t stage = ranks / pp; tp <= stage; tp++)
            if (stage % tp == 0) {
                *mesh = (struct mesh){pp, tp, stage / tp};
                return true;
            }
    }
    return false;
}

/* Collects the logits: each rank fills in what it holds, the sum has everything. */
struct collector {
    float *logits; /* [T, V], zero where other ranks hold it */
    int64_t vocab;
};

static void collect(void *context, const struct site_part *part) {
    struct collector *c = context;
    if (part->site != SITE_LOGITS)
        return;
    for (int64_t t = 0; t < part->tokens.count; t++)
        memcpy(c->logits + (part->tokens.first + t) * c->vocab + part->columns.first,
               part->data + t * part->columns.count,
               (size_t)part->columns.count * sizeof *part->data);
}

float *logits_of(struct opened *opened, const struct sequence_options *options, const int32_t *ids,
                 int64_t T) {
    struct sequence s;
    int64_t n = T * opened->model.shape.vocab;
    struct collector c = {calloc((size_t)n, sizeof(float)), opened->model.shape.vocab};
    const struct probe probe = {collect, &c};
    end_job(c.logits ? STATUS_OK : status_no_memory("logits", n));
    end_job(sequence_open(&opened->model, options, &s));
    s.probe = &probe;
    for (int64_t done = 0; done < T; done += s.chunk_rows) {
        int64_t rest = T - done;
        forward_chunk(&s, ids + done, rest < s.options.chunk ? rest : s.options.chunk);
        head_probe(&s);
    }
    end_job(sequence_check(&s));
    sequence_close(&s);
    bool first = opened->dist.world.rank == 0;
    MPI_Reduce(first ? MPI_IN_PLACE : c.logits, c.logits, (int)n, MPI_FLOAT, MPI_SUM, 0,
               opened->dist.world.comm);
    if (first)
        return c.logits;
    free(c.logits);
    return NULL;
}

double distance(const float *a, const float *b, int64_t n) {
    double most = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (!(difference <= most))
            most = difference;
        if (fabs(b[i]) > largest)
            largest = fabs(b[i]);
    }
    return most / largest;
}

double agreed(MPI_Comm comm, double value) {
    MPI_Bcast(&value, 1, MPI_DOUBLE, 0, comm);
    return value;
}

struct scheme test_scheme(int64_t group, int64_t window) {
    struct scheme s = {group ? ZONE_GROUPED : ZONE_ALL_NEAR, window, group ? group : 1};
    return s;
}

struct sequence_options test_sequence(struct scheme scheme, int64_t capacity, int64_t chunk) {
    struct sequence_options o = {
        .scheme = scheme, .kv = KV_F32, .capacity = capacity, .chunk = chunk, .block = TEST_BLOCK};
    isa_chosen(&o.isa);
    return o;
}

void directory_make(char path[DIRECTORY_MAX]) {
    int rank;
    const char *parent = getenv("TMPDIR");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(path, DIRECTORY_MAX, "%s/quire-test-XXXXXX", parent ? parent : "/tmp");
    if (rank == 0 && !mkdtemp(path))
        end_job(status_fail(path, NULL, "found no way to make a directory there"));
    MPI_Bcast(path, DIRECTORY_MAX, MPI_CHAR, 0, MPI_COMM_WORLD);
}

void directory_remove(const char *path) {
    int rank;
    char command[DIRECTORY_MAX + 16];
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    snprintf(command, sizeof command, "rm -r '%s'", path);
    if (rank == 0 && system(command) != 0)
        end_job(status_fail(path, NULL, "found no way to remove it"));
}

const char *shared_dir(void) {
    struct stat info;
    const char *dir = getenv("QUIRE_SHARED");
    if (!dir)
        dir = QUIRE_SOURCE_DIR "/../shared";
    return stat(dir, &info) == 0 ? dir : NULL;
}

int suite_main(int argc, char **argv, Suite *(*suite)(void)) {
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    omp_set_num_threads(1);
    gemm_init();
    SRunner *runner = srunner_create(suite());
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, rank == 0 ? CK_NORMAL : CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    gemm_close();
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MPI_Finalize();
    return failed ? 1 : 0;
}
