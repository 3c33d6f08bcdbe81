#include "dist/ffn.h"

#include "dist/apply.h"

void ffn_columns(struct sequence *s, const struct ffn *ffn, const float *h, int64_t T, float *out) {
    const struct shape *shape = &s->model->shape;
    struct dist *dist = s->model->dist;
    struct workspace *w = &s->work;
    int64_t f = ffn->up.weight.rows;
    float *active = shape->ungated ? w->up : w->gate;
    struct gemm_input input = gemm_prepare(&w->products, T, shape->hidden, h);
    const struct linear_output widened[] = {{&ffn->up, w->up}, {&ffn->gate, w->gate}};
    linear_apply(dist, &input, widened, shape->ungated ? 1 : 2);
    activation_apply(shape, active, shape->ungated ? NULL : w->up, T * f);
    struct gemm_input gated = gemm_prepare(&w->products, T, f, active);
    partial_apply(dist, &gated, &ffn->down.weight, out);
}
