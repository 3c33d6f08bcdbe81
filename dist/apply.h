/* The parts of a layer that one rank computes with its own weights: norms, linear layers and
 * activations of whatever kind the model has. Local. */
#ifndef QUIRE_DIST_APPLY_H
#define QUIRE_DIST_APPLY_H

#include "dist/model.h"
#include "kernels/gemm.h"

/* out [rows, D] = norm(x [rows, D]), RMSNorm or LayerNorm; out may be x. */
void norm_apply(const struct shape *shape, const struct norm *norm, const float *x, int64_t rows,
                float *out);

/* y [T, N] = x W^T, and bias [N] where it is not NULL. Counts as a product (times.h). */
void linear_apply(struct dist *dist, struct gemm_input *x, const struct matrix *w,
                  const float *bias, float *y);

/* gate [n] = act(gate) * up, or act(gate) where up is NULL. */
void activation_apply(const struct shape *shape, float *gate, const float *up, int64_t n);

#endif
