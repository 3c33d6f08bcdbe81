/* Model directories with random weights, for tests that compare runs with each other. */
#ifndef QUIRE_TESTS_RANDOM_MODEL_H
#define QUIRE_TESTS_RANDOM_MODEL_H

#include "partition/shape.h"

/* Writes config.json and model.safetensors (F32) of a Llama of this shape (untied, rope type
 * default) into DIR, which must exist. The same seed gives the same bytes. A tensor named `spoiled`
 * (NULL: none) gets a NaN as its last element. Ends the process where it cannot. */
void random_model_write(const char *dir, const struct shape *shape, uint64_t seed,
                        const char *spoiled);

/* A small shape whose shares are uneven on most meshes. */
struct shape random_model_shape(void);

#endif
