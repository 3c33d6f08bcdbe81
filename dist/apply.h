/* The parts of a layer that one rank computes with its own weights: norms, linear layers and
 * activations of whatever kind the model has. Local. */
#ifndef QUIRE_DIST_APPLY_H
#define QUIRE_DIST_APPLY_H

#include "dist/model.h"
#include "kernels/gemm.h"

/* out [rows, D] = norm(x [rows, D]), RMSNorm or LayerNorm; out may be x. */
void norm_apply(const struct shape *shape, const struct norm *norm, const float *x, int64_t rows,
                float *out);

/* y [T, N] = x W^T + bias, of several linear layers with the same input. Counts as a product
 * (times.h). */
struct linear_output {
    const struct linear *layer;
    float *y;
};
void linear_apply(struct dist *dist, struct gemm_input *x, const struct linear_output *outputs,
                  int count);

/* y [T, N] = x W^T for the rank's own columns of W: its part of a sum over ranks, to which a bias
 * is added behind. Counts likewise. */
void partial_apply(struct dist *dist, struct gemm_input *x, const struct matrix *w, float *y);

/* gate [n] = act(gate) * up, or act(gate) where up is NULL. */
void activation_apply(const struct shape *shape, float *gate, const float *up, int64_t n);

#endif
