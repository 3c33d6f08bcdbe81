/* The added_tokens of tokenizer.json: strings that are tokens by themselves wherever they stand in
 * a text, found before anything else is cut. */
#ifndef QUIRE_LAUNCH_TOKENIZER_ADDED_H
#define QUIRE_LAUNCH_TOKENIZER_ADDED_H

#include "launch/tokenizer_normalize.h"
#include "launch/tokenizer_phrases.h"
#include "launch/tokenizer_vocabulary.h"

struct added_token {
    int32_t id;
    bool special;    /* decodes to nothing */
    bool normalized; /* looked for, as rewritten, in the rewritten text; else in the original */
    bool left_strip, right_strip; /* takes the white space beside it as well */
    bool single_word;             /* counts only between characters that are not of words */
    char *content;                /* as the file has it; owned [content_len] */
    int64_t content_len;
    char *shown; /* what decoding starts from: the content, rewritten if `normalized`; owned */
    int64_t shown_len;
};

struct added_tokens {
    struct added_token *list; /* [count] */
    int32_t *by_id;           /* [count] indices into list by rising id */
    int64_t count, capacity;
    struct vocabulary contents;     /* id: index into list */
    struct phrases raw, normalized; /* id: index into list */
};

/* json: the added_tokens list, or NULL. A token of the vocabulary keeps its id there; the others
 * are numbered from the end of the vocabulary on, as the reference does whatever the file says. */
enum status added_tokens_read(const char *file, const json_t *json,
                              const struct vocabulary *vocabulary,
                              const struct normalizer *normalizer, struct added_tokens *added);
void added_tokens_close(struct added_tokens *added);

/* NULL when the id is none of an added token. */
const struct added_token *added_tokens_get(const struct added_tokens *added, int64_t id);
const struct added_token *added_tokens_find(const struct added_tokens *added, const char *content,
                                            int64_t len);

/* Cuts the added tokens out of the pieces that are still text: those of one set. */
enum status added_tokens_cut(const struct added_tokens *added, const struct phrases *phrases,
                             struct pieces *pieces);

#endif
