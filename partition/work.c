#include "partition/work.h"

#include "partition/tensors.h"

double work_pairs(const struct scheme *scheme, int64_t first, int64_t tokens) {
    double pairs = 0, window = (double)scheme->window;
    double from = (double)first, end = from + (double)tokens;
    if (scheme->rule == ZONE_MASKED && end > window) {
        double full = from > window ? from : window; /* from here on the window is full */
        pairs = (end - full) * window;
        end = full;
    }
    return pairs + (end - from) * (from + end + 1) / 2; /* token i sees i + 1 */
}

static const struct mesh alone = {1, 1, 1};

/* How many of a tensor's copies one token meets. */
static double copies_met(const struct shape *shape, const struct tensor_slice *slice) {
    return (double)(slice->copies > 1 ? shape->experts_used : slice->copies);
}

/* Weights of a list's products. */
static double products_of(const struct shape *shape, const struct tensor_list *list) {
    double weights = 0;
    for (int64_t i = 0; i < list->count; i++)
        if (list->slices[i].cols && !list->slices[i].looked_up)
            weights +=
                (double)tensor_own_elements(&list->slices[i]) * copies_met(shape, &list->slices[i]);
    return weights;
}

/* Bytes of a list's tensors that each token reads. */
static double bytes_of(const struct shape *shape, const struct weight_format *format,
                       const struct tensor_list *list) {
    double bytes = 0;
    for (int64_t i = 0; i < list->count; i++) {
        const struct tensor_slice *slice = &list->slices[i];
        if (slice->looked_up)
            continue;
        double one = slice->f32 ? 4 * (double)tensor_own_elements(slice)
                                : (double)weight_bytes(format, weight_block(format, slice),
                                                       slice->own_rows.count, slice->own_cols);
        bytes += one * copies_met(shape, slice);
    }
    return bytes;
}

/* Pairs of all layers; each may have a scheme of its own. */
static double pairs_of_layers(const struct shape *shape, const struct scheme *scheme, int64_t first,
                              int64_t tokens) {
    double pairs = 0;
    for (int64_t layer = 0; layer < shape->layers; layer++) {
        struct scheme own = scheme_of_layer(scheme, shape, layer);
        pairs += work_pairs(&own, first, tokens);
    }
    return pairs;
}

double work_prefill(const struct shape *shape, const struct scheme *scheme, int64_t tokens) {
    struct share all = share_of(shape, alone, 0);
    struct tensor_list list;
    tensors_of_tables(shape, &all, &list);
    double head = tokens ? products_of(shape, &list) : 0, layers = 0;
    for (int64_t layer = 0; layer < shape->layers; layer++) {
        tensors_of_layer(shape, &all, layer, &list);
        layers += products_of(shape, &list);
    }
    double width = (double)shape->heads * (double)shape->head_dim;
    return 2 * (layers * (double)tokens + head) +
           4 * width * pairs_of_layers(shape, scheme, 0, tokens);
}

double work_decode(const struct shape *shape, const struct plan_request *request, int64_t first,
                   int64_t tokens) {
    struct share all = share_of(shape, alone, 0);
    struct tensor_list list;
    tensors_of_tables(shape, &all, &list);
    double weights = bytes_of(shape, &request->weights, &list);
    for (int64_t layer = 0; layer < shape->layers; layer++) {
        tensors_of_layer(shape, &all, layer, &list);
        weights += bytes_of(shape, &request->weights, &list);
    }
    int64_t d = shape->head_dim;
    int64_t row = d * request->kv_bytes + (d + 31) / 32 * request->kv_scale_bytes;
    double pair = 2 * (double)shape->kv_heads * (double)row;
    return weights * (double)tokens +
           pair * pairs_of_layers(shape, &request->scheme, first, tokens);
}
