/* How config.json describes the rotary embedding: `rope_parameters`, or `rope_theta` and
 * `rope_scaling` at top level, or both alike; one description, or one for the layers that see all
 * keys and one for those with a sliding window. Part of shape_read. */
#ifndef QUIRE_PARTITION_ROPE_H
#define QUIRE_PARTITION_ROPE_H

#include "partition/family.h"

/* Fills rotary_dim, rope and, where the family has two, rope_local; head_dim and context are there.
 * Errors: message names the file and the field, also where two places disagree. */
enum status rope_read(const struct config *config, const struct family *family,
                      struct shape *shape);

/* "default", "linear", ... */
const char *rope_type_name(enum rope_type type);

#endif
