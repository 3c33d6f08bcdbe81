/* How the families of byte-level vocabularies cut texts, by the names that GGUF files give
 * (tokenizer.ggml.pre): for vocabularies that come without a tokenizer.json, written in its form.
 */
#ifndef QUIRE_LAUNCH_PRETOKENIZE_FAMILY_H
#define QUIRE_LAUNCH_PRETOKENIZE_FAMILY_H

#include "partition/status.h"
#include <jansson.h>
#include <stdbool.h>

struct pretokenize_family {
    const char *name;
    const char *const *patterns; /* NULL-ended: each splits what those before it left whole */
    bool digits_alone;           /* before that, every digit is a piece of its own */
    bool composes;               /* the text is brought to NFC first */
    bool ignore_merges;          /* a whole word of the vocabulary is one token */
    bool adds_bos;               /* BOS stands in front unless the file says otherwise */
};

/* NULL for a name that is not known; static. */
const struct pretokenize_family *pretokenize_family_find(const char *name);
/* The names that are known, with commas between. */
const char *pretokenize_family_names(void);

/* A tokenizer.json without model and added tokens: normalizer, pre_tokenizer and decoder. NULL when
 * there is no memory; owned by the caller. */
json_t *pretokenize_family_json(const struct pretokenize_family *family);

#endif
