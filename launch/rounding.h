/* What inspect says of the weights' types: how each matrix is held under --compute and --weights,
 * and what each --compute rounds. */
#ifndef QUIRE_LAUNCH_ROUNDING_H
#define QUIRE_LAUNCH_ROUNDING_H

#include "dist/model.h"
#include <jansson.h>

/* A model and how it would be loaded; all borrowed. */
struct rounding {
    const struct weights *weights; /* open: their stored types */
    const struct shape *shape;
    enum compute compute;
    enum weights_type type;
};

/* {"f32": [...], "bf16": [...]}: what each --compute rounds. New reference. */
json_t *rounding_object(const struct rounding *rounding);

/* {"q8_0": [names], "bf16": [names]}: the matrices by the type they are held in, a layer's under
 * one name with * for its number. New reference. */
json_t *rounding_held(const struct rounding *rounding);

/* The same for a person, on stdout. */
void rounding_print(const struct rounding *rounding);

#endif
