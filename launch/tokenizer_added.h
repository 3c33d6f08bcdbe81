/* The added_tokens of tokenizer.json: strings that are tokens by themselves wherever they stand in
 * a text, found before anything else is cut. */
#ifndef QUIRE_LAUNCH_TOKENIZER_ADDED_H
#define QUIRE_LAUNCH_TOKENIZER_ADDED_H

#include "launch/tokenizer.h"
#include "launch/tokenizer_normalize.h"
#include "launch/tokenizer_phrases.h"
#include "launch/tokenizer_vocabulary.h"

struct added_token {
    int32_t id;
    bool special;    /* decodes to nothing, and counts only where encode_rules say so */
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
    struct vocabulary contents; /* id: index into list */
    /* What is looked for, in the original text and in the rewritten one, special tokens included or
     * not; id: index into list. */
    struct phrases raw, raw_plain, normalized, normalized_plain;
};

/* Which ids added tokens have that are not in the vocabulary. */
enum added_ids {
    ADDED_IDS_NEXT,  /* numbered from the end of the vocabulary on, as the reference does whatever a
                      * tokenizer.json says */
    ADDED_IDS_STATED /* as the file says: the other forms */
};

/* json: the added_tokens list, or NULL. A token of the vocabulary keeps its id there. normalizer:
 * NULL when no token is `normalized`. */
enum status added_tokens_read(const char *file, const json_t *json,
                              const struct vocabulary *vocabulary, enum added_ids ids,
                              const struct normalizer *normalizer, struct added_tokens *added);
void added_tokens_close(struct added_tokens *added);

/* NULL when the id is none of an added token. */
const struct added_token *added_tokens_get(const struct added_tokens *added, int64_t id);
const struct added_token *added_tokens_find(const struct added_tokens *added, const char *content,
                                            int64_t len);

/* Cuts the added tokens out of the pieces that are still text: those that are looked for in the
 * original text, or those in the rewritten one. A special token counts where the rules say so. */
enum status added_tokens_cut(const struct added_tokens *added, bool is_rewritten,
                             const struct encode_rules *rules, struct pieces *pieces);

#endif
