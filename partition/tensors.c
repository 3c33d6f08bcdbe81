/* Legend: D hidden, d head_dim, F FFN columns, V vocabulary, E experts. */
#include "partition/tensors.h"
#include "partition/weight_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct range all(int64_t n) {
    struct range r = {0, n};
    return r;
}

static struct range times(struct range r, int64_t n) {
    struct range out = {r.first * n, r.count * n};
    return out;
}

_Static_assert(SHAPE_ROLES == TENSOR_ROLES, "shape.stored has a place for each role");

static void put(struct tensor_list *list, struct tensor_slice slice) {
    if (slice.copies == 0)
        slice.copies = 1;
    list->slices[list->count++] = slice;
}

/* A linear layer [rows, cols], with its bias: of the own rows where the rows are split, whole where
 * the columns are, so that it is added once, behind the sum over the ranks. */
static void put_linear(struct tensor_list *list, enum tensor_role role, int64_t rows,
                       struct range own_rows, int64_t cols, struct range own_cols, bool bias) {
    put(list,
        (struct tensor_slice){
            .role = role, .rows = rows, .cols = cols, .own_rows = own_rows, .own_cols = own_cols});
    if (bias)
        put(list, (struct tensor_slice){
                      .role = role, .bias = true, .f32 = true, .rows = rows, .own_rows = own_rows});
}

static void put_vector(struct tensor_list *list, enum tensor_role role, int64_t width,
                       struct range own) {
    put(list, (struct tensor_slice){.role = role, .f32 = true, .rows = width, .own_rows = own});
}

static void put_norm(struct tensor_list *list, const struct shape *s, enum tensor_role role,
                     struct range own) {
    put_vector(list, role, s->hidden, own);
    if (s->norm == NORM_LAYER)
        put(list, (struct tensor_slice){
                      .role = role, .bias = true, .f32 = true, .rows = s->hidden, .own_rows = own});
}

static void put_head_norms(struct tensor_list *list, const struct shape *s,
                           const struct share *own) {
    int64_t d = s->head_dim;
    if (s->head_norm == HEAD_NORM_EACH) {
        put_vector(list, TENSOR_Q_NORM, d, all(d));
        put_vector(list, TENSOR_K_NORM, d, all(d));
    } else if (s->head_norm == HEAD_NORM_WIDE) {
        put_vector(list, TENSOR_Q_NORM, s->heads * d, times(own->heads, d));
        put_vector(list, TENSOR_K_NORM, s->kv_heads * d, own->kv_rows);
    }
}

static void put_ffn(struct tensor_list *list, const struct shape *s, const struct share *own) {
    int64_t D = s->hidden, F = s->ffn;
    bool bias = s->biases & BIAS_FFN;
    if (!s->ungated)
        put_linear(list, TENSOR_GATE, F, own->ffn, D, all(D), bias);
    put_linear(list, TENSOR_UP, F, own->ffn, D, all(D), bias);
    put_linear(list, TENSOR_DOWN, D, all(D), F, own->ffn, bias);
}

static void put_experts(struct tensor_list *list, const struct shape *s, const struct share *own) {
    int64_t D = s->hidden, F = s->expert_ffn;
    struct range columns = own->expert_ffn;
    const struct tensor_slice slices[] = {
        {.role = TENSOR_ROUTER,
         .f32 = true,
         .rows = s->experts,
         .cols = D,
         .own_rows = all(own->routes ? s->experts : 0),
         .own_cols = all(D)},
        {.role = TENSOR_EXPERT_GATE,
         .copies = s->experts,
         .rows = F,
         .cols = D,
         .own_rows = columns,
         .own_cols = all(D)},
        {.role = TENSOR_EXPERT_UP,
         .copies = s->experts,
         .rows = F,
         .cols = D,
         .own_rows = columns,
         .own_cols = all(D)},
        {.role = TENSOR_EXPERT_DOWN,
         .copies = s->experts,
         .rows = D,
         .cols = F,
         .own_rows = all(D),
         .own_cols = columns},
    };
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        put(list, slices[i]);
}

/* Row of shape.stored: 0 for the tables, then the layers. */
static void put_stored(struct tensor_list *list, const struct shape *s, int64_t row) {
    for (int64_t i = 0; i < list->count; i++)
        if (list->slices[i].cols)
            list->slices[i].stored = s->stored[row][list->slices[i].role];
}

void tensors_of_layer(const struct shape *s, const struct share *own, int64_t layer,
                      struct tensor_list *list) {
    int64_t D = s->hidden, d = s->head_dim, Q = s->heads * d, K = s->kv_heads * d;
    struct range heads = times(own->heads, d);
    bool bias = s->biases & BIAS_QKV;
    list->count = 0;
    if (s->norm_place != NORM_AFTER)
        put_norm(list, s, TENSOR_ATTENTION_NORM, all(D));
    put_linear(list, TENSOR_Q, Q, heads, D, all(D), bias);
    put_linear(list, TENSOR_K, K, own->kv_rows, D, all(D), bias);
    put_linear(list, TENSOR_V, K, own->kv_rows, D, all(D), bias);
    put_head_norms(list, s, own);
    put_linear(list, TENSOR_O, D, all(D), Q, heads, s->biases & BIAS_O);
    if (s->norm_place != NORM_BEFORE)
        put_norm(list, s, TENSOR_ATTENTION_POST_NORM, all(D));
    if (s->norm_place != NORM_AFTER && !s->parallel)
        put_norm(list, s, TENSOR_FFN_NORM, all(D));
    if (shape_layer_is(s, layer, LAYER_EXPERTS))
        put_experts(list, s, own);
    else
        put_ffn(list, s, own);
    if (s->norm_place != NORM_BEFORE)
        put_norm(list, s, TENSOR_FFN_POST_NORM, all(D));
    put_stored(list, s, layer + 1);
}

void tensors_of_tables(const struct shape *s, const struct share *own, struct tensor_list *list) {
    int64_t V = s->vocab, D = s->hidden;
    const struct range none = {0, 0};
    bool tied_here = s->tied && own->predicts;
    list->count = 0;
    put(list, (struct tensor_slice){.role = TENSOR_EMBEDDING,
                                    .looked_up = !s->tied,
                                    .rows = V,
                                    .cols = D,
                                    .own_rows = own->embeds || tied_here ? own->vocab : none,
                                    .own_cols = all(D)});
    put_norm(list, s, TENSOR_FINAL_NORM, own->predicts ? all(D) : none);
    if (!s->tied)
        put_linear(list, TENSOR_HEAD, V, own->predicts ? own->vocab : none, D, all(D),
                   s->biases & BIAS_HEAD);
    else if (s->biases & BIAS_HEAD)
        put(list, (struct tensor_slice){.role = TENSOR_HEAD,
                                        .bias = true,
                                        .f32 = true,
                                        .rows = V,
                                        .own_rows = own->predicts ? own->vocab : none});
    put_stored(list, s, 0);
}

static int64_t role_rows(const struct shape *s, enum tensor_role role) {
    switch (role) {
    case TENSOR_Q:
        return s->heads * s->head_dim;
    case TENSOR_K:
    case TENSOR_V:
        return s->kv_heads * s->head_dim;
    default: /* gate and up */
        return s->ffn;
    }
}

/* Writes the pattern with its numbers and the suffix. */
static void write_name(const char *pattern, int64_t layer, int64_t copy, const char *suffix,
                       char *out, size_t size) {
    size_t used = 0;
    for (; *pattern && used + 24 < size; pattern++) {
        if (*pattern == '#' || *pattern == '*')
            used += (size_t)snprintf(out + used, size - used, "%" PRId64,
                                     *pattern == '#' ? layer : copy);
        else
            out[used++] = *pattern;
    }
    snprintf(out + used, size - used, "%s", suffix);
}

struct tensor_place tensor_place(const struct tensor_names *names, const struct shape *shape,
                                 const struct tensor_slice *slice, int64_t layer, int64_t copy) {
    static const enum tensor_role stacks[][3] = {{TENSOR_Q, TENSOR_K, TENSOR_V},
                                                 {TENSOR_GATE, TENSOR_UP, TENSOR_ROLES}};
    struct tensor_place place = {.rows = slice->rows, .cols = slice->cols};
    const char *own = names->of[slice->role];
    for (int i = 0; i < 2; i++) {
        const enum tensor_role *stack = stacks[i];
        bool before = true, within = false;
        for (int k = 0; k < 3 && stack[k] != TENSOR_ROLES; k++)
            within = within || stack[k] == slice->role;
        for (int k = 0; within && k < 3 && stack[k] != TENSOR_ROLES; k++) {
            before = before && stack[k] != slice->role;
            const char *name = names->of[stack[k]];
            if (stack[k] == slice->role || !name || strcmp(name, own) != 0)
                continue;
            place.rows += role_rows(shape, stack[k]);
            place.row_first += before ? role_rows(shape, stack[k]) : 0;
        }
    }
    if (slice->copies > 1 && !strchr(own, '*')) {
        place.rows *= slice->copies;
        place.row_first = copy * slice->rows;
    }
    if (names->pairs_adjacent && (slice->role == TENSOR_Q || slice->role == TENSOR_K))
        place.pairs = shape->head_dim;
    int used = snprintf(place.name, sizeof place.name, "%s", names->prefix ? names->prefix : "");
    write_name(own, layer, copy, slice->bias ? ".bias" : ".weight", place.name + used,
               sizeof place.name - (size_t)used);
    return place;
}

/* What a sum over all tensors adds up: parameters, those of them that are f32, or, with a format,
 * the bytes of the matrices. */
struct measure {
    bool f32_alone;
    const struct weight_format *format; /* NULL: parameters */
};

static unsigned __int128 slice_measure(const struct measure *m, const struct tensor_slice *s) {
    if (m->format)
        return s->f32 ? 0
                      : (unsigned __int128)weight_bytes(m->format, weight_block(m->format, s),
                                                        s->own_rows.count, s->own_cols);
    return s->f32 || !m->f32_alone ? (unsigned __int128)tensor_own_elements(s) : 0;
}

static unsigned __int128 list_measure(const struct measure *m, const struct tensor_list *list) {
    unsigned __int128 sum = 0;
    for (int64_t i = 0; i < list->count; i++)
        sum += (unsigned __int128)list->slices[i].copies * slice_measure(m, &list->slices[i]);
    return sum;
}

static unsigned __int128 sum_all(const struct measure *m, const struct shape *shape,
                                 const struct share *share) {
    struct tensor_list list;
    tensors_of_tables(shape, share, &list);
    unsigned __int128 sum = list_measure(m, &list);
    for (int64_t l = share->layers.first; l < range_end(share->layers); l++) {
        tensors_of_layer(shape, share, l, &list);
        sum += list_measure(m, &list);
    }
    return sum;
}

unsigned __int128 tensors_count(const struct shape *shape, const struct share *share,
                                bool f32_alone) {
    const struct measure measure = {.f32_alone = f32_alone};
    return sum_all(&measure, shape, share);
}

unsigned __int128 tensors_matrix_bytes(const struct shape *shape, const struct share *share,
                                       const struct weight_format *format) {
    const struct measure measure = {.format = format};
    return sum_all(&measure, shape, share);
}
