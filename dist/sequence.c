#include "dist/sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the workspace's arrays lie: first called without memory to count, then with it to slice. */
struct carver {
    float *base;
    int64_t used; /* floats */
};

/* Each array starts on a cache line. */
static float *carve(struct carver *c, int64_t floats) {
    float *at = c->base ? c->base + c->used : NULL;
    c->used += commons_lines(floats);
    return at;
}

/* An array as it travels between ranks. */
static void *carve_wire(struct carver *c, enum wire wire, int64_t elements) {
    return carve(c, (elements * wire_bytes(wire) + 3) / 4);
}

/* Own columns of the FFN or of an expert: a model may have layers of both kinds. */
static int64_t ffn_columns(const struct share *share) {
    return share->ffn.count > share->expert_ffn.count ? share->ffn.count : share->expert_ffn.count;
}

/* Width of the widest activations that a product takes. */
static int64_t widest_input(const struct model *m) {
    int64_t widest = m->shape.hidden, heads = m->share.heads.count * m->shape.head_dim;
    if (heads > widest)
        widest = heads;
    return ffn_columns(&m->share) > widest ? ffn_columns(&m->share) : widest;
}

static void carve_experts(struct workspace *w, struct carver *c, const struct model *m, int64_t T) {
    int64_t E = m->shape.experts, U = m->shape.experts_used, D = m->shape.hidden;
    if (E == 0)
        return;
    w->routes = (struct route *)carve(c, 2 * T * U);
    w->router_logits = carve(c, m->share.routes ? T * E : 0);
    w->expert_order = (int32_t *)carve(c, T * U);
    w->expert_first = (int32_t *)carve(c, E + 1);
    w->expert_in = carve(c, T * D);
    w->expert_out = carve(c, T * D);
}

/* Floats of the residual stream, of its norm and of what is added to it. */
static int64_t stream_floats(const struct model *m, const struct sequence_options *o) {
    return commons_lines(o->chunk * m->shape.hidden);
}

/* All but these three. */
static void workspace_carve(struct workspace *w, struct carver *c, const struct model *m,
                            const struct sequence_options *o) {
    const struct shape *shape = &m->shape;
    const struct share *own = &m->share;
    int64_t T = o->chunk, D = shape->hidden, d = shape->head_dim, S = m->dist->mesh.sp;
    int64_t own_q = own->heads.count * d, group_q = own->group_heads.count * d;
    int64_t group_kv = own->kv_heads.count * d, rows = T * own->group_heads.count;
    int64_t partial = d + 2 * (int64_t)sizeof(float) / wire_bytes(o->wire);
    int R = m->dist->stage.size;
    bool far = o->scheme.rule == ZONE_GROUPED;
    w->passing = carve(c, own->predicts ? 0 : T * D);
    w->q_own = carve(c, T * own_q);
    w->q_near = carve(c, T * group_q);
    w->q_far = carve(c, far ? T * group_q : 0);
    w->kv_own = carve(c, 2 * T * own->kv_rows.count);
    w->exchange_send = carve_wire(c, o->wire, S > 1 ? T * (S * own_q + 2 * own->kv_rows.count) : 0);
    w->exchange_all = carve_wire(c, o->wire, S > 1 ? T * (group_q + 2 * group_kv) : 0);
    w->keys = carve(c, S > 1 ? T * group_kv : 0);
    w->values = carve(c, S > 1 ? T * group_kv : 0);
    w->attended = carve(c, T * group_q);
    w->row_max = carve(c, rows);
    w->row_sum = carve(c, rows);
    w->merge_send = carve_wire(c, o->wire, S > 1 ? rows * partial : 0);
    w->merge_all = carve_wire(c, o->wire, S > 1 ? S * T * own->heads.count * partial : 0);
    w->merged = carve(c, T * own_q);
    w->gate = carve(c, T * ffn_columns(own));
    w->up = carve(c, T * ffn_columns(own));
    w->squares = carve(c, shape->head_norm == HEAD_NORM_WIDE ? 2 * T : 0);
    carve_experts(w, c, m, T);
    bool blocks = weight_any_blocks(&m->format, &m->shape);
    int64_t bytes = gemm_scratch_bytes(o->compute, blocks, T, widest_input(m));
    w->products = gemm_scratch_slice(o->compute, blocks, T, widest_input(m), carve(c, bytes / 4));
    w->sum_send = o->wire == WIRE_BF16 && R > 1 ? carve_wire(c, o->wire, T * D) : NULL;
    w->sum_all = R > 1 ? carve_wire(c, o->wire, 2 * plan_sum_room((T + 1) / 2 * D, R)) : NULL;
    w->tables = carve(c, rotary_count(shape) * (far ? 6 : 2) * (T * rotary_pairs(shape)));
    w->logits = carve(c, own->predicts ? HEAD_ROWS * own->vocab.count : 0);
}

static enum status workspace_open(struct workspace *w, const struct model *m,
                                  const struct sequence_options *o, const struct commons *commons) {
    bool common = commons_exist(commons);
    int64_t n = stream_floats(m, o);
    struct carver c = {NULL, 0};
    workspace_carve(w, &c, m, o);
    w->bytes = (c.used + 3 * n) * (int64_t)sizeof(float);
    c.base = aligned_alloc(64, (size_t)(c.used + (common ? 0 : 3 * n)) * sizeof(float) + 64);
    if (!c.base)
        return status_no_memory("activations", w->bytes);
    w->data = c.base;
    c.used = 0;
    workspace_carve(w, &c, m, o);
    w->hidden = common ? commons->shared : carve(&c, n);
    w->normed = common ? commons->shared + n : carve(&c, n);
    w->partial = common ? commons->parts[m->dist->stage.rank] : carve(&c, n);
    return STATUS_OK;
}

/* Halves are read for the sake of messages, and sums are rounded for them. */
static void open_commons(struct sequence *s) {
    int64_t n = stream_floats(s->model, &s->options);
    if (!s->options.overlap && s->options.wire == WIRE_F32)
        commons_open(s->model->dist, 2 * n, n, &s->commons);
}

/* Tokens of a chunk as the buffers are made for it. */
static int64_t chunk_fit(const struct sequence_options *options) {
    int64_t chunk = options->chunk < CHUNK_MAX ? options->chunk : CHUNK_MAX;
    return chunk < options->capacity ? chunk : options->capacity;
}

static int64_t product_bytes(bool bf16, bool blocks, int64_t T, int64_t K) {
    return gemm_scratch_bytes(bf16 ? COMPUTE_BF16 : COMPUTE_F32, blocks, T, K);
}

struct plan_request sequence_plan(const struct sequence_options *options, int64_t threads) {
    struct plan_request request = {
        .capacity = options->capacity,
        .chunk = chunk_fit(options),
        .block = options->block,
        .kv_bytes = kv_element_bytes(options->kv),
        .kv_scale_bytes = options->kv == KV_Q8_0 ? 2 : 0,
        .weights = model_format(options->compute, options->weights),
        .bf16 = options->compute == COMPUTE_BF16,
        .products = product_bytes,
        .wire_bytes = wire_bytes(options->wire),
        .logits_rows = HEAD_ROWS,
        .threads = threads,
        .scheme = options->scheme,
    };
    return request;
}

/* The second half's buffers lie behind the first's. */
static enum status open_sums(struct sequence *s) {
    int64_t first = (s->options.chunk + 1) / 2 * s->model->shape.hidden;
    int64_t room = plan_sum_room(first, s->model->dist->stage.size),
            bytes = wire_bytes(s->options.wire);
    for (int half = 0; half < 2; half++) {
        char *send = s->work.sum_send, *receive = s->work.sum_all;
        TRY(reduction_open(s->model->dist, s->options.wire, half,
                           send ? send + half * first * bytes : NULL,
                           receive ? receive + half * room * bytes : NULL, &s->sums[half]));
    }
    return STATUS_OK;
}

void sequence_frequencies(const struct shape *shape, const struct sequence_options *options,
                          double *frequencies, double factors[2]) {
    const struct rope *const ropes[] = {&shape->rope, &shape->rope_local};
    int64_t pairs = rotary_pairs(shape);
    int64_t length = options->length ? options->length : options->capacity;
    for (int64_t r = 0; r < rotary_count(shape); r++)
        factors[r] = rope_frequencies(ropes[r], pairs, length, frequencies + r * pairs);
}

/* A layer of this stage by its number in the model. */
static int64_t layer_of(const struct sequence *s, int64_t layer) {
    return s->model->share.layers.first + layer;
}

struct scheme sequence_layer_scheme(const struct sequence *s, int64_t layer) {
    return scheme_of_layer(&s->options.scheme, &s->model->shape, layer_of(s, layer));
}

int64_t sequence_embedding(const struct sequence *s, int64_t layer) {
    const struct shape *shape = &s->model->shape;
    if (shape_layer_is(shape, layer_of(s, layer), LAYER_UNROTATED))
        return -1;
    return shape->has_local_rope && !shape_layer_is(shape, layer_of(s, layer), LAYER_SEES_ALL);
}

static enum status open_local(struct sequence *s) {
    const struct model *m = s->model;
    struct plan_request plan = sequence_plan(&s->options, 1);
    int64_t heads = m->share.kv_heads.count, T = s->options.chunk;
    TRY(cache_open(&m->shape, &m->share, m->dist->mesh, m->dist->place.sp, &plan, s->options.kv,
                   &s->cache));
    TRY(workspace_open(&s->work, m, &s->options, &s->commons));
    TRY(open_sums(s));
    s->tasks = calloc((size_t)heads + 1, sizeof *s->tasks);
    s->positions = calloc((size_t)(T * (shape_group(&m->shape) + 1)), sizeof *s->positions);
    int64_t pairs = rotary_pairs(&m->shape);
    s->frequencies = calloc(2 * (size_t)pairs, sizeof *s->frequencies);
    if (!s->tasks || !s->positions || !s->frequencies)
        return status_no_memory("sequence", T * 16);
    sequence_frequencies(&m->shape, &s->options, s->frequencies, s->rope_factor);
    return STATUS_OK;
}

enum status sequence_open(struct model *model, const struct sequence_options *options,
                          struct sequence *sequence) {
    memset(sequence, 0, sizeof *sequence);
    sequence->model = model;
    sequence->options = *options;
    sequence->options.chunk = chunk_fit(options);
    sequence->passing = MPI_REQUEST_NULL;
    sequence_reset(sequence);
    open_commons(sequence);
    return status_agree(model->dist->world.comm, open_local(sequence));
}

void sequence_close(struct sequence *sequence) {
    if (sequence->model && sequence->passing != MPI_REQUEST_NULL)
        MPI_Wait(&sequence->passing, MPI_STATUS_IGNORE);
    reduction_close(&sequence->sums[0]);
    reduction_close(&sequence->sums[1]);
    cache_close(&sequence->cache);
    commons_close(&sequence->commons);
    free(sequence->work.data);
    free(sequence->tasks);
    free(sequence->positions);
    free(sequence->frequencies);
    memset(sequence, 0, sizeof *sequence);
}

int64_t sequence_bytes(const struct sequence *s) {
    int64_t positions = s->options.chunk * (shape_group(&s->model->shape) + 1);
    return cache_bytes(&s->cache) + s->work.bytes + positions * (int64_t)sizeof *s->positions;
}

void sequence_reset(struct sequence *sequence) {
    sequence->tokens = 0;
    sequence->chunk_rows = 0;
    sequence->fault_step = step_logits(&sequence->model->shape) + 1;
}

void sequence_mark_fault(struct sequence *sequence, int64_t step) {
    if (step < sequence->fault_step)
        sequence->fault_step = step;
}

static void step_name(const struct shape *shape, int64_t step, char *text, size_t size) {
    if (step == STEP_EMBEDDING)
        snprintf(text, size, "embedding");
    else if (step == step_logits(shape))
        snprintf(text, size, "logits");
    else
        snprintf(text, size, "layer %" PRId64 " %s", (step - 1) / 2,
                 step % 2 ? "attention" : "FFN");
}

enum status sequence_check(struct sequence *s) {
    struct {
        long step;
        int rank;
    } mine = {(long)s->fault_step, s->model->dist->world.rank}, first;
    MPI_Allreduce(&mine, &first, 1, MPI_LONG_INT, MPI_MINLOC, s->model->dist->world.comm);
    if (first.step > step_logits(&s->model->shape))
        return STATUS_OK;
    char where[64];
    step_name(&s->model->shape, first.step, where, sizeof where);
    return status_fail("forward pass", where,
                       "found a value that is not finite on rank %d, expected finite activations; "
                       "check the weights",
                       first.rank);
}
