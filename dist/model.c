#include "dist/model.h"

#include "dist/quantise.h"
#include "kernels/quant.h"
#include "partition/scheme.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One tensor of the checkpoint, the slice of it that a rank holds, and where that goes: a norm's
 * vector or a matrix. */
struct slice {
    const char *name;   /* within the layer, or whole for the tables */
    int64_t rows, cols; /* of the whole tensor; cols 0: a vector */
    struct range own_rows, own_cols;
    const float **vector; /* NULL: a matrix */
    struct matrix *matrix;
    bool looked_up; /* row by row, never multiplied */
};

/* What is still free of the model's allocation: the norms' part, and the matrices' behind it. */
struct room {
    float *norms;
    char *matrices;
};

#define LAYER_SLICES 9

static struct range all(int64_t n) {
    struct range r = {0, n};
    return r;
}

static struct range times(struct range r, int64_t n) {
    struct range out = {r.first * n, r.count * n};
    return out;
}

static void layer_slices(const struct shape *s, const struct share *own, struct layer_weights *w,
                         struct slice out[LAYER_SLICES]) {
    int64_t D = s->hidden, Q = s->heads * s->head_dim, K = s->kv_heads * s->head_dim, F = s->ffn;
    struct range heads = times(own->heads, s->head_dim);
    const struct slice table[LAYER_SLICES] = {
        {"input_layernorm", D, 0, all(D), all(0), &w->attention_norm, NULL, false},
        {"self_attn.q_proj", Q, D, heads, all(D), NULL, &w->q, false},
        {"self_attn.k_proj", K, D, own->kv_rows, all(D), NULL, &w->k, false},
        {"self_attn.v_proj", K, D, own->kv_rows, all(D), NULL, &w->v, false},
        {"self_attn.o_proj", D, Q, all(D), heads, NULL, &w->o, false},
        {"post_attention_layernorm", D, 0, all(D), all(0), &w->ffn_norm, NULL, false},
        {"mlp.gate_proj", F, D, own->ffn, all(D), NULL, &w->gate, false},
        {"mlp.up_proj", F, D, own->ffn, all(D), NULL, &w->up, false},
        {"mlp.down_proj", D, F, all(D), own->ffn, NULL, &w->down, false},
    };
    memcpy(out, table, sizeof table);
}

static void layer_tensor_name(char *out, size_t size, int64_t layer, const char *name) {
    snprintf(out, size, "model.layers.%" PRId64 ".%s.weight", layer, name);
}

static const char *head_name(const struct shape *s) {
    return s->tied ? "model.embed_tokens.weight" : "lm_head.weight";
}

enum status model_check(const struct weights *weights, const struct shape *shape) {
    struct share none = {0};
    struct layer_weights unused;
    struct slice slices[LAYER_SLICES];
    layer_slices(shape, &none, &unused, slices);
    TRY(weights_check(weights, "model.embed_tokens.weight", shape->vocab, shape->hidden));
    TRY(weights_check(weights, "model.norm.weight", shape->hidden, 0));
    TRY(weights_check(weights, head_name(shape), shape->vocab, shape->hidden));
    for (int64_t layer = 0; layer < shape->layers; layer++)
        for (int i = 0; i < LAYER_SLICES; i++) {
            char name[128];
            layer_tensor_name(name, sizeof name, layer, slices[i].name);
            TRY(weights_check(weights, name, slices[i].rows, slices[i].cols));
        }
    return STATUS_OK;
}

/* Takes the next part of the model's allocation for a matrix and reads it there. */
static enum status matrix_read(struct weights *weights, const char *name, const struct slice *s,
                               const struct model *m, struct room *room) {
    bool blocks = weight_in_blocks(&m->format, s->cols, !s->looked_up);
    struct range cols = s->own_cols;
    void *at = room->matrices;
    room->matrices += weight_bytes(&m->format, s->cols, !s->looked_up, s->own_rows.count, cols);
    *s->matrix = (struct matrix){m->plain, s->own_rows.count, cols.count, at, 0};
    if (blocks) {
        struct range held = weight_block_columns(&m->format, cols);
        s->matrix->type = m->blocks;
        s->matrix->lead = cols.first - held.first;
        return quantise_read(weights, name, s->own_rows, held, m->blocks, at);
    }
    if (m->plain == MATRIX_BF16)
        return weights_read_bf16(weights, name, s->own_rows, cols, at);
    return weights_read(weights, name, s->own_rows, cols, at);
}

static enum status slice_read(struct weights *weights, const char *name, const struct slice *s,
                              const struct model *m, struct room *room) {
    if (s->matrix)
        return matrix_read(weights, name, s, m, room);
    float *at = room->norms;
    *s->vector = at;
    room->norms += s->own_rows.count;
    return weights_read(weights, name, s->own_rows, s->own_cols, at);
}

static enum status read_layers(struct weights *weights, struct model *m, struct room *room) {
    for (int64_t l = 0; l < m->share.layers.count; l++) {
        struct slice slices[LAYER_SLICES];
        layer_slices(&m->shape, &m->share, &m->layers[l], slices);
        for (int i = 0; i < LAYER_SLICES; i++) {
            char name[128];
            layer_tensor_name(name, sizeof name, m->share.layers.first + l, slices[i].name);
            TRY(slice_read(weights, name, &slices[i], m, room));
        }
    }
    return STATUS_OK;
}

static enum status read_tables(struct weights *weights, struct model *m, struct room *room) {
    int64_t V = m->shape.vocab, D = m->shape.hidden;
    const struct slice embedding = {
        NULL, V, D, m->share.vocab, all(D), NULL, &m->embedding, !m->shape.tied};
    const struct slice norm = {NULL, D, 0, all(D), all(0), &m->final_norm, NULL, false};
    const struct slice head = {NULL, V, D, m->share.vocab, all(D), NULL, &m->head, false};
    if (m->share.embeds)
        TRY(slice_read(weights, "model.embed_tokens.weight", &embedding, m, room));
    if (!m->share.predicts)
        return STATUS_OK;
    TRY(slice_read(weights, "model.norm.weight", &norm, m, room));
    if (m->shape.tied && m->share.embeds)
        m->head = m->embedding;
    else
        TRY(slice_read(weights, head_name(&m->shape), &head, m, room));
    return STATUS_OK;
}

/* Weights are read from end to end: on large pages that takes fewer look-ups of addresses. Only a
 * hint; memory that is not asked for in whole pages stays on small ones. */
#define LARGE_PAGE ((size_t)2 << 20)

static void *allocate(size_t bytes) {
    size_t pages = (bytes + LARGE_PAGE - 1) / LARGE_PAGE;
    if (bytes < LARGE_PAGE)
        return aligned_alloc(64, (bytes / 64 + 1) * 64);
    void *data = aligned_alloc(LARGE_PAGE, pages * LARGE_PAGE);
    if (data)
        madvise(data, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    return data;
}

struct weight_format model_format(enum compute compute, enum weights_type weights) {
    enum matrix_type type = weights_matrix(weights, compute);
    const struct quant_type *quant = quant_type(type);
    struct weight_format format = {.plain_bytes = compute == COMPUTE_BF16 ? 2 : 4};
    if (quant) {
        format.block = quant->block;
        format.block_bytes = quant->block_bytes;
        format.row_group = QUANT_ROWS;
    }
    return format;
}

enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       enum compute compute, enum weights_type type, struct model *model) {
    memset(model, 0, sizeof *model);
    model->shape = *shape;
    model->dist = dist;
    model->plain = compute_weights(compute);
    model->blocks = weights_matrix(type, compute);
    model->format = model_format(compute, type);
    model->share = share_of(shape, dist->mesh, mesh_rank(dist->mesh, dist->place));
    int64_t bytes = share_weight_bytes(shape, &model->share, &model->format);
    model->data = allocate((size_t)bytes);
    model->layers = calloc((size_t)model->share.layers.count, sizeof *model->layers);
    model->rope_frequencies = malloc((size_t)shape->head_dim / 2 * sizeof(double));
    if (!model->data || !model->layers || !model->rope_frequencies)
        return status_no_memory("weights", (long long)bytes);
    rope_frequencies(&shape->rope, shape->head_dim, model->rope_frequencies);
    int64_t norms = share_norm_parameters(shape, &model->share) * (int64_t)sizeof(float);
    norms = (norms + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    struct room room = {model->data, (char *)model->data + norms};
    TRY(read_tables(weights, model, &room));
    return read_layers(weights, model, &room);
}

void model_close(struct model *model) {
    free(model->data);
    free(model->layers);
    free(model->rope_frequencies);
    memset(model, 0, sizeof *model);
}
