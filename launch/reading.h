/* Reading a list of tokens into a sequence, chunk by chunk, with progress; the loss of every token
 * on request. */
#ifndef QUIRE_LAUNCH_READING_H
#define QUIRE_LAUNCH_READING_H

#include "dist/sequence.h"
#include "launch/progress.h"
#include "partition/status.h"
#include <stdint.h>

/* Reads ids [count] behind what the sequence holds already. `progress` (may be NULL) counts from
 * done_before on. Values that are not finite are only marked: sequence_check or head_choose come
 * after. Collective(world). */
void reading_run(struct sequence *sequence, const int32_t *ids, int64_t count,
                 struct progress *progress, int64_t done_before);

/* The same, and the losses of the tokens after the first in nats: (*losses)[t] is that of
 * ids[t + 1], t < count - 1. On world rank 0 they are owned by the caller (free); elsewhere, and on
 * failure, NULL. Collective(world). */
enum status reading_losses(struct sequence *sequence, const int32_t *ids, int64_t count,
                           struct progress *progress, int64_t done_before, float **losses);

#endif
