/* The normalizer of tokenizer.json: rewrites a text before it is cut. Knows Sequence, Prepend,
 * Replace, Strip, Lowercase, NFC, NFD, NFKC, NFKD, Nmt and Precompiled. */
#ifndef QUIRE_LAUNCH_TOKENIZER_NORMALIZE_H
#define QUIRE_LAUNCH_TOKENIZER_NORMALIZE_H

#include "launch/tokenizer_pieces.h"
#include <jansson.h>

struct normalizer; /* opaque, immutable */

/* json: the normalizer object; NULL or null makes one that changes nothing. Errors name the kind
 * that is not known. */
enum status normalizer_open(const char *file, const json_t *json, struct normalizer **normalizer);
void normalizer_close(struct normalizer **normalizer);

/* Rewrites the pieces that are still text; behind: see encode_rules. Errors: memory, a pattern that
 * takes too long. */
enum status normalizer_apply(const struct normalizer *normalizer, bool behind,
                             struct pieces *pieces);

#endif
