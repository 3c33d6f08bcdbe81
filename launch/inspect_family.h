/* What inspect says of a model's make beyond its sizes: what its family and its config.json set,
 * and what of the directory nobody uses. */
#ifndef QUIRE_LAUNCH_INSPECT_FAMILY_H
#define QUIRE_LAUNCH_INSPECT_FAMILY_H

#include "partition/shape.h"
#include "partition/weights.h"
#include <jansson.h>

/* One line for each fact, as inspect's other lines. */
void inspect_print_family(const struct shape *shape);

/* The same as fields of the JSON object `model`. */
void inspect_put_family(const struct shape *shape, json_t *model);

/* Tensors of the files and fields of DIR/config.json (a GGUF's metadata) that are not used:
 * {"tensors": [names], "config": [names]}, owned by the caller. */
enum status inspect_unused(const char *dir, const struct weights *weights,
                           const struct shape *shape, json_t **unused);
void inspect_print_unused(const struct shape *shape, const json_t *unused);

#endif
