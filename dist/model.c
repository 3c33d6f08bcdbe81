#include "dist/model.h"

#include "dist/matrix_read.h"
#include "kernels/quant.h"
#include "partition/family.h"
#include "partition/tensors.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What is still free of the model's allocation: the part that is f32 whatever the type, and the
 * matrices' behind it. */
struct room {
    float *f32;
    char *matrices;
};

/* One load: where from, under which names, and what is left of the memory. */
struct loader {
    struct weights *weights;
    const struct model *model;
    struct tensor_names names;
    struct room room;
};

/* Calls `visit` for every tensor of the model by its place in the files, until one fails. */
static enum status each_tensor(const struct shape *shape, void *context,
                               enum status (*visit)(void *context,
                                                    const struct tensor_place *place)) {
    struct share none = {0};
    struct tensor_names names = family_names(shape);
    for (int64_t layer = -1; layer < shape->layers; layer++) {
        struct tensor_list list;
        if (layer < 0)
            tensors_of_tables(shape, &none, &list);
        else
            tensors_of_layer(shape, &none, layer, &list);
        for (int64_t i = 0; i < list.count; i++)
            for (int64_t copy = 0; copy < list.slices[i].copies; copy++) {
                struct tensor_place place =
                    tensor_place(&names, shape, &list.slices[i], layer, copy);
                TRY(visit(context, &place));
            }
    }
    return STATUS_OK;
}

static enum status check_tensor(void *weights, const struct tensor_place *place) {
    return weights_check(weights, place->name, place->rows, place->cols);
}

enum status model_check(const struct weights *weights, const struct shape *shape) {
    return each_tensor(shape, (void *)weights, check_tensor);
}

/* Which of the files' tensors were met. */
struct met {
    const struct weights *weights;
    bool *flags; /* [weights_count] */
};

static enum status mark_met(void *context, const struct tensor_place *place) {
    struct met *met = context;
    int64_t first = 0, end = weights_count(met->weights);
    while (first < end) { /* names ascend */
        int64_t middle = first + (end - first) / 2;
        int order = strcmp(weights_name(met->weights, middle), place->name);
        if (order == 0)
            met->flags[middle] = true;
        first = order < 0 ? middle + 1 : first;
        end = order < 0 ? end : middle;
    }
    return STATUS_OK;
}

/* Tensors of GGUF files that the shape was read from. */
static bool holds_rope_factors(const struct shape *shape, const char *name) {
    return shape->is_gguf && shape->rope.type == ROPE_LONGROPE && strncmp(name, "rope_f", 6) == 0;
}

enum status model_list_unused(const struct weights *weights, const struct shape *shape,
                              void (*put)(void *context, const char *name), void *context) {
    int64_t count = weights_count(weights);
    struct met met = {weights, calloc((size_t)count + 1, 1)};
    if (!met.flags)
        return status_no_memory("tensors", (long long)count);
    enum status status = each_tensor(shape, &met, mark_met);
    for (int64_t i = 0; status == STATUS_OK && i < count; i++)
        if (!met.flags[i] && !holds_rope_factors(shape, weights_name(weights, i)))
            put(context, weights_name(weights, i));
    free(met.flags);
    return status;
}

const char *model_dtype(const struct weights *weights, const struct shape *shape) {
    struct tensor_names names = family_names(shape);
    const struct tensor_slice table = {.role = TENSOR_EMBEDDING, .copies = 1};
    const char *dtype = weights_dtype(weights, tensor_place(&names, shape, &table, -1, 0).name);
    return dtype ? dtype : "";
}

/* Where a slice's matrix or vector belongs among a layer's weights: one of the two is set. */
struct target {
    struct matrix *matrix;
    const float **vector;
};

static struct target target_norm(struct norm *norm, bool bias) {
    return (struct target){.vector = bias ? &norm->bias : &norm->weight};
}

static struct target target_linear(struct linear *linear, bool bias) {
    return bias ? (struct target){.vector = &linear->bias}
                : (struct target){.matrix = &linear->weight};
}

static struct target target_of(struct layer_weights *l, enum tensor_role role, bool bias,
                               int64_t copy) {
    switch (role) {
    case TENSOR_ATTENTION_NORM:
        return target_norm(&l->attention_norm, bias);
    case TENSOR_ATTENTION_POST_NORM:
        return target_norm(&l->attention_post_norm, bias);
    case TENSOR_FFN_NORM:
        return target_norm(&l->ffn_norm, bias);
    case TENSOR_FFN_POST_NORM:
        return target_norm(&l->ffn_post_norm, bias);
    case TENSOR_Q_NORM:
        return (struct target){.vector = &l->q_norm};
    case TENSOR_K_NORM:
        return (struct target){.vector = &l->k_norm};
    case TENSOR_Q:
        return target_linear(&l->q, bias);
    case TENSOR_K:
        return target_linear(&l->k, bias);
    case TENSOR_V:
        return target_linear(&l->v, bias);
    case TENSOR_O:
        return target_linear(&l->o, bias);
    case TENSOR_GATE:
        return target_linear(&l->ffn.gate, bias);
    case TENSOR_UP:
        return target_linear(&l->ffn.up, bias);
    case TENSOR_DOWN:
        return target_linear(&l->ffn.down, bias);
    case TENSOR_ROUTER:
        return (struct target){.matrix = &l->router};
    case TENSOR_EXPERT_GATE:
        return target_linear(&l->experts[copy].gate, bias);
    case TENSOR_EXPERT_UP:
        return target_linear(&l->experts[copy].up, bias);
    default:
        return target_linear(&l->experts[copy].down, bias);
    }
}

static struct target target_table(struct model *m, enum tensor_role role, bool bias) {
    switch (role) {
    case TENSOR_EMBEDDING:
        return (struct target){.matrix = &m->embedding};
    case TENSOR_FINAL_NORM:
        return target_norm(&m->final_norm, bias);
    default:
        return target_linear(&m->head, bias);
    }
}

/* Types in blocks by the number that GGUF files give them. */
static const enum matrix_type stored_types[UINT8_MAX + 1] = {
    [2] = MATRIX_Q4_0, [3] = MATRIX_Q4_1,  [6] = MATRIX_Q5_0,  [7] = MATRIX_Q5_1,
    [8] = MATRIX_Q8_0, [12] = MATRIX_Q4_K, [13] = MATRIX_Q5_K, [14] = MATRIX_Q6_K,
};

/* A type's blocks as they are held; length 0 without. */
static struct weight_block block_of(enum matrix_type type) {
    const struct quant_type *quant = quant_type(type);
    return quant ? (struct weight_block){quant->block, quant->tile_bytes / QUANT_ROWS}
                 : (struct weight_block){0, 0};
}

/* The blocks of stored_types. */
static const struct weight_block *stored_blocks(void) {
    static struct weight_block blocks[UINT8_MAX + 1];
    for (int number = 0; number <= UINT8_MAX; number++)
        blocks[number] = block_of(stored_types[number]);
    return blocks;
}

/* What a matrix is held in: the blocks of the file, those quantised to, or one type. */
enum matrix_type model_held(enum compute compute, enum weights_type weights,
                            const struct tensor_slice *slice) {
    struct weight_format format = model_format(compute, weights);
    if (slice->f32)
        return MATRIX_F32;
    if (!weight_block(&format, slice).length)
        return compute_weights(compute);
    return format.stored ? stored_types[slice->stored] : weights_matrix(weights, compute);
}

/* A router stays in f32, whatever the type of the rest. */
static enum status router_read(struct loader *load, const struct matrix_source *source,
                               const struct tensor_slice *s, struct matrix *matrix) {
    float *at = load->room.f32;
    *matrix = (struct matrix){MATRIX_F32, s->own_rows.count, s->own_cols.count, at, 0};
    load->room.f32 += tensor_own_elements(s);
    return matrix_read(source, s->own_rows, s->own_cols, MATRIX_F32, false, at);
}

static enum status weight_read(struct loader *load, const struct matrix_source *source,
                               struct range rows, const struct tensor_slice *s,
                               struct matrix *matrix) {
    const struct model *m = load->model;
    struct weight_block block = weight_block(&m->format, s);
    struct range cols = s->own_cols;
    void *at = load->room.matrices;
    if (s->f32)
        return router_read(load, source, s, matrix);
    load->room.matrices += weight_bytes(&m->format, block, rows.count, cols);
    *matrix = (struct matrix){model_held(m->compute, m->weights, s), rows.count, cols.count, at, 0};
    if (block.length) {
        struct range held = weight_block_columns(block, cols);
        matrix->lead = cols.first - held.first;
        cols = held;
    }
    return matrix_read(source, rows, cols, matrix->type, m->format.stored && block.length, at);
}

static enum status vector_read(struct loader *load, const struct matrix_source *source,
                               struct range rows, const struct tensor_slice *s,
                               const float **vector) {
    float *at = load->room.f32;
    *vector = at;
    load->room.f32 += rows.count;
    TRY(matrix_read(source, rows, s->own_cols, MATRIX_F32, false, at));
    if (load->names.norms_less_one && tensor_is_norm(s->role))
        for (int64_t i = 0; i < rows.count; i++)
            at[i] += 1;
    return STATUS_OK;
}

/* Takes the next part of the model's allocation for a slice and reads it there. */
static enum status slice_read(struct loader *load, const struct tensor_slice *s, int64_t layer,
                              int64_t copy, struct target target) {
    struct tensor_place place = tensor_place(&load->names, &load->model->shape, s, layer, copy);
    struct range rows = {place.row_first + s->own_rows.first, s->own_rows.count};
    if (s->own_rows.count == 0)
        rows.first = 0;
    const struct matrix_source source = {load->weights, place.name, place.pairs};
    if (target.matrix)
        return weight_read(load, &source, rows, s, target.matrix);
    return vector_read(load, &source, rows, s, target.vector);
}

static enum status read_layers(struct loader *load, struct model *m) {
    struct ffn *experts = m->experts;
    for (int64_t l = 0; l < m->share.layers.count; l++) {
        int64_t layer = m->share.layers.first + l;
        struct tensor_list list;
        if (shape_layer_is(&m->shape, layer, LAYER_EXPERTS)) {
            m->layers[l].experts = experts;
            experts += m->shape.experts;
        }
        tensors_of_layer(&m->shape, &m->share, layer, &list);
        for (int64_t i = 0; i < list.count; i++)
            for (int64_t copy = 0; copy < list.slices[i].copies; copy++) {
                const struct tensor_slice *s = &list.slices[i];
                TRY(slice_read(load, s, layer, copy,
                               target_of(&m->layers[l], s->role, s->bias, copy)));
            }
    }
    return STATUS_OK;
}

static enum status read_tables(struct loader *load, struct model *m) {
    struct tensor_list list;
    tensors_of_tables(&m->shape, &m->share, &list);
    for (int64_t i = 0; i < list.count; i++) {
        const struct tensor_slice *s = &list.slices[i];
        if (s->own_rows.count > 0)
            TRY(slice_read(load, s, -1, 0, target_table(m, s->role, s->bias)));
    }
    if (m->shape.tied && m->share.predicts)
        m->head.weight = m->embedding;
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

/* Layers of the stage that hold experts. */
static int64_t expert_layers(const struct model *m) {
    int64_t count = 0;
    for (int64_t l = m->share.layers.first; l < range_end(m->share.layers); l++)
        count += shape_layer_is(&m->shape, l, LAYER_EXPERTS);
    return count;
}

struct weight_format model_format(enum compute compute, enum weights_type weights) {
    struct weight_format format = {.plain_bytes = compute == COMPUTE_BF16 ? 2 : 4,
                                   .block = block_of(weights_matrix(weights, compute)),
                                   .row_group = QUANT_ROWS};
    if (!format.block.length)
        format.stored = stored_blocks();
    return format;
}

enum status model_load(struct dist *dist, const struct shape *shape, struct weights *weights,
                       enum compute compute, enum weights_type type, struct model *model) {
    memset(model, 0, sizeof *model);
    model->shape = *shape;
    model->dist = dist;
    model->compute = compute;
    model->weights = type;
    model->format = model_format(compute, type);
    model->share = share_of(shape, dist->mesh, mesh_rank(dist->mesh, dist->place));
    int64_t bytes = share_weight_bytes(shape, &model->share, &model->format);
    model->data = allocate((size_t)bytes);
    model->layers = calloc((size_t)model->share.layers.count + 1, sizeof *model->layers);
    model->experts =
        calloc((size_t)(expert_layers(model) * shape->experts) + 1, sizeof *model->experts);
    if (!model->data || !model->layers || !model->experts)
        return status_no_memory("weights", (long long)bytes);
    struct loader load = {
        .weights = weights,
        .model = model,
        .names = family_names(shape),
        .room = {model->data, (char *)model->data + share_f32_bytes(shape, &model->share)}};
    TRY(read_tables(&load, model));
    TRY(read_layers(&load, model));
    model->bytes = load.room.matrices - (char *)model->data;
    return STATUS_OK;
}

void model_close(struct model *model) {
    free(model->data);
    free(model->layers);
    free(model->experts);
    memset(model, 0, sizeof *model);
}
