#include "dist/apply.h"

#include "kernels/elementwise.h"

void norm_apply(const struct shape *shape, const struct norm *norm, const float *x, int64_t rows,
                float *out) {
    if (shape->norm == NORM_LAYER)
        layer_norm(x, norm->weight, norm->bias, shape->norm_eps, rows, shape->hidden, out);
    else
        rms_norm(x, norm->weight, shape->norm_eps, rows, shape->hidden, out);
}

void linear_apply(struct dist *dist, struct gemm_input *x, const struct matrix *w,
                  const float *bias, float *y) {
    enum time_part before = times_enter(&dist->times, TIME_PRODUCTS);
    gemm_xwt(x, w, y);
    times_enter(&dist->times, before);
    if (bias)
        add_to_rows(y, bias, x->T, w->rows);
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
