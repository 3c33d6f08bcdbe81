/* What a tokenizer is made of, whatever file it comes from; for the files named tokenizer* only. */
#ifndef QUIRE_LAUNCH_TOKENIZER_WHOLE_H
#define QUIRE_LAUNCH_TOKENIZER_WHOLE_H

#include "launch/sentencepiece.h"
#include "launch/tokenizer.h"
#include "launch/tokenizer_added.h"
#include "launch/tokenizer_json.h"
#include "launch/tokenizer_specials.h"

struct tokenizer {
    struct tokenizer_json *json; /* one of the two */
    struct sentencepiece *sentencepiece;
    /* Beside sentencepiece: tokens that are found before it cuts the rest. */
    struct added_tokens added;
    bool added_by_controls; /* only where encode_rules.controls asks for them */
    bool prefix_again;      /* each part between them is a text with a space in front, not only the
                             * first */
    struct specials front, back;
    char kind[80];
    char *bos, *eos;     /* texts of these tokens, owned; NULL: none */
    char *chat_template; /* the model's own, owned; NULL: none */
};

/* A list of added tokens in the form of tokenizer.json grows by one. content is valid UTF-8.
 * Errors: memory. */
enum status added_list_put(json_t *list, int64_t id, const char *content, int64_t len, bool special,
                           bool right_strip);

/* Reads the tokenizer of a GGUF file into an empty one. Errors: names the key. */
enum status tokenizer_read_gguf(const char *path, struct tokenizer *tokenizer);

/* Reads a vocabulary and its merges, two files in `dir`. config: tokenizer_config.json, or NULL. */
enum status tokenizer_read_merges(const char *dir, const char *vocab_name, const char *merges_name,
                                  const json_t *config, struct tokenizer *tokenizer);

#endif
