/* Legend: T tokens, D hidden, E experts of the layer, U experts that a token takes. */
#include "dist/experts.h"

#include "dist/apply.h"
#include "dist/ffn.h"
#include "kernels/elementwise.h"
#include <string.h>

static bool taken(const struct route *routes, int64_t count, int64_t expert) {
    for (int64_t i = 0; i < count; i++)
        if (routes[i].expert == expert)
            return true;
    return false;
}

/* The U largest of a token's logits [E], of equal ones the lower expert first, with their weights:
 * softmax over all experts, divided by the sum of those taken where the family says so. */
static void choose(const struct shape *shape, const float *logits, struct route *routes) {
    int64_t E = shape->experts, U = shape->experts_used;
    for (int64_t i = 0; i < U; i++) {
        int64_t best = -1;
        for (int64_t e = 0; e < E; e++)
            if ((best < 0 || logits[e] > logits[best]) && !taken(routes, i, e))
                best = e;
        routes[i].expert = (int32_t)best;
    }
    double largest = logits[routes[0].expert], sum = 0;
    for (int64_t e = 0; e < E; e++)
        if (!shape->experts_normalised || taken(routes, U, e))
            sum += exp(logits[e] - largest);
    for (int64_t i = 0; i < U; i++)
        routes[i].weight = (float)(exp(logits[routes[i].expert] - largest) / sum);
}

/* The router's part of one rank. */
static void decide(struct sequence *s, int64_t layer, const float *h, int64_t T) {
    const struct model *m = s->model;
    const struct shape *shape = &m->shape;
    struct workspace *w = &s->work;
    int64_t E = shape->experts, U = shape->experts_used;
    struct gemm_input input = gemm_prepare(&w->products, T, shape->hidden, h);
    partial_apply(m->dist, &input, &m->layers[layer].router, w->router_logits);
    if (!all_finite(w->router_logits, T * E))
        sequence_mark_fault(s, step_ffn(m->share.layers.first + layer));
#pragma omp parallel for if (T > 1)
    for (int64_t t = 0; t < T; t++)
        choose(shape, w->router_logits + t * E, w->routes + t * U);
}

static void tell(struct sequence *s, int64_t T) {
    struct dist *dist = s->model->dist;
    int64_t bytes = T * s->model->shape.experts_used * (int64_t)sizeof *s->work.routes;
    if (dist->stage.size == 1)
        return;
    times_wait(&dist->times, dist->stage.comm);
    enum time_part before = times_enter(&dist->times, TIME_COMMUNICATION);
    MPI_Bcast(s->work.routes, (int)bytes, MPI_BYTE, 0, dist->stage.comm);
    times_enter(&dist->times, before);
}

/* The routes [T * U] in the order of their experts, and where each expert's begin: first [E + 1].
 */
static void group_by_expert(struct sequence *s, int64_t T) {
    const struct shape *shape = &s->model->shape;
    int64_t E = shape->experts, n = T * shape->experts_used;
    const struct route *routes = s->work.routes;
    int32_t *first = s->work.expert_first, *order = s->work.expert_order;
    memset(first, 0, (size_t)(E + 1) * sizeof *first);
    for (int64_t i = 0; i < n; i++)
        first[routes[i].expert + 1]++;
    for (int64_t e = 0; e < E; e++)
        first[e + 1] += first[e];
    /* Fills each expert's places in turn, which moves its first behind its last; the one before it
     * then stands where it began. */
    for (int64_t i = 0; i < n; i++)
        order[first[routes[i].expert]++] = (int32_t)i;
    memmove(first + 1, first, (size_t)E * sizeof *first);
    first[0] = 0;
}

/* out += weight * FFN_e(h) for the tokens that take expert e: routes order [count]. */
static void add_expert(struct sequence *s, const struct ffn *expert, const int32_t *order,
                       int64_t count, const float *h, float *out) {
    struct workspace *w = &s->work;
    int64_t D = s->model->shape.hidden, U = s->model->shape.experts_used;
#pragma omp parallel for if (count > 1)
    for (int64_t i = 0; i < count; i++)
        memcpy(w->expert_in + i * D, h + order[i] / U * D, (size_t)D * sizeof *h);
    ffn_columns(s, expert, w->expert_in, count, w->expert_out);
#pragma omp parallel for if (count > 1)
    for (int64_t i = 0; i < count; i++) {
        float *to = out + order[i] / U * D, weight = w->routes[order[i]].weight;
        for (int64_t k = 0; k < D; k++)
            to[k] += weight * w->expert_out[i * D + k];
    }
}

void experts_columns(struct sequence *s, int64_t layer, const float *h, int64_t T, float *out) {
    const struct model *m = s->model;
    const struct layer_weights *l = &m->layers[layer];
    const int32_t *first = s->work.expert_first;
    if (m->share.routes)
        decide(s, layer, h, T);
    tell(s, T);
    group_by_expert(s, T);
    memset(out, 0, (size_t)(T * m->shape.hidden) * sizeof *out);
    for (int64_t e = 0; e < m->shape.experts; e++)
        if (first[e + 1] > first[e])
            add_expert(s, &l->experts[e], s->work.expert_order + first[e], first[e + 1] - first[e],
                       h, out);
}
