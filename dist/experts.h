/* A mixture of experts in place of an FFN. Each expert's columns are split over the ranks of the
 * stage, so every rank takes part in every token; which experts a token takes is decided by one
 * rank, whose rounding counts, and told to the others. */
#ifndef QUIRE_DIST_EXPERTS_H
#define QUIRE_DIST_EXPERTS_H

#include "dist/sequence.h"

/* out [T, D] = sum over the experts e that a token takes of weight_e * FFN_e(h), of the own
 * columns. Tokens are grouped by expert, and only experts that a token takes are read. h [T, D],
 * another array than out. Collective(stage). */
void experts_columns(struct sequence *s, int64_t layer, const float *h, int64_t T, float *out);

#endif
