#include "launch/session.h"

#include "kernels/gemm.h"
#include "launch/fit.h"
#include "partition/shape_named.h"
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of a KV block: as many as a tile of the attention kernels takes. */
#define KV_BLOCK 128

bool session_leads(const struct session *session) {
    return session->dist.world.rank == 0;
}

/* Rank 0 reads the small files; all ranks get the same structs. */
static enum status read_shape(struct session *s) {
    int rank;
    enum status status = STATUS_OK;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        status = s->options->shape ? shape_named(s->options->shape, &s->shape)
                                   : shape_read(s->options->model, &s->shape);
    if (rank == 0 && status == STATUS_OK && s->options->model)
        status = shape_read_stop_ids(s->options->model, &s->shape, &s->stop_ids);
    TRY(status_agree(MPI_COMM_WORLD, status));
    MPI_Bcast(&s->shape, sizeof s->shape, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Bcast(&s->stop_ids, sizeof s->stop_ids, MPI_BYTE, 0, MPI_COMM_WORLD);
    return STATUS_OK;
}

static enum status open_ranks(struct session *s) {
    /* The mesh that inspect is asked about needs no ranks of its own. */
    static const struct mesh automatic = {0, 0, 0};
    struct mesh mesh, asked = s->options->command == COMMAND_INSPECT ? automatic : s->options->mesh;
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    TRY(mesh_complete(asked, size, &s->shape, &mesh));
    return dist_open(MPI_COMM_WORLD, mesh, &s->dist);
}

static enum status choose_isa(enum isa *isa) {
    if (isa_chosen(isa))
        return STATUS_OK;
    return status_usage("QUIRE_ISA",
                        "found \"%.200s\", expected generic, avx2, avx512, avx512_bf16 or amx, and "
                        "at most %s, the highest of this machine; unset it to take that",
                        getenv("QUIRE_ISA"), isa_name(isa_available()));
}

/* auto is decided by the lowest level of all ranks, so that they come to the same. */
static enum status choose_compute(struct session *s) {
    int lowest = (int)s->isa;
    MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, s->dist.world.comm);
    s->compute = compute_choose(s->options->compute, (enum isa)lowest);
    if (compute_has(s->compute, s->isa))
        return STATUS_OK;
    return status_fail(
        "--compute bf16", "processor",
        "found %s on rank %d, expected avx512_bf16 or amx; take --compute f32 or auto",
        isa_name(s->isa), s->dist.world.rank);
}

/* Within one node's memory a message costs computing time itself, and halves are slower to compute
 * than the whole: there is nothing to win. */
static bool choose_overlap(const struct session *s) {
    int overlap = s->options->overlap == OVERLAP_ON ||
                  (s->options->overlap == OVERLAP_AUTO && s->dist.spread);
    overlap = overlap && s->dist.stage.size > 1;
    MPI_Allreduce(MPI_IN_PLACE, &overlap, 1, MPI_INT, MPI_MAX, s->dist.world.comm);
    return overlap;
}

static void warn_crowded(const struct session *s) {
    int cores, rank = machine_crowded(s->dist.world.comm, &s->machine, &cores);
    if (rank >= 0 && session_leads(s))
        fprintf(stderr,
                "quire: warning: --threads: found %" PRId64
                ", more than the %d cores that rank %d may use; the threads will wait for each "
                "other, give the ranks more (mpirun --bind-to none) or ask for fewer\n",
                s->threads, cores, rank);
}

static enum status open_machine(struct session *s) {
    TRY(status_agree(s->dist.world.comm, choose_isa(&s->isa)));
    TRY(status_agree(s->dist.world.comm, choose_compute(s)));
    enum status status = machine_open(s->dist.world.comm, s->options->threads, &s->machine);
    TRY(status_agree(s->dist.world.comm, status));
    s->threads = s->machine.threads;
    s->ranks_on_node = s->machine.ranks_on_node;
    warn_crowded(s);
    omp_set_num_threads((int)s->threads);
    gemm_init();
    s->overlap = choose_overlap(s);
    s->dist.times.apart = s->options->timing || s->options->json;
    return STATUS_OK;
}

/* Each rank opens the files for itself: they may differ from node to node. */
static enum status open_weights(struct session *s) {
    if (s->options->shape)
        TRY(weights_open_random(s->options->shape, s->shape.hidden, &s->weights));
    else
        TRY(weights_open(s->options->model, &s->weights));
    TRY(model_check(s->weights, &s->shape));
    snprintf(s->dtype, sizeof s->dtype, "%s", model_dtype(s->weights, &s->shape));
    return STATUS_OK;
}

enum status session_open(const struct options *options, struct session *session) {
    memset(session, 0, sizeof *session);
    session->options = options;
    session->seconds_started = MPI_Wtime();
    TRY(read_shape(session));
    TRY(open_ranks(session));
    TRY(open_machine(session));
    return status_agree(session->dist.world.comm, open_weights(session));
}

void session_close(struct session *session) {
    model_close(&session->model);
    weights_close(&session->weights);
    tokenizer_close(&session->tokenizer);
    tokens_free(&session->tokens);
    free(session->text);
    machine_close(&session->machine);
    gemm_close();
    dist_close(&session->dist);
    memset(session, 0, sizeof *session);
}

enum status session_open_tokenizer(struct session *s, bool required) {
    enum status status = STATUS_OK;
    if (session_leads(s) && (required || tokenizer_exists(s->options->model)))
        status = tokenizer_open(s->options->model, &s->tokenizer);
    return status_agree(s->dist.world.comm, status);
}

struct sequence_options session_sequence(const struct session *s, bool plain, int64_t length,
                                         int64_t capacity) {
    struct scheme_request request = s->options->scheme;
    int64_t chunk = s->options->chunk;
    request.plain = request.plain || plain;
    if (chunk > CHUNK_MAX)
        chunk = CHUNK_MAX;
    if (chunk > capacity)
        chunk = capacity;
    struct sequence_options sequence = {
        .scheme = scheme_choose(&s->shape, request, length),
        .kv = s->options->kv,
        .compute = s->compute,
        .weights = s->options->weights,
        .isa = s->isa,
        .wire = s->options->wire,
        .overlap = s->overlap,
        .capacity = capacity,
        .length = length,
        .chunk = chunk,
        .block = KV_BLOCK,
    };
    return sequence;
}

enum status session_load(struct session *s, const struct sequence_options *sequences,
                         int64_t count) {
    MPI_Comm world = s->dist.world.comm;
    TRY(fit_check(s, sequences, count));
    double start = MPI_Wtime();
    TRY(status_agree(world, model_load(&s->dist, &s->shape, s->weights, s->compute,
                                       s->options->weights, &s->model)));
    int64_t own = weights_bytes_read(s->weights);
    MPI_Allreduce(&own, &s->bytes_read, 1, MPI_INT64_T, MPI_SUM, world);
    weights_close(&s->weights);
    s->seconds_loading = MPI_Wtime() - start;
    return STATUS_OK;
}

void session_warn_reach(const struct session *session, const struct scheme *scheme,
                        int64_t length) {
    static bool warned;
    char text[STATUS_TEXT_MAX];
    if (warned || !session_leads(session) ||
        !scheme_warning(scheme, &session->shape, length, text, sizeof text))
        return;
    fprintf(stderr, "quire: warning: %s\n", text);
    warned = true;
}
