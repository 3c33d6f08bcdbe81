/* One rank's columns of a feed-forward network: the part of its output that the sum over the stage
 * completes. */
#ifndef QUIRE_DIST_FFN_H
#define QUIRE_DIST_FFN_H

#include "dist/sequence.h"

/* out [T, D] = W_down (act(W_gate h) * W_up h), or W_down act(W_up h) where there is no gate, of
 * the own columns. h [T, D], another array than out. Uses work.gate and work.up. Local. */
void ffn_columns(struct sequence *s, const struct ffn *ffn, const float *h, int64_t T, float *out);

#endif
