/* The model of tokenizer.json: byte-pair encoding by a list of merges. */
#ifndef QUIRE_LAUNCH_BPE_MODEL_H
#define QUIRE_LAUNCH_BPE_MODEL_H

#include "launch/bpe.h"
#include "launch/tokenizer_pieces.h"
#include "launch/tokenizer_vocabulary.h"
#include <jansson.h>

struct bpe_merge {
    int32_t left, right; /* ids; left is -1 where the slot is empty */
    int32_t rank, id;
};

struct bpe_model {
    const char *file; /* borrowed, for messages */
    struct vocabulary vocabulary;
    struct bpe_merge *merges; /* [merge_slots] hash table */
    int64_t merge_slots;
    struct bpe_borders *borders;
    int32_t plain[128];                   /* the ids of ASCII characters, -1 where there is none */
    int32_t bytes[256];                   /* the ids of <0x00> to <0xFF>; -1 where there is none */
    int32_t unknown;                      /* the id for characters without one, -1: they vanish */
    uint32_t unknown_first, unknown_last; /* first and last character of its string */
    bool has_unknown;   /* unk_token is given, though it may be in no vocabulary */
    bool byte_fallback; /* such characters are spelt in bytes where those have ids */
    bool fuse_unknown;  /* a run of unknown characters is one token */
    bool ignore_merges; /* a whole word of the vocabulary is one token, whatever the merges */
};

/* `file` must outlive the model. Errors: another type than BPE, options that are not known, merges
 * of pieces that are in no vocabulary. */
enum status bpe_model_read(const char *file, const json_t *json, struct bpe_model *model);
void bpe_model_close(struct bpe_model *model);

/* Appends the tokens of one word [len >= 1] to out; origin [len]. barred: by id, tokens that are
 * not made; NULL: none. `word` is scratch. */
enum status bpe_model_encode(const struct bpe_model *model, const bool *barred, const char *text,
                             const int64_t *origin, int64_t len, struct bpe_word *word,
                             struct token_list *out);

#endif
