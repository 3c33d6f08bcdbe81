/* Lines of JSON through a tokenizer, for `quire tokenize --batch`. */
#ifndef QUIRE_LAUNCH_TOKENIZE_BATCH_H
#define QUIRE_LAUNCH_TOKENIZE_BATCH_H

#include "launch/options.h"
#include "launch/tokenizer.h"

/* Decodes ids [count] and appends their text to *text, owned by the caller. */
enum status tokenize_decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count,
                            char **text, int64_t *len, int64_t *capacity);

/* How options ask for text to be read. */
struct encode_rules tokenize_rules(const struct options *options);

/* Where the bytes of token i end: where those of the next one begin, or the text's end. */
int64_t tokenize_end(const struct tokens *tokens, int64_t i, int64_t text_len);

/* Reads options->batch line by line and prints a line for each to standard output; lines of blanks
 * alone give none. Errors: name the line and the field. */
enum status tokenize_batch(const struct options *options, const struct tokenizer *tokenizer);

#endif
