/* tokenizer.json, as the Hugging Face tokenizers library writes it; other files are brought into
 * its form. */
#ifndef QUIRE_LAUNCH_TOKENIZER_JSON_H
#define QUIRE_LAUNCH_TOKENIZER_JSON_H

#include "launch/tokenizer_added.h"
#include "launch/tokenizer_decode.h"
#include "launch/tokenizer_pieces.h"

struct tokenizer_json; /* opaque, immutable */

/* Reads a tokenizer from memory [len bytes]; `file` is for messages. Errors: what is broken, a kind
 * of any part that is not known. */
enum status tokenizer_json_parse(const char *file, const char *text, int64_t len,
                                 struct tokenizer_json **json);
/* The same from a tree in that form; which ids the added tokens have is said by `ids`. */
enum status tokenizer_json_read(const char *file, const json_t *root, enum added_ids ids,
                                struct tokenizer_json **json);
void tokenizer_json_close(struct tokenizer_json **json);

/* One more than the largest id; a few words on the kind (static). */
int64_t tokenizer_json_size(const struct tokenizer_json *json);
const char *tokenizer_json_kind(const struct tokenizer_json *json);

/* The id of a token by its string, an added one first; -1 when there is none. */
int32_t tokenizer_json_find(const struct tokenizer_json *json, const char *text, int64_t len);

/* A template with more tokens than this on a side is refused; real ones have one or two. */
#define TOKENIZER_TEMPLATE_MAX 64

/* The tokens that the template puts in front of a text and behind it (borrowed); false when there
 * is no template. */
struct token_ids {
    const int32_t *ids; /* [count] */
    int64_t count;
};
bool tokenizer_json_template(const struct tokenizer_json *json, struct token_ids *front,
                             struct token_ids *back);

/* Appends the tokens of a text [len bytes, valid UTF-8], without the template's. */
enum status tokenizer_json_encode(const struct tokenizer_json *json, const char *text, int64_t len,
                                  const struct encode_rules *rules, struct token_list *out);

/* For decoding: the steps, and the string that they take for an id (borrowed), NULL for a special
 * token and for ids without a token. */
const struct decode_steps *tokenizer_json_decoder(const struct tokenizer_json *json);
const char *tokenizer_json_text(const struct tokenizer_json *json, int64_t id, int64_t *len);

#endif
