/* The tokens around a text (BOS, EOS): what the tokenizer's template and tokenizer_config.json say
 * together. */
#ifndef QUIRE_LAUNCH_TOKENIZER_SPECIALS_H
#define QUIRE_LAUNCH_TOKENIZER_SPECIALS_H

#include "launch/sentencepiece.h"
#include "launch/tokenizer_json.h"

struct specials {
    int32_t ids[TOKENIZER_TEMPLATE_MAX];
    int64_t count;
};

/* One of the two kinds of tokenizer, the other NULL. config: tokenizer_config.json, read from
 * `path`, or NULL. The rules stand in tokenizer.h. Errors: a field that is broken, a token that is
 * wanted and that the tokenizer does not have. */
enum status specials_settle(const char *path, const json_t *config,
                            const struct tokenizer_json *json,
                            const struct sentencepiece *sentencepiece, struct specials *front,
                            struct specials *back);

#endif
