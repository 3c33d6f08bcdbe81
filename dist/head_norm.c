#include "dist/head_norm.h"

#include "dist/collective.h"
#include "kernels/elementwise.h"

/* squares[t] = sum_i x[t, i]^2. */
static void sum_squares(const float *x, int64_t rows, int64_t width, float *squares) {
#pragma omp parallel for if (rows > 1)
    for (int64_t t = 0; t < rows; t++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum += (double)x[t * width + i] * x[t * width + i];
        squares[t] = (float)sum;
    }
}

/* x[t, i] *= weight[i] / sqrt(squares[t] / whole + eps), whole the width over all ranks. */
static void scale_rows(float *x, const float *weight, const float *squares, int64_t rows,
                       int64_t width, int64_t whole, double eps) {
#pragma omp parallel for if (rows > 1)
    for (int64_t t = 0; t < rows; t++) {
        float factor = (float)(1 / sqrt((double)squares[t] / (double)whole + eps));
        for (int64_t i = 0; i < width; i++)
            x[t * width + i] *= factor * weight[i];
    }
}

void head_norm_projections(struct sequence *s, int64_t layer, int64_t T) {
    const struct model *m = s->model;
    const struct shape *shape = &m->shape;
    const struct layer_weights *l = &m->layers[layer];
    struct workspace *w = &s->work;
    int64_t d = shape->head_dim, q = m->share.heads.count * d, k = m->share.kv_rows.count;
    if (shape->head_norm == HEAD_NORM_EACH)
        rms_norm(w->q_own, l->q_norm, shape->norm_eps, T * m->share.heads.count, d, w->q_own);
    if (shape->head_norm != HEAD_NORM_WIDE)
        return;
    sum_squares(w->q_own, T, q, w->squares);
    sum_squares(w->kv_own, T, k, w->squares + T);
    stage_allreduce_sum(m->dist, w->squares, 2 * T);
    scale_rows(w->q_own, l->q_norm, w->squares, T, q, shape->heads * d, shape->norm_eps);
    scale_rows(w->kv_own, l->k_norm, w->squares + T, T, k, shape->kv_heads * d, shape->norm_eps);
}

void head_norm_keys(const struct sequence *s, int64_t layer, float *keys, int64_t tokens) {
    const struct model *m = s->model;
    if (m->shape.head_norm == HEAD_NORM_EACH)
        rms_norm(keys, m->layers[layer].k_norm, m->shape.norm_eps, tokens * m->share.kv_heads.count,
                 m->shape.head_dim, keys);
}
