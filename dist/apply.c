#include "dist/apply.h"

#include "kernels/elementwise.h"

void norm_apply(const struct shape *shape, const struct norm *norm, const float *x, int64_t rows,
                float *out) {
    if (shape->norm == NORM_LAYER)
        layer_norm(x, norm->weight, norm->bias, shape->norm_eps, rows, shape->hidden, out);
    else
        rms_norm(x, norm->weight, shape->norm_eps, rows, shape->hidden, out);
}

/* Most linear layers with one input: q, k and v. */
#define OUTPUTS_MAX 3

void linear_apply(struct dist *dist, struct gemm_input *x, const struct linear_output *outputs,
                  int count) {
    struct gemm_output products[OUTPUTS_MAX];
    for (int i = 0; i < count; i++)
        products[i] = (struct gemm_output){&outputs[i].layer->weight, outputs[i].y};
    enum time_part before = times_enter(&dist->times, TIME_PRODUCTS);
    gemm_xwt_each(x, products, count);
    times_enter(&dist->times, before);
    for (int i = 0; i < count; i++)
        if (outputs[i].layer->bias)
            add_to_rows(outputs[i].y, outputs[i].layer->bias, x->T, outputs[i].layer->weight.rows);
}

void partial_apply(struct dist *dist, struct gemm_input *x, const struct matrix *w, float *y) {
    enum time_part before = times_enter(&dist->times, TIME_PRODUCTS);
    gemm_xwt(x, w, y);
    times_enter(&dist->times, before);
}

void activation_apply(const struct shape *shape, float *gate, const float *up, int64_t n) {
    switch (shape->activation) {
    case ACTIVATION_SILU:
        silu_multiply(gate, up, n);
        break;
    case ACTIVATION_GELU_TANH:
        gelu_tanh_multiply(gate, up, n);
        break;
    case ACTIVATION_GELU:
        gelu_multiply(gate, up, n);
        break;
    }
}
