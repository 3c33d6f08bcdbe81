/* A sequence as if it had read some tokens, without reading them: what it costs to go on from a
 * depth can be measured at once. */
#ifndef QUIRE_DIST_FILL_H
#define QUIRE_DIST_FILL_H

#include "dist/sequence.h"

/* Advances the sequence by `tokens` (within its capacity): the caches get random keys and values of
 * variance 1, by layer, head, token and dimension, the same on every mesh; there is no residual
 * stream to go on from, so the next step is forward_chunk. Local. */
void sequence_fill(struct sequence *sequence, int64_t tokens);

#endif
