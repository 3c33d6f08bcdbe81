/* How config.json describes the rotary embedding: `rope_parameters`, or `rope_theta` and
 * `rope_scaling` at top level, or both alike. Part of shape_read. */
#ifndef QUIRE_PARTITION_ROPE_H
#define QUIRE_PARTITION_ROPE_H

#include "partition/json.h"
#include "partition/shape.h"

/* Errors: message names `path` and the field, also where two places disagree. */
enum status rope_read(const char *path, const json_t *root, struct rope *rope);

#endif
