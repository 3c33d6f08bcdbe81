/* A GGUF model's metadata as the config.json that a Hugging Face directory of the same model has,
 * so that one reader checks both (shape.h), and what else its head says about the model. */
#ifndef QUIRE_PARTITION_GGUF_CONFIG_H
#define QUIRE_PARTITION_GGUF_CONFIG_H

#include "partition/gguf.h"
#include "partition/json.h"

/* The config, owned by the caller (json_decref). Sources: ggml's docs/gguf.md for the keys; for
 * what llama.cpp takes as given without a key, the family's published configs. An architecture that
 * is not known is refused with the list of those that are. Local. */
enum status gguf_config(struct gguf *gguf, json_t **config);

/* True when the rows of q and k stand in Meta's order, the two of each rotated pair adjacent, as
 * llama.cpp's converter puts them for families that it rotates so; `model_type` as in config.json.
 */
bool gguf_pairs_adjacent(const char *model_type);

#endif
