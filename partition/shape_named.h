/* The shapes of published models by name, for measuring without their files. */
#ifndef QUIRE_PARTITION_SHAPE_NAMED_H
#define QUIRE_PARTITION_SHAPE_NAMED_H

#include "partition/shape.h"

/* The names, "A, B and C". */
extern const char shape_names[];

/* Whether there is such a name. */
bool shape_has_name(const char *name);

/* The shape of that name, as shape_parse reads it from the model's config.json; so a model of an
 * architecture that is not supported is refused here as it is there. Local. */
enum status shape_named(const char *name, struct shape *shape);

#endif
