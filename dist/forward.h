/* The forward pass of a Llama-type decoder over the mesh, in the order of the paper. */
#ifndef QUIRE_DIST_FORWARD_H
#define QUIRE_DIST_FORWARD_H

#include "dist/sequence.h"

/* Reads the next T tokens (1 <= T <= options.chunk, ids below the vocabulary, within the capacity):
 * afterwards the cache holds them and, on the last stage, work.hidden [T, D] is the residual stream
 * behind the last layer (see head.h). The same tokens on every rank. Stages work on different
 * chunks at the same time: nothing here waits for a later stage but the send of the chunk before.
 * Collective(stage), point to point along pp. Values that are not finite are marked
 * (sequence_check). */
void forward_chunk(struct sequence *sequence, const int32_t *tokens, int64_t T);

#endif
